#!/bin/bash
# Puts a NIC under a bridge, or takes it out again, without losing the host's addresses and routes:
#
#   scripts/bridge.sh add BRIDGE NIC      makes the bridge if it is missing, and moves NIC into it
#   scripts/bridge.sh remove BRIDGE       moves all back to the bridge's only NIC, and deletes it
#
# Both may be repeated. What they do lasts until the next boot; for longer, configure the same in
# the system's network manager. Virtual machines and aoed (port = "tap") then share the bridge.
set -euo pipefail

usage() {
    echo "usage: bridge.sh add BRIDGE NIC | bridge.sh remove BRIDGE" >&2
    exit 2
}

refuse() {
    echo "bridge.sh: $*" >&2
    exit 2
}

exists() { ip link show dev "$1" >/dev/null 2>&1; }
is_bridge() { ip -d link show dev "$1" | grep -qE '^ +bridge '; }
mac_of() { ip -o link show dev "$1" | sed -nE 's|.*link/ether ([0-9a-f:]+).*|\1|p'; }
mtu_of() { ip -o link show dev "$1" | sed -nE 's|.* mtu ([0-9]+) .*|\1|p'; }
master_of() { ip -o link show dev "$1" | sed -nE 's|.* master ([^ ]+) .*|\1|p'; }

# The ports of a bridge, without the "@peer" that ip shows of a veth.
ports_of() { ip -o link show master "$1" | sed -nE 's|^[0-9]+: ([^:@]+)[@:].*|\1|p'; }

# A line for each address, in the words that `ip addr add` takes.
addresses_of() {
    ip -o addr show dev "$1" scope global |
        sed -E -e 's/^[0-9]+: +[^ ]+ +inet6? //' -e 's/\\//' -e 's/ scope global//' \
            -e 's/ (dynamic|mngtmpaddr|tentative|deprecated|secondary|temporary|noprefixroute)\b//g' \
            -e "s/ $1(:[^ ]*)? +valid_lft/ valid_lft/" -e 's/_lft ([0-9]+)sec/_lft \1/g'
}

# A line for each route that the kernel did not make by itself: the family, and the words that `ip
# route add` takes without the device. Those with a gateway come last: they need the others.
routes_of() {
    local family
    for family in 4 6; do
        { ip "-$family" route show table all dev "$1" || true; } |
            { grep -vE '^(local|broadcast|anycast|multicast) |proto kernel|^fe80::' || true; } |
            sed -E -e 's/ (linkdown|dead)\b//g' -e 's/expires ([0-9]+)sec/expires \1/' \
                -e "s/^/$family /"
    done | awk '/ via / {late = late $0 "\n"; next} {print} END {printf "%s", late}'
}

refuse_next_hops() {
    if { ip -4 route show table all; ip -6 route show table all; } |
        grep -qE "(nexthop|nhid).* dev $1( |$)"; then
        refuse "'$1' has a route with next-hop objects, which this script cannot move"
    fi
}

# Gives an interface the addresses and routes that were read before; fails when any was refused.
give() {
    local to=$1 addresses=$2 routes=$3 family words complete=yes
    while read -r words; do
        # shellcheck disable=SC2086
        [ -z "$words" ] || ip addr replace $words dev "$to" || complete=no
    done <<<"$addresses"
    while read -r family words; do
        # shellcheck disable=SC2086
        [ -z "$family" ] || ip "-$family" route replace $words dev "$to" || complete=no
    done <<<"$routes"
    [ "$complete" = yes ]
}

# Moves addresses and routes between two interfaces. When that fails all is given back.
move_addressing() {
    local from=$1 to=$2 addresses routes words
    addresses=$(addresses_of "$from")
    routes=$(routes_of "$from")
    ip addr flush dev "$from" scope global
    if ! give "$to" "$addresses" "$routes"; then
        ip addr flush dev "$to" scope global
        give "$from" "$addresses" "$routes" || true
        return 1
    fi
    while read -r words; do
        [ -z "$words" ] || echo "moved ${words%% *} from $from to $to"
    done <<<"$addresses"
}

add() {
    local bridge=$1 nic=$2 current made=no
    exists "$nic" || refuse "there is no network interface '$nic'"
    [ -n "$(mac_of "$nic")" ] || refuse "'$nic' is not an Ethernet interface"
    is_bridge "$nic" && refuse "'$nic' is a bridge itself"
    if [ -e "/sys/class/net/$nic/phy80211" ]; then
        refuse "'$nic' is wireless: an access point does not let a bridge send for others"
    fi
    current=$(master_of "$nic")
    if [ "$current" = "$bridge" ]; then
        echo "$nic is in $bridge already"
        return
    fi
    refuse_next_hops "$nic"
    [ -z "$current" ] || refuse "'$nic' is a part of '$current': take it out first"
    if exists "$bridge"; then
        is_bridge "$bridge" || refuse "'$bridge' exists and is not a bridge"
    else
        # The NIC's own address, so that the host stays the same for its neighbours.
        ip link add "$bridge" mtu "$(mtu_of "$nic")" address "$(mac_of "$nic")" type bridge \
            stp_state 0 forward_delay 0
        made=yes
        echo "made the bridge $bridge"
    fi
    ip link set dev "$bridge" up
    ip link set dev "$nic" up
    ip link set dev "$nic" master "$bridge"
    if ! move_addressing "$nic" "$bridge"; then
        ip link set dev "$nic" nomaster
        [ "$made" = no ] || ip link delete dev "$bridge"
        refuse "could not move the addresses of '$nic'; all is as it was"
    fi
    echo "$nic is in $bridge now; until the next boot"
}

remove() {
    local bridge=$1 port nics=()
    if ! exists "$bridge"; then
        echo "there is no bridge $bridge"
        return
    fi
    is_bridge "$bridge" || refuse "'$bridge' is not a bridge"
    for port in $(ports_of "$bridge"); do
        # aoed's own end goes with its process.
        case $port in aoed-*) ;; *) nics+=("$port") ;; esac
    done
    if [ "${#nics[@]}" -gt 1 ]; then
        refuse "'$bridge' has several ports (${nics[*]}): take out all but the NIC first"
    fi
    if [ "${#nics[@]}" = 0 ] && [ -n "$(addresses_of "$bridge")" ]; then
        refuse "'$bridge' has addresses and no NIC to move them to"
    fi
    if [ "${#nics[@]}" = 1 ]; then
        refuse_next_hops "$bridge"
        ip link set dev "${nics[0]}" nomaster
        if ! move_addressing "$bridge" "${nics[0]}"; then
            ip link set dev "${nics[0]}" master "$bridge"
            refuse "could not move the addresses of '$bridge'; all is as it was"
        fi
        echo "${nics[0]} is out of $bridge"
    fi
    ip link delete dev "$bridge"
    echo "deleted the bridge $bridge"
}

action=${1:-}
case "$action:$#" in add:3 | remove:2) ;; *) usage ;; esac
command -v ip >/dev/null || refuse "needs 'ip' (apt-get install iproute2)"
[ "$(id -u)" = 0 ] || refuse "needs root: run it with sudo"
# A terminal that is reached through the NIC may hang up in between: the work has to be finished.
trap '' HUP
"$action" "${@:2}"
