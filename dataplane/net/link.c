#include "dataplane/net/link.h"

#include <assert.h>
#include <errno.h>

enum { SECOND_US = 1000000 };

static const uint8_t broadcast_mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t nobody_mac[6];
/* ff02::1, all nodes of the link. */
static const struct net_address all_nodes = {
    .bytes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

bool link_bucket_take(struct link_bucket *bucket, uint64_t now_us)
{
    uint32_t burst = bucket->per_s / 10 + 1;
    uint64_t passed_us = now_us - bucket->filled_us;

    if (bucket->filled_us == 0 || passed_us >= SECOND_US) {
        bucket->tokens = burst;
        bucket->filled_us = now_us;
    } else {
        uint64_t earned = passed_us * bucket->per_s / SECOND_US;
        if (earned > 0) {
            /* Only the time that made whole tokens is spent: the rest counts next time. */
            bucket->filled_us += earned * SECOND_US / bucket->per_s;
            bucket->tokens =
                earned + bucket->tokens > burst ? burst : bucket->tokens + (uint32_t)earned;
        }
    }
    if (bucket->tokens == 0)
        return false;
    bucket->tokens--;
    return true;
}

static unsigned family(const struct net_address *address)
{
    return net_address_is_v4(address) ? 0 : 1;
}

int net_link_init(struct net_link *link, const struct net_link_options *options)
{
    *link = (struct net_link){.port = options->port,
                              .vlan = options->vlan,
                              .kernel = options->kernel,
                              .bucket = {.per_s = LINK_ANSWERS_PER_S}};
    if (options->address_count > LINK_ADDRESSES_MAX)
        return -E2BIG;
    for (unsigned i = 0; i < options->address_count; i++) {
        const struct net_prefix *prefix = &options->addresses[i];
        if (!net_address_is_unicast(&prefix->address) ||
            net_address_is_broadcast(&prefix->address, prefix))
            return -EINVAL;
        link->addresses[link->address_count++] = *prefix;
    }
    for (unsigned i = 0; i < options->gateway_count; i++) {
        const struct net_address *gateway = &options->gateways[i];
        unsigned kind = family(gateway);
        if (!net_address_is_unicast(gateway) || net_link_is_ours(link, gateway))
            return -EINVAL;
        if (!link->has_gateway[kind]) {
            link->has_gateway[kind] = true;
            link->gateway[kind] = *gateway;
        }
    }
    return 0;
}

bool net_link_is_ours(const struct net_link *link, const struct net_address *address)
{
    for (unsigned i = 0; i < link->address_count; i++)
        if (net_address_equal(&link->addresses[i].address, address))
            return true;
    return false;
}

bool net_link_may_be_host(const struct net_link *link, const struct net_address *address)
{
    if (!net_address_is_unicast(address))
        return false;
    for (unsigned i = 0; i < link->address_count; i++)
        if (net_address_is_broadcast(address, &link->addresses[i]))
            return false;
    return true;
}

const struct net_address *net_link_source(const struct net_link *link, const struct net_address *to)
{
    const struct net_address *any = NULL;

    for (unsigned i = 0; i < link->address_count; i++) {
        const struct net_prefix *own = &link->addresses[i];
        if (family(&own->address) != family(to))
            continue;
        if (net_address_in(to, own))
            return &own->address;
        if (any == NULL)
            any = &own->address;
    }
    return any;
}

const struct net_address *net_link_next_hop(const struct net_link *link,
                                            const struct net_address *to)
{
    for (unsigned i = 0; i < link->address_count; i++)
        if (net_address_in(to, &link->addresses[i]))
            return to;
    if (net_address_is_link_local(to) && !net_address_is_v4(to))
        return to;
    return link->has_gateway[family(to)] ? &link->gateway[family(to)] : NULL;
}

/* ---- neighbours ---- */

static struct link_neighbour *set_of(struct net_link *link, const struct net_address *address)
{
    uint32_t mix =
        address->words[3] ^ address->words[2] * 31 ^ address->words[1] * 17 ^ address->words[0];

    /* Neighbours share a prefix; the constant (2^32 over the golden ratio) spreads the rest. */
    mix *= UINT32_C(2654435769);
    return &link->neighbours[(mix >> 24) % (LINK_NEIGHBOURS / LINK_WAYS) * LINK_WAYS];
}

static struct link_neighbour *find(struct net_link *link, const struct net_address *address)
{
    struct link_neighbour *set = set_of(link, address);

    for (unsigned i = 0; i < LINK_WAYS; i++)
        if (set[i].used && net_address_equal(&set[i].address, address))
            return &set[i];
    return NULL;
}

/* The place of `address`; a new one takes that of whom we had least to do with lately. */
static struct link_neighbour *place(struct net_link *link, const struct net_address *address)
{
    struct link_neighbour *set = set_of(link, address), *oldest = &set[0];
    struct link_neighbour *known = find(link, address);

    if (known != NULL)
        return known;
    for (unsigned i = 0; i < LINK_WAYS; i++) {
        uint64_t last_us = set[i].heard_us > set[i].asked_us ? set[i].heard_us : set[i].asked_us;
        uint64_t oldest_us =
            oldest->heard_us > oldest->asked_us ? oldest->heard_us : oldest->asked_us;
        if (!set[i].used) {
            oldest = &set[i];
            break;
        }
        if (last_us < oldest_us)
            oldest = &set[i];
    }
    *oldest = (struct link_neighbour){.address = *address, .used = true};
    return oldest;
}

static bool is_station(const uint8_t mac[6])
{
    return (mac[0] & 1) == 0 && memcmp(mac, nobody_mac, 6) != 0;
}

/* `asked_us`: this neighbour turned to us or answers us, so it may have a new entry. */
static void learn(struct net_link *link, const struct net_address *address, const uint8_t mac[6],
                  uint16_t vlan, bool may_enter, uint64_t now_us)
{
    struct link_neighbour *neighbour = find(link, address);

    if (!is_station(mac) || !net_address_is_unicast(address))
        return;
    if (neighbour == NULL && !may_enter)
        return;
    if (neighbour == NULL)
        neighbour = place(link, address);
    if (neighbour->heard_us == 0 || memcmp(neighbour->mac, mac, 6) != 0)
        link_count(&link->counters.learned);
    memcpy(neighbour->mac, mac, 6);
    neighbour->vlan = vlan;
    neighbour->heard_us = now_us != 0 ? now_us : 1;
    neighbour->tries = 0;
}

/* ---- frames of ours ---- */

/* `data` of the new packet lies behind the headroom: there is room for `bytes` from there on. */
static struct packet *begin(struct net_link *link, size_t bytes)
{
    struct packet *packet = bytes > link->port->room ? NULL : packet_alloc(link->port);

    if (packet == NULL) {
        link_count(&link->counters.no_packet);
        return NULL;
    }
    packet->len = (uint16_t)bytes;
    return packet;
}

static struct packet *arp_packet(struct net_link *link, const uint8_t to[6], uint16_t vlan,
                                 const struct wire_arp *arp)
{
    unsigned l2 = WIRE_ETHERNET_LEN + (vlan != WIRE_NO_VLAN ? WIRE_VLAN_LEN : 0);
    struct packet *packet = begin(link, l2 + WIRE_ARP_LEN);

    if (packet == NULL)
        return NULL;
    wire_write_ethernet(packet->data, to, link->port->mac, vlan, WIRE_ARP);
    wire_write_arp(packet->data + l2, arp);
    return packet;
}

struct packet *net_link_packet(struct net_link *link, const uint8_t mac[6], uint16_t vlan,
                               const struct net_address *source,
                               const struct net_address *destination, uint8_t protocol,
                               uint8_t hops, uint32_t len, uint8_t **body)
{
    bool v4 = net_address_is_v4(source);
    unsigned l2 = WIRE_ETHERNET_LEN + (vlan != WIRE_NO_VLAN ? WIRE_VLAN_LEN : 0);
    unsigned l3 = v4 ? WIRE_IPV4_LEN : WIRE_IPV6_LEN;

    if (len > link->port->room || l3 + len > link->port->mtu)
        return NULL;
    struct packet *packet = begin(link, (size_t)l2 + l3 + len);
    if (packet == NULL)
        return NULL;
    wire_write_ethernet(packet->data, mac, link->port->mac, vlan, v4 ? WIRE_IPV4 : WIRE_IPV6);
    wire_write_ip(packet->data + l2, source, destination, protocol, 0, hops, len);
    *body = packet->data + l2 + l3;
    return packet;
}

static struct packet *ndp_packet(struct net_link *link, const uint8_t mac[6], uint16_t vlan,
                                 const struct net_address *source,
                                 const struct net_address *destination, const struct wire_ndp *ndp)
{
    uint8_t message[WIRE_NDP_LEN_MAX], *body;
    unsigned len = wire_write_ndp(message, ndp);
    uint16_t checksum;
    struct packet *packet =
        net_link_packet(link, mac, vlan, source, destination, WIRE_ICMPV6, 255, len, &body);

    if (packet == NULL)
        return NULL;
    checksum =
        checksum_finish(checksum_add(checksum_sum(message, len),
                                     checksum_pseudo(source, destination, WIRE_ICMPV6, len)));
    memcpy(message + 2, &checksum, sizeof checksum);
    memcpy(body, message, len);
    return packet;
}

/* ---- received ---- */

static bool may_answer(struct net_link *link, uint64_t now_us)
{
    if (link_bucket_take(&link->bucket, now_us))
        return true;
    link_count(&link->counters.limited);
    return false;
}

static struct packet *counted(struct net_link *link, struct packet *answer)
{
    if (answer != NULL)
        link_count(&link->counters.answers);
    return answer;
}

static struct packet *arp_input(struct net_link *link, const struct frame *frame, uint64_t now_us)
{
    struct wire_arp arp;

    if (!wire_parse_arp(frame, &arp)) {
        link_count(&link->counters.ignored);
        return NULL;
    }
    if (net_link_is_ours(link, &arp.sender)) {
        if (memcmp(arp.sender_mac, link->port->mac, 6) != 0)
            link_count(&link->counters.conflicts);
        return NULL;
    }
    bool for_us = net_link_is_ours(link, &arp.target);
    /* RFC 826, "Packet Reception": who talks to us is remembered, others only brought up to date.
     * A reply that nobody asked for is for us as well, so it counts as a claim alone. */
    learn(link, &arp.sender, arp.sender_mac, frame->vlan,
          for_us && arp.operation == WIRE_ARP_REQUEST, now_us);
    if (!for_us || arp.operation != WIRE_ARP_REQUEST || !is_station(arp.sender_mac))
        return NULL;
    link_count(&link->counters.arp_requests);
    if (!may_answer(link, now_us))
        return NULL;
    struct wire_arp reply = {.operation = WIRE_ARP_REPLY,
                             .sender = arp.target,
                             .target = arp.sender};
    memcpy(reply.sender_mac, link->port->mac, 6);
    memcpy(reply.target_mac, arp.sender_mac, 6);
    return counted(link, arp_packet(link, arp.sender_mac, frame->vlan, &reply));
}

static struct packet *solicited(struct net_link *link, const struct frame *frame,
                                const struct wire_ndp *ndp, uint64_t now_us)
{
    const struct net_address *from = &frame->flow.remote;
    bool detecting = net_address_is_unspecified(from); /* duplicates: RFC 4862 section 5.4 */
    const uint8_t *mac = ndp->has_mac ? ndp->mac : frame_source_mac(frame);
    uint8_t group[6];

    if (!net_link_is_ours(link, &ndp->target)) {
        link_count(&link->counters.ignored);
        return NULL;
    }
    link_count(&link->counters.solicitations);
    if (!detecting)
        learn(link, from, mac, frame->vlan, true, now_us);
    if (!is_station(mac) || !may_answer(link, now_us))
        return NULL;
    struct wire_ndp reply = {.type = WIRE_NDP_ADVERTISEMENT,
                             .flags = WIRE_NDP_OVERRIDE | (detecting ? 0 : WIRE_NDP_SOLICITED),
                             .has_mac = true,
                             .target = ndp->target};
    memcpy(reply.mac, link->port->mac, 6);
    net_address_multicast_mac(&all_nodes, group);
    return counted(link, ndp_packet(link, detecting ? group : mac, frame->vlan, &ndp->target,
                                    detecting ? &all_nodes : from, &reply));
}

static struct packet *ndp_input(struct net_link *link, const struct frame *frame, uint64_t now_us)
{
    struct wire_ndp ndp;

    if (!wire_parse_ndp(frame, &ndp)) {
        link_count(&link->counters.ignored);
        return NULL;
    }
    if (ndp.type == WIRE_NDP_SOLICITATION)
        return solicited(link, frame, &ndp, now_us);
    if (net_link_is_ours(link, &ndp.target)) {
        if (ndp.has_mac && memcmp(ndp.mac, link->port->mac, 6) != 0)
            link_count(&link->counters.conflicts);
        return NULL;
    }
    struct link_neighbour *known = find(link, &ndp.target);
    /* RFC 4861 section 7.2.5: without the override flag a known MAC stays. */
    bool keep = known != NULL && known->heard_us != 0 && (ndp.flags & WIRE_NDP_OVERRIDE) == 0 &&
                ndp.has_mac && memcmp(known->mac, ndp.mac, 6) != 0;
    if (ndp.has_mac && !keep)
        learn(link, &ndp.target, ndp.mac, frame->vlan, false, now_us);
    return NULL;
}

struct packet *net_link_input(struct net_link *link, const struct frame *frame, uint64_t now_us)
{
    if (frame->kind == FRAME_ARP)
        return arp_input(link, frame, now_us);
    assert(frame->kind == FRAME_ICMPV6);
    return ndp_input(link, frame, now_us);
}

/* ---- asking ---- */

static struct packet *ask(struct net_link *link, const struct link_neighbour *neighbour)
{
    const struct net_address *to = &neighbour->address;
    const struct net_address *source = net_link_source(link, to);
    struct net_address group;
    uint8_t mac[6];

    if (net_address_is_v4(to)) {
        struct wire_arp arp = {.operation = WIRE_ARP_REQUEST, .sender = *source, .target = *to};
        memcpy(arp.sender_mac, link->port->mac, 6);
        return arp_packet(link, broadcast_mac, link->vlan, &arp);
    }
    struct wire_ndp ndp = {.type = WIRE_NDP_SOLICITATION, .has_mac = true, .target = *to};
    memcpy(ndp.mac, link->port->mac, 6);
    group = net_address_solicited(to);
    net_address_multicast_mac(&group, mac);
    return ndp_packet(link, mac, link->vlan, source, &group, &ndp);
}

/* By the kernel's snapshot, which is valid until the end of this poll. */
static enum link_found look_up(struct net_link *link, const struct net_address *to, uint8_t mac[6])
{
    const struct neighbours *known =
        atomic_load_explicit(&link->kernel->current, memory_order_acquire);
    struct net_address hop;

    if (known == NULL)
        return LINK_ASKED;
    switch (neighbours_find(known, to, mac, &hop)) {
    case NEIGHBOURS_FOUND:
        return LINK_FOUND;
    case NEIGHBOURS_UNKNOWN:
        link->is_wanted = true;
        link->wanted = hop;
        link_count(&link->counters.questions);
        return LINK_ASKED;
    case NEIGHBOURS_NO_WAY:
        break;
    }
    return LINK_NO_WAY;
}

enum link_found net_link_resolve(struct net_link *link, const struct net_address *to,
                                 uint64_t now_us, uint8_t mac[6], uint16_t *vlan,
                                 struct packet **question)
{
    const struct net_address *hop = net_link_next_hop(link, to);

    *question = NULL;
    if (link->kernel != NULL) {
        *vlan = WIRE_NO_VLAN;
        return look_up(link, to, mac);
    }
    if (hop == NULL || net_link_source(link, hop) == NULL)
        return LINK_NO_WAY;
    struct link_neighbour *neighbour = place(link, hop);
    bool heard = neighbour->heard_us != 0 && now_us - neighbour->heard_us < LINK_STALE_US;
    bool fresh = heard && now_us - neighbour->heard_us < LINK_FRESH_US;
    uint64_t wait_us = neighbour->tries >= LINK_TRIES_MAX ? LINK_ABSENT_US : LINK_RETRY_US;
    if (!fresh && (neighbour->asked_us == 0 || now_us - neighbour->asked_us >= wait_us)) {
        if (neighbour->tries >= LINK_TRIES_MAX)
            neighbour->tries = 0; /* it was absent for long enough: once more */
        *question = ask(link, neighbour);
        if (*question != NULL) {
            neighbour->tries++;
            neighbour->asked_us = now_us != 0 ? now_us : 1;
            link_count(&link->counters.questions);
        }
    }
    if (!heard) {
        bool waited =
            neighbour->tries >= LINK_TRIES_MAX && now_us - neighbour->asked_us >= LINK_RETRY_US;
        return waited ? LINK_ABSENT : LINK_ASKED;
    }
    memcpy(mac, neighbour->mac, 6);
    *vlan = neighbour->vlan;
    return LINK_FOUND;
}

struct packet *net_link_announce(struct net_link *link, unsigned index)
{
    assert(index < link->address_count);
    const struct net_address *own = &link->addresses[index].address;
    uint8_t group[6];

    if (net_address_is_v4(own)) {
        struct wire_arp arp = {.operation = WIRE_ARP_REQUEST, .sender = *own, .target = *own};
        memcpy(arp.sender_mac, link->port->mac, 6);
        return arp_packet(link, broadcast_mac, link->vlan, &arp);
    }
    struct wire_ndp ndp = {.type = WIRE_NDP_ADVERTISEMENT,
                           .flags = WIRE_NDP_OVERRIDE,
                           .has_mac = true,
                           .target = *own};
    memcpy(ndp.mac, link->port->mac, 6);
    net_address_multicast_mac(&all_nodes, group);
    return ndp_packet(link, group, link->vlan, own, &all_nodes, &ndp);
}
