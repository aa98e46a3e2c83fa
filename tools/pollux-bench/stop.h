/* Stopping early: SIGINT and SIGTERM become a question that a loop asks now and then.
 * Ownership: the caller closes the descriptor. Threading: one thread.
 * Errors:    stop_watch: a descriptor or a negative errno. */
#ifndef POLLUX_BENCH_STOP_H
#define POLLUX_BENCH_STOP_H

#include <stdbool.h>

int stop_watch(void);
/* Whether a signal came since the last question. */
bool stop_requested(int stop_fd);

#endif
