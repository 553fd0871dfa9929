# shellcheck shell=bash
# patches/ from commits and back: what scripts/series and scripts/check share.

COVER=$TOP/patches/0000-cover-letter.patch

cover_needed() {
	[[ -e $COVER ]] || die "patches/${COVER##*/} is missing, and the text of the cover letter is nowhere else: get it back with git"
}

# cover_prefix: PATCH, PATCH v2, RFC PATCH, ...
cover_prefix() { sed -nE 's,^Subject: \[(.*) 0+/[0-9]+\].*,\1,p;/^$/q' "$COVER"; }

# series_write GIT BASE TIP FOLDER: what patches/ has to be for these commits
series_write() {
	local prefix
	cover_needed
	prefix=$(cover_prefix)
	[[ $prefix == *PATCH* ]] || die "the subject in patches/${COVER##*/} does not start with [PATCH 00/NN]: put that back"
	# How git abbreviates ids would depend on all that is in the repository
	git -C "$1" format-patch -q --zero-commit --no-signature --abbrev=12 --cover-letter --subject-prefix="$prefix" \
		-o "$4" "$2..$3"
	awk -f "$TOP/scripts/lib/cover.awk" "$4/${COVER##*/}" "$COVER" >"$4/cover"
	mv "$4/cover" "$4/${COVER##*/}"
}

# series_copies GIT BASE TIP: the files that the series adds
series_copies() { git -C "$1" diff --name-only --no-renames --diff-filter=A "$2" "$3"; }

# series_base DIR: the commit that branch ims starts from, the nearest that a ref base* names
series_base() {
	local ref
	while read -r ref; do
		printf '%s %s\n' "$(git -C "$1" rev-list --count "$ref..ims")" "$ref"
	done < <(git -C "$1" for-each-ref --merged ims --format='%(refname)' 'refs/heads/base*' 'refs/tags/base*') |
		sort -n | awk 'NR == 1 { print $2 }'
}
