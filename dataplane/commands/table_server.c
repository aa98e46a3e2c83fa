/* Rows of the command table: the server. Arguments, specifications and rows as in command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const struct command_argument info_arguments[] = {
    ARG("section", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE),
};

static const struct command_history info_history[] = {
    {"7.0.0", "Several sections."},
};

static const char *const tips_varying_output_and_all_shards_and_special[] = {
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
};

static const struct command_argument config_get_parameter[] = {
    ARG("parameter", ARG_STRING),
};

static const struct command_argument config_get_arguments[] = {
    ARG("parameter", ARG_BLOCK, .flags = ARG_MULTIPLE, CHILDREN(config_get_parameter)),
};

static const struct command_history config_get_history[] = {
    {"7.0.0", "Several patterns."},
};

static const struct command_argument config_set_parameter_value[] = {
    ARG("parameter", ARG_STRING),
    ARG("value", ARG_STRING),
};

static const struct command_argument config_set_arguments[] = {
    ARG("parameter_value", ARG_BLOCK, .flags = ARG_MULTIPLE, CHILDREN(config_set_parameter_value)),
};

static const struct command_history config_set_history[] = {
    {"7.0.0", "Several directives."},
};

static const char *const tips_all_nodes_and_all_succeeded[] = {
    "request_policy:all_nodes",
    "response_policy:all_succeeded",
};

static const struct command config_subcommands[] = {
    {.name = "get",
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_config_get,
     .group = GROUP_SERVER,
     .since = "2.0.0",
     .summary = "Returns the directives that match the patterns, with their values.",
     .complexity = "O(N), N: directives",
     ARGUMENTS(config_get_arguments),
     HISTORY(config_get_history)},
    {.name = "set",
     .arity = -4,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_CONTROL | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_config_set,
     .on_control = control_config_set,
     .waits = waits_config_set,
     .group = GROUP_SERVER,
     .since = "2.0.0",
     .summary = "Changes directives: all of those given, or none.",
     .complexity = "O(N), N: directives given",
     ARGUMENTS(config_set_arguments),
     HISTORY(config_set_history),
     TIPS(tips_all_nodes_and_all_succeeded)},
    {.name = "rewrite",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_CONTROL | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_config_rewrite,
     .on_control = control_config_rewrite,
     .waits = waits_config_rewrite,
     .group = GROUP_SERVER,
     .since = "2.8.0",
     .summary = "Writes the present values into the configuration file.",
     .complexity = "O(N), N: lines of the file"},
    {.name = "resetstat",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_config_resetstat,
     .gather = gather_config_resetstat,
     .group = GROUP_SERVER,
     .since = "2.0.0",
     .summary = "Sets the statistics back to zero.",
     .complexity = "O(W), W: workers"},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_config_help,
     .group = GROUP_SERVER,
     .since = "5.0.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

static const char *const tips_varying_output[] = {
    "nondeterministic_output",
};

static const struct command_argument lolwut_arguments[] = {
    ARG("version", ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "VERSION"),
};

static const struct command_argument shutdown_nosave_save[] = {
    ARG("nosave", ARG_PURE_TOKEN, .token = "NOSAVE"),
    ARG("save", ARG_PURE_TOKEN, .token = "SAVE"),
};

static const struct command_argument shutdown_arguments[] = {
    ARG("nosave_save", ARG_ONEOF, .flags = ARG_OPTIONAL, CHILDREN(shutdown_nosave_save)),
    ARG("now", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "NOW", .since = "7.0.0"),
    ARG("force", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "FORCE", .since = "7.0.0"),
    ARG("abort", ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "ABORT", .since = "7.0.0"),
};

static const struct command_history shutdown_history[] = {
    {"7.0.0", "`NOW`, `FORCE` and `ABORT`."},
};

static const struct command_argument command_list_filterby[] = {
    ARG("module-name", ARG_STRING, .token = "MODULE"),
    ARG("category", ARG_STRING, .token = "ACLCAT"),
    ARG("pattern", ARG_PATTERN, .token = "PATTERN"),
};

static const struct command_argument command_list_arguments[] = {
    ARG("filterby", ARG_ONEOF, .flags = ARG_OPTIONAL, .token = "FILTERBY",
        CHILDREN(command_list_filterby)),
};

static const char *const tips_varying_output_order[] = {
    "nondeterministic_output_order",
};

static const struct command_argument command_info_arguments[] = {
    ARG("command-name", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE),
};

static const struct command_history command_info_history[] = {
    {"7.0.0", "Without arguments it describes all commands."},
};

static const struct command command_subcommands[] = {
    {.name = "count",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command_count,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Returns how many commands there are.",
     .complexity = "O(1)"},
    {.name = "list",
     .arity = -2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command_list,
     .group = GROUP_SERVER,
     .since = "7.0.0",
     .summary = "Returns the names of commands, all or filtered.",
     .complexity = "O(N), N: commands",
     ARGUMENTS(command_list_arguments),
     TIPS(tips_varying_output_order)},
    {.name = "info",
     .arity = -2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command_info,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Describes the given commands, or all.",
     .complexity = "O(N), N: commands described",
     ARGUMENTS(command_info_arguments),
     HISTORY(command_info_history),
     TIPS(tips_varying_output_order)},
    {.name = "docs",
     .arity = -2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command_docs,
     .group = GROUP_SERVER,
     .since = "7.0.0",
     .summary = "Returns the documentation of the given commands, or of all.",
     .complexity = "O(N), N: commands described",
     ARGUMENTS(command_info_arguments),
     TIPS(tips_varying_output_order)},
    {.name = "getkeys",
     .arity = -4,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command_getkeys,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Finds the keys in the arguments of a command.",
     .complexity = "O(N), N: arguments"},
    {.name = "getkeysandflags",
     .arity = -4,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command_getkeysandflags,
     .group = GROUP_SERVER,
     .since = "7.0.0",
     .summary = "Finds the keys in the arguments of a command and what it does to each.",
     .complexity = "O(N), N: arguments"},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command_help,
     .group = GROUP_SERVER,
     .since = "5.0.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

static const char *const tips_all_shards_and_agg_sum[] = {
    "request_policy:all_shards",
    "response_policy:agg_sum",
};

static const struct command_argument flushdb_async[] = {
    ARG("async", ARG_PURE_TOKEN, .token = "ASYNC", .since = "4.0.0"),
    ARG("sync", ARG_PURE_TOKEN, .token = "SYNC", .since = "6.2.0"),
};

static const struct command_argument flushdb_arguments[] = {
    ARG("async", ARG_ONEOF, .flags = ARG_OPTIONAL, CHILDREN(flushdb_async)),
};

static const struct command_history flushdb_history[] = {
    {"4.0.0", "`ASYNC`."},
    {"6.2.0", "`SYNC`."},
};

static const char *const tips_all_shards_and_all_succeeded[] = {
    "request_policy:all_shards",
    "response_policy:all_succeeded",
};

static const struct command_argument swapdb_arguments[] = {
    ARG("index1", ARG_INTEGER),
    ARG("index2", ARG_INTEGER),
};

static const struct command_argument pollux_move_slot_arguments[] = {
    ARG("slot", ARG_INTEGER),
    ARG("worker", ARG_INTEGER),
};

static const struct command pollux_subcommands[] = {
    {.name = "gaps",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME | CMD_GATHER,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_pollux_gaps,
     .gather = gather_pollux_gaps,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Shows when other programs or the host had the core of a worker that polls.",
     .complexity = "O(G), G: gaps that are kept",
     TIPS(tips_varying_output)},
    {.name = "slots",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME | CMD_GATHER,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_pollux_slots,
     .gather = gather_pollux_slots,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Shows each worker with its slots, keys and load.",
     .complexity = "O(S), S: ranges of slots",
     TIPS(tips_varying_output)},
    {.name = "move-slot",
     .arity = 4,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_AT_SLOT,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_pollux_move_slot,
     .slot_of = slot_of_argument,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Hands a slot to another worker.",
     .complexity = "O(1)",
     ARGUMENTS(pollux_move_slot_arguments)},
    {.name = "rebalance",
     .arity = 2,
     .flags =
         CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_HOME | CMD_GATHER,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_pollux_rebalance,
     .gather = gather_pollux_rebalance,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Spreads the slots evenly over the workers.",
     .complexity = "O(S), S: slots that move"},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_pollux_help,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

const struct command table_server[] = {
    {.name = "info",
     .arity = -1,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_info,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Reports the state and the statistics of the server.",
     .complexity = "O(W), W: workers",
     ARGUMENTS(info_arguments),
     HISTORY(info_history),
     TIPS(tips_varying_output_and_all_shards_and_special)},
    {.name = "config",
     .arity = -2,
     .categories = CAT_SLOW,
     SUBCOMMANDS(config_subcommands),
     .group = GROUP_SERVER,
     .since = "2.0.0",
     .summary = "Commands about the configuration.",
     .complexity = "Depends on the subcommand"},
    {.name = "time",
     .arity = 1,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME,
     .categories = CAT_FAST,
     .run = cmd_time,
     .group = GROUP_SERVER,
     .since = "2.6.0",
     .summary = "Returns the time of the server in seconds and microseconds.",
     .complexity = "O(1)",
     TIPS(tips_varying_output)},
    {.name = "lolwut",
     .arity = -1,
     .flags = CMD_READONLY | CMD_FAST | CMD_HOME,
     .categories = CAT_READ | CAT_FAST,
     .run = cmd_lolwut,
     .group = GROUP_SERVER,
     .since = "5.0.0",
     .summary = "Draws a picture and tells the version.",
     ARGUMENTS(lolwut_arguments)},
    {.name = "monitor",
     .arity = 1,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_monitor,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Shows every command that the server runs, as it runs."},
    {.name = "shutdown",
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY |
              CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_shutdown,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Ends the server.",
     .complexity = "O(1)",
     ARGUMENTS(shutdown_arguments),
     HISTORY(shutdown_history)},
    {.name = "debug",
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_ALL_SLOTS | CMD_CONTROL |
              CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_debug,
     .on_control = control_debug,
     .waits = waits_debug,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Commands for tests of servers and clients.",
     .complexity = "Depends on the subcommand",
     .system = true},
    {.name = "command",
     .arity = -1,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW | CAT_CONNECTION,
     .run = cmd_command,
     SUBCOMMANDS(command_subcommands),
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Describes the commands of this server.",
     .complexity = "O(N), N: commands",
     TIPS(tips_varying_output_order)},
    {.name = "dbsize",
     .arity = 1,
     .flags = CMD_READONLY | CMD_FAST | CMD_AT_SLOT,
     .categories = CAT_KEYSPACE | CAT_READ | CAT_FAST,
     .slot_of = slot_of_dbsize,
     .run = cmd_dbsize,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Returns how many keys the database has.",
     .complexity = "O(W), W: workers",
     TIPS(tips_all_shards_and_agg_sum)},
    {.name = "flushdb",
     .arity = -1,
     .flags = CMD_WRITE | CMD_ALL_SLOTS,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_flushdb,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Removes all keys of the database.",
     .complexity = "O(W), W: workers; memory is freed in slices",
     ARGUMENTS(flushdb_arguments),
     HISTORY(flushdb_history),
     TIPS(tips_all_shards_and_all_succeeded)},
    {.name = "flushall",
     .arity = -1,
     .flags = CMD_WRITE | CMD_ALL_SLOTS,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_flushall,
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Removes all keys of all databases.",
     .complexity = "O(W), W: workers; memory is freed in slices",
     ARGUMENTS(flushdb_arguments),
     HISTORY(flushdb_history),
     TIPS(tips_all_shards_and_all_succeeded)},
    {.name = "swapdb",
     .arity = 3,
     .flags = CMD_WRITE | CMD_FAST | CMD_ALL_SLOTS,
     .categories = CAT_KEYSPACE | CAT_WRITE | CAT_FAST | CAT_DANGEROUS,
     .run = cmd_swapdb,
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Exchanges two databases for all clients.",
     .complexity = "O(N), N: clients that watch or wait for keys of the two",
     ARGUMENTS(swapdb_arguments)},
    {.name = "pollux",
     .arity = -2,
     .categories = CAT_SLOW,
     SUBCOMMANDS(pollux_subcommands),
     .group = GROUP_SERVER,
     .since = "1.0.0",
     .summary = "Commands about the workers of this server and their slots.",
     .complexity = "Depends on the subcommand"},
};

const uint32_t table_server_count = sizeof table_server / sizeof *table_server;
