/* blame.c - deadlines that follow experience, and the one who missed them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/blame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admission.h"
#include "server/formation.h"

enum {
    BLAME_LEAST_MS = 2000, /* less is a busy host */
    BLAME_TIMES = 5,
    BLAME_KNOWN_STEPS = 16, /* fewer are no experience */
    BLAME_WARM_STEPS = 2, /* of a deal: members plan their memory and touch it for the first time */
    BLAME_HELPER_MS = 800, /* a helper without a sign for so long explains a member that hangs */
    BLAME_DOUBLINGS_MAX = 20,
    BLAME_TEXT_BYTES = 512,
};

void blame_learn(struct coordinator *c)
{
    int64_t *row = c->blame.phase_us[c->blame.count++ % CORE_BLAME_STEPS];
    memcpy(row, c->last.phase_us, sizeof(c->last.phase_us));
    row[PHASE_IDLE] = c->last.step_ms * 1000;
    c->blame.doublings = 0;
}

static int by_size(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* What 95 of 100 steps lately did not exceed. */
static int64_t usual_us(const struct coordinator *c, enum worker_phase phase)
{
    int64_t times[CORE_BLAME_STEPS];
    size_t count = c->blame.count < CORE_BLAME_STEPS ? c->blame.count : CORE_BLAME_STEPS;
    for (size_t i = 0; i < count; i++)
        times[i] = c->blame.phase_us[i][phase];
    qsort(times, count, sizeof(times[0]), by_size);
    return times[(count * 95 + 99) / 100 - 1];
}

static int is_computing(enum worker_phase phase)
{
    return phase >= PHASE_FORWARD && phase <= PHASE_REDUCE;
}

int64_t blame_deadline_ms(const struct coordinator *c, enum worker_phase phase)
{
    int64_t longest_ms = c->config->server.step_ms;
    if (c->blame.count < BLAME_KNOWN_STEPS || c->step < c->deal.step + BLAME_WARM_STEPS)
        return longest_ms;
    int64_t usual_ms = usual_us(c, is_computing(phase) ? phase : PHASE_IDLE) / 1000;
    if (usual_ms > longest_ms / BLAME_TIMES)
        return longest_ms;
    int64_t deadline_ms = BLAME_TIMES * usual_ms;
    deadline_ms = (deadline_ms > BLAME_LEAST_MS ? deadline_ms : BLAME_LEAST_MS)
                  << c->blame.doublings;
    return deadline_ms < longest_ms ? deadline_ms : longest_ms;
}

static int is_silent(const struct coordinator *c, const struct worker *worker)
{
    int64_t limit_ms = 3 * c->config->server.heartbeat_ms;
    return c->now_ms - worker->heard_ms > (limit_ms > CORE_SILENT_MS ? limit_ms : CORE_SILENT_MS);
}

/* Once for each attempt at a step. */
static void tell(struct coordinator *c, const struct worker *worker, const char *culprit,
                 int64_t still_ms)
{
    if (c->blame.told_step == c->step + 1 && c->blame.told_attempt == c->attempt)
        return;
    c->blame.told_step = c->step + 1;
    c->blame.told_attempt = c->attempt;
    actions_event(c->out, "standstill", 1,
                  "culprit=\"%s\" generation=%llu step=%llu phase=%s operations=%llu still_ms=%lld "
                  "heartbeat_age_ms=%lld",
                  culprit, (unsigned long long)c->generation,
                  (unsigned long long)worker->heartbeat_step, phase_name(worker->heartbeat.phase),
                  (unsigned long long)worker->heartbeat.operations, (long long)still_ms,
                  (long long)(c->now_ms - worker->heard_ms));
}

/* New helpers, the same members. */
static void regroup(struct coordinator *c, const char *reason)
{
    if (c->blame.doublings < BLAME_DOUBLINGS_MAX)
        c->blame.doublings++;
    formation_fail(c, reason);
}

/* Is there a helper of which its member has seen no sign for so long? 1 = it is dealt with. */
static int blame_helper(struct coordinator *c, int64_t least_ms)
{
    const struct worker *worst = NULL;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *worker = &c->roster.workers[i];
        if (worker->rank >= 0 && worker->heartbeat_generation == c->generation &&
            !is_silent(c, worker) &&
            (worst == NULL || worker->heartbeat.helper_ms > worst->heartbeat.helper_ms))
            worst = worker;
    }
    if (worst == NULL || worst->heartbeat.helper_ms < least_ms)
        return 0;
    char text[ROSTER_NAME_BYTES + 32];
    snprintf(text, sizeof(text), "helper of %s", worst->name);
    tell(c, worst, text, worst->heartbeat.helper_ms);
    snprintf(text, sizeof(text), "the helper of %s hangs", worst->name);
    regroup(c, text);
    return 1;
}

/* Names all that stand where `worker` stands, and when one of them moved last; returns whether any
 * member is further. */
static int name_candidates(const struct coordinator *c, const struct worker *worker, char *text,
                           size_t bytes, int64_t *ret_moved_ms)
{
    int is_anybody_ahead = 0;
    size_t length = (size_t)snprintf(text, bytes, "one of");
    *ret_moved_ms = worker->moved_ms;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *other = &c->roster.workers[i];
        if (other->rank < 0)
            continue;
        if (other->is_ready || roster_is_behind(worker, other)) {
            is_anybody_ahead = 1;
            continue;
        }
        if (other->moved_ms > *ret_moved_ms)
            *ret_moved_ms = other->moved_ms;
        if (length < bytes)
            length += (size_t)snprintf(text + length, bytes - length, " %s", other->name);
    }
    return is_anybody_ahead;
}

/* For how long it has been the one that nothing was heard to move of. Who waited for another that
 * has just begun to move again is not to blame for that wait. */
static int64_t held_up_ms(const struct coordinator *c, const struct worker *worker)
{
    int64_t since_ms = is_silent(c, worker) ? 0 : c->blame.suspect_ms;
    return c->now_ms - (worker->moved_ms > since_ms ? worker->moved_ms : since_ms);
}

static void blame_member(struct coordinator *c, struct worker *worker)
{
    char text[BLAME_TEXT_BYTES];
    enum worker_phase phase = worker->heartbeat.phase;
    int64_t moved_ms, still_ms = held_up_ms(c, worker);
    int64_t deadline_ms = blame_deadline_ms(c, phase);
    if (still_ms <= deadline_ms || blame_helper(c, BLAME_HELPER_MS))
        return;
    int is_behind = name_candidates(c, worker, text, sizeof(text), &moved_ms);
    int is_certain = c->world_size == 1 || is_silent(c, worker) || is_behind;
    if (!is_certain && c->now_ms - moved_ms <= deadline_ms)
        return; /* one of them has just begun to move again */
    tell(c, worker, is_certain ? worker->name : text, still_ms);
    if (is_silent(c, worker) || !is_computing(phase))
        return; /* lost_ms or step_ms will tell */
    if (!is_certain) {
        regroup(c, "all members wait in the same operation");
        return;
    }
    snprintf(text, sizeof(text), "stands still in phase %s; start it again", phase_name(phase));
    admission_replace(c, worker, text);
}

/* The member furthest behind; one that is silent before all others. */
static struct worker *find_culprit(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        if (worker->rank >= 0 && !worker->is_ready && is_silent(c, worker))
            return worker;
    }
    return roster_find_blamed(&c->roster);
}

static struct worker *suspect(struct coordinator *c)
{
    struct worker *worker = find_culprit(c);
    uint64_t id = worker != NULL ? worker->id : 0;
    if (id != c->blame.suspect) {
        c->blame.suspect = id;
        c->blame.suspect_ms = c->now_ms;
    }
    return worker;
}

void blame_check(struct coordinator *c)
{
    int64_t step_ms = c->now_ms - c->step_ms;
    if (c->state != RUN_TRAINING || c->planned <= c->step)
        return;
    struct worker *worker = suspect(c);
    int is_late = step_ms > c->config->server.step_ms;
    if (step_ms <= BLAME_LEAST_MS && !is_late)
        return;
    if (worker != NULL && is_late) {
        if (held_up_ms(c, worker) <= CORE_SILENT_MS)
            return;
        tell(c, worker, worker->name, c->now_ms - worker->moved_ms);
        admission_replace(c, worker, "its step did not end before the deadline step_ms");
        return;
    }
    if (!blame_helper(c, (int64_t)BLAME_LEAST_MS << c->blame.doublings) && worker != NULL)
        blame_member(c, worker);
}

/* Of the members that waited as long as they may, how many had no helper; *ret_lone is one of them.
 */
static uint32_t count_lone(const struct coordinator *c, const struct worker **ret_lone)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *worker = &c->roster.workers[i];
        if (worker->rank < 0 || worker->heartbeat.helper_ms < c->config->server.form_ms)
            continue;
        *ret_lone = worker;
        count++;
    }
    return count;
}

/* Neither formed nor given up, and nothing was heard to move of it for longer than that may take.
 */
static struct worker *find_hanging(struct coordinator *c)
{
    int64_t limit_ms = c->config->server.form_ms + CORE_SILENT_MS;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        if (worker->rank >= 0 && !worker->is_formed && !worker->is_broken &&
            c->now_ms - worker->moved_ms > limit_ms)
            return worker;
    }
    return NULL;
}

void blame_forming(struct coordinator *c)
{
    char culprit[ROSTER_NAME_BYTES + 32], text[ROSTER_NAME_BYTES + 64];
    const struct worker *lone = NULL;
    struct worker *hanging = find_hanging(c);
    uint32_t lone_count = count_lone(c, &lone);
    if (hanging != NULL)
        snprintf(culprit, sizeof(culprit), "%s", hanging->name);
    else if (lone_count == c->world_size)
        snprintf(culprit, sizeof(culprit),
                 "mpirun or a helper"); /* those wait for each other before they call */
    else if (lone_count > 0)
        snprintf(culprit, sizeof(culprit), "helper of %s", lone->name);
    else
        snprintf(culprit, sizeof(culprit), "one of the helpers");
    actions_event(c->out, "standstill", 1,
                  "culprit=\"%s\" generation=%llu step=%llu phase=form still_ms=%lld", culprit,
                  (unsigned long long)c->generation, (unsigned long long)c->step,
                  (long long)(c->now_ms - c->state_ms));
    snprintf(text, sizeof(text), "not formed in time for %s", culprit);
    if (hanging != NULL)
        admission_replace(c, hanging, "did not form the collective in time; start it again");
    else
        formation_fail(c, text);
}
