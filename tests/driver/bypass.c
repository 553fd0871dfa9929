// SPDX-License-Identifier: GPL-2.0
/*
 * A consumer of irq bypass: whoever signals an eventfd, and says with which interrupt, has
 * that posted to a vCPU instead. The vCPU does not run: what is posted stays there. The unit
 * has to be one of VT-d.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqbypass.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/irq_remapping.h>
#include <asm/posted_intr.h>

#include "bypass.h"
#include "irq_chip.h"

/**
 * struct bypass - An open file
 * @consumer:	The consumer
 * @lock:	Protects @eventfd
 * @eventfd:	What it consumes, NULL: nothing yet
 * @vcpu:	The vCPU's descriptor
 * @irq:	The interrupt that is posted, 0: none. Like the next two it is written under
 *		the mutex of irq bypass.
 * @added:	How often there was one
 * @removed:	How often it was taken back
 */
struct bypass {
	struct irq_bypass_consumer	consumer;
	struct mutex			lock;
	struct eventfd_ctx		*eventfd;
	struct pi_desc			*vcpu;
	u32				irq;
	u32				added;
	u32				removed;
};

static int bypass_add_producer(struct irq_bypass_consumer *consumer,
			       struct irq_bypass_producer *producer)
{
	struct bypass *bypass = container_of(consumer, struct bypass, consumer);
	struct intel_iommu_pi_data pi_data = {
		.pi_desc_addr = virt_to_phys(bypass->vcpu),
		.vector = BYPASS_VECTOR,
	};
	int ret;

	if (!irq_has_chip(producer->irq, "INTEL-IR"))
		return -EOPNOTSUPP;
	ret = irq_set_vcpu_affinity(producer->irq, &pi_data);
	if (ret)
		return ret;
	WRITE_ONCE(bypass->irq, producer->irq);
	WRITE_ONCE(bypass->added, bypass->added + 1);
	return 0;
}

static void bypass_del_producer(struct irq_bypass_consumer *consumer,
				struct irq_bypass_producer *producer)
{
	struct bypass *bypass = container_of(consumer, struct bypass, consumer);

	irq_set_vcpu_affinity(producer->irq, NULL);
	WRITE_ONCE(bypass->irq, 0);
	WRITE_ONCE(bypass->removed, bypass->removed + 1);
}

static int bypass_consume(struct bypass *bypass, int fd)
{
	struct eventfd_ctx *eventfd;
	int ret;

	guard(mutex)(&bypass->lock);
	if (bypass->eventfd)
		return -EBUSY;
	eventfd = eventfd_ctx_fdget(fd);
	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	ret = irq_bypass_register_consumer(&bypass->consumer, eventfd);
	if (ret) {
		eventfd_ctx_put(eventfd);
		return ret;
	}
	bypass->eventfd = eventfd;
	return 0;
}

static int bypass_state(struct bypass *bypass, struct bypass_state __user *ustate)
{
	struct bypass_state state = {
		.irq		= READ_ONCE(bypass->irq),
		.added		= READ_ONCE(bypass->added),
		.removed	= READ_ONCE(bypass->removed),
		.posted		= test_and_clear_bit(BYPASS_VECTOR, bypass->vcpu->pir),
	};

	return copy_to_user(ustate, &state, sizeof(state)) ? -EFAULT : 0;
}

static long bypass_ioctl(struct file *file, unsigned int cmd, unsigned long ptr)
{
	struct bypass *bypass = file->private_data;
	s32 fd;

	switch (cmd) {
	case BYPASS_CONSUME:
		if (get_user(fd, (s32 __user *)ptr))
			return -EFAULT;
		return bypass_consume(bypass, fd);
	case BYPASS_STATE:
		return bypass_state(bypass, (struct bypass_state __user *)ptr);
	default:
		return -ENOTTY;
	}
}

static int bypass_open(struct inode *inode, struct file *file)
{
	struct bypass *bypass __free(kfree) = kzalloc_obj(*bypass);

	if (!irq_remapping_cap(IRQ_POSTING_CAP))
		return -EOPNOTSUPP;
	if (!bypass)
		return -ENOMEM;
	bypass->vcpu = kzalloc_obj(*bypass->vcpu);
	if (!bypass->vcpu)
		return -ENOMEM;

	/* There is nobody to be notified */
	pi_set_sn(bypass->vcpu);
	mutex_init(&bypass->lock);
	bypass->consumer.add_producer = bypass_add_producer;
	bypass->consumer.del_producer = bypass_del_producer;
	file->private_data = no_free_ptr(bypass);
	return 0;
}

static int bypass_release(struct inode *inode, struct file *file)
{
	struct bypass *bypass = file->private_data;

	if (bypass->eventfd) {
		irq_bypass_unregister_consumer(&bypass->consumer);
		eventfd_ctx_put(bypass->eventfd);
	}
	mutex_destroy(&bypass->lock);
	kfree(bypass->vcpu);
	kfree(bypass);
	return 0;
}

static const struct file_operations bypass_fops = {
	.owner		= THIS_MODULE,
	.open		= bypass_open,
	.release	= bypass_release,
	.unlocked_ioctl	= bypass_ioctl,
};

static struct miscdevice bypass_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "bypass",
	.fops	= &bypass_fops,
};

module_misc_device(bypass_misc);

MODULE_DESCRIPTION("Consumer of irq bypass for tests");
MODULE_LICENSE("GPL");
