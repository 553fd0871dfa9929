// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: IMS interrupts through interrupt remapping, VT-d's and AMD's
 *
 * Tests which do something while interrupts arrive have a thread on one CPU that
 * triggers them, and run on the other one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imstest.h"

#define CPUS		2
#define IMS_CHIP	"IR-PCI-IMS-"
#define MSIX_CHIP	"IR-PCI-MSIX-"

/* For pci_ims_alloc_irq(): any cookie, and one that holds a PASID for a slot array */
#define COOKIE		0x1234567890abcdefULL
#define PASID		0xabcdeU
#define PASID_COOKIE	(1ULL << 32 | PASID)

static void check_bench(void)
{
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) == CPUS, "%ld CPUs are online, wanted %d",
	      sysconf(_SC_NPROCESSORS_ONLN), CPUS);
	CHECK(count_devices() == 3, "%u pci-ims devices, wanted three", count_devices());
	CHECK(remapping_on(), "interrupt remapping is off");
	CHECK(!caching_mode(), "the remapping unit is in caching mode");
	CHECK(!on_command_line("intremap=nosid"), "source ids are not verified");
}

/*
 * The counters that have to be zero elsewhere do count. No driver uses these
 * sources, so nothing is acknowledged.
 */
static void check_oracle_zero(const struct device *dev, u32 source)
{
	struct counters cnt;

	clear_counters(dev, source);
	cnt = counters(dev, source);
	CHECK(!cnt.sent && !cnt.held && !cnt.dropped && !cnt.queued && !cnt.unacked &&
	      !cnt.spurious && !cnt.writes && !cnt.ctrl_writes && !cnt.torn && !cnt.refused,
	      "source %#x: not all counters are cleared", source);
}

static void check_oracle_spurious(const struct device *dev, u32 source)
{
	u32 all = reg_read(dev, PCI_IMS_ALL_SPURIOUS);

	reg_write(dev, PCI_IMS_ACK, source);
	CHECK(counters(dev, source).spurious == 1 &&
	      reg_read(dev, PCI_IMS_ALL_SPURIOUS) == all + 1,
	      "source %#x: acknowledging nothing counts %u, %u in all", source,
	      counters(dev, source).spurious, reg_read(dev, PCI_IMS_ALL_SPURIOUS) - all);
	check_oracle_zero(dev, source);
}

/* MSI-X is off: a raw event is dropped, a paced one is too and stops the others */
static void check_oracle_dropped(const struct device *dev, u32 source)
{
	struct counters cnt;

	trigger(dev, source, 1, 1, PCI_IMS_GO_RAW);
	cnt = counters(dev, source);
	CHECK(cnt.dropped == 1 && !cnt.sent && !cnt.queued, "raw: %u dropped, %u sent, %u wait",
	      cnt.dropped, cnt.sent, cnt.queued);

	trigger(dev, source, 1, 2, PCI_IMS_GO_PACED);
	cnt = counters(dev, source);
	CHECK(cnt.dropped == 2 && !cnt.sent && cnt.queued == 1,
	      "paced: %u dropped, %u sent, %u wait", cnt.dropped, cnt.sent, cnt.queued);
	CHECK(reg_read(dev, PCI_IMS_ALL_QUEUED) == 1, "%u events wait in all",
	      reg_read(dev, PCI_IMS_ALL_QUEUED));
	check_oracle_zero(dev, source);
	CHECK(!reg_read(dev, PCI_IMS_ALL_QUEUED), "events wait that were cleared");
}

static void check_oracle_torn(const struct device *dev, u32 source)
{
	u32 all = reg_read(dev, PCI_IMS_ALL_TORN);
	struct slot empty = { .ctrl = 0 };
	struct counters cnt;

	write_slot(dev, source, &empty);
	CHECK(!counters(dev, source).torn, "torn while masked");
	/* The first write of the next message meets a slot that is not masked */
	write_slot_word(dev, source, PCI_IMS_SLOT_DATA, 0);
	cnt = counters(dev, source);
	CHECK(cnt.torn == 1 && reg_read(dev, PCI_IMS_ALL_TORN) == all + 1,
	      "a write to a slot that is not masked counts %u, %u in all", cnt.torn,
	      reg_read(dev, PCI_IMS_ALL_TORN) - all);
	CHECK(cnt.writes == WRITES_PER_MSG + 1 && cnt.ctrl_writes == 2,
	      "%u writes of the message, %u of the control word", cnt.writes, cnt.ctrl_writes);
	wipe_slot(dev, source);
	check_oracle_zero(dev, source);
}

/* CLEAR takes the event that waits for the unmask, too: nothing is sent then */
static void check_oracle_pending(const struct device *dev, u32 source)
{
	trigger(dev, source, 1, 1, PCI_IMS_GO_RAW);
	CHECK(counters(dev, source).held == 1, "%u held", counters(dev, source).held);
	CHECK(slot(dev, source).ctrl & PCI_IMS_CTRL_PENDING, "the slot is not pending");
	check_oracle_zero(dev, source);
	CHECK(!(slot(dev, source).ctrl & PCI_IMS_CTRL_PENDING), "still pending after a clear");
	write_slot_word(dev, source, PCI_IMS_SLOT_CTRL, 0);
	CHECK(!counters(dev, source).sent, "an event that was cleared is sent");
	wipe_slot(dev, source);
}

static void test_oracle(void)
{
	struct device *dev = open_device(0);
	u32 invalid;

	check_oracle_spurious(dev, 0);
	check_oracle_spurious(dev, MSIX(0));
	check_oracle_dropped(dev, MSIX(0));
	check_oracle_torn(dev, 0);
	check_oracle_pending(dev, 0);

	invalid = reg_read(dev, PCI_IMS_INVALID);
	reg_write(dev, PCI_IMS_ID, 0);
	CHECK(reg_read(dev, PCI_IMS_INVALID) == invalid + 1, "%u invalid uses, wanted one",
	      reg_read(dev, PCI_IMS_INVALID) - invalid);
}

static bool same_message(const struct slot *a, const struct slot *b)
{
	return a->addr_lo == b->addr_lo && a->addr_hi == b->addr_hi && a->data == b->data;
}

static bool is_empty(const struct slot *slot)
{
	return !slot->addr_lo && !slot->addr_hi && !slot->data;
}

/*
 * Arrival
 */
static void test_arrival(void)
{
	struct device *dev = open_device(0);
	unsigned int cpu, round;
	u32 i;

	use_slots(dev, 8);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 8; i++) {
			for (cpu = 0; cpu < CPUS; cpu++) {
				pin(dev, i, cpu);
				one_interrupt(dev, i, cpu);
			}
		}
	}
	for (i = 0; i < 8; i++) {
		check_source(dev, i, 4, ANY);
		CHECK(stats(dev, i).received[0] == 2 && stats(dev, i).received[1] == 2,
		      "slot %u: wrong CPU", i);
	}
	check_device(dev);
}

static void test_burst(void)
{
	u32 slots = 64, times = 313, rounds = long_run ? 50 : 1, i, sent = 0;
	struct device *dev = open_device(0);
	double start, seconds = 0;

	use_slots(dev, slots);
	for (i = 0; i < slots; i++)
		pin(dev, i, i % CPUS);

	/* One interrupt after the other leaves no time for anything else */
	while (rounds--) {
		start = now();
		trigger(dev, 0, slots, times, PCI_IMS_GO_PACED);
		drain(dev, 0, slots);
		seconds += now() - start;
		sent += times;
	}

	for (i = 0; i < slots; i++)
		check_source(dev, i, sent, i % CPUS);
	check_device(dev);
	note("%u interrupts in %.1f s, %.0f/s", slots * sent, seconds, slots * sent / seconds);
}

/**
 * struct load - A thread that keeps interrupts coming
 * @dev:	Device
 * @slots:	Number of slots, from the first one on
 * @vectors:	Number of MSI-X entries, from the first one on
 * @cpu:	The thread's CPU
 * @stop:	Tells the thread to end
 * @thread:	The thread
 *
 * It uses TRIG_*, so nothing else may until it is stopped.
 */
struct load {
	const struct device	*dev;
	u32			slots;
	u32			vectors;
	unsigned int		cpu;
	bool			stop;
	pthread_t		thread;
};

/* Until nothing is sent any more. What is masked stays queued. */
static void wait_until_quiet(const struct device *dev)
{
	u32 sent = reg_read(dev, PCI_IMS_ALL_SENT), last = sent;
	unsigned int looks;

	for (looks = 0; looks < 20; looks++) {
		sent = reg_read(dev, PCI_IMS_ALL_SENT);
		if (sent != last)
			looks = 0;
		last = sent;
	}
}

/*
 * A CPU that always has the next interrupt waiting does nothing else. So there
 * is a pause after each round.
 */
static void *run_load(void *data)
{
	struct load *load = data;

	run_on(load->cpu);
	while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED)) {
		trigger(load->dev, 0, load->slots, 1, PCI_IMS_GO_PACED);
		if (load->vectors)
			trigger(load->dev, MSIX(0), load->vectors, 1, PCI_IMS_GO_PACED);
		wait_until_quiet(load->dev);
		usleep(20);
	}
	return NULL;
}

/* Wait until so many more are sent, patiently while there is progress */
static void wait_for_load(const struct load *load, u32 interrupts)
{
	u32 first = reg_read(load->dev, PCI_IMS_ALL_SENT), last;

	do {
		last = reg_read(load->dev, PCI_IMS_ALL_SENT);
		CHECK(WAIT(PATIENCE, reg_read(load->dev, PCI_IMS_ALL_SENT) - last >= 100),
		      "there is no load");
	} while (reg_read(load->dev, PCI_IMS_ALL_SENT) - first < interrupts);
}

/* At least two interrupts for each step of a test, however slow the machine is */
static void keep_pace(const struct load *load, unsigned int step)
{
	if (step % 50 == 49)
		wait_for_load(load, 100);
}

static void start_load(struct load *load)
{
	CHECK(!pthread_create(&load->thread, NULL, run_load, load), "no thread");
	run_on(!load->cpu);
	wait_for_load(load, 100);
}

static void stop_load(struct load *load)
{
	__atomic_store_n(&load->stop, true, __ATOMIC_RELAXED);
	pthread_join(load->thread, NULL);
}

/* All that the load sent has arrived. Return: how much that is. */
static u32 check_load(const struct load *load)
{
	u32 i, sum = 0;

	for (i = 0; i < load->slots; i++) {
		check_source(load->dev, i, counters(load->dev, i).sent, ANY);
		sum += counters(load->dev, i).sent;
	}
	return sum;
}

static void check_moved(const struct load *load, const struct slot *before, u32 writes)
{
	struct ims_test_stats st;
	struct slot after;
	u32 i;

	for (i = 0; i < load->slots; i++) {
		st = stats(load->dev, i);
		after = slot(load->dev, i);
		CHECK(st.received[0] && st.received[1], "slot %u: %llu on CPU 0, %llu on CPU 1", i,
		      (unsigned long long)st.received[0], (unsigned long long)st.received[1]);
		CHECK(counters(load->dev, i).writes == writes, "slot %u: message written %u times",
		      i, counters(load->dev, i).writes);
		CHECK(same_message(&after, &before[i]), "slot %u: message has changed", i);
	}
}

/* A move that met the end of the one before is made with the next interrupt */
static void settle(const struct device *dev, u32 source)
{
	CHECK(WAIT(PATIENCE, move_done(virq_of(dev, source))), "source %#x: a move does not end",
	      source);
	trigger(dev, source, 1, 1, PCI_IMS_GO_PACED);
	drain(dev, source, 1);
}

static void test_move_under_load(void)
{
	struct load load = { .dev = open_device(0), .slots = 4 };
	unsigned int moves = long_run ? 5000 : 400, i, virq[4];
	u32 writes, sent;
	struct slot before[4];

	use_slots(load.dev, load.slots);
	for (i = 0; i < load.slots; i++) {
		virq[i] = virq_of(load.dev, i);
		before[i] = slot(load.dev, i);
	}
	writes = counters(load.dev, 0).writes;

	start_load(&load);
	for (i = 0; i < moves; i++) {
		set_affinity(virq[i % load.slots], i / load.slots % CPUS);
		usleep(i % 7 * 300);
		keep_pace(&load, i);
	}
	stop_load(&load);
	drain(load.dev, 0, load.slots);

	sent = check_load(&load);
	CHECK(sent > moves, "only %u interrupts during %u moves", sent, moves);
	check_moved(&load, before, writes);
	for (i = 0; i < load.slots; i++) {
		settle(load.dev, i);
		pin(load.dev, i, i % CPUS);
		one_interrupt(load.dev, i, i % CPUS);
	}
	check_device(load.dev);
	note("%u moves, %u interrupts", moves, sent);
}

/*
 * The message
 */
static void test_built_once(void)
{
	struct device *dev = open_device(0);
	struct counters before, after;
	struct slot first, last;
	unsigned int i;

	create_domain(dev, dev->nslots);
	alloc_slot(dev);
	CHECK(!counters(dev, 0).writes, "message written before the interrupt is requested");
	request(dev, 0);
	first = slot(dev, 0);
	before = counters(dev, 0);
	CHECK(!is_empty(&first), "there is no message");

	for (i = 0; i < 50; i++)
		pin(dev, 0, i % CPUS);
	last = slot(dev, 0);
	after = counters(dev, 0);
	CHECK(after.writes == before.writes, "%u writes for 50 affinity changes",
	      after.writes - before.writes);
	CHECK(after.ctrl_writes == before.ctrl_writes,
	      "%u writes of the control word for 50 affinity changes",
	      after.ctrl_writes - before.ctrl_writes);
	CHECK(same_message(&first, &last), "the message has changed");
	/* Last: a message written anew for each change is written twice here, too */
	CHECK(before.writes == WRITES_PER_MSG, "%u writes for one message", before.writes);

	one_interrupt(dev, 0, 1);
	release(dev, 0);
	last = slot(dev, 0);
	CHECK(is_empty(&last), "message left behind");
	CHECK(last.ctrl & PCI_IMS_CTRL_MASK, "not masked after free_irq()");
	CHECK(counters(dev, 0).writes == 2 * WRITES_PER_MSG, "%u writes to clear the message",
	      counters(dev, 0).writes - after.writes);
	check_device(dev);
}

static void check_format(const struct slot *msg, u32 index)
{
	/* The index is all that the data holds */
	if (is_amd()) {
		CHECK(msg->addr_lo == 0xfee00000 && !msg->addr_hi,
		      "slot %u: %08x%08x is not the address", index, msg->addr_hi, msg->addr_lo);
		return;
	}

	/* 0xfee, format bit 4; the subhandle is what the data holds */
	CHECK(msg->addr_lo >> 20 == 0xfee && !msg->addr_hi && msg->addr_lo & 1 << 4,
	      "slot %u: %08x%08x is not a remappable address", index, msg->addr_hi, msg->addr_lo);
	CHECK(!msg->data, "slot %u: subhandle %#x", index, msg->data);
}

static void check_message(const struct device *dev, u32 index, bool *used)
{
	struct slot msg = slot(dev, index);
	unsigned int virq = virq_of(dev, index);
	struct irte irte;

	check_format(&msg, index);
	CHECK(!used[irte_index(&msg)], "slot %u: IRTE %u is in use twice", index,
	      irte_index(&msg));
	used[irte_index(&msg)] = true;

	CHECK(find_irte(dev, irte_index(&msg), &irte), "slot %u: IRTE %u is not present", index,
	      irte_index(&msg));
	CHECK(irte.rid == dev->rid, "slot %u: source id %04x, wanted %04x", index, irte.rid,
	      dev->rid);
	CHECK(irte.vector == irq_debug(virq, "Vector:"), "slot %u: IRTE has vector %u, not %ld",
	      index, irte.vector, irq_debug(virq, "Vector:"));
	/* x2APIC with logical destinations, so a bit for each CPU */
	CHECK(irq_debug(virq, "Target:") == index % CPUS, "slot %u: on CPU %ld, wanted CPU %u",
	      index, irq_debug(virq, "Target:"), index % CPUS);
	CHECK(irte.dest == 1U << index % CPUS, "slot %u: IRTE has destination %#x, not CPU %u",
	      index, irte.dest, index % CPUS);
}

static void test_message(void)
{
	struct device *dev[2] = { open_device(0), open_device(1) };
	static bool used[65536];
	unsigned int nr;
	u32 i;

	for (nr = 0; nr < ARRAY_SIZE(dev); nr++) {
		/* An AMD unit has a table for each device */
		if (is_amd())
			memset(used, 0, sizeof(used));
		use_slots(dev[nr], 32);
		for (i = 0; i < 32; i++) {
			pin(dev[nr], i, i % CPUS);
			check_message(dev[nr], i, used);
		}
		check_device(dev[nr]);
	}
}

static void test_rewrite_under_load(void)
{
	struct load load = { .dev = open_device(0), .slots = 2 };
	unsigned int rewrites = long_run ? 5000 : 400, i;
	u32 sent;
	int ret;

	use_slots(load.dev, load.slots);
	start_load(&load);
	for (i = 0; i < rewrites; i++) {
		ret = call_source(load.dev, IMS_TEST_REWRITE, i % load.slots);
		CHECK(!ret, "rewriting slot %u: %s", i % load.slots, strerror(-ret));
		usleep(i % 3 * 100);
		keep_pace(&load, i);
	}
	stop_load(&load);
	drain(load.dev, 0, load.slots);

	sent = check_load(&load);
	CHECK(sent > rewrites, "only %u interrupts during %u rewrites", sent, rewrites);
	for (i = 0; i < load.slots; i++)
		CHECK(counters(load.dev, i).writes ==
		      WRITES_PER_MSG * (rewrites + 1),
		      "slot %u: %u writes", i, counters(load.dev, i).writes);
	check_device(load.dev);
	note("message written %u times, %u interrupts", rewrites, sent);
}

/*
 * Masking
 */
static void set_mask(const struct device *dev, u32 source, bool mask)
{
	int ret = call_source(dev, mask ? IMS_TEST_MASK : IMS_TEST_UNMASK, source);

	CHECK(!ret, "%s source %#x: %s", mask ? "masking" : "unmasking", source, strerror(-ret));
}

static void request_unlazy(const struct device *dev, u32 source)
{
	struct ims_test_source arg = { .source = source, .flags = IMS_TEST_UNLAZY };
	int ret = call(dev, IMS_TEST_REQUEST, &arg);

	CHECK(!ret, "requesting source %#x: %s", source, strerror(-ret));
}

static void test_mask_pending_once(void)
{
	struct device *dev = open_device(0);

	create_domain(dev, dev->nslots);
	alloc_slot(dev);
	request_unlazy(dev, 0);
	pin(dev, 0, 0);
	one_interrupt(dev, 0, 0);

	set_mask(dev, 0, true);
	trigger(dev, 0, 1, 5, PCI_IMS_GO_RAW);
	check_silence(dev, 0, 1);
	CHECK(counters(dev, 0).held == 5, "%u events held, wanted 5", counters(dev, 0).held);
	CHECK(slot(dev, 0).ctrl & PCI_IMS_CTRL_PENDING, "the slot is not pending");

	set_mask(dev, 0, false);
	CHECK(WAIT(PATIENCE, received(dev, 0) == 2), "the pending interrupt was not delivered");
	check_silence(dev, 0, 2);
	CHECK(!(slot(dev, 0).ctrl & PCI_IMS_CTRL_PENDING), "the slot is still pending");

	one_interrupt(dev, 0, 0);
	check_source(dev, 0, 3, 0);
	check_device(dev);
}

static void test_mask_holds_queue(void)
{
	struct device *dev = open_device(0);

	create_domain(dev, dev->nslots);
	alloc_slot(dev);
	request_unlazy(dev, 0);
	pin(dev, 0, 1);

	set_mask(dev, 0, true);
	trigger(dev, 0, 1, 100, PCI_IMS_GO_PACED);
	check_silence(dev, 0, 0);
	CHECK(counters(dev, 0).queued == 100, "%u events wait, wanted 100",
	      counters(dev, 0).queued);

	set_mask(dev, 0, false);
	drain(dev, 0, 1);
	check_source(dev, 0, 100, 1);
	check_device(dev);
}

/* disable_irq() masks only when an interrupt arrives, and that one is replayed */
static void test_mask_lazy(void)
{
	struct device *dev = open_device(0);

	use_slots(dev, 1);
	pin(dev, 0, 0);
	set_mask(dev, 0, true);
	CHECK(!(slot(dev, 0).ctrl & PCI_IMS_CTRL_MASK), "masked without need");

	trigger(dev, 0, 1, 1, PCI_IMS_GO_RAW);
	CHECK(WAIT(PATIENCE, slot(dev, 0).ctrl & PCI_IMS_CTRL_MASK), "the slot is not masked");
	CHECK(!received(dev, 0), "the handler was called");

	set_mask(dev, 0, false);
	CHECK(WAIT(PATIENCE, received(dev, 0) == 1), "the interrupt was not replayed");
	check_silence(dev, 0, 1);
	one_interrupt(dev, 0, 0);
	check_source(dev, 0, 2, 0);
	check_device(dev);
}

/*
 * Side by side
 */

/* Without remapping, a move is always made with the next interrupt */
void test_msix_alone(void)
{
	struct device *dev = open_device(0);
	u32 i, nr = 4, times = 50;

	use_msix(dev, nr);
	for (i = 0; i < nr; i++) {
		set_affinity(virq_of(dev, MSIX(i)), i % CPUS);
		settle(dev, MSIX(i));
		CHECK(irq_is_on(virq_of(dev, MSIX(i)), i % CPUS), "MSI-X entry %u did not move", i);
	}
	trigger(dev, MSIX(0), nr, times, PCI_IMS_GO_PACED);
	drain(dev, MSIX(0), nr);
	for (i = 0; i < nr; i++) {
		check_source(dev, MSIX(i), times + 1, ANY);
		CHECK(stats(dev, MSIX(i)).received[i % CPUS] >= times,
		      "MSI-X entry %u: not all on CPU %u", i, i % CPUS);
	}
	check_device(dev);
}

static void pin_load(const struct load *load)
{
	u32 i;

	for (i = 0; i < load->slots; i++)
		pin(load->dev, i, i % CPUS);
	for (i = 0; i < load->vectors; i++)
		pin(load->dev, MSIX(i), i % CPUS);
}

/* All has arrived where it should. Return: how much that is. */
static u32 check_pinned(const struct load *load)
{
	const struct device *dev = load->dev;
	u32 i, sum = 0;

	drain(dev, 0, load->slots);
	drain(dev, MSIX(0), load->vectors);
	for (i = 0; i < load->slots; i++) {
		check_source(dev, i, counters(dev, i).sent, i % CPUS);
		sum += counters(dev, i).sent;
	}
	for (i = 0; i < load->vectors; i++) {
		check_source(dev, MSIX(i), counters(dev, MSIX(i)).sent, i % CPUS);
		sum += counters(dev, MSIX(i)).sent;
	}
	check_device(dev);
	return sum;
}

static void test_msix_and_ims(void)
{
	struct load load = { .dev = open_device(0), .slots = 16, .vectors = 8 };
	u32 wanted = long_run ? 300000 : 20000;

	use_slots(load.dev, load.slots);
	use_msix(load.dev, load.vectors);
	pin_load(&load);
	start_load(&load);
	wait_for_load(&load, wanted);
	stop_load(&load);
	note("%u interrupts", check_pinned(&load));
	CHECK(counters(load.dev, 0).sent > 100, "%u interrupts of a slot",
	      counters(load.dev, 0).sent);
	CHECK(counters(load.dev, MSIX(0)).sent > 100, "%u interrupts of an MSI-X entry",
	      counters(load.dev, MSIX(0)).sent);
}

/* Either comes and goes without disturbing the other */
static void test_msix_on_and_off(void)
{
	struct device *dev = open_device(0);
	u32 i, none = 0;

	use_msix(dev, 2);
	use_slots(dev, 2);
	pin(dev, 0, 0);
	one_interrupt(dev, 0, 0);

	for (i = 0; i < 2; i++)
		release(dev, MSIX(i));
	CHECK(!call(dev, IMS_TEST_MSIX, &none), "cannot free the MSI-X vectors");
	pin(dev, 1, 1);
	one_interrupt(dev, 1, 1);

	use_msix(dev, 2);
	for (i = 0; i < 2; i++) {
		release(dev, i);
		free_slot(dev, i);
	}
	remove_domain(dev);
	pin(dev, MSIX(1), 0);
	one_interrupt(dev, MSIX(1), 0);
	check_device(dev);
}

/*
 * A full store, and no MSI-X. There are not enough remapping entries to have the
 * kernel allocate the last slot, so that sends the message of the first one.
 */
static void test_only_ims(void)
{
	struct device *dev = open_device(2);
	u32 last = PCI_IMS_MAX_SLOTS - 1;
	struct slot msg;

	CHECK(dev->nslots == PCI_IMS_MAX_SLOTS && !dev->nmsix,
	      "%u slots and %u MSI-X entries, wanted a full store only", dev->nslots, dev->nmsix);
	use_slots(dev, 2);
	pin(dev, 0, 0);
	pin(dev, 1, 1);
	one_interrupt(dev, 0, 0);
	one_interrupt(dev, 1, 1);
	check_source(dev, 1, 1, 1);

	msg = slot(dev, last);
	CHECK(is_empty(&msg) && msg.ctrl == PCI_IMS_CTRL_MASK, "slot %u is in use", last);
	msg = slot(dev, 0);
	write_slot(dev, last, &msg);
	trigger(dev, last, 1, 1, PCI_IMS_GO_RAW);
	CHECK(counters(dev, last).sent == 1, "slot %u: %u sent", last, counters(dev, last).sent);
	/* The handler takes it for one of slot 0, and acknowledges there */
	CHECK(WAIT(PATIENCE, counters(dev, 0).spurious == 1), "slot %u: no interrupt", last);
	CHECK(received(dev, 0) == 2, "%llu received, wanted two",
	      (unsigned long long)received(dev, 0));
	dev->spurious++;
	wipe_slot(dev, last);
	check_device(dev);
}

static void test_two_devices(void)
{
	struct load load[2] = {
		{ .dev = open_device(0), .slots = 16, .cpu = 0 },
		{ .dev = open_device(1), .slots = 24, .cpu = 1 },
	};
	u32 wanted = long_run ? 100000 : 10000;
	unsigned int nr;

	for (nr = 0; nr < ARRAY_SIZE(load); nr++) {
		use_slots(load[nr].dev, load[nr].slots);
		pin_load(&load[nr]);
	}
	for (nr = 0; nr < ARRAY_SIZE(load); nr++)
		start_load(&load[nr]);
	for (nr = 0; nr < ARRAY_SIZE(load); nr++)
		wait_for_load(&load[nr], wanted);
	for (nr = 0; nr < ARRAY_SIZE(load); nr++)
		stop_load(&load[nr]);
	for (nr = 0; nr < ARRAY_SIZE(load); nr++)
		note("device %u: %u interrupts", nr, check_pinned(&load[nr]));
}

/*
 * Names
 */
static void check_name(const struct device *dev, u32 source, const char *chip,
		       const char *mode, const char *handler)
{
	unsigned int virq = virq_of(dev, source), on[CPUS];
	struct ims_test_stats st = stats(dev, source);
	char wanted[64], *line, *shown;

	line = interrupts_line(virq);
	CHECK(line, "interrupt %u is not in /proc/interrupts", virq);
	snprintf(wanted, sizeof(wanted), "%s%s", chip, dev->bdf);
	CHECK(strstr(line, wanted), "no %s in: %s", wanted, line);
	snprintf(wanted, sizeof(wanted), " %u-edge ", source & ~PCI_IMS_SRC_MSIX);
	CHECK(strstr(line, wanted), "no %s in: %s", wanted, line);
	CHECK(strstr(line, handler), "no %s in: %s", handler, line);
	CHECK(sscanf(line, "%*u: %u %u", &on[0], &on[1]) == CPUS, "no counts in: %s", line);
	CHECK(on[0] == st.received[0] && on[1] == st.received[1],
	      "%llu and %llu received, but: %s", (unsigned long long)st.received[0],
	      (unsigned long long)st.received[1], line);
	free(line);

	shown = read_file("/sys/bus/pci/devices/%s/msi_irqs/%u", dev->bdf, virq);
	CHECK(shown, "interrupt %u is not in msi_irqs", virq);
	CHECK(!strcmp(shown, mode), "msi_irqs/%u says %s", virq, shown);
	free(shown);
}

static void test_names(void)
{
	struct device *dev = open_device(0);
	unsigned int virq;
	u32 i;

	use_slots(dev, 3);
	use_msix(dev, 2);
	for (i = 0; i < CPUS; i++) {
		pin(dev, 2, i);
		trigger(dev, 2, 1, 10 + i, PCI_IMS_GO_PACED);
		drain(dev, 2, 1);
	}
	pin(dev, MSIX(1), 1);
	one_interrupt(dev, MSIX(1), 1);

	check_name(dev, 2, IMS_CHIP, "ims\n", "ims_test-2");
	check_name(dev, MSIX(1), MSIX_CHIP, "msix\n", "ims_test-msix-1");

	virq = virq_of(dev, 2);
	release(dev, 2);
	free_slot(dev, 2);
	CHECK(!exists("/sys/bus/pci/devices/%s/msi_irqs/%u", dev->bdf, virq),
	      "msi_irqs/%u is left", virq);
	CHECK(!exists("/proc/irq/%u", virq), "/proc/irq/%u is left", virq);
	check_device(dev);
}

/*
 * Allocating and freeing
 */
static void test_free_and_reallocate(void)
{
	struct device *dev = open_device(0);
	struct slot before, after;
	struct irte irte;

	use_slots(dev, 3);
	before = slot(dev, 1);
	release(dev, 1);
	free_slot(dev, 1);

	after = slot(dev, 1);
	CHECK(after.ctrl & PCI_IMS_CTRL_MASK, "the freed slot is not masked");
	CHECK(is_empty(&after), "the freed slot has a message");
	CHECK(!find_irte(dev, irte_index(&before), &irte), "IRTE %u is still present",
	      irte_index(&before));

	/* Nothing comes from it, and the ones beside it work on */
	trigger(dev, 1, 1, 1, PCI_IMS_GO_PACED);
	check_silence(dev, 1, 0);
	CHECK(counters(dev, 1).queued == 1, "the event does not wait");
	pin(dev, 0, 0);
	one_interrupt(dev, 0, 0);
	pin(dev, 2, 1);
	one_interrupt(dev, 2, 1);

	/* The event was for the interrupt that is gone */
	clear_counters(dev, 1);
	CHECK(alloc_slot(dev) == 1, "slot 1 was free and is not used again");
	request(dev, 1);
	after = slot(dev, 1);
	CHECK(same_message(&before, &after), "IRTE %u was free, IRTE %u is used",
	      irte_index(&before), irte_index(&after));
	pin(dev, 1, 1);
	one_interrupt(dev, 1, 1);
	check_source(dev, 0, 1, 0);
	check_source(dev, 1, 1, 1);
	check_source(dev, 2, 1, 1);
	check_device(dev);
}

static void use_and_free(const struct device *dev, u32 slots, unsigned int *irtes)
{
	struct slot msg;
	u32 i;

	use_slots(dev, slots);
	for (i = 0; i < slots; i++) {
		msg = slot(dev, i);
		irtes[i] = irte_index(&msg);
	}
	trigger(dev, 0, slots, 1, PCI_IMS_GO_PACED);
	drain(dev, 0, slots);
	for (i = 0; i < slots; i++) {
		release(dev, i);
		free_slot(dev, i);
	}
	remove_domain(dev);
}

/*
 * An entry that was leaked is not present, so its index tells: the remapping
 * code takes the lowest free one.
 */
static void test_free_leaks_nothing(void)
{
	unsigned int first[16], irtes[16], cycles = long_run ? 500 : 10, i;
	struct device *dev = open_device(0);
	struct resources before;

	use_and_free(dev, ARRAY_SIZE(first), first);
	before = resources();
	for (i = 0; i < cycles; i++) {
		use_and_free(dev, ARRAY_SIZE(irtes), irtes);
		CHECK(!memcmp(first, irtes, sizeof(first)), "IRTEs %u... at first, %u... now",
		      first[0], irtes[0]);
	}
	check_resources(&before);
	check_device(dev);
}

static void test_exhaustion(void)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	struct device *dev = open_device(0);
	struct resources before;
	u32 i;
	int ret;

	create_domain(dev, 8);
	for (i = 0; i < 8; i++)
		CHECK(alloc_slot(dev) == i, "slot %u is not the next", i);
	before = resources();
	for (i = 0; i < 2; i++) {
		ret = call(dev, IMS_TEST_ALLOC, &arg);
		CHECK(ret == -ENOSPC, "the ninth of eight slots: %s", strerror(-ret));
	}
	check_resources(&before);

	free_slot(dev, 5);
	CHECK(alloc_slot(dev) == 5, "slot 5 is the free one");
	request(dev, 5);
	pin(dev, 5, 1);
	one_interrupt(dev, 5, 1);
	check_device(dev);
}

/* The vectors of each CPU, since the sum does not tell of one that went to another CPU */
static void get_vectors(unsigned int *vectors)
{
	unsigned int cpu;

	for (cpu = 0; cpu < CPUS; cpu++)
		vectors[cpu] = vectors_of(cpu);
}

static void check_vectors(const unsigned int *before)
{
	unsigned int after[CPUS], cpu;

	get_vectors(after);
	for (cpu = 0; cpu < CPUS; cpu++)
		CHECK(after[cpu] == before[cpu], "CPU %u had %u vectors, now %u", cpu, before[cpu],
		      after[cpu]);
}

/* No vector before request_irq() */
static void test_reservation(void)
{
	struct device *dev = open_device(0);
	struct resources before, after;
	unsigned int vectors[CPUS], virq;

	create_domain(dev, dev->nslots);
	before = resources();
	get_vectors(vectors);
	alloc_slot(dev);
	after = resources();
	check_vectors(vectors);
	virq = virq_of(dev, 0);
	CHECK(after.vectors == before.vectors && after.reserved == before.reserved + 1,
	      "allocation took %d vectors and reserved %d", after.vectors - before.vectors,
	      after.reserved - before.reserved);
	CHECK(!irq_debug(virq, "Vector:"), "vector %ld before the request",
	      irq_debug(virq, "Vector:"));

	request(dev, 0);
	after = resources();
	CHECK(after.vectors == before.vectors + 1 && after.reserved == before.reserved,
	      "request took %d vectors", after.vectors - before.vectors);
	release(dev, 0);
	free_slot(dev, 0);
	check_resources(&before);
	check_vectors(vectors);
	check_device(dev);
}

static void test_alloc_arguments(void)
{
	struct ims_test_alloc arg = { 0 };
	struct device *dev = open_device(0);
	unsigned int cpu;
	struct slot msg;
	int ret;

	create_domain(dev, dev->nslots);
	for (cpu = 0; cpu < CPUS; cpu++) {
		arg.cpu = cpu;
		arg.cookie = PASID_COOKIE + cpu;
		ret = call(dev, IMS_TEST_ALLOC, &arg);
		CHECK(!ret, "allocating a slot: %s", strerror(-ret));
		CHECK(arg.cookie == PASID_COOKIE + cpu, "cookie %llx",
		      (unsigned long long)arg.cookie);

		/* CPU 0 is the default as well, CPU 1 shows who decides */
		request(dev, arg.source);
		msg = slot(dev, arg.source);
		CHECK(msg.ctrl == (PCI_IMS_CTRL_PASID_EN | (PASID + cpu) << 12),
		      "control word %#x", msg.ctrl);
		CHECK(irq_is_on(arg.virq, cpu), "interrupt is not on CPU %u", cpu);
		one_interrupt(dev, arg.source, cpu);
	}

	/* Neither is needed */
	arg.cpu = -1;
	arg.cookie = 0;
	ret = call(dev, IMS_TEST_ALLOC, &arg);
	CHECK(!ret, "allocating a slot: %s", strerror(-ret));
	CHECK(!arg.cookie, "cookie %llx, wanted none", (unsigned long long)arg.cookie);
	request(dev, arg.source);
	CHECK(!slot(dev, arg.source).ctrl, "control word %#x", slot(dev, arg.source).ctrl);
	one_interrupt(dev, arg.source, ANY);

	/* What is no PASID would give the slot to somebody else */
	arg.cookie = COOKIE;
	ret = call(dev, IMS_TEST_ALLOC, &arg);
	CHECK(ret == -EINVAL, "allocating a slot: %s, wanted EINVAL", strerror(-ret));
	CHECK(alloc_slot(dev) == CPUS + 1, "a slot is lost");

	/* With the interrupt the PASID goes */
	release(dev, 1);
	CHECK(slot(dev, 1).ctrl == PCI_IMS_CTRL_MASK, "control word %#x", slot(dev, 1).ctrl);
	check_device(dev);
}

/*
 * Stores
 */

/* What any store has to do: interrupts arrive, they move, the message stays */
static void check_store(const struct device *dev, u32 first, u32 nr)
{
	struct slot before[4], after;
	unsigned int cpu;
	u32 i;

	for (i = 0; i < nr; i++)
		before[i] = slot(dev, first + i);
	for (cpu = 0; cpu < 2 * CPUS; cpu++) {
		for (i = 0; i < nr; i++) {
			pin(dev, first + i, cpu % CPUS);
			one_interrupt(dev, first + i, cpu % CPUS);
		}
	}
	for (i = 0; i < nr; i++) {
		after = slot(dev, first + i);
		CHECK(same_message(&before[i], &after), "slot %u: message has changed", i);
		CHECK(messages_written(dev, first + i) == 1, "slot %u: message written %u times", i,
		      messages_written(dev, first + i));
		check_source(dev, first + i, 2 * CPUS, ANY);
	}
}

/* Written before request_irq() returns, and taken away before free_irq() does */
static void check_released(const struct device *dev, u32 first, u32 nr)
{
	u32 off = first & PCI_IMS_SRC_QUEUE ? 0 : PCI_IMS_CTRL_MASK, i;
	struct slot msg;

	for (i = first; i < first + nr; i++) {
		release(dev, i);
		msg = slot(dev, i);
		CHECK(is_empty(&msg) && msg.ctrl == off, "source %#x has a message", i);
		free_slot(dev, i);
	}
}

static void check_cookie(const struct device *dev)
{
	struct ims_test_alloc arg = { .cpu = -1, .cookie = COOKIE };
	int ret = call(dev, IMS_TEST_ALLOC, &arg);

	CHECK(!ret, "allocating a slot: %s", strerror(-ret));
	CHECK(arg.cookie == COOKIE, "cookie %llx", (unsigned long long)arg.cookie);
	free_slot(dev, arg.source);
}

static void test_own_chip(void)
{
	struct device *dev = open_device(0);
	struct resources before;

	create_store(dev, dev->nslots, IMS_TEST_CHIP);
	before = resources();
	check_cookie(dev);
	remove_domain(dev);

	use_store(dev, 4, IMS_TEST_CHIP);
	check_store(dev, 0, 4);
	check_released(dev, 0, 4);
	check_resources(&before);
	check_device(dev);
}

/* The device finds no message: the event is lost, and nothing is sent */
static void check_no_message(const struct device *dev, u32 source)
{
	struct counters before = counters(dev, source), after;

	trigger(dev, source, 1, 1, PCI_IMS_GO_RAW);
	after = counters(dev, source);
	CHECK(after.sent == before.sent && after.dropped == before.dropped + 1,
	      "source %#x: %u sent, %u dropped", source, after.sent - before.sent,
	      after.dropped - before.dropped);
}

/* No vector before the request, but then it stays until the interrupt is freed */
static void test_queue_memory(void)
{
	struct device *dev = open_device(0);
	struct resources before, after;
	static bool used[65536];
	u32 i;

	create_store(dev, dev->nslots, IMS_TEST_QUEUES);
	before = resources();
	check_cookie(dev);
	alloc_slot(dev);
	after = resources();
	CHECK(after.vectors == before.vectors, "allocation took %d vectors",
	      after.vectors - before.vectors);
	CHECK(!messages_written(dev, QUEUE(0)), "message written before the request");
	check_no_message(dev, QUEUE(0));
	free_slot(dev, QUEUE(0));
	remove_domain(dev);
	check_no_message(dev, QUEUE(0));
	clear_counters(dev, QUEUE(0));

	use_store(dev, 4, IMS_TEST_QUEUES);
	for (i = 0; i < 4; i++) {
		pin(dev, QUEUE(i), i % CPUS);
		check_message(dev, QUEUE(i), used);
	}
	check_store(dev, QUEUE(0), 4);
	check_released(dev, QUEUE(0), 4);
	check_no_message(dev, QUEUE(0));
	/* It is all in memory */
	CHECK(!counters(dev, 0).ctrl_writes && !counters(dev, 0).writes, "a slot was written");
	check_resources(&before);
	check_device(dev);
}

/* The CPU that the interrupt was on goes while nobody uses it */
static void test_queue_hotplug(void)
{
	struct device *dev = open_device(0);
	u32 queue = use_store(dev, 1, IMS_TEST_QUEUES);

	pin(dev, queue, 1);
	one_interrupt(dev, queue, 1);
	release(dev, queue);
	set_online(1, false);
	request(dev, queue);
	one_interrupt(dev, queue, 0);
	set_online(1, true);
	pin(dev, queue, 1);
	one_interrupt(dev, queue, 1);
	set_online(1, false);
	one_interrupt(dev, queue, 0);
	set_online(1, true);
	check_device(dev);
}

/*
 * Its message is the one in memory at that moment, and only what the driver has mapped
 * for the device is memory to it
 */
static void test_queue_dma(void)
{
	struct device *dev = open_device(0);
	u32 queue = use_store(dev, 2, IMS_TEST_QUEUES), base, high, count;
	char requester[64];
	int log;

	trigger(dev, queue, 2, 200, PCI_IMS_GO_PACED);
	drain(dev, queue, 2);
	check_source(dev, queue, 200, ANY);
	check_source(dev, queue + 1, 200, ANY);

	/* The context of the other one */
	base = reg_read(dev, PCI_IMS_QUEUE_BASE_LO);
	reg_write(dev, PCI_IMS_QUEUE_BASE_LO, base + PCI_IMS_QUEUE_SIZE);
	trigger(dev, queue, 1, 1, PCI_IMS_GO_RAW);
	CHECK(WAIT(PATIENCE, received(dev, queue + 1) == 201), "the message is another one's");
	CHECK(received(dev, queue) == 200, "a message that is not in memory");
	/* The handler took it for one of its own */
	dev->spurious++;

	/* No context */
	check_no_message(dev, queue + 1);
	reg_write(dev, PCI_IMS_QUEUE_BASE_LO, base);
	count = reg_read(dev, PCI_IMS_QUEUE_COUNT);
	reg_write(dev, PCI_IMS_QUEUE_COUNT, 1);
	check_no_message(dev, queue + 1);
	reg_write(dev, PCI_IMS_QUEUE_COUNT, count);
	one_interrupt(dev, queue + 1, ANY);

	/* Not mapped */
	snprintf(requester, sizeof(requester), "Request device [%s] fault addr", dev->bdf);
	log = open_log();
	high = reg_read(dev, PCI_IMS_QUEUE_BASE_HI);
	reg_write(dev, PCI_IMS_QUEUE_BASE_HI, high + 0x10);
	check_no_message(dev, queue + 1);
	CHECK(wait_for_log(log, requester, "DMA Read"), "no fault of %s was reported", dev->bdf);
	reg_write(dev, PCI_IMS_QUEUE_BASE_HI, high);
	one_interrupt(dev, queue + 1, ANY);
	check_device(dev);
}

static void test_queue_managed(void)
{
	static const u32 stores[] = { IMS_TEST_QUEUES, IMS_TEST_NO_MASK_STORE };
	struct ims_test_alloc arg = { .cpu = 1, .managed = 1 };
	struct ims_test_batch batch = { .nr = 2, .flags = IMS_TEST_SPREAD | IMS_TEST_MANAGED };
	struct device *dev = open_device(0);
	struct resources before;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(stores); i++) {
		create_store(dev, dev->nslots, stores[i]);
		before = resources();
		CHECK(call(dev, IMS_TEST_ALLOC, &arg) == -EINVAL, "managed, and cannot be masked");
		CHECK(call(dev, IMS_TEST_BATCH, &batch) == -EINVAL, "managed, and cannot be masked");
		check_resources(&before);
		remove_domain(dev);
	}
}

/* A vector and a message of its own from the beginning, masked by nobody */
static void test_no_mask_store(void)
{
	struct device *dev = open_device(0);
	struct resources before, after;
	struct slot msg;

	create_store(dev, dev->nslots, IMS_TEST_NO_MASK_STORE);
	before = resources();
	alloc_slot(dev);
	after = resources();
	CHECK(after.vectors == before.vectors + 1 && after.reserved == before.reserved,
	      "allocation took %d vectors and reserved %d", after.vectors - before.vectors,
	      after.reserved - before.reserved);
	msg = slot(dev, 0);
	CHECK(!is_empty(&msg) && !msg.ctrl, "no message after the allocation");

	request(dev, 0);
	check_store(dev, 0, 1);
	release(dev, 0);
	free_slot(dev, 0);
	check_resources(&before);
	check_device(dev);
}

/*
 * Many at once
 */
static u32 alloc_batch(const struct device *dev, u32 nr, u32 flags)
{
	struct ims_test_batch arg = { .nr = nr, .flags = flags };
	int ret = call(dev, IMS_TEST_BATCH, &arg);

	CHECK(!ret, "allocating %u slots: %s", nr, strerror(-ret));
	return arg.first;
}

static void free_batch(const struct device *dev)
{
	int ret = call(dev, IMS_TEST_UNBATCH, NULL);

	CHECK(!ret, "freeing all slots: %s", strerror(-ret));
}

static void test_batch(void)
{
	struct ims_test_batch more = { .nr = 61 };
	struct device *dev = open_device(0);
	struct resources before, some;
	unsigned int on[CPUS] = { 0 }, cpu;
	u32 i;

	create_domain(dev, dev->nslots);
	before = resources();
	CHECK(alloc_batch(dev, 4, IMS_TEST_SPREAD) == 0, "not the first slots");
	for (i = 0; i < 4; i++) {
		request(dev, i);
		/* One for each CPU, and what is left goes anywhere */
		for (cpu = 0; cpu < CPUS && i < CPUS; cpu++)
			on[cpu] += irq_is_on(virq_of(dev, i), cpu);
		one_interrupt(dev, i, ANY);
	}
	CHECK(on[0] == 1 && on[1] == 1, "%u on CPU 0, %u on CPU 1", on[0], on[1]);
	pin(dev, 0, 1);
	one_interrupt(dev, 0, 1);

	/* All or none */
	some = resources();
	CHECK(call(dev, IMS_TEST_BATCH, &more) == -ENOSPC, "65 of 64 slots");
	check_resources(&some);
	CHECK(alloc_batch(dev, 60, 0) == 4, "not the rest of the slots");
	CHECK(call(dev, IMS_TEST_UNBATCH, NULL) == -EBUSY, "freed while requested");
	for (i = 0; i < 4; i++)
		release(dev, i);
	free_batch(dev);
	check_resources(&before);
	check_device(dev);
}

static void test_batch_managed(void)
{
	struct device *dev = open_device(0);
	struct resources before;
	unsigned int virq;
	u32 i;

	create_domain(dev, dev->nslots);
	before = resources();
	alloc_batch(dev, CPUS, IMS_TEST_SPREAD | IMS_TEST_MANAGED);
	for (i = 0; i < CPUS; i++) {
		virq = virq_of(dev, i);
		request(dev, i);
		CHECK(try_affinity(virq, 0) == -EPERM, "a managed interrupt was moved");
		one_interrupt(dev, i, irq_is_on(virq, 0) ? 0 : 1);
	}
	set_online(1, false);
	set_online(1, true);
	for (i = 0; i < CPUS; i++) {
		one_interrupt(dev, i, ANY);
		release(dev, i);
	}
	free_batch(dev);
	check_resources(&before);
	check_device(dev);
}

/* Request slots until there is no vector left. Return: their number. */
static u32 take_all_vectors(const struct device *dev, u32 nr)
{
	u32 i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++)
		ret = call_source(dev, IMS_TEST_REQUEST, i);
	CHECK(ret == -ENOSPC, "request %u: %s, wanted ENOSPC", i - 1, strerror(-ret));
	return i - 1;
}

static void use_and_free_one(const struct device *dev)
{
	CHECK(alloc_slot(dev) == 0, "not the first slot");
	request(dev, 0);
	one_interrupt(dev, 0, ANY);
	release(dev, 0);
	free_slot(dev, 0);
}

/* As many as the store has, or nearly: the table of the unit is as large, and shared */
static void test_scale(void)
{
	struct device *dev = open_device(2), *other = open_device(0);
	u32 nr = long_run ? 60000 : 1000, taken, i;
	struct resources before, after, full;
	unsigned int vectors[CPUS];
	double start;

	use_slots(other, 1);
	create_domain(dev, dev->nslots);
	before = resources();
	get_vectors(vectors);
	for (i = 0; i < nr; i += nr / 10) {
		start = now();
		CHECK(alloc_batch(dev, nr / 10, 0) == i, "slot %u is not the next", i);
		note("slots %u to %u allocated in %.2f s", i, i + nr / 10 - 1, now() - start);
	}
	after = resources();
	check_vectors(vectors);
	CHECK(after.vectors == before.vectors && after.reserved == before.reserved + nr,
	      "%d vectors taken, %d reserved", after.vectors - before.vectors,
	      after.reserved - before.reserved);
	CHECK(after.irqs == before.irqs + nr && after.irtes == before.irtes &&
	      after.entries == before.entries + nr,
	      "%d interrupts, %d IRTEs present, %d allocated", after.irqs - before.irqs,
	      after.irtes - before.irtes, after.entries - before.entries);

	taken = take_all_vectors(dev, nr);
	CHECK(taken > 300, "only %u vectors", taken);
	full = resources();
	CHECK(call_source(dev, IMS_TEST_REQUEST, taken) == -ENOSPC, "there is a vector left");
	check_resources(&full);
	one_interrupt(other, 0, ANY);
	for (i = 0; i < taken; i += 50)
		one_interrupt(dev, i, ANY);
	release(dev, 0);
	request(dev, taken);
	one_interrupt(dev, taken, ANY);
	note("%u interrupts took all vectors", taken);

	for (i = 1; i <= taken; i++)
		release(dev, i);
	start = now();
	free_batch(dev);
	note("%u freed in %.1f s", nr, now() - start);
	check_resources(&before);
	check_vectors(vectors);
	one_interrupt(other, 0, ANY);
	check_device(dev);
	check_device(other);
}

/* An AMD unit has 512 entries for a device, or 2048 */
static void test_table_full(void)
{
	struct ims_test_batch all = { .nr = 4096 };
	struct device *dev = open_device(2);
	struct ims_test_alloc arg = { .cpu = -1 };
	struct resources before;
	u32 nr = 0, i;
	int ret;

	create_domain(dev, dev->nslots);
	before = resources();
	for (i = 0; i < 2; i++) {
		ret = call(dev, IMS_TEST_BATCH, &all);
		CHECK(ret == -ENOSPC, "%u slots: %s, wanted ENOSPC", all.nr, strerror(-ret));
		check_resources(&before);
	}

	while (!(ret = call(dev, IMS_TEST_ALLOC, &arg)))
		nr++;
	CHECK(ret == -ENOSPC, "slot %u: %s, wanted ENOSPC", nr, strerror(-ret));
	CHECK(nr == 512 || nr == 2048, "%u entries", nr);
	request(dev, nr - 1);
	pin(dev, nr - 1, 1);
	one_interrupt(dev, nr - 1, 1);

	/* One that is freed is there for another */
	free_slot(dev, 7);
	CHECK(alloc_slot(dev) == 7, "slot 7 is the free one");
	release(dev, nr - 1);
	free_batch(dev);
	check_resources(&before);
	use_and_free_one(dev);
	check_device(dev);
}

/*
 * Wrong arguments
 */
static const struct {
	const char	*what;
	u32		hwsize;
	u32		variant;
} wrong[] = {
	{ "no irq_mask()",		 8,		IMS_TEST_NO_MASK },
	{ "no irq_unmask()",		 8,		IMS_TEST_NO_UNMASK },
	{ "no irq_write_msi_msg()",	 8,		IMS_TEST_NO_WRITE },
	{ "an irq_set_affinity()",	 8,		IMS_TEST_SET_AFFINITY },
	{ "an irq_compose_msi_msg()",	 8,		IMS_TEST_COMPOSE },
	{ "an irq_bus_lock()",		 8,		IMS_TEST_BUS_LOCK },
	{ "an irq_bus_sync_unlock()",	 8,		IMS_TEST_BUS_SYNC_UNLOCK },
	{ "flags",			 8,		IMS_TEST_FLAGS },
	{ "no slots",			 0,		IMS_TEST_GOOD },
	{ "65537 slots",		 65537,		IMS_TEST_GOOD },
	{ "4294967295 slots",		 UINT32_MAX,	IMS_TEST_GOOD },
};

static void check_wrong(const struct device *dev)
{
	struct resources before = resources();
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		ret = try_domain(dev, wrong[i].hwsize, wrong[i].variant);
		CHECK(ret == -EINVAL, "%s: %s", wrong[i].what, ret ? strerror(-ret) : "accepted");
	}
	check_resources(&before);
}

static void test_wrong_arguments(void)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	struct device *dev = open_device(0);
	int ret;

	check_wrong(dev);
	ret = call(dev, IMS_TEST_ALLOC, &arg);
	CHECK(ret == -ENODEV, "allocation without a domain: %s", ret ? strerror(-ret) : "done");

	/* Not even when there is a domain, and that one is not disturbed */
	use_slots(dev, 1);
	check_wrong(dev);
	pin(dev, 0, 1);
	one_interrupt(dev, 0, 1);
	check_device(dev);
}

static void test_domain_twice(void)
{
	struct device *dev = open_device(0);
	struct resources none = resources(), one;
	int ret;

	remove_domain(dev);
	use_slots(dev, 2);
	one = resources();
	ret = try_domain(dev, 8, IMS_TEST_GOOD);
	CHECK(ret == -EEXIST, "a second domain: %s", ret ? strerror(-ret) : "accepted");
	check_resources(&one);
	pin(dev, 1, 1);
	one_interrupt(dev, 1, 1);

	/* The driver's limit: no removal under interrupts in use */
	CHECK(call(dev, IMS_TEST_UNDOMAIN, NULL) == -EBUSY, "removed with interrupts in use");
	release(dev, 0);
	release(dev, 1);
	free_slot(dev, 0);
	free_slot(dev, 1);

	/* Other sizes, 0: as large as can be, 65536: just as large */
	remove_domain(dev);
	check_resources(&none);
	create_store(dev, 0, IMS_TEST_CHIP);
	CHECK(alloc_slot(dev) == 0, "not the first slot");
	free_slot(dev, 0);
	remove_domain(dev);
	check_resources(&none);
	create_store(dev, 65536, IMS_TEST_CHIP);
	CHECK(alloc_slot(dev) == 0, "not the first slot");
	request(dev, 0);
	pin(dev, 0, 1);
	one_interrupt(dev, 0, 1);
	check_device(dev);
}

/*
 * CPU hotplug
 */

/* The affinity that was wanted while the interrupt was not in use is no trap */
static void test_request_after_hotplug(void)
{
	struct device *dev = open_device(0);
	unsigned int virq;

	use_slots(dev, 1);
	virq = virq_of(dev, 0);
	one_interrupt(dev, 0, ANY);
	release(dev, 0);
	set_affinity(virq, 1);
	set_online(1, false);
	set_online(1, true);

	request(dev, 0);
	one_interrupt(dev, 0, ANY);
	pin(dev, 0, 1);
	one_interrupt(dev, 0, 1);
	check_device(dev);
}

static void test_hotplug_under_load(void)
{
	struct load load = { .dev = open_device(0), .slots = 8 };
	unsigned int rounds = long_run ? 50 : 3;
	u32 writes, i;

	use_slots(load.dev, load.slots);
	writes = counters(load.dev, 0).writes;
	start_load(&load);
	run_on(0);
	while (rounds--) {
		for (i = 0; i < load.slots; i++)
			set_affinity(virq_of(load.dev, i), 1);
		wait_for_load(&load, 100);
		set_online(1, false);
		wait_for_load(&load, 100);
		set_online(1, true);
	}
	stop_load(&load);
	drain(load.dev, 0, load.slots);

	note("%u interrupts", check_load(&load));
	for (i = 0; i < load.slots; i++) {
		CHECK(stats(load.dev, i).received[1], "slot %u: nothing on CPU 1", i);
		CHECK(counters(load.dev, i).writes == writes, "slot %u: message written", i);
		settle(load.dev, i);
		pin(load.dev, i, 1);
		one_interrupt(load.dev, i, 1);
	}
	check_device(load.dev);
}

/* A managed interrupt is shut down with the last of its CPUs */
static void test_managed(void)
{
	struct ims_test_alloc arg = { .cpu = 1, .managed = 1 };
	struct device *dev = open_device(0);
	int ret;

	create_domain(dev, dev->nslots);
	ret = call(dev, IMS_TEST_ALLOC, &arg);
	CHECK(!ret, "allocating a slot: %s", strerror(-ret));
	request(dev, 0);
	CHECK(write_file("1", "/proc/irq/%u/smp_affinity", arg.virq) == -EPERM,
	      "the affinity of a managed interrupt was changed");
	one_interrupt(dev, 0, 1);

	set_online(1, false);
	CHECK(slot(dev, 0).ctrl & PCI_IMS_CTRL_MASK, "not masked with its CPU offline");
	trigger(dev, 0, 1, 1, PCI_IMS_GO_PACED);
	check_silence(dev, 0, 1);
	set_online(1, true);
	drain(dev, 0, 1);
	check_source(dev, 0, 2, 1);

	/* Requested while the CPU is offline */
	release(dev, 0);
	set_online(1, false);
	request(dev, 0);
	CHECK(slot(dev, 0).ctrl & PCI_IMS_CTRL_MASK, "not masked with its CPU offline");
	set_online(1, true);
	one_interrupt(dev, 0, 1);
	check_source(dev, 0, 3, 1);
	check_device(dev);
}

/*
 * Unbinding and reset
 */

/*
 * The load had to stop on its own: nothing is sent any more, although there are
 * events. They go, for whoever uses the sources next.
 */
static void stop_dead_load(struct load *load)
{
	const struct device *dev = load->dev;
	u32 i, sent;

	sent = reg_read(dev, PCI_IMS_ALL_SENT);
	usleep(SILENCE * 1e6);
	stop_load(load);
	CHECK(reg_read(dev, PCI_IMS_ALL_SENT) == sent, "the device still sends");
	CHECK(reg_read(dev, PCI_IMS_ALL_QUEUED), "there was no load any more");

	for (i = 0; i < load->slots; i++)
		clear_counters(dev, i);
	for (i = 0; i < load->vectors; i++)
		clear_counters(dev, MSIX(i));
}

static void check_works(struct device *dev, u32 slots)
{
	u32 i;

	use_slots(dev, slots);
	for (i = 0; i < slots; i++) {
		pin(dev, i, i % CPUS);
		one_interrupt(dev, i, i % CPUS);
	}
}

/* What is in use when the device has neither of its domains */
static struct resources resources_without(const struct device *dev)
{
	struct resources res;

	if (exists("/sys/bus/pci/devices/%s/driver", dev->bdf))
		bind_driver(dev, false);
	res = resources();
	bind_driver(dev, true);
	return res;
}

static void check_unused(const struct device *dev, u32 slots)
{
	struct slot msg;
	u32 i;

	for (i = 0; i < slots; i++) {
		msg = slot(dev, i);
		CHECK(msg.ctrl & PCI_IMS_CTRL_MASK, "slot %u is not masked", i);
		CHECK(is_empty(&msg), "slot %u has a message", i);
	}
}

static void test_unbind_live(void)
{
	struct resources before = resources_without(find_device(0));
	struct device *dev = open_device(0);
	struct load load = { .dev = dev, .slots = 16, .vectors = 4 };

	use_slots(dev, load.slots);
	use_msix(dev, load.vectors);
	start_load(&load);
	/* The driver releases the handlers, the kernel frees slots and domain */
	bind_driver(dev, false);
	stop_dead_load(&load);
	check_unused(dev, load.slots);
	check_resources(&before);

	/* The file is still open, and of no use */
	CHECK(call_source(dev, IMS_TEST_REQUEST, 0) == -ENODEV, "a call after unbind");
	CHECK(!exists("/dev/ims_test-%s", dev->bdf), "/dev/ims_test-%s is left", dev->bdf);

	bind_driver(dev, true);
	close(dev->fd);
	open_file(dev);
	check_works(dev, 4);
	check_device(dev);
}

/* Closing the file is what an end of this program, for whatever reason, does */
static void test_close_live(void)
{
	struct resources before = resources_without(find_device(0));
	struct device *dev = open_device(0);
	struct load load = { .dev = dev, .slots = 8, .vectors = 2 };

	use_slots(dev, load.slots);
	use_msix(dev, load.vectors);
	start_load(&load);
	close(dev->fd);
	stop_dead_load(&load);
	check_unused(dev, load.slots);
	/* The MSI-X domain stays until the driver is unbound */
	before.domains++;
	check_resources(&before);

	open_file(dev);
	check_works(dev, 2);
	check_device(dev);
}

/* Also what check_device() compares with begins at zero again */
static void reset_device(struct device *dev)
{
	u32 resets = reg_read(dev, PCI_IMS_RESETS);
	int ret;

	ret = write_file("flr", "/sys/bus/pci/devices/%s/reset_method", dev->bdf);
	CHECK(!ret, "cannot choose FLR: %s", strerror(-ret));
	ret = write_file("1", "/sys/bus/pci/devices/%s/reset", dev->bdf);
	CHECK(!ret, "cannot reset: %s", strerror(-ret));
	CHECK(reg_read(dev, PCI_IMS_RESETS) == resets + 1, "%u resets",
	      reg_read(dev, PCI_IMS_RESETS) - resets);
	dev->spurious = 0;
	dev->torn = 0;
}

static void check_after_reset(const struct device *dev, u32 slots, u32 vectors)
{
	u32 i;

	for (i = 0; i < slots; i++) {
		settle(dev, i);
		pin(dev, i, i % CPUS);
		one_interrupt(dev, i, i % CPUS);
	}
	for (i = 0; i < vectors; i++) {
		settle(dev, MSIX(i));
		pin(dev, MSIX(i), 1);
		one_interrupt(dev, MSIX(i), 1);
	}
}

static void test_flr(void)
{
	struct device *dev = open_device(0);
	struct slot before[4], after;
	u32 slots = 4, vectors = 2, i;

	use_slots(dev, slots);
	use_msix(dev, vectors);
	for (i = 0; i < slots; i++)
		before[i] = slot(dev, i);

	reset_device(dev);
	for (i = 0; i < slots; i++) {
		after = slot(dev, i);
		CHECK(!memcmp(&before[i], &after, sizeof(after)), "slot %u is not restored", i);
		CHECK(counters(dev, i).writes == WRITES_PER_MSG, "slot %u: %u writes", i,
		      counters(dev, i).writes);
	}
	check_after_reset(dev, slots, vectors);
	check_device(dev);
}

/* The driver decides when other stores are written again */
static void test_flr_other_stores(void)
{
	static const u32 stores[] = { IMS_TEST_QUEUES, IMS_TEST_CHIP, IMS_TEST_NO_MASK_STORE };
	struct device *dev = open_device(0);
	struct slot before, after;
	unsigned int i;
	u32 source;

	for (i = 0; i < ARRAY_SIZE(stores); i++) {
		source = use_store(dev, 1, stores[i]);
		before = slot(dev, source);
		reset_device(dev);
		after = slot(dev, source);
		CHECK(!memcmp(&before, &after, sizeof(after)), "store %u is not restored", stores[i]);
		settle(dev, source);
		pin(dev, source, 1);
		one_interrupt(dev, source, 1);
		release(dev, source);
		free_slot(dev, source);
		remove_domain(dev);
		clear_counters(dev, source);
	}
	check_device(dev);
}

/* One that is masked stays so */
static void test_flr_masked(void)
{
	struct device *dev = open_device(0);

	create_domain(dev, dev->nslots);
	alloc_slot(dev);
	alloc_slot(dev);
	request_unlazy(dev, 0);
	pin(dev, 0, 0);
	set_mask(dev, 0, true);
	reset_device(dev);
	CHECK(slot(dev, 0).ctrl == PCI_IMS_CTRL_MASK && counters(dev, 0).writes == WRITES_PER_MSG,
	      "control word %#x, %u writes", slot(dev, 0).ctrl, counters(dev, 0).writes);
	CHECK(!counters(dev, 1).writes, "message of a slot that is not requested");
	trigger(dev, 0, 1, 1, PCI_IMS_GO_PACED);
	usleep(SILENCE * 1e6);
	CHECK(!received(dev, 0), "an interrupt that is masked");
	set_mask(dev, 0, false);
	drain(dev, 0, 1);
	check_source(dev, 0, 1, 0);
	check_device(dev);
}

/* All but the sleep itself: the core of a suspend has saved and restored the device */
static void test_suspend(void)
{
	struct device *dev = open_device(0);
	struct slot before, after;
	u32 writes;
	int ret;

	use_slots(dev, 2);
	use_msix(dev, 1);
	before = slot(dev, 0);
	writes = counters(dev, 0).writes;
	CHECK(!write_file("platform", "/sys/power/pm_test"), "no test of suspend");
	write_file("1", "/sys/module/suspend/parameters/pm_test_delay");
	ret = write_file("mem", "/sys/power/state");
	CHECK(!ret, "suspend: %s", strerror(-ret));

	after = slot(dev, 0);
	CHECK(same_message(&before, &after), "the message has changed");
	CHECK(counters(dev, 0).writes == writes + WRITES_PER_MSG, "%u writes, the store is not restored",
	      counters(dev, 0).writes - writes);
	check_after_reset(dev, 2, 1);
	check_device(dev);
}

/* What a kernel that crashed leaves in the store does not come to this one */
static void test_inherited(void)
{
	struct slot left = { .addr_lo = 0xfee00010, .ctrl = PCI_IMS_CTRL_PASID_EN };
	struct device *dev = open_device(0);
	u32 i;

	for (i = 0; i < dev->nslots; i++)
		write_slot(dev, i, &left);
	create_domain(dev, dev->nslots);
	for (i = 0; i < dev->nslots; i++)
		CHECK(slot(dev, i).ctrl == PCI_IMS_CTRL_MASK, "slot %u: control word %#x", i,
		      slot(dev, i).ctrl);
	trigger(dev, 0, dev->nslots, 1, PCI_IMS_GO_RAW);
	CHECK(!counters(dev, 0).sent && counters(dev, 0).held == 1, "%u sent", counters(dev, 0).sent);
	for (i = 0; i < dev->nslots; i++)
		wipe_slot(dev, i);
	alloc_slot(dev);
	request(dev, 0);
	one_interrupt(dev, 0, ANY);
	check_device(dev);
}

/* The device goes in the middle of its work, and comes back */
static void test_remove(void)
{
	struct resources before = resources_without(find_device(0)), after;
	struct device *dev = open_device(0);

	use_slots(dev, 8);
	use_msix(dev, 2);
	trigger(dev, 0, 8, 1000, PCI_IMS_GO_PACED);
	remove_device(dev);
	CHECK(call_source(dev, IMS_TEST_REQUEST, 0) == -ENODEV, "a call after the removal");
	close(dev->fd);

	after = resources_without(find_device(0));
	CHECK(!memcmp(&before, &after, sizeof(before)), "not all resources are back");
	dev = open_device(0);
	check_works(dev, 4);
	check_device(dev);
}

/* An interrupt from before a reset may be acknowledged after it, so differences */
static void check_hundred(const struct device *dev, u32 source)
{
	u32 sent = counters(dev, source).sent;
	u64 got = received(dev, source);

	trigger(dev, source, 1, 100, PCI_IMS_GO_PACED);
	drain(dev, source, 1);
	sent = counters(dev, source).sent - sent;
	got = received(dev, source) - got;
	CHECK(sent == 100 && got == 100, "slot %u: %u sent, %llu received, wanted 100", source,
	      sent, (unsigned long long)got);
}

/*
 * What is under way gets lost with the reset; what comes later does not. Events
 * for MSI-X would be dropped while it is off.
 */
static void test_flr_under_load(void)
{
	struct device *dev = open_device(0);
	struct load load = { .dev = dev, .slots = 4 };
	unsigned int resets = long_run ? 100 : 5;
	u32 i;

	use_slots(dev, load.slots);
	start_load(&load);
	while (resets--) {
		reset_device(dev);
		wait_for_load(&load, 100);
	}
	stop_load(&load);
	drain(dev, 0, load.slots);
	for (i = 0; i < load.slots; i++) {
		CHECK(!counters(dev, i).torn, "slot %u: written without being masked", i);
		check_hundred(dev, i);
	}
	check_after_reset(dev, load.slots, 0);
}

/*
 * Owners
 */
static u32 use_pasid(const struct device *dev, u32 pasid)
{
	struct ims_test_alloc arg = { .cpu = -1, .cookie = 1ULL << 32 | pasid };
	int ret = call(dev, IMS_TEST_ALLOC, &arg);

	CHECK(!ret, "allocating a slot: %s", strerror(-ret));
	request_unlazy(dev, arg.source);
	return arg.source;
}

/* An event for @pasid goes the way of any other, or is refused and leaves no trace */
static void check_owner(const struct device *dev, u32 source, u32 pasid, bool owner)
{
	struct counters before = counters(dev, source), cnt;
	u64 got = received(dev, source);

	trigger_pasid(dev, pasid, source, 1, PCI_IMS_GO_RAW);
	if (owner)
		CHECK(WAIT(PATIENCE, received(dev, source) == got + 1),
		      "source %#x: PASID %#x has no interrupt", source, pasid);
	drain(dev, source, 1);
	trigger_pasid(dev, pasid, source, 3, PCI_IMS_GO_PACED);
	drain(dev, source, 1);
	if (!owner)
		usleep(SILENCE * 1e6);

	cnt = counters(dev, source);
	CHECK(cnt.refused - before.refused == (owner ? 0 : 4),
	      "source %#x: PASID %#x: %u of 4 events refused", source, pasid,
	      cnt.refused - before.refused);
	CHECK(cnt.sent - before.sent == (owner ? 4 : 0) && cnt.held == before.held,
	      "source %#x: PASID %#x: %u sent, %u held", source, pasid, cnt.sent - before.sent,
	      cnt.held - before.held);
	CHECK(received(dev, source) - got == (owner ? 4 : 0),
	      "source %#x: PASID %#x: %llu received", source, pasid,
	      (unsigned long long)(received(dev, source) - got));
}

/* PASID 0 is one, too */
static const u32 pasids[] = { PASID, PASID + 1, 0, 0xfffff };

static void check_owners(const struct device *dev)
{
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		for (j = 0; j < ARRAY_SIZE(pasids); j++)
			check_owner(dev, i, pasids[j], i == j);
	}
}

static void test_pasid_owner(void)
{
	u32 none = ARRAY_SIZE(pasids), i;
	struct device *dev = open_device(0);

	create_domain(dev, dev->nslots);
	use_msix(dev, 1);
	for (i = 0; i < ARRAY_SIZE(pasids); i++)
		CHECK(use_pasid(dev, pasids[i]) == i, "slot %u is not the next", i);
	CHECK(alloc_slot(dev) == none, "slot %u is not the next", none);
	request(dev, none);

	check_owners(dev);
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		check_owner(dev, none, pasids[i], false);
		check_owner(dev, MSIX(0), pasids[i], false);
		/* The device itself may use any */
		one_interrupt(dev, i, ANY);
	}

	/* The owner stays with a move, behind the mask, and after a reset */
	pin(dev, 0, 0);
	pin(dev, 1, 1);
	set_mask(dev, 0, true);
	trigger_pasid(dev, PASID + 1, 0, 1, PCI_IMS_GO_RAW);
	CHECK(!counters(dev, 0).held, "an event is held that is not the owner's");
	trigger_pasid(dev, PASID, 0, 1, PCI_IMS_GO_RAW);
	CHECK(counters(dev, 0).held == 1, "the owner's event is not held");
	set_mask(dev, 0, false);
	drain(dev, 0, 1);
	check_owners(dev);
	reset_device(dev);
	check_owners(dev);

	/* It goes with the interrupt, and the next one does not inherit it */
	release(dev, 0);
	trigger_pasid(dev, PASID, 0, 1, PCI_IMS_GO_RAW);
	CHECK(counters(dev, 0).refused && !counters(dev, 0).held, "a slot without an owner: %u held",
	      counters(dev, 0).held);
	free_slot(dev, 0);
	clear_counters(dev, 0);
	CHECK(use_pasid(dev, PASID + 2) == 0, "slot 0 is the free one");
	check_owner(dev, 0, PASID, false);
	check_owner(dev, 0, PASID + 2, true);
	release(dev, 0);
	free_slot(dev, 0);
	CHECK(alloc_slot(dev) == 0, "slot 0 is the free one");
	request(dev, 0);
	check_owner(dev, 0, PASID + 2, false);
	one_interrupt(dev, 0, ANY);
	check_device(dev);
}

/*
 * Virtual functions
 */
#define VFS		2
#define VF_SLOTS	4

static void open_vfs(const struct device *pf, struct device **vf)
{
	unsigned int i;

	set_vfs(pf, VFS);
	CHECK(count_devices() == 3 + VFS, "%u pci-ims devices with %u virtual functions",
	      count_devices(), VFS);
	for (i = 0; i < VFS; i++) {
		vf[i] = open_device(3 + i);
		CHECK(vf[i]->rid == pf->rid + 1 + i, "virtual function %u is %s", i, vf[i]->bdf);
		CHECK(exists("/sys/bus/pci/devices/%s/physfn", vf[i]->bdf),
		      "%s is not a virtual function", vf[i]->bdf);
		CHECK(vf[i]->nslots == pf->nslots && vf[i]->nmsix == pf->nmsix,
		      "%s has %u slots and %u MSI-X entries", vf[i]->bdf, vf[i]->nslots,
		      vf[i]->nmsix);
	}
}

/* Each has interrupts of its own at the same time, and they move */
static void check_functions(struct device **dev, unsigned int nr)
{
	static bool used[65536];
	unsigned int i, cpu;
	u32 j;

	for (i = 0; i < nr; i++) {
		/* An AMD unit has a table for each device */
		if (is_amd())
			memset(used, 0, sizeof(used));
		use_slots(dev[i], VF_SLOTS);
		for (j = 0; j < VF_SLOTS; j++) {
			pin(dev[i], j, j % CPUS);
			check_message(dev[i], j, used);
		}
	}
	for (i = 0; i < nr; i++)
		trigger(dev[i], 0, VF_SLOTS, 100, PCI_IMS_GO_PACED);
	for (i = 0; i < nr; i++) {
		drain(dev[i], 0, VF_SLOTS);
		for (j = 0; j < VF_SLOTS; j++)
			check_source(dev[i], j, 100, j % CPUS);
	}
	for (i = 0; i < nr; i++) {
		for (cpu = 0; cpu < 2 * CPUS; cpu++) {
			pin(dev[i], 0, cpu % CPUS);
			one_interrupt(dev[i], 0, cpu % CPUS);
		}
		check_source(dev[i], 0, 100 + 2 * CPUS, ANY);
	}
}

/* @dev is reset while each of the @others has an interrupt that waits for being enabled */
static void check_reset_alone(struct device *dev, struct device **others, unsigned int nr)
{
	struct counters before[VFS], after;
	u32 resets[VFS];
	unsigned int i;

	for (i = 0; i < nr; i++) {
		set_mask(others[i], 1, true);
		trigger(others[i], 1, 1, 1, PCI_IMS_GO_RAW);
		CHECK(WAIT(PATIENCE, slot(others[i], 1).ctrl & PCI_IMS_CTRL_MASK),
		      "%s: not masked", others[i]->bdf);
		before[i] = counters(others[i], 1);
		resets[i] = reg_read(others[i], PCI_IMS_RESETS);
	}
	reset_device(dev);
	for (i = 0; i < nr; i++) {
		after = counters(others[i], 1);
		CHECK(reg_read(others[i], PCI_IMS_RESETS) == resets[i], "%s is reset, too",
		      others[i]->bdf);
		CHECK(!memcmp(&before[i], &after, sizeof(after)), "%s has lost its counters",
		      others[i]->bdf);
		set_mask(others[i], 1, false);
		drain(others[i], 1, 1);
		check_source(others[i], 1, 101, ANY);
	}
	check_after_reset(dev, VF_SLOTS, 0);
}

static void release_slots(const struct device *dev, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++) {
		release(dev, i);
		free_slot(dev, i);
	}
	remove_domain(dev);
}

static void test_virtual_functions(void)
{
	struct resources before = resources(), one;
	struct device *dev[1 + VFS] = { open_device(2) }, *pf = dev[0];
	unsigned int i;

	open_vfs(pf, dev + 1);
	check_functions(dev, ARRAY_SIZE(dev));
	check_reset_alone(dev[1], (struct device *[]){ pf, dev[2] }, VFS);
	for (i = 0; i < ARRAY_SIZE(dev); i++)
		check_device(dev[i]);

	/* They go in the middle of their work, and what is left is as with none of them */
	for (i = 1; i < ARRAY_SIZE(dev); i++)
		trigger(dev[i], 0, VF_SLOTS, 1000, PCI_IMS_GO_PACED);
	set_vfs(pf, 0);
	CHECK(count_devices() == 3, "%u pci-ims devices are left", count_devices());
	for (i = 1; i < ARRAY_SIZE(dev); i++) {
		CHECK(call_source(dev[i], IMS_TEST_REQUEST, 0) == -ENODEV, "a call after the end");
		close(dev[i]->fd);
	}
	one_interrupt(pf, 0, ANY);
	release_slots(pf, VF_SLOTS);
	check_resources(&before);

	/* Once more, and one after the other */
	use_slots(pf, 1);
	one = resources();
	open_vfs(pf, dev + 1);
	for (i = 1; i < ARRAY_SIZE(dev); i++) {
		use_slots(dev[i], 1);
		pin(dev[i], 0, 1);
		one_interrupt(dev[i], 0, 1);
		release_slots(dev[i], 1);
		check_device(dev[i]);
		close(dev[i]->fd);
	}
	set_vfs(pf, 0);
	check_resources(&one);
	check_device(pf);
}

/*
 * The drivers in the documentation
 */

/* Return: how often the interrupt of driver foo has arrived, -1: it has none */
static long foo_interrupts(void)
{
	char *text = read_file("/proc/interrupts"), *next = text, *line;
	unsigned int on[CPUS];
	long count = -1;

	while ((line = strsep(&next, "\n"))) {
		if (strstr(line, IMS_CHIP) && strstr(line, " foo") &&
		    sscanf(line, "%*u: %u %u", &on[0], &on[1]) == CPUS)
			count = on[0] + on[1];
	}
	free(text);
	return count;
}

static void check_doc(const char *module)
{
	struct device *dev = find_device(0);
	struct resources before = resources_without(dev);
	char cmd[64];

	bind_driver(dev, false);
	clear_counters(dev, 0);
	snprintf(cmd, sizeof(cmd), "insmod /%s.ko", module);
	CHECK(!system(cmd), "%s fails", cmd);
	CHECK(foo_interrupts() == 0, "%s: %ld interrupts", module, foo_interrupts());
	trigger(dev, 0, 1, 1, PCI_IMS_GO_RAW);
	CHECK(WAIT(PATIENCE, foo_interrupts() == 1), "%s: %ld interrupts", module,
	      foo_interrupts());

	snprintf(cmd, sizeof(cmd), "rmmod %s", module);
	CHECK(!system(cmd), "%s fails", cmd);
	check_unused(dev, 8);
	check_resources(&before);
	clear_counters(dev, 0);
	bind_driver(dev, true);
}

static void test_doc_slots(void)
{
	check_doc("foo-slots");
}

static void test_doc_queues(void)
{
	check_doc("foo-queues");
}

/*
 * All at once
 */
#define ACTORS		3
#define ACTOR_SLOTS	12

/**
 * struct actor - A thread that does anything with its slots, in any order
 * @dev:	Device
 * @seed:	What it does
 * @steps:	How often it does something
 * @slots:	Its slots
 * @thread:	The thread
 */
struct actor {
	const struct device	*dev;
	unsigned int		seed;
	unsigned int		steps;
	struct {
		u32		source;
		unsigned int	virq;
		bool		requested;
		bool		masked;
	} slots[ACTOR_SLOTS];
	pthread_t		thread;
};

/* The registers for it are there once */
static void trigger_one(const struct device *dev, u32 source)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	trigger(dev, source, 1, 1, PCI_IMS_GO_RAW);
	pthread_mutex_unlock(&lock);
}

static void actor_alloc(struct actor *actor, unsigned int nr)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	int ret = call(actor->dev, IMS_TEST_ALLOC, &arg);

	CHECK(!ret, "allocating a slot: %s", strerror(-ret));
	actor->slots[nr].source = arg.source;
	actor->slots[nr].virq = arg.virq;
}

static void actor_release(struct actor *actor, unsigned int nr)
{
	release(actor->dev, actor->slots[nr].source);
	actor->slots[nr].requested = false;
	actor->slots[nr].masked = false;
}

static void actor_free(struct actor *actor, unsigned int nr)
{
	free_slot(actor->dev, actor->slots[nr].source);
	actor->slots[nr].virq = 0;
}

static void actor_use(struct actor *actor, unsigned int nr)
{
	int ret;

	switch (rand_r(&actor->seed) % 5) {
	case 0:
		/* The other CPU may be offline, or the last move not at its end */
		ret = try_affinity(actor->slots[nr].virq, rand_r(&actor->seed) % CPUS);
		CHECK(!ret || ret == -EINVAL, "moving interrupt %u: %s", actor->slots[nr].virq,
		      strerror(-ret));
		break;
	case 1:
		actor->slots[nr].masked = !actor->slots[nr].masked;
		set_mask(actor->dev, actor->slots[nr].source, actor->slots[nr].masked);
		break;
	case 2:
		actor_release(actor, nr);
		break;
	default:
		trigger_one(actor->dev, actor->slots[nr].source);
	}
}

static void actor_step(struct actor *actor)
{
	unsigned int nr = rand_r(&actor->seed) % ACTOR_SLOTS;

	if (!actor->slots[nr].virq) {
		actor_alloc(actor, nr);
	} else if (actor->slots[nr].requested) {
		actor_use(actor, nr);
	} else if (rand_r(&actor->seed) % 3) {
		request(actor->dev, actor->slots[nr].source);
		actor->slots[nr].requested = true;
	} else {
		actor_free(actor, nr);
	}
}

static void *run_actor(void *data)
{
	struct actor *actor = data;
	unsigned int i;

	for (i = 0; i < actor->steps; i++)
		actor_step(actor);
	for (i = 0; i < ACTOR_SLOTS; i++) {
		if (actor->slots[i].requested)
			actor_release(actor, i);
		if (actor->slots[i].virq)
			actor_free(actor, i);
	}
	return NULL;
}

static void check_storm(struct device *dev, u32 store)
{
	u32 first = store == IMS_TEST_QUEUES ? QUEUE(0) : 0;
	struct actor actors[ACTORS] = { 0 };
	struct resources before;
	unsigned int i, rounds = long_run ? 300 : 3;

	create_store(dev, dev->nslots, store);
	before = resources();
	for (i = 0; i < ACTORS; i++) {
		actors[i].dev = dev;
		actors[i].seed = i + 1;
		actors[i].steps = long_run ? 60000 : 400;
		CHECK(!pthread_create(&actors[i].thread, NULL, run_actor, &actors[i]), "no thread");
	}
	while (rounds--) {
		set_online(1, false);
		usleep(50000);
		set_online(1, true);
		usleep(50000);
	}
	for (i = 0; i < ACTORS; i++)
		pthread_join(actors[i].thread, NULL);

	check_resources(&before);
	for (i = 0; i < ACTORS * ACTOR_SLOTS; i++) {
		CHECK(!counters(dev, first + i).dropped, "source %#x: %u events met no message",
		      first + i, counters(dev, first + i).dropped);
		clear_counters(dev, first + i);
	}
	CHECK(alloc_slot(dev) == first, "source %#x is not free", first);
	request(dev, first);
	pin(dev, first, 1);
	one_interrupt(dev, first, 1);
	release(dev, first);
	free_slot(dev, first);
	remove_domain(dev);
	clear_counters(dev, first);
}

static void test_storm(void)
{
	struct device *dev = open_device(0);

	check_storm(dev, IMS_TEST_SLOTS);
	check_storm(dev, IMS_TEST_QUEUES);
	CHECK(!(reg_read(dev, PCI_IMS_ALL_TORN) - dev->torn), "a slot was written while not masked");
}

static const struct test vtd_tests[] = {
	{ "bench",		check_bench },
	{ "oracle",		test_oracle },
	{ "arrival",		test_arrival },
	{ "burst",		test_burst },
	{ "move_under_load",	test_move_under_load },
	{ "message",		test_message },
	{ "built_once",		test_built_once },
	{ "rewrite_under_load",	test_rewrite_under_load },
	{ "mask_pending_once",	test_mask_pending_once },
	{ "mask_holds_queue",	test_mask_holds_queue },
	{ "mask_lazy",		test_mask_lazy },
	{ "msix",		test_msix_alone },
	{ "msix_and_ims",	test_msix_and_ims },
	{ "msix_on_and_off",	test_msix_on_and_off },
	{ "two_devices",	test_two_devices },
	{ "only_ims",		test_only_ims },
	{ "names",		test_names },
	{ "free_and_reallocate", test_free_and_reallocate },
	{ "free_leaks_nothing",	test_free_leaks_nothing },
	{ "exhaustion",		test_exhaustion },
	{ "reservation",	test_reservation },
	{ "alloc_arguments",	test_alloc_arguments },
	{ "own_chip",		test_own_chip },
	{ "queue_memory",	test_queue_memory },
	{ "queue_hotplug",	test_queue_hotplug },
	{ "queue_dma",		test_queue_dma },
	{ "queue_managed",	test_queue_managed },
	{ "no_mask_store",	test_no_mask_store },
	{ "doc_slots",		test_doc_slots },
	{ "doc_queues",		test_doc_queues },
	{ "batch",		test_batch },
	{ "batch_managed",	test_batch_managed },
	{ "scale",		test_scale },
	{ "wrong_arguments",	test_wrong_arguments },
	{ "domain_twice",	test_domain_twice },
	{ "request_after_hotplug", test_request_after_hotplug },
	{ "hotplug_under_load",	test_hotplug_under_load },
	{ "managed",		test_managed },
	{ "unbind_live",	test_unbind_live },
	{ "close_live",		test_close_live },
	{ "flr",		test_flr },
	{ "flr_masked",		test_flr_masked },
	{ "flr_other_stores",	test_flr_other_stores },
	{ "flr_under_load",	test_flr_under_load },
	{ "suspend",		test_suspend },
	{ "inherited",		test_inherited },
	{ "remove",		test_remove },
	{ "pasid_owner",	test_pasid_owner },
	{ "virtual_functions",	test_virtual_functions },
	{ "storm",		test_storm },
};

int run_vtd(const char *only)
{
	return run_tests(vtd_tests, ARRAY_SIZE(vtd_tests), only);
}

/* What differs from the above or may do so. What does not depend on the unit is left out. */
static const struct test amd_tests[] = {
	{ "bench",		check_bench },
	{ "arrival",		test_arrival },
	{ "burst",		test_burst },
	{ "move_under_load",	test_move_under_load },
	{ "message",		test_message },
	{ "built_once",		test_built_once },
	{ "mask_pending_once",	test_mask_pending_once },
	{ "mask_holds_queue",	test_mask_holds_queue },
	{ "mask_lazy",		test_mask_lazy },
	{ "msix_and_ims",	test_msix_and_ims },
	{ "two_devices",	test_two_devices },
	{ "names",		test_names },
	{ "free_and_reallocate", test_free_and_reallocate },
	{ "free_leaks_nothing",	test_free_leaks_nothing },
	{ "reservation",	test_reservation },
	{ "alloc_arguments",	test_alloc_arguments },
	{ "queue_memory",	test_queue_memory },
	{ "queue_managed",	test_queue_managed },
	{ "no_mask_store",	test_no_mask_store },
	{ "batch",		test_batch },
	{ "batch_managed",	test_batch_managed },
	{ "table_full",		test_table_full },
	{ "request_after_hotplug", test_request_after_hotplug },
	{ "hotplug_under_load",	test_hotplug_under_load },
	{ "managed",		test_managed },
	{ "unbind_live",	test_unbind_live },
	{ "flr",		test_flr },
	{ "flr_masked",		test_flr_masked },
	{ "suspend",		test_suspend },
	{ "inherited",		test_inherited },
	{ "remove",		test_remove },
	{ "virtual_functions",	test_virtual_functions },
	{ "storm",		test_storm },
};

int run_amd(const char *only)
{
	return run_tests(amd_tests, ARRAY_SIZE(amd_tests), only);
}

/* The races are in the log, if somebody looks for them */
static void test_watched(void)
{
	long watched = kcsan_debug("setup_watchpoints:");

	CHECK(kcsan_debug("enabled:") == 1, "nobody looks for data races");
	note("%ld accesses were watched, of the kernel since it was booted", watched);
	CHECK(watched > 10000, "only %ld accesses were watched", watched);
}

/* Where one CPU does something to an interrupt while another one does something else */
static const struct test races_tests[] = {
	{ "bench",		check_bench },
	{ "move_under_load",	test_move_under_load },
	{ "rewrite_under_load",	test_rewrite_under_load },
	{ "queue_hotplug",	test_queue_hotplug },
	{ "unbind_live",	test_unbind_live },
	{ "flr_under_load",	test_flr_under_load },
	{ "hotplug_under_load",	test_hotplug_under_load },
	{ "managed",		test_managed },
	{ "storm",		test_storm },
	{ "watched",		test_watched },
};

int run_races(const char *only)
{
	return run_tests(races_tests, ARRAY_SIZE(races_tests), only);
}
