// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: interrupts of vfio-pci whose message store belongs to the user
 *
 * The user is this program: it writes the messages that the kernel tells it to
 * the slots of the device, which are mapped, and gets eventfds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "../driver/bypass.h"
#include "imstest.h"

#define PCI		"/sys/bus/pci"
#define MAX_IRQS	"/sys/module/vfio_pci_core/parameters/ims_max_irqs"
#define UNSAFE		"/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"

#define NR_IRQS		64
#define NR_SENT		(long_run ? 1000000u : 20000u)

/* More than two CPUs have vectors for */
#define TOO_MANY	1000

/* A slot that nobody uses, of the other device */
#define FOREIGN		5

/* Addresses of memory for a device: there is one page, and nothing behind it */
#define MAPPED		0x10000000u
#define NOT_MAPPED	0x10001000u

/* Reasons of faults */
#define NOT_PRESENT	0x22
#define SOURCE_ID	0x26

static void bind_vfio(const char *bdf)
{
	write_file("vfio-pci", PCI "/devices/%s/driver_override", bdf);
	if (exists(PCI "/drivers/vfio-pci/%s", bdf))
		return;
	if (exists(PCI "/devices/%s/driver", bdf))
		write_file(bdf, PCI "/devices/%s/driver/unbind", bdf);
	CHECK(!write_file(bdf, PCI "/drivers_probe"), "cannot probe %s", bdf);
	CHECK(exists(PCI "/drivers/vfio-pci/%s", bdf), "vfio-pci does not bind to %s", bdf);
}

void bind_to_vfio(unsigned int nr)
{
	char bdf[16];

	device_address(nr, bdf, sizeof(bdf));
	bind_vfio(bdf);
}

static unsigned int group_number(const char *bdf)
{
	char path[128], link[256];
	ssize_t len;

	snprintf(path, sizeof(path), PCI "/devices/%s/iommu_group", bdf);
	len = readlink(path, link, sizeof(link) - 1);
	CHECK(len > 0, "%s has no IOMMU group", bdf);
	link[len] = '\0';
	return strtoul(strrchr(link, '/') + 1, NULL, 10);
}

static struct vfio_region_info region(const struct user *u, unsigned int index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	CHECK(!ioctl(u->fd, VFIO_DEVICE_GET_REGION_INFO, &info), "region %u: %s", index,
	      strerror(errno));
	return info;
}

static void *map_region(const struct user *u, unsigned int bar)
{
	struct vfio_region_info info = region(u, bar);
	void *map = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, info.offset);

	CHECK(map != MAP_FAILED, "cannot map BAR %u: %s", bar, strerror(errno));
	return map;
}

static void write_command(const struct user *u, u16 cmd)
{
	off_t pos = region(u, VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND;

	CHECK(pwrite(u->fd, &cmd, sizeof(cmd), pos) == sizeof(cmd), "cannot write the command");
}

/* Memory and messages */
static void enable(const struct user *u)
{
	write_command(u, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

struct user *open_user(unsigned int nr)
{
	struct user *u = calloc(1, sizeof(*u));
	char path[64], bdf[16];

	device_address(nr, bdf, sizeof(bdf));
	bind_vfio(bdf);
	snprintf(path, sizeof(path), "/dev/vfio/%u", group_number(bdf));
	u->container = open("/dev/vfio/vfio", O_RDWR);
	u->group = open(path, O_RDWR);
	CHECK(u->container >= 0 && u->group >= 0, "cannot open %s: %s", path, strerror(errno));
	CHECK(!ioctl(u->group, VFIO_GROUP_SET_CONTAINER, &u->container) &&
	      !ioctl(u->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
	      "no container: %s", strerror(errno));
	u->fd = ioctl(u->group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	CHECK(u->fd >= 0, "cannot open %s: %s", bdf, strerror(errno));

	enable(u);
	u->dev = find_device(nr);
	u->dev->regs = map_region(u, PCI_IMS_BAR_REGS);
	u->dev->slots = map_region(u, PCI_IMS_BAR_SLOTS);
	u->dev->spurious = reg_read(u->dev, PCI_IMS_ALL_SPURIOUS);
	u->dev->torn = reg_read(u->dev, PCI_IMS_ALL_TORN);
	u->dev->invalid = reg_read(u->dev, PCI_IMS_INVALID);
	return u;
}

void close_user(struct user *u)
{
	munmap(u->dev->regs, PCI_IMS_REGS_SIZE);
	munmap(u->dev->slots, PCI_IMS_MAX_SLOTS * PCI_IMS_SLOT_SIZE);
	close(u->fd);
	close(u->group);
	close(u->container);
}

/* @ims is what is set or what is returned */
static int size_feature(const struct user *u, u32 op, struct vfio_device_feature_pci_ims *ims)
{
	struct {
		struct vfio_device_feature hdr;
		struct vfio_device_feature_pci_ims ims;
	} arg = {
		.hdr.argsz = sizeof(arg),
		.hdr.flags = op | VFIO_DEVICE_FEATURE_PCI_IMS,
		.ims = *ims,
	};
	int ret = ioctl(u->fd, VFIO_DEVICE_FEATURE, &arg) ? -errno : 0;

	*ims = arg.ims;
	return ret;
}

static int try_size(const struct user *u, u32 size)
{
	struct vfio_device_feature_pci_ims ims = { .size = size };

	return size_feature(u, VFIO_DEVICE_FEATURE_SET, &ims);
}

static void set_limit(const char *limit)
{
	CHECK(!write_file(limit, MAX_IRQS), "cannot set the limit");
}

static void check_size(const struct user *u, u32 size, u32 max)
{
	struct vfio_device_feature_pci_ims ims = {};
	int ret = size_feature(u, VFIO_DEVICE_FEATURE_GET, &ims);

	CHECK(!ret && ims.size == size && ims.max_size == max, "size %u of %u, should be %u of %u: %s",
	      ims.size, ims.max_size, size, max, strerror(-ret));
}

void set_size(const struct user *u, u32 size)
{
	int ret = try_size(u, size);

	CHECK(!ret, "size %u: %s", size, strerror(-ret));
}

static int try_eventfds(const struct user *u, u32 start, u32 count, const int *fds)
{
	size_t size = sizeof(struct vfio_irq_set) + count * sizeof(*fds);
	struct vfio_irq_set *set = calloc(1, size);
	int ret;

	set->argsz = size;
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
	set->index = VFIO_PCI_IMS_IRQ_INDEX;
	set->start = start;
	set->count = count;
	memcpy(set->data, fds, count * sizeof(*fds));
	ret = ioctl(u->fd, VFIO_DEVICE_SET_IRQS, set) ? -errno : 0;
	free(set);
	return ret;
}

static void set_eventfd(const struct user *u, u32 index, int fd)
{
	int ret = try_eventfds(u, index, 1, &fd);

	CHECK(!ret, "eventfd %d for interrupt %u: %s", fd, index, strerror(-ret));
}

struct slot get_message(const struct user *u, u32 index)
{
	struct {
		struct vfio_device_feature hdr;
		struct vfio_device_feature_pci_ims_msgs range;
		struct vfio_pci_ims_msg msg;
	} arg = {
		.hdr.argsz = sizeof(arg),
		.hdr.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PCI_IMS_MSGS,
		.range.start = index,
		.range.count = 1,
	};

	CHECK(!ioctl(u->fd, VFIO_DEVICE_FEATURE, &arg), "message %u: %s", index, strerror(errno));
	CHECK(arg.msg.flags == VFIO_PCI_IMS_MSG_ASSIGNED, "interrupt %u is not assigned", index);
	return (struct slot) {
		.addr_lo	= arg.msg.address,
		.addr_hi	= arg.msg.address >> 32,
		.data		= arg.msg.data,
	};
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK(fd >= 0, "no eventfd: %s", strerror(errno));
	return fd;
}

static u64 events(int fd)
{
	u64 value;

	return read(fd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

int use_interrupt(const struct user *u, u32 index)
{
	int fd = new_eventfd();
	struct slot msg;

	set_eventfd(u, index, fd);
	msg = get_message(u, index);
	write_slot(u->dev, index, &msg);
	clear_counters(u->dev, index);
	return fd;
}

/* What take_vectors() has taken */
static struct user *taker;

long take_vectors(unsigned int nr)
{
	int fd = new_eventfd(), ret = 0;
	u32 i;

	taker = open_user(nr);
	set_size(taker, TOO_MANY);
	for (i = 0; i < TOO_MANY && !ret; i++)
		ret = try_eventfds(taker, i, 1, &fd);
	close(fd);
	return ret == -ENOSPC ? (long)i - 1 : ret ? : -ERANGE;
}

void give_vectors(void)
{
	close_user(taker);
}

/*
 * What take_entries() has taken: an interrupt of MSI-X that nobody has requested has a
 * remapping entry, and no vector
 */
static struct {
	char	bdf[16];
	int	fd;
} entry_takers[64];
static unsigned int nr_entry_takers;

/* Its own file, not that of the group, which has more devices. They have the same owner. */
static int open_cdev(const char *bdf)
{
	static struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = -1 };
	char path[PATH_MAX];
	glob_t names;
	int fd;

	bind_vfio(bdf);
	snprintf(path, sizeof(path), PCI "/devices/%s/vfio-dev/vfio*", bdf);
	CHECK(!glob(path, 0, NULL, &names), "%s has no file", bdf);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", strrchr(names.gl_pathv[0], '/') + 1);
	globfree(&names);
	fd = open(path, O_RDWR);
	if (bind.iommufd < 0)
		bind.iommufd = open("/dev/iommu", O_RDWR);
	CHECK(fd >= 0 && bind.iommufd >= 0 && !ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind),
	      "cannot open %s: %s", path, strerror(errno));
	return fd;
}

/* Return: 0, how many there could be if not all of them, or -errno */
static long try_irq(int fd, u32 index, u32 start, int eventfd)
{
	struct {
		struct vfio_irq_set set;
		int32_t fd;
	} arg = {
		.set.argsz = sizeof(arg),
		.set.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
		.set.index = index,
		.set.start = start,
		.set.count = 1,
		.fd = eventfd,
	};
	int ret = ioctl(fd, VFIO_DEVICE_SET_IRQS, &arg);

	return ret < 0 ? -errno : ret;
}

static long try_msix(int fd, u32 nr)
{
	return try_irq(fd, VFIO_PCI_MSIX_IRQ_INDEX, nr - 1, -1);
}

long take_entries(unsigned int first, u32 nr)
{
	unsigned int i = nr_entry_takers++;
	long ret;

	CHECK(i < ARRAY_SIZE(entry_takers), "too many devices");
	device_address(first + i, entry_takers[i].bdf, sizeof(entry_takers[i].bdf));
	entry_takers[i].fd = open_cdev(entry_takers[i].bdf);
	ret = try_msix(entry_takers[i].fd, nr);
	if (ret > 0) {
		nr = ret;
		ret = try_msix(entry_takers[i].fd, nr);
	}
	return ret ? : nr;
}

/* Without a driver the device has no interrupt domain, either */
unsigned int give_entries(void)
{
	unsigned int i = --nr_entry_takers;

	close(entry_takers[i].fd);
	write_file(entry_takers[i].bdf, PCI "/drivers/vfio-pci/unbind");
	return i;
}

void raise_one(const struct user *u, u32 index)
{
	trigger(u->dev, index, 1, 1, PCI_IMS_GO_RAW);
}

void check_event(const struct user *u, u32 index, int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	u64 value;

	CHECK(!events(fd), "interrupt %u: an event before it is raised", index);
	raise_one(u, index);
	CHECK(poll(&poll_fd, 1, PATIENCE * 1000) == 1, "interrupt %u did not arrive", index);
	value = events(fd);
	CHECK(value == 1, "interrupt %u arrived %llu times", index, (unsigned long long)value);
}

static void check_no_event(const struct user *u, u32 index, int fd)
{
	u32 sent = reg_read(u->dev, PCI_IMS_ALL_SENT);

	raise_one(u, index);
	usleep(SILENCE * 1000000);
	CHECK(!events(fd), "an interrupt arrived");
	CHECK(reg_read(u->dev, PCI_IMS_ALL_SENT) == sent + 1, "nothing was sent");
}

/* Linux interrupt numbers of the device. Return: how many there are. */
static unsigned int find_virqs(const struct user *u, unsigned int *virqs, unsigned int size)
{
	char *text = read_file("/proc/interrupts"), *next = text, *line, name[32];
	unsigned int nr = 0;

	snprintf(name, sizeof(name), "](%s)", u->dev->bdf);
	while ((line = strsep(&next, "\n"))) {
		if (!strstr(line, "vfio-ims[") || !strstr(line, name))
			continue;
		if (nr < size)
			virqs[nr] = strtoul(line, NULL, 10);
		nr++;
	}
	free(text);
	return nr;
}

/**
 * struct traffic - What goes on while interrupts arrive
 * @u:		The device
 * @fds:	Two eventfds for each interrupt
 * @stop:	Enough
 * @moves:	Times an interrupt was moved
 * @masks:	Times a slot was masked
 * @swaps:	Times an interrupt got another eventfd
 * @events:	How many arrived, for each interrupt
 */
struct traffic {
	struct user	*u;
	int		fds[2][NR_IRQS];
	bool		stop;
	unsigned int	moves;
	unsigned int	masks;
	unsigned int	swaps;
	u32		events[NR_IRQS];
};

static void *move_thread(void *arg)
{
	struct traffic *t = arg;
	unsigned int virqs[NR_IRQS];

	CHECK(find_virqs(t->u, virqs, NR_IRQS) == NR_IRQS, "not all interrupts are there");
	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		/* EBUSY: the vector of the previous move is still in use */
		try_affinity(virqs[t->moves % NR_IRQS], t->moves / NR_IRQS % 2);
		t->moves++;
		usleep(300);
	}
	return NULL;
}

static void *mask_thread(void *arg)
{
	struct traffic *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		u32 index = t->masks % NR_IRQS;

		write_slot_word(t->u->dev, index, PCI_IMS_SLOT_CTRL, PCI_IMS_CTRL_MASK);
		usleep(100);
		write_slot_word(t->u->dev, index, PCI_IMS_SLOT_CTRL, 0);
		t->masks++;
	}
	return NULL;
}

static void *swap_thread(void *arg)
{
	struct traffic *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		u32 index = t->swaps % NR_IRQS;

		set_eventfd(t->u, index, t->fds[t->swaps / NR_IRQS % 2][index]);
		t->swaps++;
		usleep(300);
	}
	return NULL;
}

/* Each paced event comes after the acknowledgement of the one before */
static void *receive_thread(void *arg)
{
	struct traffic *t = arg;
	struct epoll_event ev;
	int epoll = epoll_create1(0);
	unsigned int i, j;

	for (i = 0; i < 2; i++) {
		for (j = 0; j < NR_IRQS; j++) {
			ev = (struct epoll_event) {
				.events = EPOLLIN,
				.data.u64 = (u64)j << 32 | t->fds[i][j],
			};
			epoll_ctl(epoll, EPOLL_CTL_ADD, t->fds[i][j], &ev);
		}
	}

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		if (epoll_wait(epoll, &ev, 1, 10) != 1)
			continue;
		i = ev.data.u64 >> 32;
		t->events[i] += events((int)ev.data.u64);
		reg_write(t->u->dev, PCI_IMS_ACK, i);
	}
	return NULL;
}

static void run_traffic(struct traffic *t, bool disturb)
{
	void *(*funcs[])(void *) = { receive_thread, move_thread, mask_thread, swap_thread };
	unsigned int nr = disturb ? ARRAY_SIZE(funcs) : 1, i;
	u32 times = NR_SENT / NR_IRQS + 1;
	pthread_t threads[ARRAY_SIZE(funcs)];

	for (i = 0; i < NR_IRQS; i++) {
		t->fds[0][i] = use_interrupt(t->u, i);
		t->fds[1][i] = new_eventfd();
	}
	for (i = 0; i < nr; i++)
		CHECK(!pthread_create(&threads[i], NULL, funcs[i], t), "no thread");

	trigger(t->u->dev, 0, NR_IRQS, times, PCI_IMS_GO_PACED);
	drain(t->u->dev, 0, NR_IRQS);
	__atomic_store_n(&t->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);

	for (i = 0; i < NR_IRQS; i++) {
		struct counters cnt = counters(t->u->dev, i);

		CHECK(cnt.sent == times && t->events[i] == times, "slot %u: %u sent, %u arrived", i,
		      cnt.sent, t->events[i]);
		CHECK(!cnt.writes, "slot %u: %u writes which are not ours", i, cnt.writes);
	}
	check_device(t->u->dev);
	note("%u interrupts, %u moves, %u masks, %u new eventfds", times * NR_IRQS, t->moves,
	     t->masks, t->swaps);
}

static void test_arrival(void)
{
	struct traffic t = { .u = open_user(2) };

	set_size(t.u, NR_IRQS);
	run_traffic(&t, false);
}

static void test_disturbed(void)
{
	struct traffic t = { .u = open_user(2) };

	set_size(t.u, NR_IRQS);
	run_traffic(&t, true);
}

/* What is released is blocked and reported, and the neighbour does not notice */
static void test_released(void)
{
	struct user *u = open_user(2);
	int gone, stays;
	char requester[64], fault[64];
	int log = open_log();

	set_size(u, 2);
	gone = use_interrupt(u, 0);
	stays = use_interrupt(u, 1);
	check_event(u, 0, gone);
	set_eventfd(u, 0, -1);
	check_no_event(u, 0, gone);
	check_event(u, 1, stays);

	snprintf(requester, sizeof(requester), "Request device [%s] fault index", u->dev->bdf);
	snprintf(fault, sizeof(fault), "[fault reason 0x%02x]", NOT_PRESENT);
	CHECK(wait_for_log(log, requester, fault), "no fault was reported");
}

/* The message of another device does not get through */
static void test_other_device(void)
{
	struct user *victim = open_user(2), *u = open_user(0);
	char requester[64], fault[64];
	int fd, log = open_log();
	struct slot msg;

	set_size(victim, 1);
	fd = use_interrupt(victim, 0);
	check_event(victim, 0, fd);

	msg = get_message(victim, 0);
	write_slot(u->dev, FOREIGN, &msg);
	check_no_event(u, FOREIGN, fd);
	check_event(victim, 0, fd);

	snprintf(requester, sizeof(requester), "Request device [%s] fault index", u->dev->bdf);
	snprintf(fault, sizeof(fault), "[fault reason 0x%02x]", SOURCE_ID);
	CHECK(wait_for_log(log, requester, fault), "no fault was reported");
}

static void write_anywhere(const struct user *u, u32 address, u32 data)
{
	struct slot msg = { .addr_lo = address, .data = data };

	write_slot(u->dev, 0, &msg);
	raise_one(u, 0);
}

/* A message that is not for the interrupt address range is DMA, and gets as far as that */
static void test_memory(void)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.iova = MAPPED,
		.size = 4096,
	};
	struct user *u = open_user(2);
	volatile u32 *page;
	char address[64];
	unsigned int i;
	int log;

	page = mmap(NULL, map.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED, "no memory");
	map.vaddr = (uintptr_t)page;
	CHECK(!ioctl(u->container, VFIO_IOMMU_MAP_DMA, &map), "cannot map: %s", strerror(errno));

	write_anywhere(u, MAPPED + 8, 0x12345678);
	CHECK(WAIT(PATIENCE, page[2] == 0x12345678), "the message is not in the memory");

	log = open_log();
	write_anywhere(u, NOT_MAPPED, 0x87654321);
	snprintf(address, sizeof(address), "Request device [%s] fault addr %#x", u->dev->bdf,
		 NOT_MAPPED);
	CHECK(wait_for_log(log, address, "[DMA Write"), "no fault was reported");
	for (i = 0; i < map.size / sizeof(*page); i++)
		CHECK(page[i] == (i == 2 ? 0x12345678 : 0), "word %u is %x", i, page[i]);
	close_user(u);
}

/*
 * Where messages are not isolated, and the administrator lets devices have users all the
 * same. Return: 0 or -errno, what VFIO says of IMS.
 */
int probe_unsafe(unsigned int nr)
{
	struct vfio_device_feature_pci_ims ims = {};
	struct user *u;
	int ret;

	CHECK(!write_file("Y", UNSAFE), "cannot allow unsafe interrupts");
	set_limit("2048");
	u = open_user(nr);
	ret = size_feature(u, VFIO_DEVICE_FEATURE_PROBE, &ims);
	CHECK(size_feature(u, VFIO_DEVICE_FEATURE_GET, &ims) == ret, "its size can be asked for");
	CHECK(try_size(u, 1) == ret, "its size can be set");
	close_user(u);
	return ret;
}

static int reset_function(const struct user *u)
{
	return ioctl(u->fd, VFIO_DEVICE_RESET) ? -errno : 0;
}

/* All that is on the bus, which belongs to us */
static int reset_bus(const struct user *u)
{
	struct {
		struct vfio_pci_hot_reset reset;
		__s32 group;
	} arg = {
		.reset.argsz = sizeof(arg),
		.reset.count = 1,
		.group = u->group,
	};

	return ioctl(u->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg) ? -errno : 0;
}

/* The store is empty after a reset and the message is the same */
static void check_reset(struct user *u, int (*reset)(const struct user *u))
{
	struct slot before, after;
	int fd, ret;

	set_size(u, 1);
	fd = use_interrupt(u, 0);
	check_event(u, 0, fd);
	before = get_message(u, 0);

	ret = reset(u);
	CHECK(!ret, "reset: %s", strerror(-ret));
	enable(u);
	after = slot(u->dev, 0);
	CHECK(!after.addr_lo && !after.data, "the slot was restored");
	after = get_message(u, 0);
	CHECK(!memcmp(&before, &after, sizeof(before)), "the message has changed");
	write_slot(u->dev, 0, &after);
	check_event(u, 0, fd);
}

static void test_reset(void)
{
	check_reset(open_user(2), reset_function);
}

/* Of the device behind the root port */
static void test_hot_reset(void)
{
	check_reset(open_user(3), reset_bus);
}

static off_t find_capability(const struct user *u, u8 id)
{
	off_t config = region(u, VFIO_PCI_CONFIG_REGION_INDEX).offset;
	u8 cap[2], pos;

	CHECK(pread(u->fd, &pos, 1, config + PCI_CAPABILITY_LIST) == 1, "cannot read");
	for (; pos; pos = cap[1]) {
		CHECK(pread(u->fd, cap, sizeof(cap), config + pos) == sizeof(cap), "cannot read");
		if (cap[0] == id)
			return config + pos;
	}
	fail("capability %u is not there", id);
}

static int try_msix_flags(const struct user *u, u32 flags)
{
	struct {
		struct vfio_device_feature hdr;
		struct vfio_device_feature_pci_ims_msix msix;
	} arg = {
		.hdr.argsz = sizeof(arg),
		.hdr.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_IMS_MSIX,
		.msix.flags = flags,
	};

	return ioctl(u->fd, VFIO_DEVICE_FEATURE, &arg) ? -errno : 0;
}

static void set_msix(const struct user *u, u32 flags)
{
	int ret = try_msix_flags(u, flags);

	CHECK(!ret, "flags %u of MSI-X: %s", flags, strerror(-ret));
}

/* Bits of its capability that the device has set */
static void check_msix(const struct user *u, u16 wanted)
{
	off_t pos = find_capability(u, PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS;
	u16 ctrl;

	CHECK(pread(u->fd, &ctrl, sizeof(ctrl), pos) == sizeof(ctrl), "cannot read");
	ctrl &= PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
	CHECK(ctrl == wanted, "MSI-X has flags %#x, should be %#x", ctrl, wanted);
}

static void set_power_state(const struct user *u, u16 state)
{
	off_t pos = find_capability(u, PCI_CAP_ID_PM) + PCI_PM_CTRL;
	u16 ctrl;

	CHECK(pwrite(u->fd, &state, sizeof(state), pos) == sizeof(state), "cannot write");
	CHECK(pread(u->fd, &ctrl, sizeof(ctrl), pos) == sizeof(ctrl) &&
	      (ctrl & PCI_PM_CTRL_STATE_MASK) == state, "not in D%u", state);
}

static void set_low_power(const struct user *u, u32 feature)
{
	struct vfio_device_feature arg = {
		.argsz = sizeof(arg),
		.flags = VFIO_DEVICE_FEATURE_SET | feature,
	};

	CHECK(!ioctl(u->fd, VFIO_DEVICE_FEATURE, &arg), "feature %u: %s", feature, strerror(errno));
}

static void enter_d3(const struct user *u)
{
	set_power_state(u, 3);
}

static void leave_d3(const struct user *u)
{
	set_power_state(u, 0);
}

/* Each call wakes the device up for as long as it takes */
static bool is_suspended(const struct user *u)
{
	char *status = read_file(PCI "/devices/%s/power/runtime_status", u->dev->bdf);
	bool ret = !strcmp(status, "suspended\n");

	free(status);
	return ret;
}

static void enter_low_power(const struct user *u)
{
	set_low_power(u, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
	CHECK(WAIT(PATIENCE, is_suspended(u)), "the device does not sleep");
}

static void leave_low_power(const struct user *u)
{
	CHECK(WAIT(PATIENCE, is_suspended(u)), "the device does not sleep any more");
	set_low_power(u, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
}

/*
 * Interrupts stay, and can be assigned and released, while the device sleeps. In D3 it does so
 * all the time, with runtime power management between the calls.
 */
static void check_sleep(void (*enter)(const struct user *u), void (*leave)(const struct user *u))
{
	struct user *u = open_user(3);
	struct slot before, after, new;
	int fd, fds[2], i;

	set_size(u, 3);
	fd = use_interrupt(u, 0);
	fds[0] = use_interrupt(u, 1);
	fds[1] = new_eventfd();
	before = get_message(u, 0);
	set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE);

	enter(u);
	after = get_message(u, 0);
	CHECK(!memcmp(&before, &after, sizeof(before)), "the message has changed");
	set_eventfd(u, 1, -1);
	set_eventfd(u, 2, fds[1]);
	new = get_message(u, 2);

	leave(u);
	enable(u);
	check_msix(u, PCI_MSIX_FLAGS_ENABLE);
	after = slot(u->dev, 0);
	CHECK(after.addr_lo == before.addr_lo && after.data == before.data, "slot 0 was written");
	write_slot(u->dev, 2, &new);
	for (i = 0; i < 2; i++) {
		check_event(u, 0, fd);
		check_event(u, 2, fds[1]);
	}
	check_no_event(u, 1, fds[0]);
	close_user(u);
}

static void test_d3(void)
{
	check_sleep(enter_d3, leave_d3);
}

static int sleep_in_d3(const struct user *u)
{
	enter_d3(u);
	leave_d3(u);
	return 0;
}

/* Of a device that loses its state there */
static void test_d3_reset(void)
{
	check_reset(open_user(4), sleep_in_d3);
}

/* By way of the runtime power management of the host */
static void test_low_power(void)
{
	check_sleep(enter_low_power, leave_low_power);
}

/* A move of the interrupt changes neither the message nor the slot */
static void test_move(void)
{
	struct user *u = open_user(2);
	struct slot before, after;
	unsigned int virq, cpu;
	int fd;

	set_size(u, 1);
	fd = use_interrupt(u, 0);
	before = get_message(u, 0);
	CHECK(find_virqs(u, &virq, 1) == 1, "not one interrupt");

	for (cpu = 0; cpu < 2; cpu++) {
		CHECK(WAIT(PATIENCE, !try_affinity(virq, cpu) && irq_is_on(virq, cpu)),
		      "cannot move it to CPU %u", cpu);
		check_event(u, 0, fd);
	}
	set_online(1, false);
	check_event(u, 0, fd);
	set_online(1, true);

	after = get_message(u, 0);
	CHECK(!memcmp(&before, &after, sizeof(before)), "the message has changed");
	CHECK(!counters(u->dev, 0).writes, "the host wrote the slot");
}

/* Out of vectors: all of the range or nothing, and fewer work */
static void test_out_of_vectors(void)
{
	struct user *u = open_user(2);
	struct resources before;
	int fds[TOO_MANY], ret, fd;
	unsigned int i;

	set_size(u, TOO_MANY);
	fd = use_interrupt(u, 0);
	for (i = 0; i < TOO_MANY; i++)
		fds[i] = new_eventfd();

	before = resources();
	ret = try_eventfds(u, 1, TOO_MANY - 1, fds);
	CHECK(ret == -ENOSPC, "%u interrupts: %s", TOO_MANY, strerror(-ret));
	check_resources(&before);
	check_event(u, 0, fd);

	/* One by one until they are used up */
	for (i = 1; i < TOO_MANY; i++) {
		ret = try_eventfds(u, i, 1, &fds[i]);
		if (ret)
			break;
	}
	CHECK(ret == -ENOSPC && i > 100, "interrupt %u: %s", i, strerror(-ret));
	note("%u interrupts", i);
	check_event(u, 0, fd);

	/* A retry works as soon as there is one */
	set_eventfd(u, 1, -1);
	CHECK(WAIT(PATIENCE, !try_eventfds(u, i, 1, &fds[i])), "the retry failed");
	close_user(u);
}

static void check_refused_size(const struct user *u, u32 size, const char *what)
{
	int ret = try_size(u, size);

	CHECK(ret == -ENOSPC, "%s: %s", what, ret ? strerror(-ret) : "done");
}

/* What was set before the limit was lowered can be kept and reduced, and is no less good */
static void test_limit(void)
{
	struct user *u = open_user(2);
	int fd;

	set_limit("4");
	check_refused_size(u, 5, "beyond the limit");
	set_size(u, 4);
	check_size(u, 4, 4);
	set_limit("8");
	set_size(u, 8);

	set_limit("4");
	check_refused_size(u, 9, "beyond the limit, and more than before");
	check_size(u, 8, 4);
	fd = use_interrupt(u, 7);
	check_event(u, 7, fd);
	set_size(u, 8);
	CHECK(try_size(u, 7) == -EBUSY, "less than what is in use");
	set_eventfd(u, 7, -1);
	set_size(u, 6);
	check_refused_size(u, 7, "beyond the limit, as it was before");
	check_size(u, 6, 4);
	set_size(u, 0);
	set_limit("2048");
	set_size(u, 2048);
	check_refused_size(u, 2049, "beyond 2048");
}

/* Nobody has allowed the interrupts: there are none, and no domain for them */
static void test_not_allowed(void)
{
	struct vfio_device_feature_pci_ims ims = {};
	struct resources before;
	struct user *u = open_user(2);
	int fd = new_eventfd(), ret;

	before = resources();
	set_limit("0");
	ret = size_feature(u, VFIO_DEVICE_FEATURE_PROBE, &ims);
	CHECK(!ret, "probe: %s", strerror(-ret));
	check_size(u, 0, 0);
	check_refused_size(u, 1, "not allowed");
	set_size(u, 0);
	ret = try_eventfds(u, 0, 1, &fd);
	CHECK(ret == -EINVAL, "interrupt 0: %s", ret ? strerror(-ret) : "done");
	check_resources(&before);
	set_limit("2048");
	set_size(u, 1);
}

/* Closing it gives everything back, also while it raises interrupts */
static void test_close(void)
{
	struct resources before;
	struct user *u;
	unsigned int i, j;

	close_user(open_user(2));
	before = resources();

	for (i = 0; i < (long_run ? 5 : 2); i++) {
		u = open_user(2);
		set_size(u, NR_IRQS);
		for (j = 0; j < NR_IRQS; j++)
			use_interrupt(u, j);
		trigger(u->dev, 0, NR_IRQS, 100, PCI_IMS_GO_RAW);
		close_user(u);
		check_resources(&before);
	}
}

static void *remove_thread(void *arg)
{
	struct user *u = arg;

	write_file("1", PCI "/devices/%s/remove", u->dev->bdf);
	return NULL;
}

/* Removal asks the user to close it and waits */
static void test_unplug(void)
{
	struct pollfd request = { .fd = new_eventfd(), .events = POLLIN };
	struct {
		struct vfio_irq_set set;
		int fd;
	} arg = {
		.set.argsz = sizeof(arg),
		.set.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
		.set.index = VFIO_PCI_REQ_IRQ_INDEX,
		.set.count = 1,
		.fd = request.fd,
	};
	struct user *u = open_user(2);
	unsigned int virq;
	pthread_t thread;
	int fd;

	CHECK(!ioctl(u->fd, VFIO_DEVICE_SET_IRQS, &arg), "request: %s", strerror(errno));
	set_size(u, NR_IRQS);
	fd = use_interrupt(u, 0);
	CHECK(!pthread_create(&thread, NULL, remove_thread, u), "no thread");
	CHECK(poll(&request, 1, PATIENCE * 1000) == 1, "nobody asked to close the device");
	check_event(u, 0, fd);
	close_user(u);
	pthread_join(thread, NULL);
	CHECK(!exists(PCI "/devices/%s", u->dev->bdf), "the device is still there");
	CHECK(!find_virqs(u, &virq, 1), "an interrupt is still there");
	write_file("1", PCI "/rescan");
}

/*
 * Who consumes the eventfd of an interrupt, as KVM does, has it posted to a vCPU
 */
static int open_bypass(void)
{
	int fd;

	if (!exists("/dev/bypass"))
		CHECK(!system("insmod /bypass.ko"), "no consumer of irq bypass");
	fd = open("/dev/bypass", O_RDWR);
	CHECK(fd >= 0, "cannot open /dev/bypass: %s", strerror(errno));
	return fd;
}

static int try_consume(int bypass, int fd)
{
	return ioctl(bypass, BYPASS_CONSUME, &fd) ? -errno : 0;
}

static struct bypass_state state_of(int bypass)
{
	struct bypass_state state;

	CHECK(!ioctl(bypass, BYPASS_STATE, &state), "irq bypass: %s", strerror(errno));
	return state;
}

/* Return: the Linux interrupt number of what is posted, 0: nothing is */
static u32 check_bypass(int bypass, u32 added, u32 removed)
{
	struct bypass_state state = state_of(bypass);

	CHECK(state.added == added && state.removed == removed,
	      "posted %u times and taken back %u times, wanted %u and %u", state.added, state.removed,
	      added, removed);
	CHECK(!state.irq == (added == removed), "interrupt %u is posted", state.irq);
	CHECK(!state.posted, "an interrupt was posted to the wrong vCPU, or instead of signaled");
	return state.irq;
}

static void check_posted(const struct user *u, u32 index, int fd, int bypass)
{
	raise_one(u, index);
	CHECK(WAIT(PATIENCE, state_of(bypass).posted), "interrupt %u is not posted", index);
	CHECK(!events(fd), "interrupt %u is posted, and signaled", index);
}

static void test_bypass(void)
{
	struct user *u = open_user(2);
	int bypass[2], fds[2], swapped[2], other = new_eventfd(), ret;
	u32 virqs[2], i;

	set_size(u, 2);
	for (i = 0; i < 2; i++) {
		bypass[i] = open_bypass();
		fds[i] = use_interrupt(u, i);
		check_event(u, i, fds[i]);
		ret = try_consume(bypass[i], fds[i]);
		CHECK(!ret, "consuming eventfd %u: %s", i, strerror(-ret));
		virqs[i] = check_bypass(bypass[i], 1, 0);
		check_posted(u, i, fds[i], bypass[i]);
	}
	CHECK(virqs[0] != virqs[1], "interrupt %u is posted for both eventfds", virqs[0]);

	/* The eventfds change places */
	swapped[0] = fds[1];
	swapped[1] = fds[0];
	ret = try_eventfds(u, 0, 2, swapped);
	CHECK(!ret, "swapping eventfds: %s", strerror(-ret));
	for (i = 0; i < 2; i++) {
		CHECK(check_bypass(bypass[i], 2, 1) == virqs[!i], "the wrong interrupt is posted");
		check_posted(u, !i, fds[i], bypass[i]);
	}

	/* The vCPU goes */
	close(bypass[1]);
	check_event(u, 0, fds[1]);

	/* The eventfd goes, and comes back */
	set_eventfd(u, 1, other);
	check_bypass(bypass[0], 2, 2);
	check_event(u, 1, other);
	set_eventfd(u, 1, fds[0]);
	check_bypass(bypass[0], 3, 2);
	check_posted(u, 1, fds[0], bypass[0]);

	/* The interrupt goes, and comes back */
	set_eventfd(u, 1, -1);
	check_bypass(bypass[0], 3, 3);
	set_eventfd(u, 1, fds[0]);
	check_bypass(bypass[0], 4, 3);

	close_user(u);
	check_bypass(bypass[0], 4, 4);
	close(bypass[0]);
}

/* What cannot be posted is signaled */
static void test_bypass_fails(void)
{
	struct user *u = open_user(2);
	int bypass = open_bypass(), fd, ret;

	quiet();
	set_size(u, 1);
	fd = use_interrupt(u, 0);
	fail_next(FAIL_INVALIDATE, 1);
	ret = try_consume(bypass, fd);
	fail_none();
	CHECK(ret == -EIO || ret == -ETIMEDOUT, "no error of the consumer: %s", strerror(-ret));
	check_bypass(bypass, 0, 0);
	check_event(u, 0, fd);

	ret = try_consume(bypass, fd);
	CHECK(!ret, "consuming the eventfd: %s", strerror(-ret));
	check_posted(u, 0, fd, bypass);

	/* Taking it back tries twice and does not fail, but posting it again does */
	fail_next(FAIL_INVALIDATE, 3);
	set_eventfd(u, 0, fd);
	fail_none();
	check_bypass(bypass, 1, 1);
	check_event(u, 0, fd);
	close_user(u);
	close(bypass);
}

/*
 * The table of MSI-X, which is mapped as well
 */
#define NR_VECTORS	4

static void write_entry(void *table, u32 i, const struct slot *msg)
{
	mmio_write(table, i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_LOWER_ADDR, msg->addr_lo);
	mmio_write(table, i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_UPPER_ADDR, msg->addr_hi);
	mmio_write(table, i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_DATA, msg->data);
	mmio_write(table, i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

static void mask_entry(void *table, u32 i, bool mask)
{
	mmio_write(table, i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL,
		   mask ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

/* Interrupts of the store, whose messages are in the table */
static void use_vectors(const struct user *u, void *table, int *fds)
{
	struct slot msg;
	u32 i;

	set_size(u, NR_VECTORS);
	for (i = 0; i < NR_VECTORS; i++) {
		fds[i] = new_eventfd();
		set_eventfd(u, i, fds[i]);
		msg = get_message(u, i);
		write_entry(table, i, &msg);
		clear_counters(u->dev, MSIX(i));
	}
}

static void check_held(const struct user *u, u32 i, int fd)
{
	raise_one(u, MSIX(i));
	usleep(SILENCE * 1000000);
	CHECK(!events(fd), "vector %u arrived although it is masked", i);
}

static void check_released(u32 i, int fd)
{
	CHECK(WAIT(PATIENCE, events(fd)), "vector %u did not arrive after it was masked", i);
}

static void test_msix_table(void)
{
	struct user *u = open_user(3);
	void *table = map_region(u, PCI_IMS_BAR_MSIX);
	int fds[NR_VECTORS], ret;
	unsigned int virq, cpu;
	u32 i;

	/* Until MSI-X is enabled nothing is sent */
	use_vectors(u, table, fds);
	check_msix(u, 0);
	set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE);
	check_msix(u, PCI_MSIX_FLAGS_ENABLE);
	for (i = 0; i < NR_VECTORS; i++)
		check_event(u, MSIX(i), fds[i]);
	CHECK(find_virqs(u, &virq, 1) == NR_VECTORS, "not the interrupts of the store");

	/* The message stays when the host moves it */
	for (cpu = 0; cpu < 2; cpu++) {
		CHECK(WAIT(PATIENCE, !try_affinity(virq, cpu) && irq_is_on(virq, cpu)),
		      "cannot move it to CPU %u", cpu);
		for (i = 0; i < NR_VECTORS; i++)
			check_event(u, MSIX(i), fds[i]);
	}

	/* An entry, and all of them, are masked by the user */
	mask_entry(table, 1, true);
	check_held(u, 1, fds[1]);
	check_event(u, MSIX(0), fds[0]);
	mask_entry(table, 1, false);
	check_released(1, fds[1]);
	set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE | VFIO_PCI_IMS_MSIX_MASK);
	check_msix(u, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	check_held(u, 0, fds[0]);
	set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE);
	check_released(0, fds[0]);

	/* One owner at a time */
	ret = try_msix(u->fd, 1);
	CHECK(ret == -EINVAL, "MSI-X of VFIO as well: %s", ret ? strerror(-ret) : "done");
	for (i = 0; i < NR_VECTORS; i++)
		check_event(u, MSIX(i), fds[i]);
	set_msix(u, 0);
	check_msix(u, 0);
	ret = try_msix(u->fd, 1);
	CHECK(!ret, "MSI-X of VFIO: %s", strerror(-ret));
	ret = try_msix_flags(u, VFIO_PCI_IMS_MSIX_ENABLE);
	CHECK(ret == -EBUSY, "MSI-X is VFIO's: %s", ret ? strerror(-ret) : "done");
	munmap(table, PCI_IMS_MSIX_SIZE);
	close_user(u);
}

/* DisINTx of the device, which is not what VFIO shows */
static void check_intx(const struct user *u, bool disabled)
{
	char path[64];
	u16 cmd;
	int fd;

	snprintf(path, sizeof(path), PCI "/devices/%s/config", u->dev->bdf);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && pread(fd, &cmd, sizeof(cmd), PCI_COMMAND) == sizeof(cmd), "cannot read");
	close(fd);
	CHECK(!!(cmd & PCI_COMMAND_INTX_DISABLE) == disabled, "INTx is %s",
	      disabled ? "enabled" : "disabled");
}

/* INTx is off while the user has the table, and what it was afterwards */
static void test_msix_intx(void)
{
	struct vfio_irq_set none = {
		.argsz = sizeof(none),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_INTX_IRQ_INDEX,
	};
	struct user *u = open_user(3);
	int fd = new_eventfd();
	long ret;

	ret = try_irq(u->fd, VFIO_PCI_INTX_IRQ_INDEX, 0, fd);
	CHECK(!ret, "INTx: %s", strerror(-ret));
	ret = try_msix_flags(u, VFIO_PCI_IMS_MSIX_ENABLE);
	CHECK(ret == -EBUSY, "INTx is in use: %s", ret ? strerror(-ret) : "done");
	check_msix(u, 0);
	check_intx(u, false);
	CHECK(!ioctl(u->fd, VFIO_DEVICE_SET_IRQS, &none), "INTx: %s", strerror(errno));

	set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE);
	check_intx(u, true);
	ret = try_irq(u->fd, VFIO_PCI_INTX_IRQ_INDEX, 0, fd);
	CHECK(ret == -EINVAL, "INTx with MSI-X: %s", ret ? strerror(-ret) : "done");
	ret = reset_function(u);
	CHECK(!ret, "reset: %s", strerror(-ret));
	check_msix(u, PCI_MSIX_FLAGS_ENABLE);
	check_intx(u, true);
	set_msix(u, 0);
	check_intx(u, false);

	/* What the user has turned off stays off */
	write_command(u, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	check_intx(u, true);
	set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE);
	set_msix(u, 0);
	check_intx(u, true);
	enable(u);
	check_intx(u, false);
	close_user(u);
}

/* The table is empty after a reset, and the device has its flags again */
static void check_msix_reset(struct user *u, int (*reset)(const struct user *u))
{
	static const struct {
		u32	flags;
		u16	ctrl;
	} states[] = {
		{ VFIO_PCI_IMS_MSIX_ENABLE, PCI_MSIX_FLAGS_ENABLE },
		{ VFIO_PCI_IMS_MSIX_ENABLE | VFIO_PCI_IMS_MSIX_MASK,
		  PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL },
		{ 0, 0 },
	};
	void *table = map_region(u, PCI_IMS_BAR_MSIX);
	struct slot msg;
	int fds[NR_VECTORS], ret;
	unsigned int i;

	use_vectors(u, table, fds);
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		set_msix(u, states[i].flags);
		ret = reset(u);
		CHECK(!ret, "reset: %s", strerror(-ret));
		check_msix(u, states[i].ctrl);
		enable(u);
		CHECK(!mmio_read(table, PCI_MSIX_ENTRY_LOWER_ADDR), "the table was restored");
		msg = get_message(u, 0);
		write_entry(table, 0, &msg);
		if (states[i].flags & VFIO_PCI_IMS_MSIX_MASK) {
			check_held(u, 0, fds[0]);
			set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE);
			check_released(0, fds[0]);
		} else {
			set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE);
			check_event(u, MSIX(0), fds[0]);
		}
	}
	munmap(table, PCI_IMS_MSIX_SIZE);
	close_user(u);
}

static void test_msix_reset(void)
{
	check_msix_reset(open_user(3), reset_function);
}

static void test_msix_hot_reset(void)
{
	check_msix_reset(open_user(3), reset_bus);
}

/* Of a device that loses its state there */
static void test_msix_d3_reset(void)
{
	check_msix_reset(open_user(4), sleep_in_d3);
}

/* MSI-X is disabled when the device is closed */
static void test_msix_close(void)
{
	struct resources before;
	struct user *u = open_user(3);
	int fds[NR_VECTORS];
	void *table;

	close_user(u);
	before = resources();

	u = open_user(3);
	table = map_region(u, PCI_IMS_BAR_MSIX);
	use_vectors(u, table, fds);
	set_msix(u, VFIO_PCI_IMS_MSIX_ENABLE | VFIO_PCI_IMS_MSIX_MASK);
	munmap(table, PCI_IMS_MSIX_SIZE);
	close_user(u);
	check_resources(&before);

	u = open_user(3);
	check_msix(u, 0);
	CHECK(!try_msix(u->fd, 1), "VFIO cannot use MSI-X any more");
	close_user(u);
}

static const struct test vfio_tests[] = {
	{ "arrival",		test_arrival },
	{ "disturbed",		test_disturbed },
	{ "released",		test_released },
	{ "other_device",	test_other_device },
	{ "memory",		test_memory },
	{ "reset",		test_reset },
	{ "hot_reset",		test_hot_reset },
	{ "d3",			test_d3 },
	{ "d3_reset",		test_d3_reset },
	{ "low_power",		test_low_power },
	{ "move",		test_move },
	{ "out_of_vectors",	test_out_of_vectors },
	{ "limit",		test_limit },
	{ "not_allowed",	test_not_allowed },
	{ "close",		test_close },
	{ "bypass",		test_bypass },
	{ "bypass_fails",	test_bypass_fails },
	{ "msix_table",		test_msix_table },
	{ "msix_intx",		test_msix_intx },
	{ "msix_reset",		test_msix_reset },
	{ "msix_hot_reset",	test_msix_hot_reset },
	{ "msix_d3_reset",	test_msix_d3_reset },
	{ "msix_close",		test_msix_close },
	{ "unplug",		test_unplug },
};

int run_vfio(const char *only)
{
	return run_tests(vfio_tests, ARRAY_SIZE(vfio_tests), only);
}
