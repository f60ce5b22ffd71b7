#!/bin/bash
# What two versions of a Debian root file system take in a content-addressed store, beside what they
# take as images: a minimal bookworm as it was released, and the same with all updates and a few
# packages more. Needs root, debootstrap, and apt's own mirrors of Debian bookworm, or others that
# DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR name.
#
#   sudo bench/dedup.sh [FOLDER]     keeps the root file systems in FOLDER, for another run
set -euo pipefail
cd "$(dirname "$0")/.."

# Where apt of this machine has a release from.
mirror_of() {
    # shellcheck disable=SC2016 # apt fills in the names
    apt-get indextargets --format '$(REPO_URI)' "Codename: $1" 'Created-By: Packages' | head -1
}
mirror=${DEBIAN_MIRROR:-$(mirror_of bookworm)}
security=${DEBIAN_SECURITY_MIRROR:-$(mirror_of bookworm-security)}
if [ -z "$mirror" ] || [ -z "$security" ]; then
    echo "dedup: apt knows no mirror of Debian bookworm: name DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR" >&2
    exit 2
fi
more_packages="openssh-server python3 curl vim-tiny"
image_size=2G

if [ "$(id -u)" != 0 ]; then
    echo "dedup: debootstrap makes a root file system: run it as root" >&2
    exit 2
fi
for program in debootstrap mkfs.ext4; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null && continue
    echo "dedup: $program is missing: apt-get install debootstrap e2fsprogs" >&2
    exit 2
done

work=${1:-}
if [ -z "$work" ]; then
    mkdir -p bench/build
    work=$(mktemp -d -p bench/build dedup-XXXXXX)
    trap 'rm -rf "$work"' EXIT
fi
work=$(realpath "$work")
mkdir -p "$work"

# The version that was released: no updates.
if [ ! -e "$work/first.done" ]; then
    rm -rf "$work/first"
    echo "dedup: debootstrap bookworm" >&2
    debootstrap --variant=minbase bookworm "$work/first" "$mirror" >"$work/debootstrap.log"
    touch "$work/first.done"
fi
# A later version of it: what a machine looks like that was kept up to date and put to use.
if [ ! -e "$work/second.done" ]; then
    rm -rf "$work/second"
    cp -a "$work/first" "$work/second"
    echo "dedup: updates and $more_packages" >&2
    cat >"$work/second/etc/apt/sources.list" <<END
deb $mirror bookworm main
deb $mirror bookworm-updates main
deb $security bookworm-security main
END
    printf '#!/bin/sh\nexit 101\n' >"$work/second/usr/sbin/policy-rc.d"
    chmod 755 "$work/second/usr/sbin/policy-rc.d"
    for line in "update" "dist-upgrade -y" "install -y --no-install-recommends $more_packages" \
        clean; do
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive chroot "$work/second" apt-get $line >>"$work/apt.log" 2>&1
    done
    touch "$work/second.done"
fi

for version in first second; do
    rm -f "$work/$version.img"
    truncate -s "$image_size" "$work/$version.img"
    PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -d "$work/$version" "$work/$version.img"
done
rm -rf "$work/store"
for version in first second; do
    bin/aoed import "$work/$version.img" --into "$work/store" --volume "$version" --json \
        >"$work/$version.json"
done
# What comes out again is what went in.
for version in first second; do
    bin/aoed export "$version" "$work/exported.img" --from "$work/store" --overwrite >/dev/null
    cmp "$work/$version.img" "$work/exported.img"
    rm -f "$work/exported.img"
done
bin/node bench/dedup-report.ts "$work" first second
