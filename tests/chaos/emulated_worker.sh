#!/bin/sh
# emulated_worker.sh - seer-worker with a GPU, one that is emulated on the host as a rule.
#
# Stands in for seer-worker in the folder of programs of a run; SEER_CHAOS_WORKER is the real one.
# SPDX-License-Identifier: Apache-2.0
exec "$SEER_CHAOS_WORKER" "$@" --device "$SEER_CHAOS_DEVICE"
