# shellcheck shell=bash disable=SC2034
# The kernel: source, series, configuration, build.

TESTS=$TOP/tests	# a mutant brings a copy of its own
X86_CONFIG=("$TOP/tests/kernel/base.config" "$TOP/tests/kernel/debug.config")
HOST_CONFIG=("$TOP/tests/kernel/base.config" "$TOP/tests/kernel/host.config")
KCSAN_CONFIG=("${X86_CONFIG[@]}" "$TOP/tests/kernel/kcsan.config")
OLD_CONFIG=("${HOST_CONFIG[@]}" "$TOP/tests/kernel/old.config")
UML_CONFIG=("$TOP/tests/kernel/kunit-uml.config")
POWERPC_CONFIG=$TOP/tests/kernel/kunit-powerpc.config

# What would change a build behind our back
unset ARCH CROSS_COMPILE KCFLAGS CFLAGS LDFLAGS MAKEFLAGS MAKELEVEL O M V W C CC LD

kernel_folder() {
	if [[ ${LINUX:-} ]]; then
		own=$(cd -- "$LINUX" 2>/dev/null && pwd -P) || die "LINUX=$LINUX is not a folder: give a kernel tree or a git repository of version 7.3"
		K=$CACHE/own-linux-$(hash12 <<<"$own")
	else
		K=$CACHE/linux-$(pin linux-source-7.3 5 | cut -c1-12)
	fi
}

# ---- source: sets BASE, the commit that the series goes on

kernel_source() {
	if [[ ${LINUX:-} ]]; then
		kernel_own
	else
		kept "$K" || must linux 1800 "fetching and unpacking the kernel source" kernel_fetch
		if [[ -e $K/note ]]; then cat "$K/note"; fi
		BASE=$(git -C "$K/tree" rev-parse base)
	fi
	# What a git that was killed has left; nobody else may be at work in our copy
	rm -f "$K/tree/.git/index.lock"
	kernel_version
}

kernel_fetch() {
	local deb=$TMP/deb-linux dir=$TMP/linux
	fetch linux-source-7.3 "$deb"
	mkdir "$dir"
	if [[ -e $deb/note ]]; then mv "$deb/note" "$dir"; fi
	dpkg-deb --fsys-tarfile "$deb"/*.deb | tar -xO ./usr/src/linux-source-7.3.tar.xz >"$TMP/linux.tar.xz"
	[[ -e $dir/note ]] || sha256sum -c <<<"$LINUX_TAR_SHA256  $TMP/linux.tar.xz"
	tar -xJf "$TMP/linux.tar.xz" -C "$dir"
	rm -r "$deb" "$TMP/linux.tar.xz"
	mv "$dir/linux-source-7.3" "$dir/tree"
	tree_import "$dir/tree" "Linux of Debian's linux-source-7.3"
	mv "$dir" "$K"
	prune
}

# Somebody's own tree is only read: its objects are borrowed, not even its index
# is refreshed.
kernel_own() {
	local git_dir lender=$K/tree/.git/objects/info/alternates
	# Without the objects that it borrowed a copy is worth nothing
	if [[ -e $lender && ! -d $(cat "$lender") ]]; then rm -rf "$K"; fi
	mkdir -p "$K"
	touch "$K"
	[[ -d $K/tree/.git ]] || git init -q -b none "$K/tree"
	if ! own_is_git; then
		must linux 1800 "importing $own" kernel_import
		BASE=$(git -C "$K/tree" rev-parse base)
		return
	fi
	[[ -z $(git -C "$own" status --porcelain --untracked-files=no 2>/dev/null) ]] ||
		die "LINUX=$LINUX has changes that are not committed: commit or stash them"
	git_dir=$(git -C "$own" rev-parse --path-format=absolute --git-common-dir)
	echo "$git_dir/objects" >"$lender"
	rm -f "$K/tree/.git/shallow"
	if [[ -e $git_dir/shallow ]]; then cp "$git_dir/shallow" "$K/tree/.git/"; fi
	BASE=$(git -C "$own" rev-parse --verify -q 'HEAD^{commit}') || die "LINUX=$LINUX has no commit: check out a 7.3 kernel there"
}

own_is_git() {
	[[ $(git -C "$own" rev-parse --is-bare-repository 2>/dev/null) == true ||
		$(git -C "$own" rev-parse --show-toplevel 2>/dev/null) == "$own" ]]
}

kernel_import() {
	local -a git=(env GIT_INDEX_FILE="$K/index" git --git-dir="$K/tree/.git" --work-tree="$own")
	# Forced, since Debian's .gitignore hides all; without what a build leaves
	"${git[@]}" -c core.bigFileThreshold=1 -c core.compression=1 add -Af -- . \
		':!*.o' ':!*.a' ':!*.ko' ':!*.cmd' ':!*.mod' ':!vmlinux*' ':!.config*' ':!.tmp_*' ':!.git' \
		':!include/config' ':!include/generated' ':!arch/*/include/generated'
	"${git[@]}" update-ref refs/heads/base \
		"$("${git[@]}" commit-tree -m "your tree" "$("${git[@]}" write-tree)")"
}

kernel_version() {
	local version
	version=$(git -C "$K/tree" show "$BASE:Makefile" 2>/dev/null |
		awk -F' *= *' '$1 == "VERSION" { v = $2 } $1 == "PATCHLEVEL" { print v "." $2; exit }') || :
	[[ $version == 7.3 ]] || die "the series is for Linux 7.3 and ${LINUX:-the source} is ${version:-no kernel tree}: check out v7.3 or a 7.3.y there, or leave LINUX unset"
}

# ---- series: sets TIP

kernel_series() {
	local -a patches
	shopt -s nullglob
	patches=("$TOP"/patches/[0-9]*.patch)
	shopt -u nullglob
	if [[ ${patches[0]:-} == */0000-* ]]; then patches=("${patches[@]:1}"); fi
	((${#patches[@]})) || die "there are no patches in $TOP/patches: check out the repository again"
	tree_commit "$K/tree" "$BASE" "${patches[@]}"
	((RC == 0)) || explain apply 600 "applying the series"
	TIP=$COMMIT
}

# ---- build

kernel_make() {
	make -C "$K/tree" O="$1" -j"$JOBS" LOCALVERSION= KBUILD_BUILD_TIMESTAMP=@1700000000 \
		KBUILD_BUILD_USER=ir-ims KBUILD_BUILD_HOST=localhost KBUILD_BUILD_VERSION=1 "${@:2}"
}

# kernel_config DIR ARCH TARGET FRAGMENT...: TARGET is what the fragments start from
kernel_config() {
	local dir=$1 arch=$2 target=$3 option
	shift 3
	mkdir -p "$dir"
	cat "$@" >"$dir/wanted.new"
	if [[ -e $dir/.config ]] && cmp -s "$dir/wanted.new" "$dir/wanted"; then return; fi
	rm -f "$dir/wanted"
	cp "$dir/wanted.new" "$dir/.config"
	kernel_make "$dir" ARCH="$arch" KCONFIG_ALLCONFIG="$dir/wanted.new" "$target"
	while read -r option; do
		grep -qx -- "$option" "$dir/.config" || die "the kernel configuration did not take $option: see tests/kernel"
	done < <(grep '^CONFIG_[^=]*=[^n]' "$dir/wanted.new")
	while read -r option; do
		! grep -q "^$option=" "$dir/.config" || die "the kernel configuration did not take $option=n: see tests/kernel"
	done < <(sed -n 's/^\(CONFIG_[^=]*\)=n$/\1/p' "$dir/wanted.new")
	mv "$dir/wanted.new" "$dir/wanted"
}

# config_merged FRAGMENT...: the last word on each option counts
config_merged() { cat "$@" | awk -F= '/^CONFIG_/ { line[$1] = $0 } END { for (i in line) print line[i] }' | sort; }

# image_key COMMIT FILE...: everything that a build depends on
image_key() {
	{ git -C "$K/tree" rev-parse "$1^{tree}"; gcc --version; ld --version; cat "${@:2}"; declare -f kernel_make kernel_config kernel_build driver_build uapi_headers doc_code kernel_selftests uml_build; } | hash12
}

# kernel_image COMMIT: sets IMAGE, the folder with bzImage, vmlinux and the modules; status in RC
kernel_image() {
	IMAGE=$CACHE/image-$(image_key "$1" "${X86_CONFIG[@]}" "$TESTS"/driver/{Kbuild,*.c,*.h} "$TESTS"/doc/* "$TESTS"/qemu/*.h)
	RC=0
	kept "$IMAGE" || step kernel 5400 "${2:-building the kernel}" kernel_build "$1" "$IMAGE"
}

kernel_build() {
	local build=$K/kernel module=$K/module out=$TMP/image
	git -C "$K/tree" checkout -q -f --detach "$1"
	kernel_config "$build" x86_64 allnoconfig "${X86_CONFIG[@]}"
	kernel_make "$build" bzImage modules
	driver_build "$build" "$module" "$out"
	mkdir "$module/doc"
	cp "$TESTS"/doc/{Kbuild,*.h} "$module/doc"
	doc_code "$K/tree/Documentation/PCI/ims.rst" "$module/doc"
	kernel_make "$build" M="$module/doc" KCFLAGS=-Werror modules
	cp "$build/arch/x86/boot/bzImage" "$build/vmlinux" "$module"/doc/*.ko "$out"
	kernel_selftests "$build" "$out"
	mv "$out" "$2"
}

# driver_build BUILD FOLDER OUT: the test drivers for that kernel, and its headers
driver_build() {
	rm -rf "$2"
	mkdir -p "$2"/{driver,qemu} "$3"
	cp "$TESTS"/driver/{Kbuild,*.c,*.h} "$2/driver"
	cp "$TESTS"/qemu/*.h "$2/qemu"
	kernel_make "$1" M="$2/driver" modules
	cp "$2"/driver/*.ko "$3"
	uapi_headers "$1" "$3"
}

# uapi_headers BUILD OUT: what the guest program is compiled with
uapi_headers() {
	kernel_make "$1" headers
	install -D -m 644 -t "$2/uapi/linux" "$1"/usr/include/linux/{bits,kvm,stddef,vfio}.h
	install -D -m 644 -t "$2/uapi/asm" "$1"/usr/include/asm/kvm.h
}

# doc_code RST FOLDER: each code block with a name becomes NAME.c there
doc_code() {
	awk -v dir="$2" '
		/^\.\. code-block:: c$/ { block = 1; file = ""; next }
		block && /^   :name: / { file = dir "/" $2 ".c"; next }
		block && /^[^ ]/ { block = 0 }
		block && file { sub(/^   /, ""); print >file }' "$1"
}

# kernel_selftests BUILD DIR: those that the series brings, if it does
kernel_selftests() {
	local name tests=$K/tree/tools/testing/selftests
	for name in kvm/x86/irte_update_test kvm/x86/set_msi_route_test vfio/vfio_pci_ims_test; do
		[[ -e $tests/$name.c ]] || continue
		mkdir -p "$TMP/selftests/${name%%/*}"
		make -C "$tests/${name%%/*}" ARCH=x86 OUTPUT="$TMP/selftests/${name%%/*}" KHDR_INCLUDES="-isystem $1/usr/include" \
			LDFLAGS='-static -pthread' "$TMP/selftests/$name"
		strip -o "$2/${name##*/}" "$TMP/selftests/$name"
	done
}

# host_image COMMIT: sets HOST_IMAGE, the folder with the bzImage of a host that has a
# guest of its own, and the test driver; status in RC
host_image() {
	HOST_IMAGE=$CACHE/image-host-$({ image_key "$1" "${HOST_CONFIG[@]}" "$TESTS"/driver/{Kbuild,*.c,*.h} "$TESTS"/qemu/*.h; declare -f host_build config_merged; } | hash12)
	RC=0
	kept "$HOST_IMAGE" || step host 5400 "${2:-building the kernel of the nested host}" host_build "$1" "$HOST_IMAGE"
}

# In a build folder of its own: the configuration has little in common with the tests'
host_build() {
	local build=$K/host module=$K/host-module out=$TMP/image-host
	git -C "$K/tree" checkout -q -f --detach "$1"
	config_merged "${HOST_CONFIG[@]}" >"$TMP/host.config"
	kernel_config "$build" x86_64 allnoconfig "$TMP/host.config"
	kernel_make "$build" bzImage modules
	driver_build "$build" "$module" "$out"
	cp "$build/arch/x86/boot/bzImage" "$out"
	mv "$out" "$2"
}

# kcsan_image COMMIT: sets IMAGE, a kernel that reports data races, with the test driver;
# status in RC
kcsan_image() {
	IMAGE=$CACHE/image-kcsan-$({ image_key "$1" "${KCSAN_CONFIG[@]}" "$TESTS"/driver/{Kbuild,*.c,*.h} "$TESTS"/qemu/*.h; declare -f kcsan_build config_merged; } | hash12)
	RC=0
	kept "$IMAGE" || step kcsan 5400 "building the kernel that reports data races" kcsan_build "$1" "$IMAGE"
}

# In a build folder of its own: each object is different
kcsan_build() {
	local build=$K/kcsan module=$K/kcsan-module out=$TMP/image-kcsan
	git -C "$K/tree" checkout -q -f --detach "$1"
	config_merged "${KCSAN_CONFIG[@]}" >"$TMP/kcsan.config"
	kernel_config "$build" x86_64 allnoconfig "$TMP/kcsan.config"
	kernel_make "$build" bzImage modules
	driver_build "$build" "$module" "$out"
	cp "$build/arch/x86/boot/bzImage" "$build/vmlinux" "$out"
	mv "$out" "$2"
}

# old_image: sets OLD_IMAGE, the folder with the bzImage of a kernel without the series;
# status in RC
old_image() {
	OLD_IMAGE=$CACHE/image-old-$({ image_key "$BASE" "${OLD_CONFIG[@]}"; declare -f old_build config_merged; } | hash12)
	RC=0
	kept "$OLD_IMAGE" || step old 5400 "building a kernel without the series" old_build "$OLD_IMAGE"
}

# The source tree gets its files back as they were, time stamps included: else all the
# other kernels would be compiled anew.
old_build() {
	local build=$K/old out=$TMP/image-old tip
	tip=$(git -C "$K/tree" rev-parse HEAD)
	git -C "$K/tree" diff -z --name-only --diff-filter=d "$BASE" "$tip" |
		tar -C "$K/tree" --null -T - -cf "$TMP/tip.tar"
	git -C "$K/tree" checkout -q -f --detach "$BASE"
	config_merged "${OLD_CONFIG[@]}" >"$TMP/old.config"
	kernel_config "$build" x86_64 allnoconfig "$TMP/old.config"
	kernel_make "$build" bzImage
	git -C "$K/tree" checkout -q -f --detach "$tip"
	tar -C "$K/tree" -xf "$TMP/tip.tar"
	mkdir -p "$out"
	cp "$build/arch/x86/boot/bzImage" "$out"
	mv "$out" "$1"
}

# uml_image COMMIT: sets UML, the folder with a user-mode kernel that has the KUnit suites
uml_image() {
	UML=$CACHE/image-uml-$(image_key "$1" "${UML_CONFIG[@]}")
	RC=0
	kept "$UML" || step uml 3600 "building the user-mode kernel" uml_build "$1" "$UML"
}

uml_build() {
	local build=$K/uml out=$TMP/uml
	git -C "$K/tree" checkout -q -f --detach "$1"
	kernel_config "$build" um olddefconfig "${UML_CONFIG[@]}"
	kernel_make "$build" ARCH=um
	mkdir -p "$out"
	cp "$build/linux" "$out"
	mv "$out" "$2"
}

# powerpc_image COMMIT: sets POWERPC, the folder with the kernel of a POWER machine that has
# a KUnit suite; status in RC
powerpc_image() {
	POWERPC=$CACHE/image-powerpc-$({ image_key "$1" "$POWERPC_CONFIG" "$TESTS"/powerpc/*; powerpc64le-linux-gnu-gcc --version; declare -f powerpc_build; } | hash12)
	RC=0
	kept "$POWERPC" || step powerpc 3600 "building the kernel of a POWER machine" powerpc_build "$1" "$POWERPC"
}

# The suite is part of the file whose functions it tests
powerpc_build() {
	local -x CROSS_COMPILE=powerpc64le-linux-gnu-
	local build=$K/powerpc tests=$K/powerpc-tests out=$TMP/powerpc file=arch/powerpc/sysdev/xive/common.c
	git -C "$K/tree" checkout -q -f --detach "$1"
	kernel_config "$build" powerpc allnoconfig "$POWERPC_CONFIG"
	mkdir -p "$tests"
	cp "$TESTS"/powerpc/* "$tests"
	echo '#include "xive_test.c"' >>"$K/tree/$file"
	kernel_make "$build" ARCH=powerpc KCFLAGS="-I$tests" vmlinux
	git -C "$K/tree" checkout -q -f -- "$file"
	mkdir -p "$out"
	"${CROSS_COMPILE}strip" -o "$out/vmlinux" "$build/vmlinux"
	mv "$out" "$2"
}
