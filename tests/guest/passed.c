// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: a device that is passed through, whose store belongs to this guest
 *
 * Each interrupt of the store is backed by one of the host. The device irte-control
 * has a line to the host, by which we ask for shortages there, and what is in use.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>

#include <linux/pci_regs.h>
#include <linux/reboot.h>

#include "../qemu/irte-control-regs.h"
#include "imstest.h"

#define NR_SLOTS	16
#define NR_QUEUES	4
#define NR_VECTORS	4
#define NR_SENT		(long_run ? 1000000u : 20000u)

/* Moves meanwhile */
#define NR_MOVES	(long_run ? 10000u : 200u)

/* Of a device of the host that has nothing else */
#define MSIX_ENTRIES	2048

/* What the vectors of two CPUs do not suffice for */
#define MANY		200

/* Exits that nothing explains, e.g. those of a timer */
#define FEW_EXITS	10

/* The host, on a busy machine */
#define HOST_PATIENCE	120

/* Uses of the line so far, each of which is an exit */
static unsigned long line_uses;

static bool get_byte(u32 *byte)
{
	line_uses++;
	*byte = seen(IRTE_CONTROL_HOST);
	return *byte != IRTE_CONTROL_HOST_EMPTY;
}

static void put_byte(char byte)
{
	line_uses++;
	knob(IRTE_CONTROL_HOST, byte);
}

static void tell_host(const char *line)
{
	while (*line)
		put_byte(*line++);
	put_byte('\n');
}

/* @byte: the first one, if it is there. Return: the number, which may be -errno. */
static long get_answer(const char *request, u32 byte)
{
	char answer[256];
	size_t len = 0;

	do {
		CHECK(byte != IRTE_CONTROL_HOST_EMPTY || WAIT(HOST_PATIENCE, get_byte(&byte)),
		      "%s: the host does not answer", request);
		answer[len++] = byte;
		if (byte == '\n')
			break;
		byte = IRTE_CONTROL_HOST_EMPTY;
	} while (len < sizeof(answer) - 1);
	answer[len - 1] = '\0';
	if (strchr(answer, ' ') && strchr(answer, ' ')[1])
		note("%s: the host says %s", request, answer);
	return atol(answer);
}

static __printf(1, 2) long ask_host(const char *fmt, ...)
{
	char request[64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(request, sizeof(request), fmt, args);
	va_end(args);
	tell_host(request);
	return get_answer(request, IRTE_CONTROL_HOST_EMPTY);
}

static void tell(const char *request)
{
	long ret = ask_host("%s", request);

	CHECK(!ret, "%s: %s", request, strerror(-ret));
}

static void check_interrupts(long wanted)
{
	long nr = ask_host("interrupts");

	CHECK(nr == wanted, "the host has %ld interrupts, should be %ld", nr, wanted);
}

/* The host's interrupts are those of the requested slots or queues */
static struct device *open_without_store(void)
{
	struct device *dev = open_device(0);

	open_control();
	CHECK(seen(IRTE_CONTROL_GRANTED), "the unit is not granted");
	check_interrupts(0);
	tell("remember");
	return dev;
}

static struct device *open_passed(void)
{
	struct device *dev = open_without_store();

	create_domain(dev, dev->nslots);
	return dev;
}

static void close_passed(struct device *dev)
{
	check_device(dev);
	close(dev->fd);
	check_interrupts(0);
	tell("compare");
}

static u32 use_slot(struct device *dev)
{
	u32 source = alloc_slot(dev);

	request(dev, source);
	return source;
}

/* Only what is requested is backed, and the message is the host's */
static void test_backed(void)
{
	struct device *dev = open_passed();
	struct slot before, after;
	unsigned int cpu;
	u32 source;

	source = alloc_slot(dev);
	check_interrupts(0);
	request(dev, source);
	check_interrupts(1);
	before = slot(dev, source);
	note("address %08x, data %x", before.addr_lo, before.data);
	for (cpu = 0; cpu < 2; cpu++) {
		pin(dev, source, cpu);
		one_interrupt(dev, source, cpu);
	}
	after = slot(dev, source);
	CHECK(before.addr_lo == after.addr_lo && before.data == after.data,
	      "a move has changed the message");
	check_interrupts(1);
	release(dev, source);
	check_interrupts(0);
	request(dev, source);
	one_interrupt(dev, source, ANY);
	release(dev, source);
	free_slot(dev, source);
	close_passed(dev);
}

/**
 * struct disturbance - What goes on while interrupts arrive
 * @dev:	The device
 * @first:	The first slot or queue, of those in use
 * @nr:		Their number
 * @stop:	Enough
 * @moves:	Moves of an interrupt
 * @masks:	Times a slot was masked behind the kernel's back
 */
struct disturbance {
	struct device	*dev;
	u32		first;
	u32		nr;
	bool		stop;
	unsigned int	moves;
	unsigned int	masks;
};

static void *disturb(void *data)
{
	struct disturbance *d = data;
	bool slots = !(d->first & (PCI_IMS_SRC_QUEUE | PCI_IMS_SRC_MSIX));
	unsigned int virq[NR_SLOTS], i;
	u32 slot;

	for (i = 0; i < d->nr; i++)
		virq[i] = virq_of(d->dev, d->first + i);
	for (i = 0; !__atomic_load_n(&d->stop, __ATOMIC_RELAXED); i++) {
		set_affinity(virq[i % d->nr], i / d->nr % 2);
		d->moves++;
		if (slots) {
			slot = d->first + (i + d->nr / 2) % d->nr;
			write_slot_word(d->dev, slot, PCI_IMS_SLOT_CTRL, PCI_IMS_CTRL_MASK);
			usleep(200);
			write_slot_word(d->dev, slot, PCI_IMS_SLOT_CTRL, 0);
			d->masks++;
		}
		usleep(1000);
	}
	return NULL;
}

/* All that is sent arrives, for each slot or queue. @before: how many each of them has sent. */
static void check_disturbed(struct device *dev, u32 first, u32 nr, u32 before)
{
	struct disturbance d = { .dev = dev, .first = first, .nr = nr };
	u32 times = 0, step = 50 * NR_SLOTS / nr, i;
	struct ims_test_stats old[NR_SLOTS];
	pthread_t thread;
	double start;

	for (i = 0; i < nr; i++)
		old[i] = stats(dev, first + i);
	CHECK(!pthread_create(&thread, NULL, disturb, &d), "no thread");
	start = now();
	while (times * nr < NR_SENT || __atomic_load_n(&d.moves, __ATOMIC_RELAXED) < NR_MOVES) {
		trigger(dev, first, nr, step, PCI_IMS_GO_PACED);
		drain(dev, first, nr);
		times += step;
	}
	__atomic_store_n(&d.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	drain(dev, first, nr);
	for (i = 0; i < nr; i++) {
		struct ims_test_stats st = stats(dev, first + i);
		unsigned long long on_0 = st.received[0] - old[i].received[0];
		unsigned long long on_1 = st.received[1] - old[i].received[1];

		check_source(dev, first + i, before + times, ANY);
		CHECK(on_0 && on_1 && on_0 + on_1 == times,
		      "interrupt %u: %u sent, %llu received on CPU 0, %llu on CPU 1", i, times, on_0,
		      on_1);
	}
	note("%u interrupts sent and received in %.0f s, %u moves, %u masks", times * nr,
	     now() - start, d.moves, d.masks);
}

static void test_arrival(void)
{
	struct device *dev = open_passed();
	u32 i;

	for (i = 0; i < NR_SLOTS; i++)
		CHECK(use_slot(dev) == i, "not slot %u", i);
	check_interrupts(NR_SLOTS);
	check_disturbed(dev, 0, NR_SLOTS, 0);
	check_interrupts(NR_SLOTS);
	close_passed(dev);
}

/* Messages of the host in memory of the guest, where the device fetches them */
static void test_queues(void)
{
	struct device *dev = open_without_store();
	u32 first = use_store(dev, NR_QUEUES, IMS_TEST_QUEUES), i;
	unsigned int cpu;

	check_interrupts(NR_QUEUES);
	for (cpu = 0; cpu < 2; cpu++) {
		for (i = 0; i < NR_QUEUES; i++)
			pin(dev, first + i, (cpu + i) % 2);
		trigger(dev, first, NR_QUEUES, 200, PCI_IMS_GO_PACED);
		drain(dev, first, NR_QUEUES);
		for (i = 0; i < NR_QUEUES; i++)
			check_source(dev, first + i, 200 * (cpu + 1), cpu ? ANY : i % 2);
	}
	check_disturbed(dev, first, NR_QUEUES, 400);
	check_interrupts(NR_QUEUES);
	for (i = 0; i < NR_QUEUES; i++) {
		CHECK(messages_written(dev, first + i) == 1, "queue %u: %u messages", i,
		      messages_written(dev, first + i));
		release(dev, first + i);
	}
	close_passed(dev);
}

/*
 * MMIO exits so far, without those of the line. The host counts while we keep away from the
 * line: the answer has to be there when we look for the first time.
 */
static long other_exits(void)
{
	unsigned int pause;
	unsigned long uses;
	bool in_time;
	long exits;
	u32 byte;

	for (pause = 2; pause <= 32; pause *= 2) {
		tell_host("exits");
		uses = line_uses;
		usleep(pause * 1000000);
		in_time = get_byte(&byte);
		exits = get_answer("exits", byte);
		CHECK(exits >= 0, "the host has not counted: %s", strerror(-exits));
		if (in_time)
			return exits - uses;
	}
	fail("the host does not answer in time");
}

static void check_exits(long before, const char *what)
{
	long exits = other_exits() - before;

	note("%ld MMIO exits with %s", exits, what);
	CHECK(exits <= FEW_EXITS, "%ld exits with %s", exits, what);
}

/* disable_irq() masks at once, and not when the next interrupt arrives */
static void request_unlazy(struct device *dev, u32 source)
{
	struct ims_test_source arg = { .source = source, .flags = IMS_TEST_UNLAZY };
	int ret = call(dev, IMS_TEST_REQUEST, &arg);

	CHECK(!ret, "request_irq() of %#x: %s", source, strerror(-ret));
}

static void mask_often(struct device *dev, u32 source)
{
	u32 i;

	for (i = 0; i < 1000; i++) {
		CHECK(!call_source(dev, IMS_TEST_MASK, source), "cannot mask");
		CHECK(!call_source(dev, IMS_TEST_UNMASK, source), "cannot unmask");
	}
}

/* The store is mapped, or is memory: nobody notices accesses to it */
static void test_no_exits(void)
{
	struct device *dev = open_passed();
	struct slot msg;
	u32 source, i;
	long before;

	source = alloc_slot(dev);
	request_unlazy(dev, source);
	msg = slot(dev, source);
	before = other_exits();
	check_exits(before, "nothing");

	before = other_exits();
	mask_often(dev, source);
	for (i = 0; i < 1000; i++)
		write_slot(dev, source, &msg);
	check_exits(before, "1000 times mask, unmask and store write");
	one_interrupt(dev, source, ANY);
	close_passed(dev);

	/* Each request writes the message of a queue, each release takes it away */
	dev = open_without_store();
	source = use_store(dev, NR_QUEUES, IMS_TEST_QUEUES);
	before = other_exits();
	for (i = 0; i < 50; i++) {
		release(dev, source);
		request(dev, source);
	}
	trigger(dev, source, NR_QUEUES, 200, PCI_IMS_GO_PACED);
	drain(dev, source, NR_QUEUES);
	check_exits(before, "50 new messages of a queue and 800 interrupts");
	close_passed(dev);
}

/* The error of the host is that of request_irq(), nothing is left of it, a retry works */
static void check_short(struct device *dev, const char *what, int err)
{
	u32 source = alloc_slot(dev);
	long irqs = ask_host("interrupts");
	struct state before;
	int ret;

	get_state(dev, source, &before);
	ret = call_source(dev, IMS_TEST_REQUEST, source);
	note("%s: request_irq() = %d: %s", what, ret, strerror(-ret));
	CHECK(ret == -err, "%s: request_irq() returned %d: %s", what, ret, strerror(-ret));
	check_state(dev, source, &before, what);
	check_interrupts(irqs);
	ret = call_source(dev, IMS_TEST_REQUEST, source);
	CHECK(ret == -err, "%s: request_irq() returned %d: %s", what, ret, strerror(-ret));
	free_slot(dev, source);
}

static void check_lifted(struct device *dev)
{
	u32 source = use_slot(dev);

	one_interrupt(dev, source, 0);
	check_arrival(dev, source);
	release(dev, source);
	free_slot(dev, source);
}

/* At the cap of the host */
static void test_cap(void)
{
	struct device *dev = open_passed();
	u32 source;
	int ret;

	tell("limit 1");
	do {
		source = alloc_slot(dev);
		ret = call_source(dev, IMS_TEST_REQUEST, source);
	} while (!ret && source < MANY);
	CHECK(ret == -ENOSPC, "interrupt %u: %s", source, strerror(-ret));
	note("refused at interrupt %u", source);
	free_slot(dev, source);
	check_short(dev, "at the cap", ENOSPC);
	/* Those that were granted go on, and can be moved */
	check_arrival(dev, 0);
	CHECK(!move_to(dev, 0, irq_is_on(virq_of(dev, 0), 0)), "cannot move");
	check_arrival(dev, 0);
	tell("limit 2048");
	source = use_slot(dev);
	check_arrival(dev, source);
	close_passed(dev);
}

/* No CPU of the host has a vector left */
static void test_vectors(void)
{
	struct device *dev = open_passed();
	long nr = ask_host("take-vectors");
	u32 source;

	CHECK(nr > 100, "%ld vectors taken", nr);
	check_short(dev, "out of vectors", ENOSPC);
	tell("give-vectors");
	source = use_slot(dev);
	check_arrival(dev, source);
	close_passed(dev);
}

/* The remapping table of the host is full */
static void test_entries(void)
{
	struct device *dev = open_passed();
	u32 first = use_slot(dev), source;
	long nr, all = 0;

	do {
		nr = ask_host("take-entries %d", MSIX_ENTRIES);
		CHECK(nr > 0, "%ld entries taken: %s", all, strerror(-nr));
		all += nr;
	} while (nr == MSIX_ENTRIES);
	note("%ld entries of the host are taken", all);
	check_short(dev, "out of remapping entries", ENOSPC);
	/* Nobody else is affected, and a move takes no more */
	check_arrival(dev, first);
	CHECK(!move_to(dev, first, irq_is_on(virq_of(dev, first), 0)), "cannot move");
	check_arrival(dev, first);
	while (ask_host("give-entries"))
		;
	source = use_slot(dev);
	check_arrival(dev, source);
	close_passed(dev);
}

/* KVM has no route left */
static void test_routes(void)
{
	struct device *dev = open_passed();
	u32 first = use_slot(dev), source;

	tell("routes 1");
	check_short(dev, "out of routes", ENOSPC);
	/* Nobody else is affected, and a move takes no more */
	check_arrival(dev, first);
	CHECK(!move_to(dev, first, irq_is_on(virq_of(dev, first), 0)), "cannot move");
	check_arrival(dev, first);
	tell("routes 0");
	source = use_slot(dev);
	check_arrival(dev, source);
	close_passed(dev);
}

/* The VMM has no file descriptor for an eventfd: not an error that a call can return */
static void test_files(void)
{
	struct device *dev = open_passed();
	u32 source;

	tell("files 1");
	check_short(dev, "out of file descriptors", EIO);
	tell("files 0");
	source = use_slot(dev);
	check_arrival(dev, source);
	close_passed(dev);
}

/* Each step of the host on the way to an interrupt fails in turn */
static void test_injected(void)
{
	static const struct {
		const char	*name;
		unsigned int	points;
		int		err;
	} kinds[] = {
		{ "out of memory",		0x1, ENOMEM },
		{ "out of space",		0x2, ENOSPC },
		{ "remapping unit fails",	0x18, EIO },
	};
	struct device *dev = open_passed();
	unsigned int i, nth, failed;
	struct state before;
	u32 source;
	int ret;

	source = alloc_slot(dev);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		get_state(dev, source, &before);
		for (nth = 1, failed = 0; nth < 20; nth++) {
			CHECK(!ask_host("fail %u %u", nth, kinds[i].points), "cannot arm");
			ret = call_source(dev, IMS_TEST_REQUEST, source);
			CHECK(!ask_host("fail 0 0"), "cannot disarm");
			if (!ret)
				break;
			note("%s, %u: request_irq() = %d", kinds[i].name, nth, ret);
			CHECK(ret == -kinds[i].err, "%s, %u: %s", kinds[i].name, nth,
			      strerror(-ret));
			check_interrupts(0);
			check_state(dev, source, &before, kinds[i].name);
			failed++;
		}
		CHECK(!ret && failed, "%s: %u failures", kinds[i].name, failed);
		check_arrival(dev, source);
		release(dev, source);
		check_interrupts(0);
	}
	check_lifted(dev);
	close_passed(dev);
}

/* While there are messages of this host in the store */
static void test_migration(void)
{
	struct device *dev = open_passed();
	u32 source = alloc_slot(dev);
	long ret = ask_host("blocked");

	CHECK(!ret, "blocked without an interrupt: %ld", ret);
	request(dev, source);
	ret = ask_host("blocked");
	CHECK(ret == 1, "not blocked: %ld", ret);
	release(dev, source);
	ret = ask_host("blocked");
	CHECK(!ret, "still blocked: %ld", ret);
	close_passed(dev);
}

/* A reset of the device leaves its interrupts as they are, and the guest restores the store */
static void test_reset(void)
{
	struct device *dev = open_passed();
	u32 source = use_slot(dev), resets = reg_read(dev, PCI_IMS_RESETS);
	struct slot before = slot(dev, source), after;

	CHECK(!write_file("1", "/sys/bus/pci/devices/%s/reset", dev->bdf), "cannot reset");
	CHECK(reg_read(dev, PCI_IMS_RESETS) != resets, "there was no reset");
	after = slot(dev, source);
	CHECK(before.addr_lo == after.addr_lo && before.data == after.data,
	      "the message is not the one before");
	check_interrupts(1);
	check_arrival(dev, source);
	close_passed(dev);
}

/* The table of MSI-X is a store like the other: the host has no MSI-X of its own */
static void test_msix(void)
{
	struct device *dev = open_passed();
	unsigned int cpu;
	u32 i, source;
	long nr;

	use_msix(dev, NR_VECTORS);
	check_interrupts(NR_VECTORS);
	nr = ask_host("msix");
	CHECK(!nr, "the host has %ld interrupts for an emulated table", nr);
	source = use_slot(dev);
	for (i = 0; i < NR_VECTORS; i++) {
		for (cpu = 0; cpu < 2; cpu++) {
			pin(dev, MSIX(i), cpu);
			one_interrupt(dev, MSIX(i), cpu);
		}
	}
	check_arrival(dev, source);
	close_passed(dev);
}

/* What is lost without a word where the table is emulated */
static void test_msix_vectors(void)
{
	struct device *dev = open_passed();
	u32 nr = NR_VECTORS, i;
	long irqs;
	int ret;

	CHECK(!call(dev, IMS_TEST_MSIX, &nr), "cannot allocate MSI-X");
	check_interrupts(0);
	request(dev, MSIX(0));
	check_interrupts(1);
	CHECK(ask_host("take-vectors") > 100, "no vectors taken");
	irqs = ask_host("interrupts");
	for (i = 1; i < nr; i++) {
		ret = call_source(dev, IMS_TEST_REQUEST, MSIX(i));
		note("vector %u: request_irq() = %d: %s", i, ret, strerror(-ret));
		CHECK(ret == -ENOSPC, "out of vectors: %s", ret ? strerror(-ret) : "done");
	}
	check_interrupts(irqs);
	/* Nobody else is affected, and a move takes no more */
	CHECK(!move_to(dev, MSIX(0), irq_is_on(virq_of(dev, MSIX(0)), 0)), "cannot move");
	one_interrupt(dev, MSIX(0), ANY);
	tell("give-vectors");
	for (i = 1; i < nr; i++) {
		request(dev, MSIX(i));
		one_interrupt(dev, MSIX(i), ANY);
	}
	check_interrupts(nr);
	close_passed(dev);
}

/* 20,000 arrive, and nobody notices masks */
static void test_msix_arrival(void)
{
	struct device *dev = open_passed();
	u32 nr = NR_VECTORS, i;
	long before;

	CHECK(!call(dev, IMS_TEST_MSIX, &nr), "cannot allocate MSI-X");
	for (i = 0; i < nr; i++)
		request_unlazy(dev, MSIX(i));
	before = other_exits();
	mask_often(dev, MSIX(0));
	check_exits(before, "1000 times mask and unmask of MSI-X");
	check_disturbed(dev, MSIX(0), NR_VECTORS, 0);
	check_interrupts(NR_VECTORS);
	close_passed(dev);
}

/* The guest restores the table of MSI-X after a reset, the interrupts of the host stay */
static void test_msix_reset(void)
{
	struct device *dev = open_passed();
	u32 resets = reg_read(dev, PCI_IMS_RESETS), i;

	use_msix(dev, NR_VECTORS);
	CHECK(!write_file("1", "/sys/bus/pci/devices/%s/reset", dev->bdf), "cannot reset");
	CHECK(reg_read(dev, PCI_IMS_RESETS) != resets, "there was no reset");
	check_interrupts(NR_VECTORS);
	for (i = 0; i < NR_VECTORS; i++)
		one_interrupt(dev, MSIX(i), ANY);
	close_passed(dev);
}

/* The guest removes the device while it is in use, and finds it again */
static void test_remove(void)
{
	struct device *dev = open_passed();
	u32 i;

	for (i = 0; i < 4; i++)
		use_slot(dev);
	trigger(dev, 0, 4, 100, PCI_IMS_GO_RAW);
	CHECK(!write_file("1", "/sys/bus/pci/devices/%s/remove", dev->bdf), "cannot remove");
	check_interrupts(0);
	tell("compare");
	CHECK(!write_file("1", "/sys/bus/pci/rescan"), "cannot rescan");
	close(dev->fd);

	dev = open_passed();
	check_arrival(dev, use_slot(dev));
	close_passed(dev);
}

/* With all that was refused before: the host has lost no memory */
static void test_leaks(void)
{
	open_control();
	CHECK(!ask_host("lost"), "the host has lost memory, its console says which");
}

static const struct test passed_tests[] = {
	{ "backed",	test_backed },
	{ "cap",	test_cap },
	{ "vectors",	test_vectors },
	{ "entries",	test_entries },
	{ "routes",	test_routes },
	{ "files",	test_files },
	{ "injected",	test_injected },
	{ "no_exits",	test_no_exits },
	{ "migration",	test_migration },
	{ "reset",	test_reset },
	{ "msix",	test_msix },
	{ "msix_vectors",	test_msix_vectors },
	{ "msix_arrival",	test_msix_arrival },
	{ "msix_reset",	test_msix_reset },
	{ "arrival",	test_arrival },
	{ "queues",	test_queues },
	{ "remove",	test_remove },
	{ "leaks",	test_leaks },
};

/* On an AMD host */
static const struct test amd_tests[] = {
	{ "backed",	test_backed },
	{ "vectors",	test_vectors },
	{ "msix",	test_msix },
};

int run_passed_amd(const char *only)
{
	time_limit = 600;
	return run_tests(amd_tests, ARRAY_SIZE(amd_tests), only);
}

int run_passed(const char *only)
{
	time_limit = long_run ? 7200 : 600;
	return run_tests(passed_tests, ARRAY_SIZE(passed_tests), only);
}

/*
 * Behind a root port, from which the host takes it away
 */
#define PORT	"/sys/bus/pci/devices/%s/config"

/* The port that the device is behind, and where its PCI Express capability is */
static int open_port(const struct device *dev, unsigned int *cap)
{
	char path[128], link[256], *name, *end;
	u8 pos = 0, id = 0;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", dev->bdf);
	len = readlink(path, link, sizeof(link) - 1);
	CHECK(len > 0, "%s is not there", dev->bdf);
	link[len] = '\0';
	end = strrchr(link, '/');
	*end = '\0';
	name = strrchr(link, '/') + 1;
	snprintf(path, sizeof(path), PORT, name);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0, "%s is not behind a port: %s", dev->bdf, strerror(errno));

	pread(fd, &pos, 1, PCI_CAPABILITY_LIST);
	while (pos && pread(fd, &id, 1, pos) == 1 && id != PCI_CAP_ID_EXP)
		pread(fd, &pos, 1, pos + PCI_CAP_LIST_NEXT);
	CHECK(pos && id == PCI_CAP_ID_EXP, "%s has no PCI Express capability", name);
	*cap = pos;
	return fd;
}

static u16 port_read(int fd, unsigned int reg)
{
	u16 val = 0;

	CHECK(pread(fd, &val, sizeof(val), reg) == sizeof(val), "cannot read the port");
	return val;
}

static void port_write(int fd, unsigned int reg, u16 val)
{
	CHECK(pwrite(fd, &val, sizeof(val), reg) == sizeof(val), "cannot write the port");
}

/* Nobody else does, there is no driver for it */
static void slot_power(int fd, unsigned int cap, bool on)
{
	u16 ctl = port_read(fd, cap + PCI_EXP_SLTCTL) & ~(PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_PCC);

	ctl |= on ? PCI_EXP_SLTCTL_PWR_IND_ON | PCI_EXP_SLTCTL_PWR_ON :
		    PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PWR_OFF;
	port_write(fd, cap + PCI_EXP_SLTCTL, ctl);
}

static bool button_pressed(int fd, unsigned int cap)
{
	u16 status = port_read(fd, cap + PCI_EXP_SLTSTA);

	port_write(fd, cap + PCI_EXP_SLTSTA, status & PCI_EXP_SLTSTA_ABP);
	return status & PCI_EXP_SLTSTA_ABP;
}

static bool slot_used(int fd, unsigned int cap)
{
	return port_read(fd, cap + PCI_EXP_SLTSTA) & PCI_EXP_SLTSTA_PDS;
}

static void no_device(const struct device *dev)
{
	CHECK(!write_file("1", "/sys/bus/pci/devices/%s/remove", dev->bdf), "cannot remove");
}

/* Nothing of it is left on the host, which gives it back and it works as before */
static void check_taken(struct device *dev, int fd, unsigned int cap)
{
	CHECK(WAIT(HOST_PATIENCE, !slot_used(fd, cap)), "the device is still in its slot");
	tell("taken-away");
	check_interrupts(0);
	tell("compare");

	tell("hand-over");
	CHECK(WAIT(PATIENCE, slot_used(fd, cap)), "the device has not come back");
	button_pressed(fd, cap);
	slot_power(fd, cap, true);
	CHECK(!write_file("1", "/sys/bus/pci/rescan"), "cannot rescan");
	close(fd);

	dev = open_passed();
	check_arrival(dev, use_slot(dev));
	use_msix(dev, 1);
	one_interrupt(dev, MSIX(0), ANY);
	close_passed(dev);
}

/* The host wants the device back, and the guest lets it go with interrupts in use */
static void test_unplug(void)
{
	struct device *dev = open_passed();
	unsigned int cap, i;
	int fd = open_port(dev, &cap);

	for (i = 0; i < 4; i++)
		use_slot(dev);
	use_msix(dev, NR_VECTORS);
	button_pressed(fd, cap);
	tell("take-away remove");
	CHECK(WAIT(HOST_PATIENCE, button_pressed(fd, cap)), "nobody asks for the device");
	CHECK(ask_host("still-taken") == 1, "the host has not waited");
	/* As long as the guest has it it goes on */
	check_interrupts(4 + NR_VECTORS);
	for (i = 0; i < 4; i++)
		check_arrival(dev, i);
	for (i = 0; i < NR_VECTORS; i++)
		one_interrupt(dev, MSIX(i), ANY);
	trigger(dev, 0, 4, 100, PCI_IMS_GO_RAW);
	no_device(dev);
	close(dev->fd);
	slot_power(fd, cap, false);
	check_taken(dev, fd, cap);
}

/* The guest's driver learns of it when the device is gone */
static void test_surprise(void)
{
	struct device *dev = open_passed();
	unsigned int cap, i;
	int fd = open_port(dev, &cap);

	for (i = 0; i < 4; i++)
		use_slot(dev);
	use_msix(dev, NR_VECTORS);
	button_pressed(fd, cap);
	tell("take-away unbind");
	CHECK(WAIT(HOST_PATIENCE, button_pressed(fd, cap)), "nobody asks for the device");
	trigger(dev, 0, 4, 1000, PCI_IMS_GO_RAW);
	slot_power(fd, cap, false);
	CHECK(WAIT(HOST_PATIENCE, !slot_used(fd, cap)), "the device is still in its slot");
	no_device(dev);
	close(dev->fd);
	check_taken(dev, fd, cap);
}

static const struct test port_tests[] = {
	{ "backed",	test_backed },
	{ "vectors",	test_vectors },
	{ "unplug",	test_unplug },
	{ "surprise",	test_surprise },
};

int run_passed_port(const char *only)
{
	/* Of the suite's 1200 s, so that each of them can tell what is wrong */
	time_limit = 300;
	return run_tests(port_tests, ARRAY_SIZE(port_tests), only);
}

/*
 * The guest starts again with interrupts in use, that nobody gives back
 */
static void leave_in_use(void)
{
	struct device *dev = open_passed();
	u32 i;

	for (i = 0; i < 4; i++)
		use_slot(dev);
	use_msix(dev, NR_VECTORS);
	check_interrupts(4 + NR_VECTORS);
	trigger(dev, 0, 4, 1000, PCI_IMS_GO_RAW);
	fflush(stdout);
	reboot(LINUX_REBOOT_CMD_RESTART);
}

static void test_reboot(void)
{
	struct device *dev = open_passed();

	check_arrival(dev, use_slot(dev));
	use_msix(dev, 1);
	one_interrupt(dev, MSIX(0), ANY);
	close_passed(dev);
}

static const struct test life_tests[] = {
	{ "reboot",	test_reboot },
};

int run_passed_life(const char *only)
{
	open_control();
	if (!seen(IRTE_CONTROL_SCRATCH)) {
		knob(IRTE_CONTROL_SCRATCH, 1);
		leave_in_use();
	}
	time_limit = 600;
	return run_tests(life_tests, 1, only);
}

/*
 * What the host ends
 */
static void storm(void)
{
	struct disturbance d = { .dev = open_device(0), .nr = NR_SLOTS };
	pthread_t thread;
	u32 i;

	open_control();
	create_domain(d.dev, d.dev->nslots);
	for (i = 0; i < NR_SLOTS; i++)
		use_slot(d.dev);
	use_msix(d.dev, NR_VECTORS);
	CHECK(!pthread_create(&thread, NULL, disturb, &d), "no thread");
	for (i = 0; ; i++) {
		trigger(d.dev, 0, NR_SLOTS, 10, PCI_IMS_GO_RAW);
		if (i == 10)
			tell_host("storm");
		usleep(10000);
	}
}

int run_storm(void)
{
	storm();
	return EXIT_FAILURE;
}

/*
 * A demonstration
 */
static int show_request(struct device *dev, u32 source)
{
	int ret = call_source(dev, IMS_TEST_REQUEST, source);

	printf("  request_irq(%u, ...) = %d%s%s\n", virq_of(dev, source), ret, ret ? ": " : "",
	       ret ? strerror(-ret) : "");
	return ret;
}

static void show_interrupts(struct device *dev, u32 source)
{
	struct ims_test_stats before = stats(dev, source), after;
	u32 sent = counters(dev, source).sent;

	trigger(dev, source, 1, 100, PCI_IMS_GO_PACED);
	drain(dev, source, 1);
	after = stats(dev, source);
	printf("  sent %u, received %llu on CPU 0 and %llu on CPU 1\n",
	       counters(dev, source).sent - sent,
	       (unsigned long long)(after.received[0] - before.received[0]),
	       (unsigned long long)(after.received[1] - before.received[1]));
}

static void demo(void)
{
	struct device *dev = open_passed();
	u32 source = alloc_slot(dev);
	struct slot msg;

	printf("Slot %u of %s is allocated: the host has %ld interrupts for it\n", source,
	       dev->bdf, ask_host("interrupts"));
	printf("All CPU vectors of the host are taken: %ld\n", ask_host("take-vectors"));
	CHECK(show_request(dev, source) == -ENOSPC, "not the error of the host");
	ask_host("give-vectors");
	printf("They are given back:\n");
	CHECK(!show_request(dev, source), "the host still refuses");
	msg = slot(dev, source);
	printf("  the host has %ld interrupt for it; its message is in the slot: %08x %x\n",
	       ask_host("interrupts"), msg.addr_lo, msg.data);
	pin(dev, source, 0);
	show_interrupts(dev, source);
	pin(dev, source, 1);
	show_interrupts(dev, source);
	release(dev, source);
	printf("After free_irq() the host has %ld\n", ask_host("interrupts"));
	free_slot(dev, source);
	close_passed(dev);
}

static const struct test demo_tests[] = {
	{ "demo",	demo },
};

int run_passed_demo(void)
{
	time_limit = 600;
	return run_tests(demo_tests, 1, NULL);
}
