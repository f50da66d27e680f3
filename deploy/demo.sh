#!/usr/bin/env bash
# demo.sh - from nothing to features: installs, builds, makes a store of pictures, trains two workers on this
# CPU, and prints what a nearest-neighbour classifier makes of the features before and after.
#
#   deploy/demo.sh [--grey] [--steps N] [--keep DIR]
#
#   --grey      plain grey Fashion-MNIST instead of coloured garments on coloured ground
#   --steps N   train N steps instead of the recipe's
#   --keep DIR  keep stores, run folder and export in DIR (default: a temporary folder, removed at the end)
#
# No labels are used for training; they serve only to judge the features. Ctrl-C ends everything it started.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."

variant=colour
steps=
keep=
while [ $# -gt 0 ]; do
    case $1 in
    --grey) variant=grey ;;
    --steps) steps=$2 && shift ;;
    --keep) keep=$2 && shift ;;
    *)
        echo "usage: deploy/demo.sh [--grey] [--steps N] [--keep DIR]" >&2
        exit 2
        ;;
    esac
    shift
done

config=configs/demo_cpu.yaml
make_options=()
if [ "$variant" = grey ]; then
    config=configs/demo_grey.yaml
    make_options=(--grey)
fi

say() {
    printf '\n%s\n' "$1"
}

folder=${keep:-$(mktemp -d "${TMPDIR:-/tmp}/everseer-demo-XXXXXX")}
cluster=
finish() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$cluster" ] && kill -0 "$cluster" 2>/dev/null; then
        deploy/local_cluster.sh --run "$folder/run" --stop || true
        wait "$cluster" || true
    fi
    [ -n "$keep" ] || rm -rf "$folder"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$folder"

say '1/5  packages'
deploy/install-deps.sh build demo

say '2/5  build'
cmake --preset release -B build/demo -DEVERSEER_TESTS=OFF >/dev/null
cmake --build build/demo | tail -n 1
bin=$PWD/build/demo/bin
export SEER_BIN=$bin OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

say '3/5  pictures: Fashion-MNIST garments as PNG in WebDataset tars, ingested into LMDB shards'
"$bin/colour-fashion" "$folder/pictures" --train 60000 --test 10000 "${make_options[@]}"
"$bin/seer" ingest "$folder"/pictures/*-train.tar --labels cls --store "$folder/train"
"$bin/seer" ingest "$folder"/pictures/*-test.tar --labels cls --store "$folder/test"

say '4/5  training: one server, two workers, no labels'
run_options=(--config "$config" --run "$folder/run" --workers 2 --store "$folder/train")
[ -z "$steps" ] || run_options+=(--steps "$steps")
deploy/local_cluster.sh "${run_options[@]}" >"$folder/cluster.log" 2>&1 &
cluster=$!
prototypes=$("$bin/seer" config show "$config" -o json | jq -r .config.model.prototypes)
shown=-1
while kill -0 "$cluster" 2>/dev/null; do
    if line=$(tail -n 1 "$folder/run/metrics.jsonl" 2>/dev/null) && [ -n "$line" ]; then
        step=$(jq -r '.step // 0' <<<"$line" 2>/dev/null || echo 0)
        if [ "$step" -ge $((shown + 50)) ]; then
            jq -r --argjson k "$prototypes" '"     step \(.step)  loss \(.loss * 1000 | round / 1000)  (ln K = \($k | log * 1000 | round / 1000))  lr \(.lr * 10000 | round / 10000)  \(.images * 1000 / .step_ms | round) images/s  workers \(.world_size)"' <<<"$line" || true # a line that is being written
            shown=$step
        fi
    fi
    sleep 1 & wait $! # wakes at once on Ctrl-C
done
if ! wait "$cluster"; then
    cluster=
    tail -n 20 "$folder/cluster.log" >&2
    echo "demo.sh: training failed; the end of its log is above" >&2
    exit 1
fi
cluster=

say '5/5  what the features are worth: k nearest neighbours on held-out pictures'
snapshot=$("$bin/seer" snapshot ls --run "$folder/run" -o json | jq -r '.snapshots[-1].path')
"$bin/seer" eval knn --snapshot "$snapshot" --train "$folder/train" --test "$folder/test" \
    --train-limit 10000 --test-limit 2000 -o json >"$folder/knn.json"
jq -r '"     kNN top-1   raw pixels \(.baseline_pixels_top1) %   random init \(.baseline_random_init_top1) %   after training \(.top1) %"' "$folder/knn.json"
"$bin/seer" audit "$folder/run" -o json |
    jq -r '"     audit       \(.positions_trained) images trained, \(.lost) lost, \(.duplicated) counted twice, \(.unequal_digests) unequal digests"'
"$bin/seer" export "$snapshot" --format pth --layout torchvision --to "$folder/trunk.pth"
if [ -n "$keep" ]; then
    say "kept in $folder: stores, run folder, trunk.pth (torchvision key names)"
fi
say "next: seer ingest YOUR_PICTURES --store DIR; deploy/local_cluster.sh --config $config --store DIR --run RUN --workers 2"
