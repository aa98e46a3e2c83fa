/* Holdings: what the slots of one worker hold, for the port of that worker alone.
 * Purpose:   DBSIZE and INFO there: cluster clients add up what the ports say.
 * Ownership: plain values.
 * Threading: any worker, for the port of one without a queue is served by another. Each slot's counts
 *            are read as they are, whoever holds it at the moment.
 * Errors:    none. */
#ifndef DATAPLANE_COMMANDS_HOLDINGS_H
#define DATAPLANE_COMMANDS_HOLDINGS_H

#include <stdint.h>

struct call;
struct keyspace;

struct holdings {
    int64_t keys, expires; /* expires: those with a deadline */
};

/* Of the worker whose port the call came to (session->port_worker). O(slots with keys). */
struct holdings holdings_of_port(const struct call *call, const struct keyspace *keyspace);

#endif
