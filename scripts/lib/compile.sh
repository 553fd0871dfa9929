# shellcheck shell=bash disable=SC2034
# Compiling for the checks. Results are kept by tree, configuration, compiler and
# what was compiled; failures are not, they may be the machine's.

# What compile() builds for: ARCH, CC ('' for gcc), OPTIONS over the configuration
# in tests/kernel, ARGS for make
ARCH=x86_64 COMPILER='' OPTIONS=() ARGS=()

# arch_of FILE: which architecture compiles it. Selftests are built along with the kernel
# that they run on.
arch_of() {
	case $1 in
	tools/*) echo none ;;
	arch/x86/* | drivers/iommu/amd/* | drivers/iommu/intel/* | drivers/iommu/*hyperv*) echo x86_64 ;;
	arch/arm64/*) echo arm64 ;;
	arch/powerpc/*) echo powerpc ;;
	arch/riscv/* | drivers/iommu/riscv/* | drivers/irqchip/*riscv*) echo riscv ;;
	drivers/irqchip/* | kernel/irq/ipi.c) echo arm64 ;;
	*) echo x86_64 ;;
	esac
}

# objects ARCH [COMMIT]: of the touched files those that ARCH compiles and COMMIT has
objects() {
	local file
	while read -r file; do
		if [[ $(arch_of "$file") == "$1" ]] && git -C "$K/tree" cat-file -e "${2:-$TIP}:$file" 2>/dev/null; then
			object_of "$file"
		fi
	done < <(touched '*.c')
}

# object_of FILE: as the kernel's make calls it. What KVM has for all architectures is
# compiled by each of them.
object_of() {
	case $1 in
	virt/kvm/*) echo "arch/x86/kvm/../../../${1%.c}.o" ;;
	*) echo "${1%.c}.o" ;;
	esac
}

# source_of OBJECT: the other way round
source_of() {
	local file=${1%.o}.c
	echo "${file##*/../}"
}

# folders: with touched C files, but for those of architectures without a check of their own;
# KVM as a whole is too much for one file of it, and of mm and lib only the file is compiled
folders() { touched '*.c' | grep -vE '^(arch/[a-z0-9]*/kvm|arch/powerpc|virt|tools)/' | sed -E '/^(mm|lib)\//s/c$/o/; /^(mm|lib)\//!s,[^/]*$,,' | sort -u; }

toolchain() {
	MAKE_ARGS=(ARCH="$ARCH" "${ARGS[@]}")
	case $ARCH in
	arm64) MAKE_ARGS+=(CROSS_COMPILE=aarch64-linux-gnu-) ;;
	powerpc) MAKE_ARGS+=(CROSS_COMPILE=powerpc64le-linux-gnu-) ;;
	riscv) MAKE_ARGS+=(CROSS_COMPILE=riscv64-linux-gnu-) ;;
	esac
	GCC=${COMPILER:-$(case $ARCH in arm64) echo aarch64-linux-gnu-gcc ;; powerpc) echo powerpc64le-linux-gnu-gcc ;; riscv) echo riscv64-linux-gnu-gcc ;; *) echo gcc ;; esac)}
	if [[ $COMPILER ]]; then MAKE_ARGS+=(CC="$COMPILER"); fi
	case $GCC in
	gcc) needs gcc gcc ;;
	clang-*) needs "$GCC" "$GCC" ;;
	*) needs "$GCC" "gcc-${GCC%-gcc}" ;;
	esac
	case $ARCH in
	x86_64) CONFIGS=("$TOP"/tests/kernel/{base,check-x86_64}.config) ;;
	i386) CONFIGS=("$TOP/tests/kernel/base.config") ;;
	*) CONFIGS=("$TOP/tests/kernel/check-$ARCH.config") ;;
	esac
}

# wanted: the configuration, with OPTIONS in place of what it says about them
wanted() {
	printf '%s\n' "${OPTIONS[@]}"
	cat "${CONFIGS[@]}" | grep '^CONFIG_' | grep -vE "^($(printf '%s|' "${OPTIONS[@]%%=*}")none)="
}

# configure DIR: what depends on an option that is off may go along with it,
# the options themselves have to be taken
configure() {
	local dir=$1 option
	mkdir -p "$dir"
	# Again when the series has added an option
	{
		wanted
		git -C "$K/tree" ls-tree -r "$commit" | grep Kconfig | hash12 | sed 's/^/# /'
	} >"$dir/wanted.new"
	if [[ -e $dir/.config ]] && cmp -s "$dir/wanted.new" "$dir/wanted"; then return; fi
	rm -f "$dir/wanted"
	K=$K/check kernel_make "$dir" "${MAKE_ARGS[@]}" KCONFIG_ALLCONFIG="$dir/wanted.new" allnoconfig >"$OUT/config.log" 2>&1 ||
		die "kconfig failed: $(tail -n 1 "$OUT/config.log")"
	for option in "${OPTIONS[@]}"; do
		if [[ $option == *=n ]]; then
			! grep -q "^${option%=n}=" "$dir/.config" || die "the kernel configuration did not take $option"
		else
			grep -qx -- "$option" "$dir/.config" || die "the kernel configuration did not take $option"
		fi
	done
	mv "$dir/wanted.new" "$dir/wanted"
}

# compile COMMIT TARGET...: objects, or folders with a slash at the end. Sets RESULT,
# a folder with 'log' and 'sizes'. Fails, with the errors in $OUT/errors, if it does
# not compile. KEEP=1: objects of before that are up to date are not made again.
compile() {
	local commit=$1 dir target
	shift
	toolchain
	dir=$K/check/$ARCH${COMPILER:+-$COMPILER}
	RESULT=$CACHE/check-$({
		git -C "$K/tree" ls-tree "$commit" | grep -v 'Documentation$'
		"$GCC" --version
		sparse --version 2>&1
		wanted
		echo "${MAKE_ARGS[@]}" "$@" "${KEEP:-}"
		declare -f kernel_make compile configure
	} | hash12)
	if kept "$RESULT"; then
		FROM_CACHE=$((FROM_CACHE + 1))
		return 0
	fi
	MADE=$((MADE + 1))
	progress "$NAME: $ARCH${COMPILER:+, $COMPILER}${STAGE:+, $STAGE}"
	checkout "$commit"
	configure "$dir"
	if [[ ! ${KEEP:-} ]]; then
		# They have to say their warnings again
		for target; do
			case $target in
			*/) [[ ! -d $dir/$target ]] || find "$dir/$target" -name '*.o' -delete ;;
			*) rm -f "$dir/$target" ;;
			esac
		done
	fi
	rm -rf "$OUT/result"
	mkdir "$OUT/result"
	if ! K=$K/check kernel_make "$dir" "${MAKE_ARGS[@]}" -k "$@" >"$OUT/result/log" 2>&1; then
		cp "$OUT/result/log" "$LOGS/check-$NAME.make"
		grep -E 'error|\*\*\*|undefined|[Nn]o rule' "$OUT/result/log" >"$OUT/errors" || tail -n 5 "$OUT/result/log" >"$OUT/errors"
		return 1
	fi
	# So that it says the same in whatever cache it was made
	sed -i "s,$SRC/,,g" "$OUT/result/log"
	for target; do
		case $target in
		*/) [[ ! -d $dir/$target ]] || (cd "$dir" && find "$target" -name '*.o' ! -name '.*') ;;
		*) echo "$target" ;;
		esac
	done | grep -v '/built-in' | sort | (cd "$dir" && xargs -r size) | awk 'NR > 1 { print $6, $1, $2, $3 }' >"$OUT/result/sizes"
	mv "$OUT/result" "$RESULT"
}

# warnings LOG: the lines that count
warnings() { matches -E 'warning:|error:|WARNING:' "$1"; }

# compile_or_complain COMMIT TARGET...
compile_or_complain() {
	compile "$@" && return
	complain "does not compile for $ARCH${COMPILER:+ with $COMPILER} (${OPTIONS[*]}):"
	complaints <"$OUT/errors"
	return 1
}

# new_warnings TARGET...: complaints about those of the tip that the base does not have.
# The base is only compiled if there are any. LOG is that of the tip.
new_warnings() {
	local target
	local -a old=()
	compile_or_complain "$TIP" "$@" || return 0
	LOG=$RESULT/log
	warnings "$LOG" >"$OUT/tip"
	COMPILED=$((${COMPILED:-0} + $(wc -l <"$RESULT/sizes")))
	if [[ ! -s $OUT/tip ]]; then return; fi
	for target; do
		if [[ $target == */ ]] || git -C "$K/tree" cat-file -e "$BASE:$(source_of "$target")" 2>/dev/null; then old+=("$target"); fi
	done
	compile_or_complain "$BASE" "${old[@]}" || return 0
	warnings "$RESULT/log" >"$OUT/base"
	new_lines "$OUT/base" "$OUT/tip" | complaints
}

# config_check ARCH FOLDER-PATTERN OPTION...: all of what config-* do
config_check() {
	local pattern=$2
	local -a targets
	ARCH=$1
	OPTIONS=("${@:3}")
	mapfile -t targets < <(folders | grep -E "$pattern")
	new_warnings "${targets[@]}"
	verdict "${#targets[@]} folders, ${COMPILED:-0} objects for $ARCH${OPTIONS[*]:+ with ${OPTIONS[*]}}, no new warning"
}
