/* Holdings: what the slots of one worker hold, for the port of that worker alone.
 * Purpose:   DBSIZE and INFO there: cluster clients add up what the ports say.
 * Ownership: plain values.
 * Threading: the worker that runs the call. Slots that it has lent at the moment are left out,
 *            unless the call itself has them.
 * Errors:    none. Where another worker runs the call than the port's (the port of a worker without a
 *            queue) there is nothing: DBSIZE goes to the port's worker, INFO tells no keys. */
#ifndef DATAPLANE_COMMANDS_HOLDINGS_H
#define DATAPLANE_COMMANDS_HOLDINGS_H

#include <stdint.h>

struct call;
struct keyspace;

struct holdings {
    int64_t keys, expires; /* expires: those with a deadline */
};

/* O(slots with keys). */
struct holdings holdings_of_worker(const struct call *call, const struct keyspace *keyspace);

#endif
