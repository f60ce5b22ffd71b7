#!/bin/bash
# Asks the list of wire cases of aoed, as a process on a real interface and in process, and of
# Debian's vblade, in one run, and writes the table of docs/conformance.md.
#
#   scripts/conformance.sh [--server aoed|two-workers|in-process|vblade]… [--case NUMBER]… [--json FILE]
#
# With a choice of servers or cases the table stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v ip >/dev/null || ! command -v cc >/dev/null; then
    echo "conformance: needs iproute2 and a C compiler (apt-get install iproute2 gcc)" >&2
    exit 2
fi
if ! command -v vblade >/dev/null && [ $# = 0 ]; then
    echo "conformance: needs vblade to compare with (apt-get install vblade)" >&2
    exit 2
fi

isolate="unshare -n"
[ "$(id -u)" = 0 ] || isolate="unshare -rn"
exec $isolate -- bin/node --disable-warning=ExperimentalWarning netns-tests/conformance.ts "$@"
