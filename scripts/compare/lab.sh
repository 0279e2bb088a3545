# shellcheck shell=bash
# The lab sweep: every scanner over the same network of the real Linux TCP stack. Sourced by scripts/compare.sh.

# No run takes longer, whatever it waits for.
LAB_LIMIT=60

compare_lab() {
    printf '\n== lab sweep of %s, %d rounds ==\n' "$network" "$rounds"
    local links=()
    [[ " $scanners " != *' xdp '* ]] || links=(--xdp)
    "$SCRIPTS/lab.sh" run --quick "${links[@]}" --network "$network" --fleet "$examples/lab-fleet" -- "$BASH" "$SELF" inside-lab
}

inside_lab() {
    local round scanner begin end runs=$LAB_DIR/runs
    cd -- "$LAB_DIR"
    for ((round = 1; round <= rounds; round++)); do
        for scanner in $scanners; do
            rm -f found
            begin=$EPOCHREALTIME
            "lab_$scanner" >log 2>&1 || :
            end=$EPOCHREALTIME
            [[ -s found ]] || { cat log >&2 && die "$scanner found nothing"; }
            note lab "$scanner" "$(awk "BEGIN { printf \"%.2f\", $end - $begin }")" - $("read_$scanner" <found | judge)
        done
    done
    table 3
}

lab_portreeve() {
    timeout "$LAB_LIMIT" "$portreeve" sweep "$LAB_NETWORK" --ports "$LAB_PORTS" --authorization "compare.sh" --tries "$tries" \
        --engine "$1" --rate 100M --host-rate none --network-rate none --no-verify --states all --format jsonl --output found
}

lab_xdp() {
    lab_portreeve xdp
}

lab_packet() {
    lab_portreeve packet
}

lab_masscan() {
    beside_a_trickle timeout "$LAB_LIMIT" masscan "$LAB_NETWORK" "-p$LAB_PORTS" --rate 10000000 --wait 1 -e "$LAB_DEVICE" \
        --router-mac "$LAB_GATEWAY_MAC" -oL found
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
    awk -F'"' '/"event":"port"/ {
        for (n = 2; n < NF; n += 2) {
            if ($n == "ip") address = $(n + 2)
            if ($n == "port") { port = $(n + 1); gsub(/[:,]/, "", port) }
            if ($n == "state") state = $(n + 2)
        }
        print state, address, port
    }'
}

read_packet() {
    read_xdp
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
            printf "%.2f %.2f\n", found * 100 / declared_open, right * 100 / declared
        }' "$LAB_TRUTH" -
}
