#include "dataplane/commands/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUBCOMMAND_SHOWN_MAX = 128, /* bytes of it in an error */
};

bool text_is(struct text text, const char *word)
{
    for (size_t i = 0; i < text.len_bytes; i++) {
        char a = text.data[i], b = word[i];

        a = a >= 'A' && a <= 'Z' ? (char)(a + 32) : a;
        b = b >= 'A' && b <= 'Z' ? (char)(b + 32) : b;
        if (a != b || b == '\0')
            return false;
    }
    return word[text.len_bytes] == '\0';
}

/* ---- Keys ------------------------------------------------------------------------------------ */

int command_keys(const struct command *command, const struct text *argv, uint32_t argc,
                 uint32_t *positions, uint32_t max)
{
    if (command->find_keys != NULL)
        return command->find_keys(argv, argc, positions, max);
    if (command->keys.first == 0)
        return 0;
    int64_t last = command->keys.last;
    uint32_t count = 0;

    if (last < 0)
        last += argc;
    for (int64_t i = command->keys.first; i <= last && i < argc && count < max;
         i += command->keys.step)
        positions[count++] = (uint32_t)i;
    return (int)count;
}

/* ---- Helpers for command functions ----------------------------------------------------------- */

static bool integer_or(struct call *call, uint32_t position, int64_t *value, const char *error)
{
    if (text_to_integer(call->argv[position], value))
        return true;
    reply_error(call->reply, error != NULL ? error : "value is not an integer or out of range");
    return false;
}

bool call_integer(struct call *call, uint32_t position, int64_t *value)
{
    return integer_or(call, position, value, NULL);
}

bool call_integer_range(struct call *call, uint32_t position, int64_t low, int64_t high,
                        int64_t *value, const char *error_or_null)
{
    if (!integer_or(call, position, value, error_or_null))
        return false;
    if (*value >= low && *value <= high)
        return true;
    if (error_or_null != NULL)
        reply_error(call->reply, error_or_null);
    else
        reply_errorf(call->reply, "value is out of range, value must between %lld and %lld",
                     (long long)low, (long long)high);
    return false;
}

bool call_option(const struct call *call, uint32_t position, const char *word)
{
    return position < call->argc && text_is(call->argv[position], word);
}

void call_wrong_arity(struct call *call)
{
    reply_errorf(call->reply, "wrong number of arguments for '%s' command",
                 call->command->full_name);
}

void call_syntax_error(struct call *call)
{
    reply_error(call->reply, "syntax error");
}

void call_propagate(struct call *call, uint32_t argc, const struct text *argv)
{
    if (call->propagate_owned)
        free(call->propagate_argv);
    call->propagate_argv = NULL;
    call->propagate_argc = 0;
    call->propagate_owned = false;
    call->propagate_none = argc == 0;
    if (argc == 0)
        return;
    size_t bytes = 0;
    for (uint32_t i = 0; i < argc; i++)
        bytes += argv[i].len_bytes;
    struct text *copy = malloc(argc * sizeof *copy + bytes);
    if (copy == NULL) {
        /* The original arguments go: the same, but where time or chance decides. */
        return;
    }
    char *at = (char *)(copy + argc);
    for (uint32_t i = 0; i < argc; i++) {
        copy[i] = (struct text){at, argv[i].len_bytes};
        if (argv[i].len_bytes > 0)
            memcpy(at, argv[i].data, argv[i].len_bytes);
        at += argv[i].len_bytes;
    }
    call->propagate_argv = copy;
    call->propagate_argc = argc;
    call->propagate_owned = true;
}

/* The container's name in capitals, for the first line of its HELP. */
static const char *container_name(const struct call *call, char name[COMMAND_FULL_NAME_MAX])
{
    const char *full = call->command->full_name;
    size_t len = strcspn(full, "|");

    for (size_t i = 0; i < len; i++)
        name[i] = full[i] >= 'a' && full[i] <= 'z' ? (char)(full[i] - 32) : full[i];
    name[len] = '\0';
    return name;
}

void call_help(struct call *call, const char *const *lines, uint32_t count)
{
    char name[COMMAND_FULL_NAME_MAX], first[COMMAND_FULL_NAME_MAX + 96];

    snprintf(first, sizeof first, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
             container_name(call, name));
    reply_array(call->reply, (uint64_t)count + 3);
    reply_status(call->reply, first);
    for (uint32_t i = 0; i < count; i++)
        reply_status(call->reply, lines[i]);
    reply_status(call->reply, "HELP");
    reply_status(call->reply, "    Prints this help.");
}

void call_wrong_subcommand(struct call *call)
{
    char name[COMMAND_FULL_NAME_MAX];
    size_t len = call->argv[1].len_bytes;

    reply_errorf(call->reply,
                 "unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                 len > SUBCOMMAND_SHOWN_MAX ? SUBCOMMAND_SHOWN_MAX : (int)len, call->argv[1].data,
                 container_name(call, name));
}
