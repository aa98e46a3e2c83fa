/* pollux-bench: a load generator for cache servers, on one core.
 * Purpose:   offers RESP commands at less cost than any server spends on them, and reports rates,
 *            latencies, packets, and the CPU time that the server spent meanwhile.
 * Errors:    exit status 1 after a line on standard error. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "tools/pollux-bench/device.h"
#include "tools/pollux-bench/echo.h"
#include "tools/pollux-bench/load.h"
#include "tools/pollux-bench/probe.h"
#include "tools/pollux-bench/report.h"
#include "tools/pollux-bench/stop.h"

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

/* One measurement between two ring probes. */
static int bench_load(const struct options *options, struct transport *transport,
                      const struct clock_tsc *clock, int stop_fd)
{
    struct load *load = NULL;
    double before_ns = 0, after_ns = 0;
    int status = bench_probe(options, &before_ns);

    if (status == 0)
        status = load_create(&load, options, transport, clock, stop_fd);
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

static int bench_echo(const struct options *options, struct device *device,
                      const struct clock_tsc *clock, int stop_fd)
{
    if (strcmp(options->l2_echo, "server") == 0)
        return echo_serve(device, clock, stop_fd);
    struct result *result = calloc(1, sizeof(*result));
    if (result == NULL)
        return bench_fail("--l2-echo", -ENOMEM);
    int status = bench_probe(options, &result->probe_ns[0]);
    if (status == 0) {
        status = echo_load(device, clock, options, stop_fd, result);
        if (status < 0)
            bench_fail("--l2-echo: no frame came back", status);
    }
    if (status == 0)
        status = bench_probe(options, &result->probe_ns[1]);
    if (status == 0)
        status = bench_report(options, result);
    free(result);
    return status;
}

/* A load over the transport that the options name. */
static int bench_transport(const struct options *options, struct device *device,
                           const struct clock_tsc *clock, int stop_fd)
{
    struct transport *transport = NULL;
    int status;

    if (device != NULL) {
        status = transport_stack(&transport, device, clock, options);
    } else {
        status = transport_kernel(&transport);
        if (status < 0)
            bench_fail("sockets", status);
    }
    if (status == 0)
        status = bench_load(options, transport, clock, stop_fd);
    transport_destroy(transport);
    return status;
}

static int bench_run(const struct options *options)
{
    struct device *device = NULL;
    struct clock_tsc clock;
    int stop_fd = -1;
    int status = bench_pin(options->cpu);

    clock_tsc_init(&clock);

    bench_raise_descriptors();
    /* DPDK's threads are to inherit the blocked signals: it goes first. */
    if (status == 0) {
        stop_fd = stop_watch();
        status = stop_fd < 0 ? bench_fail("signals", stop_fd) : 0;
    }
    if (status == 0 && options->dpdk_port != NULL)
        status = device_open(&device, options);
    if (status == 0 && options->l2_echo != NULL)
        status = bench_echo(options, device, &clock, stop_fd);
    else if (status == 0)
        status = bench_transport(options, device, &clock, stop_fd);
    device_close(device);
    if (stop_fd >= 0)
        close(stop_fd);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    int status = options_parse(&options, argc, argv);

    if (status == 0 && options.help)
        options_usage();
    else if (status == 0)
        status = bench_run(&options);
    return status < 0 ? 1 : 0;
}
