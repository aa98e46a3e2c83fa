/* LCS: the longest common subsequence of two strings. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/functions.h"
#include "dataplane/node.h"
#include "dataplane/store/keyspace.h"

enum {
    /* 64 MiB of table, two strings of 4 KiB: some 60 ms. Larger inputs are refused, as everybody
     * else on this worker would wait for them. */
    LCS_CELLS_MAX = 1 << 24,
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
            if (options->min_match < 0)
                options->min_match = 0;
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

struct lcs {
    struct call *call;
    struct text a, b;
    uint32_t *cells; /* (a + 1) x (b + 1) */
    struct lcs_options options;
    struct reply_memory ranges;
    uint64_t range_count;
    char *result;
};

static uint32_t cell(const struct lcs *lcs, size_t i, size_t j)
{
    return lcs->cells[i * (lcs->b.len_bytes + 1) + j];
}

static void fill(struct lcs *lcs)
{
    size_t width = lcs->b.len_bytes + 1;

    memset(lcs->cells, 0, width * sizeof *lcs->cells);
    for (size_t i = 1; i <= lcs->a.len_bytes; i++) {
        uint32_t *row = lcs->cells + i * width, *above = row - width;
        row[0] = 0;
        for (size_t j = 1; j < width; j++) {
            if (lcs->a.data[i - 1] == lcs->b.data[j - 1])
                row[j] = above[j - 1] + 1;
            else
                row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
        }
    }
}

static void emit_range(struct lcs *lcs, size_t a_first, size_t a_last, size_t b_first,
                       size_t b_last)
{
    struct reply *reply = &lcs->ranges.reply;
    int64_t len = (int64_t)(a_last - a_first + 1);

    if (!lcs->options.idx || len < lcs->options.min_match)
        return;
    reply_array(reply, lcs->options.with_match_len ? 3 : 2);
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)a_first);
    reply_integer(reply, (int64_t)a_last);
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)b_first);
    reply_integer(reply, (int64_t)b_last);
    if (lcs->options.with_match_len)
        reply_integer(reply, len);
    lcs->range_count++;
}

/* Walks back from the far corner, collecting the bytes and the ranges that are contiguous in both strings. */
static void walk_back(struct lcs *lcs)
{
    size_t i = lcs->a.len_bytes, j = lcs->b.len_bytes, at = cell(lcs, i, j);
    size_t a_first = 0, a_last = 0, b_first = 0, b_last = 0;
    bool open = false;

    while (i > 0 && j > 0) {
        bool same = lcs->a.data[i - 1] == lcs->b.data[j - 1];
        if (same) {
            lcs->result[--at] = lcs->a.data[i - 1];
            if (open && a_first == i && b_first == j) {
                a_first--;
                b_first--;
            } else {
                if (open)
                    emit_range(lcs, a_first, a_last, b_first, b_last);
                a_first = a_last = i - 1;
                b_first = b_last = j - 1;
                open = true;
            }
            i--;
            j--;
        } else {
            if (cell(lcs, i - 1, j) > cell(lcs, i, j - 1))
                i--;
            else
                j--;
        }
    }
    if (open)
        emit_range(lcs, a_first, a_last, b_first, b_last);
}

static void reply_ranges(struct lcs *lcs, uint32_t len)
{
    struct reply *reply = lcs->call->reply;

    reply_map(reply, 2);
    reply_bulk_cstr(reply, "matches");
    reply_array(reply, lcs->range_count);
    reply_memory_finish(&lcs->ranges);
    reply_memory_move(&lcs->ranges, reply);
    reply_bulk_cstr(reply, "len");
    reply_integer(reply, len);
}

void cmd_lcs(struct call *call)
{
    struct lcs lcs = {.call = call};
    char number_a[24], number_b[24];

    if (!find_string(call, 1, number_a, &lcs.a) || !find_string(call, 2, number_b, &lcs.b))
        return;
    /* Looking for the second may have changed the first one's place. */
    if (!find_string(call, 1, number_a, &lcs.a) || !read_options(call, &lcs.options))
        return;
    if (lcs.a.len_bytes >= UINT32_MAX || lcs.b.len_bytes >= UINT32_MAX) {
        reply_error(call->reply, "String too long for LCS");
        return;
    }
    uint64_t cells = (uint64_t)(lcs.a.len_bytes + 1) * (lcs.b.len_bytes + 1);
    if (cells <= LCS_CELLS_MAX)
        lcs.cells = malloc(cells * sizeof *lcs.cells);
    if (lcs.cells == NULL) {
        reply_error(call->reply,
                    "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        return;
    }
    fill(&lcs);
    uint32_t len = cell(&lcs, lcs.a.len_bytes, lcs.b.len_bytes);
    lcs.result = malloc((size_t)len + 1);
    reply_memory_init(&lcs.ranges, call->reply->resp, NULL, 0);
    if (lcs.result == NULL)
        reply_error(call->reply, "-OOM no memory for LCS");
    else if (lcs.options.len)
        reply_integer(call->reply, len);
    else {
        walk_back(&lcs);
        if (lcs.options.idx)
            reply_ranges(&lcs, len);
        else
            reply_bulk(call->reply, (struct text){lcs.result, len});
    }
    reply_memory_fini(&lcs.ranges);
    free(lcs.result);
    free(lcs.cells);
}
