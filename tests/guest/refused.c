// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: where IMS must not be offered
 */
#include <errno.h>
#include <string.h>

#include "imstest.h"

/*
 * There has to be a reason for the refusal, or one is not what is tested. Each
 * of the boots has exactly one.
 */
static void check_reason(void)
{
	bool off = on_command_line("intremap=off"), nosid = on_command_line("intremap=nosid");

	CHECK(off + nosid + caching_mode() == 1, "not exactly one reason to refuse IMS");
	CHECK(remapping_on() == !off, "interrupt remapping is %s", off ? "on" : "off");
}

static void check_refused(const struct device *dev)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	int ret;

	ret = try_domain(dev, 8, IMS_TEST_GOOD);
	CHECK(ret == -EOPNOTSUPP, "creating the domain: %s", ret ? strerror(-ret) : "done");
	ret = call(dev, IMS_TEST_ALLOC, &arg);
	CHECK(ret == -ENODEV, "allocation without a domain: %s", ret ? strerror(-ret) : "done");
}

static void test_refused(void)
{
	struct device *dev = open_device(0);

	check_refused(dev);
	check_device(dev);
	note("pci_create_ims_domain() returned -EOPNOTSUPP: %s", strerror(EOPNOTSUPP));
}

/* No matter what else the device has, and the reason does not go away */
static void test_refused_again(void)
{
	struct device *dev = open_device(0);
	unsigned int i;

	for (i = 0; i < 3; i++)
		check_refused(dev);
	use_msix(dev, 2);
	check_refused(dev);
	check_device(dev);
}

/* Wrong arguments are the driver's fault, wherever it runs */
static void test_wrong_first(void)
{
	struct device *dev = open_device(0);
	u32 variant;
	int ret;

	for (variant = IMS_TEST_GOOD + 1; variant < IMS_TEST_VARIANTS; variant++) {
		ret = try_domain(dev, 8, variant);
		CHECK(ret == -EINVAL, "template %u: %s", variant, ret ? strerror(-ret) : "done");
	}
	check_refused(dev);
	check_device(dev);
}

static void test_leaks_nothing(void)
{
	struct device *dev = open_device(0);
	struct resources before = resources();
	unsigned int i;

	for (i = 0; i < 20; i++)
		check_refused(dev);
	check_resources(&before);
	CHECK(!counters(dev, 0).writes, "the store was written");
	check_device(dev);
}

/* Not even if the administrator waives isolated messages */
static void test_vfio_unsafe(void)
{
	int ret = probe_unsafe(2);

	CHECK(ret == -EOPNOTSUPP, "VFIO: %s", ret ? strerror(-ret) : "IMS is offered");
}

static const struct test refused_tests[] = {
	{ "reason",		check_reason },
	{ "refused",		test_refused },
	{ "refused_again",	test_refused_again },
	{ "wrong_first",	test_wrong_first },
	{ "leaks_nothing",	test_leaks_nothing },
	{ "msix",		test_msix_alone },
	/* The last one, only without isolation */
	{ "vfio_unsafe",	test_vfio_unsafe },
};

int run_refused(const char *only)
{
	bool isolated = !on_command_line("intremap=off") && !on_command_line("intremap=nosid");

	return run_tests(refused_tests, ARRAY_SIZE(refused_tests) - isolated, only);
}
