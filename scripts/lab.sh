#!/usr/bin/env bash
# A network to sweep that anybody can start and nobody else can notice: three network namespaces,
#
#   scan (192.0.2.2) -- (192.0.2.1) router (192.0.2.5) -- (192.0.2.6) fleet, which answers 198.18.0.0/16
#
# joined by veth pairs and by nothing else. No packet can leave, whatever the command in `scan` sends.
# The fleet answers with the real Linux TCP stack: SYN-ACK where lab-fleet listens and RST elsewhere. The router
# drops one part of the network silently, rejects another with ICMP, and can lose frames at random either way.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
REPO=$(dirname -- "$(dirname -- "$SELF")")
# shellcheck source=scripts/lab-kinds.sh
. "$REPO/scripts/lab-kinds.sh"
BUILD_COMMAND="cargo build --release --example lab-fleet"

# Where everything that a lab keeps lies: a tmpfs that only the lab sees and that ends with it.
RUN=/run

usage() {
    cat <<'END'
usage: scripts/lab.sh run   [OPTIONS] -- COMMAND...   run COMMAND in a lab, exit with its status
       scripts/lab.sh shell [OPTIONS]                 an interactive shell in a lab
       scripts/lab.sh demo  [OPTIONS]                 build portreeve, sweep a lab, show the result
       scripts/lab.sh check [--xdp]                   can a lab run here? exit 77 and say what is missing
       scripts/lab.sh help

Neither root nor an outside network is needed: an ordinary user's lab runs in a user namespace. The lab ends with
the process that started it, whatever ends that.

options:
  --network NET       the network that the fleet answers, inside 198.18.0.0/15 (198.18.0.0/16)
  --ports LIST        its ports (22,3306,5432,6379,9200,27017)
  --open N            how many (address, port) pairs really listen (3000 for a /16, fewer for less)
  --seed N            which ones (1)
  --drop NET|none     the part that is silently dropped (the second sixteenth of the network)
  --reject NET|none   the part that is rejected as ICMP admin-prohibited (the third sixteenth)
  --loss-out PERCENT  random loss of IP packets from the scanner (0)
  --loss-back PERCENT random loss of IP packets to the scanner (0)
  --quick             count and lose nothing on the way: for measuring speed
  --kinds             networks of every kind around it, as listed in scripts/lab-kinds.sh
  --xdp               links that take frames from XDP, which needs the program ethtool
  --fleet PATH        the lab-fleet program (the newest in the target directory)
  --dir DIR           keep the files of the lab in DIR (a private directory that ends with the lab)

COMMAND gets these variables:
  LAB_TRUTH           the truth file: what a correct sweep finds
  LAB_TABLE           the same, a line for each target: ADDR PORT STATE REASON
  LAB_KINDS           with --kinds: a line for each network: KIND NAMESPACE NET OPEN DEVICE
  LAB_NETWORK, LAB_PORTS
  LAB_WEATHER         a program that breaks things in mid-sweep (see: scripts/lab-weather.sh help)
  LAB_DIR             a scratch directory
  LAB_DEVICE, LAB_GATEWAY, LAB_GATEWAY_MAC   its only way to the fleet

COMMAND can enter the other namespaces: `ip netns exec router nft list ruleset` shows the named counters of what
passed and what was lost.
END
}

die() {
    printf 'lab.sh: %s\n' "$*" >&2
    exit 2
}

# --- options ---------------------------------------------------------------------------------------------------

set_defaults() {
    network=198.18.0.0/16 ports=22,3306,5432,6379,9200,27017 seed=1
    open='' drop_net='' reject_net='' loss_out=0 loss_back=0 fleet='' dir='' quick=no kinds=no xdp=no
    command=()
}

parse_options() {
    set_defaults
    while (($# > 0)); do
        case $1 in
            --)
                shift
                command=("$@")
                return
                ;;
            --network | --ports | --open | --seed | --drop | --reject | --loss-out | --loss-back | --fleet | --dir)
                (($# > 1)) || die "$1 needs a value"
                set_option "$1" "$2"
                shift 2
                ;;
            --quick)
                quick=yes
                shift
                ;;
            --xdp)
                xdp=yes
                shift
                ;;
            --kinds)
                kinds=yes network=198.18.0.0/22 ports=$KIND_PORTS open=1024
                shift
                ;;
            *) die "unknown option $1 (see: scripts/lab.sh help)" ;;
        esac
    done
}

set_option() {
    case $1 in
        --network) network=$2 ;;
        --ports) ports=$2 ;;
        --open) open=$2 ;;
        --seed) seed=$2 ;;
        --drop) drop_net=$2 ;;
        --reject) reject_net=$2 ;;
        --loss-out) loss_out=$2 ;;
        --loss-back) loss_back=$2 ;;
        --fleet) fleet=$2 ;;
        --dir) dir=$2 ;;
    esac
}

# Prints a network's first address as a number, and its prefix length. Only what lies in 198.18.0.0/15, the
# range reserved for such tests, is ever accepted.
parse_network() {
    local a b c d prefix base
    [[ $1 =~ ^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})/([0-9]{1,2})$ ]] || return 1
    a=$((10#${BASH_REMATCH[1]})) b=$((10#${BASH_REMATCH[2]})) c=$((10#${BASH_REMATCH[3]}))
    d=$((10#${BASH_REMATCH[4]})) prefix=$((10#${BASH_REMATCH[5]}))
    ((a == 198 && (b == 18 || b == 19) && c < 256 && d < 256 && prefix >= 15 && prefix <= 32)) || return 1
    base=$(((a << 24) | (b << 16) | (c << 8) | d))
    (((base & ((1 << (32 - prefix)) - 1)) == 0)) || return 1
    printf '%d %d\n' "$base" "$prefix"
}

# The Nth sixteenth of the network, or `none` where the network is too small to be cut.
sixteenth() {
    local base=$1 prefix=$2 n=$3
    if ((prefix > 28)); then
        echo none
        return
    fi
    base=$((base + (n << (28 - prefix))))
    printf '%d.%d.%d.%d/%d\n' $((base >> 24)) $((base >> 16 & 255)) $((base >> 8 & 255)) $((base & 255)) $((prefix + 4))
}

# Nobody expects 3000 listeners in a /24, so the default keeps their share of the targets.
default_open() {
    local targets=$1 n
    n=$((targets * 3000 / 393216))
    if ((n < 20)); then n=20; fi
    if ((n > targets / 10)); then n=$((targets / 10)); fi
    echo "$n"
}

# Turns "2.5" percent into 2500 of 100000, the unit of the nft rule.
per_100000() {
    [[ $1 =~ ^([0-9]{1,3})(\.([0-9]{1,3}))?$ ]] || die "$1 is not a percentage with at most 3 decimals"
    local whole=${BASH_REMATCH[1]} part=${BASH_REMATCH[3]:-}
    part=${part}000
    local value=$((10#$whole * 1000 + 10#${part:0:3}))
    ((value <= 100000)) || die "$1 is more than 100 percent"
    echo "$value"
}

complete_options() {
    local parsed base prefix port_list
    parsed=$(parse_network "$network") || die "--network $network: not a network inside 198.18.0.0/15"
    read -r base prefix <<<"$parsed"
    [[ $ports =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--ports $ports: not a list of ports"
    IFS=, read -ra port_list <<<"$ports"
    [[ -n $open ]] || open=$(default_open $(((1 << (32 - prefix)) * ${#port_list[@]})))
    [[ $open =~ ^[0-9]+$ ]] || die "--open $open: not a number"
    [[ -n $drop_net ]] || drop_net=$(sixteenth "$base" "$prefix" 1)
    [[ -n $reject_net ]] || reject_net=$(sixteenth "$base" "$prefix" 2)
    for parsed in "$drop_net" "$reject_net"; do
        [[ $parsed == none ]] || parse_network "$parsed" >/dev/null || die "$parsed: not a network inside 198.18.0.0/15"
    done
    loss_out=$(per_100000 "$loss_out")
    loss_back=$(per_100000 "$loss_back")
    [[ -n $fleet ]] || find_fleet
    [[ -x $fleet ]] || die "$fleet cannot be executed; build it with: $BUILD_COMMAND"
    fleet=$(readlink -f -- "$fleet")
}

find_fleet() {
    local target=${CARGO_TARGET_DIR:-$REPO/target} candidate
    for candidate in "$target"/{release,debug}/examples/lab-fleet; do
        if [[ -x $candidate && (-z $fleet || $candidate -nt $fleet) ]]; then fleet=$candidate; fi
    done
    [[ -n $fleet ]] || die "no lab-fleet in $target; build it with: $BUILD_COMMAND"
}

# --- the outside: a private world, and its end -----------------------------------------------------------------

# Whoever may make namespaces does so directly. All others, root in a container among them, take a user namespace.
unshare_command() {
    isolated=(unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private)
    if ! unshare --mount --net true 2>/dev/null; then isolated+=(--user --map-root-user); fi
}

# Ends the lab and waits until all of it is gone. To kill its first process rather than `unshare` makes that
# possible: it is only reaped when the pid namespace is empty.
end_lab() {
    local first=''
    read -r first <"/proc/$1/task/$1/children" 2>/dev/null || :
    kill -KILL "${first:-$1}" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
    exit "$2"
}

# Runs a command of the inside and waits for it. The parent-death signal ends the inside when this process is
# killed, and the pid namespace takes everything in it along. The job is put in the background only so that
# SIGTERM is heard while it runs; that must not make it deaf to Ctrl-C nor take its standard input away.
enter() {
    local isolated pid='' status=0
    unshare_command
    trap 'end_lab "$pid" 143' TERM
    trap 'end_lab "$pid" 129' HUP
    trap : INT
    env --default-signal=INT,QUIT setpriv --pdeathsig KILL "${isolated[@]}" "$BASH" "$SELF" "$@" <&0 &
    pid=$!
    while :; do
        status=0
        wait "$pid" || status=$?
        # A trapped Ctrl-C ends the wait, not the lab: the command decides what it means.
        kill -0 "$pid" 2>/dev/null || break
    done
    exit "$status"
}

inside_arguments() {
    inside=("$network" "$ports" "$open" "$seed" "$drop_net" "$reject_net" "$loss_out" "$loss_back" "$fleet" "$dir" "$quick" "$kinds" "$xdp")
}

cmd_run() {
    local inside
    parse_options "$@"
    ((${#command[@]} > 0)) || die "run needs: -- COMMAND"
    complete_options
    inside_arguments
    enter inside "${inside[@]}" "${command[@]}"
}

# A shell must own the terminal, so that it replaces this process instead of being its job.
cmd_shell() {
    local inside isolated
    parse_options "$@"
    complete_options
    inside_arguments
    unshare_command
    exec "${isolated[@]}" "$BASH" "$SELF" inside "${inside[@]}" "$BASH" "$SELF" inside-shell
}

cmd_demo() {
    local inside target=${CARGO_TARGET_DIR:-$REPO/target}
    parse_options "$@"
    (cd -- "$REPO" && cargo build --release --example lab-fleet --bin portreeve)
    [[ -n $fleet ]] || fleet=$target/release/examples/lab-fleet
    complete_options
    inside_arguments
    enter inside "${inside[@]}" "$BASH" "$SELF" inside-demo "$(readlink -f -- "$target/release/portreeve")"
}

# --- the inside ------------------------------------------------------------------------------------------------

# A tmpfs on /run gives `ip netns` a place of its own, and /sys has to show the new network namespace.
private_filesystems() {
    mount -t tmpfs -o mode=755 lab "$RUN"
    mount -t sysfs lab /sys 2>/dev/null || :
    mkdir "$RUN/netns" "$RUN/lab"
}

in_netns() {
    local namespace=$1
    shift
    nsenter --net="$RUN/netns/$namespace" -- "$@"
}

# Every probe gets its answer, as fast as it comes: nothing here imitates a rate limit that nobody asked for.
tune() {
    in_netns "$1" "$BASH" -s <<'END'
cd /proc/sys/net || exit 1
while read -r path value; do
    if [[ -w $path ]]; then echo "$value" 2>/dev/null >"$path" || :; fi
done <<'SETTINGS'
ipv6/conf/all/disable_ipv6 1
ipv6/conf/default/disable_ipv6 1
ipv4/conf/all/rp_filter 0
ipv4/conf/default/rp_filter 0
ipv4/icmp_ratelimit 0
ipv4/icmp_ratemask 0
ipv4/icmp_msgs_per_sec 100000000
ipv4/icmp_msgs_burst 100000000
ipv4/tcp_max_syn_backlog 65536
ipv4/tcp_invalid_ratelimit 0
ipv4/tcp_early_demux 0
core/somaxconn 65536
SETTINGS
END
}

# The namespace that the lab starts in becomes `scan`, so that the command needs no step into it.
build_namespaces() {
    ip netns attach scan $$
    ip netns add router
    ip netns add fleet
    tune scan
    tune router
    tune fleet
    in_netns router "$BASH" -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
}

build_links() {
    ip -n router link add to-scan type veth peer name scan0 netns scan
    ip -n router link add to-fleet type veth peer name fleet0 netns fleet
    ip -n scan address add 192.0.2.2/30 dev scan0
    ip -n router address add 192.0.2.1/30 dev to-scan
    ip -n router address add 192.0.2.5/30 dev to-fleet
    ip -n fleet address add 192.0.2.6/30 dev fleet0
    local end
    for end in scan:lo scan:scan0 router:lo router:to-scan router:to-fleet fleet:lo fleet:fleet0; do
        ip -n "${end%:*}" link set "${end#*:}" up
    done
    ip -n scan route add 198.18.0.0/15 via 192.0.2.1
    ip -n router route add "$network" via 192.0.2.6
    ip -n fleet route add 192.0.2.0/30 via 192.0.2.5
    ip -n fleet route add local "$network" dev lo
}

# One line of rules for a filtered part, or nothing.
filter_rule() {
    [[ $1 == none ]] || printf 'ip daddr %s counter name "%s" %s\n' "$1" "$2" "$3"
}

# What the router counts, loses and filters. The loss sits on the router's scan-facing device in both directions:
# there it also meets the probes that are filtered and the ICMP answers of the router itself, and no packet
# socket of the scanner can see past it. ARP is spared, or a lab would sometimes have no next hop at all.
router_rules() {
    [[ $quick == yes ]] || traffic_rules
    cat <<END
table ip lab {
    counter dropped { }
    counter rejected { }
    chain forward {
        type filter hook forward priority 0; policy accept;
        $(filter_rule "$drop_net" dropped drop)
        $(filter_rule "$reject_net" rejected "reject with icmp type admin-prohibited")
    }
}
END
}

traffic_rules() {
    cat <<END
table netdev lab {
    counter seen_out { }
    counter syn_out { }
    counter lost_out { }
    counter seen_back { }
    counter lost_back { }
    chain out {
        type filter hook ingress device "to-scan" priority 0; policy accept;
        tcp flags & (syn | ack) == syn counter name "syn_out"
        meta protocol != ip accept
        counter name "seen_out"
        numgen random mod 100000 < $loss_out counter name "lost_out" drop
    }
    chain back {
        type filter hook egress device "to-scan" priority 0; policy accept;
        meta protocol != ip accept
        counter name "seen_back"
        numgen random mod 100000 < $loss_back counter name "lost_back" drop
    }
}
END
}

# A veth takes frames from XDP only where its other end polls (NAPI), as it does with GRO on.
take_xdp() {
    in_netns router ethtool -K to-scan gro on
    [[ $kinds == no ]] || in_netns lan ethtool -K lan0 gro on
}

start_fleet() {
    local options=(--network "$network" --ports "$ports" --open "$open" --seed "$seed" --truth "$LAB_TRUTH" --table "$LAB_TABLE") word=''
    [[ $drop_net == none ]] || options+=(--drop "$drop_net")
    [[ $reject_net == none ]] || options+=(--reject "$reject_net")
    [[ $kinds == no ]] || options+=("${KIND_FILTERS[@]}")
    ulimit -n "$(ulimit -Hn)"
    # A session of its own: a Ctrl-C for the command must not close the ports that it still looks at.
    coproc FLEET { exec setsid nsenter --net="$RUN/netns/fleet" -- "$fleet" "${options[@]}"; }
    read -r -t 60 word <&"${FLEET[0]}" || :
    [[ $word == ready ]] || die "the fleet did not start (its limit of open files is $(ulimit -n), it needs $open)"
}

build_lab() {
    network=$1 ports=$2 open=$3 seed=$4 drop_net=$5 reject_net=$6 loss_out=$7 loss_back=$8 fleet=$9 dir=${10} quick=${11} kinds=${12} xdp=${13}
    local limit
    limit=$(ulimit -n)
    private_filesystems
    build_namespaces
    build_links
    router_rules | in_netns router nft -f -
    if [[ -n $dir ]]; then mkdir -p -- "$dir"; fi
    LAB_DIR=$(readlink -f -- "${dir:-$RUN/lab}")
    LAB_TABLE=$LAB_DIR/table
    LAB_TRUTH=$LAB_DIR/truth LAB_NETWORK=$network LAB_PORTS=$ports
    LAB_DEVICE=scan0 LAB_GATEWAY=192.0.2.1 LAB_WEATHER=$REPO/scripts/lab-weather.sh
    LAB_GATEWAY_MAC=$(ip -n router -o link show to-scan | sed -n 's/.*link\/ether \([0-9a-f:]*\).*/\1/p')
    export LAB_DIR LAB_TRUTH LAB_TABLE LAB_NETWORK LAB_PORTS LAB_DEVICE LAB_GATEWAY LAB_GATEWAY_MAC LAB_WEATHER
    start_fleet
    [[ $kinds == no ]] || build_kinds
    [[ $xdp == no ]] || take_xdp
    ulimit -Sn "$limit"
}

# The first process of the pid namespace: when it ends, the kernel ends all others, the fleet among them.
cmd_inside() {
    local status=0
    trap : INT TERM
    build_lab "${@:1:13}"
    shift 13
    "$@" || status=$?
    exit "$status"
}

cmd_inside_shell() {
    cat <<END
A lab of $LAB_NETWORK, ports $LAB_PORTS. You are in the namespace \`scan\`; exit ends the lab.
  \$LAB_TRUTH                             what a correct sweep finds
  ip netns exec router nft list ruleset  what passed the router and what it lost
  ip netns exec fleet ss -ltn            the listeners
END
    exec "$BASH" --rcfile <(printf '%s\n' 'PS1="[lab \w]\\$ "') -i
}

# Allows a few of the open ports, so that the report shows both kinds.
demo_allowlist() {
    local word address port
    grep -m 5 '^open ' "$LAB_TRUTH" | while read -r word address port; do
        printf '[[allow]]\nhosts = ["%s"]\nports = [%s]\n' "$address" "$port"
        printf 'reason = "%s port of the lab demo"\nowner = "lab"\nexpires = 2099-12-31\n\n' "$word"
    done
}

cmd_inside_demo() {
    local portreeve=$1 status=0
    demo_allowlist >"$LAB_DIR/allowlist.toml"
    "$portreeve" sweep "$LAB_NETWORK" --rate 200k --network-rate none --authorization "lab demo" --allowlist "$LAB_DIR/allowlist.toml" || status=$?
    printf '\nThe lab has %d open ports, 5 of them allowed. portreeve exited with %d.\n' \
        "$(grep -c '^open ' "$LAB_TRUTH")" "$status"
    exit "$status"
}

# --- check -----------------------------------------------------------------------------------------------------

missing() {
    printf 'missing: %s\n' "$*"
    exit 77
}

cmd_check() {
    local tool isolated xdp=no
    [[ ${1:-} != --xdp ]] || xdp=yes
    for tool in ip nft unshare nsenter setpriv setsid env mount; do
        command -v "$tool" >/dev/null || missing "the program $tool"
    done
    unshare_command
    if [[ " ${isolated[*]} " == *" --user "* ]]; then
        unshare --user --map-root-user true 2>/dev/null || missing "user namespaces for ordinary users"
    fi
    "${isolated[@]}" true 2>/dev/null || missing "private mount, network and pid namespaces with their own /proc"
    if [[ $xdp == yes ]]; then
        # Nobody else may load BPF programs, and in a user namespace nobody is root.
        [[ $EUID == 0 && " ${isolated[*]} " != *" --user "* ]] || missing "root"
        command -v ethtool >/dev/null || missing "the program ethtool"
    fi
    "${isolated[@]}" "$BASH" "$SELF" inside-check "$xdp"
}

# Builds the lab without its fleet, in the same order, so that the first step to fail names what is missing.
cmd_inside_check() {
    local network=198.18.0.0/24 drop_net=198.18.0.16/28 reject_net=198.18.0.32/28 loss_out=1 loss_back=1 quick=no kinds=no
    private_filesystems 2>/dev/null || missing "a tmpfs of one's own"
    (build_namespaces) 2>/dev/null || missing "named network namespaces, or their settings in /proc/sys/net"
    (build_links) 2>/dev/null || missing "veth devices"
    router_rules | in_netns router nft -f - 2>/dev/null || missing "nftables with netdev egress hooks"
    ip netns exec router true 2>/dev/null || missing "ip netns exec (a mount of /sys)"
    [[ $1 == no ]] || take_xdp 2>/dev/null || missing "veth devices with GRO"
}

main() {
    local subcommand=${1:-help}
    if (($# > 0)); then shift; fi
    case $subcommand in
        run) cmd_run "$@" ;;
        shell) cmd_shell "$@" ;;
        demo) cmd_demo "$@" ;;
        check) cmd_check "$@" ;;
        help | --help | -h) usage ;;
        inside) cmd_inside "$@" ;;
        inside-shell) cmd_inside_shell ;;
        inside-demo) cmd_inside_demo "$@" ;;
        inside-check) cmd_inside_check "$@" ;;
        *) die "unknown command $subcommand (see: scripts/lab.sh help)" ;;
    esac
}

main "$@"
