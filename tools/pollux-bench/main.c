/* pollux-bench: a load generator for cache servers, on one core.
 * Purpose:   offers RESP commands at less cost than any server spends on them, and reports rates,
 *            latencies, packets, and the CPU time that the server spent meanwhile.
 * Errors:    exit status 1 after a line on standard error. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "tools/pollux-bench/load.h"
#include "tools/pollux-bench/probe.h"
#include "tools/pollux-bench/report.h"

static int bench_fail(const char *what, int status)
{
    fprintf(stderr, "pollux-bench: %s: %s\n", what, strerror(-status));
    return status;
}

static int bench_pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return 0;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) < 0 ? bench_fail("--cpu", -errno) : 0;
}

/* As many descriptors as the hard limit gives; connecting tells if that is too few. */
static void bench_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int bench_probe(const struct options *options, double *round_trip_ns)
{
    *round_trip_ns = 0;
    if (options->probe_cpus[0] < 0)
        return 0;
    int status = probe_run(options->probe_cpus, round_trip_ns);
    return status < 0 ? bench_fail("--probe", status) : 0;
}

static int bench_report(const struct options *options, const struct result *result)
{
    if (options->json)
        report_json(stdout, options, result);
    else
        report_text(stdout, options, result);
    if (fflush(stdout) != 0)
        return bench_fail("standard output", -errno);
    int status = options->plot != NULL ? report_plot(options->plot, options, result) : 0;
    return status < 0 ? bench_fail(options->plot, status) : 0;
}

static int bench_load(const struct options *options, struct transport *transport)
{
    struct load *load = NULL;
    double before_ns = 0, after_ns = 0;
    int status = bench_probe(options, &before_ns);

    if (status == 0)
        status = load_create(&load, options, transport);
    if (status == 0)
        status = load_run(load);
    if (status == 0)
        status = bench_probe(options, &after_ns);
    if (status == 0) {
        load_set_probe(load, before_ns, after_ns);
        status = bench_report(options, load_result(load));
    }
    load_destroy(load);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    struct transport *transport = NULL;
    int status = options_parse(&options, argc, argv);

    if (status == 0 && options.help) {
        options_usage();
        return 0;
    }
    if (status == 0)
        status = bench_pin(options.cpu);
    if (status == 0) {
        bench_raise_descriptors();
        status = transport_kernel(&transport);
        if (status < 0)
            bench_fail("sockets", status);
    }
    if (status == 0)
        status = bench_load(&options, transport);
    transport_destroy(transport);
    return status < 0 ? 1 : 0;
}
