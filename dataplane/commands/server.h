/* What the server says of itself. */
#ifndef DATAPLANE_COMMANDS_SERVER_H
#define DATAPLANE_COMMANDS_SERVER_H

#include "dataplane/client/client.h"
#include "dataplane/commands/command.h"

#define SERVER_REDIS_VERSION "7.2.4" /* the level of compatibility that clients look for */

/* Sets a client's text of printable characters (an empty one clears it). Replies "<what> cannot contain ..." and returns false. */
bool client_set_text(struct call *call, enum client_text which, struct text value,
                     const char *what);

/* DEBUG JOURNAL <path> | OFF: starts and ends a recording of all changes of the node, in one order. For cmd_debug. */
void debug_journal(struct call *call);

/* Replies one (verbatim) text whose pieces lie in the parts of a gather. */
void reply_gathered_text(struct call *call);

#endif
