#!/usr/bin/env bats
# seer.bats - the command for people: finding commands, showing and checking configs.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors

bats_require_minimum_version 1.5.0

setup() {
    seer="$SEER_BIN/seer"
    demo="$SEER_SOURCE/configs/demo_cpu.yaml"
}

@test "seer alone lists its commands and is a usage error" {
    run "$seer"
    [ "$status" -eq 2 ]
    [[ "$output" == *"ingest"*"config"*"export"* ]]
}

@test "seer --help and seer --version say so and succeed" {
    run "$seer" --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"Commands:"* ]]
    run "$seer" --version
    [ "$status" -eq 0 ]
    [[ "$output" == everseer\ [0-9]* ]]
}

@test "a mistyped command is answered with the nearest one" {
    run "$seer" exprot
    [ "$status" -eq 2 ]
    [[ "$output" == *"did you mean 'export'?"* ]]
}

@test "a mistyped verb of any command is answered with the nearest one, a missing one with all" {
    while read -r command typo nearest; do
        run "$seer" "$command" "$typo" x
        [ "$status" -eq 2 ] || { echo "$command: $output"; false; }
        [[ "${lines[0]}" == "seer $command: unknown "*" '$typo'; did you mean '$nearest'?" ]] || { echo "$command: $output"; false; }
    done <<'END'
store lss ls
config chekc check
worker drian drain
snapshot unpn unpin
bench stpe step
eval knm knn
eval linaer linear
eval lowshto lowshot
END
    run "$seer" worker --run x
    [ "$status" -eq 2 ]
    [[ "${lines[0]}" == "seer worker: a verb is missing: ls, drain or evict" ]]
}

@test "every failure begins with the program's name, and only wrong usage points to --help" {
    while read -r words; do
        # shellcheck disable=SC2086 # the words of the command
        run "$seer" $words
        [ "$status" -ne 0 ] || { echo "$words: $output"; false; }
        [[ "${lines[0]}" == "seer ${words%% *}"*": "* ]] || { echo "$words: $output"; false; }
        [ "${#lines[@]}" -eq 1 ] || { echo "$words: $output"; false; }
    done <<'END'
config check /does/not/exist.yaml
config show --set train.batch_imges=3
export /does/not/exist --to x
embed --snapshot /does/not/exist --store x --to x
eval knn --snapshot /does/not/exist --train x --test x
eval linear --snapshot /does/not/exist --train x --test x
eval lowshot --snapshot /does/not/exist --train x --test x
bench step --config /does/not/exist.yaml
plan --config /does/not/exist.yaml
bench loader --store /does/not/exist
store ls /does/not/exist
audit /does/not/exist
events --run /does/not/exist
status --run /does/not/exist
END
    run "$SEER_BIN/seer-server" --config /does/not/exist.yaml --state "$BATS_TEST_TMPDIR/run"
    [ "$status" -eq 2 ]
    [[ "${lines[0]}" == "seer-server: cannot open '/does/not/exist.yaml'"* ]]
    [ ! -e "$BATS_TEST_TMPDIR/run" ]
    run "$SEER_BIN/seer-worker" --threads 0 --server x
    [ "$status" -eq 2 ]
    [[ "${lines[0]}" == "seer-worker: --threads"* ]]
}

@test "-o is the form of the output in every command, a file is named by --to" {
    for command in export embed; do
        run "$seer" "$command" --help
        [[ "$output" == *"--to FILE"*"-o, --output FORMAT"* ]] || { echo "$command: $output"; false; }
    done
}

@test "every command explains itself" {
    for command in $("$seer" --help | awk '/^  [a-z]/ {print $1}'); do
        [ "$command" = version ] && continue
        run "$seer" "$command" --help
        [ "$status" -eq 0 ] || { echo "$command: $output"; false; }
        [[ "$output" == *"Usage: seer $command"* ]] || { echo "$command: $output"; false; }
    done
}

@test "seer demo goes from pictures to features, and leaves nothing but what is to be kept" {
    [ -d /usr/share/datasets/fashion-mnist ] || skip 'dataset-fashion-mnist is not installed'
    mkdir "$BATS_TEST_TMPDIR/tmp"
    TMPDIR=$BATS_TEST_TMPDIR/tmp "$seer" demo --pictures 300 --steps 3 --keep "$BATS_TEST_TMPDIR/kept" >"$BATS_TEST_TMPDIR/words"
    grep -q 'snapshot  *[0-9.]* %' "$BATS_TEST_TMPDIR/words"
    grep -qx 'audit: 384 images trained, 0 lost, 0 counted twice, 0 unequal digests' "$BATS_TEST_TMPDIR/words"
    [ -s "$BATS_TEST_TMPDIR/kept/trunk.pth" ]
    TMPDIR=$BATS_TEST_TMPDIR/tmp run "$seer" demo --pictures 60001
    [ "$status" -ne 0 ]
    [ -z "$(ls "$BATS_TEST_TMPDIR/tmp")" ]
    run "$seer" demo --steps -1
    [ "$status" -eq 2 ]
}

@test "an order with a word too many is refused, not given to the whole run" {
    for command in stop pause resume status; do
        run "$seer" "$command" worker-1 --run "$BATS_TEST_TMPDIR"
        [ "$status" -eq 2 ] || { echo "$command: $output"; false; }
        [[ "${lines[0]}" == "seer $command: there is no place for 'worker-1'" ]] || { echo "$command: $output"; false; }
    done
}

@test "a form of output that does not exist is refused by every command" {
    for command in "audit x" "doctor" "events --run x" "status --run x" "worker ls --run x" "snapshot ls --run x" \
        "store ls x" "config show" "bench allreduce" "bench step --config x" "plan --config x" "export x --to y" \
        "embed --snapshot x --store y --to z" "ingest x --store y" "bench loader --store x" "eval knn --snapshot x --train x --test x" \
        "eval linear --snapshot x --train x --test x" "eval lowshot --snapshot x --train x --test x"; do
        # shellcheck disable=SC2086 # the words of the command
        run "$seer" $command -o xml
        [ "$status" -eq 2 ] || { echo "$command: $output"; false; }
        [[ "$output" == *"-o is table or json, not 'xml'"* ]] || { echo "$command: $output"; false; }
    done
}

@test "config check accepts every config that we ship" {
    for config in "$SEER_SOURCE"/configs/*.yaml "$SEER_SOURCE"/configs/paper/*.yaml; do
        "$seer" config check "$config"
    done
}

@test "config show prints JSON with the whole config" {
    run bash -c "'$seer' config show '$demo' --set train.steps=7 -o json | jq -e \
        '.schema_version == 1 and .config.train.steps == 7 and .config.crops[1].size == 20 and
         .config.model.head == [256, 64] and .config.optimizer.kind == \"sgd\"'"
    [ "$status" -eq 0 ]
}

@test "config show prints YAML that loads back to the same" {
    "$seer" config show "$demo" >"$BATS_TEST_TMPDIR/again.yaml"
    "$seer" config show "$BATS_TEST_TMPDIR/again.yaml" | cmp - "$BATS_TEST_TMPDIR/again.yaml"
}

@test "config check names file, line, key and remedy" {
    printf 'train:\n  batch_imges: 3\n' >"$BATS_TEST_TMPDIR/bad.yaml"
    run "$seer" config check "$BATS_TEST_TMPDIR/bad.yaml"
    [ "$status" -eq 2 ]
    [[ "$output" == *"bad.yaml:2: unknown key 'train.batch_imges'; did you mean 'train.batch_images'?"* ]]
    run "$seer" config check "$demo" --set train.batch_images=100
    [ "$status" -eq 2 ]
    [[ "$output" == *"use 96 or 112"* ]]
}

@test "seer plan says what a worker takes, and that recomputing takes less" {
    local tiny=$SEER_SOURCE/tests/integration/tiny.yaml
    run --separate-stderr "$seer" plan --config "$tiny" -o json
    [ "$status" -eq 0 ]
    jq -e '.schema_version == 1 and .slots == .most_slots and (.bytes | add) == .total_bytes and .state_bytes < .total_bytes and
        .bytes.activations > 0 and .bytes.recomputed_block == null' <<<"$output"
    local kept
    kept=$(jq .total_bytes <<<"$output")
    run --separate-stderr "$seer" plan --config "$tiny" --set train.recompute=block -o json
    jq -e --argjson kept "$kept" '.total_bytes < $kept and .bytes.recomputed_block > 0' <<<"$output"
    run --separate-stderr "$seer" plan --config "$tiny"
    [[ "$output" == *"activations"*"total"*"At most"* ]]
    run "$seer" plan --config "$tiny" --slots 100000
    [ "$status" -eq 2 ]
}

@test "seer plan says of the paper's largest model on GPUs that are not here what fits, and what would" {
    local largest=$SEER_SOURCE/configs/paper/seer_regnety_256gf.yaml
    run --separate-stderr "$seer" plan --config "$largest" --workers 512 --device paper:bf16:141GB -o json
    [ "$status" -eq 0 ]
    jq -e '.model.trunk_parameters == 1272156138 and .slots == 1 and .most_slots >= 1 and
        .model.trunk_parameters + .model.head_parameters + .model.prototype_parameters == 1431032042 and
        (.model.forward_multiplications / 1e9 | . > 696 and . < 698) and
        (.model.train_operations / 1e12 | . > 5.55 and . < 5.6) and
        .bytes.parameters >= 4 * 1431032042 and (.bytes | add) == .total_bytes' <<<"$output"
    run --separate-stderr "$seer" plan --config "$largest" --workers 8 --device paper:bf16:141GB
    [ "$status" -eq 1 ]
    [[ "$stderr" =~ "use at least "([0-9]+)" workers" ]]
    run --separate-stderr "$seer" plan --config "$largest" --workers "${BASH_REMATCH[1]}" --device paper:bf16:141GB
    [ "$status" -eq 0 ] # and it is true
    # As the paper trained it, and no fewer.
    run --separate-stderr "$seer" plan --config "$largest" --workers 512 --device paper:bf16:32GB
    [ "$status" -eq 0 ]
    run --separate-stderr "$seer" plan --config "$largest" --workers 511 --device paper:bf16:32GB
    [ "$status" -eq 1 ]
    [[ "$stderr" == *"use at least 512 workers"* ]]
    run --separate-stderr "$seer" plan --config "$largest" --workers 512 --device paper:bf16:12GB
    [ "$status" -eq 1 ]
    [[ "$stderr" == *"the training state alone takes"*"more memory"* ]]
    run --separate-stderr "$seer" plan --config "$largest" --set train.recompute=keep --slots 4 --device paper:bf16:80GB
    [ "$status" -eq 1 ]
    [[ "$stderr" == *"--set train.recompute=block"* ]]
    # Its words can be followed, also where stages are recomputed now.
    run --separate-stderr "$seer" plan --config "$largest" --set train.recompute=stages --set 'train.recompute_stages=[1]' --slots 4 --device paper:bf16:80GB
    [ "$status" -eq 1 ]
    [[ "$stderr" =~ (--set train\.recompute=block --set train\.recompute_stages=\[\]) ]]
    # shellcheck disable=SC2086
    "$seer" config check "$largest" ${BASH_REMATCH[1]}
    run --separate-stderr "$seer" plan --config "$largest" --set train.reduction=fast --set collective.wire=bf16 --device paper:bf16:141GB --workers 512 -o json
    jq -e '.bytes.gradient_wire >= 2 * 1431032042' <<<"$output"
    run "$seer" plan --config "$largest" --device paper:bf16
    [ "$status" -eq 2 ]
    [[ "$output" == *"paper:bf16:141GB"* ]]
}

@test "seer doctor has a remedy for everything it does not like, and exit 1 only if something fails" {
    run --separate-stderr "$seer" doctor --folder "$BATS_TEST_TMPDIR/not/yet/there" -o json
    jq -e '.schema_version == 1 and .failed == ([.checks[] | select(.finding == "fail")] | length) and
        ([.checks[] | select(.finding != "ok" and .remedy == null)] | length) == 0 and
        ([.checks[].check] | index("open files") and index("/dev/shm") and index("mpirun") and index("clock") and
            index("OMP_WAIT_POLICY") and index("file system") and index("driver"))' <<<"$output"
    [ "$status" -eq "$(jq 'if .failed > 0 then 1 else 0 end' <<<"$output")" ]
    run env PATH=/nowhere "$seer" doctor
    [ "$status" -eq 1 ]
    [[ "$output" == *"fail  mpirun"*"-> install openmpi-bin"*"seer doctor: "* ]]
    run env OMP_WAIT_POLICY=passive "$seer" doctor
    [[ "$output" == *"ok    OMP_WAIT_POLICY"* ]]
}

@test "seer doctor asks the driver, where there is one" {
    local fake=$SEER_BIN/../fake
    [ -e "$fake/libnvidia-ml.so.1" ] || skip "no imaginary driver was built"
    run --separate-stderr env LD_LIBRARY_PATH="$fake" "$seer" doctor -o json
    jq -e '[.checks[] | select(.check == "driver")] == [{check: "driver", finding: "ok", found: "999.1, 2 GPUs"}] and
        ([.checks[] | select(.check == "GPU")] | length) == 2 and
        ([.checks[] | select(.check == "peer access")][0].finding) == "ok"' <<<"$output"
    run --separate-stderr env LD_LIBRARY_PATH="$fake" SEER_FAKE_NVML=faulty "$seer" doctor -o json
    [ "$status" -eq 1 ]
    jq -e '[.checks[] | select(.check == "GPU memory")][0].finding == "fail" and
        [.checks[] | select(.check == "peer access")][0].finding == "warn"' <<<"$output"
    run env LD_LIBRARY_PATH="$fake" SEER_FAKE_NVML=broken "$seer" doctor --gpu
    [ "$status" -eq 1 ]
    [[ "$output" == *"fail  driver"*"Driver Not Loaded"* ]]
}
