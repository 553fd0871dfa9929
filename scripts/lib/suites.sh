# shellcheck shell=bash disable=SC2034
# The suites: suite_NAME runs one, and its tests are recorded as NAME.test.

SUITES=(scripts vtd vtd-isolation vtd-noir vtd-nosid vtd-cm vtd-failures amd-failures noir-failures qemu-invalid kunit-x86 kunit-uml mutants)

suite_vtd() { boot_suite vtd vtd "intremap=on imstest=vtd"; }
suite_vtd-isolation() { boot_suite vtd-isolation vtd "intremap=on imstest=isolation"; }
suite_vtd-noir() { boot_suite vtd-noir vtd "intremap=off imstest=refused"; }
suite_vtd-nosid() { boot_suite vtd-nosid vtd "intremap=nosid imstest=refused"; }
suite_vtd-cm() { boot_suite vtd-cm vtd-cm "intremap=on imstest=refused"; }
suite_vtd-failures() { boot_suite vtd-failures vtd "intremap=on imstest=failures"; }
suite_amd-failures() { boot_suite amd-failures amd "intremap=on imstest=failures"; }
suite_noir-failures() { boot_suite noir-failures vtd "intremap=off imstest=failures"; }
# Without translation, so that a message can have any address
suite_qemu-invalid() { boot_suite qemu-invalid vtd "intremap=on iommu=pt imstest=invalid"; }
suite_kunit-x86() { boot_suite kunit-x86 vtd "intremap=on imstest=kunit kunit.enable=1 kunit.autorun=1"; }

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

boot_suite() {
	local suite=$1 limit=300 parameters=$3
	if [[ $LONG ]]; then limit=3600 parameters+=" imstest_long=1"; fi
	if [[ $ONLY == "$suite".* && $ONLY != "$suite.console" ]]; then parameters+=" imstest_only=${ONLY#*.}"; fi
	boot "$suite" "$limit" "$2" "$parameters"
	booted "$suite"
	cp "$LOGS/$suite".{console,out,command,qemu} "$RESULTS/"
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
	for log in "$RESULTS/$1".{out,console,qemu}; do
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
	local TESTS=$TESTS IMAGE=$IMAGE INITRD=$INITRD ONLY LONG='' QUIET=1 says
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
# say, has caught nothing
caught() {
	local reason
	reason=$(awk -F'\t' -v name="$ONLY" '$1 == name && $2 == "not ok" { print "failed: " $3 }' "$RESULTS/results")
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
	else
		tree_commit "$K/tree" "$TIP" "$1"
		commit=$COMMIT
		if ((RC)); then PROBLEM="does not apply"; fi
	fi
	if [[ ! $PROBLEM ]]; then
		kernel_image "$commit" "building with ${1##*/}"
		if ((RC)); then PROBLEM="does not build, see $LOG"; fi
	fi
}
