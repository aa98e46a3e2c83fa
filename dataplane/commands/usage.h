/* Usage: the memory of the process, as INFO, MEMORY STATS and the doctors tell it.
 * Purpose:   one place that adds up what workers, the allocator and the kernel say.
 * Terms:     `used` is what counts against maxmemory (evict_used_bytes) and what clients' buffers
 *            hold; the allocator's figures include the pages of struct memory.
 * Ownership: plain values.
 * Threading: usage_cron: each worker, for itself; usage_read: any worker. Both read the others
 *            through relaxed atomics. What the allocator and the kernel say is asked for at most
 *            every USAGE_SAMPLE_US, by one worker for all.
 * Errors:    none; a figure that cannot be had is 0. */
#ifndef DATAPLANE_COMMANDS_USAGE_H
#define DATAPLANE_COMMANDS_USAGE_H

#include <stdint.h>

struct node;
struct worker;

enum { USAGE_SAMPLE_US = 100000 };

struct usage {
    uint64_t used, peak, startup, clients, tables, tickets; /* bytes */
    uint64_t overhead;                                      /* startup, clients, tables, tickets */
    uint64_t dataset;                                       /* the rest of `used` */
    uint64_t allocated, active, resident;                   /* the allocator's */
    uint64_t rss;
};

void usage_cron(struct worker *worker);
void usage_read(struct worker *worker, struct usage *usage);

/* part / whole; 0 where there is no whole. */
static inline double usage_ratio(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

/* "jemalloc-5.3.0". */
const char *usage_allocator(void);

#endif
