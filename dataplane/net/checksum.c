#include "dataplane/net/checksum.h"

/* Four lanes of 32-bit words summed into 64 bits cannot overflow before 2^32 words: no carries to
 * look after in the loop. GCC and Clang make SSE2 or NEON of the vectors, plain C elsewhere. */
#define CHECKSUM_VECTOR(type) __attribute__((vector_size(16))) type

static uint64_t load64(const unsigned char *from)
{
    uint64_t word;

    memcpy(&word, from, 8);
    return word;
}

/* The last 0 to 7 bytes as a word, zeros behind them. */
static uint64_t load_rest(const unsigned char *from, size_t len)
{
    uint64_t word = 0;
    uint32_t four;
    uint16_t two;
    size_t at = 0;

    if (len & 4) {
        memcpy(&four, from, 4);
        word = four;
        at = 4;
    }
    if (len & 2) {
        memcpy(&two, from + at, 2);
        word |= (uint64_t)two << (8 * at);
        at += 2;
    }
    if (len & 1)
        word |= (uint64_t)from[at] << (8 * at);
    return word;
}

/* 64 bytes and more, in steps of 32. */
static uint64_t sum_vectors(const unsigned char *from, size_t blocks)
{
    CHECKSUM_VECTOR(uint64_t) even = {0, 0}, odd = {0, 0}, even2 = {0, 0}, odd2 = {0, 0};
    const CHECKSUM_VECTOR(uint64_t) low = {0xffffffffu, 0xffffffffu};

    for (; blocks > 0; blocks--, from += 32) {
        CHECKSUM_VECTOR(uint64_t) a, b;

        memcpy(&a, from, 16);
        memcpy(&b, from + 16, 16);
        even += a & low;
        odd += a >> 32;
        even2 += b & low;
        odd2 += b >> 32;
    }
    even += even2;
    odd += odd2;
    return checksum_add(checksum_add(even[0], even[1]), checksum_add(odd[0], odd[1]));
}

uint64_t checksum_sum(const void *data, size_t len)
{
    const unsigned char *from = data;
    uint64_t sum = 0;

    if (len >= 64) {
        size_t blocks = len / 32;

        sum = sum_vectors(from, blocks);
        from += 32 * blocks;
        len -= 32 * blocks;
    }
    for (; len >= 8; from += 8, len -= 8)
        sum = checksum_add(sum, load64(from));
    return checksum_add(sum, load_rest(from, len));
}

uint64_t checksum_copy(void *to, const void *from, size_t len)
{
    /* The second pass finds every line in the nearest cache. */
    memcpy(to, from, len);
    return checksum_sum(to, len);
}
