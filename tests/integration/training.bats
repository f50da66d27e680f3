#!/usr/bin/env bats
# training.bats - the promises of the design, seen from outside: real programs, small model.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run"
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
}

@test "the same seed with one, two and three workers gives the same loss" {
    for workers in 1 2 3; do
        run_cluster "$BATS_TEST_TMPDIR/run$workers" $workers 20 --set server.digest_every_steps=1
        [ "$(committed "$BATS_TEST_TMPDIR/run$workers")" -eq 20 ]
        jq -r .loss "$BATS_TEST_TMPDIR/run$workers/metrics.jsonl" >"$BATS_TEST_TMPDIR/loss$workers"
        audit_is_clean "$BATS_TEST_TMPDIR/run$workers"
        [ "$(jq -s 'map(.world_size) | last' "$BATS_TEST_TMPDIR/run$workers/metrics.jsonl")" -eq $workers ]
    done
    for workers in 2 3; do
        paste "$BATS_TEST_TMPDIR/loss1" "$BATS_TEST_TMPDIR/loss$workers" | awk '
            { d = ($1 - $2) / $1; if (d < 0) d = -d; limit = NR == 1 ? 1e-5 : 1e-3
              if (d > limit) { print "step", NR - 1, "differs by", d; bad = 1 } }
            END { exit bad || NR != 20 }'
    done
}

@test "a worker is drained and one is added while training: nobody restarts, nothing is lost" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 5
    stays=$(pid_of "$RUN" worker-1)
    leaves=$(pid_of "$RUN" worker-2)
    seer worker drain worker-2 --run "$RUN"
    wait_until 30 is_gone "$leaves"
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 5))
    status_is "$RUN" '.workers | map(select(.state == "member")) | length' 1
    server=$(jq -r .control "$RUN/server.json")
    seer-worker --server "$server" --name late >"$BATS_TEST_TMPDIR/late.log" 2>&1 3>&- &
    late=$!
    wait_until 30 status_is "$RUN" '.workers | map(select(.state == "member")) | length' 2
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 5))
    [ "$(pid_of "$RUN" worker-1)" = "$stays" ]
    kill -0 "$stays"
    kill -TERM $late # SIGTERM means drain
    wait $late
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 3))
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
    # Planned changes abort nothing: every step was begun once, and every generation but the first was prepared.
    jq -se 'map(select(.attempt > 0)) == []' "$RUN/metrics.jsonl"
    [ "$(grep -c '"kind":"generation_forming".*prepared=1' "$RUN/events.jsonl")" -ge 3 ]
    [ "$(grep -c '"kind":"generation_forming".*prepared=0' "$RUN/events.jsonl")" -eq 1 ]
}

@test "a worker that is killed costs one step: the others go on without a restart" {
    start_cluster "$RUN" 3
    wait_until 60 committed_at_least "$RUN" 5
    stays=$(pid_of "$RUN" worker-1)
    kill -KILL "$(pid_of "$RUN" worker-3)"
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 10))
    [ "$(pid_of "$RUN" worker-1)" = "$stays" ]
    status_is "$RUN" '.workers | map(select(.state == "member")) | length' 2
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a worker that hangs is evicted: the others go on, and its process is not let in again" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 5
    hangs=$(pid_of "$RUN" worker-2)
    kill -STOP "$hangs"
    seer worker evict worker-2 --run "$RUN" --wait 10
    seer worker evict worker-2 --run "$RUN" # idempotent
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 5))
    kill -CONT "$hangs"
    wait_until 30 is_gone "$hangs"
    status_is "$RUN" '.workers | length' 1
    grep -q '"kind":"worker_lost".*worker=worker-2 .*evicted by an operator' "$RUN/events.jsonl"
    run seer worker evict nobody --run "$RUN"
    [ "$status" -eq 2 ]
    kill -STOP "$(pid_of "$RUN" worker-1)"
    run seer worker drain worker-1 --run "$RUN" --wait 1
    [ "$status" -eq 5 ]
    kill -CONT "$(pid_of "$RUN" worker-1)"
    seer worker drain worker-1 --run "$RUN" --wait 30
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

children_of() { # PID
    cat "/proc/$1"/task/*/children | xargs
}

helper_of() { # RUN NAME: the pid of its collective helper
    local rank pid mpirun
    rank=$(status_of "$1" ".workers[] | select(.name == \"$2\") | .rank")
    mpirun=$(children_of "$(pid_of "$1" server)")
    for pid in $(children_of "$mpirun"); do
        ! tr '\0' '\n' <"/proc/$pid/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$rank" || echo "$pid"
    done
}

standstill_names() { # RUN CULPRIT
    grep '"kind":"standstill"' "$1/events.jsonl" | grep -qF "culprit=\\\"$2\\\""
}

@test "a helper that hangs is named and replaced, and no worker is sent away" {
    start_cluster "$RUN" 3
    wait_until 60 committed_at_least "$RUN" 20
    kill -STOP "$(helper_of "$RUN" worker-2)"
    wait_until 30 standstill_names "$RUN" 'helper of worker-2'
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 5))
    status_is "$RUN" '.workers | map(select(.state == "member")) | length' 3
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a worker that is stopped is named before it is given up" {
    start_cluster "$RUN" 3 --set server.lost_ms=20000 # steps may be slow here, and what they take decides when it is late
    wait_until 60 committed_at_least "$RUN" 20
    stopped=$(pid_of "$RUN" worker-3)
    kill -STOP "$stopped"
    wait_until 30 standstill_names "$RUN" worker-3
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 5))
    status_is "$RUN" '.workers | map(select(.state == "member")) | length' 2
    kill -CONT "$stopped"
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a server that is killed goes on from the step it was at, and no worker restarts" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 10
    first=$(pid_of "$RUN" worker-1)
    second=$(pid_of "$RUN" worker-2)
    wait_until 60 status_is "$RUN" .world_size 2
    generation=$(status_of "$RUN" .generation)
    kill -KILL "$(pid_of "$RUN" server)"
    before=$(committed "$RUN")
    command=$(sed -n 's/^server //p' "$RUN/commands")
    bash -c "exec $command" >>"$RUN/server.log" 2>&1 3>&- &
    server=$!
    wait_until 60 committed_at_least "$RUN" $((before + 10))
    kill -0 "$first"
    kill -0 "$second"
    grep -q '"kind":"run_resumed"' "$RUN/events.jsonl"
    [ "$(tail -n 1 "$RUN/metrics.jsonl" | jq .generation)" = "$generation" ] # helpers too live on
    jq -s 'map(.step) | . == sort and (unique | length) == length' "$RUN/metrics.jsonl" | grep -qx true
    kill -TERM $server
    wait $server
    audit_is_clean "$RUN"
}

# Only what the members know is left of the last verdict: as if the server's host had fallen before its flush.
@test "a verdict that fell with the server's host is brought back by those who obeyed it" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 10
    server=$(pid_of "$RUN" server)
    seer pause --run "$RUN" # between two steps: all have obeyed, and wait
    wait_until 60 status_is "$RUN" .state paused
    kill -KILL "$server"
    wait_until 60 is_gone "$server"
    lost=$(tail -n 1 "$RUN/metrics.jsonl" | jq .step)
    journal_writer forget "$RUN/state" 1
    command=$(sed -n 's/^server //p' "$RUN/commands")
    bash -c "exec $command" >>"$RUN/server.log" 2>&1 3>&- &
    server=$!
    wait_until 60 grep -q '"kind":"verdict_recovered"' "$RUN/events.jsonl"
    seer resume --run "$RUN"
    wait_until 60 committed_at_least "$RUN" $((lost + 10))
    grep '"kind":"verdict_recovered"' "$RUN/events.jsonl" | grep -q "step=$lost "
    ! grep -q '"kind":"rolled_back"' "$RUN/events.jsonl" || false
    kill -TERM $server
    wait $server
    jq -s 'map(.step) | . == sort and (unique | length) == length' "$RUN/metrics.jsonl" | grep -qx true
    audit_is_clean "$RUN"
}

@test "everybody is killed: the run is restored from its newest snapshot, visibly" {
    start_cluster "$RUN" 2
    wait_until 90 committed_at_least "$RUN" 45
    kill -KILL $(awk '{ print $NF }' "$RUN/pids")
    stop_cluster "$RUN" || true
    newest=$(find "$RUN/snapshots" -name 'step-*.safetensors' | sort | tail -n 1 | tr -dc '0-9\n' | tail -c 10)
    last=$(jq -s 'map(.step) | max + 1' "$RUN/metrics.jsonl")
    run_cluster "$RUN" 2 $((last + 20))
    [ $((10#$newest)) -eq "$last" ] || grep -q '"kind":"rolled_back"' "$RUN/events.jsonl"
    [ $((10#$newest)) -eq "$last" ] || [ "$(jq -s 'map(.lineage) | max' "$RUN/metrics.jsonl")" -ge 1 ]
    audit_is_clean "$RUN"
}

@test "pause holds the run at a boundary and resume lets it go on" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 5
    seer pause --run "$RUN"
    wait_until 30 status_is "$RUN" .state paused
    held=$(committed "$RUN")
    seer pause --run "$RUN" # idempotent
    [ "$(committed "$RUN")" -eq "$held" ]
    seer resume --run "$RUN"
    wait_until 60 committed_at_least "$RUN" $((held + 5))
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "snapshots are kept, judged and exported" {
    run_cluster "$RUN" 2 45
    snapshot=$(seer snapshot ls --run "$RUN" -o json | jq -r '.snapshots[-1].path')
    [ -f "$snapshot" ]
    seer eval knn --snapshot "$snapshot" --train "$BATS_FILE_TMPDIR/train" --test "$BATS_FILE_TMPDIR/test" -o json >"$RUN/knn.json"
    jq -e '.train_images == 512 and .test_images == 128 and .top1 > 0 and .top1 <= 100 and
           .baseline_pixels_top1 > 10 and .baseline_random_init_top1 >= 0' "$RUN/knn.json"
    seer embed --snapshot "$snapshot" --store "$BATS_FILE_TMPDIR/test" --format npy --to "$RUN/features.npy"
    seer export "$snapshot" --format safetensors --layout timm --to "$RUN/timm.safetensors"
    [ -s "$RUN/features.npy" ]
    [ -s "$RUN/timm.safetensors" ]
}

flip_byte() { # FILE OFFSET
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\x$(printf %x $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "workers testify: the audit hears them while they train, and finds what was tampered with" {
    start_cluster "$RUN" 2
    for step in 10 20 30 40; do
        wait_until 60 committed_at_least "$RUN" $step
        audit_is_clean "$RUN" # a journal that ends earlier than another is no finding
    done
    kill -KILL "$(pid_of "$RUN" worker-2)" # nor is one that ends with its process
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 5))
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
    jq -e '.workers == 2 and .steps_witnessed >= .steps - 1' "$RUN.audit"
    seer audit "$RUN" --workers "$RUN/snapshots" -o json | jq -e '.workers == 0 and .steps_witnessed == 0'

    # Half a record at the end is what a kill leaves; a flipped bit within is not.
    cp -r "$RUN" "$RUN.cut"
    file=$(find "$RUN.cut/workers" -name '*.journal' | head -n 1)
    truncate -s -5 "$file"
    seer audit "$RUN.cut"
    flip_byte "$file" 1000
    run seer audit "$RUN.cut"
    [ "$status" -eq 1 ]
    [[ $output == *"$file"*"damaged in 1 places"* ]]

    # A process that lost its first file is heard from its second on; one that has another's name is not.
    file=$(find "$RUN/workers" -name '*.journal' | head -n 1)
    mv "$file" "${file/-000000/-000007}"
    run seer audit "$RUN"
    [ "$status" -eq 1 ]
    [[ $output == *"does not begin as its name says"* ]]
}

@test "ending the cluster leaves no process behind" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 3
    pids=$(awk '{ print $NF }' "$RUN/pids")
    helpers=$(for pid in $pids; do cat "/proc/$pid/task/$pid/children"; done)
    stop_cluster "$RUN"
    for pid in $pids $helpers; do
        wait_until 10 is_gone "$pid"
    done
}
