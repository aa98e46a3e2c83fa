/* Requests of the load generator: key names, and RESP commands from templates made once.
 * Purpose:   append commands to a send buffer at the price of a copy and a few digits each.
 * Ownership: `struct request` owns its templates; key lists in `struct key_pick` are borrowed.
 * Threading: one thread.
 * Errors:    -EINVAL for a format that cannot hold its numbers, -ENOMEM. */
#ifndef POLLUX_BENCH_REQUEST_H
#define POLLUX_BENCH_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/pollux-bench/zipf.h"

enum {
    KEY_LEN_MAX = 256,
    KEY_GROUP_MAX = 100, /* two digits tell the keys of a group apart */
    REQUEST_KEYS_MAX = 100,
    REQUEST_VALUE_MAX = 1 << 20,
    REQUEST_CYCLE_MAX = 1000, /* commands after which the mix begins again */
    REQUEST_SIZES_MAX = 32,   /* different value sizes of one run */
};

/* How key number n is spelled: prefix and digits, exactly `len_bytes` long. With `group` > 0, keys
 * n / group share a hash tag, so they share a slot: "{prefix digits}" and two digits. */
struct key_format {
    const char *prefix;
    uint32_t len_bytes;
    uint32_t group;
};

/* Returns 0, or -EINVAL if numbers below `count` do not fit into the format. */
int key_format_check(const struct key_format *format, uint64_t count);

/* Writes the key's `len_bytes` bytes, unterminated. */
void key_format_write(const struct key_format *format, uint64_t number, char *out);

/* Where random keys are drawn from: `count` numbers (of groups, if the format has groups), those in
 * `list` or, where that is NULL, all from 0. */
struct key_pick {
    const uint32_t *list;
    uint64_t count;
    struct zipf zipf; /* how popular they are, the first one most; n 0: all alike */
};

enum request_verb {
    REQUEST_PING,
    REQUEST_GET,
    REQUEST_SET,
    REQUEST_SETNEW, /* SET of the next key number in turn, not of a random one */
    REQUEST_INCR,
    REQUEST_MSET,
    REQUEST_MGET,
    REQUEST_VERBS,
};

/* Value sizes, each drawn with probability weight / total. */
struct request_sizes {
    uint32_t count;
    uint64_t total;
    struct {
        uint32_t bytes;
        uint32_t weight;
    } list[REQUEST_SIZES_MAX];
};

/* Reads "64", "64=9,1024=1" (nine of ten values are 64 bytes long) or "10-1000" (sizes evenly in
 * between). -EINVAL for other text, more than REQUEST_SIZES_MAX sizes or one over the maximum. */
int request_sizes_parse(struct request_sizes *sizes, const char *text);

/* One command with values of one size. */
struct request_template {
    char *bytes; /* the whole command with key places to fill; NULL if not in the mix */
    uint32_t len_bytes;
    uint32_t keys;
    uint32_t key_offset[REQUEST_KEYS_MAX];
};

struct request_options {
    struct key_format format;
    struct request_sizes sizes;
    bool value_is_integer; /* digits instead of letters, for INCR */
    uint32_t multi;        /* keys of an MSET or MGET */
    uint64_t ttl_s;        /* with SET; 0: none */
    uint64_t next_number;  /* first key of SETNEW */
    uint64_t seed;
};

struct request {
    struct request_options options;
    struct request_template templates[REQUEST_VERBS][REQUEST_SIZES_MAX];
    uint8_t cycle[REQUEST_CYCLE_MAX]; /* verbs in the order sent, over and over */
    uint32_t cycle_len;
    uint32_t cycle_at;
    uint32_t longest_bytes; /* of any command in the mix: what request_append may need */
    uint64_t next_number;
    uint64_t random;
};

/* `mix` is "get=4,set=1": that many of each in turn. Returns 0, -EINVAL (unknown verb, bad number,
 * format too short) or -ENOMEM; on error nothing is left allocated. */
int request_init(struct request *request, const struct request_options *options, const char *mix);
void request_fini(struct request *request);

/* Appends the next command of the mix. `out` has room for `longest_bytes`. Returns its length. */
uint32_t request_append(struct request *request, const struct key_pick *pick, char *out);

/* Appends a SET of key number `number`; setnew is in the mix. */
uint32_t request_append_set(struct request *request, uint64_t number, char *out);

/* A number below `bound`, equally likely each (xorshift64*, then the high half of a product). */
uint64_t request_random(struct request *request, uint64_t bound);
/* A number in [0, 1), equally likely each. */
double request_random_unit(struct request *request);

#endif
