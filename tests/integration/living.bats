#!/usr/bin/env bats
# living.bats - a stream that refreshes itself: shards are added, expire and are removed while a run trains.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors

load cluster

setup_file() {
    pictures=$BATS_FILE_TMPDIR/pictures
    /usr/bin/python3 - "$pictures" <<'PYTHON'
import os, sys
import numpy as np
from PIL import Image
rng = np.random.default_rng(5)
for name in ('base', 'old', 'fresh', 'extra', 'coming'):
    os.makedirs(f'{sys.argv[1]}/{name}')
    for i in range(64):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(f'{sys.argv[1]}/{name}/{i}.png')
PYTHON
    export pictures
}

setup() {
    RUN=$BATS_TEST_TMPDIR/run store=$BATS_TEST_TMPDIR/store
    seer ingest "$pictures/base" --store "$store" -q >/dev/null
}

teardown() {
    [ -z "${watcher:-}" ] || kill -KILL "$watcher" 2>/dev/null || true
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
}

start() { # WORKERS [option...]
    local workers=$1
    shift
    "$LOCAL_CLUSTER" --config "$TINY" --run "$RUN" --workers "$workers" --store "$store" --seed 7 --detach \
        --set snapshot.every_steps=5 --set snapshot.keep_last=1 "$@"
}

ingest_living() { # NAME DAYS: a living shard that is so old; its path is on standard output
    local shard
    shard=$(seer ingest "$pictures/$1" --store "$store" --living -q -o json | jq -r '.shards[0]')
    jq --argjson days "$2" '.created_ms -= $days * 86400000' "$store/shards/$shard/manifest.json" >"$BATS_TEST_TMPDIR/m"
    cp "$BATS_TEST_TMPDIR/m" "$store/shards/$shard/manifest.json"
    echo "$store/shards/$shard"
}

state_of() { # PATH
    seer stream ls --run "$RUN" -o json | jq -r --arg path "$1" '.shards[] | select(.path == $path) | .state'
}

has_state() { # PATH STATE
    [ "$(state_of "$1")" = "$2" ]
}

has_event() { # KIND TEXT
    jq -se --arg kind "$1" --arg text "$2" 'any(.kind == $kind and (.text | contains($text)))' "$RUN/events.jsonl" >/dev/null
}

@test "a living shard expires by age, is trained on no more and is removed; what was ingested by hand stays" {
    old=$(ingest_living old 91) fresh=$(ingest_living fresh 89)
    start 2
    wait_until 60 has_event shard_retired "path=$old reason=\"expired: 2184 h old\""
    wait_until 60 has_event shard_unlinked "path=$old"
    [ ! -e "$old" ]
    [ -z "$(find "$store/shards" -name '.*.expired')" ]
    has_state "$old" unused
    has_state "$fresh" live
    # Another policy holds at once, and for a server that starts again, without asking twice.
    seer stream policy --max-age-days 80 --run "$RUN" --reason 'fresher' -o json |
        jq -e '.max_age_days == 80 and .exhausted == "repeat" and .unlink'
    seer stream policy --max-age-days 80 --run "$RUN" >/dev/null
    has_event stream_policy 'max_age_days=80 max_bytes=0 exhausted=repeat unlink=1 reason="fresher"'
    [ "$(jq -s 'map(select(.kind == "stream_policy")) | length' "$RUN/events.jsonl")" -eq 1 ]
    wait_until 60 has_event shard_unlinked "path=$fresh"
    seer stream ls --run "$RUN" -o json | jq -e '.shards | map(.state) | sort == ["live", "unused", "unused"]'
    [ "$(jq -s 'map(select(.kind == "stream_dry")) | length' "$RUN/events.jsonl")" -eq 0 ]
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}

@test "a shard from elsewhere is added, once; what was retired does not come back" {
    start 1
    seer ingest "$pictures/extra" --store "$BATS_TEST_TMPDIR/elsewhere" -q >/dev/null
    extra=$(echo "$BATS_TEST_TMPDIR"/elsewhere/shards/*)
    seer stream add "$extra" --run "$RUN" -o json >"$BATS_TEST_TMPDIR/first"
    seer stream add "$extra" --run "$RUN" -o json | diff "$BATS_TEST_TMPDIR/first" -
    jq -e '.records == 64' "$BATS_TEST_TMPDIR/first"
    has_state "$extra" live
    [ "$(jq -s 'map(select(.kind == "shard_added")) | length' "$RUN/events.jsonl")" -eq 2 ]
    seer stream retire "$extra" --run "$RUN"
    run seer stream add "$extra" --run "$RUN"
    [ "$status" -eq 2 ]
    [[ $output == *"was retired, which is for good"* ]]
    run seer stream add /usr/share --run "$RUN"
    [ "$status" -ne 0 ]
    run seer stream policy --exhausted sometimes --run "$RUN"
    [ "$status" -eq 2 ]
    # By hand, so its files are its owner's to remove.
    wait_until 60 has_state "$extra" unused
    [ -d "$extra" ]
}

@test "a run that waits at the end of its images goes on with what a watch brings" {
    mkdir "$BATS_TEST_TMPDIR/in"
    start 1 --set data.exhausted=wait
    wait_until 60 has_event stream_dry 'stream_end=64'
    seer ingest --watch "$BATS_TEST_TMPDIR/in" --store "$store" --seal-after 1 -q >/dev/null 2>&1 &
    watcher=$!
    steps=$(committed "$RUN")
    cp "$pictures"/coming/*.png "$BATS_TEST_TMPDIR/in"
    wait_until 60 committed_at_least "$RUN" $((steps + 2))
    seer stream ls --run "$RUN" -o json | jq -e '.shards | any(.living and .state == "live" and .bytes > 0)'
    kill -TERM "$watcher"
    wait "$watcher"
    watcher=
    seer stream policy --exhausted repeat --run "$RUN" >/dev/null
    wait_until 60 committed_at_least "$RUN" $((steps + 20))
    stop_cluster "$RUN"
    audit_is_clean "$RUN"
}
