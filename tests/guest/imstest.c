// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: tests IMS interrupts with the emulated device pci-ims
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imstest.h"

bool long_run;

static int usage(void)
{
	fprintf(stderr,
		"Usage: imstest SET [TEST]\n"
		"\n"
		"  vtd        interrupts through VT-d interrupt remapping\n"
		"  isolation  messages that interrupt remapping has to block\n"
		"  refused    IMS where it must not be offered: intremap=off, intremap=nosid or\n"
		"             caching mode, whatever the machine was booted with\n"
		"  failures   operations on interrupts that fail\n"
		"  invalid    random accesses to the device\n"
		"  demo       a demonstration, in text\n"
		"\n"
		"With imstest_long=1 in the environment the numbers are bigger.\n"
		"The result is KTAP on the standard output; the exit status is 0 if all passed.\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *set = argc > 1 ? argv[1] : "";
	const char *only = argc > 2 ? argv[2] : NULL;
	const char *big = getenv("imstest_long");

	if (argc > 3)
		return usage();

	long_run = big && !strcmp(big, "1");
	if (!strcmp(set, "vtd"))
		return run_vtd(only);
	if (!strcmp(set, "isolation"))
		return run_isolation(only);
	if (!strcmp(set, "refused"))
		return run_refused(only);
	if (!strcmp(set, "failures"))
		return run_failures(only);
	if (!strcmp(set, "invalid"))
		return run_invalid(only);
	if (!strcmp(set, "demo") && !only)
		return run_demo();
	return usage();
}
