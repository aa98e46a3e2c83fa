/* Reports of a run: text for people, one JSON object for programs, an SVG of its latencies.
 * Ownership: nothing is kept. Threading: one thread.
 * Errors:    report_plot: negative errno of the file. */
#ifndef POLLUX_BENCH_REPORT_H
#define POLLUX_BENCH_REPORT_H

#include <stdio.h>

#include "tools/pollux-bench/options.h"
#include "tools/pollux-bench/result.h"

void report_text(FILE *out, const struct options *options, const struct result *result);
void report_json(FILE *out, const struct options *options, const struct result *result);

/* Two panels: latency by percentile, and rate and latency by time. */
int report_plot(const char *path, const struct options *options, const struct result *result);

/* Writes a JSON string, quotes included. Bytes outside printable ASCII become '?'. */
void report_json_string(FILE *out, const char *text);

#endif
