/* weights_match.c - finds layout and prefix, then accounts for every tensor of model and file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/weights_match.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/architecture.h"
#include "common/mem.h"
#include "worker/export/trunk_shape.h"

enum {
    LONG_NAME_BYTES = WEIGHTS_NAME_BYTES + KEYMAP_NAME_BYTES,
    LISTED_MAX = 3, /* names in a message; the rest is counted */
    SHAPE_BYTES = 96,
};

/* What the projection head and the prototypes are called, in front of ".N.weight" and ".weight". */
static const char *const head_names[] = {"0.projection_head", "projection_head", "head", NULL};
static const char *const prototype_names[] = {"0.prototypes0", "prototypes0", "prototypes", NULL};
/* How names of a classifier begin, behind the trunk's prefix or a dictionary's. */
static const char *const classifier_starts[] = {"fc.",     "head.fc.", "classifier.",  "0.clf.",
                                                "linear.", "clf.",     "last_linear.", NULL};

/* One of the three parts of the model, and what of it does not fit. */
struct section {
    const char *part; /* for messages */
    const char *ours; /* how our names begin */
    int found, wanted;
    int wrong_count; /* missing or of another shape */
    char wrong[512]; /* the first of them */
};

struct search {
    const struct weights *weights;
    const struct state_layout *layout;
    const struct match_wish *wish;
    struct weights_match *match;
    char head_prefix[LONG_NAME_BYTES], prototype_prefix[LONG_NAME_BYTES];
    char *is_taken; /* [tensors of the file] */
};

static int starts_with(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

static int is_of_model(const struct state_tensor *tensor)
{
    return tensor->kind == STATE_PARAMETER || tensor->kind == STATE_STATISTIC;
}

/* ---- prefixes ---- */

/* Is `end` the end of the name, at the start of a word? Writes what is before it. */
static int split(const char *name, const char *end, char ret_prefix[WEIGHTS_NAME_BYTES])
{
    const size_t length = strlen(name), end_length = strlen(end);
    if (length < end_length || strcmp(name + length - end_length, end) != 0)
        return 0;
    const size_t before = length - end_length;
    if (before > 0 && name[before - 1] != '.' && name[before - 1] != '/')
        return 0;
    snprintf(ret_prefix, WEIGHTS_NAME_BYTES, "%.*s", (int)before, name);
    return 1;
}

/* Tensors of the trunk that the file has under layout and prefix. */
static int count_trunk(const struct search *search, enum keymap_layout layout, const char *prefix)
{
    int count = 0;
    for (int i = 0; i < search->layout->tensor_count; i++) {
        const struct state_tensor *tensor = &search->layout->tensors[i];
        char name[LONG_NAME_BYTES];
        struct keymap_target target;
        if (!is_of_model(tensor) || !starts_with(tensor->name, "trunk.") ||
            keymap_translate(layout, tensor->name, &target) != OK)
            continue;
        snprintf(name, sizeof(name), "%s%s", prefix, target.name);
        count += weights_find(search->weights, name) != NULL;
    }
    return count;
}

struct candidate {
    int count;
    enum keymap_layout layout;
    char prefix[WEIGHTS_NAME_BYTES];
    char rival[WEIGHTS_NAME_BYTES]; /* another prefix of as many; "" is none */
    int has_rival;
};

static void consider(const struct search *search, enum keymap_layout layout, const char *prefix,
                     struct candidate *best)
{
    const int count = count_trunk(search, layout, prefix);
    if (count > best->count) {
        *best = (struct candidate){.count = count, .layout = layout};
        snprintf(best->prefix, sizeof(best->prefix), "%s", prefix);
    } else if (count == best->count && layout == best->layout && count > 0) {
        best->has_rival = 1;
        snprintf(best->rival, sizeof(best->rival), "%s", prefix);
    }
}

/* Wherever the stem's convolution is, a trunk may be. */
static void consider_layout(const struct search *search, enum keymap_layout layout,
                            const char *stem, struct candidate *best)
{
    struct keymap_target target;
    char prefix[WEIGHTS_NAME_BYTES];
    if (keymap_translate(layout, stem, &target) != OK)
        return;
    for (int i = 0; i < search->weights->tensor_count; i++) {
        const char *name = search->weights->tensors[i].name;
        if (starts_with(name, search->wish->prefix) && split(name, target.name, prefix))
            consider(search, layout, prefix, best);
    }
}

static void find_best(const struct search *search, enum family family, struct candidate *ret_best)
{
    char stem[ARCHITECTURE_NAME_BYTES];
    snprintf(stem, sizeof(stem), "%s.weight", architecture_stem_name(family, 0));
    *ret_best = (struct candidate){0};
    for (int layout = 0; layout < KEYMAP_COUNT; layout++)
        if (search->wish->layout < 0 || search->wish->layout == layout)
            consider_layout(search, (enum keymap_layout)layout, stem, ret_best);
}

static int has_stem(const struct search *search, enum family family)
{
    char stem[ARCHITECTURE_NAME_BYTES], prefix[WEIGHTS_NAME_BYTES];
    struct keymap_target target;
    snprintf(stem, sizeof(stem), "%s.weight", architecture_stem_name(family, 0));
    for (int layout = 0; layout < KEYMAP_COUNT; layout++)
        for (int i = 0; i < search->weights->tensor_count; i++)
            if (keymap_translate((enum keymap_layout)layout, stem, &target) == OK &&
                split(search->weights->tensors[i].name, target.name, prefix))
                return 1;
    return 0;
}

static enum status no_trunk(const struct search *search, enum family family)
{
    const struct weights *weights = search->weights;
    const enum family other = family == FAMILY_RESNET ? FAMILY_REGNETY : FAMILY_RESNET;
    if (has_stem(search, other))
        return fail(ERR_INPUT, "'%s' holds a %s, the config describes a %s: set model.family: %s",
                    weights->path, other == FAMILY_RESNET ? "ResNet" : "RegNetY",
                    other == FAMILY_RESNET ? "RegNetY" : "ResNet",
                    other == FAMILY_RESNET ? "resnet" : "regnety");
    return fail(
        ERR_INPUT, "'%s' holds no trunk by names of %s%s%s%s; the first of its %d tensors is '%s'",
        weights->path,
        search->wish->layout < 0 ? "any known layout"
                                 : keymap_layout_name((enum keymap_layout)search->wish->layout),
        search->wish->prefix[0] ? " that begin with '" : "", search->wish->prefix,
        search->wish->prefix[0] ? "'" : "", weights->tensor_count, weights->tensors[0].name);
}

static enum status find_trunk(const struct search *search, enum family family)
{
    struct candidate best;
    find_best(search, family, &best);
    if (best.count == 0)
        return no_trunk(search, family);
    if (best.has_rival)
        return fail(ERR_INPUT,
                    "'%s' holds more than one trunk, one behind '%s' and one behind '%s': say "
                    "which with --prefix",
                    search->weights->path, best.prefix, best.rival);
    search->match->layout = best.layout;
    snprintf(search->match->trunk_prefix, sizeof(search->match->trunk_prefix), "%s", best.prefix);
    return OK;
}

static size_t common_length(const char *a, const char *b)
{
    size_t length = 0;
    while (a[length] != 0 && a[length] == b[length])
        length++;
    return length;
}

/* What is before a name that ends so; of several the nearest to the trunk's prefix, then the
 * shortest: a snapshot has momentum of the same names. */
static int find_nearest(const struct search *search, const char *end,
                        char ret_prefix[WEIGHTS_NAME_BYTES])
{
    const char *trunk_prefix = search->match->trunk_prefix;
    char prefix[WEIGHTS_NAME_BYTES];
    int is_found = 0;
    for (int i = 0; i < search->weights->tensor_count; i++) {
        const char *name = search->weights->tensors[i].name;
        if (!starts_with(name, search->wish->prefix) || !split(name, end, prefix))
            continue;
        const size_t near = common_length(prefix, trunk_prefix);
        const size_t best = is_found ? common_length(ret_prefix, trunk_prefix) : 0;
        if (is_found && (near < best || (near == best && strlen(prefix) >= strlen(ret_prefix))))
            continue;
        memcpy(ret_prefix, prefix, sizeof(prefix));
        is_found = 1;
    }
    return is_found;
}

/* names end with NULL; the first that is there counts. */
static void find_names(const struct search *search, const char *const *names, const char *end,
                       char ret_prefix[LONG_NAME_BYTES])
{
    char prefix[WEIGHTS_NAME_BYTES], wanted[64];
    ret_prefix[0] = 0;
    for (; *names != NULL; names++) {
        snprintf(wanted, sizeof(wanted), "%s%s", *names, end);
        if (find_nearest(search, wanted, prefix)) {
            snprintf(ret_prefix, LONG_NAME_BYTES, "%s%s", prefix, *names);
            return;
        }
    }
}

/* ---- one tensor after the other ---- */

static void print_shape(int rank, const int64_t *shape, char text[SHAPE_BYTES])
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < rank && used < SHAPE_BYTES; i++)
        used +=
            (size_t)snprintf(text + used, SHAPE_BYTES - used, "%s%" PRId64, i ? "x" : "", shape[i]);
}

static void note_wrong(struct section *section, const struct state_tensor *tensor, const char *name,
                       const struct weights_tensor *found)
{
    char there[SHAPE_BYTES], here[SHAPE_BYTES];
    const size_t used = strlen(section->wrong);
    if (section->wrong_count++ >= LISTED_MAX)
        return;
    print_shape(tensor->rank, tensor->shape, here);
    if (found == NULL) {
        snprintf(section->wrong + used, sizeof(section->wrong) - used, "%s'%s' (%s) is not there",
                 used ? ", " : "", name, here);
        return;
    }
    print_shape(found->rank, found->shape, there);
    snprintf(section->wrong + used, sizeof(section->wrong) - used, "%s'%s' is %s%s, not %s",
             used ? ", " : "", name, weights_is_real(found) ? "" : "of whole numbers, ", there,
             here);
}

/* The file's name of one of ours. */
static enum status their_name(const struct search *search, const char *ours,
                              char ret_name[LONG_NAME_BYTES])
{
    struct keymap_target target;
    if (starts_with(ours, "head.")) {
        snprintf(ret_name, LONG_NAME_BYTES, "%s%s", search->head_prefix, strchr(ours, '.'));
        return OK;
    }
    if (starts_with(ours, "prototypes.")) {
        snprintf(ret_name, LONG_NAME_BYTES, "%s%s", search->prototype_prefix, strchr(ours, '.'));
        return OK;
    }
    TRY(keymap_translate(search->match->layout, ours, &target));
    snprintf(ret_name, LONG_NAME_BYTES, "%s%s", search->match->trunk_prefix, target.name);
    return OK;
}

static int has_shape(const struct weights_tensor *found, const struct state_tensor *tensor)
{
    if (found->rank != tensor->rank || !weights_is_real(found))
        return 0;
    for (int i = 0; i < tensor->rank; i++)
        if (found->shape[i] != tensor->shape[i])
            return 0;
    return 1;
}

static enum status take_section(const struct search *search, struct section *section)
{
    const struct weights *weights = search->weights;
    for (int i = 0; i < search->layout->tensor_count; i++) {
        const struct state_tensor *tensor = &search->layout->tensors[i];
        char name[LONG_NAME_BYTES];
        if (!is_of_model(tensor) || !starts_with(tensor->name, section->ours))
            continue;
        TRY(their_name(search, tensor->name, name));
        const struct weights_tensor *found = weights_find(weights, name);
        section->wanted++;
        if (found == NULL || !has_shape(found, tensor)) {
            note_wrong(section, tensor, name, found);
            continue;
        }
        section->found++;
        search->is_taken[found - weights->tensors] = 1;
        search->match->sources[i] = found;
    }
    return OK;
}

/* ---- what is left of the file ---- */

static int is_counter(const char *name)
{
    static const char end[] = "num_batches_tracked";
    const size_t length = strlen(name);
    return length >= strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

static int is_classifier(const char *name, const char *trunk_prefix)
{
    const char *slash = strrchr(name, '/');
    const char *plain = slash != NULL ? slash + 1 : name;
    const char *behind = starts_with(name, trunk_prefix) ? name + strlen(trunk_prefix) : plain;
    for (const char *const *start = classifier_starts; *start != NULL; start++)
        if (starts_with(behind, *start) || starts_with(plain, *start))
            return 1;
    return 0;
}

/* Behind a prefix of head or prototypes there is nothing but them. */
static int is_behind(const char *name, const char *prefix)
{
    return prefix[0] != 0 && starts_with(name, prefix) && name[strlen(prefix)] == '.';
}

/* "prototypes1": of several, of which the config has one. */
static int is_more_prototypes(const struct search *search, const char *name)
{
    size_t length = strlen(search->prototype_prefix);
    while (length > 0 && search->prototype_prefix[length - 1] == '0')
        length--;
    return length > 0 && strncmp(name, search->prototype_prefix, length) == 0;
}

static enum status left_over(const struct search *search, const char *name, const char *part,
                             const char *remedy)
{
    return fail(ERR_INPUT,
                "'%s' does not fit the config: its %s has more than the config's, as "
                "'%s': %s",
                search->weights->path, part, name, remedy);
}

static enum status check_left(const struct search *search, const struct weights_tensor *tensor)
{
    struct weights_match *match = search->match;
    const char *name = tensor->name;
    const char *behind =
        starts_with(name, match->trunk_prefix) ? name + strlen(match->trunk_prefix) : NULL;
    if (is_counter(name))
        return OK;
    if (match->head_count > 0 && is_behind(name, search->head_prefix))
        return left_over(search, name, "projection head",
                         "set model.head and model.head_batch_norm as the file has them, or take "
                         "--part trunk");
    if (match->prototypes_count > 0 && is_more_prototypes(search, name))
        return left_over(search, name, "set of prototypes", "take --part trunk");
    if (is_classifier(name, match->trunk_prefix)) {
        match->classifier_count++;
        match->classifier = name;
        return OK;
    }
    const int is_of_trunk = behind != NULL && strchr(behind, '/') == NULL &&
                            !is_behind(name, search->head_prefix) &&
                            !is_more_prototypes(search, name);
    if (is_of_trunk)
        return left_over(search, name, "trunk", "it is another network than those known here");
    match->aside_count++;
    return OK;
}

/* ---- all of it ---- */

/* The remedy first: what is wrong may be long. */
static enum status refuse(const struct search *search, const struct section *section,
                          const char *remedy)
{
    return fail(ERR_INPUT,
                "'%s' does not fit the config: %s; of the %d tensors of its %s %d do not "
                "fit: %s%s",
                search->weights->path, remedy, section->wanted, section->part, section->wrong_count,
                section->wrong, section->wrong_count > LISTED_MAX ? ", ..." : "");
}

static enum status take_trunk(const struct search *search, const struct config *config)
{
    struct section trunk = {.part = "trunk", .ours = "trunk."};
    char advice[TRUNK_ADVICE_BYTES];
    TRY(take_section(search, &trunk));
    search->match->trunk_count = trunk.found;
    trunk_shape_advise(search->weights, search->match->layout, search->match->trunk_prefix, config,
                       advice);
    if (trunk.wrong_count > 0)
        return refuse(search, &trunk,
                      advice[0] ? advice : "set the keys of model: to those of the file's network");
    if (advice[0] != 0)
        return fail(ERR_INPUT, "'%s' does not fit the config: %s", search->weights->path, advice);
    return OK;
}

static enum status take_rest(const struct search *search)
{
    static const char remedy[] =
        "set model.head, model.head_batch_norm and model.prototypes as the file has them, or take "
        "--part trunk";
    struct section head = {.part = "projection head", .ours = "head."};
    struct section prototypes = {.part = "prototypes", .ours = "prototypes."};
    const enum match_part part = search->wish->part;
    if (part == MATCH_ALL && (search->head_prefix[0] == 0 || search->prototype_prefix[0] == 0))
        return fail(ERR_INPUT, "'%s' has no %s: leave --part all away, and they start random",
                    search->weights->path,
                    search->head_prefix[0] == 0 ? "projection head" : "prototypes");
    if (part != MATCH_TRUNK && search->head_prefix[0] != 0)
        TRY(take_section(search, &head));
    if (part != MATCH_TRUNK && search->prototype_prefix[0] != 0)
        TRY(take_section(search, &prototypes));
    if (head.wrong_count > 0)
        return refuse(search, &head, remedy);
    if (prototypes.wrong_count > 0)
        return refuse(search, &prototypes, remedy);
    search->match->head_count = head.found;
    search->match->prototypes_count = prototypes.found;
    return OK;
}

static enum status match_all(const struct search *search, const struct config *config)
{
    if (search->wish->part != MATCH_TRUNK && config->model.prototype_heads > 1)
        return fail(ERR_INPUT, "several heads of prototypes are not imported: take --part trunk");
    TRY(take_trunk(search, config));
    TRY(take_rest(search));
    for (int i = 0; i < search->weights->tensor_count; i++)
        if (!search->is_taken[i])
            TRY(check_left(search, &search->weights->tensors[i]));
    return OK;
}

enum status weights_match(const struct weights *weights, const struct config *config,
                          const struct state_layout *state_layout, const struct match_wish *wish,
                          struct weights_match *ret_match)
{
    struct weights_match match = {
        .sources = mem_array((size_t)state_layout->tensor_count, sizeof(*match.sources))};
    struct search search = {
        .weights = weights,
        .layout = state_layout,
        .wish = wish,
        .match = &match,
        .is_taken = mem_zero((size_t)weights->tensor_count),
    };
    enum status status = find_trunk(&search, (enum family)config->model.family);
    if (status == OK) {
        find_names(&search, head_names, ".0.weight", search.head_prefix);
        find_names(&search, prototype_names, ".weight", search.prototype_prefix);
        status = match_all(&search, config);
    }
    mem_free(search.is_taken);
    if (status == OK)
        *ret_match = match;
    else
        weights_match_done(&match);
    return status;
}

void weights_match_done(struct weights_match *match)
{
    mem_free(match->sources);
    *match = (struct weights_match){0};
}
