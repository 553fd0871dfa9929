# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# The checks of the series: their names, and how one is run. For scripts/check, for
# the suites of scripts/test, and for tests/checks-broken.

# All of tests/checks, in this order; the second half compiles
CHECKS_QUICK=(shellcheck paths cover apply agree changelog mbox maintainers maintainers-snippet checkpatch dropped-errors kernel-doc htmldocs
	apply-others)
CHECKS_COMPILE=(compile size warnings-w1 warnings-sparse warnings-coccinelle warnings-clang config-irq-remap-off
	config-pci-msi-off config-smp-off config-hyperv config-posted-msi config-i386 config-arm64)
CHECKS=("${CHECKS_QUICK[@]}" "${CHECKS_COMPILE[@]}")

# checks_ready: what the checks need, in the open cache
checks_ready() {
	kernel_folder
	plan checks
	kernel_source
}

# checks_open: the cache and the kernel source, unless whoever called us has them open
checks_open() {
	if [[ ${CHECK_CACHE:-} != "$CACHE" ]]; then
		cache_open
		kernel_folder
		kernel_source >&2
		return
	fi
	trap checks_exit EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	kernel_folder
}

checks_exit() {
	local rc=$? name
	for name in "${!JOB[@]}"; do stop_group "${JOB[$name]}"; done
	if declare -F at_exit >/dev/null; then at_exit "$rc"; fi
}

# with_cache CMD...: it finds the cache open
with_cache() { env CHECK_CACHE="$CACHE" CHECK_TMP="$TMP" LOCK="$LOCK" BASE="$BASE" PROGRESS="${PROGRESS:-}" "$@"; }

# check_run NAME: prints its one line, and above it what is wrong. Status in RC, the line in SAID
check_run() {
	local log=$LOGS/check-$1.log wanted='^not ok '
	progress_open
	progress "$1"
	start check "$log" with_cache "$TOP/tests/checks/$1"
	await check 3600
	progress_end
	SAID=$(tail -n 1 "$log")
	if ((RC == 0)); then wanted='^(ok|warn) '; fi
	if [[ ! $SAID =~ $wanted ]]; then
		SAID="not ok $1: ended with status $RC"
		printf '%s\n' "$SAID" >>"$log"
		if ((RC == 0)); then RC=1; fi
	fi
	cat "$log"
}

# What is under way, on a terminal
progress_open() { if [[ ! ${PROGRESS:-} && -t 1 ]]; then exec {PROGRESS}>&1; fi; }
progress() { if [[ ${PROGRESS:-} ]]; then printf '\r\033[K  %s ...' "$*" >&"$PROGRESS"; fi; }
progress_end() { if [[ ${PROGRESS:-} ]]; then printf '\r\033[K' >&"$PROGRESS"; fi; }

# ---- the suites of scripts/test

suite_check() {
	local name
	for name in "${CHECKS[@]}"; do
		if [[ $ONLY == check.* && $ONLY != "check.$name" ]]; then continue; fi
		check_run "$name"
		if ((RC == 0)); then record "check.$name" ok; else record "check.$name" "not ok" "$SAID"; fi
	done
}

# Each check fails when it has to
suite_checks-broken() {
	local limit=1800
	local -a cases=(--quick)
	if [[ $LONG ]]; then cases=() limit=14400; fi
	if [[ $ONLY == checks-broken.* && $ONLY != checks-broken.console ]]; then cases=("${ONLY#*.}"); fi
	start checks-broken "$RESULTS/checks-broken.out" with_cache "$TOP/tests/checks-broken" "${cases[@]}"
	await checks-broken "$limit"
	PROBLEM=
	case $RC in
	0 | 1) ;;
	124) PROBLEM="took longer than $limit s" ;;
	*) PROBLEM="ended with status $RC" ;;
	esac
	collect checks-broken
}
