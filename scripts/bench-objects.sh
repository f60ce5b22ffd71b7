#!/bin/bash
# Volumes in an object store beside volumes in a local one: starts a Ceph object gateway, measures,
# and prints a table, which docs/benchmarks.md gets, too. Without the gateway's packages a folder plays
# the object store.
#
#   scripts/bench-objects.sh [--only PATTERN] [--no-table]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
stop() {
    for file in "$folder"/radosgw/run/*.pid; do
        [ -e "$file" ] || continue
        kill "$(cat "$file")" 2>/dev/null || true
    done
    sleep 1
    rm -rf "$folder"
}
trap stop EXIT
if scripts/install-test-packages.sh objects; then
    scripts/start-radosgw.sh "$folder/radosgw"
    # shellcheck source=/dev/null
    . "$folder/radosgw/radosgw.env"
    AOED_BENCH_GATEWAY_PIDS=$(cat "$folder"/radosgw/run/*.pid | tr '\n' ' ')
    export AOED_BENCH_GATEWAY_PIDS
fi
bin/node bench/object-store.ts "$@"
