#!/usr/bin/env bash
# Everything that the README's table of trust rests on, at full size: what `cargo test` tries on a small scale, and what
# takes too long for it. Prints the figures. Makes its own networks, as root or as an ordinary user.
set -euo pipefail

REPO=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
POINTS=(judge forged starved weather loss rate proxy resets xdp frames fuzz hostile mutants)

usage() {
    cat <<'END'
usage: scripts/trust.sh [POINT...]

  judge    nmap and portreeve on networks of every kind, over 20,000 targets, in one sweep and each by itself
  forged   a million forged answers, half of them near misses, and every answer replayed
  starved  a starved receiver, and a link that goes down for three seconds on either side, twenty times each
  weather  gateways, addresses, hosts and firewalls that change in mid-sweep, by both engines and in both families
  loss     random loss of 1, 2, 5 and 10 % each way, and bursts
  rate     the rate that finds itself, on a way that carries 100,000 packets a second
  proxy    a SYN proxy in front of nothing, and beside it real listeners
  resets   a host that limits its resets to 200 a second, and all of its 65,535 ports (seven minutes)
  xdp      the weather, the losses, the forged answers and the kinds of network over the xdp engine (root only)
  frames   ten million structured frames, held against two other parsers
  fuzz     coverage-guided fuzzing of every target, half an hour in all (needs a C++ compiler)
  hostile  banners that mean harm
  mutants  each check taken out in turn, and the test that goes red

Without a point, all of them, which takes one and a half hours. The exit status is 0 if all hold.
END
}

# Runs the cases of a test program whose names hold any of these words.
lab() {
    local program=$1 word status=0
    shift
    for word in "$@"; do
        cargo test --quiet --release --test "$program" -- --nocapture "$word" 2>&1 | grep -v -e '^$' -e ' 0 passed' || status=1
    done
    return "$status"
}

run_point() {
    case $1 in
        judge) scripts/judge.sh && scripts/judge.sh --each ;;
        forged) PORTREEVE_FORGED=1000000 lab trust_lab forged replayed ;;
        starved) PORTREEVE_TRUST_TIMES=20 lab trust_lab starved link_down_here link_down_there ;;
        weather)
            lab trust_lab gateway address_goes connection_table on_the_wire who_answers nobody_at_all one_way two_answers \
                policy_route answers_by
            ;;
        loss) lab trust_lab random_loss bursts ;;
        rate) PORTREEVE_TRUST_PPS=100000 lab trust_lab auto_rate ;;
        proxy) lab verify_lab syn_proxy ;;
        xdp) PORTREEVE_TRUST_LONG=1 lab trust_lab xdp_ ;;
        resets) PORTREEVE_TRUST_LONG=1 lab trust_lab resets_are_limited_on_all_ports ;;
        frames) PORTREEVE_FRAMES=10000000 cargo test --quiet --release --test parser ;;
        fuzz) scripts/fuzz.sh --seconds 240 ;;
        hostile) lab verify_lab hostile ;;
        mutants) scripts/mutants.sh ;;
        *) usage >&2 && return 2 ;;
    esac
}

main() {
    [[ ${1:-} != --help && ${1:-} != -h ]] || { usage && return; }
    cd -- "$REPO"
    cargo build --quiet --release --bins --examples
    local point failed=() begin
    for point in "${@:-${POINTS[@]}}"; do
        begin=$SECONDS
        printf '\n== %s\n' "$point"
        run_point "$point" || failed+=("$point")
        printf '== %s: %d s\n' "$point" $((SECONDS - begin))
    done
    ((${#failed[@]} == 0)) || { printf 'these do not hold: %s\n' "${failed[*]}" >&2 && return 1; }
}

main "$@"
