/* Watchdog: notices a worker whose loop does not turn.
 * Purpose:   a worker turns at least once a second, busy or idle. One that does not serves nobody:
 *            a command that takes very long, a driver that does not return, a bug. It is logged and
 *            counted (INFO workers); with worker-watchdog the server ends, so that its supervisor
 *            starts another one. Time in which nobody looked does not count: the whole process was
 *            stopped then, or its machine, and the workers could not turn.
 * Ownership: the caller owns the struct; all zero it has seen nobody.
 * Threading: the control thread; workers' counters are read relaxed.
 * Errors:    none.
 * Units:     monotonic microseconds. */
#ifndef CONTROL_WATCHDOG_H
#define CONTROL_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/node.h"

enum { WATCHDOG_NOTICE_S = 3 }; /* three times what an idle worker sleeps; no limit is shorter */

struct watchdog {
    uint64_t looked_us; /* 0: not yet */
    struct watchdog_worker {
        uint64_t turns;   /* when it was last seen to turn ... */
        uint64_t hung_us; /* ... which is so long ago */
        bool hangs;       /* and that was logged */
    } workers[WORKERS_MAX];
};

/* About once a second. False: a worker hangs for longer than worker-watchdog allows (and than
 * WATCHDOG_NOTICE_S), which was logged: the server is to end at once. */
bool watchdog_look(struct watchdog *watchdog, struct node *node, uint64_t now_us);
/* Whether all workers were turning at the last look. */
bool watchdog_content(const struct watchdog *watchdog, const struct node *node);

#endif
