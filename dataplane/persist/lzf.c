#include "dataplane/persist/lzf.h"

#include <stdbool.h>
#include <string.h>

enum {
    MATCH_MIN = 3,
    MATCH_SHORT = 7,      /* from here on the length has a byte of its own */
    MATCH_UNCHECKED = 19, /* see match_length */
    REHASHED = 2,         /* positions at the end of a match that are entered in the table */
    MATCH_BYTES = 3,      /* what a match takes at most ... */
    RUN_OPEN_BYTES = 1,   /* ... and the control byte of the run behind it */
    TAIL_BYTES = 3,       /* two bytes that begin no match, and a control byte */
};

/* Compression under way. */
struct lzf {
    struct lzf_table *table;
    const uint8_t *data;
    size_t len_bytes;
    uint8_t *out;
    size_t out_bytes;
    size_t in, at; /* read and written so far */
    unsigned run;  /* bytes in the open run; its control byte is in front of them */
};

static uint32_t slot_of(const uint8_t *three)
{
    uint32_t value = (uint32_t)three[0] << 16 | (uint32_t)three[1] << 8 | three[2];

    return ((value >> (24 - LZF_TABLE_BITS)) - value * 5) & ((1u << LZF_TABLE_BITS) - 1);
}

static uint32_t enter(struct lzf *lzf)
{
    uint32_t *slot = &lzf->table->at[slot_of(lzf->data + lzf->in)];
    uint32_t before = *slot;

    *slot = (uint32_t)lzf->in;
    return before;
}

static bool is_match(const struct lzf *lzf, uint32_t at)
{
    /* Position 0 reads as "never seen". */
    return at > 0 && at < lzf->in && lzf->in - at <= LZF_DISTANCE_MAX &&
           memcmp(lzf->data + at, lzf->data + lzf->in, MATCH_MIN) == 0;
}

static void open_run(struct lzf *lzf)
{
    lzf->run = 0;
    lzf->at++;
}

/* An empty run leaves no trace. */
static void close_run(struct lzf *lzf)
{
    if (lzf->run == 0)
        lzf->at--;
    else
        lzf->out[lzf->at - lzf->run - 1] = (uint8_t)(lzf->run - 1);
}

static void put_byte(struct lzf *lzf)
{
    lzf->out[lzf->at++] = lzf->data[lzf->in++];
    if (++lzf->run == LZF_RUN_MAX) {
        close_run(lzf);
        open_run(lzf);
    }
}

/* The last two bytes of the input stay out of a match, unless the first so many bytes, which are
 * compared without a look at the end, reach them. */
static size_t match_length(const struct lzf *lzf, uint32_t at)
{
    size_t most = lzf->len_bytes - lzf->in - 2, length = MATCH_MIN;

    if (most > LZF_MATCH_MAX)
        most = LZF_MATCH_MAX;
    if (most > MATCH_UNCHECKED - MATCH_MIN && most < MATCH_UNCHECKED)
        most = MATCH_UNCHECKED;
    while (length < most && lzf->data[at + length] == lzf->data[lzf->in + length])
        length++;
    return length;
}

static void put_match(struct lzf *lzf, uint32_t at)
{
    size_t distance = lzf->in - at - 1, length = match_length(lzf, at), code = length - 2;

    if (code < MATCH_SHORT) {
        lzf->out[lzf->at++] = (uint8_t)(distance >> 8 | code << 5);
    } else {
        lzf->out[lzf->at++] = (uint8_t)(distance >> 8 | MATCH_SHORT << 5);
        lzf->out[lzf->at++] = (uint8_t)(code - MATCH_SHORT);
    }
    lzf->out[lzf->at++] = (uint8_t)distance;
    lzf->in += length;
}

static bool match_fits(const struct lzf *lzf)
{
    return lzf->at - (lzf->run == 0) + MATCH_BYTES + RUN_OPEN_BYTES < lzf->out_bytes;
}

static bool more_matches(const struct lzf *lzf)
{
    return lzf->in + 2 < lzf->len_bytes;
}

/* False: it does not fit. */
static bool compress(struct lzf *lzf)
{
    while (more_matches(lzf)) {
        uint32_t at = enter(lzf);
        if (!is_match(lzf, at)) {
            if (lzf->at >= lzf->out_bytes)
                return false;
            put_byte(lzf);
            continue;
        }
        if (!match_fits(lzf))
            return false;
        close_run(lzf);
        put_match(lzf, at);
        open_run(lzf);
        if (!more_matches(lzf))
            break;
        lzf->in -= REHASHED;
        for (int i = 0; i < REHASHED; i++, lzf->in++)
            enter(lzf);
    }
    if (lzf->at + TAIL_BYTES > lzf->out_bytes)
        return false;
    while (lzf->in < lzf->len_bytes)
        put_byte(lzf);
    close_run(lzf);
    return true;
}

size_t lzf_compress(struct lzf_table *table, const char *data, size_t len_bytes, char *out,
                    size_t out_bytes)
{
    struct lzf lzf = {.table = table,
                      .data = (const uint8_t *)data,
                      .len_bytes = len_bytes,
                      .out = (uint8_t *)out,
                      .out_bytes = out_bytes};

    if (len_bytes == 0 || out_bytes == 0 || len_bytes > UINT32_MAX)
        return 0;
    memset(table, 0, sizeof *table);
    open_run(&lzf);
    return compress(&lzf) ? lzf.at : 0;
}
