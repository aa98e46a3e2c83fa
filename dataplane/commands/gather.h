/* Gathered parts as data: how `gather` functions hand records to the `run` of their command.
 * Purpose:   a part is a reply in memory; here it holds records in the machine's own form, which
 *            `run` reads back in order (write them with reply_bytes).
 * Ownership: the parts are the call's.
 * Threading: `run`, at home.
 * Errors:    a part that ran out of memory is `failed`; gather_failed is asked before reading. */
#ifndef DATAPLANE_COMMANDS_GATHER_H
#define DATAPLANE_COMMANDS_GATHER_H

#include "dataplane/commands/command.h"

/* Whether any part lacks something; then replies so. */
static inline bool gather_failed(struct call *call)
{
    for (uint32_t i = 0; i < call->part_count; i++) {
        if (!call->parts[i].memory.reply.failed)
            continue;
        reply_error(call->reply, "-OOM no memory to ask all workers");
        return true;
    }
    return false;
}

/* Takes the next `len_bytes` of a part; false: it has no more. */
static inline bool gather_read(struct gather_part *part, void *to, size_t len_bytes)
{
    struct reply_memory flat;

    if (part->memory.total_bytes < len_bytes)
        return false;
    reply_memory_init(&flat, 2, to, len_bytes);
    reply_memory_take(&part->memory, len_bytes, &flat.reply);
    return true;
}

#endif
