#!/usr/bin/env bash
# house.sh - rules of STYLE.md that a machine can check. Prints every breach; silent when there is none.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$SEER_SOURCE" || exit 1
breaches=0

breach() { # TEXT: one line for each line of standard input
    while IFS= read -r line; do
        echo "$1: $line"
        breaches=1
    done
}

sources() {
    git ls-files '*.c' '*.h' '*.cu'
}

# The first line of every file says what it is for.
# shellcheck disable=SC2016 # awk's own
breach 'no purpose in the first line' < <(sources | xargs awk 'FNR == 1 {
    name = FILENAME; sub(/.*\//, "", name); if (index($0, "/* " name " - ") != 1) print FILENAME }')

# Functions whose result depends on luck or overruns; atoi hides errors; kernels have starved a core for a minute whose
# processes called sched_yield.
breach 'banned function' < <(sources | xargs grep -nwE \
    '(strcpy|strcat|sprintf|vsprintf|strtok|gets|atoi|atol|atof|rand|srand|tmpnam|alloca|usleep|sched_yield)[[:space:]]*\(')

breach 'line comment' < <(sources | xargs grep -nE '(^|[[:space:];{}])//' | grep -v '"[^"]*//')

breach 'typedef' < <(sources | xargs grep -nE '^typedef ' | grep -vE 'worker/device/cuda/|tests/chaos/fakes/nccl.h')

# Features are chosen by CMake: #if belongs to header guards and a .cu's architecture switch.
breach 'conditional compilation' < <(sources | grep -v '\.cu$' | xargs grep -nE '^#[[:space:]]*(if|ifdef|elif)\b' |
    grep -v '__cplusplus')

# Relations of the layers: common <- proto <- {server, worker, loader}, loader <- worker.
breach 'common includes another part' < <(git ls-files 'common/*.[ch]' | grep -v seer_main.c |
    xargs grep -nE '#include "(proto|server|worker|loader)/')
breach 'proto includes a program' < <(git ls-files 'proto/*.[ch]' | xargs grep -nE '#include "(server|worker|loader)/')
breach 'server includes worker' < <(git ls-files 'server/*.[ch]' | xargs grep -nE '#include "worker/')
breach 'a program includes a viewer' < <(git ls-files 'server/*.[ch]' 'worker/**.[ch]' 'loader/*.[ch]' |
    grep -v '^server/watch/' | xargs grep -nE '#include "server/watch/')
breach 'loader includes worker or server' < <(git ls-files 'loader/*.[ch]' | xargs grep -nE '#include "(worker|server)/')
breach 'the model knows the wire' < <(git ls-files 'worker/model/*.[ch]' 'worker/swav/*.[ch]' 'worker/optim/*.[ch]' |
    xargs grep -nE '#include "proto/')
breach 'generated code outside proto' < <(sources | grep -vE '^proto/|^tests/|^docs/examples/' | xargs grep -nE 'control\.pb-c\.h')

# Processes are ended by the pids their starter knows.
breach 'ends processes by name' < <(git ls-files '*.sh' '*.bats' | grep -v tests/lint/ | xargs grep -nE '\b(pkill|killall|pidof|pgrep)\b')

# A loop that sleeps has no deadline: wait_until (tests/integration/wait.bash) has.
breach 'waits without a deadline' < <(git ls-files 'tests/*.bats' 'tests/*.bash' | xargs grep -nE '\b(do|then) sleep\b')

# Nothing of a builder's machine in the tree.
breach 'path of a machine' < <(git ls-files | grep -v tests/lint/ | xargs grep -nE '/work/|/root/' --binary-files=without-match)

exit $breaches
