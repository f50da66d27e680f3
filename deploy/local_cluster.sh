#!/usr/bin/env bash
# local_cluster.sh - a server and N workers on this host, watched until the run ends.
#
#   deploy/local_cluster.sh --config F --run DIR --workers N [--steps S] [--seed N] [--store DIR]...
#                           [--set key=value]... [--respawn] [--detach]
#   deploy/local_cluster.sh --run DIR --stop
#
#   --steps S    end (exit 0) when S steps are committed; without it: on SIGTERM, after draining (exit 0)
#   --respawn    start a worker again that died or ended with a code above 2; soon, then ever later if it dies soon (at most
#                $SEER_RESPAWN_MAX_MS, 30000)
#   --detach     return once all are started; --stop ends such a cluster
#
# DIR/pids has a line `server PID` or `worker NAME PID` for each living process; DIR/commands their command lines: each
# can be killed and started again with its line. docs/contract.md has the rest.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

usage() {
    sed -n '3,5p' "$0" | cut -c3-
    exit "$1"
}

die() { # CODE WORDS
    echo "local_cluster.sh: $2" >&2
    exit "$1"
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${SEER_BIN:-$root/build/release/bin}
if [ -z "${SEER_BIN-}" ] && [ ! -d "$bin" ]; then # no build folder: they are installed
    bin=$(dirname "$(command -v seer-server || echo /usr/bin/seer-server)")
fi
respawn_max_ms=${SEER_RESPAWN_MAX_MS:-30000}
config='' run='' workers='' respawn=0 detach=0 stop=0 supervise=0
server_options=()
original=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --config) config=${2-} && shift ;;
    --run) run=${2-} && shift ;;
    --workers) workers=${2-} && shift ;;
    --steps | --seed | --store | --set) server_options+=("$1" "${2-}") && shift ;;
    --respawn) respawn=1 ;;
    --detach) detach=1 ;;
    --stop) stop=1 ;;
    --supervise) supervise=1 ;; # internal: the part of --detach that stays
    -h | --help) usage 0 ;;
    *)
        echo "local_cluster.sh: unknown option '$1'" >&2
        usage 2 >&2
        ;;
    esac
    shift || die 2 'the last option needs a value'
done
[ -n "$run" ] || die 2 '--run DIR is missing'

# The loop that watches starts no process of its own: it would take cores from those who train.
exec 9<> <(:) # nobody ever writes there
tick() {      # waits a tenth of a second, or shorter when a child ends
    read -rt 0.1 -u 9 || :
}

is_alive() { # PID: and not a zombie
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    stat=${stat##*) } # behind the name, which may hold anything
    [ "${stat%% *}" != Z ]
}

is_ours() { # PID WORD, of its command line: not somebody else who has that number by now
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -e "$2"
}

await_end() { # SECONDS PID...: 0 when all are gone
    local deadline=$((SECONDS + $1)) pid
    shift
    for pid; do
        while is_alive "$pid"; do
            [ $SECONDS -lt $deadline ] || return 1
            tick
        done
    done
}

stop_cluster() {
    [ -f "$run/pids" ] || die 1 "'$run' has no file 'pids': no cluster was started there"
    local supervisor='' pids='' pid
    [ ! -f "$run/supervisor" ] || supervisor=$(<"$run/supervisor")
    while read -r pid; do
        ! is_ours "$pid" "$(realpath "$run")" || pids+=" $pid"
    done < <(awk '{ print $NF }' "$run/pids")
    if [ -n "$supervisor" ] && is_ours "$supervisor" --run && is_alive "$supervisor"; then
        kill -TERM "$supervisor" 2>/dev/null || :
        await_end 60 "$supervisor" && return 0
    fi
    # Nobody watches them: SIGTERM lets the server save and dismiss, and workers drain.
    for pid in $pids; do
        kill -TERM "$pid" 2>/dev/null || :
    done
    # shellcheck disable=SC2086 # one word per pid
    await_end 30 $pids && : >"$run/pids" && return 0
    for pid in $pids; do
        kill -KILL "$pid" 2>/dev/null || :
    done
    # shellcheck disable=SC2086
    await_end 10 $pids || die 1 "some of these processes do not end: $pids"
    : >"$run/pids"
}

if [ "$stop" = 1 ]; then
    stop_cluster
    exit 0
fi

[ -n "$config" ] || die 2 '--config FILE is missing'
[[ $workers =~ ^[0-9]+$ ]] || die 2 "--workers needs a number, not '$workers'"
for program in seer-server seer-worker; do
    [ -x "$bin/$program" ] || die 2 "there is no program '$bin/$program': build it, or set SEER_BIN to where it is"
done
mkdir -p "$run"
journals=$(realpath "$run")/workers

# The part that stays is a process of its own, so that the caller's terminal and job control do not matter to it.
if [ "$detach" = 1 ] && [ "$supervise" = 0 ]; then
    rm -f "$run/started" "$run/failed"
    setsid "${BASH_SOURCE[0]}" "${original[@]}" --supervise >>"$run/cluster.log" 2>&1 </dev/null 3>&- 9>&- &
    supervisor=$!
    until [ -f "$run/started" ]; do
        if ! is_alive "$supervisor"; then
            wait "$supervisor" && code=0 || code=$?
            [ -f "$run/started" ] && break
            tail -n 5 "$run/cluster.log" "$run/server.log" >&2 || :
            exit "$code"
        fi
        tick
    done
    exit 0
fi

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
names=() worker_pids=() worker_starts=() worker_waits=() worker_dues=() server_pid='' is_stopping=0

say() { # WORDS: to the log, or to nobody if its disk is full
    echo "$1" >&2 || :
}

# When the disk is full the file stays as it was, and the loop tries again.
write_pids() {
    local text='' i
    [ -z "$server_pid" ] || text="server $server_pid"$'\n'
    for i in "${!names[@]}"; do
        [ -z "${worker_pids[i]}" ] || text+="worker ${names[i]} ${worker_pids[i]}"$'\n'
    done
    is_written=0
    if printf '%s' "$text" >"$run/pids.tmp.$$" && mv "$run/pids.tmp.$$" "$run/pids"; then
        is_written=1
    fi 2>/dev/null
}

# Any free port, unless the config or the caller names one; a server that is started again takes the port of before.
server_command=("$bin/seer-server" --config "$(realpath "$config")" --state "$(realpath "$run")"
    --set 'server.listen=tcp://127.0.0.1:*' --set 'server.feed=tcp://127.0.0.1:*')
for ((i = 0; i < ${#server_options[@]}; i += 2)); do
    value=${server_options[i + 1]}
    [ "${server_options[i]}" != --store ] || value=$(realpath "$value")
    server_command+=("${server_options[i]}" "$value")
done

start_server() {
    "${server_command[@]}" >>"$run/server.log" 2>&1 </dev/null 3>&- 9>&- &
    server_pid=$!
    write_pids
}

# The server has written its address and is the one we started (or has ended).
await_server() {
    while is_alive "$server_pid"; do
        if [ -f "$run/server.json" ] && [ "$(jq -r .pid "$run/server.json" 2>/dev/null)" = "$server_pid" ]; then
            address=$(jq -r .control "$run/server.json")
            return 0
        fi
        tick
    done
    return 1
}

now_ms() {
    echo $((${EPOCHREALTIME//[.,]/} / 1000))
}

# Nothing in a run without keys; in one that has them (seer key init) the worker gets one of its own.
key_options() { # NAME
    local key=$run/keys/$1.key
    [ -f "$run/keys/server.key" ] || return 0
    [ -f "$key" ] || "$bin/seer" key new "$1" --role worker --run "$run" --out "$key" >/dev/null
    key_options=(--key "$key")
}

start_worker() { # INDEX
    local key_options=()
    key_options "${names[$1]}"
    "$bin/seer-worker" --server "$address" --name "${names[$1]}" --journal "$journals" "${key_options[@]}" >>"$run/${names[$1]}.log" 2>&1 </dev/null 3>&- 9>&- &
    worker_pids[$1]=$!
    worker_starts[$1]=$(now_ms)
    worker_dues[$1]=''
    write_pids
}

# The longer, the oftener it died soon: as seer-worker --respawn does (worker/respawn.c).
plan_respawn() { # INDEX
    local wait_ms=${worker_waits[$1]} now
    now=$(now_ms)
    if [ $((now - worker_starts[$1])) -gt $((10 * wait_ms)) ]; then
        wait_ms=100
    fi
    worker_dues[$1]=$((now + wait_ms))
    worker_waits[$1]=$((wait_ms * 2 < respawn_max_ms ? wait_ms * 2 : respawn_max_ms))
}

write_commands() {
    {
        printf 'server'
        printf ' %q' "${server_command[@]}"
        printf '\n'
        local name key_options
        for name in "${names[@]}"; do
            printf 'worker %s' "$name"
            key_options=()
            key_options "$name"
            printf ' %q' "$bin/seer-worker" --server "$address" --name "$name" --journal "$journals" "${key_options[@]}"
            printf '\n'
        done
    } >"$run/commands"
}

# shellcheck disable=SC2317 # called by trap
on_signal() {
    is_stopping=1
    [ -z "$server_pid" ] || kill -TERM "$server_pid" 2>/dev/null || :
}

# Whatever happens, nothing that was started here stays: SIGTERM, some patience, SIGKILL. Without a server there is nobody to
# take leave of: a second signal ends workers at once.
# shellcheck disable=SC2317 # called by trap
end_all() {
    local pids=() pid
    for pid in "$server_pid" "${worker_pids[@]}"; do
        if [ -n "$pid" ] && is_alive "$pid"; then
            kill -TERM "$pid" 2>/dev/null || :
            [ -n "$server_pid" ] || kill -INT "$pid" 2>/dev/null || :
            pids+=("$pid")
        fi
    done
    if [ ${#pids[@]} -gt 0 ] && ! await_end 20 "${pids[@]}"; then
        kill -KILL "${pids[@]}" 2>/dev/null || :
    fi
    server_pid=''
    worker_pids=()
    names=()
    write_pids
    rm -f "$run/supervisor" "$run/started"
}

is_anybody_working() { # or about to
    local pid
    for pid in "${worker_pids[@]}" "${worker_dues[@]}"; do
        [ -z "$pid" ] || return 0
    done
    return 1
}

look_at_workers() {
    local i worker_code
    for i in "${!names[@]}"; do
        if [ -z "${worker_pids[i]}" ] || is_alive "${worker_pids[i]}"; then
            continue
        fi
        wait "${worker_pids[i]}" && worker_code=0 || worker_code=$?
        worker_pids[i]=''
        write_pids
        # 0: it was drained or dismissed, and is not wanted back; 1 and 2: a person must act
        if [ "$worker_code" != 0 ]; then
            failures=$((failures + 1))
            say "event=worker_ended name=${names[i]} code=$worker_code log=$run/${names[i]}.log"
            if [ "$respawn" = 1 ] && [ "$worker_code" -gt 2 ]; then
                plan_respawn "$i"
            fi
        fi
    done
}

respawn_workers() {
    local i
    for i in "${!names[@]}"; do
        if [ -n "${worker_dues[i]}" ] && [ "$is_stopping" = 0 ] && [ "$(now_ms)" -ge "${worker_dues[i]}" ]; then
            start_worker "$i"
        fi
    done
}

# A server that was killed may be started again by somebody else, with its line in DIR/commands.
adopt_server() {
    local other
    other=$(jq -r .pid "$run/server.json" 2>/dev/null) || return 1
    is_alive "$other" || return 1
    server_pid=$other
    is_adopted=1
    write_pids
}

# Sets code when the cluster is at its end.
look_at_server() {
    if [ -n "$server_pid" ]; then
        ! is_alive "$server_pid" || return 0
        if [ "$is_adopted" = 1 ]; then
            server_code=137
            ! tail -n 1 "$run/events.jsonl" | grep -q '"kind":"run_finished"' || server_code=0
        else
            wait "$server_pid" && server_code=0 || server_code=$?
        fi
        say "event=server_ended code=$server_code log=$run/server.log"
        server_pid=''
        write_pids
    fi
    # Below 128 it ended by itself. Killed, it is waited for as long as there is a worker that does so too.
    if [ "$server_code" -lt 128 ]; then
        code=$server_code
    elif adopt_server; then
        [ "$is_stopping" = 0 ] || kill -TERM "$server_pid" 2>/dev/null || :
    elif [ "$is_stopping" = 1 ] || ! is_anybody_working; then
        code=$server_code
    fi
}

echo $$ >"$run/supervisor"
trap on_signal TERM INT
trap end_all EXIT
start_server
if ! await_server; then
    wait "$server_pid" && code=0 || code=$?
    tail -n 3 "$run/server.log" >&2
    exit "$code"
fi
for ((i = 1; i <= workers; i++)); do
    names+=("worker-$i")
    worker_pids+=('')
    worker_starts+=(0)
    worker_waits+=(100)
    worker_dues+=('')
done
write_commands
for i in "${!names[@]}"; do
    start_worker "$i"
done
: >"$run/started"

code='' server_code=0 is_adopted=0 failures=0
while [ -z "$code" ]; do
    [ "$is_written" = 1 ] || write_pids
    look_at_workers
    respawn_workers
    look_at_server
    if [ -z "$code" ] && [ "$supervise" = 0 ] && [ "$failures" -ge "$workers" ] &&
        [ "$is_stopping" = 0 ] && ! is_anybody_working && [ "$workers" -gt 0 ]; then
        echo "local_cluster.sh: every worker has failed; see $run/worker-*.log" >&2
        tail -n 3 "$run"/worker-*.log >&2 || :
        code=1
    fi
    [ -n "$code" ] || tick
done
exit "$code"
