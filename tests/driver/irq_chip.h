/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which remapping unit has an interrupt: each has a way of its own to post it
 */
#ifndef IRQ_CHIP_H
#define IRQ_CHIP_H

#include <linux/irq.h>
#include <linux/string.h>

/* Whether one of its chips has a name that begins with @prefix */
static inline bool irq_has_chip(unsigned int irq, const char *prefix)
{
	struct irq_data *irqd = irq_get_irq_data(irq);

	for (; irqd; irqd = irqd->parent_data) {
		if (irqd->chip && str_has_prefix(irqd->chip->name, prefix))
			return true;
	}
	return false;
}

#endif /* IRQ_CHIP_H */
