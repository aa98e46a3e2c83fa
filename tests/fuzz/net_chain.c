#include "tests/fuzz/net_chain.h"

#include <stdbool.h>
#include <string.h>

#include "dataplane/net/wire.h"

enum {
    HEADERS_MAX = 12, /* more than the stack walks */
    UNIT = 8,
    RAW_BYTES_MAX = 40,
    HOP_BY_HOP = 0,
    ROUTING = 43,
    FRAGMENT = 44,
    DESTINATION = 60,
    PAD_N = 1,
};

struct chain {
    uint8_t bytes[CHAIN_BYTES_MAX];
    size_t len;
    unsigned count;
    uint8_t first; /* the kind of the first header */
    uint8_t *next; /* where the kind of the one behind goes */
    enum chain_hope hope;
};

uint8_t fuzz_take8(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

unsigned fuzz_take16(struct fuzz_input *input)
{
    unsigned high = fuzz_take8(input);

    return high << 8 | fuzz_take8(input);
}

/* What was decided about the headers before is not changed by one behind them. */
static void expect(struct chain *chain, enum chain_hope hope)
{
    if (chain->hope == CHAIN_PASSES)
        chain->hope = hope;
}

/* A header of `len` bytes, zero but for its length. */
static uint8_t *append(struct chain *chain, uint8_t kind, size_t len)
{
    uint8_t *header = chain->bytes + chain->len;

    *chain->next = kind;
    chain->next = header;
    memset(header, 0, len);
    header[1] = kind == FRAGMENT ? 0 : (uint8_t)(len / UNIT - 1);
    chain->len += len;
    chain->count++;
    if (chain->count > WIRE_EXTENSIONS_MAX || chain->len > WIRE_CHAIN_MAX ||
        (kind == HOP_BY_HOP && chain->count > 1))
        expect(chain, CHAIN_FAILS);
    return header;
}

/* Options that fill the header exactly: one that may be unknown, then padding. */
static void append_options(struct chain *chain, struct fuzz_input *input, uint8_t kind)
{
    size_t len = UNIT * (1 + fuzz_take8(input) % 16u);
    uint8_t option = fuzz_take8(input);
    uint8_t *header = append(chain, kind, len);
    size_t body = fuzz_take8(input) % (len - 3), at = 2;

    if (option != 0) {
        header[at] = option;
        header[at + 1] = (uint8_t)(body < len - 4 ? body : len - 4);
        at += 2u + header[at + 1];
        if (option >> 6 != 0)
            expect(chain, CHAIN_FAILS);
    }
    if (len - at >= 2) {
        header[at] = PAD_N;
        header[at + 1] = (uint8_t)(len - at - 2);
    }
}

static void append_routing(struct chain *chain, struct fuzz_input *input)
{
    uint8_t *header = append(chain, ROUTING, UNIT * (1 + 2 * (fuzz_take8(input) % 3u)));

    header[2] = fuzz_take8(input);
    header[3] = fuzz_take8(input) & 3;
    if (header[3] != 0)
        expect(chain, CHAIN_FAILS);
}

static void append_fragment(struct chain *chain, struct fuzz_input *input)
{
    unsigned place = fuzz_take8(input) & 1 ? fuzz_take16(input) : 0;
    uint8_t *header = append(chain, FRAGMENT, UNIT);

    header[2] = (uint8_t)(place >> 8);
    header[3] = (uint8_t)place;
    header[7] = fuzz_take8(input);
    if ((place & 0xfff9) != 0)
        expect(chain, CHAIN_FAILS);
}

/* Any kind, any bytes, and a length that may be another. */
static void append_raw(struct chain *chain, struct fuzz_input *input)
{
    static const uint8_t kinds[] = {HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, 50, 51, 59, 6, 58};
    uint8_t kind = fuzz_take8(input);
    size_t len = fuzz_take8(input) % RAW_BYTES_MAX;

    expect(chain, CHAIN_UNKNOWN);
    uint8_t *header =
        append(chain, kind & 0x80 ? kind : kinds[kind % sizeof kinds], len < 2 ? 2 : len);
    for (size_t i = 1; i < len; i++)
        header[i] = fuzz_take8(input);
}

static void append_any(struct chain *chain, struct fuzz_input *input)
{
    switch (fuzz_take8(input) % 8) {
    case 0: /* what an input that has ended says: long chains of it are sound but for their length */
    case 1:
    case 2:
        append_options(chain, input, DESTINATION);
        break;
    case 3:
        append_options(chain, input, HOP_BY_HOP);
        break;
    case 4:
        append_routing(chain, input);
        break;
    case 5:
    case 6:
        append_fragment(chain, input);
        break;
    default:
        append_raw(chain, input);
        break;
    }
}

size_t chain_insert(struct fuzz_input *input, uint8_t *ip, size_t len, enum chain_hope *hope)
{
    struct chain chain = {.hope = CHAIN_PASSES};
    unsigned count = fuzz_take8(input) % HEADERS_MAX, payload_len;

    chain.next = &chain.first;
    for (unsigned i = 0; i < count; i++)
        append_any(&chain, input);
    *chain.next = ip[6];
    ip[6] = chain.first;
    memmove(ip + WIRE_IPV6_LEN + chain.len, ip + WIRE_IPV6_LEN, len - WIRE_IPV6_LEN);
    memcpy(ip + WIRE_IPV6_LEN, chain.bytes, chain.len);
    payload_len = wire_get16(ip + 4) + (unsigned)chain.len;
    wire_put16(ip + 4, (uint16_t)payload_len);
    if (hope != NULL)
        *hope = chain.hope;
    return len + chain.len;
}
