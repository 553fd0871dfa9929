# shellcheck shell=bash disable=SC2034,SC2154
# The cost in instructions: a kernel without and one with the series, not built for
# debugging, the same operations counted in both. For scripts/bench and the suite 'bench'.

BENCH_CONFIG=("$TOP/tests/kernel/base.config" "$TOP/tests/kernel/bench.config")
BENCH_UNITS=(vtd amd)
BENCH_REPEATS=3
# More than this many thousandths of the base's instructions are too many, and of those
# of an MSI-X interrupt for one in a slot array
BENCH_LIMIT=1010
# ... of the 600th allocation for the 60,000th
BENCH_MANY_LIMIT=1200

# ---- the two kernels

# bench_kernels: BENCH_IMAGE[base] and [series] with their BENCH_INITRD. The program in
# both is made with the headers of the series.
bench_kernels() {
	local IMAGE INITRD GUEST_UAPI
	bench_image "$TIP" "building the kernel with the series"
	BENCH_IMAGE[series]=$IMAGE BENCH_INITRD[series]=$INITRD
	GUEST_UAPI=$IMAGE/uapi
	bench_image "$BASE" "building the kernel without the series"
	BENCH_IMAGE[base]=$IMAGE BENCH_INITRD[base]=$INITRD
}
declare -A BENCH_IMAGE=() BENCH_INITRD=()

# bench_image COMMIT TEXT: sets IMAGE, the folder with bzImage and bench.ko, and INITRD
bench_image() {
	IMAGE=$CACHE/image-bench-$({ image_key "$1" "${BENCH_CONFIG[@]}" "$TESTS"/bench/* "$TESTS"/qemu/*.h; declare -f bench_build config_merged; } | hash12)
	kept "$IMAGE" || must kernel 5400 "$2" bench_build "$1" "$IMAGE"
	guest_image
}

# In a build folder of its own: the configuration has little in common with the tests'
bench_build() {
	local build=$K/bench module=$K/bench-module out=$TMP/image-bench
	git -C "$K/tree" checkout -q -f --detach "$1"
	config_merged "${BENCH_CONFIG[@]}" >"$TMP/bench.config"
	kernel_config "$build" x86_64 allnoconfig "$TMP/bench.config"
	kernel_make "$build" bzImage modules
	rm -rf "$module"
	mkdir -p "$module/bench" "$module/qemu" "$out"
	cp "$TESTS"/bench/* "$module/bench"
	cp "$TESTS"/qemu/*.h "$module/qemu"
	kernel_make "$build" M="$module/bench" modules
	uapi_headers "$build" "$out"
	cp "$build/arch/x86/boot/bzImage" "$module/bench/bench.ko" "$out"
	mv "$out" "$2"
}

# ---- counting

# bench_count KERNEL UNIT NUMBER: one boot; its lines go to $RESULTS. Sets PROBLEM.
#
# All that the guest sees of time comes from the number of instructions: shift=0 is one
# per nanosecond, sleep=off makes idle time pass at once, and the clock of the RTC and
# the random numbers are the same each time. The kernel is told how fast its TSC is, as
# it fails to find that out now and then without a PIT. No x2APIC: QEMU stops with "Bad
# icount read" when its registers are used.
bench_count() {
	local name=bench-$1-$2-$3 IMAGE=${BENCH_IMAGE[$1]} INITRD=${BENCH_INITRD[$1]} ACCEL=tcg LONG=''
	boot "$name" 600 "$2" "intremap=on imstest=bench tsc_early_khz=1000000" -cpu qemu64,+svm,+npt,+nx,+ssse3 \
		-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -seed 1
	booted "$name"
	cp "$LOGS/$name".{console,out,command,qemu} "$RESULTS/"
	# Each device that counts says so
	if [[ ! $PROBLEM ]] && [[ $(grep '^bench: done, ' "$RESULTS/$name.out" | sort -u) != "bench: done, 0" ]]; then
		PROBLEM="$name did not count: see $RESULTS/$name.console"
	fi
	grep '^bench: ' "$RESULTS/$name.out" >"$RESULTS/$name.counts" || :
}

# bench_measure: all boots. Sets PROBLEM, the first one.
bench_measure() {
	local unit kernel n problem=
	for unit in "${BENCH_UNITS[@]}"; do
		for kernel in base series; do
			for ((n = 1; n <= BENCH_REPEATS; n++)); do
				bench_count "$kernel" "$unit" "$n"
				problem=${problem:-$PROBLEM}
			done
		done
	done
	PROBLEM=$problem
}

# bench_differs: the boots that did not count the same as the first of their kind
bench_differs() {
	local unit kernel n
	for unit in "${BENCH_UNITS[@]}"; do
		for kernel in base series; do
			for ((n = 2; n <= BENCH_REPEATS; n++)); do
				cmp -s "$RESULTS/bench-$kernel-$unit-1.counts" "$RESULTS/bench-$kernel-$unit-$n.counts" ||
					echo "bench-$kernel-$unit-$n"
			done
		done
	done
}

# bench_table UNIT: 'KIND<TAB>OPERATION<TAB>BASE<TAB>SERIES<TAB>RATIO', '-' where there is none
bench_table() {
	awk '
		!/^bench: (msix|slots|queue) / { next }
		{ name = $6; for (i = 7; i <= NF; i++) name = name " " $i }
		NR == FNR { base[$2, name] = $3; next }
		{
			b = base[$2, name]
			printf "%s\t%s\t%s\t%d\t%s\n", $2, name, b ? b : "-", $3, b ? sprintf("%.4f", $3 / b) : "-"
		}' "$RESULTS/bench-base-$1-1.counts" "$RESULTS/bench-series-$1-1.counts"
}

# bench_slower UNIT: what costs too much
bench_slower() {
	bench_table "$1" | awk -F'\t' -v limit="$BENCH_LIMIT" '$3 != "-" && $4 * 1000 > $3 * limit { printf "%s %s: %d, %d without the series\n", $1, $2, $4, $3 }'
}

# bench_ims UNIT: 'WHAT<TAB>MSI-X<TAB>SLOT ARRAY<TAB>RATIO<TAB>QUEUE MEMORY', with the series
bench_ims() {
	bench_table "$1" | awk -F'\t' '
		$2 ~ /^(allocate one|request_irq|free_irq|free one)/ { sum[$1] += $4 }
		$2 ~ /other CPU$/ { move[$1] = $4 }
		function line(name, count) {
			printf "%s\t%d\t%d\t%.4f\t%d\n", name, count["msix"], count["slots"], count["slots"] / count["msix"], count["queue"]
		}
		END {
			if (!sum["slots"]) exit
			line("allocate, request and free", sum)
			line("irq_set_affinity(), other CPU", move)
		}'
}

# bench_many UNIT: 'NUMBER<TAB>INSTRUCTIONS' of the allocation of one more interrupt
bench_many() { awk '/^bench: many / { print $7 "\t" $3 }' "$RESULTS/bench-series-$1-1.counts"; }

# bench_many_ratio UNIT: the last allocation against the 600th
bench_many_ratio() { bench_many "$1" | awk '$1 == 600 { first = $2 } END { if (first && $1 != 600) printf "%.4f\n", $2 / first }'; }

# bench_ims_slower UNIT: what costs too much
bench_ims_slower() {
	bench_ims "$1" | awk -F'\t' -v limit="$BENCH_LIMIT" '$4 * 1000 > limit { printf "%s: %s of MSI-X\n", $1, $4 }'
	bench_many_ratio "$1" | awk -v limit="$BENCH_MANY_LIMIT" '$1 * 1000 > limit { printf "the last of many allocations: %s of the 600th\n", $1 }'
}

# ---- the suite

suite_bench() {
	local unit slower differs
	bench_kernels
	bench_measure
	if [[ $PROBLEM ]]; then record bench.console "not ok" "$PROBLEM"; else record bench.console ok; fi
	differs=$(bench_differs | paste -sd ' ')
	if [[ $differs ]]; then record bench.repeats "not ok" "these counted something else: $differs"; else record bench.repeats ok; fi
	for unit in "${BENCH_UNITS[@]}"; do
		slower=$(bench_slower "$unit" | paste -sd ';')
		if [[ $slower ]]; then
			record "bench.$unit" "not ok" "$slower"
		elif [[ $(bench_table "$unit") != *msix* ]]; then
			record "bench.$unit" "not ok" "nothing was counted"
		else
			record "bench.$unit" ok
		fi
		slower=$(bench_ims_slower "$unit" | paste -sd ';')
		if [[ $slower ]]; then
			record "bench.$unit-ims" "not ok" "$slower"
		elif [[ ! $(bench_ims "$unit") ]]; then
			record "bench.$unit-ims" "not ok" "nothing was counted"
		else
			record "bench.$unit-ims" ok
		fi
	done
}

# ---- each patch, booted

# Patches that touch these are booted one after the other, also those in the middle
BOOTED_PATHS=(kernel/irq arch/x86/kernel/apic arch/x86/kernel/irq.c drivers/iommu)

# One round of what scripts/bench counts: MSI-X interrupts are allocated, requested, moved,
# delivered and freed. A kernel that has passed is not built again: hours of work can be
# done in parts.
suite_boots() {
	local commit n=0 unit key IMAGE INITRD GUEST_UAPI bad='' all=''
	local -a commits
	bench_image "$TIP" "building the kernel with the series"
	GUEST_UAPI=$IMAGE/uapi
	mapfile -t commits < <(git -C "$K/tree" rev-list --reverse "$BASE..$TIP" -- "${BOOTED_PATHS[@]}")
	for commit in "${commits[@]}"; do
		key=$CACHE/check-$({ echo boots; image_key "$commit" "${BENCH_CONFIG[@]}" "$TESTS"/bench/*; } | hash12)
		n=$((n + 1))
		if kept "$key"; then continue; fi
		bench_image "$commit" "building $n of ${#commits[@]} patches to be booted"
		bad=
		for unit in "${BENCH_UNITS[@]}"; do
			boot "boots-$unit" 300 "$unit" "intremap=on imstest=bench imstest_rounds=1"
			booted "boots-$unit"
			if [[ ! $PROBLEM && $(grep '^bench: done, ' "$LOGS/boots-$unit.out" | sort -u) != "bench: done, 0" ]]; then
				PROBLEM="the interrupts of the device do not work"
			fi
			if [[ $PROBLEM ]]; then
				cp "$LOGS/boots-$unit".{console,out} "$RESULTS/"
				bad+=", $unit: $PROBLEM"
			fi
		done
		if [[ $bad ]]; then
			all+="$(git -C "$K/tree" log -1 --format=%s "$commit")$bad; "
		else
			: >"$key"
		fi
	done
	if [[ $all ]]; then
		record boots.each_patch "not ok" "$all"
	elif ((n)); then
		record boots.each_patch ok
	else
		record boots.each_patch "not ok" "there is no patch to be booted"
	fi
}
