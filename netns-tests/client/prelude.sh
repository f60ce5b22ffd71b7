# What every script of a client starts from; sourced by sh. Expects $EXCHANGE, the folder that the
# host and the client share.

# wait_for_disk e1.0 [SECONDS]: until the driver has made the disk. A query that was lost the driver
# repeats after a minute.
wait_for_disk() {
    tries=$((${2:-150} * 20))
    until [ -b "/dev/etherd/$1" ]; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then
            echo "no /dev/etherd/$1:"
            ls /dev/etherd
            return 1
        fi
        sleep 0.05
    done
}

# Forget what was read, so that the next read asks the server.
drop_caches() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

# state_of e1.0 FILE: the driver's word on a disk (state, mac, netif, payload).
state_of() {
    cat "/sys/block/etherd!$1/$2"
}

sum_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}
