#!/usr/bin/env bats
# remote.bats - workers that have no store read from shard servers, through the death of any of them, with the same bits.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
    [ -d "$BATS_FILE_TMPDIR/train/shards" ] || return 0
    # Two shards, so that loaders share the work.
    seer ingest "$BATS_FILE_TMPDIR"/pictures/*-test.tar --labels cls --store "$BATS_FILE_TMPDIR/train" >/dev/null 2>&1
}

setup() {
    need_stores
    RUN=$BATS_TEST_TMPDIR/run
    STORE=$BATS_TEST_TMPDIR/store
    PIDS=()
    cp -r "$BATS_FILE_TMPDIR/train" "$STORE"
}

teardown() {
    for pid in "${PIDS[@]}"; do
        kill -KILL "$pid" 2>/dev/null || :
    done
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN"
}

event_is_there() { # KIND COUNT
    [ "$(grep -c "\"kind\":\"$1\"" "$RUN/events.jsonl")" -ge "$2" ]
}

# A server that knows the shards of STORE; then STORE is on another host, as far as its workers can see.
start_server() { # [option...]
    "$LOCAL_CLUSTER" --config "$TINY" --run "$RUN" --workers 0 --seed 7 --store "$STORE" --detach "$@"
    wait_until 30 event_is_there shard_added 2
    mv "$STORE" "$STORE.elsewhere"
}

start_loader() { # NAME [STORE]: its socket is BATS_TEST_TMPDIR/NAME
    seer-loader --store "${2:-$STORE.elsewhere}" --listen "ipc://$BATS_TEST_TMPDIR/$1" >>"$BATS_TEST_TMPDIR/$1.log" 2>&1 3>&- &
    LOADER=$!
    PIDS+=("$LOADER")
    wait_until 30 grep -q event=whole "$BATS_TEST_TMPDIR/$1.log"
}

start_worker() { # NAME LOADER...
    local name=$1 loaders=() loader
    shift
    for loader; do loaders+=(--loader "ipc://$BATS_TEST_TMPDIR/$loader"); done
    seer-worker --server "$(jq -r .control "$RUN/server.json")" --name "$name" --journal "$RUN/workers" "${loaders[@]}" \
        >>"$BATS_TEST_TMPDIR/$name.log" 2>&1 3>&- &
    WORKER=$!
    PIDS+=("$WORKER")
}

lacks() { # FILE WORDS
    [ -f "$1" ] && [ "$(grep -c "$2" "$1")" -eq 0 ]
}

further() { # STEPS: from now on
    wait_until 120 committed_at_least "$RUN" $(($(committed "$RUN") + $1))
}

digests() { # RUN
    jq -c '[.step, .digest]' "$1/metrics.jsonl"
}

same_bits_as_local() { # STEPS
    timeout 250 "$LOCAL_CLUSTER" --config "$TINY" --run "$RUN.local" --workers 1 --steps "$1" --seed 7 --store "$BATS_TEST_TMPDIR/here"
    diff <(digests "$RUN") <(digests "$RUN.local")
}

@test "a worker without a store is fed by a loader, with the same bits as from its own disk; SIGTERM ends the loader" {
    cp -r "$STORE" "$BATS_TEST_TMPDIR/here"
    start_server --steps 30
    start_loader a
    start_worker w a
    wait "$WORKER"
    [ "$(committed "$RUN")" -eq 30 ]
    grep -q 'event=loader_found reason="ipc://.*/a: it holds 2 shards"' "$BATS_TEST_TMPDIR/w.log"
    kill -TERM "$LOADER"
    wait "$LOADER"
    # No record came twice: 24 images a step, and what was fetched ahead of the end.
    grep -oE 'event=worker_gone .* records=[0-9]+' "$BATS_TEST_TMPDIR/a.log" | grep -oE '[0-9]+$' >"$BATS_TEST_TMPDIR/sent"
    [ "$(cat "$BATS_TEST_TMPDIR/sent")" -ge 720 ]
    [ "$(cat "$BATS_TEST_TMPDIR/sent")" -le 860 ]
    audit_is_clean "$RUN"
    same_bits_as_local 30
}

@test "of two loaders one is killed in mid-run; training goes on with the other, and nothing is lost or trained twice" {
    start_server --steps 40
    start_loader a
    first=$LOADER
    start_loader b
    start_worker w a b
    wait_until 120 committed_at_least "$RUN" 10
    kill -KILL "$first"
    wait_until 30 grep -q 'event=loader_lost reason="ipc://.*/a:' "$BATS_TEST_TMPDIR/w.log"
    wait "$WORKER"
    [ "$(committed "$RUN")" -eq 40 ]
    lacks "$BATS_TEST_TMPDIR/w.log" event=shard_unreadable
    audit_is_clean "$RUN"
}

@test "when all loaders are away workers say for whom they wait, and go on when one is back" {
    start_server --set server.step_ms=600000
    start_loader a
    start_worker w a
    start_worker x a
    wait_until 120 committed_at_least "$RUN" 10
    kill -KILL "$LOADER"
    # Only who lacks an image of what is planned waits for a loader; the other one waits for its partner.
    wait_until 60 grep -qE 'event=shard_awaited shard=[01] reason="shard .* is not here: ipc://.*/a is away: .*; waiting for a loader that holds it"' \
        "$BATS_TEST_TMPDIR/w.log" "$BATS_TEST_TMPDIR/x.log" || { tail -n 25 "$BATS_TEST_TMPDIR"/[wx].log "$RUN/events.jsonl"; false; }
    start_loader a
    further 10
    lacks "$RUN/events.jsonl" '"kind":"shard_broken"'
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a loader learns of shards that come and go, and workers hear it" {
    mkdir -p "$BATS_TEST_TMPDIR/other/shards"
    start_server
    start_loader a "$BATS_TEST_TMPDIR/other"
    start_worker w a
    wait_until 30 grep -q 'it holds 0 shards' "$BATS_TEST_TMPDIR/w.log"
    wait_until 60 grep -q 'event=shard_awaited .*/a does not hold it; start a seer-loader that holds it' "$BATS_TEST_TMPDIR/w.log"
    [ "$(committed "$RUN")" -eq 0 ]
    mv "$STORE.elsewhere"/shards/* "$BATS_TEST_TMPDIR/other/shards/"
    wait_until 120 committed_at_least "$RUN" 20
    lacks "$RUN/events.jsonl" '"kind":"shard_broken"'
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "another store's shard of the same name and length is refused by name, and not trained on" {
    start_server
    # The same pictures in another order.
    mkdir "$BATS_TEST_TMPDIR/turned"
    tar -C "$BATS_TEST_TMPDIR/turned" -xf "$BATS_FILE_TMPDIR"/pictures/*-test.tar
    (cd "$BATS_TEST_TMPDIR/turned" && find . -type f | sort -r | tar -cf ../turned.tar -T -)
    seer ingest "$BATS_TEST_TMPDIR/turned.tar" --labels cls --store "$BATS_TEST_TMPDIR/other" >/dev/null 2>&1
    for shard in "$STORE.elsewhere"/shards/*; do
        [ "$(jq .records "$shard/manifest.json")" -ne 128 ] || name=$(basename "$shard")
    done
    cp -r "$STORE.elsewhere" "$BATS_TEST_TMPDIR/mixed"
    rm -r "$BATS_TEST_TMPDIR/mixed/shards/$name"
    mv "$BATS_TEST_TMPDIR"/other/shards/* "$BATS_TEST_TMPDIR/mixed/shards/$name"
    start_loader a "$BATS_TEST_TMPDIR/mixed"
    start_worker w a
    wait_until 60 grep -qE "event=shard_awaited .*shard '$name' of 128 records is not here: ipc://.*/a holds another one, of hash [0-9a-f]{16} and not [0-9a-f]{16}" \
        "$BATS_TEST_TMPDIR/w.log"
    lacks "$RUN/events.jsonl" '"kind":"shard_broken"'
    start_loader b # which holds the right one
    start_worker x a b
    kill -KILL "${PIDS[1]}"
    wait_until 120 committed_at_least "$RUN" 20
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a shard that is damaged at one loader is read from another, and if at all of them it is broken for the run" {
    start_server
    shard=$(basename "$(find "$STORE.elsewhere/shards" -mindepth 1 -maxdepth 1 | sort | tail -n 1)")
    cp -r "$STORE.elsewhere" "$BATS_TEST_TMPDIR/bad"
    truncate -s 20000 "$BATS_TEST_TMPDIR/bad/shards/$shard/data.mdb"
    start_loader a "$BATS_TEST_TMPDIR/bad"
    grep -q "event=shard_unreadable shard=$shard reason=.*cut off" "$BATS_TEST_TMPDIR/a.log"
    start_loader b
    whole=$LOADER
    start_worker w a b
    wait_until 120 committed_at_least "$RUN" 20
    lacks "$RUN/events.jsonl" '"kind":"shard_broken"'
    rm -r "$BATS_TEST_TMPDIR/store.elsewhere/shards/$shard" # now only the damaged copy is left
    wait_until 120 event_is_there shard_broken 1
    further 10
    kill -TERM "$whole"
    wait "$whole"
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a shard that is here is read here, whatever loaders hold it too" {
    cp -r "$STORE" "$STORE.elsewhere"
    start_loader a
    "$LOCAL_CLUSTER" --config "$TINY" --run "$RUN" --workers 1 --steps 10 --seed 7 --store "$STORE" \
        --set "data.loaders=[ipc://$BATS_TEST_TMPDIR/a]"
    kill -TERM "$LOADER"
    wait "$LOADER"
    grep -q 'event=worker_gone .* records=0 ' "$BATS_TEST_TMPDIR/a.log"
}

@test "loaders that cannot work say why and end with 2" {
    run seer-loader --store "$STORE"
    [ "$status" -eq 2 ]
    [[ "$output" == *"--store DIR and --listen ADDRESS are needed"* ]]
    run seer-loader --store "$BATS_TEST_TMPDIR" --listen 'tcp://127.0.0.1:*'
    [ "$status" -eq 2 ]
    [[ "$output" == *"is not a store"* ]]
    run seer-loader --store "$STORE" --listen 'tcp://0.0.0.0:5690'
    [ "$status" -eq 2 ]
    [[ "$output" == *"can be reached from other hosts"* ]]
    run seer-loader --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"Examples:"* ]]
}
