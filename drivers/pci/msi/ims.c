// SPDX-License-Identifier: GPL-2.0
/*
 * PCI Interrupt Message Store (IMS)
 *
 * A device can keep interrupt messages in a store of its own, in addition to
 * MSI or MSI-X. There are ready made implementations for an array of slots in
 * ims-slots.c and for messages in queue memory in ims-queues.c. For any other
 * store the driver provides the callbacks to mask, unmask and write an entry.
 * The interrupts are allocated from a second interrupt domain of the device,
 * which exists only on top of interrupt remapping:
 *
 *	             |-- MSI or MSI-X	MSI_DEFAULT_DOMAIN
 *	vector -- IR |
 *	             |-- IMS		MSI_SECONDARY_DOMAIN
 *
 * So the message is composed once. An affinity change updates the remapping
 * table and neither the message nor the device are involved.
 */
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/pci-ims.h>
#include <linux/slab.h>

#include "msi.h"

static const struct msi_domain_template pci_ims_template = {
	.chip = {
		.name			= "PCI-IMS",
		.flags			= IRQCHIP_ONESHOT_SAFE,
	},

	.ops = {
		.set_desc		= pci_device_domain_set_desc,
	},

	.info = {
		.flags			= MSI_FLAG_FREE_MSI_DESCS | MSI_FLAG_DEV_SYSFS |
					  MSI_FLAG_PCI_IMS,
		.bus_token		= DOMAIN_BUS_PCI_DEVICE_IMS,
	},
};

/**
 * pci_ims_supported - Can a PCI device have an IMS interrupt domain?
 * @pdev:	The PCI device to query
 *
 * The parent domain has to announce support, must never change a message once
 * it is composed and must reject messages of a device which are not meant for
 * it. The latter two are not implied by the first.
 *
 * Context: Any context
 *
 * Return: true if pci_create_ims_domain() does not fail with -EOPNOTSUPP
 */
bool pci_ims_supported(struct pci_dev *pdev)
{
	return pci_msi_supported(pdev, 1) &&
	       pci_msi_domain_supports(pdev, MSI_FLAG_PCI_IMS, DENY_LEGACY) &&
	       irq_domain_is_msi_immutable(dev_get_msi_domain(&pdev->dev)) &&
	       msi_device_has_isolated_msi(&pdev->dev);
}
EXPORT_SYMBOL_GPL(pci_ims_supported);

/* Interrupt remapping cannot mask, so the store has to, or to say that it cannot */
static bool pci_ims_masking_valid(const struct msi_domain_template *template)
{
	const struct irq_chip *chip = &template->chip;

	if (template->info.flags == MSI_FLAG_STORE_NO_MASK)
		return !chip->irq_mask && !chip->irq_unmask;

	return !template->info.flags && chip->irq_mask && chip->irq_unmask;
}

static bool pci_ims_template_valid(const struct msi_domain_template *template)
{
	const struct irq_chip *chip = &template->chip;

	if (!chip->irq_write_msi_msg || !pci_ims_masking_valid(template))
		return false;

	/* Message and affinity are none of the business of the store */
	if (chip->irq_compose_msi_msg || chip->irq_set_affinity)
		return false;

	/* The bus lock is not held for activation and CPU hotplug */
	if (chip->irq_bus_lock || chip->irq_bus_sync_unlock)
		return false;

	return !template->ops.msi_teardown;
}

static bool pci_has_ims_domain(struct pci_dev *pdev)
{
	return pdev->dev.msi.data &&
	       msi_match_device_irq_domain(&pdev->dev, MSI_SECONDARY_DOMAIN,
					   DOMAIN_BUS_PCI_DEVICE_IMS);
}

static void pci_ims_release_domain(void *data)
{
	struct pci_dev *pdev = data;

	msi_domain_free_irqs_all(&pdev->dev, MSI_SECONDARY_DOMAIN);
	msi_remove_device_irq_domain(&pdev->dev, MSI_SECONDARY_DOMAIN);
}

/* Only what concerns the store is up to the template */
static void pci_ims_use_template(struct msi_domain_template *ims,
				 const struct msi_domain_template *template)
{
	ims->chip.irq_mask = template->chip.irq_mask;
	ims->chip.irq_unmask = template->chip.irq_unmask;
	ims->chip.irq_write_msi_msg = template->chip.irq_write_msi_msg;
	ims->chip.irq_bus_lock = template->chip.irq_bus_lock;
	ims->chip.irq_bus_sync_unlock = template->chip.irq_bus_sync_unlock;
	ims->ops.prepare_desc = template->ops.prepare_desc;
	ims->ops.msi_teardown = template->ops.msi_teardown;
	ims->info.flags |= template->info.flags;

	/*
	 * What cannot be masked should not meet an entry without a message. The
	 * bus lock is not held for an early activation.
	 */
	if (template->info.flags & MSI_FLAG_STORE_NO_MASK && !template->chip.irq_bus_lock)
		ims->info.flags |= MSI_FLAG_ACTIVATE_EARLY;
}

/**
 * __pci_ims_create_domain - Create an IMS interrupt domain for a store
 * @pdev:	The PCI device to operate on
 * @template:	The callbacks for the store. In contrast to those of a driver they
 *		can come with a bus lock, and with ops.msi_teardown(), which is invoked
 *		when the domain is removed.
 * @hwsize:	See pci_create_ims_domain()
 * @data:	Pointer to data of the store, available to the callbacks in
 *		msi_domain_info::data
 *
 * The domain has to be removed with pci_remove_ims_domain() or to be handed over to
 * pci_ims_manage_domain().
 *
 * Return: See pci_create_ims_domain()
 */
int __pci_ims_create_domain(struct pci_dev *pdev, const struct msi_domain_template *template,
			    unsigned int hwsize, void *data)
{
	if (hwsize > MSI_MAX_INDEX + 1)
		return -EINVAL;

	if (!pci_ims_supported(pdev))
		return -EOPNOTSUPP;

	if (pci_has_ims_domain(pdev))
		return -EEXIST;

	struct msi_domain_template *ims __free(kfree) =
		kmemdup(&pci_ims_template, sizeof(*ims), GFP_KERNEL);
	if (!ims)
		return -ENOMEM;

	pci_ims_use_template(ims, template);
	return msi_create_device_irq_domain(&pdev->dev, MSI_SECONDARY_DOMAIN, ims, hwsize,
					    data, NULL);
}

/**
 * pci_ims_manage_domain - Let the IMS domain go when the driver is unbound
 * @pdev:	The PCI device to operate on
 *
 * Return: 0, or %-ENOMEM after the domain has been removed
 */
int pci_ims_manage_domain(struct pci_dev *pdev)
{
	return devm_add_action_or_reset(&pdev->dev, pci_ims_release_domain, pdev);
}

/**
 * pci_create_ims_domain - Create an IMS interrupt domain for a PCI device
 * @pdev:	The PCI device to operate on
 * @template:	The callbacks for the store
 * @hwsize:	The number of messages the store can hold, at most 65536. Index
 *		numbers range from 0 to @hwsize - 1. 0 means that there is no limit
 *		other than 65536, e.g. because messages are stored in memory of
 *		the driver.
 * @data:	Optional pointer to data of the driver, which the callbacks find by
 *		msi_get_domain_info() in msi_domain_info::data
 *
 * These members of @template are copied:
 *
 *  - chip.irq_mask(), chip.irq_unmask(): Mask and unmask an entry. Required, except
 *    with info.flags below. Both have to be effective when they return.
 *
 *  - chip.irq_write_msi_msg(): Write a message. Required. It must not become
 *    visible to the device in parts and has to be stored in msi_desc::msg, which
 *    is what get_cached_msi_msg() returns. A message of zeros is written when the
 *    interrupt is deactivated, e.g. by free_irq().
 *
 *  - ops.prepare_desc(): Set up a descriptor, e.g. msi_desc::data.dcookie from
 *    msi_desc::msi_index and msi_desc::data.icookie. Optional. Invoked when an
 *    interrupt is allocated, with the MSI descriptor mutex held, so it must not
 *    invoke any of the functions in this file.
 *
 *  - info.flags: 0, or MSI_FLAG_STORE_NO_MASK for a store which cannot be masked. The
 *    mask callbacks must not be set then. Such an interrupt has a vector and a
 *    message from its allocation on, until free_irq(). The device must not raise it
 *    while it is not requested. Its affinity cannot be managed, while that of any
 *    store which can be masked can be. chip.irq_write_msi_msg() is invoked by the
 *    functions which allocate and free interrupts as well, and there with interrupts
 *    enabled and without the lock below.
 *
 * The chip callbacks are invoked with a raw spinlock held and interrupts disabled,
 * from hard interrupt context and CPU hotplug too, so they must not sleep.
 * Therefore chip.irq_bus_lock() and chip.irq_bus_sync_unlock() must not be set.
 * Neither must chip.irq_set_affinity(), chip.irq_compose_msi_msg() and
 * ops.msi_teardown(), as this is handled by the parent domain and the PCI core. The
 * other members are ignored.
 *
 * An entry has to be masked when it is allocated and must stay masked until
 * chip.irq_unmask() is invoked. A store which loses its content, e.g. by a reset or
 * in a low power state, has to be restored by the driver with pci_ims_restore_irqs().
 *
 * The domain is independent of MSI and MSI-X, which do not have to be enabled. It
 * is removed with pci_remove_ims_domain() or when the driver is unbound from the
 * device, before resources which the driver acquired earlier with devm functions.
 * See pci_remove_ims_domain() for the rules.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 *
 * Return:
 *
 * * %0			- Success
 * * %-EOPNOTSUPP	- The interrupt domain of the device does not support IMS. VT-d and
 *   AMD interrupt remapping do, unless source-ids are not verified (intremap=nosid), or
 *   the unit reports caching mode or NpCache, i.e. is emulated, and the hypervisor has
 *   not granted updates by hypercall. Also returned when MSI is not available for the
 *   device at all. There is no point in a retry.
 * * %-EEXIST		- The device has an IMS domain already
 * * %-EINVAL		- @template or @hwsize are not valid
 * * %-ENOMEM		- Out of memory
 */
int pci_create_ims_domain(struct pci_dev *pdev, const struct msi_domain_template *template,
			  unsigned int hwsize, void *data)
{
	int ret;

	if (!pci_ims_template_valid(template))
		return -EINVAL;

	ret = __pci_ims_create_domain(pdev, template, hwsize, data);
	if (ret)
		return ret;

	return pci_ims_manage_domain(pdev);
}
EXPORT_SYMBOL_GPL(pci_create_ims_domain);

/**
 * pci_remove_ims_domain - Remove the IMS interrupt domain of a PCI device
 * @pdev:	The PCI device to operate on
 *
 * Undo pci_create_ims_domain(). Interrupts which are still allocated are freed,
 * but all of them must have been released with free_irq() before. Does nothing
 * when the device has no IMS domain.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 *	    Must not be invoked in parallel to the other functions.
 */
void pci_remove_ims_domain(struct pci_dev *pdev)
{
	if (!pci_has_ims_domain(pdev))
		return;

	/* Not all domains are managed */
	devm_remove_action_nowarn(&pdev->dev, pci_ims_release_domain, pdev);
	pci_ims_release_domain(pdev);
}
EXPORT_SYMBOL_GPL(pci_remove_ims_domain);

/**
 * pci_ims_alloc_irq - Allocate an interrupt from the IMS domain of a PCI device
 * @pdev:	The PCI device to operate on
 * @icookie:	Optional pointer to the instance cookie of this interrupt, e.g. a PASID
 *		or a pointer to queue memory. It is copied to msi_desc::data.icookie
 *		for the callbacks. The PCI core does not interpret it, except for that
 *		of a slot array, which has to come from pci_ims_pasid_cookie().
 * @affdesc:	Optional pointer to an affinity descriptor. With @affdesc::is_managed
 *		user space cannot change the affinity and the interrupt is shut down
 *		while all CPUs in the mask are offline.
 *
 * This allocates the lowest free index of the store and an entry in the interrupt
 * remapping table.
 *
 * If the store can be masked, the interrupt uses reservation mode: a CPU vector is
 * accounted for, but allocated only when the interrupt is requested, which then can
 * fail with -ENOSPC. A managed interrupt has a vector reserved on each CPU in its
 * affinity mask instead. The message is written to the store when the interrupt is
 * requested.
 *
 * With MSI_FLAG_STORE_NO_MASK the vector is allocated and the message is written here.
 * In queue memory there is no reservation mode either: the first request_irq() allocates
 * the vector and each one writes the message.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 *
 * Return: A struct msi_map
 *
 *	On success msi_map::index contains the index of the message in the store
 *	(>= 0) and msi_map::virq the allocated Linux interrupt number (> 0).
 *
 *	On failure msi_map::virq is 0 and msi_map::index contains the error code:
 *
 *	* %-ENODEV	- The device has no IMS domain
 *	* %-EINVAL	- A managed interrupt was asked for and the store cannot be
 *	  masked, or @icookie is not valid for a slot array
 *	* %-ENOSPC	- All indices are in use or the parent domains could not
 *	  allocate what they need, e.g. a remapping table entry, or the vector of an
 *	  interrupt which is activated here
 *	* %-ENOMEM	- Out of memory
 */
struct msi_map pci_ims_alloc_irq(struct pci_dev *pdev, union msi_instance_cookie *icookie,
				 const struct irq_affinity_desc *affdesc)
{
	struct msi_map map = { .index = -ENODEV };

	if (!pci_has_ims_domain(pdev))
		return map;

	if (pdev->ims_slots && icookie && !pci_ims_slot_cookie_valid(*icookie)) {
		map.index = -EINVAL;
		return map;
	}

	return msi_domain_alloc_irq_at(&pdev->dev, MSI_SECONDARY_DOMAIN, MSI_ANY_INDEX,
				       affdesc, icookie);
}
EXPORT_SYMBOL_GPL(pci_ims_alloc_irq);

/**
 * pci_ims_free_irq - Free an interrupt of the IMS domain of a PCI device
 * @pdev:	The PCI device to operate on
 * @map:	What pci_ims_alloc_irq() returned for the interrupt
 *
 * The interrupt must have been released with free_irq() before. Warns and does
 * nothing when @map is not an allocated interrupt of the IMS domain.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 */
void pci_ims_free_irq(struct pci_dev *pdev, struct msi_map map)
{
	unsigned int virq;

	if (WARN_ON_ONCE(map.index < 0 || map.virq <= 0))
		return;

	virq = msi_domain_get_virq(&pdev->dev, MSI_SECONDARY_DOMAIN, map.index);
	if (WARN_ON_ONCE(virq != map.virq))
		return;

	msi_domain_free_irqs_range(&pdev->dev, MSI_SECONDARY_DOMAIN, map.index, map.index);
}
EXPORT_SYMBOL_GPL(pci_ims_free_irq);

static struct irq_affinity_desc *pci_ims_spread(unsigned int nr, struct irq_affinity *affd,
						bool managed)
{
	struct irq_affinity_desc *descs = irq_create_affinity_masks(nr, affd);
	unsigned int i;

	for (i = 0; descs && !managed && i < nr; i++)
		descs[i].is_managed = 0;
	return descs;
}

/**
 * pci_ims_alloc_irqs - Allocate several interrupts from the IMS domain of a PCI device
 * @pdev:	The PCI device to operate on
 * @maps:	Array of @nr maps for the result
 * @nr:		Number of interrupts
 * @icookies:	Optional pointer to an array of @nr instance cookies, see
 *		pci_ims_alloc_irq()
 * @affd:	Optional pointer to a description of the affinity requirements. The
 *		interrupts are spread over all possible CPUs, except for those in
 *		irq_affinity::pre_vectors and irq_affinity::post_vectors, as with
 *		pci_alloc_irq_vectors_affinity(). Not for more than 4000 interrupts,
 *		see below.
 * @managed:	With @affd: the affinity of those which are spread is managed by the kernel
 *
 * Either all interrupts are allocated or none. The index numbers are not necessarily
 * contiguous.
 *
 * With @affd the CPU masks of all interrupts have to fit into a single allocation by
 * kmalloc(). On a kernel for 8192 CPUs that limits @nr to 4064, beyond which it fails
 * with -ENOMEM. For more interrupts invoke it several times.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 *
 * Return:
 *
 * * %0		- Success, all of @maps are valid
 * * %-EINVAL	- @nr is 0, @managed is set along with @affd and the store cannot be
 *   masked, or one of @icookies is not valid for a slot array
 * * %-ENODEV, %-ENOSPC, %-ENOMEM - See pci_ims_alloc_irq(). None of @maps is valid.
 */
int pci_ims_alloc_irqs(struct pci_dev *pdev, struct msi_map *maps, unsigned int nr,
		       union msi_instance_cookie *icookies, struct irq_affinity *affd,
		       bool managed)
{
	struct msi_domain_info *info;
	unsigned int i;

	if (!nr)
		return -EINVAL;

	info = msi_device_domain_info(&pdev->dev, MSI_SECONDARY_DOMAIN);
	if (affd && managed && info && info->flags & MSI_FLAG_STORE_NO_MASK)
		return -EINVAL;

	struct irq_affinity_desc *descs __free(kfree) =
		affd ? pci_ims_spread(nr, affd, managed) : NULL;
	/* There are no masks on a single CPU and when there is nothing to spread */
	if (affd && !descs && IS_ENABLED(CONFIG_SMP) &&
	    nr > affd->pre_vectors + affd->post_vectors)
		return -ENOMEM;

	for (i = 0; i < nr; i++) {
		maps[i] = pci_ims_alloc_irq(pdev, icookies ? &icookies[i] : NULL,
					    descs ? &descs[i] : NULL);
		if (maps[i].index < 0) {
			pci_ims_free_irqs(pdev, maps, i);
			return maps[i].index;
		}
	}
	return 0;
}
EXPORT_SYMBOL_GPL(pci_ims_alloc_irqs);

/**
 * pci_ims_free_irqs - Free several interrupts of the IMS domain of a PCI device
 * @pdev:	The PCI device to operate on
 * @maps:	What pci_ims_alloc_irqs() or pci_ims_alloc_irq() returned
 * @nr:		Number of maps
 *
 * All of them must have been released with free_irq() before.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 */
void pci_ims_free_irqs(struct pci_dev *pdev, const struct msi_map *maps, unsigned int nr)
{
	while (nr--)
		pci_ims_free_irq(pdev, maps[nr]);
}
EXPORT_SYMBOL_GPL(pci_ims_free_irqs);

/**
 * pci_ims_restore_irqs - Restore the message store of a PCI device
 * @pdev:	The PCI device to operate on
 *
 * To be invoked when the store has lost its content, e.g. by a reset or in a low power
 * state, as soon as it can be accessed again. Writes the messages of all interrupts
 * which are requested and restores their mask state. Does nothing when the device has
 * no IMS domain.
 *
 * Not required for a slot array, which is restored by pci_restore_state(), unless the
 * device loses it on other occasions as well.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 */
void pci_ims_restore_irqs(struct pci_dev *pdev)
{
	if (!pci_has_ims_domain(pdev))
		return;

	guard(msi_descs_lock)(&pdev->dev);
	msi_domain_restore_irqs_locked(&pdev->dev, MSI_SECONDARY_DOMAIN);
}
EXPORT_SYMBOL_GPL(pci_ims_restore_irqs);
