#!/usr/bin/env bats
# backup.bats - a copy made beside a running server, as docs/operator.md says, goes on elsewhere.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run" COPY="$BATS_TEST_TMPDIR/copy"
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
    [ ! -f "$COPY/pids" ] || stop_cluster "$COPY" || true
}

has_snapshot() { # RUN NAME
    seer snapshot ls --run "$1" -o json | jq -e --arg name "$2" 'any(.snapshots[]; .name == $name)' >/dev/null
}

has_rolled_back() { # RUN
    grep -q '"kind":"rolled_back"' "$1/events.jsonl"
}

@test "a backup of a running run goes on from its snapshot when the disk of before is gone" {
    command -v mdb_copy >/dev/null || skip 'package lmdb-utils is not installed'
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 5
    wait_until 60 seer snapshot save backup-1 --run "$RUN" # not while the one of every 20 steps is taken
    wait_until 60 has_snapshot "$RUN" backup-1
    mkdir -p "$COPY/state"
    mdb_copy "$RUN/state" "$COPY/state"
    cp -r "$RUN/snapshots" "$COPY"
    seer snapshot verify --run "$COPY" >/dev/null
    stop_cluster "$RUN"
    rm -r "$RUN"
    start_cluster "$COPY" 2
    # What the journal knows is written into the new folder first; then it goes back, and on.
    wait_until 60 has_rolled_back "$COPY"
    before=$(committed "$COPY")
    wait_until 60 committed_at_least "$COPY" "$((before + 5))"
    stop_cluster "$COPY"
    seer audit "$COPY" -o json | jq -e '.lost == 0 and .duplicated == 0'
}
