#!/bin/sh
# The benchmark: aoed beside vblade and the null target, then the backends without the network, and
# volumes in an object store. QUICK=1 is some lines of the first part, in two minutes; ARGS goes to
# bench/main.ts as it is (see bin/node bench/main.ts --help), and nothing else is measured then.
# ARGS='--only objects' is the last alone.
set -eu
cd "$(dirname "$0")/.."

case " ${ARGS:-} " in
*" --only objects "*)
    case " $ARGS " in *" --no-table "*) exec scripts/bench-objects.sh --no-table ;; esac
    exec scripts/bench-objects.sh
    ;;
esac

# shellcheck disable=SC2086
status=0
bin/node bench/main.ts ${QUICK:+--quick} ${ARGS:-} || status=$?
# What was interrupted or misused goes no further.
[ "$status" -le 1 ] && [ -z "${ARGS:-}" ] || exit "$status"
[ -z "${QUICK:-}" ] || exit "$status"
bin/node bench/backend.ts || status=$?
bin/node bench/limits.ts || status=$?
scripts/bench-objects.sh || status=$?
exit "$status"
