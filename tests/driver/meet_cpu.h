/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * meet_cpu: a CPU that comes online in the middle of a call, see meet_cpu.c
 */
#ifndef MEET_CPU_H
#define MEET_CPU_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct meet_cpu - A call in the middle of which a CPU comes online
 * @name:	Function, one that is not inlined
 * @cpu:	The CPU, offline by now
 */
struct meet_cpu {
	char	name[60];
	__u32	cpu;
};

#define MEET_CPU_MAGIC		0xbb

/*
 * The next time that @cpu comes online it waits for the next call of the function by this
 * task, right before it takes interrupts. The call goes on when @cpu is online. Neither waits
 * for more than 10 seconds. What needs one of the two CPUs meanwhile waits, too.
 *
 * Fails as register_kprobe() does: ENOENT or EINVAL if there is no such function. Also EINVAL
 * if there is no such CPU.
 */
#define MEET_CPU_ARM		_IOW(MEET_CPU_MAGIC, 0, struct meet_cpu)
/* Returns 1 if the CPU waits for the call, else 0 */
#define MEET_CPU_WAITS		_IO(MEET_CPU_MAGIC, 1)
/* Forget it. Returns 1 if the two have met, else 0. */
#define MEET_CPU_END		_IO(MEET_CPU_MAGIC, 2)

#endif /* MEET_CPU_H */
