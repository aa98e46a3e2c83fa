/* Workload: random commands of many connections, and what must hold of their answers.
 * Purpose:   transfers between accounts whose sum never changes, counters that belong to one
 *            connection each, keys that every walk must return, and noise of all kinds beside them.
 * Databases: 0 accounts and fixed keys (flushed and written again in one EXEC, at times), 1 and 2
 *            noise (flushed, exchanged, with keys that expire), 3 counters.
 * Threading: workload_start makes a thread for each connection, workload_stop ends them.
 * Errors:    an answer that cannot be prints what it was and ends the program with 1. */
#ifndef TESTS_STRESS_WORKLOAD_H
#define TESTS_STRESS_WORKLOAD_H

#include <pthread.h>

#include "tests/stress/harness.h"

enum {
    WORKLOAD_CLIENTS_MAX = 64,
    WORKLOAD_ACCOUNTS = 40,
    WORKLOAD_FIXED = 100,
    WORKLOAD_TOTAL = WORKLOAD_ACCOUNTS * 1000,
};

enum workload_flag {
    WORK_DATABASES = 1, /* FLUSHDB and SWAPDB */
    WORK_VANISH = 2,    /* connections end at any moment, by themselves and by CLIENT KILL */
    WORK_PAUSE = 4,     /* CLIENT PAUSE for a few milliseconds */
    WORK_MONITOR = 8,   /* some connections watch all others */
};

struct workload_client {
    struct workload *workload;
    pthread_t thread;
    struct peer *peer;
    struct dice dice;
    unsigned index, generation;
    uint64_t counters[4]; /* what the next INCR is above */
    uint64_t slowest_us;
};

struct workload {
    struct harness *harness;
    unsigned flags, count;
    _Atomic uint64_t operations, transfers, aborted, ended;
    struct workload_client clients[WORKLOAD_CLIENTS_MAX];
};

/* Writes accounts and fixed keys, then starts the connections. */
struct workload *workload_start(struct harness *harness, unsigned clients, unsigned flags,
                                uint64_t seed);
/* Ends them, prints how much was done, checks the sum once more and frees the workload. */
void workload_stop(struct workload *workload);
void wait_ms(unsigned ms);
/* The main of a program that takes [milliseconds [seed]]: half the time with mailboxes as small as
 * can be, half with roomy ones. Returns the exit status. */
int workload_main(int argc, char **argv, unsigned default_ms,
                  bool (*stress)(uint32_t mailbox_size, unsigned run_ms, uint64_t seed));

#endif
