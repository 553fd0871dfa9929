// SPDX-License-Identifier: GPL-2.0
/*
 * bench: what operations on interrupts cost, in instructions
 *
 * Under QEMU's '-icount shift=0,sleep=off' the time stamp counter advances by
 * one for each instruction that any of the CPUs executes, and by nothing else
 * as long as one of them is not idle. So a difference of two readings is the
 * number of instructions between them, if the other CPUs are idle.
 *
 * The driver takes the first pci-ims device, counts when it is bound and
 * prints a line for each operation into the kernel's log:
 *
 *	bench: KIND MEDIAN MINIMUM MAXIMUM OPERATION
 *
 * The median is the cost in the steady state. The tick, or a slow path of the
 * memory allocator, now and then hits a round and shows in the maximum.
 *
 * It builds for kernels with and without the series: MSI-X needs nothing of
 * that, and what has to do with IMS is below BENCH_IMS.
 */
#define pr_fmt(fmt) "bench: " fmt

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/workqueue.h>

#include <asm/msr.h>
#include <asm/tsc.h>

#include "pci-ims-regs.h"

/* The first rounds fill caches: those of the allocators, the domain */
#define BENCH_WARMUP	20
#define BENCH_ROUNDS	101

/* The counting runs on one CPU, interrupts move from there to the other one */
#define BENCH_CPU	0
#define BENCH_OTHER	1

/* Vectors for the operations on all vectors of a device */
#define BENCH_VECTORS	8

/**
 * enum bench_op - What is counted, in the order of a round
 * @BENCH_ALLOC:	Allocate one interrupt
 * @BENCH_REQUEST:	request_irq(), which activates and starts it
 * @BENCH_SAME:		irq_set_affinity() to the CPU where it is
 * @BENCH_IRQ:		An interrupt, from the entry to the exit
 * @BENCH_MOVE:		irq_set_affinity() to the other CPU
 * @BENCH_FREE_IRQ:	free_irq(), which shuts it down and deactivates it
 * @BENCH_FREE:		Free the interrupt
 * @BENCH_OPS:		Number of operations
 */
enum bench_op {
	BENCH_ALLOC,
	BENCH_REQUEST,
	BENCH_SAME,
	BENCH_IRQ,
	BENCH_MOVE,
	BENCH_FREE_IRQ,
	BENCH_FREE,
	BENCH_OPS,
};

static const char * const bench_names[] = {
	[BENCH_ALLOC]		= "allocate one interrupt",
	[BENCH_REQUEST]		= "request_irq()",
	[BENCH_SAME]		= "irq_set_affinity(), same CPU",
	[BENCH_IRQ]		= "one interrupt",
	[BENCH_MOVE]		= "irq_set_affinity(), other CPU",
	[BENCH_FREE_IRQ]	= "free_irq()",
	[BENCH_FREE]		= "free one interrupt",
};

struct bench;

/**
 * struct bench_kind - A kind of interrupts
 * @name:	Name
 * @source:	Flag in the numbers of its sources
 * @alloc:	Allocates one interrupt
 * @free:	Frees it
 */
struct bench_kind {
	const char	*name;
	u32		source;
	struct msi_map	(*alloc)(struct bench *bench);
	void		(*free)(struct bench *bench, struct msi_map map);
};

/**
 * struct bench - The device and what was counted on it
 * @pdev:	PCI device
 * @regs:	Registers
 * @slots:	Slot array
 * @overhead:	What two readings count with nothing in between
 * @received:	Interrupts received
 * @counts:	Instructions of each operation in each round
 */
struct bench {
	struct pci_dev	*pdev;
	void __iomem	*regs;
	void __iomem	*slots;
	u64		overhead;
	unsigned int	received;
	u64		counts[BENCH_OPS][BENCH_ROUNDS];
};

/* Instructions of @statement */
#define bench_count(bench, statement)				\
({								\
	u64 __start = rdtsc();					\
	statement;						\
	rdtsc() - __start - (bench)->overhead;			\
})

/* What was put off by the operations before: RCU, vectors to clean up */
static void bench_settle(void)
{
	msleep(20);
}

static irqreturn_t bench_handler(int irq, void *data)
{
	struct bench *bench = data;

	WRITE_ONCE(bench->received, bench->received + 1);
	return IRQ_HANDLED;
}

static void bench_trigger(struct bench *bench, u32 source)
{
	writel(source, bench->regs + PCI_IMS_TRIG_FIRST);
	writel(1, bench->regs + PCI_IMS_TRIG_COUNT);
	writel(1, bench->regs + PCI_IMS_TRIG_TIMES);
	writel(PCI_IMS_GO_RAW, bench->regs + PCI_IMS_TRIG_GO);
}

/* An interrupt on any CPU, which also completes a move */
static int bench_deliver(struct bench *bench, u32 source)
{
	unsigned int before = READ_ONCE(bench->received);

	bench_trigger(bench, source);
	bench_settle();
	return READ_ONCE(bench->received) == before + 1 ? 0 : -EIO;
}

/* An interrupt on this CPU: sent while it takes none, and counted when it does */
static int bench_interrupt(struct bench *bench, u32 source, u64 *count)
{
	unsigned int before = READ_ONCE(bench->received);

	local_irq_disable();
	bench_trigger(bench, source);
	/* STI takes effect after the next instruction */
	*count = bench_count(bench, local_irq_enable(); asm volatile("nop; nop"));
	return READ_ONCE(bench->received) == before + 1 ? 0 : -EIO;
}

static int bench_requested(struct bench *bench, unsigned int irq, u32 source, u64 *count)
{
	int ret;

	/* To a known CPU, and the move done with */
	ret = irq_set_affinity(irq, cpumask_of(BENCH_CPU));
	ret = ret ?: bench_deliver(bench, source);
	if (ret)
		return ret;

	count[BENCH_SAME] = bench_count(bench, ret = irq_set_affinity(irq, cpumask_of(BENCH_CPU)));
	if (ret)
		return ret;
	bench_settle();
	ret = bench_interrupt(bench, source, &count[BENCH_IRQ]);
	if (ret)
		return ret;
	bench_settle();

	count[BENCH_MOVE] = bench_count(bench, ret = irq_set_affinity(irq, cpumask_of(BENCH_OTHER)));
	return ret ?: bench_deliver(bench, source);
}

static int bench_round(struct bench *bench, const struct bench_kind *kind, u64 *count)
{
	struct msi_map map;
	int ret;

	count[BENCH_ALLOC] = bench_count(bench, map = kind->alloc(bench));
	if (map.index < 0)
		return map.index;
	bench_settle();

	count[BENCH_REQUEST] = bench_count(bench, ret = request_irq(map.virq, bench_handler, 0, "bench", bench));
	if (!ret) {
		bench_settle();
		ret = bench_requested(bench, map.virq, map.index | kind->source, count);
		count[BENCH_FREE_IRQ] = bench_count(bench, free_irq(map.virq, bench));
		bench_settle();
	}
	count[BENCH_FREE] = bench_count(bench, kind->free(bench, map));
	bench_settle();
	return ret;
}

static int bench_compare(const void *a, const void *b)
{
	return cmp_int(*(const u64 *)a, *(const u64 *)b);
}

static void bench_print(const char *kind, const char *name, u64 *counts)
{
	sort(counts, BENCH_ROUNDS, sizeof(*counts), bench_compare, NULL);
	pr_info("%s %llu %llu %llu %s\n", kind, counts[BENCH_ROUNDS / 2], counts[0],
		counts[BENCH_ROUNDS - 1], name);
}

static int bench_kind(struct bench *bench, const struct bench_kind *kind)
{
	u64 count[BENCH_OPS];
	int round, ret, op;

	for (round = -BENCH_WARMUP; round < BENCH_ROUNDS; round++) {
		ret = bench_round(bench, kind, count);
		if (ret)
			return ret;
		for (op = 0; op < BENCH_OPS && round >= 0; op++)
			bench->counts[op][round] = count[op];
	}
	for (op = 0; op < BENCH_OPS; op++)
		bench_print(kind->name, bench_names[op], bench->counts[op]);
	return 0;
}

/*
 * MSI-X
 */
static struct msi_map bench_msix_alloc(struct bench *bench)
{
	return pci_msix_alloc_irq_at(bench->pdev, MSI_ANY_INDEX, NULL);
}

static void bench_msix_free(struct bench *bench, struct msi_map map)
{
	pci_msix_free_irq(bench->pdev, map);
}

static const struct bench_kind bench_msix_kind = {
	.name	= "msix",
	.source	= PCI_IMS_SRC_MSIX,
	.alloc	= bench_msix_alloc,
	.free	= bench_msix_free,
};

/* All vectors of a device at once, as most drivers have them */
static int bench_vectors(struct bench *bench)
{
	u64 *alloc = bench->counts[0], *free = bench->counts[1], count;
	int round, ret;

	for (round = -BENCH_WARMUP; round < BENCH_ROUNDS; round++) {
		count = bench_count(bench, ret = pci_alloc_irq_vectors(bench->pdev, BENCH_VECTORS,
								       BENCH_VECTORS, PCI_IRQ_MSIX));
		if (ret < 0)
			return ret;
		alloc[max(round, 0)] = count;
		bench_settle();
		free[max(round, 0)] = bench_count(bench, pci_free_irq_vectors(bench->pdev));
		bench_settle();
	}
	bench_print("msix", "pci_alloc_irq_vectors(), 8", alloc);
	bench_print("msix", "pci_free_irq_vectors(), 8", free);
	return 0;
}

static int bench_msix(struct bench *bench)
{
	int ret = bench_vectors(bench);

	if (ret)
		return ret;

	/* More can be allocated one by one when there is a first one */
	ret = pci_alloc_irq_vectors(bench->pdev, 1, 1, PCI_IRQ_MSIX);
	if (ret < 0)
		return ret;
	ret = bench_kind(bench, &bench_msix_kind);
	pci_free_irq_vectors(bench->pdev);
	return ret;
}

/*
 * IMS
 */
#ifdef BENCH_IMS
static void __iomem *bench_slot(struct irq_data *data)
{
	return irq_data_get_msi_desc(data)->data.dcookie.iobase;
}

static void bench_irq_mask(struct irq_data *data)
{
	void __iomem *slot = bench_slot(data);

	writel(PCI_IMS_CTRL_MASK, slot + PCI_IMS_SLOT_CTRL);
	/* It is done when this returns, as for MSI-X */
	readl(slot + PCI_IMS_SLOT_CTRL);
}

static void bench_irq_unmask(struct irq_data *data)
{
	writel(0, bench_slot(data) + PCI_IMS_SLOT_CTRL);
}

static void bench_write_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
	void __iomem *slot = bench_slot(data);

	/* Only written while the slot is masked: on activation, and to clear it */
	writel(PCI_IMS_CTRL_MASK, slot + PCI_IMS_SLOT_CTRL);
	writel(msg->address_lo, slot + PCI_IMS_SLOT_ADDR_LO);
	writel(msg->address_hi, slot + PCI_IMS_SLOT_ADDR_HI);
	writel(msg->data, slot + PCI_IMS_SLOT_DATA);
	readl(slot + PCI_IMS_SLOT_CTRL);
}

static void bench_prepare_desc(struct irq_domain *domain, msi_alloc_info_t *arg,
			       struct msi_desc *desc)
{
	struct msi_domain_info *info = domain->host_data;
	struct bench *bench = info->data;

	desc->data.dcookie.iobase = bench->slots + desc->msi_index * PCI_IMS_SLOT_SIZE;
}

static const struct msi_domain_template bench_template = {
	.chip = {
		.irq_mask		= bench_irq_mask,
		.irq_unmask		= bench_irq_unmask,
		.irq_write_msi_msg	= bench_write_msi_msg,
	},

	.ops = {
		.prepare_desc		= bench_prepare_desc,
	},
};

static struct msi_map bench_ims_alloc(struct bench *bench)
{
	return pci_ims_alloc_irq(bench->pdev, NULL, NULL);
}

static void bench_ims_free(struct bench *bench, struct msi_map map)
{
	pci_ims_free_irq(bench->pdev, map);
}

static const struct bench_kind bench_ims_kind = {
	.name	= "ims",
	.alloc	= bench_ims_alloc,
	.free	= bench_ims_free,
};

static int bench_ims(struct bench *bench)
{
	int ret;

	ret = pci_create_ims_domain(bench->pdev, &bench_template,
				    readl(bench->regs + PCI_IMS_NSLOTS), bench);
	/* Not on each kind of remapping unit */
	if (ret)
		return ret == -EOPNOTSUPP ? 0 : ret;
	ret = bench_kind(bench, &bench_ims_kind);
	pci_remove_ims_domain(bench->pdev);
	return ret;
}
#else
static int bench_ims(struct bench *bench)
{
	return 0;
}
#endif

/* Twice, since the first count of all may differ from the others */
static void bench_calibrate(struct bench *bench)
{
	bench->overhead = 0;
	bench_count(bench, );
	bench->overhead = bench_count(bench, );
}

static long bench_run(void *data)
{
	struct bench *bench = data;
	int ret;

	bench_calibrate(bench);
	ret = bench_msix(bench);
	return ret ?: bench_ims(bench);
}

static int bench_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	static bool found;
	int ret;

	/* One device is enough */
	if (found)
		return -ENODEV;
	found = true;

	struct bench *bench __free(kfree) = kzalloc_obj(*bench);
	if (!bench)
		return -ENOMEM;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	bench->pdev = pdev;
	bench->regs = pcim_iomap(pdev, PCI_IMS_BAR_REGS, 0);
	bench->slots = pcim_iomap(pdev, PCI_IMS_BAR_SLOTS, 0);
	if (!bench->regs || !bench->slots)
		return -ENOMEM;
	pci_set_master(pdev);

	ret = work_on_cpu(BENCH_CPU, bench_run, bench);
	pr_info("done, %d\n", ret);
	return ret;
}

static const struct pci_device_id bench_ids[] = {
	{ PCI_DEVICE(PCI_IMS_VENDOR_ID, PCI_IMS_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, bench_ids);

static struct pci_driver bench_driver = {
	.name		= "bench",
	.id_table	= bench_ids,
	.probe		= bench_probe,
};
module_pci_driver(bench_driver);

MODULE_DESCRIPTION("Counts the instructions of operations on interrupts");
MODULE_LICENSE("GPL");
