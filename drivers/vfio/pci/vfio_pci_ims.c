// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO PCI interrupts whose message store belongs to the user
 *
 * The device has a store for interrupt messages (IMS) which the user, usually a
 * guest, writes by itself. The host allocates the interrupts and tells which
 * messages raise them. What confines a user who writes any other message is
 * interrupt remapping: a write to the interrupt address range is checked against
 * the requester id of the device, a write to any other address is DMA.
 *
 * See Documentation/driver-api/vfio-pci-ims.rst
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqbypass.h>
#include <linux/moduleparam.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/pci-ims.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "vfio_pci_priv.h"

#define VFIO_PCI_IMS_MAX_IRQS	(MSI_MAX_INDEX + 1U)

/* They are interrupts of the host, no matter how many the device has: opt-in */
static unsigned int ims_max_irqs;
module_param(ims_max_irqs, uint, 0644);
MODULE_PARM_DESC(ims_max_irqs,
		 "Maximum number of IMS interrupts of a device, 0 to 65536 (default 0: none)");

/**
 * struct vfio_pci_ims_irq - An interrupt whose message store belongs to the user
 * @trigger:	Signaled by the interrupt, never %NULL
 * @producer:	Connects to the consumer of @trigger
 * @map:	The interrupt in the IMS domain of the device
 * @name:	For /proc/interrupts
 */
struct vfio_pci_ims_irq {
	struct eventfd_ctx		*trigger;
	struct irq_bypass_producer	producer;
	struct msi_map			map;
	char				name[48];
};

static irqreturn_t vfio_pci_ims_handler(int irq, void *data)
{
	struct vfio_pci_ims_irq *ims = data;

	eventfd_signal(READ_ONCE(ims->trigger));
	return IRQ_HANDLED;
}

/* Writing it to the store is up to the user, see vfio_pci_core_feature_ims_msgs() */
static void vfio_pci_ims_write_msg(struct irq_data *data, struct msi_msg *msg)
{
	irq_data_get_msi_desc(data)->msg = *msg;
}

static const struct msi_domain_template vfio_pci_ims_template = {
	.chip = {
		.irq_write_msi_msg	= vfio_pci_ims_write_msg,
	},

	.info = {
		.flags			= MSI_FLAG_STORE_NO_MASK,
	},
};

/* On success the reference to @trigger is handed over */
static int vfio_pci_ims_add(struct vfio_pci_core_device *vdev, unsigned int index,
			    struct eventfd_ctx *trigger)
{
	struct pci_dev *pdev = vdev->pdev;
	struct vfio_pci_ims_irq *ims;
	int ret;

	ims = kzalloc_obj(*ims, GFP_KERNEL_ACCOUNT);
	if (!ims)
		return -ENOMEM;

	ims->trigger = trigger;
	snprintf(ims->name, sizeof(ims->name), "vfio-ims[%u](%s)", index, pci_name(pdev));

	ret = xa_insert(&vdev->ims_irqs, index, ims, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_free;

	ims->map = pci_ims_alloc_irq(pdev, NULL, NULL);
	if (ims->map.index < 0) {
		ret = ims->map.index;
		goto err_erase;
	}

	ret = request_irq(ims->map.virq, vfio_pci_ims_handler, 0, ims->name, ims);
	if (ret)
		goto err_free_irq;

	return 0;

err_free_irq:
	pci_ims_free_irq(pdev, ims->map);
err_erase:
	xa_erase(&vdev->ims_irqs, index);
err_free:
	kfree(ims);
	return ret;
}

static void vfio_pci_ims_remove(struct vfio_pci_core_device *vdev, unsigned int index)
{
	struct vfio_pci_ims_irq *ims = xa_erase(&vdev->ims_irqs, index);

	if (!ims)
		return;

	irq_bypass_unregister_producer(&ims->producer);
	free_irq(ims->map.virq, ims);
	pci_ims_free_irq(vdev->pdev, ims->map);
	eventfd_ctx_put(ims->trigger);
	kfree(ims);
}

static void vfio_pci_ims_remove_all(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_ims_irq *ims;
	unsigned long index;

	xa_for_each(&vdev->ims_irqs, index, ims)
		vfio_pci_ims_remove(vdev, index);
}

/*
 * The interrupt and its message stay, so that the user does not have to quiesce
 * the device: what it raises meanwhile is signaled to either the old or the new
 * eventfd.
 */
static void vfio_pci_ims_set_trigger(struct vfio_pci_core_device *vdev, unsigned int index,
				     struct eventfd_ctx *trigger)
{
	struct vfio_pci_ims_irq *ims = xa_load(&vdev->ims_irqs, index);
	struct eventfd_ctx *old = ims->trigger;

	irq_bypass_unregister_producer(&ims->producer);
	WRITE_ONCE(ims->trigger, trigger);
	synchronize_irq(ims->map.virq);
	eventfd_ctx_put(old);
}

static void vfio_pci_ims_put_triggers(struct eventfd_ctx **triggers, unsigned int count)
{
	while (count--) {
		if (triggers[count])
			eventfd_ctx_put(triggers[count]);
	}
}

/* Negative file descriptors leave %NULL */
static int vfio_pci_ims_get_triggers(struct eventfd_ctx **triggers, const s32 *fds,
				     unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct eventfd_ctx *trigger = NULL;

		if (fds[i] >= 0)
			trigger = eventfd_ctx_fdget(fds[i]);
		else if (fds[i] != -1)
			trigger = ERR_PTR(-EINVAL);

		if (IS_ERR(trigger)) {
			vfio_pci_ims_put_triggers(triggers, i);
			return PTR_ERR(trigger);
		}
		triggers[i] = trigger;
	}
	return 0;
}

/* Those which were added have a file descriptor and no trigger left */
static void vfio_pci_ims_undo_add(struct vfio_pci_core_device *vdev, unsigned int start,
				  unsigned int count, struct eventfd_ctx **triggers,
				  const s32 *fds)
{
	while (count--) {
		if (fds[count] >= 0 && !triggers[count])
			vfio_pci_ims_remove(vdev, start + count);
	}
}

static int vfio_pci_ims_add_missing(struct vfio_pci_core_device *vdev, unsigned int start,
				    unsigned int count, struct eventfd_ctx **triggers,
				    const s32 *fds)
{
	unsigned int i;
	int ret;

	for (i = 0; i < count; i++) {
		if (!triggers[i] || xa_load(&vdev->ims_irqs, start + i))
			continue;

		ret = vfio_pci_ims_add(vdev, start + i, triggers[i]);
		if (ret) {
			vfio_pci_ims_undo_add(vdev, start, i, triggers, fds);
			return ret;
		}
		triggers[i] = NULL;
	}
	return 0;
}

/*
 * An eventfd has one producer at a time, so when some of them change places that has to
 * wait until the last one is where it belongs. Posting is an optimization, the eventfd
 * is signaled without it as well.
 */
static void vfio_pci_ims_bypass(struct vfio_pci_core_device *vdev, unsigned int start,
				unsigned int count)
{
	struct vfio_pci_ims_irq *ims;
	unsigned long index;
	int ret;

	xa_for_each_range(&vdev->ims_irqs, index, ims, start, start + count - 1) {
		if (ims->producer.eventfd)
			continue;

		ret = irq_bypass_register_producer(&ims->producer, ims->trigger, ims->map.virq);
		if (ret)
			pci_dbg(vdev->pdev, "irq bypass of %s failed: %d\n", ims->name, ret);
	}
}

/* All or nothing: what can fail comes first and is undone, the rest cannot fail */
static int vfio_pci_ims_set_block(struct vfio_pci_core_device *vdev, unsigned int start,
				  unsigned int count, const s32 *fds)
{
	unsigned int i;
	int ret;

	struct eventfd_ctx **triggers __free(kvfree) =
		kvzalloc_objs(*triggers, count, GFP_KERNEL_ACCOUNT);
	if (!triggers)
		return -ENOMEM;

	ret = vfio_pci_ims_get_triggers(triggers, fds, count);
	if (ret)
		return ret;

	ret = vfio_pci_ims_add_missing(vdev, start, count, triggers, fds);
	if (ret) {
		vfio_pci_ims_put_triggers(triggers, count);
		return ret;
	}

	for (i = 0; i < count; i++) {
		if (triggers[i])
			vfio_pci_ims_set_trigger(vdev, start + i, triggers[i]);
		else if (fds[i] < 0)
			vfio_pci_ims_remove(vdev, start + i);
	}
	vfio_pci_ims_bypass(vdev, start, count);
	return 0;
}

/* Loopback, interrupts which are not assigned are skipped */
static void vfio_pci_ims_signal(struct vfio_pci_core_device *vdev, unsigned int start,
				unsigned int count, const u8 *bools)
{
	struct vfio_pci_ims_irq *ims;
	unsigned long index;

	xa_for_each_range(&vdev->ims_irqs, index, ims, start, start + count - 1) {
		if (!bools || bools[index - start])
			eventfd_signal(ims->trigger);
	}
}

static bool vfio_pci_ims_range_valid(struct vfio_pci_core_device *vdev, u32 start, u32 count)
{
	lockdep_assert_held(&vdev->igate);

	return count && start < vdev->ims_size && count <= vdev->ims_size - start;
}

/**
 * vfio_pci_set_ims_trigger - VFIO_DEVICE_SET_IRQS for VFIO_PCI_IMS_IRQ_INDEX
 * @vdev:	The device
 * @index:	%VFIO_PCI_IMS_IRQ_INDEX
 * @start:	The first interrupt
 * @count:	Number of interrupts
 * @flags:	Type of @data, VFIO_IRQ_SET_DATA_*
 * @data:	Copy of the data of the user, depends on @flags
 *
 * See Documentation/driver-api/vfio-pci-ims.rst
 *
 * Context: Task context, vfio_pci_core_device::igate has to be held
 *
 * Return: 0 or a negative error code, in which case nothing has changed
 */
int vfio_pci_set_ims_trigger(struct vfio_pci_core_device *vdev, unsigned int index,
			     unsigned int start, unsigned int count, uint32_t flags,
			     void *data)
{
	if (!count && flags & VFIO_IRQ_SET_DATA_NONE) {
		vfio_pci_ims_remove_all(vdev);
		return 0;
	}

	/* The size may have changed since the ioctl validated the range */
	if (!vfio_pci_ims_range_valid(vdev, start, count))
		return -EINVAL;

	if (flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return vfio_pci_ims_set_block(vdev, start, count, data);

	vfio_pci_ims_signal(vdev, start, count,
			    flags & VFIO_IRQ_SET_DATA_BOOL ? data : NULL);
	return 0;
}

/* The size is that of the index, it does not matter to the domain */
static int vfio_pci_ims_update_domain(struct vfio_pci_core_device *vdev, unsigned int size)
{
	if (size && !vdev->ims_size)
		return pci_create_ims_domain(vdev->pdev, &vfio_pci_ims_template, 0, NULL);

	if (!size && vdev->ims_size)
		pci_remove_ims_domain(vdev->pdev);
	return 0;
}

static int vfio_pci_ims_resize(struct vfio_pci_core_device *vdev, unsigned int size)
{
	unsigned long index = size;
	int ret;

	lockdep_assert_held(&vdev->igate);

	if (xa_find(&vdev->ims_irqs, &index, ULONG_MAX, XA_PRESENT))
		return -EBUSY;

	ret = vfio_pci_ims_update_domain(vdev, size);
	if (!ret)
		WRITE_ONCE(vdev->ims_size, size);
	return ret;
}

/* vfio_pci_core_device::irq_type says so: INTx, MSI and MSI-X of the driver are excluded */
static bool vfio_pci_ims_msix_enabled(struct vfio_pci_core_device *vdev)
{
	lockdep_assert_held(&vdev->igate);

	return vdev->irq_type == VFIO_PCI_IMS_IRQ_INDEX;
}

/* A reset and a change of the power state by VFIO restore what is enabled: keep them out */
static int vfio_pci_ims_msix_enable(struct vfio_pci_core_device *vdev, bool maskall)
{
	int ret;

	if (!vfio_pci_ims_msix_enabled(vdev) && vdev->irq_type != VFIO_PCI_NUM_IRQS)
		return -EBUSY;

	scoped_guard(rwsem_write, &vdev->memory_lock)
		ret = pci_enable_msix_user(vdev->pdev, maskall);
	if (!ret)
		vdev->irq_type = VFIO_PCI_IMS_IRQ_INDEX;
	return ret;
}

static void vfio_pci_ims_msix_disable(struct vfio_pci_core_device *vdev)
{
	if (!vfio_pci_ims_msix_enabled(vdev))
		return;

	scoped_guard(rwsem_write, &vdev->memory_lock) {
		pci_disable_msix_user(vdev->pdev);
		/* That has cleared DisINTx */
		if (vdev->nointx || (vdev->pci_2_3 && vdev->virq_disabled))
			pci_intx(vdev->pdev, 0);
	}
	vdev->irq_type = VFIO_PCI_NUM_IRQS;
}

/**
 * vfio_pci_ims_close - Release the IMS interrupts of a device which is closed
 * @vdev:	The device, bus mastering is disabled
 *
 * Context: Task context, takes vfio_pci_core_device::igate
 */
void vfio_pci_ims_close(struct vfio_pci_core_device *vdev)
{
	guard(mutex)(&vdev->igate);
	vfio_pci_ims_msix_disable(vdev);
	vfio_pci_ims_remove_all(vdev);
	vfio_pci_ims_resize(vdev, 0);
}

/* What there is can be read, reduced and released, whatever has become of the device */
static bool vfio_pci_ims_supported(struct vfio_pci_core_device *vdev)
{
	return READ_ONCE(vdev->ims_size) || vdev->pdev->msix_user ||
	       pci_ims_supported(vdev->pdev);
}

static unsigned int vfio_pci_ims_max(void)
{
	return min(READ_ONCE(ims_max_irqs), VFIO_PCI_IMS_MAX_IRQS);
}

static int vfio_pci_ims_set_size(struct vfio_pci_core_device *vdev,
				 const struct vfio_device_feature_pci_ims *ims)
{
	if (ims->max_size)
		return -EINVAL;

	guard(mutex)(&vdev->igate);

	/* What has been granted can be kept and reduced when the limit is lowered */
	if (ims->size > vfio_pci_ims_max() && ims->size > vdev->ims_size)
		return -ENOSPC;

	return vfio_pci_ims_resize(vdev, ims->size);
}

/**
 * vfio_pci_core_feature_ims - VFIO_DEVICE_FEATURE_PCI_IMS
 * @vdev:	The device
 * @flags:	Get, set or probe
 * @arg:	The data of the user
 * @argsz:	Size of the data
 *
 * Context: Task context, takes vfio_pci_core_device::igate
 *
 * Return: 0 or a negative error code, see include/uapi/linux/vfio.h
 */
int vfio_pci_core_feature_ims(struct vfio_pci_core_device *vdev, u32 flags,
			      struct vfio_device_feature_pci_ims __user *arg, size_t argsz)
{
	struct vfio_device_feature_pci_ims ims;
	int ret;

	if (!vfio_pci_ims_supported(vdev))
		return -EOPNOTSUPP;

	ret = vfio_check_feature(flags, argsz,
				 VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, sizeof(ims));
	if (ret != 1)
		return ret;

	if (copy_from_user(&ims, arg, sizeof(ims)))
		return -EFAULT;

	if (ims.flags || ims.reserved)
		return -EINVAL;

	if (flags & VFIO_DEVICE_FEATURE_SET)
		return vfio_pci_ims_set_size(vdev, &ims);

	ims.size = READ_ONCE(vdev->ims_size);
	ims.max_size = vfio_pci_ims_max();
	return copy_to_user(arg, &ims, sizeof(ims)) ? -EFAULT : 0;
}

static void vfio_pci_ims_fill_msg(struct vfio_pci_ims_msg *umsg, struct vfio_pci_ims_irq *ims)
{
	struct msi_msg msg;

	get_cached_msi_msg(ims->map.virq, &msg);
	umsg->address = (u64)msg.address_hi << 32 | msg.address_lo;
	umsg->data = msg.data;
	umsg->flags = VFIO_PCI_IMS_MSG_ASSIGNED;
}

/* The message of an interrupt does not change while it is assigned and user space runs */
static int vfio_pci_ims_fill_msgs(struct vfio_pci_core_device *vdev, u32 start, u32 count,
				  struct vfio_pci_ims_msg *msgs)
{
	struct vfio_pci_ims_irq *ims;
	unsigned long index;

	guard(mutex)(&vdev->igate);

	if (!vfio_pci_ims_range_valid(vdev, start, count))
		return -EINVAL;

	xa_for_each_range(&vdev->ims_irqs, index, ims, start, start + count - 1)
		vfio_pci_ims_fill_msg(&msgs[index - start], ims);
	return 0;
}

/**
 * vfio_pci_core_feature_ims_msgs - VFIO_DEVICE_FEATURE_PCI_IMS_MSGS
 * @vdev:	The device
 * @flags:	Get or probe
 * @arg:	The data of the user
 * @argsz:	Size of the data
 *
 * Context: Task context, takes vfio_pci_core_device::igate
 *
 * Return: 0 or a negative error code, see include/uapi/linux/vfio.h
 */
int vfio_pci_core_feature_ims_msgs(struct vfio_pci_core_device *vdev, u32 flags,
				   struct vfio_device_feature_pci_ims_msgs __user *arg,
				   size_t argsz)
{
	struct vfio_device_feature_pci_ims_msgs hdr;
	int ret;

	if (!vfio_pci_ims_supported(vdev))
		return -EOPNOTSUPP;

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET, sizeof(hdr));
	if (ret != 1)
		return ret;

	if (copy_from_user(&hdr, arg, sizeof(hdr)))
		return -EFAULT;

	if (hdr.flags || hdr.reserved || hdr.count > VFIO_PCI_IMS_MAX_IRQS ||
	    argsz < struct_size(arg, msgs, hdr.count))
		return -EINVAL;

	/* The user memory must not be accessed with the mutex held */
	struct vfio_pci_ims_msg *msgs __free(kvfree) =
		kvzalloc_objs(*msgs, hdr.count, GFP_KERNEL_ACCOUNT);
	if (!msgs)
		return -ENOMEM;

	ret = vfio_pci_ims_fill_msgs(vdev, hdr.start, hdr.count, msgs);
	if (ret)
		return ret;

	return copy_to_user(arg->msgs, msgs, hdr.count * sizeof(*msgs)) ? -EFAULT : 0;
}

static int vfio_pci_ims_set_msix(struct vfio_pci_core_device *vdev, u32 flags)
{
	if (flags & VFIO_PCI_IMS_MSIX_MASK && !(flags & VFIO_PCI_IMS_MSIX_ENABLE))
		return -EINVAL;

	guard(mutex)(&vdev->igate);

	if (flags & VFIO_PCI_IMS_MSIX_ENABLE)
		return vfio_pci_ims_msix_enable(vdev, flags & VFIO_PCI_IMS_MSIX_MASK);

	vfio_pci_ims_msix_disable(vdev);
	return 0;
}

static u32 vfio_pci_ims_get_msix(struct vfio_pci_core_device *vdev)
{
	guard(mutex)(&vdev->igate);

	if (!vfio_pci_ims_msix_enabled(vdev))
		return 0;

	return VFIO_PCI_IMS_MSIX_ENABLE |
	       (vdev->pdev->msix_user_maskall ? VFIO_PCI_IMS_MSIX_MASK : 0);
}

/**
 * vfio_pci_core_feature_ims_msix - VFIO_DEVICE_FEATURE_PCI_IMS_MSIX
 * @vdev:	The device
 * @flags:	Get, set or probe
 * @arg:	The data of the user
 * @argsz:	Size of the data
 *
 * Context: Task context, takes vfio_pci_core_device::igate and memory_lock
 *
 * Return: 0 or a negative error code, see include/uapi/linux/vfio.h
 */
int vfio_pci_core_feature_ims_msix(struct vfio_pci_core_device *vdev, u32 flags,
				   struct vfio_device_feature_pci_ims_msix __user *arg,
				   size_t argsz)
{
	struct vfio_device_feature_pci_ims_msix msix;
	int ret;

	if (!vdev->pdev->msix_cap || !vfio_pci_ims_supported(vdev))
		return -EOPNOTSUPP;

	ret = vfio_check_feature(flags, argsz,
				 VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, sizeof(msix));
	if (ret != 1)
		return ret;

	if (copy_from_user(&msix, arg, sizeof(msix)))
		return -EFAULT;

	if (flags & VFIO_DEVICE_FEATURE_SET) {
		if (msix.flags & ~(VFIO_PCI_IMS_MSIX_ENABLE | VFIO_PCI_IMS_MSIX_MASK) ||
		    msix.reserved)
			return -EINVAL;
		return vfio_pci_ims_set_msix(vdev, msix.flags);
	}

	if (msix.flags || msix.reserved)
		return -EINVAL;

	msix.flags = vfio_pci_ims_get_msix(vdev);
	return copy_to_user(arg, &msix, sizeof(msix)) ? -EFAULT : 0;
}
