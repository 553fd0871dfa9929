// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: a demonstration
 *
 * What is shown is checked as well: fail() ends it when something is not as it
 * should be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imstest.h"

#define SLOTS		8
#define SHOWN		3
#define BURST		500

/* Skip the spaces at the front */
static const char *trimmed(const char *text)
{
	return text + strspn(text, " ");
}

static void show_tree(const struct device *dev, u32 index)
{
	unsigned int virq = virq_of(dev, index);
	struct slot msg = slot(dev, index);
	struct irte irte;
	long cpu;

	CHECK(find_irte(dev, irte_index(&msg), &irte), "IRTE %u is not present", irte_index(&msg));
	cpu = irq_debug(virq, "Target:");
	CHECK(irte.rid == dev->rid, "IRTE %u belongs to %04x", irte.index, irte.rid);
	CHECK(counters(dev, index).writes == WRITES_PER_MSG, "the message was not written once");
	CHECK(irte.vector == irq_debug(virq, "Vector:"), "IRTE %u has vector %u", irte.index,
	      irte.vector);

	printf("Interrupt %u, from the device to the handler:\n\n", virq);
	printf("  device   %s, slot %u of its message store (IMS)\n", dev->bdf, index);
	printf("    |      address 0x%08x%08x, data 0x%04x, %s\n", msg.addr_hi, msg.addr_lo,
	       msg.data, msg.ctrl & PCI_IMS_CTRL_MASK ? "masked" : "not masked");
	printf("    |      = entry %u of the remapping table; written once, in %u words\n",
	       irte_index(&msg), counters(dev, index).writes);
	printf("    v\n");
	printf("  IRTE     entry %u, only for source id %02x:%02x.%x\n", irte.index,
	       irte.rid >> 8, irte.rid >> 3 & 0x1f, irte.rid & 7);
	printf("    |      destination 0x%08x, vector 0x%02x\n", irte.dest, irte.vector);
	printf("    v\n");
	printf("  CPU %ld    vector 0x%02x\n", cpu, irte.vector);
	printf("    v\n");
	printf("  handler  ims_test-%u\n\n", index);
}

static void show_counts(const struct device *dev, const char *what, u32 index,
			u32 sent, const struct ims_test_stats *before)
{
	struct ims_test_stats st = stats(dev, index);

	printf("  %-18s %6u %10llu %9llu %13u\n", what, sent,
	       (unsigned long long)(st.received[0] - before->received[0]),
	       (unsigned long long)(st.received[1] - before->received[1]),
	       counters(dev, index).writes);
}

static void show_burst(const struct device *dev)
{
	u32 i, total = SLOTS * BURST, got = 0;
	struct ims_test_stats none = { 0 };
	double start = now();
	char what[32];

	trigger(dev, 0, SLOTS, BURST, PCI_IMS_GO_PACED);
	drain(dev, 0, SLOTS);
	printf("A burst of %u interrupts, slots in turn on CPU 0 and CPU 1 (%.1f s):\n\n", total,
	       now() - start);

	printf("  %-18s %6s %10s %9s %13s\n", "", "sent", "on CPU 0", "on CPU 1", "store writes");
	for (i = 0; i < SLOTS; i++) {
		check_source(dev, i, BURST, i % 2);
		snprintf(what, sizeof(what), "slot %u", i);
		show_counts(dev, what, i, BURST, &none);
		got += received(dev, i);
	}
	printf("\n  sent %u, received %u, lost %u, spurious %u\n\n", total, got, total - got,
	       reg_read(dev, PCI_IMS_ALL_SPURIOUS));
}

static void show_moves(const struct device *dev, u32 index)
{
	u32 writes = counters(dev, index).writes;
	struct slot before = slot(dev, index), after;
	struct ims_test_stats st;
	char what[32];
	unsigned int i, cpu;

	printf("Slot %u moves to the other CPU and back; its message stays as it is:\n\n", index);
	printf("  %-18s %6s %10s %9s %13s\n", "", "sent", "on CPU 0", "on CPU 1", "store writes");
	for (i = 0; i < 3; i++) {
		cpu = i % 2;
		st = stats(dev, index);
		pin(dev, index, cpu);
		trigger(dev, index, 1, 100, PCI_IMS_GO_PACED);
		drain(dev, index, 1);
		snprintf(what, sizeof(what), "affinity CPU %u", cpu);
		show_counts(dev, what, index, 100, &st);
		CHECK(stats(dev, index).received[cpu] - st.received[cpu] == 100,
		      "not all of them arrived on CPU %u", cpu);
	}

	after = slot(dev, index);
	CHECK(counters(dev, index).writes == writes, "the store was written");
	CHECK(!memcmp(&before, &after, sizeof(after)), "the slot has changed");
	printf("\n");
}

static void show_names(const struct device *dev, u32 index)
{
	char *line = interrupts_line(virq_of(dev, index));

	CHECK(line, "interrupt %u is not in /proc/interrupts", virq_of(dev, index));
	printf("In /proc/interrupts:\n\n  %s\n\n", trimmed(line));
	free(line);
}

int run_demo(void)
{
	struct device *dev = open_device(0);
	u32 i;

	CHECK(sysconf(_SC_NPROCESSORS_ONLN) == 2, "the demonstration wants two CPUs");
	use_slots(dev, SLOTS);
	for (i = 0; i < SLOTS; i++)
		pin(dev, i, i % 2);

	show_tree(dev, SHOWN);
	show_burst(dev);
	show_moves(dev, SHOWN);
	show_names(dev, SHOWN);
	check_device(dev);
	return EXIT_SUCCESS;
}
