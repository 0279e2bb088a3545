#!/usr/bin/env bash
# portreeve beside masscan, and beside zmap and nmap where they are asked for and installed. Two settings:
#
#   lab      the sweep of a /16 x 6 ports answered by the real Linux TCP stack, in one lab, the scanners in turn:
#            wall time, share of the open ports found, share of all targets whose state is said and right
#   sending  one sending thread to a device that drops everything: frames a second, counted at the device. "bare" is
#            no scanner but a loop that hands the kernel the same frame again and again, by a ring like portreeve's:
#            what is left to gain
#
# Scanner and scanned share the machine, so that the ratios say more than the figures. Nothing leaves: each setting runs
# in network namespaces without a way out, on 198.18.0.0/15 and 192.0.2.0/24 only. Root, or an ordinary user who may make
# user namespaces.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
SCRIPTS=$(dirname -- "$SELF")
REPO=$(dirname -- "$SCRIPTS")

# No run of a scanner takes longer, whatever it waits for.
LAB_LIMIT=60
SENDING_LIMIT=12

usage() {
    cat <<'END'
usage: scripts/compare.sh [lab|sending|all] [OPTIONS]

options:
  --rounds N      runs of each scanner (5)
  --tries N       portreeve's tries in the lab; masscan and zmap send one probe a target, so that 1 is like for like (1)
  --network NET   the lab's network (198.18.0.0/16)
  --zmap          zmap too: six runs, one a port, added up
  --xdp           portreeve's xdp engine too, in the lab; needs root and ethtool
  --nmap          nmap too, in the lab, on the first /24 only: it takes minutes for more
  --portreeve PATH, --fleet PATH, --ring PATH   the programs (built by cargo when not given)
END
}

die() {
    printf 'compare.sh: %s\n' "$*" >&2
    exit 2
}

parse_options() {
    setting=all rounds=5 tries=1 network=198.18.0.0/16 portreeve='' fleet='' ring='' scanners='portreeve masscan'
    case ${1:-} in lab | sending | all) setting=$1 && shift ;; esac
    while (($# > 0)); do
        case $1 in
            --zmap) scanners+=' zmap' && shift ;;
            --xdp) scanners+=' xdp' && shift ;;
            --nmap) scanners+=' nmap' && shift ;;
            --rounds | --tries | --network | --portreeve | --fleet | --ring)
                (($# > 1)) || die "$1 needs a value"
                printf -v "${1#--}" %s "$2"
                shift 2
                ;;
            -h | --help) usage && exit 0 ;;
            *) die "unknown option $1 (see: scripts/compare.sh --help)" ;;
        esac
    done
    [[ $rounds =~ ^[1-9][0-9]?$ ]] || die "--rounds $rounds: not from 1 to 99"
    [[ $tries =~ ^[1-9]$ ]] || die "--tries $tries: not from 1 to 9"
}

# Leaves out what is not installed, and says so.
keep_installed() {
    local scanner kept=''
    for scanner in $scanners; do
        if [[ $scanner == portreeve || $scanner == xdp ]] || command -v "$scanner" >/dev/null; then
            kept+=" $scanner"
        else
            printf '%s is not installed and is left out\n' "$scanner" >&2
        fi
    done
    scanners=$kept
}

find_programs() {
    local target=${CARGO_TARGET_DIR:-$REPO/target}
    if [[ -z $portreeve || -z $fleet || -z $ring ]]; then
        (cd -- "$REPO" && cargo build --quiet --release --bin portreeve --example lab-fleet --example lab-ring)
        portreeve=${portreeve:-$target/release/portreeve} fleet=${fleet:-$target/release/examples/lab-fleet}
        ring=${ring:-$target/release/examples/lab-ring}
    fi
    portreeve=$(readlink -f -- "$portreeve") fleet=$(readlink -f -- "$fleet") ring=$(readlink -f -- "$ring")
    [[ -x $portreeve && -x $fleet && -x $ring ]] || die "cannot execute $portreeve, $fleet and $ring"
}

# The version with the fewest words: the first line of what each says of itself.
show_versions() {
    local scanner
    printf '%s cores, Linux %s\n' "$(nproc)" "$(uname -r)"
    for scanner in $scanners; do
        case $scanner in
            portreeve) "$portreeve" --version ;;
            xdp) ;;
            # Says it in the middle, and exits with 1.
            masscan) { masscan --version || :; } | grep -m 1 -i version ;;
            *) "$scanner" --version 2>&1 | head -n 1 ;;
        esac
    done
}

# Reads numbers, one a line, and prints the middle one.
median() {
    sort -g | awk '{ value[NR] = $1 } END { if (NR) print (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2 }'
}

# --- the lab sweep ---------------------------------------------------------------------------------------------

compare_lab() {
    printf '\n== lab sweep of %s, %d rounds ==\n' "$network" "$rounds"
    local xdp=()
    [[ " $scanners " != *" xdp "* ]] || xdp=(--xdp)
    "$SCRIPTS/lab.sh" run --quick "${xdp[@]}" --network "$network" --fleet "$fleet" -- \
        "$BASH" "$SELF" inside-lab "$rounds" "$tries" "$portreeve" "$scanners"
}

inside_lab() {
    rounds=$1 tries=$2 portreeve=$3 scanners=$4
    local round scanner begin end
    cd -- "$LAB_DIR"
    for ((round = 1; round <= rounds; round++)); do
        for scanner in $scanners; do
            rm -f found
            begin=$EPOCHREALTIME
            "lab_$scanner" >log 2>&1 || :
            end=$EPOCHREALTIME
            [[ -s found ]] || { cat log >&2 && die "$scanner found nothing"; }
            printf '%s %s\n' "$(awk "BEGIN { print $end - $begin }")" "$("read_$scanner" <found | judge "$scanner")" |
                tee -a "$scanner.rounds" | awk -v round="$round" -v scanner="$scanner" \
                '{ printf "round %d  %-10s %7.2f s  open %6.2f %%  classified %6.2f %%\n", round, scanner, $1, $2, $3 }'
        done
    done
    lab_table
}

lab_portreeve() {
    lab_engine packet
}

lab_xdp() {
    lab_engine xdp
}

lab_engine() {
    timeout "$LAB_LIMIT" "$portreeve" sweep "$LAB_NETWORK" --ports "$LAB_PORTS" --authorization "compare.sh" --tries "$tries" \
        --engine "$1" --rate 100M --host-rate none --network-rate none --no-verify --states all --format jsonl --output found
}

# masscan waits in its receive loop for a packet before it looks whether its time is over; in a lab where nobody but the
# scanner speaks that packet never comes. Datagrams to a closed port of the router, each answered by ICMP, end the wait.
lab_masscan() {
    local trickle
    timeout "$LAB_LIMIT" "$BASH" -c 'while :; do echo >/dev/udp/192.0.2.1/9; sleep 0.05; done' 2>/dev/null &
    trickle=$!
    timeout "$LAB_LIMIT" masscan "$LAB_NETWORK" "-p$LAB_PORTS" --rate 10000000 --wait 1 -e "$LAB_DEVICE" \
        --router-mac "$LAB_GATEWAY_MAC" -oL found || :
    kill "$trickle" 2>/dev/null || :
    wait "$trickle" 2>/dev/null || :
}

# One port a run, which is all that zmap 2 can do. Its default block list names the networks of the lab.
lab_zmap() {
    local port
    for port in ${LAB_PORTS//,/ }; do
        timeout "$LAB_LIMIT" zmap -p "$port" -i "$LAB_DEVICE" -G "$LAB_GATEWAY_MAC" -r 0 -c 1 -b /dev/null -q \
            -O csv -f saddr,sport -o one "$LAB_NETWORK"
        grep -v saddr one >>found || :
    done
}

# Of a /24 only, so that its wall time stands for 256 addresses and its shares for a 256th of the lab.
lab_nmap() {
    timeout "$LAB_LIMIT" nmap -n -Pn -sS -T5 --max-retries 1 -p "$LAB_PORTS" -e "$LAB_DEVICE" -oG found "${LAB_NETWORK%/*}/24"
}

# Each reader turns a scanner's own output into lines `state address port`.
read_xdp() {
    read_portreeve
}

read_portreeve() {
    awk -F'"' '/"event":"port"/ {
        for (n = 2; n < NF; n += 2) {
            if ($n == "ip") address = $(n + 2)
            if ($n == "port") { port = $(n + 1); gsub(/[:,]/, "", port) }
            if ($n == "state") state = $(n + 2)
        }
        print state, address, port
    }'
}

read_masscan() {
    awk '$1 == "open" || $1 == "closed" { print $1, $4, $3 }'
}

read_zmap() {
    awk -F, '{ print "open", $1, $2 }'
}

read_nmap() {
    awk '/Ports:/ { address = $2; sub(/.*Ports: /, ""); sub(/\t.*/, ""); count = split($0, ports, ", ")
        for (n = 1; n <= count; n++) { split(ports[n], part, "/"); print part[2], address, part[1] } }'
}

# Holds `state address port` against the truth; prints the share of open ports found, and of targets whose state was said
# and is right, both in percent. A target that is claimed open and is not counts against the second.
judge() {
    awk -v ports="$LAB_PORTS" -v network="$LAB_NETWORK" '
        function number(text, part) { split(text, part, "."); return ((part[1] * 256 + part[2]) * 256 + part[3]) * 256 + part[4] }
        function truth(address, port, n, at) {
            if ((address, port) in open) return "open"
            at = number(address)
            for (n = 1; n <= nets; n++) if (at >= first[n] && at < last[n]) return state[n]
            return otherwise
        }
        FNR == NR {
            if ($1 == "open") { open[$2, $3]; declared_open++ }
            if ($1 == "default") otherwise = $2
            if ($1 == "net") {
                split($2, part, "/"); nets++
                first[nets] = number(part[1]); last[nets] = first[nets] + 2 ^ (32 - part[2]); state[nets] = $3
            }
            next
        }
        { said[$2 " " $3] = $1 }
        END {
            for (target in said) {
                split(target, part, " ")
                if (said[target] == truth(part[1], part[2])) { right++; if (said[target] == "open") found++ }
            }
            split(network, part, "/")
            declared = 2 ^ (32 - part[2]) * split(ports, part, ",")
            print found * 100 / declared_open, right * 100 / declared
        }' "$LAB_TRUTH" -
}

lab_table() {
    local scanner own wall
    own=$(awk '{ print $1 }' portreeve.rounds | median)
    printf '\n%-10s %12s %18s %14s %14s\n' scanner 'median wall' 'portreeve takes' 'open found' 'classified'
    for scanner in $scanners; do
        wall=$(awk '{ print $1 }' "$scanner.rounds" | median)
        printf '%-10s %10.2f s %16.2f x %12.2f %% %12.2f %%\n' "$scanner" "$wall" "$(awk "BEGIN { print $own / $wall }")" \
            "$(awk '{ print $2 }' "$scanner.rounds" | median)" "$(awk '{ print $3 }' "$scanner.rounds" | median)"
    done
}

# --- sending alone ---------------------------------------------------------------------------------------------

compare_sending() {
    local isolated=(unshare --mount --net --pid --fork --kill-child --mount-proc)
    unshare --mount --net true 2>/dev/null || isolated+=(--user --map-root-user)
    printf '\n== sending alone, one thread, %d rounds ==\n' "$rounds"
    "${isolated[@]}" "$BASH" "$SELF" inside-sending "$rounds" "$portreeve" "bare $scanners" "$ring"
}

# A device that takes every frame and drops it. ifb does so at the least cost; a veth whose peer drops at its ingress
# costs the scanners more, and all of them alike.
build_sink() {
    if ip link add sink0 type ifb 2>/dev/null || ip link add sink0 type dummy 2>/dev/null; then
        :
    else
        ip link add sink0 type veth peer name peer0
        ip link set peer0 up
        nft -f - <<'END'
table netdev sink { chain drops { type filter hook ingress device "peer0" priority 0; policy drop; } }
END
    fi
    printf 'device: %s\n' "$(ip -d -o link show sink0 | grep -oE ' (ifb|dummy|veth) ' | head -n 1 | tr -d ' ')"
    ip link set lo up
    ip address add 192.0.2.2/30 dev sink0
    # An ifb resolves no neighbours unless told to; the static one below is all that it ever needs.
    ip link set sink0 up arp on
    ip route add 198.18.0.0/15 via 192.0.2.1
    ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev sink0 nud permanent
}

inside_sending() {
    rounds=$1 portreeve=$2 scanners=$3 ring=$4
    local round scanner work
    work=$(mktemp -d)
    cd -- "$work"
    build_sink
    for ((round = 1; round <= rounds; round++)); do
        for scanner in $scanners; do
            [[ $scanner != nmap ]] || continue
            frames_per_second "send_$scanner" >>"$scanner.rates"
            printf 'round %d  %-10s %8.0f kpps\n' "$round" "$scanner" "$(tail -n 1 "$scanner.rates")"
        done
    done
    sending_table
    rm -rf -- "$work"
}

send_bare() {
    timeout -s KILL "$SENDING_LIMIT" "$ring" sink0 5
}

send_portreeve() {
    local options=(--engine packet --ports 1-100 --rate 100M --host-rate none --network-rate none --no-verify --tries 1)
    timeout -s INT "$SENDING_LIMIT" "$portreeve" sweep 198.18.0.0/15 "${options[@]}" --senders 1 --authorization "compare.sh" \
        --format jsonl --output found
}

send_masscan() {
    timeout -s KILL "$SENDING_LIMIT" masscan 198.18.0.0/15 -p1-100 --rate 100000000 --wait 0 -e sink0 \
        --source-ip 192.0.2.2 --router-mac 02:00:00:00:00:01 -oL found </dev/null
}

send_zmap() {
    timeout -s KILL "$SENDING_LIMIT" zmap -p 80 -P 100 -T 1 -i sink0 -S 192.0.2.2 -G 02:00:00:00:00:01 -r 0 -c 1 -b /dev/null -q \
        -o found 198.18.0.0/15
}

# Samples what the device has taken, every 50 ms, while the command runs; prints kilo-frames a second over the middle
# three fifths of the time in which it took any. So neither the start nor the waiting at the end counts.
frames_per_second() {
    local pid
    "$1" >log 2>&1 &
    pid=$!
    : >samples
    while kill -0 "$pid" 2>/dev/null; do
        printf '%s %s\n' "$EPOCHREALTIME" "$(frames_taken)" >>samples
        sleep 0.05
    done
    wait "$pid" || :
    awk '{ at[NR] = $1; frames[NR] = $2 }
        END {
            for (n = 2; n <= NR; n++) if (frames[n] > frames[n - 1]) { if (!begin) begin = n - 1; end = n }
            if (end - begin < 10) { print "too few samples" >"/dev/stderr"; exit 1 }
            from = begin + int((end - begin) / 5); to = end - int((end - begin) / 5)
            print (frames[to] - frames[from]) / (at[to] - at[from]) / 1000
        }' samples || { cat log >&2 && die "$1 sent nothing that could be measured"; }
}

# ifb counts what it takes as received, the others as sent; nothing else arrives here.
frames_taken() {
    local line
    while read -r -a line; do
        if [[ ${line[0]} == sink0: ]]; then echo $((line[2] + line[10])); fi
    done </proc/net/dev
}

sending_table() {
    local scanner own rate
    own=$(median <portreeve.rates)
    printf '\n%-10s %14s %20s\n' scanner 'median kpps' 'portreeve sends'
    for scanner in $scanners; do
        [[ $scanner != nmap ]] || continue
        rate=$(median <"$scanner.rates")
        printf '%-10s %14.0f %18.2f x\n' "$scanner" "$rate" "$(awk "BEGIN { print $own / $rate }")"
    done
}

main() {
    case ${1:-} in
        inside-lab) shift && inside_lab "$@" && return ;;
        inside-sending) shift && inside_sending "$@" && return ;;
    esac
    parse_options "$@"
    keep_installed
    find_programs
    show_versions
    if [[ $setting != sending ]]; then compare_lab; fi
    if [[ $setting != lab ]]; then compare_sending; fi
}

main "$@"
