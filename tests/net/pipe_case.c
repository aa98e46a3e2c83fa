/* Which experiments there are, their text, and how a failing one is made smaller. */
#include "tests/net/pipe.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/net/chance.h"

struct field {
    const char *name;
    size_t offset;
    uint32_t plain; /* the value that makes the least trouble */
};

#define FIELD(text, member, plain)                                                                 \
    {                                                                                              \
        text, offsetof(struct pipe_case, member), plain                                            \
    }

/* In the order in which a failing case is made plainer. */
static const struct field fields[] = {
    FIELD("seed", seed, 0),
    FIELD("abort", abort, 0),
    FIELD("fail_every0", fail_every[0], 0),
    FIELD("fail_every1", fail_every[1], 0),
    FIELD("flip", flip, 0),
    FIELD("truncate", truncate, 0),
    FIELD("duplicate", duplicate, 0),
    FIELD("reorder", reorder, 0),
    FIELD("burst_drop", burst_drop, 0),
    FIELD("drop", drop, 0),
    FIELD("jitter", jitter_us, 0),
    FIELD("pauses", pauses, 0),
    FIELD("pause_ms", pause_ms, 0),
    FIELD("pin", pin, 0),
    FIELD("cookies", cookies, 0),
    FIELD("lazy", lazy, 0),
    FIELD("tso0", tso[0], 0),
    FIELD("tso1", tso[1], 0),
    FIELD("wrap", wrap, 0),
    FIELD("v6", v6, 0),
    FIELD("newreno", newreno, 1),
    FIELD("no_ecn", no_ecn, 1),
    FIELD("no_ws", no_ws, 0),
    FIELD("no_sack", no_sack, 0),
    FIELD("no_ts", no_ts, 1),
    FIELD("receive0", receive[0], 0),
    FIELD("receive1", receive[1], 0),
    FIELD("bytes0", bytes[0], 0),
    FIELD("bytes1", bytes[1], 0),
    FIELD("chunk", chunk, 1000),
    FIELD("mtu0", mtu[0], 1500),
    FIELD("mtu1", mtu[1], 1500),
    FIELD("packets0", packets[0], 1024),
    FIELD("packets1", packets[1], 1024),
    FIELD("abort_at", abort_at, 0),
    FIELD("latency", latency_us, 100),
    FIELD("limit", limit_s, 0),
};

enum { FIELDS = sizeof fields / sizeof *fields, SHRINK_RUNS_MAX = 400 };

static uint32_t *field_at(struct pipe_case *at, unsigned i)
{
    return (uint32_t *)((uint8_t *)at + fields[i].offset);
}

void pipe_format(const struct pipe_case *shown, char *text)
{
    size_t used = 0;

    for (unsigned i = 0; i < FIELDS; i++) {
        uint32_t value = *(const uint32_t *)((const uint8_t *)shown + fields[i].offset);

        used += (size_t)snprintf(text + used, PIPE_TEXT_MAX - used, "%s%s=%u", i > 0 ? " " : "",
                                 fields[i].name, value);
    }
}

bool pipe_parse(const char *text, struct pipe_case *parsed)
{
    char copy[PIPE_TEXT_MAX], *rest = copy, *word;

    snprintf(copy, sizeof copy, "%s", text);
    memset(parsed, 0, sizeof *parsed);
    for (unsigned i = 0; i < FIELDS; i++)
        *field_at(parsed, i) = fields[i].plain;
    while ((word = strsep(&rest, " ")) != NULL) {
        char *value = strchr(word, '=');
        bool known = false;

        if (value == NULL)
            return false;
        *value++ = '\0';
        for (unsigned i = 0; i < FIELDS; i++) {
            if (strcmp(fields[i].name, word) == 0) {
                *field_at(parsed, i) = (uint32_t)strtoul(value, NULL, 10);
                known = true;
            }
        }
        if (!known)
            return false;
    }
    return true;
}

/* ---- Choosing -------------------------------------------------------------------------------- */

static bool chance(uint64_t *state, uint32_t of_100)
{
    return chance_below(state, 100) < of_100;
}

void pipe_choose(struct pipe_case *chosen, uint32_t seed)
{
    static const uint32_t mtus[] = {1500, 1500, 1500, 576, 1280, 1400, 1900, 9000};
    uint64_t random = seed;

    *chosen = (struct pipe_case){.seed = seed};
    if (chance(&random, 75))
        chosen->drop =
            chance(&random, 20) ? chance_below(&random, 1500) : chance_below(&random, 400);
    chosen->burst_drop = chance(&random, 20) ? chance_below(&random, 12) : 0;
    chosen->duplicate = chance(&random, 40) ? chance_below(&random, 1500) : 0;
    chosen->reorder = chance(&random, 40) ? chance_below(&random, 2500) : 0;
    chosen->flip = chance(&random, 30) ? chance_below(&random, 500) : 0;
    chosen->truncate = chance(&random, 20) ? chance_below(&random, 300) : 0;
    chosen->latency_us =
        chance(&random, 50) ? chance_below(&random, 300) : chance_below(&random, 60000);
    chosen->jitter_us = chance(&random, 50) ? 0 : chance_below(&random, 20000);
    for (unsigned side = 0; side < 2; side++) {
        chosen->bytes[side] = chance(&random, 15)   ? 0
                              : chance(&random, 30) ? chance_below(&random, 3000)
                              : chance(&random, 90) ? chance_below(&random, 150000)
                                                    : chance_below(&random, 1000000);
        chosen->receive[side] = chance(&random, 40) ? 2000 + chance_below(&random, 30000) : 0;
        chosen->fail_every[side] = chance(&random, 20) ? 3 + chance_below(&random, 40) : 0;
        chosen->packets[side] = chance(&random, 20) ? 64 + chance_below(&random, 200) : 1024;
        chosen->mtu[side] = mtus[chance_below(&random, sizeof mtus / sizeof *mtus)];
    }
    chosen->pauses = chance(&random, 30) ? chance_below(&random, 300) : 0;
    chosen->pause_ms = chance(&random, 20) ? 30000 : 2000;
    chosen->chunk =
        chance(&random, 30) ? 1 + chance_below(&random, 100) : 1 + chance_below(&random, 40000);
    chosen->pin = chance(&random, 40) ? chance_below(&random, 100) : 0;
    chosen->abort = chance(&random, 12) ? 1 + chance_below(&random, 2) : 0;
    chosen->v6 = chance(&random, 40);
    for (unsigned side = 0; side < 2; side++) {
        if (chosen->v6 && chosen->mtu[side] < 1280)
            chosen->mtu[side] = 1280;
    }
    chosen->newreno = chance(&random, 40);
    chosen->no_sack = chance(&random, 25);
    chosen->no_ts = chance(&random, 35);
    chosen->no_ws = chance(&random, 20);
    chosen->no_ecn = chance(&random, 50);
    chosen->lazy = chance(&random, 30);
    chosen->cookies = chance(&random, 15);
    chosen->wrap = chance(&random, 50) ? 1 + chance_below(&random, 5000) : 0;
    if (chosen->abort != 0)
        chosen->abort_at = chance_below(&random, chosen->bytes[2 - chosen->abort] + 1);
    if (chance(&random, 50))
        chosen->tso[chance_below(&random, 2)] =
            chance(&random, 50) ? 2 + chance_below(&random, 12) : PACKET_TSO_PARTS_MAX;
}

/* ---- Shrinking ------------------------------------------------------------------------------- */

/* Two failures with the same words, whatever the numbers in them. */
static bool same_words(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "0123456789");
        b += strspn(b, "0123456789");
        if (*a != *b || *a == '\0')
            return *a == *b;
    }
}

/* A plainer case that fails otherwise, for lack of any packet say, shows nothing of this one. */
static bool still_fails(struct pipe_world *world, const struct pipe_case *tried, const char *wanted,
                        unsigned *runs)
{
    return ++*runs <= SHRINK_RUNS_MAX && !pipe_run(world, tried) &&
           same_words(world->failure, wanted);
}

void pipe_shrink(struct pipe_world *world, struct pipe_case *failing)
{
    char wanted[PIPE_FAILURE_MAX];
    unsigned runs = 0;
    bool smaller = true;

    snprintf(wanted, sizeof wanted, "%s", world->failure);

    while (smaller && runs < SHRINK_RUNS_MAX) {
        smaller = false;
        for (unsigned i = 1; i < FIELDS; i++) {
            struct pipe_case tried = *failing;
            uint32_t value = *field_at(failing, i), plain = fields[i].plain;

            if (value == plain)
                continue;
            *field_at(&tried, i) = plain;
            if (!still_fails(world, &tried, wanted, &runs)) {
                if (value < plain || value - plain < 2)
                    continue;
                *field_at(&tried, i) = plain + (value - plain) / 2;
                if (!still_fails(world, &tried, wanted, &runs))
                    continue;
            }
            *failing = tried;
            smaller = true;
        }
    }
    pipe_run(world, failing);
}
