// SPDX-License-Identifier: GPL-2.0
/*
 * PCI Interrupt Message Store (IMS): messages in queue memory
 *
 * Where the message is part of the context of a queue, it takes the driver to
 * write it, and that can sleep: it may be a command to the device. So it is
 * done when the bus lock has been released, after request_irq() has activated
 * the interrupt and after free_irq() has deactivated it. Nothing else writes a
 * message, an affinity change in particular does not.
 *
 * The bus lock is also taken when an interrupt is allocated or freed, with the
 * mutex of all interrupt domains below the same root held. So it is not held
 * while the driver writes, or a slow device would hold up all others.
 *
 * Masking would have to happen in any context and is therefore not supported.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/mutex.h>
#include <linux/pci-ims.h>
#include <linux/slab.h>

#include "msi.h"

/**
 * struct ims_queues - The store of a device
 * @write_lock:	Serializes the writes. Taken without @lock, and protects
 *		msi_desc::data.dcookie.
 * @lock:	The bus lock. Protects msi_desc::msg and the members below.
 * @irq:	The interrupt the bus lock is held for
 * @dirty:	The message of the interrupt has to be written
 * @store:	What the driver provides
 */
struct ims_queues {
	struct mutex			write_lock;
	/* See above */
	struct mutex			lock;
	unsigned int			irq;
	bool				dirty;
	struct pci_ims_queue_store	store;
};

static struct ims_queues *irq_data_queues(struct irq_data *data)
{
	return msi_get_domain_info(data->domain)->data;
}

static void ims_queue_bus_lock(struct irq_data *data)
{
	struct ims_queues *queues = irq_data_queues(data);

	mutex_lock(&queues->lock);
	queues->irq = data->irq;
}

/*
 * Write what the message is now: that may be a later one already, which is written again
 * then. The driver knows a message only if it had one to write.
 */
static void ims_queue_sync_msg(struct ims_queues *queues, struct msi_desc *desc)
{
	struct msi_msg msg;
	bool empty;

	guard(mutex)(&queues->write_lock);

	scoped_guard(mutex, &queues->lock)
		msg = desc->msg;

	empty = !msg.address_lo && !msg.address_hi && !msg.data;
	if (empty && !desc->data.dcookie.value)
		return;

	desc->data.dcookie.value = !empty;
	queues->store.write_msg(to_pci_dev(desc->dev), desc->msi_index, desc->data.icookie,
				empty ? NULL : &msg);
}

static void ims_queue_bus_sync_unlock(struct irq_data *data)
{
	struct ims_queues *queues = irq_data_queues(data);
	bool dirty = queues->dirty;

	queues->dirty = false;
	queues->irq = 0;
	mutex_unlock(&queues->lock);

	if (dirty)
		ims_queue_sync_msg(queues, irq_data_get_msi_desc(data));
}

static void ims_queue_write_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct ims_queues *queues = irq_data_queues(data);

	/* Freed without free_irq(), there is no way to tell the driver */
	if (WARN_ON_ONCE(queues->irq != data->irq))
		return;

	irq_data_get_msi_desc(data)->msg = *msg;
	queues->dirty = true;
}

static void ims_queues_teardown(struct irq_domain *domain, msi_alloc_info_t *arg)
{
	struct ims_queues *queues = msi_get_domain_info(domain)->data;

	mutex_destroy(&queues->lock);
	mutex_destroy(&queues->write_lock);
	kfree(queues);
}

static const struct msi_domain_template ims_queues_template = {
	.chip = {
		.irq_write_msi_msg	= ims_queue_write_msg,
		.irq_bus_lock		= ims_queue_bus_lock,
		.irq_bus_sync_unlock	= ims_queue_bus_sync_unlock,
	},

	.ops = {
		.msi_teardown		= ims_queues_teardown,
	},

	.info = {
		.flags			= MSI_FLAG_STORE_NO_MASK,
	},
};

/**
 * pci_ims_queue_store_create - Create an IMS domain with messages in queue memory
 * @pdev:	The PCI device to operate on
 * @store:	The store. It is copied.
 *
 * The interrupts are allocated with pci_ims_alloc_irq(). The instance cookie is handed
 * to pci_ims_queue_store::write_msg() and usually a pointer to the context of the queue.
 * Index numbers are managed by software.
 *
 * The message is written by request_irq() and taken away by free_irq(), both of which
 * therefore sleep, like all functions which take the bus lock, disable_irq_nosync() and
 * enable_irq() included. An affinity change does not touch it.
 *
 * The interrupts cannot be masked by the interrupt core. The device must not raise them
 * before request_irq() returns or when free_irq() is invoked, so enable the queue after
 * the former and disable it before the latter. They do not use reservation mode, i.e. a
 * vector is assigned by the first request_irq() and stays until pci_ims_free_irq(), and
 * they cannot be managed.
 *
 * When the device has lost its content, e.g. after a reset, the driver invokes
 * pci_ims_restore_irqs() as soon as messages can be written again.
 *
 * The domain has to be removed with pci_remove_ims_domain().
 *
 * Context: Preemptible task context, takes the MSI descriptor mutex of the device.
 *
 * Return:
 *
 * * %0			- Success
 * * %-EINVAL		- @store is not valid
 * * %-EOPNOTSUPP, %-EEXIST, %-ENOMEM - See pci_create_ims_domain()
 */
int pci_ims_queue_store_create(struct pci_dev *pdev, const struct pci_ims_queue_store *store)
{
	int ret;

	if (!store->write_msg)
		return -EINVAL;

	struct ims_queues *queues __free(kfree) = kzalloc_obj(*queues);
	if (!queues)
		return -ENOMEM;

	queues->store = *store;
	mutex_init(&queues->write_lock);
	mutex_init(&queues->lock);
	ret = __pci_ims_create_domain(pdev, &ims_queues_template, store->nr_queues, queues);
	if (ret)
		return ret;

	retain_and_null_ptr(queues);
	return 0;
}
EXPORT_SYMBOL_GPL(pci_ims_queue_store_create);

/**
 * pcim_ims_queue_store_create - Managed pci_ims_queue_store_create()
 * @pdev:	The PCI device to operate on
 * @store:	See pci_ims_queue_store_create()
 *
 * The domain is removed when the driver is unbound from the device. All interrupts must
 * have been released with free_irq() before.
 *
 * Context: See pci_ims_queue_store_create()
 *
 * Return: See pci_ims_queue_store_create()
 */
int pcim_ims_queue_store_create(struct pci_dev *pdev, const struct pci_ims_queue_store *store)
{
	int ret = pci_ims_queue_store_create(pdev, store);

	return ret ? ret : pci_ims_manage_domain(pdev);
}
EXPORT_SYMBOL_GPL(pcim_ims_queue_store_create);
