/* Frames that the port cuts: which segments go together. What the peer gets is the business of
 * tests/net: run_scripts -o, run_pipe -e. */
#include <criterion/criterion.h>

#include "dataplane/net/tso.h"
#include "dataplane/net/wire.h"
#include "tests/unit/net/lone_port.h"

enum { MSS = 1000, FIRST_SEQ = 0xfffff000u, PARTS = 5, ETHERNET_TO_TCP = 54 };

struct world {
    struct lone_port port;
    struct sendpool pool;
    struct sendqueue queue;
    struct tso tso;
    unsigned holds;
};

static struct world world;

static void hold(struct packet_port *base, struct packet *packet)
{
    world.holds++;
}

static unsigned available(const struct packet_port *base)
{
    const struct lone_port *port = (const struct lone_port *)base;

    return port->room - port->live;
}

static void begin(void)
{
    static struct packet_port_ops ops;

    memset(&world, 0, sizeof world);
    lone_port_init(&world.port);
    ops = *world.port.base.ops;
    ops.hold = hold;
    ops.available = available;
    world.port.base.ops = &ops;
    world.port.base.tso = (struct packet_tso_limits){.v4 = true,
                                                     .parts = PARTS,
                                                     .bytes = PACKET_TSO_BYTES_MAX,
                                                     .cut_len = 1514};
    world.pool.port = &world.port.base;
    sendqueue_init(&world.queue, FIRST_SEQ);
}

static void end(void)
{
    while (world.queue.head != NULL) {
        struct packet *packet = world.queue.head;

        world.queue.head = packet->next;
        packet_release(&world.port.base, packet);
    }
    if (world.tso.frame != NULL)
        packet_release(&world.port.base, world.tso.frame);
    cr_assert_eq(world.port.live, 0);
}

TestSuite(tso, .init = begin, .fini = end);

static struct packet *segment(uint32_t len)
{
    struct packet *packet = packet_alloc(&world.port.base);

    packet->len = (uint16_t)len;
    packet->more_len = 0;
    sendqueue_push(&world.queue, packet);
    return packet;
}

static bool joins(uint32_t len, uint8_t flags, uint8_t tos)
{
    return tso_join(&world.tso, &world.pool, &world.queue, segment(len), flags, tos);
}

Test(tso, a_frame_has_its_parts_in_order)
{
    struct packet *first = segment(MSS), *frame, *part = first;
    const struct packet_tso *list;

    tso_begin(&world.tso, first, 2);
    cr_assert(joins(MSS, TCP_ACK, 2));
    cr_assert_null(world.tso.frame, "two go by themselves");
    cr_assert(joins(MSS, TCP_ACK, 2));
    cr_assert_not_null(world.tso.frame);
    cr_assert(joins(300, TCP_ACK | TCP_PSH, 2));
    cr_assert_eq(world.tso.flags, TCP_ACK | TCP_PSH);
    frame = tso_take(&world.tso, &world.port.base, 32);
    cr_assert_null(world.tso.first);
    cr_assert_null(world.tso.frame);
    cr_assert_eq(packet_bytes(frame), 3 * MSS + 300);
    list = packet_tso(frame);
    cr_assert_eq((uintptr_t)list % _Alignof(struct packet_tso), 0);
    cr_assert_eq(list->segment, MSS);
    cr_assert_eq(list->l4_len, 32);
    cr_assert_eq(list->count, 4);
    for (unsigned i = 0; i < 4; i++, part = part->next) {
        cr_assert_eq(list->parts[i].packet, part);
        cr_assert_eq(list->parts[i].data, part->data);
        cr_assert_eq(list->parts[i].len, i < 3 ? MSS : 300u);
    }
    cr_assert_eq(world.holds, 4);
    packet_release(&world.port.base, frame);
}

Test(tso, a_short_segment_is_the_last)
{
    tso_begin(&world.tso, segment(MSS), 0);
    cr_assert(joins(MSS - 1, TCP_ACK, 0));
    cr_assert_not(joins(MSS - 1, TCP_ACK, 0));
    cr_assert_not(joins(1, TCP_ACK, 0));
    cr_assert_eq(world.tso.count, 2);
}

Test(tso, push_and_fin_are_the_last)
{
    static const uint8_t lasts[] = {TCP_PSH, TCP_FIN, TCP_PSH | TCP_FIN};

    for (unsigned i = 0; i < sizeof lasts; i++) {
        world.tso = (struct tso){.first = NULL};
        tso_begin(&world.tso, segment(MSS), 0);
        cr_assert(joins(MSS, TCP_ACK | lasts[i], 0));
        cr_assert_not(joins(MSS, TCP_ACK, 0));
    }
}

Test(tso, what_differs_stays_out)
{
    tso_begin(&world.tso, segment(MSS), WIRE_ECN_ECT0);
    cr_assert_not(joins(MSS + 1, TCP_ACK, WIRE_ECN_ECT0), "longer");
    cr_assert_not(joins(MSS, TCP_ACK, WIRE_ECN_NONE), "another mark");
    cr_assert_not(joins(MSS, TCP_ACK | TCP_CWR, WIRE_ECN_ECT0), "CWR");
    cr_assert_not(joins(MSS, TCP_ACK | TCP_ECE, WIRE_ECN_ECT0), "ECE");
    cr_assert_not(joins(0, TCP_ACK | TCP_FIN, WIRE_ECN_ECT0), "FIN alone");
    cr_assert_eq(world.tso.count, 1);
    cr_assert(joins(MSS, TCP_ACK, WIRE_ECN_ECT0));
}

Test(tso, a_frame_has_no_more_parts_than_the_port_takes)
{
    tso_begin(&world.tso, segment(MSS), 0);
    for (unsigned i = 1; i < PARTS; i++)
        cr_assert(joins(MSS, TCP_ACK, 0));
    cr_assert_not(joins(MSS, TCP_ACK, 0));
    cr_assert_eq(world.tso.count, PARTS);
}

Test(tso, a_frame_has_no_more_bytes_than_the_port_takes)
{
    world.port.base.tso.bytes = 3 * MSS + 10;
    tso_begin(&world.tso, segment(MSS), 0);
    cr_assert(joins(MSS, TCP_ACK, 0));
    cr_assert(joins(MSS, TCP_ACK, 0));
    cr_assert_not(joins(11, TCP_ACK, 0));
    cr_assert(joins(10, TCP_ACK, 0));
}

Test(tso, without_a_packet_for_the_headers_there_is_no_frame)
{
    tso_begin(&world.tso, segment(MSS), 0);
    cr_assert(joins(MSS, TCP_ACK, 0));
    world.port.room = world.port.live + 1; /* for the segment */
    cr_assert_not(joins(MSS, TCP_ACK, 0));
    cr_assert_eq(world.tso.count, 2);
    cr_assert_null(world.tso.frame);
}

Test(tso, what_may_begin_a_frame)
{
    const struct packet_port *port = &world.port.base;

    cr_assert(tso_fits(port, true, 1514 - ETHERNET_TO_TCP, ETHERNET_TO_TCP));
    cr_assert_not(tso_fits(port, true, 1515 - ETHERNET_TO_TCP, ETHERNET_TO_TCP));
    cr_assert_not(tso_fits(port, false, MSS, ETHERNET_TO_TCP), "a family that it does not cut");
    cr_assert(tso_fits(port, true, PACKET_TSO_SEGMENT_MIN, ETHERNET_TO_TCP));
    cr_assert_not(tso_fits(port, true, PACKET_TSO_SEGMENT_MIN - 1, ETHERNET_TO_TCP));
    world.port.base.tso = (struct packet_tso_limits){.v4 = false};
    cr_assert_not(tso_fits(port, true, MSS, ETHERNET_TO_TCP));
}

/* A frame that cannot be sent goes back whole. */
static unsigned released;

static void count_release(struct packet_port *base, struct packet *packet)
{
    released++;
}

Test(tso, a_dropped_frame_gives_back_its_parts)
{
    struct packet_port_ops ops = *world.port.base.ops;
    struct packet *frame;

    tso_begin(&world.tso, segment(MSS), 0);
    cr_assert(joins(MSS, TCP_ACK, 0));
    cr_assert(joins(MSS, TCP_ACK, 0));
    frame = tso_take(&world.tso, &world.port.base, 20);
    frame->flags = PACKET_TX_TSO;
    ops.release = count_release;
    struct packet_port port = {.ops = &ops};
    packet_release_frame(&port, frame);
    cr_assert_eq(released, 4);
    packet_release(&world.port.base, frame);
}
