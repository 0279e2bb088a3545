#!/usr/bin/env bash
# What `portreeve watch` must hold, at full size: what `cargo test` tries on a small scale, and what takes too long for
# it. Prints one line for each point, with the figure. Makes its own networks, as root or as an ordinary user.
set -euo pipefail

REPO=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
POINTS=(opens kills inject born burst idle growth clock full readonly mistakes)

# The threads that `inject` kills the daemon in. messenger2 has nothing to tell there: nothing is wrong with the daemon.
THREADS=(main0 watch0 messenger0 messenger1 messenger3)

usage() {
    cat <<'END'
usage: scripts/watch.sh [POINT...|all]

  opens     a service opens and closes at a random moment somewhere among 65,536 x 6 targets, 100 times (6 min)
  kills     kill -9 at 200 random moments, while services open and close and the receiver is slow and refuses (4 min)
  inject    kill -9 at every database write, fsync, write and send of each thread in turn, by strace (6 minutes)
  born      the same from the first moment of a database to its first alert (8 minutes)
  burst     10,000 new exposures in one sweep
  idle      what a /24 x 6 at 60 s costs in processor time and memory (5 minutes)
  growth    memory over ten minutes of a sweep a second, with something to tell in every other one
  clock     the time of day set by -1 s, +-1 h and +-1 y and back, by libfaketime: the machine's clock is left alone
  full      the database and a sink on a file system that is full for a while
  readonly  a database that is read-only, or on a failing disk, for a while: by strace, and by a remount at its start
  mistakes  a reload with each of eleven kinds of mistake

Without a point, or with `all`, all of them. The exit status is 0 if all hold. They need what scripts/lab.sh needs, and
python3, strace and libfaketime (Debian: `python3 strace faketime`).

Smaller, while something is looked for: WATCH_KILLS, WATCH_OPENS, WATCH_IDLE and WATCH_GROWTH (seconds), WATCH_INTERVAL
(of opens), WATCH_SEED, and WATCH_DIR, where the logs, the databases and what the receivers got are kept.
END
}

# Runs a point in a lab of its own, in which nothing is open but for what the point opens, or this many.
lab() {
    local point=$1 network=$2 open=$3 dir=$kept/${4:-$1}
    mkdir -p -- "$dir"
    scripts/lab.sh run --network "$network" --open "$open" --drop none --reject none --dir "$dir" -- \
        timeout --kill-after 10 1500 python3 scripts/watch-lab.py "$point"
}

# Each thread in a lab of its own, all at once: most of the time they wait for the next sweep.
inject() {
    local thread pids=() pid status=0
    for thread in "${THREADS[@]}"; do
        WATCH_THREADS=$thread lab inject 198.18.0.0/28 0 "inject-$thread" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || status=1; done
    return "$status"
}

run_point() {
    case $1 in
        opens) lab opens 198.18.0.0/16 3000 ;;
        kills) lab kills 198.18.0.0/27 0 ;;
        inject) inject ;;
        burst) lab burst 198.18.0.0/20 10000 ;;
        idle) lab idle 198.18.0.0/24 0 ;;
        born | growth | clock | full | readonly | mistakes) lab "$1" 198.18.0.0/28 0 ;;
        *) usage >&2 && return 2 ;;
    esac
}

main() {
    [[ ${1:-} != --help && ${1:-} != -h ]] || { usage && return; }
    [[ ${1:-} != all ]] || set --
    cd -- "$REPO"
    cargo build --quiet --release --bin portreeve --example lab-fleet
    PORTREEVE=$(readlink -f -- "${CARGO_TARGET_DIR:-target}/release/portreeve")
    export PORTREEVE
    kept=${WATCH_DIR:-}
    if [[ -z $kept ]]; then
        kept=$(mktemp -d)
        trap 'rm -rf -- "$kept"' EXIT
    fi
    local point failed=()
    for point in "${@:-${POINTS[@]}}"; do
        run_point "$point" || failed+=("$point")
    done
    ((${#failed[@]} == 0)) || { printf 'these do not hold: %s\n' "${failed[*]}" >&2 && return 1; }
}

main "$@"
