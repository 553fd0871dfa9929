// SPDX-License-Identifier: GPL-2.0
/*
 * PCI Interrupt Message Store (IMS): an array of slots
 *
 * Each slot has a message and a mask bit like an entry of the MSI-X table, so
 * all callbacks of the irqchip are register accesses. They are serialized per
 * slot by the lock of the interrupt descriptor.
 */
#include <linux/bitfield.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/pci-ims.h>
#include <linux/slab.h>

#include "../pci.h"
#include "msi.h"

#define SLOT_SIZE		16
#define SLOT_ADDR_LO		0x0
#define SLOT_ADDR_HI		0x4
#define SLOT_DATA		0x8
#define SLOT_CTRL		0xc

#define SLOT_CTRL_MASK		BIT(0)
#define SLOT_CTRL_PASID_EN	BIT(3)
#define SLOT_CTRL_PASID		GENMASK(31, 12)

static void slot_write(void __iomem *slot, unsigned int reg, u32 val)
{
	if (!pci_ims_fake_write(slot + reg, val))
		writel(val, slot + reg);
}

/* Writes are posted. A read comes back when all of them are done. */
static void slot_flush(void __iomem *slot)
{
	if (!pci_ims_fake_read(slot + SLOT_CTRL))
		readl(slot + SLOT_CTRL);
}

static void __iomem *desc_slot(struct irq_domain *domain, struct msi_desc *desc)
{
	struct pci_ims_slot_array *array = msi_get_domain_info(domain)->data;

	return array->base + desc->msi_index * SLOT_SIZE;
}

/* The content of the control word is kept in the descriptor */
static u32 desc_ctrl(struct msi_desc *desc)
{
	return desc->data.dcookie.value;
}

/* In a low power state or after removal there is nobody to talk to */
static bool ims_slots_accessible(struct pci_dev *pdev)
{
	return pdev->current_state == PCI_D0 && !pci_dev_is_disconnected(pdev);
}

static bool desc_accessible(struct msi_desc *desc)
{
	return ims_slots_accessible(to_pci_dev(desc->dev));
}

static void ims_slot_mask(struct irq_data *data)
{
	struct msi_desc *desc = irq_data_get_msi_desc(data);
	void __iomem *slot = desc_slot(data->domain, desc);

	desc->data.dcookie.value |= SLOT_CTRL_MASK;
	if (!desc_accessible(desc))
		return;

	slot_write(slot, SLOT_CTRL, desc_ctrl(desc));
	slot_flush(slot);
}

static void ims_slot_unmask(struct irq_data *data)
{
	struct msi_desc *desc = irq_data_get_msi_desc(data);

	desc->data.dcookie.value &= ~SLOT_CTRL_MASK;
	if (desc_accessible(desc))
		slot_write(desc_slot(data->domain, desc), SLOT_CTRL, desc_ctrl(desc));
}

/*
 * The device must never see one half of a message along with the other half of
 * the previous one, so it sees none of them until all is there. The PASID says
 * who owns the slot, and without a message nobody does.
 */
static void ims_slot_write_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct msi_desc *desc = irq_data_get_msi_desc(data);
	void __iomem *slot = desc_slot(data->domain, desc);
	bool empty = !msg->address_lo && !msg->address_hi && !msg->data;
	u32 ctrl = desc_ctrl(desc);

	desc->msg = *msg;
	if (!desc_accessible(desc))
		return;

	slot_write(slot, SLOT_CTRL, empty ? SLOT_CTRL_MASK : ctrl | SLOT_CTRL_MASK);
	slot_write(slot, SLOT_ADDR_LO, msg->address_lo);
	slot_write(slot, SLOT_ADDR_HI, msg->address_hi);
	slot_write(slot, SLOT_DATA, msg->data);
	slot_flush(slot);
	if (!(ctrl & SLOT_CTRL_MASK))
		slot_write(slot, SLOT_CTRL, ctrl);
}

/* Either a PASID or nothing at all */
bool pci_ims_slot_cookie_valid(union msi_instance_cookie icookie)
{
	return !icookie.value ||
	       (icookie.value & ~PCI_IMS_COOKIE_PASID_MASK) == PCI_IMS_COOKIE_PASID;
}

static u32 ims_slot_ctrl_pasid(u64 cookie)
{
	if (!cookie)
		return 0;

	return SLOT_CTRL_PASID_EN |
	       FIELD_PREP(SLOT_CTRL_PASID, FIELD_GET(PCI_IMS_COOKIE_PASID_MASK, cookie));
}

static void ims_slot_prepare_desc(struct irq_domain *domain, msi_alloc_info_t *arg,
				  struct msi_desc *desc)
{
	desc->data.dcookie.value = SLOT_CTRL_MASK | ims_slot_ctrl_pasid(desc->data.icookie.value);
}

static void ims_slots_teardown(struct irq_domain *domain, msi_alloc_info_t *arg)
{
	to_pci_dev(domain->dev)->ims_slots = 0;
	kfree(msi_get_domain_info(domain)->data);
}

static const struct msi_domain_template ims_slots_template = {
	.chip = {
		.irq_mask		= ims_slot_mask,
		.irq_unmask		= ims_slot_unmask,
		.irq_write_msi_msg	= ims_slot_write_msg,
	},

	.ops = {
		.prepare_desc		= ims_slot_prepare_desc,
		.msi_teardown		= ims_slots_teardown,
	},
};

/* What was there before is void, e.g. messages of the kernel which has crashed */
static void ims_slots_mask_all(const struct pci_ims_slot_array *array)
{
	unsigned int i;

	for (i = 0; i < array->nr_slots; i++)
		slot_write(array->base + i * SLOT_SIZE, SLOT_CTRL, SLOT_CTRL_MASK);
	slot_flush(array->base);
}

/**
 * __pci_restore_ims_state - Restore the slots of a device
 * @pdev:	The PCI device to operate on
 *
 * Does nothing when the device has no slot array: in contrast to a register access it
 * takes the driver to know when another kind of store can be written. The caller may be
 * in atomic context then, and nothing but pci_dev::ims_slots may be looked at.
 */
void __pci_restore_ims_state(struct pci_dev *pdev)
{
	struct msi_domain_info *info;
	u16 cmd;

	if (!pdev->ims_slots)
		return;

	/* A reset by user space can come while the driver removes the domain */
	guard(msi_descs_lock)(&pdev->dev);
	info = msi_device_domain_info(&pdev->dev, MSI_SECONDARY_DOMAIN);
	if (!info || info->chip->irq_write_msi_msg != ims_slot_write_msg)
		return;

	/* As for MSI-X, the restored state may not have memory space enabled */
	pci_read_config_word(pdev, PCI_COMMAND, &cmd);
	pci_write_config_word(pdev, PCI_COMMAND, cmd | PCI_COMMAND_MEMORY);
	/*
	 * A slot which was freed while it could not be accessed and which did not
	 * lose its content still has a message. Not every way back to D0 is a reset.
	 */
	if (ims_slots_accessible(pdev))
		ims_slots_mask_all(info->data);
	msi_domain_restore_irqs_locked(&pdev->dev, MSI_SECONDARY_DOMAIN);
	pci_write_config_word(pdev, PCI_COMMAND, cmd);
}

/**
 * pci_ims_slot_array_create - Create an IMS domain with an array of slots as the store
 * @pdev:	The PCI device to operate on, in power state D0
 * @array:	The array. It is copied, what it points to has to stay until the domain is
 *		removed.
 *
 * All slots are masked. The interrupts are allocated with pci_ims_alloc_irq(), the index
 * in the returned map is the number of the slot. Without instance cookie the slot has no
 * PASID, with pci_ims_pasid_cookie() it has that one.
 *
 * A message becomes visible to the device whole, when the interrupt is requested. An
 * affinity change does not touch the slot. The interrupts use reservation mode and can
 * be managed.
 *
 * pci_restore_msi_state(), and therefore pci_restore_state(), restores the slots after
 * a reset or power management.
 *
 * The domain has to be removed with pci_remove_ims_domain() before @array::base is
 * unmapped.
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 *
 * Return:
 *
 * * %0			- Success
 * * %-EINVAL		- @array is not valid
 * * %-EOPNOTSUPP, %-EEXIST, %-ENOMEM - See pci_create_ims_domain()
 */
int pci_ims_slot_array_create(struct pci_dev *pdev, const struct pci_ims_slot_array *array)
{
	int ret;

	if (!array->base || !array->nr_slots || array->nr_slots > MSI_MAX_INDEX + 1)
		return -EINVAL;

	struct pci_ims_slot_array *copy __free(kfree) = kmemdup(array, sizeof(*copy), GFP_KERNEL);
	if (!copy)
		return -ENOMEM;

	ret = __pci_ims_create_domain(pdev, &ims_slots_template, copy->nr_slots, copy);
	if (ret)
		return ret;

	ims_slots_mask_all(copy);
	pdev->ims_slots = 1;
	retain_and_null_ptr(copy);
	return 0;
}
EXPORT_SYMBOL_GPL(pci_ims_slot_array_create);

/**
 * pcim_ims_slot_array_create - Managed pci_ims_slot_array_create()
 * @pdev:	The PCI device to operate on
 * @array:	See pci_ims_slot_array_create()
 *
 * The domain is removed when the driver is unbound from the device, before resources
 * which the driver acquired earlier with managed functions, e.g. @array::base. All
 * interrupts must have been released with free_irq() before.
 *
 * Context: See pci_ims_slot_array_create()
 *
 * Return: See pci_ims_slot_array_create()
 */
int pcim_ims_slot_array_create(struct pci_dev *pdev, const struct pci_ims_slot_array *array)
{
	int ret = pci_ims_slot_array_create(pdev, array);

	return ret ? ret : pci_ims_manage_domain(pdev);
}
EXPORT_SYMBOL_GPL(pcim_ims_slot_array_create);
