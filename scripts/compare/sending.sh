# shellcheck shell=bash
# Sending alone, to devices that drop everything. Sourced by scripts/compare.sh.

# No run takes longer, whatever it waits for.
SENDING_LIMIT=12

# Packet sockets send fastest to a device that has next to no driver; frames by XDP need a driver that takes them.
compare_sending() {
    local isolated=(unshare --mount --net --pid --fork --kill-child --mount-proc)
    unshare --mount --net true 2>/dev/null || isolated+=(--user --map-root-user)
    printf '\n== sending alone, one thread, %d rounds ==\n' "$rounds"
    "${isolated[@]}" "$BASH" "$SELF" inside-sink
    [[ " $scanners " == *' xdp '* ]] || return 0
    printf '\n== sending alone into a veth, whose other end drops in XDP, %d rounds ==\n' "$rounds"
    "$SCRIPTS/lab-wire.sh" --swallow "$examples/lab-responder" 198.18.0.0/15 "$BASH" "$SELF" inside-swallow
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

inside_sink() {
    build_sink
    device=sink0 gateway_mac=02:00:00:00:00:01 counters=/proc/net/dev
    send_in_turn sink "bare ${scanners/xdp/}"
}

# The other end counts what it has taken.
inside_swallow() {
    local far
    read -r far < <(ip netns pids responder)
    device=$LAB_DEVICE gateway_mac=$LAB_GATEWAY_MAC counters=/proc/$far/net/dev
    ip neigh replace 192.0.2.1 lladdr "$gateway_mac" dev "$device" nud permanent
    send_in_turn veth "$scanners"
}

# send_in_turn NAME SCANNERS
send_in_turn() {
    local round scanner work runs
    work=$(mktemp -d)
    runs=$work/runs
    cd -- "$work"
    for ((round = 1; round <= rounds; round++)); do
        for scanner in $2; do
            [[ $scanner == nmap ]] || note "$1" "$scanner" - "$(frames_per_second "send_$scanner")" - -
        done
    done
    table 4
    rm -rf -- "$work"
}

send_bare() {
    timeout -s KILL "$SENDING_LIMIT" "$examples/lab-ring" "$device" 5
}

send_portreeve() {
    local options=(--engine "$1" --ports 1-100 --rate 100M --host-rate none --network-rate none --no-verify --tries 1)
    timeout -s INT "$SENDING_LIMIT" "$portreeve" sweep 198.18.0.0/15 "${options[@]}" --senders 1 --authorization "compare.sh" \
        --format jsonl --output found
}

send_xdp() {
    send_portreeve xdp
}

send_packet() {
    send_portreeve packet
}

send_masscan() {
    timeout -s KILL "$SENDING_LIMIT" masscan 198.18.0.0/15 -p1-100 --rate 100000000 --wait 0 -e "$device" \
        --source-ip 192.0.2.2 --router-mac "$gateway_mac" -oL found </dev/null
}

send_zmap() {
    timeout -s KILL "$SENDING_LIMIT" zmap -p 80 -P 100 -T 1 -i "$device" -S 192.0.2.2 -G "$gateway_mac" -r 0 -c 1 -b /dev/null -q \
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
            printf "%.0f\n", (frames[to] - frames[from]) / (at[to] - at[from]) / 1000
        }' samples || { cat log >&2 && die "$1 sent nothing that could be measured"; }
}

# ifb and the other end of a wire count what they take as received, the others as sent; nothing else arrives here.
frames_taken() {
    local line
    while read -r -a line; do
        case ${line[0]} in sink0: | far:) echo $((line[2] + line[10])) ;; esac
    done <"$counters"
}
