#!/usr/bin/env bats
# snapshots.bats - saving, keeping and restoring while the disk, the operator or the workers do their worst.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run"
    TRACER=''
    WORKERS=()
}

teardown() {
    local pid
    for pid in "${WORKERS[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    [ -z "$TRACER" ] || kill "$TRACER" 2>/dev/null || true
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
    ! mountpoint -q "$RUN/snapshots" || umount "$RUN/snapshots"
    ! mountpoint -q "$RUN/state" || umount "$RUN/state"
}

# small_disk FOLDER SIZE: a file system of its own; grow_disk makes room on it.
small_disk() {
    mkdir -p "$1"
    mount -t tmpfs -o size="$2" tmpfs "$1" 2>/dev/null || skip 'only root may mount a small file system'
}

grow_disk() { # FOLDER
    mount -o remount,size=256m "$1"
}

need_strace() {
    strace -qq -o /dev/null -e inject=fsync:delay_enter=1 true 2>/dev/null ||
        skip 'strace is not installed, or may not trace here'
}

# trace_server RUN INJECTION...: from now on.
trace_server() {
    local run=$1
    shift
    strace -f -qq -o /dev/null "$@" -p "$(pid_of "$run" server)" 3>&- &
    TRACER=$!
    wait_until 10 is_traced "$(pid_of "$run" server)"
}

is_traced() { # PID
    ! grep -q '^TracerPid:[[:space:]]*0$' "/proc/$1/status"
}

stop_tracing() {
    kill "$TRACER"
    wait "$TRACER" || true
    TRACER=''
}

has_event() { # RUN KIND WORDS
    grep "\"kind\":\"$2\"" "$1/events.jsonl" | grep -qF -- "$3"
}

@test "training goes on while the disk takes its time with a snapshot" {
    need_strace
    start_cluster "$RUN" 2 --set snapshot.every_steps=100000
    wait_until 60 committed_at_least "$RUN" 3
    trace_server "$RUN" -e trace=fsync -e inject=fsync:delay_enter=100000000
    seer snapshot save slow --run "$RUN"
    wait_until 30 test -f "$RUN/snapshots/slow.safetensors.tmp"
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 20))
    seer status --run "$RUN" >/dev/null
    [ -f "$RUN/snapshots/slow.safetensors.tmp" ]
    stop_tracing
    wait_until 30 has_event "$RUN" snapshot_complete 'snapshot=slow '
    [ -f "$RUN/snapshots/slow.safetensors" ]
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a full disk costs a snapshot, not the training; with room again the next one is complete" {
    small_disk "$RUN/snapshots" 64k
    start_cluster "$RUN" 2 --set snapshot.every_steps=100000
    wait_until 60 committed_at_least "$RUN" 3
    seer snapshot save first --run "$RUN"
    wait_until 30 has_event "$RUN" snapshot_failed 'No space left on device'
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 10))
    [ -z "$(ls -A "$RUN/snapshots")" ]
    grow_disk "$RUN/snapshots"
    seer snapshot save first --run "$RUN"
    wait_until 30 has_event "$RUN" snapshot_complete 'snapshot=first '
    seer snapshot verify first --run "$RUN"
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a disk that fails while a snapshot is flushed costs that snapshot only" {
    need_strace
    start_cluster "$RUN" 2 --set snapshot.every_steps=100000
    wait_until 60 committed_at_least "$RUN" 3
    trace_server "$RUN" -e trace=fsync -e inject=fsync:error=EIO:when=1
    seer snapshot save first --run "$RUN"
    wait_until 30 has_event "$RUN" snapshot_failed 'Input/output error'
    [ ! -e "$RUN/snapshots/first.safetensors" ]
    seer snapshot save first --run "$RUN"
    wait_until 30 has_event "$RUN" snapshot_complete 'snapshot=first '
    stop_tracing
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

journal_goes_on() { # RUN WORKER_PID...: the server is gone for want of a disk; it is there again
    local run=$1 before pid command server
    shift
    before=$(committed "$run")
    command=$(sed -n 's/^server //p' "$run/commands")
    bash -c "exec $command" >>"$run/server.log" 2>&1 3>&- &
    server=$!
    wait_until 60 committed_at_least "$run" $((before + 10))
    for pid; do kill -0 "$pid"; done
    kill -TERM "$server"
    wait "$server"
    audit_is_clean "$run"
}

# The cluster's supervisor ends all when its server ends by itself: here the server's end is the test.
start_loose_cluster() { # RUN: server and two workers; adds them to WORKERS
    local name
    start_cluster "$1" 0 --set snapshot.every_steps=100000
    for name in worker-1 worker-2; do
        seer-worker --server "$(jq -r .control "$1/server.json")" --name $name --journal "$1/workers" \
            >>"$1/$name.log" 2>&1 3>&- &
        WORKERS+=($!)
    done
}

@test "a journal that cannot be written stops the server with words; with room again the run goes on, and no worker restarts" {
    small_disk "$RUN/state" 144k
    start_loose_cluster "$RUN"
    server=$(pid_of "$RUN" server)
    wait_until 60 committed_at_least "$RUN" 3
    wait_until 300 is_gone "$server" # it takes some hundred steps
    grep -q 'event=failed .*no space left: free some, then start again' "$RUN/server.log"
    grow_disk "$RUN/state"
    journal_goes_on "$RUN" "${WORKERS[@]}"
}

@test "a disk that fails under the journal stops the server before anything is applied" {
    need_strace
    start_loose_cluster "$RUN"
    server=$(pid_of "$RUN" server)
    wait_until 60 committed_at_least "$RUN" 3
    trace_server "$RUN" -e trace=fdatasync -e inject=fdatasync:error=EIO:when=10
    wait_until 60 is_gone "$server"
    TRACER=''
    grep -q 'event=failed .*Input/output error' "$RUN/server.log"
    journal_goes_on "$RUN" "${WORKERS[@]}"
}

damage() { # FILE: one bit in the middle
    printf '\x40' | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") / 2)) conv=notrunc status=none
}

kill_all() { # RUN
    # shellcheck disable=SC2046 # one word per pid
    kill -KILL $(awk '{ print $NF }' "$1/pids")
    stop_cluster "$1" || true
}

@test "a damaged snapshot is found by verify, and a restore passes over it to the next older one" {
    start_cluster "$RUN" 2
    wait_until 90 has_event "$RUN" snapshot_complete 'snapshot=step-000000040 '
    kill_all "$RUN"
    seer snapshot verify --run "$RUN" -o json |
        jq -e '(.snapshots | length) >= 2 and all(.snapshots[]; .is_sound and .has_digests)'
    newest=$(seer snapshot ls --run "$RUN" -o json | jq -r '.snapshots[-1].name')
    damage "$RUN/snapshots/$newest.safetensors"
    run seer snapshot verify "$newest" --run "$RUN"
    [ "$status" -eq 1 ]
    [[ "$output" == *"$newest"*DAMAGED*"tensor '"*"' is damaged"* ]]
    run seer export "$RUN/snapshots/$newest.safetensors" --format safetensors --layout timm --to "$RUN/x.safetensors"
    [ "$status" -eq 1 ]
    last=$(jq -s 'map(.step) | max' "$RUN/metrics.jsonl")
    run_cluster "$RUN" 2 $((last + 10)) --set server.lost_ms=1000
    has_event "$RUN" snapshot_unusable "snapshot=$newest "
    has_event "$RUN" rolled_back 'snapshot=step-'
    [ "$(jq -s 'map(.lineage) | max' "$RUN/metrics.jsonl")" -ge 2 ]
    audit_is_clean "$RUN"
}

@test "a snapshot is restored on another number of workers, with the same bits" {
    start_cluster "$RUN" 2
    wait_until 90 has_event "$RUN" snapshot_complete 'snapshot=step-000000020 '
    kill_all "$RUN"
    cp -r "$RUN" "$RUN.again"
    for workers in 3 1; do
        copy="$BATS_TEST_TMPDIR/with$workers"
        cp -r "$RUN.again" "$copy"
        run_cluster "$copy" "$workers" 60 --set server.lost_ms=1000
        jq -r 'select(.lineage >= 1) | "\(.step) \(.digest)"' "$copy/metrics.jsonl" | sort -n | tail -n 15 >"$copy.digests"
        audit_is_clean "$copy"
    done
    [ -s "$BATS_TEST_TMPDIR/with3.digests" ]
    diff "$BATS_TEST_TMPDIR/with3.digests" "$BATS_TEST_TMPDIR/with1.digests"
}

lineage_has_steps() { # RUN LINEAGE COUNT
    [ "$(jq -c "select(.lineage == $2)" "$1/metrics.jsonl" | wc -l)" -ge "$3" ]
}

@test "state is restored while workers of the lost history still linger: they take it over and train on" {
    start_cluster "$RUN" 2 --set server.lost_ms=1000
    wait_until 90 has_event "$RUN" snapshot_complete 'snapshot=step-000000020 '
    wait_until 60 committed_at_least "$RUN" 25
    # The journal is set back, as from a backup of the folder: the workers are of a future that nobody wrote down.
    kill -STOP "$(pid_of "$RUN" server)"
    cp -r "$RUN/state" "$RUN.state"
    kill -CONT "$(pid_of "$RUN" server)"
    wait_until 60 committed_at_least "$RUN" $(($(committed "$RUN") + 10))
    kill -KILL "$(pid_of "$RUN" server)"
    wait_until 30 is_gone "$(pid_of "$RUN" server)"
    rm -rf "$RUN/state" && mv "$RUN.state" "$RUN/state"
    command=$(sed -n 's/^server //p' "$RUN/commands")
    bash -c "exec $command" >>"$RUN/server.log" 2>&1 3>&- &
    server=$!
    wait_until 90 has_event "$RUN" rolled_back 'snapshot=step-'
    wait_until 90 lineage_has_steps "$RUN" 1 10
    kill -TERM "$server"
    wait "$server"
    jq -s -e 'map(select(.lineage == 1)) | last.world_size == 2' "$RUN/metrics.jsonl"
    seer audit "$RUN" -o json >"$RUN.audit" || true # the workers' journals tell of the future that is lost
    jq -e '.lost == 0 and .duplicated == 0 and .unequal_digests == 0' "$RUN.audit"
}

@test "a run that has lost all workers and all snapshots begins anew, in the same server" {
    start_cluster "$RUN" 2 --set server.lost_ms=1000 --set snapshot.keep_last=1
    server=$(pid_of "$RUN" server)
    # More than a pass over the images is behind, and its part of the stream forgotten.
    wait_until 90 has_event "$RUN" snapshot_removed 'snapshot=step-000000020 '
    wait_until 60 committed_at_least "$RUN" $(($(committed "$RUN") + 5))
    seer pause --run "$RUN"
    wait_until 30 status_is "$RUN" .state paused
    for name in $(seer snapshot ls --run "$RUN" -o json | jq -r '.snapshots[].name'); do
        seer snapshot rm "$name" --run "$RUN"
    done
    seer-worker --server "$(jq -r .control "$RUN/server.json")" --name late >"$RUN/late.log" 2>&1 3>&- &
    WORKERS+=($!)
    kill -KILL "$(pid_of "$RUN" worker-1)" "$(pid_of "$RUN" worker-2)"
    seer resume --run "$RUN"
    wait_until 60 has_event "$RUN" rolled_back 'to_step=0 '
    has_event "$RUN" server_restarts 'goes back'
    wait_until 60 lineage_has_steps "$RUN" 1 10
    [ "$(jq -r .pid "$RUN/server.json")" = "$server" ]
    kill -0 "$server"
    stop_cluster "$RUN"
    seer audit "$RUN" -o json >"$RUN.audit" || true # whoever was killed has not witnessed all
    jq -e '.lost == 0 and .duplicated == 0 and .unequal_digests == 0' "$RUN.audit"
}
