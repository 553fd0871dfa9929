// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: KVM posts interrupts of vfio-pci to its vCPU, by AMD's AVIC
 *
 * The emulated CPU does not have AVIC, and KVM is told to use it all the same. So the vCPU
 * does not notice what is posted, and does nothing but leave again. What KVM does to the
 * entries of the remapping table is what it does with a CPU that has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "imstest.h"

#define VECTOR		0x51
#define OTHER_VECTOR	0x62
#define GSI		24
#define APIC_SPIV	0xf0
#define APIC_SPIV_ON	0x1ff
#define APIC_IRR(v)	(0x200 + (v) / 32 * 0x10)

/**
 * struct vm - A virtual machine with one vCPU
 * @fd:		The machine
 * @vcpu:	The vCPU
 * @run:	Why it has left
 */
struct vm {
	int		fd;
	int		vcpu;
	struct kvm_run	*run;
};

/* Return: what the call returns */
static int vm_call(int fd, unsigned long cmd, const void *arg, const char *what)
{
	int ret = ioctl(fd, cmd, arg);

	CHECK(ret >= 0, "%s: %s", what, strerror(errno));
	return ret;
}

/* outb %al, $0x80, again and again */
static const u8 code[] = { 0xe6, 0x80, 0xeb, 0xfc };

static void start_at_0(const struct vm *vm)
{
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;

	vm_call(vm->vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	vm_call(vm->vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	vm_call(vm->vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
	vm_call(vm->vcpu, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC");
	*(u32 *)(lapic.regs + APIC_SPIV) = APIC_SPIV_ON;
	vm_call(vm->vcpu, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC");
}

static struct vm *create_vm(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = GSI };
	void *page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region mem = {
		.memory_size	= getpagesize(),
		.userspace_addr	= (uintptr_t)page,
	};
	struct vm *vm = calloc(1, sizeof(*vm));
	int kvm = open("/dev/kvm", O_RDWR), size;

	CHECK(kvm >= 0, "cannot open /dev/kvm: %s", strerror(errno));
	CHECK(page != MAP_FAILED, "no memory");
	memcpy(page, code, sizeof(code));
	vm->fd = vm_call(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	vm_call(vm->fd, KVM_ENABLE_CAP, &cap, "KVM_CAP_SPLIT_IRQCHIP");
	vm_call(vm->fd, KVM_SET_USER_MEMORY_REGION, &mem, "KVM_SET_USER_MEMORY_REGION");
	vm->vcpu = vm_call(vm->fd, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	size = vm_call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	CHECK(vm->run != MAP_FAILED, "cannot map the vCPU: %s", strerror(errno));
	close(kvm);
	start_at_0(vm);
	return vm;
}

static void run_vcpu(const struct vm *vm)
{
	vm_call(vm->vcpu, KVM_RUN, NULL, "KVM_RUN");
	CHECK(vm->run->exit_reason == KVM_EXIT_IO, "the vCPU has left with reason %u",
	      vm->run->exit_reason);
}

/* While that is on KVM does not use AVIC. It takes effect when the vCPU runs. */
static void inhibit_avic(const struct vm *vm, bool on)
{
	struct kvm_guest_debug debug = {
		.control = on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ : 0,
	};

	vm_call(vm->vcpu, KVM_SET_GUEST_DEBUG, &debug, "KVM_SET_GUEST_DEBUG");
	run_vcpu(vm);
}

/* The interrupt is this one of the vCPU's */
static void set_route(const struct vm *vm, u32 vector)
{
	struct kvm_irq_routing_entry route = {
		.gsi	= GSI,
		.type	= KVM_IRQ_ROUTING_MSI,
		.u.msi	= { .address_lo = 0xfee00000, .data = vector },
	};

	vm_call(vm->fd, KVM_SET_MSI_ROUTE, &route, "KVM_SET_MSI_ROUTE");
}

/* ... when it is signaled by @eventfd, that is, or posted in place of this */
static void add_irqfd(const struct vm *vm, int eventfd)
{
	struct kvm_irqfd irqfd = { .fd = eventfd, .gsi = GSI };

	set_route(vm, VECTOR);
	vm_call(vm->fd, KVM_IRQFD, &irqfd, "KVM_IRQFD");
}

/* Whether it is pending. It no longer is after that. */
static bool take_pending(const struct vm *vm, u32 vector)
{
	struct kvm_lapic_state lapic;
	bool pending;
	u32 *irr;

	vm_call(vm->vcpu, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC");
	irr = (u32 *)(lapic.regs + APIC_IRR(vector));
	pending = *irr & 1U << vector % 32;
	/* Only then, as KVM may be making it pending right now */
	if (pending) {
		*irr &= ~(1U << vector % 32);
		vm_call(vm->vcpu, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC");
	}
	return pending;
}

/* It becomes pending in the vCPU, be it that the unit or KVM does that */
static void check_in_vcpu(const struct vm *vm, const struct user *u, u32 vector, bool posted)
{
	struct slot msg = get_message(u, 0);
	struct irte irte;

	CHECK(find_irte(u->dev, irte_index(&msg), &irte), "the interrupt has no entry");
	CHECK(!irte.pda == !posted, "the entry %llx:%llx %s", irte.high, irte.low,
	      posted ? "does not post" : "posts");
	CHECK(!posted || irte.vector == vector, "vector %#x is posted, wanted %#x", irte.vector, vector);
	CHECK(!take_pending(vm, vector), "pending before it is raised");
	raise_one(u, 0);
	CHECK(WAIT(PATIENCE, take_pending(vm, vector)), "the vCPU has not got the interrupt, which was%s posted",
	      posted ? "" : " not");
}

static struct user *post_by_kvm(struct vm *vm)
{
	struct user *u = open_user(0);
	int fd;

	set_size(u, 1);
	fd = use_interrupt(u, 0);
	check_event(u, 0, fd);
	run_vcpu(vm);
	add_irqfd(vm, fd);
	return u;
}

/* By KVM itself, as soon as it is told of the eventfd */
static void test_posted(void)
{
	struct vm *vm = create_vm();
	struct user *u = post_by_kvm(vm);

	check_in_vcpu(vm, u, VECTOR, true);
	inhibit_avic(vm, true);
	check_in_vcpu(vm, u, VECTOR, false);
	inhibit_avic(vm, false);
	check_in_vcpu(vm, u, VECTOR, true);
	close_user(u);
}

/* Another vector of the vCPU takes effect at once */
static void test_route(void)
{
	struct vm *vm = create_vm();
	struct user *u = post_by_kvm(vm);

	check_in_vcpu(vm, u, VECTOR, true);
	set_route(vm, OTHER_VECTOR);
	check_in_vcpu(vm, u, OTHER_VECTOR, true);
	CHECK(!take_pending(vm, VECTOR), "the old vector is pending, too");
	close_user(u);
}

/* It cannot be posted according to the new route, so it is signaled */
static void test_route_fails(void)
{
	struct vm *vm = create_vm();
	struct user *u = post_by_kvm(vm);

	quiet();
	fail_next(FAIL_INVALIDATE, 1);
	set_route(vm, OTHER_VECTOR);
	fail_none();
	check_in_vcpu(vm, u, OTHER_VECTOR, false);
	CHECK(!take_pending(vm, VECTOR), "the old vector is pending, too");
	set_route(vm, VECTOR);
	check_in_vcpu(vm, u, VECTOR, true);
	close_user(u);
}

/*
 * The entry cannot be switched when AVIC is in use again: the interrupt goes on as it did
 * before, and there is no reason for a warning
 */
static void test_switch_fails(void)
{
	struct vm *vm = create_vm();
	struct user *u = post_by_kvm(vm);
	long failures;
	int log;

	quiet();
	inhibit_avic(vm, true);
	log = open_log();
	failures = unit_number("failed and undone:");
	fail_next(FAIL_INVALIDATE, 1);
	inhibit_avic(vm, false);
	fail_none();
	CHECK(unit_number("failed and undone:") == failures + 1, "no failure was injected");
	CHECK(!count_log(log, "WARNING", ""), "KVM warns of an error of the unit");
	check_in_vcpu(vm, u, VECTOR, false);

	inhibit_avic(vm, true);
	inhibit_avic(vm, false);
	check_in_vcpu(vm, u, VECTOR, true);
	close_user(u);
	close(log);
}

static const struct test tests[] = {
	{ "posted",		test_posted },
	{ "route",		test_route },
	{ "route_fails",	test_route_fails },
	{ "switch_fails",	test_switch_fails },
};

int run_avic(const char *only)
{
	return run_tests(tests, ARRAY_SIZE(tests), only);
}
