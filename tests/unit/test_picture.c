/* test_picture.c - what a viewer knows of a run: curves, rounds, marks, and the same as metrics and
 * as lines of a terminal. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "server/watch/metrics.h"
#include "server/watch/picture.h"
#include "server/watch/picture_json.h"
#include "server/watch/top.h"

static int make_picture(void **state)
{
    *state = picture_create();
    return 0;
}

static int drop_picture(void **state)
{
    picture_destroy(*state);
    return 0;
}

static void hear(struct picture *picture, struct feed_message message)
{
    message.wall_ms = 1000;
    picture_message(picture, &message);
}

static void hear_step(struct picture *picture, uint32_t lineage, uint64_t step, double loss)
{
    hear(picture, (struct feed_message){.kind = FEED_STEP,
                                        .step = {.step = step,
                                                 .lineage = lineage,
                                                 .is_commit = 1,
                                                 .images = 8,
                                                 .loss = loss,
                                                 .phase_us = {[PHASE_DATA] = 500000}}});
}

static void hear_event(struct picture *picture, uint64_t number, char *name, char *text)
{
    hear(picture, (struct feed_message){.kind = FEED_EVENT, .event = {name, text, 0, number}});
}

static void hear_worker(struct picture *picture, uint64_t id, char *name, int64_t rank)
{
    hear(picture,
         (struct feed_message){
             .kind = FEED_WORKER,
             .worker = {.name = name, .worker = id, .rank = rank, .images_per_second = 10}});
}

static void end_round(struct picture *picture, uint32_t workers)
{
    static char state[] = "training";
    hear(picture,
         (struct feed_message){
             .kind = FEED_SERVER,
             .server = {.state = state, .workers = workers, .uptime_ms = 1000, .trained_ms = 250}});
}

static uint64_t steps_in(const struct picture *picture)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < picture->point_count; i++)
        sum += picture->points[i].count;
    return sum;
}

static void any_number_of_steps_fits_and_none_is_lost(void **state)
{
    struct picture *picture = *state;
    enum { STEPS = 5 * PICTURE_POINTS + 3 };
    for (uint64_t step = 0; step < STEPS; step++)
        hear_step(picture, 0, step, 2);
    assert_true(picture->point_count <= PICTURE_POINTS);
    assert_int_equal(steps_in(picture), STEPS);
    for (uint32_t i = 0; i < picture->point_count; i++)
        assert_true(picture->points[i].loss == 2);
    assert_int_equal(picture->totals.steps_committed, STEPS);
    assert_int_equal(picture->totals.images, 8 * STEPS);
}

static void a_step_that_is_known_is_passed_over(void **state)
{
    struct picture *picture = *state;
    hear_step(picture, 0, 0, 3);
    hear_step(picture, 0, 1, 3);
    hear_step(picture, 0, 1, 9);
    assert_int_equal(steps_in(picture), 2);
    assert_int_equal(picture->totals.steps_committed, 2);
}

static void a_new_lineage_voids_the_steps_from_its_beginning_on(void **state)
{
    struct picture *picture = *state;
    for (uint64_t step = 0; step < 10; step++)
        hear_step(picture, 0, step, 3);
    hear_step(picture, 1, 4, 1);
    assert_int_equal(picture->point_count, 5);
    assert_int_equal(picture->points[4].step, 4);
    assert_true(picture->points[4].loss == 1);
    hear_step(picture, 0, 11, 9); /* of the past */
    assert_int_equal(picture->point_count, 5);
}

static void a_loss_that_is_no_number_does_not_spoil_the_mean(void **state)
{
    struct picture *picture = *state;
    picture->width = 4;
    hear_step(picture, 0, 0, 2);
    hear_step(picture, 0, 1, (double)NAN);
    hear_step(picture, 0, 2, 2);
    assert_int_equal(picture->point_count, 1);
    assert_true(picture->points[0].loss == 2);
    assert_true(picture->loss_smooth == 2);
    assert_int_equal(picture->totals.not_finite, 1);
}

static void who_is_not_in_a_whole_round_has_left(void **state)
{
    struct picture *picture = *state;
    hear_worker(picture, 1, "a", 0);
    hear_worker(picture, 2, "b", 1);
    end_round(picture, 2);
    assert_int_equal(picture->worker_count, 2);
    assert_true(picture_images_per_second(picture) == 20);
    assert_true(picture_goodput(picture) == 0.25);
    hear_worker(picture, 2, "b", 0);
    end_round(picture, 2); /* we came in its middle: it had two */
    assert_int_equal(picture->worker_count, 2);
    hear_worker(picture, 2, "b", 0);
    end_round(picture, 1);
    assert_int_equal(picture->worker_count, 1);
    assert_string_equal(picture->workers[0].name, "b");
}

static void throughput_of_the_past_fits_any_time(void **state)
{
    struct picture *picture = *state;
    for (int i = 0; i < 3 * PICTURE_ROUNDS; i++) {
        hear_worker(picture, 1, "a", 0);
        end_round(picture, 1);
    }
    assert_true(picture->round_count <= PICTURE_ROUNDS);
    assert_true(picture->round_count > PICTURE_ROUNDS / 4);
    assert_true(picture->rounds[picture->round_count - 1].images_per_second[0] == 10);
}

static void events_are_numbered_and_leave_marks_where_they_say(void **state)
{
    struct picture *picture = *state;
    hear_step(picture, 0, 41, 3);
    hear_event(picture, 1, "worker_joined", "worker=w host=h");
    hear_event(picture, 2, "rate_cut", "step=40 cuts=1");
    hear_event(picture, 2, "rate_cut", "step=40 cuts=1"); /* the file had it */
    hear_event(picture, 3, "slots_dealt", "generation=1");
    assert_int_equal(picture->event_count, 3);
    assert_int_equal(picture->mark_count, 2);
    assert_int_equal(picture->marks[0].kind, MARK_JOIN);
    assert_int_equal(picture->marks[0].step, 41);
    assert_int_equal(picture->marks[1].kind, MARK_CUT);
    assert_int_equal(picture->marks[1].step, 40);
    assert_int_equal(picture->totals.rate_cuts, 1);
}

static void a_snapshot_that_is_removed_leaves_the_list(void **state)
{
    struct picture *picture = *state;
    for (int i = 0; i < 2; i++)
        hear(picture, (struct feed_message){
                          .kind = FEED_SNAPSHOT,
                          .snapshot = {.name = i ? "step-2" : "step-1", .is_complete = 1}});
    hear_event(picture, 1, "snapshot_removed", "snapshot=step-1 reason=\"retention\"");
    assert_int_equal(picture->snapshot_count, 1);
    assert_string_equal(picture->snapshots[0].name, "step-2");
}

static void metrics_escape_names_and_leave_out_what_is_not_known(void **state)
{
    struct picture *picture = *state;
    struct buf text;
    buf_init(&text, 1 << 20);
    picture->has_status = 1;
    hear_step(picture, 0, 0, (double)NAN);
    hear_worker(picture, 1, "a\"b\\c\nd", 0);
    end_round(picture, 1);
    assert_ok(metrics_write(picture, &(struct metrics_self){.is_live = 1}, &text));
    const char *page = (const char *)text.bytes;
    assert_non_null(strstr(page, "seer_worker_member{worker=\"a\\\"b\\\\c\\nd\",host=\"\"} 1\n"));
    assert_non_null(strstr(page, "\nseer_loss NaN\n"));
    assert_non_null(strstr(page, "\nseer_phase_seconds_total{phase=\"data\"} 0.5\n"));
    assert_null(strstr(page, "seer_snapshot_timestamp_seconds"));
    assert_null(strstr(page, "seer_disk_free_bytes"));
    buf_done(&text);
}

/* From the feed, and from the status that a viewer begins with. */
static void json_has_what_a_gpu_tells(void **state)
{
    struct picture *picture = *state;
    json_t *status =
        json_pack("{s:[{s:s,s:{s:i}}]}", "workers", "worker", "2", "gpu", "power_mw", 412000);
    picture_status(picture, status);
    json_decref(status);
    hear(picture, (struct feed_message){.kind = FEED_WORKER,
                                        .worker = {.name = "a",
                                                   .worker = 1,
                                                   .gpu_utilization_percent = 97,
                                                   .gpu_memory_used_bytes = -1,
                                                   .gpu_temperature_c = 61,
                                                   .gpu_power_mw = -1}});
    json_t *all = picture_json(picture, 1, "");
    const json_t *workers = json_object_get(all, "workers");
    const json_t *one = json_array_get(workers, 1), *two = json_array_get(workers, 0);
    assert_int_equal(json_integer_value(json_object_get(one, "gpu_utilization_percent")), 97);
    assert_int_equal(json_integer_value(json_object_get(one, "gpu_temperature_c")), 61);
    assert_true(json_is_null(json_object_get(one, "gpu_power_mw")));
    assert_int_equal(json_integer_value(json_object_get(two, "gpu_power_mw")), 412000);
    assert_true(json_is_null(json_object_get(two, "gpu_utilization_percent")));
    json_decref(all);
}

static void json_has_null_for_what_is_no_number(void **state)
{
    struct picture *picture = *state;
    hear_step(picture, 0, 0, (double)INFINITY);
    json_t *all = picture_json(picture, 0, "gone");
    json_t *point = json_array_get(json_object_get(all, "points"), 0);
    assert_true(json_is_null(json_object_get(point, "loss")));
    assert_string_equal(json_string_value(json_object_get(all, "trouble")), "gone");
    char *text = json_dumps(all, 0);
    assert_non_null(text);
    free(text);
    json_decref(all);
}

static void lines_fit_their_width_and_no_control_character_is_in_them(void **state)
{
    struct picture *picture = *state;
    struct top_lines *lines = mem_zero(sizeof(*lines));
    for (uint64_t step = 0; step < 100; step++)
        hear_step(picture, 0, step, (double)(100 - step));
    hear_worker(picture, 1, "evil\033[2Jname", 0);
    hear_worker(picture, 2, "good", 1);
    end_round(picture, 2);
    hear_event(picture, 1, "worker_joined", "worker=evil\033]0;title\007");
    for (int width = 20; width < 200; width += 7) {
        const struct top_view view = {.width = width, .height = 12, .is_live = 1, .trouble = ""};
        top_render(picture, &view, lines);
        assert_true(lines->count <= 11);
        for (int i = 0; i < lines->count; i++) {
            assert_true((int)strlen(lines->lines[i].text) <= width);
            for (const char *at = lines->lines[i].text; *at != 0; at++)
                assert_true(*at >= ' ' && *at <= '~');
        }
    }
    mem_free(lines);
}

static void a_filter_leaves_the_workers_that_it_names(void **state)
{
    struct picture *picture = *state;
    struct top_lines *lines = mem_zero(sizeof(*lines));
    hear_worker(picture, 1, "alpha", 0);
    hear_worker(picture, 2, "beta", 1);
    end_round(picture, 2);
    const struct top_view view = {.width = 100, .filter = "BET", .is_live = 1, .trouble = ""};
    int alpha = 0, beta = 0;
    top_render(picture, &view, lines);
    for (int i = 0; i < lines->count; i++) {
        alpha += strncmp(lines->lines[i].text, "alpha", 5) == 0;
        beta += strncmp(lines->lines[i].text, "beta", 4) == 0;
    }
    assert_int_equal(alpha, 0);
    assert_int_equal(beta, 1);
    mem_free(lines);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, make_picture, drop_picture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_number_of_steps_fits_and_none_is_lost),
        TEST(a_step_that_is_known_is_passed_over),
        TEST(a_new_lineage_voids_the_steps_from_its_beginning_on),
        TEST(a_loss_that_is_no_number_does_not_spoil_the_mean),
        TEST(who_is_not_in_a_whole_round_has_left),
        TEST(throughput_of_the_past_fits_any_time),
        TEST(events_are_numbered_and_leave_marks_where_they_say),
        TEST(a_snapshot_that_is_removed_leaves_the_list),
        TEST(metrics_escape_names_and_leave_out_what_is_not_known),
        TEST(json_has_null_for_what_is_no_number),
        TEST(json_has_what_a_gpu_tells),
        TEST(lines_fit_their_width_and_no_control_character_is_in_them),
        TEST(a_filter_leaves_the_workers_that_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
