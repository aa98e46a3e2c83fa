#include <criterion/criterion.h>

#include "dataplane/net/siphash.h"

static const struct siphash_key key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

/* The vectors of SipHash's own test program: input 00, 01, 02, ... under the key 00 to 0f. */
Test(siphash, agrees_with_the_published_vectors_of_2_4)
{
    static const struct {
        unsigned len;
        uint64_t hash;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31u}, {1, 0x74f839c593dc67fdu}, {2, 0x0d6c8009d9a94f5au},
        {7, 0xab0200f58b01d137u}, {8, 0x93f5f5799a932462u}, {15, 0xa129ca6149be45e5u},
    };
    uint8_t input[64];

    for (unsigned i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        cr_assert_eq(siphash_bytes(&key, input, vectors[i].len, 2, 4), vectors[i].hash, "length %u",
                     vectors[i].len);
}

/* The first of the vectors that Rust's library and OpenSSL test SipHash-1-3 with. */
Test(siphash, agrees_with_the_published_vectors_of_1_3)
{
    static const uint64_t vectors[] = {0xabac0158050fc4dcu, 0xc9f49bf37d57ca93u,
                                       0x82cb9b024dc7d44du, 0x8bf80ab8e7ddf7fbu};
    uint8_t input[4] = {0, 1, 2, 3};

    for (unsigned len = 0; len < 4; len++)
        cr_assert_eq(siphash_bytes(&key, input, len, 1, 3), vectors[len], "length %u", len);
}

Test(siphash, of_words_is_that_of_their_bytes)
{
    uint8_t input[40];
    uint64_t words[4];

    for (unsigned i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)(i * 37 + 11);
    memcpy(words, input, 32);
    for (unsigned count = 0; count <= 4; count++) {
        for (unsigned last_len = 0; last_len < 8; last_len++) {
            uint64_t last = 0;

            memcpy(&last, input + 8 * count, last_len);
            cr_assert_eq(siphash13_words(&key, words, count, last, last_len),
                         siphash_bytes(&key, input, 8 * count + last_len, 1, 3));
        }
    }
}
