// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: what the kernel tells about interrupts, and what it is told
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imstest.h"

#define DEBUG_IRQ	"/sys/kernel/debug/irq"
#define IR_TABLE	"/sys/kernel/debug/iommu/intel/ir_translation_struct"
#define AMD_DEBUG	"/sys/kernel/debug/iommu/amd"
#define CPU_ONLINE	"/sys/devices/system/cpu/cpu%u/online"
#define DRIVER		"/sys/bus/pci/drivers/ims_test"

static void format(char *buf, size_t size, const char *fmt, va_list args)
{
	if (vsnprintf(buf, size, fmt, args) >= (int)size)
		fail("path too long: %s", buf);
}

char *read_file(const char *fmt, ...)
{
	size_t size = 1 << 16, used = 0;
	char path[256], *text;
	va_list args;
	ssize_t len;
	int fd;

	va_start(args, fmt);
	format(path, sizeof(path), fmt, args);
	va_end(args);

	fd = open(path, O_RDONLY);
	if (fd < 0)
		return NULL;
	text = malloc(size);
	while (text) {
		len = read(fd, text + used, size - 1 - used);
		if (len < 0)
			fail("cannot read %s: %s", path, strerror(errno));
		if (!len)
			break;
		used += len;
		if (size - used < 4096)
			text = realloc(text, size *= 2);
	}
	close(fd);
	if (!text)
		fail("no memory to read %s", path);
	text[used] = '\0';
	return text;
}

int write_file(const char *text, const char *fmt, ...)
{
	size_t len = strlen(text);
	char path[256];
	va_list args;
	ssize_t ret;
	int fd;

	va_start(args, fmt);
	format(path, sizeof(path), fmt, args);
	va_end(args);

	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, len);
	if (ret < 0)
		ret = -errno;
	else
		ret = ret == (ssize_t)len ? 0 : -EIO;
	close(fd);
	return ret;
}

bool exists(const char *fmt, ...)
{
	char path[256];
	va_list args;

	va_start(args, fmt);
	format(path, sizeof(path), fmt, args);
	va_end(args);
	return !access(path, F_OK);
}

bool is_amd(void)
{
	return exists(AMD_DEBUG);
}

bool remapping_on(void)
{
	char *table = read_file(is_amd() ? AMD_DEBUG "/irqtbl" : IR_TABLE);
	bool on;

	if (!table)
		fail("cannot read the debug file of the remapping table");
	on = is_amd() ? !strstr(table, "disabled") : !!strstr(table, "IR table address");
	free(table);
	return on;
}

bool caching_mode(void)
{
	char *cap = read_file(is_amd() ? "/sys/class/iommu/ivhd0/amd-iommu/cap" :
					 "/sys/class/iommu/dmar0/intel-iommu/cap");
	bool cm;

	if (!cap)
		fail("there is no remapping unit");
	cm = strtoull(cap, NULL, 16) & 1 << (is_amd() ? 26 : 7);
	free(cap);
	return cm;
}

bool on_command_line(const char *word)
{
	char *line = read_file("/proc/cmdline"), *next = line, *token;
	bool found = false;

	while ((token = strsep(&next, "\n ")))
		found |= !strcmp(token, word);
	free(line);
	return found;
}

/*
 * VT-d: address bits 19:5 are index 14:0, bit 2 is index 15, and with bit 3 the data are
 * added. AMD: the data.
 */
unsigned int irte_index(const struct slot *slot)
{
	unsigned int index = (slot->addr_lo >> 5 & 0x7fff) | (slot->addr_lo >> 2 & 1) << 15;

	if (is_amd())
		return slot->data;
	return slot->addr_lo & 1 << 3 ? index + (slot->data & 0xffff) : index;
}

static bool parse_vtd(const char *line, struct irte *irte)
{
	unsigned int bus, slot, func, pda_high, pda_low;

	irte->pda = 0;
	if (sscanf(line, " %u %x:%x.%x %x %x %x %llx %llx", &irte->index, &bus, &slot, &func,
		   &pda_high, &pda_low, &irte->vector, &irte->high, &irte->low) == 9) {
		irte->pda = (unsigned long long)pda_high << 32 | pda_low;
		irte->dest = 0;
	} else if (sscanf(line, " %u %x:%x.%x %x %x %llx %llx", &irte->index, &bus, &slot, &func,
			  &irte->dest, &irte->vector, &irte->high, &irte->low) != 8) {
		return false;
	}
	irte->rid = bus << 8 | slot << 3 | func;
	return true;
}

/* With 128 bits per entry: destination 31:8 of the lower half, vector 7:0 of the upper one */
static bool parse_amd(const char *line, struct irte *irte)
{
	if (sscanf(line, "IRT[%u] %llx %llx", &irte->index, &irte->high, &irte->low) != 3)
		return false;
	irte->dest = (irte->low >> 8 & 0xffffff) | (irte->high >> 56) << 24;
	irte->vector = irte->high & 0xff;
	irte->pda = irte->low & 1 << 7 ? irte->high & 0xffffffffff000 : 0;
	return true;
}

/* The table of all devices, or of one. Freed by the caller. */
static char *irte_table(const struct device *dev)
{
	char *table;
	int ret;

	if (is_amd()) {
		ret = write_file(dev->bdf, AMD_DEBUG "/devid");
		CHECK(!ret, "%s has no remapping unit: %s", dev->bdf, strerror(-ret));
	}
	table = read_file(is_amd() ? AMD_DEBUG "/irqtbl" : IR_TABLE);
	if (!table)
		fail("cannot read the debug file of the remapping table");
	return table;
}

/* Call @fn for each present entry until it returns true */
static bool walk_irtes(const struct device *dev, bool (*fn)(const struct irte *irte, void *data),
		       void *data)
{
	char *table = irte_table(dev), *next = table, *line;
	bool found = false, amd = is_amd();
	struct irte irte;

	while (!found && (line = strsep(&next, "\n"))) {
		irte.rid = dev ? dev->rid : 0;
		if (amd ? parse_amd(line, &irte) : parse_vtd(line, &irte))
			found = fn(&irte, data);
	}
	free(table);
	return found;
}

static bool irte_matches(const struct irte *irte, void *data)
{
	struct irte *wanted = data;

	if (irte->index != wanted->index)
		return false;
	*wanted = *irte;
	return true;
}

bool find_irte(const struct device *dev, unsigned int index, struct irte *irte)
{
	irte->index = index;
	return walk_irtes(dev, irte_matches, irte);
}

static bool irte_count(const struct irte *irte, void *data)
{
	unsigned int *count = data;

	(void)irte;
	++*count;
	return false;
}

/* An AMD unit has a table for each device: those of ours count */
unsigned int count_irtes(void)
{
	static struct device *ours[9];
	unsigned int count = 0, nr, i;

	if (!is_amd()) {
		walk_irtes(NULL, irte_count, &count);
		return count;
	}
	/* To look for them takes long */
	if (!ours[0]) {
		nr = count_devices();
		for (i = 0; i < nr && i < ARRAY_SIZE(ours) - 1; i++)
			ours[i] = name_device(i);
		ours[i] = name_control();
	}
	for (i = 0; i < ARRAY_SIZE(ours) && ours[i]; i++)
		walk_irtes(ours[i], irte_count, &count);
	return count;
}

static long value_in(const char *text, const char *key)
{
	const char *at = text ? strstr(text, key) : NULL;

	return at ? strtol(at + strlen(key), NULL, 0) : -1;
}

/* Of the detector of data races, -1: there is none */
long kcsan_debug(const char *key)
{
	char *text = read_file("/sys/kernel/debug/kcsan");
	long val = value_in(text, key);

	free(text);
	return val;
}

long irq_debug(unsigned int virq, const char *key)
{
	char *text = read_file(DEBUG_IRQ "/irqs/%u", virq);
	long val = value_in(text, key);

	free(text);
	return val;
}

bool irq_is_on(unsigned int virq, unsigned int cpu)
{
	char *mask = read_file("/proc/irq/%u/effective_affinity", virq);
	bool is = mask && strtoul(mask, NULL, 16) == 1UL << cpu;

	free(mask);
	return is;
}

int try_affinity(unsigned int virq, unsigned int cpu)
{
	char mask[16];

	snprintf(mask, sizeof(mask), "%x", 1U << cpu);
	return write_file(mask, "/proc/irq/%u/smp_affinity", virq);
}

void set_affinity(unsigned int virq, unsigned int cpu)
{
	int ret = try_affinity(virq, cpu);

	CHECK(!ret, "moving interrupt %u to CPU %u: %s", virq, cpu, strerror(-ret));
}

char *interrupts_line(unsigned int virq)
{
	char *text = read_file("/proc/interrupts"), *next = text, *line, *found = NULL;
	char *end;

	while (!found && (line = strsep(&next, "\n"))) {
		if (strtoul(line, &end, 10) == virq && end != line && *end == ':')
			found = strdup(line);
	}
	free(text);
	return found;
}

static unsigned int count_files(const char *path)
{
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		fail("cannot read %s: %s", path, strerror(errno));
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* The numbers of a VT-d unit, or of an AMD one. Return: 0 if there is none. */
long unit_number(const char *key)
{
	char *text = read_file(is_amd() ? AMD_DEBUG "/iommu00/irte_errors" : IR_TABLE);
	long val = value_in(text, key);

	free(text);
	return val < 0 ? 0 : val;
}

long count_failures(const char *key)
{
	char *text = read_file(DEBUG_IRQ "/failures");
	long val = value_in(text, key);

	free(text);
	CHECK(val >= 0, "failures to %s are not counted", key);
	return val;
}

struct resources resources(void)
{
	char *matrix = read_file(DEBUG_IRQ "/domains/VECTOR");
	struct resources res = {
		.irtes		= remapping_on() ? count_irtes() : 0,
		.entries	= unit_number("Entries allocated:"),
		.irqs		= count_files(DEBUG_IRQ "/irqs"),
		.domains	= count_files(DEBUG_IRQ "/domains"),
		.vectors	= value_in(matrix, "Total allocated:"),
		.reserved	= value_in(matrix, "Global reserved:"),
	};

	CHECK(matrix, "there is no debug file of the vector domain");
	free(matrix);
	return res;
}

unsigned int vectors_of(unsigned int cpu)
{
	char *matrix = read_file(DEBUG_IRQ "/domains/VECTOR"), *next, *line;
	unsigned int nr, allocated, found = 0;
	bool there = false;

	next = matrix ? strstr(matrix, "| CPU |") : NULL;
	while ((line = strsep(&next, "\n"))) {
		/* What is available, managed, and the managed ones in use are not asked for */
		if (sscanf(line, "%u %*u %*u %*u %u", &nr, &allocated) == 2 && nr == cpu) {
			found = allocated;
			there = true;
		}
	}
	free(matrix);
	CHECK(there, "the vector domain does not know CPU %u", cpu);
	return found;
}

bool same_resources(const struct resources *before, struct resources *after)
{
	*after = resources();
	return !memcmp(before, after, sizeof(*after));
}

void check_resources(const struct resources *before)
{
	struct resources after;

	CHECK(WAIT(PATIENCE, same_resources(before, &after)),
	      "before: %u of %u IRTEs, %u interrupts, %u domains, %u vectors, %u reserved; after: %u of %u, %u, %u, %u, %u",
	      before->irtes, before->entries, before->irqs, before->domains, before->vectors,
	      before->reserved,
	      after.irtes, after.entries, after.irqs, after.domains, after.vectors,
	      after.reserved);
}

char *lost_memory(void)
{
	char *lost;
	int ret, i;

	/* What is not found twice is only on its way */
	for (i = 0; i < 2; i++) {
		ret = write_file("scan", "/sys/kernel/debug/kmemleak");
		CHECK(!ret, "cannot scan for leaks: %s", strerror(-ret));
	}
	lost = read_file("/sys/kernel/debug/kmemleak");
	CHECK(lost, "cannot read what is lost");
	return lost;
}

void check_memory(void)
{
	char *lost = lost_memory();

	CHECK(!lost[0], "memory is lost: %s", lost);
	free(lost);
}

void run_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set), "cannot run on CPU %u: %s", cpu,
	      strerror(errno));
}

void set_online(unsigned int cpu, bool online)
{
	int ret = write_file(online ? "1" : "0", CPU_ONLINE, cpu);

	CHECK(!ret, "taking CPU %u %s: %s", cpu, online ? "online" : "offline", strerror(-ret));
}

bool is_online(unsigned int cpu)
{
	char *online = read_file(CPU_ONLINE, cpu);
	bool is = online && online[0] == '1';

	free(online);
	return is;
}

int try_bind(const struct device *dev)
{
	return write_file(dev->bdf, DRIVER "/bind");
}

void bind_driver(const struct device *dev, bool bind)
{
	int ret = bind ? try_bind(dev) : write_file(dev->bdf, DRIVER "/unbind");

	CHECK(!ret, "%s %s: %s", bind ? "bind" : "unbind", dev->bdf, strerror(-ret));
}

int open_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	CHECK(fd >= 0 && lseek(fd, 0, SEEK_END) >= 0, "cannot read the kernel's log: %s",
	      strerror(errno));
	return fd;
}

/* One record per read */
static bool find_in_log(int fd, const char *text, const char *more)
{
	char record[2048];
	ssize_t len;

	while ((len = read(fd, record, sizeof(record) - 1)) > 0) {
		record[len] = '\0';
		if (strstr(record, text) && strstr(record, more))
			return true;
	}
	CHECK(!len || errno == EAGAIN, "cannot read the kernel's log: %s", strerror(errno));
	return false;
}

unsigned int count_log(int fd, const char *text, const char *more)
{
	unsigned int count = 0;

	while (find_in_log(fd, text, more))
		count++;
	return count;
}

bool wait_for_log(int fd, const char *text, const char *more)
{
	return WAIT(PATIENCE, find_in_log(fd, text, more));
}
