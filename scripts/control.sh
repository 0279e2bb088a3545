#!/usr/bin/env bash
# The control run at its full size: every port of a /24 of the lab (16.7 million targets), killed ten times at random
# moments and resumed, and then held against what the lab knows: time, memory, size, kills, what was found.
#
# usage: scripts/control.sh [PORTREEVE [FLEET]]   release builds, of target/release if nothing is said
#        SEED=N for other moments
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
SCRIPTS=$(dirname -- "$SELF")
TARGET=${CARGO_TARGET_DIR:-$(dirname -- "$SCRIPTS")/target}

inside() {
    local portreeve=$1 kill run status=0 wanted
    cd -- "$LAB_DIR"
    wanted=(control "$LAB_NETWORK" --ports all --out evidence --authorization lab --host-rate none --network-rate none
        --rate 300k --tile 1000000 --unsigned)
    RANDOM=${SEED:-7}
    for kill in $(seq 10); do
        "$portreeve" "${wanted[@]}" >/dev/null 2>>killed.log &
        run=$!
        sleep "$((RANDOM % 12 + 1)).$((RANDOM % 10))"
        kill -KILL "$run" 2>/dev/null || break
        wait "$run" 2>/dev/null || :
    done
    printf '%d kills; now to the end\n' "$kill"
    # 1: it finds what the lab has open.
    /usr/bin/time -f '%e s, %M kB' "$portreeve" "${wanted[@]}" >told 2>resources || status=$?
    tail -n 1 resources
    grep -E '^(verdict|ledger)' told
    ((status == 1)) || { cat told resources && exit 1; }
    printf '%s kB of evidence\n' "$(du -sk evidence | cut -f 1)"
    "$portreeve" control verify evidence | tail -n 1
    diff <(grep '^open ' "$LAB_TRUTH" | cut -d ' ' -f 2,3 | sort) \
        <(tail -n +2 evidence/open.csv | cut -d , -f 3,5 | tr , ' ' | sort)
    printf 'what is open is what the lab has open\n'
    awk -F '"what":"' '{ split($2, what, "\""); count[what[1]]++ } END { for (word in count) print count[word], word }' \
        evidence/journal.jsonl | sort -k 2
}

if [[ ${1:-} == inside ]]; then
    inside "$2"
    exit
fi
portreeve=$(readlink -f -- "${1:-$TARGET/release/portreeve}")
fleet=$(readlink -f -- "${2:-$TARGET/release/examples/lab-fleet}")
"$SCRIPTS/lab.sh" run --network 198.18.0.0/24 --open 60 --ports 22,3306,5432,6379,9200,27017,80,443,8080,40000 \
    --fleet "$fleet" -- "$BASH" "$SELF" inside "$portreeve"
