// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: invalid accesses to the device
 *
 * The device has to count and ignore them. So that this shows, it has a few
 * interrupts requested, which must work as before.
 */
#include <string.h>

#include "imstest.h"

#define SLOTS		4
#define VECTORS		2

/* A slot that no driver uses */
#define FOREIGN		(SLOTS + 1)

/* Behind the last register */
#define NO_REG		(PCI_IMS_REFUSED + 4)

static u64 seed = 0x1234567;

/* xorshift64: the same numbers in each run */
static u32 number(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 16) % below;
}

static void write_at(void *at, unsigned int size)
{
	switch (size) {
	case 1:
		__atomic_store_n((u8 *)at, seed, __ATOMIC_RELEASE);
		break;
	case 2:
		__atomic_store_n((u16 *)at, seed, __ATOMIC_RELEASE);
		break;
	case 4:
		__atomic_store_n((u32 *)at, seed, __ATOMIC_RELEASE);
		break;
	case 8:
		__atomic_store_n((u64 *)at, seed, __ATOMIC_RELEASE);
		break;
	}
}

static void read_at(void *at, unsigned int size)
{
	switch (size) {
	case 1:
		__atomic_load_n((u8 *)at, __ATOMIC_ACQUIRE);
		break;
	case 2:
		__atomic_load_n((u16 *)at, __ATOMIC_ACQUIRE);
		break;
	case 4:
		__atomic_load_n((u32 *)at, __ATOMIC_ACQUIRE);
		break;
	case 8:
		__atomic_load_n((u64 *)at, __ATOMIC_ACQUIRE);
		break;
	}
}

static void access_at(void *at, unsigned int size)
{
	if (number(2))
		write_at(at, size);
	else
		read_at(at, size);
}

/*
 * Each of these makes one invalid access, perhaps after valid ones
 */
static void register_size(const struct device *dev)
{
	static const unsigned int sizes[] = { 1, 2, 8 };
	unsigned int size = sizes[number(ARRAY_SIZE(sizes))];

	access_at(dev->regs + number(PCI_IMS_REGS_SIZE / size) * size, size);
}

static void no_register(const struct device *dev)
{
	access_at(dev->regs + NO_REG + number((PCI_IMS_REGS_SIZE - NO_REG) / 4) * 4, 4);
}

static void register_gap(const struct device *dev)
{
	/* Between two blocks of registers */
	static const struct {
		unsigned int	start;
		unsigned int	end;
	} gaps[] = {
		{ PCI_IMS_TRIG_PASID + 4,	PCI_IMS_ALL_SENT },
		{ PCI_IMS_ALL_WRITES + 4,	PCI_IMS_SEL },
	};
	unsigned int i = number(ARRAY_SIZE(gaps));

	access_at(dev->regs + gaps[i].start + number((gaps[i].end - gaps[i].start) / 4) * 4, 4);
}

static void read_only(const struct device *dev)
{
	static const unsigned int regs[] = {
		PCI_IMS_ID, PCI_IMS_NSLOTS, PCI_IMS_NMSIX, PCI_IMS_INVALID, PCI_IMS_RESETS,
		PCI_IMS_ALL_SENT, PCI_IMS_ALL_QUEUED, PCI_IMS_ALL_SPURIOUS, PCI_IMS_ALL_TORN,
		PCI_IMS_ALL_WRITES, PCI_IMS_SENT, PCI_IMS_HELD, PCI_IMS_DROPPED, PCI_IMS_QUEUED,
		PCI_IMS_UNACKED, PCI_IMS_SPURIOUS, PCI_IMS_WRITES, PCI_IMS_CTRL_WRITES,
		PCI_IMS_TORN, PCI_IMS_REFUSED,
	};

	reg_write(dev, regs[number(ARRAY_SIZE(regs))], number(UINT32_MAX));
}

static void write_only(const struct device *dev)
{
	static const unsigned int regs[] = { PCI_IMS_TRIG_GO, PCI_IMS_ACK, PCI_IMS_CLEAR };

	reg_read(dev, regs[number(ARRAY_SIZE(regs))]);
}

static u32 no_source(const struct device *dev)
{
	u32 index = dev->nslots + number(PCI_IMS_SRC_QUEUE - dev->nslots);

	switch (number(4)) {
	case 0:
		return index;
	case 1:
		return QUEUE(index);
	case 2:
		return MSIX(dev->nmsix + number(PCI_IMS_SRC_QUEUE - dev->nmsix));
	default:
		/* Two kinds at once */
		return PCI_IMS_SRC_KIND | number(PCI_IMS_SRC_QUEUE);
	}
}

static void queue_count(const struct device *dev)
{
	reg_write(dev, PCI_IMS_QUEUE_COUNT, dev->nslots + 1 + number(UINT32_MAX - dev->nslots));
}

static void acknowledge(const struct device *dev)
{
	reg_write(dev, PCI_IMS_ACK, no_source(dev));
}

static void select_source(const struct device *dev)
{
	reg_write(dev, PCI_IMS_SEL, no_source(dev));
	if (number(2))
		reg_read(dev, PCI_IMS_SENT + number((PCI_IMS_REFUSED - PCI_IMS_SENT) / 4 + 1) * 4);
	else
		reg_write(dev, PCI_IMS_CLEAR, 1);
}

static void bad_trigger(const struct device *dev)
{
	u32 how = PCI_IMS_GO_RAW + number(2);

	switch (number(7)) {
	case 0:
		trigger(dev, no_source(dev), 1, 1, how);
		break;
	case 1:
		trigger(dev, dev->nslots - 1, 2 + number(UINT32_MAX - 2), 1, how);
		break;
	case 2:
		trigger(dev, MSIX(dev->nmsix - 1), 2 + number(UINT32_MAX - 2), 1, how);
		break;
	case 3:
		trigger(dev, 0, 0, 1 + number(UINT32_MAX - 1), how);
		break;
	case 4:
		trigger(dev, 0, 1 + number(dev->nslots), 0, how);
		break;
	case 5:
		trigger(dev, 0, 1, 1, PCI_IMS_GO_PACED + 1 + number(UINT32_MAX - 2));
		break;
	case 6:
		trigger(dev, QUEUE(dev->nslots - 1), 2 + number(UINT32_MAX - 2), 1, how);
		break;
	}
}

static void too_many_events(const struct device *dev)
{
	if (number(2))
		trigger(dev, 0, 1, PCI_IMS_MAX_RAW + 1 + number(1000), PCI_IMS_GO_RAW);
	else
		trigger(dev, 0, dev->nslots, UINT32_MAX - number(1000), PCI_IMS_GO_PACED);
}

static void slot_size(const struct device *dev)
{
	unsigned int size = 1 + number(2);

	access_at(dev->slots + number(PCI_IMS_SLOT_SIZE * dev->nslots / size) * size, size);
}

static void no_slot(const struct device *dev)
{
	unsigned int size = 4 << number(2);
	u32 first = dev->nslots * PCI_IMS_SLOT_SIZE;
	u32 bytes = PCI_IMS_MAX_SLOTS * PCI_IMS_SLOT_SIZE - first;

	/* No slot is missing in a full store */
	if (bytes)
		access_at(dev->slots + first + number(bytes / size) * size, size);
	else
		slot_size(dev);
}

static void unaligned(const struct device *dev)
{
	void *bar = number(2) ? dev->regs : dev->slots;

	/* Not 8 bytes: a part of those could be a valid access */
	access_at(bar + number(PCI_IMS_REGS_SIZE / 4 - 4) * 4 + 1 + number(3), 4);
}

/* The table itself is not of interest: it is QEMU's, and writing it is valid */
static void msix_bar(const struct device *dev)
{
	unsigned int size = 1 << number(4);
	u32 first = dev->nmsix * 16;

	access_at(dev->msix + first + number((PCI_IMS_MSIX_SIZE - first) / size) * size, size);
}

/**
 * struct misuse - A kind of invalid access
 * @make:	Makes one
 * @least:	How often it counts
 * @most:	How often it counts if the CPU splits it
 */
struct misuse {
	void	(*make)(const struct device *dev);
	u32	least;
	u32	most;
};

static const struct misuse registers[] = {
	{ register_size,	1, 1 },
	{ no_register,		1, 1 },
	{ register_gap,		1, 1 },
	{ read_only,		1, 1 },
	{ write_only,		1, 1 },
	{ queue_count,		1, 1 },
	{ acknowledge,		1, 1 },
	{ select_source,	1, 1 },
};

static const struct misuse triggers[] = {
	{ bad_trigger,		1, 1 },
	{ too_many_events,	1, 1 },
};

static const struct misuse slots[] = {
	{ slot_size,		1, 1 },
	{ no_slot,		1, 1 },
};

static const struct misuse everything[] = {
	{ register_size,	1, 1 },
	{ no_register,		1, 1 },
	{ register_gap,		1, 1 },
	{ read_only,		1, 1 },
	{ write_only,		1, 1 },
	{ queue_count,		1, 1 },
	{ acknowledge,		1, 1 },
	{ select_source,	1, 1 },
	{ bad_trigger,		1, 1 },
	{ too_many_events,	1, 1 },
	{ slot_size,		1, 1 },
	{ no_slot,		1, 1 },
	{ unaligned,		1, 4 },
	/* QEMU's, which ignores them without a word */
	{ msix_bar,		0, 0 },
};

static struct device *start(struct slot *before)
{
	struct device *dev = open_device(0);
	u32 i;

	use_slots(dev, SLOTS);
	use_msix(dev, VECTORS);
	for (i = 0; i < SLOTS; i++)
		before[i] = slot(dev, i);
	map_msix(dev);
	return dev;
}

/* The interrupts are as before, and nothing was sent meanwhile */
static void finish(struct device *dev, const struct slot *before, u32 sent)
{
	struct slot after;
	u32 i;

	CHECK(reg_read(dev, PCI_IMS_ID) == PCI_IMS_ID_VALUE, "the device is gone");
	CHECK(reg_read(dev, PCI_IMS_ALL_SENT) == sent, "%u interrupts sent",
	      reg_read(dev, PCI_IMS_ALL_SENT) - sent);
	CHECK(!reg_read(dev, PCI_IMS_ALL_QUEUED), "%u events queued",
	      reg_read(dev, PCI_IMS_ALL_QUEUED));
	for (i = 0; i < SLOTS; i++) {
		after = slot(dev, i);
		CHECK(!memcmp(&before[i], &after, sizeof(after)), "slot %u has changed", i);
		pin(dev, i, i % 2);
	}

	trigger(dev, 0, SLOTS, 20, PCI_IMS_GO_PACED);
	trigger(dev, MSIX(0), VECTORS, 20, PCI_IMS_GO_PACED);
	drain(dev, 0, SLOTS);
	drain(dev, MSIX(0), VECTORS);
	for (i = 0; i < SLOTS; i++)
		check_source(dev, i, 20, i % 2);
	for (i = 0; i < VECTORS; i++)
		check_source(dev, MSIX(i), 20, ANY);

	dev->invalid = reg_read(dev, PCI_IMS_INVALID);
	check_device(dev);
}

static void misuse(const struct misuse *kinds, unsigned int nr, unsigned int times)
{
	struct slot before[SLOTS];
	struct device *dev = start(before);
	u32 sent = reg_read(dev, PCI_IMS_ALL_SENT);
	u32 last = reg_read(dev, PCI_IMS_INVALID), first = last, invalid;
	unsigned int i, kind;

	for (i = 0; i < times; i++) {
		kind = number(nr);
		kinds[kind].make(dev);
		invalid = reg_read(dev, PCI_IMS_INVALID) - last;
		CHECK(invalid >= kinds[kind].least && invalid <= kinds[kind].most,
		      "access %u, of kind %u, counted %u times", i, kind, invalid);
		last += invalid;
	}
	finish(dev, before, sent);
	note("%u accesses, %u counted as invalid", times, last - first);
}

/* @dev sends @data to @offset of @bar of @target */
static void send_to(const struct device *dev, const struct device *target, unsigned int bar,
		    u32 offset, u32 data)
{
	u64 address = bar_address(target, bar) + offset;
	struct slot msg = {
		.addr_lo	= address,
		.addr_hi	= address >> 32,
		.data		= data,
	};

	write_slot(dev, FOREIGN, &msg);
	trigger(dev, FOREIGN, 1, 1, PCI_IMS_GO_RAW);
	wipe_slot(dev, FOREIGN);
}

/* A message that starts a trigger would multiply messages by messages */
static void check_no_chain(const struct device *dev, const struct device *other)
{
	u32 sent = reg_read(other, PCI_IMS_ALL_SENT), invalid = reg_read(other, PCI_IMS_INVALID);
	static const struct slot unmasked = { .ctrl = 0 };

	write_slot(other, 0, &unmasked);
	reg_write(other, PCI_IMS_TRIG_FIRST, 0);
	reg_write(other, PCI_IMS_TRIG_COUNT, 1);
	reg_write(other, PCI_IMS_TRIG_TIMES, 1);
	send_to(dev, other, PCI_IMS_BAR_REGS, PCI_IMS_TRIG_GO, PCI_IMS_GO_RAW);
	CHECK(reg_read(other, PCI_IMS_ALL_SENT) == sent, "a message has triggered another one");
	CHECK(reg_read(other, PCI_IMS_INVALID) == invalid + 1, "a trigger by a message counts %u times",
	      reg_read(other, PCI_IMS_INVALID) - invalid);
	wipe_slot(other, 0);
}

/* Messages whose address is no interrupt's, but registers and slots of a device */
static void test_messages(void)
{
	struct device *other = find_device(1);
	struct slot before[SLOTS];
	struct device *dev = start(before);
	unsigned int bar, i, times = 2000;
	u32 sent, size;

	/* The bench is able to tell: messages come through */
	send_to(dev, other, PCI_IMS_BAR_REGS, PCI_IMS_SEL, 3);
	CHECK(reg_read(other, PCI_IMS_SEL) == 3, "a message did not reach the other device");
	check_no_chain(dev, other);

	sent = reg_read(dev, PCI_IMS_ALL_SENT);
	for (i = 0; i < times; i++) {
		bar = number(2) ? PCI_IMS_BAR_REGS : PCI_IMS_BAR_SLOTS;
		size = bar == PCI_IMS_BAR_REGS ? NO_REG : other->nslots * PCI_IMS_SLOT_SIZE;
		send_to(dev, number(2) ? dev : other, bar, number(size / 4) * 4,
			number(2) ? number(8) : number(UINT32_MAX));
	}
	CHECK(reg_read(other, PCI_IMS_ID) == PCI_IMS_ID_VALUE, "the other device is gone");
	for (i = 0; i < other->nslots; i++)
		wipe_slot(other, i);
	finish(dev, before, sent + times);
	note("%u messages to registers and slots", times);
}

static void test_registers(void)
{
	misuse(registers, ARRAY_SIZE(registers), 20000);
}

static void test_triggers(void)
{
	misuse(triggers, ARRAY_SIZE(triggers), 20000);
}

static void test_slots(void)
{
	misuse(slots, ARRAY_SIZE(slots), 20000);
}

static void test_everything(void)
{
	misuse(everything, ARRAY_SIZE(everything), long_run ? 1000000 : 100000);
}

static const struct test invalid_tests[] = {
	{ "registers",	test_registers },
	{ "triggers",	test_triggers },
	{ "slots",	test_slots },
	{ "everything",	test_everything },
	{ "messages",	test_messages },
};

int run_invalid(const char *only)
{
	return run_tests(invalid_tests, ARRAY_SIZE(invalid_tests), only);
}
