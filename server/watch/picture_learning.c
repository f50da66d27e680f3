/* picture_learning.c - figures of learning over time. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/picture.h"

/* Every second one goes when there is no more room: the past gets coarser. */
static void thin(struct picture *picture)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < picture->learning_count; i += 2)
        picture->learnings[kept++] = picture->learnings[i];
    picture->learning_count = kept;
}

int picture_learning(struct picture *picture, uint32_t lineage,
                     const struct message_learning *figures)
{
    const struct picture_learning *last = picture_learning_last(picture);
    if (last != NULL && (lineage < last->lineage ||
                         (lineage == last->lineage && figures->step <= last->figures.step)))
        return 0;
    while (picture->learning_count > 0 && /* a new lineage voids them */
           picture->learnings[picture->learning_count - 1].figures.step >= figures->step)
        picture->learning_count--;
    if (picture->learning_count == PICTURE_LEARNINGS)
        thin(picture);
    picture->learnings[picture->learning_count++] = (struct picture_learning){lineage, *figures};
    return 1;
}

const struct picture_learning *picture_learning_last(const struct picture *picture)
{
    return picture->learning_count > 0 ? &picture->learnings[picture->learning_count - 1] : NULL;
}
