/* Secrets: arguments that MONITOR and SLOWLOG do not show.
 * Purpose:   user names and passwords stay out of what an operator looks at.
 * Ownership, threading: none, any.
 * Errors:    none. */
#ifndef DATAPLANE_COMMANDS_SECRET_H
#define DATAPLANE_COMMANDS_SECRET_H

#include "dataplane/commands/command.h"

#define SECRET_SHOWN "(redacted)" /* in its place */

bool secret_argument(const struct command *command, const struct text *argv, uint32_t argc,
                     uint32_t position);

#endif
