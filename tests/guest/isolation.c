// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: messages that interrupt remapping has to block
 *
 * One fault per test: the remapping unit reports a further one of the same
 * device only after the kernel has dealt with the first.
 */
#include <stdio.h>

#include "imstest.h"

/* A slot that no driver uses */
#define FOREIGN		5

/* Reasons of faults */
#define COMPATIBILITY	0x25
#define SOURCE_ID	0x26

/* The bench is able to tell: the interrupt works when it is the right device's */
static struct device *start(unsigned int nr)
{
	struct device *dev = open_device(nr);

	use_slots(dev, 1);
	pin(dev, 0, 0);
	one_interrupt(dev, 0, 0);
	return dev;
}

/* @dev sends @msg: that is blocked and reported, and does not reach @victim */
static void check_blocked(const struct device *dev, const struct slot *msg, unsigned int reason,
			  const struct device *victim)
{
	char requester[64], fault[64];
	int log = open_log();

	snprintf(requester, sizeof(requester), "Request device [%s] fault index", dev->bdf);
	snprintf(fault, sizeof(fault), "[fault reason 0x%02x]", reason);
	write_slot(dev, FOREIGN, msg);
	trigger(dev, FOREIGN, 1, 1, PCI_IMS_GO_RAW);
	CHECK(counters(dev, FOREIGN).sent == 1, "%u sent", counters(dev, FOREIGN).sent);
	wipe_slot(dev, FOREIGN);

	check_silence(victim, 0, 1);
	CHECK(wait_for_log(log, requester, fault), "no fault of %s with reason %#x was reported",
	      dev->bdf, reason);
	one_interrupt(victim, 0, 0);
	check_source(victim, 0, 2, 0);
	check_device(victim);
	check_device(dev);
}

/* The message of another device: remapping checks who sends it */
static void test_other_device(void)
{
	struct device *victim = start(0), *dev = open_device(1);
	struct slot msg = slot(victim, 0);

	check_blocked(dev, &msg, SOURCE_ID, victim);
}

/* Nor is a virtual function the one that it belongs to, and both are on the same bus */
static void test_virtual_function(void)
{
	struct device *victim = start(2), *dev;
	struct slot msg = slot(victim, 0);

	set_vfs(victim, 1);
	dev = open_device(3);
	check_blocked(dev, &msg, SOURCE_ID, victim);
	close(dev->fd);
	set_vfs(victim, 0);
}

/* A message that is not remapped: the vector of the interrupt and CPU 0 itself */
static void test_compatibility_format(void)
{
	struct device *victim = start(0);
	struct slot msg = {
		.addr_lo = 0xfee00000,
		.data = irq_debug(virq_of(victim, 0), "Vector:"),
	};

	CHECK(msg.data >= 0x20 && msg.data <= 0xff, "vector %#x", msg.data);
	check_blocked(victim, &msg, COMPATIBILITY, victim);
}

static const struct test isolation_tests[] = {
	{ "other_device",		test_other_device },
	{ "virtual_function",		test_virtual_function },
	{ "compatibility_format",	test_compatibility_format },
};

int run_isolation(const char *only)
{
	return run_tests(isolation_tests, ARRAY_SIZE(isolation_tests), only);
}
