#!/usr/bin/env bats
# service.bats - what a service manager hears of a server and its workers (sd_notify), on a socket of our own.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
}

setup() {
    need_stores
    RUN="$BATS_TEST_TMPDIR/run" HEARD="$BATS_TEST_TMPDIR/heard"
    export NOTIFY_SOCKET="$BATS_TEST_TMPDIR/manager"
    python3 "$SEER_SOURCE/tests/integration/manager.py" "$NOTIFY_SOCKET" >"$HEARD" 3>&- &
    manager=$!
    wait_until 10 test -S "$NOTIFY_SOCKET"
    export WATCHDOG_USEC=60000000
    start_cluster "$RUN" 2
    server=$(pid_of "$RUN" server) worker=$(pid_of "$RUN" worker-1) other=$(pid_of "$RUN" worker-2)
}

teardown() {
    [ ! -f "$RUN/pids" ] || stop_cluster "$RUN" || true
    kill "$manager"
}

heard() { # PID REGULAR-EXPRESSION, of a whole line
    grep -qxE "$1 $2" "$HEARD"
}

lives() { # PID: how often it said so
    grep -cx "$1 WATCHDOG=1" "$HEARD" || :
}

lived_until() { # PID TIMES
    [ "$(lives "$1")" -ge "$2" ]
}

@test "a service manager hears who is ready, what it does, that it lives and that it ends" {
    wait_until 60 heard "$server" READY=1
    wait_until 60 heard "$worker" READY=1
    wait_until 90 heard "$server" 'STATUS=training, step [1-9][0-9]*, loss [0-9.]+, 2 workers, 2 of them in generation [1-9][0-9]*'
    wait_until 30 heard "$worker" 'STATUS=[a-z]+, step [1-9][0-9]*, generation [1-9][0-9]*, [0-9.]+ images/s'
    wait_until 30 lived_until "$server" 2
    wait_until 30 lived_until "$worker" 2
    if heard "$worker" STOPPING=1; then false; fi
    kill -TERM "$worker"
    wait_until 30 heard "$worker" STOPPING=1
    wait_until 30 is_gone "$worker"
    if heard "$server" STOPPING=1; then false; fi
    kill -TERM "$server"
    wait_until 30 heard "$server" STOPPING=1
    # Neither helpers nor mpirun speak for them.
    [ -z "$(grep -vE "^($server|$worker|$other) " "$HEARD")" ]
}

@test "a server that hangs no longer says that it lives" {
    wait_until 60 lived_until "$server" 1
    kill -STOP "$server"
    # What it had said before may still come.
    wait_until 30 lived_until "$worker" "$(($(lives "$worker") + 2))"
    before=$(lives "$server")
    wait_until 30 lived_until "$worker" "$(($(lives "$worker") + 6))"
    [ "$(lives "$server")" -eq "$before" ]
    kill -CONT "$server"
    wait_until 30 lived_until "$server" "$((before + 1))"
}
