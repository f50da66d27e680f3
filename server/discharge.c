/* discharge.c - remembers whom operators have sent away. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/discharge.h"

#include <stdio.h>
#include <string.h>

#include "server/admission.h"

enum { REASON_BYTES = 256 };

void discharge_restore(struct coordinator *c, const struct journal_discharge *discharge)
{
    if (c->discharge_count == CORE_DISCHARGES)
        memmove(c->discharges, c->discharges + 1, --c->discharge_count * sizeof(*c->discharges));
    c->discharges[c->discharge_count++] = *discharge;
}

const struct journal_discharge *discharge_find(const struct coordinator *c, uint64_t worker)
{
    for (uint32_t i = c->discharge_count; i-- > 0;)
        if (c->discharges[i].worker == worker)
            return &c->discharges[i];
    return NULL;
}

static const struct journal_discharge *find_name(const struct coordinator *c, const char *name)
{
    for (uint32_t i = c->discharge_count; i-- > 0;)
        if (strcmp(c->discharges[i].name, name) == 0)
            return &c->discharges[i];
    return NULL;
}

static void write_down(struct coordinator *c, const struct worker *worker, int is_evicted)
{
    struct journal_record record = {
        .kind = JOURNAL_DISCHARGE,
        .discharge = {.worker = worker->id, .is_evicted = is_evicted},
    };
    snprintf(record.discharge.name, sizeof(record.discharge.name), "%s", worker->name);
    core_journal(c, &record);
    discharge_restore(c, &record.discharge);
}

static void evict(struct coordinator *c, struct worker *worker, const char *reason)
{
    char words[REASON_BYTES];
    snprintf(words, sizeof(words), "evicted by an operator%s%s; start it again to let it join",
             reason[0] != 0 ? ": " : "", reason);
    admission_send_away(c, worker, words);
}

enum status discharge_order(struct coordinator *c, const char *name, int is_evicted,
                            const char *reason, uint64_t *ret_worker)
{
    struct worker *worker = roster_find_name(&c->roster, name);
    const struct journal_discharge *known =
        worker != NULL ? discharge_find(c, worker->id) : find_name(c, name);
    if (worker == NULL && known == NULL)
        return fail(ERR_INPUT, "no worker '%s': see seer worker ls", name);
    *ret_worker = worker != NULL ? worker->id : known->worker;
    if (worker == NULL)
        return OK; /* it has left */
    if (known == NULL || known->is_evicted < is_evicted)
        write_down(c, worker, is_evicted);
    if (is_evicted)
        evict(c, worker, reason);
    else
        admission_drain(c, worker);
    return OK;
}
