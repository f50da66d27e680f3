#!/usr/bin/env bats
# launchers.bats - the job scripts of Slurm and the start by mpirun, run as their managers would run them.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run" pids=()
}

teardown() {
    local pid
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || :
    done
}

free_port() { # the next one is free too
    python3 - <<'P'
import socket
while True:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        try:
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except (OSError, OverflowError):
            continue
        print(first.getsockname()[1])
        break
P
}

# As slurmd does: the script is a process of its own that gets the signals.
job() { # ID SCRIPT
    SLURM_JOB_ID=$1 bash "$SEER_SOURCE/deploy/slurm/$2" >"$BATS_TEST_TMPDIR/job-$1.log" 2>&1 3>&- &
    pids+=($!)
}

ended_with() { # PID CODE
    is_gone "$1" && wait "$1" && code=0 || code=$?
    [ "$code" -eq "$2" ]
}

workers_are() { # COUNT
    [ "$(seer worker ls --run "$RUN" -o json | jq '.workers | length')" = "$1" ]
}

@test "jobs of Slurm train, one more or less, and go on after the coordinator's job was ended and queued again" {
    sed "/^data:/a\  stores: [\"$BATS_FILE_TMPDIR/train\"]" "$TINY" >"$BATS_TEST_TMPDIR/config.yaml"
    export SEER_RUN=$RUN SEER_SHARED=$BATS_TEST_TMPDIR/shared SEER_CONFIG="$BATS_TEST_TMPDIR/config.yaml" SEER_DEVICE=cpu SEER_HOST=127.0.0.1 TMPDIR=$BATS_TEST_TMPDIR
    SEER_PORT=$(free_port)
    export SEER_PORT
    job 1 server.sbatch
    wait_until 30 test -f "$RUN/server.json"
    job 2 worker.sbatch
    SLURM_ARRAY_JOB_ID=3 SLURM_ARRAY_TASK_ID=7 job 4 worker.sbatch
    wait_until 60 workers_are 2
    seer worker ls --run "$RUN" | grep -q slurm-3-7
    wait_until 60 committed_at_least "$RUN" 3
    # scancel of one, or the end of its time
    kill -TERM "${pids[2]}"
    wait_until 60 ended_with "${pids[2]}" 0
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" "$((before + 2))"
    # Killed with its node, the coordinator's job runs again; the worker has waited for it.
    kill -KILL "${pids[0]}"
    wait_until 30 is_gone "${pids[0]}"
    before=$(committed "$RUN")
    job 1 server.sbatch
    wait_until 60 committed_at_least "$RUN" "$((before + 2))"
    kill -TERM "${pids[3]}"
    wait_until 60 ended_with "${pids[3]}" 0
    wait_until 60 ended_with "${pids[1]}" 0
    local journal journals=()
    for journal in "$BATS_TEST_TMPDIR"/seer-*; do journals+=(--workers "$journal"); done
    audit_is_clean "$RUN" "${journals[@]}"
}

@test "a worker's job says what is missing" {
    SEER_SHARED=$BATS_TEST_TMPDIR/nowhere SLURM_JOB_ID=9 run bash "$SEER_SOURCE/deploy/slurm/worker.sbatch"
    [ "$status" -eq 2 ]
    [[ $output == *'submit server.sbatch first'* ]]
    SLURM_JOB_ID=9 run bash "$SEER_SOURCE/deploy/slurm/worker.sbatch"
    [ "$status" -ne 0 ]
    [[ $output == *SEER_SHARED* ]]
}

@test "mpirun starts workers by a host file, and its end drains them" {
    start_cluster "$RUN" 0
    echo 'localhost slots=2' >"$BATS_TEST_TMPDIR/hosts"
    "$SEER_SOURCE/deploy/mpirun.sh" --hostfile "$BATS_TEST_TMPDIR/hosts" --workers 2 --device cpu \
        --server "$(jq -r .control "$RUN/server.json")" >"$BATS_TEST_TMPDIR/mpirun.log" 2>&1 3>&- &
    pids+=($!)
    wait_until 60 workers_are 2
    wait_until 60 committed_at_least "$RUN" 3
    kill -TERM "${pids[0]}"
    wait_until 60 workers_are 0
    wait_until 60 is_gone "${pids[0]}"
    [ "$(grep -c '"kind":"worker_lost"' "$RUN/events.jsonl")" = 0 ]
    stop_cluster "$RUN"
}

@test "mpirun.sh with a word too many, or too few, says how it is used" {
    run "$SEER_SOURCE/deploy/mpirun.sh" --workers 2
    [ "$status" -eq 2 ]
    [[ $output == *--hostfile* ]]
    run "$SEER_SOURCE/deploy/mpirun.sh" --wokers 2
    [ "$status" -eq 2 ]
    [[ $output == *"unknown option '--wokers'"* ]]
}
