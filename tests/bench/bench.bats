#!/usr/bin/env bats
# bench.bats - every seer bench prints what docs/contract.md promises. Nothing is said of speed: that is for people.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors

bats_require_minimum_version 1.5.0
seer=${SEER_BIN:?}/seer
tiny=${SEER_SOURCE:?}/tests/integration/tiny.yaml
pictures=$SEER_SOURCE/tests/fuzz/corpus/image

# keys JSON: the names in it at the top, on one line; those that docs/contract.md has for a command.
keys() {
    jq -r 'keys_unsorted | join(" ")' <<<"$1"
}

# shellcheck disable=SC2016 # backquotes of Markdown
documented() { # COMMAND: the names between the backquotes behind it, without what stands in brackets
    tr '\n' ' ' <"$SEER_SOURCE/docs/contract.md" | sed 's/  */ /g' | grep -o -- "- \`$1 -o json\`: \`[^\`]*\`" |
        sed 's/.*`: `//; s/`//; s/\[{[^}]*}\]//g; s/{[^}]*}//g'
}

@test "seer bench step prints the documented keys, and as many steps as it was asked for" {
    run --separate-stderr "$seer" bench step --config "$tiny" --steps 3 -o json
    [ "$status" -eq 0 ]
    [ "$(keys "$output")" = "$(documented 'seer bench step')" ]
    jq -e '.schema_version == 1 and .steps == 3 and .threads == 1 and .parameters > 0 and
        .memory_planned_bytes > 0 and .memory_peak_bytes == .memory_planned_bytes and
        (.median_phase | keys_unsorted) ==
            ["forward_ms", "loss_ms", "backward_ms", "reduce_ms", "apply_ms", "thread_cpu_ms"] and
        (.each_step.wall_ms | length) == 3 and (.each_step.thread_cpu_ms | length) == 3 and
        .step_best_ms == (.each_step.wall_ms | min) and .step_ms >= .step_best_ms and .step_best_ms > 0 and
        .images_per_second > 0 and .images_per_second <= .images_per_second_best' <<<"$output"
}

@test "seer bench loader prints the documented keys, for files and for a store" {
    run --separate-stderr "$seer" bench loader --seconds 1 -o json --images "$pictures"/jpeg-0-0.jpg "$pictures"/png-rgb.png
    [ "$status" -eq 0 ]
    [ "$(keys "$output")" = "$(documented 'seer bench loader')" ]
    jq -e '.schema_version == 1 and .images == 2 and .images_per_second_per_core > 0 and
        .crops[0].size_pixels == 224 and (.stage_us_per_image | keys_unsorted) ==
            ["decode", "resize", "color", "blur", "save"]' <<<"$output"

    "$seer" ingest "$pictures" --store "$BATS_TEST_TMPDIR/store" --quiet
    run --separate-stderr "$seer" bench loader --store "$BATS_TEST_TMPDIR/store" --limit 5 --config "$tiny" --seconds 1 -o json
    [ "$status" -eq 0 ]
    jq -e '.images == 5 and (.crops | length) > 0 and .crops[0].size_pixels < 224' <<<"$output"
}

@test "seer bench allreduce prints the documented keys" {
    run --separate-stderr "$seer" bench allreduce --members 2 --bytes 65536 --runs 5 -o json
    [ "$status" -eq 0 ]
    [ "$(keys "$output")" = "$(documented 'seer bench allreduce')" ]
    jq -e '.schema_version == 1 and .members == 2 and .bytes == 65536 and .runs == 5 and .time_us_p50 > 0 and
        .time_us_p99 >= .time_us_p50 and .megabytes_per_second > 0' <<<"$output"
}

@test "seer bench coordinator prints the documented keys, and loses nobody" {
    mkdir "$BATS_TEST_TMPDIR/here"
    run --separate-stderr "$seer" bench coordinator --workers 40 --seconds 2 --step-ms 200 --folder "$BATS_TEST_TMPDIR/here" -o json
    [ "$status" -eq 0 ]
    [ "$(keys "$output")" = "$(documented 'seer bench coordinator')" ]
    jq -e '.schema_version == 1 and .workers == 40 and .steps == 10 and .server_cpu_percent > 0 and .commit_ms_p50 > 0 and
        .commit_ms_p99 >= .commit_ms_p50 and .commit_ms_max >= .commit_ms_p99 and .heartbeats > 0 and .regroups == 0' <<<"$output"
    [ -z "$(ls "$BATS_TEST_TMPDIR/here")" ]
}

@test "seer bench gate prints the documented keys, and leaves nothing behind" {
    mkdir "$BATS_TEST_TMPDIR/here"
    run --separate-stderr "$seer" bench gate --members 3 --steps 60 --step-us 1000 --folder "$BATS_TEST_TMPDIR/here" -o json
    [ "$status" -eq 0 ]
    [ "$(keys "$output")" = "$(documented 'seer bench gate')" ]
    jq -e '.schema_version == 1 and .members == 3 and .steps == 60 and .bypassed_us.p50 >= 1000 and
        .gated_us.p50 > .bypassed_us.p50 and .cost_us.p50 == .gated_us.p50 - .bypassed_us.p50 and
        .transport_us.p50 == .echoed_us.p50 - .bypassed_us.p50 and .transport_us.p50 > 0' <<<"$output"
    [ -z "$(ls "$BATS_TEST_TMPDIR/here")" ]
    run "$seer" bench gate --folder /nowhere
    [ "$status" -eq 1 ]
    [[ $output == *"cannot make a folder in '/nowhere'"* ]]
}

@test "a benchmark that is asked for nonsense says so with exit code 2" {
    for arguments in 'step' 'step --config /nowhere.yaml' 'loader --seconds 1' 'nonsense' \
        'allreduce --members 0' 'allreduce --runs 0' 'coordinator --workers 0' 'coordinator --step-ms 0' 'gate --steps 0'; do
        # shellcheck disable=SC2086 # words
        run "$seer" bench $arguments
        echo "$arguments: $status: $output"
        [ "$status" -eq 2 ]
    done
}

@test "recovery.py has a row for every stage of each kind of death" {
    [ -d /usr/share/datasets/fashion-mnist ] || skip 'package dataset-fashion-mnist is not installed'
    run "$SEER_SOURCE/tests/bench/recovery.py" --kills 1 --kinds worker,server,both --workers 3
    echo "$output"
    [ "$status" -eq 0 ]
    for row in 'worker | kill to detection' 'worker | to forming' 'worker | to formed' 'worker | kill to commit' \
        'server | start to listening' 'server | to resumed' 'server | start to commit' \
        'both | start to listening' 'both | to forming' 'both | to formed' 'both | start to commit'; do
        grep -q "^| $row | 1 |" <<<"$output"
    done
}

@test "membership.py has a row for every stage of a join and a drain, and no step was aborted" {
    [ -d /usr/share/datasets/fashion-mnist ] || skip 'package dataset-fashion-mnist is not installed'
    run "$SEER_SOURCE/tests/bench/membership.py" --changes 1
    echo "$output"
    [ "$status" -eq 0 ]
    for stage in 'usual step' 'extra time at the change' 'of it state and digest' 'preparation, while training'; do
        grep -q "^| join | $stage | 1 |" <<<"$output"
        grep -q "^| drain | $stage | 1 |" <<<"$output"
    done
    grep -q '^aborted steps: 0 of' <<<"$output"
}
