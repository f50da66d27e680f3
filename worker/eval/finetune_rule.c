/* finetune_rule.c - the paper's recipe of finetuning: how long, and at which rate. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/finetune_rule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RATE_BATCH = 256, SLOT_IMAGES_MAX = 32 };

enum status finetune_rule_milestones(const char *words, struct finetune_rule *rule)
{
    rule->milestone_count = 0;
    if (words == NULL) {
        rule->milestones[rule->milestone_count++] = (double)rule->epochs * 6 / 7;
        return OK;
    }
    for (double before = 0;;) {
        char *end;
        const double epochs = strtod(words, &end);
        if (end == words || (*end != ',' && *end != '\0') || !(epochs > before) ||
            !(epochs < FINETUNE_EPOCHS_MAX))
            return fail(ERR_INPUT, "--milestones takes rising numbers of epochs with commas "
                                   "between, such as 30,60");
        if (rule->milestone_count == FINETUNE_MILESTONES_MAX)
            return fail(ERR_INPUT, "--milestones takes at most %d", FINETUNE_MILESTONES_MAX);
        rule->milestones[rule->milestone_count++] = before = epochs;
        if (*end == '\0')
            return OK;
        words = end + 1;
    }
}

int finetune_rule_slot(int batch)
{
    int images = batch < SLOT_IMAGES_MAX ? batch : SLOT_IMAGES_MAX;
    while (batch % images != 0)
        images--;
    return images;
}

uint64_t finetune_rule_steps(const struct finetune_rule *rule, uint64_t images, int64_t epochs)
{
    const uint64_t batch = (uint64_t)rule->batch;
    return (images * (uint64_t)epochs + batch - 1) / batch;
}

double finetune_rule_decay(const struct finetune_rule *rule, uint64_t images, uint64_t step)
{
    double decay = 1;
    for (int i = 0; i < rule->milestone_count; i++)
        if ((double)step * rule->batch >= rule->milestones[i] * (double)images)
            decay *= rule->factor;
    return decay;
}

double finetune_rule_rate(const struct finetune_rule *rule, double rate, uint64_t images,
                          uint64_t step)
{
    return rate * rule->batch / RATE_BATCH * finetune_rule_decay(rule, images, step);
}

void finetune_rule_print(const struct finetune_rule *rule, char ret_text[FINETUNE_RULE_BYTES])
{
    int length = snprintf(ret_text, FINETUNE_RULE_BYTES,
                          "classes %d batch %d slot %d epochs %" PRId64 " factor %.9g lr %.9g "
                          "classifier_lr %.9g momentum %.9g weight_decay %.9g nesterov %d after",
                          rule->class_count, rule->batch, rule->slot_images, rule->epochs,
                          rule->factor, rule->lr, rule->classifier_lr, rule->momentum,
                          rule->weight_decay, rule->is_nesterov);
    for (int i = 0; i < rule->milestone_count && length < FINETUNE_RULE_BYTES; i++)
        length += snprintf(ret_text + length, (size_t)(FINETUNE_RULE_BYTES - length), " %.9g",
                           rule->milestones[i]);
}
