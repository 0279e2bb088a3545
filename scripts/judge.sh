#!/usr/bin/env bash
# nmap as the judge: sweeps the lab of every kind of network with nmap and with portreeve, and holds what both say of
# every single target against each other and against the truth of the lab.
#
# A difference is accepted only if its class has a name below. Exit status: 0 every target is the same or its difference
# has a name, 1 something differs without one, 2 the judge could not judge.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
SCRIPTS=$(dirname -- "$SELF")
REPO=$(dirname -- "$SCRIPTS")

# What nmap and portreeve may say of one target. Fields: class, nmap's state and reason, portreeve's, why. The first three
# kinds of line are one observation under two names; the truth file uses portreeve's words.
CLASSES='
same|open syn-ack|open syn-ack|a SYN-ACK
same|closed reset|closed rst|a RST
same|filtered no-response|filtered no-response|silence
same|filtered admin-prohibited|filtered icmp-admin-prohibited|ICMP(v6) communication administratively prohibited
absent-neighbour|down no-response|unreachable no-neighbour|no answer to ARP or ND: nmap calls the host down and lists no port
'

# Neither of both may take longer for one network.
LIMIT=100

usage() {
    cat <<'END'
usage: scripts/judge.sh [OPTIONS]

options:
  --nmap-only       hold nmap alone against the truth: tests the lab, not portreeve
  --each            one sweep of portreeve for each network, instead of one for all of them
  --kinds LIST      only these networks, as named in scripts/lab-kinds.sh: routed4,onlink4,…
  --least N         fail when fewer targets than this are judged (20000, or 1 with --kinds)
  --options WORDS   more options for portreeve's sweep, separated by spaces
  --dir DIR         keep nmap's XML, portreeve's events and the comparison in DIR
  --portreeve PATH, --fleet PATH   the programs (built by cargo when not given)
END
}

die() {
    printf 'judge.sh: %s\n' "$*" >&2
    exit 2
}

parse_options() {
    portreeve='' fleet='' kinds='' least='' options='' dir='' nmap_only=no each=no
    while (($# > 0)); do
        case $1 in
            --nmap-only) nmap_only=yes && shift ;;
            --each) each=yes && shift ;;
            --portreeve | --fleet | --kinds | --least | --options | --dir)
                (($# > 1)) || die "$1 needs a value"
                printf -v "${1#--}" %s "$2"
                shift 2
                ;;
            -h | --help) usage && exit 0 ;;
            *) die "unknown option $1 (see: scripts/judge.sh --help)" ;;
        esac
    done
    [[ -n $least ]] || { [[ -n $kinds ]] && least=1 || least=20000; }
}

find_programs() {
    local target=${CARGO_TARGET_DIR:-$REPO/target}
    command -v nmap >/dev/null || die "nmap is not installed"
    if [[ -z $fleet || ($nmap_only == no && -z $portreeve) ]]; then
        (cd -- "$REPO" && cargo build --quiet --release --bin portreeve --example lab-fleet --example lab-tun)
        portreeve=${portreeve:-$target/release/portreeve} fleet=${fleet:-$target/release/examples/lab-fleet}
    fi
    portreeve=${portreeve:-/bin/false}
    portreeve=$(readlink -f -- "$portreeve") fleet=$(readlink -f -- "$fleet")
    [[ -x $portreeve && -x $fleet ]] || die "cannot execute $portreeve and $fleet"
}

# --- inside the lab --------------------------------------------------------------------------------------------

inside() {
    nmap_only=$1 each=$2 kinds=$3 least=$4 options=$5 portreeve=$6
    local began
    cd -- "$LAB_DIR"
    choose_kinds
    began=$EPOCHREALTIME
    run_nmap
    printf 'nmap took %.1f s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $began }")"
    if [[ $nmap_only == no ]]; then
        began=$EPOCHREALTIME
        run_portreeve
        printf 'portreeve took %.1f s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $began }")"
        printf 'its engine: %s\n' "$(grep -ho '"engine":"[^"]*"' events* | sort -u | paste -sd, -)"
    fi
    compare
}

# The networks to judge, and the truth of their targets: `KIND ADDR PORT STATE REASON`.
choose_kinds() {
    awk -v only="$kinds" 'only == "" || index("," only ",", "," $1 ",")' "$LAB_KINDS" >chosen
    [[ -s chosen ]] || die "no network of the lab is any of $kinds"
    [[ -n $kinds ]] || grep -q "^tun" chosen ||
        die "tun4 and tun6 cannot be judged: lab-tun is not built, or /dev/net/tun cannot be opened (see --kinds)"
    local kind rest
    while read -r kind rest; do
        awk -v kind="$kind" '{ print kind, $0 }' "table.$kind"
    done <chosen >expected
}

run_nmap() {
    local kind namespace net open device family
    while read -r kind namespace net open device; do
        family=()
        [[ $net != *:* ]] || family=(-6)
        timeout "$LIMIT" nmap "${family[@]}" -sS -Pn -n --reason -v -T4 --min-rate 3000 --max-retries 2 \
            --min-hostgroup 256 -p "$LAB_PORTS" -oX "nmap.$kind.xml" "$net" >"nmap.$kind.log" 2>&1 </dev/null ||
            die "nmap failed on $kind: $(tail -n 3 "nmap.$kind.log")"
        read_nmap <"nmap.$kind.xml"
    done <chosen >said.nmap
}

# `ADDR PORT STATE REASON` of each port, and `ADDR * down REASON` of a host that is not there. Ports that nmap sums up
# are not among them: with this few it sums up none, and what is missing is counted as a difference.
read_nmap() {
    awk -v RS='<' '
        function value(name, part) {
            if (!match($0, " " name "=\"[^\"]*\"")) return ""
            part = substr($0, RSTART, RLENGTH)
            sub(/^[^"]*"/, "", part); sub(/"$/, "", part)
            return part
        }
        $1 == "host" { address = "" }
        $1 == "status" { status = value("state"); why = value("reason") }
        $1 == "address" && value("addrtype") ~ /^ipv/ {
            address = value("addr")
            if (status == "down") print address, "*", "down", why
        }
        $1 == "port" { port = value("portid") }
        $1 == "state" { print address, port, value("state"), value("reason") }
    '
}

run_portreeve() {
    local net kind rest nets=()
    while read -r kind _ net rest; do nets+=("$net"); done <chosen
    if [[ $each == no ]]; then
        sweep events "${nets[@]}"
        read_portreeve <events >said.portreeve
        return
    fi
    while read -r kind _ net rest; do
        sweep "events.$kind" "$net"
        read_portreeve <"events.$kind"
    done <chosen >said.portreeve
}

# 0, 1 and 3 are endings of a sweep; what is wrong with the last shows in the comparison.
sweep() {
    local out=$1 status=0
    shift
    # The options are words.
    # shellcheck disable=SC2086
    timeout "$LIMIT" "$portreeve" sweep "$@" --ports "$LAB_PORTS" --authorization judge --states all --no-verify --format jsonl \
        --output "$out" $options </dev/null >"$out.log" 2>&1 || status=$?
    case $status in
        0 | 1) ;;
        3) printf 'portreeve says that its sweep was not complete: %s\n' "$(tail -n 1 "$out")" >&2 ;;
        *) printf 'portreeve failed on %s with %d: %s\n' "$*" "$status" "$(tail -n 3 "$out.log")" >&2 && touch "$out" ;;
    esac
}

read_portreeve() {
    awk -F'"' '/"event":"port"/ {
        for (n = 2; n < NF; n += 2) {
            if ($n == "ip") address = $(n + 2)
            if ($n == "port") { port = $(n + 1); gsub(/[^0-9]/, "", port) }
            if ($n == "state") state = $(n + 2)
            if ($n == "reason") reason = $(n + 2)
        }
        print address, port, state, reason
    }'
}

# The heart: three answers for each target. Without portreeve's, the truth stands in for them.
compare() {
    touch said.portreeve
    printf '%s\n' "$CLASSES" >classes
    awk -v nmap_only="$nmap_only" -v least="$least" '
        FILENAME == "classes" {
            if (split($0, part, "|") == 4) { class[part[2] "|" part[3]] = part[1]; why[part[1]] = part[4] }
            next
        }
        FILENAME == "said.nmap" { if ($2 == "*") down[$1] = $3 " " $4; else nmap[$1, $2] = $3 " " $4; next }
        FILENAME == "said.portreeve" {
            if (($1, $2) in own) twice++
            own[$1, $2] = $3 " " $4
            next
        }
        {
            truth = $4 " " $5
            his = ($2, $3) in nmap ? nmap[$2, $3] : $2 in down ? down[$2] : "nothing -"
            ours = nmap_only == "yes" ? truth : ($2, $3) in own ? own[$2, $3] : "nothing -"
            if (!($1 in targets)) order[++kinds] = $1
            targets[$1]++; total++
            if ((his "|" truth) in class) nmap_right[$1]++
            if (ours == truth) own_right[$1]++
            name = (his "|" ours) in class ? class[his "|" ours] : ""
            if (name == "same") { same[$1]++; next }
            if (name != "") named[$1]++; else { unnamed[$1]++; bad++ }
            if (ours != truth) false_own++
            key = sprintf("%-28s %-36s %-18s", his, ours, name == "" ? "UNEXPLAINED" : name)
            differences[key]++
            if (differences[key] <= 3) examples[key] = examples[key] " " $2 ":" $3
        }
        END {
            format = "%-10s %8s %12s %17s %8s %8s %12s\n"
            printf format, "network", "targets", "nmap = truth", "portreeve = truth", "same", "named", "unexplained"
            for (n = 1; n <= kinds; n++) {
                kind = order[n]
                printf format, kind, targets[kind], nmap_right[kind] + 0, own_right[kind] + 0, same[kind] + 0, \
                    named[kind] + 0, unnamed[kind] + 0
                right += nmap_right[kind]; sames += same[kind]; nameds += named[kind]; owns += own_right[kind]
            }
            printf format, "all", total, right, owns, sames, nameds, bad + 0
            printf "\n%-28s %-36s %-18s %8s  examples\n", "nmap", nmap_only == "yes" ? "truth" : "portreeve", "class", "targets"
            for (key in differences) printf "%s %8d %s\n", key, differences[key], examples[key]
            for (name in why) if (name != "same") printf "\n%s: %s\n", name, why[name]
            if (twice) printf "portreeve listed %d targets twice\n", twice
            if (total < least) printf "only %d targets were judged, %d are wanted\n", total, least
            exit !(total >= least && bad == 0 && twice == 0 && right == total && owns == total)
        }' classes said.nmap said.portreeve expected
}

main() {
    if [[ ${1:-} == inside ]]; then
        shift
        inside "$@"
        return
    fi
    local kept=()
    parse_options "$@"
    find_programs
    [[ -z $dir ]] || kept=(--dir "$dir")
    exec "$SCRIPTS/lab.sh" run --kinds --fleet "$fleet" "${kept[@]}" -- \
        "$BASH" "$SELF" inside "$nmap_only" "$each" "$kinds" "$least" "$options" "$portreeve"
}

main "$@"
