// SPDX-License-Identifier: GPL-2.0
/*
 * I/O APIC interrupts of a Hyper-V root partition, which the hypervisor refuses to map
 *
 * The bench has no such hypervisor. Two kprobes take the place of its calls, and the domain
 * that the kernel has in a root partition only is made here, of the kernel's own operations.
 * An I/O APIC below it is not needed: an interrupt is mapped or not, whoever raises it.
 */
#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/ptrace.h>
#include <linux/string.h>

#include <asm/hw_irq.h>
#include <asm/irqdomain.h>
#include <asm/mshyperv.h>

#define IOAPIC_ID	3

/* The hypervisor: what it has mapped, what it answers, and calls that make no sense */
static struct {
	int				refuse;
	unsigned int			maps;
	unsigned int			nonsense;
	bool				mapped;
	int				cpu;
	u8				vector;
	struct hv_interrupt_entry	entry;
} hv;

/* Where the caller of a call goes on */
static noinline void hv_return(void)
{
	barrier();
}

static int hv_answer(struct pt_regs *regs, int ret)
{
	regs_set_return_value(regs, ret);
	regs->ip = (unsigned long)hv_return;
	return 1;
}

/* int hv_map_ioapic_interrupt(ioapic_id, level, cpu, vector, entry) */
static int hv_map(struct kprobe *probe, struct pt_regs *regs)
{
	struct hv_interrupt_entry *entry = (void *)regs->r8;

	hv.maps++;
	if (hv.mapped || (int)regs->di != IOAPIC_ID) {
		hv.nonsense++;
		return hv_answer(regs, -EINVAL);
	}
	if (hv.refuse)
		return hv_answer(regs, hv.refuse);
	hv.mapped = true;
	hv.cpu = regs->dx;
	hv.vector = regs->cx;
	hv.entry = (struct hv_interrupt_entry) { .source = HV_DEVICE_TYPE_IOAPIC };
	/* Another one each time */
	hv.entry.ioapic_rte.low_uint32 = hv.vector;
	hv.entry.ioapic_rte.high_uint32 = hv.maps;
	*entry = hv.entry;
	return hv_answer(regs, 0);
}

/* int hv_unmap_ioapic_interrupt(ioapic_id, entry) */
static int hv_unmap(struct kprobe *probe, struct pt_regs *regs)
{
	struct hv_interrupt_entry *entry = (void *)regs->si;

	if (!hv.mapped || (int)regs->di != IOAPIC_ID || memcmp(entry, &hv.entry, sizeof(*entry))) {
		hv.nonsense++;
		return hv_answer(regs, -EINVAL);
	}
	hv.mapped = false;
	return hv_answer(regs, 0);
}

/* With one of these the probe is not made a jump, which cannot skip the function */
static void hv_passed(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe hv_probes[] = {
	{ .symbol_name = "hv_map_ioapic_interrupt", .pre_handler = hv_map, .post_handler = hv_passed },
	{ .symbol_name = "hv_unmap_ioapic_interrupt", .pre_handler = hv_unmap, .post_handler = hv_passed },
};

static struct irq_domain *hv_domain;

/* A symbol that is not exported */
static void *hv_symbol(const char *name)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *name);

	if (register_kprobe(&probe))
		return NULL;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
	return (void *)lookup(name);
}

static int hv_suite_init(struct kunit_suite *suite)
{
	const struct irq_domain_ops *ops = hv_symbol("hyperv_root_ir_domain_ops");
	struct fwnode_handle *fwnode;
	int ret;

	if (!ops)
		return -ENOENT;
	ret = register_kprobe(&hv_probes[0]);
	if (ret)
		return ret;
	ret = register_kprobe(&hv_probes[1]);
	if (ret)
		goto unregister_map;
	ret = -ENOMEM;
	fwnode = irq_domain_alloc_named_fwnode("HYPERV-ROOT-TEST");
	if (!fwnode)
		goto unregister_unmap;
	hv_domain = irq_domain_create_hierarchy(x86_vector_domain, 0, 1, fwnode, ops, NULL);
	if (!hv_domain)
		goto free_fwnode;
	return 0;

free_fwnode:
	irq_domain_free_fwnode(fwnode);
unregister_unmap:
	unregister_kprobe(&hv_probes[1]);
unregister_map:
	unregister_kprobe(&hv_probes[0]);
	return ret;
}

static void hv_suite_exit(struct kunit_suite *suite)
{
	struct fwnode_handle *fwnode;

	if (!hv_domain)
		return;
	fwnode = hv_domain->fwnode;
	irq_domain_remove(hv_domain);
	irq_domain_free_fwnode(fwnode);
	unregister_kprobe(&hv_probes[1]);
	unregister_kprobe(&hv_probes[0]);
}

static irqreturn_t hv_handler(int irq, void *dev)
{
	return IRQ_HANDLED;
}

/* What a test leaves behind when it ends early */
static unsigned int hv_virq;
static bool hv_requested;

static void hv_release(void)
{
	if (hv_requested)
		free_irq(hv_virq, &hv);
	hv_requested = false;
}

static int hv_request(void)
{
	int ret = request_irq(hv_virq, hv_handler, 0, "hv_root", &hv);

	hv_requested = !ret;
	return ret;
}

static int hv_init(struct kunit *test)
{
	struct irq_alloc_info info = { .type = X86_IRQ_ALLOC_TYPE_IOAPIC, .devid = IOAPIC_ID };
	int virq;

	memset(&hv, 0, sizeof(hv));
	virq = irq_domain_alloc_irqs(hv_domain, 1, NUMA_NO_NODE, &info);
	if (virq <= 0)
		return virq ?: -ENOSPC;
	hv_virq = virq;
	irq_set_handler(virq, handle_edge_irq);
	return 0;
}

static void hv_exit(struct kunit *test)
{
	hv_release();
	if (hv_virq)
		irq_domain_free_irqs(hv_virq, 1);
	hv_virq = 0;
	KUNIT_EXPECT_FALSE(test, hv.mapped);
	KUNIT_EXPECT_EQ(test, hv.nonsense, 0u);
}

/* Mapped to where the interrupt is, and that is what an I/O APIC would be told */
static void hv_check_mapped(struct kunit *test)
{
	struct irq_data *irqd = irq_get_irq_data(hv_virq);
	unsigned int maps = hv.maps;
	struct msi_msg msg = { };

	irqd->chip->irq_compose_msi_msg(irqd, &msg);
	KUNIT_EXPECT_EQ(test, (u8)msg.arch_data.vector, hv.vector);
	KUNIT_EXPECT_EQ(test, hv.maps, maps);
	KUNIT_EXPECT_TRUE(test, hv.mapped);
	KUNIT_EXPECT_EQ(test, hv.cpu, cpumask_first(irq_get_effective_affinity_mask(hv_virq)));
}

static void activation_fails(struct kunit *test)
{
	hv.refuse = -ENOMEM;
	KUNIT_ASSERT_EQ(test, hv_request(), -ENOMEM);
	KUNIT_EXPECT_FALSE(test, hv.mapped);
	KUNIT_EXPECT_FALSE(test, irqd_is_activated(irq_get_irq_data(hv_virq)));

	hv.refuse = 0;
	KUNIT_ASSERT_EQ(test, hv_request(), 0);
	hv_check_mapped(test);
}

/* The affinity that is set on startup, or once more, leaves a good mapping alone */
static void mapped_once(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, hv_request(), 0);
	KUNIT_EXPECT_EQ(test, hv.maps, 1u);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(hv_virq, cpumask_of(hv.cpu)), 0);
	KUNIT_EXPECT_EQ(test, hv.maps, 1u);
	hv_check_mapped(test);
}

/* The hypervisor cannot change a mapping: the old one is gone, and the next move makes one */
static void affinity_fails(struct kunit *test)
{
	int cpu, other;
	u8 vector;

	KUNIT_ASSERT_EQ(test, hv_request(), 0);
	cpu = hv.cpu;
	other = !cpu;
	vector = hv.vector;

	hv.refuse = -ENOMEM;
	KUNIT_EXPECT_EQ(test, irq_set_affinity(hv_virq, cpumask_of(other)), -ENOMEM);
	KUNIT_EXPECT_FALSE(test, hv.mapped);
	KUNIT_EXPECT_TRUE(test, cpumask_test_cpu(cpu, irq_get_effective_affinity_mask(hv_virq)));

	/* Back to where it was, with the vector that it has kept */
	hv.refuse = 0;
	KUNIT_EXPECT_EQ(test, irq_set_affinity(hv_virq, cpumask_of(cpu)), 0);
	hv_check_mapped(test);
	KUNIT_EXPECT_EQ(test, hv.vector, vector);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(hv_virq, cpumask_of(other)), 0);
	hv_check_mapped(test);
	KUNIT_EXPECT_EQ(test, hv.cpu, other);
}

static struct kunit_case hv_cases[] = {
	KUNIT_CASE(activation_fails),
	KUNIT_CASE(mapped_once),
	KUNIT_CASE(affinity_fails),
	{}
};

static struct kunit_suite hv_suite = {
	.name		= "hv_root",
	.suite_init	= hv_suite_init,
	.suite_exit	= hv_suite_exit,
	.init		= hv_init,
	.exit		= hv_exit,
	.test_cases	= hv_cases,
};
kunit_test_suite(hv_suite);

MODULE_DESCRIPTION("Interrupts of a Hyper-V root partition that cannot be mapped");
MODULE_LICENSE("GPL");
