#!/usr/bin/env bash
# demo.sh - from nothing to features: installs what is missing, builds, and runs `seer demo`, which trains two workers on
# this CPU and says what the features are worth.
#
#   deploy/demo.sh [--grey] [--pictures N] [--steps N] [--keep DIR]      (seer demo --help)
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
for word; do # said now, not when all is built
    case $word in
    --grey | --pictures | --steps | --keep | [!-]*) ;;
    *)
        echo "usage: deploy/demo.sh [--grey] [--pictures N] [--steps N] [--keep DIR]" >&2
        exit 2
        ;;
    esac
done
caller=$PWD
cd "$(dirname "$0")/.."

printf '\npackages\n'
deploy/install-deps.sh build demo

printf '\nbuild\n'
cmake --preset release -B build/demo -DEVERSEER_TESTS=OFF >/dev/null
cmake --build build/demo | tail -n 1

root=$PWD
cd "$caller"
exec "$root/build/demo/bin/seer" demo "$@"
