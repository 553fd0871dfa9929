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
#define QUEUE(n)	((n) | PCI_IMS_SRC_QUEUE)
#define MSI(n)		((n) | IMS_TEST_SRC_MSI)

/* Seconds in which an interrupt that should not come had the time to come */
#define SILENCE		0.05

/* Longest time without any progress, in seconds. Lost is what takes longer. */
#define PATIENCE	10.0

/* Linux writes address low, address high and data of a message */
#define WRITES_PER_MSG	3

/* Sizes of the tests: ordinary, and long ones */
extern bool long_run;

/* Seconds until a test is given up */
extern int time_limit;

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
	u32	refused;
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
void device_address(unsigned int nr, char *bdf, size_t size);
/* Its address only: it may be somebody else's */
struct device *name_device(unsigned int nr);
struct device *find_device(unsigned int nr);
/* The device irte-control, whose messages MSI(n) are: its address only. NULL: none. */
struct device *name_control(void);
/* Take it out of the system and find it again */
void remove_device(const struct device *dev);
/* How many virtual functions there are. They come after the device, in number, too. */
void set_vfs(const struct device *dev, unsigned int nr);
struct device *open_device(unsigned int nr);
void open_file(struct device *dev);
void map_msix(struct device *dev);
/* Where the BAR is for the bus */
u64 bar_address(const struct device *dev, unsigned int bar);

/* Nothing was spurious, torn or invalid since open_device() */
void check_device(const struct device *dev);
/*
 * The same after moves that failed: an interrupt that may have gone to a vector which
 * was given back is sent again, so the device has sent one and the handler sees two
 */
void check_sane(struct device *dev);

/* With an instruction that KVM emulates, too, and not one of those for vectors */
static inline u32 mmio_read(const void *bar, size_t offset)
{
	u32 val;

	asm volatile("movl %1, %0" : "=r" (val) : "m" (*(const volatile u32 *)(bar + offset)) : "memory");
	return val;
}

static inline void mmio_write(void *bar, size_t offset, u32 val)
{
	asm volatile("movl %1, %0" : "=m" (*(volatile u32 *)(bar + offset)) : "r" (val) : "memory");
}

u32 reg_read(const struct device *dev, unsigned int reg);
void reg_write(const struct device *dev, unsigned int reg, u32 val);
struct counters counters(const struct device *dev, u32 source);
/* Of a queue: the context, once the driver has allocated it */
struct slot slot(const struct device *dev, u32 source);
/* The same of any source; of an MSI-X entry after map_msix(). MSI has no control word. */
struct slot message(const struct device *dev, u32 source);
/* How often the message of a slot or queue was written */
u32 messages_written(const struct device *dev, u32 source);
/* Behind the driver's back: the message while it is masked, then the control word */
void write_slot(const struct device *dev, u32 index, const struct slot *slot);
void write_slot_word(const struct device *dev, u32 index, unsigned int word, u32 val);
/* As after a reset */
void wipe_slot(const struct device *dev, u32 index);
void clear_counters(const struct device *dev, u32 source);
void trigger(const struct device *dev, u32 first, u32 count, u32 times,
	     u32 how);
/* One for a PASID instead of the device */
void trigger_pasid(const struct device *dev, u32 pasid, u32 source, u32 times, u32 how);

/* Wait until no event is left of @count sources from @first on */
void drain(const struct device *dev, u32 first, u32 count);

/* Return: 0 or -errno */
int call(const struct device *dev, unsigned long cmd, void *arg);
int call_source(const struct device *dev, unsigned long cmd, u32 source);
int try_store(const struct device *dev, u32 hwsize, u32 store);
/* A slot array, or with a @variant other than IMS_TEST_GOOD an irqchip of the driver's */
int try_domain(const struct device *dev, u32 hwsize, u32 variant);

void create_store(const struct device *dev, u32 hwsize, u32 store);
void create_domain(const struct device *dev, u32 hwsize);
void remove_domain(const struct device *dev);
u32 alloc_slot(const struct device *dev);
void free_slot(const struct device *dev, u32 index);
void request(const struct device *dev, u32 source);
void release(const struct device *dev, u32 source);

/* Create the store, and have sources 0 to @nr - 1 requested. Return: the first of them. */
u32 use_store(const struct device *dev, u32 nr, u32 store);
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
 * @dest:	Destination, as in the entry, 0 in one that posts
 * @vector:	Vector
 * @pda:	Address of the descriptor, or virtual APIC, of one that posts, else 0
 * @high:	All of its upper half
 * @low:	All of its lower half
 */
struct irte {
	unsigned int		index;
	unsigned int		rid;
	unsigned int		dest;
	unsigned int		vector;
	unsigned long long	pda;
	unsigned long long	high;
	unsigned long long	low;
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
/* VT-d's caching mode, or AMD's NpCache: the unit is an emulated one */
bool caching_mode(void);
bool on_command_line(const char *word);

unsigned int irte_index(const struct slot *slot);
/* The entry of a device: a VT-d unit has one table for all of them */
bool find_irte(const struct device *dev, unsigned int index, struct irte *irte);
unsigned int count_irtes(void);

/* A value in the debug file of an interrupt, -1: not there */
long kcsan_debug(const char *key);
long irq_debug(unsigned int virq, const char *key);
bool irq_is_on(unsigned int virq, unsigned int cpu);
/* Return: 0 or -errno of the write to /proc */
int try_affinity(unsigned int virq, unsigned int cpu);
void set_affinity(unsigned int virq, unsigned int cpu);
/* Its line of /proc/interrupts; freed by the caller */
char *interrupts_line(unsigned int virq);

/* What the unit tells about its table, 0: nothing */
long unit_number(const char *key);
/* Failures of all interrupts, those included that were freed */
long count_failures(const char *key);
struct resources resources(void);
/* Those of a CPU that is online */
unsigned int vectors_of(unsigned int cpu);
/* Wait until as much is in use as at @before: old vectors are freed later */
void check_resources(const struct resources *before);
bool same_resources(const struct resources *before, struct resources *after);
/* What the kernel has lost of its memory, "": nothing. Freed by the caller. */
char *lost_memory(void);
void check_memory(void);

/* The kernel's log, from now on. Return: a file descriptor. */
int open_log(void);
/* Wait for a message with both in it. Return: false if it does not come. */
bool wait_for_log(int fd, const char *text, const char *more);
/* How many messages with both in it there are until now */
unsigned int count_log(int fd, const char *text, const char *more);
/* The kernel's limit: so many messages of a kind in so many seconds */
#define LOG_BURST	10
#define LOG_INTERVAL	5

/* A child that does not outlive the test, which may end anywhere (hypercall.c) */
pid_t fork_helper(void);
/* Run on this CPU only */
void run_on(unsigned int cpu);
void set_online(unsigned int cpu, bool online);
bool is_online(unsigned int cpu);
/* Return: 0 or -errno, the one of the driver's probe */
int try_bind(const struct device *dev);
void bind_driver(const struct device *dev, bool bind);

/*
 * Operations that fail (failures.c)
 */

/**
 * struct state - The state of an interrupt and of what it takes
 * @res:	Resources
 * @virq:	Linux interrupt number, 0: not allocated
 * @vector:	Vector, -1: none
 * @target:	Target CPU
 * @moving:	A move is in progress, or its cleanup is pending
 * @requested:	Affinity mask as requested
 * @effective:	Effective affinity mask
 * @msg:	Message
 * @irte:	Remapping table entry, index 0 to 65535 or none
 * @present:	The entry is present
 */
struct state {
	struct resources	res;
	unsigned int		virq;
	long			vector;
	long			target;
	bool			moving;
	unsigned long		requested;
	unsigned long		effective;
	struct slot		msg;
	struct irte		irte;
	bool			present;
};

/**
 * struct step - One step of it
 * @name:	Name
 * @run:	Takes it. Return: 0 or -errno
 * @last:	Cannot fail: the caller is about to give up what it has
 */
struct step {
	const char	*name;
	int		(*run)(const struct device *dev, u32 source);
	bool		last;
};

/* Ends with an empty step */
extern const struct step block_steps[];
extern const struct step msix_steps[];
extern const struct step ims_steps[];

unsigned long mask_of(unsigned int virq, const char *name);
void get_state(const struct device *dev, u32 source, struct state *state);
/* All is as it was @before, or will soon be */
void check_state(const struct device *dev, u32 source, const struct state *before,
		 const char *what);
/* The old vector of the last move is given back */
void end_move(const struct device *dev, u32 source);
int move_to(const struct device *dev, u32 source, unsigned int cpu);
/* The interrupt works, wherever it is */
void check_arrival(const struct device *dev, u32 source);

/* The fault attribute: injected failures leave no trace in the log */
void quiet(void);
/* What may fail */
#define FAIL_ALLOC	0x01
#define FAIL_ACTIVATE	0x02
#define FAIL_AFFINITY	0x04
#define FAIL_IRTE_WRITE	0x08
#define FAIL_INVALIDATE	0x10
#define FAIL_ANY	(FAIL_ALLOC | FAIL_ACTIVATE | FAIL_AFFINITY | FAIL_IRTE_WRITE | FAIL_INVALIDATE)
/* The next @times operations out of @points fail, whoever comes to them */
void fail_next(long points, long times);
void fail_none(void);
/* The @nth operation of this task fails, 0: none */
void arm(unsigned int nth);
/* Like pin(), where a move has to wait for an interrupt and ends with the next one */
void place(const struct device *dev, u32 source, unsigned int cpu);
/* A move waits for an interrupt, or for a retry */
bool is_pending(unsigned int virq);
/* Seconds until a move that fails again and again is tried once more */
#define LONGEST_RETRY	10
/* CPU 1 goes, and interrupt @virq of MSI-X entry 0 stays on it until fail_none() */
void leave(const struct device *dev, unsigned int virq, long points);
/* A message for it meanwhile. Return: how many interrupts of the entry there were before. */
u64 send_to_offline(const struct device *dev);
/* One that the kernel manages, on any of the CPUs. Return: its number. */
u32 alloc_managed(const struct device *dev);
/* Post it to a vCPU, @vector 0: back to the host. Return: 0 or -errno. */
int post(const struct device *dev, u32 source, u32 vcpu, u32 vector);

/*
 * Failures that nothing in the bench causes (forced.c)
 */
void test_no_vector_data(void);
void test_parent_startup_fails(void);
void test_pin_without_message(void);
void test_managed_moves(void);
void test_time_out(void);
void test_unanswered(void);
void test_stalled(void);
void test_guest_mode(void);
int run_boot(const char *only);
int run_timer(const char *only);
int run_hpet(const char *only);
int run_online(const char *only);

/*
 * A guest of Xen's kind (xen.c)
 */
int run_xen(const char *only);

/*
 * The device irte-control: what the hypervisor does, and what it has seen (hypercall.c)
 */
void open_control(void);
void knob(unsigned int reg, u32 val);
u32 seen(unsigned int reg);
/* The next @nth-th call of these @kinds is refused */
void refuse(u32 kinds, u32 nth, int err);
/* ... and each one is granted, and the unit answers */
void refuse_nothing(void);

/* Pins of the I/O APIC, by the driver irte_call, and one that no device uses */
#define FREE_IRQ	7
int open_calls(void);
/* Return: 0 or -errno */
int request_pin(int fd, u32 irq);
void release_pin(int fd, u32 irq);

/* An interrupt whose line in /proc/interrupts has this in it, 0: there is none */
unsigned int find_interrupt(const char *name);
/* A process that reads the disk, and counts that in @done */
pid_t read_disk(volatile u32 *done);

/*
 * Interrupts of any kernel, be it one without the series (without.c)
 */
void check_disk(void);
void check_serial(void);

/*
 * Interrupts of vfio-pci (vfio.c)
 */

/**
 * struct user - A device that belongs to this program
 * @dev:	The device, its registers and slots are mapped from @fd
 * @container:	The container
 * @group:	The IOMMU group
 * @fd:		The device file
 */
struct user {
	struct device	*dev;
	int		container;
	int		group;
	int		fd;
};

/* Device @nr, driven by vfio-pci */
struct user *open_user(unsigned int nr);
void close_user(struct user *u);
/* So many interrupts for its store */
void set_size(const struct user *u, u32 size);
/* Assigned, with its message in the slot and not masked. Return: its eventfd. */
int use_interrupt(const struct user *u, u32 index);
struct slot get_message(const struct user *u, u32 index);
void raise_one(const struct user *u, u32 index);
/* It arrives */
void check_event(const struct user *u, u32 index, int fd);

int probe_unsafe(unsigned int nr);
/* All that this machine has left, by means of device @nr. Return: how many, or -errno. */
long take_vectors(unsigned int nr);
void give_vectors(void);
/*
 * The same of remapping entries, @nr or as many as there are, by means of one more device
 * from @first on. Return: how many, or -errno.
 */
long take_entries(unsigned int first, u32 nr);
/* Those of the last one. Return: how many devices still have some. */
unsigned int give_entries(void);
/* Have vfio-pci drive device @nr */
void bind_to_vfio(unsigned int nr);

/*
 * The sets. @only: name of a single test or NULL. Return: exit status.
 */
int run_vtd(const char *only);
int run_amd(const char *only);
int run_races(const char *only);
int run_refused(const char *only);
int run_isolation(const char *only);
int run_invalid(const char *only);
int run_failures(const char *only);
int run_crash(const char *only);
int run_hypercall(const char *only);
int run_life(const char *only);
int run_hibernate(const char *only);
int run_kexec(const char *only);
int run_without(const char *only);
int run_hypercall_demo(void);
int run_beside(void);
void test_beside(void);
int run_vfio(const char *only);
int run_avic(const char *only);
int run_passed(const char *only);
int run_passed_amd(const char *only);
int run_passed_port(const char *only);
int run_passed_demo(void);
int run_passed_life(const char *only);
int run_storm(void);
int run_agent(void);
int run_killed(const char *only);
int run_demo(void);

/* Tests that make part of several sets */
void test_msix_alone(void);

#endif /* IMSTEST_H */
