#include "tools/pollux-bench/histogram.h"

#include <math.h>
#include <string.h>

/* Values below HISTOGRAM_SUB_CELLS have a cell each; above, an octave is cut into that many cells.
 */
static uint32_t histogram_cell(uint64_t value_ns)
{
    if (value_ns > HISTOGRAM_MAX_NS)
        value_ns = HISTOGRAM_MAX_NS;
    if (value_ns < HISTOGRAM_SUB_CELLS)
        return (uint32_t)value_ns;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(value_ns);
    uint32_t shift = top - HISTOGRAM_SUB_BITS;
    uint32_t sub = (uint32_t)(value_ns >> shift) & (HISTOGRAM_SUB_CELLS - 1);
    return (shift + 1) * HISTOGRAM_SUB_CELLS + sub;
}

static uint64_t histogram_upper_edge(uint32_t cell)
{
    if (cell < HISTOGRAM_SUB_CELLS)
        return cell;
    uint32_t shift = cell / HISTOGRAM_SUB_CELLS - 1;
    uint64_t sub = cell % HISTOGRAM_SUB_CELLS + HISTOGRAM_SUB_CELLS;
    return ((sub + 1) << shift) - 1;
}

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

void histogram_add(struct histogram *histogram, uint64_t value_ns, uint64_t times)
{
    histogram->cells[histogram_cell(value_ns)] += times;
    histogram->total += times;
    histogram->sum_ns += value_ns * times;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (uint32_t cell = 0; cell < HISTOGRAM_CELLS; cell++)
        histogram->cells[cell] += other->cells[cell];
    histogram->total += other->total;
    histogram->sum_ns += other->sum_ns;
    if (other->max_ns > histogram->max_ns)
        histogram->max_ns = other->max_ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    if (histogram->total == 0)
        return 0;
    uint64_t wanted = (uint64_t)ceil(share * (double)histogram->total);
    uint64_t seen = 0;
    for (uint32_t cell = 0; cell < HISTOGRAM_CELLS; cell++) {
        seen += histogram->cells[cell];
        if (seen >= wanted && seen > 0) {
            uint64_t edge = histogram_upper_edge(cell);
            return edge < histogram->max_ns ? edge : histogram->max_ns;
        }
    }
    return histogram->max_ns;
}
