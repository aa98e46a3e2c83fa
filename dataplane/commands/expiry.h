/* Deadlines and floating point numbers as commands take them.
 * Ownership: plain values. Threading: any. Errors: replied, or false. */
#ifndef DATAPLANE_COMMANDS_EXPIRY_H
#define DATAPLANE_COMMANDS_EXPIRY_H

#include "dataplane/commands/command.h"

enum { FLOAT_TEXT_MAX = 5 * 1024 };

/* Unix milliseconds from what a client gave: `value` in seconds or milliseconds, relative to now or absolute. Replies
 * "invalid expire time in '<command>' command" when it overflows or, with must_be_positive, is not above zero. */
bool expiry_deadline(struct call *call, int64_t value, bool seconds, bool relative,
                     bool must_be_positive, int64_t *deadline_unix_ms);

/* As Redis's INCRBYFLOAT reads and prints them: no spaces, not NaN; 17 digits behind the point at most, trailing zeros cut. */
bool text_to_long_double(struct text text, long double *value);
size_t long_double_to_text(long double value, char text[FLOAT_TEXT_MAX]);
bool long_double_is_finite(long double value);

#endif
