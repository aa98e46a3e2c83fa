/* Rows of the command table: SLOWLOG, LATENCY and MEMORY. Arguments, specifications and rows as in
 * command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const struct command_argument slowlog_get_arguments[] = {
    ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL),
};

static const struct command_history slowlog_get_history[] = {
    {"4.0.0", "Address and name of the client."},
};

static const char *const tips_all_nodes_and_varying_output[] = {
    "request_policy:all_nodes",
    "nondeterministic_output",
};

static const char *const tips_all_nodes_and_agg_sum_and_varying_output[] = {
    "request_policy:all_nodes",
    "response_policy:agg_sum",
    "nondeterministic_output",
};

static const char *const tips_all_nodes_and_all_succeeded[] = {
    "request_policy:all_nodes",
    "response_policy:all_succeeded",
};

static const struct command slowlog_subcommands[] = {
    {.name = "get",
     .arity = -2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_slowlog_get,
     .gather = gather_slowlog_get,
     .group = GROUP_SERVER,
     .since = "2.2.12",
     .summary = "Returns the latest entries of the slow log.",
     .complexity = "O(N), N: entries returned",
     ARGUMENTS(slowlog_get_arguments),
     HISTORY(slowlog_get_history),
     TIPS(tips_all_nodes_and_varying_output)},
    {.name = "len",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_slowlog_len,
     .gather = gather_slowlog_len,
     .group = GROUP_SERVER,
     .since = "2.2.12",
     .summary = "Returns how many entries the slow log has.",
     .complexity = "O(W), W: workers",
     TIPS(tips_all_nodes_and_agg_sum_and_varying_output)},
    {.name = "reset",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_slowlog_reset,
     .gather = gather_slowlog_reset,
     .group = GROUP_SERVER,
     .since = "2.2.12",
     .summary = "Empties the slow log.",
     .complexity = "O(N), N: entries",
     TIPS(tips_all_nodes_and_all_succeeded)},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_slowlog_help,
     .group = GROUP_SERVER,
     .since = "6.2.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

static const struct command_argument latency_histogram_arguments[] = {
    ARG("command", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE),
};

static const char *const tips_varying_output_and_all_nodes_and_special[] = {
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
};

static const struct command_argument latency_history_arguments[] = {
    ARG("event", ARG_STRING),
};

static const struct command_argument latency_reset_arguments[] = {
    ARG("event", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE),
};

static const struct command latency_subcommands[] = {
    {.name = "histogram",
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_latency_histogram,
     .group = GROUP_SERVER,
     .since = "7.0.0",
     .summary = "Returns how the run times of commands are distributed.",
     .complexity = "O(N), N: commands asked for",
     ARGUMENTS(latency_histogram_arguments),
     TIPS(tips_varying_output_and_all_nodes_and_special)},
    {.name = "history",
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_latency_history,
     .gather = gather_latency_history,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Returns the samples of one event.",
     .complexity = "O(1)",
     ARGUMENTS(latency_history_arguments),
     TIPS(tips_varying_output_and_all_nodes_and_special)},
    {.name = "latest",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_latency_latest,
     .gather = gather_latency_latest,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Returns the latest sample of each event.",
     .complexity = "O(1)",
     TIPS(tips_varying_output_and_all_nodes_and_special)},
    {.name = "reset",
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_latency_reset,
     .gather = gather_latency_reset,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Drops the samples of events.",
     .complexity = "O(1)",
     ARGUMENTS(latency_reset_arguments),
     TIPS(tips_all_nodes_and_all_succeeded)},
    {.name = "graph",
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_latency_graph,
     .gather = gather_latency_graph,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Draws the samples of one event.",
     .complexity = "O(1)",
     ARGUMENTS(latency_history_arguments),
     TIPS(tips_varying_output_and_all_nodes_and_special)},
    {.name = "doctor",
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_GATHER | CMD_HOME,
     .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
     .run = cmd_latency_doctor,
     .gather = gather_latency_doctor,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Explains the samples in words.",
     .complexity = "O(1)",
     TIPS(tips_varying_output_and_all_nodes_and_special)},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_latency_help,
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

static const struct key_spec ro_2[] = {
    KEY_AT(2, KEY_RO),
};

static const struct command_argument memory_usage_arguments[] = {
    ARG("key", ARG_KEY, .key_spec = 1),
    ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "SAMPLES"),
};

static const char *const tips_varying_output_and_all_shards_and_special[] = {
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
};

static const char *const tips_all_shards_and_all_succeeded[] = {
    "request_policy:all_shards",
    "response_policy:all_succeeded",
};

static const struct command memory_subcommands[] = {
    {.name = "usage",
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = CAT_READ | CAT_SLOW,
     .keys = {2, 2, 1},
     .run = cmd_memory_usage,
     KEY_SPECS(ro_2),
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Returns how many bytes a key takes with its value.",
     .complexity = "O(N), N: elements sampled",
     ARGUMENTS(memory_usage_arguments)},
    {.name = "stats",
     .arity = 2,
     .flags = CMD_GATHER | CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_memory_stats,
     .gather = gather_memory_stats,
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Returns where the memory goes.",
     .complexity = "O(W), W: workers",
     TIPS(tips_varying_output_and_all_shards_and_special)},
    {.name = "doctor",
     .arity = 2,
     .flags = CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_memory_doctor,
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Reports problems with memory in words.",
     .complexity = "O(1)",
     TIPS(tips_varying_output_and_all_shards_and_special)},
    {.name = "purge",
     .arity = 2,
     .flags = CMD_GATHER | CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_memory_purge,
     .gather = gather_memory_purge,
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Asks the allocator to return unused memory.",
     .complexity = "Depends on how much is unused; can be slow",
     TIPS(tips_all_shards_and_all_succeeded)},
    {.name = "malloc-stats",
     .arity = 2,
     .flags = CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_memory_malloc_stats,
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Returns the statistics of the allocator.",
     .complexity = "Depends on the allocator; can be slow",
     TIPS(tips_varying_output_and_all_shards_and_special)},
    {.name = "help",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_HOME,
     .categories = CAT_SLOW,
     .run = cmd_memory_help,
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
};

const struct command table_diagnostics[] = {
    {.name = "slowlog",
     .arity = -2,
     .categories = CAT_SLOW,
     SUBCOMMANDS(slowlog_subcommands),
     .group = GROUP_SERVER,
     .since = "2.2.12",
     .summary = "Commands about the log of slow commands.",
     .complexity = "Depends on the subcommand"},
    {.name = "latency",
     .arity = -2,
     .categories = CAT_SLOW,
     SUBCOMMANDS(latency_subcommands),
     .group = GROUP_SERVER,
     .since = "2.8.13",
     .summary = "Commands about pauses of the server and the latency of commands.",
     .complexity = "Depends on the subcommand"},
    {.name = "memory",
     .arity = -2,
     .categories = CAT_SLOW,
     SUBCOMMANDS(memory_subcommands),
     .group = GROUP_SERVER,
     .since = "4.0.0",
     .summary = "Commands about memory.",
     .complexity = "Depends on the subcommand"},
};

const uint32_t table_diagnostics_count = sizeof table_diagnostics / sizeof *table_diagnostics;
