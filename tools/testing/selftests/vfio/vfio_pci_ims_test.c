// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests for the interrupts of vfio-pci whose message store belongs to the user
 *
 * They do not need a device with such a store: that a message raises its interrupt
 * is shown with a device which can write it by DMA.
 */
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "kselftest_harness.h"

static const char *device_bdf;

#define NR_IRQS		8U
#define NR_ROUNDS	300

/* x86: where interrupt messages go */
#define MSG_ADDRESS_MASK	0xfffffffffff00000ull
#define MSG_ADDRESS		0xfee00000ull

static int size_feature(int fd, u32 op, struct vfio_device_feature_pci_ims *ims)
{
	struct {
		struct vfio_device_feature hdr;
		struct vfio_device_feature_pci_ims ims;
	} arg = {
		.hdr.argsz = sizeof(arg),
		.hdr.flags = op | VFIO_DEVICE_FEATURE_PCI_IMS,
		.ims = *ims,
	};
	int ret = ioctl(fd, VFIO_DEVICE_FEATURE, &arg) ? -errno : 0;

	*ims = arg.ims;
	return ret;
}

static int set_size(int fd, u32 size)
{
	struct vfio_device_feature_pci_ims ims = { .size = size };

	return size_feature(fd, VFIO_DEVICE_FEATURE_SET, &ims);
}

static u32 max_size(int fd)
{
	struct vfio_device_feature_pci_ims ims = {};

	VFIO_ASSERT_EQ(size_feature(fd, VFIO_DEVICE_FEATURE_GET, &ims), 0);
	return ims.max_size;
}

static int probe(int fd, u32 feature)
{
	struct vfio_device_feature arg = {
		.argsz = sizeof(arg),
		.flags = VFIO_DEVICE_FEATURE_PROBE | feature,
	};

	return ioctl(fd, VFIO_DEVICE_FEATURE, &arg) ? -errno : 0;
}

struct msgs {
	struct vfio_device_feature hdr;
	struct vfio_device_feature_pci_ims_msgs range;
};

static int get_msgs_argsz(int fd, u32 start, u32 count, struct vfio_pci_ims_msg *msgs, size_t argsz)
{
	struct msgs *arg = calloc_assert(1, sizeof(*arg) + count * sizeof(*msgs));
	int ret;

	arg->hdr.argsz = argsz;
	arg->hdr.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PCI_IMS_MSGS;
	arg->range.start = start;
	arg->range.count = count;
	ret = ioctl(fd, VFIO_DEVICE_FEATURE, arg) ? -errno : 0;
	if (!ret)
		memcpy(msgs, arg->range.msgs, count * sizeof(*msgs));

	free(arg);
	return ret;
}

static int get_msgs(int fd, u32 start, u32 count, struct vfio_pci_ims_msg *msgs)
{
	return get_msgs_argsz(fd, start, count, msgs,
			      sizeof(struct msgs) + count * sizeof(*msgs));
}

static int set_index_irqs(int fd, u32 index, u32 flags, u32 start, u32 count,
			  const void *data, size_t size)
{
	struct vfio_irq_set *irq = calloc_assert(1, sizeof(*irq) + size);
	int ret;

	irq->argsz = sizeof(*irq) + size;
	irq->flags = flags;
	irq->index = index;
	irq->start = start;
	irq->count = count;
	if (size)
		memcpy(irq->data, data, size);
	ret = ioctl(fd, VFIO_DEVICE_SET_IRQS, irq) ? -errno : 0;

	free(irq);
	return ret;
}

static int set_irqs(int fd, u32 flags, u32 start, u32 count, const void *data, size_t size)
{
	return set_index_irqs(fd, VFIO_PCI_IMS_IRQ_INDEX, flags, start, count, data, size);
}

static int set_eventfds(int fd, u32 start, u32 count, const int *eventfds)
{
	return set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
			start, count, eventfds, count * sizeof(*eventfds));
}

static int set_eventfd(int fd, u32 i, int eventfd)
{
	return set_eventfds(fd, i, 1, &eventfd);
}

static int release_all(int fd)
{
	return set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
			0, 0, NULL, 0);
}

static int trigger(int fd, u32 i)
{
	return set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
			i, 1, NULL, 0);
}

static u32 irq_count(int fd)
{
	struct vfio_irq_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_IMS_IRQ_INDEX,
	};

	ioctl_assert(fd, VFIO_DEVICE_GET_IRQ_INFO, &info);
	VFIO_ASSERT_EQ(info.flags, VFIO_IRQ_INFO_EVENTFD);
	return info.count;
}

/* What the host has allocated for the device */
static unsigned int host_irqs(void)
{
	char *line = NULL, name[64];
	unsigned int nr = 0;
	size_t size = 0;
	FILE *file;

	snprintf_assert(name, sizeof(name), "](%s)", device_bdf);

	file = fopen("/proc/interrupts", "r");
	VFIO_ASSERT_NOT_NULL(file);
	while (getline(&line, &size, file) > 0)
		nr += strstr(line, "vfio-ims[") && strstr(line, name);
	fclose(file);
	free(line);
	return nr;
}

static u64 events(int eventfd)
{
	u64 value;

	return read(eventfd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

/* Where the administrator has not allowed it, all of it is there but the interrupts */
static void check_not_allowed(int fd)
{
	struct vfio_pci_ims_msg msg;
	int eventfd = -1;

	VFIO_ASSERT_EQ(probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS_MSGS), 0);
	VFIO_ASSERT_EQ(set_size(fd, 1), -ENOSPC);
	VFIO_ASSERT_EQ(set_size(fd, 0), 0);
	VFIO_ASSERT_EQ(irq_count(fd), 0);
	VFIO_ASSERT_EQ(get_msgs(fd, 0, 1, &msg), -EINVAL);
	VFIO_ASSERT_EQ(set_eventfds(fd, 0, 1, &eventfd), -EINVAL);
}

/* A device without IMS says so, whatever it is asked, and is as it was before */
static void check_unsupported(int fd)
{
	struct vfio_device_feature_pci_ims ims = {};
	int ret = probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS);
	struct vfio_pci_ims_msg msg;
	int eventfd = -1;

	VFIO_ASSERT_TRUE(ret == -EOPNOTSUPP || ret == -ENOTTY);
	VFIO_ASSERT_EQ(probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS_MSGS), ret);
	VFIO_ASSERT_EQ(size_feature(fd, VFIO_DEVICE_FEATURE_GET, &ims), ret);
	VFIO_ASSERT_EQ(set_size(fd, 1), ret);
	VFIO_ASSERT_EQ(get_msgs(fd, 0, 1, &msg), ret);
	VFIO_ASSERT_EQ(set_eventfds(fd, 0, 1, &eventfd), -EINVAL);
	VFIO_ASSERT_EQ(probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS_MSIX), ret);
}

FIXTURE(vfio_pci_ims_test) {
	struct iommu *iommu;
	struct vfio_pci_device *device;
	int fd;
	int eventfds[NR_IRQS];
};

FIXTURE_VARIANT(vfio_pci_ims_test) {
	const char *iommu_mode;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)		\
FIXTURE_VARIANT_ADD(vfio_pci_ims_test, _iommu_mode) {		\
	.iommu_mode = #_iommu_mode,				\
}

FIXTURE_VARIANT_ADD_ALL_IOMMU_MODES();

FIXTURE_SETUP(vfio_pci_ims_test)
{
	self->iommu = iommu_init(variant->iommu_mode);
	self->device = vfio_pci_device_init(device_bdf, self->iommu);
	self->fd = self->device->fd;

	for (int i = 0; i < NR_IRQS; i++) {
		self->eventfds[i] = eventfd(0, EFD_NONBLOCK);
		VFIO_ASSERT_GE(self->eventfds[i], 0);
	}

	if (probe(self->fd, VFIO_DEVICE_FEATURE_PCI_IMS)) {
		check_unsupported(self->fd);
		SKIP(return, "IMS is not supported\n");
	}

	if (!max_size(self->fd)) {
		check_not_allowed(self->fd);
		SKIP(return, "IMS is not allowed: vfio_pci_core.ims_max_irqs is 0\n");
	}

	VFIO_ASSERT_GE(max_size(self->fd), NR_IRQS);
	VFIO_ASSERT_EQ(irq_count(self->fd), 0);
}

FIXTURE_TEARDOWN(vfio_pci_ims_test)
{
	for (int i = 0; i < NR_IRQS; i++)
		close(self->eventfds[i]);

	/* Closing the device releases whatever a test leaves behind */
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
	VFIO_ASSERT_EQ(host_irqs(), 0);
}

TEST_F(vfio_pci_ims_test, size)
{
	struct vfio_device_feature_pci_ims ims;
	int fd = self->fd;
	u32 max = max_size(fd);

	ASSERT_EQ(0, probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS));
	ASSERT_EQ(0, probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS | VFIO_DEVICE_FEATURE_SET));
	ASSERT_EQ(0, probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS_MSGS | VFIO_DEVICE_FEATURE_GET));
	ASSERT_EQ(-EINVAL, probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS_MSGS |
				     VFIO_DEVICE_FEATURE_SET));

	/* Any size up to the limit, in any order, without interrupts of the host */
	for (u32 size = 1; size <= max; size *= 2) {
		ASSERT_EQ(0, set_size(fd, size));
		ASSERT_EQ(size, irq_count(fd));
	}
	ASSERT_EQ(0, set_size(fd, max));
	ASSERT_EQ(max, irq_count(fd));
	ASSERT_EQ(0, host_irqs());

	ASSERT_EQ(-ENOSPC, set_size(fd, max + 1));
	ASSERT_EQ(-ENOSPC, set_size(fd, -1));
	ASSERT_EQ(max, irq_count(fd));

	ims = (struct vfio_device_feature_pci_ims) { .size = 1, .flags = 1 };
	ASSERT_EQ(-EINVAL, size_feature(fd, VFIO_DEVICE_FEATURE_SET, &ims));
	ims = (struct vfio_device_feature_pci_ims) { .size = 1, .reserved = 1 };
	ASSERT_EQ(-EINVAL, size_feature(fd, VFIO_DEVICE_FEATURE_SET, &ims));
	ims = (struct vfio_device_feature_pci_ims) { .size = 1, .max_size = 1 };
	ASSERT_EQ(-EINVAL, size_feature(fd, VFIO_DEVICE_FEATURE_SET, &ims));
	ASSERT_EQ(max, irq_count(fd));

	ASSERT_EQ(0, set_size(fd, 0));
	ASSERT_EQ(0, irq_count(fd));
	ASSERT_EQ(0, set_size(fd, 0));
}

/* All assigned interrupts have to be covered */
TEST_F(vfio_pci_ims_test, resize)
{
	int fd = self->fd;

	ASSERT_EQ(0, set_size(fd, 4));
	ASSERT_EQ(0, set_eventfd(fd, 2, self->eventfds[0]));
	ASSERT_EQ(-EBUSY, set_size(fd, 0));
	ASSERT_EQ(-EBUSY, set_size(fd, 2));
	ASSERT_EQ(4, irq_count(fd));
	ASSERT_EQ(0, set_size(fd, 3));
	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(0, set_eventfd(fd, NR_IRQS - 1, self->eventfds[1]));
	ASSERT_EQ(-EBUSY, set_size(fd, 3));
	ASSERT_EQ(2, host_irqs());
	ASSERT_EQ(0, trigger(fd, 2));
	ASSERT_EQ(1, events(self->eventfds[0]));
	ASSERT_EQ(0, release_all(fd));
	ASSERT_EQ(0, host_irqs());
	ASSERT_EQ(NR_IRQS, irq_count(fd));
	ASSERT_EQ(0, set_size(fd, 0));
}

TEST_F(vfio_pci_ims_test, assign_trigger_release)
{
	int *eventfds = self->eventfds;
	int fd = self->fd;
	u8 bools[NR_IRQS];

	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(0, set_eventfds(fd, 0, NR_IRQS, eventfds));
	ASSERT_EQ(NR_IRQS, host_irqs());

	for (int i = 0; i < NR_IRQS; i++) {
		ASSERT_EQ(0, events(eventfds[i]));
		ASSERT_EQ(0, trigger(fd, i));
		ASSERT_EQ(1, events(eventfds[i]));
		bools[i] = i % 2;
	}

	ASSERT_EQ(0, set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_BOOL,
			      0, NR_IRQS, bools, sizeof(bools)));
	for (int i = 0; i < NR_IRQS; i++)
		ASSERT_EQ(i % 2, events(eventfds[i]));

	/* Those which are not assigned are skipped */
	ASSERT_EQ(0, set_eventfd(fd, 1, -1));
	ASSERT_EQ(0, set_eventfd(fd, 1, -1));
	ASSERT_EQ(NR_IRQS - 1, host_irqs());
	ASSERT_EQ(0, set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
			      0, NR_IRQS, NULL, 0));
	for (int i = 0; i < NR_IRQS; i++)
		ASSERT_EQ(i != 1, events(eventfds[i]));

	ASSERT_EQ(0, release_all(fd));
	ASSERT_EQ(0, release_all(fd));
	ASSERT_EQ(0, host_irqs());
	ASSERT_EQ(0, trigger(fd, 0));
	ASSERT_EQ(0, events(eventfds[0]));
}

/* The ranges which each index rejects */
TEST_F(vfio_pci_ims_test, bad_ranges)
{
	const u32 bad[][2] = {
		{ 0, NR_IRQS + 1 }, { 1, NR_IRQS }, { NR_IRQS, 1 }, { NR_IRQS, 0 },
		{ -1, 1 }, { 1, -1 }, { -1, -1 }, { 0x80000000, 0x80000000 },
	};
	struct vfio_pci_ims_msg msg;
	int fds[NR_IRQS + 1];
	int fd = self->fd;

	memset(fds, -1, sizeof(fds));

	/* Without a size nothing is in range */
	ASSERT_EQ(-EINVAL, set_eventfds(fd, 0, 1, self->eventfds));
	ASSERT_EQ(-EINVAL, trigger(fd, 0));
	ASSERT_EQ(-EINVAL, get_msgs(fd, 0, 1, &msg));

	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	for (int i = 0; i < ARRAY_SIZE(bad); i++) {
		ASSERT_EQ(-EINVAL,
			  set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
				   bad[i][0], bad[i][1], fds, sizeof(fds)));
		ASSERT_EQ(-EINVAL,
			  set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
				   bad[i][0], bad[i][1], NULL, 0));
	}

	/* Less data than interrupts, and no interrupts */
	ASSERT_EQ(-EINVAL,
		  set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
			   0, NR_IRQS, fds, sizeof(*fds)));
	ASSERT_EQ(-EINVAL, set_eventfds(fd, 0, 0, NULL));
	ASSERT_EQ(0, host_irqs());
}

TEST_F(vfio_pci_ims_test, bad_actions)
{
	int fd = self->fd;
	u8 on = 1;

	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(0, set_eventfd(fd, 0, self->eventfds[0]));

	for (int action = 0; action < 8; action++) {
		u32 flags = action * VFIO_IRQ_SET_ACTION_MASK;

		if (flags == VFIO_IRQ_SET_ACTION_TRIGGER)
			continue;

		ASSERT_EQ(-ENOTTY, set_irqs(fd, flags | VFIO_IRQ_SET_DATA_NONE,
					    0, 1, NULL, 0));
		ASSERT_EQ(-ENOTTY, set_irqs(fd, flags | VFIO_IRQ_SET_DATA_BOOL,
					    0, 1, &on, 1));
		ASSERT_EQ(-ENOTTY, set_irqs(fd, flags | VFIO_IRQ_SET_DATA_EVENTFD,
					    0, 1, &self->eventfds[1], sizeof(int)));
	}
	ASSERT_EQ(0, trigger(fd, 0));
	ASSERT_EQ(1, events(self->eventfds[0]));
	ASSERT_EQ(0, events(self->eventfds[1]));
}

/* Whatever comes last in a range and fails, the others are as they were */
TEST_F(vfio_pci_ims_test, all_or_nothing)
{
	struct vfio_pci_ims_msg before[NR_IRQS], after[NR_IRQS];
	int *eventfds = self->eventfds;
	int bad[] = { -2, 10000, STDIN_FILENO };
	int errors[] = { -EINVAL, -EBADF, -EINVAL };
	int fds[NR_IRQS];
	int fd = self->fd;

	bad[2] = open("/dev/null", O_RDWR);
	ASSERT_GE(bad[2], 0);
	ASSERT_EQ(0, set_size(fd, NR_IRQS));

	/* 0: a new eventfd, 1: stays, 2: released, 3: new interrupt, 4: bad */
	ASSERT_EQ(0, set_eventfds(fd, 0, 3, eventfds));
	ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, before));

	for (int i = 0; i < ARRAY_SIZE(bad); i++) {
		fds[0] = eventfds[4];
		fds[1] = eventfds[1];
		fds[2] = -1;
		fds[3] = eventfds[5];
		fds[4] = bad[i];
		ASSERT_EQ(errors[i], set_eventfds(fd, 0, 5, fds));
		ASSERT_EQ(3, host_irqs());
		ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, after));
		ASSERT_EQ(0, memcmp(before, after, sizeof(before)));

		for (int j = 0; j < 3; j++) {
			ASSERT_EQ(0, trigger(fd, j));
			ASSERT_EQ(1, events(eventfds[j]));
		}
		ASSERT_EQ(0, events(eventfds[4]));
		ASSERT_EQ(0, events(eventfds[5]));
	}

	/* The retry works */
	fds[4] = -1;
	ASSERT_EQ(0, set_eventfds(fd, 0, 5, fds));
	ASSERT_EQ(3, host_irqs());
	ASSERT_EQ(0, trigger(fd, 0));
	ASSERT_EQ(1, events(eventfds[4]));
	ASSERT_EQ(0, trigger(fd, 3));
	ASSERT_EQ(1, events(eventfds[5]));
	close(bad[2]);
}

static void check_msg(struct vfio_pci_ims_msg *msg)
{
	VFIO_ASSERT_EQ(msg->flags, VFIO_PCI_IMS_MSG_ASSIGNED);
#if defined(__x86_64__)
	VFIO_ASSERT_EQ(msg->address & MSG_ADDRESS_MASK, MSG_ADDRESS);
#endif
}

TEST_F(vfio_pci_ims_test, messages)
{
	struct vfio_pci_ims_msg before[NR_IRQS], after[NR_IRQS], none = {};
	int fd = self->fd;

	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, before));
	for (int i = 0; i < NR_IRQS; i++)
		ASSERT_EQ(0, memcmp(&before[i], &none, sizeof(none)));

	/* Each one has its own */
	ASSERT_EQ(0, set_eventfds(fd, 0, NR_IRQS - 1, self->eventfds));
	ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, before));
	ASSERT_EQ(0, memcmp(&before[NR_IRQS - 1], &none, sizeof(none)));
	for (int i = 0; i < NR_IRQS - 1; i++) {
		check_msg(&before[i]);
		for (int j = 0; j < i; j++)
			ASSERT_TRUE(before[i].address != before[j].address ||
				    before[i].data != before[j].data);
	}

	/* A part of the range */
	ASSERT_EQ(0, get_msgs(fd, 3, 2, after));
	ASSERT_EQ(0, memcmp(after, &before[3], 2 * sizeof(*after)));

	/* Another eventfd does not change it, nor does a reset */
	ASSERT_EQ(0, set_eventfd(fd, 0, self->eventfds[NR_IRQS - 1]));
	if (self->device->info.flags & VFIO_DEVICE_FLAGS_RESET)
		vfio_pci_device_reset(self->device);
	ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, after));
	ASSERT_EQ(0, memcmp(before, after, sizeof(before)));
	ASSERT_EQ(0, trigger(fd, 0));
	ASSERT_EQ(0, events(self->eventfds[0]));
	ASSERT_EQ(1, events(self->eventfds[NR_IRQS - 1]));

	ASSERT_EQ(0, set_eventfd(fd, 0, -1));
	ASSERT_EQ(0, get_msgs(fd, 0, 1, after));
	ASSERT_EQ(0, memcmp(after, &none, sizeof(none)));
}

TEST_F(vfio_pci_ims_test, bad_messages)
{
	size_t argsz = sizeof(struct msgs) + NR_IRQS * sizeof(struct vfio_pci_ims_msg);
	struct vfio_pci_ims_msg msgs[NR_IRQS];
	struct msgs arg = {
		.hdr.argsz = sizeof(arg),
		.hdr.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PCI_IMS_MSGS,
	};
	int fd = self->fd;

	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(-EINVAL, get_msgs(fd, 0, 0, msgs));
	ASSERT_EQ(-EINVAL, get_msgs(fd, 1, NR_IRQS, msgs));
	ASSERT_EQ(-EINVAL, get_msgs(fd, NR_IRQS, 1, msgs));
	ASSERT_EQ(-EINVAL, get_msgs(fd, -1, 1, msgs));
	for (size_t size = 0; size < argsz; size += 4)
		ASSERT_EQ(-EINVAL, get_msgs_argsz(fd, 0, NR_IRQS, msgs, size));

	arg.range.count = -1;
	ASSERT_EQ(-1, ioctl(fd, VFIO_DEVICE_FEATURE, &arg));
	ASSERT_EQ(EINVAL, errno);

	arg.range.count = 1;
	arg.range.flags = 1;
	ASSERT_EQ(-1, ioctl(fd, VFIO_DEVICE_FEATURE, &arg));
	ASSERT_EQ(EINVAL, errno);

	arg.range.flags = 0;
	arg.range.reserved = 1;
	ASSERT_EQ(-1, ioctl(fd, VFIO_DEVICE_FEATURE, &arg));
	ASSERT_EQ(EINVAL, errno);
}

/* Neither minds the other */
TEST_F(vfio_pci_ims_test, with_msix)
{
	int fd = self->fd;

	if (!self->device->msix_info.count)
		SKIP(return, "No MSI-X\n");

	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(0, set_eventfd(fd, 0, self->eventfds[0]));
	vfio_pci_msix_enable(self->device, 0, 1);
	ASSERT_EQ(0, set_eventfd(fd, 1, self->eventfds[1]));

	vfio_pci_irq_trigger(self->device, VFIO_PCI_MSIX_IRQ_INDEX, 0);
	ASSERT_EQ(1, events(self->device->msi_eventfds[0]));
	ASSERT_EQ(0, events(self->eventfds[0]));

	vfio_pci_msix_disable(self->device);
	ASSERT_EQ(0, trigger(fd, 0));
	ASSERT_EQ(0, trigger(fd, 1));
	ASSERT_EQ(1, events(self->eventfds[0]));
	ASSERT_EQ(1, events(self->eventfds[1]));
}

static int msix_feature(int fd, u32 op, struct vfio_device_feature_pci_ims_msix *msix)
{
	struct {
		struct vfio_device_feature hdr;
		struct vfio_device_feature_pci_ims_msix msix;
	} arg = {
		.hdr.argsz = sizeof(arg),
		.hdr.flags = op | VFIO_DEVICE_FEATURE_PCI_IMS_MSIX,
		.msix = *msix,
	};
	int ret = ioctl(fd, VFIO_DEVICE_FEATURE, &arg) ? -errno : 0;

	*msix = arg.msix;
	return ret;
}

static int set_msix(int fd, u32 flags)
{
	struct vfio_device_feature_pci_ims_msix msix = { .flags = flags };

	return msix_feature(fd, VFIO_DEVICE_FEATURE_SET, &msix);
}

static u32 get_msix(int fd)
{
	struct vfio_device_feature_pci_ims_msix msix = {};

	VFIO_ASSERT_EQ(msix_feature(fd, VFIO_DEVICE_FEATURE_GET, &msix), 0);
	return msix.flags;
}

static u8 find_capability(struct vfio_pci_device *device, u8 id)
{
	u8 pos = vfio_pci_config_readb(device, PCI_CAPABILITY_LIST);

	while (pos && vfio_pci_config_readb(device, pos) != id)
		pos = vfio_pci_config_readb(device, pos + PCI_CAP_LIST_NEXT);
	return pos;
}

/* What the device has, and what VFIO says */
static void check_msix(struct vfio_pci_device *device, u32 flags)
{
	u8 pos = find_capability(device, PCI_CAP_ID_MSIX);
	u16 ctrl = vfio_pci_config_readw(device, pos + PCI_MSIX_FLAGS);

	VFIO_ASSERT_EQ(get_msix(device->fd), flags);
	VFIO_ASSERT_EQ(!!(ctrl & PCI_MSIX_FLAGS_ENABLE), !!(flags & VFIO_PCI_IMS_MSIX_ENABLE));
	VFIO_ASSERT_EQ(!!(ctrl & PCI_MSIX_FLAGS_MASKALL), !!(flags & VFIO_PCI_IMS_MSIX_MASK));
}

static int try_index(int fd, u32 index, int eventfd)
{
	return set_index_irqs(fd, index,
			      VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
			      0, 1, &eventfd, sizeof(eventfd));
}

TEST_F(vfio_pci_ims_test, msix_table)
{
	const u32 states[] = {
		VFIO_PCI_IMS_MSIX_ENABLE,
		VFIO_PCI_IMS_MSIX_ENABLE | VFIO_PCI_IMS_MSIX_MASK,
		VFIO_PCI_IMS_MSIX_ENABLE,
		0,
		0,
		VFIO_PCI_IMS_MSIX_ENABLE | VFIO_PCI_IMS_MSIX_MASK,
		0,
	};
	struct vfio_pci_device *device = self->device;
	int fd = self->fd;

	if (!device->msix_info.count) {
		ASSERT_EQ(-EOPNOTSUPP, probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS_MSIX));
		ASSERT_EQ(-EOPNOTSUPP, set_msix(fd, VFIO_PCI_IMS_MSIX_ENABLE));
		SKIP(return, "No MSI-X\n");
	}

	ASSERT_EQ(0, probe(fd, VFIO_DEVICE_FEATURE_PCI_IMS_MSIX | VFIO_DEVICE_FEATURE_GET |
			       VFIO_DEVICE_FEATURE_SET));
	check_msix(device, 0);

	for (int i = 0; i < ARRAY_SIZE(states); i++) {
		ASSERT_EQ(0, set_msix(fd, states[i]));
		check_msix(device, states[i]);
		if (device->info.flags & VFIO_DEVICE_FLAGS_RESET)
			vfio_pci_device_reset(device);
		check_msix(device, states[i]);
		ASSERT_EQ(states[i] ? -EINVAL : 0,
			  try_index(fd, VFIO_PCI_MSIX_IRQ_INDEX, self->eventfds[0]));
		if (!states[i])
			vfio_pci_irq_disable(device, VFIO_PCI_MSIX_IRQ_INDEX);
		check_msix(device, states[i]);
	}
	ASSERT_EQ(0, host_irqs());

	/* Neither minds the other */
	ASSERT_EQ(0, set_msix(fd, VFIO_PCI_IMS_MSIX_ENABLE));
	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(0, set_eventfd(fd, 0, self->eventfds[0]));
	ASSERT_EQ(0, set_msix(fd, 0));
	ASSERT_EQ(0, set_msix(fd, VFIO_PCI_IMS_MSIX_ENABLE));
	ASSERT_EQ(0, trigger(fd, 0));
	ASSERT_EQ(1, events(self->eventfds[0]));
	ASSERT_EQ(0, release_all(fd));
	ASSERT_EQ(0, set_size(fd, 0));
	check_msix(device, VFIO_PCI_IMS_MSIX_ENABLE);

	/* Nothing is left of it when the device is closed */
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
	self->iommu = iommu_init(variant->iommu_mode);
	self->device = vfio_pci_device_init(device_bdf, self->iommu);
	check_msix(self->device, 0);
}

TEST_F(vfio_pci_ims_test, bad_msix_table)
{
	struct vfio_device_feature_pci_ims_msix msix;
	const u32 bad[] = {
		VFIO_PCI_IMS_MSIX_MASK,
		VFIO_PCI_IMS_MSIX_ENABLE | 1 << 2,
		1 << 31,
	};
	struct vfio_pci_device *device = self->device;
	int fd = self->fd;

	if (!device->msix_info.count)
		SKIP(return, "No MSI-X\n");

	for (int i = 0; i < ARRAY_SIZE(bad); i++)
		ASSERT_EQ(-EINVAL, set_msix(fd, bad[i]));
	msix = (struct vfio_device_feature_pci_ims_msix) {
		.flags = VFIO_PCI_IMS_MSIX_ENABLE,
		.reserved = 1,
	};
	ASSERT_EQ(-EINVAL, msix_feature(fd, VFIO_DEVICE_FEATURE_SET, &msix));
	ASSERT_EQ(-EINVAL, msix_feature(fd, VFIO_DEVICE_FEATURE_GET, &msix));
	check_msix(device, 0);

	/* As long as VFIO uses MSI-X or MSI */
	vfio_pci_msix_enable(device, 0, 1);
	ASSERT_EQ(-EBUSY, set_msix(fd, VFIO_PCI_IMS_MSIX_ENABLE));
	ASSERT_EQ(0, get_msix(fd));
	ASSERT_EQ(0, set_msix(fd, 0));
	vfio_pci_irq_trigger(device, VFIO_PCI_MSIX_IRQ_INDEX, 0);
	ASSERT_EQ(1, events(device->msi_eventfds[0]));
	vfio_pci_msix_disable(device);

	if (device->msi_info.count) {
		vfio_pci_msi_enable(device, 0, 1);
		ASSERT_EQ(-EBUSY, set_msix(fd, VFIO_PCI_IMS_MSIX_ENABLE));
		vfio_pci_msi_disable(device);
	}

	ASSERT_EQ(0, set_msix(fd, VFIO_PCI_IMS_MSIX_ENABLE));
	ASSERT_EQ(-EINVAL, try_index(fd, VFIO_PCI_MSI_IRQ_INDEX, self->eventfds[0]));
	ASSERT_EQ(-EINVAL, try_index(fd, VFIO_PCI_INTX_IRQ_INDEX, self->eventfds[0]));
	check_msix(device, VFIO_PCI_IMS_MSIX_ENABLE);
}

#define FAILSLAB		"/sys/kernel/debug/failslab/"
#define FAILSLAB_CACHES		"/sys/kernel/slab/kmalloc-*/failslab"
#define FAIL_IRQ_POINTS		"/sys/kernel/debug/fail_irq/points"

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t len;

	text[0] = '\0';
	if (fd < 0)
		return false;
	len = read(fd, text, size - 1);
	close(fd);
	if (len <= 0)
		return false;
	text[len] = '\0';
	return true;
}

static struct {
	const char	*path;
	const char	*value;
	bool		optional;
	char		old[16];
} knobs[] = {
	/* A stack trace would look like a bug */
	{ FAILSLAB "verbose",		"0" },
	/* Only kmalloc(), and not the memory which is required for debugging */
	{ FAILSLAB "cache-filter",	"Y" },
	{ FAILSLAB "ignore-gfp-wait",	"N" },
	/* fail-nth counts these as well */
	{ FAIL_IRQ_POINTS,		"0", true },
};

static bool fail_kmalloc(bool on)
{
	bool done = true;
	glob_t caches;

	if (glob(FAILSLAB_CACHES, 0, NULL, &caches))
		return false;

	for (int i = 0; i < caches.gl_pathc; i++)
		done &= write_text(caches.gl_pathv[i], on ? "1" : "0");
	globfree(&caches);
	return done;
}

static void restore_knobs(int nr)
{
	while (nr--) {
		if (knobs[nr].old[0])
			VFIO_ASSERT_TRUE(write_text(knobs[nr].path, knobs[nr].old));
	}
}

static bool set_knobs(void)
{
	for (int i = 0; i < ARRAY_SIZE(knobs); i++) {
		if (read_text(knobs[i].path, knobs[i].old, sizeof(knobs[i].old)) &&
		    write_text(knobs[i].path, knobs[i].value))
			continue;

		knobs[i].old[0] = '\0';
		if (!knobs[i].optional) {
			restore_knobs(i);
			return false;
		}
	}

	if (fail_kmalloc(true))
		return true;

	fail_kmalloc(false);
	restore_knobs(ARRAY_SIZE(knobs));
	return false;
}

static void arm(int fail_nth, unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	VFIO_ASSERT_EQ(pwrite(fail_nth, text, len, 0), len);
}

/* How many allocations were left until the one which fails, 0 if it has failed */
static unsigned int disarm(int fail_nth)
{
	char text[16] = "";

	VFIO_ASSERT_GT(pread(fail_nth, text, sizeof(text) - 1, 0), 0);
	arm(fail_nth, 0);
	return atoi(text);
}

/*
 * Each allocation fails in turn: of a range with new interrupts, one which is released and
 * a new eventfd, and of reading messages
 */
TEST_F_TIMEOUT(vfio_pci_ims_test, out_of_memory, 120)
{
	struct vfio_pci_ims_msg before[NR_IRQS], after[NR_IRQS];
	int fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	unsigned int failed, left = 0;
	int *eventfds = self->eventfds;
	int mixed[] = { eventfds[4], eventfds[1], -1, eventfds[5], eventfds[6] };
	int fd = self->fd;
	int ret;

	if (fail_nth < 0 || !set_knobs()) {
		if (fail_nth >= 0)
			close(fail_nth);
		SKIP(return, "No fault injection\n");
	}

	ASSERT_EQ(0, set_size(fd, NR_IRQS));

	failed = 0;
	for (unsigned int nth = 1; !left; nth++) {
		ASSERT_EQ(0, release_all(fd));
		ASSERT_EQ(0, set_eventfds(fd, 0, 3, eventfds));
		ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, before));

		arm(fail_nth, nth);
		ret = set_eventfds(fd, 0, ARRAY_SIZE(mixed), mixed);
		left = disarm(fail_nth);
		if (!ret)
			continue;

		ASSERT_EQ(0, left);
		ASSERT_EQ(-ENOMEM, ret);
		ASSERT_EQ(3, host_irqs());
		ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, after));
		ASSERT_EQ(0, memcmp(before, after, sizeof(before)));
		for (int i = 0; i < NR_IRQS; i++)
			ASSERT_EQ(0, events(eventfds[i]));
		for (int i = 0; i < 3; i++) {
			ASSERT_EQ(0, trigger(fd, i));
			ASSERT_EQ(1, events(eventfds[i]));
		}
		failed++;
	}
	ASSERT_EQ(4, host_irqs());
	ASSERT_EQ(0, trigger(fd, 0));
	ASSERT_EQ(1, events(eventfds[4]));
	ASSERT_EQ(0, trigger(fd, 4));
	ASSERT_EQ(1, events(eventfds[6]));
	TH_LOG("SET_IRQS: out of memory at %u allocations in turn", failed);
	ASSERT_GT(failed, 4);

	ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, before));
	failed = 0;
	left = 0;
	for (unsigned int nth = 1; !left; nth++) {
		arm(fail_nth, nth);
		ret = get_msgs(fd, 0, NR_IRQS, after);
		left = disarm(fail_nth);
		if (ret) {
			ASSERT_EQ(0, left);
			ASSERT_EQ(-ENOMEM, ret);
			failed++;
		}
	}
	ASSERT_EQ(0, memcmp(before, after, sizeof(before)));
	TH_LOG("Messages: out of memory at %u allocations in turn", failed);
	ASSERT_GT(failed, 0);

	ASSERT_TRUE(fail_kmalloc(false));
	restore_knobs(ARRAY_SIZE(knobs));
	close(fail_nth);
}

/* The limit can be had, more than once, or the host is short of something */
TEST_F_TIMEOUT(vfio_pci_ims_test, all, 120)
{
	u32 max = min(max_size(self->fd), 2048U);
	int *fds = calloc_assert(max, sizeof(*fds));
	int fd = self->fd;
	int ret;

	for (u32 i = 0; i < max; i++)
		fds[i] = self->eventfds[0];

	ASSERT_EQ(0, set_size(fd, max));
	for (int i = 0; i < 2; i++) {
		ret = set_eventfds(fd, 0, max, fds);
		if (ret == -ENOSPC) {
			ASSERT_EQ(0, host_irqs());
			continue;
		}
		ASSERT_EQ(0, ret);
		ASSERT_EQ(max, host_irqs());
		ASSERT_EQ(0, release_all(fd));
	}
	ASSERT_EQ(0, host_irqs());
	free(fds);
}

#define DMA_SIZE	SZ_4K

static void map_region(struct vfio_pci_device *device, struct dma_region *region, u64 size)
{
	struct iova_allocator *allocator = iova_allocator_init(device->iommu);

	region->vaddr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	VFIO_ASSERT_NE(region->vaddr, MAP_FAILED);
	region->size = size;
	region->iova = iova_allocator_alloc(allocator, size);
	iommu_map(device->iommu, region);
	iova_allocator_cleanup(allocator);
}

static void unmap_region(struct vfio_pci_device *device, struct dma_region *region)
{
	iommu_unmap(device->iommu, region);
	VFIO_ASSERT_EQ(munmap(region->vaddr, region->size), 0);
}

/* The device raises what it writes, and nothing when the interrupt is gone */
TEST_F(vfio_pci_ims_test, arrival)
{
	struct vfio_pci_device *device = self->device;
	struct vfio_pci_ims_msg msgs[NR_IRQS];
	struct dma_region data = {};
	int fd = self->fd;

	if (!device->driver.ops || !device->driver.ops->memcpy_start)
		SKIP(return, "No driver which can write a message\n");

	map_region(device, &device->driver.region, SZ_2M);
	map_region(device, &data, DMA_SIZE);
	vfio_pci_driver_init(device);

	ASSERT_EQ(0, set_size(fd, NR_IRQS));
	ASSERT_EQ(0, set_eventfds(fd, 0, NR_IRQS, self->eventfds));
	ASSERT_EQ(0, get_msgs(fd, 0, NR_IRQS, msgs));

	for (int i = 0; i < NR_IRQS; i++) {
		memcpy(data.vaddr, &msgs[i].data, sizeof(msgs[i].data));
		ASSERT_EQ(0, vfio_pci_driver_memcpy(device, data.iova, msgs[i].address, 4));
		usleep(10000);
		for (int j = 0; j < NR_IRQS; j++)
			ASSERT_EQ(i == j, events(self->eventfds[j]));
	}

	/* The message of an interrupt which is gone does not raise another one */
	ASSERT_EQ(0, set_eventfd(fd, NR_IRQS - 1, -1));
	vfio_pci_driver_memcpy(device, data.iova, msgs[NR_IRQS - 1].address, 4);
	usleep(10000);
	for (int i = 0; i < NR_IRQS; i++)
		ASSERT_EQ(0, events(self->eventfds[i]));

	vfio_pci_driver_remove(device);
	unmap_region(device, &data);
	unmap_region(device, &device->driver.region);
}

struct race {
	int fd;
	const int *eventfds;
	bool reset;
	bool stop;
	pthread_barrier_t start;
};

static int race_error;

static void race_expect(int ret, int error1, int error2)
{
	if (ret && ret != error1 && ret != error2)
		WRITE_ONCE(race_error, ret);
}

static void *race_assign(void *arg)
{
	struct race *race = arg;
	int none[NR_IRQS];

	memset(none, -1, sizeof(none));
	pthread_barrier_wait(&race->start);
	while (!READ_ONCE(race->stop)) {
		race_expect(set_eventfds(race->fd, 0, NR_IRQS, race->eventfds), -EINVAL, -EBADF);
		race_expect(set_eventfds(race->fd, 2, 3, none), -EINVAL, -EBADF);
		race_expect(release_all(race->fd), -EINVAL, -EBADF);
	}
	return NULL;
}

static void *race_swap(void *arg)
{
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	for (unsigned int i = 0; !READ_ONCE(race->stop); i++) {
		race_expect(set_eventfd(race->fd, 0, race->eventfds[i % NR_IRQS]),
			    -EINVAL, -EBADF);
		race_expect(trigger(race->fd, i % NR_IRQS), -EINVAL, -EBADF);
	}
	return NULL;
}

static void *race_messages(void *arg)
{
	struct vfio_pci_ims_msg msgs[NR_IRQS];
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	while (!READ_ONCE(race->stop)) {
		int ret = get_msgs(race->fd, 0, NR_IRQS, msgs);

		race_expect(ret, -EINVAL, -EBADF);
		for (int i = 0; !ret && i < NR_IRQS; i++) {
			if (msgs[i].flags)
				check_msg(&msgs[i]);
		}
	}
	return NULL;
}

static void *race_size(void *arg)
{
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	for (unsigned int i = 0; !READ_ONCE(race->stop); i++) {
		race_expect(set_size(race->fd, i % 2 ? 0 : NR_IRQS), -EBUSY, -EBADF);
		if (race->reset && i % 16 == 0)
			ioctl(race->fd, VFIO_DEVICE_RESET, NULL);
	}
	return NULL;
}

static void *race_msix(void *arg)
{
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	for (unsigned int i = 0; !READ_ONCE(race->stop); i++)
		race_expect(set_msix(race->fd, i % 2 ? VFIO_PCI_IMS_MSIX_ENABLE : 0),
			    -EOPNOTSUPP, -EBADF);
	return NULL;
}

static void run_race(struct race *race, void (*disturb)(struct race *race))
{
	void *(*funcs[])(void *) = {
		race_assign, race_swap, race_messages, race_size, race_msix,
	};
	pthread_t threads[ARRAY_SIZE(funcs)];

	race_error = 0;
	VFIO_ASSERT_EQ(pthread_barrier_init(&race->start, NULL, ARRAY_SIZE(funcs) + 1), 0);
	for (int i = 0; i < ARRAY_SIZE(funcs); i++)
		VFIO_ASSERT_EQ(pthread_create(&threads[i], NULL, funcs[i], race), 0);

	pthread_barrier_wait(&race->start);
	disturb(race);
	WRITE_ONCE(race->stop, true);
	for (int i = 0; i < ARRAY_SIZE(funcs); i++)
		VFIO_ASSERT_EQ(pthread_join(threads[i], NULL), 0);
	VFIO_ASSERT_EQ(race_error, 0);
}

static void let_it_run(struct race *race)
{
	sleep(2);
}

TEST_F(vfio_pci_ims_test, race)
{
	struct race race = {
		.fd		= self->fd,
		.eventfds	= self->eventfds,
		.reset		= self->device->info.flags & VFIO_DEVICE_FLAGS_RESET,
	};

	run_race(&race, let_it_run);
}

/* The number is not reused while the threads run */
static void close_it(struct race *race)
{
	usleep(300000);
	VFIO_ASSERT_EQ(close(race->fd), 0);
	usleep(100000);
}

/* The last reference: the device is closed as soon as no ioctl is under way */
TEST_F(vfio_pci_ims_test, race_close)
{
	struct race race = {
		.fd		= self->fd,
		.eventfds	= self->eventfds,
	};

	for (int i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct vfio_pci_bar *bar = &self->device->bars[i];

		if (bar->vaddr)
			ASSERT_EQ(0, munmap(bar->vaddr, bar->info.size));
		bar->vaddr = NULL;
	}

	run_race(&race, close_it);
	ASSERT_EQ(0, host_irqs());

	/* For the teardown, which closes it */
	ASSERT_EQ(self->fd, open("/dev/null", O_RDWR));
}

static void child_main(const char *iommu_mode, const int *eventfds, int pipe)
{
	struct iommu *iommu = iommu_init(iommu_mode);
	struct vfio_pci_device *device = vfio_pci_device_init(device_bdf, iommu);
	char c = 0;

	VFIO_ASSERT_EQ(set_size(device->fd, NR_IRQS), 0);
	if (device->msix_info.count)
		VFIO_ASSERT_EQ(set_msix(device->fd, VFIO_PCI_IMS_MSIX_ENABLE), 0);
	VFIO_ASSERT_EQ(write(pipe, &c, 1), 1);
	for (;;) {
		set_eventfds(device->fd, 0, NR_IRQS, eventfds);
		set_eventfd(device->fd, 1, -1);
		release_all(device->fd);
	}
}

/* Nothing is left of a process which is killed at any moment */
TEST_F(vfio_pci_ims_test, killed)
{
	int pipes[2];
	pid_t pid;
	char c;

	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);

	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, pipe(pipes));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			child_main(variant->iommu_mode, self->eventfds, pipes[1]);

		ASSERT_EQ(1, read(pipes[0], &c, 1));
		usleep(1000 * (i * 7 + 1));
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		close(pipes[0]);
		close(pipes[1]);
		ASSERT_EQ(0, host_irqs());
	}

	self->iommu = iommu_init(variant->iommu_mode);
	self->device = vfio_pci_device_init(device_bdf, self->iommu);
	ASSERT_EQ(0, irq_count(self->device->fd));
	if (self->device->msix_info.count)
		check_msix(self->device, 0);
}

int main(int argc, char *argv[])
{
	device_bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
