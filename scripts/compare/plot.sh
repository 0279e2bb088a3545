#!/usr/bin/env bash
# Draws what scripts/compare.sh --results has written: the median of each scanner in each setting, and beside it the share
# of the targets whose state was said.
#
#   scripts/compare/plot.sh RESULTS PICTURE.svg
#
# Needs gnuplot.
set -euo pipefail

(($# == 2)) || { printf 'usage: scripts/compare/plot.sh RESULTS PICTURE.svg\n' >&2 && exit 2; }

# medians SETTING COLUMN: a line for each scanner, in the order in which they first came: NAME MEDIAN CLASSIFIED%
medians() {
    local scanner column
    awk -F'\t' -v setting="$1" '$1 == setting && !seen[$2]++ { print $2 }' "$results" | while read -r scanner; do
        printf '%s' "$scanner"
        for column in "$2" 6; do
            awk -F'\t' -v setting="$1" -v scanner="$scanner" -v column="$column" \
                '$1 == setting && $2 == scanner { print $column }' "$results" | sort -g |
                awk '{ value[NR] = $1 } END { printf " %s", value[int((NR + 1) / 2)] }'
        done
        printf '\n'
    done
}

results=$1 picture=$2
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
medians wire 4 >"$work/wire"
medians lab 3 >"$work/lab"
medians veth 4 >"$work/veth"
medians sink 4 >"$work/sink"

gnuplot <<END
set terminal svg size 900,620 background rgb 'white' font 'sans-serif,12'
set output '$picture'
set multiplot layout 2,2 margins 0.1,0.98,0.08,0.92 spacing 0.12,0.18
unset key
set style fill solid 0.9 noborder
set boxwidth 0.6
set xtics nomirror scale 0
set ytics nomirror
set border 3
set yrange [0:*]
set offsets 0.5,0.5,graph 0.2,0
colour(name) = name eq 'xdp' ? 0x0b6e4f : name eq 'packet' ? 0x5fb49c : 0x9aa0a6
draw = "using 0:2:(colour(strcol(1))):xtic(1) with boxes lc rgb variable"
set title 'There and back, all answered by XDP'
set ylabel '1000 targets a second'
plot '$work/wire' @draw, '' using 0:2:(sprintf("%g\n%.1f %% said", \$2, \$3)) with labels offset 0,1.2
set title 'A /16 x 6 ports, real TCP stack'
set ylabel 'seconds (less is better)'
plot '$work/lab' @draw, '' using 0:2:(sprintf("%g s\n%.1f %% said", \$2, \$3)) with labels offset 0,1.2
set title 'Sending only, into a veth'
set ylabel '1000 frames a second'
plot '$work/veth' @draw, '' using 0:2:(sprintf('%g', \$2)) with labels offset 0,0.7
set title 'Sending only, into an ifb, one thread'
plot '$work/sink' @draw, '' using 0:2:(sprintf('%g', \$2)) with labels offset 0,0.7
END
