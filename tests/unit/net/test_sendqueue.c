#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "dataplane/net/sendqueue.h"
#include "tests/unit/net/lone_port.h"

enum { MSS = 1000, FIRST_SEQ = 0xffffff00u };

struct world {
    struct lone_port port;
    struct sendpool pool;
    struct sendqueue queue;
    unsigned released;
};

static bool never_shared(const struct packet *packet)
{
    return false;
}

static unsigned available(const struct packet_port *base)
{
    const struct lone_port *port = (const struct lone_port *)base;

    return port->room - port->live;
}

static void begin(struct world *world)
{
    static struct packet_port_ops ops;

    memset(world, 0, sizeof *world);
    lone_port_init(&world->port);
    ops = *world->port.base.ops;
    ops.shared = never_shared;
    ops.available = available;
    world->port.base.ops = &ops;
    world->pool.port = &world->port.base;
    sendqueue_init(&world->queue, FIRST_SEQ);
}

static void count_release(void *arg)
{
    struct world *world = arg;

    world->released++;
}

/* As output does it, but for the headers. */
static struct packet *sent(struct world *world)
{
    struct packet *packet = world->queue.unsent;

    packet->sends = 1;
    world->queue.unsent = packet->next;
    return packet;
}

Test(sendqueue, copies_fill_segments_and_sequence_numbers_wrap)
{
    static struct world world;
    uint8_t bytes[2500];

    begin(&world);
    memset(bytes, 7, sizeof bytes);
    cr_assert_eq(sendqueue_copy(&world.pool, &world.queue, bytes, 300, MSS), 300);
    cr_assert_eq(sendqueue_copy(&world.pool, &world.queue, bytes, sizeof bytes, MSS), 2500);
    cr_assert_eq(world.queue.packets, 3);
    cr_assert_eq(world.queue.head->seg_len, MSS);
    cr_assert_eq(world.queue.head->next->seq, (uint32_t)(FIRST_SEQ + MSS));
    cr_assert_eq(world.queue.end_seq, (uint32_t)(FIRST_SEQ + 2800));
    sendqueue_fini(&world.pool, &world.queue);
    cr_assert_eq(world.port.live, 0);
}

Test(sendqueue, pinned_memory_is_released_with_its_last_segment)
{
    static struct world world;
    static uint8_t bytes[SENDQUEUE_PINNED_MIN];
    enum { PART = SENDQUEUE_PINNED_MIN / 16 };
    uint32_t una = FIRST_SEQ;

    begin(&world);
    cr_assert_eq(sendqueue_append(&world.pool, &world.queue, bytes, sizeof bytes, count_release,
                                  &world),
                 0);
    while (sendqueue_advance(&world.pool, &world.queue, PART) == 0)
        sent(&world);
    cr_assert_eq(world.queue.packets, 16);
    cr_assert_eq(world.queue.head->more, bytes);
    for (unsigned i = 0; i < 16; i++) {
        cr_assert_eq(world.released, 0);
        una += PART;
        cr_assert_eq(sendqueue_acked(&world.pool, &world.queue, una), PART);
    }
    cr_assert_eq(world.released, 1);
    cr_assert_eq(world.port.live, 0);
}

Test(sendqueue, small_pieces_share_a_segment_whatever_is_in_flight)
{
    static struct world world;
    static uint8_t bytes[SENDQUEUE_PACKET_BYTES_MAX + 2000];

    begin(&world);
    world.port.room = 1000;
    sendqueue_append(&world.pool, &world.queue, bytes, sizeof bytes, NULL, NULL);
    while (sendqueue_advance(&world.pool, &world.queue, 1500) == 0)
        sent(&world);
    sendqueue_append(&world.pool, &world.queue, bytes, 10, count_release, &world);
    sendqueue_append(&world.pool, &world.queue, bytes, 20, count_release, &world);
    cr_assert_eq(sendqueue_advance(&world.pool, &world.queue, MSS), 0);
    cr_assert_eq(world.released, 2);
    cr_assert_eq(world.queue.unsent->seg_len, 30);
    sendqueue_fini(&world.pool, &world.queue);
    cr_assert_eq(world.port.live, 0);
}

Test(sendqueue, a_split_keeps_bytes_fin_and_order)
{
    static struct world world;
    uint8_t bytes[100];

    begin(&world);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    sendqueue_copy(&world.pool, &world.queue, bytes, sizeof bytes, MSS);
    cr_assert_eq(sendqueue_fin(&world.pool, &world.queue), 0);
    struct packet *first = world.queue.head;
    cr_assert_eq(sendqueue_split(&world.pool, &world.queue, first, 40), 0);
    cr_assert_eq(first->seg_len, 40);
    cr_assert_eq(first->next->seq, (uint32_t)(FIRST_SEQ + 40));
    cr_assert_eq(first->next->seg_len, 61);
    cr_assert_eq(segment_payload(first->next), 60);
    cr_assert_eq(memcmp(segment_data(first->next), bytes + 40, 60), 0);
    cr_assert_eq(world.queue.tail, first->next);
    sendqueue_fini(&world.pool, &world.queue);
    cr_assert_eq(world.port.live, 0);
}

Test(sendqueue, small_copies_that_wait_share_memory)
{
    static struct world world;
    uint8_t bytes[100] = {1};

    begin(&world);
    for (unsigned i = 0; i < 50; i++)
        cr_assert_eq(sendqueue_append_copy(&world.pool, &world.queue, bytes, sizeof bytes), 0);
    cr_assert_eq(world.pool.pieces, 1);
    cr_assert_eq(world.queue.piece->len, 5000);
    sendqueue_fini(&world.pool, &world.queue);
    cr_assert_eq(world.pool.pieces, 0);
}

Test(sendqueue, a_queue_gets_its_share_of_the_pool_and_no_more)
{
    static struct world world;
    uint8_t byte = 1;
    unsigned taken = 0;

    begin(&world);
    while (taken < 100 && sendqueue_copy(&world.pool, &world.queue, &byte, 1, 1) == 1)
        taken++;
    cr_assert_geq(taken, SENDQUEUE_PACKETS_SURE);
    cr_assert_leq(taken, 64 / 2);
    cr_assert_eq(sendqueue_append_copy(&world.pool, &world.queue, &byte, 1), 0);
    cr_assert_eq(sendqueue_advance(&world.pool, &world.queue, 1), -ENOMEM);
    sendqueue_fini(&world.pool, &world.queue);
    cr_assert_eq(world.port.live, 0);
}

Test(sendqueue, dropping_what_was_not_sent_keeps_what_was)
{
    static struct world world;
    uint8_t bytes[1500] = {1};

    begin(&world);
    sendqueue_copy(&world.pool, &world.queue, bytes, sizeof bytes, MSS);
    sent(&world);
    sendqueue_drop_unsent(&world.pool, &world.queue);
    cr_assert_eq(world.queue.packets, 1);
    cr_assert_eq(world.queue.end_seq, (uint32_t)(FIRST_SEQ + MSS));
    cr_assert_eq(world.queue.packet_bytes, MSS);
    sendqueue_fini(&world.pool, &world.queue);
    cr_assert_eq(world.port.live, 0);
}
