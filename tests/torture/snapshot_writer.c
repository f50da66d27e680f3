/* snapshot_writer.c - a process to be killed while it takes in and removes snapshots, and the judge
 * of what it left behind; for crash_points.sh.
 *
 * snapshot_writer write DIR: takes in snapshots in parts, pins one, removes one, and says each of
 * these once it is durable. snapshot_writer check DIR SAID: fails unless every snapshot in DIR is
 * whole, all is there that the file SAID tells of and nothing that it says is removed, and the next
 * snapshot can be taken in. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "server/parameter_store.h"
#include "server/snapshot_folder.h"

enum { FLOATS = 1000, PART = 1500, SNAPSHOTS = 3, LINE_BYTES = 100 };

static enum status make_image(uint64_t step, struct buf *image)
{
    static float data[FLOATS];
    char text[24];
    struct safetensors_header header;
    for (int i = 0; i < FLOATS; i++)
        data[i] = (float)(i + (int)step);
    snprintf(text, sizeof(text), "%" PRIu64, step);
    safetensors_init(&header);
    TRY(safetensors_add(&header, "w", SAFETENSORS_F32, 1, (int64_t[]){FLOATS}, NULL));
    safetensors_add_metadata(&header, "everseer.step", text);
    safetensors_reserve_digests(&header);
    enum status status = safetensors_encode(&header, image);
    if (status == OK)
        status = buf_append(image, data, sizeof(data));
    safetensors_done(&header);
    return status;
}

static enum status push(struct parameter_store *store, char *name, const struct buf *image)
{
    int is_complete = 0;
    for (size_t offset = 0; offset < image->length; offset += PART) {
        size_t left = image->length - offset;
        struct message_snapshot_part part = {
            .name = name,
            .offset = offset,
            .total = image->length,
            .length = (uint32_t)(left < PART ? left : PART),
            .data = image->bytes + offset,
        };
        part.checksum = hash_bytes(part.data, part.length);
        TRY(parameter_store_write(store, &part, &is_complete));
    }
    return is_complete ? OK : fail(ERR_CORRUPT, "all parts of '%s' do not make it whole", name);
}

static enum status take_in(struct parameter_store *store, uint64_t step)
{
    char name[JOURNAL_NAME_BYTES];
    struct buf image;
    buf_init(&image, 1 << 20);
    snapshot_name_make(step, 0, name);
    enum status status = make_image(step, &image);
    if (status == OK)
        status = parameter_store_expect(store, name);
    if (status == OK)
        status = push(store, name, &image);
    buf_done(&image);
    return status;
}

static void say(const char *what, uint64_t step)
{
    char name[JOURNAL_NAME_BYTES];
    snapshot_name_make(step, 0, name);
    printf("%s %s\n", what, name);
    fflush(stdout);
}

static enum status write_all(struct parameter_store *store)
{
    char first[JOURNAL_NAME_BYTES], second[JOURNAL_NAME_BYTES];
    snapshot_name_make(1, 0, first);
    snapshot_name_make(2, 0, second);
    for (uint64_t step = 1; step <= SNAPSHOTS; step++) {
        TRY(take_in(store, step));
        say("complete", step);
    }
    TRY(parameter_store_pin(store, second, 1));
    say("pinned", 2);
    TRY(parameter_store_remove(store, first));
    say("removed", 1);
    return OK;
}

static enum status check_word(const char *directory, const char *what, const char *name,
                              int is_removed)
{
    char *path = snapshot_folder_path(directory, name);
    char *pin = mem_format("%s/%s" SNAPSHOT_PIN_SUFFIX, directory, name);
    int is_there = fs_exists(path), is_pinned = fs_exists(pin);
    mem_free(path);
    mem_free(pin);
    if (strcmp(what, "removed") == 0 ? is_there : !is_there && !is_removed)
        return fail(ERR_CORRUPT, "'%s' was %s, and is %s", name, what,
                    is_there ? "there" : "not there");
    if (strcmp(what, "pinned") == 0 && !is_pinned)
        return fail(ERR_CORRUPT, "'%s' was pinned, and is not", name);
    return OK;
}

/* The first snapshot is removed at the end, said or not. */
static enum status check_words(const char *directory, const char *said)
{
    char line[LINE_BYTES], first[JOURNAL_NAME_BYTES];
    enum status status = OK;
    FILE *file = fopen(said, "re");
    if (file == NULL)
        return fail(ERR_IO, "cannot open '%s'", said);
    snapshot_name_make(1, 0, first);
    int may_be_removed = 0;
    for (int pass = 0; pass < 2; pass++, rewind(file)) {
        while (status == OK && fgets(line, sizeof(line), file) != NULL) {
            line[strcspn(line, "\n")] = 0;
            char *name = strchr(line, ' ');
            if (name == NULL)
                continue;
            *name++ = 0;
            may_be_removed |= strcmp(line, "pinned") == 0;
            if (pass == 1)
                status =
                    check_word(directory, line, name, may_be_removed && strcmp(name, first) == 0);
        }
    }
    fclose(file);
    return status;
}

static enum status check(const char *directory, const char *said)
{
    struct parameter_store *store = NULL;
    struct snapshot_name *names = NULL;
    int count = 0;
    TRY(parameter_store_open(directory, &store)); /* removes what is unfinished */
    enum status status = check_words(directory, said);
    if (status == OK)
        status = take_in(store, SNAPSHOTS + 1);
    if (status == OK)
        status = snapshot_folder_names(directory, &names, &count);
    for (int i = 0; i < count && status == OK; i++) {
        struct snapshot_proof proof;
        status = snapshot_folder_verify(directory, names[i].text, &proof);
        if (status == OK && !proof.has_digests)
            status = fail(ERR_CORRUPT, "'%s' has no digests", names[i].text);
    }
    mem_free(names);
    parameter_store_close(store);
    return status;
}

static enum status write_into(const char *directory)
{
    struct parameter_store *store = NULL;
    TRY(parameter_store_open(directory, &store));
    enum status status = write_all(store);
    parameter_store_close(store);
    return status;
}

int main(int argc, char **argv)
{
    enum status status = ERR_INPUT;
    if (argc == 3 && strcmp(argv[1], "write") == 0)
        status = write_into(argv[2]);
    else if (argc == 4 && strcmp(argv[1], "check") == 0)
        status = check(argv[2], argv[3]);
    else
        return 2;
    if (status == OK)
        return 0;
    fprintf(stderr, "%s\n", fail_message());
    return 1;
}
