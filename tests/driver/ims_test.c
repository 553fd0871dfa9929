// SPDX-License-Identifier: GPL-2.0
/*
 * Test driver for the emulated IMS device (pci-ims)
 *
 * It creates, uses and frees the IMS and MSI-X interrupts of the device as
 * told by a test program (ims_test.h), and counts what arrives. The program
 * triggers the interrupts itself: it maps the device's registers.
 */
#include <linux/amd-iommu.h>
#include <linux/cleanup.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci-ims.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include <asm/apicdef.h>
#include <asm/irq_remapping.h>
#include <asm/posted_intr.h>

#include "ims_test.h"
#include "irq_chip.h"
#include "irte-control-regs.h"
#include "pci-ims-regs.h"

/**
 * struct ims_queue - Context of a queue, in memory
 * @addr_lo:	Address, bits 31:0
 * @addr_hi:	Address, bits 63:32
 * @data:	Data
 * @ctrl:	Control word
 */
struct ims_queue {
	__le32	addr_lo;
	__le32	addr_hi;
	__le32	data;
	__le32	ctrl;
};

/**
 * struct ims_dev - A device that the driver is bound to
 * @ref:	One reference for the binding, one for the open file
 * @lock:	Serialises ioctls, close, reset and unbinding, protects @pdev,
 *		@queues, @queues_dma, @sources, @nmsix, @msi, @nmsi, @opened, @domain
 *		and @store
 * @misc:	The character device
 * @pdev:	The PCI device, NULL: unbound
 * @regs:	Registers
 * @slots:	Slot array
 * @store_lock:	Serialises the accesses to the slot array
 * @queues:	Queue memory, NULL: not used yet. It has a context for each slot, and is
 *		there until the driver is unbound and the kernel has removed the domain.
 * @queues_dma:	The same for the device
 * @sources:	Sources that have been allocated, by number
 * @nmsix:	Number of allocated MSI-X vectors
 * @msi:	The device of IMS_TEST_SRC_MSI, NULL: not allocated
 * @nmsi:	Number of its messages
 * @vcpus:	The vCPUs of IMS_TEST_POST: a page each, its descriptor and virtual APIC
 * @guest:	IOMMU domain of its guest, NULL: the device is the host's
 * @opened:	There is an open file
 * @domain:	There is an IMS domain
 * @store:	Its store
 */
struct ims_dev {
	struct kref		ref;
	/* See above. Handlers and chip callbacks run without it. */
	struct mutex		lock;
	struct miscdevice	misc;
	struct pci_dev		*pdev;
	void __iomem		*regs;
	void __iomem		*slots;
	raw_spinlock_t		store_lock;
	struct ims_queue	*queues;
	dma_addr_t		queues_dma;
	struct xarray		sources;
	unsigned int		nmsix;
	struct pci_dev		*msi;
	unsigned int		nmsi;
	void			*vcpus;
	struct iommu_domain	*guest;
	bool			opened;
	bool			domain;
	enum ims_test_store	store;
};

/**
 * struct ims_source - A slot, queue or MSI-X entry that has been allocated once
 * @ims:	Device
 * @source:	Number of the source
 * @virq:	Linux interrupt number, 0: not allocated
 * @requested:	The handler is installed
 * @disabled:	disable_irq() has been called
 * @unlazy:	IMS_TEST_UNLAZY was asked for
 * @received:	Interrupts received on each CPU since the allocation
 * @unexpected:	Calls of the handler that should not have been, since the file
 *		was opened
 * @writes:	Writes to the context of a queue since the allocation
 * @amd:	What AMD's unit knows it by since it was posted, NULL: it was not
 * @name:	Name in /proc/interrupts
 *
 * It lives until the driver is unbound and the file is closed, so that a handler
 * which is called too late finds it and is counted.
 */
struct ims_source {
	struct ims_dev	*ims;
	u32		source;
	unsigned int	virq;
	bool		requested;
	bool		disabled;
	bool		unlazy;
	u64		received[IMS_TEST_CPUS];
	u64		unexpected;
	u32		writes;
	void		*amd;
	char		name[32];
};

/*
 * A store of the driver's own
 */
static void __iomem *ims_test_slot(struct irq_data *data)
{
	return irq_data_get_msi_desc(data)->data.dcookie.iobase;
}

static struct ims_dev *ims_test_dev(struct irq_data *data)
{
	struct msi_domain_info *info = data->domain->host_data;

	return info->data;
}

static void ims_test_set_mask(struct irq_data *data, bool mask)
{
	void __iomem *ctrl = ims_test_slot(data) + PCI_IMS_SLOT_CTRL;
	u32 val;

	guard(raw_spinlock_irqsave)(&ims_test_dev(data)->store_lock);
	val = readl(ctrl) & ~PCI_IMS_CTRL_MASK;
	writel(mask ? val | PCI_IMS_CTRL_MASK : val, ctrl);
	/* It is done when this returns */
	readl(ctrl);
}

static void ims_test_irq_mask(struct irq_data *data)
{
	ims_test_set_mask(data, true);
}

static void ims_test_irq_unmask(struct irq_data *data)
{
	ims_test_set_mask(data, false);
}

static void ims_test_write_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct msi_desc *desc = irq_data_get_msi_desc(data);
	void __iomem *slot = ims_test_slot(data);
	u32 ctrl;

	guard(raw_spinlock_irqsave)(&ims_test_dev(data)->store_lock);
	/* The device must not use one half of the message without the other */
	ctrl = readl(slot + PCI_IMS_SLOT_CTRL);
	writel(ctrl | PCI_IMS_CTRL_MASK, slot + PCI_IMS_SLOT_CTRL);
	writel(msg->address_lo, slot + PCI_IMS_SLOT_ADDR_LO);
	writel(msg->address_hi, slot + PCI_IMS_SLOT_ADDR_HI);
	writel(msg->data, slot + PCI_IMS_SLOT_DATA);
	readl(slot + PCI_IMS_SLOT_CTRL);
	if (!(ctrl & PCI_IMS_CTRL_MASK))
		writel(ctrl, slot + PCI_IMS_SLOT_CTRL);
	desc->msg = *msg;
}

/* There is no one else to take the mask of the device's slot away */
static void ims_test_write_unmasked(struct irq_data *data, struct msi_msg *msg)
{
	ims_test_set_mask(data, true);
	ims_test_write_msi_msg(data, msg);
	if (msg->address_lo)
		ims_test_set_mask(data, false);
}

static void ims_test_prepare_desc(struct irq_domain *domain, msi_alloc_info_t *arg,
				  struct msi_desc *desc)
{
	struct msi_domain_info *info = domain->host_data;
	struct ims_dev *ims = info->data;

	desc->data.dcookie.iobase = ims->slots + desc->msi_index * PCI_IMS_SLOT_SIZE;
}

/*
 * Queue memory, which the device reads whenever it wants to
 */
static void ims_test_write_queue(struct pci_dev *pdev, unsigned int index,
				 union msi_instance_cookie icookie, const struct msi_msg *msg)
{
	static const struct msi_msg none;
	struct ims_dev *ims = pci_get_drvdata(pdev);
	struct ims_source *src = xa_load(&ims->sources, index | PCI_IMS_SRC_QUEUE);
	struct ims_queue *queue = &ims->queues[index];

	/* As long as a command to a device may take */
	usleep_range(100, 200);

	/* The device must not use one half of the message without the other */
	WRITE_ONCE(queue->ctrl, 0);
	dma_wmb();
	queue->addr_lo = cpu_to_le32(msg ? msg->address_lo : none.address_lo);
	queue->addr_hi = cpu_to_le32(msg ? msg->address_hi : none.address_hi);
	queue->data = cpu_to_le32(msg ? msg->data : none.data);
	dma_wmb();
	if (msg)
		WRITE_ONCE(queue->ctrl, cpu_to_le32(PCI_IMS_QUEUE_VALID));
	if (src)
		src->writes++;
}

static int ims_test_alloc_queues(struct ims_dev *ims)
{
	u32 nr = readl(ims->regs + PCI_IMS_NSLOTS);

	if (!ims->queues)
		ims->queues = dmam_alloc_coherent(&ims->pdev->dev, nr * sizeof(*ims->queues),
						  &ims->queues_dma, GFP_KERNEL);
	return ims->queues ? 0 : -ENOMEM;
}

/* From nothing, as after a reset */
static void ims_test_start_queues(struct ims_dev *ims)
{
	u32 nr = readl(ims->regs + PCI_IMS_NSLOTS);

	memset(ims->queues, 0, nr * sizeof(*ims->queues));
	writel(lower_32_bits(ims->queues_dma), ims->regs + PCI_IMS_QUEUE_BASE_LO);
	writel(upper_32_bits(ims->queues_dma), ims->regs + PCI_IMS_QUEUE_BASE_HI);
	writel(nr, ims->regs + PCI_IMS_QUEUE_COUNT);
}

static void ims_test_stop_queues(struct ims_dev *ims)
{
	writel(0, ims->regs + PCI_IMS_QUEUE_COUNT);
}

/*
 * Callbacks that a template must not have. The domain is refused, so they are
 * never called.
 */
static int ims_test_set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	return -EINVAL;
}

static void ims_test_compose_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
}

static void ims_test_bus(struct irq_data *data)
{
}

static const struct msi_domain_template ims_test_template = {
	.chip = {
		.irq_mask		= ims_test_irq_mask,
		.irq_unmask		= ims_test_irq_unmask,
		.irq_write_msi_msg	= ims_test_write_msi_msg,
	},

	.ops = {
		.prepare_desc		= ims_test_prepare_desc,
	},
};

/*
 * The sources
 */
static irqreturn_t ims_test_handler(int irq, void *data)
{
	struct ims_source *src = data;
	unsigned int cpu = smp_processor_id();

	/* Calls for one interrupt do not overlap, so nothing else counts */
	if (READ_ONCE(src->requested) && irq == src->virq && cpu < IMS_TEST_CPUS)
		WRITE_ONCE(src->received[cpu], src->received[cpu] + 1);
	else
		WRITE_ONCE(src->unexpected, src->unexpected + 1);
	/* That of another device is none of its sources */
	if (src->source < IMS_TEST_SRC_MSI)
		writel(src->source, src->ims->regs + PCI_IMS_ACK);
	return IRQ_HANDLED;
}

static bool ims_test_is_slot(struct ims_source *src)
{
	return !(src->source & PCI_IMS_SRC_MSIX);
}

/* The slot or queue at @index of the store */
static u32 ims_test_number(struct ims_dev *ims, unsigned int index)
{
	return ims->store == IMS_TEST_QUEUES ? index | PCI_IMS_SRC_QUEUE : index;
}

static unsigned int ims_test_index(u32 source)
{
	return source & ~PCI_IMS_SRC_KIND;
}

static struct ims_source *ims_test_find(struct ims_dev *ims, u32 source)
{
	struct ims_source *src = xa_load(&ims->sources, source);

	return src && src->virq ? src : NULL;
}

/* Note down that @source has got @virq */
static int ims_test_add(struct ims_dev *ims, u32 source, unsigned int virq)
{
	struct ims_source *src = xa_load(&ims->sources, source);
	int ret;

	if (!src) {
		struct ims_source *new __free(kfree) = kzalloc_obj(*new);

		if (!new)
			return -ENOMEM;
		ret = xa_err(xa_store(&ims->sources, source, new, GFP_KERNEL));
		if (ret)
			return ret;
		src = no_free_ptr(new);
	}

	*src = (struct ims_source){
		.ims		= ims,
		.source		= source,
		.virq		= virq,
		.unexpected	= src->unexpected,
	};
	snprintf(src->name, sizeof(src->name), "ims_test-%s%u",
		 ims_test_is_slot(src) ? "" : "msix-", ims_test_index(source));
	return 0;
}

static int ims_test_request(struct ims_dev *ims, const struct ims_test_source *arg)
{
	unsigned long flags = arg->flags & IMS_TEST_NO_AUTOEN ? IRQF_NO_AUTOEN : 0;
	struct ims_source *src = ims_test_find(ims, arg->source);
	int ret;

	if (!src)
		return -ENOENT;
	if (src->requested)
		return -EALREADY;
	if (arg->flags & IMS_TEST_UNLAZY)
		irq_set_status_flags(src->virq, IRQ_DISABLE_UNLAZY);

	/* The first interrupt may arrive before request_irq() returns */
	WRITE_ONCE(src->requested, true);
	ret = request_irq(src->virq, ims_test_handler, flags, src->name, src);
	if (ret) {
		WRITE_ONCE(src->requested, false);
		irq_clear_status_flags(src->virq, IRQ_DISABLE_UNLAZY);
		return ret;
	}
	src->disabled = flags;
	src->unlazy = arg->flags & IMS_TEST_UNLAZY;
	return 0;
}

static int ims_test_release(struct ims_source *src)
{
	if (!src || !src->requested)
		return -ENOENT;

	/* Takes IRQ_DISABLE_UNLAZY back, too */
	free_irq(src->virq, src);
	WRITE_ONCE(src->requested, false);
	src->disabled = false;
	src->unlazy = false;
	return 0;
}

static int ims_test_disable(struct ims_source *src)
{
	if (!src || !src->requested)
		return -ENOENT;
	if (src->disabled)
		return -EALREADY;

	disable_irq(src->virq);
	src->disabled = true;
	return 0;
}

static int ims_test_enable(struct ims_source *src)
{
	if (!src || !src->requested)
		return -ENOENT;
	if (!src->disabled)
		return -EALREADY;

	src->disabled = false;
	enable_irq(src->virq);
	return 0;
}

static int ims_test_rewrite(struct ims_source *src)
{
	struct irq_data *data;
	struct msi_msg msg;

	if (!src || !ims_test_is_slot(src))
		return -ENOENT;
	if (src->ims->store != IMS_TEST_CHIP) {
		pci_ims_restore_irqs(src->ims->pdev);
		return 0;
	}

	data = irq_get_irq_data(src->virq);
	msg = irq_data_get_msi_desc(data)->msg;
	ims_test_write_msi_msg(data, &msg);
	return 0;
}

static int ims_test_stats(struct ims_dev *ims, struct ims_test_stats *arg)
{
	struct ims_source *src = xa_load(&ims->sources, arg->source);
	unsigned int cpu;

	if (!src)
		return -ENOENT;

	arg->virq = src->virq;
	for (cpu = 0; cpu < IMS_TEST_CPUS; cpu++)
		arg->received[cpu] = READ_ONCE(src->received[cpu]);
	arg->unexpected = READ_ONCE(src->unexpected);
	return 0;
}

static int ims_test_queue(struct ims_dev *ims, struct ims_test_queue *arg)
{
	struct ims_source *src = xa_load(&ims->sources, arg->source);
	const struct ims_queue *queue;

	if (!src || (arg->source & PCI_IMS_SRC_KIND) != PCI_IMS_SRC_QUEUE)
		return -ENOENT;

	queue = &ims->queues[ims_test_index(arg->source)];
	arg->addr_lo = le32_to_cpu(queue->addr_lo);
	arg->addr_hi = le32_to_cpu(queue->addr_hi);
	arg->data = le32_to_cpu(queue->data);
	arg->ctrl = le32_to_cpu(queue->ctrl);
	arg->writes = src->writes;
	return 0;
}

/*
 * Interrupts that are posted to a vCPU, as KVM does it
 */
static void ims_test_take_from_guest(struct ims_dev *ims)
{
	if (!ims->guest)
		return;
	iommu_detach_device(ims->guest, &ims->pdev->dev);
	iommu_domain_free(ims->guest);
	ims->guest = NULL;
}

/* AMD: the interrupts of a device can be posted when the device is a guest's */
static int ims_test_give_to_guest(struct ims_dev *ims)
{
	struct device *dev = &ims->pdev->dev;
	int ret;

	if (ims->guest)
		return 0;
	ims->guest = iommu_paging_domain_alloc(dev);
	if (IS_ERR(ims->guest)) {
		ret = PTR_ERR(ims->guest);
		ims->guest = NULL;
		return ret;
	}
	ret = iommu_attach_device(ims->guest, dev);
	if (ret) {
		iommu_domain_free(ims->guest);
		ims->guest = NULL;
	}
	return ret;
}

static void *ims_test_vcpu(struct ims_dev *ims, u32 vcpu)
{
	return ims->vcpus + vcpu * PAGE_SIZE;
}

static int ims_test_post_vtd(struct ims_dev *ims, unsigned int virq,
			     const struct ims_test_post *arg)
{
	struct intel_iommu_pi_data pi_data = {
		.pi_desc_addr = virt_to_phys(ims_test_vcpu(ims, arg->vcpu)),
		.vector = arg->vector,
	};

	return irq_set_vcpu_affinity(virq, arg->vector ? &pi_data : NULL);
}

static int ims_test_post_amd(struct ims_dev *ims, struct ims_source *src,
			     const struct ims_test_post *arg)
{
	struct amd_iommu_pi_data pi_data = {
		.vapic_addr = virt_to_phys(ims_test_vcpu(ims, arg->vcpu)),
		.vector = arg->vector,
		.cpu = -1,
		.is_guest_mode = true,
	};
	int ret;

	if (!arg->vector)
		return irq_set_vcpu_affinity(src->virq, NULL);
	ret = ims_test_give_to_guest(ims);
	if (ret)
		return ret;
	ret = irq_set_vcpu_affinity(src->virq, &pi_data);
	if (!ret)
		src->amd = pi_data.ir_data;
	return ret;
}

static int ims_test_post(struct ims_dev *ims, const struct ims_test_post *arg)
{
	struct ims_source *src = ims_test_find(ims, arg->source);

	if (!src)
		return -ENOENT;
	if (arg->vector > U8_MAX || arg->vcpu >= IMS_TEST_VCPUS)
		return -EINVAL;
	if (!irq_remapping_cap(IRQ_POSTING_CAP))
		return -EOPNOTSUPP;
	if (irq_has_chip(src->virq, "INTEL-IR"))
		return ims_test_post_vtd(ims, src->virq, arg);
	if (irq_has_chip(src->virq, "AMD-IR"))
		return ims_test_post_amd(ims, src, arg);
	return -EOPNOTSUPP;
}

/* Unlike IMS_TEST_POST it does not take the lock of the interrupt's descriptor */
static int ims_test_guest_mode(struct ims_source *src, bool on)
{
	if (!src || !src->amd)
		return -ENOENT;
	return on ? amd_iommu_activate_guest_mode(src->amd, -1, false) :
		    amd_iommu_deactivate_guest_mode(src->amd);
}

static int ims_test_move(struct ims_source *src, int cpu)
{
	if (!src)
		return -ENOENT;
	if (cpu == IMS_TEST_ALL_CPUS)
		return irq_set_affinity(src->virq, cpu_online_mask);
	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_possible(cpu))
		return -EDOM;
	return irq_set_affinity(src->virq, cpumask_of(cpu));
}

/* VT-d posts to the descriptor, AMD to the IRR of the virtual APIC */
static int ims_test_posted(struct ims_dev *ims, struct ims_test_posted *arg)
{
	struct pi_desc *desc;
	unsigned int i;
	u32 *irr;

	if (arg->vcpu >= IMS_TEST_VCPUS)
		return -EINVAL;
	desc = ims_test_vcpu(ims, arg->vcpu);
	for (i = 0; i < NR_PIR_WORDS; i++) {
		irr = (void *)desc + APIC_IRR + i * 0x20;
		arg->vectors[i] = xchg(&desc->pir[i], 0) | xchg(&irr[0], 0) |
				  (u64)xchg(&irr[4], 0) << 32;
	}
	return 0;
}

/*
 * Domain, slots, MSI-X vectors
 */
static bool ims_test_has_slots(struct ims_dev *ims)
{
	struct ims_source *src;
	unsigned long idx;

	xa_for_each_range(&ims->sources, idx, src, 0, PCI_IMS_SRC_MSIX - 1) {
		if (src->virq)
			return true;
	}
	return false;
}

/* Make a wrong one of the template */
static int ims_test_spoil(struct msi_domain_template *template, u32 variant)
{
	switch (variant) {
	case IMS_TEST_GOOD:
		break;
	case IMS_TEST_NO_MASK:
		template->chip.irq_mask = NULL;
		break;
	case IMS_TEST_NO_UNMASK:
		template->chip.irq_unmask = NULL;
		break;
	case IMS_TEST_NO_WRITE:
		template->chip.irq_write_msi_msg = NULL;
		break;
	case IMS_TEST_SET_AFFINITY:
		template->chip.irq_set_affinity = ims_test_set_affinity;
		break;
	case IMS_TEST_COMPOSE:
		template->chip.irq_compose_msi_msg = ims_test_compose_msi_msg;
		break;
	case IMS_TEST_BUS_LOCK:
		template->chip.irq_bus_lock = ims_test_bus;
		break;
	case IMS_TEST_BUS_SYNC_UNLOCK:
		template->chip.irq_bus_sync_unlock = ims_test_bus;
		break;
	case IMS_TEST_FLAGS:
		template->info.flags = MSI_FLAG_ACTIVATE_EARLY;
		break;
	default:
		return -EDOM;
	}
	return 0;
}

static int ims_test_create_slots(struct ims_dev *ims, u32 nr)
{
	const struct pci_ims_slot_array array = {
		.base		= ims->slots,
		.nr_slots	= nr,
	};

	return pcim_ims_slot_array_create(ims->pdev, &array);
}

static int ims_test_create_queues(struct ims_dev *ims, u32 nr)
{
	const struct pci_ims_queue_store store = {
		.nr_queues	= nr,
		.write_msg	= ims_test_write_queue,
	};
	int ret;

	/* First, so that it goes after the domain */
	ret = ims_test_alloc_queues(ims);
	if (ret)
		return ret;

	ret = pcim_ims_queue_store_create(ims->pdev, &store);
	if (!ret)
		ims_test_start_queues(ims);
	return ret;
}

static int ims_test_create_chip(struct ims_dev *ims, const struct ims_test_domain *arg)
{
	int ret;

	struct msi_domain_template *template __free(kfree) =
		kmemdup(&ims_test_template, sizeof(*template), GFP_KERNEL);
	if (!template)
		return -ENOMEM;

	if (arg->store == IMS_TEST_NO_MASK_STORE) {
		template->chip.irq_mask = NULL;
		template->chip.irq_unmask = NULL;
		template->chip.irq_write_msi_msg = ims_test_write_unmasked;
		template->info.flags = MSI_FLAG_STORE_NO_MASK;
	}
	ret = ims_test_spoil(template, arg->variant);
	if (ret)
		return ret;

	return pci_create_ims_domain(ims->pdev, template, arg->hwsize, ims);
}

static int ims_test_create_store(struct ims_dev *ims, const struct ims_test_domain *arg)
{
	switch (arg->store) {
	case IMS_TEST_SLOTS:
		return ims_test_create_slots(ims, arg->hwsize);
	case IMS_TEST_QUEUES:
		return ims_test_create_queues(ims, arg->hwsize);
	case IMS_TEST_CHIP:
	case IMS_TEST_NO_MASK_STORE:
		return ims_test_create_chip(ims, arg);
	default:
		return -EDOM;
	}
}

static int ims_test_create_domain(struct ims_dev *ims, const struct ims_test_domain *arg)
{
	int ret = ims_test_create_store(ims, arg);

	if (ret)
		return ret;
	ims->domain = true;
	ims->store = arg->store;
	return 0;
}

static int ims_test_remove_domain(struct ims_dev *ims)
{
	if (ims_test_has_slots(ims))
		return -EBUSY;

	pci_remove_ims_domain(ims->pdev);
	ims_test_stop_queues(ims);
	ims->domain = false;
	return 0;
}

static int ims_test_alloc(struct ims_dev *ims, struct ims_test_alloc *arg)
{
	union msi_instance_cookie icookie = { .value = arg->cookie };
	struct msi_map map;
	u32 source;
	int ret;

	struct irq_affinity_desc *affdesc __free(kfree) = kzalloc_obj(*affdesc);
	if (!affdesc)
		return -ENOMEM;
	if (arg->cpu == IMS_TEST_ALL_CPUS) {
		cpumask_copy(&affdesc->mask, cpu_online_mask);
	} else if (arg->cpu >= 0) {
		if (arg->cpu >= nr_cpu_ids)
			return -EDOM;
		cpumask_set_cpu(arg->cpu, &affdesc->mask);
	}
	affdesc->is_managed = arg->managed;

	map = pci_ims_alloc_irq(ims->pdev, arg->cookie ? &icookie : NULL,
				cpumask_empty(&affdesc->mask) ? NULL : affdesc);
	if (map.index < 0)
		return map.index;

	source = ims_test_number(ims, map.index);
	ret = ims_test_add(ims, source, map.virq);
	if (ret) {
		pci_ims_free_irq(ims->pdev, map);
		return ret;
	}

	arg->cookie = irq_get_msi_desc(map.virq)->data.icookie.value;
	arg->source = source;
	arg->virq = map.virq;
	return 0;
}

static int ims_test_free(struct ims_dev *ims, struct ims_source *src)
{
	struct msi_map map;

	if (!src || !ims_test_is_slot(src))
		return -ENOENT;
	if (src->requested)
		return -EBUSY;

	map = (struct msi_map){ .index = ims_test_index(src->source), .virq = src->virq };
	src->virq = 0;
	pci_ims_free_irq(ims->pdev, map);
	return 0;
}

static int ims_test_note_batch(struct ims_dev *ims, const struct msi_map *maps, u32 nr)
{
	u32 i;
	int ret;

	for (i = 0; i < nr; i++) {
		ret = ims_test_add(ims, ims_test_number(ims, maps[i].index), maps[i].virq);
		if (ret)
			return ret;
	}
	return 0;
}

static void ims_test_forget_batch(struct ims_dev *ims, const struct msi_map *maps, u32 nr)
{
	struct ims_source *src;
	u32 i;

	for (i = 0; i < nr; i++) {
		src = ims_test_find(ims, ims_test_number(ims, maps[i].index));
		if (src)
			src->virq = 0;
	}
	pci_ims_free_irqs(ims->pdev, maps, nr);
}

static int ims_test_batch(struct ims_dev *ims, struct ims_test_batch *arg)
{
	struct irq_affinity affd = { };
	bool spread = arg->flags & IMS_TEST_SPREAD;
	int ret;

	if (arg->flags & ~(IMS_TEST_SPREAD | IMS_TEST_MANAGED) || arg->nr > PCI_IMS_MAX_SLOTS)
		return -EINVAL;

	struct msi_map *maps __free(kvfree) = kvcalloc(arg->nr + 1, sizeof(*maps), GFP_KERNEL);
	if (!maps)
		return -ENOMEM;

	ret = pci_ims_alloc_irqs(ims->pdev, maps, arg->nr, NULL, spread ? &affd : NULL,
				 arg->flags & IMS_TEST_MANAGED);
	if (ret)
		return ret;

	ret = ims_test_note_batch(ims, maps, arg->nr);
	if (ret)
		ims_test_forget_batch(ims, maps, arg->nr);
	arg->first = ims_test_number(ims, maps[0].index);
	return ret;
}

/* All slots, however they were allocated */
static int ims_test_unbatch(struct ims_dev *ims)
{
	struct ims_source *src;
	unsigned long idx;
	u32 nr = 0;

	struct msi_map *maps __free(kvfree) = kvcalloc(PCI_IMS_MAX_SLOTS, sizeof(*maps), GFP_KERNEL);
	if (!maps)
		return -ENOMEM;

	xa_for_each_range(&ims->sources, idx, src, 0, PCI_IMS_SRC_MSIX - 1) {
		if (src->requested)
			return -EBUSY;
		if (src->virq)
			maps[nr++] = (struct msi_map){
				.index	= ims_test_index(idx),
				.virq	= src->virq,
			};
	}
	ims_test_forget_batch(ims, maps, nr);
	return 0;
}

static int ims_test_free_msix(struct ims_dev *ims)
{
	struct ims_source *src;
	unsigned int i;

	for (i = 0; i < ims->nmsix; i++) {
		src = ims_test_find(ims, i | PCI_IMS_SRC_MSIX);
		if (src && src->requested)
			return -EBUSY;
	}
	for (i = 0; i < ims->nmsix; i++) {
		src = ims_test_find(ims, i | PCI_IMS_SRC_MSIX);
		if (src)
			src->virq = 0;
	}
	if (ims->nmsix)
		pci_free_irq_vectors(ims->pdev);
	ims->nmsix = 0;
	return 0;
}

static int ims_test_msix(struct ims_dev *ims, u32 nvec)
{
	unsigned int i;
	int ret;

	if (!nvec)
		return ims_test_free_msix(ims);
	if (ims->nmsix)
		return -EALREADY;
	if (nvec > PCI_IMS_MAX_MSIX)
		return -EDOM;

	ret = pci_alloc_irq_vectors(ims->pdev, nvec, nvec, PCI_IRQ_MSIX);
	if (ret < 0)
		return ret;

	ims->nmsix = nvec;
	for (i = 0; i < nvec; i++) {
		ret = ims_test_add(ims, i | PCI_IMS_SRC_MSIX, pci_irq_vector(ims->pdev, i));
		if (ret) {
			ims_test_free_msix(ims);
			return ret;
		}
	}
	return 0;
}

static struct pci_dev *ims_test_msi_device(void)
{
	return pci_get_device(PCI_IMS_VENDOR_ID, IRTE_CONTROL_DEVICE_ID, NULL) ? :
	       pci_get_class(PCI_CLASS_STORAGE_SATA_AHCI, NULL);
}

static int ims_test_free_msi(struct ims_dev *ims)
{
	struct ims_source *src;
	unsigned int i;

	if (!ims->msi)
		return 0;
	for (i = 0; i < ims->nmsi; i++) {
		src = ims_test_find(ims, i + IMS_TEST_SRC_MSI);
		if (src && src->requested)
			return -EBUSY;
	}
	for (i = 0; i < ims->nmsi; i++) {
		src = ims_test_find(ims, i + IMS_TEST_SRC_MSI);
		if (src)
			src->virq = 0;
	}
	pci_free_irq_vectors(ims->msi);
	pci_disable_device(ims->msi);
	pci_dev_put(ims->msi);
	ims->msi = NULL;
	return 0;
}

static int ims_test_msi(struct ims_dev *ims, u32 nvec)
{
	unsigned int i;
	int ret;

	if (!nvec)
		return ims_test_free_msi(ims);
	if (ims->msi)
		return -EALREADY;
	if (nvec > IRTE_CONTROL_MESSAGES)
		return -EDOM;

	struct pci_dev *pdev __free(pci_dev_put) = ims_test_msi_device();
	if (!pdev)
		return -ENODEV;

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	pci_set_master(pdev);
	ret = pci_alloc_irq_vectors(pdev, nvec, nvec, PCI_IRQ_MSI);
	if (ret < 0) {
		pci_disable_device(pdev);
		return ret;
	}

	ims->msi = no_free_ptr(pdev);
	ims->nmsi = nvec;
	for (i = 0; i < nvec; i++) {
		ret = ims_test_add(ims, i + IMS_TEST_SRC_MSI, pci_irq_vector(ims->msi, i));
		if (ret) {
			ims_test_free_msi(ims);
			return ret;
		}
	}
	return 0;
}

static void ims_test_release_all(struct ims_dev *ims)
{
	struct ims_source *src;
	unsigned long idx;

	xa_for_each(&ims->sources, idx, src)
		ims_test_release(src);
}

/* Free all that there is, in use or not */
static void ims_test_free_all(struct ims_dev *ims)
{
	struct ims_source *src;
	unsigned long idx;

	ims_test_release_all(ims);
	xa_for_each(&ims->sources, idx, src) {
		if (src->virq && ims_test_is_slot(src))
			ims_test_free(ims, src);
	}
	ims_test_free_msix(ims);
	ims_test_free_msi(ims);
	if (ims->domain)
		ims_test_remove_domain(ims);
}

/*
 * The character device
 */
union ims_test_arg {
	struct ims_test_domain	domain;
	struct ims_test_alloc	alloc;
	struct ims_test_batch	batch;
	struct ims_test_source	source;
	struct ims_test_stats	stats;
	struct ims_test_queue	queue;
	struct ims_test_post	post;
	struct ims_test_posted	posted;
	struct ims_test_guest_mode guest_mode;
	struct ims_test_move	move;
	u32			nvec;
};

/* Only IMS_TEST_REQUEST has flags */
static bool ims_test_flags_valid(unsigned int cmd, const union ims_test_arg *arg)
{
	switch (cmd) {
	case IMS_TEST_REQUEST:
		return !(arg->source.flags & ~(IMS_TEST_UNLAZY | IMS_TEST_NO_AUTOEN));
	case IMS_TEST_FREE:
	case IMS_TEST_RELEASE:
	case IMS_TEST_MASK:
	case IMS_TEST_UNMASK:
	case IMS_TEST_REWRITE:
		return !arg->source.flags;
	default:
		return true;
	}
}

static int ims_test_call(struct ims_dev *ims, unsigned int cmd, union ims_test_arg *arg)
{
	if (!ims_test_flags_valid(cmd, arg))
		return -EINVAL;

	switch (cmd) {
	case IMS_TEST_DOMAIN:
		return ims_test_create_domain(ims, &arg->domain);
	case IMS_TEST_UNDOMAIN:
		return ims_test_remove_domain(ims);
	case IMS_TEST_ALLOC:
		return ims_test_alloc(ims, &arg->alloc);
	case IMS_TEST_FREE:
		return ims_test_free(ims, ims_test_find(ims, arg->source.source));
	case IMS_TEST_MSIX:
		return ims_test_msix(ims, arg->nvec);
	case IMS_TEST_REQUEST:
		return ims_test_request(ims, &arg->source);
	case IMS_TEST_RELEASE:
		return ims_test_release(ims_test_find(ims, arg->source.source));
	case IMS_TEST_MASK:
		return ims_test_disable(ims_test_find(ims, arg->source.source));
	case IMS_TEST_UNMASK:
		return ims_test_enable(ims_test_find(ims, arg->source.source));
	case IMS_TEST_REWRITE:
		return ims_test_rewrite(ims_test_find(ims, arg->source.source));
	case IMS_TEST_STATS:
		return ims_test_stats(ims, &arg->stats);
	case IMS_TEST_MSI:
		return ims_test_msi(ims, arg->nvec);
	case IMS_TEST_BATCH:
		return ims_test_batch(ims, &arg->batch);
	case IMS_TEST_UNBATCH:
		return ims_test_unbatch(ims);
	case IMS_TEST_QUEUE:
		return ims_test_queue(ims, &arg->queue);
	case IMS_TEST_POST:
		return ims_test_post(ims, &arg->post);
	case IMS_TEST_POSTED:
		return ims_test_posted(ims, &arg->posted);
	case IMS_TEST_GUEST_MODE:
		return ims_test_guest_mode(ims_test_find(ims, arg->guest_mode.source),
					   arg->guest_mode.on);
	case IMS_TEST_MOVE:
		return ims_test_move(ims_test_find(ims, arg->move.source), arg->move.cpu);
	default:
		return -ENOTTY;
	}
}

static struct ims_dev *ims_test_from_file(struct file *file)
{
	return container_of(file->private_data, struct ims_dev, misc);
}

static long ims_test_ioctl(struct file *file, unsigned int cmd, unsigned long ptr)
{
	struct ims_dev *ims = ims_test_from_file(file);
	void __user *uarg = (void __user *)ptr;
	size_t size = _IOC_SIZE(cmd);
	union ims_test_arg arg = { };
	int ret;

	if (size > sizeof(arg))
		return -ENOTTY;
	if (copy_from_user(&arg, uarg, size))
		return -EFAULT;

	scoped_guard(mutex, &ims->lock)
		ret = ims->pdev ? ims_test_call(ims, cmd, &arg) : -ENODEV;

	if (!ret && (_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(uarg, &arg, size))
		return -EFAULT;
	return ret;
}

static void ims_test_dev_release(struct kref *ref)
{
	struct ims_dev *ims = container_of(ref, struct ims_dev, ref);
	struct ims_source *src;
	unsigned long idx;

	xa_for_each(&ims->sources, idx, src)
		kfree(src);
	xa_destroy(&ims->sources);
	mutex_destroy(&ims->lock);
	free_pages((unsigned long)ims->vcpus, get_order(IMS_TEST_VCPUS * PAGE_SIZE));
	kfree(ims);
}

/*
 * misc_open() holds the mutex that misc_deregister() takes, so the binding and
 * its reference are there until this returns.
 */
static int ims_test_open(struct inode *inode, struct file *file)
{
	struct ims_dev *ims = ims_test_from_file(file);
	struct ims_source *src;
	unsigned long idx;

	guard(mutex)(&ims->lock);
	if (ims->opened)
		return -EBUSY;

	xa_for_each(&ims->sources, idx, src)
		src->unexpected = 0;
	ims->opened = true;
	kref_get(&ims->ref);
	return 0;
}

static int ims_test_close(struct inode *inode, struct file *file)
{
	struct ims_dev *ims = ims_test_from_file(file);

	scoped_guard(mutex, &ims->lock) {
		if (ims->pdev) {
			ims_test_free_all(ims);
			ims_test_take_from_guest(ims);
		}
		ims->opened = false;
	}
	kref_put(&ims->ref, ims_test_dev_release);
	return 0;
}

static const struct file_operations ims_test_fops = {
	.owner		= THIS_MODULE,
	.open		= ims_test_open,
	.release	= ims_test_close,
	.unlocked_ioctl	= ims_test_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

/*
 * Function level reset: the store loses its content
 */
static void ims_test_reset_prepare(struct pci_dev *pdev)
{
	struct ims_dev *ims = pci_get_drvdata(pdev);
	struct ims_source *src;
	unsigned long idx;

	/* Until reset_done(): no ioctl, close or unbinding may touch the device */
	mutex_lock(&ims->lock);

	xa_for_each(&ims->sources, idx, src) {
		if (!src->requested)
			continue;
		/* disable_irq() is lazy, an interrupt could still touch the device */
		irq_set_status_flags(src->virq, IRQ_DISABLE_UNLAZY);
		disable_irq(src->virq);
	}
}

/* By now the kernel has restored a slot array */
static void ims_test_reset_done(struct pci_dev *pdev)
{
	struct ims_dev *ims = pci_get_drvdata(pdev);
	struct ims_source *src;
	unsigned long idx;

	if (ims->domain && ims->store == IMS_TEST_QUEUES)
		ims_test_start_queues(ims);
	if (ims->store != IMS_TEST_SLOTS)
		pci_ims_restore_irqs(pdev);

	xa_for_each(&ims->sources, idx, src) {
		if (!src->requested)
			continue;
		if (!src->unlazy)
			irq_clear_status_flags(src->virq, IRQ_DISABLE_UNLAZY);
		enable_irq(src->virq);
	}

	mutex_unlock(&ims->lock);
}

static const struct pci_error_handlers ims_test_err_handler = {
	.reset_prepare	= ims_test_reset_prepare,
	.reset_done	= ims_test_reset_done,
};

/*
 * Binding
 */
static unsigned int probe_vectors;
module_param(probe_vectors, uint, 0600);
MODULE_PARM_DESC(probe_vectors,
		 "MSI-X vectors which are allocated on probe, and the first one requested: it fails if they do");

static int ims_test_probe_vectors(struct ims_dev *ims)
{
	static const struct ims_test_source first = { .source = PCI_IMS_SRC_MSIX };
	int ret;

	if (!probe_vectors)
		return 0;

	guard(mutex)(&ims->lock);
	ret = ims_test_msix(ims, probe_vectors);
	if (ret)
		return ret;

	ret = ims_test_request(ims, &first);
	if (ret)
		ims_test_free_msix(ims);
	return ret;
}

static int ims_test_setup(struct ims_dev *ims)
{
	struct pci_dev *pdev = ims->pdev;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	ims->regs = pcim_iomap_region(pdev, PCI_IMS_BAR_REGS, "ims_test");
	if (IS_ERR(ims->regs))
		return PTR_ERR(ims->regs);

	ims->slots = pcim_iomap_region(pdev, PCI_IMS_BAR_SLOTS, "ims_test");
	if (IS_ERR(ims->slots))
		return PTR_ERR(ims->slots);

	if (readl(ims->regs + PCI_IMS_ID) != PCI_IMS_ID_VALUE)
		return -ENODEV;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;

	ims->misc.name = devm_kasprintf(&pdev->dev, GFP_KERNEL, "ims_test-%s", pci_name(pdev));
	if (!ims->misc.name)
		return -ENOMEM;

	pci_set_master(pdev);
	pci_set_drvdata(pdev, ims);
	ret = ims_test_probe_vectors(ims);
	if (ret)
		return ret;

	ret = misc_register(&ims->misc);
	if (ret) {
		ims_test_release_all(ims);
		ims_test_free_msix(ims);
	}
	return ret;
}

static void ims_test_put(void *data)
{
	struct ims_dev *ims = data;

	kref_put(&ims->ref, ims_test_dev_release);
}

static int ims_test_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ims_dev *ims = kzalloc_obj(*ims);
	unsigned int i;
	int ret;

	if (!ims)
		return -ENOMEM;

	ims->vcpus = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					      get_order(IMS_TEST_VCPUS * PAGE_SIZE));
	if (!ims->vcpus) {
		kfree(ims);
		return -ENOMEM;
	}

	/* There is nobody to be notified */
	for (i = 0; i < IMS_TEST_VCPUS; i++)
		pi_set_sn(ims_test_vcpu(ims, i));
	kref_init(&ims->ref);
	mutex_init(&ims->lock);
	raw_spin_lock_init(&ims->store_lock);
	xa_init(&ims->sources);
	ims->pdev = pdev;
	ims->misc.minor = MISC_DYNAMIC_MINOR;
	ims->misc.fops = &ims_test_fops;
	ims->misc.parent = &pdev->dev;

	/*
	 * The first action, so the last to be undone: the callbacks of the domain
	 * use @ims until the kernel has removed that.
	 */
	ret = devm_add_action_or_reset(&pdev->dev, ims_test_put, ims);
	if (ret)
		return ret;
	return ims_test_setup(ims);
}

/*
 * The slots and the domain stay, for the kernel to free: it promises that, and
 * closing the file is where this driver does it.
 */
static void ims_test_remove(struct pci_dev *pdev)
{
	struct ims_dev *ims = pci_get_drvdata(pdev);

	misc_deregister(&ims->misc);

	guard(mutex)(&ims->lock);
	ims_test_release_all(ims);
	ims_test_free_msix(ims);
	ims_test_free_msi(ims);
	ims_test_stop_queues(ims);
	ims_test_take_from_guest(ims);
	ims->pdev = NULL;
}

static const struct pci_device_id ims_test_ids[] = {
	{ PCI_DEVICE(PCI_IMS_VENDOR_ID, PCI_IMS_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, ims_test_ids);

static struct pci_driver ims_test_driver = {
	.name		= "ims_test",
	.id_table	= ims_test_ids,
	.probe		= ims_test_probe,
	.remove		= ims_test_remove,
	.err_handler	= &ims_test_err_handler,
	.sriov_configure = pci_sriov_configure_simple,
};
module_pci_driver(ims_test_driver);

MODULE_DESCRIPTION("Test driver for the emulated IMS device");
MODULE_LICENSE("GPL");
