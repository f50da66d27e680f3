#!/usr/bin/env bats
# shards.bats - shards that cannot be read cost their images and not the run; shards that nobody needs are let go.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN=$BATS_TEST_TMPDIR/run
    STORE=$BATS_TEST_TMPDIR/store
    cp -r "$BATS_FILE_TMPDIR/train" "$STORE"
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN"
}

add_shard() { # prints its folder
    seer ingest "$BATS_FILE_TMPDIR"/pictures/*-test.tar --labels cls --store "$STORE" >/dev/null 2>&1
    dirname "$(find "$STORE/shards" -name data.mdb -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)"
}

start() { # WORKERS [option...]: on STORE
    local workers=$1
    shift
    "$LOCAL_CLUSTER" --config "$TINY" --run "$RUN" --workers "$workers" --seed 7 --store "$STORE" --detach "$@"
}

run_30_steps() { # RUN WORKERS
    timeout 250 "$LOCAL_CLUSTER" --config "$TINY" --run "$1" --workers "$2" --steps 30 --seed 7 --store "$STORE"
}

event_is_there() { # KIND WORDS
    grep -q "\"kind\":\"$1\".*$2" "$RUN/events.jsonl"
}

further() { # STEPS: from now on
    wait_until 120 committed_at_least "$RUN" $(($(committed "$RUN") + $1))
}

mapped() { # PID: shards of STORE that it has open or mapped
    { ls -l "/proc/$1/fd" && cat "/proc/$1/maps"; } | grep -oE "$STORE/shards/[^/]+/data.mdb" | sort -u | wc -l
}

holds() { # NAME COUNT
    [ "$(mapped "$(pid_of "$RUN" "$1")")" -eq "$2" ]
}

@test "a shard that is cut off goes out of the stream before anybody trains on it, with the same bits for one worker and two" {
    shard=$(add_shard)
    truncate -s 20000 "$shard/data.mdb"
    run_30_steps "$RUN" 2
    grep -q "\"kind\":\"shard_broken\".*path=$shard .*cut off" "$RUN/events.jsonl"
    jq -e -s 'length == 30 and all(.is_commit)' "$RUN/metrics.jsonl"
    audit_is_clean "$RUN"
    run_30_steps "$RUN.alone" 1
    diff <(jq -c '[.step, .digest]' "$RUN/metrics.jsonl") <(jq -c '[.step, .digest]' "$RUN.alone/metrics.jsonl")
}

@test "a shard that is gone is waited for, then does without" {
    shard=$(add_shard)
    mv "$shard/data.mdb" "$BATS_TEST_TMPDIR/aside"
    run_30_steps "$RUN" 2
    grep -q "\"kind\":\"shard_broken\".*path=$shard .*No such file" "$RUN/events.jsonl"
    jq -e -s 'length == 30' "$RUN/metrics.jsonl"
    audit_is_clean "$RUN"
}

@test "a shard that is cut off under the eyes of those who train kills nobody" {
    shard=$(add_shard)
    start 2
    wait_until 120 committed_at_least "$RUN" 30
    [ "$(mapped "$(pid_of "$RUN" worker-1)")" -eq 2 ]
    before=$(cat "$RUN/pids")
    truncate -s 8192 "$shard/data.mdb"
    wait_until 60 event_is_there shard_broken "path=$shard "
    further 30
    [ "$before" = "$(cat "$RUN/pids")" ]
    seer stream ls --run "$RUN" | grep -qE "broken +$shard$"
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "shards that come and go leave neither maps nor descriptors behind" {
    start 2 --set snapshot.every_steps=5 --set snapshot.keep_last=1
    wait_until 120 committed_at_least "$RUN" 10
    for i in 1 2 3; do
        shard=$(find "$STORE/shards" -mindepth 1 -maxdepth 1 | head -n 1)
        cp -r "$shard" "$BATS_TEST_TMPDIR/copy-$i" # elsewhere: a store is looked through at any time
        mv "$BATS_TEST_TMPDIR/copy-$i" "$STORE/shards/copy-$i"
        wait_until 60 event_is_there shard_added "path=$STORE/shards/copy-$i"
        wait_until 60 holds worker-1 2
        further 5
        seer stream retire "$STORE/shards/copy-$i" --run "$RUN"
        wait_until 120 event_is_there shard_closed "path=$STORE/shards/copy-$i"
        rm -r "$STORE/shards/copy-$i"
        for name in worker-1 worker-2; do wait_until 60 holds "$name" 1; done
    done
    further 5
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}
