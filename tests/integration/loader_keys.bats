#!/usr/bin/env bats
# loader_keys.bats - a seer-loader with keys: workers that it lets in read from it, by its own key, and nobody else does.
# SPDX-License-Identifier: Apache-2.0

bats_require_minimum_version 1.5.0
load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN=$BATS_TEST_TMPDIR/run
    STORE=$BATS_TEST_TMPDIR/store
    KEYS=$BATS_TEST_TMPDIR/loader-keys
    LOG=$BATS_TEST_TMPDIR/loader.log
    PIDS=()
    cp -r "$BATS_FILE_TMPDIR/train" "$STORE"
    seer key init --run "$RUN" >/dev/null
    seer key new far --role worker --run "$RUN" --out "$BATS_TEST_TMPDIR/far.key" >/dev/null
}

teardown() {
    for pid in "${PIDS[@]}"; do
        kill -KILL "$pid" 2>/dev/null || :
    done
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || :
}

shard_is_known() {
    grep -q '"kind":"shard_added"' "$RUN/events.jsonl"
}

# A run with keys whose store is then on another host, as far as workers can see; and a loader there.
start_run_and_loader() { # [option of the server...]
    seer key init --keys "$KEYS" >"$BATS_TEST_TMPDIR/init"
    start_cluster_of_none "$@"
    mv "$STORE" "$STORE.elsewhere"
    seer-loader --store "$STORE.elsewhere" --listen 'tcp://0.0.0.0:*' --keys "$KEYS" >"$LOG" 2>&1 3>&- &
    PIDS+=("$!")
    wait_until 30 grep -q event=whole "$LOG"
    ADDRESS=$(grep -oE 'address=tcp://[0-9.:]+' "$LOG" | sed 's,address=,,; s,0\.0\.0\.0,127.0.0.1,')
    KEY=$(sed -n 2p "$BATS_TEST_TMPDIR/init")
    [ "$(jq -r .public "$KEYS/loader.key")" = "$KEY" ]
}

start_cluster_of_none() {
    "$LOCAL_CLUSTER" --config "$TINY" --run "$RUN" --workers 0 --seed 7 --store "$STORE" --detach "$@"
    wait_until 30 shard_is_known
}

let_in() {
    seer key allow far "$(jq -r .public "$BATS_TEST_TMPDIR/far.key")" --keys "$KEYS"
}

start_worker() { # LOADER
    seer-worker --server "$(jq -r .control "$RUN/server.json")" --key "$BATS_TEST_TMPDIR/far.key" --name far \
        --journal "$RUN/workers" --loader "$1" >>"$BATS_TEST_TMPDIR/far.log" 2>&1 3>&- &
    WORKER=$!
    PIDS+=("$WORKER")
}

ends_with() { # CODE: the worker that was started last
    local code=0
    wait "$WORKER" || code=$?
    [ "$code" -eq "$1" ]
}

worker_said() { # REGULAR EXPRESSION
    grep -qE "$1" "$BATS_TEST_TMPDIR/far.log"
}

@test "a worker that the loader lets in trains from it; one that it does not says so, and trains once it is let in" {
    start_run_and_loader --steps 10
    start_worker "$ADDRESS,$KEY"
    wait_until 30 worker_said 'event=loader_lost reason="tcp://127[^ ]*: it does not let this key in'
    grep -q 'event=stranger_refused' "$LOG"
    [ "$(committed "$RUN")" -eq 0 ]
    let_in
    wait "$WORKER"
    [ "$(committed "$RUN")" -eq 10 ]
    worker_said 'event=loader_found reason="tcp://127[^ ]*: it holds 1 shards"'
    audit_is_clean "$RUN"
}

@test "a key that is revoked at the loader reads nothing more, though its connection stood" {
    start_run_and_loader --set server.step_ms=600000
    let_in
    start_worker "$ADDRESS,$KEY"
    wait_until 60 committed_at_least "$RUN" 5
    seer key revoke far --keys "$KEYS"
    wait_until 30 worker_said 'event=loader_lost reason="tcp://127[^ ]*: it refuses: its key is let in no more"'
    wait_until 30 grep -q 'event=worker_gone worker="' "$LOG"
    let_in
    steps=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((steps + 5))
}

@test "a loader that shows another key than the one it is named by is not read from" {
    start_run_and_loader
    let_in
    start_worker "$ADDRESS,$(jq -r .public "$BATS_TEST_TMPDIR/far.key")"
    wait_until 30 worker_said 'event=loader_lost reason="tcp://127[^ ]*: it ends connections before they stand: is KEY its own'
    wait_until 30 worker_said 'event=shard_awaited .* is away'
    [ "$(committed "$RUN")" -eq 0 ]
    run ! grep -q event=worker_came "$LOG"
}

@test "who names a loader without its key, or has none to show, is told what to do" {
    start_run_and_loader
    let_in
    start_worker "$ADDRESS" # of this host: it may be tried
    wait_until 30 worker_said 'event=loader_lost reason="tcp://127[^ ]*: it lets in keys alone: name it ADDRESS,KEY'
    kill -KILL "$WORKER"
    start_worker tcp://192.0.2.1:5690
    ends_with 2
    worker_said "loader 'tcp://192.0.2.1:5690' is on another host.*ADDRESS,KEY"
    start_worker "$ADDRESS,nonsense"
    ends_with 2
    worker_said "'nonsense' is no public key"
    run -2 seer-server --config "$TINY" --state "$BATS_TEST_TMPDIR/other" --store "$STORE.elsewhere" \
        --set 'data.loaders=["tcp://192.0.2.1:5690"]'
    [[ $output == *'data.loaders: '*'is on another host'* || $output == *'is on another host'*'data.loaders'* ]]
}

@test "a loader's folder of keys: only workers are let in, its own key is nobody's else" {
    seer key init --keys "$KEYS"
    public=$(jq -r .public "$BATS_TEST_TMPDIR/far.key")
    [ "$(stat -c %a "$KEYS" "$KEYS/loader.key" | tr '\n' ' ')" = '700 600 ' ]
    run -2 seer key init --keys "$KEYS"
    [[ $output == *'never written over'* ]]
    run -2 seer key allow eve "$public" --role operator --keys "$KEYS"
    [[ $output == *'a loader lets in workers'* ]]
    run -2 seer key new eve --role worker --keys "$KEYS"
    [[ $output == *"'seer key allow'"* ]]
    seer key allow far "$public" --role worker --keys "$KEYS"
    [ "$(seer key ls --keys "$KEYS" -o json | jq -r '.loader as $own | [.keys[] | .name + .role + .public, ($own | length)] | join(" ")')" = \
        "farworker$public 40" ]
    run -2 seer key ls --keys "$KEYS" --run "$RUN"
    seer key revoke far --keys "$KEYS"
    [ "$(seer key ls --keys "$KEYS" -o json | jq '.keys | length')" -eq 0 ]
    # Neither a run's folder nor an empty one is a loader's.
    run -2 seer-loader --store "$STORE" --listen 'tcp://127.0.0.1:*' --keys "$RUN/keys"
    [[ $output == *"has no loader.key: 'seer key init --keys"* ]]
    run -2 seer-loader --store "$STORE" --listen 'tcp://0.0.0.0:*'
    [[ $output == *"'seer key init --keys DIR'"* ]]
    chmod 644 "$KEYS/loader.key"
    run -2 seer-loader --store "$STORE" --listen 'tcp://127.0.0.1:*' --keys "$KEYS"
    [[ $output == *'others can read'* ]]
}
