#include <criterion/criterion.h>

#include "dataplane/net/isn.h"
#include "tests/unit/dataplane/seed.h"

static const uint64_t SECOND = 1000000;
static const uint64_t NOW = 1234567 * 1000000ull;

static struct isn made(uint8_t first)
{
    uint8_t secret[ISN_SECRET_LEN];
    struct isn isn;

    for (unsigned i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)(first + 7 * i);
    isn_init(&isn, secret);
    return isn;
}

static struct net_flow flow_of(uint8_t last, uint16_t port)
{
    uint8_t remote[4] = {10, 9, 0, last}, local[4] = {10, 9, 0, 1};

    return (struct net_flow){net_address_v4(remote), net_address_v4(local), port, 6379};
}

/* RFC 6528 section 3: one flow's numbers follow the 4 us clock, those of others tell nothing. */
Test(isn, grows_with_the_clock_and_differs_by_flow_and_secret)
{
    struct isn isn = made(1), other = made(2);
    struct net_flow flow = flow_of(2, 4000), neighbour = flow_of(2, 4001);
    uint32_t first = isn_sequence(&isn, &flow, NOW);

    cr_assert_eq(isn_sequence(&isn, &flow, NOW + 4), first + 1);
    cr_assert_eq(isn_sequence(&isn, &flow, NOW + SECOND), first + 250000);
    cr_assert_neq(isn_sequence(&isn, &neighbour, NOW), first);
    cr_assert_neq(isn_sequence(&other, &flow, NOW), first);
}

Test(isn, timestamp_offsets_stay_with_the_flow)
{
    struct isn isn = made(1);
    struct net_flow flow = flow_of(2, 4000), neighbour = flow_of(3, 4000);

    cr_assert_eq(isn_timestamp_offset(&isn, &flow), isn_timestamp_offset(&isn, &flow));
    cr_assert_neq(isn_timestamp_offset(&isn, &flow), isn_timestamp_offset(&isn, &neighbour));
    cr_assert_neq(isn_timestamp_offset(&isn, &flow), isn_sequence(&isn, &flow, 0));
}

static struct isn_cookie wanted_cookie(struct seed *seed)
{
    struct isn_cookie wanted = {.mss = (uint16_t)seed_next(seed),
                                .timestamps = seed_below(seed, 4) != 0,
                                .sack = seed_below(seed, 2) != 0,
                                .ecn = seed_below(seed, 2) != 0};

    wanted.window_scale = (uint8_t)seed_below(seed, 16);
    if (wanted.window_scale == 15)
        wanted.window_scale = ISN_NO_WINDOW_SCALE;
    return wanted;
}

Test(isn, a_cookie_brings_back_what_was_agreed_on)
{
    struct seed seed = seed_new(4987);
    struct isn isn = made(1);

    for (unsigned round = 0; round < 20000; round++) {
        struct net_flow flow = flow_of((uint8_t)seed_next(&seed), (uint16_t)seed_next(&seed));
        struct isn_cookie wanted = wanted_cookie(&seed), given, got;
        uint32_t irs = (uint32_t)seed_next(&seed), clock = (uint32_t)seed_next(&seed);
        uint64_t now = NOW + seed_below(&seed, 1000 * SECOND);
        uint32_t ts = clock, iss = isn_cookie_make(&isn, &flow, irs, &wanted, now, &ts, &given);

        if (wanted.timestamps)
            cr_assert(clock - ts < 64, "a timestamp older by %u", clock - ts);
        cr_assert(given.mss <= wanted.mss || given.mss == 256);
        cr_assert_eq(given.timestamps, wanted.timestamps);
        cr_assert_eq(given.sack, wanted.sack && wanted.timestamps);
        cr_assert_eq(given.ecn, wanted.ecn && wanted.timestamps);
        cr_assert_eq(given.window_scale,
                     wanted.timestamps ? wanted.window_scale : ISN_NO_WINDOW_SCALE);
        cr_assert(isn_cookie_check(&isn, &flow, irs + 1, iss + 1, wanted.timestamps, ts,
                                   now + seed_below(&seed, 64 * SECOND), &got),
                  "seed %llu round %u", (unsigned long long)seed.start, round);
        cr_assert(got.mss == given.mss && got.window_scale == given.window_scale &&
                  got.sack == given.sack && got.ecn == given.ecn &&
                  got.timestamps == given.timestamps);
    }
}

Test(isn, a_cookie_keeps_as_much_of_the_mss_as_it_can)
{
    static const uint16_t pairs[][2] = {{1460, 1460}, {1459, 1440}, {9000, 8960}, {536, 536},
                                        {1220, 1220}, {100, 256},   {65535, 8960}};
    struct isn isn = made(1);
    struct net_flow flow = flow_of(2, 4000);
    uint32_t ts = 0;

    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct isn_cookie wanted = {.mss = pairs[i][0], .window_scale = ISN_NO_WINDOW_SCALE}, given;

        isn_cookie_make(&isn, &flow, 1, &wanted, NOW, &ts, &given);
        cr_assert_eq(given.mss, pairs[i][1]);
    }
}

Test(isn, a_cookie_of_anything_else_is_refused)
{
    struct isn isn = made(1), other = made(2);
    struct net_flow flow = flow_of(2, 4000), neighbour = flow_of(2, 4001);
    struct isn_cookie wanted = {.mss = 1460, .window_scale = 7, .sack = true, .timestamps = true};
    struct isn_cookie given, got;
    uint32_t ts = 5000, iss = isn_cookie_make(&isn, &flow, 77, &wanted, NOW, &ts, &given);

    other.cookies_until_us = isn.cookies_until_us;
    cr_assert(isn_cookie_check(&isn, &flow, 78, iss + 1, true, ts, NOW, &got));
    cr_assert_not(isn_cookie_check(&other, &flow, 78, iss + 1, true, ts, NOW, &got));
    cr_assert_not(isn_cookie_check(&isn, &neighbour, 78, iss + 1, true, ts, NOW, &got));
    cr_assert_not(isn_cookie_check(&isn, &flow, 79, iss + 1, true, ts, NOW, &got));
    cr_assert_not(isn_cookie_check(&isn, &flow, 78, iss + 1, false, 0, NOW, &got));
    for (unsigned bit = 0; bit < 32; bit++)
        cr_assert_not(
            isn_cookie_check(&isn, &flow, 78, (iss ^ 1u << bit) + 1, true, ts, NOW, &got));
    /* The low bits of the timestamp are part of it, the others are the peer's business. */
    for (unsigned bit = 0; bit < 32; bit++)
        cr_assert_eq(isn_cookie_check(&isn, &flow, 78, iss + 1, true, ts ^ 1u << bit, NOW, &got),
                     bit >= 6);
}

Test(isn, a_cookie_ages)
{
    struct net_flow flow = flow_of(2, 4000);
    struct isn_cookie wanted = {.mss = 1460, .window_scale = ISN_NO_WINDOW_SCALE}, given, got;
    struct isn isn = made(1);
    uint32_t ts = 0;
    uint64_t start = ISN_COOKIE_PERIOD_S * SECOND * 1000;
    uint32_t iss = isn_cookie_make(&isn, &flow, 77, &wanted, start, &ts, &given);

    isn.cookies_until_us = UINT64_MAX; /* that of another connection, again and again */
    cr_assert(isn_cookie_check(&isn, &flow, 78, iss + 1, false, 0, start + 127 * SECOND, &got));
    for (uint64_t s = 128; s < 2000; s += 7)
        cr_assert_not(
            isn_cookie_check(&isn, &flow, 78, iss + 1, false, 0, start + s * SECOND, &got));
    cr_assert_not(isn_cookie_check(&isn, &flow, 78, iss + 1, false, 0, start - SECOND, &got));
}

/* The period's two bits are 0 just after boot as well as 4 periods on. */
Test(isn, a_cookie_works_in_the_first_seconds_after_boot)
{
    struct net_flow flow = flow_of(2, 4000);
    struct isn_cookie wanted = {.mss = 1460, .window_scale = ISN_NO_WINDOW_SCALE}, given, got;
    struct isn isn = made(1);
    uint32_t ts = 0, iss = isn_cookie_make(&isn, &flow, 77, &wanted, 5, &ts, &given);

    cr_assert(isn_cookie_check(&isn, &flow, 78, iss + 1, false, 0, 5, &got));
    cr_assert(isn_cookie_check(&isn, &flow, 78, iss + 1, false, 0, 100 * SECOND, &got));
    cr_assert_not(isn_cookie_check(&isn, &flow, 78, (iss | 0xc0000000) + 1, false, 0, 5, &got));
}

/* Without a flood there is nothing to guess at. */
Test(isn, no_cookie_is_looked_at_unless_some_were_sent)
{
    struct net_flow flow = flow_of(2, 4000);
    struct isn_cookie wanted = {.mss = 1460, .window_scale = ISN_NO_WINDOW_SCALE}, given, got;
    struct isn sender = made(1), quiet = made(1);
    uint32_t ts = 0, iss = isn_cookie_make(&sender, &flow, 77, &wanted, NOW, &ts, &given);

    cr_assert(isn_cookie_check(&sender, &flow, 78, iss + 1, false, 0, NOW, &got));
    cr_assert_not(isn_cookie_check(&quiet, &flow, 78, iss + 1, false, 0, NOW, &got));
    cr_assert_not(
        isn_cookie_check(&sender, &flow, 78, iss + 1, false, 0, NOW + 129 * SECOND, &got));
}

Test(isn, guesses_do_not_hit)
{
    struct seed seed = seed_new(6528);
    struct net_flow flow = flow_of(2, 4000);
    struct isn_cookie got;
    struct isn isn = made(1);
    unsigned hits = 0;

    isn.cookies_until_us = UINT64_MAX;
    for (unsigned i = 0; i < 200000; i++)
        hits += isn_cookie_check(&isn, &flow, 78, (uint32_t)seed_next(&seed), false, 0, NOW, &got);
    cr_assert_eq(hits, 0); /* one in 2^28 each */
}
