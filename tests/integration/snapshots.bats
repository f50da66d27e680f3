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
