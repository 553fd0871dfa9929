// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: an interrupt that the hypervisor refuses, in a guest of Xen's kind
 *
 * There an interrupt of a device is bound to an event channel when it is started up. Once
 * user space has them all the hypervisor has none left for that.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* For the header, which does not say where it has that from */
typedef unsigned short domid_t;
#include <xen/evtchn.h>

#include "imstest.h"

#define VECTORS		2u
#define DOMID_SELF	0x7ff0u

static int take_all_channels(void)
{
	struct ioctl_evtchn_bind_unbound_port port = { .remote_domain = DOMID_SELF };
	int fd = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC);
	unsigned int nr = 0;

	CHECK(fd >= 0, "cannot open /dev/xen/evtchn: %s", strerror(errno));
	while (ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &port) >= 0)
		nr++;
	CHECK(errno == ENOSPC, "after %u event channels: %s, wanted ENOSPC", nr, strerror(errno));
	note("%u event channels taken", nr);
	return fd;
}

static void test_no_channel(void)
{
	struct device *dev = open_device(0);
	int fd, ret;

	use_msix(dev, VECTORS);
	one_interrupt(dev, MSIX(0), ANY);
	release(dev, MSIX(0));

	fd = take_all_channels();
	ret = call_source(dev, IMS_TEST_REQUEST, MSIX(0));
	close(fd);
	CHECK(ret == -ENOSPC, "a request without an event channel: %s, wanted ENOSPC",
	      ret ? strerror(-ret) : "done");
	one_interrupt(dev, MSIX(1), ANY);

	request(dev, MSIX(0));
	one_interrupt(dev, MSIX(0), ANY);
	check_device(dev);
}

static const struct test xen_tests[] = {
	{ "no_channel",	test_no_channel },
};

int run_xen(const char *only)
{
	time_limit = 600;	/* thousands of channels, in a guest whose exits are emulated */
	return run_tests(xen_tests, ARRAY_SIZE(xen_tests), only);
}
