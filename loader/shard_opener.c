/* shard_opener.c - opens a shard here, or finds it elsewhere, and says what a failure means. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_opener.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/mem.h"
#include "loader/store.h"

void shard_opener_close(struct open_shard *open, int thread_count)
{
    for (int i = 0; i < thread_count; i++) {
        shard_reader_close(open->readers[i]);
        open->readers[i] = NULL;
    }
    shard_close(open->shard);
    open->shard = NULL;
}

/* By its manifest: hashing the file would read all of it. One without says nothing. */
static enum status check_hash(const struct open_shard *open)
{
    struct store_shard found;
    if (open->planned.content_hash == 0 || store_manifest_load(open->path, &found) != OK)
        return OK;
    uint64_t hash = found.content_hash;
    int is_other = found.has_manifest && hash != open->planned.content_hash;
    store_shard_done(&found);
    if (!is_other)
        return OK;
    return fail(ERR_INPUT,
                "shard '%s' is another one, of hash %016" PRIx64
                ", than the server's, of %016" PRIx64 ": bring that one here",
                open->path, hash, open->planned.content_hash);
}

static enum status open_it(struct open_shard *open, int thread_count)
{
    TRY(check_hash(open));
    TRY(shard_open(open->path, &open->shard));
    for (int i = 0; i < thread_count; i++)
        TRY(shard_reader_open(open->shard, &open->readers[i]));
    return OK;
}

/* What lost bytes is never read again, whatever is found now. */
static enum status look_again(const struct open_shard *open)
{
    struct shard *shard = NULL;
    TRY(shard_open(open->path, &shard));
    shard_close(shard);
    return fail(ERR_IO,
                "shard '%s': some of its bytes could not be read, though it looks whole now",
                open->path);
}

enum status shard_opener_try(const struct shard_table *table, struct open_shard *open,
                             int *ret_is_remote)
{
    const struct shard_elsewhere *elsewhere = &table->elsewhere;
    int is_second_look = open->shard != NULL;
    enum status status = is_second_look ? look_again(open) : open_it(open, table->thread_count);
    *ret_is_remote = 0;
    if (status == OK)
        return OK;
    if (!is_second_look)
        shard_opener_close(open, table->thread_count);
    if (elsewhere->find == NULL || open->planned.records == 0 || status == ERR_DEVICE)
        return status;
    char *words = mem_string(fail_message());
    enum status there = elsewhere->find(elsewhere->context, &open->planned);
    *ret_is_remote = there == OK;
    if (status == ERR_CORRUPT && there != OK)
        there = fail(ERR_CORRUPT, "%s", words);
    mem_free(words);
    return there;
}

static void tell(struct open_shard *open, enum shard_trouble_kind kind)
{
    open->trouble.kind = kind;
    open->told_ms = clock_ms();
    snprintf(open->trouble.reason, sizeof(open->trouble.reason), "%s", fail_message());
    open->is_told = 0;
}

/* Of whom it waits is told, if that takes more than a moment, and again now and then. */
static void await(struct open_shard *open, int64_t now_ms)
{
    if (open->awaited_ms == 0)
        open->awaited_ms = now_ms;
    if (now_ms - open->awaited_ms < SHARD_RETRY_LONGEST_MS)
        return;
    if (open->trouble.kind != SHARD_TROUBLE_AWAITED || now_ms - open->told_ms >= SHARD_REMIND_MS)
        tell(open, SHARD_TROUBLE_AWAITED);
}

static int may_be_elsewhere(const struct shard_table *table, const struct open_shard *open)
{
    return table->elsewhere.find != NULL && open->planned.records != 0;
}

/* No try is made again at once. Returns whether tries have failed for so long that it counts. */
static int count_failure(const struct shard_table *table, struct open_shard *open, int64_t now_ms)
{
    int64_t patience_ms =
        may_be_elsewhere(table, open) ? SHARD_PATIENCE_ELSEWHERE_MS : SHARD_PATIENCE_MS;
    if (open->attempts++ == 0)
        open->since_ms = now_ms;
    int64_t pause_ms = SHARD_RETRY_LONGEST_MS;
    if (open->attempts < 5)
        pause_ms = SHARD_RETRY_MS << open->attempts;
    open->next_ms = now_ms + pause_ms;
    return now_ms - open->since_ms >= patience_ms;
}

void shard_opener_settle(const struct shard_table *table, struct open_shard *open,
                         enum status status, int is_remote)
{
    int64_t now_ms = clock_ms();
    if (status == OK) {
        open->state = SHARD_OPEN;
        open->is_remote = is_remote;
        open->is_told = 1;
        open->trouble.kind = 0;
        open->awaited_ms = 0;
        return;
    }
    int is_late = count_failure(table, open, now_ms);
    if (status == ERR_UNREACHABLE) {
        open->attempts = 0; /* patience is for those who are there */
        open->next_ms = now_ms + SHARD_RETRY_LONGEST_MS;
        await(open, now_ms);
        return;
    }
    if (status == ERR_DEVICE) {
        if (is_late && open->trouble.kind != SHARD_TROUBLE_OWN)
            tell(open, SHARD_TROUBLE_OWN);
        return;
    }
    if (status != ERR_CORRUPT && !is_late) {
        if (may_be_elsewhere(table, open))
            await(open, now_ms);
        return;
    }
    open->state = SHARD_FAILED;
    tell(open, status == ERR_CORRUPT ? SHARD_TROUBLE_DAMAGED : SHARD_TROUBLE_UNREACHABLE);
}
