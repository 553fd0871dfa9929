# shellcheck shell=bash disable=SC2034
# From nothing to a bench that can boot: the plan, consent, and all the steps.

LIB=$(dirname "${BASH_SOURCE[0]}")
. "$LIB/common.sh"
. "$LIB/fetch.sh"
. "$LIB/tree.sh"
. "$LIB/kernel.sh"
. "$LIB/qemu.sh"
. "$LIB/guest.sh"

# bench_ready [uml|old|checks|cost|kcsan|powerpc]...: all that is needed to boot, in the cache
bench_ready() {
	machine_ready tests host "$@"
	kernel_image "$TIP"
	((RC == 0)) || explain kernel 5400 "building the kernel"
	host_image "$TIP"
	((RC == 0)) || explain host 5400 "building the kernel of the nested host"
	guest_image
}

# demo_ready: a kernel that is not for debugging, for all that boot. Debugging is what takes
# most of the time otherwise.
demo_ready() {
	machine_ready host
	host_image "$TIP" "building the kernel"
	((RC == 0)) || explain host 5400 "building the kernel"
	IMAGE=$HOST_IMAGE
	guest_image
}

# powerpc_ready: what the kernel of a POWER machine needs
powerpc_ready() {
	kernel_folder
	plan powerpc
	kernel_source
	kernel_series
}

# machine_ready [tests|host|uml|old|checks|cost|kcsan|powerpc]...: all that is needed to boot a kernel, but for that
machine_ready() {
	kernel_folder
	qemu_folder
	plan bench "$@"
	kernel_source
	kernel_series
	kept "$TOOLS" || must tools 600 "fetching tools and firmware" tools_fetch
	qemu_image
}

# plan [bench|tests|host|uml|old|checks|cost|kcsan|powerpc]...: says what is going to happen for these, and asks.
# Nothing to say when all is in the cache.
plan() {
	local missing disk=0 minutes=0 text='' fetch='' for=" $* "
	if [[ $for == *" checks "* ]]; then . "$LIB/packages.sh"; fi
	if [[ $for == *" powerpc "* ]]; then PACKAGES+=$POWERPC_PACKAGES; fi
	missing=$(packages_missing)
	if [[ ! -e $K && ! ${LINUX:-} ]]; then need 2100 2 fetch "download the Linux 7.3 source, 167 MB, and import it into git"; fi
	if [[ ! -e $K && ${LINUX:-} ]]; then need 2100 2 local "check out a copy of $LINUX"; fi
	if [[ $for == *" bench "* ]]; then
		[[ -e $TOOLS ]] || need 10 0 fetch "download 3 MB of tools and firmware, only unpacked"
		[[ $for != *" tests "* || -e $K/kernel/wanted ]] || need 700 9 local "build the test kernel"
		[[ $for != *" host "* || -e $K/host/wanted ]] || need 300 4 local "build a kernel that is not for debugging"
		if [[ ! -e $Q && ! ${QEMU_SRC:-} ]]; then need 400 1 fetch "download the QEMU source, 40 MB"; fi
		[[ -e $QEMU ]] || need 400 3 local "build QEMU"
	fi
	if [[ $for == *" cost "* && ! -e $K/bench/wanted ]]; then need 400 8 local "build two kernels to count instructions in"; fi
	if [[ $for == *" kcsan "* && ! -e $K/kcsan/wanted ]]; then need 500 9 local "build a kernel that reports data races"; fi
	if [[ $for == *" old "* && ! -e $K/old/wanted ]]; then need 300 4 local "build a small kernel without the series"; fi
	if [[ $for == *" powerpc "* && ! -e $K/powerpc/wanted ]]; then need 200 3 local "build the kernel of a POWER machine"; fi
	if [[ $for == *" uml "* && ! -e $K/uml/wanted ]]; then need 500 3 local "build a user-mode kernel for the KUnit suites"; fi
	if [[ $for == *" checks "* && ! -e $K/check/ready ]]; then
		need 2400 12 local "check out the kernel once more, and compile and check what the series touches"
		need 500 1 fetch "download two other kernel sources to see whether the series applies, 330 MB"
	fi
	if [[ $fetch ]]; then text="  download 20 MB of Debian's package lists"$'\n'$text; fi
	if [[ $text$missing ]]; then
		printf 'To do first, in %s:\n%s' "$CACHE" "$text"
		if [[ $missing ]]; then printf '  install these packages of Debian bookworm main: %s\n' "$missing"; fi
		printf 'It needs %d MB of disk (%d MB are free), %d GB of memory, and about %d minutes on 2 cores.\n' \
			"$disk" "$(free_mb "$CACHE")" "$(wanted_gb)" "$minutes"
	fi
	enough "$disk"
	if [[ $text$missing ]]; then consent "$missing"; fi
}

need() {
	disk=$((disk + $1)) minutes=$((minutes + $2)) text+="  $4"$'\n'
	if [[ $3 == fetch ]]; then fetch=1; fi
}

enough() {
	local memory want
	want=$(wanted_gb)
	if (($(free_mb "$CACHE") < $1 + 200)); then
		die "not enough disk for $CACHE: free $(($1 + 200 - $(free_mb "$CACHE"))) MB more, or set CACHE= to a folder on another disk"
	fi
	memory=$(available_mb)
	((memory >= want * 900)) || die "not enough memory: $want GB have to be available and $memory MB are, close something"
}

wanted_gb() { if [[ ${LONG:-} ]]; then echo 5; else echo 2; fi; }
available_mb() { awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo; }
am_root() { ((EUID == 0)); }
at_terminal() { [[ -t 0 ]]; }

# consent PACKAGES: one question for all that the plan says, if somebody is there to
# answer. What is only fetched and built needs no answer; packages do.
consent() {
	local answer='' line="apt-get install --no-install-recommends ${1% }"
	if [[ $1 ]]; then consent_possible "$line"; fi
	if [[ ! $YES ]] && at_terminal; then
		read -r -p "Go on? [y/N] " answer || :
		if [[ $answer == [yY]* ]]; then
			YES=1
		elif [[ ! $1 ]]; then
			die "nothing was done: run this again when it may be done, or with --yes"
		fi
	fi
	if [[ ! $1 ]]; then return; fi
	[[ $YES ]] || die "packages are missing: run '$line', or run this again with --yes"
	must packages 1200 "installing packages" packages_install "$1"
	[[ ! $(packages_missing) ]] || die "these packages were installed and do not have what they should: $(packages_missing)"
}

consent_possible() {
	if ! grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; then
		warn "this was made for Debian bookworm, other systems may lack what it needs"
	fi
	if ! am_root; then
		die "packages are missing and only root can install them: have root run '$1', then run this again"
	fi
}
