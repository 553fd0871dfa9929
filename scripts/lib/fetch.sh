# shellcheck shell=bash disable=SC2034
# Packages and sources: what is installed (with consent), and what is only
# fetched, through an apt configuration of our own, into the cache.

# What is fetched: name, suite, version, versions of which the newest takes its
# place when the mirror no longer has it (a regular expression), sha256.
PINS='
linux-source-7.3 trixie-backports   7.3.4-1~bpo13+1         7\.3\.[0-9]+-.*          703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3
qemu             trixie             1:10.0.13+ds-0+deb13u1  1:10\.0\.[0-9]+\+ds-.*   6a0888e806c2ffc0c5f0733e974f9aea55491950d3c47c98669c8b236dde59ae
meson            bookworm-backports 1.7.0-1~bpo12+1         1\.([5-9]|1[0-9])\..*   4b86d2f2cb4431d03826fa4b2c3a89508edeb8140509e7e4b285285ec3175bbe
python3-pycotap  bookworm-backports 1.3.1-2~bpo12+1         1\..*                   3774be6e79318192059aa72e7b7a701e8b99bba2147befcc715650a0da65ca96
busybox-static   bookworm           1:1.35.0-4+deb12u1+b1   1:1\.35\..*             3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744
seabios          bookworm           1.16.2-1                1\.16\..*               08e5b3f761379f17a6051731cafa03e97686049e2cc1b8bdccc5a910646e2d8e
qemu-system-data bookworm           1:7.2+dfsg-7+deb12u18   1:7\.2\+dfsg-.*         8d7647370573fe9871949acf60d0c000546c2c089008a70accb3d015781e6bf1
'
# The tar file inside of linux-source-7.3
LINUX_TAR_SHA256=76df1affb19f24926949369be1d74b60071c963c598ce8780bddd4bbf0fc3bc4
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# What has to be installed: package, and something that shows that it is there
PACKAGES='
gcc              gcc
libc6-dev        /usr/include/stdlib.h
make             make
flex             flex
bison            bison
bc               bc
bzip2            bzip2
cpio             cpio
git              git
patch            patch
perl             perl
python3          /usr/bin/python3
python3-venv     /usr/lib/python3.*/ensurepip
xz-utils         xz
libelf-dev       /usr/include/libelf.h
ninja-build      ninja
pkg-config       pkg-config
libglib2.0-dev   /usr/include/glib-2.0/glib.h
uuid-dev         /usr/include/uuid/uuid.h
'
# ... for the suite kunit-powerpc, too
POWERPC_PACKAGES='
gcc-powerpc64le-linux-gnu powerpc64le-linux-gnu-gcc
qemu-system-ppc  qemu-system-ppc64
'

pin() { awk -v p="$1" -v f="$2" '$1 == p { print $f }' <<<"$PINS"; }

# ---- packages of the machine

packages_missing() {
	local package proof
	while read -r package proof; do
		case $proof in
		'') continue ;;
		/*) compgen -G "$proof" >/dev/null || printf '%s ' "$package" ;;
		*) command -v "$proof" >/dev/null || printf '%s ' "$package" ;;
		esac
	done <<<"$PACKAGES"
}

packages_install() {
	local -a missing install
	local network=1
	read -ra missing <<<"$1"
	install=(apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends "${missing[@]}")
	export DEBIAN_FRONTEND=noninteractive
	# Ours may be closed to the user that apt takes for its downloads
	unset TMPDIR
	if "${install[@]}"; then return; fi
	# A machine that was just made has no lists, an old one those of files that are gone
	apt-get -o APT::Update::Error-Mode=any update || network=
	if "${install[@]}"; then return; fi
	[[ $network ]] || no_network
	die "apt-get could not install the packages: run '${install[*]}' and see what is in its way"
}

# ---- the private apt

apt_private() { "$1" -c "$TMP/apt/apt.conf" "${@:2}"; }

# The machine's own Debian mirror, so that no host name is written down here
mirror() {
	# shellcheck disable=SC2016  # apt expands these
	local format='$(REPO_URI) $(LABEL) $(RELEASE) $(COMPONENT)'
	{
		apt-get indextargets --format "$format" 'Created-By: Packages'
		# Without lists apt knows only what sources.list says
		apt-get indextargets --no-release-info --format "$format" 'Created-By: Packages' |
			awk '$3 ~ /^(bookworm|trixie|forky|stable|oldstable|testing|sid|unstable)$/ { $2 = "Debian"; print }'
	} 2>/dev/null | awk '$2 == "Debian" && $4 == "main" && !n++ { print $1 }'
}

apt_setup() {
	local uri suite dir=$TMP/apt
	uri=$(mirror)
	[[ $uri ]] || die "no Debian mirror in this machine's apt configuration: add bookworm main to it, or give the sources with LINUX= and QEMU_SRC="
	[[ -r $KEYRING ]] || die "$KEYRING is missing: install debian-archive-keyring"
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	for suite in bookworm bookworm-backports trixie-backports; do
		say "deb [signed-by=$KEYRING target=Packages] $uri $suite main"
	done >"$dir/sources.list"
	say "deb-src [signed-by=$KEYRING target=Sources] $uri trixie main" >>"$dir/sources.list"
	# Signatures are checked whatever the machine's own settings say; the sandbox
	# user could not write into a cache in somebody's home.
	cat >"$dir/apt.conf" <<-EOF
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "-";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State::lists "$dir/lists";
		Dir::Cache "$dir/cache";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		Dir::Log "$dir";
		APT::Sandbox::User "root";
		APT::Get::AllowUnauthenticated "false";
		APT::Architecture "amd64";
		APT::Architectures "amd64";
		Acquire::AllowInsecureRepositories "false";
		Acquire::AllowWeakRepositories "false";
		Acquire::AllowDowngradeToInsecureRepositories "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		#clear APT::Update;
	EOF
	apt_private apt-get -o APT::Update::Error-Mode=any update || no_network
	: >"$dir/ready"
}

no_network() {
	die "the Debian mirror of this machine's apt configuration could not be reached: check the network (and apt's proxy), then run this again"
}

# fetch PACKAGE DIR: the file of this package into DIR, and DIR/note if it is not the pinned one
fetch() {
	local package=$1 version kind=Packages file
	[[ -e $TMP/apt/ready ]] || apt_setup
	mkdir -p "$2"
	cd "$2" || return
	if [[ $package == qemu ]]; then kind=Sources; fi
	version=$(apt_private apt-cache madison "$package" |
		awk -v p="$package" -v k="$kind" '$1 == p && $NF == k { print $3 }' | pick "$package") || :
	[[ $version ]] || die "the mirror has no $package like version $(pin "$package" 3) any more: give the source with LINUX= or QEMU_SRC="
	if [[ $kind == Sources ]]; then
		apt_private apt-get source --download-only --only-source "$package=$version" || no_network
		file=$(echo ./*.orig.tar.xz)
	else
		apt_private apt-get download "$package=$version" || no_network
		file=$(echo ./*.deb)
	fi
	if [[ $version == "$(pin "$package" 3)" ]]; then
		sha256sum -c <<<"$(pin "$package" 5)  $file" || die "$package $version does not have the pinned checksum: do not use this mirror"
	else
		say "$package $version takes the place of $(pin "$package" 3), which the mirror no longer has; its checksum comes from the signed package list." | tee note
	fi
}

# Of the versions on stdin: the pinned one, else the newest that may replace it
pick() {
	local versions
	versions=$(cat)
	grep -Fx -- "$(pin "$1" 3)" <<<"$versions" ||
		grep -Ex -- "$(pin "$1" 4)" <<<"$versions" | sort -V | tail -n 1
}

# Tools and firmware that are only unpacked into the cache, never installed
TOOLS=$CACHE/tools-$(hash12 <<<"$PINS")
tools_fetch() {
	local package tools=$TMP/tools root=$TMP/tools-root
	for package in meson python3-pycotap busybox-static seabios qemu-system-data; do
		fetch "$package" "$TMP/deb-$package"
		dpkg-deb -x "$TMP/deb-$package"/*.deb "$root"
	done
	mkdir -p "$tools/bin" "$tools/firmware"
	cp "$root/bin/busybox" "$tools/bin"
	cp "$root"/usr/share/{seabios/bios-256k,qemu/kvmvapic,qemu/linuxboot_dma}.bin "$tools/firmware"
	mv "$root/usr/lib/python3/dist-packages" "$tools/python"
	mv "$tools" "$TOOLS"
	prune
}
