/* SPDX-License-Identifier: GPL-2.0 */
/*
 * imstest: what its files share
 *
 * Each test runs in a process of its own. fail() ends it, and the driver frees
 * what the process leaves behind. So a function that comes back has succeeded,
 * except for those which say that they return -errno: there an error may be what
 * a test wants to see.
 */
#ifndef IMSTEST_H
#define IMSTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "../driver/ims_test.h"
#include "../qemu/pci-ims-regs.h"

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#define __noreturn	__attribute__((noreturn))
#define __printf(a, b)	__attribute__((format(printf, a, b)))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define MSIX(n)		((n) | PCI_IMS_SRC_MSIX)

/* Seconds in which an interrupt that should not come had the time to come */
#define SILENCE		0.05

/* Longest time without any progress, in seconds. Lost is what takes longer. */
#define PATIENCE	10.0

/* Linux writes address low, address high and data of a message */
#define WRITES_PER_MSG	3

/* Sizes of the tests: ordinary, and long ones */
extern bool long_run;

/*
 * Running tests (ktap.c)
 */

/**
 * struct test - A test
 * @name:	Name in the results
 * @run:	Comes back if the test has passed
 * @long_only:	Only in a long run, or when it is asked for by name
 */
struct test {
	const char	*name;
	void		(*run)(void);
	bool		long_only;
};

/* Run all @tests, or the one called @only. Return: exit status. */
int run_tests(const struct test *tests, unsigned int nr, const char *only);

__printf(1, 2) __noreturn void fail(const char *fmt, ...);
__printf(1, 2) void note(const char *fmt, ...);

#define CHECK(cond, ...)			\
do {						\
	if (!(cond))				\
		fail(__VA_ARGS__);		\
} while (0)

double now(void);

/* True as soon as @cond is. Looks once more when @seconds are over. */
#define WAIT(seconds, cond)			\
({						\
	double end_ = now() + (seconds);	\
	bool late_, true_;			\
						\
	do {					\
		late_ = now() > end_;		\
		true_ = (cond);			\
	} while (!true_ && !late_ && !usleep(500));	\
	true_;					\
})

/*
 * A pci-ims device and the driver's file for it (device.c)
 */

/**
 * struct device - A device
 * @bdf:	PCI address
 * @rid:	Requester id
 * @fd:		The driver's file, -1: not open
 * @regs:	BAR 0
 * @slots:	BAR 2
 * @msix:	BAR 4, NULL: not mapped
 * @nslots:	Slots in the store
 * @nmsix:	Entries in the MSI-X table
 * @spurious:	ALL_SPURIOUS when the device was opened
 * @torn:	ALL_TORN when the device was opened
 * @invalid:	INVALID when the device was opened
 */
struct device {
	char		bdf[16];
	unsigned int	rid;
	int		fd;
	void		*regs;
	void		*slots;
	void		*msix;
	u32		nslots;
	u32		nmsix;
	u32		spurious;
	u32		torn;
	u32		invalid;
};

/**
 * struct counters - The device's counters of a source
 */
struct counters {
	u32	sent;
	u32	held;
	u32	dropped;
	u32	queued;
	u32	unacked;
	u32	spurious;
	u32	writes;
	u32	ctrl_writes;
	u32	torn;
};

/**
 * struct slot - The content of a slot
 */
struct slot {
	u32	addr_lo;
	u32	addr_hi;
	u32	data;
	u32	ctrl;
};

unsigned int count_devices(void);
struct device *find_device(unsigned int nr);
struct device *open_device(unsigned int nr);
void open_file(struct device *dev);
void map_msix(struct device *dev);
/* Where the BAR is for the bus */
u64 bar_address(const struct device *dev, unsigned int bar);

/* Nothing was spurious, torn or invalid since open_device() */
void check_device(const struct device *dev);

u32 reg_read(const struct device *dev, unsigned int reg);
void reg_write(const struct device *dev, unsigned int reg, u32 val);
struct counters counters(const struct device *dev, u32 source);
struct slot slot(const struct device *dev, u32 index);
/* The same of any source; of an MSI-X entry after map_msix() */
struct slot message(const struct device *dev, u32 source);
/* Behind the driver's back: the message while it is masked, then the control word */
void write_slot(const struct device *dev, u32 index, const struct slot *slot);
void write_slot_word(const struct device *dev, u32 index, unsigned int word, u32 val);
/* As after a reset */
void wipe_slot(const struct device *dev, u32 index);
void clear_counters(const struct device *dev, u32 source);
void trigger(const struct device *dev, u32 first, u32 count, u32 times,
	     u32 how);

/* Wait until no event is left of @count sources from @first on */
void drain(const struct device *dev, u32 first, u32 count);

/* Return: 0 or -errno */
int call(const struct device *dev, unsigned long cmd, void *arg);
int call_source(const struct device *dev, unsigned long cmd, u32 source);
int try_domain(const struct device *dev, u32 hwsize, u32 variant);

void create_domain(const struct device *dev, u32 hwsize);
void remove_domain(const struct device *dev);
u32 alloc_slot(const struct device *dev);
void free_slot(const struct device *dev, u32 index);
void request(const struct device *dev, u32 source);
void release(const struct device *dev, u32 source);

/* Create the domain and have slots 0 to @nr - 1 requested; MSI-X alike */
void use_slots(const struct device *dev, u32 nr);
void use_msix(const struct device *dev, u32 nr);

struct ims_test_stats stats(const struct device *dev, u32 source);
unsigned int virq_of(const struct device *dev, u32 source);
u64 received(const struct device *dev, u32 source);

/* The vector of the last move is freed, so that the next one is not put off */
bool move_done(unsigned int virq);
/* Send all interrupts of a source to a CPU */
void pin(const struct device *dev, u32 source, unsigned int cpu);

#define ANY	UINT32_MAX	/* any CPU */
/* @sent messages went out and arrived once each, on @cpu */
void check_source(const struct device *dev, u32 source, u32 sent, unsigned int cpu);
/* Send one interrupt and see it arrive on @cpu */
void one_interrupt(const struct device *dev, u32 source, unsigned int cpu);
/* Nothing more arrives than @sent interrupts in all */
void check_silence(const struct device *dev, u32 source, u32 sent);

/*
 * The kernel (kernel.c)
 */

/**
 * struct irte - An interrupt remapping table entry that is present
 * @index:	Index
 * @rid:	Source id
 * @dest:	Destination, as in the entry
 * @vector:	Vector
 */
struct irte {
	unsigned int	index;
	unsigned int	rid;
	unsigned int	dest;
	unsigned int	vector;
};

/**
 * struct resources - What an interrupt takes
 * @irtes:	Interrupt remapping table entries that are present
 * @entries:	Those that are allocated, 0: the unit does not tell
 * @irqs:	Interrupt descriptors
 * @domains:	Interrupt domains
 * @vectors:	CPU vectors
 * @reserved:	Reserved CPU vectors
 */
struct resources {
	unsigned int	irtes;
	unsigned int	entries;
	unsigned int	irqs;
	unsigned int	domains;
	unsigned int	vectors;
	unsigned int	reserved;
};

/* The whole file, NULL if there is none; freed by the caller */
__printf(1, 2) char *read_file(const char *fmt, ...);
/* Return: 0 or -errno */
__printf(2, 3) int write_file(const char *text, const char *fmt, ...);
__printf(1, 2) bool exists(const char *fmt, ...);

/* The remapping unit is AMD's, else it is VT-d's */
bool is_amd(void);
bool remapping_on(void);
bool caching_mode(void);
bool on_command_line(const char *word);

unsigned int irte_index(const struct slot *slot);
/* The entry of a device: a VT-d unit has one table for all of them */
bool find_irte(const struct device *dev, unsigned int index, struct irte *irte);
unsigned int count_irtes(void);

/* A value in the debug file of an interrupt, -1: not there */
long irq_debug(unsigned int virq, const char *key);
bool irq_is_on(unsigned int virq, unsigned int cpu);
/* Return: 0 or -errno of the write to /proc */
int try_affinity(unsigned int virq, unsigned int cpu);
void set_affinity(unsigned int virq, unsigned int cpu);
/* Its line of /proc/interrupts; freed by the caller */
char *interrupts_line(unsigned int virq);

/* What the unit tells about its table, 0: nothing */
long unit_number(const char *key);
struct resources resources(void);
/* Wait until as much is in use as at @before: old vectors are freed later */
void check_resources(const struct resources *before);

/* The kernel's log, from now on. Return: a file descriptor. */
int open_log(void);
/* Wait for a message with both in it. Return: false if it does not come. */
bool wait_for_log(int fd, const char *text, const char *more);

/* Run on this CPU only */
void run_on(unsigned int cpu);
void set_online(unsigned int cpu, bool online);
bool is_online(unsigned int cpu);
/* Return: 0 or -errno, the one of the driver's probe */
int try_bind(const struct device *dev);
void bind_driver(const struct device *dev, bool bind);

/*
 * The sets. @only: name of a single test or NULL. Return: exit status.
 */
int run_vtd(const char *only);
int run_refused(const char *only);
int run_isolation(const char *only);
int run_invalid(const char *only);
int run_failures(const char *only);
int run_demo(void);

/* Tests that make part of several sets */
void test_msix_alone(void);

#endif /* IMSTEST_H */
