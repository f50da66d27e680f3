#!/usr/bin/env bash
# mpirun.sh - starts workers on the hosts of an Open MPI host file, for a server that runs already.
#
#   deploy/mpirun.sh --hostfile FILE --workers N --server ADDRESS [--key FILE] [--device cuda|cpu]
#
#   --device cuda   the worker with local rank R of a host takes cuda:R (default); its slots in FILE are its GPUs
#
# mpirun only starts them, over ssh, and passes the drain on: SIGTERM or Ctrl-C to this script drains all. Workers are independent of each other: one
# that dies is started again (--respawn), one that is drained leaves the others alone. Programs and key lie at the same place
# on every host ($SEER_BIN, else $PATH).
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

usage() {
    sed -n '4p' "$0" | cut -c3-
    exit "$1"
}

hostfile='' workers='' server='' key=() device=cuda
while [ $# -gt 0 ]; do
    case $1 in
    --hostfile) hostfile=${2-} && shift ;;
    --workers) workers=${2-} && shift ;;
    --server) server=${2-} && shift ;;
    --key) key=(--key "${2-}") && shift ;;
    --device) device=${2-} && shift ;;
    -h | --help) usage 0 ;;
    *)
        echo "mpirun.sh: unknown option '$1'" >&2
        usage 2 >&2
        ;;
    esac
    shift || { echo 'mpirun.sh: the last option needs a value' >&2; exit 2; }
done
if [ ! -f "$hostfile" ] || [[ ! $workers =~ ^[1-9][0-9]*$ ]] || [ -z "$server" ]; then
    usage 2 >&2
fi
[ "$device" = cuda ] || [ "$device" = cpu ] || { echo "mpirun.sh: --device is cuda or cpu, not '$device'" >&2; exit 2; }

# The shell on each host knows its local rank. mpirun answers SIGTERM by killing after a moment, but passes SIGUSR1 on, to all
# of a rank: to the shell that is the drain, to the worker nothing. It may take as long as a step.
# shellcheck disable=SC2016 # expanded there
start='device=$1; [ "$device" = cpu ] || device=cuda:$OMPI_COMM_WORLD_LOCAL_RANK
    trap "kill -TERM \$worker" USR1
    (trap "" USR1; exec "$2" --device "$device" --name "$(hostname)-$OMPI_COMM_WORLD_LOCAL_RANK" --respawn "${@:3}") &
    worker=$!
    while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done
    exit "$code"'
# A process group of its own: Ctrl-C in a terminal is for this script. A drained or lost worker is no reason to end the others.
set -m
mpirun --hostfile "$hostfile" -n "$workers" --allow-run-as-root --bind-to none --tag-output \
    --mca orte_abort_on_non_zero_status 0 --mca orte_allowed_exit_without_sync 1 \
    -x OMP_WAIT_POLICY=passive \
    bash -c "$start" worker "$device" "${SEER_BIN:+$SEER_BIN/}seer-worker" --server "$server" "${key[@]}" &
started=$!
trap 'kill -USR1 "$started"' TERM INT
code=0
while kill -0 "$started" 2>/dev/null; do
    wait "$started" && code=0 || code=$?
done
exit "$code"
