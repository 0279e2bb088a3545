#!/usr/bin/env bash
# portreeve's two fast engines, `xdp` and `packet`, beside masscan, zmap and nmap where those are installed. Settings:
#
#   wire     a network that answers every SYN, in XDP, at whatever rate it comes: what the scanner itself can carry there
#            and back; targets a second from the start of the program to its end, and the shares as below
#   lab      the sweep of a /16 x 6 ports answered by the real Linux TCP stack, in one lab: wall time, share of the open
#            ports found, share of all targets whose state is said and right
#   sending  one sending thread to a device that drops everything: frames a second, counted at the device. "bare" is
#            no scanner but a loop that hands the kernel the same frame again and again, by a ring like portreeve's:
#            what is left to gain
#
# The scanners take turns. They share the machine with what they scan, so that the ratios say more than the figures.
# Nothing leaves: each setting runs in network namespaces without a way out, on 198.18.0.0/15 and 192.0.2.0/24 only. Root,
# or an ordinary user who may make user namespaces, whose tables lack all of XDP.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
SCRIPTS=$(dirname -- "$SELF")
REPO=$(dirname -- "$SCRIPTS")

# shellcheck source=scripts/compare/wire.sh
. "$SCRIPTS/compare/wire.sh"
# shellcheck source=scripts/compare/lab.sh
. "$SCRIPTS/compare/lab.sh"
# shellcheck source=scripts/compare/sending.sh
. "$SCRIPTS/compare/sending.sh"

usage() {
    cat <<'END'
usage: scripts/compare.sh [wire|lab|sending|all] [OPTIONS]

options:
  --rounds N       runs of each scanner (5)
  --scanners LIST  which ones (xdp,packet,masscan,zmap)
  --nmap           nmap too, in the lab, on the first /24 only: it takes minutes for more
  --tries N        portreeve's tries in the lab; masscan and zmap send one probe a target, so that 1 is like for like (1)
  --network NET    the lab's network (198.18.0.0/16)
  --ports N        ports on the wire, of each address of 198.18.0.0/15 (32)
  --results FILE   adds a line for each run: SETTING SCANNER SECONDS KPPS OPEN% CLASSIFIED%
  --portreeve PATH, --examples DIR   the programs (built by cargo when not given)
END
}

die() {
    printf 'compare.sh: %s\n' "$*" >&2
    exit 2
}

parse_options() {
    setting=all rounds=5 tries=1 network=198.18.0.0/16 ports=32 results=/dev/null portreeve='' examples=''
    scanners='xdp packet masscan zmap'
    case ${1:-} in wire | lab | sending | all) setting=$1 && shift ;; esac
    while (($# > 0)); do
        case $1 in
            --nmap) scanners+=' nmap' && shift ;;
            --scanners) (($# > 1)) || die "$1 needs a value" && scanners=${2//,/ } && shift 2 ;;
            --rounds | --tries | --network | --ports | --results | --portreeve | --examples)
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
    [[ $ports =~ ^[1-9][0-9]{0,2}$ ]] || die "--ports $ports: not from 1 to 999"
    [[ $results == /* ]] || results=$PWD/$results
}

# Leaves out what cannot run here, and says so.
keep_runnable() {
    local scanner kept=''
    for scanner in $scanners; do
        case $scanner in
            xdp) ((EUID == 0)) || { printf 'xdp needs root and is left out\n' >&2 && continue; } ;;
            packet) ;;
            masscan | zmap | nmap)
                command -v "$scanner" >/dev/null || { printf '%s is not installed and is left out\n' "$scanner" >&2 && continue; }
                ;;
            *) die "no scanner is called $scanner" ;;
        esac
        kept+=" $scanner"
    done
    scanners=$kept
}

find_programs() {
    local target=${CARGO_TARGET_DIR:-$REPO/target}
    if [[ -z $portreeve || -z $examples ]]; then
        (cd -- "$REPO" && cargo build --quiet --release --bin portreeve --examples)
        portreeve=${portreeve:-$target/release/portreeve} examples=${examples:-$target/release/examples}
    fi
    portreeve=$(readlink -f -- "$portreeve") examples=$(readlink -f -- "$examples")
    local program
    for program in "$portreeve" "$examples"/lab-{fleet,ring,responder}; do
        [[ -x $program ]] || die "cannot execute $program"
    done
}

# The version with the fewest words: the first line of what each says of itself.
show_versions() {
    local scanner
    printf '%s cores, Linux %s\n' "$(nproc)" "$(uname -r)"
    "$portreeve" --version
    for scanner in $scanners; do
        case $scanner in
            xdp | packet) ;;
            # Says it in the middle, and exits with 1.
            masscan) { masscan --version || :; } | grep -m 1 -i version ;;
            *) "$scanner" --version 2>&1 | head -n 1 ;;
        esac
    done
}

# The settings run inside of namespaces, in a shell of their own, which is told all of this.
tell() {
    export rounds tries ports results portreeve examples scanners
}

# --- figures ---------------------------------------------------------------------------------------------------

# note SETTING SCANNER SECONDS KPPS OPEN% CLASSIFIED%: a run, for the table and for the results; - where it has none.
note() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@" | tee -a "$runs" >>"$results"
    printf '%-8s %-8s %8s s %8s kpps  open %6s %%  classified %6s %%\n' "$@"
}

# The middle one of a column of a scanner's runs.
median_of() {
    awk -F'\t' -v scanner="$1" -v column="$2" '$2 == scanner { print $column }' "$runs" | sort -g |
        awk '{ value[NR] = $1 } END { if (NR) print (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2 }'
}

# table COLUMN: the medians of all scanners, and how many times as fast portreeve's engines are by this column.
table() {
    local scanner engine value
    printf '\n%-8s %10s %10s %12s %14s' scanner seconds kpps 'open %' 'classified %'
    for engine in xdp packet; do [[ -z $(median_of "$engine" "$1") ]] || printf ' %16s' "$engine is"; done
    printf '\n'
    while read -r scanner; do
        printf '%-8s %10s %10s %12s %14s' "$scanner" "$(median_of "$scanner" 3)" "$(median_of "$scanner" 4)" \
            "$(median_of "$scanner" 5)" "$(median_of "$scanner" 6)"
        for engine in xdp packet; do
            value=$(median_of "$engine" "$1")
            [[ -z $value ]] || awk -v own="$value" -v other="$(median_of "$scanner" "$1")" -v column="$1" \
                'BEGIN { printf " %10.2f x fast", column == 3 ? other / own : own / other }'
        done
        printf '\n'
    done < <(cut -f 2 "$runs" | awk '!seen[$0]++')
}

# masscan waits in its receive loop for a packet before it looks whether its time is over; in a lab where nobody but the
# scanner speaks that packet never comes. Datagrams to a closed port of the router, each answered by ICMP, end the wait.
beside_a_trickle() {
    local trickle
    # shellcheck disable=SC2016 # it is that shell which knows its parent
    "$BASH" -c 'while kill -0 $PPID; do echo >/dev/udp/192.0.2.1/9; sleep 0.05; done' 2>/dev/null &
    trickle=$!
    "$@" || :
    kill "$trickle" 2>/dev/null || :
    wait "$trickle" 2>/dev/null || :
}

main() {
    case ${1:-} in
        inside-*) "${1//-/_}" && return ;;
    esac
    parse_options "$@"
    keep_runnable
    find_programs
    show_versions
    tell
    local each
    for each in wire lab sending; do
        [[ $setting != "$each" && $setting != all ]] || "compare_$each"
    done
}

main "$@"
