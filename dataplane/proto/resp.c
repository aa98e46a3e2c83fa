#include "dataplane/proto/resp.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/words.h"

enum {
    /* A command that is incomplete after so few arguments is parsed again from its start: cheaper
     * than remembering them, and bounded whatever the pieces. */
    RESTART_ARGS_MAX = 16,
    PARTS_FIRST = 64,
    WANT_FLOOR_BYTES = 16384,
    LENGTH_FAST_MAX = 1 << 30, /* longer ones go the careful way */
    BULK_END_BYTES = 2,        /* CR LF; redis-server skips them unseen, so do we */
};

/* Words are written into the array of arguments. */
static_assert(sizeof(struct words_span) == sizeof(struct text), "a word is a text");
static_assert(offsetof(struct words_span, data) == offsetof(struct text, data), "a word is a text");
static_assert(offsetof(struct words_span, len) == offsetof(struct text, len_bytes),
              "a word is a text");

static enum resp_step bad(struct resp_parser *parser, const char *text)
{
    snprintf(parser->error, sizeof parser->error, "%s", text);
    return RESP_BAD;
}

static enum resp_step no_memory(struct resp_parser *parser)
{
    return bad(parser, "out of memory");
}

/* More bytes needed, `need_bytes` of the command in all. */
static enum resp_step more(struct resp_parser *parser, size_t len_bytes, size_t need_bytes)
{
    size_t bound = len_bytes < WANT_FLOOR_BYTES / 2 ? WANT_FLOOR_BYTES : len_bytes * 2;

    assert(need_bytes > len_bytes);
    parser->need_bytes = need_bytes;
    /* What a peer announces costs nothing; only what it has sent may be doubled. */
    parser->want_bytes = need_bytes < bound ? need_bytes : bound;
    return RESP_MORE;
}

static void release_handed_out(struct resp_parser *parser)
{
    free(parser->big_argv);
    free(parser->big_bytes);
    parser->big_argv = NULL;
    parser->big_bytes = NULL;
    parser->handed_out = false;
}

/* Forgets the command in progress; the one handed out stays. */
static void forget_progress(struct resp_parser *parser)
{
    free(parser->parts);
    parser->parts = NULL;
    parser->args_left = 0;
    parser->position_bytes = 0;
    parser->line_bytes = 0;
    parser->scanned_bytes = 0;
    parser->need_bytes = 0;
    parser->want_bytes = 0;
    parser->argc = 0;
    parser->capacity = 0;
    parser->bulk_known = false;
}

void resp_parser_reset(struct resp_parser *parser)
{
    forget_progress(parser);
    release_handed_out(parser);
}

void resp_parser_fini(struct resp_parser *parser)
{
    resp_parser_reset(parser);
}

static uint32_t room_of(const struct resp_arguments *arguments)
{
    return arguments->capacity - arguments->used;
}

/* Finds `mark` in the line that starts at `start`. RESP_COMMAND: it is at *found. A NUL hides
 * everything after it, as in redis-server, which looks for line ends with strchr. */
static enum resp_step find_line_end(struct resp_parser *parser, const char *data, size_t len_bytes,
                                    size_t start, char mark, const char *too_big, size_t *found)
{
    size_t from = parser->line_bytes == start && parser->scanned_bytes > start
                      ? parser->scanned_bytes
                      : start;
    size_t last = start + RESP_INLINE_MAX_BYTES + 1;

    if (last > len_bytes)
        last = len_bytes;
    /* A NUL seen before must not cost another look at all that follows it. */
    if (from < last && data[from] == '\0')
        last = from;
    const char *end = from < last ? memchr(data + from, mark, last - from) : NULL;
    size_t clean = end != NULL ? (size_t)(end - data) : last;
    const char *nul = from < clean ? memchr(data + from, '\0', clean - from) : NULL;

    if (nul != NULL || end == NULL) {
        parser->line_bytes = start;
        parser->scanned_bytes = nul != NULL ? (size_t)(nul - data) : clean;
        if (len_bytes - start > RESP_INLINE_MAX_BYTES)
            return bad(parser, too_big);
        return more(parser, len_bytes, len_bytes + 1);
    }
    *found = (size_t)(end - data);
    return RESP_COMMAND;
}

/* A header line: a letter, a number, CR and one more byte. */
static enum resp_step header_line(struct resp_parser *parser, const char *data, size_t len_bytes,
                                  size_t start, const char *too_big, size_t *found)
{
    enum resp_step step = find_line_end(parser, data, len_bytes, start, '\r', too_big, found);

    if (step != RESP_COMMAND)
        return step;
    if (len_bytes - *found < 2) {
        parser->line_bytes = start;
        parser->scanned_bytes = *found;
        return more(parser, len_bytes, *found + 2);
    }
    return RESP_COMMAND;
}

/* ---- Arguments of a command in progress ------------------------------------------------------ */

/* Moves what was parsed so far from the caller's array to memory that lasts. */
static bool spill(struct resp_parser *parser, const struct resp_arguments *arguments,
                  const char *data)
{
    const struct text *items = arguments->items + arguments->used;
    uint32_t capacity = parser->argc < PARTS_FIRST / 2 ? PARTS_FIRST : parser->argc * 2;

    parser->parts = malloc(capacity * sizeof *parser->parts);
    if (parser->parts == NULL)
        return false;
    parser->capacity = capacity;
    for (uint32_t i = 0; i < parser->argc; i++) {
        parser->parts[i].at.offset = (size_t)(items[i].data - data);
        parser->parts[i].at.len_bytes = items[i].len_bytes;
    }
    return true;
}

static bool grow_parts(struct resp_parser *parser)
{
    /* argc stays below INT_MAX: the announced count does. */
    uint32_t capacity = parser->capacity < UINT32_MAX / 2 ? parser->capacity * 2 : UINT32_MAX;
    union resp_part *parts = realloc(parser->parts, capacity * sizeof *parts);

    if (parts == NULL)
        return false;
    parser->parts = parts;
    parser->capacity = capacity;
    return true;
}

static bool keep_argument(struct resp_parser *parser, const struct resp_arguments *arguments,
                          const char *data, size_t offset, size_t len)
{
    if (parser->parts == NULL) {
        if (parser->argc < room_of(arguments)) {
            arguments->items[arguments->used + parser->argc++] = (struct text){data + offset, len};
            return true;
        }
        if (!spill(parser, arguments, data))
            return false;
    }
    if (parser->argc == parser->capacity && !grow_parts(parser))
        return false;
    parser->parts[parser->argc].at.offset = offset;
    parser->parts[parser->argc++].at.len_bytes = len;
    return true;
}

/* The command is whole: its arguments become texts. */
static void hand_out(struct resp_parser *parser, const char *data, struct resp_arguments *arguments,
                     struct resp_command *command)
{
    uint32_t argc = parser->argc;

    command->argc = argc;
    command->argv = arguments->items + arguments->used;
    if (parser->parts != NULL) {
        for (uint32_t i = 0; i < argc; i++) {
            struct text text = {data + parser->parts[i].at.offset, parser->parts[i].at.len_bytes};
            parser->parts[i].text = text;
        }
        if (argc > room_of(arguments)) {
            parser->big_argv = &parser->parts[0].text;
            parser->parts = NULL;
            parser->handed_out = true;
            command->argv = parser->big_argv;
            arguments->used = arguments->capacity;
            return;
        }
        memcpy(command->argv, parser->parts, argc * sizeof *command->argv);
    }
    arguments->used += argc;
}

static_assert(sizeof(union resp_part) == sizeof(struct text), "parts become texts in place");

/* ---- Arrays of bulk strings ------------------------------------------------------------------ */

/* "*<count>\r\n". RESP_COMMAND: args_left and *at are set. */
static enum resp_step array_header(struct resp_parser *parser, const struct resp_limits *limits,
                                   const char *data, size_t len_bytes, size_t *at)
{
    size_t end;
    int64_t count;
    enum resp_step step =
        header_line(parser, data, len_bytes, 0, "Protocol error: too big mbulk count string", &end);

    if (step != RESP_COMMAND)
        return step;
    if (!text_to_integer((struct text){data + 1, end - 1}, &count) || count > INT_MAX)
        return bad(parser, "Protocol error: invalid multibulk length");
    if (count > RESP_ANONYMOUS_ARGS_MAX && limits->anonymous)
        return bad(parser, "Protocol error: unauthenticated multibulk length");
    parser->argc = 0;
    parser->bulk_known = false;
    parser->args_left = count > 0 ? count : 0;
    *at = end + 2;
    return count > 0 ? RESP_COMMAND : RESP_EMPTY;
}

/* "$<length>\r\n" at *at. */
static enum resp_step bulk_header(struct resp_parser *parser, const struct resp_limits *limits,
                                  const char *data, size_t len_bytes, size_t *at)
{
    size_t end;
    int64_t len;
    enum resp_step step = header_line(parser, data, len_bytes, *at,
                                      "Protocol error: too big bulk count string", &end);

    if (step != RESP_COMMAND)
        return step;
    char first = data[*at];
    if (first != '$') {
        snprintf(parser->error, sizeof parser->error, "Protocol error: expected '$', got '%c'",
                 first == '\r' || first == '\n' ? ' ' : first);
        return RESP_BAD;
    }
    if (!text_to_integer((struct text){data + *at + 1, end - *at - 1}, &len) || len < 0 ||
        len > limits->bulk_max_bytes)
        return bad(parser, "Protocol error: invalid bulk length");
    if (len > RESP_ANONYMOUS_BULK_MAX_BYTES && limits->anonymous)
        return bad(parser, "Protocol error: unauthenticated bulk length");
    parser->bulk_len_bytes = len;
    parser->bulk_known = true;
    *at = end + 2;
    return RESP_COMMAND;
}

/* Incomplete at `at`: remembers the arguments if they are many. */
static enum resp_step pause_at(struct resp_parser *parser, const struct resp_arguments *arguments,
                               const char *data, size_t at)
{
    if (parser->parts == NULL && parser->argc <= RESTART_ARGS_MAX) {
        parser->position_bytes = 0;
        return RESP_MORE;
    }
    if (parser->parts == NULL && !spill(parser, arguments, data))
        return no_memory(parser);
    parser->position_bytes = at;
    return RESP_MORE;
}

/* Reads arguments from *at on. RESP_COMMAND: all are there and *at is behind the last. */
static enum resp_step array_items(struct resp_parser *parser, const struct resp_limits *limits,
                                  const char *data, size_t len_bytes,
                                  struct resp_arguments *arguments, size_t *at)
{
    while (parser->args_left > 0) {
        if (!parser->bulk_known) {
            enum resp_step step = bulk_header(parser, limits, data, len_bytes, at);
            if (step == RESP_MORE)
                return pause_at(parser, arguments, data, *at);
            if (step != RESP_COMMAND)
                return step;
        }
        size_t bulk = (size_t)parser->bulk_len_bytes;
        if (len_bytes - *at < bulk + BULK_END_BYTES) {
            more(parser, len_bytes, *at + bulk + BULK_END_BYTES);
            return pause_at(parser, arguments, data, *at);
        }
        if (!keep_argument(parser, arguments, data, *at, bulk))
            return no_memory(parser);
        *at += bulk + BULK_END_BYTES;
        parser->bulk_known = false;
        parser->args_left--;
    }
    return RESP_COMMAND;
}

static enum resp_step parse_array(struct resp_parser *parser, const struct resp_limits *limits,
                                  const char *data, size_t len_bytes,
                                  struct resp_arguments *arguments, struct resp_command *command,
                                  size_t *consumed_bytes)
{
    size_t at = parser->position_bytes;
    enum resp_step step;

    if (at == 0) {
        step = array_header(parser, limits, data, len_bytes, &at);
        if (step == RESP_EMPTY) {
            forget_progress(parser);
            *consumed_bytes = at;
        }
        if (step != RESP_COMMAND)
            return step;
    }
    if (parser->argc + parser->args_left > room_of(arguments) && arguments->used > 0)
        return RESP_FULL;
    step = array_items(parser, limits, data, len_bytes, arguments, &at);
    if (step != RESP_COMMAND)
        return step;
    hand_out(parser, data, arguments, command);
    forget_progress(parser);
    command->wire_bytes = at;
    *consumed_bytes = at;
    return RESP_COMMAND;
}

/* Digits, CR, LF; NULL for all that is not plain or not whole, which the careful way looks at. */
static inline const char *plain_length(const char *at, const char *end, size_t *length)
{
    if (end - at < 3)
        return NULL;
    size_t value = (unsigned char)*at++ - (unsigned)'0';
    if (value > 9)
        return NULL;
    if (*at != '\r') {
        if (value == 0)
            return NULL;
        do {
            size_t digit = (unsigned char)*at++ - (unsigned)'0';
            if (digit > 9)
                return NULL;
            value = value * 10 + digit;
            if (at == end || value > LENGTH_FAST_MAX)
                return NULL;
        } while (*at != '\r');
        if (end - at < 2)
            return NULL;
    }
    *length = value;
    return at + 2;
}

/* The same with the mark in front of it; lengths of one and two digits, of which nearly all are, in a
 * few steps. */
static inline const char *plain_header(const char *at, const char *end, char mark, size_t *length)
{
    const uint64_t cr_lf = '\r' | '\n' << 8;
    uint64_t word, tens, ones;

    if (end - at >= 8) {
        memcpy(&word, at, sizeof word);
        if ((word & 0xffff00ff) == ((unsigned char)mark | cr_lf << 16)) {
            ones = (word >> 8 & 0xff) - '0';
            *length = ones;
            return ones <= 9 ? at + 4 : NULL;
        }
        tens = (word >> 8 & 0xff) - '0';
        ones = (word >> 16 & 0xff) - '0';
        if ((word & 0xffff0000ff) == ((unsigned char)mark | cr_lf << 24) && tens - 1 <= 8 &&
            ones <= 9) {
            *length = tens * 10 + ones;
            return at + 5;
        }
    }
    return at != end && *at == mark ? plain_length(at + 1, end, length) : NULL;
}

/* A whole command with nothing odd about it: nearly all there are. Returns its end, or NULL. */
static const char *parse_plain(const char *data, const char *end, size_t bulk_max,
                               struct resp_arguments *arguments, struct resp_command *command)
{
    struct text *items = arguments->items + arguments->used;
    size_t count;
    const char *at = plain_header(data, end, '*', &count);

    if (at == NULL || count == 0 || count > room_of(arguments))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t len;

        at = plain_header(at, end, '$', &len);
        if (at == NULL || len > bulk_max || (size_t)(end - at) < len + BULK_END_BYTES)
            return NULL;
        items[i] = (struct text){at, len};
        at += len + BULK_END_BYTES;
    }
    arguments->used += (uint32_t)count;
    command->argv = items;
    command->argc = (uint32_t)count;
    command->wire_bytes = (size_t)(at - data);
    return at;
}

/* ---- Inline commands ------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool ends_plain_word(char c)
{
    return c == ' ' || c == '\t' || c == '\r'; /* the same as words_split has them */
}

/* Words of a line without quotes, as slices of it. Returns how many there are; stores at most
 * `room`. */
static uint32_t plain_words(const char *line, size_t len_bytes, struct text *words, uint32_t room)
{
    const char *at = line, *end = line + len_bytes;
    uint32_t count = 0;

    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end)
            return count;
        const char *start = at;
        while (at < end && !ends_plain_word(*at))
            at++;
        if (count < room)
            words[count] = (struct text){start, (size_t)(at - start)};
        count++;
    }
}

/* Room for `count` words: the caller's array, or memory of our own. NULL: no memory. */
static struct text *word_room(struct resp_parser *parser, const struct resp_arguments *arguments,
                              size_t count)
{
    if (count <= room_of(arguments))
        return arguments->items + arguments->used;
    parser->big_argv = malloc(count * sizeof *parser->big_argv);
    return parser->big_argv;
}

/* Cuts a whole line without quotes. */
static enum resp_step inline_plain(struct resp_parser *parser, const char *line, size_t len_bytes,
                                   struct resp_arguments *arguments, struct resp_command *command)
{
    uint32_t room = room_of(arguments);
    uint32_t count = plain_words(line, len_bytes, arguments->items + arguments->used, room);

    if (count == 0)
        return RESP_EMPTY;
    if (count > room && arguments->used > 0)
        return RESP_FULL;
    command->argc = count;
    command->argv = word_room(parser, arguments, count);
    if (command->argv == NULL)
        return no_memory(parser);
    if (count > room) {
        plain_words(line, len_bytes, command->argv, count);
        parser->handed_out = true;
        count = room;
    }
    arguments->used += count;
    return RESP_COMMAND;
}

/* Cuts a whole line with quotes in it. What they hold needs memory, so the command is the last of
 * its batch. */
static enum resp_step inline_quoted(struct resp_parser *parser, const char *line, size_t len_bytes,
                                    struct resp_arguments *arguments, struct resp_command *command)
{
    int count = words_count(line, len_bytes);

    if (count < 0)
        return bad(parser, "Protocol error: unbalanced quotes in request");
    if ((uint32_t)count > room_of(arguments) && arguments->used > 0)
        return RESP_FULL;
    parser->big_bytes = malloc(len_bytes);
    command->argc = (uint32_t)count;
    command->argv = word_room(parser, arguments, (size_t)count);
    if (parser->big_bytes == NULL || command->argv == NULL) {
        release_handed_out(parser);
        return no_memory(parser);
    }
    memcpy(parser->big_bytes, line, len_bytes);
    words_split(parser->big_bytes, len_bytes, (struct words_span *)command->argv, command->argc);
    parser->handed_out = true;
    arguments->used = arguments->capacity;
    return RESP_COMMAND;
}

static enum resp_step parse_inline(struct resp_parser *parser, const char *data, size_t len_bytes,
                                   struct resp_arguments *arguments, struct resp_command *command,
                                   size_t *consumed_bytes)
{
    size_t newline;
    enum resp_step step = find_line_end(parser, data, len_bytes, 0, '\n',
                                        "Protocol error: too big inline request", &newline);

    if (step != RESP_COMMAND)
        return step;
    size_t line_bytes = newline > 0 && data[newline - 1] == '\r' ? newline - 1 : newline;
    bool quotes = memchr(data, '"', line_bytes) != NULL || memchr(data, '\'', line_bytes) != NULL;
    step = quotes ? inline_quoted(parser, data, line_bytes, arguments, command)
                  : inline_plain(parser, data, line_bytes, arguments, command);
    if (step == RESP_FULL || step == RESP_BAD)
        return step;
    forget_progress(parser);
    command->wire_bytes = newline + 1;
    *consumed_bytes = newline + 1;
    return step;
}

enum resp_step resp_parse(struct resp_parser *parser, const struct resp_limits *limits,
                          const char *data, size_t len_bytes, struct resp_arguments *arguments,
                          struct resp_command *command, size_t *consumed_bytes)
{
    assert(len_bytes > 0 && arguments->used <= arguments->capacity);
    if (parser->handed_out) {
        if (arguments->used == arguments->capacity)
            return RESP_FULL;
        release_handed_out(parser);
    }
    if (len_bytes < parser->need_bytes)
        return RESP_MORE;
    if (data[0] != '*')
        return parse_inline(parser, data, len_bytes, arguments, command, consumed_bytes);
    if (parser->position_bytes == 0 && !limits->anonymous) {
        const char *end =
            parse_plain(data, data + len_bytes, (size_t)limits->bulk_max_bytes, arguments, command);
        if (end != NULL) {
            *consumed_bytes = (size_t)(end - data);
            if (parser->need_bytes != 0)
                forget_progress(parser);
            return RESP_COMMAND;
        }
    }
    return parse_array(parser, limits, data, len_bytes, arguments, command, consumed_bytes);
}
