/* SHUTDOWN, TIME, and DEBUG JOURNAL: what the process around the workers is asked for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/server.h"
#include "drivers/log.h"

/* ---- SHUTDOWN ---- */

enum shutdown_option {
    SHUTDOWN_NOSAVE = 1 << 0,
    SHUTDOWN_SAVE = 1 << 1,
    SHUTDOWN_NOW = 1 << 2,
    SHUTDOWN_FORCE = 1 << 3,
    SHUTDOWN_ABORT = 1 << 4,
};

/* The options, or -1 for words that are none or contradict each other. */
static int shutdown_options(const struct call *call)
{
    static const struct {
        const char *word;
        int option;
    } words[] = {{"nosave", SHUTDOWN_NOSAVE},
                 {"save", SHUTDOWN_SAVE},
                 {"now", SHUTDOWN_NOW},
                 {"force", SHUTDOWN_FORCE},
                 {"abort", SHUTDOWN_ABORT}};
    int options = 0;

    for (uint32_t i = 1; i < call->argc; i++) {
        size_t place = 0;
        while (place < sizeof words / sizeof words[0] && !call_option(call, i, words[place].word))
            place++;
        if (place == sizeof words / sizeof words[0])
            return -1;
        options |= words[place].option;
    }
    if ((options & SHUTDOWN_ABORT) != 0 && options != SHUTDOWN_ABORT)
        return -1;
    if ((options & SHUTDOWN_SAVE) != 0 && (options & SHUTDOWN_NOSAVE) != 0)
        return -1;
    return options;
}

void cmd_shutdown(struct call *call)
{
    struct node *node = call->node;
    int options = shutdown_options(call);

    if (options < 0) {
        call_syntax_error(call);
    } else if ((options & SHUTDOWN_ABORT) != 0) {
        /* An end waits for nothing that could be called off: replies go out, and that is all. */
        reply_error(call->reply, "No shutdown in progress.");
    } else if ((options & SHUTDOWN_SAVE) != 0 && (options & SHUTDOWN_FORCE) == 0) {
        /* There is nothing yet that could save: a save that fails, as far as the client goes. */
        if (node->log != NULL)
            log_write(node->log, LOG_LEVEL_WARNING,
                      "SHUTDOWN SAVE: there is no persistence yet. Use SHUTDOWN NOSAVE, or FORCE.");
        reply_error(call->reply, "Errors trying to SHUTDOWN. Check logs.");
    } else {
        /* No reply: the connection ends, as with Redis. */
        call->client->flags |= CLIENT_CLOSE_AFTER_REPLY;
        node->control_calls->shut_down(node->control);
    }
}

/* ---- TIME ---- */

void cmd_time(struct call *call)
{
    uint64_t now_us = clock_unix_us();

    reply_array(call->reply, 2);
    reply_bulk_integer(call->reply, (int64_t)(now_us / 1000000));
    reply_bulk_integer(call->reply, (int64_t)(now_us % 1000000));
}

/* ---- DEBUG JOURNAL ---- */

static bool is_journal(const struct call *call)
{
    return call->argc == 3 && call_option(call, 1, "journal");
}

bool waits_debug(const struct call *call)
{
    return is_journal(call);
}

/* Every slot of the node is on loan to the call meanwhile, so that no command changes anything. */
void control_debug(struct call *call, struct gather_part *part)
{
    const struct node_control *control = call->node->control_calls;
    char *path;
    int result;

    if (!is_journal(call))
        return;
    if (call_option(call, 2, "off")) {
        result = control->record_end(call->node->control);
    } else {
        path = strndup(call->argv[2].data, call->argv[2].len_bytes);
        result = path == NULL ? -ENOMEM : control->record(call->node->control, path);
        free(path);
    }
    if (result == 0)
        reply_ok(&part->memory.reply);
    else
        reply_errorf(&part->memory.reply, "DEBUG JOURNAL: %s",
                     result == -EALREADY ? "a recording is running already"
                     : result == -ENOENT && call_option(call, 2, "off") ? "no recording is running"
                                                                        : strerror(-result));
}

void debug_journal(struct call *call)
{
    if (!is_journal(call))
        call_syntax_error(call);
    else if (call->part_count == 0)
        reply_error(call->reply, "DEBUG JOURNAL needs the control thread");
    else
        reply_memory_move(&call->parts[0].memory, call->reply);
}
