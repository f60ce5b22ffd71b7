#!/bin/sh
# The benchmark: aoed beside vblade and the null target, and then the backends without the network.
# QUICK=1 takes a few minutes; ARGS goes to bench/main.ts as it is (see bin/node bench/main.ts --help),
# and nothing else is measured then.
set -eu
cd "$(dirname "$0")/.."

# shellcheck disable=SC2086
status=0
bin/node bench/main.ts ${QUICK:+--quick} ${ARGS:-} || status=$?
# What was interrupted or misused goes no further.
[ "$status" -le 1 ] && [ -z "${ARGS:-}" ] || exit "$status"
bin/node bench/backend.ts ${QUICK:+--quick --only "window 64"} || status=$?
bin/node bench/limits.ts ${QUICK:+--quick} || status=$?
exit "$status"
