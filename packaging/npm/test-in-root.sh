#!/bin/sh
# The npm package on a machine without a compiler and without a network, used from the folder that
# npm installed it in. scripts/package-test.sh runs it in a clean root, in namespaces of its own.
#
#   test-in-root.sh VERSION FOLDER
#
# There are npm in /opt/npm and a Node for it in /opt/node.
set -eu
version=$1 folder=$2
export PATH=/opt/node/bin:$PATH

fail() {
    echo "package-test: npm: $*" >&2
    exit 1
}
command -v cc gcc && fail "this root was to have no compiler"

cd "$folder"
npx() { node /opt/npm/bin/npx-cli.js "$@"; }

echo "-- npx aoed"
[ "$(npx aoed --version)" = "$version" ] || fail "--version says $(npx aoed --version)"
ip link add server0 type veth peer name client0
ip link set server0 up
ip link set client0 up
printf '[server]\ninterface = "server0"\n[[target]]\nshelf = 1\nslot = 0\nbackend = "memory"\nsize = "1MiB"\n' >aoed.toml
npx aoed check-config aoed.toml | grep e1.0 >/dev/null || fail "check-config does not show e1.0"
: >served
# Without npx in between, to know the process that is to be ended.
node_modules/.bin/aoed serve --config aoed.toml --state-dir state >served 2>log &
server=$!
waited=0
until grep -q '^aoed: ready' served; do
    kill -0 $server 2>/dev/null || fail "the server ended: $(cat log)"
    [ $waited -lt 3000 ] || fail "not ready after 300 s: $(cat log)"
    waited=$((waited + 1))
    sleep 0.1
done
npx aoed ping 1.0 --interface client0 --count 1 --timeout 30s >/dev/null || fail "no answer to aoed ping"
kill -TERM $server
wait $server || fail "the server ended with $?: $(cat log)"

echo "-- without the package of this platform: one line that says so"
rm -r node_modules/@aoed
if said=$(npx aoed serve --config aoed.toml 2>&1); then fail "it served without the shim"; fi
case $said in
    "aoed: the C shim is missing"*"@aoed/shim-linux-"*) ;;
    *) fail "it said: $said" ;;
esac
[ "$(printf '%s\n' "$said" | wc -l)" = 1 ] || fail "more than one line: $said"
