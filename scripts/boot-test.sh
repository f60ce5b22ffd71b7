#!/bin/sh
# Machines without disks, in an emulator, that boot over AoE from clones of one golden image. Needs
# root. ONLY=PATTERN as for netns-test.sh, whose way of cleaning up this has.
set -eu
cd "$(dirname "$0")/.."

case $(uname -m) in
    x86_64) ;;
    *)
        echo "SKIPPED: boot-test: the emulated machines are PCs, and their packages are for x86_64"
        exit 0
        ;;
esac
TEST_PACKAGES=boot TEST_CONFIG=netns-tests/boot/vitest.config.ts exec scripts/netns-test.sh "$@"
