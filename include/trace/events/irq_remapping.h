/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM irq_remapping

#if !defined(_TRACE_IRQ_REMAPPING_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IRQ_REMAPPING_H

#include <linux/tracepoint.h>

/*
 * One event per write of an interrupt remapping table entry, including the
 * invalidation which makes it effective. @table is the device ID for units
 * with a table per device. 32-bit entries are in the low halves.
 */
TRACE_EVENT(irte_update,
	TP_PROTO(const char *type, unsigned int unit, unsigned int table,
		 unsigned int index, u64 old_lo, u64 old_hi,
		 u64 new_lo, u64 new_hi, int ret),

	TP_ARGS(type, unit, table, index, old_lo, old_hi, new_lo, new_hi, ret),

	TP_STRUCT__entry(
		__string(type, type)
		__field(unsigned int, unit)
		__field(unsigned int, table)
		__field(unsigned int, index)
		__field(u64, old_lo)
		__field(u64, old_hi)
		__field(u64, new_lo)
		__field(u64, new_hi)
		__field(int, ret)
	),

	TP_fast_assign(
		__assign_str(type);
		__entry->unit = unit;
		__entry->table = table;
		__entry->index = index;
		__entry->old_lo = old_lo;
		__entry->old_hi = old_hi;
		__entry->new_lo = new_lo;
		__entry->new_hi = new_hi;
		__entry->ret = ret;
	),

	TP_printk("unit=%s%u table=%04x index=%u old=%016llx:%016llx new=%016llx:%016llx ret=%d",
		  __get_str(type), __entry->unit, __entry->table,
		  __entry->index, __entry->old_hi, __entry->old_lo,
		  __entry->new_hi, __entry->new_lo, __entry->ret)
);

#endif /* _TRACE_IRQ_REMAPPING_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
