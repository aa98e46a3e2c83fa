/* What the bitmap commands share. Threading: the worker that runs the command. Errors: replied. */
#ifndef DATAPLANE_COMMANDS_BITS_H
#define DATAPLANE_COMMANDS_BITS_H

#include "dataplane/commands/command.h"

/* A bit offset, bounded by proto-max-bulk-len; "#n" counts in units of `bits` where allowed. Else replies and returns false. */
bool call_bit_offset(struct call *call, struct text text, bool hash_allowed, uint32_t bits,
                     uint64_t *offset);

#endif
