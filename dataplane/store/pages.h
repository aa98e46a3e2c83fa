/* Pages: the 64 KiB pages that one worker's memory is cut from, mapped by 2 MiB.
 * Ownership: `struct pages` sits in the worker's `struct memory`; a page belongs to whoever got
 *            it until it is put back.
 * Threading: one worker, but for pages_prepare; the `owner` of a page in use may be read by any thread that holds a
 *            block of it.
 * Errors:    NULL when the machine has no memory. */
#ifndef DATAPLANE_STORE_PAGES_H
#define DATAPLANE_STORE_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/store/memory.h"

enum { PAGES_PER_REGION = MEMORY_REGION_BYTES / MEMORY_PAGE_BYTES };

struct pages_region;

struct page { /* at the start of each page in use */
    struct memory *owner;
    struct pages_region *region;
    struct page *next, *previous; /* among those of a class that have room */
    union {
        struct {
            void *freed;          /* blocks given back, linked through their first word */
            uint32_t fresh_bytes; /* where the blocks begin that were never handed out */
            uint32_t block_bytes;
            uint32_t used;
        } slab;
        struct {
            uint32_t used_units;
            uint8_t run[16]; /* longest free run of each word: see lines.c */
        } lines;
    };
    uint32_t unit_bytes; /* of lines; 0: a slab */
};
_Static_assert(sizeof(struct page) <= MEMORY_LINE_BYTES, "a page header is one line");

struct pages {
    struct memory *owner;
    struct pages_region *open; /* regions with pages in use and pages free */
    struct pages_region *idle; /* wholly free */
    struct pages_region *full;
    size_t region_count;
    size_t used_count;                    /* pages in use */
    size_t spare_count;                   /* free pages that hold memory of the machine */
    _Atomic(struct pages_region *) ahead; /* made by pages_prepare; NULL: none yet */
    void (*taken)(void *arg);             /* NULL, or: a region was taken, another is wanted */
    void *taken_arg;
};

static inline struct page *pages_of(const void *block)
{
    return (struct page *)((uintptr_t)block & ~(uintptr_t)(MEMORY_PAGE_BYTES - 1));
}

void pages_init(struct pages *pages, struct memory *owner);
void pages_fini(struct pages *pages);        /* unmaps everything, pages in use too */
struct page *pages_get(struct pages *pages); /* header zeroed but for owner and region */
void pages_put(struct pages *pages, struct page *page);
/* Gives one region or one page back to the machine when more than enough are spare; false:
 * nothing to do. */
bool pages_trim(struct pages *pages);
/* Maps the next region and touches all of it, so that the worker finds its memory there: on a
 * virtual machine a first touch can take milliseconds. Any thread, one at a time. */
void pages_prepare(struct pages *pages, unsigned numa_node);

#endif
