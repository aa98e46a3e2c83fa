/* TCP segments behind chains of IPv6 extension headers, into a connection in each state.
 * Input: two bytes that choose variant and state, then segments: what the chain is made of, what is
 * cut off or changed, the payload's length. A chain that RFC 8200 lets pass has to bring its segment
 * to TCP, one that it does not may not; with IPv4 the same is done with its options. */
#include "tests/fuzz/net_chain.h"
#include "tests/fuzz/net_state.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SEGMENTS_MAX = 64,
    PAYLOAD_MAX = 200,
    ETHER_LEN = 14,
    IPV4_LEN = 20,
    IPV4_OPTIONS_MAX = 40,
    IPV6_LEN = 40,
    CUT = 1,     /* the frame is shorter than its headers say */
    TRIMMED = 2, /* so is the datagram, which says so */
    CHANGED = 4, /* a byte of the headers is another */
    LATER = 8,
};

static uint64_t seen_by_tcp(const struct run *run)
{
    return atomic_load(&net_counters(run->host.net)->rx_tcp);
}

/* Raw option bytes behind an IPv4 header. */
static size_t insert_options(struct fuzz_input *input, uint8_t *ip, size_t len,
                             enum chain_hope *hope)
{
    size_t options = 4 * (fuzz_take8(input) % (IPV4_OPTIONS_MAX / 4 + 1u));
    unsigned total = (unsigned)(len + options);
    bool nops = true;

    memmove(ip + IPV4_LEN + options, ip + IPV4_LEN, len - IPV4_LEN);
    for (size_t i = 0; i < options; i++) {
        ip[IPV4_LEN + i] = fuzz_take8(input);
        nops = nops && ip[IPV4_LEN + i] <= 1;
    }
    ip[0] = (uint8_t)(0x40 | (IPV4_LEN + options) / 4);
    ip[2] = (uint8_t)(total >> 8);
    ip[3] = (uint8_t)total;
    *hope = nops ? CHAIN_PASSES : CHAIN_UNKNOWN;
    return total;
}

static size_t damage(struct fuzz_input *input, const struct run *run, unsigned how, uint8_t *frame,
                     size_t len, enum chain_hope *hope)
{
    uint8_t *ip = frame + ETHER_LEN, *length = run->variant.v6 ? ip + 4 : ip + 2;

    if (how & CHANGED) {
        size_t at = ETHER_LEN + fuzz_take16(input) % (len - ETHER_LEN);
        frame[at] ^= fuzz_take8(input);
        *hope = CHAIN_UNKNOWN;
    }
    if (how & (CUT | TRIMMED)) {
        size_t cut = 1 + fuzz_take16(input) % (len - ETHER_LEN);

        len -= cut;
        *hope = CHAIN_FAILS;
        if (how & (TRIMMED | CHANGED)) {
            unsigned said = (unsigned)(length[0] << 8 | length[1]);

            said -= said > cut ? (unsigned)cut : said;
            length[0] = (uint8_t)(said >> 8);
            length[1] = (uint8_t)said;
            *hope = CHAIN_UNKNOWN;
        }
    }
    return len;
}

static void send_segment(struct fuzz_input *input, struct run *run)
{
    static uint8_t frame[FRAME_MAX];
    uint8_t payload[PAYLOAD_MAX];
    unsigned how = fuzz_take8(input), from_next = fuzz_take8(input);
    enum chain_hope hope;
    struct segment segment;
    size_t len;
    uint64_t before = seen_by_tcp(run);

    net_state_segment(run, &segment);
    segment.payload = memset(payload, 'x', sizeof payload);
    segment.payload_len = fuzz_take8(input) % PAYLOAD_MAX;
    segment.seq += from_next & 0x80 ? from_next & 0x7f : 0;
    len = frame_build(&segment, frame, sizeof frame);
    if (run->variant.v6) {
        len = ETHER_LEN + chain_insert(input, frame + ETHER_LEN, len - ETHER_LEN, &hope);
    } else {
        len = ETHER_LEN + insert_options(input, frame + ETHER_LEN, len - ETHER_LEN, &hope);
        frame_repair(frame, len);
    }
    len = damage(input, run, how, frame, len, &hope);
    /* Only its bytes tell of a damage to what a checksum covers. */
    port_push(run->host.port, frame, len, how & 0x80 ? PACKET_CHECKSUM_GOOD : 0);
    host_poll(&run->host);
    if (hope == CHAIN_PASSES && seen_by_tcp(run) != before + 1)
        net_state_stop("the chain", "a segment behind sound headers did not arrive");
    if (hope == CHAIN_FAILS && seen_by_tcp(run) != before)
        net_state_stop("the chain", "a segment behind wrong headers arrived");
    if (hope == CHAIN_PASSES && segment.seq == run->peer->iss + (uint32_t)run->peer->next)
        run->peer->next += (int64_t)segment.payload_len;
    if (how & LATER)
        host_advance(&run->host, 1000u * (how >> 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run;

    if (size < 2)
        return 0;
    run = net_state_enter(data);
    struct fuzz_input input = {data + 2, size - 2};
    for (unsigned count = 0; input.left > 0 && count < SEGMENTS_MAX; count++) {
        send_segment(&input, run);
        net_state_look(run);
    }
    net_state_leave(run);
    return 0;
}
