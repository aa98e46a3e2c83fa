/* Zipf numbers: popular keys and a long tail.
 * Purpose:   draw ranks 0 .. n-1, rank r with a probability in proportion to 1 / (r + 1)^exponent,
 *            in constant time and memory (rejection-inversion: Hoermann and Derflinger, "Rejection-
 *            inversion to generate variates from monotone discrete distributions", 1996).
 * Ownership: a plain value. Threading: any; the random numbers are the caller's.
 * Errors:    none; an exponent above 0 and 1 <= n are the caller's duty. */
#ifndef POLLUX_BENCH_ZIPF_H
#define POLLUX_BENCH_ZIPF_H

#include <stdbool.h>
#include <stdint.h>

struct zipf {
    uint64_t n;
    double exponent;
    double area_first; /* of the envelope: its ends, between which an area is drawn */
    double area_last;
    double shortcut; /* a rank this close above the drawn point needs no second look */
};

void zipf_init(struct zipf *zipf, uint64_t n, double exponent);

/* The rank that an area, uniform in [0, 1), falls on; false: draw again. */
bool zipf_try(const struct zipf *zipf, double uniform, uint64_t *rank);

#endif
