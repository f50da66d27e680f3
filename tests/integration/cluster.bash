# cluster.bash - what the end-to-end tests share: a small store, a small recipe, a cluster in a folder of its own.
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# shellcheck source=tests/integration/wait.bash
source "$SEER_SOURCE/tests/integration/wait.bash"

export PATH="$SEER_BIN:$PATH"
LOCAL_CLUSTER="$SEER_SOURCE/deploy/local_cluster.sh"
TINY="$SEER_SOURCE/tests/integration/tiny.yaml"

# Pictures for the whole file: 512 to train, 128 to judge. Needs dataset-fashion-mnist; without it the tests are skipped.
make_stores() {
    [ -d /usr/share/datasets/fashion-mnist ] || return 0
    colour-fashion "$BATS_FILE_TMPDIR/pictures" --train 512 --test 128 >/dev/null
    seer ingest "$BATS_FILE_TMPDIR"/pictures/*-train.tar --labels cls --store "$BATS_FILE_TMPDIR/train" >/dev/null 2>&1
    seer ingest "$BATS_FILE_TMPDIR"/pictures/*-test.tar --labels cls --store "$BATS_FILE_TMPDIR/test" >/dev/null 2>&1
}

need_stores() {
    [ -d "$BATS_FILE_TMPDIR/train/shards" ] || skip 'package dataset-fashion-mnist is not installed'
}

# start_cluster RUN WORKERS [option...]: returns when it is started.
start_cluster() {
    local run=$1 workers=$2
    shift 2
    "$LOCAL_CLUSTER" --config "$TINY" --run "$run" --workers "$workers" --store "$BATS_FILE_TMPDIR/train" --seed 7 --detach "$@"
}

# run_cluster RUN WORKERS STEPS [option...]: returns when the steps are committed.
run_cluster() {
    local run=$1 workers=$2 steps=$3
    shift 3
    timeout 300 "$LOCAL_CLUSTER" --config "$TINY" --run "$run" --workers "$workers" --steps "$steps" \
        --store "$BATS_FILE_TMPDIR/train" --seed 7 "$@" >"$run.log" 2>&1
}

stop_cluster() {
    "$LOCAL_CLUSTER" --run "$1" --stop
}

committed() { # RUN: steps committed so far
    [ -f "$1/metrics.jsonl" ] && wc -l <"$1/metrics.jsonl" || echo 0
}

committed_at_least() { # RUN STEPS
    [ -f "$1/metrics.jsonl" ] && [ "$(wc -l <"$1/metrics.jsonl")" -ge "$2" ]
}

status_of() { # RUN FILTER
    seer status --run "$1" -o json | jq -r "$2"
}

status_is() { # RUN FILTER VALUE
    [ "$(status_of "$1" "$2" 2>/dev/null)" = "$3" ]
}

pid_of() { # RUN NAME: of the server or a worker
    awk -v name="$2" '($1 == "server" && name == "server") { print $2 } ($1 == "worker" && $2 == name) { print $3 }' "$1/pids"
}

is_gone() { # PID
    ! kill -0 "$1" 2>/dev/null
}

audit_is_clean() { # RUN [option...]
    seer audit "$@" -o json >"$1.audit"
    jq -e '.lost == 0 and .duplicated == 0 and .unequal_digests == 0 and .positions_trained > 0 and
        .workers > 0 and .steps_witnessed > 0 and .digests_differ == 0 and .applied_without_commit == 0 and
        .committed_not_applied == 0 and .records_differ == 0 and .journals_damaged == 0' "$1.audit"
}
