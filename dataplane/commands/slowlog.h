/* Slow log of one worker: the last slowlog-max-len commands that took slowlog-log-slower-than or longer.
 * Ownership: the worker's. Threading: its thread; other workers ask by a gather. Errors: without memory an entry is left out.
 * Ids are unique on the node and ascending in time for each worker. Arguments are cut as Redis cuts them: 32, and 128 bytes each. */
#ifndef DATAPLANE_COMMANDS_SLOWLOG_H
#define DATAPLANE_COMMANDS_SLOWLOG_H

#include <stdint.h>

struct call;
struct slowlog;

enum {
    SLOWLOG_ARGUMENTS_MAX = 32, /* of an entry; the last one then tells how many are left out */
    SLOWLOG_ARGUMENT_MAX_BYTES = 128,
};

struct slowlog *slowlog_create(void);
void slowlog_destroy(struct slowlog *slowlog);
void slowlog_add(struct call *call, uint64_t duration_us); /* to call->worker->slowlog */

#endif
