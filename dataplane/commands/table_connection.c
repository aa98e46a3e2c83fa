/* Rows of the command table: the connection. Arguments, specifications and rows as in command.h. */
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"

static const struct command_argument ping_arguments[] = {
    ARG("message", ARG_STRING, .flags = ARG_OPTIONAL),
};

static const char *const tips_all_shards_and_all_succeeded[] = {
    "request_policy:all_shards",
    "response_policy:all_succeeded",
};

static const struct command_argument echo_arguments[] = {
    ARG("message", ARG_STRING),
};

static const struct command_argument hello_username_password[] = {
    ARG("username", ARG_STRING),
    ARG("password", ARG_STRING),
};

static const struct command_argument hello_arguments[] = {
    ARG("protover", ARG_INTEGER),
    ARG("username_password", ARG_BLOCK, .flags = ARG_OPTIONAL, .token = "AUTH",
        CHILDREN(hello_username_password)),
    ARG("clientname", ARG_STRING, .flags = ARG_OPTIONAL, .token = "SETNAME"),
};

static const struct command_argument hello_arguments_2[] = {
    ARG("arguments", ARG_BLOCK, .flags = ARG_OPTIONAL, CHILDREN(hello_arguments)),
};

static const struct command_history hello_history[] = {
    {"6.2.0", "Without arguments it describes the connection."},
};

static const struct command_argument auth_arguments[] = {
    ARG("username", ARG_STRING, .flags = ARG_OPTIONAL, .since = "6.0.0"),
    ARG("password", ARG_STRING),
};

static const struct command_history auth_history[] = {
    {"6.0.0", "User names."},
};

static const struct command_argument select_arguments[] = {
    ARG("index", ARG_INTEGER),
};

const struct command table_connection[] = {
    {.name = "ping",
     .arity = -1,
     .flags = CMD_FAST | CMD_HOME,
     .categories = CAT_FAST | CAT_CONNECTION,
     .run = cmd_ping,
     .group = GROUP_CONNECTION,
     .since = "1.0.0",
     .summary = "Answers, to show that the server is there.",
     .complexity = "O(1)",
     ARGUMENTS(ping_arguments),
     TIPS(tips_all_shards_and_all_succeeded)},
    {.name = "echo",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME,
     .categories = CAT_FAST | CAT_CONNECTION,
     .run = cmd_echo,
     .group = GROUP_CONNECTION,
     .since = "1.0.0",
     .summary = "Returns its argument.",
     .complexity = "O(1)",
     ARGUMENTS(echo_arguments)},
    {.name = "hello",
     .arity = -1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY |
              CMD_HOME,
     .categories = CAT_FAST | CAT_CONNECTION,
     .run = cmd_hello,
     .group = GROUP_CONNECTION,
     .since = "6.0.0",
     .summary = "Chooses the protocol, and can authenticate and name the connection.",
     .complexity = "O(1)",
     ARGUMENTS(hello_arguments_2),
     HISTORY(hello_history)},
    {.name = "auth",
     .arity = -2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY |
              CMD_HOME,
     .categories = CAT_FAST | CAT_CONNECTION,
     .run = cmd_auth,
     .group = GROUP_CONNECTION,
     .since = "1.0.0",
     .summary = "Authenticates the connection.",
     .complexity = "O(N), N: passwords of the user",
     ARGUMENTS(auth_arguments),
     HISTORY(auth_history)},
    {.name = "select",
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME,
     .categories = CAT_FAST | CAT_CONNECTION,
     .run = cmd_select,
     .group = GROUP_CONNECTION,
     .since = "1.0.0",
     .summary = "Chooses the database of the connection.",
     .complexity = "O(1)",
     ARGUMENTS(select_arguments)},
    {.name = "quit",
     .arity = -1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY |
              CMD_HOME | CMD_TRANSACTION,
     .categories = CAT_FAST | CAT_CONNECTION,
     .run = cmd_quit,
     .group = GROUP_CONNECTION,
     .since = "1.0.0",
     .summary = "Closes the connection after the replies.",
     .complexity = "O(1)"},
    {.name = "reset",
     .arity = 1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY |
              CMD_HOME | CMD_TRANSACTION,
     .categories = CAT_FAST | CAT_CONNECTION,
     .run = cmd_reset,
     .group = GROUP_CONNECTION,
     .since = "6.2.0",
     .summary = "Puts the connection back into the state of a new one.",
     .complexity = "O(1)"},
};

const uint32_t table_connection_count = sizeof table_connection / sizeof *table_connection;
