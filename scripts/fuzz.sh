#!/usr/bin/env bash
# Coverage-guided fuzzing with libFuzzer and the address sanitizer, of what strangers can send and users can type: the
# targets of tests/fuzz/bodies.rs. Nothing is sent anywhere. Needs a C++ compiler; the compiler's unstable flags are
# unlocked for this build only, so that no other toolchain is needed.
#
# Findings go to the work directory; put them into tests/fuzz/corpus/TARGET when they are fixed, and `cargo test` will
# try them for ever. Without --keep the corpora in the repository stay as they are.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
REPO=$(dirname -- "$(dirname -- "$SELF")")
FUZZ=$REPO/tests/fuzz
WORK=$(realpath -m -- "${CARGO_TARGET_DIR:-$REPO/target}")/fuzz
TRIPLE=x86_64-unknown-linux-gnu

# No input is longer than a jumbo frame, and none takes longer than this many seconds.
MAX_LEN=4096
INPUT_LIMIT=10
MEMORY_MIB=2048

usage() {
    cat <<'END'
usage: scripts/fuzz.sh [--seconds N] [--keep] [TARGET...]

options:
  --seconds N  how long each target runs (60)
  --keep       put what was found into the corpora of the repository, as little of it as reaches as many branches
  --list       name the targets and end

Targets run one after the other; without one, all of them do.
END
}

targets() {
    (cd "$FUZZ/targets" && for file in *.rs; do echo "${file%.rs}"; done)
}

build() {
    local flags=(
        --cfg fuzzing
        -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
        -Zsanitizer=address
        -Ccodegen-units=1
    )
    # A target triple keeps the flags away from build scripts and macros.
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" cargo build --quiet --release \
        --manifest-path "$FUZZ/Cargo.toml" --target "$TRIPLE" --target-dir "$WORK"
}

# Runs one target from the repository's corpus and its own earlier finds; prints what libFuzzer counts at the end.
fuzz() {
    local target=$1 seconds=$2 program=$WORK/$TRIPLE/release/$1 found=$WORK/found/$1 log=$WORK/$1.log
    mkdir -p "$found" "$WORK/artifacts/$target"
    local status=0
    ASAN_OPTIONS=detect_leaks=0 timeout $((seconds + 60)) "$program" \
        -max_total_time="$seconds" -max_len="$MAX_LEN" -timeout="$INPUT_LIMIT" -rss_limit_mb="$MEMORY_MIB" \
        -print_final_stats=1 -artifact_prefix="$WORK/artifacts/$target/" \
        "$found" "$FUZZ/corpus/$target" >"$log" 2>&1 || status=$?
    if [[ $status -ne 0 ]]; then
        tail -n 40 "$log"
        printf '%s: FAILED with status %d; see %s and %s\n' "$target" "$status" "$log" "$WORK/artifacts/$target" >&2
        return 1
    fi
    local runs features
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    features=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)
    printf '%-12s %12s runs in %d s, %s, no findings\n' "$target" "$runs" "$seconds" "$features"
}

# Puts as little of the finds into the repository's corpus as reaches every branch that they reach, however often; what is
# there stays.
keep() {
    local target=$1 program=$WORK/$TRIPLE/release/$1
    ASAN_OPTIONS=detect_leaks=0 timeout 300 "$program" -set_cover_merge=1 -use_counters=0 -max_len="$MAX_LEN" \
        "$FUZZ/corpus/$target" "$WORK/found/$target" >"$WORK/$target.merge.log" 2>&1
    printf '%-12s %12s files in the corpus\n' "$target" "$(find "$FUZZ/corpus/$target" -type f | wc -l)"
}

main() {
    local seconds=60 keep=false chosen=()
    while [[ $# -gt 0 ]]; do
        case $1 in
            --seconds) seconds=${2:?--seconds takes a number} && shift 2 ;;
            --keep) keep=true && shift ;;
            --list) targets && return ;;
            -h | --help) usage && return ;;
            -*) usage >&2 && return 2 ;;
            *) chosen+=("$1") && shift ;;
        esac
    done
    [[ ${#chosen[@]} -gt 0 ]] || mapfile -t chosen < <(targets)
    local target
    for target in "${chosen[@]}"; do
        if [[ ! -f $FUZZ/targets/$target.rs ]]; then
            printf 'there is no target %s; --list names them\n' "$target" >&2
            return 2
        fi
    done
    build
    local failed=0
    for target in "${chosen[@]}"; do
        fuzz "$target" "$seconds" || failed=1
        ! $keep || keep "$target" || failed=1
    done
    return "$failed"
}

main "$@"
