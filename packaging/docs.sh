#!/usr/bin/env bash
# Writes what the program says about itself: a manual page for each command, and completions for the shells.
#
#   packaging/docs.sh PROGRAM DIRECTORY
set -euo pipefail

if (($# != 2)); then
    sed -n 's/^# \{0,1\}//; 2,4p' "$0" >&2
    exit 2
fi
program=$1 to=$2
# What an earlier version had to say would be packed, too.
rm -rf -- "$to/man" "$to/completions"
mkdir -p -- "$to/completions"
"$program" man --out "$to/man"
"$program" completions bash >"$to/completions/portreeve.bash"
"$program" completions zsh >"$to/completions/_portreeve"
"$program" completions fish >"$to/completions/portreeve.fish"
