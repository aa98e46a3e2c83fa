#include "dataplane/commands/table.h"

#include <assert.h>

#include "dataplane/commands/functions.h"

const struct command_part command_parts[] = {
    {table_string, &table_string_count},   {table_bitmap, &table_bitmap_count},
    {table_generic, &table_generic_count}, {table_connection, &table_connection_count},
    {table_client, &table_client_count},   {table_transactions, &table_transactions_count},
    {table_server, &table_server_count},   {table_diagnostics, &table_diagnostics_count},
    {table_cluster, &table_cluster_count},
};

const uint32_t command_parts_count = ROW_COUNT(command_parts);

/* In the order of enum command_flag, which is the order of COMMAND INFO. */
const char *const command_flag_names[FLAG_NAMES] = {
    "write",
    "readonly",
    "denyoom",
    "admin",
    "pubsub",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "asking",
    "fast",
    "no_auth",
    "may_replicate",
    "no_mandatory_keys",
    "no_async_loading",
    "no_multi",
    "allow_busy",
    "movablekeys",
};

const char *const command_category_names[CATEGORY_NAMES] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};

const char *const key_flag_names[KEY_FLAG_NAMES] = {
    "RO",     "RW",     "OW",      "RM",         "access",         "update",
    "insert", "delete", "not_key", "incomplete", "variable_flags",
};

const char *const command_group_names[GROUP_NAMES] = {
    "generic", "string",       "list",       "set",    "sorted-set", "hash",
    "pubsub",  "transactions", "connection", "server", "scripting",  "hyperloglog",
    "cluster", "sentinel",     "geo",        "stream", "bitmap",
};

const char *const argument_type_names[ARGUMENT_TYPE_NAMES] = {
    "string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block",
};

static_assert(CMD_MOVABLE_KEYS == 1u << (FLAG_NAMES - 1), "one name for each flag of Redis");
static_assert(CAT_SCRIPTING == 1u << (CATEGORY_NAMES - 1), "one name for each category");
static_assert(KEY_VARIABLE_FLAGS == 1u << (KEY_FLAG_NAMES - 1), "one name for each flag of a key");
static_assert(GROUP_BITMAP == GROUP_NAMES - 1, "one name for each group");
static_assert(ARG_BLOCK == ARGUMENT_TYPE_NAMES - 1, "one name for each type of argument");

/* SET overwrites blindly, unless it has to return the old value. */
uint16_t key_flags_set(const struct text *argv, uint32_t argc)
{
    for (uint32_t i = 3; i < argc; i++)
        if (text_is(argv[i], "get"))
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    return KEY_OW | KEY_UPDATE;
}

/* BITFIELD without SET and INCRBY only reads. Anything that is not understood counts as a write. */
uint16_t key_flags_bitfield(const struct text *argv, uint32_t argc)
{
    for (uint32_t i = 2; i < argc;) {
        uint32_t left = argc - i - 1;

        if (text_is(argv[i], "get") && left >= 2)
            i += 3;
        else if (text_is(argv[i], "overflow") && left >= 1)
            i += 2;
        else
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    }
    return KEY_RO | KEY_ACCESS;
}
