#!/bin/sh
# Makes golden.img in a folder: a disk that boots Debian's kernel by its BIOS, finds its own root file
# system over AoE, counts the boot on it, says so on the serial console and turns the machine off.
#
#   golden-image.sh FOLDER
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
PATH=$PATH:/usr/sbin:/sbin

SECTORS_IN_MIB=2048
BOOT_START=2048
BOOT_SECTORS=65536
ROOT_START=$((BOOT_START + BOOT_SECTORS))
IMAGE_MIB=96

# In the order in which one needs the other.
MODULES='
drivers/virtio/virtio_ring.ko drivers/virtio/virtio.ko drivers/virtio/virtio_pci_legacy_dev.ko
drivers/virtio/virtio_pci_modern_dev.ko drivers/virtio/virtio_pci.ko net/core/failover.ko
drivers/net/net_failover.ko drivers/net/virtio_net.ko drivers/block/aoe/aoe.ko
lib/crc16.ko fs/mbcache.ko fs/jbd2/jbd2.ko crypto/crc32c_generic.ko fs/ext4/ext4.ko'

download_kernel() {
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
    [ -n "$package" ] && apt-get -q -o Acquire::Retries=5 download "$package" >/dev/null
}

# Without package lists, apt knows no kernel.
download_kernel || { apt-get -q -o Acquire::Retries=5 update >/dev/null && download_kernel; }
version=${package#linux-image-}

set --
for module in $MODULES; do
    set -- "$@" "./lib/modules/$version/kernel/$module"
done
mkdir -p kernel
dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x -C kernel "./boot/vmlinuz-$version" "$@"

mkdir -p initial/bin initial/dev initial/proc initial/sys initial/root initial/modules
cp /bin/busybox initial/bin/
ln -sf busybox initial/bin/sh
number=10
for module in $MODULES; do
    cp "kernel/lib/modules/$version/kernel/$module" "initial/modules/$number-$(basename "$module")"
    number=$((number + 1))
done
install -m 755 "$here/initial-init.sh" initial/init
(cd initial && find . | cpio -o -H newc --quiet | gzip -1) >initrd.gz

mkdir -p root/bin root/sbin root/dev root/proc root/sys
cp /bin/busybox root/bin/
ln -sf busybox root/bin/sh
install -m 755 "$here/golden-init.sh" root/sbin/init

cat >syslinux.cfg <<EOF
SERIAL 0
PROMPT 0
DEFAULT golden
LABEL golden
  LINUX linux
  INITRD initrd
  APPEND console=ttyS0 quiet
EOF

# The disk is put together without mounting anything.
rm -f golden.img
truncate -s "${IMAGE_MIB}M" golden.img
sfdisk -q golden.img <<EOF
label: dos
start=$BOOT_START, size=$BOOT_SECTORS, type=e, bootable
start=$ROOT_START, type=83
EOF
dd if=/usr/lib/SYSLINUX/mbr.bin of=golden.img conv=notrunc status=none
mkfs.vfat --offset "$BOOT_START" -F 16 golden.img $((BOOT_SECTORS / 2)) >/dev/null
boot="golden.img@@$((BOOT_START * 512))"
mcopy -i "$boot" "kernel/boot/vmlinuz-$version" ::/linux
mcopy -i "$boot" initrd.gz ::/initrd
mcopy -i "$boot" syslinux.cfg ::/syslinux.cfg
syslinux --install --offset $((BOOT_START * 512)) golden.img
root_kib=$(((IMAGE_MIB * SECTORS_IN_MIB - ROOT_START) / 2))
mke2fs -q -t ext4 -O ^metadata_csum -d root -E offset=$((ROOT_START * 512)) golden.img "${root_kib}k" \
    2>/dev/null
