#!/bin/sh
# What runs from the root file system: counts the boots, writes 1 MiB that no other machine has, tells
# and turns the machine off.
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
boots=$(($(cat /boots 2>/dev/null || echo 0) + 1))
echo "$boots" >/boots
dd if=/dev/urandom "of=/own-$boots" bs=64k count=16 2>/dev/null
sync
echo "BOOTED $(cat /sys/class/net/eth0/address) times=$boots disk=$(ls /dev/etherd/e*p2)"
mount -o remount,ro /
sync
poweroff -f
