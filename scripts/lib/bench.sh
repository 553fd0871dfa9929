# shellcheck shell=bash disable=SC2034,SC2154
# The cost in instructions: a kernel without and one with the series, not built for
# debugging, the same operations counted in both. For scripts/bench and the suite 'bench'.

BENCH_CONFIG=("$TOP/tests/kernel/base.config" "$TOP/tests/kernel/bench.config")
BENCH_UNITS=(vtd amd)
BENCH_REPEATS=3
# More than this many thousandths of the base's instructions are too many
BENCH_LIMIT=1010

# ---- the two kernels

# bench_kernels: BENCH_IMAGE[base] and [series] with their BENCH_INITRD
bench_kernels() {
	local IMAGE INITRD
	bench_image "$BASE" "building the kernel without the series"
	BENCH_IMAGE[base]=$IMAGE BENCH_INITRD[base]=$INITRD
	bench_image "$TIP" "building the kernel with the series"
	BENCH_IMAGE[series]=$IMAGE BENCH_INITRD[series]=$INITRD
}
declare -A BENCH_IMAGE=() BENCH_INITRD=()

# bench_image COMMIT TEXT: sets IMAGE, the folder with bzImage and bench.ko, and INITRD
bench_image() {
	IMAGE=$CACHE/image-bench-$({ image_key "$1" "${BENCH_CONFIG[@]}" "$TESTS"/bench/* "$TESTS"/qemu/*.h; declare -f bench_build bench_config; } | hash12)
	kept "$IMAGE" || must kernel 5400 "$2" bench_build "$1" "$IMAGE"
	guest_image
}

# In a build folder of its own: the configuration has little in common with the tests'
bench_build() {
	local build=$K/bench module=$K/bench-module out=$TMP/image-bench
	git -C "$K/tree" checkout -q -f --detach "$1"
	bench_config >"$TMP/bench.config"
	kernel_config "$build" x86_64 allnoconfig "$TMP/bench.config"
	kernel_make "$build" bzImage modules
	rm -rf "$module"
	mkdir -p "$module/bench" "$module/qemu" "$out"
	cp "$TESTS"/bench/* "$module/bench"
	cp "$TESTS"/qemu/*.h "$module/qemu"
	kernel_make "$build" M="$module/bench" modules
	cp "$build/arch/x86/boot/bzImage" "$module/bench/bench.ko" "$out"
	mv "$out" "$2"
}

# The last word on each option counts
bench_config() { cat "${BENCH_CONFIG[@]}" | awk -F= '/^CONFIG_/ { line[$1] = $0 } END { for (i in line) print line[i] }' | sort; }

# ---- counting

# bench_count KERNEL UNIT NUMBER: one boot; its lines go to $RESULTS. Sets PROBLEM.
#
# All that the guest sees of time comes from the number of instructions: shift=0 is one
# per nanosecond, sleep=off makes idle time pass at once, and the clock of the RTC and
# the random numbers are the same each time. The kernel is told how fast its TSC is, as
# it fails to find that out now and then without a PIT. No x2APIC: QEMU stops with "Bad
# icount read" when its registers are used.
bench_count() {
	local name=bench-$1-$2-$3 IMAGE=${BENCH_IMAGE[$1]} INITRD=${BENCH_INITRD[$1]} ACCEL=tcg
	boot "$name" 600 "$2" "intremap=on imstest=bench tsc_early_khz=1000000" -cpu qemu64,+svm,+npt,+nx,+ssse3 \
		-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -seed 1
	booted "$name"
	cp "$LOGS/$name".{console,out,command,qemu} "$RESULTS/"
	if [[ ! $PROBLEM ]] && ! grep -q '^bench: done, 0$' "$RESULTS/$name.out"; then
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
		!/^bench: (msix|ims) / { next }
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
	done
}
