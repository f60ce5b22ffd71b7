#!/bin/bash
# Starts a Ceph cluster of one monitor, one OSD in memory and an object gateway that speaks S3, on
# free ports of 127.0.0.1:
#
#   scripts/start-radosgw.sh FOLDER
#
# Everything of it is in the folder: process ids (FOLDER/run/*.pid), logs, and what a test needs to
# reach it: FOLDER/radosgw.env sets AOED_TEST_S3_ENDPOINT, AOED_TEST_S3_ACCESS_KEY and
# AOED_TEST_S3_SECRET_KEY. End the processes by their ids. Needs the packages that
# scripts/install-test-packages.sh objects installs.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
folder=$(realpath -m "${1:?a folder for the cluster}")
cd "$(dirname "$0")/.."

mkdir -p "$folder"/{mon,osd,gateway,log,run}
read -r monitor_port gateway_port <<<"$(bin/node scripts/free-port.ts 2)"
cluster=$(cat /proc/sys/kernel/random/uuid)

# Of the S3 side: tcp_nodelay, or each answer waits for a delayed acknowledgement.
cat >"$folder/ceph.conf" <<CONFIGURATION
[global]
fsid = $cluster
mon host = [v2:127.0.0.1:$monitor_port]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
keyring = $folder/keyring
auth allow insecure global id reclaim = false
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data = $folder/mon
mon data avail crit = 1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 4294967296
run dir = $folder/run
admin socket = $folder/run/\$name.asok
log file = $folder/log/\$name.log
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$gateway_port tcp_nodelay=1
rgw data = $folder/gateway
rgw enable usage log = false
rgw dynamic resharding = false
rgw thread pool size = 64
CONFIGURATION
export CEPH_CONF=$folder/ceph.conf

failed() {
    tail -n 5 "$folder"/log/* >&2 || true
    for file in "$folder"/run/*.pid; do [ ! -e "$file" ] || kill "$(cat "$file")" 2>/dev/null || true; done
    echo "start-radosgw: $1; see above" >&2
    exit 1
}
trap 'failed "line $LINENO failed"' ERR

# In a session of its own, with its id in run/$1.pid.
background() {
    local name=$1
    shift
    setsid "$@" -f >>"$folder/log/$name.out" 2>&1 </dev/null &
    echo $! >"$folder/run/$name.pid"
}

# What it says of itself goes to a log, to be shown only when something fails.
quietly() { "$@" >>"$folder/log/start" 2>&1; }

# $1 whose, then what it may do.
new_key() { quietly ceph-authtool "$folder/keyring" --gen-key -n "$@"; }

quietly ceph-authtool -C "$folder/keyring" --gen-key -n mon. --cap mon 'allow *'
new_key client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
new_key client.rgw --cap mon 'allow *' --cap osd 'allow *'
new_key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'

quietly monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$monitor_port]" "$folder/monmap"
quietly ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
background mon ceph-mon -i a --public-addr 127.0.0.1

osd=$(cat /proc/sys/kernel/random/uuid)
quietly timeout 240 ceph osd new "$osd"
quietly ceph-osd -i 0 --mkfs --osd-uuid "$osd"
quietly timeout 240 ceph osd crush add osd.0 1.0 root=default host=localhost
background osd ceph-osd -i 0
for attempt in $(seq 150); do
    if timeout 60 ceph osd stat 2>/dev/null | grep "1 up" >/dev/null; then break; fi
    [ "$attempt" -lt 150 ] || failed "the OSD does not come up"
    sleep 0.2
done

background gateway radosgw -n client.rgw -k "$folder/keyring"
for attempt in $(seq 1500); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$gateway_port") 2>/dev/null; then break; fi
    [ "$attempt" -lt 1500 ] || failed "the gateway does not answer"
    sleep 0.2
done

access=aoedtest
secret=$(head -c 30 /dev/urandom | base64 -w 0)
quietly radosgw-admin -n client.rgw -k "$folder/keyring" user create --uid=aoed \
    --display-name=aoed --access-key="$access" --secret-key="$secret"
cat >"$folder/radosgw.env" <<ENVIRONMENT
export AOED_TEST_S3_ENDPOINT='http://127.0.0.1:$gateway_port'
export AOED_TEST_S3_ACCESS_KEY='$access'
export AOED_TEST_S3_SECRET_KEY='$secret'
export AOED_TEST_S3_PID='$(cat "$folder/run/gateway.pid")'
ENVIRONMENT
