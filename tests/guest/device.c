// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: a pci-ims device and the driver's file for it
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "imstest.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"

/* Sources whose counters a test may rely on, of each kind */
#define USED_SOURCES	256

/*
 * Registers
 */
static u32 mmio_read(const void *bar, size_t offset)
{
	return __atomic_load_n((const u32 *)(bar + offset), __ATOMIC_ACQUIRE);
}

static void mmio_write(void *bar, size_t offset, u32 val)
{
	__atomic_store_n((u32 *)(bar + offset), val, __ATOMIC_RELEASE);
}

u32 reg_read(const struct device *dev, unsigned int reg)
{
	return mmio_read(dev->regs, reg);
}

void reg_write(const struct device *dev, unsigned int reg, u32 val)
{
	mmio_write(dev->regs, reg, val);
}

struct counters counters(const struct device *dev, u32 source)
{
	bool is_slot = !(source & PCI_IMS_SRC_MSIX);

	reg_write(dev, PCI_IMS_SEL, source);
	return (struct counters){
		.sent		= reg_read(dev, PCI_IMS_SENT),
		.held		= reg_read(dev, PCI_IMS_HELD),
		.dropped	= reg_read(dev, PCI_IMS_DROPPED),
		.queued		= reg_read(dev, PCI_IMS_QUEUED),
		.unacked	= reg_read(dev, PCI_IMS_UNACKED),
		.spurious	= reg_read(dev, PCI_IMS_SPURIOUS),
		.writes		= is_slot ? reg_read(dev, PCI_IMS_WRITES) : 0,
		.ctrl_writes	= is_slot ? reg_read(dev, PCI_IMS_CTRL_WRITES) : 0,
		.torn		= is_slot ? reg_read(dev, PCI_IMS_TORN) : 0,
	};
}

struct slot slot(const struct device *dev, u32 index)
{
	size_t offset = (size_t)index * PCI_IMS_SLOT_SIZE;

	return (struct slot){
		.addr_lo	= mmio_read(dev->slots, offset + PCI_IMS_SLOT_ADDR_LO),
		.addr_hi	= mmio_read(dev->slots, offset + PCI_IMS_SLOT_ADDR_HI),
		.data		= mmio_read(dev->slots, offset + PCI_IMS_SLOT_DATA),
		.ctrl		= mmio_read(dev->slots, offset + PCI_IMS_SLOT_CTRL),
	};
}

struct slot message(const struct device *dev, u32 source)
{
	size_t offset = (source & ~PCI_IMS_SRC_MSIX) * PCI_IMS_SLOT_SIZE;

	if (!(source & PCI_IMS_SRC_MSIX))
		return slot(dev, source);
	/* An entry of MSI-X has the same layout */
	return (struct slot){
		.addr_lo	= mmio_read(dev->msix, offset + PCI_IMS_SLOT_ADDR_LO),
		.addr_hi	= mmio_read(dev->msix, offset + PCI_IMS_SLOT_ADDR_HI),
		.data		= mmio_read(dev->msix, offset + PCI_IMS_SLOT_DATA),
		.ctrl		= mmio_read(dev->msix, offset + PCI_IMS_SLOT_CTRL),
	};
}

void write_slot_word(const struct device *dev, u32 index, unsigned int word, u32 val)
{
	mmio_write(dev->slots, (size_t)index * PCI_IMS_SLOT_SIZE + word, val);
}

void write_slot(const struct device *dev, u32 index, const struct slot *slot)
{
	write_slot_word(dev, index, PCI_IMS_SLOT_CTRL, PCI_IMS_CTRL_MASK);
	write_slot_word(dev, index, PCI_IMS_SLOT_ADDR_LO, slot->addr_lo);
	write_slot_word(dev, index, PCI_IMS_SLOT_ADDR_HI, slot->addr_hi);
	write_slot_word(dev, index, PCI_IMS_SLOT_DATA, slot->data);
	write_slot_word(dev, index, PCI_IMS_SLOT_CTRL, slot->ctrl);
}

void wipe_slot(const struct device *dev, u32 index)
{
	static const struct slot empty = { .ctrl = PCI_IMS_CTRL_MASK };

	write_slot(dev, index, &empty);
	clear_counters(dev, index);
}

void clear_counters(const struct device *dev, u32 source)
{
	reg_write(dev, PCI_IMS_SEL, source);
	reg_write(dev, PCI_IMS_CLEAR, 1);
}

void trigger(const struct device *dev, u32 first, u32 count, u32 times,
	     u32 how)
{
	reg_write(dev, PCI_IMS_TRIG_FIRST, first);
	reg_write(dev, PCI_IMS_TRIG_COUNT, count);
	reg_write(dev, PCI_IMS_TRIG_TIMES, times);
	reg_write(dev, PCI_IMS_TRIG_GO, how);
}

static bool is_idle(const struct device *dev, u32 source)
{
	reg_write(dev, PCI_IMS_SEL, source);
	return !reg_read(dev, PCI_IMS_QUEUED) && !reg_read(dev, PCI_IMS_UNACKED);
}

/* Patience begins anew when the device has sent something */
static void drain_source(const struct device *dev, u32 source)
{
	struct counters cnt;
	u32 sent;

	do {
		sent = reg_read(dev, PCI_IMS_ALL_SENT);
		if (WAIT(PATIENCE, is_idle(dev, source)))
			return;
	} while (reg_read(dev, PCI_IMS_ALL_SENT) != sent);

	cnt = counters(dev, source);
	fail("%s %u: interrupt lost, %u sent, %u not acknowledged, %u wait",
	     source & PCI_IMS_SRC_MSIX ? "MSI-X entry" : "slot", source & ~PCI_IMS_SRC_MSIX,
	     cnt.sent, cnt.unacked, cnt.queued);
}

void drain(const struct device *dev, u32 first, u32 count)
{
	u32 i;

	for (i = first; i < first + count; i++)
		drain_source(dev, i);
}

/*
 * Finding and opening
 */
static bool is_pci_ims(const char *path)
{
	char *vendor = read_file("%s/vendor", path);
	char *device = read_file("%s/device", path);
	bool is = vendor && strtoul(vendor, NULL, 16) == PCI_IMS_VENDOR_ID &&
		  device && strtoul(device, NULL, 16) == PCI_IMS_DEVICE_ID;

	free(vendor);
	free(device);
	return is;
}

/* PCI address of device @nr. Return: number of devices. */
static unsigned int lookup(unsigned int nr, char *bdf, size_t size)
{
	unsigned int found = 0;
	glob_t names;
	size_t i;

	if (glob(PCI_DEVICES "/*", 0, NULL, &names))
		fail("no PCI devices");
	for (i = 0; i < names.gl_pathc; i++) {
		if (!is_pci_ims(names.gl_pathv[i]))
			continue;
		if (found++ == nr)
			snprintf(bdf, size, "%s", strrchr(names.gl_pathv[i], '/') + 1);
	}
	globfree(&names);
	return found;
}

unsigned int count_devices(void)
{
	char bdf[16];

	return lookup(UINT32_MAX, bdf, sizeof(bdf));
}

static void *map_bar(const struct device *dev, unsigned int bar, size_t size)
{
	char path[64];
	void *map;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource%u", dev->bdf, bar);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		fail("cannot open %s: %s", path, strerror(errno));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		fail("cannot map %s: %s", path, strerror(errno));
	close(fd);
	return map;
}

u64 bar_address(const struct device *dev, unsigned int bar)
{
	char *text = read_file(PCI_DEVICES "/%s/resource", dev->bdf), *line = text;
	unsigned long long start;

	while (line && bar--) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line || sscanf(line, "%llx", &start) != 1 || !start)
		fail("%s: not an address of a BAR: %s", dev->bdf, text);
	free(text);
	return start;
}

struct device *find_device(unsigned int nr)
{
	struct device *dev = calloc(1, sizeof(*dev));
	unsigned int bus, slot, func;

	if (!dev || lookup(nr, dev->bdf, sizeof(dev->bdf)) <= nr)
		fail("there is no pci-ims device %u", nr);
	if (sscanf(dev->bdf, "%*x:%x:%x.%x", &bus, &slot, &func) != 3)
		fail("not a PCI address: %s", dev->bdf);

	dev->rid = bus << 8 | slot << 3 | func;
	dev->fd = -1;
	dev->regs = map_bar(dev, PCI_IMS_BAR_REGS, PCI_IMS_REGS_SIZE);
	dev->slots = map_bar(dev, PCI_IMS_BAR_SLOTS, PCI_IMS_MAX_SLOTS * PCI_IMS_SLOT_SIZE);
	CHECK(reg_read(dev, PCI_IMS_ID) == PCI_IMS_ID_VALUE, "%s does not answer", dev->bdf);
	dev->nslots = reg_read(dev, PCI_IMS_NSLOTS);
	dev->nmsix = reg_read(dev, PCI_IMS_NMSIX);
	return dev;
}

void map_msix(struct device *dev)
{
	dev->msix = map_bar(dev, PCI_IMS_BAR_MSIX, PCI_IMS_MSIX_SIZE);
}

void open_file(struct device *dev)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/ims_test-%s", dev->bdf);
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(dev->fd >= 0, "cannot open %s: %s", path, strerror(errno));
}

struct device *open_device(unsigned int nr)
{
	struct device *dev = find_device(nr);
	u32 i;

	/* A test that failed may have left the CPU offline, or no driver */
	if (!is_online(1))
		set_online(1, true);
	if (!exists(PCI_DEVICES "/%s/driver", dev->bdf))
		bind_driver(dev, true);
	open_file(dev);
	for (i = 0; i < USED_SOURCES; i++) {
		if (i < dev->nslots)
			clear_counters(dev, i);
		if (i < dev->nmsix)
			clear_counters(dev, MSIX(i));
	}
	dev->spurious = reg_read(dev, PCI_IMS_ALL_SPURIOUS);
	dev->torn = reg_read(dev, PCI_IMS_ALL_TORN);
	dev->invalid = reg_read(dev, PCI_IMS_INVALID);
	return dev;
}

void check_device(const struct device *dev)
{
	u32 spurious = reg_read(dev, PCI_IMS_ALL_SPURIOUS) - dev->spurious;
	u32 torn = reg_read(dev, PCI_IMS_ALL_TORN) - dev->torn;
	u32 invalid = reg_read(dev, PCI_IMS_INVALID) - dev->invalid;

	CHECK(!spurious, "%u interrupts acknowledged that were not sent", spurious);
	CHECK(!torn, "%u writes to the message of a slot that was not masked", torn);
	CHECK(!invalid, "%u invalid uses of the device", invalid);
}

/*
 * The driver
 */
int call(const struct device *dev, unsigned long cmd, void *arg)
{
	return ioctl(dev->fd, cmd, arg) ? -errno : 0;
}

int call_source(const struct device *dev, unsigned long cmd, u32 source)
{
	struct ims_test_source arg = { .source = source };

	return call(dev, cmd, &arg);
}

int try_domain(const struct device *dev, u32 hwsize, u32 variant)
{
	struct ims_test_domain arg = { .hwsize = hwsize, .variant = variant };

	return call(dev, IMS_TEST_DOMAIN, &arg);
}

void create_domain(const struct device *dev, u32 hwsize)
{
	int ret = try_domain(dev, hwsize, IMS_TEST_GOOD);

	CHECK(!ret, "creating the domain: %s", strerror(-ret));
}

void remove_domain(const struct device *dev)
{
	int ret = call(dev, IMS_TEST_UNDOMAIN, NULL);

	CHECK(!ret, "removing the domain: %s", strerror(-ret));
}

u32 alloc_slot(const struct device *dev)
{
	struct ims_test_alloc arg = { .cpu = -1 };
	int ret = call(dev, IMS_TEST_ALLOC, &arg);

	CHECK(!ret, "allocating a slot: %s", strerror(-ret));
	CHECK(arg.virq, "allocated interrupt 0");
	return arg.index;
}

void free_slot(const struct device *dev, u32 index)
{
	int ret = call_source(dev, IMS_TEST_FREE, index);

	CHECK(!ret, "freeing slot %u: %s", index, strerror(-ret));
}

void request(const struct device *dev, u32 source)
{
	int ret = call_source(dev, IMS_TEST_REQUEST, source);

	CHECK(!ret, "requesting source %#x: %s", source, strerror(-ret));
}

void release(const struct device *dev, u32 source)
{
	int ret = call_source(dev, IMS_TEST_RELEASE, source);

	CHECK(!ret, "releasing source %#x: %s", source, strerror(-ret));
}

void use_slots(const struct device *dev, u32 nr)
{
	u32 i, index;

	CHECK(nr <= USED_SOURCES && nr <= dev->nslots, "%u slots are too many", nr);
	create_domain(dev, dev->nslots);
	for (i = 0; i < nr; i++) {
		index = alloc_slot(dev);
		CHECK(index == i, "allocated slot %u, wanted %u", index, i);
		request(dev, i);
	}
}

void use_msix(const struct device *dev, u32 nr)
{
	u32 i;
	int ret;

	CHECK(nr <= USED_SOURCES && nr <= dev->nmsix, "%u MSI-X vectors are too many", nr);
	ret = call(dev, IMS_TEST_MSIX, &nr);
	CHECK(!ret, "allocating %u MSI-X vectors: %s", nr, strerror(-ret));
	for (i = 0; i < nr; i++)
		request(dev, MSIX(i));
}

struct ims_test_stats stats(const struct device *dev, u32 source)
{
	struct ims_test_stats arg = { .source = source };
	int ret = call(dev, IMS_TEST_STATS, &arg);

	CHECK(!ret, "statistics of source %#x: %s", source, strerror(-ret));
	return arg;
}

unsigned int virq_of(const struct device *dev, u32 source)
{
	return stats(dev, source).virq;
}

u64 received(const struct device *dev, u32 source)
{
	struct ims_test_stats st = stats(dev, source);
	u64 sum = st.unexpected;
	unsigned int cpu;

	for (cpu = 0; cpu < IMS_TEST_CPUS; cpu++)
		sum += st.received[cpu];
	return sum;
}

bool move_done(unsigned int virq)
{
	return !irq_debug(virq, "move_in_progress:") && !irq_debug(virq, "cleanup_pending:");
}

void pin(const struct device *dev, u32 source, unsigned int cpu)
{
	unsigned int virq = virq_of(dev, source);

	CHECK(WAIT(PATIENCE, move_done(virq)), "interrupt %u: last move does not end", virq);
	set_affinity(virq, cpu);
	CHECK(irq_is_on(virq, cpu), "interrupt %u did not move to CPU %u", virq, cpu);
}

void check_source(const struct device *dev, u32 source, u32 sent, unsigned int cpu)
{
	const char *kind = source & PCI_IMS_SRC_MSIX ? "MSI-X entry" : "slot";
	struct counters cnt = counters(dev, source);
	struct ims_test_stats st = stats(dev, source);
	u32 nr = source & ~PCI_IMS_SRC_MSIX;
	u64 got = received(dev, source);
	unsigned int i;

	CHECK(cnt.sent == sent, "%s %u: %u sent, wanted %u", kind, nr, cnt.sent, sent);
	CHECK(got == sent, "%s %u: %u sent, %llu received", kind, nr, sent,
	      (unsigned long long)got);
	CHECK(!st.unexpected, "%s %u: %llu calls of the handler were not expected", kind, nr,
	      (unsigned long long)st.unexpected);
	for (i = 0; cpu != ANY && i < IMS_TEST_CPUS; i++)
		CHECK(i == cpu || !st.received[i], "%s %u: %llu received on CPU %u, wanted CPU %u",
		      kind, nr, (unsigned long long)st.received[i], i, cpu);
	CHECK(!cnt.spurious && !cnt.dropped && !cnt.torn && !cnt.unacked && !cnt.queued,
	      "%s %u: %u spurious, %u dropped, %u torn, %u not acknowledged, %u wait", kind, nr,
	      cnt.spurious, cnt.dropped, cnt.torn, cnt.unacked, cnt.queued);
}

static u64 received_on(const struct device *dev, u32 source, unsigned int cpu)
{
	return cpu == ANY ? received(dev, source) : stats(dev, source).received[cpu];
}

void one_interrupt(const struct device *dev, u32 source, unsigned int cpu)
{
	u64 before = received_on(dev, source, cpu);
	u32 sent = counters(dev, source).sent;

	trigger(dev, source, 1, 1, PCI_IMS_GO_RAW);
	CHECK(WAIT(PATIENCE, received_on(dev, source, cpu) == before + 1),
	      "source %#x: no interrupt on CPU %d, %u sent", source, (int)cpu,
	      counters(dev, source).sent - sent);
	drain(dev, source, 1);
	CHECK(counters(dev, source).sent == sent + 1, "source %#x: %u sent for one event", source,
	      counters(dev, source).sent - sent);
}

void check_silence(const struct device *dev, u32 source, u32 sent)
{
	usleep(SILENCE * 1e6);
	CHECK(counters(dev, source).sent == sent, "%u sent, wanted %u", counters(dev, source).sent,
	      sent);
	CHECK(received(dev, source) == sent, "%llu received, wanted %u",
	      (unsigned long long)received(dev, source), sent);
}
