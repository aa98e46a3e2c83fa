/* TCP options: reading those of a received segment, writing ours.
 * Purpose:   MSS (RFC 9293 section 3.7.1), window scale and timestamps (RFC 7323), SACK permitted
 *            and SACK (RFC 2018), user timeout (RFC 5482); all others are skipped by their length.
 * Ownership: none. Threading: any.
 * Errors:    a list with an option of length 0 or 1, or one that runs past the header, is
 *            malformed (RFC 9293 section 3.1, MUST-7): false, and nothing of it may be used. A
 *            known option of the wrong length is skipped like an unknown one. Of an option that
 *            stands twice the last one counts. */
#ifndef DATAPLANE_NET_OPTIONS_H
#define DATAPLANE_NET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    TCP_OPTIONS_MAX = 40,            /* bytes: what the data offset leaves */
    TCP_OPTIONS_TIMESTAMPS_LEN = 12, /* of timestamps alone, with padding */
    TCP_SACK_BLOCKS_MAX = 4,         /* 3 beside timestamps */
    TCP_WINDOW_SCALE_MAX = 14,       /* RFC 7323 section 2.3: more is taken as this */
};

/* Bits of tcp_options.present. */
enum tcp_option {
    TCP_OPTION_MSS = 1,
    TCP_OPTION_WINDOW_SCALE = 2,
    TCP_OPTION_SACK_PERMITTED = 4,
    TCP_OPTION_TIMESTAMPS = 8,
    TCP_OPTION_SACK = 16, /* sack_count blocks, 1 or more */
    TCP_OPTION_USER_TIMEOUT = 32,
};

struct tcp_sack {
    uint32_t left, right; /* the bytes from left up to and without right */
};

struct tcp_options {
    uint8_t present;      /* TCP_OPTION_*; a field whose bit is not set means nothing */
    uint8_t window_scale; /* this one always: 0 without the option (RFC 7323 section 2.2) */
    uint8_t sack_count;
    uint16_t mss; /* as sent: 0 is possible */
    uint32_t ts_value, ts_echo;
    uint32_t user_timeout_s;                   /* RFC 5482: minutes are turned into seconds */
    struct tcp_sack sack[TCP_SACK_BLOCKS_MAX]; /* as sent, not checked against any window */
};

/* Reads `len` bytes, 0 to TCP_OPTIONS_MAX. Options that belong to a SYN are passed over when not
 * `syn` (RFC 7323 section 2.2, RFC 2018 section 2), SACK when `syn`. False: malformed. */
bool tcp_options_parse(const uint8_t *bytes, unsigned len, bool syn, struct tcp_options *options);

/* Nearly every segment of an established connection has exactly NOP, NOP, timestamps: then the
 * two values are read without a loop. False: use tcp_options_parse. */
static inline bool tcp_options_timestamps_only(const uint8_t *bytes, unsigned len,
                                               uint32_t *ts_value, uint32_t *ts_echo)
{
    uint32_t head, value, echo;

    if (len != TCP_OPTIONS_TIMESTAMPS_LEN)
        return false;
    memcpy(&head, bytes, 4);
    memcpy(&value, bytes + 4, 4);
    memcpy(&echo, bytes + 8, 4);
    *ts_value = __builtin_bswap32(value);
    *ts_echo = __builtin_bswap32(echo);
    return head == __builtin_bswap32(0x0101080au);
}

/* Writes exactly TCP_OPTIONS_TIMESTAMPS_LEN bytes. */
static inline void tcp_options_write_timestamps(uint8_t *to, uint32_t ts_value, uint32_t ts_echo)
{
    uint32_t words[3] = {__builtin_bswap32(0x0101080au), __builtin_bswap32(ts_value),
                         __builtin_bswap32(ts_echo)};

    memcpy(to, words, sizeof(words));
}

/* Writes what `present` names, padded to a multiple of 4, and returns the length. `to` has room
 * for TCP_OPTIONS_MAX bytes. SACK goes last and with as many of the blocks, first ones first, as
 * the room allows. */
unsigned tcp_options_write(uint8_t *to, const struct tcp_options *options);
/* The length that tcp_options_write would return. */
unsigned tcp_options_len(const struct tcp_options *options);

#endif
