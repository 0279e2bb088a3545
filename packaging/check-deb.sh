#!/usr/bin/env bash
# Looks at what the package has in it, without installing it: shells and readers of manual pages take what was written
# for them, systemd takes the units, and everything is there. What checks is of Debian: mandoc, man-db, systemd, zsh,
# fish; one that is missing checks nothing, and that is said.
#
#   packaging/check-deb.sh docs DIRECTORY   what packaging/docs.sh has written
#   packaging/check-deb.sh deb FILE         a whole package
set -euo pipefail

packaging=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null || { printf 'not checked, for want of it: %s\n' "$1" && return 1; }
}

# Every page is read without a complaint, and a page that another one names is there.
check_man() {
    local page name said
    has man || return 0
    for page in "$1"/*.1; do
        said=$(LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
        [[ -z $said ]] || fail "$page: $said"
        # Some complaints are of what clap writes and of a title without a date; none of them is seen in the result.
        if has mandoc; then
            said=$(mandoc -T lint -W error "$page" 2>&1) || fail "$page: $said"
        fi
        while read -r name; do
            [[ -e $1/$name.1 ]] || fail "$page names $name(1), and there is none"
        done < <(sed -n 's/^\(portreeve[a-z\\-]*\)(1)$/\1/p' "$page" | tr -d '\134')
    done
}

check_completions() {
    bash -n "$1"
    ! has zsh || zsh -n "$2"
    ! has fish || fish --no-execute "$3"
}

check_docs() {
    check_man "$1/man"
    check_completions "$1/completions/portreeve.bash" "$1/completions/_portreeve" "$1/completions/portreeve.fish"
}

# As it would lie on a machine, with the pages unpacked.
check_deb() {
    local root=$1/root page unit example shown
    dpkg-deb -x "$2" "$root"
    dpkg-deb -e "$2" "$1/control"
    [[ $(cat "$1/control/conffiles") == /etc/portreeve/portreeve.toml ]] || fail 'not all conffiles, or too many'
    mkdir "$1/man"
    for page in "$root"/usr/share/man/man1/*.gz; do
        gunzip -c "$page" >"$1/man/$(basename -- "$page" .gz)"
    done
    check_man "$1/man"
    check_completions "$root/usr/share/bash-completion/completions/portreeve" \
        "$root/usr/share/zsh/vendor-completions/_portreeve" \
        "$root/usr/share/fish/vendor_completions.d/portreeve.fish"
    for unit in portreeve.service portreeve-once.service; do
        unit=$root/usr/lib/systemd/system/$unit
        [[ $(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit") == /usr/bin/portreeve ]] || fail "$unit starts something else"
        ! has systemd-analyze || systemd-analyze security --offline=true --no-pager --threshold=20 "$unit" | tail -n 1
    done
    [[ -x $root/usr/bin/portreeve ]] || fail 'the program is not there'
    # Not asked about: units that are not ours, and that the program is not where it is not installed yet.
    if has systemd-analyze; then
        shown=$(systemd-analyze verify --man=no "$root"/usr/lib/systemd/system/portreeve{.service,-once.timer} 2>&1 |
            grep portreeve | grep -v 'Command /usr/bin/portreeve is not executable' || :)
        [[ -z $shown ]] || fail "$shown"
    fi
    for example in "$root"/usr/share/doc/portreeve/examples/*.toml "$root/etc/portreeve/portreeve.toml"; do
        "$root/usr/bin/portreeve" config check "$example"
    done
    for example in "$packaging"/examples/*; do
        cmp -- "$example" "$root/usr/share/doc/portreeve/examples/$(basename -- "$example")"
    done
    # Only a package of Debian's own has a bug that asks for it.
    ! has lintian || lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$2"
}

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
case "${1-} $#" in
    'docs 2') check_docs "$2" ;;
    'deb 2') check_deb "$work" "$2" ;;
    *) sed -n 's/^# \{0,1\}//; 2,7p' "$0" >&2 && exit 2 ;;
esac
printf '%s: nothing to complain of\n' "$2"
