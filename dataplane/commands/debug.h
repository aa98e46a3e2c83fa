/* DEBUG's subcommands that have files of their own.
 * Threading: every slot of the node is on loan to the call.
 * Ownership, errors: as command.h says of `run`. */
#ifndef DATAPLANE_COMMANDS_DEBUG_H
#define DATAPLANE_COMMANDS_DEBUG_H

#include "dataplane/commands/command.h"

void debug_digest(
    struct call *call); /* of all data: equal data, equal digest, here and in redis-server */
void debug_digest_value(struct call *call); /* of the values of keys */
void debug_object(struct call *call);
void debug_protocol(struct call *call);

/* The entry of a key of the session's database, expired or not; NULL: none. */
struct entry *debug_entry(struct call *call, struct text name);

#endif
