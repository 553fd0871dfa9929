/*
 * The call by which a guest updates interrupt remapping entries
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_IRTE_UPDATE_H
#define HW_MISC_IRTE_UPDATE_H

#include "hw/i386/x86-iommu.h"
#include "hw/pci/pci_device.h"

/**
 * irte_update_call - KVM_HC_IRTE_UPDATE, without the big lock
 * @a0: the arguments of the call
 * @a1: ...
 * @a2: ...
 * @a3: ...
 *
 * Returns what the guest finds in rax.
 */
uint64_t irte_update_call(uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);

/* The grant of a unit and all of its entries come to an end */
void irte_update_end(X86IOMMUState *iommu);

/**
 * IRTEOwnerFn - Back an entry with a host interrupt
 * @opaque: the owner
 * @index: the entry
 * @order: it belongs to a block of 2^@order entries
 * @lo: the entry, which is not present to release it
 * @hi: ...
 * @msg: message for the device
 *
 * Returns 0, 1 if the device has to use @msg, or -errno, and then all is as
 * before.
 */
typedef int IRTEOwnerFn(void *opaque, uint16_t index, unsigned int order,
                        uint64_t lo, uint64_t hi, MSIMessage *msg);

/* The unit has been granted, or that has come to an end */
typedef void IRTEGrantFn(void *opaque);

/*
 * Whoever passes a device through is asked about its entries and told of grants, until there
 * is no owner
 */
void irte_update_set_owner(PCIDevice *dev, IRTEOwnerFn *fn, IRTEGrantFn *granted,
                           void *opaque);
void irte_update_no_owner(PCIDevice *dev);

/**
 * irte_update_guest_message - Undo what the answer to a call has done
 * @iommu: the unit
 * @rid: requester
 * @msg: a message of an emulated interrupt of the requester
 *
 * When @msg is one that the owner of the requester has given for an entry, make it
 * the one of the unit for this entry. A guest programs that into MSI and MSI-X,
 * which are emulated for a device that is passed through.
 */
void irte_update_guest_message(X86IOMMUState *iommu, uint16_t rid,
                               MSIMessage *msg);

/**
 * irte_update_inhibit - A device is passed through that cannot have an owner
 * @errp: the unit has been granted already
 *
 * Until irte_update_uninhibit() no unit is granted, since the guest would offer
 * its drivers a store that does not work.
 */
bool irte_update_inhibit(Error **errp);
void irte_update_uninhibit(void);

/* Whether the unit leaves this wait for the completion of commands unanswered */
bool irte_control_unanswered(void);

/* Whether the unit does not fetch commands now */
bool irte_control_stalled(void);

#endif
