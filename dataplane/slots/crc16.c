#include "dataplane/slots/crc16.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "words are read with their first byte lowest");

/* The CRC of a byte followed by k zero bytes is the exclusive or of that of its bits, so a table
 * of 256 is made from eight numbers: each ROW_n doubles one. */
#define ROW_1(x, b0)                 (x), (x) ^ (b0)
#define ROW_2(x, b0, b1)             ROW_1(x, b0), ROW_1((x) ^ (b1), b0)
#define ROW_3(x, b0, b1, b2)         ROW_2(x, b0, b1), ROW_2((x) ^ (b2), b0, b1)
#define ROW_4(x, b0, b1, b2, b3)     ROW_3(x, b0, b1, b2), ROW_3((x) ^ (b3), b0, b1, b2)
#define ROW_5(x, b0, b1, b2, b3, b4) ROW_4(x, b0, b1, b2, b3), ROW_4((x) ^ (b4), b0, b1, b2, b3)
#define ROW_6(x, b0, b1, b2, b3, b4, b5)                                                           \
    ROW_5(x, b0, b1, b2, b3, b4), ROW_5((x) ^ (b5), b0, b1, b2, b3, b4)
#define ROW_7(x, b0, b1, b2, b3, b4, b5, b6)                                                       \
    ROW_6(x, b0, b1, b2, b3, b4, b5), ROW_6((x) ^ (b6), b0, b1, b2, b3, b4, b5)
#define ROWS(b0, b1, b2, b3, b4, b5, b6, b7)                                                       \
    {                                                                                              \
        ROW_7(0, b0, b1, b2, b3, b4, b5, b6), ROW_7(b7, b0, b1, b2, b3, b4, b5, b6)                \
    }

/* Table k: a byte that k zero bytes follow. */
static const uint16_t tables[8][256] = {
    /* clang-format off */
    ROWS(0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48c4, 0x9188),
    ROWS(0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc, 0x1b98),
    ROWS(0x3730, 0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad, 0x3b5a),
    ROWS(0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c, 0xdd38),
    ROWS(0xaa51, 0x4483, 0x8906, 0x022d, 0x045a, 0x08b4, 0x1168, 0x22d0),
    ROWS(0x45a0, 0x8b40, 0x06a1, 0x0d42, 0x1a84, 0x3508, 0x6a10, 0xd420),
    ROWS(0xb861, 0x60e3, 0xc1c6, 0x93ad, 0x377b, 0x6ef6, 0xddec, 0xabf9),
    ROWS(0x47d3, 0x8fa6, 0x0f6d, 0x1eda, 0x3db4, 0x7b68, 0xf6d0, 0xfd81),
    /* clang-format on */
};

static inline uint64_t load(const char *data)
{
    uint64_t word;

    memcpy(&word, data, sizeof(word));
    return word;
}

static inline uint8_t byte(uint64_t word, unsigned index)
{
    return (uint8_t)(word >> (8 * index));
}

/* The first two bytes meet the CRC so far; each byte is looked up by how many follow it. */
static inline uint16_t crc16_8(uint16_t crc, uint64_t word)
{
    word ^= __builtin_bswap16(crc);
    /* What does not wait for the CRC before comes first. */
    return ((tables[5][byte(word, 2)] ^ tables[4][byte(word, 3)]) ^
            (tables[3][byte(word, 4)] ^ tables[2][byte(word, 5)]) ^
            (tables[1][byte(word, 6)] ^ tables[0][byte(word, 7)])) ^
           (tables[7][byte(word, 0)] ^ tables[6][byte(word, 1)]);
}

static inline uint16_t crc16_4(uint16_t crc, const char *data)
{
    uint32_t word;

    memcpy(&word, data, sizeof(word));
    word ^= __builtin_bswap16(crc);
    return tables[3][byte(word, 0)] ^ tables[2][byte(word, 1)] ^ tables[1][byte(word, 2)] ^
           tables[0][byte(word, 3)];
}

static inline uint16_t crc16_1(uint16_t crc, const char *data)
{
    return (uint16_t)(crc << 8) ^ tables[0][(uint8_t)data[0] ^ crc >> 8];
}

static inline uint16_t crc_of(const char *data, size_t len_bytes)
{
    uint16_t crc = 0;

    for (; len_bytes >= 8; len_bytes -= 8, data += 8)
        crc = crc16_8(crc, load(data));
    if (len_bytes >= 4) {
        crc = crc16_4(crc, data);
        len_bytes -= 4;
        data += 4;
    }
    for (; len_bytes > 0; len_bytes--, data++)
        crc = crc16_1(crc, data);
    return crc;
}

uint16_t crc16(const char *data, size_t len_bytes)
{
    return crc_of(data, len_bytes);
}

static inline bool word_has_brace(uint64_t word)
{
    uint64_t different = word ^ 0x7b7b7b7b7b7b7b7bull;

    return ((different - 0x0101010101010101ull) & ~different & 0x8080808080808080ull) != 0;
}

/* Whether there is a '{': a call to memchr costs more than a usual key has words. */
static inline bool has_brace(const char *key, size_t len_bytes)
{
    if (len_bytes < 8)
        return len_bytes > 0 && memchr(key, '{', len_bytes) != NULL;
    for (size_t i = 0; i + 8 < len_bytes; i += 8)
        if (word_has_brace(load(key + i)))
            return true;
    return word_has_brace(load(key + len_bytes - 8));
}

static uint16_t tagged_slot(const char *key, size_t len_bytes)
{
    const char *tag = (const char *)memchr(key, '{', len_bytes) + 1;
    const char *close = memchr(tag, '}', len_bytes - (size_t)(tag - key));

    if (close != NULL && close > tag)
        return crc16(tag, (size_t)(close - tag)) % CRC16_SLOTS;
    return crc16(key, len_bytes) % CRC16_SLOTS;
}

uint16_t crc16_slot(const char *key, size_t len_bytes)
{
    if (has_brace(key, len_bytes))
        return tagged_slot(key, len_bytes);
    return crc_of(key, len_bytes) % CRC16_SLOTS;
}
