# shellcheck shell=bash disable=SC2034
# What each file in tests/checks starts with. It gets the cache, the kernel and
# the series ready, and the check ends with verdict(). Status: 0 good, 1 not.

NAME=$(basename -- "$0")
. "$(dirname "${BASH_SOURCE[0]}")/build.sh"
. "$TOP/scripts/lib/checks.sh"
. "$TOP/scripts/lib/series.sh"
. "$TOP/scripts/lib/compile.sh"

# ---- the one line that a check prints, and what is below it

# complain TEXT: something is wrong
complain() { printf '%s\n' "$*" >>"$OUT/complaints"; }

# complaints: each line on stdin is one
complaints() { cat >>"$OUT/complaints"; }

# caution TEXT: something to know, that is no failure
caution() { printf '%s\n' "$*" >>"$OUT/cautions"; }

# verdict TEXT: ends the check; TEXT says what was looked at
verdict() {
	local text=$1 limit=40
	prune_results
	if ((FROM_CACHE)); then text+=" ($FROM_CACHE of $((FROM_CACHE + MADE)) results from the cache)"; fi
	if [[ -s $OUT/complaints ]]; then
		head -n "$limit" "$OUT/complaints" | sed 's/^/  | /' >&2
		if (($(wc -l <"$OUT/complaints") > limit)); then cp "$OUT/complaints" "$LOGS/check-$NAME.complaints"; fi
		line "not ok" "$(grep -c . "$OUT/complaints") complaints, see above${2:+; $2}"
		exit 1
	elif [[ -s $OUT/cautions ]]; then
		line warn "$text; $(paste -sd ';' "$OUT/cautions" | sed 's/;/; /g')"
	else
		line ok "$text"
	fi
	exit 0
}

# The results are small, the oldest go
prune_results() {
	find "$CACHE" -mindepth 1 -maxdepth 1 -name 'check-*' -printf '%T@ %p\n' | sort -rn | tail -n +1001 | cut -d' ' -f2- | xargs -r -d '\n' rm -rf --
}

line() {
	SAID=1
	progress_end
	printf '%-7s%s: %s, %d s\n' "$1" "$NAME" "$2" "$SECONDS" >&"$STDOUT"
}

at_exit() {
	[[ ${SAID:-} ]] || line "not ok" "${FAILURE:-broke off}"
	rm -rf -- "${OUT:-/nonexistent}"
}

# ---- a working tree of our own, so that the one of the bench keeps its time stamps

# checkout COMMIT: into $SRC
SRC=
checkout() {
	local check=$K/check
	SRC=$check/tree
	if [[ ! -e $check/ready ]]; then
		rm -rf "$check"
		mkdir -p "$check"
		git -C "$K/tree" worktree prune
		git -C "$K/tree" worktree add -q --detach "$SRC" "$1"
		: >"$check/ready"
	fi
	rm -f "$(git -C "$SRC" rev-parse --absolute-git-dir)/index.lock"	# of a run that was killed: the cache is ours now
	[[ $(git -C "$SRC" rev-parse HEAD) == $(git -C "$K/tree" rev-parse "$1") ]] || git -C "$SRC" checkout -q -f --detach "$1"
}

# touched [PATTERN...]: files that the series changes or adds
touched() { git -C "$K/tree" diff --name-only --no-renames --diff-filter=d "$BASE" "$TIP" -- "$@"; }

# scratch_tree DIR COMMIT: a working tree without files, good enough for git am
scratch_tree() {
	git -C "$K/tree" worktree prune
	git -C "$K/tree" worktree add -q --no-checkout --detach "$1" "$2"
	git -C "$1" read-tree HEAD
}

# needs PROGRAM PACKAGE
needs() {
	command -v "$1" >/dev/null || die "$1 is missing: run 'apt-get install --no-install-recommends $2'"
}

# matches ARGUMENTS: grep, for which nothing found is good, too
matches() { grep "$@" || (($? == 1)); }

# new_lines BASE TIP: lines of TIP that are not in BASE, or more often. Line numbers do not count.
new_lines() {
	awk '
		function plain(s) { gsub(/:[0-9]+(:[0-9]+)?|line [0-9]+/, "", s); return s }
		# Not FNR == NR: the first one may be empty
		FILENAME == ARGV[1] { n[plain($0)]++; next }
		n[plain($0)]-- <= 0' "$1" "$2"
}

# allowed LIST: of the lines "KIND TEXT" on stdin those that LIST does not allow.
# An entry is 'KIND regular-expression # reason'. Notes in $OUT/used what was used.
allowed() {
	awk -v list="$1" -v used="$OUT/used" '
		BEGIN {
			while ((getline <list) > 0) {
				if (/^[ \t]*(#|$)/) continue
				if (!/[ \t]#[ \t]+[^ \t]/) { print "entry without a reason in " list ": " $0; continue }
				sub(/[ \t]+#[ \t].*/, "")
				kind[++n] = $1
				sub(/^[^ \t]+[ \t]+/, "")
				what[n] = $0
			}
		}
		{
			text = $0
			sub(/^[^ ]+ /, "", text)
			for (i = 1; i <= n; i++) if ($1 == kind[i] && text ~ what[i]) { hit[i] = 1; next }
			print
		}
		END { for (i = 1; i <= n; i++) if (!hit[i]) print kind[i] " " what[i] >used }'
}

# for_each FUNCTION KEY FILE...: prints what FUNCTION says about each file, in order.
# Several run at once; what they say is kept by KEY and the name and text of the file.
for_each() {
	local function=$1 key=$2 file
	local -a logs=() todo=()
	shift 2
	for file; do
		RESULT=$CACHE/check-$({ declare -f "$function"; printf '%s\n' "$key" "${file#"$TOP"/}"; cat -- "$file"; } | hash12)
		logs+=("$RESULT/log")
		if kept "$RESULT"; then FROM_CACHE=$((FROM_CACHE + 1)); else todo+=("$file" "$RESULT"); fi
	done
	MADE=$((MADE + ${#todo[@]} / 2))
	if ((${#todo[@]})); then
		progress "$((${#todo[@]} / 2)) files"
		export -f "${function?}"
		# shellcheck disable=SC2016  # for the inner shell
		printf '%s\0' "${todo[@]}" | xargs -0 -n 2 -P "$JOBS" bash -c 'set -euo pipefail
			made=$(mktemp -d "$0/made.XXXXXX")
			"$1" "$2" >"$made/log"
			mv -T "$made" "$3"' "$OUT" "$function" >&2 || die "broke off"
	fi
	cat -- "${logs[@]}"
}

# ---- start

FROM_CACHE=0 MADE=0
exec {STDOUT}>&1	# for the end in the middle of something whose output nobody needs
# Programs in python look for their modules where Debian's packages put them
PATH=/usr/bin:$PATH
if [[ ${1:-} == --help ]]; then
	sed -n '2,/^[^#]/ { /^# shellcheck /d; s/^# \{0,1\}//p }' "$0"
	exit
fi
(($# == 0)) || usage_error "unknown argument '$1'"
if [[ ! ${PROGRESS:-} && -t 2 ]]; then PROGRESS=2; fi
checks_open
OUT=$(mktemp -d "$TMP/$NAME.XXXXXX")
if [[ ! ${NO_SERIES:-} ]]; then
	rm -rf "$TMP/apply"
	kernel_series >"$OUT/applying" 2>&1
fi
PATCHES=("$TOP"/patches/[0-9]*.patch)
PATCHES=("${PATCHES[@]:1}")
