#include "dataplane/store/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "drivers/cpu.h"

struct pages_region {
    struct pages_region *next, *previous;
    struct pages_region **list; /* the head of the list it is in */
    char *base;
    uint32_t free;  /* a bit for each page nobody uses */
    uint32_t clean; /* of those: holds no memory of the machine */
};

enum {
    REGION_ALL_FREE = -1,
    PAGES_TOUCH_BYTES = 4096, /* no machine has smaller pages */
};
_Static_assert(PAGES_PER_REGION == 32, "a region's pages are the bits of one word");

static void region_move(struct pages_region *region, struct pages_region **list)
{
    if (region->list == list)
        return;
    if (region->list != NULL) {
        if (region->previous != NULL)
            region->previous->next = region->next;
        else
            *region->list = region->next;
        if (region->next != NULL)
            region->next->previous = region->previous;
    }
    region->list = list;
    region->previous = NULL;
    region->next = NULL;
    if (list == NULL)
        return;
    region->next = *list;
    if (region->next != NULL)
        region->next->previous = region;
    *list = region;
}

/* Puts the region where its free pages say. */
static void region_file(struct pages *pages, struct pages_region *region)
{
    if (region->free == 0)
        region_move(region, &pages->full);
    else if (region->free == (uint32_t)REGION_ALL_FREE)
        region_move(region, &pages->idle);
    else
        region_move(region, &pages->open);
}

static char *map_region(void)
{
    const size_t size = MEMORY_REGION_BYTES;
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *base = mmap(NULL, size, protection, flags, -1, 0);

    if (base == MAP_FAILED)
        return NULL;
    if (((uintptr_t)base & (size - 1)) == 0)
        return base;
    /* The kernel maps downwards, so once one region is aligned the next ones are at the first
     * try. */
    munmap(base, size);
    base = mmap(NULL, 2 * size, protection, flags, -1, 0);
    if (base == MAP_FAILED)
        return NULL;

    size_t head = (size - ((uintptr_t)base & (size - 1))) & (size - 1);

    if (head > 0)
        munmap(base, head);
    munmap(base + head + size, size - head);
    return base + head;
}

static struct pages_region *region_map(void)
{
    struct pages_region *region = calloc(1, sizeof(*region));

    if (region == NULL)
        return NULL;
    region->base = map_region();
    if (region->base == NULL) {
        free(region);
        return NULL;
    }
    region->free = (uint32_t)REGION_ALL_FREE;
    region->clean = (uint32_t)REGION_ALL_FREE;
    return region;
}

static struct pages_region *region_create(struct pages *pages)
{
    struct pages_region *region =
        atomic_exchange_explicit(&pages->ahead, NULL, memory_order_acquire);

    if (region == NULL && (region = region_map()) == NULL)
        return NULL;
    if (pages->taken != NULL)
        pages->taken(pages->taken_arg);
    pages->region_count++;
    region_file(pages, region);
    return region;
}

static void region_destroy(struct pages *pages, struct pages_region *region)
{
    region_move(region, NULL);
    munmap(region->base, MEMORY_REGION_BYTES);
    free(region);
    pages->region_count--;
}

void pages_init(struct pages *pages, struct memory *owner)
{
    memset(pages, 0, sizeof(*pages));
    pages->owner = owner;
}

void pages_fini(struct pages *pages)
{
    struct pages_region **lists[] = {&pages->open, &pages->idle, &pages->full};

    struct pages_region *ahead = atomic_load_explicit(&pages->ahead, memory_order_acquire);

    if (ahead != NULL) {
        munmap(ahead->base, MEMORY_REGION_BYTES);
        free(ahead);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        while (*lists[i] != NULL)
            region_destroy(pages, *lists[i]);
}

void pages_prepare(struct pages *pages, unsigned numa_node)
{
    struct pages_region *region;

    if (atomic_load_explicit(&pages->ahead, memory_order_relaxed) != NULL ||
        (region = region_map()) == NULL)
        return;
    cpu_place_memory(region->base, MEMORY_REGION_BYTES, numa_node);
    for (size_t at = 0; at < MEMORY_REGION_BYTES; at += PAGES_TOUCH_BYTES)
        *(volatile char *)(region->base + at) = 0;
    atomic_store_explicit(&pages->ahead, region, memory_order_release);
}

struct page *pages_get(struct pages *pages)
{
    struct pages_region *region = pages->open != NULL ? pages->open : pages->idle;

    if (region == NULL && (region = region_create(pages)) == NULL)
        return NULL;

    uint32_t warm = region->free & ~region->clean;
    unsigned index = (unsigned)__builtin_ctz(warm != 0 ? warm : region->free);
    uint32_t bit = 1u << index;
    struct page *page = (struct page *)(region->base + (size_t)index * MEMORY_PAGE_BYTES);

    if (warm != 0)
        pages->spare_count--;
    pages->used_count++;
    region->free &= ~bit;
    region->clean &= ~bit;
    region_file(pages, region);
    memset(page, 0, sizeof(*page));
    page->owner = pages->owner;
    page->region = region;
    return page;
}

void pages_put(struct pages *pages, struct page *page)
{
    struct pages_region *region = page->region;
    size_t index = (size_t)((char *)page - region->base) / MEMORY_PAGE_BYTES;

    assert(index < PAGES_PER_REGION && (region->free >> index & 1) == 0);
    region->free |= 1u << index;
    pages->used_count--;
    pages->spare_count++;
    region_file(pages, region);
}

bool pages_trim(struct pages *pages)
{
    if (pages->spare_count <= MEMORY_SPARE_PAGES + pages->used_count / 8)
        return false;
    if (pages->idle != NULL) {
        uint32_t warm = ~pages->idle->clean;

        pages->spare_count -= (unsigned)__builtin_popcount(warm);
        region_destroy(pages, pages->idle);
        return true;
    }
    for (struct pages_region *region = pages->open; region != NULL; region = region->next) {
        uint32_t warm = region->free & ~region->clean;

        if (warm == 0)
            continue;

        unsigned index = (unsigned)__builtin_ctz(warm);

        madvise(region->base + (size_t)index * MEMORY_PAGE_BYTES, MEMORY_PAGE_BYTES, MADV_DONTNEED);
        region->clean |= 1u << index;
        pages->spare_count--;
        return true;
    }
    return false;
}
