/* LCS: the longest common subsequence of two strings.
 * The table of lengths is kept as one bit a cell: whether the length grows from the cell on its
 * left. A row follows from the one above by word-wise arithmetic (Hyyro, "Bit-parallel LCS-length
 * computation revisited", 2004), so 64 cells cost a handful of instructions, and the way back reads
 * the lengths from counts of bits. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/functions.h"
#include "dataplane/node.h"
#include "dataplane/store/keyspace.h"

enum {
    LCS_CELL_BYTES = 4, /* of Redis's table, which is what proto-max-bulk-len limits */
    /* Words of our own: 64 MiB and some 50 ms. Redis's limit at its default of 512 MiB stays below,
     * unless one string is megabytes and the other a few bytes. */
    LCS_WORDS_MAX = 1 << 23,
};

struct lcs_options {
    bool len, idx, with_match_len;
    int64_t min_match;
};

static bool read_options(struct call *call, struct lcs_options *options)
{
    *options = (struct lcs_options){0};
    for (uint32_t i = 3; i < call->argc; i++) {
        if (call_option(call, i, "idx")) {
            options->idx = true;
        } else if (call_option(call, i, "len")) {
            options->len = true;
        } else if (call_option(call, i, "withmatchlen")) {
            options->with_match_len = true;
        } else if (call_option(call, i, "minmatchlen") && i + 1 < call->argc) {
            if (!call_integer(call, ++i, &options->min_match))
                return false;
        } else {
            call_syntax_error(call);
            return false;
        }
    }
    if (options->idx && options->len) {
        reply_error(call->reply, "If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

/* Strings of both keys; an absent key is the empty string. */
static bool find_string(struct call *call, uint32_t position, char number[24], struct text *text)
{
    struct key key;

    *text = (struct text){"", 0};
    if (!key_find(call, call->argv[position], FIND_READ, &key))
        return true;
    if (entry_type(key.entry) != ENTRY_STRING) {
        reply_error(call->reply, "The specified keys must contain string values");
        return false;
    }
    *text = entry_string(key.entry, number);
    return true;
}

/* ---- the table ---- */

struct lcs {
    struct text down, across; /* a row for each byte of the longer string, a bit for the other's */
    bool a_is_down;           /* the command's first key is `down` */
    size_t words;             /* of a row */
    /* down.len_bytes + 1 rows: bit j is clear where the length grows from column j to j + 1 */
    uint64_t *rows;
};

static const uint64_t *row(const struct lcs *lcs, size_t number)
{
    return lcs->rows + number * lcs->words;
}

/* Where each byte occurs in `across`, as bits. */
static uint64_t *occurrences(const struct lcs *lcs)
{
    uint64_t *bits = calloc(256 * lcs->words, sizeof *bits);

    for (size_t j = 0; bits != NULL && j < lcs->across.len_bytes; j++)
        bits[(unsigned char)lcs->across.data[j] * lcs->words + j / 64] |= (uint64_t)1 << (j % 64);
    return bits;
}

/* False: no memory. */
static bool fill(struct lcs *lcs)
{
    uint64_t *bits;

    lcs->words = lcs->across.len_bytes / 64 + 1;
    bits = occurrences(lcs);
    lcs->rows = malloc((lcs->down.len_bytes + 1) * lcs->words * sizeof *lcs->rows);
    if (bits == NULL || lcs->rows == NULL) {
        free(bits);
        return false;
    }
    memset(lcs->rows, 0xff, lcs->words * sizeof *lcs->rows);
    for (size_t i = 0; i < lcs->down.len_bytes; i++) {
        const uint64_t *from = row(lcs, i),
                       *match = bits + (unsigned char)lcs->down.data[i] * lcs->words;
        uint64_t *to = lcs->rows + (i + 1) * lcs->words;
        uint64_t carry = 0;
        for (size_t w = 0; w < lcs->words; w++) {
            uint64_t common = from[w] & match[w], sum;
            bool over = __builtin_add_overflow(from[w], common, &sum);
            over |= __builtin_add_overflow(sum, carry, &sum);
            carry = over;
            to[w] = sum | (from[w] & ~match[w]);
        }
    }
    free(bits);
    return true;
}

static bool grows(const struct lcs *lcs, size_t number, size_t column)
{
    return (row(lcs, number)[column / 64] >> (column % 64) & 1) == 0;
}

/* The length for the first `number` bytes of `down` and the first `columns` of `across`. */
static size_t length(const struct lcs *lcs, size_t number, size_t columns)
{
    const uint64_t *words = row(lcs, number);
    size_t sum = 0;

    for (size_t w = 0; w < columns / 64; w++)
        sum += (size_t)__builtin_popcountll(~words[w]);
    if (columns % 64 != 0)
        sum += (size_t)__builtin_popcountll(~words[columns / 64] &
                                            (((uint64_t)1 << (columns % 64)) - 1));
    return sum;
}

/* ---- the way back ---- */

/* Bytes that are contiguous in both strings: [first, last] in each. */
struct range {
    bool open;
    size_t a_first, a_last, b_first, b_last;
};

struct ranges {
    const struct lcs_options *options;
    struct reply_memory memory;
    uint64_t count;
    struct range now;
};

static void close_range(struct ranges *ranges)
{
    struct reply *reply = &ranges->memory.reply;
    const struct range *range = &ranges->now;
    int64_t len = (int64_t)(range->a_last - range->a_first + 1);

    if (!range->open)
        return;
    ranges->now.open = false;
    if (!ranges->options->idx || len < ranges->options->min_match)
        return;
    reply_array(reply, ranges->options->with_match_len ? 3 : 2);
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)range->a_first);
    reply_integer(reply, (int64_t)range->a_last);
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)range->b_first);
    reply_integer(reply, (int64_t)range->b_last);
    if (ranges->options->with_match_len)
        reply_integer(reply, len);
    ranges->count++;
}

static void add_to_range(struct ranges *ranges, size_t a, size_t b)
{
    struct range *range = &ranges->now;

    if (!range->open)
        *range = (struct range){.open = true, .a_last = a, .b_last = b};
    range->a_first = a;
    range->b_first = b;
}

/* Walks back from the far corner, collecting bytes and ranges. Where two ways are equally long it
 * goes back in the second key's string, as Redis does. */
static void walk_back(const struct lcs *lcs, char *result, struct ranges *ranges)
{
    size_t i = lcs->down.len_bytes, j = lcs->across.len_bytes;
    size_t here = length(lcs, i, j), above = length(lcs, i - 1, j);

    while (i > 0 && j > 0) {
        size_t left = here - grows(lcs, i, j - 1), above_left = above - grows(lcs, i - 1, j - 1);
        if (lcs->down.data[i - 1] == lcs->across.data[j - 1]) {
            result[here - 1] = lcs->down.data[i - 1];
            i--;
            j--;
            add_to_range(ranges, lcs->a_is_down ? i : j, lcs->a_is_down ? j : i);
            here = above_left;
            above = i > 0 ? length(lcs, i - 1, j) : 0;
            continue;
        }
        close_range(ranges);
        if (lcs->a_is_down ? above > left : above >= left) {
            i--;
            here = above;
            above = i > 0 ? length(lcs, i - 1, j) : 0;
        } else {
            j--;
            here = left;
            above = above_left;
        }
    }
    close_range(ranges);
}

/* ---- replies ---- */

static void reply_ranges(struct call *call, struct ranges *ranges, size_t len)
{
    reply_map(call->reply, 2);
    reply_bulk_cstr(call->reply, "matches");
    reply_array(call->reply, ranges->count);
    reply_memory_finish(&ranges->memory);
    reply_memory_move(&ranges->memory, call->reply);
    reply_bulk_cstr(call->reply, "len");
    reply_integer(call->reply, (int64_t)len);
}

static void reply_lcs(struct call *call, const struct lcs *lcs, const struct lcs_options *options)
{
    struct ranges ranges = {.options = options};
    bool empty = lcs->down.len_bytes == 0 || lcs->across.len_bytes == 0;
    size_t len = empty ? 0 : length(lcs, lcs->down.len_bytes, lcs->across.len_bytes);
    char *result;

    if (options->len) {
        reply_integer(call->reply, (int64_t)len);
        return;
    }
    result = malloc(len + 1);
    if (result == NULL) {
        reply_error(call->reply, "-OOM no memory for the result");
        return;
    }
    reply_memory_init(&ranges.memory, call->reply->resp, NULL, 0);
    if (!empty)
        walk_back(lcs, result, &ranges);
    if (options->idx)
        reply_ranges(call, &ranges, len);
    else
        reply_bulk(call->reply, (struct text){result, len});
    reply_memory_fini(&ranges.memory);
    free(result);
}

/* Else replies. */
static bool size_allowed(struct call *call, struct text a, struct text b)
{
    uint64_t cells = ((uint64_t)a.len_bytes + 1) * ((uint64_t)b.len_bytes + 1);
    size_t shorter = a.len_bytes < b.len_bytes ? a.len_bytes : b.len_bytes;
    size_t longer = a.len_bytes < b.len_bytes ? b.len_bytes : a.len_bytes;

    if (a.len_bytes >= UINT32_MAX - 1 || b.len_bytes >= UINT32_MAX - 1) {
        reply_error(call->reply, "String too long for LCS");
        return false;
    }
    if (cells > (uint64_t)call->node->config->proto_max_bulk_len / LCS_CELL_BYTES) {
        reply_error(call->reply, "Insufficient memory, transient memory for LCS exceeds "
                                 "proto-max-bulk-len");
        return false;
    }
    if ((uint64_t)(longer + 1) * (shorter / 64 + 1) > LCS_WORDS_MAX) {
        reply_error(call->reply, "Insufficient memory, failed allocating transient memory for LCS");
        return false;
    }
    return true;
}

void cmd_lcs(struct call *call)
{
    struct lcs_options options;
    struct lcs lcs = {0};
    char number_a[24], number_b[24];
    struct text a, b;

    if (!find_string(call, 1, number_a, &a) || !find_string(call, 2, number_b, &b) ||
        !read_options(call, &options) || !size_allowed(call, a, b))
        return;
    lcs.a_is_down = a.len_bytes >= b.len_bytes;
    lcs.down = lcs.a_is_down ? a : b;
    lcs.across = lcs.a_is_down ? b : a;
    if (fill(&lcs))
        reply_lcs(call, &lcs, &options);
    else
        reply_error(call->reply, "Insufficient memory, failed allocating transient memory for LCS");
    free(lcs.rows);
}
