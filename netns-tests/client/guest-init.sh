#!/bin/sh
# The first process of a guest: sets it up, then runs the scripts whose numbers it reads from its
# console. The kernel hands down as variables what the command line has: EXCHANGE, PRELUDE, MTU,
# INTERFACES.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null # mounted already where the kernel does so itself
mount -t tmpfs run /run
mkdir -p /run/exchange /run/disk /run/disk2 /dev/shm
mount -t tmpfs shm /dev/shm
# The root is the host's, read-only; this folder alone can be written, and holds the results.
mount -t hostfs none /run/exchange -o "$EXCHANGE"
EXCHANGE=/run/exchange
export EXCHANGE
. "$PRELUDE"
cd /run || exit 1

ip link set lo up
for interface in $(echo "$INTERFACES" | tr ',' ' '); do
    ip link set "$interface" mtu "$MTU" up
done

run_step() {
    (
        set -eu
        . "$EXCHANGE/$1.sh"
    ) >"$EXCHANGE/$1.log" 2>&1 </dev/null
    echo $? >"$EXCHANGE/$1.result"
    mv "$EXCHANGE/$1.result" "$EXCHANGE/$1.status"
}

echo "guest: up"
while read -r step; do
    [ "$step" = off ] && break
    run_step "$step" &
done
echo o >/proc/sysrq-trigger
sleep 10
