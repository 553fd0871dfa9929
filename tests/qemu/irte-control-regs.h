/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * irte-control: registers by which a guest tells its hypervisor how to answer
 * calls for updates of remapping entries, and sees what came of them.
 *
 * The QEMU device and the guest programs include this file. BAR 0 has 4 KiB of
 * 32-bit registers, little endian and naturally aligned. Each of them is also a
 * property of the QEMU device, which qom-set changes at run time. Counters wrap.
 */
#ifndef IRTE_CONTROL_REGS_H
#define IRTE_CONTROL_REGS_H

/* PCI_IMS_VENDOR_ID of pci-ims-regs.h */
#define IRTE_CONTROL_DEVICE_ID	0x11ec

/*
 * Answers. Calls of the kinds in FAIL_KINDS are refused with -FAIL_ERRNO
 *  - if FAIL_NTH is not 0: the FAIL_NTH-th of them from now on; it counts down
 *  - if FAIL_INDEX is not ~0: each one for this entry, of the requester RID if each
 *    has a table of its own. GRANT and RESET are for none.
 */
#define IRTE_CONTROL_FAIL_KINDS	0x00
#define IRTE_CONTROL_FAIL_ERRNO	0x04
#define IRTE_CONTROL_FAIL_NTH	0x08
#define IRTE_CONTROL_FAIL_INDEX	0x0c
#define IRTE_CONTROL_NO_ENTRY	0xfffffffe
/* Microseconds before each answer, or if FAIL_INDEX is not ~0 before those for it */
#define IRTE_CONTROL_DELAY	0x10
/*
 * If not 0 the answer to an update that makes an entry present is a message of
 * the hypervisor: without subhandle, and with these data
 */
#define IRTE_CONTROL_DATA	0x14

/* Survives a reset, and means nothing */
#define IRTE_CONTROL_SCRATCH	0x18
/* Requester id that the entries behind ANNOUNCED_RID belong to */
#define IRTE_CONTROL_RID	0x1c
/*
 * The unit leaves so many waits for the completion of its commands unanswered, from now on;
 * it counts down
 */
#define IRTE_CONTROL_UNANSWERED	0x20
/* AMD: the unit does not fetch commands as long as this is not 0 */
#define IRTE_CONTROL_STALLED	0x24

#define IRTE_KIND_PRESENT	0x1	/* UPDATE with a present entry */
#define IRTE_KIND_RELEASE	0x2	/* UPDATE with an entry that is not present */
#define IRTE_KIND_GRANT		0x4
#define IRTE_KIND_RESET		0x8

/* What the hypervisor has seen, read only */
#define IRTE_CONTROL_CALLS	0x40	/* All calls */
#define IRTE_CONTROL_PRESENT	0x44	/* UPDATEs with a present entry, granted */
#define IRTE_CONTROL_RELEASE	0x48	/* UPDATEs that released an entry */
#define IRTE_CONTROL_GRANT	0x4c
#define IRTE_CONTROL_RESET	0x50
#define IRTE_CONTROL_REFUSED	0x54	/* As told by the registers above */
#define IRTE_CONTROL_INVALID	0x58	/* Any other error */
#define IRTE_CONTROL_ANNOUNCED	0x5c	/* Entries that are announced now */
#define IRTE_CONTROL_GRANTED	0x60	/* 1: the unit is granted now */
#define IRTE_CONTROL_ROUTES	0x64	/* KVM routes refreshed for an entry */
#define IRTE_CONTROL_READS	0x80	/* The unit's registers */
#define IRTE_CONTROL_WRITES	0x84
#define IRTE_CONTROL_IEC	0x88	/* Invalidations of entries */
#define IRTE_CONTROL_HEAP	0x8c	/* Heap of the hypervisor process, KiB */
#define IRTE_CONTROL_SLAB	0x90	/* Slab of the host's kernel, KiB */
#define IRTE_CONTROL_LAST_LO	0xa0	/* The last entry that was granted */
#define IRTE_CONTROL_LAST_RID	0xa4
#define IRTE_CONTROL_LAST_INDEX	0xa8
#define IRTE_CONTROL_LAST_ORDER	0xac
/* Entries that are announced now: of this requester; as part of a block of 2^n */
#define IRTE_CONTROL_ANNOUNCED_RID	0xb0
#define IRTE_CONTROL_ORDER(n)	(0x100 + 4 * (n))
#define IRTE_CONTROL_ORDERS	6

/*
 * A line to the host: a byte for whom the property "host" of the device connects,
 * or one that has come from there
 */
#define IRTE_CONTROL_HOST	0xc0
#define IRTE_CONTROL_HOST_EMPTY	0xffffffff

/*
 * The device has that many messages of MSI, without a mask. Write only: the number of
 * one that is to be sent.
 */
#define IRTE_CONTROL_MESSAGES	32
#define IRTE_CONTROL_SEND	0xc4

#endif /* IRTE_CONTROL_REGS_H */
