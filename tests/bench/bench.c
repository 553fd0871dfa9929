// SPDX-License-Identifier: GPL-2.0
/*
 * bench: what operations on interrupts cost, in instructions
 *
 * Under QEMU's '-icount shift=0,sleep=off' the time stamp counter advances by
 * one for each instruction that any of the CPUs executes, and by nothing else
 * as long as one of them is not idle. So a difference of two readings is the
 * number of instructions between them, if the other CPUs are idle.
 *
 * The driver takes the first pci-ims device and the first large one, counts
 * when it is bound and prints a line for each operation into the kernel's log:
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
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/workqueue.h>

#include <asm/msr.h>
#include <asm/tsc.h>

#ifdef BENCH_IMS
#include <linux/pci-ims.h>
#endif

#include "pci-ims-regs.h"

/* The first rounds fill caches: those of the allocators, the domain */
#define BENCH_WARMUP	20
#define BENCH_ROUNDS	101

static int rounds = BENCH_ROUNDS;
module_param(rounds, int, 0400);
MODULE_PARM_DESC(rounds, "Rounds to count, at most 101. With fewer there is no warm-up.");

/* The counting runs on one CPU, interrupts move from there to the other one */
#define BENCH_CPU	0
#define BENCH_OTHER	1

/* Interrupts on one device, of 65536 remapping table entries for all */
#define BENCH_MANY	60000

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

static void bench_print(const char *kind, const char *name, u64 *counts, unsigned int nr)
{
	sort(counts, nr, sizeof(*counts), bench_compare, NULL);
	pr_info("%s %llu %llu %llu %s\n", kind, counts[nr / 2], counts[0], counts[nr - 1], name);
}

static int bench_kind(struct bench *bench, const struct bench_kind *kind)
{
	u64 count[BENCH_OPS];
	int round, ret, op;

	for (round = rounds < BENCH_ROUNDS ? 0 : -BENCH_WARMUP; round < rounds; round++) {
		ret = bench_round(bench, kind, count);
		if (ret)
			return ret;
		for (op = 0; op < BENCH_OPS && round >= 0; op++)
			bench->counts[op][round] = count[op];
	}
	for (op = 0; op < BENCH_OPS; op++)
		bench_print(kind->name, bench_names[op], bench->counts[op], rounds);
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

	for (round = rounds < BENCH_ROUNDS ? 0 : -BENCH_WARMUP; round < rounds; round++) {
		count = bench_count(bench, ret = pci_alloc_irq_vectors(bench->pdev, BENCH_VECTORS,
								       BENCH_VECTORS, PCI_IRQ_MSIX));
		if (ret < 0)
			return ret;
		alloc[max(round, 0)] = count;
		bench_settle();
		free[max(round, 0)] = bench_count(bench, pci_free_irq_vectors(bench->pdev));
		bench_settle();
	}
	bench_print("msix", "pci_alloc_irq_vectors(), 8", alloc, rounds);
	bench_print("msix", "pci_free_irq_vectors(), 8", free, rounds);
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
static struct msi_map bench_ims_alloc(struct bench *bench)
{
	return pci_ims_alloc_irq(bench->pdev, NULL, NULL);
}

static void bench_ims_free(struct bench *bench, struct msi_map map)
{
	pci_ims_free_irq(bench->pdev, map);
}

static const struct bench_kind bench_slots_kind = {
	.name	= "slots",
	.alloc	= bench_ims_alloc,
	.free	= bench_ims_free,
};

static int bench_slots_create(struct bench *bench)
{
	struct pci_ims_slot_array array = {
		.base		= bench->slots,
		.nr_slots	= readl(bench->regs + PCI_IMS_NSLOTS),
	};

	return pci_ims_slot_array_create(bench->pdev, &array);
}

static int bench_slots(struct bench *bench)
{
	int ret = bench_slots_create(bench);

	/* Not on each kind of remapping unit */
	if (ret)
		return ret == -EOPNOTSUPP ? 0 : ret;
	ret = bench_kind(bench, &bench_slots_kind);
	pci_remove_ims_domain(bench->pdev);
	return ret;
}

static const struct bench_kind bench_queues_kind = {
	.name	= "queue",
	.alloc	= bench_ims_alloc,
	.free	= bench_ims_free,
};

/* A slot is the queue: one with as much to write as an array has */
static void bench_queue_write(struct pci_dev *pdev, unsigned int index,
			      union msi_instance_cookie icookie, const struct msi_msg *msg)
{
	struct bench *bench = pci_get_drvdata(pdev);
	void __iomem *slot = bench->slots + index * PCI_IMS_SLOT_SIZE;

	writel(PCI_IMS_CTRL_MASK, slot + PCI_IMS_SLOT_CTRL);
	writel(msg ? msg->address_lo : 0, slot + PCI_IMS_SLOT_ADDR_LO);
	writel(msg ? msg->address_hi : 0, slot + PCI_IMS_SLOT_ADDR_HI);
	writel(msg ? msg->data : 0, slot + PCI_IMS_SLOT_DATA);
	readl(slot + PCI_IMS_SLOT_CTRL);
	if (msg)
		writel(0, slot + PCI_IMS_SLOT_CTRL);
}

static int bench_queues(struct bench *bench)
{
	struct pci_ims_queue_store store = {
		.nr_queues	= readl(bench->regs + PCI_IMS_NSLOTS),
		.write_msg	= bench_queue_write,
	};
	int ret = pci_ims_queue_store_create(bench->pdev, &store);

	if (ret)
		return ret == -EOPNOTSUPP ? 0 : ret;
	ret = bench_kind(bench, &bench_queues_kind);
	pci_remove_ims_domain(bench->pdev);
	return ret;
}

static int bench_ims(struct bench *bench)
{
	int ret = bench_slots(bench);

	return ret ?: bench_queues(bench);
}

/* The 600th, and each 5,000th */
static bool bench_many_step(unsigned int nr)
{
	return nr == 600 || nr % 5000 == 0;
}

static u64 bench_free_memory(void)
{
	struct sysinfo info;

	/* What is freed by RCU */
	rcu_barrier();
	bench_settle();
	si_meminfo(&info);
	return (u64)info.freeram * info.mem_unit;
}

/* As many interrupts as an IMS can have on one device, none of which is requested */
static int bench_many(struct bench *bench)
{
	u64 memory, *counts = bench->counts[0];
	unsigned int nr, round = 0;
	struct msi_map map;
	char name[40];
	int ret;

	ret = bench_slots_create(bench);
	if (ret)
		return ret == -EOPNOTSUPP ? 0 : ret;

	memory = bench_free_memory();
	for (nr = 1; nr <= BENCH_MANY; nr++) {
		u64 count = bench_count(bench, map = bench_ims_alloc(bench));

		if (map.index < 0)
			break;

		/* Those before a number that is printed, and that one */
		if (bench_many_step(nr + BENCH_ROUNDS - 1) || round) {
			counts[round++] = count;
			if (round == BENCH_ROUNDS) {
				snprintf(name, sizeof(name), "allocation %u", nr);
				bench_print("many", name, counts, round);
				round = 0;
			}
		}
		cond_resched();
	}
	ret = map.index < 0 && map.index != -ENOSPC ? map.index : 0;
	nr--;
	memory -= bench_free_memory();
	pr_info("memory %llu 0 0 bytes for each of %u\n", div_u64(memory, nr), nr);
	pci_remove_ims_domain(bench->pdev);
	return ret;
}
#else
static int bench_ims(struct bench *bench)
{
	return 0;
}

static int bench_many(struct bench *bench)
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
	if (readl(bench->regs + PCI_IMS_NSLOTS) > BENCH_MANY)
		return bench_many(bench);
	ret = bench_msix(bench);
	return ret ?: bench_ims(bench);
}

/* Which devices have been counted */
static bool bench_devices[2];

static int bench_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	bool many;
	int ret;

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

	/* One device of each kind is enough */
	many = readl(bench->regs + PCI_IMS_NSLOTS) > BENCH_MANY;
	if (bench_devices[many] || (many && rounds < BENCH_ROUNDS))
		return -ENODEV;
	bench_devices[many] = true;
	pci_set_master(pdev);
	pci_set_drvdata(pdev, bench);
	rounds = clamp(rounds, 1, BENCH_ROUNDS);
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
