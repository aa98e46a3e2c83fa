/* COMMAND: what the command table says, for clients. */
#include <string.h>

#include "config/glob.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/table.h"
#include "dataplane/node.h"

enum { ARGUMENT_DEPTH_MAX = 8 }; /* of the trees in the table */

/* ---- COMMAND INFO ---------------------------------------------------------------------------- */

/* The names of the bits that are set, as statuses. */
static void reply_names(struct reply *reply, uint32_t bits, const char *const *names,
                        uint32_t count, const char *prefix)
{
    uint32_t known = bits & (uint32_t)((1ull << count) - 1);

    reply_set(reply, (uint64_t)__builtin_popcount(known));
    for (; known != 0; known &= known - 1) {
        const char *name = names[__builtin_ctz(known)];

        reply_bytes(reply, "+", 1);
        reply_bytes(reply, prefix, strlen(prefix));
        reply_bytes(reply, name, strlen(name));
        reply_bytes(reply, "\r\n", 2);
    }
}

static void reply_pair(struct reply *reply, const char *name, int64_t value)
{
    reply_bulk_cstr(reply, name);
    reply_integer(reply, value);
}

static void reply_words(struct reply *reply, const char *name, const char *value)
{
    reply_bulk_cstr(reply, name);
    reply_bulk_cstr(reply, value);
}

static void reply_begin_search(struct reply *reply, const struct key_spec *spec)
{
    static const char *const kinds[] = {"unknown", "index", "keyword", "unknown"};

    reply_bulk_cstr(reply, "begin_search");
    reply_map(reply, 2);
    reply_words(reply, "type", kinds[spec->begin_kind]);
    reply_bulk_cstr(reply, "spec");
    switch ((enum key_begin)spec->begin_kind) {
    case KEY_BEGIN_INDEX:
        reply_map(reply, 1);
        reply_pair(reply, "index", spec->begin_index);
        break;
    case KEY_BEGIN_KEYWORD:
        reply_map(reply, 2);
        reply_words(reply, "keyword", spec->begin_keyword);
        reply_pair(reply, "startfrom", spec->begin_index);
        break;
    case KEY_BEGIN_UNUSED:
    case KEY_BEGIN_UNKNOWN:
        reply_map(reply, 0);
        break;
    }
}

static void reply_find_keys(struct reply *reply, const struct key_spec *spec)
{
    static const char *const kinds[] = {"unknown", "range", "keynum", "unknown"};

    reply_bulk_cstr(reply, "find_keys");
    reply_map(reply, 2);
    reply_words(reply, "type", kinds[spec->find_kind]);
    reply_bulk_cstr(reply, "spec");
    switch ((enum key_find)spec->find_kind) {
    case KEY_FIND_RANGE:
        reply_map(reply, 3);
        reply_pair(reply, "lastkey", spec->last);
        reply_pair(reply, "keystep", spec->step);
        reply_pair(reply, "limit", spec->limit);
        break;
    case KEY_FIND_KEYNUM:
        reply_map(reply, 3);
        reply_pair(reply, "keynumidx", spec->keynum_index);
        reply_pair(reply, "firstkey", spec->first_key);
        reply_pair(reply, "keystep", spec->step);
        break;
    case KEY_FIND_UNUSED:
    case KEY_FIND_UNKNOWN:
        reply_map(reply, 0);
        break;
    }
}

static void reply_key_specs(struct reply *reply, const struct command *command)
{
    reply_set(reply, command->key_spec_count);
    for (uint32_t i = 0; i < command->key_spec_count; i++) {
        const struct key_spec *spec = &command->key_specs[i];

        reply_map(reply, spec->notes != NULL ? 4 : 3);
        if (spec->notes != NULL)
            reply_words(reply, "notes", spec->notes);
        reply_bulk_cstr(reply, "flags");
        reply_names(reply, spec->flags, key_flag_names, KEY_FLAG_NAMES, "");
        reply_begin_search(reply, spec);
        reply_find_keys(reply, spec);
    }
}

/* Everything but the subcommands. */
static void reply_info_row(struct call *call, const struct command *command)
{
    struct reply *reply = call->reply;

    reply_array(reply, 10);
    reply_bulk_cstr(reply, command->full_name);
    reply_integer(reply, command->arity);
    reply_names(reply, command->flags, command_flag_names, FLAG_NAMES, "");
    reply_integer(reply, command->keys.first);
    reply_integer(reply, command->keys.last);
    reply_integer(reply, command->keys.step);
    reply_names(reply, command->categories, command_category_names, CATEGORY_NAMES, "@");
    reply_set(reply, command->tip_count);
    for (uint32_t i = 0; i < command->tip_count; i++)
        reply_bulk_cstr(reply, command->tips[i]);
    reply_key_specs(reply, command);
}

static void reply_info(struct call *call, const struct command *command)
{
    if (command == NULL) {
        reply_null(call->reply);
        return;
    }
    reply_info_row(call, command);
    if (command->subcommand_count == 0) {
        reply_set(call->reply, 0);
        return;
    }
    reply_array(call->reply, command->subcommand_count);
    for (uint32_t i = 0; i < command->subcommand_count; i++) {
        reply_info_row(call, &command->subcommands[i]);
        reply_set(call->reply, 0);
    }
}

/* A name as listings write it: "get", "config|set". NULL: there is no such command. */
static const struct command *find_by_full_name(const struct call *call, struct text name)
{
    const struct command_index *index = call->node->commands;
    const char *bar = name.len_bytes > 0 ? memchr(name.data, '|', name.len_bytes) : NULL;

    if (bar == NULL)
        return command_find(index, name);
    size_t head = (size_t)(bar - name.data);
    const struct command *container = command_find(index, (struct text){name.data, head});
    if (container == NULL)
        return NULL;
    return command_find_sub(container, (struct text){bar + 1, name.len_bytes - head - 1});
}

static void info_of_all(struct call *call)
{
    uint32_t count;
    const struct command *const *all = command_all(call->node->commands, &count);

    reply_array(call->reply, count);
    for (uint32_t i = 0; i < count; i++)
        reply_info(call, all[i]);
}

void cmd_command(struct call *call)
{
    info_of_all(call);
}

void cmd_command_info(struct call *call)
{
    if (call->argc == 2) {
        info_of_all(call);
        return;
    }
    reply_array(call->reply, call->argc - 2u);
    for (uint32_t i = 2; i < call->argc; i++)
        reply_info(call, find_by_full_name(call, call->argv[i]));
}

void cmd_command_count(struct call *call)
{
    uint32_t count;

    command_all(call->node->commands, &count);
    reply_integer(call->reply, count);
}

/* ---- COMMAND DOCS ---------------------------------------------------------------------------- */

static void reply_optional_words(struct reply *reply, const char *name, const char *value)
{
    if (value != NULL)
        reply_words(reply, name, value);
}

static void reply_arguments(struct reply *reply, const struct command_argument *arguments,
                            uint32_t count, uint32_t depth);

static void reply_argument(struct reply *reply, const struct command_argument *argument,
                           uint32_t depth)
{
    static const char *const flags[] = {"optional", "multiple", "multiple_token"};
    bool children = argument->child_count > 0 && depth < ARGUMENT_DEPTH_MAX;

    reply_map(reply, 2u + (argument->key_spec != 0) + (argument->token != NULL) +
                         (argument->summary != NULL) + (argument->since != NULL) +
                         (argument->deprecated_since != NULL) + (argument->flags != 0) + children);
    reply_words(reply, "name", argument->name);
    reply_words(reply, "type", argument_type_names[argument->type]);
    if (argument->key_spec != 0)
        reply_pair(reply, "key_spec_index", argument->key_spec - 1);
    reply_optional_words(reply, "token", argument->token);
    reply_optional_words(reply, "summary", argument->summary);
    reply_optional_words(reply, "since", argument->since);
    reply_optional_words(reply, "deprecated_since", argument->deprecated_since);
    if (argument->flags != 0) {
        reply_bulk_cstr(reply, "flags");
        reply_names(reply, argument->flags, flags, ROW_COUNT(flags), "");
    }
    if (children)
        reply_arguments(reply, argument->children, argument->child_count, depth + 1);
}

static void reply_arguments(struct reply *reply, const struct command_argument *arguments,
                            uint32_t count, uint32_t depth)
{
    reply_bulk_cstr(reply, "arguments");
    reply_array(reply, count);
    for (uint32_t i = 0; i < count; i++)
        reply_argument(reply, &arguments[i], depth);
}

static void reply_doc_flags(struct reply *reply, const struct command *command)
{
    bool deprecated = command->deprecated_since != NULL;

    reply_bulk_cstr(reply, "doc_flags");
    reply_set(reply, (uint64_t)deprecated + command->system);
    if (deprecated)
        reply_status(reply, "deprecated");
    if (command->system)
        reply_status(reply, "syscmd");
}

static void reply_history(struct reply *reply, const struct command *command)
{
    reply_bulk_cstr(reply, "history");
    reply_set(reply, command->history_count);
    for (uint32_t i = 0; i < command->history_count; i++) {
        reply_array(reply, 2);
        reply_bulk_cstr(reply, command->history[i].since);
        reply_bulk_cstr(reply, command->history[i].change);
    }
}

/* The pairs of one command; `more_pairs` are written by the caller. */
static void reply_docs_row(struct call *call, const struct command *command, uint32_t more_pairs)
{
    struct reply *reply = call->reply;
    bool doc_flags = command->deprecated_since != NULL || command->system;

    reply_bulk_cstr(reply, command->full_name);
    reply_map(reply, 3u + (command->complexity != NULL) + doc_flags +
                         (command->deprecated_since != NULL) + (command->replaced_by != NULL) +
                         (command->history_count > 0) + (command->argument_count > 0) + more_pairs);
    reply_words(reply, "summary", command->summary);
    reply_words(reply, "since", command->since);
    reply_words(reply, "group", command_group_names[command->group]);
    reply_optional_words(reply, "complexity", command->complexity);
    if (doc_flags)
        reply_doc_flags(reply, command);
    reply_optional_words(reply, "deprecated_since", command->deprecated_since);
    reply_optional_words(reply, "replaced_by", command->replaced_by);
    if (command->history_count > 0)
        reply_history(reply, command);
    if (command->argument_count > 0)
        reply_arguments(reply, command->arguments, command->argument_count, 1);
}

static void reply_docs(struct call *call, const struct command *command)
{
    if (command->subcommand_count == 0) {
        reply_docs_row(call, command, 0);
        return;
    }
    reply_docs_row(call, command, 1);
    reply_bulk_cstr(call->reply, "subcommands");
    reply_map(call->reply, command->subcommand_count);
    for (uint32_t i = 0; i < command->subcommand_count; i++)
        reply_docs_row(call, &command->subcommands[i], 0);
}

void cmd_command_docs(struct call *call)
{
    if (call->argc == 2) {
        uint32_t count;
        const struct command *const *all = command_all(call->node->commands, &count);

        reply_map(call->reply, count);
        for (uint32_t i = 0; i < count; i++)
            reply_docs(call, all[i]);
        return;
    }
    uint32_t known = 0;
    for (uint32_t i = 2; i < call->argc; i++)
        known += find_by_full_name(call, call->argv[i]) != NULL;
    reply_map(call->reply, known);
    for (uint32_t i = 2; i < call->argc; i++) {
        const struct command *command = find_by_full_name(call, call->argv[i]);
        if (command != NULL)
            reply_docs(call, command);
    }
}

/* ---- COMMAND LIST ---------------------------------------------------------------------------- */

struct filter {
    enum { ALL, MODULE, CATEGORY, PATTERN } kind;
    uint32_t categories;
    struct text pattern;
};

static bool matches(const struct filter *filter, const struct command *command, const char *name)
{
    switch (filter->kind) {
    case ALL:
        return true;
    case MODULE:
        return false; /* none of the commands comes from a module */
    case CATEGORY:
        return (command->categories & filter->categories) != 0;
    case PATTERN:
        break;
    }
    return glob_match(filter->pattern.data, filter->pattern.len_bytes, name, strlen(name), true);
}

/* 0 for a category that does not exist: no command is in it. */
static uint32_t category(struct text name)
{
    for (uint32_t i = 0; i < CATEGORY_NAMES; i++)
        if (text_is(name, command_category_names[i]))
            return 1u << i;
    return 0;
}

static bool read_filter(struct call *call, struct filter *filter)
{
    *filter = (struct filter){.kind = ALL};
    if (call->argc == 2)
        return true;
    if (call->argc != 5 || !call_option(call, 2, "filterby"))
        return false;
    filter->pattern = call->argv[4];
    if (call_option(call, 3, "module")) {
        filter->kind = MODULE;
    } else if (call_option(call, 3, "aclcat")) {
        filter->kind = CATEGORY;
        filter->categories = category(call->argv[4]);
    } else if (call_option(call, 3, "pattern")) {
        filter->kind = PATTERN;
    } else {
        return false;
    }
    return true;
}

static uint32_t list_row(struct call *call, const struct filter *filter,
                         const struct command *command, struct reply *reply)
{
    const char *name = command->full_name;

    if (!matches(filter, command, name))
        return 0;
    reply_bulk_cstr(reply, name);
    return 1;
}

void cmd_command_list(struct call *call)
{
    struct filter filter;
    struct reply_memory names;
    uint32_t count, found = 0;
    const struct command *const *all = command_all(call->node->commands, &count);

    if (!read_filter(call, &filter)) {
        call_syntax_error(call);
        return;
    }
    reply_memory_init(&names, call->reply->resp, NULL, 0);
    for (uint32_t i = 0; i < count; i++) {
        found += list_row(call, &filter, all[i], &names.reply);
        for (uint32_t k = 0; k < all[i]->subcommand_count; k++)
            found += list_row(call, &filter, &all[i]->subcommands[k], &names.reply);
    }
    reply_array(call->reply, found);
    reply_memory_finish(&names);
    reply_memory_move(&names, call->reply);
    reply_memory_fini(&names);
}

/* ---- COMMAND GETKEYS and GETKEYSANDFLAGS ----------------------------------------------------- */

/* The keys of a call by its specifications, in their order. `reply` NULL: only counts. */
static uint32_t keys_by_spec(const struct command *command, const struct text *argv, uint32_t argc,
                             bool flags, struct reply *reply)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < command->key_spec_count; i++) {
        const struct key_spec *spec = &command->key_specs[i];
        bool variable = (spec->flags & KEY_VARIABLE_FLAGS) != 0 && command->key_flags != NULL;
        struct key_range range;

        if (!key_spec_find(spec, argv, argc, &range))
            continue;
        count += key_range_count(range);
        for (int64_t at = range.first; reply != NULL && at <= range.last; at += range.step) {
            if (flags)
                reply_array(reply, 2);
            reply_bulk(reply, argv[at]);
            if (flags)
                reply_names(reply, variable ? command->key_flags(argv, argc) : spec->flags,
                            key_flag_names, KEY_FLAG_NAMES, "");
        }
    }
    return count;
}

/* The command that is asked about; NULL: an error was replied. */
static const struct command *asked_about(struct call *call)
{
    struct text *argv = call->argv + 2;
    uint32_t argc = call->argc - 2;
    const struct command *command = command_find(call->node->commands, argv[0]);

    if (command != NULL && command->subcommand_count > 0 && argc > 1)
        command = command_find_sub(command, argv[1]);
    if (command == NULL) {
        reply_error(call->reply, "Invalid command specified");
        return NULL;
    }
    if (command->key_spec_count == 0) {
        reply_error(call->reply, "The command has no key arguments");
        return NULL;
    }
    if (command->arity >= 0 ? argc != (uint32_t)command->arity : argc < (uint32_t)-command->arity) {
        reply_error(call->reply, "Invalid number of arguments specified for command");
        return NULL;
    }
    return command;
}

static void get_keys(struct call *call, bool flags)
{
    const struct command *command = asked_about(call);

    if (command == NULL)
        return;
    uint32_t count = keys_by_spec(command, call->argv + 2, call->argc - 2, flags, NULL);
    if (count == 0 && (command->flags & CMD_NO_MANDATORY_KEYS) == 0) {
        reply_error(call->reply, "Invalid arguments specified for command");
        return;
    }
    reply_array(call->reply, count);
    keys_by_spec(command, call->argv + 2, call->argc - 2, flags, call->reply);
}

void cmd_command_getkeys(struct call *call)
{
    get_keys(call, false);
}

void cmd_command_getkeysandflags(struct call *call)
{
    get_keys(call, true);
}

void cmd_command_help(struct call *call)
{
    static const char *const lines[] = {
        "(no subcommand)",
        "    As INFO without names.",
        "COUNT",
        "    How many commands there are.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Names of commands and subcommands.",
        "INFO [<name> ...]",
        "    Arity, flags, categories, tips and keys of the named commands, or of all.",
        "DOCS [<name> ...]",
        "    Documentation of the named commands, or of all.",
        "GETKEYS <command> [<arg> ...]",
        "    The keys in a whole command.",
        "GETKEYSANDFLAGS <command> [<arg> ...]",
        "    The keys in a whole command, and what it does to each.",
    };

    call_help(call, lines, ROW_COUNT(lines));
}
