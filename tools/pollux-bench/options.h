/* Command line of pollux-bench.
 * Purpose:   read and check every option before a socket is opened.
 * Ownership: the texts are those of argv.
 * Threading: one thread.
 * Errors:    options_parse prints what is wrong and returns -EINVAL. */
#ifndef POLLUX_BENCH_OPTIONS_H
#define POLLUX_BENCH_OPTIONS_H

#include <stdbool.h>

#include "tools/pollux-bench/request.h"

enum {
    OPTIONS_CLIENTS_MAX = 1000000,
    OPTIONS_ADDRESSES_MAX = 16,
    OPTIONS_PIPELINE_MAX = 4096,
    OPTIONS_SPLIT_MAX = 256,
    OPTIONS_QUEUES_MAX = 64,
    OPTIONS_BURST_BYTES_MAX = 256 << 20, /* of one pipelined burst */
};

struct options {
    const char *host;
    const char *port;
    const char *mix;
    uint32_t clients;
    uint32_t idle;         /* more connections, on which nothing is sent */
    const char *idle_port; /* half of those go there; NULL: all to `port` */
    uint32_t pipeline;
    uint64_t keys; /* random keys are drawn from 0 .. keys - 1 */
    double zipf;   /* exponent of their popularity; 0: all alike */
    const char *value_len;
    struct request_options request;
    bool preload;
    double seconds;
    double warmup_s;
    double ramp_s;     /* before the warm-up: connections open, or the rate rises, evenly */
    uint64_t requests; /* end after that many replies; 0: end by time */
    double rate;       /* requests a second, open loop; 0: closed loop */
    bool exclude_gaps; /* report its latency also without what the machine's gaps hit (gaps.h) */
    bool poisson;      /* arrivals of the open loop at random times */
    uint32_t churn;    /* close each connection after so many requests; 0: never */
    bool reset;        /* ... by a reset */
    bool reconnect;    /* a connection that breaks is counted and opened again */
    double timeout_s;  /* without any reply or connection */
    int server_pid;    /* whose CPU time is read; 0: nobody's */
    int cpu;           /* to run on; -1: anywhere */
    bool cluster;
    uint32_t split; /* equal slot ranges; a connection keeps to one. 0: it takes keys of all */
    bool spin;
    const char *probe;
    int probe_cpus[2];     /* between which the ring probe runs; -1: it does not */
    const char *dpdk_port; /* spec of the packet port; NULL: kernel sockets */
    const char *dpdk_args;
    uint32_t queues;     /* of the packet port, all polled by the one thread */
    const char *address; /* our own, with its prefix */
    uint32_t addresses;  /* how many, upwards from that; each has some 64,000 ports */
    const char *gateway;
    uint32_t mtu;        /* 0: the device's */
    const char *l2_echo; /* "server" or "client"; NULL: a load */
    double syn_flood;    /* SYNs a second from made-up addresses; 0: none */
    uint32_t frame_len;  /* of echoed frames */
    uint32_t window;     /* frames under way */
    double progress_s;   /* between two lines on standard error; 0: none */
    const char *plot;    /* file for the SVG; NULL: none */
    bool json;
    bool help;
};

/* Returns 0, or -EINVAL after a line on standard error. With --help only `help` is of use. */
int options_parse(struct options *options, int argc, char **argv);

/* Prints how to call the program. */
void options_usage(void);

#endif
