#!/bin/sh
# The real Linux aoe driver against aoed, in network namespaces made for it. Needs root.
#
#   KERNEL=uml|host   the client: user-mode Linux (the default where the kernel has no aoe module),
#                     or this kernel's own module
#   ONLY=PATTERN      the scenarios whose name matches
#   SERVER=vblade     tests the tests against Debian's server instead
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

if [ "$(id -u)" != 0 ]; then
    echo "netns-test: namespaces, TAPs and loop devices need root: sudo make netns-test" >&2
    exit 2
fi
# shellcheck disable=SC2086
scripts/install-test-packages.sh ${TEST_PACKAGES:-}
if [ -z "${TEST_PACKAGES:-}" ]; then
    # The services of volumes in object stores.
    scripts/install-test-packages.sh objects
    scripts/start-azurite.sh --install
fi

if [ -z "${KERNEL:-}" ]; then
    KERNEL=uml
    if [ ! -e /sys/module/aoe ] && modprobe --dry-run aoe 2>/dev/null; then
        KERNEL=host
    fi
fi
export KERNEL

tests=
# The tests clean up behind themselves; this is for those that were interrupted.
clean_up() {
    bin/node netns-tests/harness/run-folder.ts
}
stop() {
    trap - INT TERM HUP
    [ -z "$tests" ] || kill -TERM "$tests" 2>/dev/null || true
    [ -z "$tests" ] || wait "$tests" 2>/dev/null || true
    clean_up
    exit 130
}
trap stop INT TERM HUP

bin/node node_modules/vitest/vitest.mjs run --config "${TEST_CONFIG:-netns-tests/vitest.config.ts}" \
    ${ONLY:+--testNamePattern "$ONLY"} "$@" &
tests=$!
status=0
wait "$tests" || status=$?
clean_up
exit "$status"
