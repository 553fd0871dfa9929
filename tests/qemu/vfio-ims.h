/*
 * Interrupts of a device that is passed through, whose store belongs to the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_VFIO_IMS_H
#define HW_MISC_VFIO_IMS_H

#include "hw/vfio/pci.h"

/**
 * vfio_ims_realize - Back entries of the guest's remapping table
 * @vdev: the device
 * @errp: why that is not possible
 *
 * Where something is missing the guest is not granted updates by a call, so that
 * it has no use for a store, unless the device must have one or the guest has been
 * granted them already: then this fails.
 */
bool vfio_ims_realize(VFIOPCIDevice *vdev, Error **errp);

/* All interrupts are released. Also after vfio_ims_realize() has failed. */
void vfio_ims_exit(VFIOPCIDevice *vdev);

#endif
