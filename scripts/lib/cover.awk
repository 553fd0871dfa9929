# cover.awk NEW OLD: the cover letter. What the series is about, who wrote that and
# when, and the revision have one place: the old letter. The rest is of the new one,
# that git made.
function count(s) { sub(/[0-9]+\/[0-9]+\]/, number "]", s); return s }
# its number, and what follows the text
FNR == NR {
	if (/^Subject: / && match($0, /[0-9]+\/[0-9]+\]/)) number = substr($0, RSTART, RLENGTH - 1)
	if (after) tail[++tails] = $0
	if (/^\*\*\* BLURB HERE \*\*\*$/) after = 1
	next
}
# The list of patches starts where only that, blank lines and the statistics follow
{ line[FNR] = $0 }
!body { if (/^$/) body = FNR; next }
/^[^ ].* \([0-9]+\):$/ { if (!end) end = FNR; next }
/^[^ ]/ { end = 0 }
END {
	if (!end) end = FNR + 1
	for (i = 1; i < end; i++) print i < body ? count(line[i]) : line[i]
	for (i = 2; i <= tails; i++) print tail[i]
}
