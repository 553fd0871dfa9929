// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: failures reach the caller, and change nothing
 *
 * The kernel's fault attribute fail_irq makes operations on interrupts fail: the
 * n-th one of a task (fail-nth), or any one at any time. A sweep takes an
 * interrupt from its allocation to its end, again and again, each time with the
 * next operation failing, until there is none left. Another sweep does it with each
 * allocation of memory, by failslab.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imstest.h"

#define FAIL_IRQ	"/sys/kernel/debug/fail_irq"
#define FAILSLAB	"/sys/kernel/debug/failslab"
#define VECTORS		2
#define MAX_POINTS	400
#define POSTED		1000

static void set_knob(const char *name, long val)
{
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "%ld", val);
	ret = write_file(text, FAIL_IRQ "/%s", name);
	CHECK(!ret, "setting %s to %ld: %s", name, val, strerror(-ret));
}

/* What interrupts are made of comes from kmalloc(), and their descriptors are in an xarray */
static void fail_memory(bool on)
{
	glob_t caches;
	size_t i;

	CHECK(!glob("/sys/kernel/slab/kmalloc-*/failslab", 0, NULL, &caches) &&
	      !glob("/sys/kernel/slab/radix_tree_node/failslab", GLOB_APPEND, NULL, &caches),
	      "no caches of kmalloc() and xarrays");
	for (i = 0; i < caches.gl_pathc; i++)
		CHECK(!write_file(on ? "1" : "0", "%s", caches.gl_pathv[i]), "%s", caches.gl_pathv[i]);
	globfree(&caches);
	set_knob("points", on ? 0 : FAIL_ANY);
}

/*
 * No stack traces: they would count as reports of the kernel. And no failure of
 * allocations, which a task's fail-nth would count as well: without a filter these
 * are the kernel's own records of memory, too.
 */
void quiet(void)
{
	set_knob("verbose", 0);
	set_knob("probability", 0);
	CHECK(!write_file("0", FAILSLAB "/verbose") && !write_file("Y", FAILSLAB "/cache-filter") &&
	      !write_file("N", FAILSLAB "/ignore-gfp-wait"), "no failslab");
	fail_memory(false);
}

void fail_next(long points, long times)
{
	set_knob("points", points);
	set_knob("interval", 1);
	set_knob("times", times);
	set_knob("probability", 100);
}

void fail_none(void)
{
	set_knob("probability", 0);
	set_knob("points", FAIL_ANY);
}

/* Open all the time, as opening it takes memory, and that may be what fails */
static int fail_nth = -1;

void arm(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	if (fail_nth < 0)
		fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	CHECK(fail_nth >= 0 && pwrite(fail_nth, text, len, 0) == len, "no fail-nth: %s", strerror(errno));
}

/* The operation that was to fail has failed */
static bool has_fired(void)
{
	char text[16] = "";

	CHECK(pread(fail_nth, text, sizeof(text) - 1, 0) > 0, "no fail-nth: %s", strerror(errno));
	return !strtol(text, NULL, 10);
}

/*
 * What has to be the same before and after
 */

unsigned long mask_of(unsigned int virq, const char *name)
{
	char *text = read_file("/proc/irq/%u/%s", virq, name);
	unsigned long mask = text ? strtoul(text, NULL, 16) : 0;

	free(text);
	return mask;
}

static bool is_allocated(const struct device *dev, u32 source)
{
	struct ims_test_stats arg = { .source = source };

	return !call(dev, IMS_TEST_STATS, &arg) && arg.virq;
}

void get_state(const struct device *dev, u32 source, struct state *state)
{
	memset(state, 0, sizeof(*state));
	state->res = resources();
	if (!is_allocated(dev, source))
		return;

	state->virq = virq_of(dev, source);
	state->vector = irq_debug(state->virq, "Vector:");
	/* Without a vector it is what the last one left */
	state->target = state->vector > 0 ? irq_debug(state->virq, "Target:") : 0;
	state->moving = !move_done(state->virq);
	state->requested = mask_of(state->virq, "smp_affinity");
	state->effective = mask_of(state->virq, "effective_affinity");
	state->msg = message(dev, source);
	if (source >= IMS_TEST_SRC_MSI)
		dev = name_control();
	state->present = find_irte(dev, irte_index(&state->msg), &state->irte);
}

static bool same_state(const struct device *dev, u32 source, const struct state *before,
		       struct state *after)
{
	get_state(dev, source, after);
	return !memcmp(before, after, sizeof(*after));
}

void check_state(const struct device *dev, u32 source, const struct state *before,
			const char *what)
{
	struct state now;

	if (same_state(dev, source, before, &now))
		return;
	check_resources(&before->res);
	fail("%s: interrupt %u, vector %#lx on CPU %ld, %s, masks %lx and %lx, message %x/%x, IRTE %llx:%llx before; "
	     "%u, %#lx on %ld, %s, %lx and %lx, %x/%x, %llx:%llx after", what,
	     before->virq, before->vector, before->target, before->moving ? "moving" : "still",
	     before->requested, before->effective, before->msg.addr_lo, before->msg.data,
	     before->irte.high, before->irte.low,
	     now.virq, now.vector, now.target, now.moving ? "moving" : "still",
	     now.requested, now.effective, now.msg.addr_lo, now.msg.data,
	     now.irte.high, now.irte.low);
}

/*
 * The life of an interrupt
 */

static int alloc_msix(const struct device *dev, u32 source)
{
	u32 nr = VECTORS;

	(void)source;
	return call(dev, IMS_TEST_MSIX, &nr);
}

static int free_msix(const struct device *dev, u32 source)
{
	u32 nr = 0;

	(void)source;
	return call(dev, IMS_TEST_MSIX, &nr);
}

static int alloc_ims(const struct device *dev, u32 source)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	int ret = call(dev, IMS_TEST_ALLOC, &arg);

	CHECK(ret || arg.source == source, "allocated source %#x, wanted %#x", arg.source, source);
	return ret;
}

static int free_ims(const struct device *dev, u32 source)
{
	return call_source(dev, IMS_TEST_FREE, source);
}

/* Several messages of MSI: what fails for one of them undoes those before */
static int alloc_block(const struct device *dev, u32 source)
{
	u32 nr = 4;

	(void)source;
	return call(dev, IMS_TEST_MSI, &nr);
}

static int free_block(const struct device *dev, u32 source)
{
	u32 nr = 0;

	(void)source;
	return call(dev, IMS_TEST_MSI, &nr);
}

static int request_it(const struct device *dev, u32 source)
{
	return call_source(dev, IMS_TEST_REQUEST, source);
}

static int release_it(const struct device *dev, u32 source)
{
	return call_source(dev, IMS_TEST_RELEASE, source);
}

void end_move(const struct device *dev, u32 source)
{
	unsigned int virq;

	if (!is_allocated(dev, source))
		return;
	virq = virq_of(dev, source);
	CHECK(WAIT(PATIENCE, move_done(virq)), "interrupt %u: last move does not end", virq);
}

int move_to(const struct device *dev, u32 source, unsigned int cpu)
{
	end_move(dev, source);
	return try_affinity(virq_of(dev, source), cpu);
}

/* In a sweep the last move has ended: to look would take memory, which may be what fails */
static int move_to_0(const struct device *dev, u32 source)
{
	return try_affinity(virq_of(dev, source), 0);
}

static int move_to_1(const struct device *dev, u32 source)
{
	return try_affinity(virq_of(dev, source), 1);
}

void check_arrival(const struct device *dev, u32 source)
{
	unsigned long mask = mask_of(virq_of(dev, source), "effective_affinity");

	CHECK(mask == 1 || mask == 2, "source %#x: effective affinity %lx", source, mask);
	one_interrupt(dev, source, mask == 1 ? 0 : 1);
}

const struct step msix_steps[] = {
	{ "allocate",		alloc_msix,	false },
	{ "request",		request_it,	false },
	{ "move to CPU 1",	move_to_1,	false },
	{ "move to CPU 0",	move_to_0,	false },
	{ "release",		release_it,	true },
	{ "free",		free_msix,	true },
	{ }
};

const struct step block_steps[] = {
	{ "allocate",		alloc_block,	false },
	{ "request",		request_it,	false },
	{ "move to CPU 1",	move_to_1,	false },
	{ "move to CPU 0",	move_to_0,	false },
	{ "release",		release_it,	true },
	{ "free",		free_block,	true },
	{ }
};

const struct step ims_steps[] = {
	{ "allocate",		alloc_ims,	false },
	{ "request",		request_it,	false },
	{ "move to CPU 1",	move_to_1,	false },
	{ "move to CPU 0",	move_to_0,	false },
	{ "release",		release_it,	true },
	{ "free",		free_ims,	true },
	{ }
};

/**
 * struct tally - What became of the injected failures
 * @failed:	The step failed
 * @absorbed:	The step succeeded all the same
 */
struct tally {
	unsigned int	failed;
	unsigned int	absorbed;
};

/* What an injected failure may come out as: -EBUSY, for one, would be taken for a delay */
static bool is_failure(int err)
{
	return err == -ENOMEM || err == -ENOSPC || err == -EIO || err == -ETIMEDOUT;
}

/* Return: whether the failure was injected */
static bool take_step(const struct device *dev, u32 source, const struct step *step,
		      unsigned int nth, struct tally *tally)
{
	struct state before;
	bool fired;
	int ret;

	end_move(dev, source);
	get_state(dev, source, &before);
	arm(nth);
	ret = step->run(dev, source);
	fired = has_fired();
	arm(0);

	CHECK(!ret || fired, "%s: %s, and no failure was injected", step->name, strerror(-ret));
	if (!fired)
		return false;
	CHECK(!ret || !step->last, "operation %u failing: %s: %s", nth, step->name, strerror(-ret));
	if (!ret) {
		tally->absorbed++;
		return true;
	}

	tally->failed++;
	CHECK(is_failure(ret), "operation %u failing: %s: %s", nth, step->name, strerror(-ret));
	check_state(dev, source, &before, step->name);
	note("%s, operation %u: %s", step->name, nth, strerror(-ret));
	ret = step->run(dev, source);
	CHECK(!ret, "operation %u had failed: %s once more: %s", nth, step->name, strerror(-ret));
	return true;
}

static bool is_requested(const struct step *step)
{
	return !step->last && strcmp(step->name, "allocate");
}

/* Return: whether the @nth operation of @step was made to fail */
static bool live(const struct device *dev, u32 source, const struct step *steps,
		 unsigned int step, unsigned int nth, struct tally *tally)
{
	struct resources before = resources();
	bool fired = false;
	unsigned int i;
	int ret;

	for (i = 0; steps[i].run; i++) {
		if (i == step) {
			fired = take_step(dev, source, &steps[i], nth, tally);
		} else {
			end_move(dev, source);
			ret = steps[i].run(dev, source);
			CHECK(!ret, "%s: %s", steps[i].name, strerror(-ret));
		}
		if (is_requested(&steps[i]))
			check_arrival(dev, source);
	}
	check_resources(&before);
	/* To look takes seconds. Else once, at the end: see test_leaks(). */
	if (long_run && fired)
		check_memory();
	return fired;
}

void check_sane(struct device *dev)
{
	dev->spurious = reg_read(dev, PCI_IMS_ALL_SPURIOUS);
	check_device(dev);
}

static void sweep(struct device *dev, u32 source, const struct step *steps)
{
	struct tally tally, all = { 0 };
	unsigned int step, nth;

	/* The first time leaves a domain for the others */
	CHECK(!steps[0].run(dev, source), "%s does not work", steps[0].name);
	for (step = 0; steps[step + 1].run; step++)
		;
	CHECK(!steps[step].run(dev, source), "%s does not work", steps[step].name);
	live(dev, source, steps, UINT32_MAX, 0, &tally);

	for (step = 0; steps[step].run; step++) {
		tally = (struct tally){ 0 };
		for (nth = 1; live(dev, source, steps, step, nth, &tally); nth++)
			CHECK(nth < MAX_POINTS, "%s: no end", steps[step].name);
		note("%s: %u points, %u failed, %u had no effect", steps[step].name, nth - 1,
		     tally.failed, tally.absorbed);
		all.failed += tally.failed;
		all.absorbed += tally.absorbed;
	}
	note("%u points in all, %u failed, %u had no effect", all.failed + all.absorbed, all.failed,
	     all.absorbed);
	CHECK(all.failed, "nothing has failed");
	check_sane(dev);
}

static void test_sweep_msix(void)
{
	struct device *dev = open_device(0);

	map_msix(dev);
	quiet();
	sweep(dev, MSIX(0), msix_steps);
}

static void test_sweep_ims(void)
{
	struct device *dev = open_device(0);

	create_domain(dev, dev->nslots);
	quiet();
	sweep(dev, 0, ims_steps);
}

static void test_sweep_msi(void)
{
	struct device *dev = open_device(0);

	open_control();
	quiet();
	sweep(dev, MSI(1), block_steps);
}

/* The same with memory running out */
static void test_sweep_memory_msi(void)
{
	struct device *dev = open_device(0);

	open_control();
	quiet();
	fail_memory(true);
	sweep(dev, MSI(1), block_steps);
	/* Of those of the block that were set up before one could not be */
	check_memory();
}

static void test_sweep_memory_msix(void)
{
	struct device *dev = open_device(0);

	map_msix(dev);
	quiet();
	fail_memory(true);
	sweep(dev, MSIX(0), msix_steps);
}

static void test_sweep_memory_ims(void)
{
	struct device *dev = open_device(0);

	create_domain(dev, dev->nslots);
	quiet();
	fail_memory(true);
	sweep(dev, 0, ims_steps);
}

/*
 * The first interrupt of a device, for which an AMD unit has no table yet. What has the
 * allocation succeed all the same must not come before that one: the kernel goes on without
 * the name of an interrupt in sysfs, and such names are in the smallest cache.
 */
static void test_first_memory(void)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	struct device *dev = open_device(2);
	struct resources before;
	unsigned int nth;
	bool fired;
	int ret;

	create_domain(dev, dev->nslots);
	before = resources();
	quiet();
	fail_memory(true);
	CHECK(!write_file("0", "/sys/kernel/slab/kmalloc-8/failslab"), "no cache of names");
	for (nth = 1; nth < MAX_POINTS; nth++) {
		arm(nth);
		ret = call(dev, IMS_TEST_ALLOC, &arg);
		fired = has_fired();
		arm(0);
		if (!ret) {
			request(dev, arg.source);
			one_interrupt(dev, arg.source, ANY);
			release(dev, arg.source);
			free_slot(dev, arg.source);
		} else {
			CHECK(fired && ret == -ENOMEM, "operation %u failing: %s", nth, strerror(-ret));
			note("operation %u: %s", nth, strerror(-ret));
		}
		check_resources(&before);
		if (!fired)
			break;
	}
	CHECK(nth > 3 && nth < MAX_POINTS, "%u operations", nth - 1);
	note("%u operations", nth - 1);
	check_sane(dev);
}

/* There is no reservation mode, so an activation that fails has to give the vector back */
static void test_sweep_queues(void)
{
	struct device *dev = open_device(0);

	create_store(dev, dev->nslots, IMS_TEST_QUEUES);
	quiet();
	sweep(dev, QUEUE(0), ims_steps);
}

/*
 * What a driver's probe returns comes out of the write to its bind file
 */
static void set_probe_vectors(const char *nr)
{
	int ret = write_file(nr, "/sys/module/ims_test/parameters/probe_vectors");

	CHECK(!ret, "probe_vectors: %s", strerror(-ret));
}

static void test_probe(void)
{
	struct device *dev = open_device(0);
	struct resources before;
	unsigned int nth;
	bool fired;
	int ret;

	quiet();
	close(dev->fd);
	bind_driver(dev, false);
	before = resources();
	set_probe_vectors("2");
	for (nth = 1; nth < MAX_POINTS; nth++) {
		arm(nth);
		ret = try_bind(dev);
		fired = has_fired();
		arm(0);
		if (!ret) {
			bind_driver(dev, false);
			check_resources(&before);
			if (!fired)
				break;
			continue;
		}
		CHECK(fired, "probe: %s, and no failure was injected", strerror(-ret));
		CHECK(is_failure(ret), "operation %u failing: probe returns %s", nth, strerror(-ret));
		check_resources(&before);
	}
	set_probe_vectors("0");
	bind_driver(dev, true);
	open_file(dev);
	CHECK(nth > 3, "only %u operations", nth - 1);
	use_msix(dev, VECTORS);
	one_interrupt(dev, MSIX(0), ANY);
	check_sane(dev);
	note("%u operations", nth - 1);
}

/*
 * Each write of an entry is traced, with its result
 */
#define TRACING		"/sys/kernel/tracing"
#define EVENT		TRACING "/events/irq_remapping/irte_update/enable"

static unsigned int count_lines(const char *text, const char *with)
{
	unsigned int count = 0;

	for (text = strstr(text, with); text; text = strstr(text + 1, with))
		count++;
	return count;
}

static void clear_trace(void)
{
	int fd = open(TRACING "/trace", O_WRONLY | O_TRUNC);

	CHECK(fd >= 0, "cannot clear the trace: %s", strerror(errno));
	close(fd);
}

/**
 * struct update - An update of an entry as it was traced
 * @unit:	Name of the unit
 * @table:	Requester id, where each device has a table
 * @index:	Index of the entry
 * @old:	The entry before, upper and lower half
 * @new:	The entry after that
 * @ret:	0 or -errno
 */
struct update {
	char			unit[16];
	unsigned int		table;
	unsigned int		index;
	unsigned long long	old[2];
	unsigned long long	new[2];
	int			ret;
};

#define MAX_UPDATES	2

/* Since the last look there were so many updates, and so many of them failed */
static void check_trace(struct update *update, unsigned int updates, unsigned int failed)
{
	char *trace = read_file(TRACING "/trace"), *line = trace;
	unsigned int i;

	CHECK(trace, "cannot read the trace");
	CHECK(count_lines(trace, "irte_update:") == updates && count_lines(trace, "ret=-") == failed,
	      "%u updates traced, %u failed, wanted %u and %u", count_lines(trace, "irte_update:"),
	      count_lines(trace, "ret=-"), updates, failed);
	for (i = 0; i < updates; i++, update++, line++) {
		line = strstr(line, "irte_update:");
		CHECK(sscanf(line,
			     "irte_update: unit=%15s table=%x index=%u old=%llx:%llx new=%llx:%llx ret=%d",
			     update->unit, &update->table, &update->index, &update->old[0],
			     &update->old[1], &update->new[0], &update->new[1], &update->ret) == 8,
		      "traced: %.160s", line);
	}
	free(trace);
	clear_trace();
}

static bool is_entry(const unsigned long long *traced, const struct irte *irte)
{
	return traced[0] == irte->high && traced[1] == irte->low;
}

static struct irte entry_of(const struct device *dev, u32 source)
{
	struct slot msg = message(dev, source);
	struct irte irte;

	CHECK(find_irte(dev, irte_index(&msg), &irte), "source %#x has no entry", source);
	return irte;
}

/* It is this entry, and @old and @new are what it was, and what it was to be */
static void check_update(const struct device *dev, const struct update *update,
			 const struct irte *old, const struct irte *new)
{
	CHECK(!strcmp(update->unit, is_amd() ? "ivhd0" : "dmar0"), "unit %s traced", update->unit);
	CHECK(update->table == (is_amd() ? dev->rid : 0), "table %x traced", update->table);
	CHECK(update->index == old->index, "index %u traced, wanted %u", update->index, old->index);
	CHECK(is_entry(update->old, old), "old entry %llx:%llx traced, wanted %llx:%llx",
	      update->old[0], update->old[1], old->high, old->low);
	CHECK(is_entry(update->new, new), "new entry %llx:%llx traced, wanted %llx:%llx",
	      update->new[0], update->new[1], new->high, new->low);
}

static void test_trace(void)
{
	struct device *dev = open_device(0);
	struct update update[MAX_UPDATES];
	struct irte old, new;
	long undone, failures;
	int ret;

	quiet();
	map_msix(dev);
	use_msix(dev, VECTORS);
	pin(dev, MSIX(0), 0);
	release(dev, MSIX(1));
	clear_trace();
	CHECK(!write_file("1", EVENT), "cannot trace");

	/* The activation. The affinity on startup changes nothing after that. */
	request(dev, MSIX(1));
	check_trace(update, 1, 0);
	new = entry_of(dev, MSIX(1));
	CHECK(update->index == new.index && is_entry(update->new, &new),
	      "entry %u, %llx:%llx traced, wanted %u, %llx:%llx", update->index, update->new[0],
	      update->new[1], new.index, new.high, new.low);

	old = entry_of(dev, MSIX(0));
	pin(dev, MSIX(0), 1);
	new = entry_of(dev, MSIX(0));
	check_trace(update, 1, 0);
	CHECK(!is_entry(update->old, &new), "the entry has not changed");
	check_update(dev, update, &old, &new);

	CHECK(WAIT(PATIENCE, move_done(virq_of(dev, MSIX(0)))), "the move does not end");
	undone = unit_number("failed and undone:");
	fail_next(FAIL_INVALIDATE, 1);
	ret = try_affinity(virq_of(dev, MSIX(0)), 0);
	fail_none();
	CHECK(ret, "the move has not failed");
	/* The update, and the old entry back */
	check_trace(update, 2, 1);
	CHECK(update[0].ret && !update[1].ret, "the update has not failed, or the old entry is not back");
	old = new;
	new.high = update[0].new[0];
	new.low = update[0].new[1];
	CHECK(!is_entry(update->old, &new), "the update changes nothing");
	check_update(dev, &update[0], &old, &new);
	check_update(dev, &update[1], &new, &old);
	new = entry_of(dev, MSIX(0));
	CHECK(is_entry(update[1].new, &new), "the entry is %llx:%llx, traced is %llx:%llx", new.high,
	      new.low, update[1].new[0], update[1].new[1]);
	failures = unit_number("failed and undone:") - undone;
	CHECK(failures == 1, "%ld failures counted, wanted one", failures);
	CHECK(!write_file("0", EVENT), "cannot stop the trace");
	check_sane(dev);
}

/*
 * The undo of a failed update fails, too: the interrupt works, and all comes back
 * when it is freed
 */
static void test_undo_fails(void)
{
	struct device *dev = open_device(0);
	long failures, unsettled;
	struct resources before;
	unsigned int virq, cpu;
	int ret;

	quiet();
	map_msix(dev);
	CHECK(!alloc_msix(dev, MSIX(0)) && !free_msix(dev, MSIX(0)), "MSI-X does not work");
	before = resources();
	use_msix(dev, VECTORS);
	pin(dev, MSIX(0), 0);
	virq = virq_of(dev, MSIX(0));

	for (cpu = 1; cpu < 2; cpu--) {
		end_move(dev, MSIX(0));
		failures = count_failures("affinity");
		unsettled = unit_number("but not in effect:");
		fail_next(FAIL_INVALIDATE, 2);
		ret = try_affinity(virq, cpu);
		fail_none();
		CHECK(is_failure(ret), "moving to CPU %u: %s", cpu, strerror(-ret));
		failures = count_failures("affinity") - failures;
		CHECK(failures == 1, "%ld failures of a move counted, wanted one", failures);
		unsettled = unit_number("but not in effect:") - unsettled;
		CHECK(unsettled == 1, "%ld undone updates not in effect, wanted one", unsettled);
		CHECK(irq_debug(virq, "prev_in_use:") == 1, "only one of the two vectors is kept");
		one_interrupt(dev, MSIX(0), ANY);
		CHECK(WAIT(PATIENCE, !try_affinity(virq, cpu)), "a retry does not work");
		one_interrupt(dev, MSIX(0), cpu);
	}
	release(dev, MSIX(0));
	release(dev, MSIX(1));
	CHECK(!free_msix(dev, MSIX(0)), "cannot free");
	check_resources(&before);
	check_sane(dev);
}

/*
 * Interrupts that are posted to a vCPU
 */
int post(const struct device *dev, u32 source, u32 vcpu, u32 vector)
{
	struct ims_test_post arg = { .source = source, .vcpu = vcpu, .vector = vector };

	return call(dev, IMS_TEST_POST, &arg);
}

/* What was posted to a vCPU since the last look has this vector, 0: there was nothing */
static bool posted(const struct device *dev, u32 vcpu, u32 vector)
{
	struct ims_test_posted arg = { .vcpu = vcpu };
	u64 wanted[4] = { 0 };

	CHECK(!call(dev, IMS_TEST_POSTED, &arg), "cannot look at the vCPU");
	if (vector)
		wanted[vector / 64] = 1ULL << vector % 64;
	return !memcmp(arg.vectors, wanted, sizeof(wanted));
}

/*
 * It is posted to a vCPU with @vector, by one of @updates that were made, and arrives there.
 * Return: the vCPU's descriptor.
 */
static unsigned long long check_posted(const struct device *dev, u32 source, unsigned int updates,
				       u32 vcpu, u32 vector)
{
	struct irte irte = entry_of(dev, source);
	u64 before = received(dev, source);
	struct update update[MAX_UPDATES];

	check_trace(update, updates, 0);
	CHECK(!updates || is_entry(update->new, &irte), "the entry is %llx:%llx, traced is %llx:%llx",
	      irte.high, irte.low, update->new[0], update->new[1]);
	CHECK(irte.pda && irte.vector == vector, "the entry is %llx:%llx, wanted vector %#x of a vCPU",
	      irte.high, irte.low, vector);
	trigger(dev, source, 1, 1, PCI_IMS_GO_RAW);
	CHECK(WAIT(PATIENCE, posted(dev, vcpu, vector)), "vector %#x is not posted to vCPU %u", vector,
	      vcpu);
	/* As the guest's driver would */
	reg_write(dev, PCI_IMS_ACK, source);
	CHECK(received(dev, source) == before, "posted, and received by the host");
	CHECK(posted(dev, !vcpu, 0), "posted to vCPU %u, too", !vcpu);
	return irte.pda;
}

/* The interrupt is the host's, as it was before */
static void check_host(const struct device *dev, u32 source, const struct state *before,
		       const char *what)
{
	check_state(dev, source, before, what);
	check_arrival(dev, source);
	CHECK(posted(dev, 0, 0) && posted(dev, 1, 0), "%s: posted all the same", what);
}

/* Back to the host: this has nobody to tell, so it has to work whatever fails */
static void unpost(const struct device *dev, u32 source, long failures, const struct state *before)
{
	int ret;

	fail_next(FAIL_INVALIDATE, failures);
	ret = post(dev, source, 0, 0);
	fail_none();
	CHECK(!ret, "back to the host: %s", strerror(-ret));
	check_host(dev, source, before, "back to the host");
}

static void test_vcpu(void)
{
	struct device *dev = open_device(0);
	unsigned long long pda[2];
	struct resources before;
	struct state host;
	unsigned int nth;
	long failures;
	bool fired;
	int ret;

	quiet();
	map_msix(dev);
	CHECK(!alloc_msix(dev, MSIX(0)) && !free_msix(dev, MSIX(0)), "MSI-X does not work");
	before = resources();
	use_msix(dev, VECTORS);
	pin(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));
	get_state(dev, MSIX(0), &host);
	CHECK(!write_file("1", EVENT), "cannot trace");

	for (nth = 1; nth < MAX_POINTS; nth++) {
		clear_trace();
		arm(nth);
		ret = post(dev, MSIX(0), 0, 0x51);
		fired = has_fired();
		arm(0);
		if (!fired)
			break;
		CHECK(is_failure(ret), "operation %u failing: posting: %s", nth, strerror(-ret));
		check_host(dev, MSIX(0), &host, "posting");
	}
	CHECK(!ret && nth > 1, "%u operations: %s", nth - 1, strerror(-ret));
	pda[0] = check_posted(dev, MSIX(0), 1, 0, 0x51);
	note("%u operations", nth - 1);

	/* To another vCPU: the one before may be gone, so it is the host that gets it */
	fail_next(FAIL_INVALIDATE, 1);
	ret = post(dev, MSIX(0), 1, 0x52);
	fail_none();
	CHECK(is_failure(ret), "posting to another vCPU: %s", strerror(-ret));
	check_host(dev, MSIX(0), &host, "posting to another vCPU");

	clear_trace();
	CHECK(!post(dev, MSIX(0), 1, 0x52), "cannot post");
	pda[1] = check_posted(dev, MSIX(0), 1, 1, 0x52);
	CHECK(pda[0] != pda[1], "both vCPUs have the descriptor at %llx", pda[0]);
	for (failures = 0; failures < 3; failures++) {
		CHECK(!post(dev, MSIX(0), 1, 0x52), "cannot post");
		unpost(dev, MSIX(0), failures, &host);
	}

	/* The host's affinity changes meanwhile, and shows once it is the host's again */
	clear_trace();
	CHECK(!post(dev, MSIX(0), 0, 0x53), "cannot post");
	check_posted(dev, MSIX(0), 1, 0, 0x53);
	pin(dev, MSIX(0), 1);
	check_posted(dev, MSIX(0), 0, 0, 0x53);
	fail_next(FAIL_INVALIDATE, 1);
	ret = post(dev, MSIX(0), 0, 0);
	fail_none();
	CHECK(!ret, "back to the host: %s", strerror(-ret));
	one_interrupt(dev, MSIX(0), 1);
	CHECK(posted(dev, 0, 0), "back to the host, and posted");
	CHECK(!write_file("0", EVENT), "cannot stop the trace");

	release(dev, MSIX(0));
	release(dev, MSIX(1));
	CHECK(!free_msix(dev, MSIX(0)), "cannot free");
	check_resources(&before);
	check_sane(dev);
}

/*
 * With posted MSIs the interrupts of a CPU are posted to a descriptor of the CPU, and one
 * vector says that there are some
 */
static long notifications(unsigned int cpu)
{
	char *text = read_file("/proc/interrupts"), *line = text ? strstr(text, "PMN:") : NULL;
	long count[2] = { -1, -1 };

	CHECK(line && sscanf(line, "PMN: %ld %ld", &count[0], &count[1]) == 2,
	      "no notifications in /proc/interrupts");
	free(text);
	return count[cpu];
}

/* Return: the descriptor of @cpu */
static unsigned long long post_to_cpu(const struct device *dev, u32 source, unsigned int cpu)
{
	struct slot before = message(dev, source), after;
	struct irte irte;
	long count;

	pin(dev, source, cpu);
	irte = entry_of(dev, source);
	after = message(dev, source);
	CHECK(irte.pda, "source %#x: the entry %llx:%llx does not post", source, irte.high, irte.low);
	CHECK(irte.vector == irq_debug(virq_of(dev, source), "Vector:"),
	      "source %#x: vector %#x posted", source, irte.vector);
	CHECK(!memcmp(&before, &after, sizeof(before)), "source %#x: another message", source);
	count = notifications(cpu);
	one_interrupt(dev, source, cpu);
	count = notifications(cpu) - count;
	CHECK(count == 1, "source %#x: %ld notifications of CPU %u, wanted one", source, count, cpu);
	return irte.pda;
}

static void test_posted_msi(void)
{
	struct device *dev = open_device(0);
	const u32 source[] = { 0, MSIX(0) };
	unsigned long long pda[2], other;
	unsigned int i, cpu;
	u64 got;

	map_msix(dev);
	use_slots(dev, 1);
	use_msix(dev, 1);
	for (cpu = 0; cpu < 2; cpu++) {
		pda[cpu] = post_to_cpu(dev, source[0], cpu);
		other = post_to_cpu(dev, source[1], cpu);
		CHECK(other == pda[cpu], "CPU %u has two descriptors, %llx and %llx", cpu, pda[cpu], other);
	}
	CHECK(pda[0] != pda[1], "the CPUs share a descriptor");

	for (i = 0; i < ARRAY_SIZE(source); i++) {
		got = received(dev, source[i]) + POSTED;
		trigger(dev, source[i], 1, POSTED, PCI_IMS_GO_PACED);
		CHECK(WAIT(PATIENCE, received(dev, source[i]) == got),
		      "source %#x: %llu received, wanted %llu", source[i],
		      (unsigned long long)received(dev, source[i]), (unsigned long long)got);
	}

	/* Both at once, so that one notification may be for both */
	for (i = 0; i < POSTED / 10; i++) {
		got = received(dev, source[0]) + 1;
		other = received(dev, source[1]) + 1;
		trigger(dev, source[0], 1, 1, PCI_IMS_GO_RAW);
		trigger(dev, source[1], 1, 1, PCI_IMS_GO_RAW);
		CHECK(WAIT(PATIENCE, received(dev, source[0]) == got && received(dev, source[1]) == other),
		      "both at once, time %u: one is lost", i);
	}
	check_sane(dev);
}

/*
 * The unit may still have the old content of an entry whose invalidation has failed.
 * No other interrupt gets that entry.
 */
static void test_withdrawn(void)
{
	struct device *dev = open_device(0);
	unsigned int old[VECTORS], i, j;
	long withdrawn, uncleared;
	struct slot msg;
	int ret;

	quiet();
	map_msix(dev);
	use_msix(dev, VECTORS);
	for (i = 0; i < VECTORS; i++) {
		msg = message(dev, MSIX(i));
		old[i] = irte_index(&msg);

		/* Whoever still has it, has it again after that, and nothing is withdrawn */
		uncleared = unit_number("clearing failed:");
		fail_next(FAIL_INVALIDATE, -1);
		release(dev, MSIX(i));
		fail_none();
		uncleared = unit_number("clearing failed:") - uncleared;
		CHECK(uncleared == 1, "%ld entries not cleared, wanted one", uncleared);
		request(dev, MSIX(i));
		one_interrupt(dev, MSIX(i), ANY);
		release(dev, MSIX(i));
	}

	withdrawn = unit_number("withdrawn from use:");
	fail_next(FAIL_INVALIDATE, -1);
	ret = free_msix(dev, MSIX(0));
	fail_none();
	CHECK(!ret, "cannot free: %s", strerror(-ret));
	withdrawn = unit_number("withdrawn from use:") - withdrawn;

	use_msix(dev, VECTORS);
	for (i = 0; i < VECTORS; i++) {
		msg = message(dev, MSIX(i));
		for (j = 0; j < VECTORS; j++)
			CHECK(irte_index(&msg) != old[j], "entry %u is used again", old[j]);
		one_interrupt(dev, MSIX(i), ANY);
	}
	CHECK(withdrawn == VECTORS, "%ld entries withdrawn, wanted %u", withdrawn, VECTORS);
	check_sane(dev);
}

/*
 * An interrupt that keeps its vector while nobody has requested it
 */
static unsigned int alloc_msi(const struct device *dev)
{
	u32 nr = 1;
	int ret = call(dev, IMS_TEST_MSI, &nr);

	CHECK(!ret, "allocating the MSI: %s", strerror(-ret));
	return virq_of(dev, IMS_TEST_SRC_MSI);
}

/* It is activated, and not started up, which would set the affinity as well */
static int request_msi(const struct device *dev)
{
	struct ims_test_source arg = { .source = IMS_TEST_SRC_MSI, .flags = IMS_TEST_NO_AUTOEN };

	return call(dev, IMS_TEST_REQUEST, &arg);
}

static void free_msi(const struct device *dev)
{
	int ret = free_block(dev, IMS_TEST_SRC_MSI);

	CHECK(!ret, "freeing the MSI: %s", strerror(-ret));
}

/* Its file in /proc comes with the first request */
static void request_msi_once(const struct device *dev)
{
	CHECK(!request_msi(dev), "the MSI cannot be requested");
	release(dev, IMS_TEST_SRC_MSI);
}

/* It moves when it is requested, and that move ends like any other one */
static void test_activated_elsewhere(void)
{
	struct device *dev = open_device(0);
	struct resources before;
	unsigned int virq, cpu;

	quiet();
	alloc_msi(dev);
	free_msi(dev);
	before = resources();
	virq = alloc_msi(dev);
	request_msi_once(dev);
	for (cpu = 1; cpu < 2; cpu--) {
		set_affinity(virq, cpu);
		CHECK(WAIT(PATIENCE, move_done(virq)), "the move to CPU %u does not end", cpu);
		CHECK(!request_msi(dev), "the MSI cannot be requested");
		CHECK(irq_is_on(virq, cpu), "the MSI is not on CPU %u", cpu);
		CHECK(WAIT(PATIENCE, move_done(virq)), "the move by a request does not end");
		release(dev, IMS_TEST_SRC_MSI);
	}
	free_msi(dev);
	check_resources(&before);
}

/* Nothing writes the entry once more after that, as a startup does */
static void test_activation_fails(void)
{
	static const long points[] = { FAIL_ACTIVATE, FAIL_IRTE_WRITE, FAIL_INVALIDATE };
	struct device *dev = open_device(0);
	struct resources before, released;
	unsigned int i;
	long failures;
	int ret;

	quiet();
	alloc_msi(dev);
	free_msi(dev);
	before = resources();
	alloc_msi(dev);
	request_msi_once(dev);
	released = resources();
	for (i = 0; i < ARRAY_SIZE(points); i++) {
		failures = count_failures("activate");
		fail_next(points[i], 1);
		ret = request_msi(dev);
		fail_none();
		CHECK(ret, "point %#lx fails, and the request succeeds", points[i]);
		failures = count_failures("activate") - failures;
		CHECK(failures == 1, "%ld failures of an activation counted, wanted one", failures);
		check_resources(&released);
		request_msi_once(dev);
	}
	free_msi(dev);
	check_resources(&before);
}

/*
 * Affinity
 */
bool is_pending(unsigned int virq)
{
	char *text = read_file("/sys/kernel/debug/irq/irqs/%u", virq);
	bool pending = text && strstr(text, "IRQD_SETAFFINITY_PENDING");

	free(text);
	return pending;
}

/* Each of many writes is done, or an error, or one can see that it waits */
static void burst(const struct device *dev, u32 source)
{
	unsigned int virq = virq_of(dev, source), i, cpu = 0, done = 0, pending = 0, failed = 0;
	int ret;

	for (i = 0; i < 100; i++) {
		cpu = !(i % 2);
		ret = try_affinity(virq, cpu);
		if (ret)
			failed++;
		else if (irq_is_on(virq, cpu))
			done++;
		else if (is_pending(virq) || irq_is_on(virq, cpu))
			pending++;
		else
			fail("write %u is neither done nor pending nor an error", i);
	}
	note("100 writes: %u done at once, %u pending, %u failed", done, pending, failed);
	CHECK(ret || WAIT(1, irq_is_on(virq, cpu)), "the last write is not done within a second");
	if (!ret)
		one_interrupt(dev, source, cpu);
}

static void test_affinity_burst(void)
{
	struct device *dev = open_device(0);

	use_msix(dev, VECTORS);
	burst(dev, MSIX(0));
	check_sane(dev);
}

/* Without an interrupt each of the writes waits for the next one */
static void test_deferred_burst(void)
{
	struct device *dev = open_device(0);
	unsigned int virq, cpu, i;

	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	for (i = 0; i < 100; i++) {
		cpu = !(i % 2);
		CHECK(!try_affinity(virq, cpu), "write %u", i);
		CHECK(is_pending(virq) || irq_is_on(virq, cpu), "write %u is lost", i);
	}
	CHECK(WAIT(1, (one_interrupt(dev, MSIX(0), ANY), irq_is_on(virq, cpu))),
	      "the last write is not done within a second");
	check_sane(dev);
}

/*
 * Without remapping an interrupt moves when the next one arrives: nobody is left
 * who could be told
 */
static long move_failures(unsigned int virq)
{
	return irq_debug(virq, "\n move");
}

static void test_deferred_retry(void)
{
	struct device *dev = open_device(0);
	unsigned int virq, tries = 0;
	long failures;

	quiet();
	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	CHECK(!try_affinity(virq, 0), "moving to CPU 0");
	while (!irq_is_on(virq, 0) && tries++ < 20)
		one_interrupt(dev, MSIX(0), ANY);

	failures = move_failures(virq);
	CHECK(!try_affinity(virq, 1), "moving to CPU 1");
	CHECK(is_pending(virq), "the move does not wait for an interrupt");
	fail_next(FAIL_AFFINITY, 1);
	one_interrupt(dev, MSIX(0), 0);
	fail_none();
	CHECK(move_failures(virq) == failures + 1, "%ld failures of the move, wanted one",
	      move_failures(virq) - failures);
	CHECK(is_pending(virq) && irq_is_on(virq, 0), "the move that failed is lost");

	/* It is tried again, not with each interrupt */
	CHECK(WAIT(PATIENCE, (one_interrupt(dev, MSIX(0), ANY), irq_is_on(virq, 1))),
	      "the move was not tried again");
	CHECK(!is_pending(virq), "the move is done, and pending");
	one_interrupt(dev, MSIX(0), 1);
	check_sane(dev);
}

void place(const struct device *dev, u32 source, unsigned int cpu)
{
	unsigned int virq = virq_of(dev, source);

	end_move(dev, source);
	CHECK(!try_affinity(virq, cpu), "moving interrupt %u to CPU %u", virq, cpu);
	if (remapping_on())
		CHECK(WAIT(PATIENCE, irq_is_on(virq, cpu)), "interrupt %u is not on CPU %u", virq, cpu);
	else
		CHECK(WAIT(PATIENCE, (one_interrupt(dev, source, ANY),
				      irq_is_on(virq, cpu) && move_done(virq))),
		      "interrupt %u is not on CPU %u", virq, cpu);
}

/* The CPU goes, whatever fails, and its interrupts go on */
static void unplug(const struct device *dev, long points, long times)
{
	u32 i;

	for (i = 0; i < VECTORS; i++)
		place(dev, MSIX(i), 1);
	fail_next(points, times);
	set_online(1, false);
	fail_none();
	for (i = 0; i < VECTORS; i++)
		one_interrupt(dev, MSIX(i), 0);
	set_online(1, true);
}

static void test_unplug(void)
{
	static const long points[] = { FAIL_AFFINITY, FAIL_IRTE_WRITE, FAIL_INVALIDATE };
	struct device *dev = open_device(0);
	struct resources before;
	unsigned int i;

	quiet();
	use_msix(dev, VECTORS);
	for (i = 0; i < VECTORS; i++) {
		place(dev, MSIX(i), 0);
		end_move(dev, MSIX(i));
	}
	before = resources();
	for (i = 0; i < ARRAY_SIZE(points); i++)
		unplug(dev, points[i], 1);
	for (i = 0; i < VECTORS; i++)
		place(dev, MSIX(i), 0);
	check_resources(&before);
	check_sane(dev);
}

/* What keeps an interrupt on a CPU that goes */
static const long left_by[] = { FAIL_AFFINITY, FAIL_IRTE_WRITE };

void leave(const struct device *dev, unsigned int virq, long points)
{
	place(dev, MSIX(0), 1);
	fail_next(points, -1);
	set_online(1, false);
	CHECK(irq_is_on(virq, 1), "interrupt %u was moved, no failure was injected", virq);
}

u64 send_to_offline(const struct device *dev)
{
	u64 got = received(dev, MSIX(0));

	trigger(dev, MSIX(0), 1, 1, PCI_IMS_GO_RAW);
	usleep(SILENCE * 1e6);
	CHECK(received(dev, MSIX(0)) == got, "an interrupt on a CPU that is offline");
	return got;
}

static void come_back(void)
{
	set_online(1, true);
	fail_none();
}

/*
 * What nobody is told by an error is in the log, with the name of the interrupt, and
 * not as often as it happens
 */

#define MANY_FAILURES	100

static void test_messages(void)
{
	struct device *dev = open_device(0);
	unsigned int virq, lines, limit, i;
	char who[32];
	int log, ret;
	double start;

	quiet();
	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	place(dev, MSIX(1), 0);
	place(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));
	/* Messages of the tests before have used up what the limit allows */
	sleep(LOG_INTERVAL + 1);

	snprintf(who, sizeof(who), "IRQ %u (", virq);
	log = open_log();
	fail_next(FAIL_INVALIDATE, 2);
	ret = try_affinity(virq, 1);
	fail_none();
	CHECK(is_failure(ret), "moving to CPU 1: %s", strerror(-ret));
	CHECK(wait_for_log(log, who, "not in effect"), "an entry is not in effect, and no message says so");
	CHECK(WAIT(PATIENCE, !try_affinity(virq, 1)), "a retry does not work");
	place(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));
	close(log);

	log = open_log();
	start = now();
	fail_next(FAIL_IRTE_WRITE, -1);
	for (i = 0; i < MANY_FAILURES; i++) {
		ret = try_affinity(virq, 1);
		CHECK(is_failure(ret), "moving to CPU 1: %s", strerror(-ret));
	}
	fail_none();
	limit = LOG_BURST * (2 + (now() - start) / LOG_INTERVAL);
	lines = count_log(log, who, "failed and undone");
	CHECK(lines && lines <= limit, "%u lines in the log about %u failures, wanted %u at most",
	      lines, i, limit);
	close(log);

	snprintf(who, sizeof(who), "IRQ%u (ims_test-msix-0)", virq);
	log = open_log();
	leave(dev, virq, FAIL_AFFINITY);
	come_back();
	CHECK(wait_for_log(log, who, "Cannot be moved away from CPU1"),
	      "no message with the name of the interrupt");
	lines = count_log(log, who, "Cannot be moved away");
	CHECK(!lines, "%u more lines in the log about one failure", lines);
	close(log);
	CHECK(WAIT(LONGEST_RETRY, !is_pending(virq)), "interrupt %u is not moved", virq);
	one_interrupt(dev, MSIX(0), ANY);
	check_sane(dev);
}

/*
 * No CPU takes the interrupt while its own one goes. When that is back the
 * interrupt works there, or was moved: it is not lost, whatever /proc says.
 */
static void unplug_left(const struct device *dev, long points)
{
	unsigned int virq = virq_of(dev, MSIX(0));
	long failures = irq_debug(virq, "\n target"), all = count_failures("target");
	struct resources before;

	place(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));
	before = resources();

	leave(dev, virq, points);
	CHECK(irq_debug(virq, "\n target") == failures + 1 && count_failures("target") > all,
	      "it is not counted that interrupt %u has no target", virq);
	come_back();
	CHECK(WAIT(LONGEST_RETRY, !is_pending(virq)), "interrupt %u is not moved", virq);
	one_interrupt(dev, MSIX(0), ANY);

	/* The CPU that it was on is a good one again */
	leave(dev, virq, points);
	come_back();
	CHECK(!try_affinity(virq, 1), "moving interrupt %u to CPU 1", virq);
	one_interrupt(dev, MSIX(0), ANY);
	CHECK(WAIT(LONGEST_RETRY, !is_pending(virq)), "interrupt %u is not moved", virq);
	place(dev, MSIX(0), 1);
	one_interrupt(dev, MSIX(0), 1);
	place(dev, MSIX(0), 0);
	one_interrupt(dev, MSIX(0), 0);
	check_resources(&before);
}

static void test_unplug_left(void)
{
	struct device *dev = open_device(0);
	unsigned int i;

	quiet();
	use_msix(dev, VECTORS);
	for (i = 0; i < ARRAY_SIZE(left_by); i++)
		unplug_left(dev, left_by[i]);
	check_sane(dev);
}

/*
 * What is posted to a CPU while that is offline arrives when it is back, and does not keep
 * others from being noticed there
 */
static void test_posted_offline(void)
{
	struct device *dev = open_device(0);
	unsigned int virq;
	u64 got;

	quiet();
	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	place(dev, MSIX(1), 0);
	leave(dev, virq, FAIL_AFFINITY);
	got = send_to_offline(dev);
	come_back();
	CHECK(WAIT(PATIENCE, received(dev, MSIX(0)) > got), "posted while CPU 1 was offline, and lost");
	drain(dev, MSIX(0), 1);
	CHECK(WAIT(LONGEST_RETRY, !is_pending(virq)), "interrupt %u is not moved", virq);
	place(dev, MSIX(1), 1);
	one_interrupt(dev, MSIX(1), 1);
	check_sane(dev);
}

/* A managed interrupt has a vector on any CPU of its mask, and moves to one when its own goes */
u32 alloc_managed(const struct device *dev)
{
	struct ims_test_alloc arg = { .cpu = IMS_TEST_ALL_CPUS, .managed = 1 };
	int ret = call(dev, IMS_TEST_ALLOC, &arg);

	CHECK(!ret, "allocating a managed interrupt: %s", strerror(-ret));
	return arg.source;
}

/* There is an error, no shutdown, and it stays as it is until its CPU is back */
static void leave_managed(const struct device *dev, u32 source, long points)
{
	unsigned int virq = virq_of(dev, source);
	long failures = irq_debug(virq, "\n target");
	struct state before, now;

	CHECK(irq_is_on(virq, 1), "interrupt %u is not on CPU 1", virq);
	get_state(dev, source, &before);
	fail_next(points, -1);
	set_online(1, false);
	CHECK(irq_debug(virq, "\n target") == failures + 1, "no failure was injected, or none is counted");
	get_state(dev, source, &now);
	/* The CPU has taken its own ones along */
	now.res = before.res;
	CHECK(!memcmp(&before, &now, sizeof(now)),
	      "interrupt %u: vector %#lx on CPU %ld, IRTE %llx:%llx before; %#lx on %ld, %llx:%llx after",
	      virq, before.vector, before.target, before.irte.high, before.irte.low,
	      now.vector, now.target, now.irte.high, now.irte.low);
	come_back();
	one_interrupt(dev, source, ANY);
}

static void test_managed_left(void)
{
	struct device *dev = open_device(0);
	struct resources before;
	u32 source[VECTORS];
	unsigned int i, j;

	quiet();
	create_domain(dev, dev->nslots);
	free_slot(dev, alloc_managed(dev));
	before = resources();

	/* The kernel spreads them over the CPUs */
	for (i = 0; i < VECTORS; i++) {
		source[i] = alloc_managed(dev);
		request(dev, source[i]);
	}
	for (i = 0; i < VECTORS && !irq_is_on(virq_of(dev, source[i]), 1); i++)
		;
	CHECK(i < VECTORS, "none of %u managed interrupts is on CPU 1", i);

	for (j = 0; j < ARRAY_SIZE(left_by); j++)
		leave_managed(dev, source[i], left_by[j]);

	set_online(1, false);
	one_interrupt(dev, source[i], 0);
	set_online(1, true);
	one_interrupt(dev, source[i], ANY);
	for (i = 0; i < VECTORS; i++) {
		release(dev, source[i]);
		free_slot(dev, source[i]);
	}
	check_resources(&before);
	check_sane(dev);
}

/*
 * The same, and another CPU takes the interrupt before its own one is back. What the
 * device has sent meanwhile arrives then.
 */
static void unplug_moved(const struct device *dev, long points)
{
	unsigned int virq = virq_of(dev, MSIX(0));
	struct resources before;
	u64 got;

	place(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));
	before = resources();

	leave(dev, virq, points);
	got = send_to_offline(dev);

	fail_none();
	CHECK(WAIT(LONGEST_RETRY, irq_is_on(virq, 0)), "interrupt %u is not moved", virq);
	CHECK(WAIT(PATIENCE, received(dev, MSIX(0)) > got), "what was sent before the move is lost");
	drain(dev, MSIX(0), 1);
	one_interrupt(dev, MSIX(0), 0);
	check_resources(&before);
	set_online(1, true);
	check_resources(&before);
}

static void test_unplug_moved(void)
{
	struct device *dev = open_device(0);
	unsigned int i;

	quiet();
	use_msix(dev, VECTORS);
	for (i = 0; i < ARRAY_SIZE(left_by); i++)
		unplug_moved(dev, left_by[i]);
	check_sane(dev);
}

/*
 * Real shortages
 */

/* Request MSI-X entries until there is no vector left. Return: their number. */
static u32 take_all_vectors(const struct device *dev, u32 nr)
{
	u32 i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++)
		ret = call_source(dev, IMS_TEST_REQUEST, MSIX(i));
	CHECK(ret == -ENOSPC, "request %u: %s, wanted ENOSPC", i - 1, strerror(-ret));
	return i - 1;
}

/* Two CPUs have some 400 vectors, and an AMD unit 512 entries for a device */
#define MANY_VECTORS	500

static void test_vectors_full(void)
{
	struct device *dev = open_device(1);
	struct resources before, full;
	u32 i, nr = MANY_VECTORS;
	struct state state;
	int ret;

	map_msix(dev);
	CHECK(!alloc_msix(dev, MSIX(0)) && !free_msix(dev, MSIX(0)), "MSI-X does not work");
	before = resources();
	ret = call(dev, IMS_TEST_MSIX, &nr);
	CHECK(!ret, "allocating %u MSI-X vectors: %s", nr, strerror(-ret));
	nr = take_all_vectors(dev, nr);
	full = resources();

	/* Once more it is the same, and takes nothing */
	ret = call_source(dev, IMS_TEST_REQUEST, MSIX(nr));
	CHECK(ret == -ENOSPC, "request again: %s", strerror(-ret));
	check_resources(&full);

	/* There is no vector on the other CPU either */
	get_state(dev, MSIX(0), &state);
	ret = try_affinity(state.virq, state.effective == 1 ? 1 : 0);
	CHECK(ret == -ENOSPC, "a move with no vector left: %s", strerror(-ret));
	check_state(dev, MSIX(0), &state, "move");

	for (i = 0; i < nr; i++)
		check_arrival(dev, MSIX(i));
	release(dev, MSIX(0));
	request(dev, MSIX(nr));
	check_arrival(dev, MSIX(nr));
	note("%u interrupts took all vectors", nr);

	for (i = 1; i <= nr; i++)
		release(dev, MSIX(i));
	CHECK(!free_msix(dev, MSIX(0)), "cannot free");
	check_resources(&before);
	check_sane(dev);
}

/*
 * More entries than a VT-d unit has: it takes a store that is as large as the table. And
 * minutes, so it tells how far it is.
 */
#define PROGRESS	10000

static void test_table_full_vtd(void)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	struct device *dev = open_device(2), *other = open_device(1);
	struct resources before, full;
	u32 i, nr;
	int ret;

	create_domain(dev, dev->nslots);
	/* What the first one needs once only */
	free_slot(dev, alloc_slot(dev));
	CHECK(!alloc_msix(other, MSIX(0)) && !free_msix(other, MSIX(0)), "MSI-X does not work");
	before = resources();
	for (nr = 0; !(ret = call(dev, IMS_TEST_ALLOC, &arg)); nr++) {
		if (nr && !(nr % PROGRESS))
			note("%u allocated", nr);
	}
	CHECK(ret == -ENOSPC, "slot %u: %s, wanted ENOSPC", nr, strerror(-ret));
	CHECK(nr < dev->nslots, "all %u slots have an entry", nr);

	/* Once more it is the same, for another device and another domain, too */
	full = resources();
	ret = call(dev, IMS_TEST_ALLOC, &arg);
	CHECK(ret == -ENOSPC, "slot %u again: %s, wanted ENOSPC", nr, strerror(-ret));
	ret = alloc_msix(other, MSIX(0));
	CHECK(ret == -ENOSPC, "MSI-X of another device: %s, wanted ENOSPC", strerror(-ret));
	check_resources(&full);

	request(dev, 0);
	one_interrupt(dev, 0, ANY);
	release(dev, 0);
	for (i = 0; i < VECTORS; i++)
		free_slot(dev, i);
	ret = alloc_msix(other, MSIX(0));
	CHECK(!ret, "MSI-X with %u entries left: %s", VECTORS, strerror(-ret));
	CHECK(!free_msix(other, MSIX(0)), "cannot free");
	for (; i < nr; i++) {
		free_slot(dev, i);
		if (!(i % PROGRESS))
			note("%u freed", i);
	}
	note("%u interrupts filled the table", nr);
	check_resources(&before);
	check_sane(dev);
}

/* An interrupt without a vector on an online CPU cannot be requested */
static void test_no_vector(void)
{
	struct device *dev = open_device(0), *full = open_device(1);
	struct resources before;
	u32 i, nr = MANY_VECTORS;
	unsigned int virq;
	int ret;

	CHECK(!alloc_msix(full, MSIX(0)) && !free_msix(full, MSIX(0)), "MSI-X does not work");
	alloc_msi(dev);
	free_msi(dev);
	before = resources();

	virq = alloc_msi(dev);
	request_msi_once(dev);
	set_affinity(virq, 1);
	CHECK(!request_msi(dev), "the MSI cannot be requested");
	CHECK(irq_is_on(virq, 1), "the MSI is not on CPU 1");
	release(dev, IMS_TEST_SRC_MSI);
	set_online(1, false);

	ret = call(full, IMS_TEST_MSIX, &nr);
	CHECK(!ret, "allocating %u MSI-X vectors: %s", nr, strerror(-ret));
	nr = take_all_vectors(full, nr);
	ret = request_msi(dev);
	CHECK(ret == -ENOSPC, "a request without a vector: %s, wanted ENOSPC", strerror(-ret));

	release(full, MSIX(0));
	CHECK(!request_msi(dev), "the MSI cannot be requested once more");
	CHECK(irq_is_on(virq, 0), "the MSI is not on CPU 0");
	for (i = 1; i < nr; i++)
		release(full, MSIX(i));
	release(dev, IMS_TEST_SRC_MSI);
	free_msi(dev);
	CHECK(!free_msix(full, MSIX(0)), "cannot free");
	set_online(1, true);
	check_resources(&before);
}

/* More entries than an AMD unit has for one device */
static void test_table_full_amd(void)
{
	struct device *dev = open_device(1);
	struct resources before;
	u32 nr = dev->nmsix;
	int ret, i;

	CHECK(!alloc_msix(dev, MSIX(0)) && !free_msix(dev, MSIX(0)), "MSI-X does not work");
	before = resources();
	for (i = 0; i < 2; i++) {
		ret = call(dev, IMS_TEST_MSIX, &nr);
		CHECK(ret == -ENOSPC, "%u MSI-X vectors: %s, wanted ENOSPC", nr, strerror(-ret));
		check_resources(&before);
	}
	use_msix(dev, VECTORS);
	one_interrupt(dev, MSIX(0), ANY);
	check_sane(dev);
}

/* With all that was made to fail before: the kernel has lost no memory */
static void test_leaks(void)
{
	check_memory();
}

/* It takes long to fill the table of a VT-d unit, and that of an AMD one is small */
static const struct test vtd_tests[] = {
	{ "sweep_msix",		test_sweep_msix },
	{ "sweep_msi",		test_sweep_msi },
	{ "sweep_ims",		test_sweep_ims },
	{ "sweep_queues",	test_sweep_queues },
	{ "sweep_memory_msix",	test_sweep_memory_msix },
	{ "sweep_memory_msi",	test_sweep_memory_msi },
	{ "sweep_memory_ims",	test_sweep_memory_ims },
	{ "first_memory",	test_first_memory },
	{ "probe",		test_probe },
	{ "trace",		test_trace },
	{ "messages",		test_messages },
	{ "undo_fails",		test_undo_fails },
	{ "vcpu",		test_vcpu },
	{ "withdrawn",		test_withdrawn },
	{ "activated_elsewhere", test_activated_elsewhere },
	{ "activation_fails",	test_activation_fails },
	{ "affinity_burst",	test_affinity_burst },
	{ "unplug",		test_unplug },
	{ "unplug_left",	test_unplug_left },
	{ "managed_left",	test_managed_left },
	{ "unplug_moved",	test_unplug_moved },
	{ "vectors_full",	test_vectors_full },
	{ "table_full",		test_table_full_vtd, .long_only = true },
	{ "no_vector",		test_no_vector },
	{ "no_vector_data",	test_no_vector_data },
	{ "parent_startup_fails", test_parent_startup_fails },
	{ "pin_without_message", test_pin_without_message },
	{ "managed_moves",	test_managed_moves },
	{ "time_out",		test_time_out },
	{ "leaks",		test_leaks },
};

/* The unit posts MSIs */
static const struct test posted_tests[] = {
	{ "arrival",		test_posted_msi },
	{ "offline",		test_posted_offline },
	{ "sweep_msix",		test_sweep_msix },
	{ "sweep_msi",		test_sweep_msi },
	{ "sweep_ims",		test_sweep_ims },
	{ "sweep_queues",	test_sweep_queues },
	{ "trace",		test_trace },
	{ "undo_fails",		test_undo_fails },
	{ "vcpu",		test_vcpu },
	{ "withdrawn",		test_withdrawn },
	{ "activated_elsewhere", test_activated_elsewhere },
	{ "activation_fails",	test_activation_fails },
	{ "affinity_burst",	test_affinity_burst },
	{ "unplug",		test_unplug },
	{ "unplug_left",	test_unplug_left },
	{ "managed_left",	test_managed_left },
	{ "unplug_moved",	test_unplug_moved },
	{ "vectors_full",	test_vectors_full },
	{ "no_vector",		test_no_vector },
	{ "leaks",		test_leaks },
};

static const struct test amd_tests[] = {
	{ "sweep_msix",		test_sweep_msix },
	{ "sweep_msi",		test_sweep_msi },
	{ "sweep_ims",		test_sweep_ims },
	{ "sweep_queues",	test_sweep_queues },
	{ "sweep_memory_msix",	test_sweep_memory_msix },
	{ "sweep_memory_msi",	test_sweep_memory_msi },
	{ "sweep_memory_ims",	test_sweep_memory_ims },
	{ "first_memory",	test_first_memory },
	{ "probe",		test_probe },
	{ "trace",		test_trace },
	{ "messages",		test_messages },
	{ "undo_fails",		test_undo_fails },
	{ "vcpu",		test_vcpu },
	{ "withdrawn",		test_withdrawn },
	{ "activated_elsewhere", test_activated_elsewhere },
	{ "activation_fails",	test_activation_fails },
	{ "affinity_burst",	test_affinity_burst },
	{ "unplug",		test_unplug },
	{ "unplug_left",	test_unplug_left },
	{ "managed_left",	test_managed_left },
	{ "unplug_moved",	test_unplug_moved },
	{ "vectors_full",	test_vectors_full },
	{ "no_vector",		test_no_vector },
	{ "table_full",		test_table_full_amd },
	{ "no_vector_data",	test_no_vector_data },
	{ "parent_startup_fails", test_parent_startup_fails },
	{ "pin_without_message", test_pin_without_message },
	{ "managed_moves",	test_managed_moves },
	{ "unanswered",		test_unanswered },
	{ "stalled",		test_stalled },
	{ "guest_mode",		test_guest_mode },
	{ "leaks",		test_leaks },
};

/* Without remapping */
static const struct test vector_tests[] = {
	{ "deferred_retry",	test_deferred_retry },
	{ "affinity_burst",	test_deferred_burst },
	{ "unplug",		test_unplug },
	{ "leaks",		test_leaks },
};

int run_failures(const char *only)
{
	if (!remapping_on())
		return run_tests(vector_tests, ARRAY_SIZE(vector_tests), only);
	if (is_amd()) {
		/* A unit that does not run has each of hundreds of moves wait for a tenth of a second */
		if (!long_run)
			time_limit = 300;
		return run_tests(amd_tests, ARRAY_SIZE(amd_tests), only);
	}
	if (on_command_line("intremap=on,posted_msi"))
		return run_tests(posted_tests, ARRAY_SIZE(posted_tests), only);
	return run_tests(vtd_tests, ARRAY_SIZE(vtd_tests), only);
}
