# Compares what ran with what was expected, prints each failure and the sum.
# Files: tests/expected, then results "name<TAB>status<TAB>text".
# -v ran=: suites that ran, with spaces; -v only=: a suite or a test; -v long=: 1
# counts the long tests; -v junit=: also write this file; -v early=: why it all ended
# before its time, one more failure.

FILENAME == ARGV[1] {
	if (/^[ \t]*(#|$)/) next
	known[$1] = 1
	may_skip[$1] = match($0, /skip:/) > 0
	if (wanted($1) && (long || $2 != "long" || $1 == only)) order[++n] = $1
	next
}

{
	split($0, f, "\t")
	if (f[1] in seen) fail(f[1], "ran twice")
	else if (f[2] == "not ok") fail(f[1], f[3] ? f[3] : "failed")
	else if (!(f[1] in known)) fail(f[1], "ran, and tests/expected does not have it: add it there")
	else if (f[2] == "skip" && !may_skip[f[1]]) fail(f[1], "skipped, which tests/expected does not allow: " f[3])
	else if (f[2] == "skip") { skipped++; xml(f[1], "<skipped message=\"" esc(f[3]) "\"/>") }
	else { passed++; xml(f[1], "") }
	seen[f[1]] = 1
}

END {
	for (i = 1; i <= n; i++) if (!(order[i] in seen)) fail(order[i], "did not run")
	if (early) fail("setup", early)
	if (passed + failed + skipped == 0) fail("none", "no test ran")
	printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
	fflush()
	if (junit) {
		printf "<testsuite name=\"ir-ims\" tests=\"%d\" failures=\"%d\" skipped=\"%d\">\n%s</testsuite>\n",
			passed + failed + skipped, failed, skipped, cases > junit
		close(junit)
	}
	exit failed > 0
}

function suite(name) { sub(/\..*/, "", name); return name }

function wanted(name) {
	if (!index(" " ran " ", " " suite(name) " ")) return 0
	return only !~ /\./ || name == only
}

function fail(name, text) {
	failed++
	print "FAILED " name ": " text
	xml(name, "<failure message=\"" esc(text) "\"/>")
}

function xml(name, inner,   test) {
	test = name
	sub(/^[^.]*\./, "", test)
	cases = cases "<testcase classname=\"" esc(suite(name)) "\" name=\"" esc(test) "\">" inner "</testcase>\n"
}

function esc(s) {
	# What XML cannot have, or not in every encoding
	gsub(/[\001-\010\013-\037\177-\377]/, "?", s)
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	gsub(/>/, "\\&gt;", s)
	gsub(/"/, "\\&quot;", s)
	return s
}
