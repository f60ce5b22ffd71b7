#!/bin/bash
# The tests that drive the C shim, and hostile input, with the shim built for AddressSanitizer and
# UndefinedBehaviorSanitizer. HOSTILE_FRAMES sets how many random and mutated frames: by default a
# million through the whole server, and 100,000 of them through a real interface as well.
set -euo pipefail
cd "$(dirname "$0")/.."

SANITIZE=1 scripts/build-shim.sh
compiler=${CC:-cc}
libraries="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libubsan.so)"

# sanitized FRAMES ARGUMENT…: vitest with so many hostile frames.
sanitized() {
    local frames=$1
    shift
    # Leaks are not looked for: Node itself never frees what lives as long as it does. What is freed
    # is kept back for a while, but not so much that the tests take it for growth.
    env AOED_SHIM=sanitized LD_PRELOAD="$libraries" \
        ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1 \
        HOSTILE_FRAMES="$frames" \
        bin/node node_modules/vitest/vitest.mjs run --testTimeout=600000 "$@"
}

sanitized "${HOSTILE_FRAMES:-1000000}" src/storage src/arena src/conformance/hostile \
    --exclude '**/*.netns.test.ts'
if [ "$(id -u)" = 0 ]; then
    export -f sanitized
    export libraries
    unshare -n -- bash -c \
        "sanitized ${HOSTILE_FRAMES:-100000} --no-file-parallelism src/ethernet src/workers hostile-input.netns"
fi
