/* Lines: blocks of 1 to 64 cache lines, packed into pages.
 * Purpose:   the tables of thousands of slots grow line by line. Size classes would leave a trail of half-empty pages
 *            behind them; here free neighbours are one run again, whatever they were before.
 * Shape:     a page is 16 words of 64 lines, a block lies within one word, a bit says which lines are free. Words are
 *            listed by their longest free run, and the shortest that suffices is taken (best fit).
 * Ownership: `struct lines` sits in the worker's `struct memory`.
 * Threading: one worker.
 * Errors:    NULL when the machine has no memory. */
#ifndef DATAPLANE_STORE_LINES_H
#define DATAPLANE_STORE_LINES_H

#include <stdint.h>

#include "dataplane/store/pages.h"

struct lines_word {
    uint64_t free;
    struct lines_word *next, *previous;
};

struct lines {
    struct pages *pages;
    struct lines_word *heads[MEMORY_LINES_MAX + 1];  /* by longest free run */
    uint64_t listed;         /* bit r - 1: heads[r] is not empty */
    uint32_t empty_pages;    /* wholly free pages that are kept: at most one */
};

void lines_init(struct lines *lines, struct pages *pages);
void *lines_alloc(struct lines *lines, unsigned count);  /* not zeroed; count from 1 to MEMORY_LINES_MAX */
void lines_free(struct lines *lines, void *block, unsigned count);
/* Room for this block in a fuller word than its own, as lines_alloc; NULL when there is none. */
void *lines_better(struct lines *lines, const void *block, unsigned count);

#endif
