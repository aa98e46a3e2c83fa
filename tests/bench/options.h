/* Command line of pollux-load.
 * Purpose:   read and check every option before a socket is opened.
 * Ownership: the texts are those of argv.
 * Threading: one thread.
 * Errors:    options_parse prints what is wrong and returns -EINVAL. */
#ifndef POLLUX_TESTS_BENCH_OPTIONS_H
#define POLLUX_TESTS_BENCH_OPTIONS_H

#include <stdbool.h>

#include "tests/bench/request.h"

enum {
    OPTIONS_CLIENTS_MAX = 60000,
    OPTIONS_PIPELINE_MAX = 4096,
    OPTIONS_SPLIT_MAX = 256,
    OPTIONS_BURST_BYTES_MAX = 256 << 20, /* of one pipelined burst */
};

struct options {
    const char *host;
    const char *port;
    const char *mix;
    uint32_t clients;
    uint32_t pipeline;
    uint64_t keys; /* random keys are drawn from 0 .. keys - 1 */
    struct request_options request;
    double seconds;
    double warmup_s;
    uint64_t requests; /* end after that many replies; 0: end by time */
    double rate;       /* requests a second, open loop; 0: closed loop */
    int server_pid;    /* whose CPU time is read; 0: nobody's */
    int cpu;           /* to run on; -1: anywhere */
    bool cluster;
    uint32_t split; /* equal slot ranges; a connection keeps to one. 0: it takes keys of all */
    bool spin;
    bool json;
    bool help;
};

/* Returns 0, or -EINVAL after a line on standard error. With --help only `help` is of use. */
int options_parse(struct options *options, int argc, char **argv);

/* Prints how to call the program. */
void options_usage(void);

#endif
