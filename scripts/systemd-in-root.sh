#!/bin/bash
# Starts the systemd of a Debian root, in namespaces and a cgroup of its own, as if that were a machine
# that boots; runs a program in it, and ends it. Needs root.
#
#   scripts/systemd-in-root.sh ROOT PROGRAM [ARGUMENT…]
#
# There are two interfaces, server0 and client0, joined to each other.
set -euo pipefail
# The users of the root have to read what is made here.
umask 022
root=$1
shift

work=$(mktemp -d /var/tmp/aoed-systemd.XXXXXX)
machine=
clean_up() {
    # unshare does not hear SIGTERM; it takes its child along, and that every process in there.
    if [ -n "$machine" ]; then
        kill -KILL "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    fi
    if mountpoint -q "$work/cgroup"; then
        # The kernel frees a group a moment after its last process.
        for _ in $(seq 100); do
            [ -d "$work/cgroup/${work##*/}" ] || break
            find "$work/cgroup/${work##*/}" -depth -type d -exec rmdir {} + 2>/dev/null || true
            sleep 0.1
        done
        umount "$work/cgroup" || umount --lazy "$work/cgroup" || true
    fi
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

mkdir "$work/cgroup"
mount -t cgroup2 none "$work/cgroup"
mkdir "$work/cgroup/${work##*/}"

# Only what a container has of /dev. What systemd says of itself goes to its journal and to the log.
# shellcheck disable=SC2016
sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' enter "$work/cgroup/${work##*/}" \
    unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child -- sh -c '
        set -e
        root=$1
        mount --make-rprivate /
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        # Not all that systemd sets there belongs to a namespace: it is not to change this machine.
        mount --bind "$root/proc/sys" "$root/proc/sys"
        mount -o remount,bind,ro "$root/proc/sys"
        mount -t sysfs sysfs "$root/sys"
        mount -t cgroup2 none "$root/sys/fs/cgroup"
        mount -t tmpfs -o mode=755 tmpfs "$root/dev"
        mknod -m 666 "$root/dev/null" c 1 3
        mknod -m 666 "$root/dev/zero" c 1 5
        mknod -m 666 "$root/dev/full" c 1 7
        mknod -m 666 "$root/dev/random" c 1 8
        mknod -m 666 "$root/dev/urandom" c 1 9
        mknod -m 666 "$root/dev/tty" c 5 0
        mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
        mknod -m 666 "$root/dev/net/tun" c 10 200
        ln -s /proc/self/fd "$root/dev/fd"
        mount -t tmpfs tmpfs "$root/run"
        mount -t tmpfs tmpfs "$root/tmp"
        ip link set lo up
        ip link add server0 type veth peer name client0
        ip link set server0 up
        ip link set client0 up
        cd "$root"
        mkdir -p old-root
        pivot_root . old-root
        umount -l old-root
        exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            /lib/systemd/systemd --show-status=no' boot "$root" >"$work/systemd.log" 2>&1 </dev/null &
machine=$!

# Until then it may still have the root of this machine.
init=
for _ in $(seq 600); do
    init=$(cat "/proc/$machine/task/$machine/children" 2>/dev/null || true)
    init=${init%% *}
    [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ] && break
    init=
    kill -0 "$machine" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$init" ]; then
    echo "systemd-in-root: systemd did not start: $(cat "$work/systemd.log")" >&2
    exit 1
fi
nsenter --target "$init" --all -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root SYSTEMD_PAGER= "$@"
