/*
 * The call by which a guest updates interrupt remapping entries,
 * KVM_HC_IRTE_UPDATE, and a device to test it
 *
 * Documentation/virt/kvm/x86/hypercalls.rst in the Linux tree has the rules.
 * For emulated devices there is nothing to allocate, an entry that the unit takes
 * is granted. Owners of devices that are passed through can refuse. So can
 *
 *   -device irte-control
 *
 * by which the guest itself says which call is to fail, see
 * irte-control-regs.h. The properties of the device are the same knobs for
 * whoever looks from outside: qom-set /machine/peripheral/ID fail-nth 1
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <malloc.h>
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "chardev/char-fe.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "hw/qdev-properties-system.h"
#include "standard-headers/asm-x86/kvm_para.h"
#include "irte-update.h"
#include "irte-control-regs.h"
#include "pci-ims-regs.h"

#define KVM_ENOSYS 1000

#define TYPE_IRTE_CONTROL "irte-control"
OBJECT_DECLARE_SIMPLE_TYPE(IRTEControl, IRTE_CONTROL)

struct IRTEControl {
    PCIDevice parent_obj;
    MemoryRegion regs;
    CharBackend host;
    uint8_t received[256];
    unsigned int in, out;       /* how many came, how many were read */
};

/* One for the machine, as there is one unit. Under the big lock. */
static struct {
    uint32_t kinds, err, nth, index, delay, data, scratch, rid, unanswered, stalled;
    uint32_t calls, present, release, grant, reset, refused, invalid;
    uint32_t last_lo, last_rid, last_index, last_order;
} ctl = { .index = UINT32_MAX };

typedef struct IRTEOwner {
    PCIDevice *dev;
    IRTEOwnerFn *fn;
    IRTEGrantFn *granted;
    void *opaque;
} IRTEOwner;

static GSList *owners;

/* Devices that cannot have an owner */
static unsigned int inhibitors;

bool irte_update_inhibit(Error **errp)
{
    X86IOMMUState *iommu = x86_iommu_get_default();

    if (iommu && iommu->irte_granted) {
        error_setg(errp, "the guest has been granted updates of remapping "
                   "entries, and those of this device cannot be backed");
        return false;
    }
    inhibitors++;
    return true;
}

void irte_update_uninhibit(void)
{
    inhibitors--;
}

/* What a granted entry was announced with */
typedef struct IRTEAnnounced {
    uint16_t index, rid;
    unsigned int order;
    IRTEOwner *owner;           /* NULL: it has none, or none any more */
    bool backed;                /* by its owner */
    MSIMessage msg;             /* then the answer was this */
} IRTEAnnounced;

/* A VT-d unit has one table, an AMD unit one for each requester */
static gpointer irte_key(X86IOMMUState *iommu, uint16_t index, uint16_t rid)
{
    X86IOMMUClass *class = X86_IOMMU_DEVICE_GET_CLASS(iommu);

    return GUINT_TO_POINTER(class->table_per_rid ? (uint32_t)rid << 16 | index :
                            index);
}

void irte_update_set_owner(PCIDevice *dev, IRTEOwnerFn *fn, IRTEGrantFn *granted,
                           void *opaque)
{
    IRTEOwner *owner = g_new0(IRTEOwner, 1);

    owner->dev = dev;
    owner->fn = fn;
    owner->granted = granted;
    owner->opaque = opaque;
    owners = g_slist_prepend(owners, owner);
}

void irte_update_no_owner(PCIDevice *dev)
{
    X86IOMMUState *iommu = x86_iommu_get_default();
    GHashTableIter iter;
    IRTEAnnounced *entry;
    GSList *item = owners;

    while (((IRTEOwner *)item->data)->dev != dev) {
        item = item->next;
    }
    g_hash_table_iter_init(&iter, iommu->irte_announced);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        if (entry->owner == item->data) {
            entry->owner = NULL;
            entry->backed = false;
        }
    }
    g_free(item->data);
    owners = g_slist_delete_link(owners, item);
}

/* Now: behind a bridge the id is what the guest has made it */
static IRTEOwner *irte_owner(uint16_t rid)
{
    for (GSList *item = owners; item; item = item->next) {
        IRTEOwner *owner = item->data;

        if (pci_requester_id(owner->dev) == rid) {
            return owner;
        }
    }
    return NULL;
}

static int irte_ask_owner(const IRTEAnnounced *entry, uint64_t lo, uint64_t hi,
                          MSIMessage *msg)
{
    IRTEOwner *owner = entry->owner;

    return owner ? owner->fn(owner->opaque, entry->index, entry->order, lo, hi,
                             msg) : 0;
}

void irte_update_guest_message(X86IOMMUState *iommu, uint16_t rid,
                               MSIMessage *msg)
{
    X86IOMMUClass *class = X86_IOMMU_DEVICE_GET_CLASS(iommu);
    GHashTableIter iter;
    IRTEAnnounced *entry;

    g_hash_table_iter_init(&iter, iommu->irte_announced);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        if (entry->backed && entry->rid == rid &&
            entry->msg.address == msg->address && entry->msg.data == msg->data) {
            class->entry_select(iommu, entry->index, msg);
            return;
        }
    }
}

static void irte_set_granted(X86IOMMUState *iommu, bool granted)
{
    iommu->irte_granted = granted;
    for (GSList *item = owners; item; item = item->next) {
        IRTEOwner *owner = item->data;

        owner->granted(owner->opaque);
    }
}

void irte_update_end(X86IOMMUState *iommu)
{
    GHashTableIter iter;
    IRTEAnnounced *was;
    MSIMessage msg;

    g_hash_table_iter_init(&iter, iommu->irte_announced);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&was)) {
        irte_ask_owner(was, 0, 0, &msg);
    }
    g_hash_table_remove_all(iommu->irte_announced);
    irte_set_granted(iommu, false);
}

/* Whether this is the entry that the control device tells of */
static bool irte_selected(uint16_t index, uint16_t rid)
{
    X86IOMMUState *iommu = x86_iommu_get_default();

    return iommu && index == qatomic_read(&ctl.index) &&
           (!X86_IOMMU_DEVICE_GET_CLASS(iommu)->table_per_rid ||
            rid == qatomic_read(&ctl.rid));
}

/* Whether the control device has this call refused */
static bool irte_refused(uint32_t kind, bool selected)
{
    if (!(ctl.kinds & kind)) {
        return false;
    }
    if (selected || (ctl.nth && !--ctl.nth)) {
        ctl.refused++;
        return true;
    }
    return false;
}

bool irte_control_unanswered(void)
{
    if (!ctl.unanswered) {
        return false;
    }
    ctl.unanswered--;
    return true;
}

bool irte_control_stalled(void)
{
    return ctl.stalled;
}

static int irte_grant(X86IOMMUState *iommu)
{
    X86IOMMUClass *class = X86_IOMMU_DEVICE_GET_CLASS(iommu);

    if (!iommu->irte_update || inhibitors || !class->table_set(iommu)) {
        return -EPERM;
    }
    if (irte_refused(IRTE_KIND_GRANT, ctl.index == IRTE_CONTROL_NO_ENTRY)) {
        return -(int)ctl.err;
    }
    ctl.grant++;
    irte_set_granted(iommu, true);
    return 0;
}

static int irte_reset(X86IOMMUState *iommu)
{
    if (irte_refused(IRTE_KIND_RESET, ctl.index == IRTE_CONTROL_NO_ENTRY)) {
        return -(int)ctl.err;
    }
    ctl.reset++;
    irte_update_end(iommu);
    return 0;
}

static uint64_t irte_message(const MSIMessage *msg)
{
    return KVM_IRTE_MSG_VALID | (msg->address & 0xfffff) << KVM_IRTE_MSG_ADDR_SHIFT |
           msg->data;
}

/* All has been granted: make it so */
static void irte_commit(X86IOMMUState *iommu, const IRTEAnnounced *entry,
                        bool present, uint64_t lo)
{
    X86IOMMUClass *class = X86_IOMMU_DEVICE_GET_CLASS(iommu);
    gpointer key = irte_key(iommu, entry->index, entry->rid);

    if (present) {
        g_hash_table_replace(iommu->irte_announced, key,
                             g_memdup2(entry, sizeof(*entry)));
        ctl.present++;
    } else {
        g_hash_table_remove(iommu->irte_announced, key);
        ctl.release++;
    }
    ctl.last_lo = lo;
    ctl.last_rid = entry->rid;
    ctl.last_index = entry->index;
    ctl.last_order = entry->order;
    class->refresh_entry(iommu, entry->index, entry->rid);
}

static uint64_t irte_update(X86IOMMUState *iommu, uint64_t a1, uint64_t lo,
                            uint64_t hi)
{
    X86IOMMUClass *class = X86_IOMMU_DEVICE_GET_CLASS(iommu);
    IRTEAnnounced entry = {
        .index = a1 & KVM_IRTE_INDEX_MASK,
        .rid = (a1 & KVM_IRTE_RID_MASK) >> KVM_IRTE_RID_SHIFT,
        .order = (a1 & KVM_IRTE_ORDER_MASK) >> KVM_IRTE_ORDER_SHIFT,
    };
    MSIMessage msg = {};
    IRTEAnnounced *was;
    bool present;
    int ret;

    if ((a1 & KVM_IRTE_A1_RESERVED) || entry.order > KVM_IRTE_ORDER_MAX) {
        return -EINVAL;
    }
    if (!iommu->irte_granted) {
        return -EPERM;
    }
    ret = class->check_entry(iommu, entry.index, entry.rid, entry.order, lo, hi,
                             &present);
    if (ret) {
        return ret;
    }
    /* What backs it is that requester's */
    was = g_hash_table_lookup(iommu->irte_announced,
                              irte_key(iommu, entry.index, entry.rid));
    if (was && was->rid != entry.rid) {
        return -EINVAL;
    }
    if (irte_refused(present ? IRTE_KIND_PRESENT : IRTE_KIND_RELEASE,
                     irte_selected(entry.index, entry.rid))) {
        return -(int)ctl.err;
    }
    entry.owner = irte_owner(entry.rid);
    ret = irte_ask_owner(&entry, lo, hi, &msg);
    if (ret < 0) {
        return ret;
    }
    entry.backed = ret;
    entry.msg = msg;
    irte_commit(iommu, &entry, present, lo);

    /* Where the data are the index there is no other message */
    if (present && !ret && ctl.data && !class->table_per_rid) {
        msg.address = 0xfee00000 | (entry.index & 0x7fff) << 5 | 1 << 4 |
                      (entry.index >> 15) << 2;
        msg.data = ctl.data;
        ret = 1;
    }
    return ret ? irte_message(&msg) : 0;
}

static uint64_t irte_call(uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    X86IOMMUState *iommu = x86_iommu_get_default();
    X86IOMMUClass *class;

    if (!iommu || !x86_iommu_ir_supported(iommu)) {
        return -EINVAL;
    }
    class = X86_IOMMU_DEVICE_GET_CLASS(iommu);
    if (!class->unit_address ||
        class->unit_address(iommu) != (a0 & KVM_IRTE_UNIT_MASK)) {
        return -EINVAL;
    }
    switch (a0 & KVM_IRTE_OP_MASK) {
    case KVM_IRTE_OP_GRANT:
        return a1 || a2 || a3 ? -EINVAL : irte_grant(iommu);
    case KVM_IRTE_OP_UPDATE:
        return irte_update(iommu, a1, a2, a3);
    case KVM_IRTE_OP_RESET:
        return a1 || a2 || a3 ? -EINVAL : irte_reset(iommu);
    default:
        return -EINVAL;
    }
}

uint64_t irte_update_call(uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    uint32_t delay = qatomic_read(&ctl.delay);
    uint32_t refused;
    uint64_t ret;

    /* Other CPUs go on meanwhile */
    if (delay && (qatomic_read(&ctl.index) == UINT32_MAX ||
                  irte_selected(a1 & KVM_IRTE_INDEX_MASK,
                                a1 >> KVM_IRTE_RID_SHIFT))) {
        g_usleep(delay);
    }
    BQL_LOCK_GUARD();
    ctl.calls++;
    refused = ctl.refused;
    ret = irte_call(a0, a1, a2, a3);
    if ((int64_t)ret < 0 && ctl.refused == refused) {
        ctl.invalid++;
    }
    return ret;
}

/* The device */

static const struct {
    uint32_t addr;
    const char *name;
    uint32_t *value;
} irte_knobs[] = {
    { IRTE_CONTROL_FAIL_KINDS, "fail-kinds", &ctl.kinds },
    { IRTE_CONTROL_FAIL_ERRNO, "fail-errno", &ctl.err },
    { IRTE_CONTROL_FAIL_NTH, "fail-nth", &ctl.nth },
    { IRTE_CONTROL_FAIL_INDEX, "fail-index", &ctl.index },
    { IRTE_CONTROL_DELAY, "delay", &ctl.delay },
    { IRTE_CONTROL_DATA, "data", &ctl.data },
    { IRTE_CONTROL_SCRATCH, "scratch", &ctl.scratch },
    { IRTE_CONTROL_RID, "rid", &ctl.rid },
    { IRTE_CONTROL_UNANSWERED, "unanswered", &ctl.unanswered },
    { IRTE_CONTROL_STALLED, "stalled", &ctl.stalled },
}, irte_counters[] = {
    { IRTE_CONTROL_CALLS, "calls", &ctl.calls },
    { IRTE_CONTROL_PRESENT, "present", &ctl.present },
    { IRTE_CONTROL_RELEASE, "release", &ctl.release },
    { IRTE_CONTROL_GRANT, "grant", &ctl.grant },
    { IRTE_CONTROL_RESET, "reset", &ctl.reset },
    { IRTE_CONTROL_REFUSED, "refused", &ctl.refused },
    { IRTE_CONTROL_INVALID, "invalid", &ctl.invalid },
    { IRTE_CONTROL_LAST_LO, "last-lo", &ctl.last_lo },
    { IRTE_CONTROL_LAST_RID, "last-rid", &ctl.last_rid },
    { IRTE_CONTROL_LAST_INDEX, "last-index", &ctl.last_index },
    { IRTE_CONTROL_LAST_ORDER, "last-order", &ctl.last_order },
};

/*
 * Not the resident memory: most of that is the guest's, which grows as the guest
 * uses it.
 */
static uint32_t irte_heap(void)
{
    struct mallinfo2 info = mallinfo2();

    return (info.uordblks + info.hblkhd) / KiB;
}

static uint32_t irte_slab(void)
{
    g_autofree char *text = NULL;
    const char *line;

    if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
        return 0;
    }
    line = strstr(text, "\nSlab:");
    return line ? strtoul(line + strlen("\nSlab:"), NULL, 10) : 0;
}

/* Those of the requester, or with @rid negative those of a block of 2^@order */
static uint32_t irte_count(X86IOMMUState *iommu, int rid, unsigned int order)
{
    GHashTableIter iter;
    IRTEAnnounced *entry;
    uint32_t count = 0;

    g_hash_table_iter_init(&iter, iommu->irte_announced);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        count += rid < 0 ? entry->order == order : entry->rid == rid;
    }
    return count;
}

/* A line to whoever is at the other end */

static int irte_control_can_receive(void *opaque)
{
    IRTEControl *s = opaque;

    return sizeof(s->received) - (s->in - s->out);
}

static void irte_control_receive(void *opaque, const uint8_t *buf, int size)
{
    IRTEControl *s = opaque;

    for (int i = 0; i < size; i++) {
        s->received[s->in++ % sizeof(s->received)] = buf[i];
    }
}

static uint32_t irte_control_get(IRTEControl *s)
{
    uint8_t byte;

    if (s->in == s->out) {
        return IRTE_CONTROL_HOST_EMPTY;
    }
    byte = s->received[s->out++ % sizeof(s->received)];
    qemu_chr_fe_accept_input(&s->host);
    return byte;
}

static uint64_t irte_control_read(void *opaque, hwaddr addr, unsigned size)
{
    X86IOMMUState *iommu = x86_iommu_get_default();

    if (addr == IRTE_CONTROL_HOST) {
        return irte_control_get(opaque);
    }

    for (int i = 0; i < ARRAY_SIZE(irte_knobs); i++) {
        if (irte_knobs[i].addr == addr) {
            return *irte_knobs[i].value;
        }
    }
    for (int i = 0; i < ARRAY_SIZE(irte_counters); i++) {
        if (irte_counters[i].addr == addr) {
            return *irte_counters[i].value;
        }
    }
    if (!iommu) {
        return 0;
    }
    switch (addr) {
    case IRTE_CONTROL_ORDER(0) ... IRTE_CONTROL_ORDER(IRTE_CONTROL_ORDERS - 1):
        return irte_count(iommu, -1, (addr - IRTE_CONTROL_ORDER(0)) / 4);
    case IRTE_CONTROL_ANNOUNCED_RID:
        return irte_count(iommu, ctl.rid & 0xffff, 0);
    case IRTE_CONTROL_ANNOUNCED:
        return g_hash_table_size(iommu->irte_announced);
    case IRTE_CONTROL_GRANTED:
        return iommu->irte_granted;
    case IRTE_CONTROL_ROUTES:
        return iommu->routes;
    case IRTE_CONTROL_READS:
        return iommu->reg_reads;
    case IRTE_CONTROL_WRITES:
        return iommu->reg_writes;
    case IRTE_CONTROL_IEC:
        return iommu->iec;
    case IRTE_CONTROL_HEAP:
        return irte_heap();
    case IRTE_CONTROL_SLAB:
        return irte_slab();
    }
    return 0;
}

static void irte_control_write(void *opaque, hwaddr addr, uint64_t val,
                               unsigned size)
{
    IRTEControl *s = opaque;
    PCIDevice *pdev = PCI_DEVICE(s);
    uint8_t byte = val;

    if (addr == IRTE_CONTROL_HOST) {
        qemu_chr_fe_write_all(&s->host, &byte, 1);
        return;
    }
    if (addr == IRTE_CONTROL_SEND) {
        if (msi_enabled(pdev) && val < msi_nr_vectors_allocated(pdev)) {
            msi_notify(pdev, val);
        }
        return;
    }
    for (int i = 0; i < ARRAY_SIZE(irte_knobs); i++) {
        if (irte_knobs[i].addr == addr) {
            qatomic_set(irte_knobs[i].value, val);
        }
    }
}

static const MemoryRegionOps irte_control_ops = {
    .read = irte_control_read,
    .write = irte_control_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static void irte_control_realize(PCIDevice *pdev, Error **errp)
{
    IRTEControl *s = IRTE_CONTROL(pdev);

    if (msi_init(pdev, 0, IRTE_CONTROL_MESSAGES, true, false, errp)) {
        return;
    }
    memory_region_init_io(&s->regs, OBJECT(s), &irte_control_ops, s,
                          TYPE_IRTE_CONTROL, 4096);
    pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->regs);
    qemu_chr_fe_set_handlers(&s->host, irte_control_can_receive,
                             irte_control_receive, NULL, NULL, s, NULL, true);
}

static void irte_control_exit(PCIDevice *pdev)
{
    qemu_chr_fe_deinit(&IRTE_CONTROL(pdev)->host, false);
    msi_uninit(pdev);
}

static const Property irte_control_properties[] = {
    DEFINE_PROP_CHR("host", IRTEControl, host),
};

static void irte_control_init(Object *obj)
{
    for (int i = 0; i < ARRAY_SIZE(irte_knobs); i++) {
        object_property_add_uint32_ptr(obj, irte_knobs[i].name,
                                       irte_knobs[i].value,
                                       OBJ_PROP_FLAG_READWRITE);
    }
    for (int i = 0; i < ARRAY_SIZE(irte_counters); i++) {
        object_property_add_uint32_ptr(obj, irte_counters[i].name,
                                       irte_counters[i].value,
                                       OBJ_PROP_FLAG_READ);
    }
}

static void irte_control_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(class);

    k->realize = irte_control_realize;
    k->exit = irte_control_exit;
    k->vendor_id = PCI_IMS_VENDOR_ID;
    k->device_id = IRTE_CONTROL_DEVICE_ID;
    k->class_id = PCI_CLASS_OTHERS;

    device_class_set_props(dc, irte_control_properties);
    dc->desc = "Answers to calls for updates of remapping entries";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo irte_control_types[] = {
    {
        .name = TYPE_IRTE_CONTROL,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(IRTEControl),
        .instance_init = irte_control_init,
        .class_init = irte_control_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { },
        },
    },
};

DEFINE_TYPES(irte_control_types)
