/* Rows of the command table: strings. Arguments, specifications and rows as in command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const struct key_spec ro_access_1[] = {
    KEY_AT(1, KEY_RO | KEY_ACCESS),
};

static const struct command_argument get_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
};

static const struct key_spec rw_access_update_variable_flags_1_noted[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS,
           .notes = "RW and ACCESS due to the optional `GET` argument"),
};

static const struct command_argument set_condition[] = {
    ARG("nx", ARG_PURE_TOKEN, .token = "NX"),
    ARG("xx", ARG_PURE_TOKEN, .token = "XX"),
};

static const struct command_argument set_expiration[] = {
    ARG("seconds", ARG_INTEGER, .token = "EX", .since = "2.6.12"),
    ARG("milliseconds", ARG_INTEGER, .token = "PX", .since = "2.6.12"),
    ARG("unix-time-seconds", ARG_UNIX_TIME, .token = "EXAT", .since = "6.2.0"),
    ARG("unix-time-milliseconds", ARG_UNIX_TIME, .token = "PXAT", .since = "6.2.0"),
    ARG("keepttl", ARG_PURE_TOKEN, .token = "KEEPTTL", .since = "6.0.0"),
};

static const struct command_argument set_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("value", ARG_STRING),
    ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "2.6.12", CHILDREN(set_condition)),
    ARG("get", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "GET", .since = "6.2.0"),
    ARG("expiration", ARG_ONEOF, .flags = ARG_OPTIONAL, CHILDREN(set_expiration)),
};

static const struct command_history set_history[] = {
    {"2.6.12", "`EX`, `PX`, `NX` and `XX`."},
    {"6.0.0", "`KEEPTTL`."},
    {"6.2.0", "`GET`, `EXAT` and `PXAT`."},
    {"7.0.0", "`GET` also together with `NX`."},
};

static const struct key_spec rw_access_update_1_noted[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE,
           .notes = "RW and UPDATE because it changes the TTL"),
};

static const struct command_argument getex_expiration[] = {
    ARG("seconds", ARG_INTEGER, .token = "EX"),
    ARG("milliseconds", ARG_INTEGER, .token = "PX"),
    ARG("unix-time-seconds", ARG_UNIX_TIME, .token = "EXAT"),
    ARG("unix-time-milliseconds", ARG_UNIX_TIME, .token = "PXAT"),
    ARG("persist", ARG_PURE_TOKEN, .token = "PERSIST"),
};

static const struct command_argument getex_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("expiration", ARG_ONEOF, .flags = ARG_OPTIONAL, CHILDREN(getex_expiration)),
};

static const struct key_spec rw_access_delete_1[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE),
};

static const struct key_spec rw_access_update_1[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE),
};

static const struct command_argument getset_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("value", ARG_STRING),
};

static const struct key_spec rw_insert_1[] = {
    KEY_AT(1, KEY_RW | KEY_INSERT),
};

static const struct key_spec ro_1[] = {
    KEY_AT(1, KEY_RO),
};

static const struct command_argument incrby_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("increment", ARG_INTEGER),
};

static const struct command_argument incrbyfloat_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("increment", ARG_DOUBLE),
};

static const struct command_argument decrby_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("decrement", ARG_INTEGER),
};

static const struct key_spec rw_update_1[] = {
    KEY_AT(1, KEY_RW | KEY_UPDATE),
};

static const struct command_argument setrange_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("offset", ARG_INTEGER),
    ARG("value", ARG_STRING),
};

static const struct command_argument getrange_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("start", ARG_INTEGER),
    ARG("end", ARG_INTEGER),
};

static const struct key_spec ow_update_1_to_end_by_2[] = {
    KEY_RANGE(1, -1, 2, KEY_OW | KEY_UPDATE),
};

static const struct command_argument mset_arguments[] = {
    ARG("key_value", ARG_BLOCK, .flags = ARG_MULTIPLE, CHILDREN(getset_arguments)),
};

static const char *const tips_multi_shard_and_all_succeeded[] = {
    "request_policy:multi_shard",
    "response_policy:all_succeeded",
};

static const struct key_spec ow_insert_1_to_end_by_2[] = {
    KEY_RANGE(1, -1, 2, KEY_OW | KEY_INSERT),
};

static const char *const tips_multi_shard_and_agg_min[] = {
    "request_policy:multi_shard",
    "response_policy:agg_min",
};

static const struct key_spec ro_access_1_to_end_by_1[] = {
    KEY_RANGE(1, -1, 1, KEY_RO | KEY_ACCESS),
};

static const struct command_argument mget_arguments[] = {
    ARG("key", ARG_KEY, .flags = ARG_MULTIPLE, .key_spec = 1),
};

static const char *const tips_multi_shard[] = {
    "request_policy:multi_shard",
};

static const struct key_spec ro_access_1_to_1_by_1[] = {
    KEY_RANGE(1, 1, 1, KEY_RO | KEY_ACCESS),
};

static const struct command_argument lcs_arguments[] = {
    ARG("key1", ARG_KEY, .key_spec = 1),
    ARG("key2", ARG_KEY, .key_spec = 1),
    ARG("len", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "LEN"),
    ARG("idx", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "IDX"),
    ARG("len", ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "MINMATCHLEN"),
    ARG("withmatchlen", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHMATCHLEN"),
};

static const struct key_spec ow_update_1[] = {
    KEY_AT(1, KEY_OW | KEY_UPDATE),
};

static const struct command_argument psetex_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("milliseconds", ARG_INTEGER),
    ARG("value", ARG_STRING),
};

static const struct command_argument setex_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("seconds", ARG_INTEGER),
    ARG("value", ARG_STRING),
};

static const struct key_spec ow_insert_1[] = {
    KEY_AT(1, KEY_OW | KEY_INSERT),
};

const struct command table_string[] = {
    {.name = "get",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_READ | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_get,
     KEY_SPECS(ro_access_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Returns the string at a key.",
     .complexity = "O(1)",
     ARGUMENTS(get_arguments)},
    {.name = "set",
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_STRING | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_set,
     .key_flags = key_flags_set,
     KEY_SPECS(rw_access_update_variable_flags_1_noted),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Stores a string at a key, whatever was there before.",
     .complexity = "O(1)",
     ARGUMENTS(set_arguments),
     HISTORY(set_history)},
    {.name = "getex",
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_getex,
     KEY_SPECS(rw_access_update_1_noted),
     .group = GROUP_STRING,
     .since = "6.2.0",
     .summary = "Returns the string at a key and can change when it expires.",
     .complexity = "O(1)",
     ARGUMENTS(getex_arguments)},
    {.name = "getdel",
     .arity = 2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_getdel,
     KEY_SPECS(rw_access_delete_1),
     .group = GROUP_STRING,
     .since = "6.2.0",
     .summary = "Returns the string at a key and removes the key.",
     .complexity = "O(1)",
     ARGUMENTS(get_arguments)},
    {.name = "getset",
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_getset,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Stores a string and returns the one it replaces.",
     .complexity = "O(1)",
     .deprecated_since = "6.2.0",
     .replaced_by = "`SET` with the `!GET` argument",
     ARGUMENTS(getset_arguments)},
    {.name = "append",
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_append,
     KEY_SPECS(rw_insert_1),
     .group = GROUP_STRING,
     .since = "2.0.0",
     .summary = "Adds bytes to the end of a string; an absent key starts empty.",
     .complexity = "O(1) amortized over appends",
     ARGUMENTS(getset_arguments)},
    {.name = "strlen",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_READ | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_strlen,
     KEY_SPECS(ro_1),
     .group = GROUP_STRING,
     .since = "2.2.0",
     .summary = "Returns the length of a string in bytes.",
     .complexity = "O(1)",
     ARGUMENTS(get_arguments)},
    {.name = "incr",
     .arity = 2,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_incr,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Adds one to the integer at a key.",
     .complexity = "O(1)",
     ARGUMENTS(get_arguments)},
    {.name = "incrby",
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_incrby,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Adds a given integer to the one at a key.",
     .complexity = "O(1)",
     ARGUMENTS(incrby_arguments)},
    {.name = "incrbyfloat",
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_incrbyfloat,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_STRING,
     .since = "2.6.0",
     .summary = "Adds a given number, which may have a fraction, to the one at a key.",
     .complexity = "O(1)",
     ARGUMENTS(incrbyfloat_arguments)},
    {.name = "decr",
     .arity = 2,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_decr,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Subtracts one from the integer at a key.",
     .complexity = "O(1)",
     ARGUMENTS(get_arguments)},
    {.name = "decrby",
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_decrby,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Subtracts a given integer from the one at a key.",
     .complexity = "O(1)",
     ARGUMENTS(decrby_arguments)},
    {.name = "setrange",
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_STRING | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_setrange,
     KEY_SPECS(rw_update_1),
     .group = GROUP_STRING,
     .since = "2.2.0",
     .summary = "Writes bytes into a string from an offset on, lengthening it where needed.",
     .complexity = "O(M), M: bytes written",
     ARGUMENTS(setrange_arguments)},
    {.name = "getrange",
     .arity = 4,
     .flags = CMD_READONLY,
     .categories = CAT_READ | CAT_STRING | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_getrange,
     KEY_SPECS(ro_access_1),
     .group = GROUP_STRING,
     .since = "2.4.0",
     .summary = "Returns the bytes of a string between two offsets.",
     .complexity = "O(M), M: bytes returned",
     ARGUMENTS(getrange_arguments)},
    {.name = "substr",
     .arity = 4,
     .flags = CMD_READONLY,
     .categories = CAT_READ | CAT_STRING | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_substr,
     KEY_SPECS(ro_access_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Older name of GETRANGE.",
     .complexity = "O(M), M: bytes returned",
     .deprecated_since = "2.0.0",
     .replaced_by = "`GETRANGE`",
     ARGUMENTS(getrange_arguments)},
    {.name = "mset",
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_STRING | CAT_SLOW,
     .keys = {1, -1, 2},
     .run = cmd_mset,
     KEY_SPECS(ow_update_1_to_end_by_2),
     .group = GROUP_STRING,
     .since = "1.0.1",
     .summary = "Stores several strings at once.",
     .complexity = "O(N), N: keys stored",
     ARGUMENTS(mset_arguments),
     TIPS(tips_multi_shard_and_all_succeeded)},
    {.name = "msetnx",
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_STRING | CAT_SLOW,
     .keys = {1, -1, 2},
     .run = cmd_msetnx,
     KEY_SPECS(ow_insert_1_to_end_by_2),
     .group = GROUP_STRING,
     .since = "1.0.1",
     .summary = "Stores several strings at once, or none if one of the keys exists.",
     .complexity = "O(N), N: keys stored",
     ARGUMENTS(mset_arguments),
     TIPS(tips_multi_shard_and_agg_min)},
    {.name = "mget",
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_READ | CAT_STRING | CAT_FAST,
     .keys = {1, -1, 1},
     .run = cmd_mget,
     KEY_SPECS(ro_access_1_to_end_by_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Returns the strings at several keys.",
     .complexity = "O(N), N: keys asked for",
     ARGUMENTS(mget_arguments),
     TIPS(tips_multi_shard)},
    {.name = "lcs",
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = CAT_READ | CAT_STRING | CAT_SLOW,
     .keys = {1, 2, 1},
     .run = cmd_lcs,
     KEY_SPECS(ro_access_1_to_1_by_1),
     .group = GROUP_STRING,
     .since = "7.0.0",
     .summary = "Finds the longest subsequence that two strings share.",
     .complexity = "O(N*M), N and M: their lengths",
     ARGUMENTS(lcs_arguments)},
    {.name = "psetex",
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_STRING | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_psetex,
     KEY_SPECS(ow_update_1),
     .group = GROUP_STRING,
     .since = "2.6.0",
     .summary = "Stores a string that expires after a number of milliseconds.",
     .complexity = "O(1)",
     ARGUMENTS(psetex_arguments)},
    {.name = "setex",
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_WRITE | CAT_STRING | CAT_SLOW,
     .keys = {1, 1, 1},
     .run = cmd_setex,
     KEY_SPECS(ow_update_1),
     .group = GROUP_STRING,
     .since = "2.0.0",
     .summary = "Stores a string that expires after a number of seconds.",
     .complexity = "O(1)",
     ARGUMENTS(setex_arguments)},
    {.name = "setnx",
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .categories = CAT_WRITE | CAT_STRING | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_setnx,
     KEY_SPECS(ow_insert_1),
     .group = GROUP_STRING,
     .since = "1.0.0",
     .summary = "Stores a string unless the key exists.",
     .complexity = "O(1)",
     ARGUMENTS(getset_arguments)},
};

const uint32_t table_string_count = sizeof table_string / sizeof *table_string;
