/* The command table's parts: one array of rows for each file table_*.c, joined in table.c.
 * Purpose:   what the files of rows share; nobody else includes it but command.c and COMMAND.
 * Ownership: const data.
 * Threading: any. */
#ifndef DATAPLANE_COMMANDS_TABLE_H
#define DATAPLANE_COMMANDS_TABLE_H

#include "dataplane/commands/command.h"
#include "dataplane/commands/key_spec.h"

/* An array in a row, with its count. */
#define ROW_COUNT(rows)   (sizeof(rows) / sizeof *(rows))
#define KEY_SPECS(rows)   .key_specs = (rows), .key_spec_count = ROW_COUNT(rows)
#define SUBCOMMANDS(rows) .subcommands = (rows), .subcommand_count = ROW_COUNT(rows)
#define ARGUMENTS(rows)   .arguments = (rows), .argument_count = ROW_COUNT(rows)
#define HISTORY(rows)     .history = (rows), .history_count = ROW_COUNT(rows)
#define TIPS(rows)        .tips = (rows), .tip_count = ROW_COUNT(rows)
#define CHILDREN(rows)    .children = (rows), .child_count = ROW_COUNT(rows)
#define ARG(word, kind, ...)                                                                       \
    {                                                                                              \
        .name = (word), .type = (kind), ##__VA_ARGS__                                              \
    }

/* Keys from `index` on: `last` counts from there, or from the end when negative. */
#define KEY_RANGE(index, last_key, key_step, what, ...)                                            \
    {                                                                                              \
        .flags = (what), .begin_kind = KEY_BEGIN_INDEX, .begin_index = (index),                    \
        .find_kind = KEY_FIND_RANGE, .last = (last_key), .step = (key_step), ##__VA_ARGS__         \
    }
#define KEY_AT(index, what, ...) KEY_RANGE(index, 0, 1, what, ##__VA_ARGS__)

struct command_part {
    const struct command *rows;
    const uint32_t *count;
};

extern const struct command table_string[], table_bitmap[], table_generic[], table_connection[],
    table_client[], table_transactions[], table_server[], table_diagnostics[], table_cluster[];
extern const uint32_t table_string_count, table_bitmap_count, table_generic_count,
    table_connection_count, table_client_count, table_transactions_count, table_server_count,
    table_diagnostics_count, table_cluster_count;

extern const struct command_part command_parts[];
extern const uint32_t command_parts_count;

/* Words of the protocol for the bits and numbers of a row, lowest bit first. */
enum {
    FLAG_NAMES = 20,
    CATEGORY_NAMES = 21,
    KEY_FLAG_NAMES = 11,
    GROUP_NAMES = 17,
    ARGUMENT_TYPE_NAMES = 9
};
extern const char *const command_flag_names[FLAG_NAMES];
extern const char *const command_category_names[CATEGORY_NAMES]; /* without the '@' */
extern const char *const key_flag_names[KEY_FLAG_NAMES];
extern const char *const command_group_names[GROUP_NAMES];
extern const char *const argument_type_names[ARGUMENT_TYPE_NAMES];

#endif
