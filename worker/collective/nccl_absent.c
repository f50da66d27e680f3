/* nccl_absent.c - stands where the nccl engine is when the program was built without it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/engine.h"

enum status collective_nccl_form(const struct collective_group *group,
                                 struct collective **ret_collective)
{
    (void)group, (void)ret_collective;
    return fail(ERR_INPUT, "this program has no NCCL engine; set collective.engine to mpi or self");
}
