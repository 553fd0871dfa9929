# shellcheck shell=bash disable=SC2034
# The guest: its image, the command line of QEMU, one boot, and what it said.

# A report of one of these on the console fails a run
SPLATS='\bWARNING:|\bBUG\b|cut here|Oops|KASAN|UBSAN|Call Trace|Kernel panic|general protection fault|possible circular locking|possible recursive locking|inconsistent lock state|suspicious RCU usage|INFO: rcu|rcu: INFO|blocked for more than|list_(add|del) corruption|scheduling while atomic|sleeping function called|nobody cared|unable to handle|Unable to handle|stack-protector|printk messages dropped|Disabling lock debugging|turning off the locking|No irq handler for vector'

# ---- image

# guest_image: sets INITRD; made of busybox, the guest program, the drivers of the
# kernel's image and nothing of the host's files. GUEST_UAPI: the headers of the kernel, if
# not those of the image
guest_image() {
	local program busybox=$TOOLS/bin/busybox
	local -a files=("$TESTS"/guest/{Makefile,*.c,*.h} "$TESTS"/driver/*.h "$TESTS"/qemu/*.h)
	files+=("${GUEST_UAPI:-$IMAGE/uapi}"/*/*.h)
	program=$CACHE/initrd-program-$({ gcc --version; cat "${files[@]}"; } | hash12)
	kept "$program" || must guest 300 "building the guest program" guest_program "$program"
	INITRD=$CACHE/initrd-$({ cat "$program" "$busybox" "$TESTS/guest/init"; guest_modules | xargs -d '\n' cat; } | hash12).gz
	kept "$INITRD" || must initrd 60 "packing the guest's image" guest_pack "$INITRD" "$program" "$busybox"
}

# The test drivers, and a selftest where the series has one
guest_modules() { find "$IMAGE" -maxdepth 1 \( -name '*.ko' -o -name '*_test' \) | sort; }

guest_program() {
	make -C "$TESTS/guest" O="$TMP/guest" UAPI="${GUEST_UAPI:-$IMAGE/uapi}"
	mv "$TMP/guest/imstest" "$1"
}

guest_pack() {
	local root=$TMP/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp}
	cp "$3" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	cp "$2" "$root/imstest"
	guest_modules | xargs -d '\n' cp -t "$root"
	install -m 755 "$TESTS/guest/init" "$root/init"
	(cd "$root" && find . | sort | cpio --quiet -o -H newc -R 0:0 | gzip -1n) >"$TMP/initrd.gz"
	mv "$TMP/initrd.gz" "$1"
}

# crash_image: INITRD gets the kernel, for the guest to load
crash_image() {
	local crash
	crash=$CACHE/initrd-crash-$(cat "$INITRD" "$IMAGE/bzImage" | hash12)
	kept "$crash" || must initrd 60 "packing the image with a crash kernel" crash_pack "$crash"
	INITRD=$crash
}

crash_pack() {
	{ gunzip -c "$INITRD"; (cd "$IMAGE" && echo bzImage | cpio --quiet -o -H newc -R 0:0); } >"$TMP/crash.cpio"
	mv "$TMP/crash.cpio" "$1"
}

# ---- nested: the image of a host that has a guest of its own

# nested_image: sets HOST_INITRD: ours, with QEMU, its libraries, and kernel and image of
# the guest
nested_image() {
	HOST_INITRD=$CACHE/initrd-host-$(cat "$INITRD" "$QEMU" "$IMAGE/bzImage" "$TESTS/guest/host" | hash12)
	kept "$HOST_INITRD" || must initrd 60 "packing the host's image" nested_pack "$HOST_INITRD"
}

# In two parts, which the kernel takes as one. Neither they nor the guest's image are
# compressed, as that would take the emulated CPU longer.
nested_pack() {
	local root=$TMP/host lib
	mkdir -p "$root/host/firmware"
	cp "$QEMU" "$IMAGE/bzImage" "$root/host"
	gunzip -c "$INITRD" >"$root/host/initrd"
	cp "$TOOLS"/firmware/* "$root/host/firmware"
	install -m 755 "$TESTS/guest/host" "$root/host/run"
	while read -r lib; do
		install -D "$lib" "$root$lib"
	done < <(ldd "$QEMU" | grep -o '/[^ ]*')
	{ gunzip -c "$INITRD"; (cd "$root" && find . | sort | cpio --quiet -o -H newc -R 0:0); } >"$TMP/host.cpio"
	mv "$TMP/host.cpio" "$1"
	rm -r "$root"
}

# old_guest_image: HOST_INITRD gets the kernel without the series, for the guest
old_guest_image() {
	local with
	with=$CACHE/initrd-old-$(cat "$HOST_INITRD" "$OLD_IMAGE/bzImage" | hash12)
	kept "$with" || must initrd 60 "packing the host's image with an old kernel" old_pack "$with"
	HOST_INITRD=$with
}

old_pack() {
	mkdir -p "$TMP/old/host/old"
	cp "$OLD_IMAGE/bzImage" "$TMP/old/host/old"
	{ cat "$HOST_INITRD"; (cd "$TMP/old" && find host/old | cpio --quiet -o -H newc -R 0:0); } >"$TMP/old.cpio"
	mv "$TMP/old.cpio" "$1"
	rm -r "$TMP/old"
}

# ---- boot

# guest_command NAME UNIT PARAMETERS: sets QEMU_CMD. The remapping unit is vtd,
# vtd-posting, vtd-cm (in caching mode), amd, amd-posting or amd-npcache, or the guest
# is a host: nested. It has two serial ports, no network and no file of the host.
#
# No PIT and no HPET: their interrupt 0 can hit mp_irqdomain_alloc() between the
# chip and its data being set, and then the kernel dies: seen now and then on a
# busy machine. The local APIC's timers are enough.
#
# No watchdog of the TSC: at the end of the boot, when the clock is still jiffies, one CPU can
# wait in watchdog_check_skew() for another one that waits for it in stop_machine(), both with
# interrupts disabled. Then the clock, and so the watchdog's own time-out, stands still.
guest_command() {
	local cpu=qemu64,+svm,+npt,+x2apic,+nx,+ssse3,+cx16,+sse4.1,+sse4.2,+popcnt
	local -a unit
	if [[ $ACCEL == kvm ]]; then cpu=host; fi
	# The long tests fill a remapping table, in a kernel whose objects have red zones
	local kernel=$IMAGE initrd=$INITRD memory=${LONG:+4G}
	case $2 in
	nested) unit=(-device "intel-iommu,intremap=on,eim=on,caching-mode=off") kernel=$HOST_IMAGE initrd=$HOST_INITRD memory=2G ;;
	nested-on-amd) unit=(-device "amd-iommu,intremap=on,xtsup=on,npcache=off" -device "amd-southbridge,addr=14.0") kernel=$HOST_IMAGE initrd=$HOST_INITRD memory=2G ;;
	vtd) unit=(-device "intel-iommu,intremap=on,eim=on,caching-mode=off") ;;
	vtd-posting) unit=(-device "intel-iommu,intremap=on,eim=on,caching-mode=off,x-posting=on") ;;
	vtd-cm) unit=(-device "intel-iommu,intremap=on,eim=on,caching-mode=on") ;;
	amd) unit=(-device "amd-iommu,intremap=on,xtsup=on,npcache=off" -device "amd-southbridge,addr=14.0") ;;
	amd-posting) unit=(-device "amd-iommu,intremap=on,xtsup=on,npcache=off,x-vapic=on" -device "amd-southbridge,addr=14.0") ;;
	amd-npcache) unit=(-device "amd-iommu,intremap=on,xtsup=on" -device "amd-southbridge,addr=14.0") ;;
	esac
	QEMU_CMD=("$QEMU" -L "$TOOLS/firmware" -M "q35,kernel-irqchip=split,pit=off,hpet=off" -accel "$ACCEL" -cpu "$cpu" -smp 2 -m "${memory:-1G}"
		-nodefaults -no-user-config -display none -nic none -no-reboot
		"${unit[@]}" -device pci-ims -device "pci-ims,msix=2048" -device "pci-ims,slots=65536,msix=0,vfs=2"
		-kernel "$kernel/bzImage" -initrd "$initrd"
		-append "console=ttyS0 printk.time=0 panic=-1 iommu=on no_timer_check tsc=nowatchdog $3")
}

# For its ARGUMENTs: the first device of the host belongs to the guest
PASSED=pass=0000:00:01.0,x-ims=on

# For a host's PARAMETERS: vfio-pci may have interrupts for a store, by default it has none
IMS_ALLOWED=vfio_pci_core.ims_max_irqs=2048

# nested_boot NAME SECONDS PARAMETERS [QEMU'S ARGUMENT OF THE INNER ONE...]: PARAMETERS
# are those of the guest, HOST_PARAMETERS more of the host's, HOST_UNIT is the unit of the
# host, HOST_DEVICES are arguments for more of its devices. The guest's console goes to a
# third serial port, which must not share the interrupt of the first one. The TSC is that
# of the machine; if the host took it for unstable then KVM would set the one of the guest
# back whenever it runs, and timers be late. A CPU that waits has something better to do
# than to poll.
nested_boot() {
	local inner="${*:4}" host="intremap=on tsc=reliable kvm.halt_poll_ns=0 printk.devkmsg=on ${HOST_PARAMETERS:-} imstest=host guest=\"${3// /,}\""
	if [[ $inner == *pass=* ]]; then host+=" $IMS_ALLOWED"; fi
	# What the host does for its part, too: it kills the guest
	if [[ ${LONG:-} ]]; then host+=" imstest_long=1"; fi
	if [[ $inner ]]; then host+=" qemu=\"${inner// /;}\""; fi
	boot "$1" "$2" "${HOST_UNIT:-nested}" "$host" -chardev "file,id=guest,path=$LOGS/$1.guest" \
		-device "isa-serial,chardev=guest,iobase=0x3e8,irq=7" "${HOST_DEVICES[@]}"
}

# boot NAME SECONDS UNIT PARAMETERS [QEMU'S ARGUMENT...]: in the background,
# see booted()
boot() {
	guest_command "$1" "$3" "$4"
	QEMU_CMD+=(-serial "file:$LOGS/$1.console" -serial "file:$LOGS/$1.out" "${@:5}")
	# There even if QEMU ends before it opens them
	: >"$LOGS/$1.console"
	: >"$LOGS/$1.out"
	printf '%s ' "${QEMU_CMD[@]@Q}" | sed "s/'\([-A-Za-z0-9_.,:=+/]*\)'/\1/g" >"$LOGS/$1.command"
	BOOT_LIMIT[$1]=$2
	start "$1" "$LOGS/$1.qemu" limited "${QEMU_CMD[@]}"
}

# A guest that reports without end must not fill the disk
CONSOLE_MB=64
limited() {
	ulimit -c 0
	ulimit -f $((CONSOLE_MB * 1024))
	exec "$@"
}
declare -A BOOT_LIMIT=()

# last_kernel NAME [guest]: of what the boot logs only that of the last kernel counts, or of
# the last kernel of its guest
last_kernel() { BOOT_LAST[$1]=${2:-console}; }

only_last_kernel() {
	awk '/Linux version/ { log_text = "" } { log_text = log_text $0 "\n" } END { printf "%s", log_text }' "$1" >"$1.last"
	mv "$1.last" "$1"
}
declare -A BOOT_LAST=()

# booted NAME: wait for the end of a boot. Sets PROBLEM, a sentence, when it was
# not a clean one.
booted() {
	local console=$LOGS/$1.console
	await "$1" "${BOOT_LIMIT[$1]}"
	if [[ ${BOOT_LAST[$1]:-} ]]; then only_last_kernel "$LOGS/$1.${BOOT_LAST[$1]}"; fi
	PROBLEM=
	if ((RC == 124)); then
		PROBLEM="the guest '$1' did not end within ${BOOT_LIMIT[$1]} s and was stopped"
	elif ((RC == 128 + $(kill -l XFSZ))); then
		PROBLEM="the guest '$1' printed more than $CONSOLE_MB MB and was stopped"
	elif ((RC)); then
		PROBLEM="QEMU ended with status $RC in '$1': $(tail -n 1 "$LOGS/$1.qemu" 2>/dev/null)"
	elif [[ $(splat "$console") ]]; then
		PROBLEM="the kernel reported in '$1': $(splat "$console")"
	elif ! grep -q 'reboot: Power down' "$console"; then
		PROBLEM="the guest '$1' ended without having powered down"
	fi
}

# splats FILE: the reports in a console log, without those that tests/allowed-splats has a reason for
splats() {
	local allowed=$TOP/tests/allowed-splats
	if [[ -e $allowed ]]; then
		# An empty line would allow everything
		grep -aE "$SPLATS" "$1" | grep -avEf <(grep -vE '^[[:space:]]*(#|$)' "$allowed") || :
	else
		grep -aE "$SPLATS" "$1" || :
	fi
}

# splat FILE: the first of them that says something
splat() {
	local all
	all=$(splats "$1")
	if [[ $all ]]; then grep -m 1 -v 'cut here' <<<"$all" || head -n 1 <<<"$all"; fi
}
