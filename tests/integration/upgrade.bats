#!/usr/bin/env bats
# upgrade.bats - server and workers are replaced one by one by those of the next version while the run trains.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run"
    NEXT="$BATS_TEST_TMPDIR/next"
    mkdir "$NEXT"
    for program in seer-server seer-worker; do
        ln -s "$SEER_BIN/$program-next" "$NEXT/$program"
    done
    ln -s "$SEER_BIN/seer" "$SEER_BIN/seer-helper" "$NEXT"
    pids=()
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
}

start_worker() { # NAME: of the next version
    "$NEXT/seer-worker" --server "$(jq -r .control "$RUN/server.json")" --name "$1" --journal "$RUN/workers" >"$RUN/$1.log" 2>&1 3>&- &
    pids+=($!)
    wait_until 60 is_member "$1"
}

is_member() { # NAME
    seer worker ls --run "$RUN" -o json | jq -e --arg name "$1" 'any(.workers[]; .name == $name and .rank >= 0)' >/dev/null
}

has_left() { # NAME
    seer worker ls --run "$RUN" -o json | jq -e --arg name "$1" 'all(.workers[]; .name != $name)' >/dev/null
}

goes_on() {
    local before
    before=$(committed "$RUN")
    wait_until 60 committed_at_least "$RUN" $((before + 5))
}

# Each as NAME VERSION PROTOCOL, in one line.
versions() {
    status_of "$RUN" '[.workers | sort_by(.name)[] | "\(.name) \(.version) \(.protocol)"] | join(", ")'
}

@test "first the server, then each worker is replaced by a newer one, and the run goes on" {
    version=$(seer --version | awk '{ print $2 }')
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 5
    [ "$(status_of "$RUN" .version)" = "$version" ]
    [ "$(versions)" = "worker-1 $version 4, worker-2 $version 4" ]

    # A newer worker may come before the newer server: they speak what both can.
    start_worker early
    [ "$(versions)" = "early 9.9.9 4, worker-1 $version 4, worker-2 $version 4" ]
    goes_on

    kill -9 "$(pid_of "$RUN" server)"
    command=$(sed -n 's/^server //p' "$RUN/commands")
    bash -c "exec ${command//"$SEER_BIN"/"$NEXT"}" >>"$RUN/server.log" 2>&1 3>&- &
    pids+=($!)
    wait_until 60 status_is "$RUN" .epoch 2
    wait_until 60 status_is "$RUN" .world_size 3
    [ "$(status_of "$RUN" .version)" = 9.9.9 ]
    goes_on
    [ "$(versions)" = "early 9.9.9 5, worker-1 $version 4, worker-2 $version 4" ]

    for number in 1 2; do
        start_worker "newer-$number"
        seer worker drain "worker-$number" --run "$RUN" --wait 60
        wait_until 60 has_left "worker-$number"
        goes_on
    done
    [ "$(versions)" = "early 9.9.9 5, newer-1 9.9.9 5, newer-2 9.9.9 5" ]
    jq -es 'all(.kind | IN("worker_lost", "rolled_back", "digests_differ", "state_differs") | not)' "$RUN/events.jsonl"
    grep -q 'worker=newer-1 .* version=9.9.9 protocol=5' "$RUN/events.jsonl"
    audit_is_clean "$RUN"
}
