#!/usr/bin/env bats
# bad_input.bats - every refusal names file, line or key, the cause and the remedy, with the right exit code.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

@test "a misspelt key is refused with file, line and the nearest name" {
    printf 'train:\n  batch_imges: 24\n' >"$BATS_TEST_TMPDIR/bad.yaml"
    run seer config check "$BATS_TEST_TMPDIR/bad.yaml"
    [ "$status" -eq 2 ]
    [[ $output == *"bad.yaml:2"* && $output == *batch_images* ]]
}

@test "values that cannot be are refused by key" {
    for set in model.prototypes=1 train.batch_images=25 model.group_width=0 swav.epsilon=-1; do
        run seer config check "$TINY" --set "$set"
        [ "$status" -eq 2 ]
        [[ $output == *"${set%%=*}"* ]]
    done
}

@test "a store that is none is refused" {
    need_stores
    mkdir -p "$BATS_TEST_TMPDIR/empty"
    run seer-server --config "$TINY" --state "$BATS_TEST_TMPDIR/run" --store "$BATS_TEST_TMPDIR/nowhere"
    [ "$status" -eq 2 ]
    [[ $output == *nowhere* ]]
    run seer eval knn --snapshot "$BATS_TEST_TMPDIR/none.safetensors" --train "$BATS_TEST_TMPDIR/empty" --test "$BATS_TEST_TMPDIR/empty"
    [ "$status" -ne 0 ]
}

@test "a port in use is named" {
    need_stores
    start_cluster "$BATS_TEST_TMPDIR/run" 1
    wait_until 60 committed_at_least "$BATS_TEST_TMPDIR/run" 1
    address=$(jq -r .control "$BATS_TEST_TMPDIR/run/server.json")
    run seer-server --config "$TINY" --state "$BATS_TEST_TMPDIR/other" --store "$BATS_FILE_TMPDIR/train" --set "server.listen=$address"
    stop_cluster "$BATS_TEST_TMPDIR/run"
    [ "$status" -eq 1 ]
    [[ $output == *"${address##*:}"* && $output == *"in use"* ]]
}

@test "two servers cannot own one run" {
    need_stores
    start_cluster "$BATS_TEST_TMPDIR/run" 1
    wait_until 60 committed_at_least "$BATS_TEST_TMPDIR/run" 1
    run seer-server --config "$TINY" --state "$BATS_TEST_TMPDIR/run" --store "$BATS_FILE_TMPDIR/train"
    stop_cluster "$BATS_TEST_TMPDIR/run"
    [ "$status" -ne 0 ]
    [[ $output == *"$BATS_TEST_TMPDIR/run"* ]]
}

@test "a shard damaged in the middle does not stop the run: its bad records are counted and named" {
    need_stores
    cp -r "$BATS_FILE_TMPDIR/train" "$BATS_TEST_TMPDIR/damaged"
    shard=$(find "$BATS_TEST_TMPDIR/damaged/shards" -name data.mdb | head -n 1)
    size=$(stat -c %s "$shard")
    # Image bytes only: every 64th KiB, a run of zeros inside records
    python3 - "$shard" <<'P'
import sys
data = bytearray(open(sys.argv[1], 'rb').read())
at, hits = 0, 0
while hits < 20:
    at = data.find(b'IDAT', at + 1)
    if at < 0:
        break
    data[at + 8:at + 40] = bytes(32)
    hits += 1
    at += 20000
open(sys.argv[1], 'wb').write(data)
assert hits > 0
P
    [ "$size" -eq "$(stat -c %s "$shard")" ]
    timeout 200 "$LOCAL_CLUSTER" --config "$TINY" --run "$BATS_TEST_TMPDIR/run" --workers 2 --steps 30 --seed 7 --store "$BATS_TEST_TMPDIR/damaged"
    seer audit "$BATS_TEST_TMPDIR/run" -o json >"$BATS_TEST_TMPDIR/audit"
    jq -e '.lost == 0 and .duplicated == 0 and .positions_quarantined > 0' "$BATS_TEST_TMPDIR/audit"
}

@test "a slot of bad records alone costs its step and not the run" {
    need_stores
    cp -r "$BATS_FILE_TMPDIR/train" "$BATS_TEST_TMPDIR/damaged"
    shard=$(find "$BATS_TEST_TMPDIR/damaged/shards" -name data.mdb | head -n 1)
    # Half of all images: some slots of four have no good one.
    python3 - "$shard" <<'P'
import random, sys
data = bytearray(open(sys.argv[1], 'rb').read())
chance, at = random.Random(5), data.find(b'IDAT')
while at >= 0:
    if chance.random() < 0.5:
        data[at + 8:at + 40] = bytes(32)
    at = data.find(b'IDAT', at + 1)
open(sys.argv[1], 'wb').write(data)
P
    run=$BATS_TEST_TMPDIR/run
    timeout 200 "$LOCAL_CLUSTER" --config "$TINY" --run "$run" --workers 2 --steps 30 --seed 7 --store "$BATS_TEST_TMPDIR/damaged"
    jq -e -s 'length == 30 and any(.is_commit) and any(.is_commit | not)' "$run/metrics.jsonl"
    grep -q '"kind":"step_skipped".*without a record' "$run/events.jsonl"
    seer audit "$run" -o json >"$BATS_TEST_TMPDIR/audit"
    jq -e '.lost == 0 and .duplicated == 0 and .positions_passed_over > 0' "$BATS_TEST_TMPDIR/audit"
    # One worker passes over the same steps, and all have the same bits.
    timeout 200 "$LOCAL_CLUSTER" --config "$TINY" --run "$run.alone" --workers 1 --steps 30 --seed 7 --store "$BATS_TEST_TMPDIR/damaged"
    diff <(jq -c '[.step, .is_commit, .digest]' "$run/metrics.jsonl") <(jq -c '[.step, .is_commit, .digest]' "$run.alone/metrics.jsonl")
}

@test "a worker's journal that cannot be written is refused by name" {
    : >"$BATS_TEST_TMPDIR/file"
    run seer-worker --server tcp://127.0.0.1:9 --respawn --journal "$BATS_TEST_TMPDIR/file/journals"
    [ "$status" -eq 2 ]
    [[ $output == *"file/journals"* ]]
}

@test "nobody there is exit code 3" {
    run seer status --server tcp://127.0.0.1:9
    [ "$status" -eq 3 ]
}

@test "an unknown command is refused with the nearest one" {
    run seer stauts
    [ "$status" -eq 2 ]
    [[ $output == *status* ]]
}
