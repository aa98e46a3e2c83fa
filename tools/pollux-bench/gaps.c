#include "tools/pollux-bench/gaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GAPS_TIMES_BITS = 14, GAPS_TIMES_MAX = (1 << GAPS_TIMES_BITS) - 1 };

struct gaps_sample {
    uint64_t due_ns;
    uint64_t latency_ns : 64 - GAPS_TIMES_BITS; /* 13 days */
    uint64_t times : GAPS_TIMES_BITS;
};

/* Requests due in [begin_ns, end_ns) are left out. */
struct window {
    uint64_t begin_ns;
    uint64_t end_ns;
};

struct gaps {
    struct gap_side own;
    struct gap_side server;
    uint32_t windows_count;
    bool lacks_room;
    uint64_t samples_count;
    uint64_t samples_max;
    struct gaps_sample *samples;
    struct window windows[GAPS_MAX];
};

int gaps_create(struct gaps **gaps, uint64_t samples_max)
{
    if (samples_max > GAPS_SAMPLES_MAX)
        return -E2BIG;
    struct gaps *made = calloc(1, sizeof(*made));
    struct gaps_sample *samples = malloc((samples_max + 1) * sizeof(*samples));
    if (made == NULL || samples == NULL) {
        free(made);
        free(samples);
        return -ENOMEM;
    }
    /* Page faults now, not while it measures. */
    memset(samples, 1, (samples_max + 1) * sizeof(*samples));
    made->samples = samples;
    made->samples_max = samples_max;
    *gaps = made;
    return 0;
}

void gaps_destroy(struct gaps *gaps)
{
    if (gaps != NULL)
        free(gaps->samples);
    free(gaps);
}

void gaps_sample(struct gaps *gaps, uint64_t due_ns, uint64_t done_ns, uint32_t times)
{
    while (times > 0) {
        uint32_t step = times < GAPS_TIMES_MAX ? times : (uint32_t)GAPS_TIMES_MAX;
        if (gaps->samples_count == gaps->samples_max) {
            gaps->lacks_room = true;
            return;
        }
        gaps->samples[gaps->samples_count++] =
            (struct gaps_sample){.due_ns = due_ns, .latency_ns = done_ns - due_ns, .times = step};
        times -= step;
    }
}

static void gaps_note(struct gaps *gaps, struct gap_side *side, const struct gap *gap)
{
    side->count++;
    side->lost_ns += gap->lost_ns;
    if (gap->lost_ns > side->longest_ns)
        side->longest_ns = gap->lost_ns;
    if (gap->end_ns - gap->begin_ns > gap->lost_ns + GAPS_VAGUE_NS) {
        side->vague++;
        return;
    }
    if (gaps->windows_count == GAPS_MAX) {
        gaps->lacks_room = true;
        return;
    }
    gaps->windows[gaps->windows_count++] =
        (struct window){gap->begin_ns - GAPS_LEAD_NS, gap->end_ns + gap->lost_ns};
}

void gaps_note_own(struct gaps *gaps, const struct gap *gap)
{
    gaps_note(gaps, &gaps->own, gap);
}

void gaps_note_server(struct gaps *gaps, const struct gap *gap)
{
    gaps_note(gaps, &gaps->server, gap);
}

/* ---- What the server tells -------------------------------------------------------------------- */

static uint64_t gaps_ours_ns(const struct gaps_clock *clock, uint64_t theirs_ns)
{
    double span = (double)(clock->theirs_ns[1] - clock->theirs_ns[0]);
    double drift = (double)(clock->ours_ns[1] - clock->ours_ns[0]) - span;
    double part = ((double)theirs_ns - (double)clock->theirs_ns[0]) / (span > 0 ? span : 1);

    return clock->ours_ns[0] + (theirs_ns - clock->theirs_ns[0]) +
           (uint64_t)(int64_t)(drift * part);
}

/* "worker", its number, "count", that of all gaps ever, "gaps". Returns how many follow. */
static int64_t gaps_read_head(struct ask_cursor *cursor, int64_t *ever)
{
    char name[32];

    if (ask_number(cursor, '*') != 6 || ask_bulk(cursor, name, sizeof(name)) < 0 ||
        ask_number(cursor, ':') < 0 || ask_bulk(cursor, name, sizeof(name)) < 0)
        return -EPROTO;
    *ever = ask_number(cursor, ':');
    if (*ever < 0 || ask_bulk(cursor, name, sizeof(name)) < 0 || strcmp(name, "gaps") != 0)
        return -EPROTO;
    return ask_number(cursor, '*');
}

/* [begin, end, lost] in us. */
static int gaps_read_one(struct ask_cursor *cursor, const struct gaps_clock *clock, struct gap *gap)
{
    if (ask_number(cursor, '*') != 3)
        return -EPROTO;
    int64_t begin_us = ask_number(cursor, ':');
    int64_t end_us = ask_number(cursor, ':');
    int64_t lost_us = ask_number(cursor, ':');
    if (begin_us < 0 || lost_us < 0 || end_us < begin_us || lost_us > end_us - begin_us + 1)
        return -EPROTO;
    *gap = (struct gap){.begin_ns = gaps_ours_ns(clock, (uint64_t)begin_us * 1000),
                        .end_ns = gaps_ours_ns(clock, (uint64_t)end_us * 1000),
                        .lost_ns = (uint64_t)lost_us * 1000};
    return 0;
}

static int gaps_read_worker(struct gaps *gaps, struct ask_cursor *cursor,
                            const struct gaps_clock *clock, uint64_t from_ns, uint64_t until_ns)
{
    int64_t ever = 0;
    int64_t count = gaps_read_head(cursor, &ever);

    if (count < 0)
        return -EPROTO;
    for (int64_t i = 0; i < count; i++) {
        struct gap gap;
        if (gaps_read_one(cursor, clock, &gap) < 0)
            return -EPROTO;
        if (i == 0 && ever > count && gap.begin_ns > from_ns)
            return -ENOBUFS;
        if (gap.end_ns + gap.lost_ns > from_ns && gap.begin_ns < until_ns)
            gaps_note_server(gaps, &gap);
    }
    return 0;
}

int gaps_read(struct gaps *gaps, struct ask_cursor *cursor, const struct gaps_clock *clock,
              uint64_t from_ns, uint64_t until_ns)
{
    int64_t workers = ask_number(cursor, '*');
    int status = workers < 1 ? -EPROTO : 0;

    for (int64_t i = 0; i < workers && status == 0; i++)
        status = gaps_read_worker(gaps, cursor, clock, from_ns, until_ns);
    return status;
}

/* ---- The end ---------------------------------------------------------------------------------- */

static int gaps_compare(const void *a, const void *b)
{
    uint64_t x = ((const struct window *)a)->begin_ns;
    uint64_t y = ((const struct window *)b)->begin_ns;

    return (x > y) - (x < y);
}

/* Sorted, and none touches the next. */
static void gaps_merge(struct gaps *gaps)
{
    uint32_t kept = 0;

    qsort(gaps->windows, gaps->windows_count, sizeof(gaps->windows[0]), gaps_compare);
    for (uint32_t i = 0; i < gaps->windows_count; i++) {
        struct window *last = kept > 0 ? &gaps->windows[kept - 1] : NULL;
        if (last == NULL || gaps->windows[i].begin_ns > last->end_ns)
            gaps->windows[kept++] = gaps->windows[i];
        else if (gaps->windows[i].end_ns > last->end_ns)
            last->end_ns = gaps->windows[i].end_ns;
    }
    gaps->windows_count = kept;
}

static bool gaps_hit(const struct gaps *gaps, uint64_t due_ns)
{
    uint32_t low = 0, high = gaps->windows_count;

    while (low < high) { /* the first window that ends after it */
        uint32_t middle = low + (high - low) / 2;
        if (gaps->windows[middle].end_ns > due_ns)
            high = middle;
        else
            low = middle + 1;
    }
    return low < gaps->windows_count && gaps->windows[low].begin_ns <= due_ns;
}

int gaps_finish(struct gaps *gaps, struct gaps_report *report)
{
    *report = (struct gaps_report){.own = gaps->own, .server = gaps->server};
    histogram_init(&report->latency);
    gaps_merge(gaps);
    for (uint64_t i = 0; i < gaps->samples_count; i++) {
        const struct gaps_sample *sample = &gaps->samples[i];
        if (gaps_hit(gaps, sample->due_ns))
            report->left_out += sample->times;
        else
            histogram_add(&report->latency, sample->latency_ns, sample->times);
    }
    return gaps->lacks_room ? -ENOBUFS : 0;
}
