/* snapshot_folder.c - what lies in a folder of snapshots. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/snapshot_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"

char *snapshot_folder_path(const char *directory, const char *name)
{
    return mem_format("%s/%s" SNAPSHOT_SUFFIX, directory, name);
}

static int is_snapshot(const char *file_name)
{
    size_t length = strlen(file_name), tail = strlen(SNAPSHOT_SUFFIX);
    return length > tail && length - tail < JOURNAL_NAME_BYTES &&
           strcmp(file_name + length - tail, SNAPSHOT_SUFFIX) == 0;
}

static uint64_t metadata_number(const struct safetensors_header *header, const char *key)
{
    const char *text = safetensors_find_metadata(header, key);
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

enum status snapshot_verify_file(const char *name, int file, struct snapshot_proof *ret_proof)
{
    struct safetensors_header header;
    safetensors_init(&header);
    int has_digests = 0;
    enum status status = safetensors_read_header(name, file, &header);
    if (status == OK)
        status = safetensors_check_digests(name, file, &header, &has_digests);
    if (status == OK)
        *ret_proof = (struct snapshot_proof){
            .step = metadata_number(&header, "everseer.step"),
            .bytes = header.data_bytes,
            .tensor_count = header.tensor_count,
            .has_digests = has_digests,
        };
    safetensors_done(&header);
    return status;
}

enum status snapshot_folder_verify(const char *directory, const char *name,
                                   struct snapshot_proof *ret_proof)
{
    TRY(snapshot_name_check(name));
    char *path = snapshot_folder_path(directory, name);
    struct snapshot_proof proof = {0};
    enum status status = OK;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        status = fail(ERR_INPUT, "there is no snapshot '%s': %s", path, strerror(errno));
    else
        status = snapshot_verify_file(path, file, &proof);
    if (file >= 0)
        close(file);
    mem_free(path);
    if (status == OK)
        *ret_proof = proof;
    return status;
}

static enum status describe_open(const char *path, int file, struct snapshot_info *info)
{
    struct stat about;
    struct safetensors_header header;
    safetensors_init(&header);
    enum status status = safetensors_read_header(path, file, &header);
    if (status == OK && fstat(file, &about) != 0)
        status = fail(ERR_IO, "cannot ask for the size of '%s': %s", path, strerror(errno));
    if (status == OK) {
        info->step = metadata_number(&header, "everseer.step");
        info->lineage = (uint32_t)metadata_number(&header, "everseer.lineage");
        info->bytes = (uint64_t)about.st_size;
        info->modified_ms = (int64_t)about.st_mtim.tv_sec * 1000 + about.st_mtim.tv_nsec / 1000000;
    }
    safetensors_done(&header);
    return status;
}

static enum status describe(const char *directory, const char *name, struct snapshot_info *info)
{
    memset(info, 0, sizeof(*info));
    snprintf(info->name, sizeof(info->name), "%s", name);
    char *path = snapshot_folder_path(directory, info->name);
    char *pin = mem_format("%s/%s" SNAPSHOT_PIN_SUFFIX, directory, info->name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    enum status status = file < 0 ? fail(ERR_IO, "cannot open '%s': %s", path, strerror(errno))
                                  : describe_open(path, file, info);
    info->is_pinned = fs_exists(pin);
    if (file >= 0)
        close(file);
    mem_free(path);
    mem_free(pin);
    return status;
}

static int by_age(const void *left, const void *right)
{
    const struct snapshot_info *a = left, *b = right;
    if (a->lineage != b->lineage)
        return a->lineage < b->lineage ? -1 : 1;
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(left, right);
}

enum status snapshot_folder_names(const char *path, struct snapshot_name **ret_names,
                                  int *ret_count)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return errno == ENOENT
                   ? fail(ERR_INPUT, "there are no snapshots in '%s': is it of a run?", path)
                   : fail(ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    struct snapshot_name *names = NULL;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (!is_snapshot(entry->d_name))
            continue;
        names = mem_resize(names, (size_t)(count + 1) * sizeof(*names));
        snprintf(names[count++].text, sizeof(names->text), "%.*s",
                 (int)(strlen(entry->d_name) - strlen(SNAPSHOT_SUFFIX)), entry->d_name);
    }
    closedir(directory);
    if (count > 0)
        qsort(names, (size_t)count, sizeof(*names), by_name);
    *ret_names = names;
    *ret_count = count;
    return OK;
}

enum status snapshot_folder_list(const char *path, struct snapshot_info **ret_list, int *ret_count)
{
    struct snapshot_name *names = NULL;
    int name_count = 0, count = 0;
    TRY(snapshot_folder_names(path, &names, &name_count));
    struct snapshot_info *list = mem_array((size_t)name_count + 1, sizeof(*list));
    for (int i = 0; i < name_count; i++) {
        if (describe(path, names[i].text, &list[count]) == OK)
            count++;
        else
            log_warn("event=snapshot_unreadable snapshot=%s reason=\"%s\"", names[i].text,
                     fail_message());
    }
    mem_free(names);
    if (count > 0)
        qsort(list, (size_t)count, sizeof(*list), by_age);
    *ret_list = list;
    *ret_count = count;
    return OK;
}

static int is_milestone(const struct snapshot_info *info, int64_t keep_every, int64_t every_steps)
{
    uint64_t steps = (uint64_t)every_steps;
    return keep_every > 0 && info->step % steps == 0 &&
           info->step / steps % (uint64_t)keep_every == 0;
}

void snapshot_folder_find_surplus(const char *directory, int64_t keep_last, int64_t keep_every,
                                  int64_t every_steps,
                                  void (*surplus)(void *context, const char *name), void *context)
{
    struct snapshot_info *list = NULL;
    int count = 0;
    int64_t kept = 0;
    if (snapshot_folder_list(directory, &list, &count) != OK) {
        log_warn("event=retention_failed reason=\"%s\"", fail_message());
        return;
    }
    for (int i = count; i-- > 0;)
        if (snapshot_name_is_automatic(list[i].name) && ++kept > keep_last && !list[i].is_pinned &&
            !is_milestone(&list[i], keep_every, every_steps))
            surplus(context, list[i].name);
    mem_free(list);
}
