// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for failures of interrupt management
 *
 * A fake interrupt hierarchy in which each operation can fail at each level.
 * The tests verify that the error reaches the caller, that everything is what
 * it was before, that the immediate retry works and that nothing is leaked.
 */
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/irqdomain.h>
#include <linux/jiffies.h>
#include <linux/msi.h>
#include <linux/string.h>

#include <kunit/device.h>
#include <kunit/test.h>

#include "internals.h"

#define NR_FAKE_VECTORS		64
#define NR_FAKE_IRQS		4

/* Not used by the core, so an error which is replaced on the way is noticed */
#define FAKE_ERR		(-EDQUOT)

enum fake_op {
	FAKE_ALLOC,
	FAKE_ACTIVATE,
	FAKE_AFFINITY,
	FAKE_STARTUP,
};

enum fake_level {
	FAKE_VECTOR,
	FAKE_IR,
	FAKE_MSI,
};

/**
 * struct fake_irq - What the fake vector and remapping domains know
 * @vector:	Vector, 0 if there is none
 * @prev:	Previous vector while a move is under way
 * @cpu:	Target CPU
 * @prev_cpu:	Previous target CPU while a move is under way
 * @present:	The remapping table entry is present
 * @entry:	Content of the remapping table entry
 */
struct fake_irq {
	unsigned int	vector;
	unsigned int	prev;
	unsigned int	cpu;
	unsigned int	prev_cpu;
	bool		present;
	unsigned int	entry;
};

/**
 * struct fake_stack - A hierarchy of interrupt domains for one device
 * @variant:	Which kind of hierarchy this is
 * @dev:	The device
 * @vec_fw:	Firmware node of @vec
 * @ir_fw:	Firmware node of @ir
 * @vec:	The vector domain
 * @ir:		The remapping domain, if there is one
 * @chips:	The chips of the above
 * @vectors:	Allocated vectors
 * @reserved:	Number of interrupts which have a reservation only
 * @entries:	Number of allocated remapping table entries
 * @cleanups:	Number of moves which are not complete
 * @store:	The messages in the device
 * @lose_compose: Messages cannot be composed while a vector is assigned
 * @busy:	A moved interrupt cannot be moved again for two jiffies
 * @busy_until:	When it can
 * @unplug:	Only @unplug_fails decides about affinity changes on CPU unplug
 * @unplug_fails: How many of them fail
 * @moves:	Number of completed moves
 * @descs:	Number of interrupt descriptors before anything was allocated
 * @notified:	Number of affinity notifications
 * @fail_op:	Operation which fails
 * @fail_level:	Level of the hierarchy where it fails
 * @fail_nth:	Which invocation fails first
 * @fail_times:	How many in a row fail
 * @fail_err:	What they return
 * @fail_seen:	Number of invocations so far
 * @was_activated: The last vector which was released belonged to an activated
 *		interrupt
 */
struct fake_stack {
	const struct fake_variant	*variant;
	struct device			*dev;
	struct fwnode_handle		*vec_fw;
	struct fwnode_handle		*ir_fw;
	struct irq_domain		*vec;
	struct irq_domain		*ir;
	struct irq_chip			chips[2];
	DECLARE_BITMAP(vectors, NR_FAKE_VECTORS);
	unsigned int			reserved;
	unsigned int			entries;
	unsigned int			cleanups;
	struct msi_msg			store[NR_FAKE_IRQS];
	bool				lose_compose;
	bool				busy;
	unsigned long			busy_until;
	bool				unplug;
	unsigned int			unplug_fails;
	unsigned int			moves;
	unsigned int			descs;
	atomic_t			notified;
	enum fake_op			fail_op;
	enum fake_level			fail_level;
	unsigned int			fail_nth;
	unsigned int			fail_times;
	int				fail_err;
	unsigned int			fail_seen;
	bool				was_activated;
};

/**
 * struct fake_variant - A kind of hierarchy
 * @name:	What KUnit shows
 * @ir:		There is a remapping domain, which makes the message immutable
 * @reserve:	Reservation mode
 * @early:	MSI-X like: early activation, and the affinity is set before startup
 * @domid:	Which of the MSI domains of the device it is
 * @token:	The bus token of that
 */
struct fake_variant {
	const char			*name;
	bool				ir;
	bool				reserve;
	bool				early;
	enum msi_domain_ids		domid;
	enum irq_domain_bus_token	token;
};

static const struct fake_variant fake_variants[] = {
	{
		.name		= "vector-ir-msix",
		.ir		= true,
		.reserve	= true,
		.early		= true,
		.token		= DOMAIN_BUS_PCI_DEVICE_MSIX,
	},
	{
		.name		= "vector-ir-device",
		.ir		= true,
		.token		= DOMAIN_BUS_DEVICE_MSI,
	},
	{
		.name		= "vector-device",
		.token		= DOMAIN_BUS_DEVICE_MSI,
	},
	{
		.name		= "vector-ir-ims",
		.ir		= true,
		.reserve	= true,
		.domid		= MSI_SECONDARY_DOMAIN,
		.token		= DOMAIN_BUS_PCI_DEVICE_IMS,
	},
};

KUNIT_ARRAY_PARAM_DESC(fake, fake_variants, name);

static void fake_fail_times(struct fake_stack *st, enum fake_op op, enum fake_level level,
			    unsigned int nth, unsigned int times, int err)
{
	st->fail_op = op;
	st->fail_level = level;
	st->fail_nth = nth;
	st->fail_times = times;
	st->fail_err = err;
	st->fail_seen = 0;
}

static void fake_fail(struct fake_stack *st, enum fake_op op, enum fake_level level,
		      unsigned int nth)
{
	fake_fail_times(st, op, level, nth, 1, FAKE_ERR);
}

static void fake_succeed(struct fake_stack *st)
{
	st->fail_times = 0;
	st->lose_compose = false;
}

static int fake_result(struct fake_stack *st, enum fake_op op, enum fake_level level)
{
	if (!st->fail_times || st->fail_op != op || st->fail_level != level)
		return 0;

	st->fail_seen++;
	if (st->fail_seen < st->fail_nth || st->fail_seen >= st->fail_nth + st->fail_times)
		return 0;
	return st->fail_err;
}

/* The vector domain */

static unsigned int fake_get_vector(struct fake_stack *st)
{
	/* There is no vector 0 */
	unsigned int vector = find_next_zero_bit(st->vectors, NR_FAKE_VECTORS, 1);

	__set_bit(vector, st->vectors);
	return vector;
}

static void fake_put_vector(struct fake_stack *st, unsigned int vector)
{
	__clear_bit(vector, st->vectors);
}

static void fake_target(struct irq_data *d, unsigned int cpu)
{
	struct fake_irq *fi = d->chip_data;

	fi->cpu = cpu;
	irq_data_update_effective_affinity(d, cpumask_of(cpu));
}

static int vec_affinity_result(struct fake_stack *st)
{
	int ret;

	if (st->unplug && !cpu_online(smp_processor_id())) {
		if (!st->unplug_fails)
			return 0;
		st->unplug_fails--;
		return -EIO;
	}

	ret = fake_result(st, FAKE_AFFINITY, FAKE_VECTOR);
	if (ret)
		return ret;

	return st->busy && time_before(jiffies, st->busy_until) ? -EBUSY : 0;
}

static int vec_set_affinity(struct irq_data *d, const struct cpumask *mask, bool force)
{
	struct fake_stack *st = d->domain->host_data;
	struct fake_irq *fi = d->chip_data;
	int ret;

	ret = vec_affinity_result(st);
	if (ret)
		return ret;

	fi->prev = fi->vector;
	fi->prev_cpu = fi->cpu;
	fi->vector = fake_get_vector(st);
	fake_target(d, cpumask_first_and(mask, cpu_online_mask));
	st->cleanups++;

	/* Without a remapping domain there is nothing else which can fail */
	if (!st->ir) {
		fake_put_vector(st, fi->prev);
		st->cleanups--;
		st->moves++;
	}
	return IRQ_SET_MASK_OK;
}

static void vec_compose_msg(struct irq_data *d, struct msi_msg *msg)
{
	struct fake_irq *fi = d->chip_data;

	memset(msg, 0, sizeof(*msg));
	msg->address_lo = fi->cpu;
	msg->data = fi->vector;
}

static void ir_compose_msg(struct irq_data *d, struct msi_msg *msg)
{
	memset(msg, 0, sizeof(*msg));
	msg->data = d->irq;
}

static void vec_free(struct irq_domain *domain, unsigned int virq, unsigned int nr_irqs)
{
	struct fake_stack *st = domain->host_data;

	for (unsigned int i = 0; i < nr_irqs; i++) {
		struct irq_data *d = irq_domain_get_irq_data(domain, virq + i);
		struct fake_irq *fi = d->chip_data;

		if (fi->vector)
			fake_put_vector(st, fi->vector);
		else
			st->reserved--;
		irq_domain_reset_irq_data(d);
		kfree(fi);
	}
}

static int vec_alloc(struct irq_domain *domain, unsigned int virq, unsigned int nr_irqs, void *arg)
{
	struct fake_stack *st = domain->host_data;
	int ret = fake_result(st, FAKE_ALLOC, FAKE_VECTOR);

	if (ret)
		return ret;

	for (unsigned int i = 0; i < nr_irqs; i++) {
		struct irq_data *d = irq_domain_get_irq_data(domain, virq + i);

		d->chip_data = kzalloc_obj(struct fake_irq);
		if (!d->chip_data) {
			vec_free(domain, virq, i);
			return -ENOMEM;
		}
		d->chip = &st->chips[FAKE_VECTOR];
		irqd_set_single_target(d);
		irqd_set_affinity_on_activate(d);
		if (st->variant->reserve)
			irqd_set_can_reserve(d);
		fake_target(d, cpumask_first(cpu_online_mask));
		st->reserved++;
	}
	return 0;
}

/* Composing cannot fail, unless no chip can do it */
static void fake_set_compose(struct fake_stack *st, bool on)
{
	st->chips[FAKE_VECTOR].irq_compose_msi_msg = on ? vec_compose_msg : NULL;
	st->chips[FAKE_IR].irq_compose_msi_msg = on ? ir_compose_msg : NULL;
}

static int vec_activate(struct irq_domain *domain, struct irq_data *d, bool reserve)
{
	struct fake_stack *st = domain->host_data;
	struct fake_irq *fi = d->chip_data;
	unsigned int cpu;
	int ret;

	ret = fake_result(st, FAKE_ACTIVATE, FAKE_VECTOR);
	if (ret)
		return ret;

	if (reserve) {
		fake_target(d, cpumask_first(cpu_online_mask));
		return 0;
	}

	cpu = cpumask_first_and(irq_data_get_affinity_mask(d), cpu_online_mask);
	if (cpu >= nr_cpu_ids)
		cpu = cpumask_first(cpu_online_mask);
	fi->vector = fake_get_vector(st);
	st->reserved--;
	fake_target(d, cpu);
	if (st->lose_compose)
		fake_set_compose(st, false);
	return 0;
}

static void vec_deactivate(struct irq_domain *domain, struct irq_data *d)
{
	struct fake_stack *st = domain->host_data;
	struct fake_irq *fi = d->chip_data;

	if (!fi->vector)
		return;

	st->was_activated = irqd_is_activated(d);
	fake_put_vector(st, fi->vector);
	fi->vector = 0;
	st->reserved++;
	fake_target(d, cpumask_first(cpu_online_mask));
	fake_set_compose(st, true);
}

static const struct irq_domain_ops vec_domain_ops = {
	.alloc		= vec_alloc,
	.free		= vec_free,
	.activate	= vec_activate,
	.deactivate	= vec_deactivate,
};

/* The remapping domain */

static int ir_set_affinity(struct irq_data *d, const struct cpumask *mask, bool force)
{
	struct irq_data *parent = d->parent_data;
	struct fake_stack *st = d->domain->host_data;
	struct fake_irq *fi = parent->chip_data;
	int ret;

	ret = parent->chip->irq_set_affinity(parent, mask, force);
	if (ret < 0)
		return ret;

	ret = fake_result(st, FAKE_AFFINITY, FAKE_IR);
	st->cleanups--;
	if (ret) {
		fake_put_vector(st, fi->vector);
		fi->vector = fi->prev;
		fake_target(parent, fi->prev_cpu);
		return ret;
	}

	fi->entry = fi->vector;
	fake_put_vector(st, fi->prev);
	st->moves++;
	st->busy_until = jiffies + 2;
	return IRQ_SET_MASK_OK_DONE;
}

static void ir_free(struct irq_domain *domain, unsigned int virq, unsigned int nr_irqs)
{
	struct fake_stack *st = domain->host_data;

	st->entries -= nr_irqs;
	irq_domain_free_irqs_common(domain, virq, nr_irqs);
}

static int ir_alloc(struct irq_domain *domain, unsigned int virq, unsigned int nr_irqs, void *arg)
{
	struct fake_stack *st = domain->host_data;
	int ret;

	ret = irq_domain_alloc_irqs_parent(domain, virq, nr_irqs, arg);
	if (ret)
		return ret;

	ret = fake_result(st, FAKE_ALLOC, FAKE_IR);
	if (ret) {
		irq_domain_free_irqs_parent(domain, virq, nr_irqs);
		return ret;
	}

	for (unsigned int i = 0; i < nr_irqs; i++)
		irq_domain_get_irq_data(domain, virq + i)->chip = &st->chips[FAKE_IR];
	st->entries += nr_irqs;
	return 0;
}

static int ir_activate(struct irq_domain *domain, struct irq_data *d, bool reserve)
{
	struct fake_stack *st = domain->host_data;
	struct fake_irq *fi = d->parent_data->chip_data;
	int ret = fake_result(st, FAKE_ACTIVATE, FAKE_IR);

	if (ret)
		return ret;

	fi->present = true;
	fi->entry = fi->vector;
	return 0;
}

static void ir_deactivate(struct irq_domain *domain, struct irq_data *d)
{
	struct fake_irq *fi = d->parent_data->chip_data;

	fi->present = false;
	fi->entry = 0;
}

static const struct irq_domain_ops ir_domain_ops = {
	.alloc		= ir_alloc,
	.free		= ir_free,
	.activate	= ir_activate,
	.deactivate	= ir_deactivate,
};

/* The domain of the device */

static void fake_noop(struct irq_data *d) { }

static struct fake_stack *fake_msi_stack(struct irq_data *d)
{
	struct msi_domain_info *info = d->domain->host_data;

	return info->data;
}

static unsigned int fake_msi_startup(struct irq_data *d)
{
	return fake_result(fake_msi_stack(d), FAKE_STARTUP, FAKE_MSI);
}

static void fake_msi_write_msg(struct irq_data *d, struct msi_msg *msg)
{
	fake_msi_stack(d)->store[d->hwirq] = *msg;
}

static int fake_msi_set_affinity(struct irq_data *d, const struct cpumask *mask, bool force)
{
	int ret = fake_result(fake_msi_stack(d), FAKE_AFFINITY, FAKE_MSI);

	return ret ? : msi_domain_set_affinity(d, mask, force);
}

static void fake_msi_set_desc(msi_alloc_info_t *arg, struct msi_desc *desc)
{
	arg->desc = desc;
	arg->hwirq = desc->msi_index;
}

static int fake_msi_init(struct irq_domain *domain, struct msi_domain_info *info,
			 unsigned int virq, irq_hw_number_t hwirq, msi_alloc_info_t *arg)
{
	int ret = fake_result(info->data, FAKE_ALLOC, FAKE_MSI);

	if (ret)
		return ret;

	irq_domain_set_info(domain, virq, hwirq, info->chip, NULL, handle_simple_irq, NULL, NULL);
	return 0;
}

static bool fake_init_dev_msi_info(struct device *dev, struct irq_domain *domain,
				   struct irq_domain *msi_parent_domain,
				   struct msi_domain_info *info)
{
	return true;
}

static const struct msi_parent_ops fake_parent_ops = {
	.init_dev_msi_info	= fake_init_dev_msi_info,
};

static const struct msi_domain_template fake_template = {
	.chip = {
		.name			= "fake",
		.irq_startup		= fake_msi_startup,
		.irq_shutdown		= fake_noop,
		.irq_mask		= fake_noop,
		.irq_unmask		= fake_noop,
		.irq_write_msi_msg	= fake_msi_write_msg,
		.irq_set_affinity	= fake_msi_set_affinity,
		.flags			= IRQCHIP_SKIP_SET_WAKE,
	},
	.ops = {
		.set_desc		= fake_msi_set_desc,
		.msi_init		= fake_msi_init,
	},
	.info = {
		.flags			= MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS |
					  MSI_FLAG_FREE_MSI_DESCS,
	},
};

static struct irq_domain *fake_create_parent(struct fake_stack *st, struct fwnode_handle *fwnode,
					     const struct irq_domain_ops *ops,
					     struct irq_domain *parent)
{
	struct irq_domain_info info = {
		.fwnode		= fwnode,
		.ops		= ops,
		.parent		= parent,
		.host_data	= st,
	};

	return msi_create_parent_irq_domain(&info, &fake_parent_ops);
}

static void fake_create_device_domain(struct kunit *test, struct fake_stack *st)
{
	struct msi_domain_template template = fake_template;

	template.info.bus_token = st->variant->token;
	if (st->variant->early) {
		template.info.flags |= MSI_FLAG_ACTIVATE_EARLY | MSI_FLAG_MUST_REACTIVATE;
		template.chip.flags |= IRQCHIP_AFFINITY_PRE_STARTUP;
	}

	dev_set_msi_domain(st->dev, st->ir ? : st->vec);
	msi_create_device_irq_domain(st->dev, st->variant->domid, &template, NR_FAKE_IRQS, st,
				     NULL);
	KUNIT_ASSERT_TRUE(test, msi_match_device_irq_domain(st->dev, st->variant->domid,
							    template.info.bus_token));
}

static unsigned int fake_count_descs(void)
{
	unsigned int irq, descs = 0;

	irq_lock_sparse();
	for_each_active_irq(irq)
		descs++;
	irq_unlock_sparse();
	return descs;
}

static int fake_init(struct kunit *test)
{
	const struct fake_variant *variant = test->param_value ? : &fake_variants[0];
	struct fake_stack *st;

	st = kunit_kzalloc(test, sizeof(*st), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, st);
	test->priv = st;
	st->variant = variant;

	st->chips[FAKE_VECTOR] = (struct irq_chip) {
		.name			= "fake-vector",
		.irq_set_affinity	= vec_set_affinity,
		.irq_compose_msi_msg	= vec_compose_msg,
	};
	st->chips[FAKE_IR] = (struct irq_chip) {
		.name			= "fake-ir",
		.irq_set_affinity	= ir_set_affinity,
		.irq_compose_msi_msg	= ir_compose_msg,
	};

	st->dev = kunit_device_register(test, "fake-irq-dev");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, st->dev);

	st->vec_fw = irq_domain_alloc_named_fwnode("fake-vector");
	KUNIT_ASSERT_NOT_NULL(test, st->vec_fw);
	st->vec = fake_create_parent(st, st->vec_fw, &vec_domain_ops, NULL);
	KUNIT_ASSERT_NOT_NULL(test, st->vec);

	if (variant->ir) {
		st->ir_fw = irq_domain_alloc_named_fwnode("fake-ir");
		KUNIT_ASSERT_NOT_NULL(test, st->ir_fw);
		st->ir = fake_create_parent(st, st->ir_fw, &ir_domain_ops, st->vec);
		KUNIT_ASSERT_NOT_NULL(test, st->ir);
	}

	fake_create_device_domain(test, st);
	st->descs = fake_count_descs();
	return 0;
}

static void fake_free(struct fake_stack *st)
{
	msi_domain_free_irqs_all(st->dev, st->variant->domid);
}

static void fake_expect_empty(struct kunit *test, struct fake_stack *st)
{
	KUNIT_EXPECT_EQ(test, bitmap_weight(st->vectors, NR_FAKE_VECTORS), 0);
	KUNIT_EXPECT_EQ(test, st->reserved, 0);
	KUNIT_EXPECT_EQ(test, st->entries, 0);
	KUNIT_EXPECT_EQ(test, st->cleanups, 0);
	KUNIT_EXPECT_EQ(test, fake_count_descs(), st->descs);
}

static void fake_exit(struct kunit *test)
{
	struct fake_stack *st = test->priv;

	if (!st)
		return;

	if (st->dev && st->dev->msi.data) {
		fake_succeed(st);
		fake_free(st);
		fake_expect_empty(test, st);
		msi_remove_device_irq_domain(st->dev, st->variant->domid);
	}
	if (st->ir)
		irq_domain_remove(st->ir);
	if (st->ir_fw)
		irq_domain_free_fwnode(st->ir_fw);
	if (st->vec)
		irq_domain_remove(st->vec);
	if (st->vec_fw)
		irq_domain_free_fwnode(st->vec_fw);
}

static int fake_alloc_affinity(struct fake_stack *st, unsigned int nr,
			       struct irq_affinity_desc *affinity)
{
	struct msi_desc desc = { .nvec_used = 1, .affinity = affinity };
	int ret = 0;

	desc.pci.msi_attrib.is_msix = 1;

	guard(msi_descs_lock)(st->dev);
	for (unsigned int i = 0; i < nr && !ret; i++) {
		desc.msi_index = i;
		ret = msi_domain_insert_msi_desc(st->dev, st->variant->domid, &desc);
	}
	return ret ? : msi_domain_alloc_irqs_range_locked(st->dev, st->variant->domid, 0, nr - 1);
}

static int fake_alloc(struct fake_stack *st, unsigned int nr)
{
	return fake_alloc_affinity(st, nr, NULL);
}

/* Allocates one interrupt */
static struct irq_desc *fake_alloc_desc(struct kunit *test, struct irq_affinity_desc *affinity)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	KUNIT_ASSERT_EQ(test, fake_alloc_affinity(st, 1, affinity), 0);
	desc = irq_to_desc(msi_domain_get_virq(st->dev, st->variant->domid, 0));
	KUNIT_ASSERT_NOT_NULL(test, desc);
	return desc;
}

static struct fake_irq *fake_irq(struct fake_stack *st, struct irq_desc *desc)
{
	return irq_domain_get_irq_data(st->vec, irq_desc_get_irq(desc))->chip_data;
}

static irqreturn_t fake_handler(int irq, void *data)
{
	return IRQ_HANDLED;
}

static int fake_request(struct fake_stack *st, struct irq_desc *desc, unsigned long flags)
{
	return request_irq(irq_desc_get_irq(desc), fake_handler, flags, "fake", st);
}

static void fake_release(struct fake_stack *st, struct irq_desc *desc)
{
	free_irq(irq_desc_get_irq(desc), st);
}

/* Everything which has to be the same before and after a failure */
struct fake_snapshot {
	struct fake_irq		irq;
	struct msi_msg		msg;
	unsigned int		vectors;
	unsigned int		reserved;
	unsigned int		entries;
	unsigned int		cleanups;
	unsigned int		descs;
	unsigned int		dstate;
	unsigned int		istate;
	unsigned int		status;
	unsigned int		depth;
	unsigned int		wake_depth;
	struct irqaction	*action;
	int			notified;
	struct cpumask		affinity;
	struct cpumask		effective;
	struct cpumask		pending;
};

static void fake_take(struct fake_stack *st, struct irq_desc *desc, struct fake_snapshot *snap)
{
	struct irq_data *d = irq_desc_get_irq_data(desc);

	memset(snap, 0, sizeof(*snap));
	snap->descs = fake_count_descs();

	guard(raw_spinlock_irqsave)(&desc->lock);
	snap->irq = *fake_irq(st, desc);
	snap->msg = st->store[0];
	snap->vectors = bitmap_weight(st->vectors, NR_FAKE_VECTORS);
	snap->reserved = st->reserved;
	snap->entries = st->entries;
	snap->cleanups = st->cleanups;
	snap->dstate = irqd_get(d);
	snap->istate = desc->istate;
	snap->status = desc->status_use_accessors;
	snap->depth = desc->depth;
	snap->wake_depth = desc->wake_depth;
	snap->action = desc->action;
	snap->notified = atomic_read(&st->notified);
	cpumask_copy(&snap->affinity, irq_data_get_affinity_mask(d));
	cpumask_copy(&snap->effective, irq_data_get_effective_affinity_mask(d));
	if (irq_move_pending(d))
		irq_get_pending(&snap->pending, desc);
}

static void fake_expect_same(struct kunit *test, struct irq_desc *desc,
			     const struct fake_snapshot *old)
{
	struct fake_snapshot *new = kunit_kzalloc(test, sizeof(*new), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, new);
	fake_take(test->priv, desc, new);

	KUNIT_EXPECT_EQ(test, new->irq.vector, old->irq.vector);
	KUNIT_EXPECT_EQ(test, new->irq.cpu, old->irq.cpu);
	KUNIT_EXPECT_EQ(test, new->irq.present, old->irq.present);
	KUNIT_EXPECT_EQ(test, new->irq.entry, old->irq.entry);
	KUNIT_EXPECT_EQ(test, new->msg.address_lo, old->msg.address_lo);
	KUNIT_EXPECT_EQ(test, new->msg.data, old->msg.data);
	KUNIT_EXPECT_EQ(test, new->vectors, old->vectors);
	KUNIT_EXPECT_EQ(test, new->reserved, old->reserved);
	KUNIT_EXPECT_EQ(test, new->entries, old->entries);
	KUNIT_EXPECT_EQ(test, new->cleanups, old->cleanups);
	KUNIT_EXPECT_EQ(test, new->descs, old->descs);
	KUNIT_EXPECT_EQ(test, new->dstate, old->dstate);
	KUNIT_EXPECT_EQ(test, new->istate, old->istate);
	KUNIT_EXPECT_EQ(test, new->status, old->status);
	KUNIT_EXPECT_EQ(test, new->depth, old->depth);
	KUNIT_EXPECT_EQ(test, new->wake_depth, old->wake_depth);
	KUNIT_EXPECT_PTR_EQ(test, new->action, old->action);
	KUNIT_EXPECT_EQ(test, new->notified, old->notified);
	KUNIT_EXPECT_TRUE(test, cpumask_equal(&new->affinity, &old->affinity));
	KUNIT_EXPECT_TRUE(test, cpumask_equal(&new->effective, &old->effective));
	KUNIT_EXPECT_TRUE(test, cpumask_equal(&new->pending, &old->pending));
}

static struct fake_snapshot *fake_snapshot(struct kunit *test, struct irq_desc *desc)
{
	struct fake_snapshot *snap = kunit_kzalloc(test, sizeof(*snap), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, snap);
	fake_take(test->priv, desc, snap);
	return snap;
}

static void fake_expect_failures(struct kunit *test, struct irq_desc *desc,
				 enum irq_failure what, int count)
{
#ifdef CONFIG_GENERIC_IRQ_DEBUGFS
	KUNIT_EXPECT_EQ(test, atomic_read(&desc->failures[what]), count);
#endif
}

/* The levels which exist and have the operation */
static bool fake_has(struct fake_stack *st, enum fake_op op, enum fake_level level)
{
	if (level == FAKE_IR)
		return st->ir;
	/* Activation at the level of the device is the subject of compose_fails */
	return op != FAKE_ACTIVATE || level != FAKE_MSI;
}

static void alloc_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;

	for (enum fake_level level = FAKE_VECTOR; level <= FAKE_MSI; level++) {
		if (!fake_has(st, FAKE_ALLOC, level))
			continue;

		for (unsigned int nth = 1; nth <= NR_FAKE_IRQS; nth++) {
			/* The PCI core gets the number which it can retry with */
			bool partial = st->variant->early && nth > 1 &&
				       IS_ENABLED(CONFIG_PCI_MSI);

			fake_fail(st, FAKE_ALLOC, level, nth);
			KUNIT_EXPECT_EQ(test, fake_alloc(st, NR_FAKE_IRQS),
					partial ? nth - 1 : FAKE_ERR);
			fake_expect_empty(test, st);

			fake_succeed(st);
			KUNIT_EXPECT_EQ(test, fake_alloc(st, NR_FAKE_IRQS), 0);
			fake_free(st);
			fake_expect_empty(test, st);
		}
	}
}

static void alloc_at_index_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct fake_snapshot *before;
	struct irq_desc *desc;
	struct msi_map map;

	for (enum fake_level level = FAKE_VECTOR; level <= FAKE_MSI; level++) {
		if (!fake_has(st, FAKE_ALLOC, level))
			continue;

		/* There has to be one descriptor for the reservation mode */
		desc = fake_alloc_desc(test, NULL);
		before = fake_snapshot(test, desc);

		fake_fail(st, FAKE_ALLOC, level, 1);
		map = msi_domain_alloc_irq_at(st->dev, st->variant->domid, 1, NULL, NULL);
		KUNIT_EXPECT_EQ(test, map.index, FAKE_ERR);
		fake_expect_same(test, desc, before);

		map = msi_domain_alloc_irq_at(st->dev, st->variant->domid, 1, NULL, NULL);
		KUNIT_EXPECT_EQ(test, map.index, 1);
		fake_free(st);
		fake_expect_empty(test, st);
	}
}

static void realloc_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	unsigned int virq;
	int base, ret;

	base = irq_domain_alloc_descs(-1, 2, 0, NUMA_NO_NODE, NULL);
	KUNIT_ASSERT_GT(test, base, 0);
	virq = base;

	fake_fail(st, FAKE_ALLOC, FAKE_VECTOR, 1);
	ret = __irq_domain_alloc_irqs(st->vec, base, 2, NUMA_NO_NODE, NULL, true, NULL);
	KUNIT_EXPECT_EQ(test, ret, FAKE_ERR);

	/* Still there, and still usable */
	KUNIT_ASSERT_NOT_NULL(test, irq_to_desc(virq));
	KUNIT_ASSERT_NOT_NULL(test, irq_to_desc(virq + 1));
	ret = __irq_domain_alloc_irqs(st->vec, base, 2, NUMA_NO_NODE, NULL, true, NULL);
	KUNIT_EXPECT_EQ(test, ret, base);
	irq_domain_free_irqs(virq, 2);
}

static void early_activation_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;

	if (!st->variant->early)
		kunit_skip(test, "no early activation");

	for (enum fake_level level = FAKE_VECTOR; level <= FAKE_IR; level++) {
		for (unsigned int nth = 1; nth <= NR_FAKE_IRQS; nth++) {
			fake_fail(st, FAKE_ACTIVATE, level, nth);
			KUNIT_EXPECT_EQ(test, fake_alloc(st, NR_FAKE_IRQS), FAKE_ERR);
			fake_expect_empty(test, st);

			fake_succeed(st);
			KUNIT_EXPECT_EQ(test, fake_alloc(st, NR_FAKE_IRQS), 0);
			fake_free(st);
			fake_expect_empty(test, st);
		}
	}
}

/* Request with an armed failure, then again without */
static void fake_request_fails(struct kunit *test, struct irq_desc *desc, unsigned long flags,
			       int err)
{
	struct fake_stack *st = test->priv;
	struct fake_snapshot *before = fake_snapshot(test, desc);

	KUNIT_EXPECT_EQ(test, fake_request(st, desc, flags), err);
	fake_expect_same(test, desc, before);
	fake_succeed(st);

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, flags), 0);
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_EQ(test, desc->depth, 0);
	KUNIT_EXPECT_NE(test, fake_irq(st, desc)->vector, 0);
	fake_release(st, desc);
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->vector, 0);
}

static void activation_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	for (enum fake_level level = FAKE_VECTOR; level <= FAKE_MSI; level++) {
		if (!fake_has(st, FAKE_ACTIVATE, level))
			continue;

		desc = fake_alloc_desc(test, NULL);

		/* With the reservation of the allocation, and without */
		for (int i = 0; i < 2; i++) {
			fake_fail(st, FAKE_ACTIVATE, level, 1);
			fake_request_fails(test, desc, 0, FAKE_ERR);
		}
		fake_expect_failures(test, desc, IRQ_FAILURE_ACTIVATE, 2);
		fake_free(st);
	}
}

static void reservation_lost(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	/* What is lost is the one of the early activation */
	if (!st->variant->early)
		kunit_skip(test, "no reservation");

	desc = fake_alloc_desc(test, NULL);
	KUNIT_EXPECT_TRUE(test, irqd_is_reserved(&desc->irq_data));

	/* The device fails, and then the reservation cannot be restored */
	st->lose_compose = true;
	fake_fail(st, FAKE_ACTIVATE, FAKE_IR, 2);
	KUNIT_EXPECT_EQ(test, fake_request(st, desc, 0), -ENOSYS);
	KUNIT_EXPECT_EQ(test, st->fail_seen, 2);
	fake_expect_failures(test, desc, IRQ_FAILURE_ACTIVATE, 2);

	/* Deactivated, at each level */
	KUNIT_EXPECT_FALSE(test, irqd_is_activated(&desc->irq_data));
	KUNIT_EXPECT_FALSE(test, irqd_is_reserved(&desc->irq_data));
	KUNIT_EXPECT_FALSE(test, fake_irq(st, desc)->present);
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->vector, 0);

	/* That is the state to which the next failure goes back */
	st->lose_compose = true;
	fake_request_fails(test, desc, 0, -ENOSYS);
}

static void compose_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	struct fake_snapshot *before __maybe_unused;

	/* With the reservation of the allocation, and without */
	for (int i = 0; i < 2; i++) {
		st->lose_compose = true;
		fake_request_fails(test, desc, 0, -ENOSYS);
	}

#ifdef CONFIG_SMP
	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	before = fake_snapshot(test, desc);
	fake_set_compose(st, false);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpu_online_mask), -ENOSYS);
	fake_expect_same(test, desc, before);

	fake_set_compose(st, true);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpu_online_mask), 0);
	fake_release(st, desc);
#endif
}

static void startup_fails(struct kunit *test)
{
	static const unsigned long flags[] = {
		0, IRQF_NOBALANCING, IRQF_SHARED, IRQF_PERCPU, IRQF_ONESHOT,
	};
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	for (int i = 0; i < ARRAY_SIZE(flags); i++) {
		desc = fake_alloc_desc(test, NULL);
		if (flags[i] == IRQF_ONESHOT) {
			struct fake_snapshot *before = fake_snapshot(test, desc);

			fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
			KUNIT_EXPECT_EQ(test, request_threaded_irq(irq_desc_get_irq(desc), NULL,
								   fake_handler, IRQF_ONESHOT,
								   "fake", st), FAKE_ERR);
			fake_expect_same(test, desc, before);
			/* A domain which keeps the vector on free_irq() has to see that */
			KUNIT_EXPECT_FALSE(test, st->was_activated);
			fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
			fake_request_fails(test, desc, 0, FAKE_ERR);
			fake_expect_failures(test, desc, IRQ_FAILURE_STARTUP, 2);
		} else {
			for (int j = 0; j < 2; j++) {
				fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
				fake_request_fails(test, desc, flags[i], FAKE_ERR);
			}
			fake_expect_failures(test, desc, IRQ_FAILURE_STARTUP, 2);
		}
		fake_free(st);
	}
}

static void startup_of_activated_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	struct fake_snapshot *before;

	/* What was activated before the request stays activated */
	scoped_guard(raw_spinlock_irq, &desc->lock)
		KUNIT_EXPECT_EQ(test, irq_activate(desc), 0);
	before = fake_snapshot(test, desc);
	KUNIT_EXPECT_NE(test, before->irq.vector, 0);

	/* The affinity is set up before, and moves the interrupt */
	if (!st->variant->early) {
		fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
		fake_request_fails(test, desc, 0, FAKE_ERR);
	}
}

static void startup_was_pending(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);

	/* As the IO/APIC does it */
	fake_fail_times(st, FAKE_STARTUP, FAKE_MSI, 1, 1, 1);
	KUNIT_EXPECT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	fake_expect_failures(test, desc, IRQ_FAILURE_STARTUP, 0);
	fake_release(st, desc);
}

static void enable_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	unsigned int irq = irq_desc_get_irq(desc);

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, IRQF_NO_AUTOEN), 0);

	fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
	enable_irq(irq);
	KUNIT_EXPECT_FALSE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_TRUE(test, irqd_irq_disabled(&desc->irq_data));
	KUNIT_EXPECT_TRUE(test, irqd_irq_masked(&desc->irq_data));
	fake_expect_failures(test, desc, IRQ_FAILURE_STARTUP, 1);

	/* The nesting is not affected, so the next pair works */
	KUNIT_EXPECT_EQ(test, desc->depth, 0);
	disable_irq(irq);
	KUNIT_EXPECT_EQ(test, desc->depth, 1);
	enable_irq(irq);
	KUNIT_EXPECT_EQ(test, desc->depth, 0);
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	fake_release(st, desc);
}

/* An interrupt which is enabled, but could not be started up */
static void fake_enable_fails(struct kunit *test, struct irq_desc *desc)
{
	struct fake_stack *st = test->priv;

	scoped_guard(raw_spinlock_irq, &desc->lock)
		irq_shutdown(desc);
	fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
	enable_irq(irq_desc_get_irq(desc));
	KUNIT_EXPECT_FALSE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_EQ(test, desc->depth, 0);
}

static void shared_starts_up(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	unsigned int irq = irq_desc_get_irq(desc);
	struct fake_snapshot *before;
	int second;

	/* The first one which shares the interrupt fixes the trigger type */
	KUNIT_ASSERT_EQ(test, fake_request(st, desc, IRQF_SHARED), 0);
	KUNIT_ASSERT_EQ(test, request_irq(irq, fake_handler, IRQF_SHARED, "second", &second), 0);
	free_irq(irq, &second);
	fake_enable_fails(test, desc);

	/* The second user does not wait for interrupts which never come */
	before = fake_snapshot(test, desc);
	fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
	KUNIT_EXPECT_EQ(test, request_irq(irq, fake_handler, IRQF_SHARED, "second", &second),
			FAKE_ERR);
	KUNIT_EXPECT_PTR_EQ(test, desc->action->next, NULL);
	/* The affinity is set up before, and moves the interrupt */
	if (!st->variant->early)
		fake_expect_same(test, desc, before);

	KUNIT_ASSERT_EQ(test, request_irq(irq, fake_handler, IRQF_SHARED, "second", &second), 0);
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_EQ(test, desc->depth, 0);
	free_irq(irq, &second);

	/* Nothing of that is left for the next user */
	fake_enable_fails(test, desc);
	fake_release(st, desc);
	KUNIT_EXPECT_EQ(test, desc->depth, 1);
	KUNIT_EXPECT_EQ(test, desc->istate & IRQS_STARTUP_FAILED, 0);
}

static void fake_flow(struct irq_desc *desc) { }

static void chained_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	unsigned int irq = irq_desc_get_irq(desc);
	struct fake_snapshot *before = fake_snapshot(test, desc);

	for (unsigned int attempt = 0; attempt < 2; attempt++) {
		fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
		if (!attempt) {
			irq_set_chained_handler(irq, fake_flow);
		} else {
			disable_irq(irq);
			enable_irq(irq);
		}
		KUNIT_EXPECT_FALSE(test, irqd_is_started(&desc->irq_data));
		KUNIT_EXPECT_TRUE(test, irqd_irq_disabled(&desc->irq_data));
		KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->vector, before->irq.vector);
		KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->present, before->irq.present);
	}

	/* Each attempt activates it again */
	disable_irq(irq);
	enable_irq(irq);
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_TRUE(test, irqd_is_activated(&desc->irq_data));
	KUNIT_EXPECT_FALSE(test, irqd_irq_disabled(&desc->irq_data));
	irq_set_handler(irq, NULL);
}

#ifdef CONFIG_SMP
static void fake_notify(struct irq_affinity_notify *notify, const cpumask_t *mask);

static struct {
	struct irq_affinity_notify	notify;
	struct fake_stack		*st;
} fake_notifier = {
	.notify.notify = fake_notify,
};

static void fake_notify(struct irq_affinity_notify *notify, const cpumask_t *mask)
{
	atomic_inc(&fake_notifier.st->notified);
}

static void fake_notify_release(struct kref *ref) { }

static void fake_set_notifier(struct fake_stack *st, struct irq_desc *desc)
{
	fake_notifier.st = st;
	fake_notifier.notify.notify = fake_notify;
	fake_notifier.notify.release = fake_notify_release;
	irq_set_affinity_notifier(irq_desc_get_irq(desc), &fake_notifier.notify);
}

static int fake_notified(struct fake_stack *st)
{
	flush_work(&fake_notifier.notify.work);
	return atomic_read(&st->notified);
}

static void fake_clr_notifier(struct irq_desc *desc)
{
	irq_set_affinity_notifier(irq_desc_get_irq(desc), NULL);
}

static void affinity_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	const struct cpumask *last = cpumask_of(cpumask_last(cpu_online_mask));
	struct fake_snapshot *before;
	struct irq_desc *desc;
	unsigned int irq;

	for (enum fake_level level = FAKE_VECTOR; level <= FAKE_MSI; level++) {
		if (!fake_has(st, FAKE_AFFINITY, level))
			continue;

		desc = fake_alloc_desc(test, NULL);
		irq = irq_desc_get_irq(desc);
		KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
		atomic_set(&st->notified, 0);
		fake_set_notifier(st, desc);
		before = fake_snapshot(test, desc);

		fake_fail(st, FAKE_AFFINITY, level, 1);
		KUNIT_EXPECT_EQ(test, irq_set_affinity(irq, last), FAKE_ERR);
		KUNIT_EXPECT_EQ(test, fake_notified(st), 0);
		KUNIT_EXPECT_FALSE(test, irqd_affinity_was_set(&desc->irq_data));
		fake_expect_same(test, desc, before);
		fake_expect_failures(test, desc, IRQ_FAILURE_AFFINITY, 1);

		KUNIT_EXPECT_EQ(test, irq_set_affinity(irq, last), 0);
		KUNIT_EXPECT_EQ(test, fake_notified(st), 1);
		KUNIT_EXPECT_TRUE(test, irqd_affinity_was_set(&desc->irq_data));
		KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, cpumask_first(last));
		KUNIT_EXPECT_EQ(test, st->cleanups, 0);

		/* No CPU at all */
		before = fake_snapshot(test, desc);
		KUNIT_EXPECT_EQ(test, irq_set_affinity(irq, cpu_none_mask), -EINVAL);
		fake_expect_same(test, desc, before);

		fake_clr_notifier(desc);
		fake_release(st, desc);
		fake_free(st);
	}
}

static void affinity_at_startup_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;

	for (enum fake_level level = FAKE_VECTOR; level <= FAKE_MSI; level++) {
		struct irq_desc *desc;

		if (!fake_has(st, FAKE_AFFINITY, level))
			continue;

		/* The interrupt targets an online CPU, so this is good enough */
		desc = fake_alloc_desc(test, NULL);
		fake_fail(st, FAKE_AFFINITY, level, 1);
		KUNIT_EXPECT_EQ(test, fake_request(st, desc, 0), 0);
		KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
		KUNIT_EXPECT_TRUE(test, cpu_online(fake_irq(st, desc)->cpu));
		fake_expect_failures(test, desc, IRQ_FAILURE_AFFINITY, 1);
		fake_release(st, desc);
		fake_free(st);
	}
}

static void affinity_of_deactivated(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	const struct cpumask *last = cpumask_of(cpumask_last(cpu_online_mask));
	struct irq_desc *desc = fake_alloc_desc(test, NULL);

	fake_set_notifier(st, desc);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), last), 0);
	KUNIT_EXPECT_EQ(test, fake_notified(st), 1);
	KUNIT_EXPECT_TRUE(test, irqd_affinity_was_set(&desc->irq_data));
	fake_clr_notifier(desc);

	KUNIT_EXPECT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, cpumask_first(last));
	fake_release(st, desc);
}

static void managed_fails(struct kunit *test)
{
	struct irq_affinity_desc affinity = { .is_managed = 1, };
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	cpumask_copy(&affinity.mask, cpu_online_mask);

	for (enum fake_level level = FAKE_VECTOR; level <= FAKE_MSI; level++) {
		enum fake_op op = level == FAKE_MSI ? FAKE_STARTUP : FAKE_ACTIVATE;

		if (!fake_has(st, op, level))
			continue;

		desc = fake_alloc_desc(test, &affinity);
		KUNIT_EXPECT_TRUE(test, irqd_affinity_is_managed(&desc->irq_data));
		for (int i = 0; i < 2; i++) {
			fake_fail(st, op, level, 1);
			fake_request_fails(test, desc, 0, FAKE_ERR);
		}

		/* Without somebody to tell CPU hotplug is in charge */
		KUNIT_ASSERT_EQ(test, fake_request(st, desc, IRQF_NO_AUTOEN), 0);
		fake_fail(st, op, level, 1);
		enable_irq(irq_desc_get_irq(desc));
		KUNIT_EXPECT_TRUE(test, irqd_is_managed_and_shutdown(&desc->irq_data));
		KUNIT_EXPECT_FALSE(test, irqd_is_started(&desc->irq_data));
		KUNIT_EXPECT_EQ(test, desc->depth, 1);

		scoped_guard(raw_spinlock_irq, &desc->lock)
			irq_startup_managed(desc);
		KUNIT_EXPECT_FALSE(test, irqd_is_managed_and_shutdown(&desc->irq_data));
		KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
		KUNIT_EXPECT_EQ(test, desc->depth, 0);
		fake_release(st, desc);

		/* But there might be no CPU which could come online */
		KUNIT_ASSERT_EQ(test, fake_request(st, desc, IRQF_NO_AUTOEN), 0);
		fake_fail(st, op, level, 1);
		enable_irq(irq_desc_get_irq(desc));
		KUNIT_EXPECT_FALSE(test, irqd_is_started(&desc->irq_data));
		disable_irq(irq_desc_get_irq(desc));
		enable_irq(irq_desc_get_irq(desc));
		KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
		KUNIT_EXPECT_EQ(test, desc->depth, 0);
		fake_release(st, desc);

		/* Without a failure the level of the driver stays */
		KUNIT_ASSERT_EQ(test, fake_request(st, desc, IRQF_NO_AUTOEN), 0);
		disable_irq(irq_desc_get_irq(desc));
		enable_irq(irq_desc_get_irq(desc));
		KUNIT_EXPECT_FALSE(test, irqd_is_started(&desc->irq_data));
		KUNIT_EXPECT_EQ(test, desc->depth, 1);
		fake_release(st, desc);
		fake_free(st);
	}
}

static void affinity_desc_fails(struct kunit *test)
{
	struct irq_affinity_desc affinity = { .is_managed = 1, };
	struct fake_stack *st = test->priv;
	struct fake_snapshot *before;
	struct irq_desc *desc;
	unsigned int irq;

	if (IS_ENABLED(CONFIG_GENERIC_IRQ_RESERVATION_MODE) || st->variant->reserve)
		kunit_skip(test, "not possible in reservation mode");

	desc = fake_alloc_desc(test, NULL);
	irq = irq_desc_get_irq(desc);
	scoped_guard(raw_spinlock_irq, &desc->lock)
		KUNIT_EXPECT_EQ(test, irq_activate(desc), 0);
	before = fake_snapshot(test, desc);
	cpumask_copy(&affinity.mask, cpu_online_mask);

	/* Not managed then, and activated as it was */
	fake_fail(st, FAKE_ACTIVATE, FAKE_VECTOR, 1);
	KUNIT_EXPECT_EQ(test, irq_update_affinity_desc(irq, &affinity), FAKE_ERR);
	fake_expect_same(test, desc, before);
	fake_expect_failures(test, desc, IRQ_FAILURE_ACTIVATE, 1);

	fake_succeed(st);
	KUNIT_EXPECT_EQ(test, irq_update_affinity_desc(irq, &affinity), 0);
	KUNIT_EXPECT_TRUE(test, irqd_affinity_is_managed(&desc->irq_data));
}

#ifdef CONFIG_HOTPLUG_CPU
static void fake_need_hotplug(struct kunit *test)
{
	if (!get_cpu_device(1) || !cpu_is_hotpluggable(1) || !cpu_online(1))
		kunit_skip(test, "CPU 1 must be online and hotpluggable");
	if (!IS_ENABLED(CONFIG_GENERIC_IRQ_MIGRATION))
		kunit_skip(test, "requires CONFIG_GENERIC_IRQ_MIGRATION");
}

static void managed_without_cpu(struct kunit *test)
{
	struct irq_affinity_desc affinity = { .is_managed = 1, };
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	fake_need_hotplug(test);
	cpumask_copy(&affinity.mask, cpumask_of(1));

	/* Not an error, it waits for the CPU */
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	desc = fake_alloc_desc(test, &affinity);
	KUNIT_EXPECT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_EXPECT_TRUE(test, irqd_is_managed_and_shutdown(&desc->irq_data));
	fake_expect_failures(test, desc, IRQ_FAILURE_STARTUP, 0);

	/* It stays in that state when the startup fails */
	fake_fail(st, FAKE_STARTUP, FAKE_MSI, 1);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
	KUNIT_EXPECT_TRUE(test, irqd_is_managed_and_shutdown(&desc->irq_data));
	KUNIT_EXPECT_EQ(test, desc->depth, 1);
	fake_expect_failures(test, desc, IRQ_FAILURE_STARTUP, 1);

	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_EQ(test, desc->depth, 0);
	fake_release(st, desc);
}

static void unplug_falls_back(struct kunit *test)
{
	struct cpumask *both = kunit_kzalloc(test, sizeof(*both), GFP_KERNEL);
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	fake_need_hotplug(test);
	KUNIT_ASSERT_NOT_NULL(test, both);
	cpumask_set_cpu(1, both);
	cpumask_set_cpu(0, both);

	desc = fake_alloc_desc(test, NULL);
	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_ASSERT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(1)), 0);
	/* One CPU in the mask is left, so its error decides */
	scoped_guard(raw_spinlock_irq, &desc->lock)
		cpumask_copy(desc->irq_common_data.affinity, both);

	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1, -EIO);
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	KUNIT_EXPECT_TRUE(test, cpu_online(fake_irq(st, desc)->cpu));
	KUNIT_EXPECT_EQ(test, st->fail_seen, 2);
	fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 0);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
	fake_release(st, desc);
}

/* An interrupt which is activated on CPU 1, but not started, and CPU 1 goes offline */
static struct irq_desc *fake_activated_offline(struct kunit *test, unsigned long flags)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);

	if (flags) {
		KUNIT_ASSERT_EQ(test, fake_request(st, desc, flags), 0);
	} else {
		scoped_guard(raw_spinlock_irq, &desc->lock)
			KUNIT_EXPECT_EQ(test, irq_activate(desc), 0);
	}
	KUNIT_ASSERT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(1)), 0);
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, 1);
	return desc;
}

static void startup_on_offline_cpu(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;
	unsigned int irq;

	fake_need_hotplug(test);

	/* It has to be moved, and request_irq() can tell when that fails */
	desc = fake_activated_offline(test, 0);
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 100, FAKE_ERR);
	fake_request_fails(test, desc, 0, FAKE_ERR);
	fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 1);
	fake_free(st);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);

	/* enable_irq() cannot, but the next one tries again */
	desc = fake_activated_offline(test, IRQF_NO_AUTOEN);
	irq = irq_desc_get_irq(desc);
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 100, FAKE_ERR);
	enable_irq(irq);
	fake_succeed(st);
	KUNIT_EXPECT_FALSE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_TRUE(test, irqd_irq_masked(&desc->irq_data));
	fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 1);
	disable_irq(irq);
	enable_irq(irq);
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_TRUE(test, cpu_online(fake_irq(st, desc)->cpu));
	fake_release(st, desc);
	fake_free(st);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);

	/* The startup does not set up the affinity of this one */
	desc = fake_activated_offline(test, IRQF_NO_AUTOEN | IRQF_NOBALANCING);
	enable_irq(irq_desc_get_irq(desc));
	KUNIT_EXPECT_TRUE(test, irqd_is_started(&desc->irq_data));
	KUNIT_EXPECT_TRUE(test, cpu_online(fake_irq(st, desc)->cpu));
	fake_release(st, desc);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
}
#endif /* CONFIG_HOTPLUG_CPU */

#ifdef CONFIG_GENERIC_PENDING_IRQ
static bool fake_wait_moved(struct irq_desc *desc)
{
	unsigned long timeout = jiffies + HZ;

	while (irqd_is_setaffinity_pending(&desc->irq_data)) {
		if (time_after(jiffies, timeout))
			return false;
		usleep_range(1000, 2000);
	}
	return true;
}

static void fake_interrupt(struct irq_desc *desc)
{
	guard(raw_spinlock_irq)(&desc->lock);
	irq_move_masked_irq(irq_desc_get_irq_data(desc));
}

static bool fake_pending(struct irq_desc *desc, const struct cpumask *mask)
{
	guard(raw_spinlock_irq)(&desc->lock);
	return irqd_is_setaffinity_pending(&desc->irq_data) &&
	       cpumask_equal(desc->pending_mask, mask);
}

static bool fake_in_effect(struct irq_desc *desc, const struct cpumask *mask)
{
	guard(raw_spinlock_irq)(&desc->lock);
	return !irqd_is_setaffinity_pending(&desc->irq_data) &&
	       cpumask_equal(irq_data_get_affinity_mask(&desc->irq_data), mask) &&
	       cpumask_subset(irq_data_get_effective_affinity_mask(&desc->irq_data), mask);
}

static void hundred_changes(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	const struct cpumask *mask = NULL;
	unsigned int first, cpu = 0;

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	fake_set_notifier(st, desc);
	st->busy = true;
	first = st->moves;

	for (int i = 0; i < 100; i++) {
		cpu = cpumask_next_wrap(cpu, cpu_online_mask);
		mask = cpumask_of(cpu);
		KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), mask), 0);
		/* Either carried out or visibly pending */
		KUNIT_EXPECT_TRUE(test, fake_pending(desc, mask) || fake_in_effect(desc, mask));
	}

	/* The last one is in effect within a second without any interrupt */
	KUNIT_EXPECT_TRUE(test, fake_wait_moved(desc));
	KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, mask));
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, cpu);
	KUNIT_EXPECT_GE(test, st->moves, first + 1);
	KUNIT_EXPECT_EQ(test, st->cleanups, 0);
	/* Notifications are coalesced, but there are no more than changes */
	KUNIT_EXPECT_GE(test, fake_notified(st), 1);
	KUNIT_EXPECT_LE(test, fake_notified(st), st->moves - first);

	fake_clr_notifier(desc);
	fake_release(st, desc);
}

static void pending_move_fails(struct kunit *test)
{
	const struct cpumask *last = cpumask_of(cpumask_last(cpu_online_mask));
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	fake_set_notifier(st, desc);

	/* Busy, and then the interrupt comes and it fails for another reason */
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1, -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), last), 0);
	KUNIT_EXPECT_FALSE(test, irqd_affinity_was_set(&desc->irq_data));
	KUNIT_EXPECT_TRUE(test, fake_pending(desc, last));

	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1, -ENOSPC);
	fake_interrupt(desc);
	KUNIT_EXPECT_TRUE(test, fake_pending(desc, last));
	KUNIT_EXPECT_EQ(test, desc->pending_error, -ENOSPC);
	KUNIT_EXPECT_EQ(test, fake_notified(st), 0);
	fake_expect_failures(test, desc, IRQ_FAILURE_MOVE, 1);

	/* The next interrupts do not try */
	fake_interrupt(desc);
	fake_interrupt(desc);
	KUNIT_EXPECT_EQ(test, st->fail_seen, 1);

	/* But it is retried */
	KUNIT_EXPECT_TRUE(test, fake_wait_moved(desc));
	KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, last));
	KUNIT_EXPECT_TRUE(test, irqd_affinity_was_set(&desc->irq_data));
	KUNIT_EXPECT_EQ(test, fake_notified(st), 1);
	fake_clr_notifier(desc);
	fake_release(st, desc);
}

static void hard_error_is_left_to_work(struct kunit *test)
{
	const struct cpumask *last = cpumask_of(cpumask_last(cpu_online_mask));
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	unsigned long timeout;
	bool held_off = false, tried = true;

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1, -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), last), 0);
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1000, -ENOSPC);
	fake_interrupt(desc);

	/* An interrupt does not try, however long ago the last attempt was */
	for (timeout = jiffies + 10 * HZ; !held_off && time_before(jiffies, timeout);) {
		usleep_range(5000, 10000);

		guard(raw_spinlock_irq)(&desc->lock);
		if (time_after(jiffies, desc->pending_retry)) {
			unsigned int seen = st->fail_seen;

			irq_move_masked_irq(irq_desc_get_irq_data(desc));
			tried = st->fail_seen != seen;
			held_off = true;
		}
	}
	KUNIT_EXPECT_TRUE(test, held_off);
	KUNIT_EXPECT_FALSE(test, tried);
	KUNIT_EXPECT_TRUE(test, fake_pending(desc, last));
	fake_succeed(st);
	fake_release(st, desc);
}

static void pending_move_busy(struct kunit *test)
{
	const struct cpumask *last = cpumask_of(cpumask_last(cpu_online_mask));
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);

	/* Busy: each interrupt tries */
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 3, -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), last), 0);
	fake_interrupt(desc);
	fake_interrupt(desc);
	KUNIT_EXPECT_TRUE(test, fake_pending(desc, last));
	fake_interrupt(desc);
	KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, last));
	/* Which is no failure */
	fake_expect_failures(test, desc, IRQ_FAILURE_AFFINITY, 0);
	fake_expect_failures(test, desc, IRQ_FAILURE_MOVE, 0);
	fake_release(st, desc);
}

static void change_while_pending_fails(struct kunit *test)
{
	const struct cpumask *first = cpumask_of(cpumask_first(cpu_online_mask));
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);
	unsigned int irq = irq_desc_get_irq(desc);
	struct fake_snapshot *before;

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);

	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1000, -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq, first), 0);
	KUNIT_EXPECT_TRUE(test, fake_pending(desc, first));

	/* The caller gets the error, and the pending change is retained */
	before = fake_snapshot(test, desc);
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1000, FAKE_ERR);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq, cpu_online_mask), FAKE_ERR);
	fake_expect_same(test, desc, before);

	/* A change which succeeds supersedes the pending one */
	fake_succeed(st);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq, cpu_online_mask), 0);
	KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, cpu_online_mask));
	fake_release(st, desc);
}

static void free_while_pending(struct kunit *test)
{
	const struct cpumask *last = cpumask_of(cpumask_last(cpu_online_mask));
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);

	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1, -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), last), 0);
	fake_release(st, desc);

	/* Taken over for the next activation */
	KUNIT_EXPECT_TRUE(test, fake_wait_moved(desc));
	KUNIT_EXPECT_TRUE(test, cpumask_equal(irq_data_get_affinity_mask(&desc->irq_data), last));
	KUNIT_EXPECT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, cpumask_first(last));
	fake_release(st, desc);
}

#ifdef CONFIG_HOTPLUG_CPU
static void pending_move_dropped(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	fake_need_hotplug(test);
	desc = fake_alloc_desc(test, NULL);
	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_ASSERT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(0)), 0);

	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1000, -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(1)), 0);
	KUNIT_EXPECT_TRUE(test, fake_pending(desc, cpumask_of(1)));

	/* There is nothing to wait for when the last CPU is gone */
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, cpumask_of(0)));
	fake_expect_failures(test, desc, IRQ_FAILURE_DROPPED, 1);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
	fake_release(st, desc);
}

static bool fake_left_behind(struct irq_desc *desc)
{
	guard(raw_spinlock_irq)(&desc->lock);
	return desc->istate & IRQS_LEFT_BEHIND;
}

static bool fake_wait_idle(struct irq_desc *desc)
{
	unsigned long timeout = jiffies + 10 * HZ;

	while (irqd_is_setaffinity_pending(&desc->irq_data) || fake_left_behind(desc)) {
		if (time_after(jiffies, timeout))
			return false;
		usleep_range(1000, 2000);
	}
	return true;
}

/* Affine to CPU 0 and CPU 1, targets CPU 1, and nobody has requested that */
static struct irq_desc *fake_request_on_cpu1(struct kunit *test, struct cpumask *both)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc = fake_alloc_desc(test, NULL);

	cpumask_copy(both, cpumask_of(1));
	cpumask_set_cpu(0, both);
	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_ASSERT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(1)), 0);
	guard(raw_spinlock_irq)(&desc->lock);
	cpumask_copy(desc->irq_common_data.affinity, both);
	irqd_clear(&desc->irq_data, IRQD_AFFINITY_SET);
	return desc;
}

static void pending_survives_unplug(struct kunit *test)
{
	struct cpumask *both = kunit_kzalloc(test, sizeof(*both), GFP_KERNEL);
	struct fake_stack *st = test->priv;

	fake_need_hotplug(test);
	KUNIT_ASSERT_NOT_NULL(test, both);

	/* The pending change fails on unplug, and then both fallbacks as well */
	for (unsigned int fails = 1; fails <= 3; fails += 2) {
		struct irq_desc *desc = fake_request_on_cpu1(test, both);

		fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1000, -EBUSY);
		KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), both), 0);
		KUNIT_EXPECT_TRUE(test, fake_pending(desc, both));

		st->unplug = true;
		st->unplug_fails = fails;
		KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
		KUNIT_EXPECT_TRUE(test, fake_pending(desc, both));
		KUNIT_EXPECT_EQ(test, fake_left_behind(desc), fails == 3);
		KUNIT_EXPECT_FALSE(test, irqd_affinity_was_set(&desc->irq_data));
		fake_expect_failures(test, desc, IRQ_FAILURE_MOVE, 1);
		fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, fails == 3);
		fake_expect_failures(test, desc, IRQ_FAILURE_DROPPED, 0);

		fake_succeed(st);
		KUNIT_EXPECT_TRUE(test, fake_wait_idle(desc));
		KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, both));
		KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, 0);
		KUNIT_EXPECT_TRUE(test, irqd_affinity_was_set(&desc->irq_data));

		KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
		fake_release(st, desc);
		fake_free(st);
	}
}

/* The affinity which a pending change was to replace is not broken as long as it can be met */
static void unplug_keeps_affinity(struct kunit *test)
{
	struct cpumask *both = kunit_kzalloc(test, sizeof(*both), GFP_KERNEL);
	struct fake_stack *st = test->priv;

	fake_need_hotplug(test);
	KUNIT_ASSERT_NOT_NULL(test, both);

	for (unsigned int fails = 1; fails <= 2; fails++) {
		struct irq_desc *desc = fake_request_on_cpu1(test, both);

		fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 1000, -EBUSY);
		KUNIT_EXPECT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(0)), 0);
		KUNIT_EXPECT_TRUE(test, fake_pending(desc, cpumask_of(0)));

		st->unplug = true;
		st->unplug_fails = fails;
		KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
		scoped_guard(raw_spinlock_irq, &desc->lock)
			KUNIT_EXPECT_TRUE(test,
					  cpumask_equal(irq_data_get_affinity_mask(&desc->irq_data),
							fails == 1 ? both : cpumask_of(0)));
		KUNIT_EXPECT_TRUE(test, fake_pending(desc, cpumask_of(0)));
		KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, 0);
		fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 0);

		fake_succeed(st);
		KUNIT_EXPECT_TRUE(test, fake_wait_idle(desc));
		KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, cpumask_of(0)));
		KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
		fake_release(st, desc);
		fake_free(st);
	}
}

static void left_behind_is_no_request(struct kunit *test)
{
	struct cpumask *both = kunit_kzalloc(test, sizeof(*both), GFP_KERNEL);
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;
	int notified;

	fake_need_hotplug(test);
	KUNIT_ASSERT_NOT_NULL(test, both);
	desc = fake_request_on_cpu1(test, both);
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, 1);
	fake_set_notifier(st, desc);

	st->unplug = true;
	st->unplug_fails = 2;
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 1);
	KUNIT_EXPECT_TRUE(test, fake_wait_idle(desc));

	/* It works again, and there is no other change */
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, 0);
	KUNIT_EXPECT_TRUE(test, fake_in_effect(desc, both));
	KUNIT_EXPECT_FALSE(test, irqd_affinity_was_set(&desc->irq_data));
	KUNIT_EXPECT_EQ(test, fake_notified(st), 0);
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);

	/* Unless no CPU of the affinity mask is online */
	KUNIT_ASSERT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(1)), 0);
	KUNIT_EXPECT_TRUE(test, fake_wait_idle(desc));
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, 1);
	notified = fake_notified(st);

	st->unplug_fails = 1;
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 2);
	KUNIT_EXPECT_TRUE(test, fake_wait_idle(desc));
	KUNIT_EXPECT_EQ(test, fake_irq(st, desc)->cpu, 0);
	KUNIT_EXPECT_EQ(test, fake_notified(st), notified + 1);

	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
	fake_clr_notifier(desc);
	fake_release(st, desc);
}

#ifdef CONFIG_GENERIC_IRQ_EFFECTIVE_AFF_MASK
static void unplug_without_effective(struct kunit *test)
{
	struct cpumask *both = kunit_kzalloc(test, sizeof(*both), GFP_KERNEL);
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	fake_need_hotplug(test);
	KUNIT_ASSERT_NOT_NULL(test, both);
	desc = fake_request_on_cpu1(test, both);
	scoped_guard(raw_spinlock_irq, &desc->lock)
		irq_data_update_effective_affinity(&desc->irq_data, cpu_none_mask);

	/* A chip which cannot move interrupts does not leave them without target */
	st->unplug = true;
	st->unplug_fails = 2;
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	KUNIT_EXPECT_EQ(test, st->unplug_fails, 0);
	KUNIT_EXPECT_FALSE(test, fake_left_behind(desc));
	fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 0);

	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
	fake_release(st, desc);
}
#endif

static void unplug_fails(struct kunit *test)
{
	struct fake_stack *st = test->priv;
	struct irq_desc *desc;

	fake_need_hotplug(test);
	desc = fake_alloc_desc(test, NULL);
	KUNIT_ASSERT_EQ(test, fake_request(st, desc, 0), 0);
	KUNIT_ASSERT_EQ(test, irq_set_affinity(irq_desc_get_irq(desc), cpumask_of(1)), 0);

	/* The CPU goes nevertheless, and the interrupt follows when it can */
	fake_fail_times(st, FAKE_AFFINITY, FAKE_VECTOR, 1, 2, -EIO);
	KUNIT_ASSERT_EQ(test, remove_cpu(1), 0);
	fake_expect_failures(test, desc, IRQ_FAILURE_TARGET, 1);
	KUNIT_EXPECT_TRUE(test, fake_wait_idle(desc));
	KUNIT_EXPECT_TRUE(test, cpu_online(fake_irq(st, desc)->cpu));
	KUNIT_ASSERT_EQ(test, add_cpu(1), 0);
	fake_release(st, desc);
}
#endif /* CONFIG_HOTPLUG_CPU */
#endif /* CONFIG_GENERIC_PENDING_IRQ */
#endif /* CONFIG_SMP */

static struct kunit_case irq_failure_cases[] = {
	KUNIT_CASE_PARAM(alloc_fails, fake_gen_params),
	KUNIT_CASE_PARAM(alloc_at_index_fails, fake_gen_params),
	KUNIT_CASE(realloc_fails),
	KUNIT_CASE_PARAM(early_activation_fails, fake_gen_params),
	KUNIT_CASE_PARAM(activation_fails, fake_gen_params),
	KUNIT_CASE_PARAM(reservation_lost, fake_gen_params),
	KUNIT_CASE_PARAM(compose_fails, fake_gen_params),
	KUNIT_CASE_PARAM(startup_fails, fake_gen_params),
	KUNIT_CASE_PARAM(startup_of_activated_fails, fake_gen_params),
	KUNIT_CASE_PARAM(startup_was_pending, fake_gen_params),
	KUNIT_CASE_PARAM(enable_fails, fake_gen_params),
	KUNIT_CASE_PARAM(shared_starts_up, fake_gen_params),
	KUNIT_CASE_PARAM(chained_fails, fake_gen_params),
#ifdef CONFIG_SMP
	KUNIT_CASE_PARAM(affinity_fails, fake_gen_params),
	KUNIT_CASE_PARAM(affinity_at_startup_fails, fake_gen_params),
	KUNIT_CASE_PARAM(affinity_of_deactivated, fake_gen_params),
	KUNIT_CASE_PARAM(managed_fails, fake_gen_params),
	KUNIT_CASE_PARAM(affinity_desc_fails, fake_gen_params),
#ifdef CONFIG_HOTPLUG_CPU
	KUNIT_CASE_PARAM(managed_without_cpu, fake_gen_params),
	KUNIT_CASE_PARAM(unplug_falls_back, fake_gen_params),
	KUNIT_CASE_PARAM(startup_on_offline_cpu, fake_gen_params),
#endif
#ifdef CONFIG_GENERIC_PENDING_IRQ
	KUNIT_CASE_PARAM(hundred_changes, fake_gen_params),
	KUNIT_CASE_PARAM(pending_move_fails, fake_gen_params),
	KUNIT_CASE_PARAM(hard_error_is_left_to_work, fake_gen_params),
	KUNIT_CASE_PARAM(pending_move_busy, fake_gen_params),
	KUNIT_CASE_PARAM(change_while_pending_fails, fake_gen_params),
	KUNIT_CASE_PARAM(free_while_pending, fake_gen_params),
#ifdef CONFIG_HOTPLUG_CPU
	KUNIT_CASE_PARAM(pending_move_dropped, fake_gen_params),
	KUNIT_CASE_PARAM(unplug_fails, fake_gen_params),
	KUNIT_CASE_PARAM(pending_survives_unplug, fake_gen_params),
	KUNIT_CASE_PARAM(unplug_keeps_affinity, fake_gen_params),
	KUNIT_CASE_PARAM(left_behind_is_no_request, fake_gen_params),
#ifdef CONFIG_GENERIC_IRQ_EFFECTIVE_AFF_MASK
	KUNIT_CASE_PARAM(unplug_without_effective, fake_gen_params),
#endif
#endif
#endif
#endif
	{}
};

static struct kunit_suite irq_failure_suite = {
	.name		= "irq_failure",
	.init		= fake_init,
	.exit		= fake_exit,
	.test_cases	= irq_failure_cases,
};

kunit_test_suite(irq_failure_suite);
MODULE_DESCRIPTION("KUnit tests for failures of interrupt management");
MODULE_LICENSE("GPL");
