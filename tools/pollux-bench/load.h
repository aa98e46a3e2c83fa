/* The load: requests on connections, by a plan, and what came back.
 * Purpose:   closed loop: a connection sends a burst, waits for all its replies, sends the next.
 *            Open loop: bursts are due at times fixed beforehand, and latency counts from there, so
 *            that a stalled server is charged for every request it kept from being sent.
 * Ownership: the caller owns options, transport and clock, which outlive the load.
 * Threading: one thread.
 * Errors:    negative errno after a line on standard error. A reply that is no RESP ends the run, as
 *            does a connection that breaks, unless --reconnect. */
#ifndef POLLUX_BENCH_LOAD_H
#define POLLUX_BENCH_LOAD_H

#include "drivers/clock.h"
#include "tools/pollux-bench/options.h"
#include "tools/pollux-bench/result.h"
#include "tools/pollux-bench/transport.h"

struct load;

/* Finds the routes and preloads. The run ends early when stop_fd says so (stop.h). */
int load_create(struct load **load, const struct options *options, struct transport *transport,
                const struct clock_tsc *clock, int stop_fd);
/* Connects and runs to the end, or until it is told to stop. */
int load_run(struct load *load);
/* Valid until load_destroy. */
const struct result *load_result(const struct load *load);
/* The ring probe's medians, for the report. */
void load_set_probe(struct load *load, double before_ns, double after_ns);
void load_destroy(struct load *load);

#endif
