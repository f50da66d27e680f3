#!/usr/bin/env bash
# format.sh - .clang-format decides; this only asks it.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$SEER_SOURCE"
command -v clang-format >/dev/null || { echo "skipped: no clang-format"; exit 77; }
git ls-files -z '*.c' '*.h' '*.cu' | xargs -0 clang-format --dry-run --Werror
