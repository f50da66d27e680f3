/* agreement.c - compares what members computed, and settles whom to believe. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/agreement.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/admission.h"
#include "server/formation.h"

/* Both lists and the rest fit in the text of an event (actions.c): 7 members of the longest names,
 * 20 of usual ones. Of a thousand it is enough to see the first who are wrong. */
enum { LIST_BYTES = 600, SENT_AWAY_BYTES = 200, MORE_BYTES = 16 };

/* "a,b,c", and "+N" at its end for the N that had no room. */
struct list {
    char *text;
    size_t bytes, length;
    uint32_t more;
};

static void list_add(struct list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void list_add(struct list *list, const char *format, ...)
{
    char item[ROSTER_NAME_BYTES + 32];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(item, sizeof(item), format, arguments);
    va_end(arguments);
    if (list->more > 0 || list->length + (size_t)length + 1 + MORE_BYTES > list->bytes) {
        list->more++;
        return;
    }
    list->length += (size_t)snprintf(list->text + list->length, list->bytes - list->length, "%s%s",
                                     list->length > 0 ? "," : "", item);
}

static void list_end(struct list *list)
{
    if (list->more > 0)
        snprintf(list->text + list->length, list->bytes - list->length, ",+%u", list->more);
    else if (list->length == 0)
        snprintf(list->text, list->bytes, "none");
}

/* The value that more than half of them have. 0: there is none. */
static int find_majority(const uint64_t *values, uint32_t count, uint64_t *ret_value)
{
    int64_t votes = 0;
    uint64_t candidate = 0;
    for (uint32_t i = 0; i < count; i++) { /* Boyer and Moore: nobody else can have a majority */
        if (votes == 0)
            candidate = values[i];
        votes += values[i] == candidate ? 1 : -1;
    }
    uint32_t same = 0;
    for (uint32_t i = 0; i < count; i++)
        same += values[i] == candidate;
    *ret_value = candidate;
    return same * 2 > count;
}

/* Returns the rule's name. */
static const char *find_truth(const struct coordinator *c, const struct agreement *agreement,
                              uint64_t *ret_truth)
{
    if (find_majority(agreement->digests, c->world_size, ret_truth))
        return "majority";
    int is_given = agreement->giver != AGREEMENT_NO_GIVER;
    *ret_truth = agreement->digests[is_given ? agreement->giver : 0];
    return is_given ? "giver_of_state" : "first_rank";
}

static void list_members(struct coordinator *c, const uint64_t *digests, uint64_t truth,
                         int is_right, struct list *list)
{
    for (uint32_t rank = 0; rank < c->world_size; rank++)
        if ((digests[rank] == truth) == is_right)
            list_add(list, "%s:%016llx", roster_find_rank(&c->roster, (int)rank)->name,
                     (unsigned long long)digests[rank]);
}

/* After those who are wrong were noted, before anybody is gone. */
static void tell(struct coordinator *c, const struct agreement *agreement, uint64_t truth,
                 const char *rule)
{
    char members[LIST_BYTES], sent_away[SENT_AWAY_BYTES];
    struct list all = {.text = members, .bytes = sizeof(members)};
    struct list deviants = {.text = sent_away, .bytes = sizeof(sent_away)};
    list_members(c, agreement->digests, truth, 0, &all);
    list_members(c, agreement->digests, truth, 1, &all);
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (admission_is_deviant(&c->roster.workers[i]))
            list_add(&deviants, "%s", c->roster.workers[i].name);
    list_end(&all);
    list_end(&deviants);
    actions_event(c->out, agreement->event, 1,
                  "generation=%llu step=%llu of=%s right=%016llx rule=%s members=%s sent_away=%s",
                  (unsigned long long)c->generation, (unsigned long long)c->step, agreement->of,
                  (unsigned long long)truth, rule, members, sent_away);
}

static void settle(struct coordinator *c, const struct agreement *agreement)
{
    uint64_t truth;
    const char *rule = find_truth(c, agreement, &truth);
    c->unequal_digests++;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        if (worker->rank >= 0 && agreement->digests[worker->rank] != truth)
            admission_note_deviation(worker);
    }
    tell(c, agreement, truth, rule);
    formation_end(c, agreement->reason, 0);
    admission_expel_deviants(c);
}

int agreement_holds(struct coordinator *c, const struct agreement *agreement)
{
    for (uint32_t rank = 1; rank < c->world_size; rank++)
        if (agreement->digests[rank] != agreement->digests[0]) {
            settle(c, agreement);
            return 0;
        }
    return 1;
}
