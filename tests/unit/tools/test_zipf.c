#include <criterion/criterion.h>
#include <math.h>

#include "tools/pollux-bench/zipf.h"

enum { DRAWS = 200000, RANKS = 1000 };

static double uniform(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (double)(*random >> 11) * 0x1p-53;
}

static uint64_t draw(const struct zipf *zipf, uint64_t *random)
{
    uint64_t rank = 0;

    while (!zipf_try(zipf, uniform(random), &rank))
        continue;
    return rank;
}

/* Each of the first ranks, and the tail as a whole, within five standard deviations. */
static void check_law(double exponent)
{
    static unsigned hits[RANKS];
    struct zipf zipf;
    uint64_t random = 88172645463325252ULL;
    double all = 0, tail = 0, tail_hits = 0;

    zipf_init(&zipf, RANKS, exponent);
    memset(hits, 0, sizeof(hits));
    for (int i = 0; i < DRAWS; i++) {
        uint64_t rank = draw(&zipf, &random);
        cr_assert_lt(rank, (uint64_t)RANKS);
        hits[rank]++;
    }
    for (int rank = 0; rank < RANKS; rank++)
        all += pow(rank + 1, -exponent);
    for (int rank = 0; rank < 20; rank++) {
        double expected = DRAWS * pow(rank + 1, -exponent) / all;
        cr_assert_lt(fabs(hits[rank] - expected), 5 * sqrt(expected) + 1,
                     "exponent %g, rank %d: %u, not %.0f", exponent, rank, hits[rank], expected);
    }
    for (int rank = 500; rank < RANKS; rank++) {
        tail += DRAWS * pow(rank + 1, -exponent) / all;
        tail_hits += hits[rank];
    }
    cr_assert_lt(fabs(tail_hits - tail), 5 * sqrt(tail) + 1);
}

Test(zipf, follows_its_law)
{
    static const double exponents[] = {0.3, 0.5, 0.99, 1, 1.01, 1.5, 3};

    for (size_t i = 0; i < sizeof(exponents) / sizeof(exponents[0]); i++)
        check_law(exponents[i]);
}

Test(zipf, of_one_rank_always_draws_it)
{
    struct zipf zipf;
    uint64_t random = 1;

    zipf_init(&zipf, 1, 0.99);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(draw(&zipf, &random), 0);
}

Test(zipf, stays_in_range_among_very_many)
{
    struct zipf zipf;
    uint64_t random = 7, most = 0;

    zipf_init(&zipf, 1000000000000, 0.99);
    for (int i = 0; i < 100000; i++) {
        uint64_t rank = draw(&zipf, &random);
        cr_assert_lt(rank, 1000000000000);
        most = rank > most ? rank : most;
    }
    cr_assert_gt(most, 100000000000);
}
