#!/usr/bin/env bats
# keys.bats - a run with keys: who is let in trains, asks or gives orders, and nobody else does.
# SPDX-License-Identifier: Apache-2.0

bats_require_minimum_version 1.5.0
load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run"
    seer key init --run "$RUN" >/dev/null
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
}

control_of() { # RUN: reachable from this host
    jq -r .control "$1/server.json" | sed 's/0\.0\.0\.0/127.0.0.1/'
}

is_let_in() { # KEY COMMAND...
    local key=$1
    shift
    seer "$@" --server "$(control_of "$RUN")" --key "$key"
}

@test "with keys a run listens to other hosts, and its own workers train" {
    start_cluster "$RUN" 2 --set server.listen=tcp://0.0.0.0:* --set server.feed=tcp://0.0.0.0:*
    wait_until 60 committed_at_least "$RUN" 5
    [[ $(jq -r .control "$RUN/server.json") == tcp://0.0.0.0:* ]]
    [ "$(status_of "$RUN" '.workers | length')" = 2 ]
    seer top --run "$RUN" --once | grep -q worker-1
    run seer status --server "$(control_of "$RUN")"
    [ "$status" -ne 0 ]
    seer-worker --server "$(control_of "$RUN")" 2>"$BATS_TEST_TMPDIR/stranger.log" 3>&- &
    stranger=$!
    wait_until 20 grep -q 'event=server_refuses.*it asks for a key' "$BATS_TEST_TMPDIR/stranger.log"
    kill -KILL "$stranger"
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "without keys a run does not listen to other hosts, and says what to do" {
    rm -r "$RUN/keys"
    run -2 seer-server --config "$TINY" --state "$RUN" --store "$BATS_FILE_TMPDIR/train" --set server.listen=tcp://0.0.0.0:*
    [[ $output == *'seer key init'* ]]
}

@test "viewers may ask and watch, workers train, operators order; a revoked key has no more say" {
    for role in viewer worker operator; do
        seer key new "a-$role" --role "$role" --run "$RUN" --out "$BATS_TEST_TMPDIR/$role.key" >/dev/null
    done
    start_cluster "$RUN" 1
    wait_until 60 committed_at_least "$RUN" 3
    is_let_in "$BATS_TEST_TMPDIR/viewer.key" status >/dev/null
    run is_let_in "$BATS_TEST_TMPDIR/viewer.key" pause
    [ "$status" -ne 0 ]
    [[ $output == *"key 'a-viewer' is a viewer's"* ]]
    run is_let_in "$BATS_TEST_TMPDIR/worker.key" stop
    [ "$status" -ne 0 ]
    is_let_in "$BATS_TEST_TMPDIR/operator.key" pause
    is_let_in "$BATS_TEST_TMPDIR/operator.key" resume
    seer key revoke a-operator --run "$RUN"
    run is_let_in "$BATS_TEST_TMPDIR/operator.key" pause
    [ "$status" -ne 0 ]
    [[ $output == *'does not let us in'* ]]
    run ! seer key revoke a-operator --run "$RUN"
    [ "$(seer key ls --run "$RUN" -o json | jq -r '[.keys[].name] | join(" ")')" = 'a-viewer a-worker operator worker-1' ]
}

@test "a worker whose key is revoked is lost to the run, and the others train on" {
    start_cluster "$RUN" 2
    wait_until 60 status_is "$RUN" .world_size 2
    seer key revoke worker-2 --run "$RUN"
    wait_until 60 status_is "$RUN" .world_size 1
    committed=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((committed + 5))
}

@test "a key made elsewhere is let in by its public half" {
    server=$(seer key ls --run "$RUN" -o json | jq -r .server)
    line=$(seer key new far --role viewer --server-key "$server" --out "$BATS_TEST_TMPDIR/far.key" | tail -1)
    public=$(jq -r .public "$BATS_TEST_TMPDIR/far.key")
    [[ $line == *"$public"* ]]
    seer key allow far "$public" --role viewer --run "$RUN"
    start_cluster "$RUN" 1
    wait_until 60 is_let_in "$BATS_TEST_TMPDIR/far.key" status
}
