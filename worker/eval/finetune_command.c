/* finetune_command.c - `seer eval finetune`: what the whole network gets right, once it is trained
 * on labels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "worker/eval/eval_command.h"
#include "worker/eval/finetune_request.h"
#include "worker/eval/finetune_workers.h"

static const char program[] = "seer eval finetune";

struct request {
    struct trial_request trial;
    struct finetune_request finetune;
};

/* Of one evaluation. */
struct session {
    const struct request *request;
    struct trial trial;
    struct finetune_rule rule;
    char *state_path; /* NULL: none is kept */
};

static enum status check_request(struct request *request)
{
    finetune_request_complete(&request->trial);
    TRY(trial_request_check(&request->trial));
    return finetune_request_check(&request->finetune, &request->trial);
}

static json_t *result_json(const struct session *session, const struct finetune_progress *progress)
{
    json_t *json = trial_json(&session->trial, "finetune");
    finetune_request_tell(&session->rule, json);
    json_object_set_new(json, "top1",
                        json_real(100.0 * (double)progress->right / (double)progress->tested));
    json_object_set(json, "loss_by_epoch", progress->losses);
    json_object_set_new(json, "train_images", json_integer((json_int_t)session->trial.items.count));
    json_object_set_new(json, "test_images", json_integer(progress->tested));
    json_object_set_new(json, "skipped_images",
                        json_integer(progress->replaced + progress->untested));
    return json;
}

static void print_table(const struct session *session, const struct finetune_progress *progress)
{
    const size_t epochs = json_array_size(progress->losses);
    printf("finetuned top-1 of step %" PRIu64 ", %" PRId64 " epochs of %" PRIu64
           " train images, %" PRId64 " test images\n",
           session->trial.saved.step, session->rule.epochs, session->trial.items.count,
           progress->tested);
    printf("  top-1 %6.2f %%   loss of the first epoch %.4f, of the last %.4f\n",
           100.0 * (double)progress->right / (double)progress->tested,
           json_number_value(json_array_get(progress->losses, 0)),
           json_number_value(json_array_get(progress->losses, epochs - 1)));
}

static void report(const struct session *session, const struct finetune_progress *progress)
{
    const struct trial_request *request = &session->request->trial;
    json_t *json = result_json(session, progress);
    trial_keep(request->snapshot, session->trial.saved.step, "finetune", json);
    if (options_is_json(request->output))
        json_print(json);
    else
        print_table(session, progress);
    json_decref(json);
    if (session->state_path != NULL)
        unlink(session->state_path); /* its result is told */
}

static enum status work(struct finetune *finetune, void *argument)
{
    const struct session *session = argument;
    const struct finetune_task task = {
        .items = &session->trial.items,
        .seed = (uint64_t)session->request->trial.seed,
        .state_path = session->state_path,
        .is_resumed = session->request->finetune.is_resumed,
        .name = "finetuning",
    };
    struct finetune_progress progress = {0};
    const enum status status = finetune_run(finetune, &task, &progress);
    if (status == OK && finetune_is_first(finetune))
        report(session, &progress);
    finetune_progress_done(&progress);
    return status;
}

static int run_finetune(const struct request *request)
{
    struct session *session = mem_zero(sizeof(*session));
    session->request = request;
    enum status status = trial_open_stores(&request->trial, &session->trial);
    if (status == OK)
        status = finetune_request_state(&request->finetune, &session->trial, "finetune", NULL,
                                        &session->state_path);
    int code = 0;
    if (status == OK) {
        session->rule = finetune_request_rule(&request->finetune, &session->trial);
        const struct finetune_work all = {
            .program = program,
            .trial = &session->trial,
            .rule = &session->rule,
            .workers = (int)request->finetune.workers,
            .run = work,
            .argument = session,
        };
        code = finetune_work_run(&all);
    } else {
        code = command_exit(program, status);
    }
    mem_free(session->state_path);
    trial_close(&session->trial);
    mem_free(session);
    return code;
}

static int finetune_run_command(int argc, char **argv)
{
    struct request request = {
        .trial = trial_request_usual(),
        .finetune = finetune_request_usual(),
    };
    struct trial_request *trial = &request.trial;
    trial->layers = "avgpool";
    trial->lr = trial->weight_decay = NAN;
    const struct option_row rows[] = {
        TRIAL_ROWS_STORES(trial),
        FINETUNE_ROWS(&request.finetune),
        {"batch", 'b', OPTION_INT, &trial->batch, "N", "images of a step (256)"},
        {"lr", 0, OPTION_DOUBLE, &trial->lr, "X", "learning rate of a batch of 256 (0.0125)"},
        {"weight-decay", 0, OPTION_DOUBLE, &trial->weight_decay, "X", "(0.0001)"},
        {"seed", 0, OPTION_INT, &trial->seed, "N", "of order, augmentation and classifier (0)"},
        {"train-limit", 0, OPTION_INT, &trial->train_limit, "N",
         "a random sample of the training images; 0, the default, is all"},
        {"test-limit", 0, OPTION_INT, &trial->test_limit, "N", "likewise of the test images"},
        TRIAL_ROWS_MEANS(trial),
        {0},
    };
    const struct usage usage = {
        .program = program,
        .synopsis = "--snapshot FILE --train STORE --test STORE [options]",
        .summary = "Trains the whole network of a snapshot, with a new classifier, on labelled "
                   "images, as the\n"
                   "paper does, and says what it gets right of the test images.",
        .examples =
            "  seer eval finetune --snapshot run/snapshots/step-000000500.safetensors --train a "
            "--test b\n"
            "  seer eval finetune -s x.safetensors --train a --test b --workers 8 --device cuda:0",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(trial->output);
    if (status == OK)
        status = check_request(&request);
    if (status != OK)
        return options_exit(&usage, status);
    return run_finetune(&request);
}

const struct command finetune_command = {
    "finetune", "train the whole network on labels, as the paper does", finetune_run_command};
