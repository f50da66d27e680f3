/* unpickle.c - the machine: a stack of values, marks in it, and a memo of values to come back to.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/unpickle.h"

#include <inttypes.h>
#include <string.h>

#include "common/mem.h"

enum { PROTOCOL_MAX = 5, MARK = -1, NOTHING = -2 };

struct machine {
    const uint8_t *bytes;
    size_t length, at;
    struct pickle pickle;
    size_t stack_count, stack_capacity;
    int64_t *stack; /* indices of values, or MARK */
    size_t memo_count, memo_used;
    int64_t *memo; /* [memo_count] indices of values, or NOTHING */
    int has_stopped;
};

static enum status truncated(const struct machine *machine)
{
    return fail(ERR_CORRUPT, "the pickle ends in the middle, at byte %zu", machine->length);
}

static enum status misused(const struct machine *machine)
{
    return fail(ERR_CORRUPT, "the pickle takes what is not on its stack, before byte %zu",
                machine->at);
}

/* ---- bytes ---- */

static enum status take(struct machine *machine, uint64_t count, const uint8_t **ret_bytes)
{
    if (count > machine->length - machine->at)
        return truncated(machine);
    *ret_bytes = machine->bytes + machine->at;
    machine->at += (size_t)count;
    return OK;
}

static enum status take_little(struct machine *machine, int count, uint64_t *ret_number)
{
    const uint8_t *bytes = NULL;
    uint64_t number = 0;
    TRY(take(machine, (uint64_t)count, &bytes));
    for (int i = 0; i < count; i++)
        number |= (uint64_t)bytes[i] << (8 * i);
    *ret_number = number;
    return OK;
}

/* Up to the end of the line, which is taken too. */
static enum status take_line(struct machine *machine, const char **ret_line, size_t *ret_length)
{
    const char *line = (const char *)machine->bytes + machine->at;
    const char *end = memchr(line, '\n', machine->length - machine->at);
    if (end == NULL)
        return truncated(machine);
    *ret_line = line;
    *ret_length = (size_t)(end - line);
    machine->at += *ret_length + 1;
    return OK;
}

/* ---- stack ---- */

static enum status push(struct machine *machine, int64_t index)
{
    if (machine->stack_count >= PICKLE_VALUES_MAX)
        return fail(ERR_CORRUPT, "the pickle stacks up more than %d values", PICKLE_VALUES_MAX);
    if (machine->stack_count == machine->stack_capacity) {
        machine->stack_capacity = machine->stack_capacity * 2 + 64;
        machine->stack =
            mem_resize(machine->stack, machine->stack_capacity * sizeof(*machine->stack));
    }
    machine->stack[machine->stack_count++] = index;
    return OK;
}

static enum status push_new(struct machine *machine, const struct pickle_value *value)
{
    struct pickle *pickle = &machine->pickle;
    if (pickle->value_count >= PICKLE_VALUES_MAX)
        return fail(ERR_CORRUPT, "the pickle has more than %d values", PICKLE_VALUES_MAX);
    if (pickle->value_count == pickle->value_capacity) {
        pickle->value_capacity = pickle->value_capacity * 2 + 64;
        pickle->values =
            mem_resize(pickle->values, pickle->value_capacity * sizeof(*pickle->values));
    }
    pickle->values[pickle->value_count] = *value;
    return push(machine, pickle->value_count++);
}

static enum status push_kind(struct machine *machine, enum pickle_kind kind)
{
    return push_new(machine, &(struct pickle_value){.kind = kind});
}

static enum status push_number(struct machine *machine, int64_t number)
{
    return push_new(machine, &(struct pickle_value){.kind = PICKLE_NUMBER, .number = number});
}

static enum status pop(struct machine *machine, uint32_t *ret_value)
{
    if (machine->stack_count == 0 || machine->stack[machine->stack_count - 1] < 0)
        return misused(machine);
    *ret_value = (uint32_t)machine->stack[--machine->stack_count];
    return OK;
}

/* The value that an opcode changes in place. */
static enum status top(struct machine *machine, struct pickle_value **ret_value)
{
    if (machine->stack_count == 0 || machine->stack[machine->stack_count - 1] < 0)
        return misused(machine);
    *ret_value = &machine->pickle.values[machine->stack[machine->stack_count - 1]];
    return OK;
}

/* Where the values above the topmost mark begin. */
static enum status find_mark(const struct machine *machine, size_t *ret_first)
{
    for (size_t i = machine->stack_count; i > 0; i--) {
        if (machine->stack[i - 1] == MARK) {
            *ret_first = i;
            return OK;
        }
    }
    return misused(machine);
}

static void add_parts(const struct machine *machine, size_t first, size_t count,
                      struct pickle_value *value)
{
    const size_t needed = value->part_count + count;
    if (needed > value->part_capacity) {
        value->part_capacity = (uint32_t)(needed + value->part_count);
        value->parts = mem_resize(value->parts, value->part_capacity * sizeof(*value->parts));
    }
    for (size_t i = 0; i < count; i++)
        value->parts[value->part_count++] = (uint32_t)machine->stack[first + i];
}

/* A sequence of the values from stack[first] on; what lies below `keep` stays. */
static enum status gather(struct machine *machine, size_t first, size_t keep, enum pickle_kind kind)
{
    const size_t count = machine->stack_count - first;
    struct pickle_value value = {.kind = kind};
    if (kind == PICKLE_DICTIONARY && count % 2 != 0)
        return misused(machine);
    add_parts(machine, first, count, &value);
    machine->stack_count = keep;
    enum status status = push_new(machine, &value);
    if (status != OK)
        mem_free(value.parts);
    return status;
}

/* The values from stack[first] on go into the one below stack[keep - 1]. */
static enum status put_into(struct machine *machine, size_t first, size_t keep, int is_pairs)
{
    struct pickle_value *value = NULL;
    const size_t count = machine->stack_count - first;
    if (is_pairs && count % 2 != 0)
        return misused(machine);
    machine->stack_count = keep;
    TRY(top(machine, &value));
    const int fits = is_pairs ? value->kind == PICKLE_DICTIONARY || value->kind == PICKLE_CALL
                              : value->kind == PICKLE_SEQUENCE;
    if (fits) /* into others it is of no use here */
        add_parts(machine, first, count, value);
    return OK;
}

/* ---- opcodes ---- */

static enum status do_mark(struct machine *machine, uint8_t opcode)
{
    (void)opcode;
    return push(machine, MARK);
}

static enum status do_stop(struct machine *machine, uint8_t opcode)
{
    (void)opcode;
    machine->has_stopped = 1;
    return pop(machine, &machine->pickle.root);
}

static enum status do_pop(struct machine *machine, uint8_t opcode)
{
    (void)opcode;
    if (machine->stack_count == 0)
        return misused(machine);
    machine->stack_count--;
    return OK;
}

static enum status do_pop_mark(struct machine *machine, uint8_t opcode)
{
    size_t first = 0;
    (void)opcode;
    TRY(find_mark(machine, &first));
    machine->stack_count = first - 1;
    return OK;
}

static enum status do_duplicate(struct machine *machine, uint8_t opcode)
{
    (void)opcode;
    if (machine->stack_count == 0)
        return misused(machine);
    return push(machine, machine->stack[machine->stack_count - 1]);
}

static enum status do_protocol(struct machine *machine, uint8_t opcode)
{
    uint64_t protocol = 0;
    (void)opcode;
    TRY(take_little(machine, 1, &protocol));
    return protocol <= PROTOCOL_MAX ? OK
                                    : fail(ERR_CORRUPT, "a pickle of protocol %" PRIu64, protocol);
}

static enum status do_frame(struct machine *machine, uint8_t opcode)
{
    uint64_t length = 0;
    (void)opcode;
    return take_little(machine, 8, &length); /* a hint for readers of streams */
}

static enum status do_opaque(struct machine *machine, uint8_t opcode)
{
    const uint8_t *bytes = NULL;
    TRY(take(machine, opcode == 'G' ? 8 : 0, &bytes)); /* a float's, or None */
    return push_kind(machine, PICKLE_OPAQUE);
}

static enum status do_truth(struct machine *machine, uint8_t opcode)
{
    return push_number(machine, opcode == 0x88);
}

static enum status do_integer(struct machine *machine, uint8_t opcode)
{
    uint64_t number = 0;
    TRY(take_little(machine, opcode == 'K' ? 1 : opcode == 'M' ? 2 : 4, &number));
    return push_number(machine, opcode == 'J' ? (int32_t)(uint32_t)number : (int64_t)number);
}

/* Any length, two's complement. */
static enum status do_long(struct machine *machine, uint8_t opcode)
{
    uint64_t length = 0, number = 0;
    const uint8_t *bytes = NULL;
    TRY(take_little(machine, opcode == 0x8a ? 1 : 4, &length));
    TRY(take(machine, length, &bytes));
    const int is_negative = length > 0 && bytes[length - 1] >= 0x80;
    for (uint64_t i = 0; i < length || i < 8; i++) {
        const uint8_t byte = i < length ? bytes[i] : is_negative ? 0xff : 0;
        if (i < 8)
            number |= (uint64_t)byte << (8 * i);
        else if (byte != (number >> 63 ? 0xff : 0))
            return push_kind(machine, PICKLE_OPAQUE);
    }
    return push_number(machine, (int64_t)number);
}

/* Texts and bytes of all lengths: opcodes by the size of their length. */
static enum status do_text(struct machine *machine, uint8_t opcode)
{
    const int is_short = opcode == 'U' || opcode == 'C' || opcode == 0x8c;
    const int is_huge = opcode == 0x8d || opcode == 0x8e || opcode == 0x96;
    const int is_text = opcode == 'U' || opcode == 'T' || opcode == 'X' || opcode == 0x8c ||
                        opcode == 0x8d; /* Python 2 wrote its texts as strings of bytes */
    uint64_t length = 0;
    const uint8_t *bytes = NULL;
    TRY(take_little(machine, is_short ? 1 : is_huge ? 8 : 4, &length));
    TRY(take(machine, length, &bytes));
    return push_new(machine, &(struct pickle_value){.kind = is_text ? PICKLE_TEXT : PICKLE_OPAQUE,
                                                    .text = (const char *)bytes,
                                                    .text_length = (size_t)length});
}

/* "module\nname\n": kept as it lies, with the line feed between the two. */
static enum status do_global(struct machine *machine, uint8_t opcode)
{
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    (void)opcode;
    TRY(take_line(machine, &module, &module_length));
    TRY(take_line(machine, &name, &name_length));
    return push_new(machine,
                    &(struct pickle_value){.kind = PICKLE_NAME,
                                           .text = module,
                                           .text_length = module_length + 1 + name_length});
}

/* The same with both on the stack. */
static enum status do_stack_global(struct machine *machine, uint8_t opcode)
{
    struct pickle_value value = {.kind = PICKLE_NAME};
    (void)opcode;
    TRY(pop(machine, &value.argument));
    TRY(pop(machine, &value.callable));
    return push_new(machine, &value);
}

static enum status do_empty(struct machine *machine, uint8_t opcode)
{
    return push_kind(machine, opcode == '}' ? PICKLE_DICTIONARY : PICKLE_SEQUENCE);
}

/* Of all above the mark. */
static enum status do_gather(struct machine *machine, uint8_t opcode)
{
    size_t first = 0;
    TRY(find_mark(machine, &first));
    return gather(machine, first, first - 1, opcode == 'd' ? PICKLE_DICTIONARY : PICKLE_SEQUENCE);
}

static enum status do_tuple(struct machine *machine, uint8_t opcode)
{
    const size_t count = opcode - 0x84U; /* 0x85: of one, and so on */
    for (size_t i = 0; i < count; i++)
        if (machine->stack_count <= i || machine->stack[machine->stack_count - 1 - i] < 0)
            return misused(machine);
    const size_t first = machine->stack_count - count;
    return gather(machine, first, first, PICKLE_SEQUENCE);
}

static enum status do_put_many(struct machine *machine, uint8_t opcode)
{
    size_t first = 0;
    TRY(find_mark(machine, &first));
    return put_into(machine, first, first - 1, opcode == 'u');
}

static enum status do_put(struct machine *machine, uint8_t opcode)
{
    const size_t count = opcode == 's' ? 2 : 1;
    for (size_t i = 0; i < count; i++)
        if (machine->stack_count <= i || machine->stack[machine->stack_count - 1 - i] < 0)
            return misused(machine);
    const size_t first = machine->stack_count - count;
    return put_into(machine, first, first, opcode == 's');
}

/* An object's state: what it is we do not know. */
static enum status do_build(struct machine *machine, uint8_t opcode)
{
    uint32_t state = 0;
    (void)opcode;
    return pop(machine, &state);
}

static int is_ordered_dictionary(const struct pickle *pickle, uint32_t callable)
{
    return pickle_is_name(pickle, callable, "collections OrderedDict");
}

/* A function of arguments, or a new object of a class: noted, not done. */
static enum status do_call(struct machine *machine, uint8_t opcode)
{
    uint32_t callable = 0, argument = 0, keywords = 0;
    if (opcode == 0x92)
        TRY(pop(machine, &keywords));
    TRY(pop(machine, &argument));
    TRY(pop(machine, &callable));
    return push_new(machine,
                    &(struct pickle_value){.kind = is_ordered_dictionary(&machine->pickle, callable)
                                                       ? PICKLE_DICTIONARY
                                                       : PICKLE_CALL,
                                           .callable = callable,
                                           .argument = argument});
}

static enum status do_persistent(struct machine *machine, uint8_t opcode)
{
    uint32_t id = 0;
    (void)opcode;
    TRY(pop(machine, &id));
    return push_new(machine, &(struct pickle_value){.kind = PICKLE_PERSISTENT, .argument = id});
}

static enum status memo_set(struct machine *machine, uint64_t slot)
{
    const int64_t value =
        machine->stack_count > 0 ? machine->stack[machine->stack_count - 1] : MARK;
    if (value < 0)
        return misused(machine);
    if (slot >= PICKLE_VALUES_MAX)
        return fail(ERR_CORRUPT, "the pickle numbers a value %" PRIu64, slot);
    if (slot >= machine->memo_count) {
        const size_t count = (size_t)slot * 2 + 64;
        machine->memo = mem_resize(machine->memo, count * sizeof(*machine->memo));
        for (size_t i = machine->memo_count; i < count; i++)
            machine->memo[i] = NOTHING;
        machine->memo_count = count;
    }
    machine->memo_used += machine->memo[slot] == NOTHING;
    machine->memo[slot] = value;
    return OK;
}

static enum status do_memo_set(struct machine *machine, uint8_t opcode)
{
    uint64_t slot = 0;
    TRY(take_little(machine, opcode == 'q' ? 1 : 4, &slot));
    return memo_set(machine, slot);
}

/* Under the next number: as many as there are already. */
static enum status do_memoize(struct machine *machine, uint8_t opcode)
{
    (void)opcode;
    return memo_set(machine, machine->memo_used);
}

static enum status do_memo_find(struct machine *machine, uint8_t opcode)
{
    uint64_t slot = 0;
    TRY(take_little(machine, opcode == 'h' ? 1 : 4, &slot));
    if (slot >= machine->memo_count || machine->memo[slot] == NOTHING)
        return fail(ERR_CORRUPT, "the pickle comes back to value %" PRIu64 ", which it lacks",
                    slot);
    return push(machine, machine->memo[slot]);
}

static enum status (*const handlers[256])(struct machine *machine, uint8_t opcode) = {
    ['('] = do_mark,      ['.'] = do_stop,      ['0'] = do_pop,           ['1'] = do_pop_mark,
    ['2'] = do_duplicate, [0x80] = do_protocol, [0x95] = do_frame,        ['N'] = do_opaque,
    ['G'] = do_opaque,    [0x88] = do_truth,    [0x89] = do_truth,        ['J'] = do_integer,
    ['K'] = do_integer,   ['M'] = do_integer,   [0x8a] = do_long,         [0x8b] = do_long,
    ['U'] = do_text,      ['T'] = do_text,      ['X'] = do_text,          ['B'] = do_text,
    ['C'] = do_text,      [0x8c] = do_text,     [0x8d] = do_text,         [0x8e] = do_text,
    [0x96] = do_text,     ['c'] = do_global,    [0x93] = do_stack_global, ['}'] = do_empty,
    [']'] = do_empty,     [')'] = do_empty,     [0x8f] = do_empty,        ['d'] = do_gather,
    ['l'] = do_gather,    ['t'] = do_gather,    [0x91] = do_gather,       [0x85] = do_tuple,
    [0x86] = do_tuple,    [0x87] = do_tuple,    ['u'] = do_put_many,      ['e'] = do_put_many,
    [0x90] = do_put_many, ['s'] = do_put,       ['a'] = do_put,           ['b'] = do_build,
    ['R'] = do_call,      [0x81] = do_call,     [0x92] = do_call,         ['Q'] = do_persistent,
    ['q'] = do_memo_set,  ['r'] = do_memo_set,  [0x94] = do_memoize,      ['h'] = do_memo_find,
    ['j'] = do_memo_find,
};

static enum status run(struct machine *machine)
{
    while (!machine->has_stopped) {
        if (machine->at == machine->length)
            return truncated(machine);
        const uint8_t opcode = machine->bytes[machine->at++];
        if (handlers[opcode] == NULL)
            return fail(ERR_CORRUPT, "byte %zu of the pickle is no opcode known here (0x%02x)",
                        machine->at - 1, opcode);
        TRY(handlers[opcode](machine, opcode));
    }
    return OK;
}

enum status unpickle(const void *bytes, size_t length, struct pickle *ret_pickle)
{
    struct machine machine = {.bytes = bytes, .length = length};
    enum status status = run(&machine);
    mem_free(machine.stack);
    mem_free(machine.memo);
    machine.pickle.taken = machine.at;
    if (status == OK)
        *ret_pickle = machine.pickle;
    else
        pickle_done(&machine.pickle);
    return status;
}
