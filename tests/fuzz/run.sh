#!/usr/bin/env bash
# run.sh - runs one fuzz target for a few seconds: run.sh PROGRAM FOUND CORPUS...
#
# SEER_TEST_LONG=1: for two minutes. SEER_TEST_SEED=N: with that seed. What kills the target is left in the
# folder FOUND, where libFuzzer also keeps the inputs that reached new code.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
program=$1 found=$2
shift 2
mkdir -p "$found"
seconds=5
[ -z "${SEER_TEST_LONG-}" ] || seconds=120
exec "$program" -seed="${SEER_TEST_SEED:-1}" -max_total_time="$seconds" -artifact_prefix="$found/" "$found" "$@"
