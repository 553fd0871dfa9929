/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * irte_call: calls of the hypervisor by a test program, see irte_call.c
 */
#ifndef IRTE_CALL_H
#define IRTE_CALL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct irte_call - KVM_HC_IRTE_UPDATE
 * @arg:	Arguments
 * @ret:	Returns the result
 */
struct irte_call {
	__u64	arg[4];
	__s64	ret;
};

#define IRTE_CALL_MAGIC		0xb8

#define IRTE_CALL_CALL		_IOWR(IRTE_CALL_MAGIC, 0, struct irte_call)

/* request_irq() and free_irq() of a Linux interrupt number that nobody uses */
#define IRTE_CALL_REQUEST	_IOW(IRTE_CALL_MAGIC, 1, __u32)
#define IRTE_CALL_RELEASE	_IOW(IRTE_CALL_MAGIC, 2, __u32)

#endif /* IRTE_CALL_H */
