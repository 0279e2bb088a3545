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
usage: scripts/lab-wire.sh [OPTIONS] RESPONDER NETWORK COMMAND...   run COMMAND before a wire, exit with its status
       scripts/lab-wire.sh check                                    can it run here? exit 77 and say what is missing

RESPONDER is the program lab-responder; NETWORK lies inside 198.18.0.0/15 or 2001:db8::/32. COMMAND gets the device that
leads to the network as LAB_DEVICE, and the address of who takes its frames as LAB_GATEWAY_MAC.

options:
  --swallow   the network answers nothing (IPv4)
  --sockets   answers reach packet sockets, too; then nobody else can attach an XDP program to the device
END
}

# The other namespace is held by the responder's own process.
inside() {
    local far_end=respond sockets=no
    while [[ $1 == --* ]]; do
        case $1 in
            --swallow) far_end=swallow ;;
            --sockets) sockets=yes ;;
            *) usage >&2 && return 2 ;;
        esac
        shift
    done
    local responder=$1 network=$2 status=0 hold
    shift 2
    # A tmpfs of our own, because `ip netns` keeps names where everybody looks.
    mount -t tmpfs none /run
    mkdir -p /run/netns
    build_wire "$network"
    # The programs stay for as long as the other end of this pipe is open, which is as long as this shell lives.
    mkfifo /run/hold /run/ready
    local respond=("$responder" "$far_end" far)
    [[ $far_end != respond ]] || respond+=("$network")
    ip netns exec responder "${respond[@]}" </run/hold >/run/ready &
    if [[ $sockets == yes ]]; then "$responder" pass wire </run/hold >/run/ready & fi
    exec {hold}>/run/hold
    exec {ready}<>/run/ready
    read -r -t 10 <&"$ready" || { printf 'lab-wire.sh: no responder\n' >&2 && return 2; }
    [[ $sockets == no ]] || read -r -t 10 <&"$ready" || { printf 'lab-wire.sh: no sockets\n' >&2 && return 2; }
    LAB_DEVICE=wire LAB_GATEWAY_MAC=02:00:00:00:00:01 "$@" {hold}>&- || status=$?
    exec {hold}>&-
    wait
    return "$status"
}

build_wire() {
    ip link set lo up
    ip netns add responder
    ip link add wire numtxqueues 1 numrxqueues 1 type veth \
        peer name far numtxqueues 1 numrxqueues 1 address 02:00:00:00:00:01 netns responder
    ip addr add 192.0.2.2/30 dev wire
    ip addr add 2001:db8:2::2/64 dev wire nodad
    ip link set wire up
    ip -n responder addr add 192.0.2.1/30 dev far
    ip -n responder addr add 2001:db8:2::1/64 dev far nodad
    ip -n responder link set far up
    case $1 in
        *:*) ip route add "$1" via 2001:db8:2::1 ;;
        *) ip route add "$1" via 192.0.2.1 ;;
    esac
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
