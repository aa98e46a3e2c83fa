/* Checksums against a sum of bytes as RFC 1071 section 1 defines it. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "dataplane/net/checksum.h"

static const unsigned seed = 1071;

/* Two bytes at a time, the last one padded: the complement, high byte first. */
static uint16_t naive(const uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static uint16_t ours(uint64_t sum)
{
    return __builtin_bswap16(checksum_finish(sum));
}

static void fill(uint8_t *bytes, size_t len, int how)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = how == 0 ? 0xff : how == 1 ? 0 : (uint8_t)rand();
}

/* 0 and 0xffff are one number in one's complement: a field of either value is right. */
static void expect_same(uint16_t got, uint16_t want)
{
    cr_assert_eq(got % 0xffff, want % 0xffff, "%04x, not %04x (seed %u)", got, want, seed);
}

Test(checksum, of_the_example_of_rfc_1071)
{
    const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    cr_assert_eq(ours(checksum_sum(bytes, sizeof(bytes))), 0x220d);
}

Test(checksum, agrees_with_the_bytewise_sum_at_every_length_and_alignment)
{
    static uint8_t bytes[9300];

    srand(seed);
    for (int how = 0; how < 6; how++) {
        fill(bytes, sizeof(bytes), how);
        for (size_t len = 0; len < 300; len++)
            for (size_t at = 0; at < 9; at++)
                expect_same(ours(checksum_sum(bytes + at, len)), naive(bytes + at, len));
        for (size_t len = 1400; len < 9200; len += 97)
            expect_same(ours(checksum_sum(bytes + len % 8, len)), naive(bytes + len % 8, len));
    }
}

Test(checksum, is_good_where_the_folded_sum_is_ffff)
{
    const uint64_t edges[] = {0,
                              1,
                              0xfffe,
                              0xffff,
                              0x10000,
                              0x1fffe,
                              0xffffffff,
                              0xffff0000,
                              0xffff000000000000u,
                              0xfffffffffffffffeu,
                              UINT64_MAX};

    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        cr_assert_eq(checksum_good(edges[i]), checksum_fold(edges[i]) == 0xffff, "%#lx", edges[i]);
    srand(seed);
    for (int i = 0; i < 100000; i++) {
        uint64_t sum = (uint64_t)rand() << 33 ^ (uint64_t)rand() << 11 ^ (uint64_t)rand();
        uint64_t right = checksum_add(sum, checksum_finish(sum));

        cr_assert_eq(checksum_good(sum), checksum_fold(sum) == 0xffff, "%#lx", sum);
        cr_assert(checksum_good(right), "%#lx (seed %u)", right, seed);
        cr_assert_not(checksum_good(right + 1), "%#lx (seed %u)", right, seed);
    }
}

Test(checksum, adds_pieces_of_even_length)
{
    uint8_t bytes[257];

    srand(seed);
    fill(bytes, sizeof(bytes), 2);
    for (size_t at = 0; at <= sizeof(bytes); at += 2) {
        uint64_t sum =
            checksum_add(checksum_sum(bytes, at), checksum_sum(bytes + at, sizeof(bytes) - at));

        expect_same(ours(sum), naive(bytes, sizeof(bytes)));
    }
}

Test(checksum, has_the_pseudo_header_of_either_family)
{
    uint8_t pseudo4[12] = {10, 9, 0, 1, 192, 168, 255, 254, 0, 6, 0x12, 0x34};
    uint8_t pseudo6[40] = {0};
    struct net_address a = net_address_v4(pseudo4), b = net_address_v4(pseudo4 + 4);

    expect_same(ours(checksum_pseudo(&a, &b, 6, 0x1234)), naive(pseudo4, sizeof(pseudo4)));
    expect_same(ours(checksum_pseudo(&b, &a, 6, 0x1234)), naive(pseudo4, sizeof(pseudo4)));
    srand(seed);
    for (int round = 0; round < 100; round++) {
        fill(pseudo6, 32, 2);
        pseudo6[34] = 0x12;
        pseudo6[35] = 0x34;
        pseudo6[39] = 58;
        a = net_address_v6(pseudo6);
        b = net_address_v6(pseudo6 + 16);
        expect_same(ours(checksum_pseudo(&a, &b, 58, 0x1234)), naive(pseudo6, sizeof(pseudo6)));
    }
}
