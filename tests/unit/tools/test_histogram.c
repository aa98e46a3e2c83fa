#include <criterion/criterion.h>
#include <stdlib.h>

#include "tools/pollux-bench/histogram.h"

static struct histogram *empty(void)
{
    struct histogram *histogram = malloc(sizeof(*histogram));

    cr_assert_not_null(histogram);
    histogram_init(histogram);
    return histogram;
}

Test(histogram, is_precise_to_a_hundredth_at_any_size)
{
    for (uint64_t value = 1; value < HISTOGRAM_MAX_NS; value = value * 5 / 3 + 1) {
        struct histogram *histogram = empty();
        histogram_add(histogram, value, 1);
        histogram_add(histogram, value * 4, 1);
        uint64_t median = histogram_quantile(histogram, 0.5);
        cr_assert(median >= value && (double)median <= 1.008 * (double)value, "%llu: %llu",
                  (unsigned long long)value, (unsigned long long)median);
        free(histogram);
    }
}

Test(histogram, quantiles_count_values_from_below)
{
    struct histogram *histogram = empty();

    for (uint64_t value = 1; value <= 100; value++)
        histogram_add(histogram, value, 1);
    cr_assert_eq(histogram_quantile(histogram, 0.5), 50);
    cr_assert_eq(histogram_quantile(histogram, 0.99), 99);
    cr_assert_eq(histogram_quantile(histogram, 0.991), 100);
    cr_assert_eq(histogram_quantile(histogram, 1), 100);
    cr_assert_eq(histogram->sum_ns, 5050);
    free(histogram);
}

Test(histogram, keeps_the_maximum_exactly_even_past_the_last_cell)
{
    struct histogram *histogram = empty();

    histogram_add(histogram, HISTOGRAM_MAX_NS * 3 + 7, 1);
    cr_assert_eq(histogram->max_ns, HISTOGRAM_MAX_NS * 3 + 7);
    cr_assert_leq(histogram_quantile(histogram, 0.5), histogram->max_ns);
    free(histogram);
}

Test(histogram, merging_is_adding_one_by_one)
{
    struct histogram *parts[2] = {empty(), empty()}, *whole = empty();
    uint64_t value = 3;

    for (int i = 0; i < 1000; i++) {
        value = (value * 48271) % 2147483647;
        histogram_add(parts[i % 2], value, 2);
        histogram_add(whole, value, 2);
    }
    histogram_merge(parts[0], parts[1]);
    cr_assert_eq(parts[0]->total, 2000);
    cr_assert_arr_eq(parts[0], whole, sizeof(*whole));
    for (int i = 0; i < 2; i++)
        free(parts[i]);
    free(whole);
}

Test(histogram, of_nothing_is_zero)
{
    struct histogram *histogram = empty();

    cr_assert_eq(histogram_quantile(histogram, 0.99), 0);
    free(histogram);
}
