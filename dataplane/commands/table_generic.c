/* Rows of the command table: commands on keys whatever their type. Arguments, specifications and
 * rows as in command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const struct key_spec rm_delete_1_to_end_by_1[] = {
    KEY_RANGE(1, -1, 1, KEY_RM | KEY_DELETE),
};

static const struct command_argument del_arguments[] = {
    ARG("key", ARG_KEY, .flags = ARG_MULTIPLE, .key_spec = 1),
};

static const char *const tips_multi_shard_and_agg_sum[] = {
    "request_policy:multi_shard",
    "response_policy:agg_sum",
};

static const struct key_spec ro_1_to_end_by_1[] = {
    KEY_RANGE(1, -1, 1, KEY_RO),
};

static const struct command_history exists_history[] = {
    {"3.0.3", "Several keys."},
};

static const struct key_spec ro_1[] = {
    KEY_AT(1, KEY_RO),
};

static const struct command_argument type_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
};

static const struct command_argument keys_arguments[] = {
    ARG("pattern", ARG_PATTERN),
};

static const char *const tips_all_shards_and_varying_output_order[] = {
    "request_policy:all_shards",
    "nondeterministic_output_order",
};

static const struct command_argument scan_arguments[] = {
    ARG("cursor", ARG_INTEGER),
    ARG("pattern", ARG_PATTERN, .flags = ARG_OPTIONAL, .token = "MATCH"),
    ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "COUNT"),
    ARG("type", ARG_STRING, .flags = ARG_OPTIONAL, .token = "TYPE", .since = "6.0.0"),
};

static const struct command_history scan_history[] = {
    {"6.0.0", "`TYPE`."},
};

static const char *const tips_varying_output_and_special[] = {
    "nondeterministic_output",
    "request_policy:special",
};

static const char *const tips_all_shards_and_varying_output[] = {
    "request_policy:all_shards",
    "nondeterministic_output",
};

static const struct key_spec rw_access_delete_1_then_ow_update_2[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE),
    KEY_AT(2, KEY_OW | KEY_UPDATE),
};

static const struct command_argument rename_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("newkey", ARG_KEY, .key_spec = 2),
};

static const struct key_spec rw_access_delete_1_then_ow_insert_2[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE),
    KEY_AT(2, KEY_OW | KEY_INSERT),
};

static const struct command_history renamenx_history[] = {
    {"3.2.0", "The same name twice is no error."},
};

static const struct key_spec ro_access_1_then_ow_update_2[] = {
    KEY_AT(1, KEY_RO | KEY_ACCESS),
    KEY_AT(2, KEY_OW | KEY_UPDATE),
};

static const struct command_argument copy_arguments[] = {
    ARG("source", ARG_KEY, .key_spec = 1),
    ARG("destination", ARG_KEY, .key_spec = 2),
    ARG("destination-db", ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "DB"),
    ARG("replace", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "REPLACE"),
};

static const struct key_spec rw_access_update_1[] = {
    KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE),
};

static const struct command_argument move_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("db", ARG_INTEGER),
};

static const struct key_spec rw_update_1[] = {
    KEY_AT(1, KEY_RW | KEY_UPDATE),
};

static const struct command_argument expire_condition[] = {
    ARG("nx", ARG_PURE_TOKEN, .token = "NX"),
    ARG("xx", ARG_PURE_TOKEN, .token = "XX"),
    ARG("gt", ARG_PURE_TOKEN, .token = "GT"),
    ARG("lt", ARG_PURE_TOKEN, .token = "LT"),
};

static const struct command_argument expire_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("seconds", ARG_INTEGER),
    ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0",
        CHILDREN(expire_condition)),
};

static const struct command_history expire_history[] = {
    {"7.0.0", "`NX`, `XX`, `GT` and `LT`."},
};

static const struct command_argument expireat_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("unix-time-seconds", ARG_UNIX_TIME),
    ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0",
        CHILDREN(expire_condition)),
};

static const struct command_argument pexpire_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("milliseconds", ARG_INTEGER),
    ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0",
        CHILDREN(expire_condition)),
};

static const struct command_argument pexpireat_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("unix-time-milliseconds", ARG_UNIX_TIME),
    ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0",
        CHILDREN(expire_condition)),
};

static const struct key_spec ro_access_1[] = {
    KEY_AT(1, KEY_RO | KEY_ACCESS),
};

static const struct command_history ttl_history[] = {
    {"2.8.0", "-2 for an absent key."},
};

static const char *const tips_varying_output[] = {
    "nondeterministic_output",
};

static const struct key_spec ro_2[] = {
    KEY_AT(2, KEY_RO),
};

static const struct command object_subcommands[] = {
    {.name = "encoding",
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_SLOW,
     .keys = {2, 2, 1},
     .run = cmd_object_encoding,
     KEY_SPECS(ro_2),
     .group = GROUP_GENERIC,
     .since = "2.2.3",
     .summary = "Tells how a value is represented in memory.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments),
     TIPS(tips_varying_output)},
    {.name = "freq",
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_SLOW,
     .keys = {2, 2, 1},
     .run = cmd_object_freq,
     KEY_SPECS(ro_2),
     .group = GROUP_GENERIC,
     .since = "4.0.0",
     .summary = "Returns the access frequency counter of a key.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments),
     TIPS(tips_varying_output)},
    {.name = "idletime",
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_SLOW,
     .keys = {2, 2, 1},
     .run = cmd_object_idletime,
     KEY_SPECS(ro_2),
     .group = GROUP_GENERIC,
     .since = "2.2.3",
     .summary = "Returns the seconds since a key was last used.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments),
     TIPS(tips_varying_output)},
    {.name = "refcount",
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_SLOW,
     .keys = {2, 2, 1},
     .run = cmd_object_refcount,
     KEY_SPECS(ro_2),
     .group = GROUP_GENERIC,
     .since = "2.2.3",
     .summary = "Returns how many references a value has.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments),
     TIPS(tips_varying_output)},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_KEYSPACE | CAT_SLOW,
     .run = cmd_object_help,
     .group = GROUP_GENERIC,
     .since = "6.2.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

const struct command table_generic[] = {
    {.name = "del",
     .arity = -2,
     .flags = CMD_WRITE,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_SLOW,
     .keys = {1, -1, 1},
     .run = cmd_del,
     KEY_SPECS(rm_delete_1_to_end_by_1),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Removes keys.",
     .complexity = "O(N), N: keys given; what a value held is freed later in slices",
     ARGUMENTS(del_arguments),
     TIPS(tips_multi_shard_and_agg_sum)},
    {.name = "unlink",
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, -1, 1},
     .run = cmd_unlink,
     KEY_SPECS(rm_delete_1_to_end_by_1),
     .group = GROUP_GENERIC,
     .since = "4.0.0",
     .summary = "Removes keys; their memory is freed in the background.",
     .complexity = "O(N), N: keys given",
     ARGUMENTS(del_arguments),
     TIPS(tips_multi_shard_and_agg_sum)},
    {.name = "exists",
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .keys = {1, -1, 1},
     .run = cmd_exists,
     KEY_SPECS(ro_1_to_end_by_1),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Counts how many of the given keys exist.",
     .complexity = "O(N), N: keys given",
     ARGUMENTS(del_arguments),
     HISTORY(exists_history),
     TIPS(tips_multi_shard_and_agg_sum)},
    {.name = "type",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_type,
     KEY_SPECS(ro_1),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Tells the type of the value at a key.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments)},
    {.name = "keys",
     .arity = 2,
     .flags = CMD_READONLY | CMD_WALK,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_keys,
     .slot_of = slot_of_keys,
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Lists the keys that match a pattern.",
     .complexity = "O(N), N: keys in the database",
     ARGUMENTS(keys_arguments),
     TIPS(tips_all_shards_and_varying_output_order)},
    {.name = "scan",
     .arity = -2,
     .flags = CMD_READONLY | CMD_WALK,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_SLOW,
     .run = cmd_scan,
     .slot_of = slot_of_scan,
     .group = GROUP_GENERIC,
     .since = "2.8.0",
     .summary = "Walks over the keys of a database step by step.",
     .complexity = "O(1) for each step; O(N) for the whole walk, N: keys in the database",
     ARGUMENTS(scan_arguments),
     HISTORY(scan_history),
     TIPS(tips_varying_output_and_special)},
    {.name = "randomkey",
     .arity = 1,
     .flags = CMD_READONLY | CMD_WALK,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_SLOW,
     .run = cmd_randomkey,
     .slot_of = slot_of_randomkey,
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Returns some key of the database.",
     .complexity = "O(1)",
     TIPS(tips_all_shards_and_varying_output)},
    {.name = "rename",
     .arity = 3,
     .flags = CMD_WRITE,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_SLOW,
     .keys = {1, 2, 1},
     .run = cmd_rename,
     KEY_SPECS(rw_access_delete_1_then_ow_update_2),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Gives a key another name, replacing what has that name.",
     .complexity = "O(1)",
     ARGUMENTS(rename_arguments)},
    {.name = "renamenx",
     .arity = 3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, 2, 1},
     .run = cmd_renamenx,
     KEY_SPECS(rw_access_delete_1_then_ow_insert_2),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Gives a key another name unless that name is taken.",
     .complexity = "O(1)",
     ARGUMENTS(rename_arguments),
     HISTORY(renamenx_history)},
    {.name = "copy",
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_SLOW,
     .keys = {1, 2, 1},
     .run = cmd_copy,
     KEY_SPECS(ro_access_1_then_ow_update_2),
     .group = GROUP_GENERIC,
     .since = "6.2.0",
     .summary = "Copies a value to another key.",
     .complexity = "O(N), N: elements of a collection; O(1) for strings",
     ARGUMENTS(copy_arguments)},
    {.name = "move",
     .arity = 3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_move,
     KEY_SPECS(rw_access_update_1),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Moves a key to another database.",
     .complexity = "O(1)",
     ARGUMENTS(move_arguments)},
    {.name = "touch",
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .keys = {1, -1, 1},
     .run = cmd_touch,
     KEY_SPECS(ro_1_to_end_by_1),
     .group = GROUP_GENERIC,
     .since = "3.2.1",
     .summary = "Marks keys as used just now and counts those that exist.",
     .complexity = "O(N), N: keys given",
     ARGUMENTS(del_arguments),
     TIPS(tips_multi_shard_and_agg_sum)},
    {.name = "expire",
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_expire,
     KEY_SPECS(rw_update_1),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Lets a key expire after a number of seconds.",
     .complexity = "O(1)",
     ARGUMENTS(expire_arguments),
     HISTORY(expire_history)},
    {.name = "expireat",
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_expireat,
     KEY_SPECS(rw_update_1),
     .group = GROUP_GENERIC,
     .since = "1.2.0",
     .summary = "Lets a key expire at a Unix time in seconds.",
     .complexity = "O(1)",
     ARGUMENTS(expireat_arguments),
     HISTORY(expire_history)},
    {.name = "pexpire",
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_pexpire,
     KEY_SPECS(rw_update_1),
     .group = GROUP_GENERIC,
     .since = "2.6.0",
     .summary = "Lets a key expire after a number of milliseconds.",
     .complexity = "O(1)",
     ARGUMENTS(pexpire_arguments),
     HISTORY(expire_history)},
    {.name = "pexpireat",
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_pexpireat,
     KEY_SPECS(rw_update_1),
     .group = GROUP_GENERIC,
     .since = "2.6.0",
     .summary = "Lets a key expire at a Unix time in milliseconds.",
     .complexity = "O(1)",
     ARGUMENTS(pexpireat_arguments),
     HISTORY(expire_history)},
    {.name = "ttl",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_ttl,
     KEY_SPECS(ro_access_1),
     .group = GROUP_GENERIC,
     .since = "1.0.0",
     .summary = "Returns how many seconds a key has left.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments),
     HISTORY(ttl_history),
     TIPS(tips_varying_output)},
    {.name = "pttl",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_pttl,
     KEY_SPECS(ro_access_1),
     .group = GROUP_GENERIC,
     .since = "2.6.0",
     .summary = "Returns how many milliseconds a key has left.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments),
     HISTORY(ttl_history),
     TIPS(tips_varying_output)},
    {.name = "expiretime",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_expiretime,
     KEY_SPECS(ro_access_1),
     .group = GROUP_GENERIC,
     .since = "7.0.0",
     .summary = "Returns the Unix time in seconds at which a key expires.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments)},
    {.name = "pexpiretime",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_pexpiretime,
     KEY_SPECS(ro_access_1),
     .group = GROUP_GENERIC,
     .since = "7.0.0",
     .summary = "Returns the Unix time in milliseconds at which a key expires.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments)},
    {.name = "persist",
     .arity = 2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST,
     .keys = {1, 1, 1},
     .run = cmd_persist,
     KEY_SPECS(rw_update_1),
     .group = GROUP_GENERIC,
     .since = "2.2.0",
     .summary = "Lets a key stay for good.",
     .complexity = "O(1)",
     ARGUMENTS(type_arguments)},
    {.name = "object",
     .arity = -2,
     .categories = CAT_SLOW,
     SUBCOMMANDS(object_subcommands),
     .group = GROUP_GENERIC,
     .since = "2.2.3",
     .summary = "Facts about how values are stored.",
     .complexity = "Depends on the subcommand"},
};

const uint32_t table_generic_count = sizeof table_generic / sizeof *table_generic;
