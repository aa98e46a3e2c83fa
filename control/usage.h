/* Usage: what --version and --help print.
 * Threading: before any other thread exists. Errors: none. */
#ifndef CONTROL_USAGE_H
#define CONTROL_USAGE_H

#include <stdint.h>

#include "config/load.h"

/* The commit that this was built from, with ":1" behind it when files were changed since. */
const char *usage_commit(void);
/* Differs between builds that differ. */
uint64_t usage_build_id(void);
/* Prints what was asked for to standard output; returns the exit status. */
int usage_print(enum load_request request);

#endif
