// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: a guest, a hypervisor or a host without updates of entries by a call
 *
 * Whichever of them does not know the call: interrupts work as ever, and IMS is not
 * offered. A kernel without the series has no driver for our device, so there the disk
 * and the serial port have to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>

#include "../qemu/irte-control-regs.h"
#include "imstest.h"

/* That of the serial port for the results */
#define SERIAL_IRQ	3

/* The columns of its line in /proc/interrupts are CPUs */
static unsigned long arrived_on(unsigned int virq, unsigned int cpu)
{
	char *line = interrupts_line(virq), *at = line ? strchr(line, ':') : NULL;
	unsigned long arrived;

	CHECK(at, "interrupt %u is not in /proc/interrupts", virq);
	at++;
	do {
		arrived = strtoul(at, &at, 10);
	} while (cpu--);
	free(line);
	return arrived;
}

static void check_moves(unsigned int virq, void (*cause)(unsigned int move))
{
	unsigned int i, cpu, tries;
	unsigned long on, off;
	bool came;
	int ret;

	for (i = 0; i < 6; i++) {
		cpu = i & 1;
		CHECK(WAIT(PATIENCE, move_done(virq)), "move %u does not end", i);
		ret = try_affinity(virq, cpu);
		CHECK(!ret, "move %u: %s", i, strerror(-ret));
		CHECK(irq_is_on(virq, cpu), "interrupt %u did not move to CPU %u", virq, cpu);
		on = arrived_on(virq, cpu);
		for (tries = 0, came = false; tries < 10 && !came; tries++) {
			cause(i);
			came = WAIT(PATIENCE / 10, arrived_on(virq, cpu) > on);
		}
		CHECK(came, "interrupt %u does not arrive on CPU %u", virq, cpu);

		/* One that was under way may wait for the CPU, which need not have run since */
		run_on(!cpu);
		off = arrived_on(virq, !cpu);
		on = arrived_on(virq, cpu);
		for (tries = 0; tries < 3; tries++)
			cause(i);
		CHECK(WAIT(PATIENCE, arrived_on(virq, cpu) > on),
		      "interrupt %u does not arrive on CPU %u any more", virq, cpu);
		CHECK(arrived_on(virq, !cpu) == off, "interrupt %u arrives on CPU %u, too", virq,
		      !cpu);
	}
	note("interrupt %u has moved %u times, %lu and %lu arrived", virq, i, arrived_on(virq, 0),
	     arrived_on(virq, 1));
}

static void write_line(unsigned int move)
{
	printf("# move %u\n", move);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
}

void check_serial(void)
{
	check_moves(SERIAL_IRQ, write_line);
}

static volatile u32 *reads;

static void wait_for_read(unsigned int move)
{
	u32 last = *reads;

	CHECK(WAIT(PATIENCE, *reads != last), "nothing is read after move %u", move);
}

void check_disk(void)
{
	unsigned int virq = find_interrupt("virtio0-virtqueues");
	pid_t pid;

	CHECK(virq, "there is no virtio disk");
	reads = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = read_disk(reads);
	check_moves(virq, wait_for_read);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void check_calls(void)
{
	open_control();
	CHECK(!seen(IRTE_CONTROL_CALLS) && !seen(IRTE_CONTROL_GRANTED) &&
	      !seen(IRTE_CONTROL_ANNOUNCED), "%u calls, %u entries announced, the unit is %sgranted",
	      seen(IRTE_CONTROL_CALLS), seen(IRTE_CONTROL_ANNOUNCED),
	      seen(IRTE_CONTROL_GRANTED) ? "" : "not ");
}

static void test_refused(void)
{
	struct device *dev = open_device(0);
	int ret = try_domain(dev, 8, IMS_TEST_GOOD);

	CHECK(caching_mode(), "the unit is not in caching mode");
	CHECK(ret == -EOPNOTSUPP, "creating the domain: %s", ret ? strerror(-ret) : "done");
	check_device(dev);
}

static const struct test without_tests[] = {
	{ "calls",	check_calls },
	{ "disk",	check_disk },
	{ "serial",	check_serial },
	{ "beside",	test_beside },
	/* With the series */
	{ "msix",	test_msix_alone },
	{ "refused",	test_refused },
};

int run_without(const char *only)
{
	unsigned int nr = exists("/sys/bus/pci/drivers/ims_test") ? ARRAY_SIZE(without_tests) : 4;

	return run_tests(without_tests, nr, only);
}
