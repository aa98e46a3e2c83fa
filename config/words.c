#include "config/words.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

/* Where a line is read and, unless it is only counted, where the decoded bytes go. Decoding never
 * makes a word longer, so writing never overtakes reading. */
struct reader {
    const char *at;
    const char *end;
    char *out;
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What ends a word outside of quotes. Vertical tab and form feed only count between words. */
static bool ends_word(const struct reader *reader)
{
    if (reader->at == reader->end)
        return true;
    char c = *reader->at;
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void put(struct reader *reader, char c)
{
    if (reader->out != NULL)
        *reader->out++ = c;
}

/* Reads one escape of a double-quoted part; `at` is on the backslash and a byte follows it. */
static void escape(struct reader *reader)
{
    const char *at = reader->at;

    if (at[1] == 'x' && reader->end - at >= 4 && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
        put(reader, (char)(hex_digit(at[2]) * 16 + hex_digit(at[3])));
        reader->at += 4;
        return;
    }
    reader->at += 2;
    switch (at[1]) {
    case 'n':
        put(reader, '\n');
        break;
    case 'r':
        put(reader, '\r');
        break;
    case 't':
        put(reader, '\t');
        break;
    case 'b':
        put(reader, '\b');
        break;
    case 'a':
        put(reader, '\a');
        break;
    default:
        put(reader, at[1]);
        break;
    }
}

/* Reads a quoted part; `at` is behind the opening quote. False if it does not close as it must. */
static bool quoted(struct reader *reader, char quote)
{
    while (reader->at < reader->end && *reader->at != '\0') {
        char c = *reader->at;
        bool more = reader->end - reader->at >= 2 && reader->at[1] != '\0';

        if (c == quote) {
            reader->at++;
            return reader->at == reader->end || *reader->at == '\0' || is_blank(*reader->at);
        }
        if (c == '\\' && quote == '"' && more) {
            escape(reader);
        } else if (c == '\\' && quote == '\'' && more && reader->at[1] == '\'') {
            put(reader, '\'');
            reader->at += 2;
        } else {
            put(reader, c);
            reader->at++;
        }
    }
    return false;
}

/* Reads one word; `at` is on its first byte. */
static bool word(struct reader *reader)
{
    while (!ends_word(reader)) {
        char c = *reader->at;

        reader->at++;
        if (c != '"' && c != '\'')
            put(reader, c);
        else
            return quoted(reader, c);
    }
    return true;
}

/* Whether another word begins; skips the blanks before it. */
static bool word_begins(struct reader *reader)
{
    while (reader->at < reader->end && is_blank(*reader->at))
        reader->at++;
    return reader->at < reader->end && *reader->at != '\0';
}

int words_split(char *line, size_t len, struct words_span *words, unsigned words_max)
{
    struct reader reader = {line, line + len, line};
    unsigned count = 0;

    while (word_begins(&reader)) {
        if (count == words_max || count == INT_MAX)
            return -E2BIG;
        /* Each word starts where it stands, so a byte is left behind it for a NUL. */
        char *start = line + (reader.at - line);
        reader.out = start;
        if (!word(&reader))
            return -EINVAL;
        words[count].data = start;
        words[count].len = (size_t)(reader.out - start);
        count++;
    }
    return (int)count;
}

int words_count(const char *line, size_t len)
{
    struct reader reader = {line, line + len, NULL};
    unsigned count = 0;

    while (word_begins(&reader)) {
        if (count == INT_MAX)
            return -E2BIG;
        if (!word(&reader))
            return -EINVAL;
        count++;
    }
    return (int)count;
}

/* Writes one byte if there is room for it and the NUL. */
static void quote_put(char *out, size_t size, size_t *used, char c)
{
    if (*used + 1 < size)
        out[*used] = c;
    ++*used;
}

size_t words_quote(char *out, size_t size, const char *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    static const char escaped[] = "\n\r\t\b\a\"\\";
    static const char letters[] = "nrtba\"\\";
    size_t used = 0;

    quote_put(out, size, &used, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        size_t which = 0;

        while (escaped[which] != '\0' && escaped[which] != data[i])
            which++;
        if (escaped[which] != '\0') {
            quote_put(out, size, &used, '\\');
            quote_put(out, size, &used, letters[which]);
        } else if (c < 0x20 || c > 0x7e) {
            quote_put(out, size, &used, '\\');
            quote_put(out, size, &used, 'x');
            quote_put(out, size, &used, hex[c >> 4]);
            quote_put(out, size, &used, hex[c & 15]);
        } else {
            quote_put(out, size, &used, data[i]);
        }
    }
    quote_put(out, size, &used, '"');
    if (size > 0)
        out[used < size ? used : size - 1] = '\0';
    return used;
}
