/* Key specifications: where a command's keys stand, said so that clients can compute it.
 * Purpose:   evaluate one specification against the arguments of a call.
 * Ownership: nothing is kept.
 * Threading: any.
 * Errors:    false when the specification finds no keys in these arguments.
 * Source:    Redis documentation, "Command key specifications". */
#ifndef DATAPLANE_COMMANDS_KEY_SPEC_H
#define DATAPLANE_COMMANDS_KEY_SPEC_H

#include "dataplane/commands/command.h"

/* What the kinds in `struct key_spec` are called. */
enum key_begin { KEY_BEGIN_UNUSED, KEY_BEGIN_INDEX, KEY_BEGIN_KEYWORD, KEY_BEGIN_UNKNOWN };
enum key_find { KEY_FIND_UNUSED, KEY_FIND_RANGE, KEY_FIND_KEYNUM, KEY_FIND_UNKNOWN };

/* Positions first, first + step ... up to and including last, all below argc. */
struct key_range {
    int64_t first, last, step;
};

bool key_spec_find(const struct key_spec *spec, const struct text *argv, uint32_t argc,
                   struct key_range *range);

static inline uint32_t key_range_count(struct key_range range)
{
    return (uint32_t)((range.last - range.first) / range.step + 1);
}

#endif
