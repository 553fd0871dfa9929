// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests for KVM_SET_MSI_ROUTE, which changes the MSI route of one GSI
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "apic.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define FIRST_VECTOR		0x40
#define NR_VECTORS		4

/* The pins of the I/O APIC have routes of their own */
#define IOAPIC_GSI		4
#define FIRST_GSI		24
#define MAX_ROUTES		4096
#define LAST_GSI		(MAX_ROUTES - 1)

#define NR_MOVES		2000
#define NR_IRQFDS		256

#define FAILSLAB		"/sys/kernel/debug/failslab/"
#define FAILSLAB_CACHES		"/sys/kernel/slab/kmalloc-*/failslab"

static u32 received[NR_VECTORS];
static bool ready;
static bool done;

/* As seen by the host, the guest writes them at any time */
static u32 *guest_received;

static struct kvm_vm *vm;

static void guest_received_irq(unsigned int i)
{
	WRITE_ONCE(received[i], received[i] + 1);
	x2apic_write_reg(APIC_EOI, 0);
}

static void guest_irq_0(struct ex_regs *regs) { guest_received_irq(0); }
static void guest_irq_1(struct ex_regs *regs) { guest_received_irq(1); }
static void guest_irq_2(struct ex_regs *regs) { guest_received_irq(2); }
static void guest_irq_3(struct ex_regs *regs) { guest_received_irq(3); }

static void guest_code(void)
{
	x2apic_enable();
	sti_nop();
	WRITE_ONCE(ready, true);

	while (!READ_ONCE(done))
		cpu_relax();

	GUEST_DONE();
}

static void *vcpu_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT_EQ(UCALL_DONE, get_ucall(vcpu, &uc));
	return NULL;
}

static struct kvm_irq_routing_entry msi_route(u32 gsi, u8 vector)
{
	struct kvm_irq_routing_entry route;

	/* What is behind the member of the union has to be 0 */
	memset(&route, 0, sizeof(route));
	route.gsi = gsi;
	route.type = KVM_IRQ_ROUTING_MSI;
	route.u.msi.address_lo = 0xfee00000;
	route.u.msi.data = vector;
	return route;
}

static void set_route(u32 gsi, unsigned int i)
{
	struct kvm_irq_routing_entry route = msi_route(gsi, FIRST_VECTOR + i);

	vm_ioctl(vm, KVM_SET_MSI_ROUTE, &route);
}

static void expect_error(struct kvm_vm *vm, struct kvm_irq_routing_entry *route, int error)
{
	int ret = __vm_ioctl(vm, KVM_SET_MSI_ROUTE, route);

	TEST_ASSERT(ret == -1 && errno == error,
		    "GSI %u type %u: wanted errno %d, ret = %d, errno = %d",
		    route->gsi, route->type, error, ret, errno);
}

static u32 total_received(void)
{
	u32 sum = 0;

	for (int i = 0; i < NR_VECTORS; i++)
		sum += READ_ONCE(guest_received[i]);
	return sum;
}

/* Exactly one interrupt, on any vector, for one event */
static void raise_and_wait(int eventfd)
{
	u32 before = total_received();
	struct timespec start;

	TEST_ASSERT_EQ(eventfd_write(eventfd, 1), 0);

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (total_received() == before && timespec_elapsed(start).tv_sec < 20)
		cpu_relax();

	TEST_ASSERT_EQ(total_received(), before + 1);
}

static void expect_vector(int eventfd, unsigned int i)
{
	u32 before = READ_ONCE(guest_received[i]);

	raise_and_wait(eventfd);
	TEST_ASSERT_EQ(READ_ONCE(guest_received[i]), before + 1);
}

static void expect_nothing(int eventfd)
{
	u32 before = total_received();

	TEST_ASSERT_EQ(eventfd_write(eventfd, 1), 0);
	usleep(20000);
	TEST_ASSERT_EQ(total_received(), before);
}

static void set_table(const struct kvm_irq_routing_entry *entries, unsigned int nr)
{
	struct kvm_irq_routing *table;

	table = calloc(1, sizeof(*table) + nr * sizeof(*entries));
	TEST_ASSERT(table, "Out of memory");
	table->nr = nr;
	if (nr)
		memcpy(table->entries, entries, nr * sizeof(*entries));
	vm_ioctl(vm, KVM_SET_GSI_ROUTING, table);
	free(table);
}

static int new_irqfd(u32 gsi)
{
	int fd = kvm_new_eventfd();

	kvm_assign_irqfd(vm, gsi, fd);
	return fd;
}

static void free_irqfd(u32 gsi, int fd)
{
	kvm_deassign_irqfd(vm, gsi, fd);
	close(fd);
}

static void test_no_irqchip(void)
{
	struct kvm_vm *bare = vm_create_barebones();
	struct kvm_irq_routing_entry route = msi_route(FIRST_GSI, FIRST_VECTOR);

	expect_error(bare, &route, EINVAL);
	kvm_vm_free(bare);
}

/* With a split irqchip the pins of the I/O APIC have MSI routes, or none */
static void test_split_irqchip(void)
{
	struct kvm_vm *split = vm_create_barebones();
	struct kvm_irq_routing_entry route = msi_route(IOAPIC_GSI, FIRST_VECTOR);

	vm_enable_cap(split, KVM_CAP_SPLIT_IRQCHIP, FIRST_GSI);
	vm_ioctl(split, KVM_SET_MSI_ROUTE, &route);
	route.u.msi.data++;
	vm_ioctl(split, KVM_SET_MSI_ROUTE, &route);
	kvm_vm_free(split);
}

static bool has_ioapic(void)
{
	struct kvm_vm *bare = vm_create_barebones();
	bool has = !__vm_ioctl(bare, KVM_CREATE_IRQCHIP, NULL);

	kvm_vm_free(bare);
	return has;
}

/* Nothing changes on failure */
static void test_errors(void)
{
	struct kvm_irq_routing_entry route;
	int fd = new_irqfd(FIRST_GSI);

	set_route(FIRST_GSI, 0);

	for (u32 type = 0; type < 8; type++) {
		route = msi_route(FIRST_GSI, FIRST_VECTOR + 1);
		route.type = type;
		if (type != KVM_IRQ_ROUTING_MSI)
			expect_error(vm, &route, EINVAL);
	}

	for (int bit = 0; bit < 32; bit++) {
		route = msi_route(FIRST_GSI, FIRST_VECTOR + 1);
		route.flags = BIT(bit);
		if (route.flags != KVM_MSI_VALID_DEVID)
			expect_error(vm, &route, EINVAL);

		route = msi_route(FIRST_GSI, FIRST_VECTOR + 1);
		route.pad = BIT(bit);
		expect_error(vm, &route, EINVAL);

		for (int i = 3; i < ARRAY_SIZE(route.u.pad); i++) {
			route = msi_route(FIRST_GSI, FIRST_VECTOR + 1);
			route.u.pad[i] = BIT(bit);
			expect_error(vm, &route, EINVAL);
		}
	}

	route = msi_route(FIRST_GSI, FIRST_VECTOR + 1);
	route.u.msi.address_hi = 1;
	expect_error(vm, &route, EINVAL);

	/* Without an I/O APIC in the kernel its pins have no routes */
	if (has_ioapic()) {
		route = msi_route(IOAPIC_GSI, FIRST_VECTOR + 1);
		expect_error(vm, &route, EEXIST);
	}

	route = msi_route(LAST_GSI + 1, FIRST_VECTOR + 1);
	expect_error(vm, &route, ENOSPC);
	route = msi_route(-1, FIRST_VECTOR + 1);
	expect_error(vm, &route, ENOSPC);

	TEST_ASSERT(ioctl(vm->fd, KVM_SET_MSI_ROUTE, NULL) == -1 && errno == EFAULT,
		    "NULL: errno = %d", errno);

	expect_vector(fd, 0);
	free_irqfd(FIRST_GSI, fd);
}

/* A device id means nothing on x86, but it has to be announced */
static void test_devid(void)
{
	struct kvm_irq_routing_entry route = msi_route(FIRST_GSI, FIRST_VECTOR + 1);
	int fd = new_irqfd(FIRST_GSI);

	set_route(FIRST_GSI, 0);
	route.u.msi.devid = 0x100;
	expect_error(vm, &route, EINVAL);
	expect_vector(fd, 0);

	route.flags = KVM_MSI_VALID_DEVID;
	vm_ioctl(vm, KVM_SET_MSI_ROUTE, &route);
	expect_vector(fd, 1);
	free_irqfd(FIRST_GSI, fd);
}

/* A route of another type stays, until the whole table is set */
static void test_other_type(void)
{
	struct kvm_irq_routing_entry route = msi_route(FIRST_GSI, FIRST_VECTOR + 1);
	struct kvm_irq_routing_entry sint = {
		.gsi		= FIRST_GSI,
		.type		= KVM_IRQ_ROUTING_HV_SINT,
		.u.hv_sint.sint	= 2,
	};
	int fd, other;

	if (!kvm_has_cap(KVM_CAP_HYPERV_SYNIC)) {
		pr_info("No routes of another type\n");
		return;
	}

	set_table(&sint, 1);
	fd = new_irqfd(FIRST_GSI);
	other = new_irqfd(LAST_GSI);
	expect_error(vm, &route, EEXIST);
	expect_nothing(fd);

	/* Also in a table which has been copied */
	set_route(LAST_GSI, 0);
	expect_vector(other, 0);
	expect_error(vm, &route, EEXIST);
	expect_nothing(fd);

	set_table(NULL, 0);
	vm_ioctl(vm, KVM_SET_MSI_ROUTE, &route);
	expect_vector(fd, 1);
	free_irqfd(FIRST_GSI, fd);
	free_irqfd(LAST_GSI, other);
}

static void test_routes(void)
{
	struct kvm_irq_routing_entry route = msi_route(FIRST_GSI + 1, FIRST_VECTOR + 2);
	int fd = new_irqfd(FIRST_GSI + 1);
	int other = new_irqfd(FIRST_GSI + 2);
	int last = new_irqfd(LAST_GSI);

	/* The irqfd is there before the route */
	expect_nothing(fd);
	set_route(FIRST_GSI + 1, 0);
	expect_vector(fd, 0);
	expect_nothing(other);

	/* A route is replaced, the same route as well */
	set_route(FIRST_GSI + 1, 1);
	expect_vector(fd, 1);
	set_route(FIRST_GSI + 1, 1);
	expect_vector(fd, 1);

	/* What the table has no room for */
	expect_nothing(last);
	set_route(LAST_GSI, 2);
	expect_vector(last, 2);
	expect_vector(fd, 1);
	expect_nothing(other);

	/* All routes there can be */
	for (u32 gsi = FIRST_GSI; gsi <= LAST_GSI; gsi++)
		set_route(gsi, 3);
	expect_vector(fd, 3);
	expect_vector(other, 3);
	expect_vector(last, 3);
	set_route(FIRST_GSI + 1, 0);
	expect_vector(fd, 0);
	expect_vector(other, 3);

	/* The whole table overwrites them, and they can be set again */
	set_table(NULL, 0);
	expect_nothing(fd);
	expect_nothing(last);
	set_route(FIRST_GSI + 1, 1);
	expect_vector(fd, 1);
	expect_nothing(other);

	/* The others are still there when the table grows, for an irqfd that looks now */
	set_table(&route, 1);
	set_route(LAST_GSI, 3);
	free_irqfd(FIRST_GSI + 1, fd);
	fd = new_irqfd(FIRST_GSI + 1);
	expect_vector(fd, 2);
	expect_vector(last, 3);

	free_irqfd(FIRST_GSI + 1, fd);
	free_irqfd(FIRST_GSI + 2, other);
	free_irqfd(LAST_GSI, last);
}

/* After the ioctl has returned an event arrives at the new vector only */
static void test_moves(void)
{
	int fd;

	/* An irqfd keeps the route that it finds, and has to be told of another one */
	set_route(FIRST_GSI, NR_VECTORS - 1);
	fd = new_irqfd(FIRST_GSI);

	for (unsigned int i = 0; i < NR_MOVES; i++) {
		set_route(FIRST_GSI, i % NR_VECTORS);
		expect_vector(fd, i % NR_VECTORS);
	}
	free_irqfd(FIRST_GSI, fd);
}

static void *mover(void *arg)
{
	bool *stop = arg;

	for (unsigned int i = 0; !READ_ONCE(*stop); i++) {
		set_route(FIRST_GSI, i % NR_VECTORS);
		/* Other routes come, and the table grows and shrinks */
		set_route(FIRST_GSI + 1 + i % 100, 0);
		if (i % 64 == 0) {
			struct kvm_irq_routing_entry route = msi_route(FIRST_GSI, FIRST_VECTOR);

			set_table(&route, 1);
		}
	}
	return NULL;
}

/* Each event arrives once, at one of the vectors, while its route changes */
static void test_race(void)
{
	pthread_t threads[2];
	bool stop = false;
	int fd;

	set_route(FIRST_GSI, 0);
	fd = new_irqfd(FIRST_GSI);

	for (int i = 0; i < ARRAY_SIZE(threads); i++)
		kvm_pthread_create(&threads[i], NULL, mover, &stop);

	for (unsigned int i = 0; i < NR_MOVES; i++)
		raise_and_wait(fd);

	WRITE_ONCE(stop, true);
	for (int i = 0; i < ARRAY_SIZE(threads); i++)
		kvm_pthread_join(threads[i], NULL);
	free_irqfd(FIRST_GSI, fd);
}

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
	char		old[16];
} knobs[] = {
	/* A stack trace would look like a bug */
	{ FAILSLAB "verbose",		"0" },
	/* Only kmalloc(), and not the memory which is required for debugging */
	{ FAILSLAB "cache-filter",	"Y" },
	{ FAILSLAB "ignore-gfp-wait",	"N" },
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
	while (nr--)
		TEST_ASSERT(write_text(knobs[nr].path, knobs[nr].old),
			    "Cannot restore %s", knobs[nr].path);
}

static bool set_knobs(void)
{
	for (int i = 0; i < ARRAY_SIZE(knobs); i++) {
		if (!read_text(knobs[i].path, knobs[i].old, sizeof(knobs[i].old)) ||
		    !write_text(knobs[i].path, knobs[i].value)) {
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

	TEST_ASSERT_EQ(pwrite(fail_nth, text, len, 0), len);
}

/* How many allocations were left until the one which fails, 0 if it has failed */
static unsigned int disarm(int fail_nth)
{
	char text[16] = "";

	TEST_ASSERT(pread(fail_nth, text, sizeof(text) - 1, 0) > 0, "Cannot read fail-nth");
	arm(fail_nth, 0);
	return atoi(text);
}

/* As set_small_table() has left it, for irqfds which look now */
static void expect_small_table(void)
{
	for (int i = 0; i < NR_VECTORS; i++) {
		int fd = new_irqfd(FIRST_GSI + i);

		expect_vector(fd, i);
		free_irqfd(FIRST_GSI + i, fd);
	}
}

static void set_small_table(void)
{
	struct kvm_irq_routing_entry routes[NR_VECTORS];

	for (int i = 0; i < NR_VECTORS; i++)
		routes[i] = msi_route(FIRST_GSI + i, FIRST_VECTOR + i);
	set_table(routes, NR_VECTORS);
}

/* Without memory for the new route, or one which moves to a larger table, nothing changes */
static void test_out_of_memory(void)
{
	int fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	struct kvm_irq_routing_entry route = msi_route(LAST_GSI, FIRST_VECTOR);
	unsigned int failed = 0, left = 0;
	int last, ret, error;

	if (fail_nth < 0 || !set_knobs()) {
		pr_info("No fault injection\n");
		if (fail_nth >= 0)
			close(fail_nth);
		return;
	}

	last = new_irqfd(LAST_GSI);
	for (unsigned int nth = 1; !left; nth++) {
		set_small_table();

		arm(fail_nth, nth);
		ret = __vm_ioctl(vm, KVM_SET_MSI_ROUTE, &route);
		error = errno;
		left = disarm(fail_nth);
		if (!ret)
			continue;

		TEST_ASSERT(!left && error == ENOMEM, "Allocation %u: errno = %d, %u left",
			    nth, error, left);
		expect_small_table();
		expect_nothing(last);
		failed++;
	}

	expect_small_table();
	expect_vector(last, 0);
	TEST_ASSERT(failed > NR_VECTORS, "%u allocations failed", failed);
	pr_info("Out of memory at %u allocations in turn\n", failed);

	free_irqfd(LAST_GSI, last);
	TEST_ASSERT(fail_kmalloc(false), "Cannot restore the caches");
	restore_knobs(ARRAY_SIZE(knobs));
	close(fail_nth);
}

static u64 cost(bool table, struct kvm_irq_routing_entry *entries, unsigned int nr)
{
	const unsigned int rounds = 4;
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned int i = 0; i < rounds; i++) {
		entries[0].u.msi.data = FIRST_VECTOR + i % 2;
		if (table)
			set_table(entries, nr);
		else
			vm_ioctl(vm, KVM_SET_MSI_ROUTE, &entries[0]);
	}
	return timespec_to_ns(timespec_elapsed(start)) / rounds;
}

/* All irqfds are searched for those of the GSI */
static void report_cost(unsigned int nr, unsigned int nr_irqfds)
{
	struct kvm_irq_routing_entry *entries = calloc(nr, sizeof(*entries));
	int fds[NR_IRQFDS];
	u64 all, one;

	TEST_ASSERT(entries, "Out of memory");
	for (unsigned int i = 0; i < nr; i++)
		entries[i] = msi_route(FIRST_GSI + i, FIRST_VECTOR);
	for (unsigned int i = 0; i < nr_irqfds; i++)
		fds[i] = new_irqfd(FIRST_GSI + i);

	all = cost(true, entries, nr);
	one = cost(false, entries, nr);
	pr_info("%u routes, %u irqfds: KVM_SET_GSI_ROUTING %lu ns, KVM_SET_MSI_ROUTE %lu ns\n",
		nr, nr_irqfds, all, one);

	for (unsigned int i = 0; i < nr_irqfds; i++)
		free_irqfd(FIRST_GSI + i, fds[i]);
	free(entries);
}

int main(int argc, char *argv[])
{
	void (*handlers[NR_VECTORS])(struct ex_regs *) = {
		guest_irq_0, guest_irq_1, guest_irq_2, guest_irq_3,
	};
	struct kvm_vcpu *vcpu;
	pthread_t thread;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_SET_MSI_ROUTE));
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_IRQ_ROUTING), MAX_ROUTES);

	test_no_irqchip();
	test_split_irqchip();

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	vm_enable_cap(vm, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS);
	for (int i = 0; i < NR_VECTORS; i++)
		vm_install_exception_handler(vm, FIRST_VECTOR + i, handlers[i]);
	guest_received = addr_gva2hva(vm, (gva_t)received);

	kvm_pthread_create(&thread, NULL, vcpu_thread, vcpu);
	while (!SYNC_FROM_GUEST_AND_READ(vm, ready))
		cpu_relax();

	test_errors();
	test_devid();
	test_other_type();
	test_routes();
	test_moves();
	test_race();
	test_out_of_memory();
	report_cost(1, 0);
	report_cost(LAST_GSI - FIRST_GSI + 1, 0);
	report_cost(LAST_GSI - FIRST_GSI + 1, NR_IRQFDS);

	WRITE_AND_SYNC_TO_GUEST(vm, done, true);
	kvm_pthread_join(thread, NULL);
	kvm_vm_free(vm);
	return 0;
}
