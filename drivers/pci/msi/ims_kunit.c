// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the PCI Interrupt Message Store (IMS)
 *
 * A PCI device which does not exist, under an interrupt domain which only
 * pretends to remap. Its slots record each access in order.
 */
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/pci.h>
#include <linux/pci-ims.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <kunit/test.h>

#include "msi.h"

#define NR_SLOTS	8
#define SLOT_WORDS	4
#define LOG_SIZE	64

/* Not used by the core, so an error which is replaced on the way is noticed */
#define FAKE_ERR	(-EDQUOT)

enum slot_word {
	ADDR_LO,
	ADDR_HI,
	DATA,
	CTRL,
};

#define MASK		0x1
#define PASID_EN	0x8

/**
 * struct access - An access to a slot
 * @word:	Word of the slot, &enum slot_word
 * @write:	It is a write
 * @val:	Value written
 */
struct access {
	u8	word;
	bool	write;
	u32	val;
};

#define W(_word, _val)	{ .word = _word, .write = true, .val = _val }
#define FLUSH		{ .word = CTRL }

/**
 * struct fake_ims - A PCI device and its parent interrupt domain
 * @pdev:	The device
 * @bus:	Its bus
 * @fwnode:	Firmware node of @parent
 * @parent:	The parent interrupt domain
 * @chip:	The irqchip of @parent
 * @slots:	The slots. Their address is all that matters to the tested code.
 * @log:	Accesses to the slots
 * @nr_log:	Number of them, those which did not fit included
 * @torn:	Number of writes to the message of a slot which was not masked
 * @fail_alloc:	Which allocation fails, 0: none
 * @fail_activate: Which activation fails, 0: none
 * @allocated:	Number of allocated interrupts
 * @activated:	Number of activated interrupts
 * @moved:	Number of affinity changes
 * @written:	Number of messages written to queue memory
 * @taken:	Number of messages taken out of queue memory
 * @msg:	The last message in queue memory
 * @index:	The index of the last interrupt whose message was changed there
 * @icookie:	Its instance cookie
 */
struct fake_ims {
	struct pci_dev			*pdev;
	struct pci_bus			bus;
	struct fwnode_handle		*fwnode;
	struct irq_domain		*parent;
	struct irq_chip			chip;
	u32				slots[NR_SLOTS][SLOT_WORDS];
	struct access			log[LOG_SIZE];
	unsigned int			nr_log;
	unsigned int			torn;
	unsigned int			fail_alloc;
	unsigned int			fail_activate;
	unsigned int			allocated;
	unsigned int			activated;
	unsigned int			moved;
	unsigned int			written;
	unsigned int			taken;
	struct msi_msg			msg;
	unsigned int			index;
	union msi_instance_cookie	icookie;
};

/* The device of the running test */
static struct fake_ims *fake;

/*
 * The slots
 */
static bool fake_word(void __iomem *addr, unsigned int *word)
{
	uintptr_t offset;

	if (!fake)
		return false;

	offset = (uintptr_t)addr - (uintptr_t)fake->slots;
	*word = offset / sizeof(u32);
	return offset < sizeof(fake->slots);
}

static void fake_log(unsigned int word, bool write, u32 val)
{
	if (fake->nr_log < LOG_SIZE)
		fake->log[fake->nr_log] = (struct access) { word % SLOT_WORDS, write, val };
	fake->nr_log++;
}

bool pci_ims_fake_write(void __iomem *addr, u32 val)
{
	unsigned int word;
	u32 *slot;

	if (!fake_word(addr, &word))
		return false;

	slot = fake->slots[word / SLOT_WORDS];
	word %= SLOT_WORDS;
	if (word != CTRL && !(slot[CTRL] & MASK))
		fake->torn++;
	slot[word] = val;
	fake_log(word, true, val);
	return true;
}

bool pci_ims_fake_read(void __iomem *addr)
{
	unsigned int word;

	if (!fake_word(addr, &word))
		return false;

	fake_log(word, false, 0);
	return true;
}

/*
 * The parent interrupt domain
 */
static bool fake_fails(unsigned int *countdown)
{
	return *countdown && !--*countdown;
}

static int fake_alloc(struct irq_domain *domain, unsigned int virq, unsigned int nr_irqs,
		      void *arg)
{
	struct irq_data *data = irq_domain_get_irq_data(domain, virq);

	if (fake_fails(&fake->fail_alloc))
		return FAKE_ERR;

	data->chip = &fake->chip;
	irqd_set_single_target(data);
	irqd_set_can_reserve(data);
	irqd_set_affinity_on_activate(data);
	fake->allocated++;
	return 0;
}

static void fake_free(struct irq_domain *domain, unsigned int virq, unsigned int nr_irqs)
{
	irq_domain_reset_irq_data(irq_domain_get_irq_data(domain, virq));
	fake->allocated--;
}

static int fake_activate(struct irq_domain *domain, struct irq_data *data, bool reserve)
{
	if (fake_fails(&fake->fail_activate))
		return FAKE_ERR;

	irq_data_update_effective_affinity(data, cpumask_of(0));
	fake->activated++;
	return 0;
}

static void fake_deactivate(struct irq_domain *domain, struct irq_data *data)
{
	fake->activated--;
}

static const struct irq_domain_ops fake_domain_ops = {
	.alloc		= fake_alloc,
	.free		= fake_free,
	.activate	= fake_activate,
	.deactivate	= fake_deactivate,
};

static int fake_set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	irq_data_update_effective_affinity(data, cpumask_of(cpumask_first(mask)));
	fake->moved++;
	return IRQ_SET_MASK_OK_DONE;
}

/* Never all zeros */
static u32 fake_data(unsigned int virq)
{
	return virq | 0x10000;
}

static void fake_compose_msg(struct irq_data *data, struct msi_msg *msg)
{
	*msg = (struct msi_msg) {
		.address_lo	= 0xfee00000,
		.address_hi	= 0x1,
		.data		= fake_data(data->irq),
	};
}

static bool fake_init_dev_msi_info(struct device *dev, struct irq_domain *domain,
				   struct irq_domain *real_parent, struct msi_domain_info *info)
{
	info->flags |= MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS;
	info->chip->flags |= IRQCHIP_SKIP_SET_WAKE;
	info->handler = handle_simple_irq;
	info->handler_name = "fake";
	return true;
}

static const struct msi_parent_ops fake_parent_ops = {
	.supported_flags	= MSI_GENERIC_FLAGS_MASK | MSI_FLAG_PCI_IMS,
	.init_dev_msi_info	= fake_init_dev_msi_info,
};

static const struct msi_parent_ops fake_parent_ops_no_ims = {
	.supported_flags	= MSI_GENERIC_FLAGS_MASK,
	.init_dev_msi_info	= fake_init_dev_msi_info,
};

static void fake_create_parent(struct kunit *test)
{
	struct irq_domain_info info = {
		.ops		= &fake_domain_ops,
		.domain_flags	= IRQ_DOMAIN_FLAG_ISOLATED_MSI | IRQ_DOMAIN_FLAG_MSI_IMMUTABLE,
	};

	fake->chip = (struct irq_chip) {
		.name			= "fake",
		.irq_set_affinity	= fake_set_affinity,
		.irq_compose_msi_msg	= fake_compose_msg,
	};
	fake->fwnode = irq_domain_alloc_named_fwnode("fake-ims");
	KUNIT_ASSERT_NOT_NULL(test, fake->fwnode);

	info.fwnode = fake->fwnode;
	fake->parent = msi_create_parent_irq_domain(&info, &fake_parent_ops);
	KUNIT_ASSERT_NOT_NULL(test, fake->parent);
}

/*
 * The device
 */
static int fake_config_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *val)
{
	*val = 0;
	return PCIBIOS_SUCCESSFUL;
}

static int fake_config_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 val)
{
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops fake_pci_ops = {
	.read	= fake_config_read,
	.write	= fake_config_write,
};

static void fake_release(struct device *dev)
{
	kfree(to_pci_dev(dev));
}

static void fake_create_device(struct kunit *test)
{
	struct pci_dev *pdev = kzalloc_obj(*pdev);

	KUNIT_ASSERT_NOT_NULL(test, pdev);
	fake->bus.ops = &fake_pci_ops;
	pdev->bus = &fake->bus;
	pdev->current_state = PCI_D0;
	pdev->error_state = pci_channel_io_normal;
	device_initialize(&pdev->dev);
	pdev->dev.release = fake_release;
	dev_set_msi_domain(&pdev->dev, fake->parent);
	fake->pdev = pdev;
	KUNIT_ASSERT_EQ(test, dev_set_name(&pdev->dev, "fake-ims"), 0);
	KUNIT_ASSERT_EQ(test, device_add(&pdev->dev), 0);
}

/* What unbinding a driver does to the device, too */
static void fake_remove_device(void)
{
	if (!fake->pdev)
		return;

	if (device_is_registered(&fake->pdev->dev))
		device_del(&fake->pdev->dev);
	put_device(&fake->pdev->dev);
	fake->pdev = NULL;
}

static int fake_init(struct kunit *test)
{
	fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake_create_parent(test);
	fake_create_device(test);
	return 0;
}

static void fake_exit(struct kunit *test)
{
	if (!fake)
		return;

	if (fake->pdev)
		pci_remove_ims_domain(fake->pdev);
	fake_remove_device();
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);
	KUNIT_EXPECT_EQ(test, fake->activated, 0);
	KUNIT_EXPECT_EQ(test, fake->torn, 0);
	if (fake->parent)
		irq_domain_remove(fake->parent);
	if (fake->fwnode)
		irq_domain_free_fwnode(fake->fwnode);
	fake = NULL;
}

/*
 * Helpers
 */
static struct pci_ims_slot_array fake_array(void)
{
	return (struct pci_ims_slot_array) {
		.base		= (void __iomem *)fake->slots,
		.nr_slots	= NR_SLOTS,
	};
}

static int fake_create_slots(void)
{
	struct pci_ims_slot_array array = fake_array();

	return pci_ims_slot_array_create(fake->pdev, &array);
}

static void fake_write_queue(struct pci_dev *pdev, unsigned int index,
			     union msi_instance_cookie icookie, const struct msi_msg *msg)
{
	might_sleep();
	fake->index = index;
	fake->icookie = icookie;
	if (msg) {
		fake->written++;
		fake->msg = *msg;
	} else {
		fake->taken++;
		memset(&fake->msg, 0, sizeof(fake->msg));
	}
}

static const struct pci_ims_queue_store fake_queues = {
	.nr_queues	= NR_SLOTS,
	.write_msg	= fake_write_queue,
};

static int fake_create_queues(void)
{
	return pci_ims_queue_store_create(fake->pdev, &fake_queues);
}

static struct msi_map fake_alloc_irq(struct kunit *test, union msi_instance_cookie *icookie)
{
	struct msi_map map = pci_ims_alloc_irq(fake->pdev, icookie, NULL);

	KUNIT_ASSERT_GE(test, map.index, 0);
	KUNIT_ASSERT_GT(test, map.virq, 0);
	return map;
}

static irqreturn_t fake_handler(int irq, void *data)
{
	return IRQ_HANDLED;
}

static int fake_request(struct msi_map map)
{
	return request_irq(map.virq, fake_handler, 0, "fake-ims", fake);
}

static void fake_free_irq(struct msi_map map)
{
	free_irq(map.virq, fake);
}

/* Does nothing on a kernel for a single CPU */
static void fake_move(struct kunit *test, struct msi_map map)
{
	if (!IS_ENABLED(CONFIG_SMP))
		return;

	KUNIT_EXPECT_EQ(test, irq_set_affinity(map.virq, cpumask_of(0)), 0);
	KUNIT_EXPECT_GT(test, fake->moved, 0);
}

static void fake_expect_log(struct kunit *test, const struct access *log, unsigned int nr)
{
	unsigned int i;

	KUNIT_EXPECT_EQ(test, fake->nr_log, nr);
	for (i = 0; i < min3(nr, fake->nr_log, (unsigned int)LOG_SIZE); i++) {
		KUNIT_EXPECT_EQ_MSG(test, fake->log[i].word, log[i].word, "access %u", i);
		KUNIT_EXPECT_EQ_MSG(test, fake->log[i].write, log[i].write, "access %u", i);
		KUNIT_EXPECT_EQ_MSG(test, fake->log[i].val, log[i].val, "access %u", i);
	}
	fake->nr_log = 0;
}

#define EXPECT_ACCESSES(_test, ...)						\
do {										\
	static const struct access none[1];					\
	const struct access want[] = { __VA_ARGS__ };				\
										\
	fake_expect_log(_test, ARRAY_SIZE(want) ? want : none, ARRAY_SIZE(want)); \
} while (0)

static u32 fake_ctrl(unsigned int slot)
{
	return fake->slots[slot][CTRL];
}

/*
 * Creation of domains
 */
static void create_unsupported(struct kunit *test)
{
	fake->parent->msi_parent_ops = &fake_parent_ops_no_ims;
	KUNIT_EXPECT_EQ(test, fake_create_slots(), -EOPNOTSUPP);
	fake->parent->msi_parent_ops = &fake_parent_ops;

	fake->parent->flags &= ~IRQ_DOMAIN_FLAG_ISOLATED_MSI;
	KUNIT_EXPECT_EQ(test, fake_create_slots(), -EOPNOTSUPP);
	fake->parent->flags |= IRQ_DOMAIN_FLAG_ISOLATED_MSI;

	fake->parent->flags &= ~IRQ_DOMAIN_FLAG_MSI_IMMUTABLE;
	KUNIT_EXPECT_EQ(test, fake_create_slots(), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, fake_create_queues(), -EOPNOTSUPP);
	fake->parent->flags |= IRQ_DOMAIN_FLAG_MSI_IMMUTABLE;

	fake->pdev->no_msi = 1;
	KUNIT_EXPECT_EQ(test, fake_create_slots(), -EOPNOTSUPP);
	fake->pdev->no_msi = 0;

	KUNIT_EXPECT_EQ(test, fake->nr_log, 0);
	KUNIT_EXPECT_EQ(test, fake_create_slots(), 0);
}

static int create_slots_with(void __iomem *base, unsigned int nr_slots)
{
	const struct pci_ims_slot_array array = { .base = base, .nr_slots = nr_slots };

	return pci_ims_slot_array_create(fake->pdev, &array);
}

static void create_invalid_slots(struct kunit *test)
{
	void __iomem *base = (void __iomem *)fake->slots;

	KUNIT_EXPECT_EQ(test, create_slots_with(NULL, NR_SLOTS), -EINVAL);
	KUNIT_EXPECT_EQ(test, create_slots_with(base, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, create_slots_with(base, 65537), -EINVAL);
	KUNIT_EXPECT_EQ(test, create_slots_with(base, UINT_MAX), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake->nr_log, 0);
}

static void create_invalid_queues(struct kunit *test)
{
	struct pci_ims_queue_store store = fake_queues;

	store.nr_queues = 65537;
	KUNIT_EXPECT_EQ(test, pci_ims_queue_store_create(fake->pdev, &store), -EINVAL);
	store.nr_queues = NR_SLOTS;
	store.write_msg = NULL;
	KUNIT_EXPECT_EQ(test, pci_ims_queue_store_create(fake->pdev, &store), -EINVAL);
}

static void create_twice(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	KUNIT_EXPECT_EQ(test, fake_create_slots(), -EEXIST);
	KUNIT_EXPECT_EQ(test, fake_create_queues(), -EEXIST);
	pci_remove_ims_domain(fake->pdev);
	pci_remove_ims_domain(fake->pdev);
	KUNIT_EXPECT_EQ(test, fake_create_queues(), 0);
}

static void fake_noop(struct irq_data *data)
{
}

static void fake_noop_write(struct irq_data *data, struct msi_msg *msg)
{
}

static void fake_noop_teardown(struct irq_domain *domain, msi_alloc_info_t *arg)
{
}

static const struct msi_domain_template fake_template = {
	.chip = {
		.irq_mask		= fake_noop,
		.irq_unmask		= fake_noop,
		.irq_write_msi_msg	= fake_noop_write,
	},
};

static void fake_expect_invalid(struct kunit *test, const struct msi_domain_template *template)
{
	KUNIT_EXPECT_EQ(test, pci_create_ims_domain(fake->pdev, template, NR_SLOTS, NULL),
			-EINVAL);
}

static void create_invalid_template(struct kunit *test)
{
	struct msi_domain_template *template;

	template = kunit_kzalloc(test, sizeof(*template), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, template);

	*template = fake_template;
	template->chip.irq_mask = NULL;
	fake_expect_invalid(test, template);

	*template = fake_template;
	template->chip.irq_bus_lock = fake_noop;
	fake_expect_invalid(test, template);

	*template = fake_template;
	template->ops.msi_teardown = fake_noop_teardown;
	fake_expect_invalid(test, template);

	*template = fake_template;
	template->info.flags = MSI_FLAG_ACTIVATE_EARLY;
	fake_expect_invalid(test, template);

	/* A store which says that it cannot be masked has no callbacks for that */
	*template = fake_template;
	template->info.flags = MSI_FLAG_STORE_NO_MASK;
	fake_expect_invalid(test, template);
}

/*
 * Slot array
 */
static void slots_masked_at_creation(struct kunit *test)
{
	unsigned int i;

	/* What a crashed kernel may have left */
	for (i = 0; i < NR_SLOTS; i++)
		fake->slots[i][CTRL] = PASID_EN;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	for (i = 0; i < NR_SLOTS; i++)
		KUNIT_EXPECT_EQ(test, fake_ctrl(i), MASK);
	KUNIT_EXPECT_EQ(test, fake->nr_log, NR_SLOTS + 1);
	KUNIT_EXPECT_FALSE(test, fake->log[NR_SLOTS].write);
}

/* The life of an interrupt, in accesses to the device */
static void slot_order(struct kunit *test)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	fake->nr_log = 0;

	map = fake_alloc_irq(test, NULL);
	EXPECT_ACCESSES(test);

	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	EXPECT_ACCESSES(test, W(CTRL, MASK), W(ADDR_LO, 0xfee00000), W(ADDR_HI, 1),
			W(DATA, fake_data(map.virq)), FLUSH, W(CTRL, 0));

	fake_move(test, map);
	EXPECT_ACCESSES(test);

	fake_free_irq(map);
	EXPECT_ACCESSES(test, W(CTRL, MASK), FLUSH, W(CTRL, MASK), W(ADDR_LO, 0),
			W(ADDR_HI, 0), W(DATA, 0), FLUSH);

	pci_ims_free_irq(fake->pdev, map);
	EXPECT_ACCESSES(test);
}

static void slot_rewritten(struct kunit *test)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = fake_alloc_irq(test, NULL);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	fake->nr_log = 0;

	pci_ims_restore_irqs(fake->pdev);
	EXPECT_ACCESSES(test, W(CTRL, MASK), W(ADDR_LO, 0xfee00000), W(ADDR_HI, 1),
			W(DATA, fake_data(map.virq)), FLUSH, W(CTRL, 0), W(CTRL, 0));
	fake_free_irq(map);
}

static void slot_pasid(struct kunit *test)
{
	union msi_instance_cookie icookie = pci_ims_pasid_cookie(0xabcde);
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = fake_alloc_irq(test, &icookie);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), 0xabcde000 | PASID_EN);
	disable_irq(map.virq);
	enable_irq(map.virq);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), 0xabcde000 | PASID_EN);
	fake_free_irq(map);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), MASK);
	pci_ims_free_irq(fake->pdev, map);

	/* 0 is a PASID, too, and none is none */
	icookie = pci_ims_pasid_cookie(0);
	map = fake_alloc_irq(test, &icookie);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), PASID_EN);
	fake_free_irq(map);
	pci_ims_free_irq(fake->pdev, map);
}

static void slot_pasid_invalid(struct kunit *test)
{
	union msi_instance_cookie icookies[2] = {
		pci_ims_pasid_cookie(0xfffff),
		pci_ims_pasid_cookie(0x100000),
	};
	struct msi_map maps[2];

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	maps[0] = pci_ims_alloc_irq(fake->pdev, &icookies[1], NULL);
	KUNIT_EXPECT_EQ(test, maps[0].index, -EINVAL);
	KUNIT_EXPECT_EQ(test, maps[0].virq, 0);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 2, icookies, NULL, false),
			-EINVAL);

	/* A PASID without the bit which says so, and a pointer */
	icookies[1].value = 0x1;
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 2, icookies, NULL, false),
			-EINVAL);
	icookies[1].value = (uintptr_t)fake;
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 2, icookies, NULL, false),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);

	/* No cookie at all, and one which means none */
	icookies[1].value = 0;
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 2, icookies, NULL, false), 0);
	fake_alloc_irq(test, NULL);
}

static void fake_reset_slots(void)
{
	unsigned int i;

	memset(fake->slots, 0, sizeof(fake->slots));
	for (i = 0; i < NR_SLOTS; i++)
		fake->slots[i][CTRL] = MASK;
	fake->nr_log = 0;
}

static void slots_restored(struct kunit *test)
{
	struct msi_map active, masked, idle;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	active = fake_alloc_irq(test, NULL);
	masked = fake_alloc_irq(test, NULL);
	idle = fake_alloc_irq(test, NULL);
	irq_set_status_flags(masked.virq, IRQ_DISABLE_UNLAZY);
	KUNIT_ASSERT_EQ(test, fake_request(active), 0);
	KUNIT_ASSERT_EQ(test, fake_request(masked), 0);
	disable_irq(masked.virq);

	fake_reset_slots();
	pci_restore_msi_state(fake->pdev);
	KUNIT_EXPECT_EQ(test, fake->slots[active.index][DATA], fake_data(active.virq));
	KUNIT_EXPECT_EQ(test, fake_ctrl(active.index), 0);
	KUNIT_EXPECT_EQ(test, fake->slots[masked.index][DATA], fake_data(masked.virq));
	KUNIT_EXPECT_EQ(test, fake_ctrl(masked.index), MASK);
	KUNIT_EXPECT_EQ(test, fake->slots[idle.index][DATA], 0);
	KUNIT_EXPECT_EQ(test, fake_ctrl(idle.index), MASK);

	enable_irq(masked.virq);
	KUNIT_EXPECT_EQ(test, fake_ctrl(masked.index), 0);
	fake_free_irq(masked);
	fake_free_irq(active);
}

static void expect_no_access(struct kunit *test, bool powered_down)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = fake_alloc_irq(test, NULL);
	irq_set_status_flags(map.virq, IRQ_DISABLE_UNLAZY);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);

	fake->nr_log = 0;
	if (powered_down)
		fake->pdev->current_state = PCI_D3hot;
	else
		fake->pdev->error_state = pci_channel_io_perm_failure;
	disable_irq(map.virq);
	enable_irq(map.virq);
	disable_irq(map.virq);
	EXPECT_ACCESSES(test);

	fake->pdev->current_state = PCI_D0;
	fake->pdev->error_state = pci_channel_io_normal;
	fake_reset_slots();
	pci_restore_msi_state(fake->pdev);
	KUNIT_EXPECT_EQ(test, fake->slots[map.index][DATA], fake_data(map.virq));
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), MASK);
	fake_free_irq(map);
}

static void slot_powered_down(struct kunit *test)
{
	expect_no_access(test, true);
}

/* A device which keeps the content of its slots gets back what is void meanwhile */
static void slot_freed_powered_down(struct kunit *test)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = fake_alloc_irq(test, NULL);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);

	fake->nr_log = 0;
	fake->pdev->current_state = PCI_D3hot;
	fake_free_irq(map);
	pci_ims_free_irq(fake->pdev, map);
	pci_restore_msi_state(fake->pdev);
	EXPECT_ACCESSES(test);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), 0);

	fake->pdev->current_state = PCI_D0;
	pci_restore_msi_state(fake->pdev);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), MASK);

	map = fake_alloc_irq(test, NULL);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	KUNIT_EXPECT_EQ(test, fake->slots[map.index][DATA], fake_data(map.virq));
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), 0);
	fake_free_irq(map);
}

/* Some drivers do that with a spinlock held. CONFIG_DEBUG_ATOMIC_SLEEP tells if it sleeps. */
static void fake_restore_atomic(void)
{
	guard(preempt)();
	pci_restore_msi_state(fake->pdev);
}

static void restore_without_slots(struct kunit *test)
{
	fake_restore_atomic();
	KUNIT_ASSERT_EQ(test, fake_create_queues(), 0);
	KUNIT_EXPECT_FALSE(test, fake->pdev->ims_slots);
	fake_restore_atomic();
	pci_remove_ims_domain(fake->pdev);

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	KUNIT_EXPECT_TRUE(test, fake->pdev->ims_slots);
	pci_remove_ims_domain(fake->pdev);
	KUNIT_EXPECT_FALSE(test, fake->pdev->ims_slots);
	fake->nr_log = 0;
	fake_restore_atomic();
	EXPECT_ACCESSES(test);
}

static void slot_removed(struct kunit *test)
{
	expect_no_access(test, false);
}

/* No vector until it is requested, and none after it is freed */
static void slot_reserved(struct kunit *test)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = fake_alloc_irq(test, NULL);
	KUNIT_EXPECT_TRUE(test, irqd_can_reserve(irq_get_irq_data(map.virq)));
	KUNIT_EXPECT_EQ(test, fake->activated, 0);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	KUNIT_EXPECT_EQ(test, fake->activated, 1);
	fake_free_irq(map);
	KUNIT_EXPECT_EQ(test, fake->activated, 0);
}

static void slot_activation_fails(struct kunit *test)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = fake_alloc_irq(test, NULL);
	fake->nr_log = 0;
	fake->fail_activate = 1;
	KUNIT_EXPECT_EQ(test, fake_request(map), FAKE_ERR);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), MASK);
	KUNIT_EXPECT_EQ(test, fake->slots[map.index][DATA], 0);

	KUNIT_EXPECT_EQ(test, fake_request(map), 0);
	KUNIT_EXPECT_EQ(test, fake_ctrl(map.index), 0);
	fake_free_irq(map);
}

/*
 * Queue memory
 */
static void queue_order(struct kunit *test)
{
	union msi_instance_cookie icookie = { .ptr = &fake->written };
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_queues(), 0);
	map = fake_alloc_irq(test, NULL);
	map = fake_alloc_irq(test, &icookie);
	KUNIT_EXPECT_FALSE(test, irqd_can_reserve(irq_get_irq_data(map.virq)));
	KUNIT_EXPECT_EQ(test, fake->written, 0);
	KUNIT_EXPECT_EQ(test, fake->activated, 0);

	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	KUNIT_EXPECT_EQ(test, fake->written, 1);
	KUNIT_EXPECT_EQ(test, fake->index, map.index);
	KUNIT_EXPECT_PTR_EQ(test, fake->icookie.ptr, icookie.ptr);
	KUNIT_EXPECT_EQ(test, fake->msg.data, fake_data(map.virq));

	fake_move(test, map);
	disable_irq(map.virq);
	enable_irq(map.virq);
	KUNIT_EXPECT_EQ(test, fake->written, 1);
	KUNIT_EXPECT_EQ(test, fake->taken, 0);

	fake_free_irq(map);
	KUNIT_EXPECT_EQ(test, fake->written, 1);
	KUNIT_EXPECT_EQ(test, fake->taken, 1);
	KUNIT_EXPECT_EQ(test, fake->index, map.index);
	pci_ims_free_irq(fake->pdev, map);
	KUNIT_EXPECT_EQ(test, fake->taken, 1);
}

static void queue_activation_fails(struct kunit *test)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_queues(), 0);
	map = fake_alloc_irq(test, NULL);
	fake->fail_activate = 1;
	KUNIT_EXPECT_EQ(test, fake_request(map), FAKE_ERR);
	KUNIT_EXPECT_EQ(test, fake->written, 0);
	KUNIT_EXPECT_EQ(test, fake->taken, 0);

	KUNIT_EXPECT_EQ(test, fake_request(map), 0);
	KUNIT_EXPECT_EQ(test, fake->written, 1);
	fake_free_irq(map);
	KUNIT_EXPECT_EQ(test, fake->taken, 1);
}

/**
 * struct slow_write - A device which takes its time to accept a message
 * @request:	Requests @slow
 * @others:	What others do meanwhile
 * @started:	The device has been told
 * @accepted:	It has accepted all messages
 * @done:	@others has got through
 * @slow:	The interrupt
 */
struct slow_write {
	struct work_struct	request;
	struct work_struct	others;
	struct completion	started;
	struct completion	accepted;
	struct completion	done;
	struct msi_map		slow;
};

static void fake_write_slowly(struct pci_dev *pdev, unsigned int index,
			      union msi_instance_cookie icookie, const struct msi_msg *msg)
{
	struct slow_write *s = icookie.ptr;

	complete(&s->started);
	wait_for_completion(&s->accepted);
}

static void fake_request_slow(struct work_struct *work)
{
	struct slow_write *s = container_of(work, struct slow_write, request);

	if (fake_request(s->slow))
		s->slow.virq = 0;
}

static void fake_alloc_other(struct work_struct *work)
{
	struct slow_write *s = container_of(work, struct slow_write, others);
	struct msi_map map = pci_ims_alloc_irq(fake->pdev, NULL, NULL);

	if (map.index < 0)
		return;

	pci_ims_free_irq(fake->pdev, map);
	complete(&s->done);
}

/* Allocation takes a mutex of all domains, so nobody must wait for the device then */
static void queue_slow(struct kunit *test)
{
	struct pci_ims_queue_store store = {
		.nr_queues = NR_SLOTS,
		.write_msg = fake_write_slowly,
	};
	struct slow_write *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	union msi_instance_cookie icookie = { .ptr = s };

	KUNIT_ASSERT_NOT_NULL(test, s);
	INIT_WORK(&s->request, fake_request_slow);
	INIT_WORK(&s->others, fake_alloc_other);
	init_completion(&s->started);
	init_completion(&s->accepted);
	init_completion(&s->done);

	KUNIT_ASSERT_EQ(test, pci_ims_queue_store_create(fake->pdev, &store), 0);
	s->slow = fake_alloc_irq(test, &icookie);

	queue_work(system_dfl_wq, &s->request);
	wait_for_completion(&s->started);
	queue_work(system_dfl_wq, &s->others);
	KUNIT_EXPECT_GT(test, wait_for_completion_timeout(&s->done, 5 * HZ), 0);

	complete_all(&s->accepted);
	flush_work(&s->request);
	flush_work(&s->others);
	KUNIT_ASSERT_GT(test, s->slow.virq, 0);
	fake_free_irq(s->slow);
}

static void queue_restored(struct kunit *test)
{
	struct msi_map map;

	KUNIT_ASSERT_EQ(test, fake_create_queues(), 0);
	map = fake_alloc_irq(test, NULL);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);

	/* Only the driver knows when */
	pci_restore_msi_state(fake->pdev);
	KUNIT_EXPECT_EQ(test, fake->written, 1);
	pci_ims_restore_irqs(fake->pdev);
	KUNIT_EXPECT_EQ(test, fake->written, 2);
	KUNIT_EXPECT_EQ(test, fake->msg.data, fake_data(map.virq));
	fake_free_irq(map);

	/* Without a message there is nothing to restore */
	pci_ims_restore_irqs(fake->pdev);
	KUNIT_EXPECT_EQ(test, fake->written, 2);
	KUNIT_EXPECT_EQ(test, fake->taken, 1);
}

/*
 * A store of the driver's own which cannot be masked
 */
static void no_mask_activates_early(struct kunit *test)
{
	struct msi_domain_template *template;
	struct msi_map map;

	template = kunit_kzalloc(test, sizeof(*template), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, template);
	template->chip.irq_write_msi_msg = fake_noop_write;
	template->info.flags = MSI_FLAG_STORE_NO_MASK;
	KUNIT_ASSERT_EQ(test, pci_create_ims_domain(fake->pdev, template, NR_SLOTS, NULL), 0);

	fake->fail_activate = 1;
	map = pci_ims_alloc_irq(fake->pdev, NULL, NULL);
	KUNIT_EXPECT_EQ(test, map.index, FAKE_ERR);
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);

	map = fake_alloc_irq(test, NULL);
	KUNIT_EXPECT_FALSE(test, irqd_can_reserve(irq_get_irq_data(map.virq)));
	KUNIT_EXPECT_EQ(test, fake->activated, 1);
	KUNIT_ASSERT_EQ(test, fake_request(map), 0);
	disable_irq(map.virq);
	enable_irq(map.virq);
	fake_free_irq(map);
}

/*
 * Allocation
 */
static void alloc_fails(struct kunit *test)
{
	struct msi_map map;

	map = pci_ims_alloc_irq(fake->pdev, NULL, NULL);
	KUNIT_EXPECT_EQ(test, map.index, -ENODEV);

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	fake->fail_alloc = 1;
	map = pci_ims_alloc_irq(fake->pdev, NULL, NULL);
	KUNIT_EXPECT_EQ(test, map.index, FAKE_ERR);
	KUNIT_EXPECT_EQ(test, map.virq, 0);

	/* The index is free again */
	map = fake_alloc_irq(test, NULL);
	KUNIT_EXPECT_EQ(test, map.index, 0);
}

static void alloc_managed(struct kunit *test)
{
	struct irq_affinity_desc affdesc = { .is_managed = 1 };
	struct msi_map map;

	cpumask_set_cpu(0, &affdesc.mask);
	KUNIT_ASSERT_EQ(test, fake_create_queues(), 0);
	map = pci_ims_alloc_irq(fake->pdev, NULL, &affdesc);
	KUNIT_EXPECT_EQ(test, map.index, -EINVAL);
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);
	pci_remove_ims_domain(fake->pdev);

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = pci_ims_alloc_irq(fake->pdev, NULL, &affdesc);
	KUNIT_ASSERT_EQ(test, map.index, 0);
	KUNIT_EXPECT_TRUE(test, irqd_affinity_is_managed(irq_get_irq_data(map.virq)));
}

static void free_bad_map(struct kunit *test)
{
	struct msi_map map, bad;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	map = fake_alloc_irq(test, NULL);
	kunit_warning_suppress(test) {
		bad = (struct msi_map) { .index = -ENOSPC, .virq = 0 };
		pci_ims_free_irq(fake->pdev, bad);
		bad = (struct msi_map) { .index = map.index, .virq = map.virq + 1 };
		pci_ims_free_irq(fake->pdev, bad);
		bad = (struct msi_map) { .index = map.index + 1, .virq = map.virq };
		pci_ims_free_irq(fake->pdev, bad);
		bad = (struct msi_map) { .index = 65536, .virq = map.virq };
		pci_ims_free_irq(fake->pdev, bad);
	}
	KUNIT_EXPECT_EQ(test, fake->allocated, 1);
	KUNIT_EXPECT_EQ(test, fake_request(map), 0);
	fake_free_irq(map);
}

/* Each of the allocations fails in turn */
static void batch_fails(struct kunit *test)
{
	struct irq_affinity affd = { };
	struct msi_map maps[NR_SLOTS];
	unsigned int nth;

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	for (nth = 1; nth <= NR_SLOTS; nth++) {
		fake->fail_alloc = nth;
		KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, NR_SLOTS, NULL, &affd,
							 true), FAKE_ERR);
		KUNIT_EXPECT_EQ(test, fake->allocated, 0);
		KUNIT_EXPECT_EQ(test, fake->fail_alloc, 0);
	}
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, NR_SLOTS, NULL, &affd, true), 0);
	pci_ims_free_irqs(fake->pdev, maps, NR_SLOTS);
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);
}

static void batch_too_large(struct kunit *test)
{
	struct msi_map maps[NR_SLOTS + 1];

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, NR_SLOTS + 1, NULL, NULL, false),
			-ENOSPC);
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 0, NULL, NULL, false), -EINVAL);
}

static void expect_batch(struct kunit *test, bool managed)
{
	union msi_instance_cookie icookies[4] = {};
	struct irq_affinity affd = { .pre_vectors = 1 };
	struct msi_map maps[4];
	struct irq_data *data;
	unsigned int i;

	for (i = 0; i < 4; i++)
		icookies[i] = pci_ims_pasid_cookie(i);
	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	KUNIT_ASSERT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 4, icookies, &affd, managed), 0);
	for (i = 0; i < 4; i++) {
		data = irq_get_irq_data(maps[i].virq);
		/* There is nothing to manage on a kernel for a single CPU */
		KUNIT_EXPECT_EQ(test, irqd_affinity_is_managed(data),
				IS_ENABLED(CONFIG_SMP) && managed && i);
		KUNIT_EXPECT_EQ(test, irq_data_get_msi_desc(data)->data.icookie.value,
				icookies[i].value);
	}
	/* All CPUs for the first one, a part of them for each of the others */
	if (num_possible_cpus() > 1)
		KUNIT_EXPECT_LT(test, cpumask_weight(irq_get_affinity_mask(maps[1].virq)),
				num_possible_cpus());
	pci_ims_free_irqs(fake->pdev, maps, 4);
}

static void batch_spread(struct kunit *test)
{
	expect_batch(test, false);
}

static void batch_managed(struct kunit *test)
{
	expect_batch(test, true);
}

static void batch_managed_queues(struct kunit *test)
{
	struct irq_affinity affd = { };
	struct msi_map maps[2];

	KUNIT_ASSERT_EQ(test, fake_create_queues(), 0);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 2, NULL, &affd, true), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 2, NULL, &affd, false), 0);
}

/* All of them are excluded from spreading */
static void batch_nothing_to_spread(struct kunit *test)
{
	struct irq_affinity affd = { .pre_vectors = 2, .post_vectors = 2 };
	struct msi_map maps[4];
	unsigned int i;

	KUNIT_ASSERT_EQ(test, fake_create_queues(), 0);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 4, NULL, &affd, true), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 4, NULL, &affd, false), 0);
	pci_remove_ims_domain(fake->pdev);

	KUNIT_ASSERT_EQ(test, fake_create_slots(), 0);
	KUNIT_ASSERT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 4, NULL, &affd, true), 0);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_FALSE(test, irqd_affinity_is_managed(irq_get_irq_data(maps[i].virq)));
	pci_ims_free_irqs(fake->pdev, maps, 4);
	KUNIT_EXPECT_EQ(test, pci_ims_alloc_irqs(fake->pdev, maps, 2, NULL, &affd, false), 0);
}

/*
 * Lifetime
 */
static void managed_domains_go(struct kunit *test)
{
	struct pci_ims_slot_array array = fake_array();

	KUNIT_ASSERT_EQ(test, pcim_ims_slot_array_create(fake->pdev, &array), 0);
	pci_remove_ims_domain(fake->pdev);
	KUNIT_ASSERT_EQ(test, pcim_ims_queue_store_create(fake->pdev, &fake_queues), 0);
	pci_remove_ims_domain(fake->pdev);
	KUNIT_ASSERT_EQ(test, pcim_ims_slot_array_create(fake->pdev, &array), 0);
	fake_alloc_irq(test, NULL);
	fake_alloc_irq(test, NULL);

	fake_remove_device();
	KUNIT_EXPECT_EQ(test, fake->allocated, 0);
}

static struct kunit_case pci_ims_cases[] = {
	KUNIT_CASE(create_unsupported),
	KUNIT_CASE(create_invalid_slots),
	KUNIT_CASE(create_invalid_queues),
	KUNIT_CASE(create_twice),
	KUNIT_CASE(create_invalid_template),
	KUNIT_CASE(slots_masked_at_creation),
	KUNIT_CASE(slot_order),
	KUNIT_CASE(slot_rewritten),
	KUNIT_CASE(slot_pasid),
	KUNIT_CASE(slot_pasid_invalid),
	KUNIT_CASE(slots_restored),
	KUNIT_CASE(slot_powered_down),
	KUNIT_CASE(slot_freed_powered_down),
	KUNIT_CASE(restore_without_slots),
	KUNIT_CASE(slot_removed),
	KUNIT_CASE(slot_reserved),
	KUNIT_CASE(slot_activation_fails),
	KUNIT_CASE(queue_order),
	KUNIT_CASE(queue_activation_fails),
	KUNIT_CASE(queue_slow),
	KUNIT_CASE(queue_restored),
	KUNIT_CASE(no_mask_activates_early),
	KUNIT_CASE(alloc_fails),
	KUNIT_CASE(alloc_managed),
	KUNIT_CASE(free_bad_map),
	KUNIT_CASE(batch_fails),
	KUNIT_CASE(batch_too_large),
	KUNIT_CASE(batch_spread),
	KUNIT_CASE(batch_managed),
	KUNIT_CASE(batch_managed_queues),
	KUNIT_CASE(batch_nothing_to_spread),
	KUNIT_CASE(managed_domains_go),
	{}
};

static struct kunit_suite pci_ims_suite = {
	.name		= "pci_ims",
	.init		= fake_init,
	.exit		= fake_exit,
	.test_cases	= pci_ims_cases,
};

kunit_test_suite(pci_ims_suite);
