#include "tests/bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_INT, OPTION_U32, OPTION_U64, OPTION_SECONDS };

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
    {"host", OPTION_TEXT, AT(host), 0, 0, "address of the server (127.0.0.1)"},
    {"port", OPTION_TEXT, AT(port), 0, 0, "its port (6379)"},
    {"mix", OPTION_TEXT, AT(mix), 0, 0,
     "commands in turn: ping get set setnew incr mset mget, as in get=4,set=1 (get)"},
    {"clients", OPTION_U32, AT(clients), 1, OPTIONS_CLIENTS_MAX, "connections (50)"},
    {"pipeline", OPTION_U32, AT(pipeline), 1, OPTIONS_PIPELINE_MAX, "requests in a burst (1)"},
    {"keys", OPTION_U64, AT(keys), 1, 1e12, "random keys are drawn from so many (1000000)"},
    {"prefix", OPTION_TEXT, AT(request.format.prefix), 0, 0, "beginning of every key (k:)"},
    {"key-len", OPTION_U32, AT(request.format.len_bytes), 1, KEY_LEN_MAX, "bytes of a key (16)"},
    {"group", OPTION_U32, AT(request.format.group), 0, KEY_GROUP_MAX,
     "so many neighbouring keys share a hash tag (0: none)"},
    {"multi", OPTION_U32, AT(request.multi), 1, REQUEST_KEYS_MAX, "keys of mset and mget (10)"},
    {"value-len", OPTION_U32, AT(request.value_len_bytes), 0, REQUEST_VALUE_MAX,
     "bytes of a value (64)"},
    {"int-values", OPTION_FLAG, AT(request.value_is_integer), 0, 0, "values that INCR takes"},
    {"ttl", OPTION_U64, AT(request.ttl_s), 0, 1e12, "seconds that set and setnew give (0: none)"},
    {"first", OPTION_U64, AT(request.next_number), 0, 1e12, "first key number of setnew (0)"},
    {"seed", OPTION_U64, AT(request.seed), 0, 1e18, "of the random keys (1)"},
    {"seconds", OPTION_SECONDS, AT(seconds), 0.01, 86400, "length of the measurement (2)"},
    {"warmup", OPTION_SECONDS, AT(warmup_s), 0, 86400, "load before it (0.3)"},
    {"requests", OPTION_U64, AT(requests), 0, 1e15,
     "end after so many, without warm-up (0: by time)"},
    {"rate", OPTION_SECONDS, AT(rate), 0, 1e9,
     "requests a second on a fixed schedule (0: each connection waits for its replies)"},
    {"server-pid", OPTION_INT, AT(server_pid), 0, 1e9, "report the CPU time of this process"},
    {"cpu", OPTION_INT, AT(cpu), -1, 1023, "run on this core (-1: any)"},
    {"cluster", OPTION_FLAG, AT(cluster), 0, 0, "send each key to the port in CLUSTER SLOTS"},
    {"split", OPTION_U32, AT(split), 0, OPTIONS_SPLIT_MAX,
     "each connection keeps to the keys of one of so many equal slot ranges (0: all keys)"},
    {"spin", OPTION_FLAG, AT(spin), 0, 0, "never sleep: the server pays for no wake-ups"},
    {"json", OPTION_FLAG, AT(json), 0, 0, "print one JSON object"},
    {"help", OPTION_FLAG, AT(help), 0, 0, "print this"},
};
#undef AT

enum { OPTION_ROWS = sizeof(option_rows) / sizeof(option_rows[0]) };

void options_usage(void)
{
    puts(
        "usage: pollux-load [--option value ...]\n\nLoads a RESP server and reports rates, CPU time"
        " and latencies.\n");
    for (int i = 0; i < OPTION_ROWS; i++)
        printf("  --%-12s %s\n", option_rows[i].name, option_rows[i].help);
    puts("\nTo fill a server: --mix setnew --requests N --clients 1 --pipeline 64");
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
    bool whole = row->kind == OPTION_SECONDS || number == (double)(int64_t)number;
    if (end == text || *end != '\0' || !(number >= row->min && number <= row->max) || !whole) {
        fprintf(stderr, "pollux-load: --%s wants a number from %g to %g, not '%s'\n", row->name,
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

static int options_check(const struct options *options)
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
    if (wrong == NULL)
        return 0;
    fprintf(stderr, "pollux-load: %s\n", wrong);
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
        .request = {.format = {.prefix = "k:", .len_bytes = 16},
                    .value_len_bytes = 64,
                    .multi = 10,
                    .seed = 1},
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
        fprintf(stderr, "pollux-load: unexpected argument '%s'\n", argv[optind]);
        return -EINVAL;
    }
    return options->help ? 0 : options_check(options);
}
