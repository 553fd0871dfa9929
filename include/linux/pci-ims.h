/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI Interrupt Message Store (IMS): ready made stores
 *
 * See Documentation/PCI/ims.rst. The functions for domains and interrupts are
 * in linux/pci.h.
 */
#ifndef LINUX_PCI_IMS_H
#define LINUX_PCI_IMS_H

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/msi_api.h>
#include <linux/types.h>

struct irq_affinity;
struct msi_msg;
struct pci_dev;

/**
 * struct pci_ims_slot_array - An array of slots which hold interrupt messages
 * @base:	The mapped array
 * @nr_slots:	Number of slots, 1 to 65536
 *
 * A slot has 16 bytes, which are accessed as four little endian words:
 *
 * ======  ==============================================================
 * Offset  Content
 * ======  ==============================================================
 * 0x0     Address, bits 31:0
 * 0x4     Address, bits 63:32
 * 0x8     Data
 * 0xc     Control. Bit 0: masked, bit 1: an interrupt is pending (read
 *         only), bit 3: bits 31:12 contain a PASID
 * ======  ==============================================================
 */
struct pci_ims_slot_array {
	void __iomem	*base;
	unsigned int	nr_slots;
};

/* Instance cookie of a slot array: bits 19:0 are a PASID */
#define PCI_IMS_COOKIE_PASID		BIT_ULL(32)
#define PCI_IMS_COOKIE_PASID_MASK	GENMASK_ULL(19, 0)

/**
 * pci_ims_pasid_cookie - Make the instance cookie of an interrupt for a PASID
 * @pasid:	The PASID, at most 20 bits. With more the allocation fails with -EINVAL.
 *
 * For pci_ims_alloc_irq() and domains with a slot array. The PASID is written to the
 * control word of the slot along with the message.
 *
 * Return: The cookie
 */
static inline union msi_instance_cookie pci_ims_pasid_cookie(u32 pasid)
{
	return (union msi_instance_cookie) { .value = PCI_IMS_COOKIE_PASID | pasid };
}

/**
 * struct pci_ims_queue_store - A store of interrupt messages in queue memory
 * @nr_queues:	The number of messages the device can hold, at most 65536. 0 means that
 *		there is no limit other than 65536.
 * @write_msg:	Callback to write the message of an interrupt into the context of its
 *		queue, or to take it away when msg is %NULL. index and icookie are those
 *		of the interrupt. The device has to use the message when it returns.
 *		It has no way to make request_irq() fail: a driver whose write can fail
 *		has to check that it did not before it enables the queue.
 *		Can sleep, and is invoked for one interrupt of the device at a time.
 *		Must not invoke request_irq() and free_irq() for an interrupt of
 *		this device, and no function which takes its MSI descriptor mutex,
 *		since pci_ims_restore_irqs() holds that: those which allocate or
 *		free interrupts of the device, pci_irq_vector(),
 *		pci_irq_get_affinity() and pci_ims_restore_irqs(). It must not wait
 *		for anybody who does either, e.g. for a mutex under which the
 *		driver does so.
 */
struct pci_ims_queue_store {
	unsigned int	nr_queues;
	void		(*write_msg)(struct pci_dev *pdev, unsigned int index,
				     union msi_instance_cookie icookie,
				     const struct msi_msg *msg);
};

#ifdef CONFIG_PCI_MSI
bool pci_ims_supported(struct pci_dev *pdev);
int pci_enable_msix_user(struct pci_dev *dev, bool maskall);
void pci_disable_msix_user(struct pci_dev *dev);
int pci_ims_slot_array_create(struct pci_dev *pdev, const struct pci_ims_slot_array *array);
int pcim_ims_slot_array_create(struct pci_dev *pdev, const struct pci_ims_slot_array *array);
int pci_ims_queue_store_create(struct pci_dev *pdev, const struct pci_ims_queue_store *store);
int pcim_ims_queue_store_create(struct pci_dev *pdev, const struct pci_ims_queue_store *store);
int pci_ims_alloc_irqs(struct pci_dev *pdev, struct msi_map *maps, unsigned int nr,
		       union msi_instance_cookie *icookies, struct irq_affinity *affd,
		       bool managed);
void pci_ims_free_irqs(struct pci_dev *pdev, const struct msi_map *maps, unsigned int nr);
void pci_ims_restore_irqs(struct pci_dev *pdev);
#else
static inline bool pci_ims_supported(struct pci_dev *pdev)
{ return false; }

static inline int pci_enable_msix_user(struct pci_dev *dev, bool maskall)
{ return -EOPNOTSUPP; }

static inline void pci_disable_msix_user(struct pci_dev *dev)
{ }

static inline int pci_ims_slot_array_create(struct pci_dev *pdev,
					    const struct pci_ims_slot_array *array)
{ return -EOPNOTSUPP; }

static inline int pcim_ims_slot_array_create(struct pci_dev *pdev,
					     const struct pci_ims_slot_array *array)
{ return -EOPNOTSUPP; }

static inline int pci_ims_queue_store_create(struct pci_dev *pdev,
					     const struct pci_ims_queue_store *store)
{ return -EOPNOTSUPP; }

static inline int pcim_ims_queue_store_create(struct pci_dev *pdev,
					      const struct pci_ims_queue_store *store)
{ return -EOPNOTSUPP; }

static inline int pci_ims_alloc_irqs(struct pci_dev *pdev, struct msi_map *maps,
				     unsigned int nr, union msi_instance_cookie *icookies,
				     struct irq_affinity *affd, bool managed)
{ return -EOPNOTSUPP; }

static inline void pci_ims_free_irqs(struct pci_dev *pdev, const struct msi_map *maps,
				     unsigned int nr)
{
}

static inline void pci_ims_restore_irqs(struct pci_dev *pdev)
{
}
#endif

#endif /* LINUX_PCI_IMS_H */
