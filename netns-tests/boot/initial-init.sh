#!/bin/sh
# The first process of the golden image: loads the drivers, waits for the disk and goes on from there.
# The server shows each machine its own disk only, so the one that is there is the right one.
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*.ko; do
    insmod "$module" || exec sh
done
ip link set eth0 up
until ls /dev/etherd/e*p2 >/dev/null 2>&1; do
    echo >/dev/etherd/discover
    sleep 1
done
mount -t ext4 /dev/etherd/e*p2 /root || exec sh
exec switch_root /root /sbin/init
