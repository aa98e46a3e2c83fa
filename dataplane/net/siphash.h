/* SipHash: a keyed pseudo-random function for what a stranger must not predict.
 * Purpose:   hash flows for the connection table, initial sequence numbers, timestamp offsets and
 *            SYN cookies; short inputs, so the rounds are inlined where they are used.
 * Source:    Aumasson and Bernstein, "SipHash: a fast short-input PRF"; 1-3 is one round for each
 *            word and three at the end, 2-4 the paper's own proposal (used by tests).
 * Ownership: none. Threading: any. Errors: none. */
#ifndef DATAPLANE_NET_SIPHASH_H
#define DATAPLANE_NET_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash_key {
    uint64_t k0, k1; /* secret: 16 random bytes */
};

struct siphash {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t siphash_rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void siphash_round(struct siphash *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = siphash_rotate(s->v1, 13) ^ s->v0;
    s->v3 = siphash_rotate(s->v3, 16) ^ s->v2;
    s->v0 = siphash_rotate(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v1 = siphash_rotate(s->v1, 17) ^ s->v2;
    s->v3 = siphash_rotate(s->v3, 21) ^ s->v0;
    s->v2 = siphash_rotate(s->v2, 32);
}

static inline void siphash_begin(struct siphash *s, const struct siphash_key *key)
{
    s->v0 = key->k0 ^ 0x736f6d6570736575u;
    s->v1 = key->k1 ^ 0x646f72616e646f6du;
    s->v2 = key->k0 ^ 0x6c7967656e657261u;
    s->v3 = key->k1 ^ 0x7465646279746573u;
}

/* One word of input, `rounds` times mixed: 1 for SipHash-1-3. */
static inline void siphash_word(struct siphash *s, uint64_t word, int rounds)
{
    s->v3 ^= word;
    for (int i = 0; i < rounds; i++)
        siphash_round(s);
    s->v0 ^= word;
}

static inline uint64_t siphash_end(struct siphash *s, int rounds)
{
    s->v2 ^= 0xff;
    for (int i = 0; i < rounds; i++)
        siphash_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* SipHash-1-3 of `count` words and a `last` one that holds at most 7 bytes of input in its low
 * bits: the input is 8 * count + last_len bytes long. */
static inline uint64_t siphash13_words(const struct siphash_key *key, const uint64_t *words,
                                       unsigned count, uint64_t last, unsigned last_len)
{
    struct siphash s;

    siphash_begin(&s, key);
    for (unsigned i = 0; i < count; i++)
        siphash_word(&s, words[i], 1);
    siphash_word(&s, last | (uint64_t)(8 * count + last_len) << 56, 1);
    return siphash_end(&s, 3);
}

/* The same of bytes, with any number of rounds. */
static inline uint64_t siphash_bytes(const struct siphash_key *key, const void *data, size_t len,
                                     int rounds, int end_rounds)
{
    const unsigned char *bytes = data;
    uint64_t word, last = (uint64_t)len << 56;
    struct siphash s;

    siphash_begin(&s, key);
    for (; len >= 8; bytes += 8, len -= 8) {
        memcpy(&word, bytes, 8);
        siphash_word(&s, word, rounds);
    }
    for (size_t i = 0; i < len; i++)
        last |= (uint64_t)bytes[i] << (8 * i);
    siphash_word(&s, last, rounds);
    return siphash_end(&s, end_rounds);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they stand");

#endif
