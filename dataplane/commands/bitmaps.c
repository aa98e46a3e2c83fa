/* Bitmaps: SETBIT GETBIT BITCOUNT BITPOS BITOP. BITFIELD has a file of its own. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/bits.h"
#include "dataplane/commands/functions.h"
#include "dataplane/node.h"
#include "dataplane/store/keyspace.h"

enum { BITOP_AND, BITOP_OR, BITOP_XOR, BITOP_NOT };

bool call_bit_offset(struct call *call, struct text text, bool hash_allowed, uint32_t bits,
                     uint64_t *offset)
{
    int64_t value;
    bool hash = hash_allowed && text.len_bytes > 0 && text.data[0] == '#';

    if (hash)
        text = (struct text){text.data + 1, text.len_bytes - 1};
    if (!text_to_integer(text, &value) ||
        (hash && __builtin_mul_overflow(value, (int64_t)bits, &value)) || value < 0 ||
        (uint64_t)value >> 3 >= (uint64_t)call->node->config->proto_max_bulk_len) {
        reply_error(call->reply, "bit offset is not an integer or out of range");
        return false;
    }
    *offset = (uint64_t)value;
    return true;
}

void cmd_setbit(struct call *call)
{
    struct key key;
    uint64_t offset;
    bool wrong = false;
    char number[24];
    int64_t bit;

    if (!call_bit_offset(call, call->argv[2], false, 0, &offset))
        return;
    if (!text_to_integer(call->argv[3], &bit) || (bit & ~(int64_t)1) != 0) {
        reply_error(call->reply, "bit is not an integer or out of range");
        return;
    }
    size_t len = 0, byte = offset >> 3;
    unsigned shift = 7 - (unsigned)(offset & 7);
    unsigned old = 0;
    if (key_find_string(call, 1, FIND_WRITE, &key, &wrong)) {
        struct text text = entry_string(key.entry, number);
        len = text.len_bytes;
        old = byte < len ? (unsigned char)text.data[byte] >> shift & 1 : 0;
    }
    if (wrong)
        return;
    bool changes = byte >= len || old != (unsigned)bit;
    slot_write_begin(call, &key);
    char *data = key_string_writable(call, &key, byte + 1 > len ? byte + 1 : len);
    if (data != NULL)
        data[byte] = (char)((data[byte] & ~(1 << shift)) | (int)bit << shift);
    slot_write_end(call, &key, changes ? "setbit" : NULL);
    if (data != NULL)
        reply_integer(call->reply, old);
}

void cmd_getbit(struct call *call)
{
    struct key key;
    uint64_t offset;
    bool wrong = false;
    char number[24];
    int64_t bit = 0;

    if (!call_bit_offset(call, call->argv[2], false, 0, &offset))
        return;
    if (key_find_string(call, 1, FIND_READ, &key, &wrong)) {
        struct text text = entry_string(key.entry, number);
        if (offset >> 3 < text.len_bytes)
            bit = (unsigned char)text.data[offset >> 3] >> (7 - (offset & 7)) & 1;
    }
    if (!wrong)
        reply_integer(call->reply, bit);
}

/* ---- BITCOUNT, BITPOS ---- */

static uint64_t count_bits(const unsigned char *bytes, size_t len)
{
    uint64_t sum = 0;

    for (; len >= 8; bytes += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        sum += (uint64_t)__builtin_popcountll(word);
    }
    for (; len > 0; bytes++, len--)
        sum += (uint64_t)__builtin_popcount(*bytes);
    return sum;
}

/* A range in bits [first, last]; false: it is empty. `total` in the unit given. */
static bool clip_range(int64_t start, int64_t end, bool in_bits, size_t len_bytes, uint64_t *first,
                       uint64_t *last)
{
    int64_t total = in_bits ? (int64_t)len_bytes * 8 : (int64_t)len_bytes;

    start = start < 0 ? (start < -total ? 0 : start + total) : start;
    end = end < 0 ? (end < -total ? 0 : end + total) : end;
    if (end >= total)
        end = total - 1;
    if (start > end || total == 0)
        return false;
    *first = in_bits ? (uint64_t)start : (uint64_t)start * 8;
    *last = in_bits ? (uint64_t)end : (uint64_t)end * 8 + 7;
    return true;
}

static bool read_unit(struct call *call, uint32_t position, bool *in_bits)
{
    if (call_option(call, position, "bit"))
        *in_bits = true;
    else if (call_option(call, position, "byte"))
        *in_bits = false;
    else {
        call_syntax_error(call);
        return false;
    }
    return true;
}

void cmd_bitcount(struct call *call)
{
    struct key key;
    bool wrong = false, in_bits = false;
    char number[24];
    int64_t start = 0, end = -1;
    uint64_t first, last;

    bool there = key_find_string(call, 1, FIND_READ, &key, &wrong);
    if (wrong)
        return;
    if (!there) {
        reply_integer(call->reply, 0);
        return;
    }
    if (call->argc == 3 || call->argc > 5) {
        call_syntax_error(call);
        return;
    }
    if (call->argc > 2 && (!call_integer(call, 2, &start) || !call_integer(call, 3, &end)))
        return;
    /* Redis answers these before it reads the unit or clips, and only here: BITPOS of such a range
     * looks at the first bit. */
    bool backwards = start < 0 && end < 0 && start > end;
    if (!backwards && call->argc == 5 && !read_unit(call, 4, &in_bits))
        return;
    struct text text = entry_string(key.entry, number);
    if (backwards || !clip_range(start, end, in_bits, text.len_bytes, &first, &last)) {
        reply_integer(call->reply, 0);
        return;
    }
    const unsigned char *bytes = (const unsigned char *)text.data;
    uint64_t sum = count_bits(bytes + first / 8, last / 8 - first / 8 + 1);
    if (first % 8 != 0)
        sum -= (uint64_t)__builtin_popcount(bytes[first / 8] & (0xff00 >> (first % 8) & 0xff));
    if (last % 8 != 7)
        sum -= (uint64_t)__builtin_popcount(bytes[last / 8] & (0xff >> (last % 8 + 1)));
    reply_integer(call->reply, (int64_t)sum);
}

/* Up to 8 bytes, the first one highest. */
static uint64_t load_word(const unsigned char *bytes, size_t len)
{
    uint64_t word = 0;

    if (len >= 8) {
        memcpy(&word, bytes, 8);
        return __builtin_bswap64(word);
    }
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)bytes[i] << (56 - 8 * i);
    return word;
}

/* First bit of that value in [first, last]; -1: none. */
static int64_t find_bit(const unsigned char *bytes, uint64_t first, uint64_t last, unsigned bit)
{
    uint64_t flip = bit != 0 ? 0 : UINT64_MAX;

    for (uint64_t at = first / 8 * 8; at <= last; at += 64) {
        uint64_t word = load_word(bytes + at / 8, last / 8 + 1 - at / 8) ^ flip;
        if (at < first)
            word &= UINT64_MAX >> (first - at);
        if (last - at < 63)
            word &= ~(UINT64_MAX >> (last - at + 1));
        if (word != 0)
            return (int64_t)at + __builtin_clzll(word);
    }
    return -1;
}

void cmd_bitpos(struct call *call)
{
    struct key key;
    bool wrong = false, in_bits = false, end_given = call->argc >= 5;
    char number[24];
    int64_t bit, start = 0, end = -1;
    uint64_t first, last;

    if (!call_integer(call, 2, &bit))
        return;
    if (bit != 0 && bit != 1) {
        reply_error(call->reply, "The bit argument must be 1 or 0.");
        return;
    }
    bool there = key_find_string(call, 1, FIND_READ, &key, &wrong);
    if (wrong)
        return;
    if (!there) {
        reply_integer(call->reply, bit != 0 ? -1 : 0);
        return;
    }
    if (call->argc > 6) {
        call_syntax_error(call);
        return;
    }
    if (call->argc >= 4 && !call_integer(call, 3, &start))
        return;
    if (call->argc == 6 && !read_unit(call, 5, &in_bits))
        return;
    if (call->argc >= 5 && !call_integer(call, 4, &end))
        return;
    struct text text = entry_string(key.entry, number);
    if (!clip_range(start, end, in_bits, text.len_bytes, &first, &last)) {
        reply_integer(call->reply, -1);
        return;
    }
    int64_t position = find_bit((const unsigned char *)text.data, first, last, (unsigned)bit);
    /* Without an end the string counts as followed by zeros. */
    if (position < 0 && bit == 0 && !end_given)
        position = (int64_t)text.len_bytes * 8;
    reply_integer(call->reply, position);
}

/* ---- BITOP ---- */

static bool read_operation(struct call *call, unsigned *operation)
{
    static const char *const words[] = {"and", "or", "xor", "not"};

    for (*operation = 0; *operation < 4; ++*operation)
        if (call_option(call, 1, words[*operation]))
            return true;
    call_syntax_error(call);
    return false;
}

static void combine(unsigned operation, char *to, size_t len, struct text from, bool first)
{
    size_t have = from.len_bytes < len ? from.len_bytes : len;

    if (first) {
        for (size_t i = 0; i < have; i++)
            to[i] = operation == BITOP_NOT ? (char)~from.data[i] : from.data[i];
        memset(to + have, operation == BITOP_NOT ? 0xff : 0, len - have);
        return;
    }
    switch (operation) {
    case BITOP_AND:
        for (size_t i = 0; i < have; i++)
            to[i] &= from.data[i];
        memset(to + have, 0, len - have);
        break;
    case BITOP_OR:
        for (size_t i = 0; i < have; i++)
            to[i] |= from.data[i];
        break;
    default:
        for (size_t i = 0; i < have; i++)
            to[i] ^= from.data[i];
        break;
    }
}

/* Longest source, or -1 when one is no string (replied). */
static int64_t longest_source(struct call *call)
{
    size_t longest = 0;

    for (uint32_t i = 3; i < call->argc; i++) {
        struct key key;
        bool wrong = false;
        if (key_find_string(call, i, FIND_READ, &key, &wrong) &&
            entry_string_len(key.entry) > longest)
            longest = entry_string_len(key.entry);
        if (wrong)
            return -1;
    }
    return (int64_t)longest;
}

static void store_result(struct call *call, struct text result)
{
    struct key key;
    bool there = key_find(call, call->argv[2], FIND_WRITE, &key);

    if (result.len_bytes == 0 && !there)
        return;
    slot_write_begin(call, &key);
    if (there)
        key_delete(call, &key);
    if (result.len_bytes > 0) { /* raw, whatever its length, as OBJECT ENCODING tells */
        char *data = key_string_writable(call, &key, result.len_bytes);
        if (data != NULL)
            memcpy(data, result.data, result.len_bytes);
    }
    slot_write_end(call, &key, result.len_bytes == 0 ? "del" : "set");
}

void cmd_bitop(struct call *call)
{
    unsigned operation;
    char number[24];

    if (!read_operation(call, &operation))
        return;
    if (operation == BITOP_NOT && call->argc != 4) {
        reply_error(call->reply, "BITOP NOT must be called with a single source key.");
        return;
    }
    int64_t len = longest_source(call);
    if (len < 0)
        return;
    char *result = malloc((size_t)len + 1);
    if (result == NULL) {
        reply_error(call->reply, "-OOM no memory for the result");
        return;
    }
    for (uint32_t i = 3; i < call->argc; i++) {
        struct key key;
        struct text from = {"", 0};
        if (key_find(call, call->argv[i], FIND_READ | FIND_NO_STATS, &key))
            from = entry_string(key.entry, number);
        combine(operation, result, (size_t)len, from, i == 3);
    }
    uint32_t errors = call->reply->errors;
    store_result(call, (struct text){result, (size_t)len});
    free(result);
    if (call->reply->errors == errors)
        reply_integer(call->reply, len);
}
