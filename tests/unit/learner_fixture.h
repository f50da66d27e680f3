/* learner_fixture.h - a tiny learner: a device, a state and painted images for each member. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_LEARNER_FIXTURE_H
#define TESTS_UNIT_LEARNER_FIXTURE_H

#include "tests/test.h"

#include "common/thread.h"
#include "tests/unit/virtual_team.h"
#include "worker/step.h"

enum { SLOTS = 6, SLOT_IMAGES = 4, STEPS = 20, SEED = 11 };

struct member {
    const struct config *config;
    struct collective *collective;
    int steps;
    uint32_t slots[SLOTS];
    uint32_t slot_count;
    double lr;
    uint64_t number;   /* of member_try */
    enum status tried; /* by it */
    /* out */
    struct step_result results[STEPS];
    uint64_t digests[STEPS];
    struct state *state;
    struct device *device;
    struct thread thread;
    struct batch batch;
};

/* On which members compute; cpu unless a test's main says otherwise. */
extern const char *member_device;

struct config tiny_config(void);
/* Its device and state, and room for its batch. */
void member_open(struct member *member);
void member_close(struct member *member);
/* The images of a step; the same number gives the same ones. */
void batch_paint(struct member *member, uint64_t number);

#endif
