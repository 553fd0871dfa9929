// SPDX-License-Identifier: GPL-2.0
/*
 * Lets a test program call the hypervisor as the kernel does, and as it should not,
 * and request interrupts of the I/O APIC, which no device of the bench has.
 */
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/kvm_para.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "irte_call.h"

static irqreturn_t irte_call_handler(int irq, void *data)
{
	return IRQ_HANDLED;
}

static int irte_call_call(struct irte_call __user *uptr)
{
	struct irte_call call;

	if (copy_from_user(&call, uptr, sizeof(call)))
		return -EFAULT;

	call.ret = kvm_hypercall4(KVM_HC_IRTE_UPDATE, call.arg[0], call.arg[1], call.arg[2],
				  call.arg[3]);

	return copy_to_user(uptr, &call, sizeof(call)) ? -EFAULT : 0;
}

static long irte_call_ioctl(struct file *file, unsigned int cmd, unsigned long ptr)
{
	u32 irq;

	if (cmd == IRTE_CALL_CALL)
		return irte_call_call((struct irte_call __user *)ptr);
	if (cmd != IRTE_CALL_REQUEST && cmd != IRTE_CALL_RELEASE)
		return -ENOTTY;
	if (get_user(irq, (u32 __user *)ptr))
		return -EFAULT;
	if (cmd == IRTE_CALL_REQUEST)
		return request_irq(irq, irte_call_handler, 0, "irte_call", THIS_MODULE);

	free_irq(irq, THIS_MODULE);
	return 0;
}

static const struct file_operations irte_call_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= irte_call_ioctl,
};

static struct miscdevice irte_call_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "irte_call",
	.fops	= &irte_call_fops,
};

module_misc_device(irte_call_misc);

MODULE_DESCRIPTION("Calls of the hypervisor for tests");
MODULE_LICENSE("GPL");
