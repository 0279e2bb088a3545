# shellcheck shell=bash
# Networks of every kind around the plain lab. Read by lab.sh (`--kinds`), which builds the plain lab first:
#
#   routed4  198.18.0.0/22      behind the router, as ever             routed6  2001:db8:1::/119  behind it too
#   onlink4  198.19.2.0/23      on the wire of scan1, half of the      onlink6  2001:db8:2::/120  there too, half
#                               hosts absent                                                      absent
#   second4  198.19.32.0/24     behind a host on that wire             second6  2001:db8:4::/124  behind it too
#   tun4     198.19.64.0/24     behind tun0, a device of IP packets    tun6     2001:db8:3::/124  behind it too
#   loop4    127.0.1.0/28       loopback                               loop6    ::1/128
#   own4     192.0.2.2/32       the scanner's own address              own6     2001:db8:0:1::2/128
#
# Everywhere, one port is dropped, one is rejected with ICMP, and one is refused by a firewall with a RST; among the
# others, one in eight listens. Two more namespaces answer: `lan` on the wire of scan1, `far` at the end of the tun device.

KIND_PORTS=22,80,443,3306,5432,6379,9200,27017
KIND_FILTERS=(--drop-ports 5432 --reject-ports 6379 --shut-ports 27017)

# One line a kind: its name, the namespace that answers, the network, how many listen, and the device to it.
kind_list() {
    cat <<'END'
onlink4 lan 198.19.2.0/23 256 scan1
second4 lan 198.19.32.0/24 128 scan1
routed6 fleet 2001:db8:1::/119 256 scan0
onlink6 lan 2001:db8:2::/120 128 scan1
second6 lan 2001:db8:4::/124 12 scan1
tun4 far 198.19.64.0/24 256 tun0
tun6 far 2001:db8:3::/124 12 tun0
loop4 scan 127.0.1.0/28 16 lo
own4 scan 192.0.2.2/32 2 lo
loop6 scan ::1/128 2 lo
own6 scan 2001:db8:0:1::2/128 2 lo
END
}

# Every second of the parts that a network is cut into: those hosts do not exist.
absent_parts() {
    local n
    case $1 in
        onlink4) for n in 2.32 2.96 2.160 2.224 3.32 3.96 3.160 3.224; do echo "198.19.$n/27"; done ;;
        onlink6) for n in 1 3 5 7 9 b d f; do echo "2001:db8:2::${n}0/124"; done ;;
    esac
}

tune_ipv6() {
    in_netns "$1" "$BASH" -s <<'END'
cd /proc/sys/net || exit 1
while read -r path value; do
    if [[ -w $path ]]; then echo "$value" 2>/dev/null >"$path" || :; fi
done <<'SETTINGS'
ipv6/conf/all/accept_dad 0
ipv6/conf/default/accept_dad 0
ipv6/conf/all/accept_ra 0
ipv6/conf/default/accept_ra 0
ipv6/conf/all/disable_ipv6 0
ipv6/conf/default/disable_ipv6 0
ipv6/conf/lo/disable_ipv6 0
ipv6/icmp/ratelimit 0
ipv6/ip_nonlocal_bind 1
unix/max_dgram_qlen 4096
SETTINGS
END
}

# IPv6 along the plain lab's own links.
build_routed6() {
    local namespace
    for namespace in scan router fleet; do tune_ipv6 "$namespace"; done
    in_netns router "$BASH" -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    ip -n scan address add 2001:db8:0:1::2/64 dev scan0 nodad
    ip -n router address add 2001:db8:0:1::1/64 dev to-scan nodad
    ip -n router address add 2001:db8:0:5::1/64 dev to-fleet nodad
    ip -n fleet address add 2001:db8:0:5::2/64 dev fleet0 nodad
    ip -n scan route add 2001:db8:1::/48 via 2001:db8:0:1::1
    ip -n router route add 2001:db8:1::/48 via 2001:db8:0:5::2
    ip -n fleet route add 2001:db8:0:1::/64 via 2001:db8:0:5::1
    ip -n fleet route add local 2001:db8:1::/119 dev lo
}

# A wire of many hosts. The kernel answers ARP for every local route, but neighbour discovery only for addresses.
build_lan() {
    local n host
    ip netns add lan
    tune lan
    tune_ipv6 lan
    ip -n lan link add lan0 type veth peer name scan1 netns scan
    ip -n lan address add 198.19.1.1/20 dev lan0
    ip -n lan address add 2001:db8:2::1:1/64 dev lan0 nodad
    ip -n scan address add 198.19.1.2/20 dev scan1
    ip -n scan address add 2001:db8:2::1:2/64 dev scan1 nodad
    ip -n lan link set lo up
    ip -n lan link set lan0 up
    ip -n scan link set scan1 up
    for n in 2.0 2.64 2.128 2.192 3.0 3.64 3.128 3.192; do ip -n lan route add local "198.19.$n/27" dev lo; done
    for n in {0..255..32}; do
        for ((host = n; host < n + 16; host++)); do printf 'address add 2001:db8:2::%x/128 dev lan0 nodad\n' "$host"; done
    done | ip -n lan -batch -
    ip -n lan route add local 198.19.32.0/24 dev lo
    ip -n lan route add local 2001:db8:4::/124 dev lo
    ip -n scan route add 198.19.32.0/24 via 198.19.1.1
    ip -n scan route add 2001:db8:4::/48 via 2001:db8:2::1:1
}

# A real tun device needs a program at its end, and the right to open /dev/net/tun.
build_tun() {
    local tun=${fleet%/*}/lab-tun namespace
    [[ -x $tun ]] && : 2>/dev/null <>/dev/net/tun || return 0
    ip netns add far
    tune far
    tune_ipv6 far
    ip -n scan tuntap add dev tun0 mode tun 2>/dev/null || return 0
    ip -n far tuntap add dev tun0 mode tun
    ip -n scan address add 192.0.2.9/30 dev tun0
    ip -n far address add 192.0.2.10/30 dev tun0
    ip -n scan address add 2001:db8:0:9::1/64 dev tun0 nodad
    ip -n far address add 2001:db8:0:9::2/64 dev tun0 nodad
    start_beside tun-scan scan "$tun" tun0 "$RUN/lab/tun-scan.end" "$RUN/lab/tun-far.end"
    start_beside tun-far far "$tun" tun0 "$RUN/lab/tun-far.end" "$RUN/lab/tun-scan.end"
    for namespace in scan far; do ip -n "$namespace" link set tun0 txqueuelen 5000 up; done
    ip -n far link set lo up
    ip -n scan route add 198.19.64.0/24 dev tun0
    ip -n scan route add 2001:db8:3::/48 dev tun0
    ip -n far route add local 198.19.64.0/24 dev lo
    ip -n far route add local 2001:db8:3::/124 dev lo
    ip -n far route replace 2001:db8:0:1::/64 dev tun0
    has_tun=yes
}

# The firewall of a namespace, at the hook where its targets are met.
kind_rules() {
    cat <<END
table inet kinds {
    chain filters {
        type filter hook $1 priority -10; policy accept;
        $2 tcp dport 5432 drop
        $2 tcp dport 6379 reject with icmpx type admin-prohibited
        $2 tcp dport 27017 reject with tcp reset
    }
}
END
}

# Counts probes on the wire of many hosts, as the router does on its own.
lan_counter() {
    cat <<'END'
table netdev lab {
    counter syn_out { }
    chain out {
        type filter hook ingress device "lan0" priority 0; policy accept;
        tcp flags & (syn | ack) == syn counter name "syn_out"
    }
}
END
}

# Starts a program that says `ready` and that ends with its standard input, which the first process of the lab holds.
start_beside() {
    local name=$1 namespace=$2 said=$RUN/lab/$1.said hold tries
    shift 2
    exec {hold}> >(exec setsid nsenter --net="$RUN/netns/$namespace" -- "$@" >"$said" 2>&1)
    for ((tries = 0; tries < 1000; tries++)); do
        if [[ -s $said && $(<"$said") == ready ]]; then return; fi
        sleep 0.02
    done
    die "$name did not start: $(<"$said")"
}

start_kind() {
    local kind=$1 namespace=$2 net=$3 count=$4 part options
    options=(--network "$net" --ports "$ports" --open "$count" --seed "$seed" "${KIND_FILTERS[@]}")
    for part in $(absent_parts "$kind"); do options+=(--absent "$part"); done
    start_beside "$kind" "$namespace" "$fleet" "${options[@]}" --truth "$LAB_DIR/truth.$kind" --table "$LAB_DIR/table.$kind"
    grep -v -e '^#' -e '^default' "$LAB_DIR/truth.$kind" >>"$LAB_TRUTH"
    cat "$LAB_DIR/table.$kind" >>"$LAB_TABLE"
}

# After the plain lab and its fleet.
build_kinds() {
    local kind namespace net count device has_tun=no
    build_routed6
    build_lan
    build_tun
    kind_rules forward '' | in_netns router nft -f -
    lan_counter | in_netns lan nft -f -
    for namespace in lan far; do
        if [[ $namespace == lan || $has_tun == yes ]]; then kind_rules input '' | in_netns "$namespace" nft -f -; fi
    done
    kind_rules input 'iifname "lo"' | in_netns scan nft -f -
    ip -n scan link set lo up
    cp -- "$LAB_TABLE" "$LAB_DIR/table.routed4"
    LAB_KINDS=$LAB_DIR/kinds
    printf 'routed4 fleet %s %s scan0\n' "$network" "$open" >"$LAB_KINDS"
    kind_list | { [[ $has_tun == yes ]] && cat || grep -v '^tun'; } >>"$LAB_KINDS"
    export LAB_KINDS
    while read -r kind namespace net count device; do
        [[ $kind == routed4 ]] || start_kind "$kind" "$namespace" "$net" "$count"
    done <"$LAB_KINDS"
}
