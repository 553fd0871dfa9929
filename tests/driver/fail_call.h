/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * fail_call: functions of the kernel that fail, see fail_call.c
 *
 * For failures that need a parent domain which the bench does not have. What one can have
 * fail by the kernel's own fault injection is none of these.
 */
#ifndef FAIL_CALL_H
#define FAIL_CALL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct fail_call - A call that fails
 * @name:	Function, one that is not inlined
 * @ret:	What it returns
 */
struct fail_call {
	char	name[56];
	__s64	ret;
};

/**
 * struct fail_call_flags - Flags of the MSI domain of an interrupt
 * @virq:	Linux interrupt number
 * @startup_parent:	1: MSI_FLAG_PCI_MSI_STARTUP_PARENT, 0: not that
 */
struct fail_call_flags {
	__u32	virq;
	__u32	startup_parent;
};

#define FAIL_CALL_MAGIC		0xba

/*
 * The next call of the function by this task does nothing but return @ret. The one before is
 * forgotten. Fails as register_kprobe() does: ENOENT or EINVAL if there is no such function.
 */
#define FAIL_CALL_NEXT		_IOW(FAIL_CALL_MAGIC, 0, struct fail_call)
/* Forget it. Returns 1 if it was called, else 0. */
#define FAIL_CALL_NONE		_IO(FAIL_CALL_MAGIC, 1)
/* Fails with ENOENT if the interrupt is none of a domain for MSI */
#define FAIL_CALL_FLAGS		_IOW(FAIL_CALL_MAGIC, 2, struct fail_call_flags)

#endif /* FAIL_CALL_H */
