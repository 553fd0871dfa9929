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
		"  amd        the same through AMD's\n"
		"  races      what two CPUs do at a time, for a kernel that watches\n"
		"  isolation  messages that interrupt remapping has to block\n"
		"  refused    IMS where it must not be offered: intremap=off, intremap=nosid or\n"
		"             caching mode, whatever the machine was booted with\n"
		"  failures   operations on interrupts that fail\n"
		"  boot       fail_irq= has hit an interrupt of AMD's unit\n"
		"  timer      fail_irq= has hit the activation of the timer's interrupt\n"
		"  hpet       a channel of the HPET without an interrupt\n"
		"  online     a CPU that comes online in the middle of a move, with three CPUs\n"
		"  hypercall  updates of remapping entries by the hypervisor\n"
		"  beside     what a move costs, in a guest of any kernel\n"
		"  life       the same after suspend, reboot and kexec\n"
		"  hibernate  the same after suspend to disk\n"
		"  kexec      into a kernel without the series and out of it\n"
		"  without    no such updates: guest, hypervisor or host do not know them\n"
		"  xen        an event channel that the hypervisor refuses\n"
		"  vfio       interrupts of vfio-pci whose store belongs to the user\n"
		"  avic       interrupts of vfio-pci that KVM has posted to its vCPU\n"
		"  passed     a device that is passed through, whose store belongs to this guest\n"
		"  passed-amd   some of the same on an AMD host\n"
		"  passed-life  the same after a reboot\n"
		"  passed-port  the same behind a root port, and the host takes it away\n"
		"  storm      interrupts of it without end\n"
		"  agent      the host of such a guest: does what its tests ask for\n"
		"  killed     the same, and its hypervisor is killed\n"
		"  invalid    random accesses to the device\n"
		"  crash      crashes the kernel, and tests in the one that takes over\n"
		"  demo       a demonstration, in text\n"
		"  hypercall-demo  the same of updates by the hypervisor\n"
		"  passed-demo     the same of a device that is passed through\n"
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
	time_limit = long_run ? 3000 : 120;
	if (!strcmp(set, "vtd"))
		return run_vtd(only);
	if (!strcmp(set, "amd"))
		return run_amd(only);
	if (!strcmp(set, "races"))
		return run_races(only);
	if (!strcmp(set, "isolation"))
		return run_isolation(only);
	if (!strcmp(set, "refused"))
		return run_refused(only);
	if (!strcmp(set, "failures"))
		return run_failures(only);
	if (!strcmp(set, "boot"))
		return run_boot(only);
	if (!strcmp(set, "timer"))
		return run_timer(only);
	if (!strcmp(set, "hpet"))
		return run_hpet(only);
	if (!strcmp(set, "online"))
		return run_online(only);
	if (!strcmp(set, "hypercall"))
		return run_hypercall(only);
	if (!strcmp(set, "hypercall-demo") && !only)
		return run_hypercall_demo();
	if (!strcmp(set, "beside") && !only)
		return run_beside();
	if (!strcmp(set, "life"))
		return run_life(only);
	if (!strcmp(set, "hibernate"))
		return run_hibernate(only);
	if (!strcmp(set, "kexec"))
		return run_kexec(only);
	if (!strcmp(set, "without"))
		return run_without(only);
	if (!strcmp(set, "xen"))
		return run_xen(only);
	if (!strcmp(set, "vfio"))
		return run_vfio(only);
	if (!strcmp(set, "avic"))
		return run_avic(only);
	if (!strcmp(set, "passed"))
		return run_passed(only);
	if (!strcmp(set, "passed-demo") && !only)
		return run_passed_demo();
	if (!strcmp(set, "passed-amd"))
		return run_passed_amd(only);
	if (!strcmp(set, "passed-port"))
		return run_passed_port(only);
	if (!strcmp(set, "passed-life"))
		return run_passed_life(only);
	/* A test is one of the host's, by which the storm is ended */
	if (!strcmp(set, "storm"))
		return run_storm();
	if (!strcmp(set, "agent") && !only)
		return run_agent();
	if (!strcmp(set, "killed"))
		return run_killed(only);
	if (!strcmp(set, "invalid"))
		return run_invalid(only);
	if (!strcmp(set, "crash"))
		return run_crash(only);
	if (!strcmp(set, "demo") && !only)
		return run_demo();
	return usage();
}
