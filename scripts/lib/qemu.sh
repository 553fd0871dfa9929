# shellcheck shell=bash disable=SC2034
# QEMU with the bench's device: source, patches, build. Sets QEMU.

qemu_folder() {
	local own kind=qemu id
	id=$(pin qemu 5)
	if [[ ${QEMU_SRC:-} ]]; then
		own=$(cd -- "$QEMU_SRC" 2>/dev/null && pwd -P) || die "QEMU_SRC=$QEMU_SRC is not a folder: give a QEMU source tree"
		[[ -e $own/hw/misc/meson.build ]] || die "QEMU_SRC=$QEMU_SRC is no QEMU source tree: give one of version 10.0"
		kind=own-qemu id="$own $(own_id "$own")"
	fi
	Q=$CACHE/$kind-$({ echo "$id"; cat "$TESTS"/qemu/*.patch; declare -f qemu_unpack qemu_firmware qemu_configure; } | hash12)
	# Only our own files change often: then only they are compiled again
	QEMU=$Q/bin-$(cat "$TESTS"/qemu/*.[ch] | hash12)/qemu-system-x86_64
}

qemu_image() {
	kept "$Q" || must qemu-source 900 "fetching and patching the QEMU source" qemu_unpack
	if [[ -e $Q/note ]]; then cat "$Q/note"; fi
	kept "$QEMU" || must qemu 3600 "building QEMU" qemu_build
}

qemu_unpack() {
	local dir=$TMP/qemu patch
	mkdir -p "$dir/src"
	if [[ ${QEMU_SRC:-} ]]; then
		tar -C "$QEMU_SRC" --exclude=./.git --exclude=./build -c . | tar -x -C "$dir/src"
	else
		fetch qemu "$TMP/src-qemu"
		# The firmware's sources are a third of it, and nothing here needs them
		tar -xf "$TMP"/src-qemu/*.orig.tar.xz -C "$dir/src" --strip-components=1 --exclude='*/roms/*'
		if [[ -e $TMP/src-qemu/note ]]; then mv "$TMP/src-qemu/note" "$dir"; fi
		qemu_firmware "$dir/src"
	fi
	for patch in "$TESTS"/qemu/*.patch; do
		patch -d "$dir/src" -p1 -s --fuzz=0 <"$patch" ||
			die "the patch ${patch#"$TOP"/} does not apply to ${QEMU_SRC:-the QEMU source}: rebase it, or use the pinned source"
	done
	mv "$dir" "$Q"
	prune
}

# Debian took the firmware out, but meson wants to unpack it
qemu_firmware() {
	local blob
	while read -r blob; do
		bzip2 </dev/null >"$1/pc-bios/$blob.bz2"
	done < <(sed -n "s/^ *'\(edk2-.*\.fd\)',$/\1/p" "$1/pc-bios/meson.build")
}

qemu_build() {
	# Both configure and ninja start meson
	export PYTHONPATH=$TOOLS/python
	cp "$TESTS"/qemu/*.[ch] "$Q/src/hw/misc/"
	[[ -e $Q/build/configured ]] || qemu_configure
	ninja -C "$Q/build" -j "$JOBS" qemu-system-x86_64
	mkdir -p "$TMP/qemu-bin"
	strip -o "$TMP/qemu-bin/qemu-system-x86_64" "$Q/build/qemu-system-x86_64"
	find "$Q" -maxdepth 1 -name 'bin-*' -exec rm -r {} +
	mv "$TMP/qemu-bin" "${QEMU%/*}"
}

qemu_configure() {
	rm -rf "$Q/build"
	mkdir "$Q/build"
	cd "$Q/build" || return
	# No pixman: only displays would need it
	"$Q/src/configure" --python=/usr/bin/python3 --target-list=x86_64-softmmu \
		--without-default-features --without-default-devices --with-devices-x86_64=ims-bench \
		--enable-tcg --enable-kvm --enable-plugins --disable-fdt --disable-pixman \
		--disable-docs --disable-tools --disable-guest-agent --disable-debug-info \
		--disable-install-blobs --disable-download
	: >configured
}
