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

#include <linux/pci_regs.h>

#include "../qemu/irte-control-regs.h"
#include "imstest.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"

/* Sources whose counters a test may rely on, of each kind */
#define USED_SOURCES	256

/*
 * Registers
 */
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
	bool is_slot = !(source & PCI_IMS_SRC_KIND);

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
		.refused	= reg_read(dev, PCI_IMS_REFUSED),
	};
}

static struct ims_test_queue queue(const struct device *dev, u32 source)
{
	struct ims_test_queue arg = { .source = source };
	int ret = call(dev, IMS_TEST_QUEUE, &arg);

	CHECK(!ret, "context of source %#x: %s", source, strerror(-ret));
	return arg;
}

struct slot slot(const struct device *dev, u32 source)
{
	size_t offset = (size_t)source * PCI_IMS_SLOT_SIZE;
	struct ims_test_queue context;

	if (source & PCI_IMS_SRC_QUEUE) {
		context = queue(dev, source);
		return (struct slot){
			.addr_lo	= context.addr_lo,
			.addr_hi	= context.addr_hi,
			.data		= context.data,
			.ctrl		= context.ctrl,
		};
	}
	return (struct slot){
		.addr_lo	= mmio_read(dev->slots, offset + PCI_IMS_SLOT_ADDR_LO),
		.addr_hi	= mmio_read(dev->slots, offset + PCI_IMS_SLOT_ADDR_HI),
		.data		= mmio_read(dev->slots, offset + PCI_IMS_SLOT_DATA),
		.ctrl		= mmio_read(dev->slots, offset + PCI_IMS_SLOT_CTRL),
	};
}

u32 messages_written(const struct device *dev, u32 source)
{
	u32 writes;

	if (source & PCI_IMS_SRC_QUEUE)
		return queue(dev, source).writes;
	writes = counters(dev, source).writes;
	CHECK(!(writes % WRITES_PER_MSG), "source %#x: %u writes", source, writes);
	return writes / WRITES_PER_MSG;
}

static bool is_msi(u32 source)
{
	return (source & PCI_IMS_SRC_KIND) == IMS_TEST_SRC_MSI;
}

static void read_config(int fd, void *buf, size_t size, off_t offset)
{
	CHECK(pread(fd, buf, size, offset) == (ssize_t)size, "configuration space: %s",
	      strerror(errno));
}

/* The device puts the number of the message into the lowest bits of the data */
static struct slot msi_message(u32 nr)
{
	struct device *dev = name_control();
	u8 at = PCI_CAPABILITY_LIST, id = 0;
	struct slot msg = { 0 };
	char path[64];
	u16 data;
	int fd;

	CHECK(dev, "there is no device with MSI");
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/config", dev->bdf);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0, "cannot open %s: %s", path, strerror(errno));
	while (id != PCI_CAP_ID_MSI) {
		read_config(fd, &at, 1, id ? at + 1 : at);
		CHECK(at, "%s has no MSI", dev->bdf);
		read_config(fd, &id, 1, at);
	}
	read_config(fd, &msg.addr_lo, 4, at + PCI_MSI_ADDRESS_LO);
	read_config(fd, &msg.addr_hi, 4, at + PCI_MSI_ADDRESS_HI);
	read_config(fd, &data, 2, at + PCI_MSI_DATA_64);
	msg.data = data + nr;
	close(fd);
	return msg;
}

struct slot message(const struct device *dev, u32 source)
{
	size_t offset = (source & ~PCI_IMS_SRC_MSIX) * PCI_IMS_SLOT_SIZE;

	if (!(source & PCI_IMS_SRC_MSIX))
		return slot(dev, source);
	if (is_msi(source))
		return msi_message(source & ~PCI_IMS_SRC_KIND);
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

void trigger_pasid(const struct device *dev, u32 pasid, u32 source, u32 times, u32 how)
{
	reg_write(dev, PCI_IMS_TRIG_PASID, PCI_IMS_CTRL_PASID_EN | pasid << 12);
	trigger(dev, source, 1, times, how);
	reg_write(dev, PCI_IMS_TRIG_PASID, 0);
}

static bool is_idle(const struct device *dev, u32 source)
{
	reg_write(dev, PCI_IMS_SEL, source);
	return !reg_read(dev, PCI_IMS_QUEUED) && !reg_read(dev, PCI_IMS_UNACKED);
}

static const char *kind_of(u32 source)
{
	switch (source & PCI_IMS_SRC_KIND) {
	case 0:
		return "slot";
	case PCI_IMS_SRC_QUEUE:
		return "queue";
	default:
		return "MSI-X entry";
	}
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
	fail("%s %u: interrupt lost, %u sent, %u dropped, %u not acknowledged, %u wait",
	     kind_of(source), source & ~PCI_IMS_SRC_KIND, cnt.sent, cnt.dropped, cnt.unacked,
	     cnt.queued);
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
static bool is_ours(const char *path, unsigned int id)
{
	char *vendor = read_file("%s/vendor", path);
	char *device = read_file("%s/device", path);
	bool is = vendor && strtoul(vendor, NULL, 16) == PCI_IMS_VENDOR_ID &&
		  device && strtoul(device, NULL, 16) == id;

	free(vendor);
	free(device);
	return is;
}

/* PCI address of device @nr out of those with @id. Return: number of devices. */
static unsigned int lookup(unsigned int id, unsigned int nr, char *bdf, size_t size)
{
	unsigned int found = 0;
	glob_t names;
	size_t i;

	if (glob(PCI_DEVICES "/*", 0, NULL, &names))
		fail("no PCI devices");
	for (i = 0; i < names.gl_pathc; i++) {
		if (!is_ours(names.gl_pathv[i], id))
			continue;
		if (found++ == nr)
			snprintf(bdf, size, "%s", strrchr(names.gl_pathv[i], '/') + 1);
	}
	globfree(&names);
	return found;
}

void device_address(unsigned int nr, char *bdf, size_t size)
{
	CHECK(lookup(PCI_IMS_DEVICE_ID, nr, bdf, size) > nr, "there is no pci-ims device %u", nr);
}

unsigned int count_devices(void)
{
	char bdf[16];

	return lookup(PCI_IMS_DEVICE_ID, UINT32_MAX, bdf, sizeof(bdf));
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

static struct device *name_any(unsigned int id, unsigned int nr)
{
	struct device *dev = calloc(1, sizeof(*dev));
	unsigned int bus, slot, func;

	if (!dev || lookup(id, nr, dev->bdf, sizeof(dev->bdf)) <= nr)
		return NULL;
	if (sscanf(dev->bdf, "%*x:%x:%x.%x", &bus, &slot, &func) != 3)
		fail("not a PCI address: %s", dev->bdf);

	dev->rid = bus << 8 | slot << 3 | func;
	dev->fd = -1;
	return dev;
}

struct device *name_device(unsigned int nr)
{
	struct device *dev = name_any(PCI_IMS_DEVICE_ID, nr);

	CHECK(dev, "there is no pci-ims device %u", nr);
	return dev;
}

struct device *name_control(void)
{
	static struct device *control;

	/* To look for it takes long */
	if (!control)
		control = name_any(IRTE_CONTROL_DEVICE_ID, 0);
	return control;
}

struct device *find_device(unsigned int nr)
{
	struct device *dev = name_device(nr);

	dev->regs = map_bar(dev, PCI_IMS_BAR_REGS, PCI_IMS_REGS_SIZE);
	dev->slots = map_bar(dev, PCI_IMS_BAR_SLOTS, PCI_IMS_MAX_SLOTS * PCI_IMS_SLOT_SIZE);
	CHECK(reg_read(dev, PCI_IMS_ID) == PCI_IMS_ID_VALUE, "%s does not answer", dev->bdf);
	dev->nslots = reg_read(dev, PCI_IMS_NSLOTS);
	dev->nmsix = reg_read(dev, PCI_IMS_NMSIX);
	return dev;
}

void remove_device(const struct device *dev)
{
	int ret;

	ret = write_file("1", PCI_DEVICES "/%s/remove", dev->bdf);
	CHECK(!ret, "cannot remove %s: %s", dev->bdf, strerror(-ret));
	CHECK(!exists(PCI_DEVICES "/%s", dev->bdf), "%s is still there", dev->bdf);
	ret = write_file("1", "/sys/bus/pci/rescan");
	CHECK(!ret, "cannot rescan: %s", strerror(-ret));
	CHECK(exists(PCI_DEVICES "/%s/driver", dev->bdf), "%s did not come back", dev->bdf);
}

void set_vfs(const struct device *dev, unsigned int nr)
{
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%u", nr);
	ret = write_file(text, PCI_DEVICES "/%s/sriov_numvfs", dev->bdf);
	CHECK(!ret, "%s: %u virtual functions: %s", dev->bdf, nr, strerror(-ret));
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
	reg_write(dev, PCI_IMS_TRIG_PASID, 0);
	for (i = 0; i < USED_SOURCES; i++) {
		if (i < dev->nslots) {
			clear_counters(dev, i);
			clear_counters(dev, QUEUE(i));
		}
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

int try_store(const struct device *dev, u32 hwsize, u32 store)
{
	struct ims_test_domain arg = { .hwsize = hwsize, .store = store };

	return call(dev, IMS_TEST_DOMAIN, &arg);
}

int try_domain(const struct device *dev, u32 hwsize, u32 variant)
{
	struct ims_test_domain arg = {
		.hwsize		= hwsize,
		.variant	= variant,
		.store		= variant == IMS_TEST_GOOD ? IMS_TEST_SLOTS : IMS_TEST_CHIP,
	};

	return call(dev, IMS_TEST_DOMAIN, &arg);
}

void create_store(const struct device *dev, u32 hwsize, u32 store)
{
	int ret = try_store(dev, hwsize, store);

	CHECK(!ret, "creating the domain: %s", strerror(-ret));
}

void create_domain(const struct device *dev, u32 hwsize)
{
	create_store(dev, hwsize, IMS_TEST_SLOTS);
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
	return arg.source;
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
	use_store(dev, nr, IMS_TEST_SLOTS);
}

u32 use_store(const struct device *dev, u32 nr, u32 store)
{
	u32 first = store == IMS_TEST_QUEUES ? QUEUE(0) : 0, i, source;

	CHECK(nr <= USED_SOURCES && nr <= dev->nslots, "%u slots are too many", nr);
	create_store(dev, dev->nslots, store);
	for (i = 0; i < nr; i++) {
		source = alloc_slot(dev);
		CHECK(source == first + i, "allocated source %#x, wanted %#x", source, first + i);
		request(dev, source);
	}
	return first;
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
	const char *kind = kind_of(source);
	struct counters cnt = counters(dev, source);
	struct ims_test_stats st = stats(dev, source);
	u32 nr = source & ~PCI_IMS_SRC_KIND;
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
	u32 sent;

	if (is_msi(source)) {
		knob(IRTE_CONTROL_SEND, source & ~PCI_IMS_SRC_KIND);
		CHECK(WAIT(PATIENCE, received_on(dev, source, cpu) == before + 1),
		      "message %u: no interrupt on CPU %d", source & ~PCI_IMS_SRC_KIND,
		      (int)cpu);
		return;
	}
	sent = counters(dev, source).sent;
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
