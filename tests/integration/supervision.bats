#!/usr/bin/env bats
# supervision.bats - who is started again, when, and what is left behind by those who are not.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run"
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
}

# A folder of the programs with a worker that notes when it is started and ends at once with CODE.
make_programs() { # CODE
    programs="$BATS_TEST_TMPDIR/programs" starts="$BATS_TEST_TMPDIR/starts"
    mkdir "$programs"
    ln -s "$SEER_BIN"/seer "$SEER_BIN"/seer-server "$SEER_BIN"/seer-helper "$programs"
    printf '#!/bin/bash\necho ${EPOCHREALTIME//[.,]/} >>%q\nexit %d\n' "$starts" "$1" >"$programs/seer-worker"
    chmod +x "$programs/seer-worker"
}

started_at_least() { # TIMES
    [ -f "$starts" ] && [ "$(wc -l <"$starts")" -ge "$1" ]
}

@test "a worker that dies at once is started again, ever later" {
    make_programs 70
    SEER_BIN=$programs start_cluster "$RUN" 1 --respawn
    wait_until 30 started_at_least 5
    # 100, 200, 400, 800 ms: never sooner
    awk 'NR > 1 && $1 - last < 1000 * 50 * 2 ^ (NR - 1) { print "start", NR, "after only", $1 - last, "us"; bad = 1 }
        { last = $1 } END { exit bad }' "$starts"
}

@test "a worker that cannot use its config is not started again" {
    make_programs 2
    SEER_BIN=$programs run timeout 60 "$LOCAL_CLUSTER" --config "$TINY" --run "$RUN" --workers 1 \
        --store "$BATS_FILE_TMPDIR/train" --respawn
    [ "$status" -eq 1 ]
    [[ $output == *'every worker has failed'* ]]
    [ "$(wc -l <"$starts")" -eq 1 ]
}

scratch() { # of RUN's helpers: succeeds if there is any
    compgen -G "/dev/shm/everseer-$(jq -r .run "$RUN/server.json")-*" >/dev/null
}

no_scratch() {
    ! scratch
}

@test "a run of which everybody is killed leaves no helpers and no shared memory" {
    start_cluster "$RUN" 2
    wait_until 60 committed_at_least "$RUN" 3
    scratch
    kill -9 "$(pid_of "$RUN" server)" "$(pid_of "$RUN" worker-1)" "$(pid_of "$RUN" worker-2)"
    wait_until 30 no_scratch
}
