/* labelled.c - the label of every record of a store, without a look at the images. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/labelled.h"

#include "common/mem.h"
#include "loader/labels.h"
#include "loader/shard.h"

enum status label_require(const char *store, const char *shard, uint32_t record, int32_t label)
{
    if (label != LABEL_NONE)
        return OK;
    return fail(ERR_INPUT,
                "store '%s': record %u of shard %s has no label; evaluation needs labels: "
                "ingest with --labels",
                store, record, shard);
}

static enum status take_label(struct labelled *labelled, const struct store_shard *shard,
                              uint32_t record, int32_t label)
{
    TRY(label_require(labelled->store.path, shard->name, record, label));
    if (label < 0 || label >= LABELLED_CLASSES_MAX)
        return fail(ERR_INPUT, "store '%s': record %u of shard %s has label %d; they are 0 to %d",
                    labelled->store.path, record, shard->name, label, LABELLED_CLASSES_MAX - 1);
    if (label >= labelled->class_count)
        labelled->class_count = label + 1;
    return OK;
}

static enum status read_shard(struct labelled *labelled, const struct store_shard *from,
                              int32_t *ret_labels)
{
    enum status status = OK;
    struct shard *shard = NULL;
    struct shard_reader *reader = NULL;
    TRY_OUT(shard_open(from->path, &shard));
    TRY_OUT(shard_reader_open(shard, &reader));
    for (uint32_t i = 0; i < from->record_count; i++) {
        struct record record;
        status = shard_read(reader, i, &record);
        ret_labels[i] = status == OK ? record.label : LABEL_NONE;
        if (status == OK)
            TRY_OUT(take_label(labelled, from, i, record.label));
        else if (status != ERR_CORRUPT)
            goto out;
    }
    status = OK;
out:
    shard_reader_close(reader);
    shard_close(shard);
    return status;
}

enum status labelled_load(const char *path, struct labelled *ret_labelled)
{
    enum status status = OK;
    struct labelled labelled = {0};
    uint64_t at = 0;
    TRY(store_load(path, &labelled.store));
    labelled.count = labelled.store.record_count;
    if (labelled.count == 0)
        TRY_OUT(fail(ERR_INPUT, "store '%s' has no images: fill it with 'seer ingest'", path));
    labelled.labels = mem_array(labelled.count, sizeof(*labelled.labels));
    for (uint32_t i = 0; i < labelled.store.shard_count; i++) {
        TRY_OUT(read_shard(&labelled, &labelled.store.shards[i], labelled.labels + at));
        at += labelled.store.shards[i].record_count;
    }
    *ret_labelled = labelled;
    return OK;
out:
    labelled_done(&labelled);
    return status;
}

void labelled_done(struct labelled *labelled)
{
    store_done(&labelled->store);
    mem_free(labelled->labels);
    *labelled = (struct labelled){0};
}

void labelled_place(const struct labelled *labelled, uint64_t index, uint32_t *ret_shard,
                    uint32_t *ret_record)
{
    uint32_t shard = 0;
    while (index >= labelled->store.shards[shard].record_count)
        index -= labelled->store.shards[shard++].record_count;
    *ret_shard = shard;
    *ret_record = (uint32_t)index;
}

uint64_t labelled_index(const struct labelled *labelled, uint32_t shard, uint32_t record)
{
    uint64_t index = record;
    for (uint32_t i = 0; i < shard; i++)
        index += labelled->store.shards[i].record_count;
    return index;
}

enum status labelled_renumber(int32_t *labels, int64_t count, const char *path,
                              const char *reference)
{
    struct labels ours, theirs;
    labels_init(&ours);
    labels_init(&theirs);
    enum status status = labels_load(&ours, path);
    if (status == OK)
        status = labels_load(&theirs, reference);
    for (int64_t i = 0; i < count && status == OK && ours.count > 0 && theirs.count > 0; i++)
        labels[i] = (uint32_t)labels[i] < ours.count ? labels_find(&theirs, ours.names[labels[i]])
                                                     : LABEL_NONE;
    labels_done(&ours);
    labels_done(&theirs);
    return status;
}
