/* Memory of one worker: a slab pool with size classes in steps of 8 bytes, and larger blocks
 * from the allocator.
 * Purpose:   entries cost their size rounded up to 8 (jemalloc's classes are 16 apart and more),
 *            allocation is a few instructions, and every byte is counted for maxmemory.
 * Ownership: blocks belong to whoever asked; a block may be freed through any worker's `struct
 *            memory`: one that came from another worker's slab goes home through a lock-free
 *            stack.
 * Threading: one worker each; memory_used_bytes may be read by any thread.
 * Errors:    NULL when the machine has no memory; nothing aborts.
 * Limits:    a region that is wholly free is unmapped by memory_collect, one a call, once
 *            MEMORY_SPARE_PAGES are spare.
 * Under AddressSanitizer every block is a malloc block of its own with exactly the size asked
 * for, so overflows are seen; there memory_usable is the identity, every resize moves, and an
 * abandoned block is reported as a leak. */
#ifndef DATAPLANE_STORE_MEMORY_H
#define DATAPLANE_STORE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum {
    MEMORY_STEP_BYTES = 8,
    MEMORY_SLAB_MIN_BYTES = 16,  /* the smallest class: a free block holds two words */
    MEMORY_SLAB_MAX_BYTES = 512, /* larger blocks come from malloc (jemalloc, the worker's arena) */
    MEMORY_PAGE_BYTES = 65536,   /* a slab page, aligned to its size, one class, one owner */
    MEMORY_REGION_BYTES = 2 << 20, /* pages are mapped so many at a time */
    MEMORY_LINE_BYTES = 64,
    /* Longer line blocks are mappings: clearing them would be a pause. */
    MEMORY_LINES_MALLOC_MAX_BYTES = 128 << 10,
    /* Longer blocks are mappings: zero for nothing, moved without copying. */
    MEMORY_MALLOC_MAX_BYTES = 1 << 20,
    MEMORY_DISCARD_BYTES = 65536, /* memory_discard_lines works in strides of this */
    MEMORY_SPARE_PAGES = 32,      /* empty pages that are kept, beside an eighth of those in use */
    MEMORY_COLLECT_BLOCKS = 256,  /* blocks that come home in one call */
};

struct memory; /* opaque; created by its worker's thread or before it starts */

struct memory *memory_create(void);
/* Has `taken(arg)` called, by the owner, whenever it takes 2 MiB more from the machine; somebody then
 * calls memory_prepare, on any thread (one at a time), and the next 2 MiB lie ready. */
void memory_prepare_ahead(struct memory *memory, void (*taken)(void *arg), void *arg);
void memory_prepare(struct memory *memory, unsigned numa_node);
/* After every block is freed or abandoned with it. Slab pages go back to the machine, malloc
 * blocks do not. */
void memory_destroy(struct memory *memory);

void *memory_alloc(struct memory *memory, size_t size_bytes); /* 8-byte aligned */
/* The size is that asked for, or any of the same class. NULL is allowed. */
void memory_free(struct memory *memory, void *block, size_t size_bytes);
/* What a block of that request really holds: its class. */
size_t memory_usable(size_t size_bytes);
/* Grows or shrinks in place when the class stays the same; else allocates, copies, frees. NULL
 * leaves the block as it was. A NULL block is an allocation. */
void *memory_resize(struct memory *memory, void *block, size_t old_bytes, size_t new_bytes);
/* The same two with zero bytes where nothing was: a long block costs no time, it is fresh from
 * the kernel. */
void *memory_alloc_zero(struct memory *memory, size_t size_bytes);
void *memory_resize_zero(struct memory *memory, void *block, size_t old_bytes, size_t new_bytes);

/* Cache-line aligned, zeroed block for tables (any size, multiple of 64). Freed with
 * memory_free_lines. */
void *memory_alloc_lines(struct memory *memory, size_t size_bytes);
void memory_free_lines(struct memory *memory, void *block, size_t size_bytes);
/* Nobody reads the first `dead_bytes` of this line block any more: a long block gives them back
 * at once, so that freeing it later takes no time. `was_bytes` is the figure of the call before
 * (0 at first). */
void memory_discard_lines(void *block, size_t size_bytes, size_t was_bytes, size_t dead_bytes);
/* A line block of the same content in a fuller place, or NULL when it lies well where it is (or
 * there is no other room). The old block is freed. Tables call it now and then: blocks that grow
 * leave holes behind. */
void *memory_pack_lines(struct memory *memory, void *block, size_t size_bytes);

/* Bytes handed out minus bytes given back through this worker (may be negative for one worker:
 * sum over all). */
int64_t memory_used_bytes(const struct memory *memory);
/* Of which kinds those bytes are; adds to *parts, any thread. */
struct memory_parts {
    int64_t malloc_bytes; /* from malloc: the allocator counts them as well */
    int64_t mapped_bytes; /* mappings of their own */
    int64_t line_bytes;   /* line blocks: tables; some of them belong to the two kinds above */
};
void memory_add_parts(const struct memory *memory, struct memory_parts *parts);
/* Bytes of pages in use, and of spare ones that still hold memory of the machine; only for the
 * owner. */
size_t memory_page_bytes(const struct memory *memory, size_t *spare_bytes);
/* Bytes mapped for slab pages of this worker, in use or spare; only for the owner. */
size_t memory_mapped_bytes(const struct memory *memory);
/* Takes back what other workers freed, and returns spare pages to the machine; called once in a
 * while by the owner. */
void memory_collect(struct memory *memory);

/* For tests: the nth allocation from now fails (1 is the next); 0 calls it off. */
void memory_fail_nth(struct memory *memory, uint64_t nth);

#endif
