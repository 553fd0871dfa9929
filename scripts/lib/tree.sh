# shellcheck shell=bash disable=SC2034
# Source trees in the cache. Each is a git repository with one working tree, that
# is moved from commit to commit, so that make sees as changed only what changed.

# tree_import DIR TEXT: all that is in DIR becomes one commit
tree_import() {
	git -C "$1" init -q -b base
	# Above this size git writes files straight into a pack: much faster
	git -C "$1" -c core.bigFileThreshold=1 -c core.compression=1 add -Af .
	git -C "$1" commit -q -m "$2"
}

# tree_commit DIR BASE PATCH...: the commit of BASE with these patches, in COMMIT; status in RC
tree_commit() {
	local dir=$1 base=$2 ref
	shift 2
	ref=$(tree_ref "$base" "$@")
	RC=0
	if ! COMMIT=$(git -C "$dir" rev-parse -q --verify "$ref"); then
		step apply 600 "applying $# patches" tree_apply "$dir" "$base" "$ref" "$@"
		COMMIT=$(git -C "$dir" rev-parse -q --verify "$ref") || :
	fi
}

# tree_ref BASE PATCH...: what keeps the commit that these patches make
tree_ref() { echo "refs/ir-ims/$({ echo "$1"; cat /dev/null "${@:2}"; } | hash12)"; }

# In a second working tree that has only the files that the patches touch:
# the first one keeps its time stamps, and a patch that fails leaves nothing.
tree_apply() {
	local dir=$1 base=$2 ref=$3 patch work=$TMP/apply
	shift 3
	git -C "$dir" worktree prune
	git -C "$dir" worktree add -q --no-checkout --detach "$work" "$base"
	git -C "$work" read-tree HEAD
	for patch; do
		tree_apply_one "$work" "$patch" ||
			die "the patch ${patch#"$TOP"/} does not apply to $(tree_name "$dir"): rebase it, or use the pinned source"
	done
	git -C "$dir" update-ref "$ref" "$(git -C "$work" rev-parse HEAD)"
	git -C "$dir" worktree remove --force "$work"
}

# A patch of the series is a mail; a mutant is a plain difference, or says which of them it
# takes out again
tree_apply_one() {
	local reverts
	if [[ $(head -c 5 "$2") == "From " ]]; then
		git -C "$1" am --committer-date-is-author-date "$2"
		return
	fi
	reverts=$(sed -n 's/^Reverts: *//p' "$2")
	if [[ $reverts ]]; then
		git -C "$1" apply --3way --reverse "$TOP"/patches/[0-9]*-"$reverts".patch
	else
		git -C "$1" apply --index "$2"
	fi && git -C "$1" commit -q -m "${2##*/}"
}

tree_name() { git -C "$1" log -1 --format=%s base 2>/dev/null || echo "your tree"; }

# own_id DIR: changes when any file of somebody's own tree changes
own_id() { (cd "$1" && find . -name .git -prune -o -type f -printf '%P %s %T@\n' | sort | hash12); }
