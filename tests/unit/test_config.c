/* test_config.c - loading, overriding, checking and printing configs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/architecture.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/config_table.h"
#include "common/fs.h"
#include "common/mem.h"

static enum status load(const char *yaml, struct config *config)
{
    config_init(config);
    return config_load_text("demo.yaml", yaml, strlen(yaml), config);
}

static void every_row_explains_itself_and_holds_its_own_default(void **state)
{
    (void)state;
    int count;
    const struct config_row *rows = config_rows(&count);
    struct config config;
    config_init(&config);
    assert_ok(config_check(&config));
    for (int i = 0; i < count; i++) {
        const struct config_row *row = &rows[i];
        assert_non_null(row->meaning);
        assert_true(strlen(row->meaning) > 10);
        assert_non_null(row->fallback);
        assert_ptr_equal(config_row_find(row->key), row); /* no key stands twice */
        if (row->type == CONFIG_INT)
            assert_non_null(row->unit == NULL && strcmp(row->key, "run.seed") != 0 ? NULL : row);
        if (row->type == CONFIG_INT || row->type == CONFIG_REAL)
            assert_true(row->max > row->min);
        if (row->type == CONFIG_CHOICE)
            assert_non_null(row->names);
        if (row->type == CONFIG_STRING)
            assert_true(row->bytes > 1);
    }
}

static void a_printed_config_loads_back_to_equal_bytes(void **state)
{
    (void)state;
    struct config config, again;
    config_init(&config);
    assert_ok(config_set(&config, "run.name=a \"name\" with \\ and ümlaut: # yes"));
    assert_ok(config_set(&config, "data.stores=[/a, 'b c']"));
    assert_ok(config_set(&config, "swav.temperature=0.1234567890123456"));
    assert_ok(config_set(&config, "crops=[{count: 3, size: 33, scale_min: 0.3, scale_max: 0.7}]"));
    assert_ok(config_set(&config, "model.head=[7]"));
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_ok(config_print(&config, &text));
    config_init(&again);
    assert_ok(config_load_text("printed", text.bytes, text.length, &again));
    assert_int_equal(again.crop_count, 1);
    assert_int_equal(again.model.head_count, 1);
    assert_string_equal(again.run.name, config.run.name);
    /* A shorter list leaves older entries behind its end; they are not part of the value. */
    struct buf second;
    buf_init(&second, 1 << 20);
    assert_ok(config_print(&again, &second));
    assert_string_equal((char *)text.bytes, (char *)second.bytes);
    assert_int_equal(config_fingerprint(&config), config_fingerprint(&again));
    buf_done(&text);
    buf_done(&second);
}

static void a_file_changes_only_what_it_names(void **state)
{
    (void)state;
    struct config config, defaults;
    config_init(&defaults);
    assert_ok(load("", &config));
    assert_memory_equal(&config, &defaults, sizeof(config));
    assert_ok(load("# only words\n", &config));
    assert_ok(
        load("train: {batch_images: 32, slot_images: 8}\nmodel:\n  head: [12, 5]\n", &config));
    assert_int_equal(config.train.batch_images, 32);
    assert_int_equal(config_slots(&config), 4);
    assert_int_equal(config.model.head_count, 2);
    assert_int_equal(config.model.head[1], 5);
    assert_int_equal(config.model.prototypes[0], defaults.model.prototypes[0]);
    assert_int_equal(config_crops_per_image(&config), 6);
}

static void a_wrong_file_is_refused_with_line_key_and_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *words;
    } cases[] = {
        {"train:\n  batch_imges: 3\n",
         "demo.yaml:2: unknown key 'train.batch_imges'; did you mean 'train.batch_images'?"},
        {"trian:\n  steps: 3\n", "demo.yaml:1: unknown key 'trian'"},
        {"zzzzzzzzzzzz: 1\n", "seer config show --reference"},
        {"train:\n  steps: many\n",
         "demo.yaml:2: train.steps must be a whole number from 0 to 1000000000000 (steps), not "
         "'many'"},
        {"optimizer:\n  sharded: true\n  clip: true\n", "optimizer.sharded does not go with"},
        {"train:\n  loss_scale: 1000\n", "train.loss_scale (1000) must be a power of two"},
        {"train:\n  loss_scale: 131072\n", "train.loss_scale must be a whole number from 1 to"},
        {"train:\n  steps: '3'\n", "demo.yaml:2: train.steps must be a whole number"},
        {"train:\n  steps: 3.5\n", "demo.yaml:2: train.steps must be a whole number"},
        {"train:\n  steps: 99999999999999999999\n", "demo.yaml:2: train.steps must be"},
        {"train:\n  steps: [1]\n", "demo.yaml:2: train.steps must be a whole number"},
        {"train:\n  steps: {a: 1}\n", "demo.yaml:2: train.steps must be a whole number"},
        {"train: 3\n", "demo.yaml:1: train must hold keys"},
        {"- 3\n", "demo.yaml:1: a config must hold keys"},
        {"train.steps: 3\n", "unknown key 'train.steps'"},
        {"train:\n  [a]: 3\n", "demo.yaml:2: a key must be a word"},
        {"train:\n  steps: 3\n  steps: 4\n", "demo.yaml:3: 'train.steps' is given twice"},
        {"train:\n  steps: 3\ntrain:\n  slot_images: 4\n", "demo.yaml:4: 'train' is given twice"},
        {"model:\n  prototypes: 1\n",
         "demo.yaml:2: model.prototypes must be a whole number from 2"},
        {"model:\n  prototypes: [3, 1]\n",
         "demo.yaml:2: model.prototypes must be a whole number from 2"},
        {"model:\n  prototypes: []\n", "or a list of 1 to 8 such"},
        {"model:\n  prototypes: [2,2,2,2,2,2,2,2,2]\n", "or a list of 1 to 8 such"},
        {"swav:\n  temperature: .nan\n", "demo.yaml:2: swav.temperature must be a number from"},
        {"swav:\n  temperature: inf\n", "demo.yaml:2: swav.temperature must be a number from"},
        {"swav:\n  temperature: 0x\n", "demo.yaml:2: swav.temperature must be a number from"},
        {"model:\n  head_batch_norm: maybe\n", "must be true or false, not 'maybe'"},
        {"optimizer:\n  kind: lars\n",
         "demo.yaml:2: optimizer.kind must be one of larc, sgd, not 'lars'; did you mean 'larc'?"},
        {"collective:\n  engine: gloo\n", "one of auto, self, mpi, nccl, not 'gloo'"},
        {"model:\n  head: []\n", "model.head must be a list of 1 to 4"},
        {"model:\n  head: 5\n", "model.head must be a list of 1 to 4"},
        {"model:\n  head: [1,2,3,4,5]\n", "model.head must be a list of 1 to 4"},
        {"model:\n  head: [1,-2]\n", "model.head: each entry must be a whole number from 1"},
        {"augment:\n  mean: [0.1, 0.2]\n", "augment.mean must be a list of 3"},
        {"crops: {}\n", "demo.yaml:1: crops must be a list"},
        {"crops: []\n", "crops must have at least one entry"},
        {"crops:\n  - {count: 2, size: 32}\n", "demo.yaml:2: crops: entry 0 lacks 'scale_min'"},
        {"crops:\n  - {cuont: 2}\n", "did you mean 'crops.N.count'"},
        {"a: &x 1\n", "demo.yaml:1: "},
        {"train:\n  steps: &x 1\n", "demo.yaml:2: anchors and aliases are not allowed"},
        {"train:\n  steps: *x\n", "demo.yaml:2: anchors and aliases are not allowed"},
        {"train:\n  steps: !!int 1\n", "demo.yaml:2: tags are not allowed"},
        {"train: {steps: 1\n", "demo.yaml:2: not YAML"},
        {"train:\n\tsteps: 1\n", "demo.yaml:2: not YAML"},
        {"train: {steps: 1}\n---\ntrain: {steps: 2}\n", "demo.yaml:3: more than one YAML document"},
        {"run:\n  name: \"a\\nb\"\n", "run.name must not contain control characters"},
        {"run:\n  name: \"a\\0b\"\n", "demo.yaml:2: a value contains a zero byte"},
        {"run:\n  name: "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
         "run.name must be text of at most 63 bytes"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config, defaults;
        config_init(&defaults);
        assert_fails(load(cases[i].yaml, &config), ERR_INPUT, cases[i].words);
        assert_memory_equal(&config, &defaults, sizeof(config)); /* untouched */
    }
}

static void impossible_combinations_are_refused_with_the_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *sets[3], *words;
    } cases[] = {
        {{"train.batch_images=100"}, "use 96 or 112"},
        {{"train.batch_images=8"}, "make the slot a divisor"},
        {{"train.bn_group_slots=5"}, "does not divide the 16 slots"},
        {{"swav.queue_images=300"}, "use 512, or 0"},
        {{"crops=[{count: 1, size: 32, scale_min: 0.1, scale_max: 1}]"}, "raise crops.0.count"},
        {{"crops.1.scale_min=0.5"}, "crops.1.scale_min (0.5) is above crops.1.scale_max (0.14)"},
        {{"augment.blur_sigma_min=3"}, "augment.blur_sigma_min (3) is above"},
        {{"model.w0=50"}, "use 48 or 56"},
        {{"model.group_width=1000"}, "divides no stage"},
        {{"model.wa=4000", "model.depth=200"}, "lower model.wa"},
        {{"schedule.lr_start=5"}, "schedule.lr_start (5) is above"},
        {{"schedule.lr_final=5"}, "schedule.lr_final (5) is above"},
        {{"schedule.kind=cosine"}, "a cosine must end"},
        {{"schedule.kind=cosine", "schedule.length_steps=10"}, "schedule.warmup_steps (1000)"},
        {{"server.lost_ms=300"}, "server.lost_ms (300) must be at least twice"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config;
        config_init(&config);
        for (int j = 0; j < 3 && cases[i].sets[j] != NULL; j++)
            assert_ok(config_set(&config, cases[i].sets[j]));
        assert_fails(config_check(&config), ERR_INPUT, cases[i].words);
    }
}

static void overrides_reach_every_kind_of_key_or_say_why_not(void **state)
{
    (void)state;
    struct config config, before;
    config_init(&config);
    assert_ok(config_set(&config, "crops.1.size=64"));
    assert_int_equal(config.crops[1].size, 64);
    assert_ok(config_set(&config, "server.listen=ipc:///tmp/a b: c"));
    assert_string_equal(config.server.listen, "ipc:///tmp/a b: c");
    assert_ok(config_set(&config, "model.head=[256,64]"));
    assert_int_equal(config.model.head_count, 2);
    assert_ok(config_set(&config, "model.head_batch_norm=true"));
    assert_int_equal(config.model.head_batch_norm, 1);
    assert_ok(config_set(&config, "data.exhausted=wait"));
    assert_int_equal(config.data.exhausted, EXHAUSTED_WAIT);
    static const struct {
        const char *set, *words;
    } cases[] = {
        {"train.steps", "--set train.steps: write key=value"},
        {"=3", "write key=value"},
        {"train.steps=", "'train.steps' needs a value"},
        {"train.stepz=3", "--set train.stepz=3: unknown key 'train.stepz'; did you mean"},
        {"crops.7.size=3", "crops has 2 entries"},
        {"crops.N.size=3", "a crop is named by its number"},
        {"crops.0.siez=64", "unknown key 'crops.N.siez'; did you mean 'crops.N.size'?"},
        {"train.steps=3 # 4\n---\n5", "more than one YAML document"},
        {"run.name=\xff", "not YAML"},
    };
    before = config;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_fails(config_set(&config, cases[i].set), ERR_INPUT, cases[i].words);
        assert_memory_equal(&config, &before, sizeof(config));
    }
}

static void the_fingerprint_covers_the_mathematics_and_nothing_else(void **state)
{
    (void)state;
    struct config config, other;
    config_init(&config);
    other = config;
    uint64_t fingerprint = config_fingerprint(&config);
    assert_ok(config_set(&other, "run.name=x"));
    assert_ok(config_set(&other, "server.listen=tcp://1.2.3.4:5"));
    assert_ok(config_set(&other, "data.stores=[x]"));
    assert_ok(config_set(&other, "train.steps=7"));
    assert_ok(config_set(&other, "data.decode_threads=7"));
    assert_int_equal(config_fingerprint(&other), fingerprint);
    static const char *const sets[] = {"run.seed=1", "model.head=[2048, 2048, 255]",
                                       "crops.1.scale_max=0.15", "schedule.kind=constant",
                                       "augment.std=[0.228, 0.224, 0.225]"};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        other = config;
        assert_ok(config_set(&other, sets[i]));
        assert_int_not_equal(config_fingerprint(&other), fingerprint);
    }
}

/* A word and a list are the same key, and a list of one is the word, so that runs of before there
 * were several heads keep their fingerprint. */
static void heads_of_prototypes_are_a_word_or_a_list(void **state)
{
    (void)state;
    struct config config, other;
    struct buf text;
    config_init(&config);
    assert_int_equal(config.model.prototype_heads, 1);
    other = config;
    assert_ok(config_set(&other, "model.prototypes=[3000]"));
    assert_int_equal(config_fingerprint(&other), config_fingerprint(&config));
    assert_ok(config_set(&other, "model.prototypes=[3000, 500]"));
    assert_int_not_equal(config_fingerprint(&other), config_fingerprint(&config));
    assert_int_equal(config_prototypes(&other), 3500);
    assert_float_equal(config_uniform_loss(&other), (log(3000) + log(500)) / 2, 1e-12);
    buf_init(&text, 1 << 16);
    assert_ok(config_print(&other, &text));
    assert_non_null(strstr((const char *)text.bytes, "prototypes: [3000, 500]\n"));
    config_init(&config);
    assert_ok(config_load_text("printed", text.bytes, text.length, &config));
    assert_memory_equal(&config, &other, sizeof(config));
    assert_ok(config_set(&config, "model.prototypes=40"));
    assert_int_equal(config.model.prototype_heads, 1);
    assert_int_equal(config_prototypes(&config), 40);
    buf_done(&text);
}

static char *source_path(const char *name)
{
    const char *source = getenv("SEER_SOURCE");
    return mem_format("%s/configs/%s", source != NULL ? source : ".", name);
}

static void the_reference_file_is_what_the_table_says(void **state)
{
    (void)state;
    struct buf expected, found;
    buf_init(&expected, 1 << 20);
    buf_init(&found, 1 << 20);
    char *path = source_path("reference.yaml");
    assert_ok(config_print_reference(&expected));
    assert_ok(fs_read_file(path, &found));
    assert_string_equal((char *)found.bytes, (char *)expected.bytes);
    struct config config, defaults;
    config_init(&defaults);
    memset(&config, 0, sizeof(config));
    assert_ok(config_load(path, &config)); /* it names every key: nothing stays at zero */
    assert_memory_equal(&config, &defaults, sizeof(config));
    mem_free(path);
    buf_done(&expected);
    buf_done(&found);
}

static void every_config_that_we_ship_loads(void **state)
{
    (void)state;
    static const char *const folders[] = {"", "paper"};
    int count = 0;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char *folder = source_path(folders[i]);
        DIR *files = opendir(folder);
        assert_non_null(files);
        for (struct dirent *file; (file = readdir(files)) != NULL;) {
            struct config config;
            char path[1024];
            if (strstr(file->d_name, ".yaml") == NULL)
                continue;
            snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
            config_init(&config);
            assert_ok(config_load(path, &config));
            count++;
        }
        closedir(files);
        mem_free(folder);
    }
    assert_true(count > 20);
    struct config config;
    config_init(&config);
    assert_fails(config_load("/none/such.yaml", &config), ERR_INPUT, "/none/such.yaml");
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_file_begins_with_its_bases(void **state)
{
    (void)state;
    char folder[] = "/tmp/seer-config-XXXXXX", a[64], b[64], c[64];
    assert_non_null(mkdtemp(folder));
    snprintf(a, sizeof(a), "%s/a.yaml", folder);
    snprintf(b, sizeof(b), "%s/b.yaml", folder);
    snprintf(c, sizeof(c), "%s/c.yaml", folder);
    /* a is no config by itself: its queue is no multiple of the default batch */
    write_file(a, "swav: {queue_images: 96}\ntrain: {steps: 5}\nmodel: {head: [8, 4, 2]}\n");
    write_file(b, "base: a.yaml\ntrain: {batch_images: 32, steps: 6}\n");
    write_file(c, "base: [b.yaml, b.yaml]\ntrain: {slot_images: 8}\nmodel: {head: [9]}\n");
    struct config config;
    config_init(&config);
    assert_fails(config_load(a, &config), ERR_INPUT, "not a multiple");
    assert_ok(config_load(c, &config));
    assert_int_equal(config.swav.queue_images, 96);
    assert_int_equal(config.train.batch_images, 32);
    assert_int_equal(config.train.steps, 6);
    assert_int_equal(config.train.slot_images, 8);
    assert_int_equal(config.model.head_count, 1);

    write_file(a, "base: c.yaml\n");
    assert_fails(config_load(c, &config), ERR_INPUT, "does one name itself?");
    write_file(a, "base: none.yaml\n");
    assert_fails(config_load(c, &config), ERR_INPUT, "none.yaml");
    write_file(a, "train: {steps: 5}\nbase: c.yaml\n");
    assert_fails(config_load(c, &config), ERR_INPUT, "a.yaml:2: base must be the first key");
    write_file(a, "base: {x: 1}\n");
    assert_fails(config_load(c, &config), ERR_INPUT, "a file or a list of files");
    write_file(a, "train: {step: 5}\n");
    assert_fails(config_load(c, &config), ERR_INPUT, "a.yaml:1: unknown key 'train.step'");
    assert_fails(config_load_text("text", "base: a.yaml\n", 13, &config), ERR_INPUT,
                 "only a file has a folder");
    assert_int_equal(unlink(a) + unlink(b) + unlink(c) + rmdir(folder), 0);
}

/* What the paper and VISSL say of the runs, not what the files happen to say. */
static void the_papers_runs_are_the_papers(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int64_t batch, workers_images, bn_images, steps, prototypes, iterations, parameters;
        double weight_decay, lr_peak;
        int width, head_count;
    } runs[] = {
        {"seer_regnety_256gf", 8192, 16, 1024, 122070, 16000, 10, 1272156138, 1e-5, 9.6, 10444, 3},
        {"seer_regnety_10b", 7936, 16, 128, 126008, 16000, 10, 9323934872, 1e-5, 9.3, 28280, 3},
        {"regnety_8gf", 8192, 32, 1024, 122070, 3000, 5, 37163068, 1e-6, 9.6, 2016, 3},
        {"regnety_8gf_small_head", 8192, 32, 1024, 122070, 3000, 5, 37163068, 1e-6, 9.6, 2016, 2},
        {"regnety_8gf_large_head", 8192, 32, 1024, 122070, 16000, 5, 37163068, 1e-6, 9.6, 2016, 3},
        {"regnety_16gf", 8192, 32, 1024, 122070, 3000, 5, 80565140, 1e-6, 9.6, 3024, 3},
        {"regnety_32gf", 8192, 32, 1024, 122070, 3000, 5, 141333770, 1e-6, 9.6, 3712, 3},
        {"regnety_64gf", 8192, 32, 1024, 122070, 3000, 5, 276457786, 1e-6, 9.6, 4920, 3},
        {"regnety_128gf", 8192, 32, 1024, 122070, 3000, 5, 637419894, 1e-6, 9.6, 7392, 3},
        {"released_regnety_128gf", 4096, 32, 2048, 244140, 16000, 10, 637419894, 1e-6, 4.8, 7392,
         3},
        {"released_regnety_32gf", 4096, 32, 2048, 244140, 16000, 10, 141333770, 1e-6, 4.8, 3712, 3},
        {"resnet50", 8192, 32, 1024, 122070, 3000, 5, 23508032, 1e-6, 9.6, 2048, 2},
        {"resnet101", 8192, 32, 1024, 122070, 3000, 5, 42500160, 1e-6, 9.6, 2048, 2},
        {"resnext101_32x4d", 8192, 32, 1024, 122070, 3000, 5, 42128704, 1e-6, 9.6, 2048, 2},
        {"resnext101_32x8d", 8192, 32, 1024, 122070, 3000, 5, 86742336, 1e-6, 9.6, 2048, 2},
        {"resnext101_32x16d", 8192, 32, 1024, 122070, 3000, 5, 191977792, 1e-6, 9.6, 2048, 2},
        {"single_gpu_resnet50", 256, 16, 256, 1001000, 3000, 3, 23508032, 1e-6, 0.6, 2048, 2},
        {"single_gpu_regnety_8gf", 256, 16, 256, 1001000, 3000, 3, 37163068, 1e-6, 0.6, 2016, 3},
    };
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        struct config config;
        struct architecture architecture;
        char name[64];
        snprintf(name, sizeof(name), "paper/%s.yaml", runs[i].file);
        char *path = source_path(name);
        config_init(&config);
        print_message("%s\n", name);
        assert_ok(config_load(path, &config));
        assert_ok(architecture_init(&architecture, &config));
        const int64_t group = config.train.bn_group_slots;
        const int64_t slots = group == 0 ? config_slots(&config) : group;
        assert_string_equal(config.run.name, runs[i].file);
        assert_int_equal(config.train.batch_images, runs[i].batch);
        assert_int_equal(config.train.slot_images, runs[i].workers_images);
        assert_int_equal(slots * config.train.slot_images, runs[i].bn_images);
        assert_int_equal(config.train.steps, runs[i].steps);
        assert_int_equal(config_prototypes(&config), runs[i].prototypes);
        assert_int_equal(config.swav.sinkhorn_iterations, runs[i].iterations);
        assert_int_equal(architecture_parameter_count(&architecture), runs[i].parameters);
        assert_true(config.optimizer.weight_decay == runs[i].weight_decay);
        assert_true(config.schedule.lr_peak == runs[i].lr_peak);
        assert_int_equal(architecture_width(&architecture), runs[i].width);
        assert_int_equal(config.model.head_count, runs[i].head_count);
        mem_free(path);
    }
}

static void
a_later_key_is_kept_from_older_peers_and_from_the_fingerprint_at_its_default(void **state)
{
    (void)state;
    struct config config, changed;
    struct buf text, older;
    config_init(&config);
    buf_init(&text, 1 << 20);
    buf_init(&older, 1 << 20);
    assert_ok(config_print(&config, &text));
    assert_ok(config_print_for(&config, 3, &older));
    assert_ok(buf_append(&text, "", 1));
    assert_ok(buf_append(&older, "", 1));
    assert_non_null(strstr((char *)text.bytes, "dashboard_orders: false\n"));
    assert_null(strstr((char *)older.bytes, "dashboard_orders"));
    assert_non_null(strstr((char *)older.bytes, "dashboard_open: false\n"));
    struct config read;
    config_init(&read);
    assert_ok(config_load_text("older", older.bytes, older.length - 1, &read));
    assert_int_equal(config_fingerprint(&read), config_fingerprint(&config));
    assert_int_equal(config_since(&config), 0);
    changed = config;
    assert_ok(config_set(&changed, "server.dashboard_orders=true"));
    assert_int_equal(config_since(&changed), 4);
    buf_done(&older);
    buf_init(&older, 1 << 20);
    assert_ok(config_print_for(&changed, 3, &older)); /* it must not be lost */
    assert_ok(buf_append(&older, "", 1));
    assert_non_null(strstr((char *)older.bytes, "dashboard_orders: true\n"));
    buf_done(&text);
    buf_done(&older);
}

static void damaged_files_never_crash_the_reader(void **state)
{
    (void)state;
    struct buf text;
    struct config config;
    buf_init(&text, 1 << 20);
    config_init(&config);
    assert_ok(config_print(&config, &text));
    uint64_t seed = 88172645463325252u;
    int refused = 0;
    for (int round = 0; round < 400; round++) {
        uint8_t *copy = mem_alloc(text.length);
        memcpy(copy, text.bytes, text.length);
        for (int hits = 0; hits < 3; hits++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            copy[seed % text.length] = (uint8_t)(seed >> 40);
        }
        struct config loaded;
        config_init(&loaded);
        refused += config_load_text("damaged", copy, text.length, &loaded) != OK;
        mem_free(copy);
    }
    assert_true(refused > 200);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_explains_itself_and_holds_its_own_default),
        cmocka_unit_test(a_printed_config_loads_back_to_equal_bytes),
        cmocka_unit_test(a_file_changes_only_what_it_names),
        cmocka_unit_test(a_wrong_file_is_refused_with_line_key_and_remedy),
        cmocka_unit_test(impossible_combinations_are_refused_with_the_remedy),
        cmocka_unit_test(overrides_reach_every_kind_of_key_or_say_why_not),
        cmocka_unit_test(the_fingerprint_covers_the_mathematics_and_nothing_else),
        cmocka_unit_test(heads_of_prototypes_are_a_word_or_a_list),
        cmocka_unit_test(the_reference_file_is_what_the_table_says),
        cmocka_unit_test(every_config_that_we_ship_loads),
        cmocka_unit_test(a_file_begins_with_its_bases),
        cmocka_unit_test(the_papers_runs_are_the_papers),
        cmocka_unit_test(
            a_later_key_is_kept_from_older_peers_and_from_the_fingerprint_at_its_default),
        cmocka_unit_test(damaged_files_never_crash_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
