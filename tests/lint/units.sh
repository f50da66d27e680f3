#!/usr/bin/env bash
# units.sh - the systemd units are sound, and as closed as they claim to be.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
# Tenths; 3.0 is where systemd begins to call a unit exposed less well.
threshold=30

command -v systemd-analyze >/dev/null || exit 77
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
for name in seer-server@ seer-worker@ seer-loader@; do
    unit=$folder/${name/@/@0}.service
    # As installed, but for the place of the programs; an instance is beside its template.
    sed "s,/usr/bin/,$SEER_BIN/," "$SEER_SOURCE/deploy/systemd/$name.service" >"$unit"
    [[ $name != *@ ]] || cp "$unit" "$folder/$name.service"
    systemd-analyze verify --man=no "$unit"
    systemd-analyze security --offline=true --threshold=$threshold --no-pager "$unit" >"$folder/found" || {
        cat "$folder/found"
        exit 1
    }
    tail -1 "$folder/found"
done
