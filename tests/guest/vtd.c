// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: IMS interrupts through VT-d interrupt remapping
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

/* For pci_ims_alloc_irq() */
#define COOKIE		0x1234567890abcdefULL

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
	      !cnt.spurious && !cnt.writes && !cnt.ctrl_writes && !cnt.torn,
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

static void check_message(const struct device *dev, u32 index, bool *used)
{
	struct slot msg = slot(dev, index);
	unsigned int virq = virq_of(dev, index);
	struct irte irte;

	/* 0xfee, format bit 4; the subhandle is what the data holds */
	CHECK(msg.addr_lo >> 20 == 0xfee && !msg.addr_hi && msg.addr_lo & 1 << 4,
	      "slot %u: %08x%08x is not a remappable address", index, msg.addr_hi, msg.addr_lo);
	CHECK(!msg.data, "slot %u: subhandle %#x", index, msg.data);
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
		      WRITES_PER_MSG * (rewrites / load.slots + 1),
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

/* No vector before request_irq() */
static void test_reservation(void)
{
	struct device *dev = open_device(0);
	struct resources before, after;
	unsigned int virq;

	create_domain(dev, dev->nslots);
	before = resources();
	alloc_slot(dev);
	after = resources();
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
	check_device(dev);
}

static void test_alloc_arguments(void)
{
	struct ims_test_alloc arg = { 0 };
	struct device *dev = open_device(0);
	unsigned int cpu;
	int ret;

	create_domain(dev, dev->nslots);
	for (cpu = 0; cpu < CPUS; cpu++) {
		arg.cpu = cpu;
		arg.cookie = COOKIE + cpu;
		ret = call(dev, IMS_TEST_ALLOC, &arg);
		CHECK(!ret, "allocating a slot: %s", strerror(-ret));
		CHECK(arg.cookie == COOKIE + cpu, "cookie %llx",
		      (unsigned long long)arg.cookie);

		/* CPU 0 is the default as well, CPU 1 shows who decides */
		request(dev, arg.index);
		CHECK(irq_is_on(arg.virq, cpu), "interrupt is not on CPU %u", cpu);
		one_interrupt(dev, arg.index, cpu);
	}

	/* Neither is needed */
	arg.cpu = -1;
	arg.cookie = 0;
	ret = call(dev, IMS_TEST_ALLOC, &arg);
	CHECK(!ret, "allocating a slot: %s", strerror(-ret));
	CHECK(!arg.cookie, "cookie %llx, wanted none", (unsigned long long)arg.cookie);
	request(dev, arg.index);
	one_interrupt(dev, arg.index, ANY);
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
	create_domain(dev, 0);
	CHECK(alloc_slot(dev) == 0, "not the first slot");
	free_slot(dev, 0);
	remove_domain(dev);
	check_resources(&none);
	create_domain(dev, 65536);
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
	{ "wrong_arguments",	test_wrong_arguments },
	{ "domain_twice",	test_domain_twice },
	{ "request_after_hotplug", test_request_after_hotplug },
	{ "hotplug_under_load",	test_hotplug_under_load },
	{ "managed",		test_managed },
	{ "unbind_live",	test_unbind_live },
	{ "close_live",		test_close_live },
	{ "flr",		test_flr },
	{ "flr_under_load",	test_flr_under_load },
};

int run_vtd(const char *only)
{
	return run_tests(vtd_tests, ARRAY_SIZE(vtd_tests), only);
}
