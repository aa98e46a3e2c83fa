/* Ring probe: how far apart two cores are at the moment.
 * Purpose:   two pinned threads pass a number back and forth over two one-slot rings. On a virtual
 *            machine the host may move its CPUs about, and every figure of traffic between cores
 *            moves along: a run is comparable only with runs in the same state.
 * Ownership: nothing stays. Threading: makes its two threads and waits for them.
 * Errors:    -EINVAL for a core that is not ours, or what pthread_create says, as -errno. */
#ifndef POLLUX_BENCH_PROBE_H
#define POLLUX_BENCH_PROBE_H

enum {
    PROBE_ROUNDS = 4000,
    PROBE_BATCH = 8,    /* rounds of one sample: a clock reading costs as much as a hand-over */
    PROBE_FAR_NS = 400, /* round trips from here on are "far": neighbours take about 200 ns */
};

/* The median round trip in ns. */
int probe_run(const int cpus[2], double *round_trip_ns);

/* "near" or "far"; "mixed" if the two differ; "unknown" if not measured (0). */
const char *probe_label(double before_ns, double after_ns);

#endif
