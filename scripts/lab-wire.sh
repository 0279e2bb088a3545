#!/usr/bin/env bash
# A wire to a network that answers every SYN at whatever rate it comes: two network namespaces,
#
#   scan (192.0.2.2, 2001:db8:2::2) -- (192.0.2.1, 2001:db8:2::1) responder, which answers for the network in XDP
#
# joined by a veth pair and by nothing else. No packet can leave, whatever the command in `scan` sends. What is open is
# said in lab-responder.bpf.c. Needs root: an ordinary user may not load BPF programs.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")

usage() {
    cat <<'END'
usage: scripts/lab-wire.sh RESPONDER NETWORK COMMAND...   run COMMAND before a wire, exit with its status
       scripts/lab-wire.sh check                          can it run here? exit 77 and say what is missing

RESPONDER is the program lab-responder; NETWORK lies inside 198.18.0.0/15 or 2001:db8::/32. COMMAND gets the device that
leads to the network as LAB_DEVICE.
END
}

# The other namespace is held by the responder's own process.
inside() {
    local responder=$1 network=$2 status=0 hold
    shift 2
    # A tmpfs of our own, because `ip netns` keeps names where everybody looks.
    mount -t tmpfs none /run
    mkdir -p /run/netns
    ip link set lo up
    ip netns add responder
    ip link add wire numtxqueues 1 numrxqueues 1 type veth peer name far numtxqueues 1 numrxqueues 1 netns responder
    ip addr add 192.0.2.2/30 dev wire
    ip addr add 2001:db8:2::2/64 dev wire nodad
    ip link set wire up
    ip -n responder addr add 192.0.2.1/30 dev far
    ip -n responder addr add 2001:db8:2::1/64 dev far nodad
    ip -n responder link set far up
    case $network in
        *:*) ip route add "$network" via 2001:db8:2::1 ;;
        *) ip route add "$network" via 192.0.2.1 ;;
    esac
    # It answers for as long as the other end of this pipe is open, which is as long as this shell lives.
    mkfifo /run/hold /run/ready
    ip netns exec responder "$responder" far "$network" </run/hold >/run/ready &
    exec {hold}>/run/hold
    read -r -t 10 <>/run/ready || { printf 'lab-wire.sh: no responder\n' >&2 && return 2; }
    LAB_DEVICE=wire "$@" {hold}>&- || status=$?
    exec {hold}>&-
    wait
    return "$status"
}

missing() {
    ((EUID == 0)) || printf 'root\n'
    local program
    for program in ip unshare; do
        command -v "$program" >/dev/null || printf '%s\n' "$program"
    done
}

case ${1:-} in
    check)
        lacking=$(missing | paste -sd, -)
        [[ -z $lacking ]] || { printf 'missing: %s\n' "$lacking" && exit 77; }
        ;;
    inside) shift && inside "$@" ;;
    '' | -h | --help | help) usage ;;
    *)
        (($# >= 3)) || { usage >&2 && exit 2; }
        exec unshare --net --mount --fork --kill-child "$SELF" inside "$@"
        ;;
esac
