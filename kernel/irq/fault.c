// SPDX-License-Identifier: GPL-2.0
/*
 * Fault injection for interrupt management
 */
#include <linux/bits.h>
#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/fault-inject-irq.h>
#include <linux/init.h>
#include <linux/jiffies.h>

static struct {
	struct fault_attr	attr;
	u32			points;
} fail_irq = {
	.attr	= FAULT_ATTR_INITIALIZER,
	.points	= U32_MAX,
};

static int __init setup_fail_irq(char *str)
{
	return setup_fault_attr(&fail_irq.attr, str);
}
__setup("fail_irq=", setup_fail_irq);

/**
 * should_fail_irq - Check whether an operation on an interrupt should fail
 * @point:	The operation which is about to be carried out
 *
 * To be called before the operation has changed anything. The caller chooses
 * the error code, so that it is one which the operation really returns.
 *
 * Context: Any context. Works in hard interrupt context and with raw spinlocks
 *	    held. A fail-nth count of the current task is only looked at in
 *	    task context.
 *
 * Return: True if the operation should fail, false otherwise
 */
bool should_fail_irq(enum irq_fail_point point)
{
	if (!(READ_ONCE(fail_irq.points) & BIT(point)))
		return false;

	return should_fail(&fail_irq.attr, 1);
}

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS
static int __init fail_irq_debugfs(void)
{
	struct dentry *dir = fault_create_debugfs_attr("fail_irq", NULL, &fail_irq.attr);

	if (IS_ERR(dir))
		return PTR_ERR(dir);

	debugfs_create_x32("points", 0600, dir, &fail_irq.points);
	return 0;
}
late_initcall(fail_irq_debugfs);
#endif

/*
 * A failed operation can be retried on each interrupt. Do not let the report,
 * which is printed with interrupts disabled, stall the CPU.
 *
 * This cannot be part of the static initialization, as it would override a
 * part of FAULT_ATTR_INITIALIZER, which the compiler warns about.
 */
static int __init fail_irq_ratelimit(void)
{
	fail_irq.attr.ratelimit_state.interval = HZ;
	fail_irq.attr.ratelimit_state.burst = DEFAULT_RATELIMIT_BURST;
	return 0;
}
pure_initcall(fail_irq_ratelimit);
