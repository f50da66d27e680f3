#!/usr/bin/env bash
# shell.sh - shellcheck over every script.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$SEER_SOURCE"
command -v shellcheck >/dev/null || { echo "skipped: no shellcheck"; exit 77; }
mapfile -t scripts < <(git ls-files '*.sh' .ci/run deploy/completions/seer.bash deploy/debian/postinst deploy/debian/postrm deploy/slurm/server.sbatch deploy/slurm/worker.sbatch)
shellcheck "${scripts[@]}"
