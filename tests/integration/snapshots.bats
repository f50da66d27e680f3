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
}

teardown() {
    [ -z "$TRACER" ] || kill "$TRACER" 2>/dev/null || true
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
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
    run_cluster "$RUN" 2 $((last + 10))
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
        run_cluster "$copy" "$workers" 60
        jq -r 'select(.lineage >= 1) | "\(.step) \(.digest)"' "$copy/metrics.jsonl" | sort -n | tail -n 15 >"$copy.digests"
        audit_is_clean "$copy"
    done
    [ -s "$BATS_TEST_TMPDIR/with3.digests" ]
    diff "$BATS_TEST_TMPDIR/with3.digests" "$BATS_TEST_TMPDIR/with1.digests"
}
