// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests for KVM_HC_IRTE_UPDATE, by which a guest has userspace update an
 * interrupt remapping table entry
 */
#include <asm/kvm_para.h>
#include <linux/kvm_para.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define UNIT			0xfed90000ull

/* "out %al, $PORT" behind the hypercall tells that it is over */
#define PORT			0x99

static u64 args[4];
static u64 expected;

static void guest_main(void)
{
	u64 ret = kvm_hypercall(KVM_HC_IRTE_UPDATE, args[0], args[1], args[2], args[3]);

	GUEST_ASSERT_EQ(ret, expected);
	GUEST_DONE();
}

static void guest_loop(void)
{
	for (;;) {
		u64 ret = kvm_hypercall(KVM_HC_IRTE_UPDATE, args[0], args[1], args[2], args[3]);

		GUEST_ASSERT_EQ(ret, expected);
		GUEST_SYNC(0);
	}
}

static void expect_done(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_DONE:
	case UCALL_SYNC:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected ucall %lu", uc.cmd);
	}
}

static void prepare(struct kvm_vm *vm, const u64 *a, u64 ret)
{
	memcpy(args, a, sizeof(args));
	expected = ret;
	sync_global_to_guest(vm, args);
	sync_global_to_guest(vm, expected);
}

static void enable_exit(struct kvm_vm *vm)
{
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, BIT(KVM_HC_IRTE_UPDATE));
}

/* Run the call, check what userspace sees, and answer with @ret */
static void vcpu_do_call(struct kvm_vcpu *vcpu, const u64 *a, u64 ret, bool answer)
{
	struct kvm_run *run = vcpu->run;

	prepare(vcpu->vm, a, answer ? ret : -KVM_ENOSYS);

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_HYPERCALL);
	TEST_ASSERT_EQ(run->hypercall.nr, KVM_HC_IRTE_UPDATE);
	for (int i = 0; i < 4; i++)
		TEST_ASSERT_EQ(run->hypercall.args[i], a[i]);
	TEST_ASSERT_EQ(run->hypercall.flags, KVM_EXIT_HYPERCALL_LONG_MODE);
	TEST_ASSERT_EQ(run->hypercall.ret, -KVM_ENOSYS);
	if (answer)
		run->hypercall.ret = ret;

	expect_done(vcpu);
}

/* The same in a new VM */
static void do_call(const u64 *a, u64 ret, bool answer)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_with_one_vcpu(&vcpu, guest_main);

	enable_exit(vm);
	vcpu_do_call(vcpu, a, ret, answer);
	kvm_vm_free(vm);
}

KVM_ONE_VCPU_TEST_SUITE(irte_update);

/* Userspace gets all operations with all arguments as they are, and so its answer */
KVM_ONE_VCPU_TEST(irte_update, forwarded, guest_main)
{
	static const u64 calls[][4] = {
		{ UNIT | KVM_IRTE_OP_GRANT },
		{ UNIT | KVM_IRTE_OP_UPDATE, 0x0005001234ABull, 0x0000000100310001ull, 0x40010ull },
		{ UNIT | KVM_IRTE_OP_RESET },
		{ ~0ull, ~0ull, ~0ull, ~0ull },
	};
	static const u64 answers[] = {
		0, -EINVAL, -ENOSPC, -ENOMEM, -EPERM, -EOPNOTSUPP, -EIO, -KVM_ENOSYS,
		KVM_IRTE_MSG_VALID | 0xfffffull << KVM_IRTE_MSG_ADDR_SHIFT | 0x89abcdef,
	};

	for (int i = 0; i < ARRAY_SIZE(calls); i++) {
		for (int j = 0; j < ARRAY_SIZE(answers); j++)
			do_call(calls[i], answers[j], true);
	}
}

/* KVM does not look at the arguments, reserved bits are userspace's business */
KVM_ONE_VCPU_TEST(irte_update, reserved_bits, guest_loop)
{
	enable_exit(vcpu->vm);
	for (int bit = 0; bit < 256; bit++) {
		u64 a[4] = { UNIT | KVM_IRTE_OP_UPDATE, 1 };

		a[bit / 64] ^= BIT_ULL(bit % 64);
		vcpu_do_call(vcpu, a, -EINVAL, true);
	}
}

/* Userspace which does not handle the call does not grant anything */
KVM_ONE_VCPU_TEST(irte_update, not_handled, guest_main)
{
	u64 a[4] = { UNIT | KVM_IRTE_OP_GRANT };

	do_call(a, 0, false);
}

KVM_ONE_VCPU_TEST(irte_update, no_capability, guest_main)
{
	u64 a[4] = { UNIT | KVM_IRTE_OP_GRANT };

	prepare(vcpu->vm, a, -KVM_ENOSYS);
	expect_done(vcpu);
}

/* The capability replaces the mask */
KVM_ONE_VCPU_TEST(irte_update, other_capability, guest_main)
{
	u64 a[4] = { UNIT | KVM_IRTE_OP_GRANT };

	enable_exit(vcpu->vm);
	vm_enable_cap(vcpu->vm, KVM_CAP_EXIT_HYPERCALL, BIT(KVM_HC_MAP_GPA_RANGE));
	prepare(vcpu->vm, a, -KVM_ENOSYS);
	expect_done(vcpu);
}

KVM_ONE_VCPU_TEST(irte_update, no_feature_bit, guest_main)
{
	u64 a[4] = { UNIT | KVM_IRTE_OP_GRANT };

	enable_exit(vcpu->vm);
	vcpu_enable_cap(vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1);
	vcpu_clear_cpuid_entry(vcpu, KVM_CPUID_FEATURES);
	prepare(vcpu->vm, a, -KVM_ENOSYS);
	expect_done(vcpu);
}

KVM_ONE_VCPU_TEST(irte_update, feature_bit, guest_main)
{
	u64 a[4] = { UNIT | KVM_IRTE_OP_GRANT };

	enable_exit(vcpu->vm);
	vcpu_enable_cap(vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1);
	vcpu_get_cpuid_entry(vcpu, KVM_CPUID_FEATURES)->eax |= BIT(KVM_FEATURE_HC_IRTE_UPDATE);
	vcpu_set_cpuid(vcpu);
	prepare(vcpu->vm, a, 0);

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_HYPERCALL);
	vcpu->run->hypercall.ret = 0;
	expect_done(vcpu);
}

static void write_code(u8 *code)
{
	static const u8 vmcall[] = { 0x0f, 0x01, 0xc1 }, vmmcall[] = { 0x0f, 0x01, 0xd9 };
	static const u8 out[] = { 0xe6, PORT };

	memcpy(code, host_cpu_is_amd_compatible ? vmmcall : vmcall, 3);
	memcpy(code + 3, out, sizeof(out));
}

/* Returns rax */
static u64 run_code(struct kvm_vcpu *vcpu, u64 rip)
{
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	regs.rip = rip;
	regs.rax = KVM_HC_IRTE_UPDATE;
	regs.rbx = UNIT | KVM_IRTE_OP_GRANT;
	regs.rcx = 0;
	regs.rdx = 0;
	regs.rsi = 0;
	/* Interrupts off, and I/O is allowed at any CPL */
	regs.rflags = 0x3002;
	vcpu_regs_set(vcpu, &regs);

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	TEST_ASSERT_EQ(vcpu->run->io.port, PORT);
	vcpu_regs_get(vcpu, &regs);
	return regs.rax;
}

/* The call in 32-bit mode without paging, at a privilege level. Returns eax. */
static u32 call_32bit(struct kvm_vcpu *vcpu, int cpl)
{
	gpa_t gpa = vm_phy_page_alloc(vcpu->vm, 0x10000, 0);
	struct kvm_segment *segs[] = { NULL, NULL, NULL, NULL };
	struct kvm_sregs sregs;

	write_code(addr_gpa2hva(vcpu->vm, gpa));

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cr0 &= ~X86_CR0_PG;
	sregs.efer &= ~(EFER_LME | EFER_LMA);
	sregs.cs.l = 0;
	sregs.cs.db = 1;
	segs[0] = &sregs.cs;
	segs[1] = &sregs.ss;
	segs[2] = &sregs.ds;
	segs[3] = &sregs.es;
	for (int i = 0; i < ARRAY_SIZE(segs); i++) {
		segs[i]->base = 0;
		segs[i]->limit = ~0u;
		segs[i]->g = 1;
		segs[i]->s = 1;
		segs[i]->present = 1;
		segs[i]->unusable = 0;
		segs[i]->type = i ? 3 : 11;
		segs[i]->dpl = cpl;
		segs[i]->selector = (i ? 0x10 : 0x8) | cpl;
		if (i) {
			segs[i]->l = 0;
			segs[i]->db = 1;
		}
	}
	vcpu_sregs_set(vcpu, &sregs);

	return run_code(vcpu, gpa);
}

static void make_user_page(struct kvm_vm *vm, gva_t gva)
{
	u64 table = vm->mmu.pgd;

	for (int level = vm->mmu.pgtable_levels; level; level--) {
		u64 *pte = addr_gpa2hva(vm, table & PHYSICAL_PAGE_MASK);

		pte += gva >> (PAGE_SHIFT + 9 * (level - 1)) & 0x1ff;
		*pte |= PTE_USER_MASK(&vm->mmu);
		table = *pte;
	}
}

/* The call in 64-bit mode at CPL 3 */
static u64 call_user(struct kvm_vcpu *vcpu)
{
	gva_t gva = vm_alloc_page(vcpu->vm);
	struct kvm_sregs sregs;

	write_code(addr_gva2hva(vcpu->vm, gva));
	make_user_page(vcpu->vm, gva);

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cs.dpl = 3;
	sregs.cs.selector |= 3;
	sregs.ss.dpl = 3;
	sregs.ss.selector |= 3;
	vcpu_sregs_set(vcpu, &sregs);

	return run_code(vcpu, gva);
}

/* The arguments do not fit into the registers */
KVM_ONE_VCPU_TEST(irte_update, mode_32bit, guest_main)
{
	enable_exit(vcpu->vm);
	TEST_ASSERT_EQ(call_32bit(vcpu, 0), (u32)-KVM_ENOSYS);
}

KVM_ONE_VCPU_TEST(irte_update, cpl3, guest_main)
{
	enable_exit(vcpu->vm);
	TEST_ASSERT_EQ(call_32bit(vcpu, 3), (u32)-KVM_EPERM);
}

KVM_ONE_VCPU_TEST(irte_update, user_mode, guest_main)
{
	enable_exit(vcpu->vm);
	TEST_ASSERT_EQ(call_user(vcpu), (u64)-KVM_EPERM);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_EXIT_HYPERCALL) & BIT(KVM_HC_IRTE_UPDATE));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ENFORCE_PV_FEATURE_CPUID));

	return test_harness_run(argc, argv);
}
