#!/bin/sh
# The unit under a live systemd: the root has booted, the package is installed, configured to serve on
# server0, and enabled. scripts/package-test.sh runs it, through scripts/systemd-in-root.sh.
#
#   test-in-root.sh NEW.deb
set -eu
deb=$1
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "package-test: systemd: $*" >&2
    systemctl status aoed --no-pager --lines 20 >&2 || true
    exit 1
}
step() { echo "-- $*"; }
property() { systemctl show aoed --property "$1" --value; }
# until_true SECONDS WHAT COMMAND…
until_true() {
    tries=$(($1 * 10)) what=$2
    shift 2
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "waited in vain for $what"
        sleep 0.1
    done
}
is_active() { [ "$(systemctl is-active aoed 2>/dev/null)" = active ]; }
is_another() { is_active && [ "$(property MainPID)" != "$1" ]; }
answers() { aoed ping "$1" --interface client0 --count 1 --timeout 5s >/dev/null 2>&1; }
of_process() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(property MainPID)/status"; }

step "it was started at boot, and is ready"
until_true 120 "the service" is_active
until_true 60 "an answer of e1.0" answers 1.0
case $(property StatusText) in server0*) ;; *) fail "status: $(property StatusText)" ;; esac

step "it is the user's, without privileges, and behind the filter of system calls"
[ "$(of_process Uid | cut -f 1)" = "$(id -u aoed)" ] || fail "Uid $(of_process Uid)"
[ "$(of_process CapEff)" = 0000000000000000 ] || fail "CapEff $(of_process CapEff)"
[ "$(of_process NoNewPrivs)" = 1 ] || fail "NoNewPrivs $(of_process NoNewPrivs)"
[ "$(of_process Seccomp)" = 2 ] || fail "Seccomp $(of_process Seccomp)"

step "reload: a mistake changes nothing, a right file is taken over"
cp /etc/aoed/aoed.toml /tmp/right.toml
process=$(property MainPID)
echo 'mistake = true' >>/etc/aoed/aoed.toml
systemctl reload aoed 2>/dev/null && fail "a file with a mistake was reloaded"
cat /tmp/right.toml >/etc/aoed/aoed.toml
printf '[[target]]\nshelf = 1\nslot = 9\nbackend = "file"\npath = "/var/lib/aoed/nine.img"\nsize = "1MiB"\n' \
    >>/etc/aoed/aoed.toml
systemctl reload aoed || fail "reload"
until_true 60 "an answer of e1.9, which the reload added" answers 1.9
cat /tmp/right.toml >/etc/aoed/aoed.toml
systemctl kill --signal HUP aoed
# The address stays, and answers with a fault.
no_nine() { said=$(aoed status) && case $said in *e1.9*) return 1 ;; esac }
until_true 30 "SIGHUP to take e1.9 away" no_nine
[ "$(property MainPID)" = "$process" ] || fail "a reload started another process"

step "restart, kill -9 and an upgrade: the disks stay, and the service comes back"
head -c 1000000 /dev/urandom >/tmp/disk.img
truncate -s 1000448 /tmp/disk.img
for target in e1.0 e1.1; do
    aoed copy /tmp/disk.img $target --interface client0 --yes --verify >/dev/null
done
has_data() {
    for target in e1.0 e1.1; do
        aoed copy $target /tmp/back.img --interface client0 --overwrite >/dev/null
        cmp -n 1000448 /tmp/disk.img /tmp/back.img || fail "$target has lost data"
    done
}
process=$(property MainPID)
systemctl restart aoed || fail "restart"
is_another "$process" || fail "restart: the process is the same"
has_data
process=$(property MainPID)
kill -KILL "$process"
until_true 60 "the service after kill -9" is_another "$process"
has_data
process=$(property MainPID)
said=$(dpkg -i "$deb" 2>&1) || fail "$said"
is_another "$process" || fail "an upgrade does not restart the service: $said"
has_data

step "the watchdog ends a server that stands still, and it is started again"
mkdir -p /run/systemd/system/aoed.service.d
printf '[Service]\nWatchdogSec=6s\n' >/run/systemd/system/aoed.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart aoed
process=$(property MainPID)
kill -STOP "$process"
until_true 60 "the watchdog" is_another "$process"
rm -r /run/systemd/system/aoed.service.d
systemctl daemon-reload

step "a TAP interface on a bridge"
ip link add bridge0 type bridge
ip link set server0 master bridge0
ip link set bridge0 up
sed -i 's/"server0"/"bridge0"/' /etc/aoed/aoed.toml
systemctl restart aoed || fail "with a bridge"
# A new bridge may keep frames to itself for a moment.
until_true 30 "an answer over the bridge" answers 1.0
[ "$(of_process CapEff)" = 0000000000000000 ] || fail "CapEff $(of_process CapEff)"
cat /tmp/right.toml >/etc/aoed/aoed.toml

step "a mistake in the configuration is not tried again and again"
echo 'mistake = true' >>/etc/aoed/aoed.toml
systemctl restart aoed 2>/dev/null && fail "it was started with a mistake"
[ "$(property ExecMainStatus) $(property ActiveState)" = "2 failed" ] ||
    fail "after a mistake: $(property ExecMainStatus) $(property ActiveState)"
cat /tmp/right.toml >/etc/aoed/aoed.toml

step "stop: in order, and nothing is left"
systemctl reset-failed aoed
ip link set server0 nomaster
systemctl start aoed || fail "start"
systemctl stop aoed || fail "stop"
[ "$(property Result) $(property ExecMainStatus)" = "success 0" ] ||
    fail "stop: $(property Result), $(property ExecMainStatus)"
[ ! -e /run/aoed ] || fail "/run/aoed is still there"
