/* ICMP and ICMPv6 errors about a connection in each state that has data under way.
 * Input: two bytes that choose variant and state, then operations: an error (its kind, what it
 * quotes and how much, headers before and in the quote, changed and missing bytes), output of the
 * application, ACKs, time. An error never ends or moves a synchronized connection (RFC 5927
 * section 5.2), and makes segments smaller down to the floor only. */
#include "tests/fuzz/net_chain.h"
#include "tests/fuzz/net_state.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    OPS_MAX = 100,
    WRITE_MAX = 200000,
    QUOTED_MAX = 600,
    ETHER_LEN = 14,
    IPV4_LEN = 20,
    IPV6_LEN = 40,
    ICMP_LEN = 8,
    FLOOR_V4 = 552,
    FLOOR_V6 = 1280,
    HEADERS_V4 = 40, /* IP and TCP */
    HEADERS_V6 = 60,
    TIMESTAMPS_LEN = 12,
};

/* Segments may come to be no smaller than the smallest path allows, or than they were. */
static uint32_t least_mss(const struct run *run, const struct net_info *before)
{
    uint32_t floor = run->variant.v6 ? FLOOR_V6 - HEADERS_V6 : FLOOR_V4 - HEADERS_V4;

    if (before->timestamps)
        floor -= TIMESTAMPS_LEN;
    return before->mss < floor ? before->mss : floor;
}

struct watched {
    int64_t state;
    bool there;
    struct net_info info;
};

static void watch(struct run *run, struct watched *watched)
{
    const struct host_conn *conn = run_conn(run);

    *watched =
        (struct watched){.state = net_state_now(run), .there = conn != NULL && conn->conn != NULL};
    if (watched->there)
        net_info(run->host.net, conn->conn, &watched->info);
}

static void compare(const struct run *run, const struct watched *before,
                    const struct watched *after)
{
    const struct net_info *old = &before->info, *new = &after->info;

    if (before->state < NET_STATE_ESTABLISHED)
        return;
    if (after->state != before->state || after->there != before->there)
        net_state_stop("an ICMP error", "a connection ended or changed its state");
    if (!before->there)
        return;
    if (new->snd_una != old->snd_una || new->rcv_nxt != old->rcv_nxt ||
        new->snd_wnd != old->snd_wnd)
        net_state_stop("an ICMP error", "a connection moved");
    if (new->mss > old->mss || new->mss < least_mss(run, old))
        net_state_stop("an ICMP error", "an MSS that no path asks for");
}

/* Changes bytes behind the Ethernet header; with IPv6 the addresses stay, or nobody would look. */
static void change(struct fuzz_input *input, const struct run *run, unsigned count, uint8_t *frame,
                   size_t len)
{
    size_t from = ETHER_LEN + (run->variant.v6 ? IPV6_LEN : IPV4_LEN);

    for (unsigned i = 0; i < count && len > from; i++) {
        size_t at = from + fuzz_take16(input) % (len - from);
        frame[at] ^= fuzz_take8(input);
    }
}

/* A chain into the quoted packet: nobody has ever sent that, but somebody may say so. */
static size_t nest(struct fuzz_input *input, uint8_t *frame, size_t len)
{
    size_t at = ETHER_LEN + IPV6_LEN + ICMP_LEN;
    size_t quoted = chain_insert(input, frame + at, len - at, NULL);
    unsigned payload_len = (unsigned)(ICMP_LEN + quoted);

    frame[ETHER_LEN + 4] = (uint8_t)(payload_len >> 8);
    frame[ETHER_LEN + 5] = (uint8_t)payload_len;
    return at + quoted;
}

/* The second word: the MTU of "too big", often one that matters, or anything. */
static uint32_t second_word(struct fuzz_input *input, unsigned how)
{
    static const uint16_t mtus[] = {0,    68,   540,  551,      FLOOR_V4, 553,  576,  1000,
                                    1006, 1270, 1279, FLOOR_V6, 1281,     1492, 1500, 9000};
    uint32_t word = fuzz_take16(input);

    if (how & 1)
        return word << 16 | word;
    return word & 0x8000 ? mtus[word % (sizeof mtus / sizeof *mtus)] : word;
}

static void send_error(struct fuzz_input *input, struct run *run)
{
    static const uint8_t types_v4[] = {3, 3, 3, 11, 12, 4, 5, 0},
                         types_v6[] = {1, 2, 2, 3, 4, 127, 137, 5};
    static uint8_t frame[FRAME_MAX];
    struct segment about = {.v6 = run->variant.v6, .flags = FRAME_ACK, .to = run->peer->side};
    unsigned how = fuzz_take8(input), type = fuzz_take8(input), code = fuzz_take8(input);
    uint32_t rest = second_word(input, how);
    struct frame_side router;
    size_t len;

    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &about.from);
    host_side(200, run->variant.v6, 0, &router);
    about.seq = run->peer->irs + (uint32_t)(run->peer->seen - (int16_t)fuzz_take16(input));
    if (type < 0x80)
        type = run->variant.v6 ? types_v6[type % 8] : types_v4[type % 8];
    len = frame_build_icmp(&about, &router, type, code < 0x80 ? code % 16 : code, rest,
                           fuzz_take16(input) % QUOTED_MAX, frame, sizeof frame);
    if ((how & 2) && run->variant.v6)
        len = nest(input, frame, len);
    if (how & 4)
        change(input, run, 1 + fuzz_take8(input) % 4u, frame, len);
    if ((how & 0x18) != 0x18) /* else the checksum is wrong, or right by chance */
        frame_repair(frame, len);
    if ((how & 0x20) && run->variant.v6)
        len = ETHER_LEN + chain_insert(input, frame + ETHER_LEN, len - ETHER_LEN, NULL);
    if (how & 0x40)
        len -= fuzz_take16(input) % len;
    port_push(run->host.port, frame, len, how & 0x80 ? PACKET_CHECKSUM_GOOD : 0);
}

static void write_some(struct run *run, size_t len)
{
    struct host_conn *conn = run_conn(run);

    if (conn != NULL && conn->conn != NULL && conn->written < WRITE_MAX)
        host_write(&run->host, conn, len);
}

static void send_ack(struct run *run, unsigned back)
{
    uint8_t frame[FRAME_MAX];
    struct segment segment;

    net_state_segment(run, &segment);
    segment.ack -= back;
    port_push(run->host.port, frame, frame_build(&segment, frame, sizeof frame), 0);
}

static void operate(struct fuzz_input *input, struct run *run)
{
    static const uint32_t steps_us[] = {100, 5000, 50000, 250000, 1000000, 5000000, 61000000, 10};
    unsigned op = fuzz_take8(input);
    struct watched before, after;

    switch (op % 8) {
    case 0:
        write_some(run, fuzz_take16(input));
        break;
    case 1:
        send_ack(run, op & 0x80 ? fuzz_take16(input) : 0);
        break;
    case 2:
        host_advance(&run->host, steps_us[op >> 3 & 7]);
        break;
    default:
        watch(run, &before);
        send_error(input, run);
        host_poll(&run->host);
        watch(run, &after);
        compare(run, &before, &after);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run;

    if (size < 2)
        return 0;
    run = net_state_enter(data);
    struct fuzz_input input = {data + 2, size - 2};
    for (unsigned count = 0; input.left > 0 && count < OPS_MAX; count++) {
        operate(&input, run);
        host_poll(&run->host);
        net_state_look(run);
    }
    net_state_leave(run);
    return 0;
}
