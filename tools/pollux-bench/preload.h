/* Preload: every key set once, each over the route that serves it.
 * Purpose:   fill a server before the measurement, in pipelines, one connection a route.
 * Ownership: routes and transport are the caller's.
 * Threading: one thread; returns when all is answered.
 * Errors:    negative errno after a line on standard error; an error reply is one, too (-EIO). */
#ifndef POLLUX_BENCH_PRELOAD_H
#define POLLUX_BENCH_PRELOAD_H

#include "tools/pollux-bench/options.h"
#include "tools/pollux-bench/route.h"
#include "tools/pollux-bench/transport.h"

/* Returns the number of keys, or a negative errno. */
int64_t preload_run(const struct options *options, const struct routes *routes,
                    struct transport *transport);

#endif
