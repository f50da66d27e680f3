#!/usr/bin/env bash
# units.sh - the systemd units are sound, and as closed as they claim to be.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
# Tenths; 3.0 is where systemd begins to call a unit exposed less well.
threshold=30

command -v systemd-analyze >/dev/null || exit 77
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
for unit in server worker loader; do
    # As installed, but for the place of the programs.
    sed "s,/usr/bin/,$SEER_BIN/," "$SEER_SOURCE/deploy/systemd/seer-$unit@.service" >"$folder/seer-$unit@.service"
    cp "$folder/seer-$unit@.service" "$folder/seer-$unit@0.service"
    systemd-analyze verify --man=no "$folder/seer-$unit@0.service"
    systemd-analyze security --offline=true --threshold=$threshold --no-pager "$folder/seer-$unit@0.service" >"$folder/$unit.txt" || {
        cat "$folder/$unit.txt"
        exit 1
    }
    tail -1 "$folder/$unit.txt"
done
