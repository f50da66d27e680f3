#!/usr/bin/env bash
# gpu.sh - builds and runs everything that needs a GPU, on a bare machine without a network, and writes one report.
#
#   tests/gpu.sh fetch DIR                      where there is a network: downloads our Debian packages into DIR
#   tests/gpu.sh unpack DIR PREFIX              unpacks them into a folder, touching nothing of the system
#   tests/gpu.sh run [--debs DIR] [--report FILE] [--peer FILE] [--build DIR]
#
# run needs a C and a CUDA compiler, cmake and ninja; with --debs all else comes out of DIR, without it the
# packages must be installed. It takes under ten minutes: each part has its share and is cut off at its end. --peer: a
# PyTorch script that is called as "FILE MODEL IMAGES nhwc eager bf16" and prints images/s. Without a GPU it builds, says so,
# and the tests are skipped. Exit 0: built, and no test failed.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."

# What a machine with compilers has, and what packages of theirs pull in; none of it is unpacked.
on_the_machine='^(libc6|libc6-dev|libc-bin|libc-dev-bin|linux-libc-dev|libcrypt1|libcrypt-dev|dpkg|debconf|cdebconf|perl|perl-base|gcc|g\+\+|cpp|gfortran|flang|binutils|libgcc|libstdc\+\+|openssh-client|autotools-dev|autoconf|automake|libtool|libjs-|adduser|passwd|libnsl|rpcsvc-proto|libtirpc|install-info|libc\+\+)'
library_folder=usr/lib/$(uname -m)-linux-gnu

usage() {
    sed -n '4,6s/^#   //p' "$0" >&2
    exit 2
}

# closure PACKAGE...: they and all they need that the machine lacks; of alternatives the first.
closure() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
        awk -v there="$on_the_machine" -v wanted="$*" '
            /^[^ ]/ { package = $1; next }
            / *\|?(Pre)?Depends:/ {
                if (!is_alternative && $2 !~ /^</) needs[package] = needs[package] " " $2
                is_alternative = /^ *\|/
            }
            END {
                last = split(wanted, queue, " ")
                for (i = 1; i <= last; i++) {
                    if (queue[i] in seen || queue[i] ~ there) continue
                    seen[queue[i]] = 1
                    print queue[i]
                    count = split(needs[queue[i]], more, " ")
                    for (j = 1; j <= count; j++) queue[++last] = more[j]
                }
            }' | sort
}

fetch() { # DIR
    local packages
    mkdir -p "$1"
    mapfile -t packages < <(deploy/install-deps.sh --print carry)
    mapfile -t packages < <(closure "${packages[@]}")
    (cd "$1" && apt-get download -qq "${packages[@]}")
    echo "${#packages[@]} packages, $(du -sm "$1" | cut -f1) MiB in $1"
}

# wrap PREFIX PROGRAM: a program out of the prefix that finds its libraries there; those of the system do not look there.
wrap() {
    mkdir -p "$1/bin"
    printf '#!/bin/sh\nexec env LD_LIBRARY_PATH=%s %s "$@"\n' "$1/$library_folder" "$1/usr/bin/$2" >"$1/bin/$2"
    chmod +x "$1/bin/$2"
}

unpack() { # DIR PREFIX
    local deb link target prefix
    mkdir -p "$2"
    prefix=$(realpath "$2")
    for deb in "$1"/*.deb; do
        dpkg -x "$deb" "$prefix"
    done
    # Links that name the system's folders lead into the prefix instead.
    find "$prefix" -type l -lname '/*' | while read -r link; do
        target=$(readlink "$link")
        [ ! -e "$prefix$target" ] || ln -sfn "$prefix$target" "$link"
    done
    # Libraries of /lib stand beside the others, as on a system of today.
    if [ -d "$prefix/lib/$(uname -m)-linux-gnu" ]; then
        cp -an "$prefix/lib/$(uname -m)-linux-gnu/." "$prefix/$library_folder/"
    fi
    for program in pkg-config protoc-c jq; do
        wrap "$prefix" "$program"
    done
}

# use PREFIX: this shell builds against it.
use() {
    local libraries=$1/$library_folder
    local headers=$1/usr/include
    export PATH=$1/bin:$PATH
    export PKG_CONFIG=$1/bin/pkg-config PKG_CONFIG_SYSROOT_DIR=$1
    export PKG_CONFIG_LIBDIR=$libraries/pkgconfig:$1/usr/share/pkgconfig:$1/usr/lib/pkgconfig
    export CPATH=$headers:$headers/${libraries##*/}${CPATH:+:$CPATH}
    export CMAKE_PREFIX_PATH=$1/usr
    export OPAL_PREFIX=$1/usr
    # The old kind of path: libraries that our libraries need are sought there too.
    export LDFLAGS="-L$libraries -Wl,--disable-new-dtags,-rpath,$libraries,-rpath-link,$libraries"
}

say() {
    printf '== %s (%s s)\n' "$1" "$SECONDS" >&2
}

line() {
    printf '%s\n' "$@" >>"$report"
}

has_gpu() {
    command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU
}

first_line() { # COMMAND...: its first line, or a dash
    { "$@" 2>/dev/null || true; } | sed -n '1p' | grep . || echo -
}

cudnn_version() {
    local header
    header=$(find /usr/local/cuda/include /usr/include -maxdepth 3 -name cudnn_version.h 2>/dev/null | head -n 1)
    [ -n "$header" ] || { echo -; return; }
    awk '/define CUDNN_(MAJOR|MINOR|PATCHLEVEL)/ { printf "%s%s", n++ ? "." : "", $3 }' "$header"
}

write_head() {
    line "# On a GPU" '' "| | |" "|---|---|"
    line "| date | $(date -u +%FT%TZ) |"
    line "| commit | $(first_line git rev-parse --short HEAD)$(git diff --quiet HEAD 2>/dev/null || echo ' and changes') |"
    line "| GPU | $(first_line nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader) |"
    line "| processor | $(sed -n 's/^model name.*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) cores |"
    line "| compilers | $(first_line "${CC:-cc}" --version); $("$nvcc" --version 2>/dev/null | sed -n 's/.*release /CUDA /p') |"
    line "| cuDNN | $(cudnn_version) |"
    line "| everseer | $("$bin/seer" version) |"
}

build() {
    local architectures
    architectures=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sed -n '1s/\.//p' || true)
    cmake --preset cuda -B "$build" -DCMAKE_CUDA_COMPILER="$nvcc" ${architectures:+-DEVERSEER_CUDA_ARCHITECTURES="$architectures"} >"$build.log" 2>&1
    timeout "${SEER_GPU_BUILD_SECONDS:-240}" cmake --build "$build" -j "$(nproc)" >>"$build.log" 2>&1
}

# Every test with the label gpu, one line each.
run_tests() {
    local output=$build/gpu_tests.txt failed=0
    timeout 150 ctest --test-dir "$build" -L gpu --timeout 60 --output-on-failure >"$output" 2>&1 || failed=1
    line '' '## Tests' '' "| test | result | seconds |" "|---|---|---|"
    sed -n 's|^ *[0-9]*/[0-9]* Test *#[0-9]*: \([^ ]*\) \.*[* ]*\(Passed\|Failed\|Skipped\|Timeout\|Not Run\)[^0-9]*\([0-9.]*\) sec.*|\| \1 \| \2 \| \3 \||p' \
        "$output" >>"$report"
    line '' "$(grep -c Passed "$output" || true) passed, $(grep -cE '\*\*\*(Failed|Timeout|Exception)' "$output" || true) failed, $(grep -c 'Skipped  ' "$output" || true) skipped."
    if [ $failed = 1 ]; then
        line '' '```' "$(tail -n 60 "$output")" '```'
    fi
    return $failed
}

# The kernels once more under NVIDIA's memory checker; small shapes alone.
run_sanitizer() {
    local sanitizer output=$build/sanitizer.txt
    sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
    if [ ! -x "$sanitizer" ] || ! has_gpu; then
        line '' 'compute-sanitizer: not run (there is none, or no GPU).'
        return 0
    fi
    if timeout 60 "$sanitizer" --error-exitcode 9 "$bin/test_device" --device cuda:0 >"$output" 2>&1; then
        line '' "compute-sanitizer on test_device: $(tail -n 1 "$output")"
        return 0
    fi
    line '' 'compute-sanitizer on test_device failed:' '' '```' "$(tail -n 20 "$output")" '```'
    return 1
}

# config MODEL IMAGES: one slot, two crops of 224 and four of 96, as SEER trains.
config() {
    local numbers head=4096
    case $1 in
    8gf) numbers='depth: 17, w0: 192, wa: 76.82, wm: 2.19, group_width: 56' ;;
    32gf) numbers='depth: 20, w0: 232, wa: 115.89, wm: 2.53, group_width: 232' ;;
    128gf) numbers='depth: 27, w0: 456, wa: 160.83, wm: 2.52, group_width: 264' head=8192 ;;
    256gf) numbers='depth: 27, w0: 640, wa: 230.83, wm: 2.53, group_width: 373' head=8192 ;;
    esac
    cat <<END
crops:
  - {count: 2, size: 224, scale_min: 0.14, scale_max: 1}
  - {count: 4, size: 96, scale_min: 0.05, scale_max: 0.14}
model: {$numbers, stem_width: 32, rounding: torchvision, head: [$head, $head, 256], prototypes: 16384}
train: {batch_images: $2, slot_images: $2, reduction: fast}
swav: {sinkhorn_iterations: 10}
END
}

bench() { # MODEL IMAGES PEER [KEY=VALUE]
    local file=$build/$1.yaml got=$build/$1.json peer=- setting=${4:-train.cuda_graph=auto} model="$1${4:+, $4}"
    config "$1" "$2" >"$file"
    if ! timeout 60 "$bin/seer" bench step --config "$file" --set "$setting" --device cuda:0 --steps 5 -o json >"$got" 2>"$got.err"; then
        line "| $model | $2 | failed: $(tail -n 1 "$got.err") | | | |"
        return 0
    fi
    if [ -n "$3" ] && python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        peer=$(timeout 60 python3 "$3" "$1" "$2" nhwc eager bf16 2>/dev/null | tail -n 1 || true)
    fi
    line "$(jq -r --arg model "$model" --arg peer "${peer:-failed}" '"| \($model) | \(.batch_images) | \(.images_per_second * 10 | round / 10) | \(
        .step_ms | round) | \(.memory_peak_bytes / 1073741824 * 100 | round / 100) | \($peer) |"' "$got")"
}

run_benches() { # PEER
    line '' '## Training steps' '' 'bf16, one GPU, random images, the median of five steps after two.' ''
    if ! has_gpu; then
        line 'Not run: there is no GPU here.'
        return 0
    fi
    line '| RegNetY | images a step | images/s | step ms | memory GiB | PyTorch, the same call |' '|---|---|---|---|---|---|'
    bench 8gf 64 "$1"
    bench 8gf 64 '' train.cuda_graph=off
    bench 32gf 64 "$1"
    bench 128gf 32 "$1"
    bench 256gf 16 "$1"
}

run() {
    local debs='' peer='' failed=0
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || usage
        case $1 in
        --debs) debs=$2 ;;
        --report) report=$2 ;;
        --peer) peer=$2 ;;
        --build) build=$2 ;;
        *) usage ;;
        esac
        shift 2
    done
    mkdir -p "$build"
    build=$(realpath "$build")
    bin=$build/bin
    : >"$report"
    if [ -n "$debs" ]; then
        say "unpack $debs"
        unpack "$debs" "$build/prefix"
        use "$(realpath "$build/prefix")"
    fi
    say 'build'
    if ! build; then
        tail -n 30 "$build.log" >&2
        line '# On a GPU' '' 'The build failed:' '' '```' "$(tail -n 30 "$build.log")" '```'
        return 1
    fi
    write_head
    say 'tests'
    run_tests || failed=1
    run_sanitizer || failed=1
    say 'training steps'
    run_benches "$peer"
    line '' "All of it took $SECONDS s."
    say "report in $report"
    return $failed
}

build=$PWD/build/cuda
bin=$build/bin
report=gpu_report.md
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
mode=${1-}
[ $# -eq 0 ] || shift
case $mode in
fetch)
    [ $# -eq 1 ] || usage
    fetch "$1"
    ;;
unpack)
    [ $# -eq 2 ] || usage
    unpack "$1" "$2"
    ;;
run) run "$@" ;;
*) usage ;;
esac
