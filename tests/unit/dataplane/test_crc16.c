#include "dataplane/slots/crc16.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/dataplane/seed.h"

static uint16_t bit_by_bit(const char *data, size_t len)
{
    uint16_t crc = 0;

    for (size_t i = 0; i < len; i++) {
        crc ^= (uint16_t)((uint8_t)data[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

/* The specification's rule in its simplest form. */
static uint16_t slot_of(const char *key, size_t len)
{
    const char *open = memchr(key, '{', len);
    const char *close = open != NULL ? memchr(open, '}', len - (size_t)(open - key)) : NULL;

    if (close != NULL && close != open + 1)
        return bit_by_bit(open + 1, (size_t)(close - open - 1)) & 16383;
    return bit_by_bit(key, len) & 16383;
}

static uint16_t slot_of_string(const char *key)
{
    return crc16_slot(key, strlen(key));
}

Test(crc16, is_the_xmodem_variant)
{
    /* Redis Cluster specification, "Key distribution model". */
    cr_assert_eq(crc16("123456789", 9), 0x31c3);
    cr_assert_eq(crc16("", 0), 0);
}

Test(crc16, slots_are_those_that_redis_answers)
{
    /* CLUSTER KEYSLOT of redis-server 7.0.15 */
    cr_assert_eq(slot_of_string("foo"), 12182);
    cr_assert_eq(slot_of_string("bar"), 5061);
    cr_assert_eq(slot_of_string(""), 0);
    cr_assert_eq(slot_of_string("key:000000012345"), 12533);
    cr_assert_eq(slot_of_string("{"), 4092);
    cr_assert_eq(slot_of_string("}{"), 12793);
}

Test(crc16, only_the_hash_tag_counts)
{
    cr_assert_eq(slot_of_string("{user1000}.following"), slot_of_string("user1000"));
    cr_assert_eq(slot_of_string("a{user1000}.followers"), slot_of_string("user1000"));
    cr_assert_eq(slot_of_string("foo{{bar}}zap"), slot_of_string("{bar"));
    cr_assert_eq(slot_of_string("foo{bar}{zap}"), slot_of_string("bar"));
    cr_assert_neq(slot_of_string("foo{}{bar}"), slot_of_string("bar"));
    cr_assert_eq(slot_of_string("foo{}{bar}"), bit_by_bit("foo{}{bar}", 10) & 16383);
}

Test(crc16, equals_the_bitwise_form_for_every_length)
{
    struct seed seed = seed_new(16);
    char data[600];

    for (size_t len = 0; len <= sizeof(data); len = len < 70 ? len + 1 : len + 53) {
        for (int round = 0; round < 50; round++) {
            for (size_t i = 0; i < len; i++)
                data[i] = (char)seed_next(&seed);
            cr_assert_eq(crc16(data, len), bit_by_bit(data, len), "length %zu, seed %lu", len,
                         seed.start);
        }
    }
}

Test(crc16, finds_the_tag_wherever_it_stands)
{
    struct seed seed = seed_new(17);
    char key[40];

    for (int round = 0; round < 200000; round++) {
        size_t len = seed_below(&seed, sizeof(key));

        for (size_t i = 0; i < len; i++)
            key[i] = "{}abcdefghijklmz|"[seed_below(&seed, 17)];
        cr_assert_eq(crc16_slot(key, len), slot_of(key, len), "\"%.*s\", seed %lu", (int)len, key,
                     seed.start);
    }
}
