#!/usr/bin/env bash
# crash_points.sh - SIGKILL at every system call that writes: crash_points.sh journal|ingest|snapshot WRITER
#
# strace kills the process on entering the n-th call of a kind, n = 1, 2, 3 ... until it ends by itself. What the
# dead process left must be whole, hold all that was acknowledged, and be gone on with.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
what=$1 writer=$2
calls='pwrite64 pwritev write writev fdatasync fsync sync_file_range msync rename mkdir fallocate ftruncate unlink unlinkat rmdir'
calls_max=500
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
exec 3>&2
export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 # LeakSanitizer cannot work beside strace

fail() { # WORDS: with the place, and what was said last
    echo "killed at $call $n: $*" >&3
    tail -n 5 "$folder/said" >&3
    exit 1
}

# killed_at CALL N COMMAND...: 0 if strace killed it, 1 if it ended well before.
killed_at() {
    local call=$1 n=$2 status=0
    shift 2
    strace -f -qq -o /dev/null -e trace="$call" -e inject="$call:signal=SIGKILL:when=$n" "$@" || status=$?
    case $status in
    0) return 1 ;;
    137) return 0 ;;
    *) fail "exit status $status" ;;
    esac
}

try_journal() { # 1: not killed
    local killed=0 acknowledged
    rm -rf "$folder/state"
    killed_at "$call" "$n" "$writer" append "$folder/state" 4 >"$folder/acknowledged" 2>"$folder/said" || killed=1
    acknowledged=$(tail -n 1 "$folder/acknowledged")
    "$writer" check "$folder/state" "${acknowledged:-0}" >"$folder/said" 2>&1 || fail 'the journal is not whole'
    return "$killed"
}

try_snapshot() { # 1: not killed
    local killed=0
    rm -rf "$folder/snapshots"
    killed_at "$call" "$n" "$writer" write "$folder/snapshots" >"$folder/acknowledged" 2>"$folder/said" || killed=1
    "$writer" check "$folder/snapshots" "$folder/acknowledged" >"$folder/said" 2>&1 || fail 'the snapshots are not whole'
    [ -z "$(find "$folder/snapshots" -type f ! -name '*.safetensors' ! -name '*.pin')" ] ||
        fail 'something unfinished stayed'
    return "$killed"
}

records() { # of a store
    "$SEER_BIN/seer" store stat "$1" -o json | jq .records
}

prepare_ingest() { # a store that holds a part of the pictures already
    local pictures=$SEER_SOURCE/tests/fuzz/corpus/image
    mkdir "$folder/pictures"
    cp "$pictures"/png-*.png "$folder/pictures"
    "$SEER_BIN/seer" ingest "$folder/pictures" --store "$folder/base" --quiet >/dev/null
    cp "$pictures"/jpeg-* "$folder/pictures"
    cp -r "$folder/base" "$folder/whole"
    "$SEER_BIN/seer" ingest "$folder/pictures" --store "$folder/whole" --quiet >/dev/null
    base=$(records "$folder/base")
    whole=$(records "$folder/whole")
    [ "$base" -gt 0 ] && [ "$whole" -gt "$base" ]
}

try_ingest() { # 1: not killed
    local killed=0 store=$folder/store count
    rm -rf "$store"
    cp -r "$folder/base" "$store"
    killed_at "$call" "$n" "$SEER_BIN/seer" ingest "$folder/pictures" --store "$store" --jobs 1 --quiet \
        >"$folder/said" 2>&1 || killed=1
    "$SEER_BIN/seer" store verify "$store" >"$folder/said" 2>&1 || fail 'the store does not verify'
    count=$(records "$store")
    [ "$count" = "$base" ] || [ "$count" = "$whole" ] || fail "$count records, not $base or $whole"
    "$SEER_BIN/seer" ingest "$folder/pictures" --store "$store" --quiet >"$folder/said" 2>&1 || fail 'not completed'
    count=$(records "$store")
    [ "$count" = "$whole" ] || fail "$count records after a second ingest, not $whole"
    "$SEER_BIN/seer" store verify "$store" >"$folder/said" 2>&1 || fail 'the completed store does not verify'
    [ "$(find "$store" -name data.mdb | wc -l)" = "$(find "$store/shards" -name manifest.json | wc -l)" ] ||
        fail 'something unfinished stayed'
    return "$killed"
}

strace -qq -o /dev/null -e inject=write:signal=SIGKILL:when=9999 true 2>/dev/null || {
    echo 'skipped: strace is not installed, or may not trace here'
    exit 77
}
[ "$what" != ingest ] || prepare_ingest
points=0
for call in $calls; do
    for ((n = 1; n <= calls_max; n++)); do
        "try_$what" || break
        points=$((points + 1))
    done
    [ "$n" -le "$calls_max" ] || fail 'no end of calls'
done
echo "$what: killed at $points points"
[ "$points" -ge 10 ]
