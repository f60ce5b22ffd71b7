#!/bin/bash
# Starts Azurite, an Azure Blob Storage for tests, on a free port of 127.0.0.1:
#
#   scripts/start-azurite.sh FOLDER
#   scripts/start-azurite.sh --install    only installs it, when it is missing
#
# Its data, its log and its process id (FOLDER/azurite.pid) are in the folder, and so is what a test
# needs to reach it: FOLDER/azurite.env sets AOED_TEST_AZURE_CONNECTION_STRING. End it by its id.
set -euo pipefail
[ $# = 1 ] || { echo "start-azurite: name a folder for its data" >&2; exit 2; }
folder=$(realpath -m -- "$1")
cd "$(dirname "$0")/.."

program=object-tests/node_modules/azurite/dist/src/blob/main.js
if [ ! -e "$program" ]; then
    # No install script of a package is run: Azurite needs none. Under sudo the caller owns the files.
    ${SUDO_USER:+sudo -u "$SUDO_USER" --} npm ci --prefix object-tests --ignore-scripts --omit=optional --no-fund --no-audit --loglevel=error
fi
[ "$1" != --install ] || exit 0

mkdir -p "$folder"
port=$(bin/node scripts/free-port.ts)
# A key that Azurite and its users agree on: it protects nothing.
key=$(head -c 64 /dev/urandom | base64 -w 0)
# In a session of its own: what ends its starter does not end it.
AZURITE_ACCOUNTS="aoedtest:$key" setsid bin/node "$program" --blobHost 127.0.0.1 --blobPort "$port" \
    --location "$folder" --silent --skipApiVersionCheck --disableTelemetry \
    >"$folder/azurite.log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$folder/azurite.pid"

for _ in $(seq 2400); do
    if ! kill -0 "$pid" 2>/dev/null; then break; fi
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        endpoint="http://127.0.0.1:$port/aoedtest"
        echo "export AOED_TEST_AZURE_CONNECTION_STRING='DefaultEndpointsProtocol=http;AccountName=aoedtest;AccountKey=$key;BlobEndpoint=$endpoint;'" \
            >"$folder/azurite.env"
        echo "export AOED_TEST_AZURE_PID='$pid'" >>"$folder/azurite.env"
        exit 0
    fi
    sleep 0.1
done
cat "$folder/azurite.log" >&2
kill "$pid" 2>/dev/null || true
echo "start-azurite: it does not answer; see above" >&2
exit 1
