#!/bin/bash
# The object stores against real services: Azurite (npm), a Ceph object gateway (Debian packages)
# and, where containers can be run, MinIO and Azurite in containers. What is not to be had is left
# out, with the reason.
#
#   ONLY=PATTERN    the tests whose name matches
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

folder=$(mktemp -d)
stop() {
    for file in "$folder"/*/*.pid "$folder"/*/run/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$folder" || rm -rf "$folder" || true
}
trap stop EXIT

# Without Azurite there is no point: it comes from where the other packages come from.
scripts/start-azurite.sh "$folder/azurite"
# shellcheck source=/dev/null
. "$folder/azurite/azurite.env"

if scripts/install-test-packages.sh objects; then
    scripts/start-radosgw.sh "$folder/radosgw"
    # shellcheck source=/dev/null
    . "$folder/radosgw/radosgw.env"
else
    echo "SKIPPED: the tests of a Ceph object gateway: see above"
fi

bin/node node_modules/vitest/vitest.mjs run --config object-tests/vitest.config.ts \
    ${ONLY:+--testNamePattern "$ONLY"} "$@"
