// SPDX-License-Identifier: GPL-2.0
/*
 * A CPU that comes online in the middle of a call. The CPU is held up on its way, where
 * nothing but the lock of the vectors is missing: what it needs from others, as the
 * rendezvous for the MTRRs, is behind it. So the call, which may have interrupts disabled,
 * can wait for it. One file at a time can be open, and closing it ends that.
 */
#include <linux/cleanup.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

#include "meet_cpu.h"

#define LIMIT_MS	10000

/* Protects what follows, but for what the probes look at while they are registered */
static DEFINE_MUTEX(meet_lock);
static struct meet_cpu meet;
static struct task_struct *meet_task;
static bool meet_opened;
static bool cpu_waits;
static bool called;
static bool met;

static int meet_call(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned int ms;
	bool early;

	if (current != meet_task || called)
		return 0;
	early = cpu_online(meet.cpu);
	WRITE_ONCE(called, true);
	for (ms = 0; ms < LIMIT_MS && !cpu_online(meet.cpu); ms++)
		mdelay(1);
	met = !early && READ_ONCE(cpu_waits) && cpu_online(meet.cpu);
	return 0;
}

static int meet_online(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned int ms;

	if (smp_processor_id() != meet.cpu || cpu_online(meet.cpu))
		return 0;
	WRITE_ONCE(cpu_waits, true);
	for (ms = 0; ms < LIMIT_MS && !READ_ONCE(called); ms++)
		mdelay(1);
	return 0;
}

static struct kprobe call_probe;
static struct kprobe online_probe;

static int meet_end(void)
{
	if (!meet_task)
		return 0;
	unregister_kprobe(&call_probe);
	unregister_kprobe(&online_probe);
	meet_task = NULL;
	return met;
}

static int meet_arm(const struct meet_cpu *wanted)
{
	int ret;

	if (wanted->cpu >= nr_cpu_ids || !cpu_possible(wanted->cpu))
		return -EINVAL;
	meet_end();
	meet = *wanted;
	meet.name[sizeof(meet.name) - 1] = '\0';
	cpu_waits = called = met = false;
	meet_task = current;
	call_probe = (struct kprobe) { .symbol_name = meet.name, .pre_handler = meet_call };
	online_probe = (struct kprobe) { .symbol_name = "lock_vector_lock", .pre_handler = meet_online };
	ret = register_kprobe(&call_probe);
	if (ret)
		goto none;
	ret = register_kprobe(&online_probe);
	if (ret)
		goto unregister;
	return 0;

unregister:
	unregister_kprobe(&call_probe);
none:
	meet_task = NULL;
	return ret;
}

static long meet_ioctl(struct file *file, unsigned int cmd, unsigned long ptr)
{
	struct meet_cpu wanted;

	guard(mutex)(&meet_lock);
	switch (cmd) {
	case MEET_CPU_ARM:
		if (copy_from_user(&wanted, (void __user *)ptr, sizeof(wanted)))
			return -EFAULT;
		return meet_arm(&wanted);
	case MEET_CPU_WAITS:
		return READ_ONCE(cpu_waits);
	case MEET_CPU_END:
		return meet_end();
	default:
		return -ENOTTY;
	}
}

static int meet_open(struct inode *inode, struct file *file)
{
	guard(mutex)(&meet_lock);
	if (meet_opened)
		return -EBUSY;
	meet_opened = true;
	return 0;
}

static int meet_release(struct inode *inode, struct file *file)
{
	guard(mutex)(&meet_lock);
	meet_end();
	meet_opened = false;
	return 0;
}

static const struct file_operations meet_fops = {
	.owner		= THIS_MODULE,
	.open		= meet_open,
	.release	= meet_release,
	.unlocked_ioctl	= meet_ioctl,
};

static struct miscdevice meet_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "meet_cpu",
	.fops	= &meet_fops,
};

module_misc_device(meet_misc);

MODULE_DESCRIPTION("A CPU that comes online in the middle of a call");
MODULE_LICENSE("GPL");
