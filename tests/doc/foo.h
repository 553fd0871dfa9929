/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the drivers in Documentation/PCI/ims.rst leave open: the device is pci-ims
 */
#ifndef FOO_H
#define FOO_H

#include "pci-ims-regs.h"

#define FOO_VENDOR_ID		PCI_IMS_VENDOR_ID
#define FOO_DEVICE_ID		PCI_IMS_DEVICE_ID

#define FOO_BAR_SLOTS		PCI_IMS_BAR_SLOTS
#define FOO_NR_SLOTS		64

/* A slot takes the place of a queue in the device, its mask bit keeps that quiet. */
#define FOO_BAR_QUEUES		PCI_IMS_BAR_SLOTS
#define FOO_NR_QUEUES		64
#define FOO_QUEUE_ADDR_LO	PCI_IMS_SLOT_ADDR_LO
#define FOO_QUEUE_ADDR_HI	PCI_IMS_SLOT_ADDR_HI
#define FOO_QUEUE_DATA		PCI_IMS_SLOT_DATA
#define FOO_QUEUE_QUIET		PCI_IMS_SLOT_CTRL

#endif /* FOO_H */
