#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/transmit.h"

static void put(struct transmit_pool *pool, struct transmit *queue, const char *text)
{
    size_t room;
    char *memory = transmit_reserve(pool, queue, strlen(text), &room);

    cr_assert_not_null(memory);
    cr_assert_geq(room, strlen(text));
    memcpy(memory, text, strlen(text));
    transmit_commit(queue, strlen(text));
}

/* Takes `len_bytes` off the queue and compares them. */
static void expect(struct transmit_pool *pool, struct transmit *queue, const char *text)
{
    struct iovec parts[16];
    char got[256];
    size_t got_bytes = 0;
    unsigned count = transmit_next(queue, parts, 16);

    for (unsigned i = 0; i < count; i++) {
        cr_assert_leq(got_bytes + parts[i].iov_len, sizeof got);
        memcpy(got + got_bytes, parts[i].iov_base, parts[i].iov_len);
        got_bytes += parts[i].iov_len;
    }
    cr_assert_geq(got_bytes, strlen(text));
    cr_assert_arr_eq(got, text, strlen(text));
    transmit_sent(pool, queue, strlen(text));
}

static void count_release(void *arg)
{
    (*(unsigned *)arg)++;
}

Test(transmit, keeps_order_and_releases_each_piece_when_it_is_sent)
{
    struct transmit_pool pool;
    struct transmit queue = {NULL, NULL};
    unsigned released = 0;

    transmit_pool_init(&pool);
    put(&pool, &queue, "one ");
    put(&pool, &queue, "two ");
    cr_assert_eq(transmit_append(&pool, &queue, "three ", 6, count_release, &released), 0);
    put(&pool, &queue, "four ");
    cr_assert_eq(transmit_append(&pool, &queue, "five", 4, NULL, NULL), 0);
    expect(&pool, &queue, "one tw");
    expect(&pool, &queue, "o thre");
    cr_assert_eq(released, 0);
    expect(&pool, &queue, "e ");
    cr_assert_eq(released, 1);
    put(&pool, &queue, " six");
    expect(&pool, &queue, "four five six");
    cr_assert_null(queue.head);
    cr_assert_null(queue.tail);
    transmit_pool_fini(&pool);
}

Test(transmit, gives_room_that_was_asked_for)
{
    struct transmit_pool pool;
    struct transmit queue = {NULL, NULL};
    size_t room;

    transmit_pool_init(&pool);
    for (size_t wanted = 0; wanted <= TRANSMIT_LARGE_BYTES; wanted += 97) {
        char *memory = transmit_reserve(&pool, &queue, wanted, &room);
        cr_assert_not_null(memory);
        cr_assert_geq(room, wanted);
        cr_assert_gt(room, 0);
        memset(memory, 'x', room);
        transmit_commit(&queue, wanted % 3 == 0 ? wanted : 0);
    }
    cr_assert_not_null(transmit_reserve(&pool, &queue, TRANSMIT_LARGE_BYTES, &room));
    transmit_drop(&pool, &queue);
    transmit_pool_fini(&pool);
}

Test(transmit, owns_nothing_once_empty)
{
    struct transmit_pool pool;
    struct transmit queue = {NULL, NULL};
    size_t room;

    transmit_pool_init(&pool);
    cr_assert_not_null(transmit_reserve(&pool, &queue, 100, &room));
    cr_assert_not_null(transmit_reserve(&pool, &queue, TRANSMIT_LARGE_BYTES, &room));
    transmit_sent(&pool, &queue, 0);
    cr_assert_null(queue.head);
    put(&pool, &queue, "x");
    expect(&pool, &queue, "x");
    cr_assert_null(queue.head);
    transmit_pool_fini(&pool);
}

Test(transmit, drops_and_releases)
{
    struct transmit_pool pool;
    struct transmit queue = {NULL, NULL};
    unsigned released = 0;

    transmit_pool_init(&pool);
    for (int i = 0; i < 1000; i++) {
        put(&pool, &queue, "x");
        cr_assert_eq(transmit_append(&pool, &queue, "y", 1, count_release, &released), 0);
    }
    expect(&pool, &queue, "xyxyx");
    cr_assert_eq(released, 2);
    transmit_drop(&pool, &queue);
    cr_assert_eq(released, 1000);
    cr_assert_leq(pool.small.count, TRANSMIT_SPARE_SMALL);
    cr_assert_leq(pool.large.count, TRANSMIT_SPARE_LARGE);
    cr_assert_leq(pool.adopted.count, TRANSMIT_SPARE_ADOPTED);
    transmit_pool_fini(&pool);
}
