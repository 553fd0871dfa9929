# shellcheck shell=bash disable=SC2034
# What all the scripts share: settings, messages, time limits, the cache.
# The other files of this folder are sourced after this one.

set -euo pipefail
export LC_ALL=C
umask 022

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
CACHE=$(realpath -ms -- "${CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/ir-ims}")
JOBS=${JOBS:-$(nproc)}
ACCEL=${ACCEL:-tcg}
YES=''
if [[ ${CI:-} == true ]]; then YES=1; fi
TMP=$CACHE/tmp
if [[ ${CHECK_CACHE:-} == "$CACHE" ]]; then TMP=$CHECK_TMP; fi	# of whoever called us, see with_cache
LOGS=$CACHE/logs

# The settings of whoever calls us (hooks, signing, file modes) must not change
# what git does here; a tree that belongs to somebody else may be read.
while read -r name; do unset "$name"; done < <(compgen -e GIT_ || true)
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_OPTIONAL_LOCKS=0
export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_CONFIG_KEY_1=gc.auto GIT_CONFIG_VALUE_1=0
# Commit ids that do not depend on who made them, or when
export GIT_AUTHOR_NAME=ir-ims GIT_AUTHOR_EMAIL=ir-ims@localhost
export GIT_COMMITTER_NAME=ir-ims GIT_COMMITTER_EMAIL=ir-ims@localhost
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

die() {
	FAILURE=$*
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# usage_error TEXT: a wrong call is told apart from a failure by its status
usage_error() {
	printf 'error: %s (see %s --help)\n' "$1" "${0##*/}" >&2
	exit 2
}

[[ $JOBS =~ ^[1-9][0-9]*$ ]] || die "JOBS=$JOBS is not a number of jobs: set it to 1 or more, or leave it unset"

hash12() { sha256sum | cut -c1-12; }
free_mb() { df -Pm -- "$1" | awk 'NR == 2 { print $4 }'; }

# ---- jobs: each in a process group of its own, so that one signal stops all of it
# (what 'set -m' is for; it also makes bash report on jobs, which nobody wants)

declare -A JOB=()
RC=0

# start NAME LOG CMD...: it holds the lock as well, so that the cache is not free
# before all is over, even if this script was killed
start() {
	{
		set -m
		"${@:3}" </dev/null >"$2" 2>&1 &
		set +m
	} 2>/dev/null
	JOB[$1]=$!
}

# await NAME SECONDS: wait until it has ended; status in RC, 124 when time ran out.
# Never fails itself, so that 'set -e' stays at work inside the jobs.
await() {
	local job=${JOB[$1]} dog
	{
		set -m
		{ sleep "$2"; : >"$TMP/late.$job"; stop_group "$job"; } </dev/null >/dev/null {LOCK}>&- &
		set +m
	} 2>/dev/null
	dog=$!
	JOB[dog]=$dog
	RC=0
	wait "$job" 2>/dev/null || RC=$?
	# A softer signal is lost on a process between its fork and its exec: the sleep
	# would live on, and with it what holds the lock of a script around this one
	{ kill -KILL -- "-$dog" && wait "$dog"; } 2>/dev/null || :
	unset "JOB[$1]" 'JOB[dog]'
	if [[ -e $TMP/late.$job ]]; then RC=124; fi
}

stop_group() {
	kill -- "-$1" 2>/dev/null || return 0
	local i
	for ((i = 0; i < 50; i++)); do
		kill -0 -- "-$1" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -KILL -- "-$1" 2>/dev/null || :
}

# step NAME SECONDS TEXT CMD...: one line with the time it took; status in RC
step() {
	local name=$1 limit=$2 text=$3 t=$SECONDS
	shift 3
	LOG=$LOGS/$name.log
	printf '  %-52s' "$text"
	NEWLINE=1
	start "$name" "$LOG" "$@"
	await "$name" "$limit"
	if ((RC)); then printf ' FAILED after %d s\n' $((SECONDS - t)); else printf ' %4d s\n' $((SECONDS - t)); fi
	NEWLINE=
}

# must NAME SECONDS TEXT CMD...: a step that has to work
must() {
	step "$@"
	((RC == 0)) || explain "$1" "$2" "$3"
}

explain() {
	local sentence
	# With several jobs the cause is not always near the end
	{ grep -m 5 -E '(^|[^a-z])error:|No rule to make|undefined reference|^FAILED:' "$LOG" || :; echo ...; tail -n 30 "$LOG"; } |
		sed 's/^/  | /' >&2
	sentence=$(sed -n -E 's/^(error|fatal): //p' "$LOG" | tail -n 1)
	if (($(free_mb "$CACHE") < 100)); then
		die "$3 failed because the disk that holds $CACHE is full: free some space, or set CACHE= to a folder on another disk"
	elif ((RC == 124)); then
		die "$3 took longer than its limit of $2 s and was stopped: see $LOG"
	fi
	die "${sentence:-$3 failed: see $LOG}"
}

# ---- the cache: keyed by content, everything appears there complete or not at all

cache_open() {
	case $CACHE in *[[:space:]:]*) die "the path of the cache must not have spaces or colons, the kernel's build cannot take them: set CACHE= (now '$CACHE')" ;; esac
	mkdir -p -- "$CACHE" 2>/dev/null || die "cannot make the folder $CACHE: set CACHE= to one that you can write to"
	if [[ ! -e $CACHE/.ir-ims && -n $(ls -A -- "$CACHE") ]]; then
		die "$CACHE is not empty and is not our cache: set CACHE= to a new folder"
	fi
	: >>"$CACHE/.ir-ims" 2>/dev/null || die "cannot write to $CACHE: set CACHE= to a folder that you can write to"
	exec {LOCK}>>"$CACHE/.ir-ims"
	flock -n "$LOCK" || die "another run uses $CACHE: wait until it has ended, or set CACHE= to another folder"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	trap 'exit 141' PIPE
	rm -rf -- "$TMP"
	mkdir -p "$TMP" "$LOGS"
	export TMPDIR=$TMP
	prune
}

cleanup() {
	local rc=$? name
	# All of this has to be done, even if nobody reads our output any more
	trap '' INT TERM HUP PIPE
	set +e
	for name in "${!JOB[@]}"; do stop_group "${JOB[$name]}"; done
	rm -rf -- "$TMP"
	prune
	if [[ ${NEWLINE:-} ]]; then echo 2>/dev/null; fi
	if declare -F at_exit >/dev/null; then at_exit "$rc"; fi
}

cache_clean() {
	cache_open
	find "$CACHE" -mindepth 1 -maxdepth 1 ! -name .ir-ims -exec rm -rf -- {} +
	say "$CACHE is empty."
}

# prune: of each kind keep what was used last; 'touch' in kept() is the use
prune() {
	local spec
	for spec in 1:tools- 1:linux- 1:own-linux- 1:qemu- 1:own-qemu- 12:image- 12:initrd- 10:results-; do
		find "$CACHE" -mindepth 1 -maxdepth 1 -name "${spec#*:}*" -printf '%T@ %p\n' | sort -rn |
			tail -n +$((${spec%%:*} + 1)) | cut -d' ' -f2- | xargs -r -d '\n' rm -rf --
	done
}

kept() { [[ -e $1 ]] && touch -- "$1"; }
