#!/usr/bin/env bash
# Bad weather for a lab: each word breaks one thing on the way between `scan` and `fleet`. For use inside a lab, where
# $LAB_WEATHER is this file:
#
#   scripts/lab.sh run -- bash -c '"$LAB_WEATHER" after 2 link-down scan 3 & portreeve sweep …'
set -euo pipefail

usage() {
    cat <<'END'
usage: "$LAB_WEATHER" WORD [ARGUMENTS], inside a lab

  first-probe router|lan      waits until a probe has come in there
  after SECONDS WORD...       so long after the first probe has reached the router; put it in the background
  link-down scan|router SECONDS    the link goes down on that side, and comes back with its routes
  gateway-address MAC [announced]  the router gets another Ethernet address, and tells so or not
  gateway-deaf | gateway-hears     the router answers ARP and forwards nothing; and again does
  gateway-rejects HOW              the router refuses all that is new, as nft says HOW: "tcp reset"
  gateway-silent | gateway-speaks  the router answers no ARP, and nobody remembers it; and again does
  address-gone | address-back      the scanner loses its address, and gets it back with its routes
  hog                              two busy loops for each core, until killed
  bursts MILLISECONDS              total loss for so long in every second, both ways, until killed
  policer PPS [BURST]              the router drops probes above this rate
  conntrack ENTRIES                the router is stateful and keeps no more connections; what the plain router drops is
                                   dropped behind it, by the fleet, so that each silent target holds an entry
  rst-limit PPS                    each host of the fleet sends no more RSTs a second
  return-by-second                 answers come back by another interface of the scanner, scan1
  twin NET                         a second device answers for NET too, with a RST for everything
  policy-route                     the way to the fleet is in a routing table of its own, chosen by a rule
END
}

router_nft() {
    ip netns exec router nft -f -
}

# An engine may take a while to begin, and longer where others begin beside it.
first_probe() {
    until ip netns exec "$1" nft list counter netdev lab syn_out | grep -q 'packets [1-9]'; do sleep 0.02; done
}

after() {
    first_probe router
    sleep "$1"
    shift
    main "$@"
}

scan_routes() {
    ip -n scan route replace 198.18.0.0/15 via 192.0.2.1
}

link_down() {
    local namespace=$1 seconds=$2 device=scan0
    [[ $namespace == scan ]] || device=to-scan
    ip -n "$namespace" link set "$device" down
    sleep "$seconds"
    ip -n "$namespace" link set "$device" up
    # Routes through an interface go down with it and do not come back by themselves.
    scan_routes
}

gateway_address() {
    if [[ ${2:-} == announced ]]; then
        ip netns exec router "$BASH" -c 'echo 1 >/proc/sys/net/ipv4/conf/to-scan/arp_notify'
    fi
    ip -n router link set dev to-scan address "$1"
}

forwarding() {
    ip netns exec router "$BASH" -c "echo $1 >/proc/sys/net/ipv4/ip_forward
        echo $1 >/proc/sys/net/ipv6/conf/all/forwarding"
}

hog() {
    local core
    for core in $(seq $(($(nproc) * 2))); do
        while :; do :; done &
    done
    trap 'kill $(jobs -p)' TERM EXIT
    wait
}

bursts() {
    local lost rest
    lost=$(printf '0.%03d' "$1") rest=$(printf '0.%03d' $((1000 - $1)))
    router_nft <<'END'
table netdev bursts {
    chain out {
        type filter hook ingress device "to-scan" priority 1; policy accept;
    }
    chain back {
        type filter hook egress device "to-scan" priority 1; policy accept;
    }
}
END
    while :; do
        printf 'add rule netdev bursts %s meta protocol ip drop\n' out back | router_nft
        sleep "$lost"
        printf 'flush chain netdev bursts %s\n' out back | router_nft
        sleep "$rest"
    done
}

rejects() {
    router_nft <<END
table ip rejects {
    chain forward {
        type filter hook forward priority -300; policy accept;
        iifname "to-scan" tcp flags & (syn | ack) == syn reject with $1
    }
}
END
}

policer() {
    router_nft <<END
table ip policer {
    counter policed { }
    chain forward {
        type filter hook forward priority -5; policy accept;
        tcp flags & (syn | ack) == syn limit rate over $1/second burst ${2:-1000} packets counter name "policed" drop
    }
}
END
}

# The kernel's own limit is one for all namespaces of a machine and not for a lab to change, so a rule counts the entries.
# Unlike the kernel's, it evicts none: that is the worst case.
conntrack() {
    router_nft <<END
table ip stateful {
    counter full { }
    counter invalid { }
    chain forward {
        type filter hook forward priority 10; policy accept;
        ct state established,related accept
        ct state invalid counter name "invalid" drop
        ct state new ct count over $1 counter name "full" drop
    }
}
END
    local dropped
    dropped=$(awk '$1 == "net" && $4 == "no-response" { print $2 }' "$LAB_TRUTH" | paste -sd, -)
    ip netns exec router nft flush chain ip lab forward
    ip netns exec fleet nft -f - <<END
table ip silent {
    chain input {
        type filter hook input priority 0; policy accept;
        ip daddr { $dropped } drop
    }
}
END
}

rst_limit() {
    ip netns exec fleet nft -f - <<END
table ip resets {
    set hosts {
        type ipv4_addr
        size 65536
        flags dynamic
    }
    counter withheld { }
    chain output {
        type filter hook output priority 0; policy accept;
        tcp flags & rst == rst add @hosts { ip saddr limit rate over $1/second burst 5 packets } counter name "withheld" drop
    }
}
END
}

return_by_second() {
    ip -n router link add to-scan1 type veth peer name scan1 netns scan
    ip -n router address add 192.0.2.17/30 dev to-scan1
    ip -n scan address add 192.0.2.18/30 dev scan1
    ip -n router link set to-scan1 up
    ip -n scan link set scan1 up
    ip -n router route add 192.0.2.2/32 via 192.0.2.18
}

# The router sends a copy of each packet for the network to a host whose kernel takes the addresses for its own as well.
twin() {
    ip netns add twin
    ip -n router link add to-twin type veth peer name twin0 netns twin
    ip -n router address add 192.0.2.13/30 dev to-twin
    ip -n twin address add 192.0.2.14/30 dev twin0
    ip -n router link set to-twin up
    ip -n twin link set lo up
    ip -n twin link set twin0 up
    ip -n twin route add local "$1" dev lo
    ip -n twin route add 192.0.2.0/30 via 192.0.2.13
    router_nft <<END
table ip twin {
    chain prerouting {
        type filter hook prerouting priority -200; policy accept;
        iifname "to-scan" ip daddr $1 dup to 192.0.2.14 device "to-twin"
    }
}
END
}

policy_route() {
    ip -n scan route del 198.18.0.0/15
    ip -n scan route add 198.18.0.0/15 via 192.0.2.1 table 100
    ip -n scan rule add to 198.18.0.0/15 lookup 100 priority 1000
}

main() {
    local word=${1:-help}
    if (($# > 0)); then shift; fi
    case $word in
        first-probe) first_probe "$@" ;;
        after) after "$@" ;;
        link-down) link_down "$@" ;;
        gateway-address) gateway_address "$@" ;;
        gateway-deaf) forwarding 0 ;;
        gateway-hears) forwarding 1 ;;
        gateway-silent) ip -n router link set to-scan arp off && ip -n scan neigh flush dev scan0 ;;
        gateway-rejects) rejects "$@" ;;
        gateway-speaks) ip -n router link set to-scan arp on ;;
        # The router has to ask for the address again, as it would after some time.
        address-gone) ip -n scan address del 192.0.2.2/30 dev scan0 && ip -n router neigh flush dev to-scan ;;
        address-back) ip -n scan address add 192.0.2.2/30 dev scan0 && scan_routes ;;
        hog) hog ;;
        bursts) bursts "$@" ;;
        policer) policer "$@" ;;
        conntrack) conntrack "$@" ;;
        rst-limit) rst_limit "$@" ;;
        return-by-second) return_by_second ;;
        twin) twin "$@" ;;
        policy-route) policy_route ;;
        help | --help | -h) usage ;;
        *) usage >&2 && exit 2 ;;
    esac
}

main "$@"
