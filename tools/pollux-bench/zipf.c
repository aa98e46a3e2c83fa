#include "tools/pollux-bench/zipf.h"

#include <math.h>

/* The integral of x^-exponent: (x^(1-e) - 1) / (1-e), which is log x where e is 1. */
static double zipf_area(const struct zipf *zipf, double x)
{
    double rest = 1 - zipf->exponent;
    double log_x = log(x);

    return fabs(rest * log_x) < 1e-8 ? log_x : expm1(rest * log_x) / rest;
}

static double zipf_point(const struct zipf *zipf, double area)
{
    double rest = 1 - zipf->exponent;
    double grown = area * rest;

    if (grown < -1)
        grown = -1; /* rounding only: the area of an infinite tail */
    return fabs(grown) < 1e-8 ? exp(area) : exp(log1p(grown) / rest);
}

void zipf_init(struct zipf *zipf, uint64_t n, double exponent)
{
    *zipf = (struct zipf){.n = n, .exponent = exponent};
    zipf->area_first = zipf_area(zipf, 1.5) - 1;
    zipf->area_last = zipf_area(zipf, (double)n + 0.5);
    zipf->shortcut = 2 - zipf_point(zipf, zipf_area(zipf, 2.5) - pow(2, -exponent));
}

bool zipf_try(const struct zipf *zipf, double uniform, uint64_t *rank)
{
    double area = zipf->area_last + uniform * (zipf->area_first - zipf->area_last);
    double point = zipf_point(zipf, area);
    double whole = floor(point + 0.5);

    if (whole < 1)
        whole = 1;
    if (whole > (double)zipf->n)
        whole = (double)zipf->n;
    *rank = (uint64_t)whole - 1;
    return whole - point <= zipf->shortcut ||
           area >= zipf_area(zipf, whole + 0.5) - pow(whole, -zipf->exponent);
}
