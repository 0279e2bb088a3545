#!/usr/bin/env bash
# Compiles the BPF programs beside their sources, or says whether what is committed is what they compile to.
#
#   scripts/bpf.sh          compile
#   scripts/bpf.sh check    compile elsewhere and compare
#
# Needs clang, llvm and libbpf-dev. Compilers differ in what they make of the same source: what is committed comes from
# Debian 12's clang 14.
set -euo pipefail

cd -- "$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"

SOURCES=(src/link/xdp/bpf/probe.bpf.c scripts/lab-responder.bpf.c)

# Nothing of the machine gets into the object: no paths, no debugging information beyond types.
compile() {
    clang -O2 -g -Wall -Werror -target bpf -mcpu=v3 -fdebug-prefix-map="$PWD"=. \
        -I "/usr/include/$(uname -m)-linux-gnu" -c "$1" -o "$2"
    llvm-strip --strip-debug "$2"
}

check() {
    local source work
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' RETURN
    for source in "${SOURCES[@]}"; do
        compile "$source" "$work/object"
        cmp -- "$work/object" "${source%.c}.o" || {
            printf '%s is not what %s compiles to; run scripts/bpf.sh\n' "${source%.c}.o" "$source" >&2
            return 1
        }
    done
}

case ${1:-compile} in
    compile) for source in "${SOURCES[@]}"; do compile "$source" "${source%.c}.o"; done ;;
    check) check ;;
    *) printf 'usage: scripts/bpf.sh [compile|check]\n' >&2 && exit 2 ;;
esac
