#!/usr/bin/env bash
# install-deps.sh - installs the Debian/Ubuntu packages that everseer needs. The only list of them.
#
#   deploy/install-deps.sh [build] [test] [demo]      (default: all three)
#   deploy/install-deps.sh --print GROUP...           only says the names; the group `carry` is what a machine with
#                                                     compilers and no network lacks (tests/gpu.sh)
#
# Idempotent; says what it installs; does nothing, and needs no network, when all are there.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

tools=(git gcc g++ clang cmake ninja-build)
libraries=(
    pkg-config libzmq3-dev liblmdb-dev libprotobuf-c-dev protobuf-c-compiler
    libopenmpi-dev openmpi-bin libdnnl-dev
    libjpeg62-turbo-dev libpng-dev libwebp-dev libgif-dev libarchive-dev zlib1g-dev
    libyaml-dev libjansson-dev libxxhash-dev
    libmicrohttpd-dev libncurses-dev
)
test=(
    libcmocka-dev bats jq ccache clang-format libclang-rt-dev lld pmccabe shellcheck spin strace lmdb-utils iproute2 nftables
    python3 python3-torch python3-torchvision python3-pil python3-numpy python3-lmdb python3-zmq
    python3-protobuf python3-onnx python3-opencv python3-sklearn protobuf-compiler prometheus tmux curl chromium systemd
    lintian mandoc groff-base zsh python3-kubernetes python3-yaml
)
demo=(dataset-fashion-mnist)

build=("${tools[@]}" "${libraries[@]}")
carry=("${libraries[@]}" libcmocka-dev jq)

wanted=()
is_print=0
if [ "${1-}" = --print ]; then
    is_print=1
    shift
fi
[ $# -gt 0 ] || set -- build test demo
for group in "$@"; do
    case $group in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    demo) wanted+=("${demo[@]}") ;;
    carry) wanted+=("${carry[@]}") ;;
    *)
        echo "install-deps.sh: unknown group '$group'; use build, test or demo" >&2
        exit 2
        ;;
    esac
done

if [ $is_print = 1 ]; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${#missing[@]} packages: ${missing[*]}" >&2
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-deps.sh: not root and no sudo; as root run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
