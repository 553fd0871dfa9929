# KTAP on stdin, nested or flat: one line "name<TAB>ok|not ok|skip<TAB>text" for
# each leaf. The results of a group only count when they say more than its tests.
# -v suite=NAME goes in front of the names. Other lines are passed over.

{ sub(/\r$/, "") }

/^ *# Subtest: / {
	depth = indent($0)
	group[depth] = $3
	for (d in group) if (d + 0 > depth) delete group[d]
	next
}

# KUnit and the selftests of the kernel tell what they expected in front of the result
/^ *(# [^ ]+\.c:[0-9]+:[^:]*:)?Expected / {
	sub(/^.*Expected /, "Expected ")
	sub(/, but$/, "")
	expected = expected (expected == "" ? "" : "; ") $0
	next
}

/^ *(not )?ok [0-9]+/ {
	depth = indent($0)
	status = /^ *not / ? "not ok" : "ok"
	text = ""
	line = $0
	sub(/^ *(not )?ok [0-9]+ *(- )?/, "", line)
	if (match(line, / *# */)) {
		text = substr(line, RSTART + RLENGTH)
		line = substr(line, 1, RSTART - 1)
		# What failed was not skipped, whatever it says
		if (status == "ok") {
			if (text ~ /^[Ss][Kk][Ii][Pp]/) { status = "skip"; sub(/^.... */, "", text) }
			else text = ""
		}
	}
	if (status == "not ok" && text == "") text = expected
	expected = ""
	gsub(/\t/, " ", text)
	gsub(/[ \t]+/, "_", line)
	if (line == "") line = "unnamed"

	# The end of a group: its tests were counted
	if (inner[depth] > 0) {
		if (status == "not ok" && !bad[depth])
			print name(depth) line "\tnot ok\tthe group failed, its tests did not"
	} else
		print name(depth) line "\t" status "\t" text
	failed = (status == "not ok" || bad[depth])
	for (d in inner) if (d + 0 >= depth) { delete inner[d]; delete bad[d] }
	for (d in group) if (d + 0 > depth) delete group[d]
	for (d = 0; d < depth; d++) { inner[d]++; if (failed) bad[d] = 1 }
}

function indent(s) { match(s, /^ */); return RLENGTH }

# A group's "# Subtest:" line is indented as its tests are
function name(depth,   d, n) {
	n = suite "."
	for (d = 4; d <= depth; d += 4) if (d in group) n = n group[d] "."
	return n
}
