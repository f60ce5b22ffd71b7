#!/bin/bash
# The tests that drive the C shim, and hostile input, with the shim built for AddressSanitizer and
# UndefinedBehaviorSanitizer. HOSTILE_FRAMES sets how many random and mutated frames (a million by
# default here).
set -euo pipefail
cd "$(dirname "$0")/.."

SANITIZE=1 scripts/build-shim.sh
compiler=${CC:-cc}
libraries="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libubsan.so)"

sanitized() {
    # Leaks are not looked for: Node itself never frees what lives as long as it does.
    env AOED_SHIM=sanitized LD_PRELOAD="$libraries" \
        ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
        HOSTILE_FRAMES="${HOSTILE_FRAMES:-1000000}" \
        bin/node node_modules/vitest/vitest.mjs run "$@"
}

sanitized --testTimeout=300000 src/storage src/arena src/conformance/hostile-input.test.ts \
    --exclude '**/*.netns.test.ts'
if [ "$(id -u)" = 0 ]; then
    export -f sanitized
    export libraries
    unshare -n -- bash -c 'sanitized --testTimeout=300000 src/ethernet src/conformance/hostile'
fi
