/*
 * pci-ims: a PCIe endpoint whose interrupt messages live in a store of its own
 *
 * A test bench device for interrupt message stores (IMS). It has an array of
 * slots, each with an address, data and a mask, next to an ordinary MSI-X
 * table, and it emits messages from both on request. pci-ims-regs.h describes
 * what software sees; this file says only how it is done.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/qdev-properties.h"
#include "hw/resettable.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qom/object.h"
#include "trace.h"
#include "pci-ims-regs.h"

#define TYPE_PCI_IMS "pci-ims"
OBJECT_DECLARE_SIMPLE_TYPE(PCIIMSState, PCI_IMS)

#define PCI_IMS_SLOTS_SIZE  (PCI_IMS_MAX_SLOTS * PCI_IMS_SLOT_SIZE)

/* The only extended capability */
#define PCI_IMS_SRIOV_CAP   PCI_CONFIG_SPACE_SIZE

#define PCI_IMS_BAR_TYPE \
    (PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_64)

#define PCI_IMS_CTRL_OWNER  (PCI_IMS_CTRL_PASID_EN | PCI_IMS_CTRL_PASID)
#define PCI_IMS_CTRL_RW     (PCI_IMS_CTRL_MASK | PCI_IMS_CTRL_OWNER)

/*
 * One slot, queue or MSI-X entry. The message of a queue is in memory, message
 * and mask of an entry are in the table.
 */
typedef struct PCIIMSSource {
    uint32_t addr_lo;
    uint32_t addr_hi;
    uint32_t data;
    uint32_t ctrl;

    bool pending;           /* a raw event waits for unmask */
    bool stopped;           /* a paced message was lost */
    uint32_t queued;
    uint32_t unacked;

    uint32_t sent;
    uint32_t held;
    uint32_t dropped;
    uint32_t spurious;
    uint32_t writes;
    uint32_t ctrl_writes;
    uint32_t torn;
    uint32_t refused;
} PCIIMSSource;

struct PCIIMSState {
    PCIDevice parent_obj;

    MemoryRegion regs;
    MemoryRegion slots;
    MemoryRegion msix_bar;

    PCIIMSSource *slot_src;
    PCIIMSSource *queue_src; /* in the same array, behind the slots */
    PCIIMSSource *msix_src; /* behind the queues */

    uint32_t nslots;
    uint32_t nmsix;
    uint32_t nvfs;
    bool pm;
    bool pm_reset;
    bool pin;
    uint32_t invalid;
    uint32_t resets;

    uint32_t queue_base_lo;
    uint32_t queue_base_hi;
    uint32_t queue_count;

    uint32_t trig_first;
    uint32_t trig_count;
    uint32_t trig_times;
    uint32_t trig_pasid;
    uint32_t sel;

    uint32_t all_sent;
    uint32_t all_queued;    /* the sum of queued, kept exact */
    uint32_t all_spurious;
    uint32_t all_torn;
    uint32_t all_writes;
};

/*
 * A message is a DMA write, and software chooses its address: it may hit the
 * registers of another pci-ims. True while a message of any of them is on its
 * way, so that PCI_IMS_TRIG_GO can refuse to multiply messages by messages.
 * Protected by the BQL, as all of this file.
 */
static bool pci_ims_sending;

/* Sources */

/* All sources of the kind that number is of, and how many they are. */
static PCIIMSSource *pci_ims_sources(PCIIMSState *s, uint32_t number,
                                     uint32_t *size)
{
    switch (number & PCI_IMS_SRC_KIND) {
    case 0:
        *size = s->nslots;
        return s->slot_src;
    case PCI_IMS_SRC_QUEUE:
        *size = s->nslots;
        return s->queue_src;
    case PCI_IMS_SRC_MSIX:
        *size = s->nmsix;
        return s->msix_src;
    default:
        *size = 0;
        return NULL;
    }
}

/* The first of count sources, NULL if not all of them exist. */
static PCIIMSSource *pci_ims_source_range(PCIIMSState *s, uint32_t number,
                                          uint32_t count)
{
    uint32_t index = number & ~PCI_IMS_SRC_KIND;
    uint32_t size;
    PCIIMSSource *src = pci_ims_sources(s, number, &size);

    return (uint64_t)index + count <= size ? &src[index] : NULL;
}

static PCIIMSSource *pci_ims_source(PCIIMSState *s, uint32_t number)
{
    return pci_ims_source_range(s, number, 1);
}

static bool pci_ims_is_msix(PCIIMSState *s, PCIIMSSource *src)
{
    return src >= s->msix_src;
}

static bool pci_ims_is_queue(PCIIMSState *s, PCIIMSSource *src)
{
    return src >= s->queue_src && src < s->msix_src;
}

static unsigned int pci_ims_msix_vector(PCIIMSState *s, PCIIMSSource *src)
{
    return src - s->msix_src;
}

static uint32_t pci_ims_number(PCIIMSState *s, PCIIMSSource *src)
{
    if (pci_ims_is_msix(s, src)) {
        return pci_ims_msix_vector(s, src) | PCI_IMS_SRC_MSIX;
    }
    if (pci_ims_is_queue(s, src)) {
        return (src - s->queue_src) | PCI_IMS_SRC_QUEUE;
    }
    return src - s->slot_src;
}

static bool pci_ims_masked(PCIIMSState *s, PCIIMSSource *src)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (!pci_ims_is_msix(s, src)) {
        /* The one of a queue stays zero: neither mask nor owner. */
        return src->ctrl & PCI_IMS_CTRL_MASK;
    }
    /* With MSI-X off nothing waits for an unmask: messages are dropped. */
    return msix_enabled(pdev) &&
           msix_is_masked(pdev, pci_ims_msix_vector(s, src));
}

static void pci_ims_set_pending(PCIIMSState *s, PCIIMSSource *src)
{
    src->pending = true;
    if (pci_ims_is_msix(s, src)) {
        msix_set_pending(PCI_DEVICE(s), pci_ims_msix_vector(s, src));
    }
}

static void pci_ims_clear_pending(PCIIMSState *s, PCIIMSSource *src)
{
    src->pending = false;
    if (pci_ims_is_msix(s, src)) {
        msix_clr_pending(PCI_DEVICE(s), pci_ims_msix_vector(s, src));
    }
}

/* Messages */

static bool pci_ims_can_send(PCIIMSState *s, PCIIMSSource *src)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (!(pci_get_word(pdev->config + PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        return false;
    }
    return !pci_ims_is_msix(s, src) || msix_enabled(pdev);
}

static bool pci_ims_queue_message(PCIIMSState *s, PCIIMSSource *src,
                                  MSIMessage *msg)
{
    uint64_t base = (uint64_t)s->queue_base_hi << 32 | s->queue_base_lo;
    uint32_t index = src - s->queue_src;
    uint8_t context[PCI_IMS_QUEUE_SIZE];

    if (index >= s->queue_count ||
        pci_dma_read(PCI_DEVICE(s), base + index * PCI_IMS_QUEUE_SIZE,
                     context, sizeof(context)) != MEMTX_OK ||
        !(ldl_le_p(context + PCI_IMS_QUEUE_CTRL) & PCI_IMS_QUEUE_VALID)) {
        return false;
    }

    msg->address = ldq_le_p(context + PCI_IMS_QUEUE_ADDR_LO);
    msg->data = ldl_le_p(context + PCI_IMS_QUEUE_DATA);
    return true;
}

/* False if there is none. */
static bool pci_ims_message(PCIIMSState *s, PCIIMSSource *src, MSIMessage *msg)
{
    if (pci_ims_is_queue(s, src)) {
        return pci_ims_queue_message(s, src, msg);
    }

    if (pci_ims_is_msix(s, src)) {
        *msg = msix_get_message(PCI_DEVICE(s), pci_ims_msix_vector(s, src));
    } else {
        msg->address = (uint64_t)src->addr_hi << 32 | src->addr_lo;
        msg->data = src->data;
    }
    return true;
}

/* Emit one message; false if it could not leave. */
static bool pci_ims_send(PCIIMSState *s, PCIIMSSource *src)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint32_t number = pci_ims_number(s, src);
    bool nested = pci_ims_sending;
    MSIMessage msg;

    if (!pci_ims_can_send(s, src) || !pci_ims_message(s, src, &msg)) {
        trace_pci_ims_drop(pci_requester_id(pdev), number);
        src->dropped++;
        return false;
    }

    /* Count first: the message may come back and read the counters. */
    src->sent++;
    src->unacked++;
    s->all_sent++;

    trace_pci_ims_send(pci_requester_id(pdev), number, msg.address, msg.data);
    pci_ims_sending = true;
    msi_send_message(pdev, msg);
    pci_ims_sending = nested;
    return true;
}

/*
 * Emit the next paced message if its turn has come. Never more than one: after
 * it the source waits for the acknowledgement, or is stopped.
 */
static void pci_ims_send_paced(PCIIMSState *s, PCIIMSSource *src)
{
    if (!src->queued || src->unacked || src->stopped ||
        pci_ims_masked(s, src)) {
        return;
    }

    src->queued--;
    s->all_queued--;
    src->stopped = !pci_ims_send(s, src);
}

static void pci_ims_raw_event(PCIIMSState *s, PCIIMSSource *src)
{
    if (pci_ims_masked(s, src)) {
        src->held++;
        pci_ims_set_pending(s, src);
    } else {
        pci_ims_send(s, src);
    }
}

static void pci_ims_unmasked(PCIIMSState *s, PCIIMSSource *src)
{
    if (src->pending) {
        pci_ims_clear_pending(s, src);
        pci_ims_send(s, src);
    }
    pci_ims_send_paced(s, src);
}

/* Called before QEMU's own look at the pending bit, and leaves it clear. */
static int pci_ims_msix_unmasked(PCIDevice *pdev, unsigned int vector,
                                 MSIMessage msg)
{
    PCIIMSState *s = PCI_IMS(pdev);

    pci_ims_unmasked(s, &s->msix_src[vector]);
    return 0;
}

static void pci_ims_msix_masked(PCIDevice *pdev, unsigned int vector)
{
    /* Events look at the mask themselves, but QEMU wants both notifiers. */
}

/* Commands */

/* An event for a PASID is for nobody but the owner. */
static bool pci_ims_refuse(PCIIMSState *s, PCIIMSSource *src, uint32_t pasid,
                           uint32_t times)
{
    bool owner = !pci_ims_is_msix(s, src) &&
                 (src->ctrl & PCI_IMS_CTRL_OWNER) == pasid;

    if (owner || !(pasid & PCI_IMS_CTRL_PASID_EN)) {
        return false;
    }
    src->refused += times;
    return true;
}

static bool pci_ims_trigger_raw(PCIIMSState *s, PCIIMSSource *first)
{
    uint64_t events = (uint64_t)s->trig_count * s->trig_times;
    uint32_t pasid = s->trig_pasid;
    uint32_t times = s->trig_times;
    uint32_t count = s->trig_count;

    if (events > PCI_IMS_MAX_RAW) {
        return false;
    }

    for (uint32_t i = 0; i < times; i++) {
        for (uint32_t j = 0; j < count; j++) {
            if (!pci_ims_refuse(s, &first[j], pasid, 1)) {
                pci_ims_raw_event(s, &first[j]);
            }
        }
    }
    return true;
}

static bool pci_ims_trigger_paced(PCIIMSState *s, PCIIMSSource *first)
{
    uint64_t events = (uint64_t)s->trig_count * s->trig_times;
    uint32_t pasid = s->trig_pasid;
    uint32_t times = s->trig_times;
    uint32_t count = s->trig_count;

    /* No queue can overflow while their sum does not. */
    if (events + s->all_queued > UINT32_MAX) {
        return false;
    }

    for (uint32_t j = 0; j < count; j++) {
        if (pci_ims_refuse(s, &first[j], pasid, times)) {
            continue;
        }
        first[j].queued += times;
        s->all_queued += times;
        pci_ims_send_paced(s, &first[j]);
    }
    return true;
}

static bool pci_ims_trigger(PCIIMSState *s, uint32_t how)
{
    PCIIMSSource *first = pci_ims_source_range(s, s->trig_first, s->trig_count);

    if (!first || !s->trig_count || !s->trig_times || pci_ims_sending) {
        return false;
    }

    switch (how) {
    case PCI_IMS_GO_RAW:
        return pci_ims_trigger_raw(s, first);
    case PCI_IMS_GO_PACED:
        return pci_ims_trigger_paced(s, first);
    default:
        return false;
    }
}

static bool pci_ims_ack(PCIIMSState *s, uint32_t number)
{
    PCIIMSSource *src = pci_ims_source(s, number);

    if (!src) {
        return false;
    }

    if (!src->unacked) {
        src->spurious++;
        s->all_spurious++;
    } else {
        src->unacked--;
        pci_ims_send_paced(s, src);
    }
    return true;
}

static bool pci_ims_clear(PCIIMSState *s)
{
    PCIIMSSource *src = pci_ims_source(s, s->sel);

    if (!src) {
        return false;
    }

    pci_ims_clear_pending(s, src);
    s->all_queued -= src->queued;
    src->queued = 0;
    src->unacked = 0;
    src->stopped = false;
    src->sent = 0;
    src->held = 0;
    src->dropped = 0;
    src->spurious = 0;
    src->writes = 0;
    src->ctrl_writes = 0;
    src->torn = 0;
    src->refused = 0;
    return true;
}

static void pci_ims_invalid(PCIIMSState *s, int bar, hwaddr addr,
                            unsigned size)
{
    trace_pci_ims_invalid(pci_requester_id(PCI_DEVICE(s)), bar, addr, size);
    s->invalid++;
}

/* BAR 0 */

static const uint32_t *pci_ims_counter(PCIIMSState *s, hwaddr addr)
{
    PCIIMSSource *src = pci_ims_source(s, s->sel);

    if (!src) {
        return NULL;
    }

    switch (addr) {
    case PCI_IMS_SENT:
        return &src->sent;
    case PCI_IMS_HELD:
        return &src->held;
    case PCI_IMS_DROPPED:
        return &src->dropped;
    case PCI_IMS_QUEUED:
        return &src->queued;
    case PCI_IMS_UNACKED:
        return &src->unacked;
    case PCI_IMS_SPURIOUS:
        return &src->spurious;
    case PCI_IMS_WRITES:
        return &src->writes;
    case PCI_IMS_CTRL_WRITES:
        return &src->ctrl_writes;
    case PCI_IMS_TORN:
        return &src->torn;
    case PCI_IMS_REFUSED:
        return &src->refused;
    default:
        return NULL;
    }
}

/* The register at addr, NULL if there is none that can be read. */
static const uint32_t *pci_ims_reg(PCIIMSState *s, hwaddr addr)
{
    static const uint32_t id = PCI_IMS_ID_VALUE;

    switch (addr) {
    case PCI_IMS_ID:
        return &id;
    case PCI_IMS_NSLOTS:
        return &s->nslots;
    case PCI_IMS_NMSIX:
        return &s->nmsix;
    case PCI_IMS_INVALID:
        return &s->invalid;
    case PCI_IMS_RESETS:
        return &s->resets;
    case PCI_IMS_QUEUE_BASE_LO:
        return &s->queue_base_lo;
    case PCI_IMS_QUEUE_BASE_HI:
        return &s->queue_base_hi;
    case PCI_IMS_QUEUE_COUNT:
        return &s->queue_count;
    case PCI_IMS_TRIG_FIRST:
        return &s->trig_first;
    case PCI_IMS_TRIG_COUNT:
        return &s->trig_count;
    case PCI_IMS_TRIG_TIMES:
        return &s->trig_times;
    case PCI_IMS_TRIG_PASID:
        return &s->trig_pasid;
    case PCI_IMS_ALL_SENT:
        return &s->all_sent;
    case PCI_IMS_ALL_QUEUED:
        return &s->all_queued;
    case PCI_IMS_ALL_SPURIOUS:
        return &s->all_spurious;
    case PCI_IMS_ALL_TORN:
        return &s->all_torn;
    case PCI_IMS_ALL_WRITES:
        return &s->all_writes;
    case PCI_IMS_SEL:
        return &s->sel;
    default:
        return pci_ims_counter(s, addr);
    }
}

static bool pci_ims_set_queue_count(PCIIMSState *s, uint32_t count)
{
    if (count > s->nslots) {
        return false;
    }
    s->queue_count = count;
    return true;
}

static bool pci_ims_reg_write(PCIIMSState *s, hwaddr addr, uint32_t val)
{
    switch (addr) {
    case PCI_IMS_QUEUE_BASE_LO:
        s->queue_base_lo = val & ~(PCI_IMS_QUEUE_SIZE - 1);
        return true;
    case PCI_IMS_QUEUE_BASE_HI:
        s->queue_base_hi = val;
        return true;
    case PCI_IMS_QUEUE_COUNT:
        return pci_ims_set_queue_count(s, val);
    case PCI_IMS_TRIG_FIRST:
        s->trig_first = val;
        return true;
    case PCI_IMS_TRIG_COUNT:
        s->trig_count = val;
        return true;
    case PCI_IMS_TRIG_TIMES:
        s->trig_times = val;
        return true;
    case PCI_IMS_TRIG_PASID:
        s->trig_pasid = val & PCI_IMS_CTRL_OWNER;
        return true;
    case PCI_IMS_SEL:
        s->sel = val;
        return true;
    case PCI_IMS_TRIG_GO:
        return pci_ims_trigger(s, val);
    case PCI_IMS_ACK:
        return pci_ims_ack(s, val);
    case PCI_IMS_CLEAR:
        return pci_ims_clear(s);
    default:
        return false;
    }
}

static uint64_t pci_ims_regs_mmio_read(void *opaque, hwaddr addr,
                                       unsigned size)
{
    PCIIMSState *s = opaque;
    const uint32_t *reg = size == 4 ? pci_ims_reg(s, addr) : NULL;

    if (!reg) {
        pci_ims_invalid(s, PCI_IMS_BAR_REGS, addr, size);
        return 0;
    }
    return *reg;
}

static void pci_ims_regs_mmio_write(void *opaque, hwaddr addr, uint64_t val,
                                    unsigned size)
{
    PCIIMSState *s = opaque;

    if (size != 4 || !pci_ims_reg_write(s, addr, val)) {
        pci_ims_invalid(s, PCI_IMS_BAR_REGS, addr, size);
    }
}

/* BAR 2 */

static bool pci_ims_slot_access_ok(PCIIMSState *s, hwaddr addr, unsigned size)
{
    return (size == 4 || size == 8) && QEMU_IS_ALIGNED(addr, size) &&
           addr / PCI_IMS_SLOT_SIZE < s->nslots;
}

static uint32_t pci_ims_slot_read(PCIIMSState *s, hwaddr addr)
{
    PCIIMSSource *src = &s->slot_src[addr / PCI_IMS_SLOT_SIZE];

    switch (addr % PCI_IMS_SLOT_SIZE) {
    case PCI_IMS_SLOT_ADDR_LO:
        return src->addr_lo;
    case PCI_IMS_SLOT_ADDR_HI:
        return src->addr_hi;
    case PCI_IMS_SLOT_DATA:
        return src->data;
    case PCI_IMS_SLOT_CTRL:
        return src->ctrl | (src->pending ? PCI_IMS_CTRL_PENDING : 0);
    default:
        g_assert_not_reached();
    }
}

static void pci_ims_slot_write_ctrl(PCIIMSState *s, PCIIMSSource *src,
                                    uint32_t val)
{
    src->ctrl_writes++;
    src->ctrl = val & PCI_IMS_CTRL_RW;
    if (!pci_ims_masked(s, src)) {
        pci_ims_unmasked(s, src);
    }
}

static void pci_ims_slot_write_message(PCIIMSState *s, PCIIMSSource *src,
                                       uint32_t *word, uint32_t val)
{
    src->writes++;
    s->all_writes++;
    if (!pci_ims_masked(s, src)) {
        src->torn++;
        s->all_torn++;
    }
    *word = val;
}

static void pci_ims_slot_write(PCIIMSState *s, hwaddr addr, uint32_t val)
{
    PCIIMSSource *src = &s->slot_src[addr / PCI_IMS_SLOT_SIZE];

    switch (addr % PCI_IMS_SLOT_SIZE) {
    case PCI_IMS_SLOT_ADDR_LO:
        pci_ims_slot_write_message(s, src, &src->addr_lo, val);
        break;
    case PCI_IMS_SLOT_ADDR_HI:
        pci_ims_slot_write_message(s, src, &src->addr_hi, val);
        break;
    case PCI_IMS_SLOT_DATA:
        pci_ims_slot_write_message(s, src, &src->data, val);
        break;
    case PCI_IMS_SLOT_CTRL:
        pci_ims_slot_write_ctrl(s, src, val);
        break;
    default:
        g_assert_not_reached();
    }
}

static uint64_t pci_ims_slots_mmio_read(void *opaque, hwaddr addr,
                                        unsigned size)
{
    PCIIMSState *s = opaque;
    uint64_t val;

    if (!pci_ims_slot_access_ok(s, addr, size)) {
        pci_ims_invalid(s, PCI_IMS_BAR_SLOTS, addr, size);
        return 0;
    }

    val = pci_ims_slot_read(s, addr);
    if (size == 8) {
        val |= (uint64_t)pci_ims_slot_read(s, addr + 4) << 32;
    }
    return val;
}

static void pci_ims_slots_mmio_write(void *opaque, hwaddr addr, uint64_t val,
                                     unsigned size)
{
    PCIIMSState *s = opaque;

    if (!pci_ims_slot_access_ok(s, addr, size)) {
        pci_ims_invalid(s, PCI_IMS_BAR_SLOTS, addr, size);
        return;
    }

    pci_ims_slot_write(s, addr, val);
    if (size == 8) {
        pci_ims_slot_write(s, addr + 4, val >> 32);
    }
}

/* Every access comes through as it is, so that the invalid ones are counted. */
#define PCI_IMS_ANY_ACCESS \
    { .min_access_size = 1, .max_access_size = 8, .unaligned = true }

static const MemoryRegionOps pci_ims_regs_ops = {
    .read = pci_ims_regs_mmio_read,
    .write = pci_ims_regs_mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = PCI_IMS_ANY_ACCESS,
    .impl = PCI_IMS_ANY_ACCESS,
};

static const MemoryRegionOps pci_ims_slots_ops = {
    .read = pci_ims_slots_mmio_read,
    .write = pci_ims_slots_mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = PCI_IMS_ANY_ACCESS,
    .impl = PCI_IMS_ANY_ACCESS,
};

/* The device */

static bool pci_ims_in_d3(PCIDevice *pdev)
{
    return PCI_IMS(pdev)->pm &&
           (pdev->config[pdev->pm_cap + PCI_PM_CTRL] &
            PCI_PM_CTRL_STATE_MASK) == 3;
}

static void pci_ims_write_config(PCIDevice *pdev, uint32_t addr, uint32_t val,
                                 int len)
{
    bool was_in_d3 = pci_ims_in_d3(pdev);

    pci_default_write_config(pdev, addr, val, len);
    pcie_cap_flr_write_config(pdev, addr, val, len);
    if (PCI_IMS(pdev)->pm_reset && was_in_d3 && !pci_ims_in_d3(pdev)) {
        pci_device_reset(pdev);
    }
}

static uint32_t pci_ims_nr_sources(PCIIMSState *s)
{
    return 2 * s->nslots + s->nmsix;
}

/* MSI-X, configuration space and virtual functions are reset by the PCI core. */
static void pci_ims_reset_hold(Object *obj, ResetType type)
{
    PCIIMSState *s = PCI_IMS(obj);

    trace_pci_ims_reset(pci_requester_id(PCI_DEVICE(s)));
    s->resets++;

    memset(s->slot_src, 0, pci_ims_nr_sources(s) * sizeof(*s->slot_src));
    for (uint32_t i = 0; i < s->nslots; i++) {
        s->slot_src[i].ctrl = PCI_IMS_CTRL_MASK;
    }

    s->queue_base_lo = 0;
    s->queue_base_hi = 0;
    s->queue_count = 0;

    s->trig_first = 0;
    s->trig_count = 0;
    s->trig_times = 0;
    s->trig_pasid = 0;
    s->sel = 0;

    s->all_sent = 0;
    s->all_queued = 0;
    s->all_spurious = 0;
    s->all_torn = 0;
    s->all_writes = 0;
}

static bool pci_ims_check_properties(PCIIMSState *s, Error **errp)
{
    if (s->nslots < 1 || s->nslots > PCI_IMS_MAX_SLOTS) {
        error_setg(errp, "slots must be 1 to %d", PCI_IMS_MAX_SLOTS);
        return false;
    }
    if (s->nmsix > PCI_IMS_MAX_MSIX) {
        error_setg(errp, "msix must be 0 to %d", PCI_IMS_MAX_MSIX);
        return false;
    }
    if (s->nvfs > PCI_IMS_MAX_VFS) {
        error_setg(errp, "vfs must be 0 to %d", PCI_IMS_MAX_VFS);
        return false;
    }
    if (s->nvfs && PCI_FUNC(PCI_DEVICE(s)->devfn)) {
        error_setg(errp, "vfs needs function 0");
        return false;
    }
    if (s->pm_reset && !s->pm) {
        error_setg(errp, "pm-reset needs pm");
        return false;
    }
    return true;
}

/* A virtual function is like the physical one, without further ones. */
static void pci_ims_inherit_properties(PCIIMSState *s)
{
    PCIIMSState *pf = PCI_IMS(pcie_sriov_get_pf(PCI_DEVICE(s)));

    s->nslots = pf->nslots;
    s->nmsix = pf->nmsix;
    s->nvfs = 0;
    s->pm = false;
    s->pm_reset = false;
    s->pin = false;
}

/* The virtual functions are the next functions of the same slot: no ARI. */
static bool pci_ims_init_sriov(PCIIMSState *s, Error **errp)
{
    if (!s->nvfs) {
        return true;
    }
    return pcie_sriov_pf_init(PCI_DEVICE(s), PCI_IMS_SRIOV_CAP, TYPE_PCI_IMS,
                              PCI_IMS_DEVICE_ID, s->nvfs, s->nvfs, 1, 1, errp);
}

static void pci_ims_register_bar(PCIIMSState *s, int bar, MemoryRegion *region)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    pci_register_bar(pdev, bar, PCI_IMS_BAR_TYPE, region);
    if (s->nvfs) {
        pcie_sriov_pf_init_vf_bar(pdev, bar, PCI_IMS_BAR_TYPE,
                                  memory_region_size(region));
    }
}

/* With msix=0 there is no capability and no BAR: IMS is all there is. */
static bool pci_ims_init_msix(PCIIMSState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (!s->nmsix) {
        return true;
    }

    memory_region_init(&s->msix_bar, OBJECT(s), "pci-ims-msix",
                       PCI_IMS_MSIX_SIZE);
    if (msix_init(pdev, s->nmsix, &s->msix_bar, PCI_IMS_BAR_MSIX, 0,
                  &s->msix_bar, PCI_IMS_BAR_MSIX, PCI_IMS_MSIX_PBA,
                  0, errp)) {
        return false;
    }
    pci_ims_register_bar(s, PCI_IMS_BAR_MSIX, &s->msix_bar);
    msix_set_vector_notifiers(pdev, pci_ims_msix_unmasked,
                              pci_ims_msix_masked, NULL);
    return true;
}

static void pci_ims_init_bars(PCIIMSState *s)
{
    memory_region_init_io(&s->regs, OBJECT(s), &pci_ims_regs_ops, s,
                          "pci-ims-regs", PCI_IMS_REGS_SIZE);
    pci_ims_register_bar(s, PCI_IMS_BAR_REGS, &s->regs);

    memory_region_init_io(&s->slots, OBJECT(s), &pci_ims_slots_ops, s,
                          "pci-ims-slots", PCI_IMS_SLOTS_SIZE);
    pci_ims_register_bar(s, PCI_IMS_BAR_SLOTS, &s->slots);
}

/*
 * In D3hot its registers cannot be accessed. It keeps its state there, or is reset
 * when it comes back.
 */
static bool pci_ims_init_pm(PCIIMSState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    int cap;

    if (!s->pm) {
        return true;
    }
    cap = pci_pm_init(pdev, 0, errp);
    if (cap < 0) {
        return false;
    }
    pci_set_word(pdev->config + cap + PCI_PM_PMC, 3);
    if (!s->pm_reset) {
        pci_set_word(pdev->config + cap + PCI_PM_CTRL,
                     PCI_PM_CTRL_NO_SOFT_RESET);
    }
    pci_set_word(pdev->wmask + cap + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    return true;
}

static void pci_ims_realize(PCIDevice *pdev, Error **errp)
{
    PCIIMSState *s = PCI_IMS(pdev);

    if (pci_is_vf(pdev)) {
        pci_ims_inherit_properties(s);
    } else if (!pci_ims_check_properties(s, errp)) {
        return;
    }
    if (s->pin) {
        pci_config_set_interrupt_pin(pdev->config, 1);
    }
    if (pcie_endpoint_cap_init(pdev, 0) < 0) {
        error_setg(errp, "no room for the PCI Express capability");
        return;
    }
    pcie_cap_flr_init(pdev);

    if (!pci_ims_init_pm(s, errp)) {
        pcie_cap_exit(pdev);
        return;
    }
    if (!pci_ims_init_sriov(s, errp)) {
        pcie_cap_exit(pdev);
        return;
    }
    if (!pci_ims_init_msix(s, errp)) {
        pcie_sriov_pf_exit(pdev);
        pcie_cap_exit(pdev);
        return;
    }
    pci_ims_init_bars(s);

    /* The reset at power on is not counted. */
    s->resets = UINT32_MAX;
    s->slot_src = g_new0(PCIIMSSource, pci_ims_nr_sources(s));
    s->queue_src = s->slot_src + s->nslots;
    s->msix_src = s->queue_src + s->nslots;
}

static void pci_ims_exit(PCIDevice *pdev)
{
    PCIIMSState *s = PCI_IMS(pdev);

    if (s->nmsix) {
        msix_unset_vector_notifiers(pdev);
        msix_uninit(pdev, &s->msix_bar, &s->msix_bar);
    }
    pcie_sriov_pf_exit(pdev);
    pcie_cap_exit(pdev);
}

/* Not on exit: an access that is under way may still come to the BARs then. */
static void pci_ims_finalize(Object *obj)
{
    PCIIMSState *s = PCI_IMS(obj);

    g_free(s->slot_src);
}

static const Property pci_ims_properties[] = {
    DEFINE_PROP_UINT32("slots", PCIIMSState, nslots, 64),
    DEFINE_PROP_UINT32("msix", PCIIMSState, nmsix, 8),
    DEFINE_PROP_UINT32("vfs", PCIIMSState, nvfs, 0),
    DEFINE_PROP_BOOL("pm", PCIIMSState, pm, false),
    DEFINE_PROP_BOOL("pm-reset", PCIIMSState, pm_reset, false),
    DEFINE_PROP_BOOL("pin", PCIIMSState, pin, false),
};

static const VMStateDescription pci_ims_vmstate = {
    .name = TYPE_PCI_IMS,
    .unmigratable = 1,
};

static void pci_ims_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(class);
    ResettableClass *rc = RESETTABLE_CLASS(class);

    k->realize = pci_ims_realize;
    k->exit = pci_ims_exit;
    k->config_write = pci_ims_write_config;
    k->vendor_id = PCI_IMS_VENDOR_ID;
    k->device_id = PCI_IMS_DEVICE_ID;
    k->class_id = PCI_CLASS_OTHERS;

    rc->phases.hold = pci_ims_reset_hold;

    dc->desc = "Interrupt message store test device";
    dc->vmsd = &pci_ims_vmstate;
    device_class_set_props(dc, pci_ims_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo pci_ims_types[] = {
    {
        .name = TYPE_PCI_IMS,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(PCIIMSState),
        .instance_finalize = pci_ims_finalize,
        .class_init = pci_ims_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { },
        },
    },
};

DEFINE_TYPES(pci_ims_types)
