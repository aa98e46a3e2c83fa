#include "dataplane/store/memory.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/dataplane/seed.h"

enum {
    BLOCKS = 3000,
};

struct block {
    uint8_t *data;
    size_t size;
    uint8_t fill;
    bool lines;
};

static size_t any_size(struct seed *seed)
{
    switch (seed_below(seed, 8)) {
    case 0:
        return 1 + seed_below(seed, 5000);
    case 1:
        return 1 + seed_below(seed, 300000);
    case 2:
        return seed_below(seed, 20) == 0 ? 1 + seed_below(seed, 6 << 20) : 40;
    default:
        return 1 + seed_below(seed, 600);
    }
}

static bool is_filled(const uint8_t *data, size_t from, size_t to, uint8_t with)
{
    for (size_t i = from; i < to; i++)
        if (data[i] != with)
            return false;
    return true;
}

static bool block_intact(const struct block *block, size_t bytes)
{
    return is_filled(block->data, 0, bytes, block->fill);
}

static void block_new(struct memory *memory, struct seed *seed, struct block *block)
{
    bool zero = true;

    block->size = any_size(seed);
    block->fill = (uint8_t)(1 + seed_below(seed, 255));
    block->lines = seed_below(seed, 3) == 0;
    if (block->lines) {
        size_t unit = seed_below(seed, 4) == 0 ? 1024 : 64;

        block->size = (block->size + unit - 1) / unit * unit;
        block->data = memory_alloc_lines(memory, block->size);
    } else if (seed_below(seed, 2) == 0) {
        block->data = memory_alloc_zero(memory, block->size);
    } else {
        block->data = memory_alloc(memory, block->size);
        zero = false;
    }
    cr_assert_not_null(block->data);
    cr_assert_eq((uintptr_t)block->data % (block->lines ? 64 : 8), 0);
    if (zero)
        cr_assert(is_filled(block->data, 0, block->size, 0), "size %zu", block->size);
    memset(block->data, block->fill, block->size);
}

static void block_resize(struct memory *memory, struct seed *seed, struct block *block)
{
    size_t size = seed_below(seed, 2) == 0 ? any_size(seed) : block->size + seed_below(seed, 40);
    bool zero = seed_below(seed, 2) == 0;
    size_t kept = size < block->size ? size : block->size;
    uint8_t *data = zero ? memory_resize_zero(memory, block->data, block->size, size)
                         : memory_resize(memory, block->data, block->size, size);

    cr_assert_not_null(data);
    block->data = data;
    cr_assert(block_intact(block, kept), "from %zu to %zu", block->size, size);
    if (zero && size > kept)
        cr_assert(is_filled(data, kept, size, 0), "from %zu to %zu", block->size, size);
    block->size = size;
    memset(data, block->fill, size);
}

static void block_pack(struct memory *memory, struct block *block)
{
    uint8_t *data = memory_pack_lines(memory, block->data, block->size);

    if (data != NULL)
        block->data = data;
    cr_assert_eq((uintptr_t)block->data % 64, 0);
    cr_assert(block_intact(block, block->size));
}

static void block_free(struct memory *memory, struct block *block)
{
    cr_assert(block_intact(block, block->size), "size %zu", block->size);
    if (block->lines)
        memory_free_lines(memory, block->data, block->size);
    else
        memory_free(memory, block->data, block->size);
    block->data = NULL;
}

Test(memory, blocks_keep_their_bytes_whatever_happens_to_others)
{
    struct seed seed = seed_new(1);
    struct memory *memory = memory_create();
    static struct block blocks[BLOCKS];

    for (int round = 0; round < 40000; round++) {
        struct block *block = &blocks[seed_below(&seed, BLOCKS)];

        if (block->data == NULL)
            block_new(memory, &seed, block);
        else if (block->lines && seed_below(&seed, 2) == 0)
            block_pack(memory, block);
        else if (!block->lines && seed_below(&seed, 2) == 0)
            block_resize(memory, &seed, block);
        else
            block_free(memory, block);
        if (round % 64 == 0)
            memory_collect(memory);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].data != NULL)
            block_free(memory, &blocks[i]);
    cr_assert_eq(memory_used_bytes(memory), 0, "seed %lu", seed.start);
    memory_destroy(memory);
}

#ifndef POLLUX_ASAN
Test(memory, sizes_are_rounded_up_to_steps_of_eight)
{
    cr_assert_eq(memory_usable(0), 16);
    cr_assert_eq(memory_usable(1), 16);
    cr_assert_eq(memory_usable(17), 24);
    cr_assert_eq(memory_usable(48), 48);
    cr_assert_eq(memory_usable(49), 56);
    cr_assert_eq(memory_usable(512), 512);
    cr_assert_eq(memory_usable((2 << 20) + 1), (2 << 20) + 4096);
}

Test(memory, a_class_is_its_own_class)
{
    /* String blocks rely on it: they are freed by what they can hold. */
    for (size_t size = 0; size < 3 << 20; size = size < 5000 ? size + 1 : size + 777)
        cr_assert_eq(memory_usable(memory_usable(size)), memory_usable(size), "size %zu", size);
    for (int edge = -2; edge <= 2; edge++) {
        size_t size = (size_t)(MEMORY_MALLOC_MAX_BYTES + edge);

        cr_assert_eq(memory_usable(memory_usable(size)), memory_usable(size));
        cr_assert_eq(memory_usable(size) > MEMORY_MALLOC_MAX_BYTES, edge > 0);
    }
}

Test(memory, resizing_within_a_class_stays_in_place)
{
    struct memory *memory = memory_create();
    void *block = memory_alloc(memory, 41);

    cr_assert_eq(memory_resize(memory, block, 41, 48), block);
    cr_assert_eq(memory_resize(memory, block, 48, 42), block);
    cr_assert_eq(memory_used_bytes(memory), 48);
    memory_free(memory, block, 42);
    memory_destroy(memory);
}

Test(memory, empty_pages_go_back_to_the_machine)
{
    enum { COUNT = 1 << 20 };
    struct memory *memory = memory_create();
    void **blocks = malloc(COUNT * sizeof(*blocks));
    size_t most;

    for (int i = 0; i < COUNT; i++)
        blocks[i] = memory_alloc(memory, 48);
    most = memory_mapped_bytes(memory);
    cr_assert_geq(most, (size_t)COUNT * 48);
    cr_assert_leq(most, (size_t)COUNT * 48 + 3 * MEMORY_REGION_BYTES);
    for (int i = 0; i < COUNT; i++)
        memory_free(memory, blocks[i], 48);
    cr_assert_eq(memory_mapped_bytes(memory), most, "freeing itself calls nobody");
    for (int i = 0; i < 100; i++)
        memory_collect(memory);
    cr_assert_leq(memory_mapped_bytes(memory),
                  MEMORY_SPARE_PAGES * (size_t)MEMORY_PAGE_BYTES + MEMORY_REGION_BYTES);
    free(blocks);
    memory_destroy(memory);
}

Test(memory, holes_between_line_blocks_are_used_for_other_sizes)
{
    enum { COUNT = 4096 };
    struct memory *memory = memory_create();
    static void *blocks[COUNT];
    size_t before;

    for (int i = 0; i < COUNT; i++)
        blocks[i] = memory_alloc_lines(memory, 8 * 64);
    before = memory_mapped_bytes(memory);
    for (int i = 0; i < COUNT; i++) {
        memory_free_lines(memory, blocks[i], 8 * 64);
        blocks[i] = NULL;
    }
    for (int i = 0; i < COUNT / 2; i++)
        blocks[i] = memory_alloc_lines(memory, 16 * 64);
    cr_assert_leq(memory_mapped_bytes(memory), before);
    for (int i = 0; i < COUNT / 2; i++)
        memory_free_lines(memory, blocks[i], 16 * 64);
    memory_destroy(memory);
}
#endif

Test(memory, the_nth_allocation_fails_on_demand)
{
    struct memory *memory = memory_create();
    void *first, *third, *block = memory_alloc(memory, 100);

    memory_fail_nth(memory, 2);
    first = memory_alloc(memory, 10);
    cr_assert_not_null(first);
    cr_assert_null(memory_alloc_lines(memory, 64));
    third = memory_alloc(memory, 10);
    cr_assert_not_null(third);
    memory_fail_nth(memory, 1);
    cr_assert_null(memory_resize(memory, block, 100, 200));
    memory_fail_nth(memory, 1);
    cr_assert_null(memory_alloc_zero(memory, 4000));
    memory_free(memory, first, 10);
    memory_free(memory, third, 10);
    memory_free(memory, block, 100);
    memory_free(memory, NULL, 5);
    memory_free_lines(memory, NULL, 64);
    cr_assert_eq(memory_used_bytes(memory), 0);
    memory_destroy(memory);
}

Test(memory, more_than_any_machine_has_is_refused)
{
    struct memory *memory = memory_create();
    uint8_t *block = memory_alloc(memory, 600);

    cr_assert_null(memory_alloc(memory, SIZE_MAX));
    cr_assert_null(memory_alloc_zero(memory, SIZE_MAX - 100));
    cr_assert_null(memory_alloc(memory, (size_t)1 << 60));
    memset(block, 7, 600);
    cr_assert_null(memory_resize(memory, block, 600, (size_t)1 << 60));
    cr_assert_eq(block[599], 7);
    memory_free(memory, block, 600);
    cr_assert_eq(memory_used_bytes(memory), 0);
    memory_destroy(memory);
}

static size_t lines_size(int i)
{
    return i % 8 == 0 ? 1024 * (size_t)(5 + i % 50) : 64 * (size_t)(1 + i % 64);
}

Test(memory, a_block_freed_by_another_worker_goes_home)
{
    enum { COUNT = 5000 };
    struct memory *home = memory_create(), *other = memory_create();
    static void *blocks[COUNT], *lines[COUNT];

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = memory_alloc(home, 16 + (size_t)(i % 60) * 8);
            lines[i] = memory_alloc_lines(home, lines_size(i));
        }
        for (int i = 0; i < COUNT; i++) {
            memory_free(other, blocks[i], 16 + (size_t)(i % 60) * 8);
            memory_free_lines(other, lines[i], lines_size(i));
        }
        cr_assert_eq(memory_used_bytes(home) + memory_used_bytes(other), 0);
        for (int i = 0; i < 2 * COUNT / MEMORY_COLLECT_BLOCKS + 1; i++)
            memory_collect(home);
        /* 30 MB each round: they were used again. */
        cr_assert_leq(memory_mapped_bytes(home), 50u << 20);
        cr_assert_eq(memory_mapped_bytes(other), 0);
    }
    memory_destroy(home);
    memory_destroy(other);
}
