#!/usr/bin/env bash
# shell.sh - shellcheck over every script.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$SEER_SOURCE"
command -v shellcheck >/dev/null || { echo "skipped: no shellcheck"; exit 77; }
mapfile -t scripts < <(git ls-files '*.sh' .ci/run deploy/completions/seer.bash deploy/debian/postinst deploy/debian/postrm deploy/slurm/server.sbatch deploy/slurm/worker.sbatch)
shellcheck "${scripts[@]}"
# Neither line fails a test: errexit passes over what is negated, and over all but the last of a list.
# shellcheck disable=SC2016 # awk's own
if git ls-files '*.bats' | xargs awk '
        /^@test/ { in_test = 1 }
        /^}/ { in_test = 0 }
        in_test && (/^    ! / || /^    \[.*\] && \[/) && !/ \|\| / { print FILENAME ":" FNR ": " $0; found = 1 }
        END { exit !found }'; then
    echo "these assert nothing: append '|| false', or make two lines of it" >&2
    exit 1
fi
