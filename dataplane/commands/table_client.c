/* Rows of the command table: CLIENT. Arguments, specifications and rows as in command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const char *const tips_varying_output[] = {
    "nondeterministic_output",
};

static const struct command_argument client_list_normal_master_replica_pubsub[] = {
    ARG("normal", ARG_PURE_TOKEN, .token = "NORMAL"),
    ARG("master", ARG_PURE_TOKEN, .token = "MASTER"),
    ARG("replica", ARG_PURE_TOKEN, .token = "REPLICA"),
    ARG("pubsub", ARG_PURE_TOKEN, .token = "PUBSUB"),
};

static const struct command_argument client_list_id[] = {
    ARG("client-id", ARG_INTEGER, .flags = ARG_MULTIPLE),
};

static const struct command_argument client_list_arguments[] = {
    ARG("normal_master_replica_pubsub", ARG_ONEOF, .flags = ARG_OPTIONAL, .token = "TYPE",
        .since = "5.0.0", CHILDREN(client_list_normal_master_replica_pubsub)),
    ARG("id", ARG_BLOCK, .flags = ARG_OPTIONAL, .token = "ID", .since = "6.2.0",
        CHILDREN(client_list_id)),
};

static const struct command_history client_list_history[] = {
    {"2.8.12", "`id` in each line."},
    {"5.0.0", "`TYPE`."},
    {"6.0.0", "`user` in each line."},
    {"6.2.0", "`ID`; `argv-mem`, `tot-mem`, `laddr` and `redir` in each line."},
    {"7.0.0", "`resp`, `multi-mem`, `rbs` and `rbp` in each line."},
    {"7.0.3", "`ssub` in each line."},
};

static const struct command_argument client_kill_filter_new_format_normal_master_slave_pubsub[] = {
    ARG("normal", ARG_PURE_TOKEN, .token = "NORMAL"),
    ARG("master", ARG_PURE_TOKEN, .token = "MASTER", .since = "3.2.0"),
    ARG("slave", ARG_PURE_TOKEN, .token = "SLAVE"),
    ARG("replica", ARG_PURE_TOKEN, .token = "REPLICA", .since = "5.0.0"),
    ARG("pubsub", ARG_PURE_TOKEN, .token = "PUBSUB"),
};

static const struct command_argument client_kill_filter_new_format[] = {
    ARG("client-id", ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "ID", .since = "2.8.12"),
    ARG("normal_master_slave_pubsub", ARG_ONEOF, .flags = ARG_OPTIONAL, .token = "TYPE",
        .since = "2.8.12", CHILDREN(client_kill_filter_new_format_normal_master_slave_pubsub)),
    ARG("username", ARG_STRING, .flags = ARG_OPTIONAL, .token = "USER"),
    ARG("ip:port", ARG_STRING, .flags = ARG_OPTIONAL, .token = "ADDR"),
    ARG("ip:port", ARG_STRING, .flags = ARG_OPTIONAL, .token = "LADDR", .since = "6.2.0"),
    ARG("yes/no", ARG_STRING, .flags = ARG_OPTIONAL, .token = "SKIPME"),
};

static const struct command_argument client_kill_filter[] = {
    ARG("ip:port", ARG_STRING, .deprecated_since = "2.8.12"),
    ARG("new-format", ARG_ONEOF, .flags = ARG_MULTIPLE, CHILDREN(client_kill_filter_new_format)),
};

static const struct command_argument client_kill_arguments[] = {
    ARG("filter", ARG_ONEOF, CHILDREN(client_kill_filter)),
};

static const struct command_history client_kill_history[] = {
    {"2.8.12", "Filters by name."}, {"2.8.12", "`ID`."},
    {"3.2.0", "`TYPE master`."},    {"5.0.0", "`TYPE replica` beside the older `slave`."},
    {"6.2.0", "`LADDR`."},
};

static const struct command_argument client_setname_arguments[] = {
    ARG("connection-name", ARG_STRING),
};

static const struct command_argument client_setinfo_attr[] = {
    ARG("libname", ARG_STRING, .token = "LIB-NAME"),
    ARG("libver", ARG_STRING, .token = "LIB-VER"),
};

static const struct command_argument client_setinfo_arguments[] = {
    ARG("attr", ARG_ONEOF, CHILDREN(client_setinfo_attr)),
};

static const struct command_argument client_pause_mode[] = {
    ARG("write", ARG_PURE_TOKEN, .token = "WRITE"),
    ARG("all", ARG_PURE_TOKEN, .token = "ALL"),
};

static const struct command_argument client_pause_arguments[] = {
    ARG("timeout", ARG_INTEGER),
    ARG("mode", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "6.2.0", CHILDREN(client_pause_mode)),
};

static const struct command_history client_pause_history[] = {
    {"6.2.0", "`WRITE` and `ALL`."},
};

static const struct command_argument client_reply_on_off_skip[] = {
    ARG("on", ARG_PURE_TOKEN, .token = "ON"),
    ARG("off", ARG_PURE_TOKEN, .token = "OFF"),
    ARG("skip", ARG_PURE_TOKEN, .token = "SKIP"),
};

static const struct command_argument client_reply_arguments[] = {
    ARG("on_off_skip", ARG_ONEOF, CHILDREN(client_reply_on_off_skip)),
};

static const struct command_argument client_no_evict_enabled[] = {
    ARG("on", ARG_PURE_TOKEN, .token = "ON"),
    ARG("off", ARG_PURE_TOKEN, .token = "OFF"),
};

static const struct command_argument client_no_evict_arguments[] = {
    ARG("enabled", ARG_ONEOF, CHILDREN(client_no_evict_enabled)),
};

static const struct command_argument client_unblock_timeout_error[] = {
    ARG("timeout", ARG_PURE_TOKEN, .token = "TIMEOUT"),
    ARG("error", ARG_PURE_TOKEN, .token = "ERROR"),
};

static const struct command_argument client_unblock_arguments[] = {
    ARG("client-id", ARG_INTEGER),
    ARG("timeout_error", ARG_ONEOF, .flags = ARG_OPTIONAL, CHILDREN(client_unblock_timeout_error)),
};

static const struct command client_subcommands[] = {
    {.name = "id",
     .arity = 2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_id,
     .group = GROUP_CONNECTION,
     .since = "5.0.0",
     .summary = "Returns the number of this connection.",
     .complexity = "O(1)"},
    {.name = "info",
     .arity = 2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_info,
     .group = GROUP_CONNECTION,
     .since = "6.2.0",
     .summary = "Describes this connection.",
     .complexity = "O(1)",
     TIPS(tips_varying_output)},
    {.name = "list",
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
     .run = cmd_client_list,
     .gather = gather_client_list,
     .group = GROUP_CONNECTION,
     .since = "2.4.0",
     .summary = "Describes all connections, or those asked for.",
     .complexity = "O(N), N: connections",
     ARGUMENTS(client_list_arguments),
     HISTORY(client_list_history),
     TIPS(tips_varying_output)},
    {.name = "kill",
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
     .run = cmd_client_kill,
     .gather = gather_client_kill,
     .group = GROUP_CONNECTION,
     .since = "2.4.0",
     .summary = "Closes connections by address or by other properties.",
     .complexity = "O(N), N: connections",
     ARGUMENTS(client_kill_arguments),
     HISTORY(client_kill_history)},
    {.name = "getname",
     .arity = 2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_getname,
     .group = GROUP_CONNECTION,
     .since = "2.6.9",
     .summary = "Returns the name of this connection.",
     .complexity = "O(1)"},
    {.name = "setname",
     .arity = 3,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_setname,
     .group = GROUP_CONNECTION,
     .since = "2.6.9",
     .summary = "Names this connection.",
     .complexity = "O(1)",
     ARGUMENTS(client_setname_arguments)},
    {.name = "setinfo",
     .arity = 4,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_setinfo,
     .group = GROUP_CONNECTION,
     .since = "7.2.0",
     .summary = "Notes which client library uses this connection.",
     .complexity = "O(1)",
     ARGUMENTS(client_setinfo_arguments)},
    {.name = "pause",
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
     .run = cmd_client_pause,
     .group = GROUP_CONNECTION,
     .since = "2.9.50",
     .summary = "Holds back the commands of all clients for a while.",
     .complexity = "O(1)",
     ARGUMENTS(client_pause_arguments),
     HISTORY(client_pause_history)},
    {.name = "unpause",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
     .run = cmd_client_unpause,
     .group = GROUP_CONNECTION,
     .since = "6.2.0",
     .summary = "Ends a pause.",
     .complexity = "O(N), N: paused connections"},
    {.name = "reply",
     .arity = 3,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_reply,
     .group = GROUP_CONNECTION,
     .since = "3.2.0",
     .summary = "Turns the replies on this connection on or off.",
     .complexity = "O(1)",
     ARGUMENTS(client_reply_arguments)},
    {.name = "no-evict",
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
     .run = cmd_client_no_evict,
     .group = GROUP_CONNECTION,
     .since = "7.0.0",
     .summary = "Exempts this connection from being closed for its memory.",
     .complexity = "O(1)",
     ARGUMENTS(client_no_evict_arguments)},
    {.name = "no-touch",
     .arity = 3,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_no_touch,
     .group = GROUP_CONNECTION,
     .since = "7.2.0",
     .summary = "Lets the commands of this connection leave access times as they are.",
     .complexity = "O(1)",
     ARGUMENTS(client_no_evict_arguments)},
    {.name = "unblock",
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
     .run = cmd_client_unblock,
     .group = GROUP_CONNECTION,
     .since = "5.0.0",
     .summary = "Wakes a connection that waits in a blocking command.",
     .complexity = "O(1)",
     ARGUMENTS(client_unblock_arguments)},
    {.name = "getredir",
     .arity = 2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_getredir,
     .group = GROUP_CONNECTION,
     .since = "6.0.0",
     .summary = "Returns the connection that gets the invalidations of this one.",
     .complexity = "O(1)"},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_client_help,
     .group = GROUP_CONNECTION,
     .since = "5.0.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

const struct command table_client[] = {
    {.name = "client",
     .arity = -2,
     .categories = CAT_SLOW,
     SUBCOMMANDS(client_subcommands),
     .group = GROUP_CONNECTION,
     .since = "2.4.0",
     .summary = "Commands about connections.",
     .complexity = "Depends on the subcommand"},
};

const uint32_t table_client_count = sizeof table_client / sizeof *table_client;
