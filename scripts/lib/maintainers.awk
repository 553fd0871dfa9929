#!/usr/bin/awk -f
# maintainers.awk SNIPPET MAINTAINERS MAINTAINERS: prints MAINTAINERS with the entry
# at its place, behind the last title before its own. The file is not sorted everywhere.
FNR == 1 { pass++; list = 0 }
pass == 1 { if (FNR == 1) title = $0; entry = entry $0 "\n"; next }
list && blank && !/^[A-Z]:/ && $0 < title && $0 > before { before = $0 }
/^Maintainers List$/ { list = 1 }
{ blank = /^$/ }
pass == 3 {
	if ($0 == before) found = 1
	print
	if (found && blank) { printf "%s\n", entry; found = 0 }
}
