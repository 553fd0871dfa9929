// SPDX-License-Identifier: GPL-2.0
/*
 * Functions of the kernel that fail because a test wants them to: the chips of the bench
 * always have a vector and a message, and none of them is started up. One file at a time
 * can be open, and closing it ends that.
 */
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "fail_call.h"

/* Protects what follows, but for what the probe looks at while it is registered */
static DEFINE_MUTEX(fail_call_lock);
static struct fail_call fail_call;
static struct kprobe fail_call_probe;
static struct task_struct *fail_call_task;
static bool fail_call_armed;
static bool fail_call_opened;
static unsigned int fail_call_virq;

/* Where the task goes on instead: back to the caller */
static noinline void fail_call_return(void)
{
	barrier();
}

/* Not the interrupts that hit the task. The probe's own exception counts as one. */
static bool fail_call_by_task(void)
{
	return current == fail_call_task && hardirq_count() == HARDIRQ_OFFSET &&
	       !in_serving_softirq();
}

static int fail_call_hit(struct kprobe *probe, struct pt_regs *regs)
{
	if (!fail_call_armed || !fail_call_by_task())
		return 0;
	WRITE_ONCE(fail_call_armed, false);
	regs_set_return_value(regs, fail_call.ret);
	regs->ip = (unsigned long)fail_call_return;
	return 1;
}

/* With one of these the probe is not made a jump, which cannot skip the function */
static void fail_call_passed(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static bool fail_call_none(void)
{
	bool called;

	if (!fail_call_task)
		return false;
	unregister_kprobe(&fail_call_probe);
	called = !fail_call_armed;
	fail_call_task = NULL;
	return called;
}

static int fail_call_next(const struct fail_call *call)
{
	int ret;

	fail_call_none();
	fail_call = *call;
	fail_call.name[sizeof(fail_call.name) - 1] = '\0';
	fail_call_probe = (struct kprobe) {
		.symbol_name	= fail_call.name,
		.pre_handler	= fail_call_hit,
		.post_handler	= fail_call_passed,
	};
	fail_call_armed = true;
	fail_call_task = current;
	ret = register_kprobe(&fail_call_probe);
	if (ret)
		fail_call_task = NULL;
	return ret;
}

static int fail_call_flags(const struct fail_call_flags *flags)
{
	struct irq_data *irqd = irq_get_irq_data(flags->virq);
	struct msi_domain_info *info;

	if (!irqd || !irq_data_get_msi_desc(irqd) || !irq_domain_is_msi_device(irqd->domain))
		return -ENOENT;
	info = irqd->domain->host_data;
	fail_call_virq = flags->startup_parent ? flags->virq : 0;
	if (flags->startup_parent)
		info->flags |= MSI_FLAG_PCI_MSI_STARTUP_PARENT;
	else
		info->flags &= ~MSI_FLAG_PCI_MSI_STARTUP_PARENT;
	return 0;
}

static long fail_call_ioctl(struct file *file, unsigned int cmd, unsigned long ptr)
{
	struct fail_call_flags flags;
	struct fail_call call;

	guard(mutex)(&fail_call_lock);
	switch (cmd) {
	case FAIL_CALL_NEXT:
		if (copy_from_user(&call, (void __user *)ptr, sizeof(call)))
			return -EFAULT;
		return fail_call_next(&call);
	case FAIL_CALL_NONE:
		return fail_call_none();
	case FAIL_CALL_FLAGS:
		if (copy_from_user(&flags, (void __user *)ptr, sizeof(flags)))
			return -EFAULT;
		return fail_call_flags(&flags);
	default:
		return -ENOTTY;
	}
}

static int fail_call_open(struct inode *inode, struct file *file)
{
	guard(mutex)(&fail_call_lock);
	if (fail_call_opened)
		return -EBUSY;
	fail_call_opened = true;
	return 0;
}

static int fail_call_release(struct inode *inode, struct file *file)
{
	struct fail_call_flags flags;

	guard(mutex)(&fail_call_lock);
	fail_call_none();
	flags = (struct fail_call_flags) { .virq = fail_call_virq };
	if (flags.virq)
		fail_call_flags(&flags);
	fail_call_opened = false;
	return 0;
}

static const struct file_operations fail_call_fops = {
	.owner		= THIS_MODULE,
	.open		= fail_call_open,
	.release	= fail_call_release,
	.unlocked_ioctl	= fail_call_ioctl,
};

static struct miscdevice fail_call_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "fail_call",
	.fops	= &fail_call_fops,
};

module_misc_device(fail_call_misc);

MODULE_DESCRIPTION("Functions that fail for tests");
MODULE_LICENSE("GPL");
