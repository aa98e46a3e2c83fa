#include "tools/pollux-bench/reply.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Reads the decimal of a header line, -1 being the only negative one. */
static int reply_length(const char *text, uint32_t len, int64_t max, int64_t *value)
{
    int64_t sum = 0;

    if (len == 2 && text[0] == '-' && text[1] == '1') {
        *value = -1;
        return 0;
    }
    if (len == 0)
        return -EPROTO;
    for (uint32_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EPROTO;
        sum = sum * 10 + (text[i] - '0');
        if (sum > max)
            return -EPROTO;
    }
    *value = sum;
    return 0;
}

static void reply_error(const char *text, uint32_t len, struct reply_counts *counts)
{
    if (len >= 6 && memcmp(text, "MOVED ", 6) == 0) {
        counts->moved++;
        return;
    }
    if (counts->errors++ == 0) {
        uint32_t kept = len < REPLY_LINE_MAX ? len : REPLY_LINE_MAX - 1;
        memcpy(counts->first_error, text, kept);
        counts->first_error[kept] = '\0';
    }
}

/* Closes one element. Returns whether that was the last one of its reply. */
static bool reply_close_element(struct reply *reply)
{
    return --reply->open_elements == 0;
}

/* Acts on one header line without its line end. Returns 1 if a reply ended with it, 0 or -EPROTO.
 */
static int reply_header(struct reply *reply, const char *line, uint32_t len,
                        struct reply_counts *counts)
{
    int64_t value = 0;

    if (reply->open_elements == 0)
        reply->open_elements = 1;
    switch (line[0]) {
    case '+':
    case ':':
        return reply_close_element(reply);
    case '-':
        reply_error(line + 1, len - 1, counts);
        return reply_close_element(reply);
    case '$':
        if (reply_length(line + 1, len - 1, REPLY_BULK_MAX, &value) < 0)
            return -EPROTO;
        if (value < 0)
            break;
        reply->skip_bytes = (uint64_t)value + 2;
        return 0;
    case '*':
        if (reply_length(line + 1, len - 1, REPLY_ELEMENTS_MAX, &value) < 0)
            return -EPROTO;
        if (value < 0)
            break;
        reply->open_elements += (uint64_t)value;
        if (reply->open_elements > REPLY_ELEMENTS_MAX)
            return -EPROTO;
        return reply_close_element(reply);
    default:
        return -EPROTO;
    }
    counts->nulls++;
    return reply_close_element(reply);
}

/* Keeps a part of a header line. Texts may be cut, they are only counted; lengths may not. */
static int reply_keep(struct reply *reply, const char *data, size_t len)
{
    size_t room = REPLY_LINE_MAX - reply->line_len;

    if (len > room) {
        char type = reply->line_len > 0 ? reply->line[0] : data[0];
        if (type != '+' && type != '-')
            return -EPROTO;
        len = room;
    }
    memcpy(reply->line + reply->line_len, data, len);
    reply->line_len += (uint32_t)len;
    return 0;
}

/* Acts on the header line that ends at `newline`, whose beginning may have come earlier. */
static int reply_line(struct reply *reply, const char *data, const char *newline,
                      struct reply_counts *counts)
{
    const char *line = data;
    size_t len = (size_t)(newline - data);

    if (reply->line_len > 0) {
        if (reply_keep(reply, data, len) < 0)
            return -EPROTO;
        line = reply->line;
        len = reply->line_len;
        reply->line_len = 0;
    }
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len == 0)
        return -EPROTO;
    return reply_header(reply, line, (uint32_t)len, counts);
}

int64_t reply_feed(struct reply *reply, const char *data, size_t len_bytes,
                   struct reply_counts *counts)
{
    const char *end = data + len_bytes;
    int64_t replies = 0;

    while (data < end) {
        size_t left = (size_t)(end - data);
        if (reply->skip_bytes > 0) {
            size_t step = reply->skip_bytes < left ? (size_t)reply->skip_bytes : left;
            data += step;
            reply->skip_bytes -= step;
            if (reply->skip_bytes == 0)
                replies += reply_close_element(reply);
            continue;
        }
        const char *newline = memchr(data, '\n', left);
        if (newline == NULL)
            return reply_keep(reply, data, left) < 0 ? -EPROTO : replies;
        int ended = reply_line(reply, data, newline, counts);
        if (ended < 0)
            return -EPROTO;
        replies += ended;
        data = newline + 1;
    }
    return replies;
}
