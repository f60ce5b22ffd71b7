#!/bin/sh
# The benchmark: aoed beside vblade and the null target. QUICK=1 takes about two minutes; ARGS goes
# to bench/main.ts as it is (see bin/node bench/main.ts --help).
set -eu
cd "$(dirname "$0")/.."

# shellcheck disable=SC2086
exec bin/node bench/main.ts ${QUICK:+--quick} ${ARGS:-}
