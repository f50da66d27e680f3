#!/usr/bin/env bats
# operator.bats - orders by hand: given twice, durable, and in the event log with their reason.
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

events() { # RUN KIND: their words
    jq -r "select(.kind == \"$2\") | .text" "$1/events.jsonl"
}

has_run_finished() { # RUN
    [ -n "$(events "$1" run_finished)" ]
}

restart_server() { # RUN: sets SERVER
    local command
    command=$(sed -n 's/^server //p' "$1/commands")
    bash -c "exec $command" >>"$1/server.log" 2>&1 3>&- &
    SERVER=$!
}

@test "orders may be given twice and stand in the event log with time and reason" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 3
    for _ in 1 2; do
        seer pause --run "$RUN" --reason 'looking at "something"'
        seer resume --run "$RUN" --reason 'seen'
    done
    seer snapshot save best --run "$RUN" --reason 'for the talk' -o json | jq -e '.name == "best" and .step > 0'
    wait_until 30 test -f "$RUN/snapshots/best.safetensors"
    for _ in 1 2; do seer snapshot pin best --run "$RUN" --reason 'the talk'; done
    run seer snapshot rm best --run "$RUN"
    [ "$status" -eq 2 ]
    for _ in 1 2; do seer snapshot unpin best --run "$RUN"; done
    seer snapshot rm best --run "$RUN" --reason 'the talk is over' -o json | jq -e .was_there
    [ ! -e "$RUN/snapshots/best.safetensors" ]
    seer snapshot rm best --run "$RUN" -o json | jq -e '.was_there | not'
    for _ in 1 2; do seer worker drain worker-2 --run "$RUN" --wait 30 --reason 'a new fan'; done
    events "$RUN" operator_command >"$RUN.words"
    grep -qx "command=pause argument= reason=\"looking at 'something'\"" "$RUN.words"
    grep -qx 'command=snapshot_pin argument=best reason="the talk"' "$RUN.words"
    grep -qx 'command=snapshot_pin argument=best is_pinned=0 reason=""' "$RUN.words"
    grep -qx 'command=worker_drain argument=worker-2 reason="a new fan"' "$RUN.words"
    events "$RUN" run_paused | grep -q "reason=\"looking at 'something'\""
    events "$RUN" snapshot_removed | grep -qx 'snapshot=best reason="the talk is over"'
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a shard is retired by its number or its path, and what is no shard is refused" {
    start_cluster "$RUN" 1
    wait_until 60 committed_at_least "$RUN" 3
    seer stream ls --run "$RUN" -o json >"$RUN.shards"
    jq -e '.shards | length >= 1 and all(.[]; .state == "live" and .records > 0)' "$RUN.shards"
    path=$(jq -r '.shards[0].path' "$RUN.shards")
    [ -d "$path" ]
    for shard in 0 "$path"; do seer stream retire "$shard" --run "$RUN" --reason 'licence withdrawn'; done
    seer stream ls --run "$RUN" | grep -qE "^0 .*(retired|unused) +$path$"
    events "$RUN" shard_retired | grep -q 'shard=0 .*reason="licence withdrawn"'
    [ "$(events "$RUN" shard_retired | wc -l)" -eq 1 ]
    run seer stream retire 12345 --run "$RUN"
    [ "$status" -eq 2 ]
    [[ "$output" == *"no shard '12345': see seer stream ls"* ]]
}

@test "a stop is noted durably: a server that dies before the end goes on stopping, and a run that has ended starts again" {
    start_cluster "$RUN" 2 --set snapshot.every_steps=100000
    wait_until 60 committed_at_least "$RUN" 5
    # Nobody can save the state while the members stand still: the stop cannot come to its end.
    kill -STOP "$(pid_of "$RUN" worker-1)" "$(pid_of "$RUN" worker-2)"
    for _ in 1 2; do seer stop --run "$RUN" --reason 'the power goes'; done
    kill -KILL "$(pid_of "$RUN" server)"
    kill -CONT "$(pid_of "$RUN" worker-1)" "$(pid_of "$RUN" worker-2)"
    restart_server "$RUN"
    wait_until 60 has_run_finished "$RUN"
    wait "$SERVER"
    last=$(committed "$RUN")
    ls "$RUN"/snapshots/step-*.safetensors
    events "$RUN" operator_command | grep -qx 'command=stop argument= reason="the power goes"'
    stop_cluster "$RUN" || true
    run_cluster "$RUN" 2 $((last + 5))
    [ "$(committed "$RUN")" -eq $((last + 5)) ]
    [ "$(jq -s 'map(.lineage) | max' "$RUN/metrics.jsonl")" -eq 0 ]
    audit_is_clean "$RUN"
}
