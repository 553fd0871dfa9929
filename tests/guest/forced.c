// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: failures that nothing in the bench causes
 *
 * A parent domain without a vector, one that cannot compose a message and one that cannot be
 * started up: the driver fail_call has a function of the kernel fail. A unit that does not
 * answer: the device irte-control has it do so. What a driver or KVM does with an interrupt
 * at a bad moment. Interrupts of the unit itself and of the HPET, and a third CPU that brings
 * the second one online at a bad moment, with machines of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../driver/fail_call.h"
#include "../driver/meet_cpu.h"
#include "../qemu/irte-control-regs.h"
#include "imstest.h"

#define VECTORS		2u

static int open_fail_call(void)
{
	int fd = open("/dev/fail_call", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0, "cannot open /dev/fail_call: %s", strerror(errno));
	return fd;
}

/* The next call of that function by this task returns @ret */
static void fail_call(int fd, const char *name, long ret)
{
	struct fail_call call = { .ret = ret };

	strncpy(call.name, name, sizeof(call.name) - 1);
	CHECK(!ioctl(fd, FAIL_CALL_NEXT, &call), "%s() cannot fail: %s", name, strerror(errno));
}

static void check_called(int fd, const char *name)
{
	CHECK(ioctl(fd, FAIL_CALL_NONE) == 1, "%s() was not called", name);
}

/* Without one the entry is not set up: it is given back, too */
void test_no_vector_data(void)
{
	struct device *dev = open_device(0);
	struct resources before;
	u32 nr = VECTORS, none = 0;
	int fd = open_fail_call(), ret;

	CHECK(!call(dev, IMS_TEST_MSIX, &nr) && !call(dev, IMS_TEST_MSIX, &none), "MSI-X does not work");
	before = resources();
	fail_call(fd, "irqd_cfg", 0);
	ret = call(dev, IMS_TEST_MSIX, &nr);
	check_called(fd, "irqd_cfg");
	CHECK(ret == -EINVAL, "allocating an interrupt without a vector: %s, wanted EINVAL",
	      strerror(-ret));
	check_resources(&before);
	use_msix(dev, VECTORS);
	one_interrupt(dev, MSIX(0), ANY);
	check_device(dev);
}

static void set_startup_parent(int fd, unsigned int virq, bool on)
{
	struct fail_call_flags flags = { .virq = virq, .startup_parent = on };

	CHECK(!ioctl(fd, FAIL_CALL_FLAGS, &flags), "interrupt %u has no MSI domain: %s", virq,
	      strerror(errno));
}

/* The request fails, and the device cannot send what nobody has set up */
void test_parent_startup_fails(void)
{
	struct device *dev = open_device(0);
	struct state before;
	int fd = open_fail_call(), ret;
	unsigned int virq;

	map_msix(dev);
	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	release(dev, MSIX(0));
	get_state(dev, MSIX(0), &before);
	CHECK(before.msg.ctrl & 1, "the entry is not masked, and nobody has requested it");

	set_startup_parent(fd, virq, true);
	fail_call(fd, "irq_chip_startup_parent", -EIO);
	ret = call_source(dev, IMS_TEST_REQUEST, MSIX(0));
	set_startup_parent(fd, virq, false);
	check_called(fd, "irq_chip_startup_parent");
	CHECK(ret == -EIO, "a request whose parent cannot be started up: %s, wanted EIO",
	      strerror(-ret));
	CHECK(message(dev, MSIX(0)).ctrl & 1, "the request has failed, and the entry is not masked");
	check_state(dev, MSIX(0), &before, "request");

	request(dev, MSIX(0));
	one_interrupt(dev, MSIX(0), ANY);
	check_device(dev);
}

/* A pin of the I/O APIC has its message from the parent */
void test_pin_without_message(void)
{
	struct resources before;
	int fd = open_fail_call(), calls = open_calls(), ret;
	unsigned int cpu;

	CHECK(!request_pin(calls, FREE_IRQ), "the pin cannot be requested");
	release_pin(calls, FREE_IRQ);
	before = resources();
	fail_call(fd, "irq_chip_compose_msi_msg", -ENOSYS);
	ret = request_pin(calls, FREE_IRQ);
	check_called(fd, "irq_chip_compose_msi_msg");
	CHECK(ret == -ENOSYS, "a request without a message: %s, wanted ENOSYS", strerror(-ret));
	check_resources(&before);

	CHECK(!request_pin(calls, FREE_IRQ), "the pin cannot be requested once more");
	cpu = irq_is_on(FREE_IRQ, 0);
	fail_call(fd, "irq_chip_can_compose_msi_msg", 0);
	ret = try_affinity(FREE_IRQ, cpu);
	check_called(fd, "irq_chip_can_compose_msi_msg");
	CHECK(ret == -ENOSYS, "a move without a message: %s, wanted ENOSYS", strerror(-ret));
	CHECK(irq_is_on(FREE_IRQ, !cpu), "the move has failed, and interrupt %u was moved", FREE_IRQ);
	set_affinity(FREE_IRQ, cpu);
	CHECK(WAIT(PATIENCE, irq_is_on(FREE_IRQ, cpu)), "interrupt %u is not moved", FREE_IRQ);
	CHECK(WAIT(PATIENCE, move_done(FREE_IRQ)), "the move does not end");
	release_pin(calls, FREE_IRQ);
	check_resources(&before);
}

/*
 * A managed interrupt that its driver moves on while the vector of the last move is not given
 * back yet: the move waits, and no vector is lost. The mask that it had last is what it can be
 * moved to, so it is widened first.
 */
#define MANAGED_MOVES	50

static void move_managed(const struct device *dev, u32 source, int cpu)
{
	struct ims_test_move arg = { .source = source, .cpu = cpu };
	int ret = call(dev, IMS_TEST_MOVE, &arg);

	CHECK(!ret, "moving a managed interrupt to CPU %d: %s", cpu, strerror(-ret));
}

void test_managed_moves(void)
{
	struct device *dev = open_device(0);
	unsigned int virq, cpu, i, waited = 0;
	struct resources before;
	u32 source;

	create_domain(dev, dev->nslots);
	free_slot(dev, alloc_managed(dev));
	before = resources();
	source = alloc_managed(dev);
	virq = virq_of(dev, source);
	request(dev, source);
	cpu = irq_is_on(virq, 0);

	/* Twice in a row: there and back */
	for (i = 0; i < 2 * MANAGED_MOVES; i++, cpu = !cpu) {
		if (!(i % 2)) {
			CHECK(WAIT(PATIENCE, irq_is_on(virq, !cpu)), "interrupt %u is not moved", virq);
			end_move(dev, source);
		}
		move_managed(dev, source, IMS_TEST_ALL_CPUS);
		move_managed(dev, source, cpu);
		waited += !irq_is_on(virq, cpu);
	}
	CHECK(waited, "no move had to wait for the one before");
	note("%u of %u moves had to wait", waited, i);
	CHECK(WAIT(PATIENCE, irq_is_on(virq, !cpu)), "interrupt %u is not moved", virq);
	one_interrupt(dev, source, !cpu);

	release(dev, source);
	free_slot(dev, source);
	check_resources(&before);
	check_device(dev);
}

/*
 * The unit does not answer
 */

#define TRIES	5	/* QI_IEC_TRIES */

/*
 * VT-d tells whoever waits of a time-out, and that may be another one's: of a device that is
 * gone, which did not answer the invalidation of its TLB
 */
void test_time_out(void)
{
	struct device *dev = open_device(0);
	struct state before;
	unsigned int virq;
	int log, ret;

	open_control();
	map_msix(dev);
	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	pin(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));

	log = open_log();
	/* Whoever waits for that device is not told, and asks again in between */
	knob(IRTE_CONTROL_UNANSWERED, TRIES - 1);
	ret = try_affinity(virq, 1);
	CHECK(!seen(IRTE_CONTROL_UNANSWERED), "the unit was not asked often enough");
	CHECK(!ret, "a move while another device does not answer: %s", strerror(-ret));
	/* The unit looks for that device, with the interrupt's lock held */
	CHECK(!count_log(log, "Invalid wait context", ""), "the kernel sleeps with a raw lock held");
	close(log);
	CHECK(irq_is_on(virq, 1), "interrupt %u is not moved", virq);
	one_interrupt(dev, MSIX(0), 1);

	/* This one is its own */
	end_move(dev, MSIX(0));
	get_state(dev, MSIX(0), &before);
	knob(IRTE_CONTROL_UNANSWERED, TRIES);
	ret = try_affinity(virq, 0);
	CHECK(!seen(IRTE_CONTROL_UNANSWERED), "the unit was not asked %u times", TRIES);
	CHECK(ret == -ETIMEDOUT, "a move that the unit does not answer: %s, wanted ETIMEDOUT",
	      strerror(-ret));
	check_state(dev, MSIX(0), &before, "move");
	pin(dev, MSIX(0), 0);
	one_interrupt(dev, MSIX(0), 0);
	check_sane(dev);
}

/*
 * For AMD it is the caller who gives up, after a tenth of a second. A CPU that goes does so
 * once, and not for each of its interrupts, while all other CPUs wait for it.
 */
#define UNANSWERED	30
#define MANY_MOVES	40

/* Each move waits for the unit, and not each of them is a message */
static void unanswered_moves(unsigned int virq)
{
	unsigned int i, lines, limit, failed = 0;
	double start = now();
	int log = open_log();

	knob(IRTE_CONTROL_UNANSWERED, 2 * MANY_MOVES);
	for (i = 0; i < MANY_MOVES; i++)
		failed += try_affinity(virq, 0) == -EIO;
	knob(IRTE_CONTROL_UNANSWERED, 0);
	CHECK(failed == i, "%u of %u moves that the unit does not answer have failed", failed, i);
	limit = LOG_BURST * (2 + (now() - start) / LOG_INTERVAL);
	lines = count_log(log, "Completion-Wait loop timed out", "");
	note("%u moves that the unit does not answer: %u messages in %.1f s", i, lines, now() - start);
	CHECK(lines && lines <= limit, "%u messages about %u waits, wanted %u at most", lines, i, limit);
	close(log);
}

static void move_all_to_1(const struct device *dev)
{
	unsigned int i;

	for (i = 0; i < UNANSWERED; i++) {
		pin(dev, MSIX(i), 1);
		end_move(dev, MSIX(i));
	}
}

/* Return: how many seconds that takes */
static double leave_1(u32 unanswered)
{
	double start = now();
	int ret;

	knob(IRTE_CONTROL_UNANSWERED, unanswered);
	ret = write_file("0", "/sys/devices/system/cpu/cpu1/online");
	knob(IRTE_CONTROL_UNANSWERED, 0);
	CHECK(!ret, "CPU 1 does not go: %s", strerror(-ret));
	return now() - start;
}

/* Return: how many seconds CPU 1 takes to go while the unit answers */
static double use_on_1(struct device *dev)
{
	double base;

	open_control();
	map_msix(dev);
	use_msix(dev, UNANSWERED);
	move_all_to_1(dev);
	base = leave_1(0);
	set_online(1, true);
	move_all_to_1(dev);
	return base;
}

/*
 * At least once: what may have gone to a vector that was given back since is sent again, and
 * that can be now
 */
static void check_on_0(const struct device *dev, u32 source)
{
	u64 before = stats(dev, source).received[0];

	trigger(dev, source, 1, 1, PCI_IMS_GO_RAW);
	CHECK(WAIT(PATIENCE, stats(dev, source).received[0] > before),
	      "source %#x: no interrupt on CPU 0", source);
	drain(dev, source, 1);
}

/* The first move makes the unit forget what it was not told before */
static void all_arrive_on_0(const struct device *dev)
{
	unsigned int virq, i;

	for (i = 0; i < UNANSWERED; i++) {
		virq = virq_of(dev, MSIX(i));
		CHECK(WAIT(PATIENCE, !try_affinity(virq, 0) && irq_is_on(virq, 0)),
		      "interrupt %u is not moved", virq);
		check_on_0(dev, MSIX(i));
		end_move(dev, MSIX(i));
	}
}

/* @base and @wait: what it takes while the unit answers, and one wait if it does not */
static void check_unplug(double took, double base, double wait)
{
	note("unplug with %u interrupts: %.2f s, %.2f s if the unit answers, and each wait %.2f s",
	     UNANSWERED, took, base, wait);
	CHECK(took - base < UNANSWERED * wait / 2,
	      "unplug took %.2f s instead of %.2f s, and a wait for the unit %.2f s: it waits for each interrupt",
	      took, base, wait);
}

void test_unanswered(void)
{
	struct device *dev = open_device(1);
	double start, wait, base;
	struct state before;
	unsigned int virq;
	int log, ret;

	base = use_on_1(dev);
	virq = virq_of(dev, MSIX(0));
	get_state(dev, MSIX(0), &before);
	knob(IRTE_CONTROL_UNANSWERED, 1);
	start = now();
	ret = try_affinity(virq, 0);
	wait = now() - start;
	CHECK(!seen(IRTE_CONTROL_UNANSWERED), "the unit was not asked");
	CHECK(ret == -EIO, "a move that the unit does not answer: %s, wanted EIO", strerror(-ret));
	check_state(dev, MSIX(0), &before, "move");

	/* It answers when a move is undone, so it is asked right after that, too */
	log = open_log();
	knob(IRTE_CONTROL_UNANSWERED, 1);
	ret = try_affinity(virq, 0);
	leave_1(0);
	CHECK(ret == -EIO, "one more move that the unit does not answer: %s, wanted EIO", strerror(-ret));
	CHECK(!count_log(log, "has no online target", ""), "interrupts are left on CPU 1");
	close(log);
	set_online(1, true);
	move_all_to_1(dev);

	unanswered_moves(virq);
	check_unplug(leave_1(4 * UNANSWERED), base, wait);
	set_online(1, true);
	all_arrive_on_0(dev);
	check_sane(dev);
}

/* The unit does not even fetch commands, and there is no more room for them */
#define MAX_COMMANDS	512

void test_stalled(void)
{
	struct device *dev = open_device(1);
	double start, wait, base, took;
	unsigned int virq, i;
	int log, ret;

	base = use_on_1(dev);
	virq = virq_of(dev, MSIX(0));

	log = open_log();
	knob(IRTE_CONTROL_STALLED, 1);
	for (i = 0; !count_log(log, "Command buffer timeout", ""); i++) {
		CHECK(i < MAX_COMMANDS, "there is always room for a command");
		ret = try_affinity(virq, 0);
		CHECK(ret == -EIO, "a move while the unit does not run: %s, wanted EIO", strerror(-ret));
	}
	note("no room for commands after %u moves", i);
	start = now();
	ret = try_affinity(virq, 0);
	wait = now() - start;
	CHECK(ret == -EIO, "a move without room for a command: %s, wanted EIO", strerror(-ret));
	close(log);
	/* By now it is forgotten that there was no answer while there was room */
	sleep(1);

	took = leave_1(0);
	knob(IRTE_CONTROL_STALLED, 0);
	check_unplug(took, base, wait);
	set_online(1, true);
	all_arrive_on_0(dev);
	check_sane(dev);
}

/*
 * KVM takes an interrupt from its vCPU and gives it back without the lock of the interrupt's
 * descriptor, and so while somebody else moves it
 */
#define GUEST_ROUNDS	300

struct mover {
	volatile unsigned int	go;
	volatile unsigned int	done;
};

static void set_guest_mode(const struct device *dev, u32 source, bool on)
{
	struct ims_test_guest_mode arg = { .source = source, .on = on };
	int ret = call(dev, IMS_TEST_GUEST_MODE, &arg);

	CHECK(!ret, "guest mode of source %#x: %s", source, strerror(-ret));
}

/* Each time that it is told to, a process on the other CPU moves the interrupt */
static pid_t start_mover(struct mover *mover, unsigned int virq)
{
	pid_t pid = fork_helper();

	if (pid)
		return pid;
	run_on(1);
	for (;;) {
		while (mover->go == mover->done)
			;
		try_affinity(virq, mover->go % 2);
		mover->done = mover->go;
	}
}

void test_guest_mode(void)
{
	struct mover *mover = mmap(NULL, sizeof(*mover), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct device *dev = open_device(0);
	unsigned int virq, i;
	struct slot msg;
	struct irte irte;
	volatile int spin;
	pid_t pid;

	CHECK(mover != MAP_FAILED, "no memory");
	map_msix(dev);
	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	msg = message(dev, MSIX(0));
	CHECK(!post(dev, MSIX(0), 0, 0x51), "cannot post");
	set_guest_mode(dev, MSIX(0), false);
	pid = start_mover(mover, virq);
	run_on(0);
	for (i = 1; i <= GUEST_ROUNDS; i++) {
		set_guest_mode(dev, MSIX(0), true);
		mover->go = i;
		/* At one time or the other of the move */
		for (spin = 0; spin < (int)(i % 100) * 50; spin++)
			;
		set_guest_mode(dev, MSIX(0), false);
		CHECK(WAIT(PATIENCE, mover->done == i), "round %u: the move does not end", i);
		CHECK(find_irte(dev, irte_index(&msg), &irte), "round %u: no entry", i);
		CHECK(!irte.pda, "round %u: posted to a vCPU that has given the interrupt back", i);
		CHECK(WAIT(PATIENCE, irq_is_on(virq, i % 2)), "round %u: not moved", i);
		one_interrupt(dev, MSIX(0), i % 2);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(!post(dev, MSIX(0), 0, 0), "back to the host");
	one_interrupt(dev, MSIX(0), ANY);
	check_device(dev);
}

/*
 * The kernel was told to have an operation of the boot fail: the allocation of the last of the
 * unit's own interrupts. Those which have been allocated by then stay, and devices have theirs.
 */
static void test_unit_interrupts(void)
{
	struct device *dev = open_device(0);

	CHECK(find_interrupt("AMD-Vi0-Evt"), "the unit has no interrupt for events: fail_irq= hits something else");
	CHECK(!find_interrupt("AMD-Vi0-GA"), "the unit has all of its interrupts: fail_irq= hits something else");
	use_msix(dev, VECTORS);
	one_interrupt(dev, MSIX(0), ANY);
	check_device(dev);
}

static const struct test boot_tests[] = {
	{ "unit_interrupts",	test_unit_interrupts },
};

int run_boot(const char *only)
{
	return run_tests(boot_tests, ARRAY_SIZE(boot_tests), only);
}

/* Since the start of the kernel */
static unsigned int count_in_log(const char *text)
{
	int log = open_log();
	unsigned int count;

	CHECK(!lseek(log, 0, SEEK_SET), "the start of the kernel's log: %s", strerror(errno));
	count = count_log(log, text, "");
	close(log);
	return count;
}

/*
 * The 31st is the activation of the timer's interrupt. Nobody can be given the error, and the
 * boot goes on without that timer, so the kernel has to tell of it.
 */
static void test_timer(void)
{
	CHECK(count_in_log("irq_domain_activate_irq+") && count_in_log("setup_IO_APIC+"),
	      "fail_irq= hits something else");
	CHECK(count_in_log("TIMER: Failed to activate IRQ0: -28") == 1,
	      "the kernel does not tell of the timer");
}

static const struct test timer_tests[] = {
	{ "not_activated",	test_timer },
};

int run_timer(const char *only)
{
	return run_tests(timer_tests, ARRAY_SIZE(timer_tests), only);
}

/*
 * A CPU that comes can have a channel of the HPET for its tick, if that has an interrupt
 */
static bool ticks_by_hpet(unsigned int cpu)
{
	char *name = read_file("/sys/devices/system/clockevents/clockevent%u/current_device", cpu);
	bool is = name && !strncmp(name, "hpet", strlen("hpet"));

	free(name);
	return is;
}

static void test_hpet(void)
{
	struct resources before;
	int log;

	quiet();
	CHECK(ticks_by_hpet(1), "CPU 1 does not tick by a channel of the HPET");
	before = resources();
	set_online(1, false);
	log = open_log();
	fail_next(FAIL_ACTIVATE, 1);
	set_online(1, true);
	fail_none();
	CHECK(!ticks_by_hpet(1), "CPU 1 ticks by a channel that has no interrupt");
	CHECK(count_log(log, "No interrupt for channel", "CPU1"), "the kernel does not tell of it");
	close(log);

	/* With its local timer */
	run_on(1);
	usleep(SILENCE * 1000000);
	run_on(0);
	set_online(1, false);
	set_online(1, true);
	CHECK(ticks_by_hpet(1), "CPU 1 does not tick by a channel of the HPET any more");
	check_resources(&before);
}

static const struct test hpet_tests[] = {
	{ "no_interrupt",	test_hpet },
};

int run_hpet(const char *only)
{
	return run_tests(hpet_tests, ARRAY_SIZE(hpet_tests), only);
}

/*
 * CPU 1 is offline, and the interrupt was left on it. It is being moved to CPU 0 when CPU 1
 * comes online, and then its entry cannot be written: the move is undone. The interrupt stays
 * on a CPU that is online by now, so its vector has to be good there.
 */
static void test_undo_meets_cpu(void)
{
	struct meet_cpu meet = { .name = "vector_undo_move", .cpu = 1 };
	int fd = open("/dev/meet_cpu", O_RDWR | O_CLOEXEC), ret, status;
	struct device *dev = open_device(0);
	struct resources before;
	unsigned int virq;
	pid_t pid;
	u64 got;

	CHECK(fd >= 0, "cannot open /dev/meet_cpu: %s", strerror(errno));
	quiet();
	use_msix(dev, VECTORS);
	virq = virq_of(dev, MSIX(0));
	place(dev, MSIX(1), 0);
	place(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));
	before = resources();

	leave(dev, virq, FAIL_IRTE_WRITE);
	got = send_to_offline(dev);

	CHECK(!ioctl(fd, MEET_CPU_ARM, &meet), "nobody can meet %s(): %s", meet.name, strerror(errno));
	pid = fork_helper();
	if (!pid) {
		run_on(2);
		set_online(1, true);
		_exit(0);
	}
	run_on(0);
	CHECK(WAIT(PATIENCE, ioctl(fd, MEET_CPU_WAITS) == 1), "CPU 1 does not come");
	ret = try_affinity(virq, 0);
	CHECK(ioctl(fd, MEET_CPU_END) == 1, "CPU 1 did not come online while %s() was called", meet.name);
	CHECK(ret == -EIO, "a move whose entry cannot be written: %s, wanted EIO", strerror(-ret));
	CHECK(waitpid(pid, &status, 0) == pid && !status, "CPU 1 cannot be brought online");
	CHECK(irq_is_on(virq, 1), "the move has failed, and interrupt %u was moved", virq);
	CHECK(WAIT(PATIENCE, received(dev, MSIX(0)) > got), "sent while CPU 1 was offline, and lost");
	drain(dev, MSIX(0), 1);
	one_interrupt(dev, MSIX(0), 1);

	fail_none();
	place(dev, MSIX(0), 0);
	one_interrupt(dev, MSIX(0), 0);
	end_move(dev, MSIX(0));
	check_resources(&before);
	check_sane(dev);
}

static const struct test online_tests[] = {
	{ "undo_meets_cpu",	test_undo_meets_cpu },
};

int run_online(const char *only)
{
	return run_tests(online_tests, ARRAY_SIZE(online_tests), only);
}
