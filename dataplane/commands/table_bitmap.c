/* Rows of the command table: bitmaps. Arguments, specifications and rows as in command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const struct key_spec rw_access_update_1[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE),
};

static const struct command_argument setbit_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("offset", ARG_INTEGER),
    ARG("value", ARG_INTEGER),
};

static const struct key_spec ro_access_1[] = {
    KEY_AT(1, KEY_RO | KEY_ACCESS),
};

static const struct command_argument getbit_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("offset", ARG_INTEGER),
};

static const struct command_argument bitcount_index_index_unit[] = {
    ARG("byte", ARG_PURE_TOKEN, .token = "BYTE"),
    ARG("bit", ARG_PURE_TOKEN, .token = "BIT"),
};

static const struct command_argument bitcount_index[] = {
    ARG("start", ARG_INTEGER),
    ARG("end", ARG_INTEGER),
    ARG("index_unit", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0",
        CHILDREN(bitcount_index_index_unit)),
};

static const struct command_argument bitcount_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("index", ARG_BLOCK, .flags = ARG_OPTIONAL, CHILDREN(bitcount_index)),
};

static const struct command_history bitcount_history[] = {
    {"7.0.0", "`BYTE` and `BIT`."},
};

static const struct command_argument bitpos_index_end_index[] = {
    ARG("end", ARG_INTEGER),
    ARG("index_unit", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0",
        CHILDREN(bitcount_index_index_unit)),
};

static const struct command_argument bitpos_index[] = {
    ARG("start", ARG_INTEGER),
    ARG("end_index", ARG_BLOCK, .flags = ARG_OPTIONAL, CHILDREN(bitpos_index_end_index)),
};

static const struct command_argument bitpos_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("bit", ARG_INTEGER),
    ARG("index", ARG_BLOCK, .flags = ARG_OPTIONAL, CHILDREN(bitpos_index)),
};

static const struct key_spec ow_update_2_then_ro_access_3_to_end_by_1[] = {
    KEY_AT(2, KEY_OW | KEY_UPDATE),
    KEY_RANGE(3, -1, 1, KEY_RO | KEY_ACCESS),
};

static const struct command_argument bitop_arguments[] = {
    ARG("operation", ARG_STRING),
    ARG("destkey", ARG_KEY, .key_spec = 1),
    ARG("key", ARG_KEY, .flags = ARG_MULTIPLE, .key_spec = 2),
};

static const struct key_spec rw_access_update_variable_flags_1_noted[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS,
           .notes = "This command allows both access and modification of the key"),
};

static const struct command_argument bitfield_operation_encoding_offset[] = {
    ARG("encoding", ARG_STRING),
    ARG("offset", ARG_INTEGER),
};

static const struct command_argument bitfield_operation_write_wrap_sat_fail[] = {
    ARG("wrap", ARG_PURE_TOKEN, .token = "WRAP"),
    ARG("sat", ARG_PURE_TOKEN, .token = "SAT"),
    ARG("fail", ARG_PURE_TOKEN, .token = "FAIL"),
};

static const struct command_argument
    bitfield_operation_write_write_operation_encoding_offset_value[] = {
        ARG("encoding", ARG_STRING),
        ARG("offset", ARG_INTEGER),
        ARG("value", ARG_INTEGER),
};

static const struct command_argument
    bitfield_operation_write_write_operation_encoding_offset_increment[] = {
        ARG("encoding", ARG_STRING),
        ARG("offset", ARG_INTEGER),
        ARG("increment", ARG_INTEGER),
};

static const struct command_argument bitfield_operation_write_write_operation[] = {
    ARG("encoding_offset_value", ARG_BLOCK, .token = "SET",
        CHILDREN(bitfield_operation_write_write_operation_encoding_offset_value)),
    ARG("encoding_offset_increment", ARG_BLOCK, .token = "INCRBY",
        CHILDREN(bitfield_operation_write_write_operation_encoding_offset_increment)),
};

static const struct command_argument bitfield_operation_write[] = {
    ARG("wrap_sat_fail", ARG_ONEOF, .flags = ARG_OPTIONAL, .token = "OVERFLOW",
        CHILDREN(bitfield_operation_write_wrap_sat_fail)),
    ARG("write_operation", ARG_ONEOF, CHILDREN(bitfield_operation_write_write_operation)),
};

static const struct command_argument bitfield_operation[] = {
    ARG("encoding_offset", ARG_BLOCK, .token = "GET", CHILDREN(bitfield_operation_encoding_offset)),
    ARG("write", ARG_BLOCK, CHILDREN(bitfield_operation_write)),
};

static const struct command_argument bitfield_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("operation", ARG_ONEOF, .flags = ARG_OPTIONAL | ARG_MULTIPLE, CHILDREN(bitfield_operation)),
};

static const struct command_argument bitfield_ro_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("encoding_offset", ARG_BLOCK, .flags = ARG_OPTIONAL | ARG_MULTIPLE | ARG_MULTIPLE_TOKEN,
        .token = "GET", CHILDREN(bitfield_operation_encoding_offset)),
};

const struct command table_bitmap[] = {
    {.name = "setbit",
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_BITMAP | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_setbit,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_BITMAP,
     .since = "2.2.0",
     .summary = "Changes one bit of a string and returns what it was.",
     .complexity = "O(1)",
     ARGUMENTS(setbit_arguments)},
    {.name = "getbit",
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_READ | CAT_BITMAP | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_getbit,
     KEY_SPECS(ro_access_1),
     .group = GROUP_BITMAP,
     .since = "2.2.0",
     .summary = "Returns one bit of a string.",
     .complexity = "O(1)",
     ARGUMENTS(getbit_arguments)},
    {.name = "bitcount",
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = CAT_READ | CAT_BITMAP | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_bitcount,
     KEY_SPECS(ro_access_1),
     .group = GROUP_BITMAP,
     .since = "2.6.0",
     .summary = "Counts the bits that are set in a string or a part of it.",
     .complexity = "O(N), N: bytes looked at",
     ARGUMENTS(bitcount_arguments),
     HISTORY(bitcount_history)},
    {.name = "bitpos",
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = CAT_READ | CAT_BITMAP | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_bitpos,
     KEY_SPECS(ro_access_1),
     .group = GROUP_BITMAP,
     .since = "2.8.7",
     .summary = "Finds the first bit that is set, or clear.",
     .complexity = "O(N), N: bytes looked at",
     ARGUMENTS(bitpos_arguments),
     HISTORY(bitcount_history)},
    {.name = "bitop",
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_BITMAP | CAT_SLOW,
     .keys = {2, -1, 1},
     .run = cmd_bitop,
     KEY_SPECS(ow_update_2_then_ro_access_3_to_end_by_1),
     .group = GROUP_BITMAP,
     .since = "2.6.0",
     .summary = "Combines strings bit by bit and stores the result.",
     .complexity = "O(N), N: length of the longest string",
     ARGUMENTS(bitop_arguments)},
    {.name = "bitfield",
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_BITMAP | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_bitfield,
     .key_flags = key_flags_bitfield,
     KEY_SPECS(rw_access_update_variable_flags_1_noted),
     .group = GROUP_BITMAP,
     .since = "3.2.0",
     .summary = "Reads and changes integers of any width inside a string.",
     .complexity = "O(1) for each operation",
     ARGUMENTS(bitfield_arguments)},
    {.name = "bitfield_ro",
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_READ | CAT_BITMAP | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_bitfield_ro,
     KEY_SPECS(ro_access_1),
     .group = GROUP_BITMAP,
     .since = "6.0.0",
     .summary = "Reads integers of any width inside a string.",
     .complexity = "O(1) for each operation",
     ARGUMENTS(bitfield_ro_arguments)},
};

const uint32_t table_bitmap_count = sizeof table_bitmap / sizeof *table_bitmap;
