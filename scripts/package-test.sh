#!/bin/bash
# The packages as a user meets them, in a clean Debian root without compiler and Node: the .deb is
# installed, started, upgraded and removed; the npm package is run. Needs root.
#
#   scripts/package-test.sh
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "package-test: making a root needs root: sudo make package-test" >&2
    exit 2
fi
scripts/install-test-packages.sh packages

scratch=$(mktemp -d /var/tmp/aoed-packages.XXXXXX)
# What still ends may write while it is removed: that decides nothing, and is tried again.
remove_scratch() { rm -rf --one-file-system "$scratch" || rm -rf --one-file-system "$scratch" || true; }
trap remove_scratch EXIT
trap 'exit 130' INT TERM
root=$scratch/root

# Commands in the root: with mounts, processes and a network that end with them.
in_root() {
    unshare --mount --pid --net --fork --kill-child -- sh -c '
        root=$1; shift
        mount -t proc proc "$root/proc"
        mount -t sysfs -o ro sysfs "$root/sys"
        mount --rbind /dev "$root/dev"
        ip link set lo up
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"' in_root "$root" "$@"
}
step() { echo "== $* ($SECONDS s)"; }

step "build the packages"
version=$(bin/node -p 'require("./package.json").version')
newer=0.99.0
scripts/build-deb.sh --fast --output "$scratch" >/dev/null
old_deb=$scratch/aoed_${version}_$(dpkg --print-architecture).deb
# The upgrade differs in its version alone, so it is made of the first one.
dpkg-deb -R "$old_deb" "$scratch/newer"
sed -i "s/^Version: .*/Version: $newer/" "$scratch/newer/DEBIAN/control"
sed -i "s/\"version\": \"$version\"/\"version\": \"$newer\"/" "$scratch/newer/usr/lib/aoed/package.json"
new_deb=$scratch/aoed_newer.deb
dpkg-deb --root-owner-group -Znone --build "$scratch/newer" "$new_deb" >/dev/null
rm -r "$scratch/newer"
scripts/build-npm.sh "$scratch/npm"

step "lintian, of our own part"
# Looking through thousands of files of other projects takes minutes; scripts/release.sh does.
dpkg-deb -R "$old_deb" "$scratch/own"
rm -r "$scratch/own/usr/lib/aoed/node_modules"
sed -i '\#/node_modules/#d' "$scratch/own/DEBIAN/md5sums"
dpkg-deb --root-owner-group --build "$scratch/own" "$scratch/own.deb" >/dev/null
rm -r "$scratch/own"
lintian --allow-root --suppress-tags mismatched-override --fail-on error,warning "$scratch/own.deb"

step "the shim for both processors"
scripts/check-shim.sh

step "the man pages and the completions in the package"
mkdir "$scratch/content"
dpkg-deb --fsys-tarfile "$old_deb" | tar -x -C "$scratch/content" --wildcards './usr/share/man/*' './usr/share/*complet*'
for page in "$scratch"/content/usr/share/man/man?/*.gz; do
    zcat "$page" >"${page%.gz}"
    mandoc -T lint -W warning "${page%.gz}"
    # All of it is read: man is not to fail because nobody reads on.
    man -l "$page" 2>&1 | grep aoed >/dev/null
done
zsh -n "$scratch/content/usr/share/zsh/vendor-completions/_aoed"
fish --no-execute "$scratch/content/usr/share/fish/vendor_completions.d/aoed.fish"

step "a clean root"
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
make_root() {
    rm -rf --one-file-system "$root"
    debootstrap --variant=minbase --include=libatomic1,adduser,iproute2,systemd,systemd-sysv,dbus "$suite" "$root" \
        ${AOED_DEBIAN_MIRROR:+"$AOED_DEBIAN_MIRROR"} >"$scratch/debootstrap.log" 2>&1
}
# A download may fail once.
make_root || make_root || {
    tail -20 "$scratch/debootstrap.log" >&2
    exit 1
}
mkdir "$root/packages"
cp "$old_deb" "$new_deb" "$scratch"/npm/*.tgz "$root/packages/"
cp packaging/debian/test-in-root.sh "$root/packages/deb-test.sh"
cp packaging/npm/test-in-root.sh "$root/packages/npm-test.sh"
cp packaging/systemd/test-in-root.sh "$root/packages/systemd-test.sh"

step "the .deb"
in_root sh /packages/deb-test.sh "/packages/${old_deb##*/}" "/packages/${new_deb##*/}" "$newer"

step "the unit under a live systemd"
# Bounded, because it starts what it is to wait for.
timeout --kill-after=30 900 scripts/systemd-in-root.sh "$root" sh /packages/systemd-test.sh "/packages/${new_deb##*/}" </dev/null

step "the npm package"
# Installed here, where there is a network, but without install scripts: nothing is compiled.
cpu=$(bin/node -p process.arch)
mkdir "$root/somewhere" "$root/opt/node"
(cd "$root/somewhere" && npm install --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel=error \
    "$scratch/npm/aoed-$version.tgz" "$scratch/npm/aoed-shim-linux-$cpu-gnu-$version.tgz" >"$scratch/npm.log" 2>&1) || {
    cat "$scratch/npm.log" >&2
    exit 1
}
cp -r "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$root/opt/npm"
mkdir "$root/opt/node/bin"
cp "$(bin/node -p process.execPath)" "$root/opt/node/bin/node"
in_root sh /packages/npm-test.sh "$version" /somewhere

step "package-test passed"
