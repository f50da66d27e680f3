/* layers.c - which activations of the trunk a probe looks at: res4, res5, avgpool, each on a grid.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/layers.h"

#include <stdio.h>
#include <string.h>

#include "common/architecture.h"
#include "common/mem.h"

/* What the words are held against. */
struct network {
    struct architecture architecture;
    int side[ARCHITECTURE_BLOCKS_MAX]; /* of each block's output, in pixels */
};

static enum status network_init(struct network *network, const struct config *config, int size)
{
    const struct architecture *architecture = &network->architecture;
    TRY(architecture_init(&network->architecture, config));
    int side = architecture_entry_side(architecture, size);
    for (int j = 0; j < architecture->block_count; j++) {
        side = architecture_side_after(side, architecture->blocks[j].stride);
        network->side[j] = side;
    }
    return OK;
}

/* -1: there is no such stage. */
static int last_block_of(const struct architecture *architecture, int stage)
{
    int last = -1;
    for (int j = 0; j < architecture->block_count; j++)
        if (architecture->blocks[j].stage == stage)
            last = j;
    return last;
}

static void choose_grid(struct layer *layer, int side)
{
    int cells = 1;
    while (cells < side && (cells + 1) * (cells + 1) * layer->channels <= LAYER_WIDTH_USUAL)
        cells++;
    layer->rows = layer->columns = cells;
}

static enum status read_grid(const char *word, const char *grid, int side, struct layer *layer)
{
    int used = 0;
    if (sscanf(grid, ":%3dx%3d%n", &layer->rows, &layer->columns, &used) != 2 ||
        grid[used] != '\0' || layer->rows < 1 || layer->columns < 1)
        return fail(ERR_INPUT, "layer '%s': a grid is written as ROWSxCOLUMNS, such as res4:3x3",
                    word);
    if (layer->rows > side || layer->columns > side)
        return fail(ERR_INPUT, "layer '%s': its activations are %dx%d for these pictures", word,
                    side, side);
    return OK;
}

static enum status parse_word(const struct network *network, const char *word, struct layer *layer)
{
    static const char avgpool[] = "avgpool";
    const int stages = network->architecture.stage_count;
    int number = 0, used = 0;
    const int is_pooled = strcmp(word, avgpool) == 0;
    if (!is_pooled)
        (void)sscanf(word, "res%3d%n", &number, &used);
    const int block = last_block_of(&network->architecture, is_pooled ? stages : number - 1);
    if (block < 0 || (!is_pooled && word[used] != '\0' && word[used] != ':'))
        return fail(ERR_INPUT, "unknown layer '%s': this network has res2 to res%d and avgpool",
                    word, stages + 1);
    snprintf(layer->name, sizeof(layer->name), "%s", word);
    layer->block = block;
    layer->channels = network->architecture.blocks[block].out_width;
    layer->rows = layer->columns = 1;
    if (!is_pooled && word[used] == ':')
        TRY(read_grid(word, word + used, network->side[block], layer));
    else if (!is_pooled)
        choose_grid(layer, network->side[block]);
    layer->width = layer->rows * layer->columns * layer->channels;
    return OK;
}

static enum status parse_all(const struct network *network, const char *words, struct layer *layers,
                             int *ret_count)
{
    int count = 0;
    while (*words != '\0') {
        char word[LAYER_NAME_BYTES];
        const size_t length = strcspn(words, ",");
        if (length == 0 || length >= sizeof(word))
            return fail(ERR_INPUT, "layers are names with commas between, such as res4,avgpool");
        if (count == LAYERS_MAX)
            return fail(ERR_INPUT, "at most %d layers can be probed at once", LAYERS_MAX);
        memcpy(word, words, length);
        word[length] = '\0';
        TRY(parse_word(network, word, &layers[count++]));
        words += length;
        words += *words == ',';
    }
    if (count == 0)
        return fail(ERR_INPUT, "name at least one layer");
    *ret_count = count;
    return OK;
}

enum status layers_parse(const char *words, const struct config *config, int size,
                         struct layer ret_layers[LAYERS_MAX], int *ret_count)
{
    char usual[64];
    struct network *network = mem_zero(sizeof(*network));
    enum status status = network_init(network, config, size);
    const int last = network->architecture.stage_count + 1;
    snprintf(usual, sizeof(usual), last > 2 ? "res%d,res%d,avgpool" : "res2,avgpool", last - 1,
             last);
    if (status == OK)
        status = parse_all(network, words != NULL ? words : usual, ret_layers, ret_count);
    mem_free(network);
    return status;
}
