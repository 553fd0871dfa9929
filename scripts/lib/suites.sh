# shellcheck shell=bash disable=SC2034
# The suites: suite_NAME runs one, and its tests are recorded as NAME.test.

SUITES=(scripts vtd vtd-isolation vtd-noir vtd-nosid vtd-cm amd amd-npcache vtd-failures vtd-posted amd-failures amd-boot noir-failures noir-timer noir-hpet vtd-online vtd-kcsan amd-kcsan vtd-crash amd-crash qemu-invalid kvm nested nested-amd nested-life nested-amd-life nested-hibernate nested-amd-hibernate nested-kexec nested-crash nested-amd-crash nested-refused nested-amd-refused nested-novmm nested-amd-novmm nested-xen combinations kvm-route vfio-selftest vfio vfio-avic vfio-nested vfio-amd vfio-port vfio-life vfio-killed vfio-trapping vfio-not-allowed kunit-x86 kunit-uml kunit-powerpc mutants)

suite_vtd() { boot_suite vtd vtd "intremap=on imstest=vtd"; }
suite_vtd-isolation() { boot_suite vtd-isolation vtd "intremap=on imstest=isolation"; }
suite_vtd-noir() { boot_suite vtd-noir vtd "intremap=off imstest=refused"; }
suite_vtd-nosid() { boot_suite vtd-nosid vtd "intremap=nosid imstest=refused"; }
suite_vtd-cm() { boot_suite vtd-cm vtd-cm "intremap=on imstest=refused"; }
suite_amd() { boot_suite amd amd "intremap=on imstest=amd"; }
suite_amd-npcache() { boot_suite amd-npcache amd-npcache "intremap=on imstest=refused"; }
# With a device that has several messages of MSI, and a unit that can post
suite_vtd-failures() { boot_suite vtd-failures vtd-posting "intremap=on imstest=failures" -device irte-control; }
suite_vtd-posted() { boot_suite vtd-posted vtd-posting "intremap=on,posted_msi imstest=failures" -device irte-control; }
suite_amd-failures() { boot_suite amd-failures amd-posting "intremap=on imstest=failures" -device irte-control; }
# The last of the unit's own interrupts cannot be allocated, by way of a boot option: that is
# the 72nd operation of the boot. A trace tells of it.
suite_amd-boot() {
	local SPLATS=${SPLATS/|Call Trace/}
	boot_suite amd-boot amd "intremap=on fail_irq=72,100,0,1 imstest=boot"
}
# The timer's interrupt cannot be activated, which is the 31st
suite_noir-timer() {
	local SPLATS=${SPLATS/|Call Trace/}
	boot_suite noir-timer vtd "intremap=off fail_irq=31,100,0,1 imstest=timer"
}
# CPUs tick by channels of the HPET, which are remapped on machines only whose firmware says how
suite_noir-hpet() { boot_suite noir-hpet vtd "intremap=off imstest=hpet" -machine hpet=on -global hpet.msi=on -global hpet.x-legacy=off; }
suite_noir-failures() { boot_suite noir-failures vtd "intremap=off imstest=failures"; }
# One CPU brings another one online while a third is in the middle of a move
suite_vtd-online() { boot_suite vtd-online vtd "intremap=on imstest=online" -smp 3; }
# Only with --long: a kernel that reports data races
suite_vtd-kcsan() { kcsan_suite vtd-kcsan vtd; }
suite_amd-kcsan() { kcsan_suite amd-kcsan amd; }
# Without translation, so that a message can have any address
suite_qemu-invalid() { boot_suite qemu-invalid vtd "intremap=on iommu=pt imstest=invalid"; }
# The host's part alone, against the smallest of guests
suite_kvm() { boot_suite kvm vtd "intremap=on imstest=selftest selftest=irte_update_test"; }
suite_kvm-route() { boot_suite kvm-route vtd "intremap=on imstest=selftest selftest=set_msi_route_test"; }
suite_vfio-selftest() { boot_suite vfio-selftest vtd "intremap=on $IMS_ALLOWED imstest=selftest selftest=vfio_pci_ims_test"; }
# The guest's, by default it is intel-iommu
AMD_UNIT=("unit=amd-iommu,intremap=on,xtsup=on" -device "amd-southbridge,addr=14.0")
suite_nested() { nested_suite nested "intremap=on imstest=hypercall"; }
suite_nested-amd() { nested_suite nested-amd "intremap=on imstest=hypercall" "${AMD_UNIT[@]}"; }
# Suspend, reboot, kexec
suite_nested-life() { nested_suite nested-life "intremap=on imstest=life" reboot kexec; }
suite_nested-amd-life() { nested_suite nested-amd-life "intremap=on imstest=life" "${AMD_UNIT[@]}" reboot kexec; }
# Suspend to disk
HIBERNATE="intremap=on resume=/dev/vda hibernate=nocompress imstest=hibernate"
suite_nested-hibernate() { nested_suite nested-hibernate "$HIBERNATE" reboot swap; }
suite_nested-amd-hibernate() { nested_suite nested-amd-hibernate "$HIBERNATE" "${AMD_UNIT[@]}" reboot swap; }
# Into a kernel without the series and out of it
suite_nested-kexec() { OLD_KERNEL=1 nested_suite nested-kexec "intremap=on imstest=kexec" reboot kexec; }
# A hypervisor that knows the call and does not grant it, and one that does not know it
NO_CALL=cpu=host,-tsc-deadline,kvm-hc-irte-update=off
suite_nested-refused() { nested_suite nested-refused "intremap=on imstest=refused" unit=intel-iommu,intremap=on,eim=on,caching-mode=on,irte-update=off; }
suite_nested-amd-refused() { nested_suite nested-amd-refused "intremap=on imstest=refused" "${AMD_UNIT[0]},irte-update=off" "${AMD_UNIT[@]:1}"; }
suite_nested-novmm() { nested_suite nested-novmm "intremap=on imstest=refused" "$NO_CALL"; }
suite_nested-amd-novmm() { nested_suite nested-amd-novmm "intremap=on imstest=refused" "$NO_CALL" "${AMD_UNIT[@]}"; }
# A guest of Xen's kind, whose interrupts are event channels. It has the host's kernel. How
# fast its TSC is it cannot find out, as the registers of a timer take too long to read. If
# that is less, then its clock is just slow.
suite_nested-xen() {
	local IMAGE=$HOST_IMAGE INITRD
	guest_image
	nested_suite nested-xen "tsc=reliable tsc_early_khz=4000000 imstest=xen" xen
}
# The host's part alone: the user is a program. Two more devices, whose bus can be reset
# and which have power states; one of them loses its state. A slow link: QEMU's does not
# become active again after a reset, which Linux waits for if it is a fast one.
suite_vfio() {
	boot_suite vfio vtd-posting "intremap=on $IMS_ALLOWED imstest=vfio" \
		-device pcie-root-port,id=rp,x-speed=5 -device pci-ims,bus=rp,pm=on,pin=on \
		-device pcie-root-port,id=rp2,chassis=1,x-speed=5 -device pci-ims,bus=rp2,pm=on,pm-reset=on
}
# KVM itself has them posted to its vCPU. It takes AMD's AVIC for granted.
suite_vfio-avic() { boot_suite vfio-avic amd-posting "intremap=on $IMS_ALLOWED kvm_amd.avic=1 kvm_amd.force_avic=1 imstest=avic"; }
# Its host loses no memory, and has what takes all entries of the remapping table
suite_vfio-nested() {
	local HOST_PARAMETERS=kmemleak=on
	local -a HOST_DEVICES=()
	local slot function
	for slot in 10 11 12 13; do
		for function in {0..7}; do
			HOST_DEVICES+=(-device "pci-ims,msix=2048,slots=1,multifunction=on,addr=$slot.$function")
		done
	done
	nested_suite vfio-nested "intremap=on imstest=passed" "$PASSED"
}
# There the unit is the first PCI device
suite_vfio-amd() { HOST_UNIT=nested-on-amd nested_suite vfio-amd "intremap=on imstest=passed-amd" pass=0000:00:02.0,x-ims=on; }
# Behind a root port, by way of iommufd, and the host wants it back
suite_vfio-port() { nested_suite vfio-port "intremap=on imstest=passed-port" "$PASSED,bus=rp,iommufd=iommufd" port; }
# That the store is backed is also what happens by itself
suite_vfio-life() { nested_suite vfio-life "intremap=on imstest=passed-life" "${PASSED%,x-ims=on}" reboot; }
# The guest's hypervisor is killed, again and again. What counts is what is left in the host,
# so the guest has the host's kernel, which boots in a fraction of the time.
suite_vfio-killed() {
	local HOST_PARAMETERS=kmemleak=on IMAGE=$HOST_IMAGE INITRD
	guest_image
	nested_suite vfio-killed "intremap=on imstest=storm" "$PASSED" killed
}
# Its store is not backed: the guest is not offered any
suite_vfio-trapping() { nested_suite vfio-trapping "intremap=on imstest=refused" pass=0000:00:01.0,x-ims=off; }
# The same, as the host's administrator has not allowed it
suite_vfio-not-allowed() { IMS_ALLOWED='' nested_suite vfio-not-allowed "intremap=on imstest=refused" pass=0000:00:01.0; }
suite_kunit-x86() { boot_suite kunit-x86 vtd "intremap=on imstest=kunit kunit.enable=1 kunit.autorun=1"; }

# A crash kernel, with the remapping table and the device as they were. What is said
# before is a crash.
suite_vtd-crash() { crash_suite vtd-crash vtd 'Copied IR table'; }
suite_amd-crash() { crash_suite amd-crash amd 'Reused DEV table'; }

# crash_suite SUITE UNIT WORDS
crash_suite() {
	local INITRD=$INITRD
	crash_image
	last_kernel "$1"
	boot_suite "$1" "$2" "intremap=on crashkernel=384M imstest=crash"
	inherited "$1" "$RESULTS/$1.console" "$3"
}

# The same in a guest
suite_nested-crash() { nested_crash_suite nested-crash 'Copied IR table'; }
suite_nested-amd-crash() { nested_crash_suite nested-amd-crash 'Reused DEV table' "${AMD_UNIT[@]}"; }

# nested_crash_suite SUITE WORDS [ARGUMENT OF THE INNER QEMU...]
nested_crash_suite() {
	last_kernel "$1" guest
	nested_suite "$1" "intremap=on crashkernel=384M imstest=crash" kexec memory=1G "${@:3}"
	inherited "$1" "$RESULTS/$1.guest" "$2"
}

# inherited SUITE CONSOLE WORDS: the crash kernel has taken over the tables of the unit
inherited() {
	if grep -q "$3" "$2"; then
		record "$1.table" ok
	else
		record "$1.table" "not ok" "the crash kernel does not say '$3'"
	fi
}

# Guest, hypervisor and host with the call (new) and without it (old). Those two of the
# eight that are not here are the suites nested and nested-novmm. A hypervisor that does
# not know the call is one that is told so.
suite_combinations() {
	local name parts
	local -a inner
	for name in new-new-old new-old-old old-new-new old-old-new old-new-old old-old-old; do
		if [[ $ONLY == *.* && $ONLY != combinations."$name".* ]]; then continue; fi
		IFS=- read -ra parts <<<"$name"
		inner=()
		if [[ ${parts[0]} == old ]]; then inner+=(old); fi
		if [[ ${parts[1]} == old ]]; then inner+=("$NO_CALL"); fi
		OLD_KERNEL=1 OLD_HOST=${parts[2]#new} nested_suite "combinations.$name" "intremap=on imstest=without" "${inner[@]}"
	done
}

# What the scripts do in bad situations
suite_scripts() {
	start scripts "$RESULTS/scripts.out" "$TOP/tests/scripts"
	await scripts 900
	PROBLEM=
	if ((RC == 124)); then PROBLEM="took longer than 900 s"; fi
	collect scripts
}

suite_kunit-uml() {
	uml_image "$TIP"
	if ((RC)); then
		record kunit-uml.console "not ok" "the build failed: see $LOG"
		return
	fi
	# A relative path, since that of a socket must be short
	start kunit-uml "$RESULTS/kunit-uml.out" env -C "$TMP" \
		"$UML/linux" mem=256M console=tty kunit_shutdown=halt uml_dir=uml-dir/
	await kunit-uml 120
	PROBLEM=$(splat "$RESULTS/kunit-uml.out")
	if ((RC == 124)); then
		PROBLEM="did not end within 120 s"
	elif ((RC)); then
		PROBLEM=${PROBLEM:-"ended with status $RC"}
	elif ! grep -q 'reboot: System halted' "$RESULTS/kunit-uml.out"; then
		PROBLEM=${PROBLEM:-"ended without having halted"}
	fi
	collect kunit-uml
}

# Only with --long: a POWER machine, whose interrupt controller a patch mends
suite_kunit-powerpc() {
	powerpc_image "$TIP"
	if ((RC)); then
		record kunit-powerpc.console "not ok" "the build failed: see $LOG"
		return
	fi
	start kunit-powerpc "$RESULTS/kunit-powerpc.qemu" qemu-system-ppc64 -M pseries,ic-mode=xive -cpu power9 -smp 2 -m 512M \
		-nodefaults -no-user-config -display none -nic none -no-reboot -serial "file:$RESULTS/kunit-powerpc.out" \
		-kernel "$POWERPC/vmlinux" -append "console=hvc0 printk.time=0 panic=-1 kunit.enable=1 kunit.autorun=1 kunit_shutdown=poweroff"
	await kunit-powerpc 300
	PROBLEM=$(splat "$RESULTS/kunit-powerpc.out")
	if ((RC == 124)); then
		PROBLEM="did not end within 300 s"
	elif ((RC)); then
		PROBLEM="QEMU ended with status $RC: $(tail -n 1 "$RESULTS/kunit-powerpc.qemu")"
	elif ! grep -q 'reboot: Power down' "$RESULTS/kunit-powerpc.out"; then
		PROBLEM=${PROBLEM:-"ended without having powered down"}
	fi
	collect kunit-powerpc
}

# Deliberate mistakes: each has to be caught by the test that it names
suite_mutants() {
	local patch name
	for patch in "$TOP"/tests/mutants/*.patch; do
		name=${patch##*/} name=${name%.patch}
		if ! is_expected "mutants.$name"; then
			record "mutants.$name" "not ok" "is not in tests/expected"
		elif selected "mutants.$name"; then
			mutant "$patch" "mutants.$name"
		fi
	done
}

# ---- how they run

# boot_suite SUITE UNIT PARAMETERS [QEMU'S ARGUMENT...]
boot_suite() {
	local suite=$1 limit=900 parameters=$3
	if [[ $LONG ]]; then limit=14400 parameters+=" imstest_long=1"; fi
	if [[ $ONLY == "$suite".* && $ONLY != "$suite.console" ]]; then parameters+=" imstest_only=${ONLY#"$suite".}"; fi
	boot "$suite" "$limit" "$2" "$parameters" "${@:4}"
	booted "$suite"
	cp "$LOGS/$suite".{console,out,command,qemu} "$RESULTS/"
	if [[ ! $PROBLEM ]] && ! grep -q '^imstest: done, exit' "$RESULTS/$suite.out"; then
		PROBLEM="the guest '$suite' powered down before its tests had ended"
	fi
	collect "$suite"
}

# kcsan_suite SUITE UNIT
kcsan_suite() {
	local IMAGE INITRD
	kcsan_image "$TIP"
	if ((RC)); then
		record "$1.console" "not ok" "the build failed: see $LOG"
		return
	fi
	guest_image
	boot_suite "$1" "$2" "intremap=on imstest=races"
}

# nested_suite SUITE PARAMETERS [ARGUMENT OF THE INNER QEMU...]: a guest in a guest. The
# logs of both have to be clean. With OLD_KERNEL there is a kernel without the series for
# the guest, with OLD_HOST it is the host's.
nested_suite() {
	local suite=$1 limit=1200 parameters="kmemleak=off $2" host HOST_IMAGE=$HOST_IMAGE
	shift 2
	if [[ $LONG ]]; then limit=14400 parameters+=" imstest_long=1"; fi
	if [[ $ONLY == "$suite".* && $ONLY != "$suite.console" ]]; then parameters+=" imstest_only=${ONLY#"$suite".}"; fi
	nested_image
	if [[ ${OLD_KERNEL:-} ]]; then
		old_image
		((RC == 0)) || explain old 5400 "building a kernel without the series"
		old_guest_image
	fi
	if [[ ${OLD_HOST:-} ]]; then HOST_IMAGE=$OLD_IMAGE; fi
	nested_boot "$suite" "$limit" "$parameters" "$@"
	booted "$suite"
	cp "$LOGS/$suite".{console,out,command,qemu,guest} "$RESULTS/"
	host=$(splat "$LOGS/$suite.guest")
	if [[ $host ]]; then PROBLEM=${PROBLEM:-"the guest's kernel reported: $host"}; fi
	host=$(grep -a -A1 '^# QEMU ended' "$LOGS/$suite.out") || :
	if [[ $host ]]; then PROBLEM=${PROBLEM:-"the guest of the host did not end well: ${host//$'\n'/ }"}; fi
	if [[ ! $PROBLEM ]] && ! grep -q '^imstest: done, exit' "$RESULTS/$suite.out"; then
		PROBLEM="the guest '$suite' powered down before its tests had ended"
	fi
	collect "$suite"
}

# collect SUITE: its KTAP becomes results; one more says whether its log is clean
collect() {
	local before after
	before=$(grep -c $'\tnot ok\t' "$RESULTS/results") || :
	awk -v suite="$1" -f "$TOP/scripts/lib/ktap.awk" "$RESULTS/$1.out" >>"$RESULTS/results"
	if [[ $PROBLEM ]]; then record "$1.console" "not ok" "$PROBLEM"; else record "$1.console" ok; fi
	after=$(grep -c $'\tnot ok\t' "$RESULTS/results") || :
	if ((after > before)) && [[ ! $QUIET ]]; then show_logs "$1"; fi
}

show_logs() {
	local log
	for log in "$RESULTS/$1".{out,console,guest,qemu}; do
		if [[ -s $log ]]; then
			say "  the last lines of $log:"
			tail -n 30 "$log" | sed 's/^/  | /'
		fi
	done
}

record() { printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" >>"$RESULTS/results"; }

# mutant PATCH NAME
mutant() {
	local patch=$1 name=$2
	local TESTS=$TESTS IMAGE=$IMAGE HOST_IMAGE=$HOST_IMAGE INITRD=$INITRD Q=$Q QEMU=$QEMU TIP=$TIP ONLY LONG='' QUIET=1 says
	local -a BENCH_UNITS=("${BENCH_UNITS[@]}")
	local all=$RESULTS RESULTS=$RESULTS/${2//./-}
	ONLY=$(sed -n 's/^Test: *//p' "$patch")
	says=$(sed -n 's/^Says: *//p' "$patch")
	mkdir -p "$RESULTS"
	: >"$RESULTS/results"
	if ! is_expected "$ONLY"; then
		PROBLEM="names no test that is in tests/expected ('Test: suite.test')"
	elif [[ ! $says ]]; then
		PROBLEM="does not tell what the test has to say ('Says: regular expression')"
	else
		mutant_image "$patch"
	fi
	if [[ ! $PROBLEM ]]; then
		guest_image
		"suite_${ONLY%%.*}"
		caught "$says"
	fi
	RESULTS=$all
	if [[ $PROBLEM ]]; then record "$name" "not ok" "$PROBLEM"; else record "$name" ok; fi
}

# caught SAYS: a test that fails for another reason, a guest that does not come up
# say, has caught nothing. A mutant may be one that leaves the guest without the port
# through which it would say something.
caught() {
	local reason
	reason=$(awk -F'\t' -v name="$ONLY" '
		$1 == name { ran = 1 }
		$1 == name && $2 == "not ok" { print "failed: " $3 }
		END { if (!ran) print "failed: did not run" }' "$RESULTS/results")
	PROBLEM=
	if [[ ! $reason ]]; then
		PROBLEM="was not caught by $ONLY, see $RESULTS"
	elif ! grep -qE -- "$1" <<<"${reason#failed: }"; then
		PROBLEM="$ONLY did not say '$1', it $reason; see $RESULTS"
	fi
}

# mutant_image PATCH: one below tests/ goes onto a copy of that, others onto the kernel
mutant_image() {
	local commit=$TIP
	PROBLEM=
	if grep -q '^+++ b/tests/' "$1"; then
		TESTS=$TMP/mutant/tests
		rm -rf "$TMP/mutant"
		mkdir -p "$TMP/mutant"
		cp -r "$TOP/tests" "$TMP/mutant"
		if ! patch -d "$TMP/mutant" -p1 -s --fuzz=0 <"$1" >"$LOGS/apply.log" 2>&1; then
			PROBLEM="does not apply"
		fi
		qemu_folder
		qemu_image
	else
		tree_commit "$K/tree" "$TIP" "$1"
		commit=$COMMIT
		if ((RC)); then PROBLEM="does not apply"; fi
	fi
	# What runs on a POWER machine builds its own
	if [[ ! $PROBLEM && $ONLY != kunit-powerpc.* ]]; then
		kernel_image "$commit" "building with ${1##*/}"
		if ((RC)); then PROBLEM="does not build, see $LOG"; fi
	fi
	# Kernels of its own are compared there
	case $ONLY in
	bench.vtd*) TIP=$commit BENCH_UNITS=(vtd) ;;
	bench.amd*) TIP=$commit BENCH_UNITS=(amd) ;;
	bench.* | kunit-powerpc.*) TIP=$commit ;;
	esac
	# A device that is passed through is the business of the host's kernel, and Xen's guest has it
	if [[ ! $PROBLEM && $ONLY == @(vfio-@(nested|amd|port|life|killed|trapping|not-allowed)|nested-xen).* ]]; then
		host_image "$commit" "building the host with ${1##*/}"
		if ((RC)); then PROBLEM="does not build, see $LOG"; fi
	fi
}
