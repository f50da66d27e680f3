#!/usr/bin/env bats
# interchange.bats - a run that begins with somebody's weights, and what is said when it cannot.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
    [ -d "$BATS_FILE_TMPDIR/train/shards" ] || return 0
    run_cluster "$BATS_FILE_TMPDIR/first" 1 10
    seer export "$BATS_FILE_TMPDIR"/first/snapshots/step-000000010.safetensors --format pth --layout vissl --part all \
        --to "$BATS_FILE_TMPDIR/weights.pth"
    seer import "$BATS_FILE_TMPDIR/weights.pth" --config "$TINY" --to "$BATS_FILE_TMPDIR/start.safetensors"
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run"
    START="$BATS_TEST_TMPDIR/start.safetensors"
    cp "$BATS_FILE_TMPDIR/start.safetensors" "$START"
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
}

first_digest() { # RUN LINEAGE: of the gradient of step 0
    jq -r --argjson lineage "$2" 'select(.step == 0 and .lineage == $lineage) | .digest' "$1/metrics.jsonl"
}

refused() { # WORDS COMMAND...: wrong input, in words
    local words=$1
    shift
    run "$@"
    [ "$status" -ne 0 ]
    [[ "$output" == *"$words"* ]] || { echo "$output"; return 1; }
}

@test "a run begins with imported weights: the same bits for any number of workers, and a clean audit" {
    run_cluster "$RUN" 2 4 --set model.init="$START"
    run_cluster "$RUN-alone" 1 1 --set model.init="$START"
    run_cluster "$RUN-random" 1 1
    [ "$(first_digest "$RUN" 0)" = "$(first_digest "$RUN-alone" 0)" ]
    [ "$(first_digest "$RUN" 0)" != "$(first_digest "$RUN-random" 0)" ]
    grep -q '"kind":"initial_state_taken"' "$RUN/events.jsonl"
    audit_is_clean "$RUN"
    cmp "$START" "$RUN/snapshots/initial.safetensors"
    seer snapshot verify initial --run "$RUN"
    # What it began with is said by every later snapshot.
    seer export "$RUN/snapshots/step-000000004.safetensors" --to "$BATS_TEST_TMPDIR/out"
    grep -aq "init: .*start.safetensors" "$BATS_TEST_TMPDIR/out"
}

@test "when everybody dies before the first snapshot the run begins again with the same weights, its file gone" {
    start_cluster "$RUN" 1 --set snapshot.every_steps=100000 --set server.lost_ms=500 --set model.init="$START" --respawn
    wait_until 60 committed_at_least "$RUN" 3
    rm "$START"
    kill -KILL "$(pid_of "$RUN" worker-1)"
    wait_until 60 grep -q '"kind":"rolled_back"' "$RUN/events.jsonl"
    wait_until 60 has_lineage "$RUN" 1
    stop_cluster "$RUN"
    [ "$(first_digest "$RUN" 0)" = "$(first_digest "$RUN" 1)" ]
    audit_is_clean "$RUN"
}

has_lineage() { # RUN LINEAGE
    [ -n "$(first_digest "$1" "$2")" ]
}

@test "what a run began with is no operator's to remove, and nobody's to replace" {
    start_cluster "$RUN" 1 --set model.init="$START"
    wait_until 60 committed_at_least "$RUN" 2
    refused 'the run began with' seer snapshot rm initial --run "$RUN"
    refused 'choose another name' seer snapshot save initial --run "$RUN"
    [ -f "$RUN/snapshots/initial.safetensors" ]
}

@test "model.init that cannot be is refused with what to do" {
    refused 'seer import' run_server "$RUN" --set model.init="$BATS_FILE_TMPDIR/weights.pth"
    refused 'seer import' run_server "$RUN" \
        --set model.init="$BATS_FILE_TMPDIR/first/snapshots/step-000000010.safetensors"
    refused 'was made with model.prototypes: 20, this run has 30' run_server "$RUN" --set model.init="$START" \
        --set model.prototypes=30
    refused 'cannot open' run_server "$RUN" --set model.init=/none
    seer export "$START" --to "$BATS_TEST_TMPDIR/exported.safetensors" --part all
    refused 'is no snapshot to begin with' run_server "$RUN" --set model.init="$BATS_TEST_TMPDIR/exported.safetensors"
    printf 'x' | dd of="$START" bs=1 seek=$(($(stat -c %s "$START") - 1000)) conv=notrunc status=none
    refused 'is damaged' run_server "$RUN" --set model.init="$START"
    [ ! -e "$RUN/snapshots/initial.safetensors" ]
    refused 'has begun without it' run_server "$BATS_FILE_TMPDIR/first" \
        --set model.init="$BATS_FILE_TMPDIR/start.safetensors"
}

run_server() { # RUN OPTION...: which refuses to start
    local run=$1
    shift
    timeout 20 seer-server --config "$TINY" --state "$run" --seed 7 --store "$BATS_FILE_TMPDIR/train" \
        --set server.listen=tcp://127.0.0.1:0 --set server.feed=tcp://127.0.0.1:0 "$@"
}
