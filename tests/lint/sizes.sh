#!/usr/bin/env bash
# sizes.sh - prints the sizes that spoil a codebase and fails on a grown tail (docs/review.md, point 3).
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$SEER_SOURCE"
command -v pmccabe >/dev/null || { echo "skipped: no pmccabe"; exit 77; }

file_max=500 function_max=80
# pmccabe's first column, in which a switch counts once: a row for each kind of message is a table, and a new
# kind is no reason to look at a function again.
complexity_max=15

quantiles() { # NAME: of the numbers on standard input
    sort -n | awk -v name="$1" '{ v[NR] = $1 }
        END { printf "%-22s n %5d  p50 %4d  p90 %4d  max %4d\n", name, NR, v[int((NR + 1) / 2)], v[int(NR * .9 + .5)], v[NR] }'
}

mapfile -t product < <(git ls-files 'common/*.[ch]' 'proto/*.[ch]' 'loader/*.[ch]' 'server/*.[ch]' 'worker/**.[ch]')
wc -l "${product[@]}" | awk '$2 != "total" { print $1 }' | quantiles 'file lines'
pmccabe "${product[@]}" 2>/dev/null >"${TMPDIR:-/tmp}/sizes.$$" || true
trap 'rm -f "${TMPDIR:-/tmp}/sizes.$$"' EXIT
awk '{ print $5 }' "${TMPDIR:-/tmp}/sizes.$$" | quantiles 'function lines'
awk '{ print $1 }' "${TMPDIR:-/tmp}/sizes.$$" | quantiles 'cyclomatic complexity'

status=0
over=$(wc -l "${product[@]}" | awk -v max=$file_max '$2 != "total" && $1 > max { print "file too long:", $0 }')
[ -z "$over" ] || { echo "$over"; status=1; }
over=$(awk -v max=$function_max '$5 > max { print "function too long:", $5, $6, $7 }' "${TMPDIR:-/tmp}/sizes.$$")
[ -z "$over" ] || { echo "$over"; status=1; }
over=$(awk -v max=$complexity_max '$1 > max { print "function too complex:", $1, $6, $7 }' "${TMPDIR:-/tmp}/sizes.$$")
[ -z "$over" ] || { echo "$over"; status=1; }
exit $status
