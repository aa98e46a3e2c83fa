/* What one run measured, for the reports.
 * Purpose:   plain numbers between the load, which fills them in, and text, JSON and plot.
 * Ownership: result_fini frees `series`.
 * Threading: one thread. Errors: none. */
#ifndef POLLUX_BENCH_RESULT_H
#define POLLUX_BENCH_RESULT_H

#include "tools/pollux-bench/gaps.h"
#include "tools/pollux-bench/histogram.h"
#include "tools/pollux-bench/reply.h"
#include "tools/pollux-bench/transport.h"

/* One interval of the run, warm-up and ramp included. */
struct result_interval {
    double end_s; /* since the start of the load */
    double seconds;
    uint64_t requests;
    uint64_t connections;
    uint64_t p50_ns;
    uint64_t p99_ns;
    uint64_t max_ns;
};

/* The span from the end of the warm-up on, if a field says nothing else. */
struct result {
    double seconds;
    double server_cpu_s;
    double own_cpu_s;
    double busy_share; /* of the generator's time: what it did not spend polling in vain */
    uint64_t requests;
    uint64_t connections;             /* completed */
    struct histogram latency;         /* of requests that were due in the span */
    struct histogram connect_latency; /* from the first SYN to the established connection */

    /* Since the start of the load, warm-up and ramp included: */
    uint64_t sent;
    uint64_t replies;
    uint64_t lost;   /* requests without a reply, as their connection broke */
    uint64_t broken; /* connections that the server or the network ended */
    uint64_t opened; /* connections */
    uint64_t preloaded;
    uint64_t next_key;
    uint32_t ports;
    struct reply_counts counts;
    struct transport_counters packets;
    struct result_interval *series;
    uint32_t series_count;
    uint32_t series_room;

    struct gaps_report gaps; /* --exclude-gaps */
    double probe_ns[2];      /* median ring round trip before and after; 0: not measured */
};

#endif
