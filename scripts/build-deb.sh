#!/bin/bash
# Builds the Debian package build/aoed_VERSION_ARCH.deb: aoed as JavaScript with its own Node, the
# shim, its packages, a systemd unit, man pages and completions.
#
#   scripts/build-deb.sh [--arch amd64|arm64] [--version VERSION] [--output FOLDER] [--fast]
#
# --fast does not compress, for tests.
set -euo pipefail
cd "$(dirname "$0")/.."

arch=$(dpkg --print-architecture) version='' output=build compression=(-Zxz -z6)
while [ $# -gt 0 ]; do
    case $1 in
        --arch) arch=$2; shift 2 ;;
        --version) version=$2; shift 2 ;;
        --output) output=$2; shift 2 ;;
        --fast) compression=(-Znone); shift ;;
        *) echo "build-deb: unknown argument $1" >&2; exit 2 ;;
    esac
done
case $arch in
    amd64) cpu=x64 ;;
    arm64) cpu=arm64 ;;
    *) echo "build-deb: there is no pinned Node for $arch; amd64 and arm64 have one" >&2; exit 2 ;;
esac
version=${version:-$(bin/node -p 'require("./package.json").version')}

mkdir -p "$output"
output=$(cd "$output" && pwd)
scratch=$(mktemp -d "$output/deb.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root
library=$root/usr/lib/aoed
documents=$root/usr/share/doc/aoed
umask 022
say() { echo "build-deb: $*" >&2; }

say "compiling aoed $version for $arch"
scripts/stage-package.sh "$library" "$version"
rm "$library/README.md" "$library/LICENSE"
SHIM_CPU=$cpu scripts/build-shim.sh
install -D -m 644 "shim/build/linux-$cpu/aoed_shim.node" "$library/shim/build/aoed_shim.node"

say "installing its packages"
# The production packages of the lock, for this processor. npm checks the lock against the whole
# manifest, so they are installed beside it.
mkdir "$scratch/packages"
cp package.json package-lock.json .npmrc "$scratch/packages/"
(cd "$scratch/packages" && npm ci --omit=dev --ignore-scripts --os=linux --cpu="$cpu" --libc=glibc \
    --prefer-offline --no-fund --no-audit --loglevel=error >"$scratch/npm.log") || { cat "$scratch/npm.log" >&2; exit 1; }
# Headers, types, maps and readme files are for developers.
packages=$scratch/packages/node_modules
rm -rf "$packages/.bin" "$packages/.package-lock.json" "$packages"/node-linux-*/{include,share}
# npm keeps the compiler, because valibot names it as a peer for its types.
rm -rf "$packages/typescript" "$packages/@typescript"
find "$packages" -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \
    -o -name '*.ts' -o -iname '*.md' -o -name '*.html' -o -name '.*' \) ! -iname 'licen[cs]e*' -delete
find "$packages" -type d \( -name test -o -name tests -o -name docs -o -name benchmarks -o -name .github -o -name .husky \) \
    -prune -exec rm -rf {} +
find "$packages" -type d -empty -delete
find "$packages" -type f ! -path '*/bin/node' -exec chmod 644 {} +
mv "$packages" "$library/node_modules"

mkdir -p "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/etc/aoed" "$root/DEBIAN" \
    "$documents" "$root/usr/share/lintian/overrides"
ln -s ../lib/aoed/bin/aoed "$root/usr/bin/aoed"
cp packaging/systemd/aoed.service "$root/usr/lib/systemd/system/"
cp packaging/debian/aoed.toml "$root/etc/aoed/aoed.toml"
cp packaging/debian/copyright "$documents/"
cp packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/aoed"
cp -r docs/*.md docs/adr docs/formats docs/monitoring "$documents/"
# The pages lie beside it here.
sed 's#](docs/#](#g' README.md >"$documents/README.md"
printf 'aoed (%s) unstable; urgency=medium\n\n  * See the history of the repository.\n\n -- The aoed authors <aoed@localhost>  %s\n' \
    "$version" "$(date -R -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")" |
    gzip -9n >"$documents/changelog.gz"
bin/node packaging/write-pages.ts "$root"
gzip -9n "$root"/usr/share/man/man?/*

size=$(du -sk --apparent-size "$root" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" packaging/debian/control >"$root/DEBIAN/control"
echo /etc/aoed/aoed.toml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "packaging/debian/$script" "$root/DEBIAN/"; done
(cd "$root" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum) \
    >"$root/DEBIAN/md5sums"
find "$root" -type d -exec chmod 755 {} +
[ "${compression[0]}" = -Znone ] || say "compressing, which takes up to a minute"
dpkg-deb --root-owner-group "${compression[@]}" --build "$root" "$output/aoed_${version}_$arch.deb" >/dev/null
echo "$output/aoed_${version}_$arch.deb"
