# shellcheck shell=bash
# The wire: every scanner before a network that answers every SYN as fast as it comes. Sourced by scripts/compare.sh.

WIRE_NETWORK=198.18.0.0/15
WIRE_ADDRESSES=131072
WIRE_FIRST_PORT=1000
# No run takes longer, whatever it waits for.
WIRE_LIMIT=120

compare_wire() {
    ((EUID == 0)) || { printf 'the wire needs root and is left out\n' >&2 && return; }
    printf '\n== %s x %d ports, each answered in XDP, %d rounds ==\n' "$WIRE_NETWORK" "$ports" "$rounds"
    local round scanner runs sockets
    runs=$(mktemp)
    export runs
    for ((round = 1; round <= rounds; round++)); do
        for scanner in $scanners; do
            [[ $scanner != nmap ]] || continue
            sockets=--sockets
            [[ $scanner != xdp ]] || sockets=''
            scanner=$scanner "$SCRIPTS/lab-wire.sh" $sockets "$examples/lab-responder" "$WIRE_NETWORK" \
                "$BASH" "$SELF" inside-wire
        done
    done
    table 4
    rm -f -- "$runs"
}

inside_wire() {
    local work begin end seconds
    work=$(mktemp -d)
    cd -- "$work"
    ip neigh replace 192.0.2.1 lladdr "$LAB_GATEWAY_MAC" dev "$LAB_DEVICE" nud permanent
    begin=$EPOCHREALTIME
    "wire_$scanner" >log 2>&1 </dev/null || :
    end=$EPOCHREALTIME
    [[ -s found ]] || { cat log >&2 && die "$scanner found nothing"; }
    seconds=$(awk "BEGIN { printf \"%.2f\", $end - $begin }")
    note wire "$scanner" "$seconds" \
        "$(awk "BEGIN { printf \"%.0f\", $WIRE_ADDRESSES * $ports / $seconds / 1000 }")" $("judge_$scanner" <found)
    rm -rf -- "$work"
}

wire_ports() {
    printf '%d-%d' "$WIRE_FIRST_PORT" "$((WIRE_FIRST_PORT + ports - 1))"
}

wire_portreeve() {
    timeout "$WIRE_LIMIT" "$portreeve" sweep "$WIRE_NETWORK" --ports "$(wire_ports)" --authorization "compare.sh" --engine "$1" \
        --rate 100M --host-rate none --network-rate none --no-verify --states open --format jsonl --output found
}

wire_xdp() {
    wire_portreeve xdp
}

wire_packet() {
    wire_portreeve packet
}

wire_masscan() {
    beside_a_trickle timeout "$WIRE_LIMIT" masscan "$WIRE_NETWORK" "-p$(wire_ports)" --rate 100000000 --wait 1 -e "$LAB_DEVICE" \
        --source-ip 192.0.2.2 --router-mac "$LAB_GATEWAY_MAC" -oL found
}

# zmap 2 takes one port a run. So it asks one port as many times as the others ask ports, in one run, which spares it a
# second's wait for each; and says of every answer what it was.
wire_zmap() {
    timeout "$WIRE_LIMIT" zmap -p "$WIRE_FIRST_PORT" -P "$ports" -i "$LAB_DEVICE" -S 192.0.2.2 -G "$LAB_GATEWAY_MAC" -r 0 -c 1 \
        -b /dev/null -q --output-filter 'success = 0 || success = 1' -O csv -f saddr,sport,success -o found "$WIRE_NETWORK"
}

# Each judge prints the share of the open ports that was found, and the share of all targets of which the state was said,
# in percent. Open is where the last byte of an address is the remainder of the port by 251: in one address of 256.
judge_xdp() {
    awk -F'"' -v open="$((WIRE_ADDRESSES / 256 * ports))" '
        /"event":"port"/ {
            for (n = 2; n < NF; n += 2) {
                if ($n == "ip") { split($(n + 2), part, "."); last = part[4] }
                if ($n == "port") { port = $(n + 1); gsub(/[:,]/, "", port) }
            }
            if (last == port % 251) right++
        }
        /"event":"sweep.completed"/ {
            match($0, /"declared":[0-9]+/); declared = substr($0, RSTART + 11, RLENGTH - 11)
            match($0, /"unknown":[0-9]+/); unknown = substr($0, RSTART + 10, RLENGTH - 10)
        }
        END { printf "%.2f %.2f\n", right * 100 / open, (declared - unknown) * 100 / declared }'
}

judge_packet() {
    judge_xdp
}

judge_masscan() {
    awk -v all="$((WIRE_ADDRESSES * ports))" '
        $1 == "open" { split($4, part, "."); if (part[4] == $3 % 251 && !seen[$4, $3]++) right++ }
        END { printf "%.2f %.2f\n", right * 100 / (all / 256), right * 100 / all }'
}

judge_zmap() {
    awk -F, -v all="$((WIRE_ADDRESSES * ports))" '
        $3 == 1 { split($1, part, "."); if (part[4] == $2 % 251) right++ }
        $3 == 0 { closed++ }
        END { printf "%.2f %.2f\n", right * 100 / (all / 256), (right + closed) * 100 / all }'
}
