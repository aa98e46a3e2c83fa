/* Lines: blocks of cache lines, packed into pages.
 * Purpose:   the tables of thousands of slots grow line by line. Size classes would leave a
 *            trail of half-empty pages behind them; here free neighbours are one run again,
 *            whatever they were before.
 * Shape:     a page is cut into words of 64 units; a block is a run of units within one word, a
 *            bit says which are free. Words are listed by their longest free run, and the
 *            shortest that suffices is taken (best fit). One such allocator has units of one
 *            line, for blocks up to 4 KiB; another has units of 1 KiB, for blocks up to
 *            LINES_COARSE_MAX_BYTES.
 * Ownership: `struct lines` sits in the worker's `struct memory`.
 * Threading: one worker.
 * Errors:    NULL when the machine has no memory. */
#ifndef DATAPLANE_STORE_LINES_H
#define DATAPLANE_STORE_LINES_H

#include <stdint.h>

#include "dataplane/store/pages.h"

enum {
    LINES_WORD_UNITS = 64,
    LINES_FINE_UNIT_BYTES = MEMORY_LINE_BYTES,
    LINES_FINE_MAX_BYTES = LINES_WORD_UNITS * LINES_FINE_UNIT_BYTES,
    LINES_COARSE_UNIT_BYTES = 1024,
    /* One unit is the header's. */
    LINES_COARSE_MAX_BYTES = (LINES_WORD_UNITS - 1) * LINES_COARSE_UNIT_BYTES,
};

struct lines_word {
    uint64_t free;
    struct lines_word *next, *previous;
};

struct lines {
    struct pages *pages;
    struct lines_word *heads[LINES_WORD_UNITS + 1]; /* by longest free run */
    uint64_t listed;                                /* bit r - 1: heads[r] is not empty */
    uint32_t unit_bytes;
    uint32_t empty_pages; /* wholly free pages that are kept: at most one */
};

void lines_init(struct lines *lines, struct pages *pages, uint32_t unit_bytes);
/* Sizes are multiples of the unit; blocks are not zeroed. */
void *lines_alloc(struct lines *lines, size_t size_bytes);
void lines_free(struct lines *lines, void *block, size_t size_bytes);
/* Room for this block in a fuller word than its own, as lines_alloc; NULL when there is none. */
void *lines_better(struct lines *lines, const void *block, size_t size_bytes);

#endif
