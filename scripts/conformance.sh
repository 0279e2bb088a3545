#!/usr/bin/env bash
# What this program writes, before judges that nobody here has written: sweeps a lab that has hostile names and banners in
# it, watches it too, and gives every format to a program that knows that format and does not know this program.
#
# Exit status: 0 every check has passed, 1 some have not, 2 the judges could not judge.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
SCRIPTS=$(dirname -- "$SELF")
REPO=$(dirname -- "$SCRIPTS")

# The judges. None of them is optional: a check that nobody made has not passed.
JUDGES=(ocsf-json-schema==1.2.0 jsonschema==4.26.0 pycef==1.11 syslog-rfc5424-parser==0.3.2)
# The data models alone are needed of this one, and nothing that it depends on.
MODELS=(pytest-splunk-addon==7.0.5)

# No command in the lab may take longer.
LIMIT=60

usage() {
    cat <<'END'
usage: scripts/conformance.sh [OPTIONS]

options:
  --self-test       change one field in a good record of each format, and fail unless its judge says no; needs no lab
  --venv DIR        where the judges from PyPI are or will be installed (target/conformance)
  --dir DIR         keep what the program wrote in DIR
  --portreeve PATH, --fleet PATH   the programs (built by cargo when not given)
END
}

die() {
    printf 'conformance.sh: %s\n' "$*" >&2
    exit 2
}

parse_options() {
    portreeve='' fleet='' dir='' venv='' self_test=no
    while (($# > 0)); do
        case $1 in
            --self-test) self_test=yes && shift ;;
            --portreeve | --fleet | --dir | --venv)
                (($# > 1)) || die "$1 needs a value"
                printf -v "${1#--}" %s "$2"
                shift 2
                ;;
            -h | --help) usage && exit 0 ;;
            *) die "unknown option $1 (see: scripts/conformance.sh --help)" ;;
        esac
    done
    venv=${venv:-${CARGO_TARGET_DIR:-$REPO/target}/conformance}
}

find_programs() {
    local target=${CARGO_TARGET_DIR:-$REPO/target}
    if [[ -z $portreeve || -z $fleet ]]; then
        (cd -- "$REPO" && cargo build --quiet --bin portreeve --example lab-fleet)
        portreeve=${portreeve:-$target/debug/portreeve} fleet=${fleet:-$target/debug/examples/lab-fleet}
    fi
    portreeve=$(readlink -f -- "$portreeve") fleet=$(readlink -f -- "$fleet")
    [[ -x $portreeve && -x $fleet ]] || die "cannot execute $portreeve and $fleet"
}

install_judges() {
    local wanted="${JUDGES[*]} ${MODELS[*]}"
    if [[ ! -f $venv/judges || $(<"$venv/judges") != "$wanted" ]]; then
        python3 -m venv --clear "$venv" || die "cannot make a venv; install python3 and python3-venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "${JUDGES[@]}" ||
            die "cannot install ${JUDGES[*]} from PyPI"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${MODELS[@]}" ||
            die "cannot install ${MODELS[*]} from PyPI"
        printf '%s' "$wanted" >"$venv/judges"
    fi
    command -v promtool >/dev/null || ((EUID != 0)) || {
        apt-get update -qq >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends prometheus >/dev/null || :
    }
    [[ -f /usr/share/nmap/nmap.dtd ]] && command -v ndiff xmllint >/dev/null || ((EUID != 0)) || {
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends nmap ndiff libxml2-utils \
            >/dev/null || :
    }
    command -v promtool >/dev/null || die "promtool is missing; install Debian's package prometheus"
}

# --- inside the lab --------------------------------------------------------------------------------------------

# Formats of sweeps, and what each is written to.
FORMATS=(jsonl ecs ocsf hec cef csv defectdojo prometheus nmap masscan)

inside() {
    local portreeve=$1 format server
    cd -- "$LAB_DIR"
    ip netns exec fleet python3 "$SCRIPTS/conformance/server.py" >server.log 2>&1 &
    server=$!
    wait_for ready server.log
    python3 "$SCRIPTS/conformance/server.py" --inventory >hostile.json
    python3 "$SCRIPTS/conformance/server.py" --allowlist >allow.toml
    for format in "${FORMATS[@]}"; do
        sweep "$format" sweep
    done
    # And one that does not see everything, which must not look like one that does.
    for format in ocsf defectdojo prometheus; do
        sweep "$format" stopped --rate 30
    done
    control jsonl
    for format in ecs ocsf hec cef; do
        control "$format"
    done
    watch_lab
}

# A control run that tells what happens in a format. What it found is in the evidence.
control() {
    local format=$1 status=0
    timeout "$LIMIT" "$portreeve" control 198.18.0.0/28 --ports 22,6379,7001-7009 --banner --tries 2 --unsigned \
        --inventory hostile.json --inventory-address ip --inventory-name name --allowlist allow.toml \
        --authorization $'TICKET "1" | a=b' --format "$format" --out "evidence.$format.d" \
        </dev/null >"control.$format" 2>"control.$format.log" || status=$?
    case $status in
        0 | 1 | 3) ;;
        *) die "the control run as $format failed with $status: $(tail -n 3 "control.$format.log")" ;;
    esac
}

# Waits until a file has this text.
wait_for() {
    local end=$((SECONDS + LIMIT))
    until grep -qF -- "$1" "$2" 2>/dev/null; do
        ((SECONDS < end)) || die "$2 has no $1 after $LIMIT s: $(tail -n 3 "$2" 2>&1 | cut -c 1-500)"
        sleep 0.2
    done
}

# 0, 1 and 3 are endings of a sweep. One that is to be stopped gets a signal in the middle of it.
sweep() {
    local format=$1 name=$2 status=0 limit=(timeout "$LIMIT")
    shift 2
    [[ $name != stopped ]] || limit=(timeout --signal=INT 4)
    "${limit[@]}" "$portreeve" sweep 198.18.0.0/27 198.18.0.64/30 --ports 22,6379,7001-7009 --banner --states all \
        --inventory hostile.json --inventory-address ip --inventory-name name --allowlist allow.toml \
        --authorization $'TICKET "1" | a=b' --tries 2 --format "$format" --output "$name.$format" "$@" \
        </dev/null >"$name.$format.log" 2>&1 || status=$?
    case $status in
        0 | 1 | 3 | 124) ;;
        *) die "the sweep as $format failed with $status: $(tail -n 3 "$name.$format.log")" ;;
    esac
}

# A daemon that has a sink in each format, hears of something that opens, and of something that closes again.
watch_lab() {
    local daemon format
    {
        printf '[scope]\nnetworks = ["198.18.0.0/28"]\nowner = "conformance"\n'
        printf '[sweep]\nports = [6379, 7001, 7002]\ninterval = "3s"\nbanner = true\ntries = 2\n'
        printf '[heartbeat]\ninterval = "10s"\n'
        printf '[store]\npath = "%s/portreeve.db"\n' "$PWD"
        printf '[[expect]]\nname = "down \\"x\\" | a=b"\nhosts = ["198.18.0.9"]\nports = [7002]\nfailures = 1\n'
        for format in jsonl ecs ocsf hec cef; do
            printf '[[sink]]\nname = "%s"\nkind = "file"\nformat = "%s"\npath = "%s"\n' \
                "$format" "$format" "$PWD/watch.$format"
        done
        printf '[route]\n'
        for format in security health own events; do
            printf '%s = ["jsonl", "ecs", "ocsf", "hec", "cef"]\n' "$format"
        done
    } >watch.toml
    "$portreeve" watch --config watch.toml </dev/null >watch.log 2>&1 &
    daemon=$!
    wait_for '"transition":"firing"' watch.jsonl
    # What the hostile server had open is closed from now on.
    kill "$server" 2>/dev/null || :
    kill -HUP "$daemon"
    wait_for '"event":"config.loaded"' watch.jsonl
    wait_for '"transition":"resolved"' watch.jsonl
    wait_for '"kind":"outage"' watch.jsonl
    kill -TERM "$daemon"
    wait "$daemon" || die "the watch failed: $(tail -n 3 watch.log)"
}

# --- the judgement ---------------------------------------------------------------------------------------------

main() {
    if [[ ${1:-} == inside ]]; then
        shift
        inside "$@"
        return
    fi
    parse_options "$@"
    install_judges
    if [[ $self_test == yes ]]; then
        exec "$venv/bin/python" "$SCRIPTS/conformance/judge.py" --self-test
    fi
    find_programs
    if [[ -z $dir ]]; then
        dir=$(mktemp -d)
        trap 'rm -rf -- "$dir"' EXIT
    fi
    "$SCRIPTS/lab.sh" run --network 198.18.0.0/24 --ports 22,6379 --open 30 --fleet "$fleet" --dir "$dir" -- \
        "$BASH" "$SELF" inside "$portreeve"
    "$portreeve" schema >"$dir/schema.json"
    "$venv/bin/python" "$SCRIPTS/conformance/judge.py" "$dir"
}

main "$@"
