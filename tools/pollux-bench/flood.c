#include "tools/pollux-bench/flood.h"

#include <arpa/inet.h>
#include <string.h>

#include "dataplane/net/checksum.h"

enum {
    FLOOD_ETHERTYPE_IPV4 = 0x0800,
    FLOOD_TCP_LEN = 24, /* with the option of the segment size */
    FLOOD_FRAME_LEN = 60,
    FLOOD_PROTOCOL_TCP = 6,
};

struct flood_ethernet {
    uint8_t to[6];
    uint8_t from[6];
    uint16_t type;
} __attribute__((packed));

/* RFC 791 section 3.1 */
struct flood_ip {
    uint8_t version_and_words;
    uint8_t service;
    uint16_t len;
    uint16_t id;
    uint16_t fragment;
    uint8_t ttl;
    uint8_t protocol;
    uint16_t checksum;
    uint32_t from;
    uint32_t to;
} __attribute__((packed));

/* RFC 9293 section 3.1 */
struct flood_tcp {
    uint16_t from;
    uint16_t to;
    uint32_t seq;
    uint32_t ack;
    uint16_t words_and_flags;
    uint16_t window;
    uint16_t checksum;
    uint16_t urgent;
    uint8_t options[4];
} __attribute__((packed));

struct flood_frame {
    struct flood_ethernet ethernet;
    struct flood_ip ip;
    struct flood_tcp tcp;
} __attribute__((packed));

static struct flood *flood_of(struct packet_port *port)
{
    return (struct flood *)port;
}

static bool is_answer_to_flood(const struct packet *packet)
{
    const struct flood_frame *frame = (const struct flood_frame *)packet->data;

    return packet->len >= sizeof(frame->ethernet) + sizeof(frame->ip) &&
           frame->ethernet.type == htons(FLOOD_ETHERTYPE_IPV4) &&
           (ntohl(frame->ip.to) & ~(uint32_t)FLOOD_SOURCE_MASK) == FLOOD_SOURCE_NET;
}

static unsigned flood_receive(struct packet_port *port, struct packet **packets, unsigned max)
{
    struct flood *flood = flood_of(port);
    unsigned got = packet_receive(flood->device, packets, max), kept = 0;

    for (unsigned i = 0; i < got; i++) {
        if (flood->start_ns == 0 && packets[i]->len >= sizeof(struct flood_ethernet)) {
            memcpy(flood->peer, ((struct flood_ethernet *)packets[i]->data)->from, 6);
            flood->start_ns = flood->now_ns + FLOOD_DELAY_NS;
        }
        if (is_answer_to_flood(packets[i]))
            packet_release(flood->device, packets[i]);
        else
            packets[kept++] = packets[i];
    }
    return kept;
}

static unsigned flood_transmit(struct packet_port *port, struct packet *const *packets,
                               unsigned count)
{
    return packet_transmit(flood_of(port)->device, packets, count);
}

static struct packet *flood_alloc(struct packet_port *port)
{
    return packet_alloc(flood_of(port)->device);
}

static void flood_hold(struct packet_port *port, struct packet *packet)
{
    packet_hold(flood_of(port)->device, packet);
}

static void flood_release(struct packet_port *port, struct packet *packet)
{
    packet_release(flood_of(port)->device, packet);
}

static unsigned flood_available(const struct packet_port *port)
{
    return packet_available(((const struct flood *)port)->device);
}

void flood_init(struct flood *flood, struct packet_port *device, double rate, uint32_t to,
                uint16_t to_port, uint64_t seed)
{
    *flood = (struct flood){.port = *device,
                            .device = device,
                            .rate = rate,
                            .to = to,
                            .to_port = to_port,
                            .random = seed | 1};
    flood->ops = (struct packet_port_ops){.receive = flood_receive,
                                          .transmit = flood_transmit,
                                          .alloc = flood_alloc,
                                          .hold = flood_hold,
                                          .release = flood_release,
                                          .shared = device->ops->shared,
                                          .available = flood_available};
    flood->port.ops = &flood->ops;
}

/* xorshift64: addresses and ports only have to differ. */
static uint64_t flood_random(struct flood *flood)
{
    flood->random ^= flood->random << 13;
    flood->random ^= flood->random >> 7;
    flood->random ^= flood->random << 17;
    return flood->random;
}

static void flood_write(struct flood *flood, struct packet *packet)
{
    struct flood_frame *frame = (struct flood_frame *)packet->data;
    uint64_t random = flood_random(flood);

    memset(packet->data, 0, FLOOD_FRAME_LEN);
    packet->len = FLOOD_FRAME_LEN;
    memcpy(frame->ethernet.to, flood->peer, 6);
    memcpy(frame->ethernet.from, flood->device->mac, 6);
    frame->ethernet.type = htons(FLOOD_ETHERTYPE_IPV4);
    frame->ip =
        (struct flood_ip){.version_and_words = 0x45,
                          .len = htons(sizeof(frame->ip) + FLOOD_TCP_LEN),
                          .fragment = htons(0x4000),
                          .ttl = 64,
                          .protocol = FLOOD_PROTOCOL_TCP,
                          .from = htonl(FLOOD_SOURCE_NET | ((uint32_t)random & FLOOD_SOURCE_MASK)),
                          .to = flood->to};
    frame->ip.checksum = checksum_finish(checksum_sum(&frame->ip, sizeof(frame->ip)));
    frame->tcp = (struct flood_tcp){.from = (uint16_t)(random >> 32 | 0x0400),
                                    .to = htons(flood->to_port),
                                    .seq = (uint32_t)(random >> 24),
                                    .words_and_flags = htons(FLOOD_TCP_LEN / 4 << 12 | 0x02),
                                    .window = htons(64240),
                                    .options = {2, 4, 1460 >> 8, 1460 & 0xff}};
    struct net_address from = net_address_v4(&frame->ip.from), to = net_address_v4(&frame->ip.to);
    frame->tcp.checksum = checksum_finish(
        checksum_add(checksum_pseudo4(&from, &to, FLOOD_PROTOCOL_TCP, FLOOD_TCP_LEN),
                     checksum_sum(&frame->tcp, FLOOD_TCP_LEN)));
}

void flood_turn(struct flood *flood, uint64_t now_ns)
{
    struct packet *packets[FLOOD_BURST];
    unsigned count = 0;

    flood->now_ns = now_ns;
    if (flood->start_ns == 0 || now_ns < flood->start_ns)
        return;
    uint64_t wanted = (uint64_t)((double)(now_ns - flood->start_ns) / 1e9 * flood->rate);
    if (wanted - flood->due > FLOOD_BEHIND_MAX)
        flood->due = wanted - FLOOD_BEHIND_MAX;
    while (count < FLOOD_BURST && flood->due < wanted) {
        packets[count] = packet_alloc(flood->device);
        if (packets[count] == NULL)
            break;
        flood_write(flood, packets[count++]);
        flood->due++;
    }
    unsigned taken = count > 0 ? packet_transmit(flood->device, packets, count) : 0;
    for (unsigned i = taken; i < count; i++)
        packet_release(flood->device, packets[i]);
    flood->sent += taken;
}

double flood_rate(const struct flood *flood)
{
    if (flood->sent == 0 || flood->now_ns <= flood->start_ns)
        return 0;
    return (double)flood->sent / ((double)(flood->now_ns - flood->start_ns) / 1e9);
}
