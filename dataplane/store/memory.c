#include "dataplane/store/memory.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef POLLUX_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "dataplane/store/lines.h"
#include "dataplane/store/pages.h"

enum {
    MEMORY_CLASSES = MEMORY_SLAB_MAX_BYTES / MEMORY_STEP_BYTES + 1,
    MEMORY_MAP_STEP_BYTES = 4096,
};

/* What a freed block holds on its way home. */
struct homing {
    struct homing *next;
    size_t size_bytes;
};

struct memory {
    struct page *classes[MEMORY_CLASSES]; /* pages of each class that have room */
    struct lines fine, coarse;
    struct pages pages;
    struct homing *arrived; /* taken off `homing`, not yet put away */
    uint64_t fail_nth;
    /* One writer: the owner. */
    _Alignas(MEMORY_LINE_BYTES) _Atomic int64_t used_bytes;
    _Atomic int64_t malloc_bytes, mapped_bytes, line_bytes; /* parts of it: memory_add_parts */
    _Alignas(MEMORY_LINE_BYTES) _Atomic(struct homing *) homing;
};

/* ---- what is the same in every build ---- */

static void add(_Atomic int64_t *counter, int64_t bytes)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
}

static void count(struct memory *memory, int64_t bytes)
{
    add(&memory->used_bytes, bytes);
}

static bool fails(struct memory *memory)
{
    return memory->fail_nth != 0 && --memory->fail_nth == 0;
}

struct memory *memory_create(void)
{
    struct memory *memory = aligned_alloc(MEMORY_LINE_BYTES, sizeof(*memory));

    if (memory == NULL)
        return NULL;
    memset(memory, 0, sizeof(*memory));
    pages_init(&memory->pages, memory);
    lines_init(&memory->fine, &memory->pages, LINES_FINE_UNIT_BYTES);
    lines_init(&memory->coarse, &memory->pages, LINES_COARSE_UNIT_BYTES);
    return memory;
}

void memory_destroy(struct memory *memory)
{
    if (memory == NULL)
        return;
    pages_fini(&memory->pages);
    free(memory);
}

void memory_prepare_ahead(struct memory *memory, void (*taken)(void *arg), void *arg)
{
    memory->pages.taken_arg = arg;
    memory->pages.taken = taken;
}

void memory_prepare(struct memory *memory, unsigned numa_node)
{
    pages_prepare(&memory->pages, numa_node);
}

int64_t memory_used_bytes(const struct memory *memory)
{
    return atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
}

void memory_add_parts(const struct memory *memory, struct memory_parts *parts)
{
    parts->malloc_bytes += atomic_load_explicit(&memory->malloc_bytes, memory_order_relaxed);
    parts->mapped_bytes += atomic_load_explicit(&memory->mapped_bytes, memory_order_relaxed);
    parts->line_bytes += atomic_load_explicit(&memory->line_bytes, memory_order_relaxed);
}

size_t memory_page_bytes(const struct memory *memory, size_t *spare_bytes)
{
    *spare_bytes = memory->pages.spare_count * MEMORY_PAGE_BYTES;
    return memory->pages.used_count * MEMORY_PAGE_BYTES;
}

size_t memory_mapped_bytes(const struct memory *memory)
{
    return memory->pages.region_count * MEMORY_REGION_BYTES;
}

void memory_fail_nth(struct memory *memory, uint64_t nth)
{
    memory->fail_nth = nth;
}

#ifdef POLLUX_ASAN

/* ---- every block for itself ---- */

static void count_malloc(struct memory *memory, int64_t bytes)
{
    count(memory, bytes);
    add(&memory->malloc_bytes, bytes);
}

size_t memory_usable(size_t size_bytes)
{
    return size_bytes;
}

void *memory_alloc(struct memory *memory, size_t size_bytes)
{
    /* ASan ends the program where malloc would return NULL. */
    const size_t most = (size_t)1 << 36;
    void *block = fails(memory) || size_bytes > most ? NULL : malloc(size_bytes);

    if (block != NULL)
        count_malloc(memory, (int64_t)size_bytes);
    return block;
}

void *memory_alloc_zero(struct memory *memory, size_t size_bytes)
{
    void *block = memory_alloc(memory, size_bytes);

    return block != NULL ? memset(block, 0, size_bytes) : NULL;
}

void memory_free(struct memory *memory, void *block, size_t size_bytes)
{
    if (block == NULL)
        return;
    count_malloc(memory, -(int64_t)size_bytes);
    free(block);
}

void *memory_alloc_lines(struct memory *memory, size_t size_bytes)
{
    void *block = fails(memory) ? NULL : aligned_alloc(MEMORY_LINE_BYTES, size_bytes);

    if (block == NULL)
        return NULL;
    count_malloc(memory, (int64_t)size_bytes);
    add(&memory->line_bytes, (int64_t)size_bytes);
    return memset(block, 0, size_bytes);
}

void memory_free_lines(struct memory *memory, void *block, size_t size_bytes)
{
    if (block != NULL)
        add(&memory->line_bytes, -(int64_t)size_bytes);
    memory_free(memory, block, size_bytes);
}

void memory_discard_lines(void *block, size_t size_bytes, size_t was_bytes, size_t dead_bytes)
{
    assert(was_bytes <= dead_bytes && dead_bytes <= size_bytes);
}

void *memory_pack_lines(struct memory *memory, void *block, size_t size_bytes)
{
    bool may_move = size_bytes <= LINES_FINE_MAX_BYTES;
    void *better = may_move ? memory_alloc_lines(memory, size_bytes) : NULL;

    if (better == NULL)
        return NULL;
    memcpy(better, block, size_bytes);
    memory_free_lines(memory, block, size_bytes);
    return better;
}

void memory_collect(struct memory *memory)
{
    (void)memory;
}

static void *resize_in_place(void *block, size_t old_bytes, size_t new_bytes)
{
    return old_bytes == new_bytes ? block : NULL;
}

static void count_resized(struct memory *memory, size_t old_bytes, size_t new_bytes)
{
    assert(old_bytes == new_bytes);
}

static size_t dirty_end(size_t old_bytes, size_t new_bytes)
{
    return new_bytes;
}

#else

/* ---- slabs ---- */

static unsigned class_of(size_t size_bytes)
{
    return size_bytes <= MEMORY_SLAB_MIN_BYTES
               ? MEMORY_SLAB_MIN_BYTES / MEMORY_STEP_BYTES
               : (unsigned)((size_bytes + MEMORY_STEP_BYTES - 1) / MEMORY_STEP_BYTES);
}

static bool slab_has_room(const struct page *page)
{
    return page->slab.freed != NULL ||
           page->slab.fresh_bytes + page->slab.block_bytes <= MEMORY_PAGE_BYTES;
}

static void slab_list(struct memory *memory, struct page *page)
{
    struct page **head = &memory->classes[page->slab.block_bytes / MEMORY_STEP_BYTES];

    page->previous = NULL;
    page->next = *head;
    if (page->next != NULL)
        page->next->previous = page;
    *head = page;
}

static void slab_unlist(struct memory *memory, struct page *page)
{
    if (page->previous != NULL)
        page->previous->next = page->next;
    else
        memory->classes[page->slab.block_bytes / MEMORY_STEP_BYTES] = page->next;
    if (page->next != NULL)
        page->next->previous = page->previous;
}

static void *slab_take(struct memory *memory, struct page *page)
{
    void *block = page->slab.freed;

    if (block != NULL) {
        memcpy(&page->slab.freed, block, sizeof(page->slab.freed));
    } else {
        block = (char *)page + page->slab.fresh_bytes;
        page->slab.fresh_bytes += page->slab.block_bytes;
    }
    page->slab.used++;
    if (!slab_has_room(page))
        slab_unlist(memory, page);
    return block;
}

static void slab_give(struct memory *memory, struct page *page, void *block)
{
    bool was_full = !slab_has_room(page);

    assert(page->slab.used > 0);
    memcpy(block, &page->slab.freed, sizeof(page->slab.freed));
    page->slab.freed = block;
    page->slab.used--;
    if (was_full)
        slab_list(memory, page);
    /* The last page of a class stays: one block that comes and goes must not cost a page each
     * time. */
    if (page->slab.used == 0 && (page->next != NULL || page->previous != NULL)) {
        slab_unlist(memory, page);
        pages_put(&memory->pages, page);
    }
}

/* Blocks of another worker travel home on a stack that many push to and one, the owner, takes
 * whole: the release of the push and the acquire of the taking order the block's bytes. */
static void send_home(struct memory *home, void *block, size_t size_bytes)
{
    struct homing *homing = block;

    homing->size_bytes = size_bytes;
    homing->next = atomic_load_explicit(&home->homing, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&home->homing, &homing->next, homing,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

/* The allocator of line blocks of this size; NULL: they are too long, or odd, for both. */
static struct lines *lines_for(struct memory *memory, size_t size_bytes)
{
    if (size_bytes <= LINES_FINE_MAX_BYTES)
        return &memory->fine;
    if (size_bytes <= LINES_COARSE_MAX_BYTES && size_bytes % LINES_COARSE_UNIT_BYTES == 0)
        return &memory->coarse;
    return NULL;
}

static void put_away(struct memory *memory, void *block, size_t size_bytes)
{
    struct page *page = pages_of(block);

    if (page->unit_bytes != 0)
        lines_free(lines_for(memory, size_bytes), block, size_bytes);
    else
        slab_give(memory, page, block);
}

static void collect_blocks(struct memory *memory)
{
    for (unsigned i = 0; i < MEMORY_COLLECT_BLOCKS; i++) {
        if (memory->arrived == NULL) {
            if (atomic_load_explicit(&memory->homing, memory_order_relaxed) == NULL)
                return;
            memory->arrived = atomic_exchange_explicit(&memory->homing, NULL, memory_order_acquire);
        }

        struct homing *homing = memory->arrived;

        memory->arrived = homing->next;
        put_away(memory, homing, homing->size_bytes);
    }
}

void memory_collect(struct memory *memory)
{
    collect_blocks(memory);
    pages_trim(&memory->pages);
}

static struct page *slab_refill(struct memory *memory, unsigned class)
{
    collect_blocks(memory);
    if (memory->classes[class] != NULL)
        return memory->classes[class];

    struct page *page = pages_get(&memory->pages);

    if (page == NULL)
        return NULL;
    page->slab.block_bytes = class * MEMORY_STEP_BYTES;
    page->slab.fresh_bytes = MEMORY_LINE_BYTES;
    slab_list(memory, page);
    return page;
}

/* ---- long blocks ---- */

/* No huge pages are asked for: a first touch would clear 2 MiB, which has been seen to take 6 ms
 * on a virtual machine. */

static size_t map_size(size_t size_bytes)
{
    return (size_bytes + MEMORY_MAP_STEP_BYTES - 1) & ~(size_t)(MEMORY_MAP_STEP_BYTES - 1);
}

static void *map_alloc(size_t size_bytes)
{
    void *block = mmap(NULL, map_size(size_bytes), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return block != MAP_FAILED ? block : NULL;
}

static void *map_resize(void *block, size_t old_bytes, size_t new_bytes)
{
    void *moved = mremap(block, map_size(old_bytes), map_size(new_bytes), MREMAP_MAYMOVE);

    return moved != MAP_FAILED ? moved : NULL;
}

size_t memory_usable(size_t size_bytes)
{
    if (size_bytes <= MEMORY_SLAB_MAX_BYTES)
        return (size_t)class_of(size_bytes) * MEMORY_STEP_BYTES;
    if (size_bytes > MEMORY_MALLOC_MAX_BYTES)
        return map_size(size_bytes);
#ifdef POLLUX_JEMALLOC
    return nallocx(size_bytes, 0);
#else
    return size_bytes;
#endif
}

/* ---- the interface ---- */

/* Of a block that is too long for the slabs. */
static void count_long(struct memory *memory, size_t size_bytes, int64_t change_bytes)
{
    count(memory, change_bytes);
    add(size_bytes > MEMORY_MALLOC_MAX_BYTES ? &memory->mapped_bytes : &memory->malloc_bytes,
        change_bytes);
}

static void *long_alloc(struct memory *memory, size_t size_bytes, bool zero)
{
    void *block;

    /* Past this no machine has the memory, and the sums here would wrap. */
    if (size_bytes > PTRDIFF_MAX - MEMORY_MAP_STEP_BYTES)
        return NULL;
    if (size_bytes > MEMORY_MALLOC_MAX_BYTES) {
        block = map_alloc(size_bytes);
    } else {
        block = zero ? calloc(1, size_bytes) : malloc(size_bytes);
    }
    if (block != NULL)
        count_long(memory, size_bytes, (int64_t)memory_usable(size_bytes));
    return block;
}

void *memory_alloc(struct memory *memory, size_t size_bytes)
{
    if (fails(memory))
        return NULL;
    if (size_bytes > MEMORY_SLAB_MAX_BYTES)
        return long_alloc(memory, size_bytes, false);

    unsigned class = class_of(size_bytes);
    struct page *page = memory->classes[class];

    if (page == NULL && (page = slab_refill(memory, class)) == NULL)
        return NULL;
    count(memory, (int64_t) class * MEMORY_STEP_BYTES);
    return slab_take(memory, page);
}

void *memory_alloc_zero(struct memory *memory, size_t size_bytes)
{
    if (size_bytes > MEMORY_SLAB_MAX_BYTES)
        return fails(memory) ? NULL : long_alloc(memory, size_bytes, true);

    void *block = memory_alloc(memory, size_bytes);

    return block != NULL ? memset(block, 0, size_bytes) : NULL;
}

void memory_free(struct memory *memory, void *block, size_t size_bytes)
{
    if (block == NULL)
        return;
    if (size_bytes > MEMORY_SLAB_MAX_BYTES) {
        count_long(memory, size_bytes, -(int64_t)memory_usable(size_bytes));
        if (size_bytes > MEMORY_MALLOC_MAX_BYTES)
            munmap(block, map_size(size_bytes));
        else
            free(block);
        return;
    }
    count(memory, -(int64_t)memory_usable(size_bytes));

    struct page *page = pages_of(block);

    assert(page->slab.block_bytes == class_of(size_bytes) * MEMORY_STEP_BYTES);
    if (page->owner == memory)
        slab_give(memory, page, block);
    else
        send_home(page->owner, block, size_bytes);
}

static bool lines_mapped(size_t size_bytes)
{
    return size_bytes > MEMORY_LINES_MALLOC_MAX_BYTES;
}

static size_t lines_usable(struct memory *memory, size_t size_bytes)
{
    if (lines_for(memory, size_bytes) != NULL)
        return size_bytes;
    return lines_mapped(size_bytes) ? map_size(size_bytes) : memory_usable(size_bytes);
}

static void count_lines(struct memory *memory, size_t size_bytes, int64_t change_bytes)
{
    count(memory, change_bytes);
    add(&memory->line_bytes, change_bytes);
    if (lines_mapped(size_bytes))
        add(&memory->mapped_bytes, change_bytes);
    else if (lines_for(memory, size_bytes) == NULL)
        add(&memory->malloc_bytes, change_bytes);
}

void *memory_alloc_lines(struct memory *memory, size_t size_bytes)
{
    struct lines *lines = lines_for(memory, size_bytes);
    void *block;

    assert(size_bytes > 0 && size_bytes % MEMORY_LINE_BYTES == 0);
    if (fails(memory))
        return NULL;
    if (lines_mapped(size_bytes)) {
        block = map_alloc(size_bytes);
    } else {
        block = lines != NULL ? lines_alloc(lines, size_bytes)
                              : aligned_alloc(MEMORY_LINE_BYTES, size_bytes);
        if (block != NULL)
            memset(block, 0, size_bytes);
    }
    if (block != NULL)
        count_lines(memory, size_bytes, (int64_t)lines_usable(memory, size_bytes));
    return block;
}

void memory_free_lines(struct memory *memory, void *block, size_t size_bytes)
{
    struct lines *lines = lines_for(memory, size_bytes);

    if (block == NULL)
        return;
    count_lines(memory, size_bytes, -(int64_t)lines_usable(memory, size_bytes));
    if (lines_mapped(size_bytes)) {
        munmap(block, map_size(size_bytes));
    } else if (lines == NULL) {
        free(block);
    } else {
        struct memory *owner = pages_of(block)->owner;

        if (owner == memory)
            lines_free(lines, block, size_bytes);
        else
            send_home(owner, block, size_bytes);
    }
}

void memory_discard_lines(void *block, size_t size_bytes, size_t was_bytes, size_t dead_bytes)
{
    /* In strides: one call to the kernel for each page would cost more than it frees. */
    size_t from = was_bytes / MEMORY_DISCARD_BYTES * MEMORY_DISCARD_BYTES;
    size_t to = dead_bytes / MEMORY_DISCARD_BYTES * MEMORY_DISCARD_BYTES;

    assert(was_bytes <= dead_bytes && dead_bytes <= size_bytes);
    if (lines_mapped(size_bytes) && to > from)
        madvise((char *)block + from, to - from, MADV_DONTNEED);
}

void *memory_pack_lines(struct memory *memory, void *block, size_t size_bytes)
{
    struct lines *lines = lines_for(memory, size_bytes);

    if (lines == NULL || pages_of(block)->owner != memory)
        return NULL;

    void *better = lines_better(lines, block, size_bytes);

    if (better == NULL)
        return NULL;
    memcpy(better, block, size_bytes);
    lines_free(lines, block, size_bytes);
    return better;
}

/* NULL: no such way, the block must move. */
static void *resize_in_place(void *block, size_t old_bytes, size_t new_bytes)
{
    if (memory_usable(old_bytes) == memory_usable(new_bytes))
        return block;
    if (old_bytes > MEMORY_MALLOC_MAX_BYTES && new_bytes > MEMORY_MALLOC_MAX_BYTES)
        return map_resize(block, old_bytes, new_bytes);
    if (old_bytes > MEMORY_SLAB_MAX_BYTES && new_bytes > MEMORY_SLAB_MAX_BYTES &&
        old_bytes <= MEMORY_MALLOC_MAX_BYTES && new_bytes <= MEMORY_MALLOC_MAX_BYTES)
        return realloc(block, new_bytes);
    return NULL;
}

static void count_resized(struct memory *memory, size_t old_bytes, size_t new_bytes)
{
    int64_t change_bytes = (int64_t)memory_usable(new_bytes) - (int64_t)memory_usable(old_bytes);

    if (change_bytes != 0) /* then it is a long one, of the same kind as before */
        count_long(memory, new_bytes, change_bytes);
}

/* How far a block that grew may hold other bytes than zero: what a mapping gained is fresh from
 * the kernel. */
static size_t dirty_end(size_t old_bytes, size_t new_bytes)
{
    if (new_bytes <= MEMORY_MALLOC_MAX_BYTES)
        return new_bytes;
    if (old_bytes <= MEMORY_MALLOC_MAX_BYTES)
        return old_bytes;
    return map_size(old_bytes) < new_bytes ? map_size(old_bytes) : new_bytes;
}

#endif

/* ---- resizing ---- */

static void *resize(struct memory *memory, void *block, size_t old_bytes, size_t new_bytes,
                    bool zero)
{
    if (block == NULL)
        return zero ? memory_alloc_zero(memory, new_bytes) : memory_alloc(memory, new_bytes);
    if (memory_usable(old_bytes) != memory_usable(new_bytes) && fails(memory))
        return NULL;

    void *moved = resize_in_place(block, old_bytes, new_bytes);

    if (moved != NULL) {
        count_resized(memory, old_bytes, new_bytes);
    } else {
        uint64_t armed = memory->fail_nth;

        memory->fail_nth = 0; /* this allocation has been counted above */
        moved = memory_alloc(memory, new_bytes);
        memory->fail_nth = armed;
        if (moved == NULL)
            return NULL;
        memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
        memory_free(memory, block, old_bytes);
    }
    if (zero && new_bytes > old_bytes)
        memset((char *)moved + old_bytes, 0, dirty_end(old_bytes, new_bytes) - old_bytes);
    return moved;
}

void *memory_resize(struct memory *memory, void *block, size_t old_bytes, size_t new_bytes)
{
    return resize(memory, block, old_bytes, new_bytes, false);
}

void *memory_resize_zero(struct memory *memory, void *block, size_t old_bytes, size_t new_bytes)
{
    return resize(memory, block, old_bytes, new_bytes, true);
}
