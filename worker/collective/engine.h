/* engine.h - what an engine gives to collective.c: one table, no optional members. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_ENGINE_H
#define WORKER_COLLECTIVE_ENGINE_H

#include "worker/collective/collective.h"

/* As the functions of collective.h; ranges are checked, counts are not 0. */
struct engine_ops {
    const char *name;
    int is_alone; /* its operations do nothing */
    void (*destroy)(struct collective *collective);
    void (*abort)(struct collective *collective);
    enum status (*allreduce)(struct collective *collective, void *data, size_t count,
                             enum reduce_op op);
    enum status (*split)(struct collective *collective, int cut, int color);
    enum status (*allreduce_within)(struct collective *collective,
                                    const struct collective_part parts[COLLECTIVE_CUTS],
                                    enum reduce_op op); /* some may have count 0 */
    enum status (*allreduce_start)(struct collective *collective, void *data, size_t count,
                                   enum reduce_op op, uint64_t *ret_ticket);
    enum status (*wait)(struct collective *collective, uint64_t ticket);
    enum status (*broadcast)(struct collective *collective, void *data, size_t bytes, int root);
    enum status (*allgather)(struct collective *collective, void *data, size_t bytes);
};

/* First member of every engine's own struct. */
struct collective {
    const struct engine_ops *ops;
    int rank, size;
    uint64_t generation;
    char *region; /* borrowed */
    size_t region_bytes;
    uint64_t split_key;             /* of the present cuts; 0: none */
    int colors[COLLECTIVE_CUTS];    /* of this member in them */
    int64_t waited_us;              /* in operations, so far */
    struct collective_pulse *pulse; /* borrowed; NULL: nobody watches */
};

enum status collective_self_form(const struct collective_group *group,
                                 struct collective **ret_collective);
enum status collective_mpi_form(const struct collective_group *group,
                                struct collective **ret_collective);
/* mpi for memory of a device that no other process can map: the helper works on a copy. */
enum status collective_staged_form(const struct collective_group *group,
                                   struct collective **ret_collective);
/* The build links nccl.c or nccl_absent.c, which says what is missing. */
enum status collective_nccl_form(const struct collective_group *group,
                                 struct collective **ret_collective);

#endif
