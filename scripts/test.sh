#!/bin/bash
# Every test that needs no kernel driver: the plain ones, then those that need a network namespace
# (*.netns.test.ts), then the memory of the C shim under AddressSanitizer.
#
# Root makes a namespace outright; others get one of their own user where the machine allows it,
# else those tests are left out with a reason.
set -euo pipefail
cd "$(dirname "$0")/.."

vitest() { bin/node node_modules/vitest/vitest.mjs run "$@"; }

# Prints the words that run a command in a network namespace of its own, or nothing.
isolated() {
    if [ "$(id -u)" = 0 ]; then echo "unshare -n --"; return; fi
    if unshare -rn true 2>/dev/null; then echo "unshare -rn --"; fi
}

echo "== unit, property, compliance, conformance, simulation and crash tests"
vitest --exclude '**/*.netns.test.ts'

echo "== tests on real interfaces, in a network namespace"
namespace=$(isolated)
if [ -n "$namespace" ] && command -v ip >/dev/null; then
    # One file at a time: they share the namespace, and count what is in it.
    # shellcheck disable=SC2086
    $namespace bin/node node_modules/vitest/vitest.mjs run --no-file-parallelism netns.test.ts
else
    echo "SKIPPED: they need root, or user namespaces and iproute2 (apt-get install iproute2)"
fi

echo "== the shim under AddressSanitizer and UndefinedBehaviorSanitizer"
scripts/test-sanitized.sh
