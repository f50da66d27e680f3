#!/usr/bin/env bash
# run.sh - installs what is missing, builds everything, runs every test.
#
#   tests/run.sh          presets release (gcc) and dev (clang, ASan, UBSan), tsan for the threaded parts, cuda
#   tests/run.sh --long   the same with longer soaks and more seeds
#   tests/run.sh --quick  release only
#
# ctest's closing summary is the last thing printed; exit status 0 only if all passed.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."

mode=normal
case ${1-} in
'') ;;
--long) mode=long ;;
--quick) mode=quick ;;
*)
    echo "usage: tests/run.sh [--long|--quick]" >&2
    exit 2
    ;;
esac
[ "$mode" != long ] || export SEER_TEST_LONG=1

# Threads that spin for work beside a busy neighbour cost 5 to 20 times as much.
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1

deploy/install-deps.sh build test demo

# A cache that is cold makes small files of C cost half as much again, which the little that presets share does not repay: so
# only where there is one already. Paths of this clone count for nothing.
if [ -n "${CCACHE_DIR-}" ]; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
fi

# Seconds since the start, and the processor's: of what has ended, in programs and in the kernel.
say() {
    local spent
    mkdir -p build
    times >build/times
    spent=$(tail -n 1 build/times)
    printf '\n== %s (%s s; %s)\n' "$1" "$SECONDS" "$spent"
}

build() { # PRESET TARGET [cmake arguments...]
    local preset=$1 target=$2
    shift 2
    say "build $preset"
    # Traces with lines are all that is wanted of debug information.
    cmake --preset "$preset" -DCMAKE_C_FLAGS_DEBUG="-O1 -g1" "$@" >/dev/null
    cmake --build "build/$preset" --target "$target" 2>&1 | tail -n 3
}

failed=''
run_tests() { # PRESET [ctest arguments...]
    local preset=$1
    shift
    ctest --test-dir "build/$preset" --output-on-failure --no-label-summary "$@" 2>&1 | tee "build/$preset/tests.log" ||
        failed="$failed $preset"
}

# Where output is cut, its end is what is seen: the last words of each test that failed, then the summary once more.
tell_failures() { # PRESET
    say "failed in $1"
    awk 'NR == FNR { sub(/^[0-9]+:/, ""); failed[$0] = 1; next }
        /^[0-9]+\/[0-9]+ Testing: / { sub(/^[^:]*: /, ""); is_wanted = $0 in failed; name = $0; count = 0 }
        is_wanted { lines[count++] = $0 }
        /^Output:$/ { count = 0 }
        is_wanted && /^<end of output>/ {
            print "-- " name
            for (i = count > 25 ? count - 25 : 0; i < count - 1; i++) print lines[i]
        }' "build/$1/Testing/Temporary/LastTestsFailed.log" "build/$1/Testing/Temporary/LastTest.log"
}

if [ "$mode" != quick ]; then
    if [ -x /usr/local/cuda/bin/nvcc ] || command -v nvcc >/dev/null; then
        # The oldest and the newest: what is between takes a minute more and has nothing of its own in our sources.
        build cuda programs -DEVERSEER_TESTS=OFF '-DEVERSEER_CUDA_ARCHITECTURES=75-real;90'
    fi
    # Threads and memory are checked where they live; the programs themselves run in release below.
    build tsan threaded_tests
    say 'test tsan: what runs in several threads'
    run_tests tsan -L threads -j 2
    # Release is of gcc: so this is what clang makes of it.
    build dev all -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld
    say 'test dev: ASan and UBSan, by clang'
    # Without what takes minutes here and has its parts tested otherwise.
    run_tests dev -L 'unit|kernels|sim|torture|fuzz' -LE gpu -E 'test_(trajectory|memory_plan)_emulated|test_learner_cpu_bf16' -j 3
fi
build release all
say 'test release: everything'
# More than there are cores: most of them wait for processes most of the time, and what does not yields to them.
run_tests release --resource-spec-file "$PWD/tests/resources.json" -j 5
[ -n "$failed" ] || exit 0
for preset in $failed; do tell_failures "$preset"; done
sed -n '/tests passed, .* failed out of/,$p' build/release/tests.log
exit 1
