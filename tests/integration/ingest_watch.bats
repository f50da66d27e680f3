#!/usr/bin/env bats
# ingest_watch.bats - seer ingest --watch as its users run it: pictures come, are sealed, and are moved away.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors

# shellcheck source=tests/integration/wait.bash
. "${SEER_SOURCE:?}/tests/integration/wait.bash"

setup_file() {
    seer=${SEER_BIN:?}/seer
    pictures=$BATS_FILE_TMPDIR/pictures
    export seer pictures
    mkdir "$pictures"
    /usr/bin/python3 - "$pictures" <<'PYTHON'
import io, sys, tarfile
import numpy as np
from PIL import Image
rng = np.random.default_rng(11)
root = sys.argv[1]
for i in range(40):
    Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(f'{root}/{i:02}.png')
open(root + '/bad.jpg', 'wb').write(b'hello')
with tarfile.open(root + '/mixed.tar', 'w') as tar:
    for name in ('30.png', 'bad.jpg', '31.png'):
        tar.add(f'{root}/{name}', arcname=name)
PYTHON
}

setup() {
    in=$BATS_TEST_TMPDIR/in spool=$BATS_TEST_TMPDIR/spool store=$BATS_TEST_TMPDIR/store
    mkdir "$in"
}

teardown() {
    [ -z "${watcher:-}" ] || kill -KILL "$watcher" 2> /dev/null || true
}

watch() { # further options
    "$seer" ingest --watch "$in" --store "$store" --seal-after 1 -q -o json "$@" \
        > "$BATS_TEST_TMPDIR/out" 2> "$BATS_TEST_TMPDIR/words" 9>&- &
    watcher=$!
}

end_watch() { # the summary is on standard output
    kill -TERM "$watcher"
    wait "$watcher"
    watcher=
    tail -n 1 "$BATS_TEST_TMPDIR/out" | jq -es last > /dev/null
    jq -es last "$BATS_TEST_TMPDIR/out"
}

records() {
    "$seer" store stat "$store" -o json 2> /dev/null | jq .records
}

await() { # a command that comes true
    wait_until 30 "$@" || { cat "$BATS_TEST_TMPDIR/words" >&2 && return 1; }
}

has_records() { [ "$(records)" = "$1" ]; }

@test "pictures that are there, that are written, renamed in or come with a new folder are sealed by age" {
    cp "$pictures/00.png" "$in"
    mkdir "$in/old"
    cp "$pictures/01.png" "$in/old"
    watch
    await has_records 2
    cp "$pictures/02.png" "$in/old"
    cp "$pictures/03.png" "$in/03.png.part"
    cp "$pictures/04.png" "$in/.04.png"
    mkdir -p "$in/new/deep"
    cp "$pictures/05.png" "$in/new/deep"
    mkdir "$BATS_TEST_TMPDIR/beside"
    cp "$pictures/06.png" "$BATS_TEST_TMPDIR/beside"
    mv "$BATS_TEST_TMPDIR/beside" "$in/beside"
    await has_records 5
    mv "$in/03.png.part" "$in/03.png"
    await has_records 6
    cp "$pictures/03.png" "$in/again.png"
    end_watch | jq -e '.accepted == 6 and .duplicates <= 1 and .stopped'
    "$seer" store verify "$store"
    jq -es 'map(select(.sealed)) | (map(.records) | add) == 6' "$BATS_TEST_TMPDIR/out"
    jq -e .living "$store"/shards/*/manifest.json
}

@test "a shard is sealed by size before it is old" {
    watch --seal-after 3600 --shard-mb 1
    /usr/bin/python3 - "$in" <<'PYTHON'
import sys
import numpy as np
from PIL import Image
for i in range(2):
    noise = np.random.default_rng(i).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(f'{sys.argv[1]}/{i}.png')
PYTHON
    await has_records 2
}

@test "--spool moves accepted and rejected files apart, when they are safe, and overwrites nothing" {
    mkdir -p "$in/a" "$spool/accepted/a"
    cp "$pictures/07.png" "$in/a"
    echo 3 > "$in/a/07.cls"
    echo old > "$spool/accepted/a/07.png"
    cp "$pictures/bad.jpg" "$pictures/mixed.tar" "$in"
    watch --spool "$spool" --report "$BATS_TEST_TMPDIR/report"
    moved() { [ -e "$spool/accepted/a/07.png.1" ] && [ -e "$spool/accepted/mixed.tar" ] && [ -e "$spool/rejected/bad.jpg" ]; }
    await moved
    [ -e "$spool/accepted/a/07.cls" ]
    [ "$(cat "$spool/accepted/a/07.png")" = old ]
    [ -z "$(find "$in" -type f)" ]
    [ "$(records)" = 3 ]
    cp "$pictures/30.png" "$in/known.png"
    await test -e "$spool/accepted/known.png"
    end_watch | jq -e '.accepted == 3 and .labelled == 1 and .duplicates == 1 and .rejected == {not_an_image: 2}'
    jq -se 'map(.reason) | sort == ["duplicate", "not_an_image", "not_an_image"]' "$BATS_TEST_TMPDIR/report"
}

@test "a file that is still being written when the watch begins is taken when it is whole" {
    exec 9> "$in/slow.png"
    head -c 900 "$pictures/08.png" >&9
    cp "$pictures/09.png" "$in"
    watch --spool "$spool"
    await has_records 1
    tail -c +901 "$pictures/08.png" >&9
    exec 9>&-
    await has_records 2
    end_watch | jq -e '.accepted == 2 and .rejected == {}'
}

@test "events that the kernel has no room for lead to another look at all" {
    watch --spool "$spool"
    cp "$pictures/10.png" "$in"
    await has_records 1
    kill -STOP "$watcher"
    /usr/bin/python3 - "$in" <<'PYTHON'
import os, sys
most = int(open('/proc/sys/fs/inotify/max_queued_events').read())
if most > 200000:
    sys.exit(0)
names = [sys.argv[1] + '/a.part', sys.argv[1] + '/b.part']
open(names[0], 'w').close()
for i in range(most + 10):
    os.rename(names[i % 2], names[1 - i % 2])
PYTHON
    cp "$pictures/11.png" "$in"
    mkdir "$in/unseen"
    cp "$pictures/12.png" "$in/unseen"
    kill -CONT "$watcher"
    await has_records 3
    cp "$pictures/13.png" "$in/unseen"
    await has_records 4
    end_watch | jq -e '.accepted == 4'
}

@test "another ingest gets its turn between two shards, and what it stored is not stored again" {
    watch
    cp "$pictures/14.png" "$in"
    "$seer" ingest "$pictures/15.png" --store "$store" -q -o json | jq -e '.accepted == 1'
    cp "$pictures/15.png" "$pictures/16.png" "$in"
    await has_records 3
    end_watch | jq -e '.accepted == 2 and .duplicates == 1'
}

@test "what was stored before is not stored again by the next watch, without being decoded" {
    cp "$pictures"/2?.png "$in"
    watch
    await has_records 10
    kill -KILL "$watcher"
    wait "$watcher" || true
    watch
    cp "$pictures/17.png" "$in"
    await has_records 11
    end_watch | jq -e '.accepted == 1 and .duplicates == 10'
}

@test "what is removed from the store may come again" {
    watch
    cp "$pictures/18.png" "$in"
    await has_records 1
    rm -r "$store"/shards/*
    cp "$pictures/18.png" "$in/again.png"
    await has_records 1
}

@test "wrong usage is told before anything is made, with the remedy" {
    run "$seer" ingest --watch "$pictures/00.png" --store "$store"
    [ "$status" -eq 2 ]
    [[ $output == *"only folders can be watched"* ]]
    run "$seer" ingest --watch "$in" --spool "$in/done" --store "$store"
    [ "$status" -eq 2 ]
    [[ $output == *"name a folder beside it"* ]]
    run "$seer" ingest --watch "$in" --keep-duplicates --store "$store"
    [ "$status" -eq 2 ]
    run "$seer" ingest "$in" --spool "$spool" --store "$store"
    [ "$status" -eq 2 ]
    [[ $output == *"--watch"* ]]
    [ ! -e "$store" ]
}

@test "a watched folder that goes away ends the watch: what was taken is sealed, and it is an error" {
    watch --seal-after 3600
    cp "$pictures/19.png" "$in"
    await test -e "$store/unsealed/lock"
    rm -r "$in"
    code=0
    wait "$watcher" || code=$?
    watcher=
    [ "$code" -eq 1 ]
    [[ $(< "$BATS_TEST_TMPDIR/words") == *"is gone"* ]]
    [ "$(records)" = 1 ]
}
