#!/bin/sh
# Installs the Debian packages that the tests and benchmarks need and that are missing. Quiet and
# fast when nothing is. Without root it names them and exits 2.
#
#   scripts/install-test-packages.sh            for make test, make netns-test and make bench
#   scripts/install-test-packages.sh objects    for make object-test: Ceph, 300 MB
#   scripts/install-test-packages.sh packages   for make package-test: debootstrap, cross compiler
#   scripts/install-test-packages.sh boot       for make boot-test: those of make netns-test, an emulator
set -eu
PATH=$PATH:/usr/sbin:/sbin

# What is looked for (a command or a file), and the package that has it.
needs='
cc gcc
/usr/include/stdio.h libc6-dev
linux.uml user-mode-linux
insmod kmod
ip iproute2
ethtool ethtool
aoecfg aoetools
vblade vblade
fio fio
mkfs.ext4 e2fsprogs
mkfs.xfs xfsprogs
losetup mount
unshare util-linux
tshark tshark
strace strace
valgrind valgrind
zsh zsh
fish fish
mandoc mandoc
chromium chromium
prometheus prometheus
systemd-analyze systemd
'

case ${1:-} in
    '') ;;
    objects)
        needs='
radosgw radosgw
ceph-mon ceph-mon
ceph-osd ceph-osd
ceph-authtool ceph-common
'
        ;;
    boot)
        needs="$needs"'
qemu-system-x86_64 qemu-system-x86
/boot/ipxe.lkrn ipxe
/usr/lib/SYSLINUX/mbr.bin syslinux-common
syslinux syslinux
mcopy mtools
mkfs.vfat dosfstools
/bin/busybox busybox-static
dnsmasq dnsmasq-base
cpio cpio
sfdisk fdisk
'
        ;;
    packages)
        needs='
cc gcc
ip iproute2
debootstrap debootstrap
lintian lintian
mandoc mandoc
man man-db
zsh zsh
fish fish
'
        # The other processor that there are packages for.
        case $(uname -m) in
            x86_64) needs="$needs"'
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
/usr/aarch64-linux-gnu/include/stdio.h libc6-dev-arm64-cross
qemu-aarch64-static qemu-user-static
' ;;
        esac
        ;;
    *)
        echo "install-test-packages: there is no group $1; use objects, boot, packages or none" >&2
        exit 2
        ;;
esac

missing=$(echo "$needs" | while read -r wanted package; do
    [ -n "$wanted" ] || continue
    case $wanted in
        /*) [ -e "$wanted" ] || echo "$package" ;;
        *) command -v "$wanted" >/dev/null 2>&1 || echo "$package" ;;
    esac
done | tr '\n' ' ')
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "install-test-packages: the tests need $missing(as Debian names them): install them" >&2
    exit 2
fi
if [ "$(id -u)" != 0 ]; then
    echo "install-test-packages: missing: $missing: run 'sudo apt-get install --no-install-recommends $missing'" >&2
    exit 2
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Packages start their services while they are installed; these two commands are how. For apt alone
# they do nothing, so that no service runs afterwards that did not run before.
for starter in invoke-rc.d deb-systemd-invoke; do
    printf '#!/bin/sh\nexit 0\n' >"$scratch/$starter"
    chmod 755 "$scratch/$starter"
done

quietly() {
    DEBIAN_FRONTEND=noninteractive "$@" >"$scratch/log" 2>&1 </dev/null
}
install_missing() {
    # shellcheck disable=SC2086
    quietly apt-get install -y --no-install-recommends -o Acquire::Retries=5 \
        -o "DPkg::Path=$scratch:/usr/sbin:/usr/bin:/sbin:/bin" -o DPkg::Lock::Timeout=300 $missing
}

echo "install-test-packages: installing $missing" >&2
# A machine without package lists, or with old ones, knows the packages only after an update.
# Mirrors are away for a moment now and then: it is tried again.
attempt=1
until install_missing; do
    if [ "$attempt" -ge 4 ]; then
        tail -n 25 "$scratch/log" >&2
        echo "install-test-packages: apt-get could not install $missing: see above" >&2
        exit 1
    fi
    quietly apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 update || sleep $((attempt * 10))
    attempt=$((attempt + 1))
done
