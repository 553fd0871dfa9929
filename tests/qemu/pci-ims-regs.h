/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * pci-ims: registers of the emulated IMS device.
 *
 * This is the only description of them. The QEMU device, the test driver and
 * the guest programs all include this file.
 *
 *	BAR 0	 4 KiB	registers, below
 *	BAR 2	 1 MiB	slot array: up to 65536 entries of 16 bytes
 *	BAR 4	64 KiB	MSI-X table (offset 0) and pending bits (offset 0x8000)
 *
 * BAR 0 and BAR 2 are 32 bits wide, little endian and naturally aligned. A
 * 64-bit access to the slot array is taken as its two halves, the lower one
 * first. Any other use is invalid: reads as zero, writes nothing, counts in
 * PCI_IMS_INVALID (more than once if the CPU splits a misaligned access).
 * Counters wrap at 32 bits.
 *
 * With virtual functions (SR-IOV) the device has these BARs once for each of them, and
 * they share nothing: not the slots, the MSI-X entries, the counters nor a reset, but for
 * that of the physical function, with which they end. A virtual function that is enabled
 * or disabled is reset.
 *
 * Besides, software can have messages in *queue memory*: an array of 16 byte contexts
 * which is anywhere in memory and which the device reads by DMA. PCI_IMS_QUEUE_* tell
 * where it is. A queue is never masked and the device keeps nothing of its context: it
 * reads the 16 bytes at once, for each message that it is about to emit. Where there is no
 * valid context, or where it cannot be read, the message could not leave.
 *
 * A *source* is one slot of the store, one queue or one MSI-X entry. A source number is
 * the slot's index, the queue's index with PCI_IMS_SRC_QUEUE set, or the entry's index with
 * PCI_IMS_SRC_MSIX set. There are as many queues as slots.
 *
 * An *event* asks a source for one message:
 *
 *  - a raw event emits the message at once;
 *  - a paced event waits until every message of the source before it was
 *    acknowledged with PCI_IMS_ACK. So each paced event is one interrupt: a
 *    CPU's interrupt request register cannot merge two of them, and a lost one
 *    stops the source for good, with PCI_IMS_UNACKED left above zero. A paced
 *    message that could not leave is lost too: it counts in PCI_IMS_DROPPED.
 *    PCI_IMS_CLEAR starts the source anew.
 *
 * Parts of the device can have owners of their own: a slot belongs to the PASID in its
 * control word. Events are the device's own, or are raised for the PASID in
 * PCI_IMS_TRIG_PASID, as if a program with that PASID had caused them. For a PASID only
 * the slots of that PASID have events: elsewhere, be there another owner or none, the event
 * is refused and counts in PCI_IMS_REFUSED, and nothing else happens. Queues and MSI-X
 * entries have no owner. What counts is the owner at the time of the trigger.
 *
 * A masked source emits nothing. Its raw events set the pending bit, however
 * many there are, and unmasking emits one message for it; its paced events
 * stay queued, and unmasking goes on with them.
 *
 * A message is a 32-bit DMA write of the data to the address, whatever that
 * is. It counts as emitted also where an IOMMU blocks it.
 */
#ifndef PCI_IMS_REGS_H
#define PCI_IMS_REGS_H

#define PCI_IMS_VENDOR_ID		0x1234
#define PCI_IMS_DEVICE_ID		0x11ea

#define PCI_IMS_BAR_REGS		0
#define PCI_IMS_BAR_SLOTS		2
#define PCI_IMS_BAR_MSIX		4

#define PCI_IMS_REGS_SIZE		0x1000
#define PCI_IMS_MAX_SLOTS		65536
#define PCI_IMS_MAX_MSIX		2048
#define PCI_IMS_MAX_VFS			7
#define PCI_IMS_MSIX_SIZE		0x10000
#define PCI_IMS_MSIX_PBA		0x8000

/* The slot array: one entry */
#define PCI_IMS_SLOT_SIZE		16
#define PCI_IMS_SLOT_ADDR_LO		0x0
#define PCI_IMS_SLOT_ADDR_HI		0x4
#define PCI_IMS_SLOT_DATA		0x8
#define PCI_IMS_SLOT_CTRL		0xc

/* Control word of a slot. Reset value: MASK. */
#define PCI_IMS_CTRL_MASK		0x00000001	/* rw: emit nothing */
#define PCI_IMS_CTRL_PENDING		0x00000002	/* ro: an event waits for unmask */
#define PCI_IMS_CTRL_PASID_EN		0x00000008	/* rw: the slot has an owner */
#define PCI_IMS_CTRL_PASID		0xfffff000	/* rw: its PASID */

/* Queue memory: one context, little endian */
#define PCI_IMS_QUEUE_SIZE		16
#define PCI_IMS_QUEUE_ADDR_LO		0x0
#define PCI_IMS_QUEUE_ADDR_HI		0x4
#define PCI_IMS_QUEUE_DATA		0x8
#define PCI_IMS_QUEUE_CTRL		0xc

/* Control word of a context */
#define PCI_IMS_QUEUE_VALID		0x00000001	/* there is a message */

/* Source numbers, for TRIG_FIRST, ACK and SEL: one of these, or none for a slot */
#define PCI_IMS_SRC_QUEUE		0x40000000
#define PCI_IMS_SRC_MSIX		0x80000000
#define PCI_IMS_SRC_KIND		0xc0000000

/* BAR 0. Registers of the device */
#define PCI_IMS_ID			0x000	/* ro: PCI_IMS_ID_VALUE */
#define PCI_IMS_NSLOTS			0x004	/* ro: slots in the store */
#define PCI_IMS_NMSIX			0x008	/* ro: entries in the MSI-X table */
#define PCI_IMS_INVALID			0x00c	/* ro: invalid uses since power on, survives a reset */
#define PCI_IMS_RESETS			0x010	/* ro: resets (bus, FLR, as a virtual function) since power on, which is none; survives a reset */

/* BAR 0. Queue memory, none after a reset */
#define PCI_IMS_QUEUE_BASE_LO		0x014	/* rw: its address, bits 3:0 are zero */
#define PCI_IMS_QUEUE_BASE_HI		0x018	/* rw: bits 63:32 */
#define PCI_IMS_QUEUE_COUNT		0x01c	/* rw: contexts there, at most NSLOTS */

/* BAR 0. Trigger: set the first three, and TRIG_PASID, then write TRIG_GO */
#define PCI_IMS_TRIG_FIRST		0x020	/* rw: first source */
#define PCI_IMS_TRIG_COUNT		0x024	/* rw: number of sources */
#define PCI_IMS_TRIG_TIMES		0x028	/* rw: events for each of them */
#define PCI_IMS_TRIG_GO			0x02c	/* wo: PCI_IMS_GO_* */

#define PCI_IMS_GO_RAW			1
#define PCI_IMS_GO_PACED		2

/*
 * TRIG_GO is invalid, and does nothing, if a source does not exist, if COUNT
 * or TIMES is zero, for more than PCI_IMS_MAX_RAW raw events (COUNT * TIMES),
 * if PCI_IMS_ALL_QUEUED would overflow, or if the write is itself the message
 * of a pci-ims device.
 */
#define PCI_IMS_MAX_RAW			65536

/* For whom: PASID_EN and PASID as in a control word, without PASID_EN for the device */
#define PCI_IMS_TRIG_PASID		0x034	/* rw */

/* BAR 0. Acknowledge: the handler has seen one message of this source */
#define PCI_IMS_ACK			0x030	/* wo: source */

/* BAR 0. Totals over all sources, cleared by a reset */
#define PCI_IMS_ALL_SENT		0x040	/* ro: messages emitted */
#define PCI_IMS_ALL_QUEUED		0x044	/* ro: paced events that still wait */
#define PCI_IMS_ALL_SPURIOUS		0x048	/* ro: acknowledged, though nothing was unacknowledged */
#define PCI_IMS_ALL_TORN		0x04c	/* ro: address or data of a slot written while it was not masked */
#define PCI_IMS_ALL_WRITES		0x050	/* ro: writes to the address or data of a slot */

/*
 * BAR 0. Counters of the source in SEL, cleared by a reset and by CLEAR.
 * Invalid while SEL names no source.
 */
#define PCI_IMS_SEL			0x060	/* rw: source */
#define PCI_IMS_CLEAR			0x064	/* wo: any value: counters, queue and pending bit of SEL to zero, the mask stays */
#define PCI_IMS_SENT			0x068	/* ro: messages emitted */
#define PCI_IMS_HELD			0x06c	/* ro: raw events that met a mask */
#define PCI_IMS_DROPPED			0x070	/* ro: messages that could not leave: no bus mastering, MSI-X disabled, no valid context */
#define PCI_IMS_QUEUED			0x074	/* ro: paced events that still wait */
#define PCI_IMS_UNACKED			0x078	/* ro: messages emitted and not acknowledged */
#define PCI_IMS_SPURIOUS		0x07c	/* ro: acknowledged, though nothing was unacknowledged */
#define PCI_IMS_WRITES			0x080	/* ro: writes to address or data (slots only) */
#define PCI_IMS_CTRL_WRITES		0x084	/* ro: writes to the control word (slots only) */
#define PCI_IMS_TORN			0x088	/* ro: writes to address or data while not masked (slots only) */
#define PCI_IMS_REFUSED			0x08c	/* ro: events for a PASID that is not the owner */

#define PCI_IMS_ID_VALUE		0x50494d53

#endif /* PCI_IMS_REGS_H */
