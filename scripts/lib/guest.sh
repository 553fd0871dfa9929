# shellcheck shell=bash disable=SC2034
# The guest: its image, the command line of QEMU, one boot, and what it said.

# A report of one of these on the console fails a run
SPLATS='\bWARNING:|\bBUG\b|cut here|Oops|KASAN|KCSAN|UBSAN|Call Trace|Kernel panic|general protection fault|possible circular locking|possible recursive locking|inconsistent lock state|suspicious RCU usage|INFO: rcu|rcu: INFO|blocked for more than|list_(add|del) corruption|scheduling while atomic|sleeping function called|nobody cared|unable to handle|Unable to handle|stack-protector|printk messages dropped|Disabling lock debugging|turning off the locking|No irq handler for vector'

# ---- image

# guest_image: sets INITRD; made of busybox, the guest program, the drivers of the
# kernel's image and nothing of the host's files
guest_image() {
	local program busybox=$TOOLS/bin/busybox
	local -a files=("$TESTS"/guest/{Makefile,*.c,*.h} "$TESTS"/driver/*.h "$TESTS"/qemu/*.h)
	program=$CACHE/initrd-program-$({ gcc --version; cat "${files[@]}"; } | hash12)
	kept "$program" || must guest 300 "building the guest program" guest_program "$program"
	INITRD=$CACHE/initrd-$(cat "$program" "$busybox" "$TESTS/guest/init" "$IMAGE"/*.ko | hash12).gz
	kept "$INITRD" || must initrd 60 "packing the guest's image" guest_pack "$INITRD" "$program" "$busybox"
}

guest_program() {
	make -C "$TESTS/guest" O="$TMP/guest"
	mv "$TMP/guest/imstest" "$1"
}

guest_pack() {
	local root=$TMP/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp}
	cp "$3" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	cp "$2" "$root/imstest"
	cp "$IMAGE"/*.ko "$root"
	install -m 755 "$TESTS/guest/init" "$root/init"
	(cd "$root" && find . | sort | cpio --quiet -o -H newc -R 0:0 | gzip -1n) >"$TMP/initrd.gz"
	mv "$TMP/initrd.gz" "$1"
}

# ---- boot

# guest_command NAME UNIT PARAMETERS: sets QEMU_CMD. The remapping unit is vtd,
# vtd-cm (in caching mode) or amd. The guest has two serial ports, no network and
# no file of the host.
#
# No PIT and no HPET: their interrupt 0 can hit mp_irqdomain_alloc() between the
# chip and its data being set, and then the kernel dies: seen now and then on a
# busy machine. The local APIC's timers are enough.
guest_command() {
	local cpu=qemu64,+svm,+npt,+x2apic,+nx,+ssse3
	local -a unit
	if [[ $ACCEL == kvm ]]; then cpu=host; fi
	case $2 in
	vtd) unit=(-device "intel-iommu,intremap=on,eim=on,caching-mode=off") ;;
	vtd-cm) unit=(-device "intel-iommu,intremap=on,eim=on,caching-mode=on") ;;
	amd) unit=(-device "amd-iommu,intremap=on,xtsup=on,npcache=off" -device "amd-southbridge,addr=14.0") ;;
	esac
	QEMU_CMD=("$QEMU" -L "$TOOLS/firmware" -M "q35,kernel-irqchip=split,pit=off,hpet=off" -accel "$ACCEL" -cpu "$cpu" -smp 2 -m 1G
		-nodefaults -no-user-config -display none -nic none -no-reboot
		"${unit[@]}" -device pci-ims -device "pci-ims,msix=2048" -device "pci-ims,slots=65536,msix=0"
		-kernel "$IMAGE/bzImage" -initrd "$INITRD"
		-append "console=ttyS0 printk.time=0 panic=-1 iommu=on no_timer_check $3")
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

# booted NAME: wait for the end of a boot. Sets PROBLEM, a sentence, when it was
# not a clean one.
booted() {
	local console=$LOGS/$1.console
	await "$1" "${BOOT_LIMIT[$1]}"
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
