/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_FAULT_INJECT_IRQ_H
#define _LINUX_FAULT_INJECT_IRQ_H

#include <linux/types.h>

/**
 * enum irq_fail_point - Operations of interrupt management which can be failed
 * @IRQ_FAIL_ALLOC:		Allocation at one level of a domain hierarchy
 * @IRQ_FAIL_ACTIVATE:		Activation at one level of a domain hierarchy
 * @IRQ_FAIL_SET_AFFINITY:	Affinity change, in the core or at one level
 * @IRQ_FAIL_IRTE_WRITE:	Update of an interrupt remapping table entry
 * @IRQ_FAIL_INVALIDATE:	Invalidation of cached remapping table entries
 *
 * The values are the bit numbers of the "points" mask in debugfs.
 */
enum irq_fail_point {
	IRQ_FAIL_ALLOC,
	IRQ_FAIL_ACTIVATE,
	IRQ_FAIL_SET_AFFINITY,
	IRQ_FAIL_IRTE_WRITE,
	IRQ_FAIL_INVALIDATE,
};

#ifdef CONFIG_FAIL_IRQ
bool should_fail_irq(enum irq_fail_point point);
#else
static inline bool should_fail_irq(enum irq_fail_point point) { return false; }
#endif

#endif /* _LINUX_FAULT_INJECT_IRQ_H */
