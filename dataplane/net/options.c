#include "dataplane/net/options.h"

#include <assert.h>

/* Kinds (IANA, "TCP Option Kind Numbers"). */
enum {
    KIND_END = 0,
    KIND_NOP = 1,
    KIND_MSS = 2,
    KIND_WINDOW_SCALE = 3,
    KIND_SACK_PERMITTED = 4,
    KIND_SACK = 5,
    KIND_TIMESTAMPS = 8,
    KIND_USER_TIMEOUT = 28,
};

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint8_t *put8(uint8_t *to, uint8_t value)
{
    *to = value;
    return to + 1;
}

static uint8_t *put16(uint8_t *to, uint16_t value)
{
    return put8(put8(to, (uint8_t)(value >> 8)), (uint8_t)value);
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    return put16(put16(to, (uint16_t)(value >> 16)), (uint16_t)value);
}

static void read_sack(const uint8_t *body, unsigned len, struct tcp_options *options)
{
    unsigned count = len / 8;

    if (count == 0 || count > TCP_SACK_BLOCKS_MAX || len % 8 != 0)
        return;
    for (unsigned i = 0; i < count; i++)
        options->sack[i] = (struct tcp_sack){get32(body + 8 * i), get32(body + 8 * i + 4)};
    options->sack_count = (uint8_t)count;
    options->present |= TCP_OPTION_SACK;
}

static void read_user_timeout(const uint8_t *body, struct tcp_options *options)
{
    uint16_t value = get16(body) & 0x7fff;

    if (value == 0)
        return; /* RFC 5482 section 3: reserved, to be ignored */
    options->user_timeout_s = body[0] & 0x80 ? value * 60u : value;
    options->present |= TCP_OPTION_USER_TIMEOUT;
}

/* One option with `len` bytes behind kind and length. */
static void read_option(uint8_t kind, const uint8_t *body, unsigned len, bool syn,
                        struct tcp_options *options)
{
    switch (kind) {
    case KIND_MSS:
        if (syn && len == 2) {
            options->mss = get16(body);
            options->present |= TCP_OPTION_MSS;
        }
        break;
    case KIND_WINDOW_SCALE:
        if (syn && len == 1) {
            options->window_scale =
                body[0] > TCP_WINDOW_SCALE_MAX ? (uint8_t)TCP_WINDOW_SCALE_MAX : body[0];
            options->present |= TCP_OPTION_WINDOW_SCALE;
        }
        break;
    case KIND_SACK_PERMITTED:
        if (syn && len == 0)
            options->present |= TCP_OPTION_SACK_PERMITTED;
        break;
    case KIND_SACK:
        if (!syn)
            read_sack(body, len, options);
        break;
    case KIND_TIMESTAMPS:
        if (len == 8) {
            options->ts_value = get32(body);
            options->ts_echo = get32(body + 4);
            options->present |= TCP_OPTION_TIMESTAMPS;
        }
        break;
    case KIND_USER_TIMEOUT:
        if (len == 2)
            read_user_timeout(body, options);
        break;
    default:
        break;
    }
}

bool tcp_options_parse(const uint8_t *bytes, unsigned len, bool syn, struct tcp_options *options)
{
    unsigned at = 0;

    assert(len <= TCP_OPTIONS_MAX);
    options->present = 0;
    options->window_scale = 0;
    options->sack_count = 0;
    while (at < len && bytes[at] != KIND_END) {
        unsigned option_len;

        if (bytes[at] == KIND_NOP) {
            at++;
            continue;
        }
        if (len - at < 2)
            return false;
        option_len = bytes[at + 1];
        if (option_len < 2 || option_len > len - at)
            return false;
        read_option(bytes[at], bytes + at + 2, option_len - 2, syn, options);
        at += option_len;
    }
    return true;
}

static bool has(const struct tcp_options *options, enum tcp_option option)
{
    return (options->present & option) != 0;
}

/* SACK permitted fills the two bytes of padding that timestamps want. */
static bool permitted_beside_timestamps(const struct tcp_options *options)
{
    return has(options, TCP_OPTION_SACK_PERMITTED) && has(options, TCP_OPTION_TIMESTAMPS);
}

/* The length of all but SACK, and how many of its blocks fit behind. */
static unsigned lengths(const struct tcp_options *options, unsigned *blocks)
{
    unsigned len = 0, room;

    len += has(options, TCP_OPTION_MSS) ? 4 : 0;
    len += has(options, TCP_OPTION_SACK_PERMITTED) && !permitted_beside_timestamps(options) ? 4 : 0;
    len += has(options, TCP_OPTION_TIMESTAMPS) ? 12 : 0;
    len += has(options, TCP_OPTION_WINDOW_SCALE) ? 4 : 0;
    len += has(options, TCP_OPTION_USER_TIMEOUT) ? 4 : 0;
    room = (TCP_OPTIONS_MAX - len) / 8;
    if (4 + 8 * room > TCP_OPTIONS_MAX - len)
        room--;
    *blocks = 0;
    if (has(options, TCP_OPTION_SACK))
        *blocks = options->sack_count < room ? options->sack_count : room;
    return len;
}

unsigned tcp_options_len(const struct tcp_options *options)
{
    unsigned blocks, len = lengths(options, &blocks);

    return blocks > 0 ? len + 4 + 8 * blocks : len;
}

static uint8_t *write_user_timeout(uint8_t *to, uint32_t seconds)
{
    uint16_t value;

    if (seconds <= 0x7fff)
        value = (uint16_t)seconds;
    else
        value = (uint16_t)(0x8000 | (seconds / 60 < 0x7fff ? seconds / 60 : 0x7fff));
    to = put8(put8(to, KIND_USER_TIMEOUT), 4);
    return put16(to, value);
}

unsigned tcp_options_write(uint8_t *to, const struct tcp_options *options)
{
    uint8_t *start = to;
    unsigned blocks;

    lengths(options, &blocks);
    if (has(options, TCP_OPTION_MSS))
        to = put16(put8(put8(to, KIND_MSS), 4), options->mss);
    if (has(options, TCP_OPTION_SACK_PERMITTED)) {
        if (!permitted_beside_timestamps(options))
            to = put8(put8(to, KIND_NOP), KIND_NOP);
        to = put8(put8(to, KIND_SACK_PERMITTED), 2);
    }
    if (has(options, TCP_OPTION_TIMESTAMPS)) {
        if (!permitted_beside_timestamps(options))
            to = put8(put8(to, KIND_NOP), KIND_NOP);
        to = put8(put8(to, KIND_TIMESTAMPS), 10);
        to = put32(put32(to, options->ts_value), options->ts_echo);
    }
    if (has(options, TCP_OPTION_WINDOW_SCALE))
        to = put8(put8(put8(put8(to, KIND_NOP), KIND_WINDOW_SCALE), 3), options->window_scale);
    if (has(options, TCP_OPTION_USER_TIMEOUT))
        to = write_user_timeout(to, options->user_timeout_s);
    if (blocks > 0) {
        to = put8(put8(to, KIND_NOP), KIND_NOP);
        to = put8(put8(to, KIND_SACK), (uint8_t)(2 + 8 * blocks));
        for (unsigned i = 0; i < blocks; i++)
            to = put32(put32(to, options->sack[i].left), options->sack[i].right);
    }
    return (unsigned)(to - start);
}
