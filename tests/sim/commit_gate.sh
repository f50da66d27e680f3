#!/bin/sh
# commit_gate.sh - checks the Spin model of the commit gate exhaustively, and that without it the model fails.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
set -eu

if ! command -v spin > /dev/null; then
    echo "skipped: spin is not installed (Debian package spin)"
    exit 77
fi

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# check BOUNDS: prints pan's report. Bounds are small so that the search is exhaustive within seconds.
check() {
    # shellcheck disable=SC2086 # the bounds are several words on purpose
    spin -a $1 "$here/commit_gate.pml" > /dev/null
    ${CC:-cc} -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c
    ./pan -m2000000 -n
}

for bounds in "-DN=2 -DS=2 -DMAXG=3 -DWCR=1 -DCCR=1" "-DN=3 -DS=1 -DMAXG=2 -DWCR=1 -DCCR=1"; do
    echo "with the gate: $bounds"
    check "$bounds" > report
    grep -E "errors:|states, stored" report
    grep -q "errors: 0" report
    if grep -q "max search depth too small" report; then
        echo "the search was not exhaustive: raise -m"
        exit 1
    fi
done

echo "without the gate: -DNOGATE"
check "-DNOGATE -DN=2 -DS=2 -DMAXG=3 -DWCR=1 -DCCR=1" > report
grep -E "errors:" report
if grep -q "errors: 0" report; then
    echo "the model without the gate must fail and does not"
    exit 1
fi
