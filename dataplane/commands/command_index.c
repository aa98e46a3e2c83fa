/* The index of the command table: the only place that knows all its files. */
#include "dataplane/commands/command.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/table.h"

enum {
    BUCKETS_SHIFT = 10,
    BUCKETS = 1 << BUCKETS_SHIFT, /* at least twice the commands, see command_index_create */
};

/* A name as two words of lower-case letters: its first and last eight bytes, or all of it. */
struct folded {
    uint64_t head, tail;
};

struct bucket {
    struct folded name;
    size_t len_bytes; /* 0: free */
    const struct command *command;
};

struct command_index {
    struct bucket buckets[BUCKETS];
    struct command *rows;       /* commands, then all subcommands, side by side */
    const struct command **all; /* the commands, in table order */
    char (*full_names)[COMMAND_FULL_NAME_MAX];
    uint32_t commands, numbers;
};

/* ---- Names ----------------------------------------------------------------------------------- */

static inline uint64_t load(const char *data, size_t len_bytes)
{
    uint64_t word = 0;

    memcpy(&word, data, len_bytes);
    return word;
}

/* Eight bytes at once: sets bit 5 where a byte is 'A' to 'Z'. */
static inline uint64_t lower(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    uint64_t low7 = word & ~high;
    uint64_t from_a = low7 + (0x80 - 'A') * ones;
    uint64_t past_z = low7 + (0x7f - 'Z') * ones;
    uint64_t upper = (from_a & ~past_z & ~word) & high;

    return word | upper >> 2;
}

static inline struct folded fold(const char *data, size_t len)
{
    if (len >= 8)
        return (struct folded){lower(load(data, 8)), lower(load(data + len - 8, 8))};
    if (len >= 4)
        return (struct folded){lower(load(data, 4)), lower(load(data + len - 4, 4))};
    /* One to three bytes: the first, the middle or last, and the last one. */
    uint64_t word = (uint64_t)(unsigned char)data[0] | (uint64_t)(unsigned char)data[len / 2] << 8 |
                    (uint64_t)(unsigned char)data[len - 1] << 16;
    return (struct folded){lower(word), 0};
}

static inline uint32_t bucket_of(struct folded name, size_t len)
{
    uint64_t hash = (name.head ^ (name.tail << 7 | name.tail >> 57) ^ len) * 0x9e3779b97f4a7c15u;

    return (uint32_t)(hash >> (64 - BUCKETS_SHIFT));
}

const struct command *command_find(const struct command_index *index, struct text name)
{
    if (name.len_bytes == 0)
        return NULL;
    struct folded folded = fold(name.data, name.len_bytes);
    for (uint32_t i = bucket_of(folded, name.len_bytes);; i++) {
        const struct bucket *bucket = &index->buckets[i % BUCKETS];

        if (bucket->len_bytes == 0)
            return NULL;
        if (bucket->len_bytes == name.len_bytes && bucket->name.head == folded.head &&
            bucket->name.tail == folded.tail &&
            (name.len_bytes <= 16 || text_is(name, bucket->command->name)))
            return bucket->command;
    }
}

const struct command *command_find_sub(const struct command *container, struct text name)
{
    for (uint32_t i = 0; i < container->subcommand_count; i++)
        if (text_is(name, container->subcommands[i].name))
            return &container->subcommands[i];
    return NULL;
}

/* ---- The index ------------------------------------------------------------------------------- */

static void count_rows(struct command_index *index)
{
    for (uint32_t i = 0; i < command_parts_count; i++) {
        for (uint32_t k = 0; k < *command_parts[i].count; k++) {
            index->commands++;
            index->numbers += 1u + command_parts[i].rows[k].subcommand_count;
        }
    }
    assert(index->commands <= BUCKETS / 2);
}

static void add_name(struct command_index *index, const struct command *command)
{
    size_t len = strlen(command->name);
    struct folded folded = fold(command->name, len);
    uint32_t i = bucket_of(folded, len);

    while (index->buckets[i % BUCKETS].len_bytes != 0)
        i++;
    index->buckets[i % BUCKETS] = (struct bucket){folded, len, command};
}

static void set_full_name(struct command_index *index, uint32_t number, const char *container)
{
    int len = snprintf(index->full_names[number], COMMAND_FULL_NAME_MAX, "%s%s%s",
                       container != NULL ? container : "", container != NULL ? "|" : "",
                       index->rows[number].name);

    assert(len < COMMAND_FULL_NAME_MAX);
    index->rows[number].full_name = index->full_names[number];
}

/* Copies the rows of one container's subcommands to the end; returns where they are. */
static const struct command *add_subcommands(struct command_index *index,
                                             const struct command *container, uint32_t *used)
{
    const struct command *first = &index->rows[*used];

    for (uint32_t i = 0; i < container->subcommand_count; i++) {
        index->rows[*used] = container->subcommands[i];
        set_full_name(index, (*used)++, container->name);
    }
    return first;
}

static void fill_rows(struct command_index *index)
{
    uint32_t number = 0, used = index->commands;

    for (uint32_t i = 0; i < command_parts_count; i++) {
        for (uint32_t k = 0; k < *command_parts[i].count; k++, number++) {
            struct command *row = &index->rows[number];

            *row = command_parts[i].rows[k];
            if (row->subcommand_count > 0)
                row->subcommands = add_subcommands(index, row, &used);
            set_full_name(index, number, NULL);
            index->all[number] = row;
            add_name(index, row);
        }
    }
    assert(used == index->numbers);
}

struct command_index *command_index_create(void)
{
    struct command_index *index = calloc(1, sizeof *index);

    if (index == NULL)
        return NULL;
    count_rows(index);
    index->rows = calloc(index->numbers, sizeof *index->rows);
    index->all = calloc(index->commands, sizeof *index->all);
    index->full_names = calloc(index->numbers, sizeof *index->full_names);
    if (index->rows == NULL || index->all == NULL || index->full_names == NULL) {
        command_index_destroy(index);
        return NULL;
    }
    fill_rows(index);
    return index;
}

void command_index_destroy(struct command_index *index)
{
    if (index == NULL)
        return;
    free(index->rows);
    free(index->all);
    free(index->full_names);
    free(index);
}

const struct command *const *command_all(const struct command_index *index, uint32_t *count)
{
    *count = index->commands;
    return index->all;
}

uint32_t command_number(const struct command_index *index, const struct command *command)
{
    assert(command >= index->rows && command < index->rows + index->numbers);
    return (uint32_t)(command - index->rows);
}

uint32_t command_numbers(const struct command_index *index)
{
    return index->numbers;
}

const char *command_full_name(const struct command_index *index, const struct command *command)
{
    assert(command_number(index, command) < index->numbers);
    return command->full_name;
}

const struct command *command_by_number(const struct command_index *index, uint32_t number)
{
    assert(number < index->numbers);
    return &index->rows[number];
}
