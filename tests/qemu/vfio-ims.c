/*
 * Interrupts of a device that is passed through, whose store belongs to the guest
 *
 * The store is in a BAR, which vfio-pci maps into the guest. When the guest makes
 * an entry of its remapping table present by KVM_HC_IRTE_UPDATE the host is asked
 * for an interrupt of its own, and its message is the answer to the guest, which
 * writes it into the store. The interrupt reaches the guest's vector by way of an
 * irqfd, whose route is made from the guest's entry: a change of the entry is a
 * change of that one route. What the host refuses is refused to the guest.
 *
 * Documentation/driver-api/vfio-pci-ims.rst in the Linux tree has the rules of the
 * host, Documentation/virt/kvm/x86/hypercalls.rst those of the call. All of this
 * runs under the big lock.
 *
 * While the unit is granted the table of MSI-X is a store like any other: it is mapped,
 * and VFIO_DEVICE_FEATURE_PCI_IMS_MSIX sets what the guest writes to the capability.
 *
 * A call does not tell whether its entry is for the store, for MSI or for MSI-X. So
 * all of them are backed, and where MSI and MSI-X are emulated the message that the
 * guest has been given there is taken for its own. Several messages of MSI have to be
 * in a row: they are not backed.
 *
 * This is part of a test bench, and does without two devices behind a bridge to
 * conventional PCI, which have one requester id.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "migration/blocker.h"
#include "hw/i386/x86-iommu.h"
#include "hw/pci/pci.h"
#include "system/kvm.h"
#include "trace.h"
#include "irte-update.h"
#include "vfio-ims.h"

/* By how much the size of the index grows, so that a limit is met when it matters */
#define VFIO_IMS_STEP 64

/* An interrupt of the host */
typedef struct VFIOIMSIrq {
    uint32_t index;             /* in VFIO_PCI_IMS_IRQ_INDEX */
    int virq;                   /* KVM's GSI */
    EventNotifier notifier;     /* from VFIO to KVM */
    MSIMessage msg;             /* for the store */
} VFIOIMSIrq;

struct VFIOIMS {
    VFIOPCIDevice *vdev;
    bool trapping;              /* Something is missing, the unit stays as it was */
    uint32_t size;              /* of VFIO_PCI_IMS_IRQ_INDEX */
    unsigned long *used;        /* which of them are */
    GHashTable *irqs;           /* by entry of the guest's table */
    Error *migration_blocker;
    GArray *filled;             /* GSIs that a test has taken */
    bool msix;                  /* The host lets its user have the table of MSI-X */
    bool msix_mapped;           /* The guest has it */
    uint32_t msix_flags;        /* of VFIO_DEVICE_FEATURE_PCI_IMS_MSIX */
};

static int vfio_ims_ioctl(VFIOIMS *ims, unsigned long cmd, void *arg)
{
    return ioctl(ims->vdev->vbasedev.fd, cmd, arg) < 0 ? -errno : 0;
}

static int vfio_ims_probe(VFIOIMS *ims, uint32_t feature)
{
    struct vfio_device_feature probe = {
        .argsz = sizeof(probe),
        .flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET |
                 VFIO_DEVICE_FEATURE_SET | feature,
    };

    return vfio_ims_ioctl(ims, VFIO_DEVICE_FEATURE, &probe);
}

static int vfio_ims_feature_size(VFIOIMS *ims, uint32_t op, uint32_t *size,
                                 uint32_t *max)
{
    struct {
        struct vfio_device_feature hdr;
        struct vfio_device_feature_pci_ims ims;
    } arg = {
        .hdr.argsz = sizeof(arg),
        .hdr.flags = op | VFIO_DEVICE_FEATURE_PCI_IMS,
        .ims.size = *size,
    };
    int ret = vfio_ims_ioctl(ims, VFIO_DEVICE_FEATURE, &arg);

    if (!ret && max) {
        *max = arg.ims.max_size;
    }
    return ret;
}

/* All of them are in use: more, as far as the host allows that now */
static int vfio_ims_grow(VFIOIMS *ims)
{
    uint32_t size = 0, max;
    int ret = vfio_ims_feature_size(ims, VFIO_DEVICE_FEATURE_GET, &size, &max);

    if (ret) {
        return ret;
    }
    size = MIN(ims->size + VFIO_IMS_STEP, max);
    if (size <= ims->size) {
        return -ENOSPC;
    }
    ret = vfio_ims_feature_size(ims, VFIO_DEVICE_FEATURE_SET, &size, NULL);
    if (ret) {
        return ret;
    }
    ims->used = bitmap_zero_extend(ims->used, ims->size, size);
    ims->size = size;
    return 0;
}

static int vfio_ims_get_index(VFIOIMS *ims, uint32_t *index)
{
    *index = find_first_zero_bit(ims->used, ims->size);
    if (*index >= ims->size) {
        int ret = vfio_ims_grow(ims);

        if (ret) {
            return ret;
        }
    }
    set_bit(*index, ims->used);
    return 0;
}

static void vfio_ims_put_index(VFIOIMS *ims, uint32_t index)
{
    clear_bit(index, ims->used);
}

/* A file descriptor of -1 releases the host's interrupt */
static int vfio_ims_set_eventfd(VFIOIMS *ims, uint32_t index, int32_t fd)
{
    struct {
        struct vfio_irq_set set;
        int32_t fd;
    } arg = {
        .set.argsz = sizeof(arg),
        .set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        .set.index = VFIO_PCI_IMS_IRQ_INDEX,
        .set.start = index,
        .set.count = 1,
        .fd = fd,
    };

    return vfio_ims_ioctl(ims, VFIO_DEVICE_SET_IRQS, &arg);
}

static int vfio_ims_get_message(VFIOIMS *ims, uint32_t index, MSIMessage *msg)
{
    struct {
        struct vfio_device_feature hdr;
        struct vfio_device_feature_pci_ims_msgs range;
        struct vfio_pci_ims_msg msg;
    } arg = {
        .hdr.argsz = sizeof(arg),
        .hdr.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PCI_IMS_MSGS,
        .range.start = index,
        .range.count = 1,
    };
    int ret = vfio_ims_ioctl(ims, VFIO_DEVICE_FEATURE, &arg);

    if (ret) {
        return ret;
    }
    /* The answer to the guest has room for the bits below that */
    if (!(arg.msg.flags & VFIO_PCI_IMS_MSG_ASSIGNED) ||
        arg.msg.address >> 20 != 0xfee) {
        return -EIO;
    }
    msg->address = arg.msg.address;
    msg->data = arg.msg.data;
    return 0;
}

/* From an eventfd to the guest's vector */
static int vfio_ims_connect(VFIOIMSIrq *irq, MSIMessage route)
{
    int ret;

    irq->virq = kvm_irqchip_get_virq(kvm_state);
    if (irq->virq < 0) {
        return irq->virq;
    }
    ret = kvm_irqchip_set_msi_route(kvm_state, irq->virq, route);
    if (ret) {
        return ret;
    }
    ret = event_notifier_init(&irq->notifier, 0);
    if (ret) {
        goto err_route;
    }
    ret = kvm_irqchip_add_irqfd_notifier_gsi(kvm_state, &irq->notifier, NULL,
                                             irq->virq);
    if (ret) {
        goto err_notifier;
    }
    return 0;

err_notifier:
    event_notifier_cleanup(&irq->notifier);
err_route:
    kvm_irqchip_release_virq(kvm_state, irq->virq);
    return ret;
}

static void vfio_ims_disconnect(VFIOIMSIrq *irq)
{
    kvm_irqchip_remove_irqfd_notifier_gsi(kvm_state, &irq->notifier, irq->virq);
    event_notifier_cleanup(&irq->notifier);
    kvm_irqchip_release_virq(kvm_state, irq->virq);
}

static int vfio_ims_assign(VFIOIMS *ims, VFIOIMSIrq *irq)
{
    int ret = vfio_ims_get_index(ims, &irq->index);

    if (ret) {
        return ret;
    }
    ret = vfio_ims_set_eventfd(ims, irq->index,
                               event_notifier_get_fd(&irq->notifier));
    if (ret) {
        goto err_index;
    }
    ret = vfio_ims_get_message(ims, irq->index, &irq->msg);
    if (ret) {
        goto err_eventfd;
    }
    return 0;

err_eventfd:
    vfio_ims_set_eventfd(ims, irq->index, -1);
err_index:
    vfio_ims_put_index(ims, irq->index);
    return ret;
}

/* The messages are those of this host */
static int vfio_ims_block_migration(VFIOIMS *ims)
{
    if (ims->migration_blocker) {
        return 0;
    }
    error_setg(&ims->migration_blocker,
               "%s: its store has messages of this host",
               ims->vdev->vbasedev.name);
    return migrate_add_blocker(&ims->migration_blocker, NULL) ? -EIO : 0;
}

/* Without an interrupt nothing is kept on the host */
static void vfio_ims_put_last(VFIOIMS *ims)
{
    uint32_t none = 0;

    if (g_hash_table_size(ims->irqs)) {
        return;
    }
    vfio_ims_feature_size(ims, VFIO_DEVICE_FEATURE_SET, &none, NULL);
    ims->size = 0;
    migrate_del_blocker(&ims->migration_blocker);
}

static int vfio_ims_add(VFIOIMS *ims, uint16_t entry, MSIMessage route,
                        VFIOIMSIrq **added)
{
    VFIOIMSIrq *irq = g_new0(VFIOIMSIrq, 1);
    int ret;

    ret = vfio_ims_block_migration(ims);
    if (ret) {
        goto err_free;
    }
    ret = vfio_ims_connect(irq, route);
    if (ret) {
        goto err_last;
    }
    ret = vfio_ims_assign(ims, irq);
    if (ret) {
        goto err_disconnect;
    }
    g_hash_table_insert(ims->irqs, GUINT_TO_POINTER(entry), irq);
    *added = irq;
    return 0;

err_disconnect:
    vfio_ims_disconnect(irq);
err_last:
    vfio_ims_put_last(ims);
err_free:
    g_free(irq);
    return ret;
}

static void vfio_ims_remove(VFIOIMS *ims, uint16_t entry)
{
    VFIOIMSIrq *irq = g_hash_table_lookup(ims->irqs, GUINT_TO_POINTER(entry));

    if (!irq) {
        return;
    }
    vfio_ims_set_eventfd(ims, irq->index, -1);
    vfio_ims_put_index(ims, irq->index);
    vfio_ims_disconnect(irq);
    g_hash_table_remove(ims->irqs, GUINT_TO_POINTER(entry));
    vfio_ims_put_last(ims);
}

/* What the call may be answered with */
static int vfio_ims_error(int ret)
{
    switch (ret) {
    case -EINVAL:
    case -ENOSPC:
    case -ENOMEM:
    case -EPERM:
    case -EOPNOTSUPP:
        return ret;
    default:
        return -EIO;
    }
}

static int vfio_ims_update(void *opaque, uint16_t entry, unsigned int order,
                           uint64_t lo, uint64_t hi, MSIMessage *msg)
{
    VFIOIMS *ims = opaque;
    MSIMessage route;
    VFIOIMSIrq *irq;
    int ret;

    if (order) {
        return 0;
    }
    if (!x86_iommu_entry_message(x86_iommu_get_default(), lo, hi, &route)) {
        vfio_ims_remove(ims, entry);
        return 0;
    }
    irq = g_hash_table_lookup(ims->irqs, GUINT_TO_POINTER(entry));
    if (irq) {
        ret = kvm_irqchip_set_msi_route(kvm_state, irq->virq, route);
    } else {
        ret = vfio_ims_add(ims, entry, route, &irq);
    }
    if (ret) {
        trace_vfio_ims_refused(ims->vdev->vbasedev.name, entry, ret);
        return vfio_ims_error(ret);
    }
    trace_vfio_ims_update(ims->vdev->vbasedev.name, entry, irq->index, irq->virq,
                          route.address, route.data, irq->msg.address,
                          irq->msg.data);
    *msg = irq->msg;
    return 1;
}

/*
 * The table of MSI-X
 */
static bool vfio_ims_msix_possible(VFIOIMS *ims)
{
    VFIOPCIDevice *vdev = ims->vdev;

    return vdev->msix &&
           vfio_has_region_cap(&vdev->vbasedev, vdev->msix->table_bar,
                               VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) &&
           !vfio_ims_probe(ims, VFIO_DEVICE_FEATURE_PCI_IMS_MSIX);
}

/* With a table that is in use it stays as it is, until MSI-X is disabled */
static void vfio_ims_map_msix(void *opaque)
{
    VFIOIMS *ims = opaque;
    bool map = ims->msix && x86_iommu_get_default()->irte_granted;

    if (ims->msix_flags || ims->vdev->interrupt == VFIO_INT_MSIX ||
        map == ims->msix_mapped) {
        return;
    }
    memory_region_set_enabled(&ims->vdev->pdev.msix_table_mmio, !map);
    ims->msix_mapped = map;
    trace_vfio_ims_map_msix(ims->vdev->vbasedev.name, map);
}

static int vfio_ims_feature_msix(VFIOIMS *ims, uint32_t flags)
{
    struct {
        struct vfio_device_feature hdr;
        struct vfio_device_feature_pci_ims_msix msix;
    } arg = {
        .hdr.argsz = sizeof(arg),
        .hdr.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_IMS_MSIX,
        .msix.flags = flags,
    };
    int ret;

    if (flags == ims->msix_flags) {
        return 0;
    }
    ret = vfio_ims_ioctl(ims, VFIO_DEVICE_FEATURE, &arg);
    if (!ret) {
        ims->msix_flags = flags;
    }
    return ret;
}

bool vfio_ims_has_msix(VFIOPCIDevice *vdev)
{
    return vdev->ims && vdev->ims->msix_mapped;
}

void vfio_ims_set_msix(VFIOPCIDevice *vdev)
{
    VFIOIMS *ims = vdev->ims;
    uint8_t *pos = vdev->pdev.config + vdev->pdev.msix_cap + PCI_MSIX_FLAGS;
    uint16_t ctrl = pci_get_word(pos);
    uint32_t flags = 0;
    int ret;

    if (ctrl & PCI_MSIX_FLAGS_ENABLE) {
        flags = VFIO_PCI_IMS_MSIX_ENABLE;
        flags |= ctrl & PCI_MSIX_FLAGS_MASKALL ? VFIO_PCI_IMS_MSIX_MASK : 0;
    }
    ret = vfio_ims_feature_msix(ims, flags);
    if (!ret) {
        return;
    }
    error_report("%s: MSI-X stays as it is: %s", vdev->vbasedev.name,
                 strerror(-ret));
    /* A write cannot fail: the guest can see it when it reads that back */
    ctrl &= ~(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    ctrl |= ims->msix_flags & VFIO_PCI_IMS_MSIX_ENABLE ? PCI_MSIX_FLAGS_ENABLE : 0;
    ctrl |= ims->msix_flags & VFIO_PCI_IMS_MSIX_MASK ? PCI_MSIX_FLAGS_MASKALL : 0;
    pci_set_word(pos, ctrl);
}

void vfio_ims_msix_disabled(VFIOPCIDevice *vdev)
{
    if (vdev->ims) {
        vfio_ims_map_msix(vdev->ims);
    }
}

void vfio_ims_reset(VFIOPCIDevice *vdev)
{
    if (vdev->ims) {
        vfio_ims_feature_msix(vdev->ims, 0);
        vfio_ims_map_msix(vdev->ims);
    }
}

/*
 * For a test: all routes that KVM has are taken
 */
static bool vfio_ims_get_fill(Object *obj, Error **errp)
{
    return VFIO_PCI(obj)->ims->filled->len;
}

static void vfio_ims_set_fill(Object *obj, bool fill, Error **errp)
{
    GArray *filled = VFIO_PCI(obj)->ims->filled;
    int virq;

    while (fill) {
        virq = kvm_irqchip_get_virq(kvm_state);
        if (virq < 0 ||
            kvm_irqchip_set_msi_route(kvm_state, virq, (MSIMessage) {})) {
            return;
        }
        g_array_append_val(filled, virq);
    }
    for (unsigned int i = 0; i < filled->len; i++) {
        kvm_irqchip_release_virq(kvm_state, g_array_index(filled, int, i));
    }
    g_array_set_size(filled, 0);
}

/* Something is missing: why */
static bool vfio_ims_possible(VFIOIMS *ims, Error **errp)
{
    X86IOMMUState *iommu = x86_iommu_get_default();
    uint32_t size = 0, max = 0;
    int ret;

    if (!iommu || !x86_iommu_ir_supported(iommu)) {
        error_setg(errp, "the guest has no remapping of interrupts");
        return false;
    }
    if (!kvm_enabled() ||
        !kvm_vm_check_extension(kvm_state, KVM_CAP_SET_MSI_ROUTE)) {
        error_setg(errp, "KVM cannot set the route of one interrupt");
        return false;
    }
    ret = vfio_ims_probe(ims, VFIO_DEVICE_FEATURE_PCI_IMS);
    if (ret) {
        error_setg_errno(errp, -ret, "the host offers no interrupts for a store");
        return false;
    }
    ret = vfio_ims_feature_size(ims, VFIO_DEVICE_FEATURE_GET, &size, &max);
    if (ret || !max) {
        error_setg(errp, "the host allows no interrupts for a store, "
                   "see vfio_pci_core.ims_max_irqs");
        return false;
    }
    return true;
}

bool vfio_ims_realize(VFIOPCIDevice *vdev, Error **errp)
{
    VFIOIMS *ims = g_new0(VFIOIMS, 1);
    g_autoptr(Error) err = NULL;

    ims->vdev = vdev;
    ims->irqs = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    ims->used = bitmap_new(1);
    vdev->ims = ims;

    if (vdev->enable_ims != ON_OFF_AUTO_OFF && vfio_ims_possible(ims, &err)) {
        irte_update_set_owner(&vdev->pdev, vfio_ims_update, vfio_ims_map_msix,
                              ims);
        ims->msix = vfio_ims_msix_possible(ims);
        vfio_ims_map_msix(ims);
        ims->filled = g_array_new(false, false, sizeof(int));
        object_property_add_bool(OBJECT(vdev), "x-ims-fill-routes",
                                 vfio_ims_get_fill, vfio_ims_set_fill);
        return true;
    }
    if (vdev->enable_ims == ON_OFF_AUTO_ON) {
        error_propagate(errp, g_steal_pointer(&err));
        return false;
    }
    ims->trapping = irte_update_inhibit(errp);
    return ims->trapping;
}

void vfio_ims_exit(VFIOPCIDevice *vdev)
{
    VFIOIMS *ims = vdev->ims;
    GHashTableIter iter;
    gpointer entry;

    if (!ims) {
        return;
    }
    vdev->ims = NULL;
    if (ims->trapping) {
        irte_update_uninhibit();
    }
    if (ims->filled) {
        irte_update_no_owner(&vdev->pdev);
        vfio_ims_feature_msix(ims, 0);
        object_property_del(OBJECT(vdev), "x-ims-fill-routes");
        g_array_free(ims->filled, true);
    }
    do {
        g_hash_table_iter_init(&iter, ims->irqs);
        if (!g_hash_table_iter_next(&iter, &entry, NULL)) {
            break;
        }
        vfio_ims_remove(ims, GPOINTER_TO_UINT(entry));
    } while (true);
    g_hash_table_destroy(ims->irqs);
    g_free(ims->used);
    g_free(ims);
}
