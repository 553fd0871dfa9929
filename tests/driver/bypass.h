/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bypass: takes the interrupts of an eventfd as KVM does, see bypass.c
 *
 * Each open file is one consumer, until it is closed.
 */
#ifndef BYPASS_H
#define BYPASS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The vector of the vCPU that the interrupts are posted with */
#define BYPASS_VECTOR		0x61

/**
 * struct bypass_state - What the consumer has seen
 * @irq:	Returns the Linux interrupt number that is posted to the vCPU, 0: none
 * @added:	Returns how often there was one
 * @removed:	Returns how often it was taken back
 * @posted:	Returns whether %BYPASS_VECTOR was posted since the last look
 */
struct bypass_state {
	__u32	irq;
	__u32	added;
	__u32	removed;
	__u32	posted;
};

#define BYPASS_MAGIC		0xb9

/* The eventfd, a file descriptor. Fails with EBUSY if there is one, or another consumer of it. */
#define BYPASS_CONSUME		_IOW(BYPASS_MAGIC, 0, __s32)
#define BYPASS_STATE		_IOR(BYPASS_MAGIC, 1, struct bypass_state)

#endif /* BYPASS_H */
