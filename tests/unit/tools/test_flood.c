#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <string.h>

#include "dataplane/net/checksum.h"
#include "tests/unit/net/lone_port.h"
#include "tools/pollux-bench/flood.h"

enum { SECOND_NS = 1000000000 };

/* A device that keeps the last frame and counts the rest; `arriving` is received once. */
struct device {
    struct lone_port lone; /* first */
    struct packet_port_ops ops;
    uint8_t last[64];
    unsigned sent, taken_max;
    struct packet *arriving;
};

static unsigned device_transmit(struct packet_port *port, struct packet *const *packets,
                                unsigned count)
{
    struct device *device = (struct device *)port;
    unsigned taken = count < device->taken_max ? count : device->taken_max;

    for (unsigned i = 0; i < taken; i++) {
        memcpy(device->last, packets[i]->data, packets[i]->len);
        cr_assert_eq(packets[i]->len, 60);
        lone_release(port, packets[i]);
    }
    device->sent += taken;
    return taken;
}

static unsigned device_receive(struct packet_port *port, struct packet **packets, unsigned max)
{
    struct device *device = (struct device *)port;

    if (device->arriving == NULL || max == 0)
        return 0;
    packets[0] = device->arriving;
    device->arriving = NULL;
    return 1;
}

static void device_init(struct device *device, struct flood *flood, double rate)
{
    memset(device, 0, sizeof(*device));
    lone_port_init(&device->lone);
    device->ops = *device->lone.base.ops;
    device->ops.transmit = device_transmit;
    device->ops.receive = device_receive;
    device->lone.base.ops = &device->ops;
    device->taken_max = 64;
    flood_init(flood, &device->lone.base, rate, htonl(0x0a090001), 6379, 5);
}

/* A frame of the server's to `to`; whether the flood passes it on. */
static bool arrives(struct device *device, struct flood *flood, uint32_t to)
{
    static const uint8_t server[6] = {2, 0, 0, 0, 0, 9};
    struct packet *packet = lone_alloc(&device->lone.base), *got[4];
    uint16_t type = htons(0x0800);

    to = htonl(to);
    packet->len = 60;
    memcpy(packet->data + 6, server, 6);
    memcpy(packet->data + 12, &type, 2);
    memcpy(packet->data + 30, &to, 4);
    device->arriving = packet;
    if (packet_receive(&flood->port, got, 4) == 0)
        return false;
    packet_release(&flood->port, got[0]);
    return true;
}

Test(flood, begins_only_after_a_frame_of_the_server)
{
    struct device device;
    struct flood flood;

    device_init(&device, &flood, 1000);
    flood_turn(&flood, SECOND_NS);
    flood_turn(&flood, 2ULL * SECOND_NS);
    cr_assert_eq(device.sent, 0);
    cr_assert(arrives(&device, &flood, 0x0a090002));
    flood_turn(&flood, 2ULL * SECOND_NS + FLOOD_DELAY_NS - 1);
    cr_assert_eq(device.sent, 0);
    flood_turn(&flood, 2ULL * SECOND_NS + FLOOD_DELAY_NS + SECOND_NS / 100);
    cr_assert_eq(device.sent, 10);
    cr_assert_eq(device.lone.live, 0);
}

Test(flood, keeps_its_rate_and_leaves_out_what_it_missed)
{
    struct device device;
    struct flood flood;

    device_init(&device, &flood, 100000);
    cr_assert(arrives(&device, &flood, 0x0a090002));
    for (uint64_t now_ns = 0; now_ns <= SECOND_NS; now_ns += 100000)
        flood_turn(&flood, FLOOD_DELAY_NS + now_ns);
    cr_assert_eq(device.sent, 100000);
    cr_assert_float_eq(flood_rate(&flood), 100000, 1);
    for (int turn = 0; turn < 1000; turn++)
        flood_turn(&flood, FLOOD_DELAY_NS + 2ULL * SECOND_NS);
    cr_assert_eq(device.sent, 100000 + FLOOD_BEHIND_MAX);
}

Test(flood, gives_back_what_the_device_does_not_take)
{
    struct device device;
    struct flood flood;

    device_init(&device, &flood, 1000000);
    cr_assert(arrives(&device, &flood, 0x0a090002));
    device.taken_max = 3;
    flood_turn(&flood, FLOOD_DELAY_NS + SECOND_NS);
    cr_assert_eq(flood.sent, 3);
    cr_assert_eq(device.lone.live, 0);
    device.lone.room = 2;
    flood_turn(&flood, FLOOD_DELAY_NS + 2ULL * SECOND_NS);
    cr_assert_eq(flood.sent, 5);
}

Test(flood, its_frames_are_valid_syns)
{
    static const uint8_t head[] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0, 0x45};
    struct device device;
    struct flood flood;

    device_init(&device, &flood, 1000);
    cr_assert(arrives(&device, &flood, 0x0a090002));
    flood_turn(&flood, FLOOD_DELAY_NS + SECOND_NS / 500);
    cr_assert_eq(device.sent, 2);
    const uint8_t *ip = device.last + 14, *tcp = ip + 20;
    struct net_address from = net_address_v4(ip + 12), to = net_address_v4(ip + 16);
    cr_assert_arr_eq(device.last, head, sizeof(head));
    cr_assert_eq(ip[12], 198);
    cr_assert_eq(ip[13] & ~1, 18);
    cr_assert_eq(checksum_fold(checksum_sum(ip, 20)), 0xffff);
    cr_assert_eq(checksum_fold(
                     checksum_add(checksum_pseudo4(&from, &to, 6, 24), checksum_sum(tcp, 24))),
                 0xffff);
    cr_assert_eq(tcp[2] << 8 | tcp[3], 6379);
    cr_assert_eq(tcp[13], 0x02);
}

Test(flood, keeps_answers_from_the_stack)
{
    struct device device;
    struct flood flood;

    device_init(&device, &flood, 1000);
    cr_assert(arrives(&device, &flood, 0x0a090002));
    cr_assert_not(arrives(&device, &flood, 0xc6120000));
    cr_assert_not(arrives(&device, &flood, 0xc613ffff));
    cr_assert(arrives(&device, &flood, 0xc6140000));
    cr_assert(arrives(&device, &flood, 0xc611ffff));
    cr_assert_eq(device.lone.live, 0);
}
