#!/bin/sh
# remote_worker.sh - seer-worker as on another host: it sees no store, and is told of the loaders.
#
# Stands in for seer-worker in the folder of programs of a run; SEER_CHAOS_WORKER is the real one, SEER_CHAOS_STORE
# what its mount namespace covers up, SEER_CHAOS_LOADERS its options.
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2086 # expanded inside; one word per option
exec unshare --mount sh -c 'mount -t tmpfs everseer-chaos "$SEER_CHAOS_STORE" && exec "$SEER_CHAOS_WORKER" "$@"' \
    seer-worker "$@" $SEER_CHAOS_LOADERS
