#!/bin/bash
# Builds everything that a release consists of, for both processors, into build/release, and
# publishes nothing: the .deb of each, the npm packages, and SHA256SUMS.
#
#   scripts/release.sh
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-test-packages.sh packages
release=build/release
rm -rf "$release"
mkdir -p "$release"

for arch in amd64 arm64; do
    scripts/build-deb.sh --arch "$arch" --output "$release"
done
lintian --allow-root --fail-on error,warning "$release"/*.deb
ALL_PROCESSORS=1 scripts/build-npm.sh "$release/npm"
rm "$release/npm/napi.log"
mv "$release"/npm/*.tgz "$release/"
rmdir "$release/npm"
scripts/check-shim.sh "$release"/aoed_*_arm64.deb
(cd "$release" && sha256sum -- * >SHA256SUMS)
echo "release: $release has what there is to publish:"
ls -l "$release"
