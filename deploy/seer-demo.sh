#!/usr/bin/env bash
# seer-demo.sh - what `seer demo` does: makes a store of pictures, trains two workers on this CPU, and prints what a
# nearest-neighbour classifier makes of the features before and after.
#
#   seer-demo.sh [--grey] [--pictures N] [--steps N] [--keep DIR]      SEER_BIN is where the programs are
#
# No labels are used for training; they serve only to judge the features. Ctrl-C ends everything it started.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

config=demo_cpu.yaml
pictures=60000
steps=
keep=
make_options=()
while [ $# -gt 0 ]; do
    case $1 in
    --grey)
        config=demo_grey.yaml
        make_options=(--grey)
        ;;
    --pictures) pictures=$2 && shift ;;
    --steps) steps=$2 && shift ;;
    --keep) keep=$2 && shift ;;
    *)
        echo "seer-demo.sh: unknown option '$1': see seer demo --help" >&2
        exit 2
        ;;
    esac
    shift
done

# Beside this file, be it in a source folder or installed, and what is a program beside the programs in a build folder.
here=$(dirname "$(realpath "$0")")
[ -f "$here/$config" ] && config=$here/$config || config=$(realpath "$here/../configs/$config")
make_pictures=$SEER_BIN/colour-fashion
[ -x "$make_pictures" ] || make_pictures=$here/colour-fashion
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

say() {
    printf '\n%s\n' "$1"
}

folder=${keep:-$(mktemp -d "${TMPDIR:-/tmp}/everseer-demo-XXXXXX")}
cluster=
finish() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$cluster" ] && kill -0 "$cluster" 2>/dev/null; then
        "$here/local_cluster.sh" --run "$folder/run" --stop || true
        wait "$cluster" || true
    fi
    [ -n "$keep" ] || rm -rf "$folder"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$folder"

say 'pictures: Fashion-MNIST garments as PNG in WebDataset tars, ingested into LMDB shards'
"$make_pictures" "$folder/pictures" --train "$pictures" --test 10000 "${make_options[@]}"
"$SEER_BIN/seer" ingest "$folder"/pictures/*-train.tar --labels cls --store "$folder/train"
"$SEER_BIN/seer" ingest "$folder"/pictures/*-test.tar --labels cls --store "$folder/test"

say 'training: one server, two workers, no labels'
run_options=(--config "$config" --run "$folder/run" --workers 2 --store "$folder/train")
[ -z "$steps" ] || run_options+=(--steps "$steps")
"$here/local_cluster.sh" "${run_options[@]}" >"$folder/cluster.log" 2>&1 &
cluster=$!
prototypes=$(sed -n 's/^ *prototypes: *//p' "$config")
shown=-1
while kill -0 "$cluster" 2>/dev/null; do
    if line=$(tail -n 1 "$folder/run/metrics.jsonl" 2>/dev/null) && [[ $line =~ \"step\":([0-9]+).*\} ]]; then
        step=${BASH_REMATCH[1]}
        if [ "$step" -ge $((shown + 50)) ]; then
            awk -v k="$prototypes" '
                function member(name) { return match($0, "\"" name "\":[^,}]*") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) : 0 }
                { printf "     step %d  loss %.3f  (ln K = %.3f)  lr %.4f  %.0f images/s  workers %d\n", member("step"), member("loss"), log(k), member("lr"), member("images") * 1000 / (member("step_ms") + 1e-9), member("world_size") }' <<<"$line"
            shown=$step
        fi
    fi
    sleep 1 & wait $! # wakes at once on Ctrl-C
done
if ! wait "$cluster"; then
    cluster=
    tail -n 20 "$folder/cluster.log" >&2
    echo "seer demo: training failed; the end of its log is above" >&2
    exit 1
fi
cluster=

say 'what the features are worth: k nearest neighbours on held-out pictures'
snapshots=("$folder"/run/snapshots/step-*.safetensors)
snapshot=${snapshots[-1]}
"$SEER_BIN/seer" eval knn --snapshot "$snapshot" --train "$folder/train" --test "$folder/test" \
    --train-limit 10000 --test-limit 2000
"$SEER_BIN/seer" audit "$folder/run" |
    awk '{ is[$1] = $2 }
        END { printf "audit: %d images trained, %d lost, %d counted twice, %d unequal digests\n", is["positions_trained"], is["lost"], is["duplicated"], is["unequal_digests"] }'
"$SEER_BIN/seer" export "$snapshot" --format pth --layout torchvision --to "$folder/trunk.pth"
if [ -n "$keep" ]; then
    say "kept in $folder: stores, run folder, trunk.pth (torchvision key names)"
fi
say "next: seer ingest YOUR_PICTURES --store DIR; $here/local_cluster.sh --config $config --store DIR --run RUN --workers 2"
