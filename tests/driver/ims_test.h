/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * ims_test: what the test driver offers to the guest program
 *
 * Each pci-ims device that the driver is bound to has a character device
 * /dev/ims_test-<PCI address>. One file at a time can be open on it, and owns
 * the domain and the interrupts that it creates: closing the file frees them.
 * When the driver is unbound, each call on an open file fails with ENODEV.
 *
 * A *source* is numbered as in pci-ims-regs.h, and there is IMS_TEST_SRC_MSI. What is
 * said of slots holds for queues as well, with the store IMS_TEST_QUEUES. The errors of the
 * kernel functions come back unchanged. Of its own the driver fails with
 *
 *	EBUSY	the source is requested, there are slots left, or, from open(),
 *		the file is open already
 *	ENOENT	the source is not allocated, not requested, or not a slot (or queue)
 *	EALREADY  the source is in the wanted state, or there are vectors
 *	EDOM	there is no such CPU, store or variant, or that many vectors
 *	EINVAL	unknown flags, no such vCPU, or a vector above 255
 *	EOPNOTSUPP  no unit that can post remaps the interrupt
 *	ENOMEM, EFAULT, ENOTTY as everywhere
 */
#ifndef IMS_TEST_H
#define IMS_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * The first message of MSI. It cannot be masked, so the kernel keeps its vector once it
 * has one. Where there is the device irte-control it is one of that, which sends it when
 * it is told to. Else it is that of the chip set's SATA controller, and never arrives.
 */
#define IMS_TEST_SRC_MSI	0xc0000000

/* CPUs that the counters tell apart */
#define IMS_TEST_CPUS		8

/**
 * enum ims_test_store - Where the messages are
 * @IMS_TEST_SLOTS:	The slot array of the PCI core
 * @IMS_TEST_QUEUES:	The queue memory of the PCI core
 * @IMS_TEST_CHIP:	A slot array, with an irqchip of the driver's own
 * @IMS_TEST_NO_MASK_STORE: The same, of which the driver says that it cannot be masked
 * @IMS_TEST_STORES:	Number of stores
 */
enum ims_test_store {
	IMS_TEST_SLOTS,
	IMS_TEST_QUEUES,
	IMS_TEST_CHIP,
	IMS_TEST_NO_MASK_STORE,
	IMS_TEST_STORES,
};

/**
 * enum ims_test_variant - Template for the domain of IMS_TEST_CHIP
 * @IMS_TEST_GOOD:		As it should be
 * @IMS_TEST_NO_MASK:		Without irq_mask()
 * @IMS_TEST_NO_UNMASK:		Without irq_unmask()
 * @IMS_TEST_NO_WRITE:		Without irq_write_msi_msg()
 * @IMS_TEST_SET_AFFINITY:	With an irq_set_affinity() of its own
 * @IMS_TEST_COMPOSE:		With an irq_compose_msi_msg() of its own
 * @IMS_TEST_BUS_LOCK:		With irq_bus_lock()
 * @IMS_TEST_BUS_SYNC_UNLOCK:	With irq_bus_sync_unlock()
 * @IMS_TEST_FLAGS:		With flags for the domain
 * @IMS_TEST_VARIANTS:		Number of variants
 */
enum ims_test_variant {
	IMS_TEST_GOOD,
	IMS_TEST_NO_MASK,
	IMS_TEST_NO_UNMASK,
	IMS_TEST_NO_WRITE,
	IMS_TEST_SET_AFFINITY,
	IMS_TEST_COMPOSE,
	IMS_TEST_BUS_LOCK,
	IMS_TEST_BUS_SYNC_UNLOCK,
	IMS_TEST_FLAGS,
	IMS_TEST_VARIANTS,
};

/**
 * struct ims_test_domain - pci_create_ims_domain() and the like
 * @hwsize:	Number of slots
 * @variant:	Template, &enum ims_test_variant
 * @store:	Store, &enum ims_test_store. A wrong template needs IMS_TEST_CHIP.
 */
struct ims_test_domain {
	__u32	hwsize;
	__u32	variant;
	__u32	store;
};

/* In place of a CPU */
#define IMS_TEST_ALL_CPUS	(-2)

/**
 * struct ims_test_alloc - pci_ims_alloc_irq()
 * @cookie:	Instance cookie, 0: none. Returns the one in the descriptor.
 * @cpu:	Initial affinity, -1: none, IMS_TEST_ALL_CPUS: all that are online
 * @source:	Returns the number of the source
 * @virq:	Returns the Linux interrupt number
 * @managed:	1: the kernel manages the affinity, 0: user space does
 */
struct ims_test_alloc {
	__u64	cookie;
	__s32	cpu;
	__u32	source;
	__u32	virq;
	__u32	managed;
};

/* Flags of IMS_TEST_BATCH: spread over the CPUs; the kernel manages the affinity */
#define IMS_TEST_SPREAD		0x1
#define IMS_TEST_MANAGED	0x2

/**
 * struct ims_test_batch - pci_ims_alloc_irqs()
 * @nr:		Number of slots
 * @flags:	IMS_TEST_SPREAD, IMS_TEST_MANAGED
 * @first:	Returns the lowest number of a source
 */
struct ims_test_batch {
	__u32	nr;
	__u32	flags;
	__u32	first;
};

/*
 * Flags of IMS_TEST_REQUEST: IMS_TEST_MASK masks the source at once, and the source
 * is disabled until IMS_TEST_UNMASK
 */
#define IMS_TEST_UNLAZY		0x1
#define IMS_TEST_NO_AUTOEN	0x2

/**
 * struct ims_test_source - Operation on a source
 * @source:	Number of the source
 * @flags:	Flags for IMS_TEST_REQUEST, else 0. They end with the release.
 */
struct ims_test_source {
	__u32	source;
	__u32	flags;
};

/**
 * struct ims_test_stats - What the driver knows about a source
 * @source:	Number of the source
 * @virq:	Returns the Linux interrupt number, 0: not allocated
 * @received:	Returns interrupts received on each CPU since the allocation
 * @unexpected:	Returns how often the handler was called and should not have
 *		been: for another interrupt number, for a source that is not
 *		requested, or on a CPU beyond IMS_TEST_CPUS. Since the file was
 *		opened, so it outlasts a reallocation.
 */
struct ims_test_stats {
	__u32	source;
	__u32	virq;
	__u64	received[IMS_TEST_CPUS];
	__u64	unexpected;
};

/**
 * struct ims_test_queue - The context of a queue
 * @source:	Number of the source
 * @addr_lo:	Returns the words of the context
 * @addr_hi:	The second one
 * @data:	The third one
 * @ctrl:	The fourth one
 * @writes:	Returns how often it was written since the allocation
 */
struct ims_test_queue {
	__u32	source;
	__u32	addr_lo;
	__u32	addr_hi;
	__u32	data;
	__u32	ctrl;
	__u32	writes;
};

/* vCPUs of each device. They do not run: what is posted to them stays there. */
#define IMS_TEST_VCPUS		2

/**
 * struct ims_test_post - irq_set_vcpu_affinity()
 * @source:	Number of the source
 * @vcpu:	vCPU to post to
 * @vector:	Vector there, 0: back to the host
 *
 * It has to be the host's when it is released. On AMD the device is a guest's from the first
 * time on, until the file is closed, and cannot use the queue memory.
 */
struct ims_test_post {
	__u32	source;
	__u32	vcpu;
	__u32	vector;
};

/**
 * struct ims_test_posted - What was posted to a vCPU
 * @vectors:	Returns a bit for each vector, and clears them
 * @vcpu:	vCPU
 */
struct ims_test_posted {
	__u64	vectors[4];
	__u32	vcpu;
	__u32	pad;
};

/**
 * struct ims_test_guest_mode - What KVM does while the interrupt is posted, on AMD
 * @source:	Number of the source. It has to have been posted once.
 * @on:		1: post it, 0: the host gets it
 */
struct ims_test_guest_mode {
	__u32	source;
	__u32	on;
};

/**
 * struct ims_test_move - irq_set_affinity()
 * @source:	Number of the source
 * @cpu:	CPU, or IMS_TEST_ALL_CPUS
 */
struct ims_test_move {
	__u32	source;
	__s32	cpu;
};

#define IMS_TEST_MAGIC		0xb7

/* Create and remove the IMS domain */
#define IMS_TEST_DOMAIN		_IOW(IMS_TEST_MAGIC, 0, struct ims_test_domain)
#define IMS_TEST_UNDOMAIN	_IO(IMS_TEST_MAGIC, 1)

/* Allocate and free a slot with its interrupt */
#define IMS_TEST_ALLOC		_IOWR(IMS_TEST_MAGIC, 2, struct ims_test_alloc)
#define IMS_TEST_FREE		_IOW(IMS_TEST_MAGIC, 3, struct ims_test_source)

/* Allocate that many MSI-X vectors, 0: free them */
#define IMS_TEST_MSIX		_IOW(IMS_TEST_MAGIC, 4, __u32)

/* request_irq() and free_irq(), disable_irq() and enable_irq() */
#define IMS_TEST_REQUEST	_IOW(IMS_TEST_MAGIC, 5, struct ims_test_source)
#define IMS_TEST_RELEASE	_IOW(IMS_TEST_MAGIC, 6, struct ims_test_source)
#define IMS_TEST_MASK		_IOW(IMS_TEST_MAGIC, 7, struct ims_test_source)
#define IMS_TEST_UNMASK		_IOW(IMS_TEST_MAGIC, 8, struct ims_test_source)

/*
 * Write the message of a slot again, as after a loss of the store's content. Unless the
 * store is IMS_TEST_CHIP all slots that are requested are written.
 */
#define IMS_TEST_REWRITE	_IOW(IMS_TEST_MAGIC, 9, struct ims_test_source)

#define IMS_TEST_STATS		_IOWR(IMS_TEST_MAGIC, 10, struct ims_test_stats)

/* Allocate that many messages of MSI, from IMS_TEST_SRC_MSI on, 0: free them */
#define IMS_TEST_MSI		_IOW(IMS_TEST_MAGIC, 11, __u32)
/* Allocate several slots, all or none; free all slots, none of them requested */
#define IMS_TEST_BATCH		_IOWR(IMS_TEST_MAGIC, 12, struct ims_test_batch)
#define IMS_TEST_UNBATCH	_IO(IMS_TEST_MAGIC, 13)

/* Look at the context of a queue that was allocated once */
#define IMS_TEST_QUEUE		_IOWR(IMS_TEST_MAGIC, 14, struct ims_test_queue)

/* Post an interrupt to a vCPU, as KVM does, and see what has arrived there */
#define IMS_TEST_POST		_IOW(IMS_TEST_MAGIC, 15, struct ims_test_post)
#define IMS_TEST_POSTED		_IOWR(IMS_TEST_MAGIC, 16, struct ims_test_posted)
#define IMS_TEST_GUEST_MODE	_IOW(IMS_TEST_MAGIC, 17, struct ims_test_guest_mode)

/* Move an interrupt as a driver can, a managed one, too */
#define IMS_TEST_MOVE		_IOW(IMS_TEST_MAGIC, 18, struct ims_test_move)

#endif /* IMS_TEST_H */
