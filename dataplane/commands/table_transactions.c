/* Rows of the command table: transactions. Arguments, specifications and rows as in command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const struct key_spec ro_1_to_end_by_1[] = {
    KEY_RANGE(1, -1, 1, KEY_RO),
};

static const struct command_argument watch_arguments[] = {
    ARG("key", ARG_KEY, .flags = ARG_MULTIPLE, .key_spec = 1),
};

const struct command table_transactions[] = {
    {.name = "multi",
     .arity = 1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY | CMD_HOME |
              CMD_TRANSACTION,
     .categories = CAT_FAST | CAT_TRANSACTION,
     .run = cmd_multi,
     .group = GROUP_TRANSACTIONS,
     .since = "1.2.0",
     .summary = "Starts a transaction: commands queue up from here on.",
     .complexity = "O(1)"},
    {.name = "exec",
     .arity = 1,
     .flags =
         CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SKIP_SLOWLOG | CMD_HOME | CMD_TRANSACTION,
     .categories = CAT_SLOW | CAT_TRANSACTION,
     .run = cmd_exec,
     .group = GROUP_TRANSACTIONS,
     .since = "1.2.0",
     .summary = "Runs the queued commands as one.",
     .complexity = "Depends on the queued commands"},
    {.name = "discard",
     .arity = 1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY | CMD_HOME |
              CMD_TRANSACTION,
     .categories = CAT_FAST | CAT_TRANSACTION,
     .run = cmd_discard,
     .group = GROUP_TRANSACTIONS,
     .since = "2.0.0",
     .summary = "Drops the queued commands.",
     .complexity = "O(N), N: queued commands"},
    {.name = "watch",
     .arity = -2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY | CMD_HOME |
              CMD_TRANSACTION,
     .categories = CAT_FAST | CAT_TRANSACTION,
     .keys = {1, -1, 1},
     .run = cmd_watch,
     KEY_SPECS(ro_1_to_end_by_1),
     .group = GROUP_TRANSACTIONS,
     .since = "2.2.0",
     .summary = "Lets the next EXEC fail if one of these keys changes before it.",
     .complexity = "O(N), N: keys given",
     ARGUMENTS(watch_arguments)},
    {.name = "unwatch",
     .arity = 1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY | CMD_HOME,
     .categories = CAT_FAST | CAT_TRANSACTION,
     .run = cmd_unwatch,
     .group = GROUP_TRANSACTIONS,
     .since = "2.2.0",
     .summary = "Stops watching all keys.",
     .complexity = "O(N), N: watched keys"},
};

const uint32_t table_transactions_count = sizeof table_transactions / sizeof *table_transactions;
