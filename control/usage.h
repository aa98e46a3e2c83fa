/* Usage: what --version and --help print.
 * Threading: before any other thread exists. Errors: none. */
#ifndef CONTROL_USAGE_H
#define CONTROL_USAGE_H

#include "config/load.h"

/* Prints what was asked for to standard output; returns the exit status. */
int usage_print(enum load_request request);

#endif
