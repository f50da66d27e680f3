/* journal_samples.c - see journal_samples.h. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/journal_samples.h"

#include <string.h>

static uint32_t numbers[] = {3, 1, 2};
static struct journal_member members[] = {{7, "w1", 5, 1234}, {UINT64_MAX, "w2", 0, 0}};
static struct message_skip skips[] = {{1, 2, 3, "truncated"}, {4, 5, UINT64_C(1) << 50, ""}};

struct journal_record journal_sample(enum journal_kind kind)
{
    struct journal_record record;
    memset(&record, 0, sizeof(record));
    record.kind = kind;
    struct schedule_state schedule = {.commits = 5,
                                      .part_sums = {1.5, 2.5},
                                      .part_counts = {1, 2, 3},
                                      .windows = 9,
                                      .best = 1.0 / 0.0,
                                      .bad = 2,
                                      .cool = 3,
                                      .cuts = 4,
                                      .is_armed = 1,
                                      .window_mean = 0.1,
                                      .window_error = 0.01};
    switch (kind) {
    case JOURNAL_START:
        record.start = (struct journal_start){1, 2, 3, 4, 5, 6, 7, 8, 9};
        break;
    case JOURNAL_SHARD:
        record.shard = (struct journal_shard){1, 2, "/store/shards/a", 3};
        break;
    case JOURNAL_POLICY:
        record.policy = (struct stream_policy){90, UINT64_C(1) << 40, 1, 0};
        break;
    case JOURNAL_RETIRE:
        record.retire = (struct journal_retire){77, 1};
        break;
    case JOURNAL_ENTRY:
        record.entry = (struct stream_entry){1, 2, 3, 3, numbers, 2, numbers};
        break;
    case JOURNAL_GENERATION:
        record.generation = (struct journal_generation){1, 2, 2, members};
        break;
    case JOURNAL_STEP:
        record.step = (struct journal_step){.step = 1,
                                            .generation = 2,
                                            .epoch = 3,
                                            .lineage = 4,
                                            .attempt = 5,
                                            .world_size = 6,
                                            .is_commit = 1,
                                            .position = 7,
                                            .images = 8,
                                            .lr = 0.5,
                                            .loss = 3.25,
                                            .grad_norm = 1e-9,
                                            .digest = 9,
                                            .parameter_digest = 10,
                                            .unequal_digests = 11,
                                            .step_ms = 12,
                                            .data_wait_ms = -1,
                                            .phase_us = {1, 2, 3},
                                            .schedule = schedule,
                                            .skip_count = 2,
                                            .skips = skips};
        break;
    case JOURNAL_SNAPSHOT:
        record.snapshot = (struct journal_snapshot){1, 2, "step-1", schedule};
        break;
    case JOURNAL_ROLLBACK:
        record.rollback = (struct journal_rollback){1, 2, "step-1", schedule};
        break;
    case JOURNAL_PAUSE:
        record.pause.is_paused = 1;
        break;
    case JOURNAL_DEAL:
        record.deal = (struct journal_deal){1, 3, numbers};
        break;
    case JOURNAL_DISCHARGE:
        record.discharge = (struct journal_discharge){1, 1, "worker-2"};
        break;
    case JOURNAL_SNAPSHOT_REMOVED:
        record.removed = (struct journal_removed){"step-1"};
        break;
    case JOURNAL_STOP:
        record.stop.is_stopping = 1;
        break;
    }
    return record;
}
