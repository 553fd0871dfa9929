// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of XIVE: an interrupt that the hypervisor refuses to configure takes no slot of
 * an event queue
 *
 * The build of the suite kunit-powerpc includes this at the end of
 * arch/powerpc/sysdev/xive/common.c, because of what is static there.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/interrupt.h>

/* Interrupt pin A of the first PCI host bridge of QEMU's pseries machine, which is not used */
#define FREE_HWIRQ	0x1200
#define ATTEMPTS	3

static const struct xive_ops *real_ops;
static struct xive_ops refusing_ops;

static int refuse(u32 hw_irq, u32 target, u8 prio, u32 sw_irq)
{
	/* An interrupt can still be taken from its queue */
	return prio == 0xff ? real_ops->configure_irq(hw_irq, target, prio, sw_irq) : -EIO;
}

static int xive_suite_init(struct kunit_suite *suite)
{
	if (!xive_ops)
		return -ENODEV;
	real_ops = xive_ops;
	refusing_ops = *xive_ops;
	refusing_ops.configure_irq = refuse;
	return 0;
}

static void xive_suite_exit(struct kunit_suite *suite)
{
	if (real_ops)
		xive_ops = real_ops;
}

static int read_slots(void)
{
	struct xive_q *q;
	int cpu, sum = 0;

	for_each_online_cpu(cpu) {
		q = &per_cpu(xive_cpu, cpu)->queue[xive_irq_priority];
		sum += atomic_read(&q->count) - atomic_read(&q->pending_count);
	}
	return sum;
}

/*
 * The slots that interrupts have, of the queues of all CPUs. Those that another CPU is just
 * giving back are counted twice for a moment.
 */
static int slots(void)
{
	int sum, again = read_slots();

	do {
		sum = again;
		udelay(100);
		again = read_slots();
	} while (sum != again);
	return sum;
}

static irqreturn_t handler(int irq, void *dev)
{
	return IRQ_HANDLED;
}

static void startup_fails(struct kunit *test)
{
	unsigned int virq = irq_create_mapping(xive_irq_domain, FREE_HWIRQ);
	int before = slots(), i;

	KUNIT_ASSERT_NE(test, virq, 0u);
	xive_ops = &refusing_ops;
	for (i = 0; i < ATTEMPTS; i++)
		KUNIT_EXPECT_EQ(test, request_irq(virq, handler, 0, "xive_test", test), -EIO);
	xive_ops = real_ops;
	KUNIT_EXPECT_EQ(test, slots(), before);

	KUNIT_ASSERT_EQ(test, request_irq(virq, handler, 0, "xive_test", test), 0);
	KUNIT_EXPECT_EQ(test, slots(), before + 1);
	free_irq(virq, test);
	KUNIT_EXPECT_EQ(test, slots(), before);
	irq_dispose_mapping(virq);
}

static void affinity_fails(struct kunit *test)
{
	unsigned int virq = irq_create_mapping(xive_irq_domain, FREE_HWIRQ), cpu, i;
	struct xive_irq_data *xd;
	int before;

	KUNIT_ASSERT_NE(test, virq, 0u);
	KUNIT_ASSERT_EQ(test, request_irq(virq, handler, IRQF_NOBALANCING, "xive_test", test), 0);
	xd = irq_get_chip_data(virq);
	cpu = xd->target;
	before = slots();
	xive_ops = &refusing_ops;
	for (i = 0; i < ATTEMPTS; i++)
		KUNIT_EXPECT_EQ(test, irq_set_affinity(virq, cpumask_of(!cpu)), -EIO);
	xive_ops = real_ops;
	KUNIT_EXPECT_EQ(test, xd->target, cpu);
	KUNIT_EXPECT_EQ(test, slots(), before);

	KUNIT_EXPECT_EQ(test, irq_set_affinity(virq, cpumask_of(!cpu)), 0);
	KUNIT_EXPECT_EQ(test, xd->target, !cpu);
	KUNIT_EXPECT_EQ(test, slots(), before);
	free_irq(virq, test);
	irq_dispose_mapping(virq);
}

static struct kunit_case xive_cases[] = {
	KUNIT_CASE(startup_fails),
	KUNIT_CASE(affinity_fails),
	{}
};

static struct kunit_suite xive_suite = {
	.name		= "xive",
	.suite_init	= xive_suite_init,
	.suite_exit	= xive_suite_exit,
	.test_cases	= xive_cases,
};
kunit_test_suite(xive_suite);
