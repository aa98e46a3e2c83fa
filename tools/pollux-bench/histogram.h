/* Latency histogram: log-linear cells, so that every value keeps the same relative precision.
 * Purpose:   count durations of any size in fixed memory and read percentiles back.
 * Ownership: the caller owns the struct; it holds no pointer.
 * Threading: one thread.
 * Errors:    none; a value past HISTOGRAM_MAX_NS lands in the last cell, the maximum stays exact.
 */
#ifndef POLLUX_BENCH_HISTOGRAM_H
#define POLLUX_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 7, /* 128 cells an octave: an error under 0.8 % */
    HISTOGRAM_SUB_CELLS = 1 << HISTOGRAM_SUB_BITS,
    HISTOGRAM_TOP_BIT = 40, /* 2^40 ns: 18 minutes */
    HISTOGRAM_CELLS = (HISTOGRAM_TOP_BIT - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB_CELLS,
};

#define HISTOGRAM_MAX_NS ((1ULL << HISTOGRAM_TOP_BIT) - 1)

struct histogram {
    uint64_t total;
    uint64_t max_ns;
    uint64_t sum_ns;
    uint64_t cells[HISTOGRAM_CELLS];
};

/* Empties the histogram. */
void histogram_init(struct histogram *histogram);

/* Counts `times` values of `value_ns`. */
void histogram_add(struct histogram *histogram, uint64_t value_ns, uint64_t times);

/* Adds all values of `other`. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The upper edge, in ns, of the cell that holds the given share (0 < share <= 1) of all values;
 * never above the greatest value that was added; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
