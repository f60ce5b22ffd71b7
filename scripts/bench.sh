#!/bin/sh
# The benchmark: aoed beside vblade and the null target, and then the backends without the network.
# QUICK=1 takes a few minutes; ARGS goes to bench/main.ts as it is (see bin/node bench/main.ts --help),
# and nothing else is measured then.
set -eu
cd "$(dirname "$0")/.."

# shellcheck disable=SC2086
bin/node bench/main.ts ${QUICK:+--quick} ${ARGS:-}
[ -z "${ARGS:-}" ] || exit 0
bin/node bench/backend.ts ${QUICK:+--quick --only "window 64"}
bin/node bench/limits.ts ${QUICK:+--quick}
