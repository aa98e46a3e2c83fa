/* Histogram: durations in log-linear buckets, 16 to an octave (6 % wide).
 * Ownership: whoever created it; those of commands live as long as their worker, resetting them makes them zero.
 * Threading: one writer, relaxed readers. Errors: NULL without memory. */
#ifndef DATAPLANE_COMMANDS_HISTOGRAM_H
#define DATAPLANE_COMMANDS_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 4,
    HISTOGRAM_OCTAVES = 36, /* up to 2^36 ns, 68 s; longer counts as that */
    HISTOGRAM_BUCKETS = (HISTOGRAM_OCTAVES - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t ns)
{
    if (ns < (1u << HISTOGRAM_SUB_BITS))
        return (uint32_t)ns;
    if (ns >= (uint64_t)1 << HISTOGRAM_OCTAVES)
        return HISTOGRAM_BUCKETS - 1;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(ns);
    uint32_t shift = top - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) +
           (uint32_t)((ns >> shift) & ((1u << HISTOGRAM_SUB_BITS) - 1));
}
static inline void histogram_add(struct histogram *histogram, uint64_t ns)
{
    _Atomic uint64_t *count = &histogram->counts[histogram_bucket(ns)];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}
/* Largest duration of a bucket, ns. */
static inline uint64_t histogram_bucket_top_ns(uint32_t bucket)
{
    if (bucket < (1u << HISTOGRAM_SUB_BITS))
        return bucket;
    uint32_t shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t low =
        (((uint64_t)1 << HISTOGRAM_SUB_BITS) + (bucket & ((1u << HISTOGRAM_SUB_BITS) - 1)))
        << shift;
    return low + ((uint64_t)1 << shift) - 1;
}

/* Sums what all workers have recorded for a command (by command_number). Returns how many calls that is. */
struct node;
uint64_t command_durations(const struct node *node, uint32_t number,
                           uint64_t counts[HISTOGRAM_BUCKETS]);

#endif
