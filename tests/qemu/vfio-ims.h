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

/*
 * The guest has the table of MSI-X: it is mapped. Changes only while MSI-X is disabled, and
 * with it the grant of the unit.
 */
bool vfio_ims_has_msix(VFIOPCIDevice *vdev);

/* Have the host do what the guest has written to the capability */
void vfio_ims_set_msix(VFIOPCIDevice *vdev);

/* MSI-X has been disabled, by whatever way */
void vfio_ims_msix_disabled(VFIOPCIDevice *vdev);

/* The machine is reset, and the device is about to be */
void vfio_ims_reset(VFIOPCIDevice *vdev);

/* All interrupts are released. Also after vfio_ims_realize() has failed. */
void vfio_ims_exit(VFIOPCIDevice *vdev);

#endif
