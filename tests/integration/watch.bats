#!/usr/bin/env bats
# watch.bats - what shows a run: the status feed as a contract, HTTP, metrics, seer top.
# SPDX-License-Identifier: Apache-2.0

load cluster

setup_file() {
    load cluster
    make_stores
    [ -d "$BATS_FILE_TMPDIR/train/shards" ] || return 0
    RUN="$BATS_FILE_TMPDIR/run"
    start_cluster "$RUN" 2 --respawn
    wait_until 60 committed_at_least "$RUN" 10
    start_dashboard
}

teardown_file() {
    load cluster
    [ ! -f "$BATS_FILE_TMPDIR/dashboard.pid" ] || kill "$(<"$BATS_FILE_TMPDIR/dashboard.pid")" || true
    [ ! -f "$BATS_FILE_TMPDIR/run/pids" ] || stop_cluster "$BATS_FILE_TMPDIR/run" || true
}

setup() {
    need_stores
    RUN="$BATS_FILE_TMPDIR/run"
    [ ! -s "$BATS_FILE_TMPDIR/url" ] || URL=$(<"$BATS_FILE_TMPDIR/url")
}

start_dashboard() {
    seer dashboard --run "$RUN" --listen 127.0.0.1:0 >"$BATS_FILE_TMPDIR/url" 2>"$BATS_FILE_TMPDIR/dashboard.log" 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/dashboard.pid"
    wait_until 10 test -s "$BATS_FILE_TMPDIR/url"
    URL=$(<"$BATS_FILE_TMPDIR/url")
    wait_until 10 is_ready
}

is_ready() {
    curl -sf -m 5 "${URL}readyz"
}

api() { # FILTER
    curl -sf -m 5 "${URL}api/v1/status" | jq -e "$1"
}

is_gapless() { # FILE: lines "epoch sequence topic", of one epoch
    awk 'NR > 1 && ($1 != epoch || $2 != sequence + 1) { exit 1 } { epoch = $1; sequence = $2 } END { exit NR == 0 }' "$1"
}

metric() { # NAME
    curl -sf -m 5 "${URL}metrics" | awk -v name="$1" '$1 == name { print $2 }'
}

@test "the example in Python joins late and follows without a gap" {
    command -v protoc >/dev/null && /usr/bin/python3 -c 'import zmq, google.protobuf' || skip 'no protoc or Python modules zmq, protobuf'
    protoc -I "$SEER_SOURCE/proto" --python_out="$BATS_TEST_TMPDIR" control.proto status.proto
    PYTHONPATH="$BATS_TEST_TMPDIR" timeout 60 /usr/bin/python3 "$SEER_SOURCE/docs/examples/follow_feed.py" "$RUN/server.json" 60 >"$BATS_TEST_TMPDIR/seen"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/seen")" -eq 60 ]
    is_gapless "$BATS_TEST_TMPDIR/seen"
    grep -q ' step$' "$BATS_TEST_TMPDIR/seen"
}

@test "the example in C joins late and follows without a gap" {
    timeout 60 "$SEER_BIN/follow_feed" "$(jq -r .control "$RUN/server.json")" "$(jq -r .feed "$RUN/server.json")" 60 >"$BATS_TEST_TMPDIR/seen"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/seen")" -eq 60 ]
    is_gapless "$BATS_TEST_TMPDIR/seen"
}

@test "status says behind which message of the feed it belongs" {
    seer status --run "$RUN" -o json | jq -e '.feed.sequence > 0 and .feed.epoch == .epoch and (.feed.address | startswith("tcp://127."))'
}

@test "health, readiness, status and metrics are served, and the page needs nothing from elsewhere" {
    [ "$(curl -sf -m 5 "${URL}healthz")" = ok ]
    [ "$(curl -sf -m 5 "${URL}readyz")" = ok ]
    api '.schema_version == 1 and .is_live and (.points | length) > 5 and (.workers | length) == 2 and .prototypes == 20
         and (.uniform_loss - 2.9957 | fabs) < 0.001 and (.points[-1].phase_ms | add) > 0 and .stream.newest_wall_ms > 0'
    curl -sf -m 5 "$URL" >"$BATS_TEST_TMPDIR/page"
    cd "$SEER_SOURCE/server/watch"
    cat page.css run.js charts.js panels.js | diff - <(grep -xFf <(cat page.css run.js charts.js panels.js) "$BATS_TEST_TMPDIR/page")
    ! grep -q '@[a-z_]*[.]\(css\|js\)@' "$BATS_TEST_TMPDIR/page" || false
    ! grep -E '(src|href)="?https?:' "$BATS_TEST_TMPDIR/page" || false
}

@test "metrics pass promtool, count on, and carry what the feed says" {
    curl -sf -m 5 "${URL}metrics" >"$BATS_TEST_TMPDIR/metrics"
    grep -q '^seer_server_up 1$' "$BATS_TEST_TMPDIR/metrics"
    grep -q '^seer_run_state{state="training"} 1$' "$BATS_TEST_TMPDIR/metrics"
    grep -q '^seer_worker_images_per_second{worker="worker-1",host=' "$BATS_TEST_TMPDIR/metrics"
    before=$(metric seer_steps_committed_total)
    wait_until 20 has_grown seer_steps_committed_total "$before"
    if command -v promtool >/dev/null; then
        promtool check metrics <"$BATS_TEST_TMPDIR/metrics"
    fi
}

has_metric() { # NAME
    [ -n "$(metric "$1")" ]
}

is_told_of() { # FILTER
    api "$1" >/dev/null
}

@test "an evaluation that is put beside the run is an event, a mark, a metric and a row of the page" {
    snapshot=$(seer snapshot ls --run "$RUN" -o json | jq -r '.snapshots[-1].path')
    seer eval knn --snapshot "$snapshot" --train "$BATS_FILE_TMPDIR/train" --test "$BATS_FILE_TMPDIR/test" --train-limit 64 --test-limit 32 -o json >"$BATS_TEST_TMPDIR/knn"
    step=$(jq .step "$BATS_TEST_TMPDIR/knn")
    jq -e --argjson step "$step" '.evaluation == "knn" and .step == $step' "$RUN/evals/knn-step-$(printf %09d "$step").json"
    wait_until 20 is_told_of ".evaluations | any(.name == \"knn\" and .step == $step and (.top1 - $(jq .top1 "$BATS_TEST_TMPDIR/knn") | fabs) < 0.01)"
    api '.marks | any(.kind == "evaluation")'
    jq -es --arg step " step=$step " 'any(.kind == "evaluation" and (.text | contains($step)))' "$RUN/events.jsonl"
    curl -sf -m 5 "${URL}metrics" | grep -q '^seer_evaluation_top1_ratio{evaluation="knn"} 0[.]'
}

@test "figures of learning reach the feed, status, the page and a file of the run" {
    wait_until 60 has_metric seer_embedding_rank
    api '.learning.prototypes == 20 and .learning.prototypes_used > 0 and .learning.prototypes_used <= 20 and .learning.weight_norm > 0
         and .learning.embedding_rank >= 1 and .learning.embedding_rank <= .learning.embedding and .learning.trust_least <= .learning.trust_median
         and (.learnings | length) > 1 and (.learnings | map(.step % 25) | add) == 0 and (.advice | type) == "array"'
    seer status --run "$RUN" -o json | jq -e '.learning.prototypes == 20'
    jq -es 'length > 1 and all(.prototypes == 20 and .codes_entropy > 0 and .codes_entropy <= 1)' "$RUN/learning.jsonl"
    seer top --run "$RUN" --once --width 200 | grep -E '^learning +[0-9]+ of 20 prototypes used'
}

has_grown() { # NAME BEFORE
    awk -v now="$(metric "$1")" -v before="$2" 'BEGIN { exit !(now > before) }'
}

@test "alert rules are sound, and fire and rest as their tests say" {
    command -v promtool >/dev/null || skip 'promtool is not installed'
    promtool check rules "$SEER_SOURCE/deploy/prometheus/seer.rules.yaml"
    cd "$SEER_SOURCE/deploy/prometheus"
    promtool test rules seer.rules.test.yaml
}

@test "rules and the Grafana dashboard name only metrics that are served" {
    wait_until 60 has_metric seer_embedding_rank
    curl -sf -m 5 "${URL}metrics" >"$BATS_TEST_TMPDIR/metrics"
    served=$(sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' "$BATS_TEST_TMPDIR/metrics")
    jq -e '.panels | length > 8' "$SEER_SOURCE/deploy/grafana/seer.json"
    for name in $(cat "$SEER_SOURCE/deploy/grafana/seer.json" "$SEER_SOURCE/deploy/prometheus/seer.rules.yaml" | grep -oE '\bseer_[a-z_]+' | sort -u); do
        grep -qx "$name" <<<"$served" || { echo "not served: $name"; false; }
    done
}

@test "other methods, hosts and paths are refused" {
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -X POST -d x "$URL")" = 405 ]
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "${URL}nowhere")" = 404 ]
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -H 'Host: evil.example' "${URL}api/v1/status")" = 403 ]
    run seer dashboard --run "$RUN" --listen 0.0.0.0:0
    [ "$status" -eq 2 ]
    [[ $output == *--allow-remote* ]]
    run seer dashboard --run "$RUN" --listen nonsense
    [ "$status" -eq 2 ]
}

order() { # TOKEN PATH [curl option...]: the status of the answer; what it says goes to said
    curl -s -m 10 -o "$BATS_TEST_TMPDIR/said" -w '%{http_code}' -X POST -H "Authorization: Bearer $1" "${@:3}" "${ORDERS}api/v1/$2"
}

has_asked() { # LOG TIMES
    [ "$(grep -c 'event=order ' "$1")" -ge "$2" ]
}

@test "orders over HTTP are for who knows the token, from no other site, and stand in the event log with their origin" {
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -X POST "${URL}api/v1/pause")" = 405 ] # no --orders, no such path
    SEER_LOG=info seer dashboard --run "$RUN" --listen 127.0.0.1:0 --orders "$BATS_TEST_TMPDIR/token" >"$BATS_TEST_TMPDIR/url" 2>"$BATS_TEST_TMPDIR/log" 3>&- &
    dashboard=$!
    wait_until 10 test -s "$BATS_TEST_TMPDIR/url"
    ORDERS=$(<"$BATS_TEST_TMPDIR/url")
    token=$(<"$BATS_TEST_TMPDIR/token")
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/token")" = 600 ]
    [ "${#token}" -eq 64 ]
    [ "$(order "${token}0" pause)" = 401 ]
    [ "$(order "${token:1}" pause)" = 401 ]
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -X POST "${ORDERS}api/v1/pause")" = 401 ]
    [ "$(order "$token" pause -H 'Origin: http://evil.example')" = 403 ]
    [ "$(order "$token" pause -H 'Sec-Fetch-Site: cross-site')" = 403 ]
    [ "$(order "$token" pause -H 'Host: evil.example')" = 403 ]
    [ "$(order "$token" pause -d x=1)" = 413 ]
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" "${ORDERS}api/v1/pause")" = 405 ]
    [ "$(order "$token" 'drain?worker=nobody')" = 400 ]
    grep -q nobody "$BATS_TEST_TMPDIR/said"
    ! jq -es 'any(.kind == "operator_command" and (.text | test("command=pause")))' "$RUN/events.jsonl" || false
    [ "$(order "$token" 'pause?reason=a%20look%22' -H "Origin: ${ORDERS%/}")" = 200 ]
    wait_until 20 status_is "$RUN" .state paused
    [ "$(order "$token" resume)" = 200 ]
    wait_until 20 status_is "$RUN" .state training
    jq -es 'any(.kind == "operator_command" and (.text | test("command=pause .*reason=\"a look.\" origin=\"page from 127.0.0.1\"")))' "$RUN/events.jsonl"
    # Its order waits when the program ends: it is answered, and the end is no crash.
    kill -STOP "$(pid_of "$RUN" server)"
    order "$token" pause >"$BATS_TEST_TMPDIR/late" &
    asker=$!
    wait_until 10 has_asked "$BATS_TEST_TMPDIR/log" 4
    kill "$dashboard"
    wait "$dashboard"
    kill -CONT "$(pid_of "$RUN" server)"
    wait "$asker" || true
    [ "$(<"$BATS_TEST_TMPDIR/late")" = 503 ]
    seer resume --run "$RUN"
    wait_until 20 status_is "$RUN" .state training
    run seer dashboard --run "$RUN" --orders "$BATS_TEST_TMPDIR/token" --allow-remote --listen 0.0.0.0:0
    [ "$status" -eq 2 ]
    chmod 644 "$BATS_TEST_TMPDIR/token"
    run seer dashboard --run "$RUN" --orders "$BATS_TEST_TMPDIR/token" --listen 127.0.0.1:0
    [ "$status" -eq 2 ]
    [[ $output == *"others may read"* ]]
}

@test "events come live, and who comes back goes on behind what it saw" {
    timeout 3 curl -sN "${URL}api/v1/events" >"$BATS_TEST_TMPDIR/first" || true
    [ "$(grep -c '^event: status$' "$BATS_TEST_TMPDIR/first")" = 1 ]
    grep -q '^event: step$' "$BATS_TEST_TMPDIR/first"
    grep -q '^event: present$' "$BATS_TEST_TMPDIR/first"
    sed -n 's/^id: [0-9a-f]*-//p' "$BATS_TEST_TMPDIR/first" | awk 'NR > 1 && $1 != last + 1 { exit 1 } { last = $1 }'
    # Another viewer keeps the ring going meanwhile.
    timeout 10 curl -sN "${URL}api/v1/events" >"$BATS_TEST_TMPDIR/keeper" &
    keeper=$!
    wait_until 5 grep -q present "$BATS_TEST_TMPDIR/keeper"
    id=$(sed -n 's/^id: //p' "$BATS_TEST_TMPDIR/keeper" | tail -n 1)
    timeout 2 curl -sN -H "Last-Event-ID: $id" "${URL}api/v1/events" >"$BATS_TEST_TMPDIR/second" || true
    kill "$keeper"
    ! grep -q '^event: status$' "$BATS_TEST_TMPDIR/second" || false
    [ "$(sed -n 's/^id: [0-9a-f]*-//p' "$BATS_TEST_TMPDIR/second" | head -n 1)" = $((${id##*-} + 1)) ]
}

@test "200 viewers of the page and 20 of the feed are all told each step, the run goes on, and who does not read falls out" {
    timeout 120 /usr/bin/python3 "$SEER_SOURCE/tests/integration/many_viewers.py" "$URL" "$(jq -r .feed "$RUN/server.json")" "$RUN/metrics.jsonl"
}

@test "clients that dribble, and viewers that never read, hold up nobody" {
    timeout 90 /usr/bin/python3 "$SEER_SOURCE/tests/integration/bad_clients.py" "$URL" "$(jq -r .feed "$RUN/server.json")"
    is_ready
    before=$(committed "$RUN")
    wait_until 20 committed_at_least "$RUN" $((before + 5))
}

@test "seer top prints a run once, in table, JSON and narrow, and sorts and filters" {
    seer top --run "$RUN" --once --width 160 >"$BATS_TEST_TMPDIR/top"
    grep -qE '^tiny +training +step [0-9]+' "$BATS_TEST_TMPDIR/top"
    grep -qE '^WORKER +RANK +STATE' "$BATS_TEST_TMPDIR/top"
    grep -qE '^worker-1 +[0-9]+ +member' "$BATS_TEST_TMPDIR/top"
    grep -q '^stream ' "$BATS_TEST_TMPDIR/top"
    grep -qE "^[0-9:]{8} . [a-z_]+ " "$BATS_TEST_TMPDIR/top"
    [ "$(seer top --run "$RUN" --once --width 40 | LC_ALL=C.UTF-8 wc -L)" -le 40 ]
    [ "$(seer top --run "$RUN" --once --filter worker-2 | grep -cE '^worker-')" = 1 ]
    [ "$(seer top --run "$RUN" --once --sort name | grep -oE '^worker-[0-9]' | tr '\n' ' ')" = 'worker-1 worker-2 ' ]
    seer top --server "$(jq -r .control "$RUN/server.json")" --once -o json | jq -e '.name == "tiny" and (.workers | length) == 2'
    run seer top --run "$RUN" --once --sort speed
    [ "$status" -eq 2 ]
    run seer top --run "$BATS_TEST_TMPDIR" --once
    [ "$status" -eq 3 ]
    run seer top --run "$RUN" </dev/null
    [ "$status" -eq 2 ]
}

screen_has() { # WORDS
    tmux -S "$TMUX_SOCKET" capture-pane -p | grep -qE "$1"
}

@test "seer top follows keys and the size of a terminal, with and without colors" {
    command -v tmux >/dev/null || skip 'tmux is not installed'
    TMUX_SOCKET="$BATS_TEST_TMPDIR/tmux"
    tmux -S "$TMUX_SOCKET" -f /dev/null new-session -d -x 120 -y 30 "env LC_ALL=C.UTF-8 NO_COLOR=1 '$SEER_BIN/seer' top --run '$RUN'" 3>&-
    wait_until 20 screen_has '^WORKER +RANK +STATE +PHASE.*HEARD MS'
    ! tmux -S "$TMUX_SOCKET" capture-pane -p -e | grep -q "$(printf '\033\\[3[0-7]m')" || false
    tmux -S "$TMUX_SOCKET" send-keys s
    wait_until 10 screen_has 'sort: name'
    tmux -S "$TMUX_SOCKET" send-keys / r - 2 Enter
    wait_until 10 screen_has 'filter: r-2'
    ! screen_has '^worker-1 ' || false
    tmux -S "$TMUX_SOCKET" resize-window -x 60 -y 16
    wait_until 10 screen_has '^WORKER +RANK +STATE +IMAGES/S'
    ! screen_has PHASE || false
    tmux -S "$TMUX_SOCKET" send-keys q
    wait_until 10 no_session
}

no_session() {
    ! tmux -S "$TMUX_SOCKET" has-session 2>/dev/null
}

is_of_epoch() { # N
    api ".is_live and .epoch == $1" >/dev/null
}

is_unready() {
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "${URL}readyz")" = 503 ]
}

@test "the dashboard says that the server is gone, and goes on with its successor" {
    kill -9 "$(pid_of "$RUN" server)"
    wait_until 20 is_unready
    curl -sf -m 5 "${URL}healthz"
    [ "$(metric seer_server_up)" = 0 ]
    command=$(sed -n 's/^server //p' "$RUN/commands")
    bash -c "exec $command" >>"$RUN/server.log" 2>&1 3>&- &
    wait_until 30 is_of_epoch 2
    before=$(committed "$RUN")
    wait_until 30 committed_at_least "$RUN" $((before + 5))
    # All that the file has, the page has, without a hole.
    api '[.points[].count] | add' >"$BATS_TEST_TMPDIR/points"
    [ "$(<"$BATS_TEST_TMPDIR/points")" -ge "$before" ]
    api '.events | map(.number) as $n | [range(1; $n | length)] | all($n[.] == $n[. - 1] + 1)'
}

@test "with --log json each line that server and page log is an object with the members of its event" {
    own="$BATS_TEST_TMPDIR/own"
    JOURNAL_STREAM=8:1 seer-server --log json --config "$TINY" --state "$own" --store "$BATS_FILE_TMPDIR/train" --set 'server.listen=tcp://127.0.0.1:*' \
        --set 'server.feed=tcp://127.0.0.1:*' --set server.dashboard=127.0.0.1:0 >"$own.log" 2>&1 3>&- &
    server=$!
    wait_until 30 grep -q '"event":"listening"' "$own.log"
    kill "$server"
    wait "$server"
    jq -es 'length > 2 and all((.time | test("^20[0-9-]*T[0-9:.]*Z$")) and (.level | IN("info", "warn", "error")) and (.event | type) == "string")
        and any(.event == "dashboard" and .program == "seer-server" and (.pid | type) == "number")
        and any(.event == "listening" and (.control | startswith("tcp://")) and (.run | test("^[0-9a-f]{16}$")))' "$own.log"
    run seer-server --log xml --config "$TINY" --state "$own" --store "$BATS_FILE_TMPDIR/train"
    [ "$status" -eq 2 ]
    [[ $output == *"neither text nor json"* ]]
}

is_started_again() { # LOG OLD-PID
    grep -q event=dashboard_down "$1" && grep 'event=dashboard address' "$1" | tail -1 | grep -qv "pid=$2\$"
}

@test "server.dashboard serves the page as long as the server lives, again when it has died, and not to other hosts unless the config says so" {
    own="$BATS_TEST_TMPDIR/own"
    seer-server --config "$TINY" --state "$own" --store "$BATS_FILE_TMPDIR/train" --set 'server.listen=tcp://127.0.0.1:*' \
        --set 'server.feed=tcp://127.0.0.1:*' --set server.dashboard=127.0.0.1:0 >"$own.log" 2>&1 3>&- &
    server=$!
    wait_until 30 grep -q event=dashboard "$own.log"
    URL=$(sed -n 's/.*event=dashboard address=\([^ ]*\).*/\1/p' "$own.log")
    page=$(sed -n 's/.*event=dashboard .*pid=\([0-9]*\).*/\1/p' "$own.log")
    wait_until 20 is_ready
    kill -9 "$page"
    wait_until 20 is_started_again "$own.log" "$page"
    URL=$(sed -n 's/.*event=dashboard address=\([^ ]*\).*/\1/p' "$own.log" | tail -1)
    page=$(sed -n 's/.*event=dashboard .*pid=\([0-9]*\).*/\1/p' "$own.log" | tail -1)
    wait_until 20 is_ready
    kill -9 "$server"
    wait_until 20 is_gone "$page"
    run seer-server --config "$TINY" --state "$own" --store "$BATS_FILE_TMPDIR/train" --set 'server.listen=tcp://127.0.0.1:*' \
        --set 'server.feed=tcp://127.0.0.1:*' --set server.dashboard=0.0.0.0:0
    [ "$status" -eq 2 ]
    [[ $output == *"can be reached from other hosts"* ]]
}
