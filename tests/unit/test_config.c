/* test_config.c - loading, overriding, checking and printing configs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

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
    assert_int_equal(config.model.prototypes, defaults.model.prototypes);
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
    static const char *const names[] = {"demo_cpu.yaml", "regnety_400mf.yaml"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct config config;
        char *path = source_path(names[i]);
        config_init(&config);
        assert_ok(config_load(path, &config));
        mem_free(path);
    }
    struct config config;
    config_init(&config);
    assert_fails(config_load("/none/such.yaml", &config), ERR_INPUT, "/none/such.yaml");
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
        cmocka_unit_test(the_reference_file_is_what_the_table_says),
        cmocka_unit_test(every_config_that_we_ship_loads),
        cmocka_unit_test(damaged_files_never_crash_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
