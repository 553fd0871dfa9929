// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: a crash kernel takes over from one whose device was at work
 *
 * The device is not reset. It has the store of the kernel that has crashed, and the
 * remapping unit has a copy of that kernel's table. So this program runs twice: in
 * the first kernel it leaves interrupts behind that nobody will handle and crashes
 * it, in the second one it tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../qemu/irte-control-regs.h"
#include "imstest.h"

/* What the first kernel had in use */
#define OLD_SLOTS	8

/* None of these messages comes to an interrupt of this kernel */
static void test_store(void)
{
	struct device *dev = open_device(0);
	struct slot left;
	u32 i;

	for (i = 0; i < OLD_SLOTS; i++) {
		left = slot(dev, i);
		CHECK(left.addr_lo && !(left.ctrl & PCI_IMS_CTRL_MASK),
		      "slot %u was reset: address %#x, control word %#x", i, left.addr_lo, left.ctrl);
	}
	create_domain(dev, dev->nslots);
	for (i = 0; i < dev->nslots; i++)
		CHECK(slot(dev, i).ctrl & PCI_IMS_CTRL_MASK, "slot %u is not masked", i);
	trigger(dev, 0, OLD_SLOTS, 1, PCI_IMS_GO_RAW);
	for (i = 0; i < OLD_SLOTS; i++)
		CHECK(!counters(dev, i).sent, "slot %u has sent %u messages", i, counters(dev, i).sent);
}

/* Everything is there for the crash kernel, as if it was the first */
static void test_interrupts(void)
{
	struct device *dev = open_device(0);
	struct resources before;
	struct slot new;
	u32 i;

	create_domain(dev, dev->nslots);
	before = resources();
	for (i = 0; i < OLD_SLOTS; i++) {
		wipe_slot(dev, i);
		CHECK(alloc_slot(dev) == i, "slot %u is not the next", i);
		request(dev, i);
		one_interrupt(dev, i, ANY);
		new = slot(dev, i);
		CHECK(!(new.ctrl & PCI_IMS_CTRL_MASK), "slot %u is masked", i);
	}
	for (i = 0; i < OLD_SLOTS; i++) {
		release(dev, i);
		free_slot(dev, i);
	}
	check_resources(&before);
	use_msix(dev, 2);
	one_interrupt(dev, MSIX(0), ANY);
	one_interrupt(dev, MSIX(1), ANY);
	check_device(dev);
}

/* In a guest: its hypervisor was told that the first kernel is gone */
static void test_host(void)
{
	struct device *dev = open_device(0);

	open_control();
	knob(IRTE_CONTROL_RID, dev->rid);
	CHECK(seen(IRTE_CONTROL_RESET) == 1 && seen(IRTE_CONTROL_GRANT) == 2 &&
	      seen(IRTE_CONTROL_GRANTED), "%u resets, %u grants", seen(IRTE_CONTROL_RESET),
	      seen(IRTE_CONTROL_GRANT));
	CHECK(!seen(IRTE_CONTROL_ANNOUNCED_RID), "%u entries of the device are left",
	      seen(IRTE_CONTROL_ANNOUNCED_RID));
	note("%u entries are announced", seen(IRTE_CONTROL_ANNOUNCED));
}

/* A device with irqfds, and the I/O APIC */
static void test_others(void)
{
	check_disk();
	check_serial();
}

static const struct test crash_guest_tests[] = {
	{ "host",		test_host },
	{ "store",		test_store },
	{ "interrupts",		test_interrupts },
	{ "others",		test_others },
};

static const struct test crash_tests[] = {
	{ "store",		test_store },
	{ "interrupts",		test_interrupts },
};

/* The same image, on the kernel that the image has */
static bool load_crash_kernel(void)
{
	char *line = read_file("/proc/cmdline"), *memory;
	int kernel, initrd;

	if (!line || system("cd / && find . -xdev | cpio -o -H newc >/tmp/initrd 2>/dev/null"))
		return false;
	memory = strstr(line, "crashkernel=");
	if (memory)
		memset(memory, ' ', strcspn(memory, " \n"));
	line[strcspn(line, "\n")] = '\0';
	kernel = open("/bzImage", O_RDONLY);
	initrd = open("/tmp/initrd", O_RDONLY);
	return !syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line,
			KEXEC_FILE_ON_CRASH);
}

int run_crash(const char *only)
{
	struct device *dev;

	if (!access("/proc/vmcore", F_OK)) {
		if (name_control())
			return run_tests(crash_guest_tests, ARRAY_SIZE(crash_guest_tests), only);
		return run_tests(crash_tests, ARRAY_SIZE(crash_tests), only);
	}

	if (!load_crash_kernel()) {
		printf("# cannot load the crash kernel: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	dev = open_device(0);
	use_slots(dev, OLD_SLOTS);
	use_msix(dev, 2);
	trigger(dev, 0, OLD_SLOTS, 2000, PCI_IMS_GO_PACED);
	/* On another CPU the crash kernel would leave this one alone, and have just one */
	run_on(0);
	write_file("c", "/proc/sysrq-trigger");
	printf("# the kernel has not crashed\n");
	return EXIT_FAILURE;
}
