/*
 * amd-southbridge: the PCI function that an AMD IO/APIC belongs to
 *
 * QEMU's IVRS table gives the IO/APIC the requester id 00:14.0, where machines
 * have the SMBus function of the south bridge. Linux does not use interrupt
 * remapping of an AMD IOMMU unless it finds that there. This is the function,
 * and nothing else:
 *
 *   -device amd-southbridge,addr=14.0
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_device.h"
#include "pci-ims-regs.h"

static void amd_southbridge_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(class);

    /* An id that no driver is for */
    k->vendor_id = PCI_IMS_VENDOR_ID;
    k->device_id = PCI_IMS_DEVICE_ID + 1;
    k->class_id = PCI_CLASS_SERIAL_SMBUS;

    dc->desc = "Placeholder for the function of an AMD IO/APIC";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo amd_southbridge_types[] = {
    {
        .name = "amd-southbridge",
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(PCIDevice),
        .class_init = amd_southbridge_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { },
        },
    },
};

DEFINE_TYPES(amd_southbridge_types)
