// SPDX-License-Identifier: GPL-2.0
/*
 * PCI Interrupt Message Store (IMS)
 *
 * A device can keep interrupt messages in a store of its own, in addition to
 * MSI or MSI-X. The driver knows the store and provides an interrupt chip for
 * it. The interrupts are allocated one by one from a second interrupt domain
 * of the device, which exists only on top of interrupt remapping:
 *
 *	             |-- MSI or MSI-X	MSI_DEFAULT_DOMAIN
 *	vector -- IR |
 *	             |-- IMS		MSI_SECONDARY_DOMAIN
 *
 * So the message is composed once. An affinity change updates the remapping
 * table and neither the message nor the device are involved.
 */
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/slab.h>

#include "msi.h"

/* The core manages the descriptors and the sysfs files */
#define IMS_DOMAIN_FLAGS	(MSI_FLAG_ALLOC_SIMPLE_MSI_DESCS |	\
				 MSI_FLAG_FREE_MSI_DESCS |		\
				 MSI_FLAG_DEV_SYSFS |			\
				 MSI_FLAG_PCI_IMS)

/*
 * The parent domain has to announce support, must never change a message once
 * it is composed and must reject messages of a device which are not meant for
 * it. The latter two are not implied by the first.
 */
static bool pci_ims_supported(struct pci_dev *pdev)
{
	return pci_msi_supported(pdev, 1) &&
	       pci_msi_domain_supports(pdev, MSI_FLAG_PCI_IMS, DENY_LEGACY) &&
	       irq_domain_is_msi_immutable(dev_get_msi_domain(&pdev->dev)) &&
	       msi_device_has_isolated_msi(&pdev->dev);
}

static bool pci_ims_template_valid(const struct msi_domain_template *template)
{
	const struct irq_chip *chip = &template->chip;

	/* Interrupt remapping cannot mask, so the store has to */
	if (!chip->irq_mask || !chip->irq_unmask || !chip->irq_write_msi_msg)
		return false;

	/* Affinity is none of the business of the store */
	if (chip->irq_set_affinity)
		return false;

	/* Flags and these callbacks are set here and by the parent domain */
	return !template->info.flags && !template->ops.set_desc &&
	       !template->ops.domain_alloc_irqs && !template->ops.domain_free_irqs;
}

static bool pci_has_ims_domain(struct pci_dev *pdev)
{
	return pdev->dev.msi.data &&
	       msi_match_device_irq_domain(&pdev->dev, MSI_SECONDARY_DOMAIN,
					   DOMAIN_BUS_PCI_DEVICE_IMS);
}

/**
 * pci_create_ims_domain - Create an IMS interrupt domain for a PCI device
 * @pdev:	The PCI device to operate on
 * @template:	The MSI domain template which describes the store. It is copied.
 * @hwsize:	The number of messages the store can hold, at most 65536. Index
 *		numbers range from 0 to @hwsize - 1. 0 means that there is no limit
 *		other than 65536, e.g. because messages are stored in memory of
 *		the driver.
 * @data:	Optional pointer to data of the driver, available to the callbacks in
 *		msi_domain_info::data
 *
 * In @template:
 *
 *  - chip.irq_mask(), chip.irq_unmask() and chip.irq_write_msi_msg() are
 *    required. Masking has to be effective when irq_mask() returns. A message
 *    of zeros written by irq_write_msi_msg() means that the entry is no longer
 *    in use. Unless the chip implements irq_bus_lock(), all callbacks can be
 *    invoked with interrupts disabled and a raw spinlock held.
 *
 *  - chip.irq_set_affinity() must not be set.
 *
 *  - ops.prepare_desc() is optional. It is invoked in preemptible context when an
 *    interrupt is allocated, with the descriptor which holds the index and the
 *    instance cookie.
 *
 *  - info.flags must be 0. The name of the chip, the bus token and everything
 *    else is set up by the PCI core and the parent domain.
 *
 * The domain is removed when the driver is unbound from the device or with
 * pci_remove_ims_domain(). It is independent of MSI and MSI-X, which do not have
 * to be enabled.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 *
 * Return: %0 on success or an error code:
 *
 *  %-EOPNOTSUPP:	IMS cannot work here: there is no interrupt remapping, the
 *			remapping unit is emulated (VT-d caching mode), source-ids
 *			are not verified (intremap=nosid) or MSI is not available for
 *			this device at all. This will not change, so it is not useful
 *			to retry.
 *  %-EEXIST:		The device has an IMS domain already
 *  %-EINVAL:		@template or @hwsize are not valid
 *  %-ENOMEM:		Out of memory
 */
int pci_create_ims_domain(struct pci_dev *pdev, const struct msi_domain_template *template,
			  unsigned int hwsize, void *data)
{
	if (!pci_ims_template_valid(template) || hwsize > MSI_MAX_INDEX + 1)
		return -EINVAL;

	if (!pci_ims_supported(pdev))
		return -EOPNOTSUPP;

	struct msi_domain_template *ims __free(kfree) =
		kmemdup(template, sizeof(*ims), GFP_KERNEL);
	if (!ims)
		return -ENOMEM;

	ims->chip.name = "PCI-IMS";
	ims->ops.set_desc = pci_device_domain_set_desc;
	ims->info.flags = IMS_DOMAIN_FLAGS;
	ims->info.bus_token = DOMAIN_BUS_PCI_DEVICE_IMS;

	return msi_create_device_irq_domain(&pdev->dev, MSI_SECONDARY_DOMAIN, ims, hwsize,
					    data, NULL);
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
 *	    Must not be invoked in parallel to pci_ims_alloc_irq() and
 *	    pci_ims_free_irq().
 */
void pci_remove_ims_domain(struct pci_dev *pdev)
{
	if (!pci_has_ims_domain(pdev))
		return;

	msi_domain_free_irqs_all(&pdev->dev, MSI_SECONDARY_DOMAIN);
	msi_remove_device_irq_domain(&pdev->dev, MSI_SECONDARY_DOMAIN);
}
EXPORT_SYMBOL_GPL(pci_remove_ims_domain);

/**
 * pci_ims_alloc_irq - Allocate an interrupt from the IMS domain of a PCI device
 * @pdev:	The PCI device to operate on
 * @icookie:	Optional pointer to the instance cookie of this interrupt, e.g. a PASID
 *		or a pointer to queue memory. It is copied to msi_desc::data.icookie
 *		for the callbacks of the interrupt chip. The PCI core does not interpret
 *		it.
 * @affdesc:	Optional pointer to an affinity descriptor
 *
 * This allocates the lowest free index of the store and an entry in the interrupt
 * remapping table. The message is written to the store when the interrupt is
 * requested. A CPU vector is reserved, but not allocated before that either.
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
 *	%-ENODEV:	The device has no IMS domain
 *	%-ENOSPC:	All indices are in use or the parent domains could not
 *			allocate what they need, e.g. a remapping table entry
 *	%-ENOMEM:	Out of memory
 */
struct msi_map pci_ims_alloc_irq(struct pci_dev *pdev, union msi_instance_cookie *icookie,
				 const struct irq_affinity_desc *affdesc)
{
	struct msi_map map = { .index = -ENODEV };

	if (!pci_has_ims_domain(pdev))
		return map;

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
