#include "tools/pollux-bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pollux-bench/echo.h"

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_INT, OPTION_U32, OPTION_U64, OPTION_REAL };

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;
    double min;
    double max;
    const char *help;
};

#define AT(field) offsetof(struct options, field)
static const struct option_row option_rows[] = {
    {"host", OPTION_TEXT, AT(host), 0, 0,
     "address of the server, or path of its UNIX socket (127.0.0.1)"},
    {"port", OPTION_TEXT, AT(port), 0, 0, "its port (6379)"},
    {"mix", OPTION_TEXT, AT(mix), 0, 0,
     "commands in turn: ping get set setnew incr mset mget, as in get=4,set=1 (get)"},
    {"clients", OPTION_U32, AT(clients), 1, OPTIONS_CLIENTS_MAX, "connections (50)"},
    {"idle", OPTION_U32, AT(idle), 0, OPTIONS_CLIENTS_MAX,
     "more connections, on which nothing is sent (0)"},
    {"idle-port", OPTION_TEXT, AT(idle_port), 0, 0,
     "every other idle connection goes to this port: one port takes only 64,000 from one address"},
    {"pipeline", OPTION_U32, AT(pipeline), 1, OPTIONS_PIPELINE_MAX, "requests in a burst (1)"},
    {"keys", OPTION_U64, AT(keys), 1, 1e12, "random keys are drawn from so many (1000000)"},
    {"zipf", OPTION_REAL, AT(zipf), 0, 10, "exponent of their popularity (0: all alike)"},
    {"prefix", OPTION_TEXT, AT(request.format.prefix), 0, 0, "beginning of every key (k:)"},
    {"key-len", OPTION_U32, AT(request.format.len_bytes), 1, KEY_LEN_MAX, "bytes of a key (16)"},
    {"group", OPTION_U32, AT(request.format.group), 0, KEY_GROUP_MAX,
     "so many neighbouring keys share a hash tag (0: none)"},
    {"multi", OPTION_U32, AT(request.multi), 1, REQUEST_KEYS_MAX, "keys of mset and mget (10)"},
    {"value-len", OPTION_TEXT, AT(value_len), 0, 0,
     "bytes of a value: 64, or a mix 64=9,1024=1, or a range 10-1000 (64)"},
    {"int-values", OPTION_FLAG, AT(request.value_is_integer), 0, 0, "values that INCR takes"},
    {"ttl", OPTION_U64, AT(request.ttl_s), 0, 1e12, "seconds that set and setnew give (0: none)"},
    {"first", OPTION_U64, AT(request.next_number), 0, 1e12, "first key number of setnew (0)"},
    {"seed", OPTION_U64, AT(request.seed), 0, 1e18, "of the random keys (1)"},
    {"preload", OPTION_FLAG, AT(preload), 0, 0, "first set every key once"},
    {"seconds", OPTION_REAL, AT(seconds), 0.01, 86400, "length of the measurement (2)"},
    {"warmup", OPTION_REAL, AT(warmup_s), 0, 86400, "load before it (0.3)"},
    {"ramp", OPTION_REAL, AT(ramp_s), 0, 86400,
     "before that, seconds in which connections are opened and the rate rises, evenly (0)"},
    {"requests", OPTION_U64, AT(requests), 0, 1e15,
     "end after so many, without warm-up (0: by time)"},
    {"rate", OPTION_REAL, AT(rate), 0, 1e9,
     "requests a second on a fixed schedule (0: each connection waits for its replies)"},
    {"poisson", OPTION_FLAG, AT(poisson), 0, 0, "... with random times between bursts"},
    {"exclude-gaps", OPTION_FLAG, AT(exclude_gaps), 0, 0,
     "... and report latency also without the requests that were hit while the machine ran neither "
     "side (a polluxd that polls, on this machine)"},
    {"churn", OPTION_U32, AT(churn), 0, 1e9,
     "close each connection after so many requests and open another (0: never)"},
    {"reset", OPTION_FLAG, AT(reset), 0, 0, "... by a reset, which leaves no TIME_WAIT behind"},
    {"reconnect", OPTION_FLAG, AT(reconnect), 0, 0,
     "count connections that break and open them again, instead of ending the run"},
    {"timeout", OPTION_REAL, AT(timeout_s), 0.1, 86400, "seconds of silence that end the run (30)"},
    {"server-pid", OPTION_INT, AT(server_pid), 0, 1e9, "report the CPU time of this process"},
    {"cpu", OPTION_INT, AT(cpu), -1, 1023, "run on this core (-1: any)"},
    {"cluster", OPTION_FLAG, AT(cluster), 0, 0, "send each key to the port in CLUSTER SLOTS"},
    {"split", OPTION_U32, AT(split), 0, OPTIONS_SPLIT_MAX,
     "each connection keeps to the keys of one of so many equal slot ranges (0: all keys)"},
    {"spin", OPTION_FLAG, AT(spin), 0, 0, "never sleep: the server pays for no wake-ups"},
    {"dpdk-port", OPTION_TEXT, AT(dpdk_port), 0, 0,
     "our own stack over this packet port instead of kernel sockets, as in "
     "net_memif0,role=client,socket=PATH"},
    {"dpdk-args", OPTION_TEXT, AT(dpdk_args), 0, 0, "more arguments for DPDK"},
    {"queues", OPTION_U32, AT(queues), 1, OPTIONS_QUEUES_MAX,
     "queue pairs of the packet port: a memif server with N workers wants N (1)"},
    {"address", OPTION_TEXT, AT(address), 0, 0, "our address on it (10.9.0.2/24)"},
    {"addresses", OPTION_U32, AT(addresses), 1, OPTIONS_ADDRESSES_MAX,
     "so many addresses upwards from that, each good for 64,000 connections to a port (1)"},
    {"gateway", OPTION_TEXT, AT(gateway), 0, 0, "where all goes that is not in our network"},
    {"mtu", OPTION_U32, AT(mtu), 0, 65535, "of the packet port (0: its own)"},
    {"syn-flood", OPTION_REAL, AT(syn_flood), 0, 1e8,
     "beside the load, so many SYNs a second from addresses in 198.18.0.0/15 (0)"},
    {"l2-echo", OPTION_TEXT, AT(l2_echo), 0, 0,
     "server or client: no load, but bare frames there and back over --dpdk-port"},
    {"frame-len", OPTION_U32, AT(frame_len), ECHO_FRAME_MIN, ECHO_FRAME_MAX,
     "bytes of such a frame (128)"},
    {"window", OPTION_U32, AT(window), 1, ECHO_WINDOW_MAX, "frames under way (256)"},
    {"probe", OPTION_TEXT, AT(probe), 0, 0,
     "A,B: measure the ring round trip between two cores before and after, which tells near from "
     "far"},
    {"progress", OPTION_REAL, AT(progress_s), 0, 86400,
     "seconds between progress lines on standard error (1; 0: none)"},
    {"plot", OPTION_TEXT, AT(plot), 0, 0, "write a latency plot to this SVG file"},
    {"json", OPTION_FLAG, AT(json), 0, 0, "print one JSON object"},
    {"help", OPTION_FLAG, AT(help), 0, 0, "print this"},
};
#undef AT

enum { OPTION_ROWS = sizeof(option_rows) / sizeof(option_rows[0]) };

void options_usage(void)
{
    puts("usage: pollux-bench [--option value ...]\n\nLoads a RESP server and reports rates, CPU "
         "time"
         " and latencies.\n");
    for (int i = 0; i < OPTION_ROWS; i++)
        printf("  --%-12s %s\n", option_rows[i].name, option_rows[i].help);
}

static int option_set(struct options *options, const struct option_row *row, char *text)
{
    char *field = (char *)options + row->offset;
    char *end = NULL;

    if (row->kind == OPTION_FLAG) {
        *(bool *)field = true;
        return 0;
    }
    if (row->kind == OPTION_TEXT) {
        *(char **)field = text;
        return 0;
    }
    double number = strtod(text, &end);
    bool whole = row->kind == OPTION_REAL || number == (double)(int64_t)number;
    if (end == text || *end != '\0' || !(number >= row->min && number <= row->max) || !whole) {
        fprintf(stderr, "pollux-bench: --%s wants a number from %g to %g, not '%s'\n", row->name,
                row->min, row->max, text);
        return -EINVAL;
    }
    switch (row->kind) {
    case OPTION_INT:
        *(int *)field = (int)number;
        break;
    case OPTION_U32:
        *(uint32_t *)field = (uint32_t)number;
        break;
    case OPTION_U64:
        *(uint64_t *)field = (uint64_t)number;
        break;
    default:
        *(double *)field = number;
        break;
    }
    return 0;
}

/* "A,B" */
static int options_probe(struct options *options)
{
    int end = 0;

    if (options->probe == NULL)
        return 0;
    if (sscanf(options->probe, "%d,%d%n", &options->probe_cpus[0], &options->probe_cpus[1], &end) ==
            2 &&
        options->probe[end] == '\0' && options->probe_cpus[0] >= 0 && options->probe_cpus[1] >= 0 &&
        options->probe_cpus[0] != options->probe_cpus[1])
        return 0;
    return -EINVAL;
}

static int options_check(struct options *options)
{
    const char *wrong = NULL;
    uint64_t last = options->requests + options->request.next_number;

    if (key_format_check(&options->request.format, options->keys) < 0 ||
        key_format_check(&options->request.format, last) < 0)
        wrong = "--key-len has no room for the prefix, the tag and the digits of --keys";
    else if (options->request.format.group > options->keys)
        wrong = "--keys is less than one group";
    else if (options->cluster && options->split > 0)
        wrong = "--cluster deals the keys itself: it goes without --split";
    else if (options->cluster && strstr(options->mix, "setnew") != NULL)
        wrong =
            "setnew takes keys in turn, whichever port they belong to: it goes without --cluster";
    else if (options->cluster && options->request.format.group == 0 &&
             (strstr(options->mix, "mset") != NULL || strstr(options->mix, "mget") != NULL))
        wrong = "a cluster takes mset and mget of one slot only: they need --group";
    else if (request_sizes_parse(&options->request.sizes, options->value_len) < 0)
        wrong = "--value-len wants bytes: 64, or 64=9,1024=1, or 10-1000";
    else if (options_probe(options) < 0)
        wrong = "--probe wants two different cores: 0,1";
    else if (options->l2_echo != NULL && strcmp(options->l2_echo, "server") != 0 &&
             strcmp(options->l2_echo, "client") != 0)
        wrong = "--l2-echo is server or client";
    else if (options->l2_echo != NULL && options->dpdk_port == NULL)
        wrong = "--l2-echo needs --dpdk-port";
    else if (options->syn_flood > 0 && options->dpdk_port == NULL)
        wrong = "--syn-flood needs --dpdk-port";
    else if (options->rate == 0 && options->poisson)
        wrong = "--poisson needs --rate";
    else if (options->exclude_gaps && (options->rate == 0 || options->dpdk_port == NULL))
        wrong = "--exclude-gaps needs --rate and --dpdk-port";
    else if (options->churn > 0 && options->pipeline > options->churn)
        wrong = "--churn closes between bursts: it wants at least --pipeline requests";
    if (wrong == NULL)
        return 0;
    fprintf(stderr, "pollux-bench: %s\n", wrong);
    return -EINVAL;
}

int options_parse(struct options *options, int argc, char **argv)
{
    struct option longs[OPTION_ROWS + 1] = {0};
    int row;

    *options = (struct options){
        .host = "127.0.0.1",
        .port = "6379",
        .mix = "get",
        .clients = 50,
        .pipeline = 1,
        .keys = 1000000,
        .seconds = 2,
        .warmup_s = 0.3,
        .cpu = -1,
        .value_len = "64",
        .address = "10.9.0.2/24",
        .addresses = 1,
        .queues = 1,
        .frame_len = 128,
        .window = 256,
        .timeout_s = 30,
        .progress_s = 1,
        .probe_cpus = {-1, -1},
        .request = {.format = {.prefix = "k:", .len_bytes = 16}, .multi = 10, .seed = 1},
    };
    for (int i = 0; i < OPTION_ROWS; i++) {
        longs[i].name = option_rows[i].name;
        longs[i].has_arg = option_rows[i].kind == OPTION_FLAG ? no_argument : required_argument;
        longs[i].val = i;
    }
    while ((row = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (row < 0 || row >= OPTION_ROWS || option_set(options, &option_rows[row], optarg) < 0)
            return -EINVAL;
    }
    if (optind < argc) {
        fprintf(stderr, "pollux-bench: unexpected argument '%s'\n", argv[optind]);
        return -EINVAL;
    }
    return options->help ? 0 : options_check(options);
}
