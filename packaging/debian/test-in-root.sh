#!/bin/sh
# The life of the Debian package in a clean root, as an administrator sees it: installed, configured,
# served to a client, upgraded, removed, purged. scripts/package-test.sh runs it, in namespaces of its own.
#
#   test-in-root.sh OLD.deb NEW.deb NEW_VERSION
set -eu
old=$1 new=$2 new_version=$3
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "package-test: $*" >&2
    exit 1
}
expect() {
    case $2 in *"$1"*) ;; *) fail "expected '$1' in: $2" ;; esac
}
step() { echo "-- $*"; }

# Starts the service as its unit does: the ExecStart line, the user, the capabilities, the state folder.
unit_value() { sed -n "s/^$1=//p" /usr/lib/systemd/system/aoed.service; }
start_service() {
    capabilities=$(unit_value AmbientCapabilities | sed 's/CAP_/+/g; s/ /,/g' | tr '[:upper:]' '[:lower:]')
    install -d -o "$(unit_value User)" /run/aoed
    # What the last one said must not be taken for what this one says.
    : >/tmp/service.out
    # shellcheck disable=SC2046
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin STATE_DIRECTORY=/var/lib/aoed RUNTIME_DIRECTORY=/run/aoed \
        setpriv --reuid "$(unit_value User)" --regid "$(unit_value Group)" --init-groups --no-new-privs \
        --inh-caps "-all,$capabilities" --ambient-caps "-all,$capabilities" --bounding-set "-all,$capabilities" \
        $(unit_value ExecStart) >/tmp/service.out 2>/tmp/service.err &
    service=$!
    waited=0
    until grep -q '^aoed: ready' /tmp/service.out; do
        kill -0 $service 2>/dev/null || fail "the service ended: $(cat /tmp/service.err)"
        [ $waited -lt 3000 ] || fail "the service is not ready after 300 s: $(cat /tmp/service.err)"
        waited=$((waited + 1))
        sleep 0.1
    done
}
stop_service() {
    kill -TERM $service
    wait $service || fail "the service ended with $?: $(cat /tmp/service.err)"
}

step "install"
said=$(dpkg -i "$old" 2>&1) || fail "$said"
expect "aoed serves nothing yet" "$said"
getent passwd aoed >/dev/null || fail "there is no user aoed"
[ "$(stat -c %U:%a /var/lib/aoed)" = aoed:700 ] || fail "/var/lib/aoed is $(stat -c %U:%a /var/lib/aoed)"
[ -e /etc/systemd/system/multi-user.target.wants/aoed.service ] && fail "enabled before it is configured"
command -v cc node && fail "this root was to have neither a compiler nor a Node"
for page in man8/aoed.8 man5/aoed.toml.5; do
    [ -s /usr/share/man/$page.gz ] || fail "$page is missing"
done
for file in bash-completion/completions/aoed zsh/vendor-completions/_aoed fish/vendor_completions.d/aoed.fish; do
    [ -s /usr/share/$file ] || fail "$file is missing"
done
bash -n /usr/share/bash-completion/completions/aoed

step "the configuration that comes with the package says what is missing"
said=$(aoed check-config /etc/aoed/aoed.toml 2>&1) && fail "it was accepted: $said"
expect "/etc/aoed/aoed.toml" "$said"

step "the example in it, uncommented, is right"
ip link add server0 type veth peer name client0
ip link set server0 up
ip link set client0 up
sed -e '/SupplementaryGroups/d; /^# /d; /^#$/d; /^#  /d; s/^#//; s/"eth0"/"server0"/; s/"1[06]GiB"/"64MiB"/' \
    -e '/slot = 2/,$d' /etc/aoed/aoed.toml | sed '$d' | sed '$d' >/tmp/aoed.toml
cp /tmp/aoed.toml /etc/aoed/aoed.toml
said=$(aoed check-config /etc/aoed/aoed.toml 2>&1) || fail "$said"
expect e1.0 "$said"
expect e1.1 "$said"

step "serve it, and write a disk over the wire"
start_service
tries=0
until aoed discover --interface client0 | grep e1.0 >/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 30 ] || fail "the client finds no e1.0"
done
head -c 3000000 /dev/urandom >/tmp/disk.img
truncate -s 3000320 /tmp/disk.img
aoed copy /tmp/disk.img e1.0 --interface client0 --yes --verify >/dev/null
aoed snapshot create e1.0 --description "before the upgrade" >/dev/null

step "upgrade: the configuration and the data stay"
said=$(dpkg -i "$new" 2>&1) || fail "$said"
[ "$(aoed --version)" = "$new_version" ] || fail "aoed --version says $(aoed --version)"
cmp /tmp/aoed.toml /etc/aoed/aoed.toml
kill -0 $service || fail "the upgrade ended the service, which nothing here starts again"
stop_service
start_service
aoed snapshot list | grep "before the upgrade" >/dev/null || fail "the snapshot is gone"
aoed copy e1.0 /tmp/back.img --interface client0 >/dev/null
cmp -n 3000320 /tmp/disk.img /tmp/back.img
stop_service

step "remove: the configuration and the disks stay"
dpkg -r aoed >/dev/null
[ -e /usr/bin/aoed ] && fail "/usr/bin/aoed is still there"
[ -e /usr/lib/aoed ] && fail "/usr/lib/aoed is still there: $(find /usr/lib/aoed | head -3)"
[ -d /var/lib/aoed/store ] || fail "the store is gone"
cmp /tmp/aoed.toml /etc/aoed/aoed.toml

step "purge: only the disks stay, and that is said"
said=$(dpkg -P aoed 2>&1) || fail "$said"
expect "the disks in /var/lib/aoed are kept" "$said"
[ -d /var/lib/aoed/store ] || fail "the store is gone"
[ -e /etc/aoed ] && fail "/etc/aoed is still there"
[ -e /var/cache/aoed ] && fail "/var/cache/aoed is still there"

step "install again over what was kept: it serves at once, with the old data"
mkdir /etc/aoed
cp /tmp/aoed.toml /etc/aoed/aoed.toml
dpkg -i --force-confold "$new" >/dev/null 2>&1
[ -e /etc/systemd/system/multi-user.target.wants/aoed.service ] || fail "not enabled, although it is configured"
start_service
aoed snapshot list | grep "before the upgrade" >/dev/null || fail "the snapshot is gone"
stop_service
