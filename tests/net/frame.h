/* TCP frames as the tests see them.
 * Purpose:   builds frames of a made-up peer and takes apart what the stack sends, with code that
 *            shares nothing with the stack, so that one mistake cannot hide in both.
 * Ownership: the caller's buffers; `payload` of a parsed segment points into the frame.
 * Threading: none.
 * Errors:    frame_parse() tells in words what is wrong with a frame.
 * Source:    RFC 791, 8200, 9293 section 3.1, 7323, 2018. */
#ifndef POLLUX_TESTS_NET_FRAME_H
#define POLLUX_TESTS_NET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/packet.h"

enum {
    FRAME_MAX = PACKET_ROOM_MAX,
    FRAME_OPTIONS_MAX = 40,
    FRAME_SACKS_MAX = 4,
    FRAME_WHY_MAX = 120,

    FRAME_FIN = 0x01,
    FRAME_SYN = 0x02,
    FRAME_RST = 0x04,
    FRAME_PSH = 0x08,
    FRAME_ACK = 0x10,
    FRAME_URG = 0x20,
    FRAME_ECE = 0x40,
    FRAME_CWR = 0x80,
};

enum frame_kind { FRAME_BAD, FRAME_TCP, FRAME_ARP, FRAME_ICMP, FRAME_ICMP6, FRAME_OTHER };

/* What frame_build() is to do wrong. */
enum frame_flaw {
    FRAME_FLAW_TCP_SUM = 1,
    FRAME_FLAW_IP_SUM = 2,
    FRAME_FLAW_FRAGMENT = 4,    /* IPv4: more fragments follow; IPv6: a fragment header */
    FRAME_FLAW_SHORT = 8,       /* the last byte of the frame is missing */
    FRAME_FLAW_PADDED = 16,     /* not wrong: Ethernet padding follows the datagram */
    FRAME_FLAW_VLAN = 32,       /* not wrong: an 802.1Q tag */
    FRAME_FLAW_IP_OPTIONS = 64, /* IPv4: a no-operation option word; IPv6: an empty
                                   destination options header; both to be skipped */
};

struct frame_side {
    uint8_t mac[6];
    uint8_t address[16]; /* IPv4 in the first four */
    uint16_t port;
};

struct frame_range {
    uint32_t start, end;
};

struct segment {
    struct frame_side from, to;
    bool v6;
    uint8_t flags;
    uint32_t seq, ack;
    uint16_t window, urgent;
    bool has_mss, has_wscale, sack_ok, has_ts, has_timeout;
    uint16_t mss, user_timeout;
    uint8_t wscale;
    uint32_t ts_value, ts_echo;
    unsigned sack_count;
    struct frame_range sacks[FRAME_SACKS_MAX];
    uint8_t raw_options[FRAME_OPTIONS_MAX]; /* frame_build(): appended as they are */
    unsigned raw_options_len;
    size_t options_len;   /* frame_parse() */
    unsigned data_offset; /* frame_build(): 0, or what to write instead of the right one */
    uint8_t ecn;          /* bits of the IP header */
    uint8_t hops;         /* TTL or hop limit; frame_build() takes 0 as 64 */
    bool dont_fragment;   /* frame_parse(), IPv4 */
    uint16_t ip_id;       /* frame_parse(), IPv4 */
    unsigned flaws;       /* enum frame_flaw */
    const uint8_t *payload;
    size_t payload_len;
};

/* Writes the frame, of `room` bytes at most, and returns its length. */
size_t frame_build(const struct segment *segment, uint8_t *frame, size_t room);

/* FRAME_BAD leaves the reason in `why`, FRAME_WHY_MAX bytes. Checks lengths, checksums and options.
 * `segment` is filled in for FRAME_TCP alone. */
enum frame_kind frame_parse(const uint8_t *frame, size_t len, struct segment *segment, char *why);

/* An ICMP or ICMPv6 error about `about`, of which `quoted` bytes beyond the IP header come along.
 * `from` is the router or peer that says so; `rest` the second word (the MTU of "too big"). */
size_t frame_build_icmp(const struct segment *about, const struct frame_side *from, unsigned type,
                        unsigned code, uint32_t rest, size_t quoted, uint8_t *frame, size_t room);

/* The answer to an ARP request or a neighbour solicitation, as if `mac` had the address asked
 * for; 0 if the frame asks for none. */
size_t frame_answer_neighbour(const uint8_t *frame, size_t len, const uint8_t mac[6],
                              uint8_t *answer);

/* Makes the checksums right again of a TCP or ICMP frame that was changed; with IPv6 only of one
 * without extension headers. */
void frame_repair(uint8_t *frame, size_t len);

/* One line for messages: "SA 0 ack 1 win 100 len 0"; numbers relative to the two bases. */
void frame_describe(const struct segment *segment, uint32_t seq_base, uint32_t ack_base, char *text,
                    size_t room);

#endif
