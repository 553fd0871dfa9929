// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: updates of remapping entries by the hypervisor
 *
 * This runs in a guest whose remapping unit is in caching mode, and whose
 * hypervisor takes updates of entries by a call. The device irte-control says how
 * the hypervisor answers, and what it has seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include <linux/reboot.h>

#include "../driver/irte_call.h"
#include "../qemu/irte-control-regs.h"
#include "imstest.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
#define UNIT		0xfed90000UL
#define AMD_UNIT	0xfed80000UL

/* Not in errno.h: the hypervisor does not know the call */
#define KVM_ENOSYS	1000

/* Another one, whose affinity nobody sets */
#define SLOW_IRQ	6
/* That of the serial port for the results */
#define USED_IRQ	3

#define DISK_VECTORS	2u

/* As many as the disk has, and more */
#define MSIX_VECTORS	4u

/*
 * The device irte-control
 */

static void *control;

void knob(unsigned int reg, u32 val)
{
	mmio_write(control, reg, val);
}

u32 seen(unsigned int reg)
{
	return mmio_read(control, reg);
}

void refuse(u32 kinds, u32 nth, int err)
{
	knob(IRTE_CONTROL_FAIL_ERRNO, err);
	knob(IRTE_CONTROL_FAIL_NTH, nth);
	knob(IRTE_CONTROL_FAIL_KINDS, kinds);
}

void refuse_nothing(void)
{
	knob(IRTE_CONTROL_FAIL_KINDS, 0);
	knob(IRTE_CONTROL_FAIL_NTH, 0);
	knob(IRTE_CONTROL_FAIL_INDEX, UINT32_MAX);
	knob(IRTE_CONTROL_DELAY, 0);
	knob(IRTE_CONTROL_DATA, 0);
	knob(IRTE_CONTROL_UNANSWERED, 0);
}

static void map_control(void)
{
	struct device *dev = name_control();
	char file[128];
	int fd, ret;

	CHECK(dev, "there is no device irte-control");
	ret = write_file("1", PCI_DEVICES "/%s/enable", dev->bdf);
	CHECK(!ret, "cannot enable %s: %s", dev->bdf, strerror(-ret));
	snprintf(file, sizeof(file), PCI_DEVICES "/%s/resource0", dev->bdf);
	fd = open(file, O_RDWR | O_SYNC);
	CHECK(fd >= 0, "cannot open %s: %s", file, strerror(errno));
	control = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(control != MAP_FAILED, "cannot map %s: %s", file, strerror(errno));
	close(fd);
}

void open_control(void)
{
	if (!control)
		map_control();
	refuse_nothing();
}

int open_calls(void)
{
	int fd = open("/dev/irte_call", O_RDWR);

	CHECK(fd >= 0, "cannot open /dev/irte_call: %s", strerror(errno));
	return fd;
}

static long hypercall(int fd, u64 a0, u64 a1, u64 a2, u64 a3)
{
	struct irte_call call = { .arg = { a0, a1, a2, a3 } };

	CHECK(!ioctl(fd, IRTE_CALL_CALL, &call), "the call: %s", strerror(errno));
	return call.ret;
}

int request_pin(int fd, u32 irq)
{
	return ioctl(fd, IRTE_CALL_REQUEST, &irq) ? -errno : 0;
}

void release_pin(int fd, u32 irq)
{
	CHECK(!ioctl(fd, IRTE_CALL_RELEASE, &irq), "releasing interrupt %u: %s", irq,
	      strerror(errno));
}

static struct device *open_granted(void)
{
	struct device *dev = open_device(0);

	open_control();
	map_msix(dev);
	return dev;
}

/* Without any slot in use; use_slots() makes a domain of its own */
static struct device *open_with_domain(void)
{
	struct device *dev = open_granted();

	create_domain(dev, dev->nslots);
	return dev;
}

/*
 * What an operation costs
 */

struct cost {
	u32	present;
	u32	release;
	u32	other;
	u32	iec;
	u32	exits;
};

static struct cost cost_so_far(void)
{
	struct cost cost = {
		.present	= seen(IRTE_CONTROL_PRESENT),
		.release	= seen(IRTE_CONTROL_RELEASE),
		.iec		= seen(IRTE_CONTROL_IEC),
		.exits		= seen(IRTE_CONTROL_READS) + seen(IRTE_CONTROL_WRITES),
	};

	cost.other = seen(IRTE_CONTROL_CALLS) - cost.present - cost.release;
	return cost;
}

static void check_cost(const char *what, const struct cost *before, u32 present, u32 release)
{
	struct cost now = cost_so_far();

	now.present -= before->present;
	now.release -= before->release;
	now.other -= before->other;
	now.iec -= before->iec;
	now.exits -= before->exits;
	note("%-34s %5u %8u %13u %11u", what, now.present, now.release, now.iec, now.exits);
	CHECK(now.present == present && now.release == release && !now.other,
	      "%s: %u updates, %u releases, %u other calls, should be %u, %u, 0", what,
	      now.present, now.release, now.other, present, release);
	CHECK(!now.iec && !now.exits, "%s: %u invalidations, %u accesses of the unit", what,
	      now.iec, now.exits);
}

static void count_steps(struct device *dev, u32 source, const struct step *steps)
{
	bool msix = source & PCI_IMS_SRC_MSIX;
	struct cost before;
	unsigned int i;
	char what[64];
	u32 present;
	int ret;

	note("%-34s %5s %8s %13s %11s", msix ? "MSI-X" : "IMS", "calls", "releases",
	     "invalidations", "unit exits");
	for (i = 0; steps[i].run; i++) {
		end_move(dev, source);
		before = cost_so_far();
		ret = steps[i].run(dev, source);
		CHECK(!ret, "%s: %s", steps[i].name, strerror(-ret));
		snprintf(what, sizeof(what), "%s %s", msix ? "MSI-X:" : "IMS:", steps[i].name);
		/* Nothing comes of what is reserved only */
		present = !steps[i].last && strcmp(steps[i].name, "allocate");
		if (present && !strncmp(steps[i].name, "move", 4))
			present = before.present + 1 == seen(IRTE_CONTROL_PRESENT);
		check_cost(what, &before, present, !strcmp(steps[i].name, "release"));
	}
}

/* What the table has is what was announced */
static void test_granted(void)
{
	struct device *dev = open_with_domain();
	u32 granted = seen(IRTE_CONTROL_GRANTED), announced = seen(IRTE_CONTROL_ANNOUNCED);
	u32 grants = seen(IRTE_CONTROL_GRANT);
	unsigned int present = count_irtes();

	CHECK(caching_mode(), "the unit is not in caching mode");
	CHECK(granted && grants == 1, "the unit is %sgranted, %u grants", granted ? "" : "not ",
	      grants);
	CHECK(announced == present, "%u entries are announced, %u present", announced, present);
	check_device(dev);
}

static void test_counts_msix(void)
{
	struct device *dev = open_granted();

	count_steps(dev, MSIX(0), msix_steps);
}

static void test_counts_ims(void)
{
	struct device *dev = open_with_domain();

	count_steps(dev, 0, ims_steps);
}

/* What is not a change is not a call */
static void test_counts_nothing(void)
{
	struct device *dev = open_granted();
	struct cost before;
	unsigned int cpu;

	use_slots(dev, 1);
	for (cpu = 0; cpu < 2; cpu++) {
		pin(dev, 0, cpu);
		end_move(dev, 0);
		before = cost_so_far();
		set_affinity(virq_of(dev, 0), cpu);
		check_cost("IMS: affinity as it is", &before, 0, 0);
		before = cost_so_far();
		set_affinity(virq_of(dev, 0), !cpu);
		check_cost("IMS: affinity to the other CPU", &before, 1, 0);
	}

	end_move(dev, 0);
	before = cost_so_far();
	CHECK(!call_source(dev, IMS_TEST_MASK, 0), "cannot mask");
	CHECK(!call_source(dev, IMS_TEST_UNMASK, 0), "cannot unmask");
	check_cost("IMS: mask and unmask", &before, 0, 0);
}

static void test_counts_ioapic(void)
{
	int fd = open_calls();
	struct cost before;
	int ret;

	open_control();
	before = cost_so_far();
	ret = request_pin(fd, FREE_IRQ);
	CHECK(!ret, "requesting interrupt %u: %s", FREE_IRQ, strerror(-ret));
	check_cost("I/O APIC: request", &before, 1, 0);
	before = cost_so_far();
	set_affinity(FREE_IRQ, irq_is_on(FREE_IRQ, 0));
	check_cost("I/O APIC: move", &before, 1, 0);
	WAIT(PATIENCE, move_done(FREE_IRQ));
	before = cost_so_far();
	release_pin(fd, FREE_IRQ);
	check_cost("I/O APIC: release", &before, 0, 1);
}

/*
 * What the hypervisor says is what the caller gets
 */

static const struct {
	int	given;
	int	expected;
} errnos[] = {
	{ EINVAL,	EINVAL },
	{ ENOSPC,	ENOSPC },
	{ ENOMEM,	ENOMEM },
	{ EPERM,	EPERM },
	{ EOPNOTSUPP,	EOPNOTSUPP },
	{ EIO,		EIO },
	{ KVM_ENOSYS,	EOPNOTSUPP },
	/* genirq takes it for a reason to wait */
	{ EBUSY,	EIO },
	{ EAGAIN,	EIO },
	{ 4095,		EIO },
};

static void refused_step(struct device *dev, u32 source, int (*run)(const struct device *, u32),
			 const char *what)
{
	struct state before;
	unsigned int i;
	int ret;

	end_move(dev, source);
	/* To look at everything takes long in here, and does not depend on the error */
	get_state(dev, source, &before);
	for (i = 0; i < ARRAY_SIZE(errnos); i++) {
		end_move(dev, source);
		refuse(IRTE_KIND_PRESENT, 1, errnos[i].given);
		ret = run(dev, source);
		CHECK(!seen(IRTE_CONTROL_FAIL_NTH), "%s: the hypervisor was not asked", what);
		refuse_nothing();
		CHECK(ret == -errnos[i].expected, "%s refused with %d: %s (%d)", what,
		      errnos[i].given, ret ? strerror(-ret) : "done", ret);
		note("%s refused with %d: %s", what, errnos[i].given, strerror(-ret));
	}
	check_state(dev, source, &before, what);
}

static int request_it(const struct device *dev, u32 source)
{
	return call_source(dev, IMS_TEST_REQUEST, source);
}

static void test_request(struct device *dev, u32 source)
{
	refused_step(dev, source, request_it, "request_irq()");
	request(dev, source);
	check_arrival(dev, source);
	check_device(dev);
}

static void test_request_msix(void)
{
	struct device *dev = open_granted();
	u32 nr = 2;
	int ret = call(dev, IMS_TEST_MSIX, &nr);

	CHECK(!ret, "allocating: %s", strerror(-ret));
	test_request(dev, MSIX(1));
}

static void test_request_ims(void)
{
	struct device *dev = open_with_domain();

	test_request(dev, alloc_slot(dev));
}

static int move_away(const struct device *dev, u32 source)
{
	return move_to(dev, source, irq_is_on(virq_of(dev, source), 0));
}

static void test_affinity(struct device *dev, u32 source)
{
	unsigned int cpu, i;
	int ret;

	for (i = 0; i < 2; i++) {
		refused_step(dev, source, move_away, "smp_affinity");
		check_arrival(dev, source);
		cpu = irq_is_on(virq_of(dev, source), 0);
		ret = move_to(dev, source, cpu);
		CHECK(!ret, "smp_affinity, granted: %s", strerror(-ret));
		one_interrupt(dev, source, cpu);
	}
	check_sane(dev);
}

static void test_affinity_msix(void)
{
	struct device *dev = open_granted();

	use_msix(dev, 1);
	test_affinity(dev, MSIX(0));
}

static void test_affinity_ims(void)
{
	struct device *dev = open_granted();

	use_slots(dev, 1);
	test_affinity(dev, 0);
}

static void test_ioapic(void)
{
	struct resources before = resources();
	unsigned long mask, effective;
	int fd = open_calls(), ret;
	unsigned int i;

	open_control();
	for (i = 0; i < ARRAY_SIZE(errnos); i++) {
		refuse(IRTE_KIND_PRESENT, 1, errnos[i].given);
		ret = request_pin(fd, FREE_IRQ);
		refuse_nothing();
		CHECK(ret == -errnos[i].expected, "request_irq() refused with %d: %d",
		      errnos[i].given, ret);
		check_resources(&before);

		mask = mask_of(USED_IRQ, "smp_affinity");
		effective = mask_of(USED_IRQ, "effective_affinity");
		WAIT(PATIENCE, move_done(USED_IRQ));
		refuse(IRTE_KIND_PRESENT, 1, errnos[i].given);
		ret = try_affinity(USED_IRQ, irq_is_on(USED_IRQ, 0));
		refuse_nothing();
		CHECK(ret == -errnos[i].expected, "smp_affinity refused with %d: %d",
		      errnos[i].given, ret);
		CHECK(mask == mask_of(USED_IRQ, "smp_affinity") &&
		      effective == mask_of(USED_IRQ, "effective_affinity"),
		      "the masks have changed");
	}
	ret = request_pin(fd, FREE_IRQ);
	CHECK(!ret, "request_irq(), granted: %s", strerror(-ret));
	release_pin(fd, FREE_IRQ);
	ret = try_affinity(USED_IRQ, irq_is_on(USED_IRQ, 0));
	CHECK(!ret, "smp_affinity, granted: %s", strerror(-ret));
	check_resources(&before);
}

/*
 * MSI: it cannot be masked, so its entries are announced when it is allocated
 */

static int alloc_messages(const struct device *dev, u32 nr)
{
	return call(dev, IMS_TEST_MSI, &nr);
}

static int alloc_msi(const struct device *dev, u32 source)
{
	(void)source;
	return alloc_messages(dev, 1);
}

static void free_msi(const struct device *dev)
{
	int ret = alloc_messages(dev, 0);

	CHECK(!ret, "freeing MSI: %s", strerror(-ret));
}

/* The first time leaves a domain for the others */
static struct device *open_with_msi(u32 nr)
{
	struct device *dev = open_granted();
	int ret = alloc_messages(dev, nr);

	CHECK(!ret, "allocating %u messages of MSI: %s", nr, strerror(-ret));
	free_msi(dev);
	return dev;
}

static void test_request_msi(void)
{
	struct device *dev = open_with_msi(1);
	struct resources before = resources();
	int ret;

	refused_step(dev, MSI(0), alloc_msi, "pci_alloc_irq_vectors()");
	ret = alloc_msi(dev, MSI(0));
	CHECK(!ret, "pci_alloc_irq_vectors(), granted: %s", strerror(-ret));
	request(dev, MSI(0));
	check_arrival(dev, MSI(0));

	/* The vector stays, but not the entry */
	release(dev, MSI(0));
	refused_step(dev, MSI(0), request_it, "request_irq()");
	request(dev, MSI(0));
	check_arrival(dev, MSI(0));
	release(dev, MSI(0));
	free_msi(dev);
	check_resources(&before);
	check_device(dev);
}

static void test_affinity_msi(void)
{
	struct device *dev = open_with_msi(1);

	CHECK(!alloc_msi(dev, MSI(0)), "cannot allocate");
	request(dev, MSI(0));
	test_affinity(dev, MSI(0));
}

static void test_counts_msi(void)
{
	struct device *dev = open_with_msi(1);
	struct cost before = cost_so_far();
	unsigned int cpu, i;

	CHECK(!alloc_msi(dev, MSI(0)), "cannot allocate");
	check_cost("MSI: allocate", &before, 1, 0);
	for (i = 0; i < 2; i++) {
		before = cost_so_far();
		request(dev, MSI(0));
		check_cost(i ? "MSI: request again" : "MSI: request", &before, i, 0);
		cpu = irq_is_on(virq_of(dev, MSI(0)), 0);
		before = cost_so_far();
		set_affinity(virq_of(dev, MSI(0)), cpu);
		check_cost("MSI: move", &before, 1, 0);
		end_move(dev, MSI(0));
		before = cost_so_far();
		set_affinity(virq_of(dev, MSI(0)), cpu);
		check_cost("MSI: affinity as it is", &before, 0, 0);
		before = cost_so_far();
		release(dev, MSI(0));
		check_cost("MSI: release", &before, 0, 1);
	}
	before = cost_so_far();
	free_msi(dev);
	check_cost("MSI: free", &before, 0, 0);

	before = cost_so_far();
	CHECK(!alloc_msi(dev, MSI(0)), "cannot allocate");
	free_msi(dev);
	check_cost("MSI: allocate and free", &before, 1, 1);
}

/*
 * Several messages have a block of entries
 */

struct block {
	u32	nr;
	u32	order;
};

static const struct block blocks[] = {
	{ 2, 1 }, { 3, 2 }, { 4, 2 }, { IRTE_CONTROL_MESSAGES, 5 },
};

/* The @nth entry is refused, and those before it are given back */
static void refused_block(const struct device *dev, const struct block *block, u32 nth)
{
	u32 announced = seen(IRTE_CONTROL_ANNOUNCED);
	struct resources before = resources();
	struct cost cost = cost_so_far();
	char what[64];
	int ret;

	refuse(IRTE_KIND_PRESENT, nth, ENOSPC);
	ret = alloc_messages(dev, block->nr);
	CHECK(!seen(IRTE_CONTROL_FAIL_NTH), "entry %u was not announced", nth);
	refuse_nothing();
	CHECK(ret == -ENOSPC, "%u messages, entry %u refused: %s (%d)", block->nr, nth,
	      strerror(-ret), ret);
	snprintf(what, sizeof(what), "%u messages, entry %u refused", block->nr, nth);
	CHECK(seen(IRTE_CONTROL_PRESENT) - cost.present == nth - 1 &&
	      seen(IRTE_CONTROL_RELEASE) - cost.release == nth - 1,
	      "%s: %u updates, %u releases", what, seen(IRTE_CONTROL_PRESENT) - cost.present,
	      seen(IRTE_CONTROL_RELEASE) - cost.release);
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced && !seen(IRTE_CONTROL_ANNOUNCED_RID),
	      "%s: %u entries are left", what, seen(IRTE_CONTROL_ANNOUNCED) - announced);
	check_resources(&before);
}

static void granted_block(const struct device *dev, const struct block *block)
{
	struct cost cost = cost_so_far();
	unsigned int cpu, first;
	struct slot msg;
	char what[64];
	int ret;
	u32 i;

	ret = alloc_messages(dev, block->nr);
	CHECK(!ret, "%u messages: %s", block->nr, strerror(-ret));
	snprintf(what, sizeof(what), "MSI: allocate %u messages", block->nr);
	check_cost(what, &cost, block->nr, 0);
	msg = message(dev, MSI(0));
	first = irte_index(&msg);
	CHECK(!(first & ((1 << block->order) - 1)), "a block of %u begins at entry %u", block->nr,
	      first);
	CHECK(seen(IRTE_CONTROL_ORDER(block->order)) == block->nr &&
	      seen(IRTE_CONTROL_ANNOUNCED_RID) == block->nr,
	      "%u messages: %u entries of a block of 2^%u, %u of the device", block->nr,
	      seen(IRTE_CONTROL_ORDER(block->order)), block->order,
	      seen(IRTE_CONTROL_ANNOUNCED_RID));

	for (i = 0; i < block->nr; i++) {
		request(dev, MSI(i));
		check_arrival(dev, MSI(i));
	}

	/* A move of one is none of the others, which the host hears of as part of the block */
	i = block->nr - 1;
	cost = cost_so_far();
	cpu = irq_is_on(virq_of(dev, MSI(i)), 0);
	CHECK(!move_to(dev, MSI(i), cpu), "cannot move");
	check_cost("MSI: move one of them", &cost, 1, 0);
	CHECK(seen(IRTE_CONTROL_LAST_INDEX) == first + i &&
	      seen(IRTE_CONTROL_LAST_ORDER) == block->order,
	      "entry %u has moved, of a block of 2^%u", seen(IRTE_CONTROL_LAST_INDEX),
	      seen(IRTE_CONTROL_LAST_ORDER));
	one_interrupt(dev, MSI(i), cpu);
	check_arrival(dev, MSI(0));

	cost = cost_so_far();
	for (i = 0; i < block->nr; i++)
		release(dev, MSI(i));
	free_msi(dev);
	check_cost("MSI: release and free them", &cost, 0, block->nr);
	CHECK(!seen(IRTE_CONTROL_ORDER(block->order)), "%u entries are left",
	      seen(IRTE_CONTROL_ORDER(block->order)));
}

/* The messages of a block follow from one, so it cannot have another. There is none on AMD. */
static void block_with_message(const struct device *dev)
{
	struct resources before = resources();
	u32 announced = seen(IRTE_CONTROL_ANNOUNCED);
	int ret;

	if (is_amd())
		return;
	knob(IRTE_CONTROL_DATA, 0x5a17);
	ret = alloc_messages(dev, 4);
	knob(IRTE_CONTROL_DATA, 0);
	CHECK(ret == -EIO, "a block with a message of its own: %s", ret ? strerror(-ret) : "done");
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced, "%u entries are left",
	      seen(IRTE_CONTROL_ANNOUNCED) - announced);
	check_resources(&before);
}

static void test_block_msi(void)
{
	struct device *dev = open_with_msi(IRTE_CONTROL_MESSAGES);
	const struct block *block;
	struct resources before;
	u32 nth, step;

	knob(IRTE_CONTROL_RID, name_control()->rid);
	for (block = blocks; block < blocks + ARRAY_SIZE(blocks); block++) {
		before = resources();
		step = block->nr > 8 && !long_run ? 10 : 1;
		for (nth = 1; nth <= block->nr; nth += step)
			refused_block(dev, block, nth);
		refused_block(dev, block, block->nr);
		granted_block(dev, block);
		check_resources(&before);
	}
	block_with_message(dev);
	check_device(dev);
}

/* One entry that the host keeps, and none of the block is used again */
static void test_release_msi(void)
{
	struct device *dev = open_with_msi(4);
	u32 announced = seen(IRTE_CONTROL_ANNOUNCED);
	unsigned int kept, index, i;
	struct slot msg;

	CHECK(!alloc_messages(dev, 4), "cannot allocate");
	msg = message(dev, MSI(0));
	kept = irte_index(&msg);
	refuse(IRTE_KIND_RELEASE, 2, EIO);
	free_msi(dev);
	refuse_nothing();
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced + 1, "the host has not kept it");
	/* Neither for a block nor for a single message */
	for (i = 0; i < 8; i++) {
		CHECK(!alloc_messages(dev, i % 2 ? 1 : 4), "cannot allocate");
		msg = message(dev, MSI(0));
		index = irte_index(&msg);
		CHECK(index / 4 != kept / 4, "a block at entry %u, and the host has one of that at %u",
		      index, kept);
		free_msi(dev);
	}
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced + 1, "%u entries are left",
	      seen(IRTE_CONTROL_ANNOUNCED) - announced);
	check_device(dev);
}

/*
 * Each update of a life refused in turn, together with each failure in the guest
 */

struct tally {
	unsigned int	failed;
	unsigned int	lives;
};

/*
 * An interrupt of the I/O APIC that no device raises. The driver does not know it, so what
 * has to be the same after a failure is compared here.
 */
static int calls_fd = -1;

/* The old vector of a move counts as in use until it is given back */
static int after_move(int ret)
{
	CHECK(WAIT(PATIENCE, move_done(FREE_IRQ)), "interrupt %u: last move does not end", FREE_IRQ);
	return ret;
}

static int request_free_pin(const struct device *dev, u32 source)
{
	(void)dev;
	(void)source;
	return after_move(request_pin(calls_fd, FREE_IRQ));
}

static int release_free_pin(const struct device *dev, u32 source)
{
	(void)dev;
	(void)source;
	release_pin(calls_fd, FREE_IRQ);
	return 0;
}

static int move_free_pin(unsigned int cpu)
{
	unsigned long requested, effective;
	long vector;
	int ret;

	requested = mask_of(FREE_IRQ, "smp_affinity");
	effective = mask_of(FREE_IRQ, "effective_affinity");
	vector = irq_debug(FREE_IRQ, "Vector:");
	ret = try_affinity(FREE_IRQ, cpu);
	CHECK(!ret || (requested == mask_of(FREE_IRQ, "smp_affinity") &&
		       effective == mask_of(FREE_IRQ, "effective_affinity") &&
		       vector == irq_debug(FREE_IRQ, "Vector:")),
	      "interrupt %u: masks %lx and %lx, vector %#lx before; %lx and %lx, %#lx after", FREE_IRQ,
	      requested, effective, vector, mask_of(FREE_IRQ, "smp_affinity"),
	      mask_of(FREE_IRQ, "effective_affinity"), irq_debug(FREE_IRQ, "Vector:"));
	return after_move(ret);
}

static int move_free_pin_to_1(const struct device *dev, u32 source)
{
	(void)dev;
	(void)source;
	return move_free_pin(1);
}

static int move_free_pin_to_0(const struct device *dev, u32 source)
{
	(void)dev;
	(void)source;
	return move_free_pin(0);
}

static const struct step pin_steps[] = {
	{ "request",		request_free_pin,	false },
	{ "move to CPU 1",	move_free_pin_to_1,	false },
	{ "move to CPU 0",	move_free_pin_to_0,	false },
	{ "release",		release_free_pin,	true },
	{ }
};

static void live(struct device *dev, u32 source, const struct step *steps, struct tally *tally)
{
	struct resources before = resources();
	unsigned int i, tries;
	struct state state;
	int ret;

	for (i = 0; steps[i].run; i++) {
		/* One failure for each of the two, at most */
		for (tries = 0; tries < 3; tries++) {
			end_move(dev, source);
			get_state(dev, source, &state);
			ret = steps[i].run(dev, source);
			if (!ret)
				break;
			CHECK(!steps[i].last, "%s: %s", steps[i].name, strerror(-ret));
			CHECK(ret != -EBUSY, "%s: EBUSY", steps[i].name);
			tally->failed++;
			check_state(dev, source, &state, steps[i].name);
		}
		CHECK(!ret, "%s, the third time: %s", steps[i].name, strerror(-ret));
		if (!steps[i].last && i && steps != pin_steps)
			check_arrival(dev, source);
	}
	check_resources(&before);
	tally->lives++;
}

/*
 * @updates: how many there are in a life at least, and one more if the interrupt is not where
 * it is first moved to
 */
static void cross(struct device *dev, u32 source, const struct step *steps, unsigned int updates)
{
	u32 announced = seen(IRTE_CONTROL_ANNOUNCED);
	struct tally tally = { 0 };
	unsigned int nth, vmm;

	quiet();
	/* Not of the invalidation after a refusal: then both vectors stay in use */
	CHECK(!write_file("15", "/sys/kernel/debug/fail_irq/points"), "no fault injection");
	live(dev, source, steps, &tally);
	for (vmm = 0; vmm <= updates + 1; vmm++) {
		for (nth = 0; nth < (long_run ? 40 : 8); nth++) {
			refuse(IRTE_KIND_PRESENT, vmm, ENOSPC);
			/* The numbers of a life's failures are not those of this loop */
			arm(nth ? nth * 3 - 2 : 0);
			live(dev, source, steps, &tally);
			arm(0);
			CHECK(nth || vmm > updates || !seen(IRTE_CONTROL_FAIL_NTH),
			      "there was no update %u of %u to be refused", vmm, updates);
			CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced,
			      "update %u refused: %u entries announced after, %u before", vmm,
			      seen(IRTE_CONTROL_ANNOUNCED), announced);
		}
	}
	refuse_nothing();
	note("%u lives, %u failures", tally.lives, tally.failed);
	CHECK(tally.failed > 10, "only %u failures", tally.failed);
}

static void test_cross_msix(void)
{
	cross(open_granted(), MSIX(0), msix_steps, 2);
}

static void test_cross_ims(void)
{
	cross(open_with_domain(), 0, ims_steps, 2);
}

/* A block of four, all of which are activated when it is allocated. The second one moves. */
static void test_cross_msi(void)
{
	cross(open_with_msi(4), MSI(1), block_steps, 4 + 1);
}

static void test_cross_ioapic(void)
{
	calls_fd = open_calls();
	cross(open_granted(), MSIX(0), pin_steps, 2);
}

/* Teardown does not fail, and an entry that the host keeps is not used again */
static void test_release(void)
{
	struct device *dev = open_granted();
	u32 announced = seen(IRTE_CONTROL_ANNOUNCED);
	unsigned int index, i;
	struct resources before;
	struct slot msg;
	u32 nr;

	use_slots(dev, 1);
	msg = slot(dev, 0);
	index = irte_index(&msg);
	before = resources();
	refuse(IRTE_KIND_RELEASE, 1, EIO);
	release(dev, 0);
	refuse_nothing();
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced + 1, "the host has not kept it");

	/* As long as it is not freed it can be used again, and is released then */
	request(dev, 0);
	check_arrival(dev, 0);
	check_resources(&before);
	refuse(IRTE_KIND_RELEASE, 1, EIO);
	release(dev, 0);
	refuse_nothing();
	free_slot(dev, 0);

	for (i = 0; i < 20; i++) {
		nr = alloc_slot(dev);
		request(dev, nr);
		msg = slot(dev, nr);
		CHECK(irte_index(&msg) != index, "entry %u is used again", index);
		check_arrival(dev, nr);
		release(dev, nr);
		free_slot(dev, nr);
	}
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced + 1, "%u entries are left",
	      seen(IRTE_CONTROL_ANNOUNCED) - announced);
	check_device(dev);
}

static unsigned int count_in_log(const char *text)
{
	size_t size = 1 << 21;
	char *log = malloc(size), *at;
	unsigned int count = 0;
	int len;

	CHECK(log, "no memory");
	/* All that there is */
	len = klogctl(3, log, size - 1);
	CHECK(len > 0, "cannot read the log: %s", strerror(errno));
	log[len] = '\0';
	for (at = log; (at = strstr(at, text)); at++)
		count++;
	free(log);
	return count;
}

/* The hypervisor's message is in the store, and works */
static void test_message(struct device *dev, u32 source)
{
	struct slot composed, msg;
	unsigned int reports, i;

	composed = message(dev, source);
	release(dev, source);
	knob(IRTE_CONTROL_DATA, 0x5a17);
	request(dev, source);
	msg = message(dev, source);
	CHECK(msg.data == 0x5a17 && msg.addr_lo == (composed.addr_lo & ~0x8U),
	      "message %x/%x, composed %x/%x", msg.addr_lo, msg.data, composed.addr_lo,
	      composed.data);
	check_arrival(dev, source);

	/* Another one while the entry is announced is reported, the first time, and ignored */
	knob(IRTE_CONTROL_DATA, 0x5a18);
	for (i = 0; i < 2; i++) {
		end_move(dev, source);
		CHECK(!move_away(dev, source), "cannot move");
		msg = message(dev, source);
		CHECK(msg.data == 0x5a17, "the message has changed to %x", msg.data);
		check_arrival(dev, source);
	}
	reports = count_in_log("the hypervisor has changed the message of an entry in use");
	CHECK(reports == 1, "it was reported %u times", reports);
	release(dev, source);
	knob(IRTE_CONTROL_DATA, 0);
	request(dev, source);
	msg = message(dev, source);
	CHECK(msg.data == composed.data && msg.addr_lo == composed.addr_lo,
	      "message %x/%x, composed %x/%x", msg.addr_lo, msg.data, composed.addr_lo,
	      composed.data);
	check_arrival(dev, source);
	check_device(dev);
}

static void test_message_msix(void)
{
	struct device *dev = open_granted();

	use_msix(dev, 1);
	test_message(dev, MSIX(0));
}

static void test_message_msi(void)
{
	struct device *dev = open_with_msi(1);

	CHECK(!alloc_msi(dev, MSI(0)), "cannot allocate");
	request(dev, MSI(0));
	test_message(dev, MSI(0));
}

static void test_message_ims(void)
{
	struct device *dev = open_granted();

	use_slots(dev, 1);
	test_message(dev, 0);
}

/*
 * What the hypervisor derives from an entry changes with it
 */

unsigned int find_interrupt(const char *name)
{
	char *text = read_file("/proc/interrupts"), *next = text, *line;
	unsigned int virq = 0;

	while (!virq && (line = strsep(&next, "\n"))) {
		if (strstr(line, name))
			virq = strtoul(line, NULL, 10);
	}
	free(text);
	return virq;
}

pid_t fork_helper(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0, "fork: %s", strerror(errno));
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

pid_t read_disk(volatile u32 *done)
{
	pid_t pid = fork_helper();
	void *buf;
	int fd;

	if (pid)
		return pid;
	fd = open("/dev/vda", O_RDONLY | O_DIRECT);
	CHECK(fd >= 0 && !posix_memalign(&buf, 4096, 4096), "cannot read /dev/vda: %s",
	      strerror(errno));
	while (pread(fd, buf, 4096, 0) == 4096)
		++*done;
	_exit(1);
}

/* A device with irqfds: KVM delivers its interrupts by a route of its own */
static void test_irqfd(void)
{
	volatile u32 *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				  -1, 0);
	unsigned int virq = find_interrupt("virtio0-virtqueues"), moves = long_run ? 20000 : 1000, i;
	u32 routes, present, last;
	pid_t pid;
	int ret;

	open_control();
	CHECK(virq, "there is no virtio disk");
	pid = read_disk(done);
	routes = seen(IRTE_CONTROL_ROUTES);
	present = seen(IRTE_CONTROL_PRESENT);
	for (i = 0; i < moves; i++) {
		CHECK(WAIT(PATIENCE, move_done(virq)), "move %u does not end", i);
		ret = try_affinity(virq, i & 1);
		CHECK(!ret, "move %u: %s", i, strerror(-ret));
		last = *done;
		/* The one that was under way may have been sent before */
		CHECK(WAIT(PATIENCE, *done - last >= 2), "no interrupt after move %u", i);
	}
	routes = seen(IRTE_CONTROL_ROUTES) - routes;
	present = seen(IRTE_CONTROL_PRESENT) - present;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	note("%u moves: %u updates, %u routes, %u reads", moves, present, routes, *done);
	CHECK(routes == present, "%u routes for %u updates", routes, present);
}

/*
 * Interrupts of which KVM knows nothing, and whose entries have the indices that those of the
 * disk have on AMD, where each device has a table: the disk's routes are left alone
 */
static void test_other_routes(void)
{
	struct device *dev = open_granted();
	u32 i, routes, present;
	bool same = false;

	CHECK(find_interrupt("virtio0-virtqueues"), "there is no virtio disk");
	use_msix(dev, MSIX_VECTORS);
	for (i = 0; i < MSIX_VECTORS; i++)
		pin(dev, MSIX(i), 0);
	routes = seen(IRTE_CONTROL_ROUTES);
	present = seen(IRTE_CONTROL_PRESENT);
	for (i = 0; i < MSIX_VECTORS; i++) {
		pin(dev, MSIX(i), 1);
		same |= seen(IRTE_CONTROL_LAST_INDEX) < DISK_VECTORS;
	}
	CHECK(!is_amd() || same, "none of the entries has the index of one of the disk's");
	routes = seen(IRTE_CONTROL_ROUTES) - routes;
	present = seen(IRTE_CONTROL_PRESENT) - present;
	CHECK(present == MSIX_VECTORS, "%u updates for %u moves", present, MSIX_VECTORS);
	CHECK(!routes, "%u routes of others refreshed", routes);
}

/* The interrupt of the serial port that this goes to */
static void test_ioapic_moves(void)
{
	double end = now() + (long_run ? 600 : 40);
	unsigned int i, moves = 1000;
	u32 routes, present;
	int ret;

	open_control();
	routes = seen(IRTE_CONTROL_ROUTES);
	present = seen(IRTE_CONTROL_PRESENT);
	for (i = 0; i < moves && (i < 100 || now() < end); i++) {
		WAIT(PATIENCE, move_done(USED_IRQ));
		ret = try_affinity(USED_IRQ, i & 1);
		CHECK(!ret, "move %u: %s", i, strerror(-ret));
		if (!(i % 10)) {
			note("move %u", i);
			fflush(stdout);
		}
	}
	routes = seen(IRTE_CONTROL_ROUTES) - routes;
	present = seen(IRTE_CONTROL_PRESENT) - present;
	note("%u moves: %u updates, %u routes", i, present, routes);
	CHECK(present >= i - 1 && routes == present, "%u routes for %u updates", routes, present);
}

/*
 * A slow hypervisor delays who asks it, nobody else
 */
#define SLOW		0.3

/*
 * On CPU 1: one interrupt, which is requested and freed. Where it goes by default is not
 * where it went the last time, so it is moved when it is started up.
 */
static pid_t hammer(volatile u32 *stop, volatile u32 *rounds)
{
	pid_t pid = fork_helper();
	int fd, ret;
	u32 i;

	if (pid)
		return pid;
	run_on(1);
	fd = open_calls();
	for (i = 0; !*stop; i++) {
		write_file(i & 1 ? "1" : "2", "/proc/irq/default_smp_affinity");
		ret = request_pin(fd, SLOW_IRQ);
		CHECK(!ret, "requesting interrupt %u: %s", SLOW_IRQ, strerror(-ret));
		release_pin(fd, SLOW_IRQ);
		++*rounds;
	}
	_exit(0);
}

/* From now on only the calls for that interrupt are slow */
static void slow_down(void)
{
	int fd = open_calls(), ret;

	ret = request_pin(fd, SLOW_IRQ);
	CHECK(!ret, "requesting interrupt %u: %s", SLOW_IRQ, strerror(-ret));
	release_pin(fd, SLOW_IRQ);
	close(fd);
	knob(IRTE_CONTROL_FAIL_INDEX, seen(IRTE_CONTROL_LAST_INDEX));
	knob(IRTE_CONTROL_RID, seen(IRTE_CONTROL_LAST_RID));
	knob(IRTE_CONTROL_DELAY, SLOW * 1000000);
}

/* What takes the locks that all interrupts share */
static void whole_life(struct device *dev)
{
	u32 source = alloc_slot(dev);

	request(dev, source);
	release(dev, source);
	free_slot(dev, source);
}

/* On CPU 0. Returns how long it took. */
static double one_round(struct device *dev, double *worst)
{
	double start = now(), took;

	trigger(dev, 0, 1, 1, PCI_IMS_GO_PACED);
	drain(dev, 0, 1);
	took = now() - start;
	if (took > *worst)
		*worst = took;
	whole_life(dev);
	return now() - start;
}

static void test_slow(void)
{
	volatile u32 *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int count = 0, late = 0, calls;
	struct device *dev = open_granted();
	double worst = 0, end;
	pid_t pid;

	use_slots(dev, 1);
	pin(dev, 0, 0);
	one_interrupt(dev, 0, 0);
	run_on(0);
	slow_down();
	pid = hammer(&shared[0], &shared[1]);
	end = now() + (long_run ? 60 : 12);
	while (now() < end) {
		late += one_round(dev, &worst) > SLOW / 2;
		count++;
	}
	/* When it is activated, moved and released */
	calls = 3 * shared[1];
	shared[0] = 1;
	waitpid(pid, NULL, 0);
	refuse_nothing();
	write_file("3", "/proc/irq/default_smp_affinity");
	note("%u interrupts, the slowest took %.0f ms", count, worst * 1000);
	note("%u others were requested and freed, %u of them late, beside %u calls of %.0f ms",
	     count, late, calls, SLOW * 1000);
	CHECK(calls > 5, "only %u calls", calls);
	CHECK(worst < SLOW, "an interrupt took %.0f ms", worst * 1000);
	/* On a busy machine some are for other reasons, with a lock it is one for each call */
	CHECK(late <= calls / 3 + 1, "%u of %u were late", late, count);
	CHECK(count > 2 * calls, "only %u interrupts", count);
	check_device(dev);
}

/*
 * Calls that make no sense
 */

/* Entries that the guest does not use */
#define FREE_INDEX	0x8000

#define IRTE_OP_GRANT	0
#define IRTE_OP_UPDATE	1
#define IRTE_OP_RESET	2

static u64 random64(unsigned int *seed)
{
	return (u64)rand_r(seed) << 42 ^ (u64)rand_r(seed) << 21 ^ (u64)rand_r(seed);
}

/* Reserved bits of a present entry: 14:12, 31:24, 127:84, and source validation 3 */
static bool entry_is_valid(u64 lo, u64 hi)
{
	if (!(lo & 1))
		return true;
	return !(lo & 0xff007000) && !(hi >> 20) && (hi >> 18 & 3) != 3;
}

static long expected_result(const u64 *arg)
{
	if ((arg[0] & ~0xfffUL) != UNIT)
		return -EINVAL;
	switch (arg[0] & 0xfff) {
	case IRTE_OP_GRANT:
	case IRTE_OP_RESET:
		return arg[1] || arg[2] || arg[3] ? -EINVAL : 0;
	case IRTE_OP_UPDATE:
		if (arg[1] >> 38 || (arg[1] >> 32 & 0x3f) > 5)
			return -EINVAL;
		if (!entry_is_valid(arg[2], arg[3]))
			return -EINVAL;
		/* Posted */
		return arg[2] & 1 && arg[2] & 1 << 15 ? -EOPNOTSUPP : 0;
	}
	return -EINVAL;
}

/* The requester that an entry belongs to, where a1 has it */
static u64 nonsense_rid(u64 index)
{
	return (index & 0xffff) << 16;
}

/* Mostly right, or only at random */
static void make_call(u64 *arg, unsigned int *seed)
{
	u64 random = random64(seed);
	unsigned int i;

	for (i = 0; i < 4; i++)
		arg[i] = random64(seed) << (random >> i * 6 & 0x3f);
	if (random >> 30 & 7)
		arg[0] = UNIT | (random >> 33 & 3);
	if (random >> 36 & 3)
		arg[1] = FREE_INDEX | (random64(seed) & 0x3ffff0fffUL);
	if (random >> 38 & 3)
		arg[3] &= 0x7ffff;
	if (random >> 40 & 1)
		arg[2] &= ~0xff00f000UL;
	/* Not what others rely on */
	if (!expected_result(arg)) {
		if ((arg[0] & 0xfff) == IRTE_OP_RESET)
			arg[1] = 1;
		arg[1] |= FREE_INDEX;
	}
	if ((arg[0] & 0xfff) == IRTE_OP_UPDATE)
		arg[1] |= FREE_INDEX;
	/* That of an entry stays the same, whoever of the callers announces it */
	arg[1] = (arg[1] & ~0xffff0000UL) | nonsense_rid(arg[1]);
}

static void send_nonsense(unsigned int cpu, unsigned int count)
{
	unsigned int seed = cpu + 1, done = 0, i;
	int fd = open_calls();
	u64 arg[4];
	long ret;

	run_on(cpu);
	for (i = 0; i < count; i++) {
		make_call(arg, &seed);
		ret = hypercall(fd, arg[0], arg[1], arg[2], arg[3]);
		CHECK(ret == expected_result(arg), "%llx %llx %llx %llx: %ld, should be %ld",
		      arg[0], arg[1], arg[2], arg[3], ret, expected_result(arg));
		done += !ret;
	}
	note("%u calls, %u of them were good", count, done);
}

static void release_all_nonsense(void)
{
	int fd = open_calls();
	unsigned int i;

	for (i = FREE_INDEX; i < 0x10000; i++) {
		CHECK(!hypercall(fd, UNIT | IRTE_OP_UPDATE, i | nonsense_rid(i), 0, 0),
		      "releasing %u", i);
	}
}

/* Beside valid traffic. Returns how many moves that was. */
static unsigned int nonsense_round(struct device *dev, unsigned int count)
{
	unsigned int moves = 0, cpu;
	int status, alive = 2;

	for (cpu = 0; cpu < 2; cpu++) {
		if (!fork_helper()) {
			send_nonsense(cpu, count);
			fflush(stdout);
			_exit(0);
		}
	}
	while (alive) {
		CHECK(!move_away(dev, 0), "cannot move");
		check_arrival(dev, 0);
		moves++;
		while (alive && waitpid(-1, &status, WNOHANG) > 0) {
			CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "a caller has failed");
			alive--;
		}
	}
	release_all_nonsense();
	return moves;
}

/* The second of two rounds, which are the same, must not take more memory */
static void test_nonsense(void)
{
	unsigned int count = long_run ? 250000 : 12500, moves, round;
	struct device *dev = open_granted();
	u32 announced, calls, heap[2], slab[2];

	use_slots(dev, 1);
	announced = seen(IRTE_CONTROL_ANNOUNCED);
	for (round = 0; round < 2; round++) {
		calls = seen(IRTE_CONTROL_CALLS);
		moves = nonsense_round(dev, count);
		/* What the host's kernel frees later */
		sleep(1);
		heap[round] = seen(IRTE_CONTROL_HEAP);
		slab[round] = seen(IRTE_CONTROL_SLAB);
		note("%u calls in all, beside %u moves; then a heap of %u KiB, slab of %u KiB",
		     seen(IRTE_CONTROL_CALLS) - calls, moves, heap[round], slab[round]);
		CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced, "%u entries are left",
		      seen(IRTE_CONTROL_ANNOUNCED) - announced);
	}
	CHECK(heap[0] && heap[1] < heap[0] + 1024, "the hypervisor's heap has grown from %u to %u KiB",
	      heap[0], heap[1]);
	CHECK(slab[0] && slab[1] < slab[0] + 1024, "the host's slab has grown from %u to %u KiB",
	      slab[0], slab[1]);
	check_device(dev);
}

/* The rules one by one */
static void test_rules(void)
{
	static const u64 entry = 0x1 | 0x31 << 16;
	int fd = open_calls();
	unsigned int bit;
	long ret;

#define EXPECT(result, ...)							\
do {										\
	ret = hypercall(fd, __VA_ARGS__);					\
	CHECK(ret == (result), #__VA_ARGS__ ": %ld", ret);			\
} while (0)

	open_control();
	EXPECT(0, UNIT | IRTE_OP_GRANT, 0, 0, 0);
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX, entry, 0);
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX, entry, 0);
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX, 0, 0);
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX, 0, 0);
	/* Another requester's it is not */
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 5 << 16, entry, 0);
	EXPECT(-EINVAL, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 6 << 16, entry, 0);
	EXPECT(-EINVAL, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 6 << 16, 0, 0);
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 5 << 16, 0, 0);
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 6 << 16, 0, 0);
	EXPECT(0, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 5ULL << 32, 0, 0);
	EXPECT(-EINVAL, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 6ULL << 32, 0, 0);
	for (bit = 38; bit < 64; bit++)
		EXPECT(-EINVAL, UNIT | IRTE_OP_UPDATE, FREE_INDEX | 1ULL << bit, 0, 0);
	for (bit = 2; bit < 12; bit++)
		EXPECT(-EINVAL, UNIT | 1 << bit, 0, 0, 0);
	EXPECT(-EINVAL, UNIT | 3, 0, 0, 0);
	for (bit = 12; bit < 64; bit++)
		EXPECT(-EINVAL, UNIT ^ 1ULL << bit, 0, 0, 0);
	for (bit = 0; bit < 64; bit++) {
		EXPECT(-EINVAL, UNIT | IRTE_OP_GRANT, 1ULL << bit, 0, 0);
		EXPECT(-EINVAL, UNIT | IRTE_OP_GRANT, 0, 1ULL << bit, 0);
		EXPECT(-EINVAL, UNIT | IRTE_OP_RESET, 0, 0, 1ULL << bit);
	}
	EXPECT(-EOPNOTSUPP, UNIT | IRTE_OP_UPDATE, FREE_INDEX, entry | 1 << 15, 0);
	EXPECT(-EINVAL, UNIT | IRTE_OP_UPDATE, FREE_INDEX, entry | 1 << 12, 0);
	EXPECT(-EINVAL, UNIT | IRTE_OP_UPDATE, FREE_INDEX, entry, 1ULL << 20);
	/* Nobody else's number */
	CHECK(hypercall(fd, UNIT | IRTE_OP_GRANT, 0, 0, 0) == 0, "not granted any more");
}

/*
 * The life of a grant: suspend, reboot and kexec end it, and what runs after that has
 * one of its own
 */

/* Where the life is; it survives all of them */
enum phase {
	PHASE_SUSPEND,
	PHASE_REBOOT,
	PHASE_KEXEC,
	/* Another life: from there into a kernel without the series, and back */
	PHASE_FIRST,
	PHASE_OLD,
	PHASE_BACK,
};

#define LIFE_PHASE(life)	((life) & 0xff)
#define LIFE_GRANTS(life)	((life) >> 8 & 0xff)
#define LIFE_RESETS(life)	((life) >> 16 & 0xff)

/* There was one more reset or grant, or not */
static void check_grants(bool reset, bool grant)
{
	u32 life = seen(IRTE_CONTROL_SCRATCH);
	u32 grants = LIFE_GRANTS(life) + grant, resets = LIFE_RESETS(life) + reset;

	CHECK(seen(IRTE_CONTROL_GRANTED) == grant && seen(IRTE_CONTROL_GRANT) == grants,
	      "%u grants, should be %u", seen(IRTE_CONTROL_GRANT), grants);
	CHECK(seen(IRTE_CONTROL_RESET) == resets, "%u resets, should be %u",
	      seen(IRTE_CONTROL_RESET), resets);
}

/* Nothing of the time before is left, and interrupts work */
static void check_life(bool reset)
{
	struct device *dev = open_granted();
	u32 announced, source;

	check_grants(reset, true);
	/* Where each device has a table of its own they cannot all be counted */
	announced = seen(IRTE_CONTROL_ANNOUNCED);
	CHECK(is_amd() || announced == count_irtes(), "%u entries are announced, %u present",
	      announced, count_irtes());
	use_slots(dev, 2);
	use_msix(dev, 2);
	for (source = 0; source < 2; source++) {
		check_arrival(dev, source);
		CHECK(!move_away(dev, source), "cannot move");
		check_arrival(dev, source);
		check_arrival(dev, MSIX(source));
	}
	check_device(dev);
}

/*
 * An alarm that comes before the machine sleeps does not wake it up, and nothing else
 * does. One that took long to boot takes long for this as well.
 */
static void suspend_to_ram(void)
{
	char alarm[16];
	int ret;

	snprintf(alarm, sizeof(alarm), "+%.0f", 4 + now() / 5);
	write_file("0", "/sys/class/rtc/rtc0/wakealarm");
	ret = write_file(alarm, "/sys/class/rtc/rtc0/wakealarm");
	CHECK(!ret, "no wake alarm: %s", strerror(-ret));
	ret = write_file("mem", "/sys/power/state");
	CHECK(!ret, "suspend: %s", strerror(-ret));
}

/* An AMD unit is initialized twice on resume, for the local APIC and for itself */
static u32 grants_of_resume(void)
{
	return is_amd() ? 2 : 1;
}

/* An entry is refused on resume. A change of the affinity is, too, even if it changes nothing. */
static void suspend_refused(struct device *dev, u32 source, u32 announced)
{
	unsigned int virq = virq_of(dev, source);
	struct slot msg = slot(dev, source);
	int ret;

	knob(IRTE_CONTROL_RID, dev->rid);
	knob(IRTE_CONTROL_FAIL_INDEX, irte_index(&msg));
	refuse(IRTE_KIND_PRESENT, 0, ENOSPC);
	suspend_to_ram();
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced - 1, "%u entries announced",
	      seen(IRTE_CONTROL_ANNOUNCED));
	ret = try_affinity(virq, irq_is_on(virq, 0) ? 0 : 1);
	CHECK(ret == -ENOSPC, "the entry should be refused again: %s", ret ? strerror(-ret) : "done");
	refuse_nothing();
}

static void test_suspend(void)
{
	struct device *dev = open_with_domain();
	struct ims_test_source arg = { .flags = IMS_TEST_UNLAZY };
	u32 grants = seen(IRTE_CONTROL_GRANT), announced;
	int log;

	use_msix(dev, 1);
	arg.source = alloc_slot(dev);
	CHECK(!call(dev, IMS_TEST_REQUEST, &arg), "cannot request slot %u", arg.source);
	check_arrival(dev, arg.source);
	announced = seen(IRTE_CONTROL_ANNOUNCED);

	suspend_to_ram();
	CHECK(seen(IRTE_CONTROL_GRANTED), "the unit is not granted any more");
	CHECK(seen(IRTE_CONTROL_GRANT) == grants + grants_of_resume(),
	      "%u grants after, %u before", seen(IRTE_CONTROL_GRANT), grants);
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced, "%u entries announced after, %u before",
	      seen(IRTE_CONTROL_ANNOUNCED), announced);
	/* The device has lost its store, and the kernel has restored it */
	check_arrival(dev, arg.source);
	check_arrival(dev, MSIX(0));

	/* What is refused has nobody to be told, so it is reported */
	log = open_log();
	suspend_refused(dev, arg.source, announced);
	CHECK(wait_for_log(log, "the hypervisor refuses the entry in use (-28)", ""),
	      "the refusal was not reported");
	/* The next time it is granted */
	suspend_to_ram();
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced, "it was not announced again");
	check_arrival(dev, arg.source);

	suspend_refused(dev, arg.source, announced);
	/* Nobody would tell the device about another message. There is none on AMD. */
	if (!is_amd()) {
		knob(IRTE_CONTROL_DATA, 0x5a17);
		CHECK(move_away(dev, arg.source) == -EIO, "moved with a new message");
		knob(IRTE_CONTROL_DATA, 0);
		CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced - 1, "%u entries announced",
		      seen(IRTE_CONTROL_ANNOUNCED));
	}
	CHECK(!move_away(dev, arg.source), "cannot move");
	check_arrival(dev, arg.source);
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced, "it was not announced");
}

/* The grant is refused on resume: there is no IMS until there is a grant again */
static void test_regrant(void)
{
	struct device *dev = open_with_domain();
	struct ims_test_source arg = { .flags = IMS_TEST_UNLAZY };
	u64 unit = is_amd() ? AMD_UNIT : UNIT;
	int fd = open_calls(), log, i;
	u32 announced, grants;
	struct slot msg;
	long ret;

	/* A message of the hypervisor, which is of no use without a grant. None on AMD. */
	if (!is_amd())
		knob(IRTE_CONTROL_DATA, 0x5a17);
	use_msix(dev, 1);
	knob(IRTE_CONTROL_DATA, 0);
	arg.source = alloc_slot(dev);
	CHECK(!call(dev, IMS_TEST_REQUEST, &arg), "cannot request slot %u", arg.source);
	check_arrival(dev, arg.source);
	announced = seen(IRTE_CONTROL_ANNOUNCED);
	grants = seen(IRTE_CONTROL_GRANT);

	log = open_log();
	knob(IRTE_CONTROL_FAIL_INDEX, IRTE_CONTROL_NO_ENTRY);
	refuse(IRTE_KIND_GRANT, 0, EPERM);
	suspend_to_ram();
	refuse_nothing();
	CHECK(!seen(IRTE_CONTROL_GRANTED) && seen(IRTE_CONTROL_GRANT) == grants &&
	      !seen(IRTE_CONTROL_ANNOUNCED), "%u entries announced without a grant",
	      seen(IRTE_CONTROL_ANNOUNCED));
	CHECK(wait_for_log(log, "IMS interrupts do not work any more", ""),
	      "the refusal was not reported");
	ret = hypercall(fd, unit | IRTE_OP_UPDATE, 1, 0, 0);
	CHECK(ret == -EPERM, "an update without a grant: %ld", ret);
	ret = hypercall(fd, unit | IRTE_OP_RESET, 0, 0, 0);
	CHECK(!ret, "a reset without a grant: %ld", ret);
	msg = message(dev, MSIX(0));
	CHECK(msg.data != 0x5a17, "the message of a hypervisor which has not granted the unit");
	check_arrival(dev, MSIX(0));
	release(dev, arg.source);
	for (i = 0; i < 2; i++) {
		ret = call(dev, IMS_TEST_REQUEST, &arg);
		CHECK(ret == -EOPNOTSUPP, "requesting slot %u without a grant: %ld", arg.source,
		      ret);
	}

	suspend_to_ram();
	CHECK(seen(IRTE_CONTROL_GRANTED) &&
	      seen(IRTE_CONTROL_GRANT) == grants + grants_of_resume(), "%u grants after, %u before",
	      seen(IRTE_CONTROL_GRANT), grants);
	ret = call(dev, IMS_TEST_REQUEST, &arg);
	CHECK(!ret, "requesting slot %u with a grant again: %ld", arg.source, ret);
	check_arrival(dev, arg.source);
	check_arrival(dev, MSIX(0));
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced, "%u entries announced after, %u before",
	      seen(IRTE_CONTROL_ANNOUNCED), announced);
}

/*
 * Suspend to disk: the machine is reset, a kernel with a grant of its own comes up, reads
 * the image and gives way to the kernel that was suspended
 */
static void test_hibernate(void)
{
	struct device *dev = open_with_domain();
	struct ims_test_source arg = { .flags = IMS_TEST_UNLAZY };
	u32 grants = seen(IRTE_CONTROL_GRANT), announced;
	int ret;

	/* Where the image was not restored this program is started anew */
	CHECK(!seen(IRTE_CONTROL_SCRATCH), "the kernel has not come back from the disk");
	knob(IRTE_CONTROL_SCRATCH, 1);
	use_msix(dev, 1);
	arg.source = alloc_slot(dev);
	CHECK(!call(dev, IMS_TEST_REQUEST, &arg), "cannot request slot %u", arg.source);
	check_arrival(dev, arg.source);
	announced = seen(IRTE_CONTROL_ANNOUNCED);

	CHECK(!swapon("/dev/vda", 0), "no swap: %s", strerror(errno));
	ret = write_file("reboot", "/sys/power/disk");
	CHECK(!ret, "no suspend to disk: %s", strerror(-ret));
	ret = write_file("disk", "/sys/power/state");
	CHECK(!ret, "suspend to disk: %s", strerror(-ret));

	CHECK(seen(IRTE_CONTROL_GRANTED), "the unit is not granted any more");
	/* Asked for when the image is made, by the other kernel, and when this one is back */
	CHECK(seen(IRTE_CONTROL_GRANT) == grants + 1 + 2 * grants_of_resume(),
	      "%u grants after, %u before", seen(IRTE_CONTROL_GRANT), grants);
	/* The entries of the other kernel are none of the host's any more */
	CHECK(seen(IRTE_CONTROL_ANNOUNCED) == announced, "%u entries announced after, %u before",
	      seen(IRTE_CONTROL_ANNOUNCED), announced);
	check_arrival(dev, arg.source);
	check_arrival(dev, MSIX(0));
	CHECK(!move_away(dev, arg.source), "cannot move");
	check_arrival(dev, arg.source);
	check_disk();
	check_serial();
	check_device(dev);
}

static void test_reboot(void)
{
	check_life(true);
}

static void test_kexec(void)
{
	check_life(true);
}

/* That one does not know the call, and nothing is left to the host to know */
static void test_old(void)
{
	CHECK(!exists("/sys/bus/pci/drivers/ims_test"), "this is not a kernel without the series");
	check_grants(true, false);
	CHECK(!seen(IRTE_CONTROL_ANNOUNCED), "%u entries are announced",
	      seen(IRTE_CONTROL_ANNOUNCED));
	check_disk();
	check_serial();
	CHECK(!seen(IRTE_CONTROL_ANNOUNCED), "%u entries are announced",
	      seen(IRTE_CONTROL_ANNOUNCED));
}

/* It had nothing to give back */
static void test_back(void)
{
	check_life(false);
}

static const struct test life_tests[][2] = {
	[PHASE_SUSPEND]	= { { "suspend",	test_suspend },
			    { "regrant",	test_regrant } },
	[PHASE_REBOOT]	= { { "reboot",		test_reboot } },
	[PHASE_KEXEC]	= { { "kexec",		test_kexec } },
	[PHASE_FIRST]	= { },
	[PHASE_OLD]	= { { "old",		test_old } },
	[PHASE_BACK]	= { { "back",		test_back } },
};

/* Into a kernel and the image that the host has put there */
static void load_kernel(const char *path)
{
	char *line = read_file("/proc/cmdline");
	int kernel, initrd;

	CHECK(!system("cd / && find . -xdev | cpio -o -H newc >/tmp/initrd 2>/dev/null"),
	      "cannot make an image");
	kernel = open(path, O_RDONLY);
	initrd = open("/tmp/initrd", O_RDONLY);
	CHECK(kernel >= 0 && initrd >= 0, "no kernel or no image");
	line[strcspn(line, "\n")] = '\0';
	CHECK(!syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, 0),
	      "kexec: %s", strerror(errno));
}

static int live_from(enum phase first, enum phase last, const char *only)
{
	int ret = EXIT_SUCCESS;
	enum phase phase;

	open_control();
	phase = first + LIFE_PHASE(seen(IRTE_CONTROL_SCRATCH));
	if (phase > last)
		return EXIT_FAILURE;
	if (life_tests[phase][0].name)
		ret = run_tests(life_tests[phase], life_tests[phase][1].name ? 2 : 1, only);
	knob(IRTE_CONTROL_SCRATCH, (phase - first + 1) | seen(IRTE_CONTROL_GRANT) << 8 |
	     seen(IRTE_CONTROL_RESET) << 16);
	/* What was wrong with the others they have told */
	if (phase == last)
		return only ? EXIT_SUCCESS : ret;
	/* With interrupts in use, that nobody gives back */
	if (phase != PHASE_OLD && !fork()) {
		struct device *dev = open_granted();

		use_slots(dev, 4);
		for (;;)
			pause();
	}
	sleep(1);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	if (phase != PHASE_SUSPEND)
		load_kernel(phase == PHASE_FIRST ? "/old/bzImage" : "/bzImage");
	reboot(phase == PHASE_SUSPEND ? LINUX_REBOOT_CMD_RESTART : LINUX_REBOOT_CMD_KEXEC);
	return EXIT_FAILURE;
}

int run_life(const char *only)
{
	return live_from(PHASE_SUSPEND, PHASE_KEXEC, only);
}

static const struct test hibernate_tests[] = {
	{ "hibernate",		test_hibernate },
};

int run_hibernate(const char *only)
{
	open_control();
	/* All of the memory is read and written */
	time_limit = 600;
	return run_tests(hibernate_tests, ARRAY_SIZE(hibernate_tests), only);
}

int run_kexec(const char *only)
{
	return live_from(PHASE_FIRST, PHASE_BACK, only);
}

/*
 * What a move costs in a guest of any kernel, be it one without the series: there is
 * nothing that tells when a move has ended
 */
static void note_beside(const char *what, const struct cost *before)
{
	struct cost now = cost_so_far();

	note("%s: %u calls, %u releases, %u invalidations, %u accesses of the unit", what,
	     now.present - before->present, now.release - before->release,
	     now.iec - before->iec, now.exits - before->exits);
}

void test_beside(void)
{
	static const char disk[] = "/sys/bus/virtio/drivers/virtio_blk";
	unsigned int i, moves = 20;
	struct cost before, now;
	u32 routes;

	open_control();
	before = cost_so_far();
	CHECK(!write_file("virtio0", "%s/unbind", disk), "cannot unbind the disk");
	note_beside("two MSI-X interrupts released", &before);
	before = cost_so_far();
	CHECK(!write_file("virtio0", "%s/bind", disk), "cannot bind the disk");
	note_beside("two MSI-X interrupts allocated and requested", &before);

	CHECK(!try_affinity(USED_IRQ, 0), "cannot move interrupt %u", USED_IRQ);
	usleep(100000);
	before = cost_so_far();
	CHECK(!try_affinity(USED_IRQ, 0), "cannot move interrupt %u", USED_IRQ);
	note_beside("affinity as it is", &before);

	before = cost_so_far();
	routes = seen(IRTE_CONTROL_ROUTES);
	for (i = 0; i < moves; i++) {
		CHECK(!try_affinity(USED_IRQ, !(i & 1)), "cannot move interrupt %u", USED_IRQ);
		usleep(100000);
	}
	now = cost_so_far();
	note("%u moves of an interrupt of the I/O APIC: %u calls, %u invalidations, %u accesses of the unit, %u routes for one entry",
	     moves, now.present - before.present, now.iec - before.iec,
	     now.exits - before.exits, seen(IRTE_CONTROL_ROUTES) - routes);
}

static const struct test beside_tests[] = {
	{ "beside",	test_beside },
};

int run_beside(void)
{
	return run_tests(beside_tests, 1, NULL);
}

/*
 * A demonstration
 */
static void show_request(struct device *dev, u32 source)
{
	int ret = call_source(dev, IMS_TEST_REQUEST, source);

	printf("  request_irq(%u, ...) = %d%s%s\n", virq_of(dev, source), ret, ret ? ": " : "",
	       ret ? strerror(-ret) : "");
}

static void show_move(struct device *dev, u32 source, unsigned int cpu)
{
	unsigned int virq = virq_of(dev, source);
	int ret;

	end_move(dev, source);
	ret = try_affinity(virq, cpu);
	printf("  echo %x >/proc/irq/%u/smp_affinity: %s\n", 1 << cpu, virq,
	       ret ? strerror(-ret) : "done");
}

static void show_interrupts(struct device *dev, u32 source)
{
	struct ims_test_stats before = stats(dev, source), after;

	trigger(dev, source, 1, 100, PCI_IMS_GO_PACED);
	drain(dev, source, 1);
	after = stats(dev, source);
	printf("  100 interrupts: %llu on CPU 0, %llu on CPU 1\n",
	       (unsigned long long)(after.received[0] - before.received[0]),
	       (unsigned long long)(after.received[1] - before.received[1]));
}

static void demo(void)
{
	struct device *dev = open_with_domain();
	u32 source = alloc_slot(dev);
	struct cost before;

	printf("The host has no vector left, and says so:\n");
	refuse(IRTE_KIND_PRESENT, 1, ENOSPC);
	show_request(dev, source);
	printf("The same request, now that it has one:\n");
	before = cost_so_far();
	show_request(dev, source);
	pin(dev, source, 0);
	show_interrupts(dev, source);
	printf("A move to the other CPU, refused and then granted:\n");
	refuse(IRTE_KIND_PRESENT, 1, ENOMEM);
	show_move(dev, source, 1);
	show_interrupts(dev, source);
	show_move(dev, source, 1);
	show_interrupts(dev, source);
	printf("%u hypercalls since the second request, no access to the remapping unit\n",
	       cost_so_far().present - before.present + 1);
	CHECK(cost_so_far().exits - before.exits < 10, "the unit was accessed");
	check_sane(dev);
}

static const struct test demo_tests[] = {
	{ "demo",	demo },
};

int run_hypercall_demo(void)
{
	return run_tests(demo_tests, 1, NULL);
}

static const struct test hypercall_tests[] = {
	{ "granted",		test_granted },
	{ "request_ims",	test_request_ims },
	{ "request_msix",	test_request_msix },
	{ "request_msi",	test_request_msi },
	{ "affinity_ims",	test_affinity_ims },
	{ "affinity_msix",	test_affinity_msix },
	{ "affinity_msi",	test_affinity_msi },
	{ "ioapic",		test_ioapic },
	{ "counts_ims",		test_counts_ims },
	{ "counts_msix",	test_counts_msix },
	{ "counts_msi",		test_counts_msi },
	{ "counts_nothing",	test_counts_nothing },
	{ "counts_ioapic",	test_counts_ioapic },
	{ "block_msi",		test_block_msi },
	/* Before those which leave entries that are not used again */
	{ "other_routes",	test_other_routes },
	{ "release",		test_release },
	{ "release_msi",	test_release_msi },
	{ "message_ims",	test_message_ims },
	{ "message_msix",	test_message_msix },
	{ "message_msi",	test_message_msi },
	{ "cross_ims",		test_cross_ims },
	{ "cross_msix",		test_cross_msix },
	{ "cross_msi",		test_cross_msi },
	{ "cross_ioapic",	test_cross_ioapic },
	{ "irqfd",		test_irqfd },
	{ "ioapic_moves",	test_ioapic_moves },
	{ "slow",		test_slow },
	{ "rules",		test_rules },
	{ "nonsense",		test_nonsense },
};

/*
 * Entries and calls look different, each device has a table of its own, and there is no
 * other message for an entry
 */
static const struct test hypercall_amd_tests[] = {
	{ "request_ims",	test_request_ims },
	{ "request_msix",	test_request_msix },
	{ "request_msi",	test_request_msi },
	{ "affinity_ims",	test_affinity_ims },
	{ "affinity_msix",	test_affinity_msix },
	{ "affinity_msi",	test_affinity_msi },
	{ "ioapic",		test_ioapic },
	{ "counts_ims",		test_counts_ims },
	{ "counts_msix",	test_counts_msix },
	{ "counts_msi",		test_counts_msi },
	{ "counts_nothing",	test_counts_nothing },
	{ "counts_ioapic",	test_counts_ioapic },
	{ "block_msi",		test_block_msi },
	/* Before those which leave entries that are not used again */
	{ "other_routes",	test_other_routes },
	{ "release",		test_release },
	{ "release_msi",	test_release_msi },
	{ "cross_ims",		test_cross_ims },
	{ "cross_msix",		test_cross_msix },
	{ "cross_msi",		test_cross_msi },
	{ "cross_ioapic",	test_cross_ioapic },
	{ "irqfd",		test_irqfd },
	{ "ioapic_moves",	test_ioapic_moves },
	{ "slow",		test_slow },
};

int run_hypercall(const char *only)
{
	if (is_amd())
		return run_tests(hypercall_amd_tests, ARRAY_SIZE(hypercall_amd_tests), only);
	return run_tests(hypercall_tests, ARRAY_SIZE(hypercall_tests), only);
}
