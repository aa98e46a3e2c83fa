#include "dataplane/proto/reply.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_MAX = 32,       /* a mark, 20 digits, CR LF, and integer_to_text's scratch */
    SHORT_BULK_MAX = 4096, /* written with one check for room */
    ERROR_TEXT_MAX = 1024, /* longer ones are formatted on the heap */
    CHUNK_FIRST_BYTES = 1024,
    CHUNK_MAX_BYTES = 65536, /* chunks double from the one to the other */
};

static_assert(SHORT_BULK_MAX + HEADER_MAX + 2 <= REPLY_ROOM_MAX, "sinks provide no more at once");

static char *room_slow(struct reply *reply, size_t need_bytes)
{
    if (reply->muted || reply->failed)
        return NULL;
    if (reply->sink->more(reply, need_bytes))
        return reply->cur;
    reply->failed = true;
    reply->end = reply->cur; /* no room: the fast path need not ask for `failed` */
    return NULL;
}

/* At least need_bytes at the result; NULL: drop it. */
static inline char *room(struct reply *reply, size_t need_bytes)
{
    if ((size_t)(reply->end - reply->cur) >= need_bytes && !reply->muted)
        return reply->cur;
    return room_slow(reply, need_bytes);
}

static inline char *put_header(char *at, char mark, int64_t value)
{
    *at++ = mark;
    if ((uint64_t)value < 10) {
        *at++ = (char)('0' + value);
    } else if ((uint64_t)value < 100) {
        *at++ = (char)('0' + value / 10);
        *at++ = (char)('0' + value % 10);
    } else {
        at += integer_to_text(value, at);
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static void header(struct reply *reply, char mark, int64_t value)
{
    char *at = room(reply, HEADER_MAX);

    if (at != NULL)
        reply->cur = put_header(at, mark, value);
}

/* At most REPLY_ROOM_MAX bytes that stay together. */
static inline void fixed(struct reply *reply, const char *data, size_t len_bytes)
{
    char *at = room(reply, len_bytes);

    if (at != NULL) {
        memcpy(at, data, len_bytes);
        reply->cur = at + len_bytes;
    }
}

void reply_bytes(struct reply *reply, const char *data, size_t len_bytes)
{
    while (len_bytes > 0) {
        size_t left = (size_t)(reply->end - reply->cur);
        size_t now = left > 0 ? left : REPLY_ROOM_MAX;

        if (now > len_bytes)
            now = len_bytes;
        char *at = room(reply, now);
        if (at == NULL)
            return;
        memcpy(at, data, now);
        reply->cur += now;
        data += now;
        len_bytes -= now;
    }
}

/* Text of one line: a line end inside would let its author forge replies. */
static void line_bytes(struct reply *reply, const char *text, size_t len_bytes)
{
    while (len_bytes > 0) {
        size_t clean = strcspn(text, "\r\n");

        if (clean > len_bytes)
            clean = len_bytes;
        reply_bytes(reply, text, clean);
        if (clean < len_bytes) {
            reply_bytes(reply, " ", 1);
            clean++;
        }
        text += clean;
        len_bytes -= clean;
    }
}

void reply_status(struct reply *reply, const char *text)
{
    reply_bytes(reply, "+", 1);
    line_bytes(reply, text, strlen(text));
    reply_bytes(reply, "\r\n", 2);
}

void reply_ok(struct reply *reply)
{
    fixed(reply, "+OK\r\n", 5);
}

static void note_error(struct reply *reply, const char *text)
{
    const char *code = "ERR";
    size_t len = 3;

    reply->errors++;
    if (reply->error_code == NULL)
        return;
    if (text[0] == '-' && strchr(text, ' ') != NULL) {
        code = text + 1;
        len = strcspn(code, " ");
    }
    if (len >= REPLY_CODE_MAX)
        len = REPLY_CODE_MAX - 1;
    memcpy(reply->error_code, code, len);
    reply->error_code[len] = '\0';
}

void reply_error(struct reply *reply, const char *text)
{
    text += strspn(text, "\r\n");
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\r' || text[len - 1] == '\n'))
        len--;
    note_error(reply, text);
    if (text[0] != '-')
        reply_bytes(reply, "-ERR ", 5);
    line_bytes(reply, text, len);
    reply_bytes(reply, "\r\n", 2);
}

void reply_errorf(struct reply *reply, const char *format, ...)
{
    char small[ERROR_TEXT_MAX];
    va_list list, again;

    va_start(list, format);
    va_copy(again, list);
    int len = vsnprintf(small, sizeof small, format, list);
    va_end(list);
    if (len >= (int)sizeof small) {
        char *large = malloc((size_t)len + 1);
        if (large != NULL) {
            vsnprintf(large, (size_t)len + 1, format, again);
            reply_error(reply, large);
            free(large);
            len = -1;
        }
    }
    va_end(again);
    if (len >= 0)
        reply_error(reply, small); /* cut off when there was no memory for all of it */
}

void reply_integer(struct reply *reply, int64_t value)
{
    header(reply, ':', value);
}

void reply_bulk(struct reply *reply, struct text text)
{
    if (text.len_bytes <= SHORT_BULK_MAX) {
        char *at = room(reply, text.len_bytes + HEADER_MAX + 2);
        if (at == NULL)
            return;
        at = put_header(at, '$', (int64_t)text.len_bytes);
        if (text.len_bytes > 0)
            memcpy(at, text.data, text.len_bytes);
        at += text.len_bytes;
        *at++ = '\r';
        *at++ = '\n';
        reply->cur = at;
        return;
    }
    header(reply, '$', (int64_t)text.len_bytes);
    reply_bytes(reply, text.data, text.len_bytes);
    fixed(reply, "\r\n", 2);
}

void reply_bulk_cstr(struct reply *reply, const char *text)
{
    reply_bulk(reply, (struct text){text, strlen(text)});
}

void reply_bulk_integer(struct reply *reply, int64_t value)
{
    char number[24];

    reply_bulk(reply, (struct text){number, integer_to_text(value, number)});
}

void reply_null(struct reply *reply)
{
    if (reply->resp >= 3)
        fixed(reply, "_\r\n", 3);
    else
        fixed(reply, "$-1\r\n", 5);
}

void reply_null_array(struct reply *reply)
{
    if (reply->resp >= 3)
        fixed(reply, "_\r\n", 3);
    else
        fixed(reply, "*-1\r\n", 5);
}

void reply_array(struct reply *reply, uint64_t count)
{
    header(reply, '*', (int64_t)count);
}

void reply_map(struct reply *reply, uint64_t pairs)
{
    if (reply->resp >= 3)
        header(reply, '%', (int64_t)pairs);
    else
        header(reply, '*', (int64_t)pairs * 2);
}

void reply_set(struct reply *reply, uint64_t count)
{
    header(reply, reply->resp >= 3 ? '~' : '*', (int64_t)count);
}

void reply_push(struct reply *reply, uint64_t count)
{
    header(reply, reply->resp >= 3 ? '>' : '*', (int64_t)count);
}

void reply_attribute(struct reply *reply, uint64_t pairs)
{
    assert(reply->resp >= 3);
    header(reply, '|', (int64_t)pairs);
}

void reply_bool(struct reply *reply, bool value)
{
    if (reply->resp >= 3)
        fixed(reply, value ? "#t\r\n" : "#f\r\n", 4);
    else
        fixed(reply, value ? ":1\r\n" : ":0\r\n", 4);
}

void reply_double(struct reply *reply, double value)
{
    char number[64];
    int len;

    if (isinf(value))
        len = snprintf(number, sizeof number, value > 0 ? "inf" : "-inf");
    else
        len = snprintf(number, sizeof number, "%.17g", value);
    if (reply->resp >= 3) {
        reply_bytes(reply, ",", 1);
        reply_bytes(reply, number, (size_t)len);
        reply_bytes(reply, "\r\n", 2);
    } else {
        reply_bulk(reply, (struct text){number, (size_t)len});
    }
}

void reply_big_number(struct reply *reply, struct text digits)
{
    if (reply->resp < 3) {
        reply_bulk(reply, digits);
        return;
    }
    reply_bytes(reply, "(", 1);
    reply_bytes(reply, digits.data, digits.len_bytes);
    reply_bytes(reply, "\r\n", 2);
}

void reply_verbatim(struct reply *reply, const char *format3, struct text text)
{
    if (reply->resp < 3) {
        reply_bulk(reply, text);
        return;
    }
    assert(strlen(format3) == 3);
    header(reply, '=', (int64_t)text.len_bytes + 4);
    reply_bytes(reply, format3, 3);
    reply_bytes(reply, ":", 1);
    reply_bytes(reply, text.data, text.len_bytes);
    reply_bytes(reply, "\r\n", 2);
}

/* Bytes whose release(arg) is due once, whatever happens. */
static void append_owned(struct reply *reply, const char *data, size_t len_bytes,
                         void (*release)(void *), void *arg)
{
    if (len_bytes >= REPLY_OWNED_MIN_BYTES && !reply->muted && !reply->failed) {
        if (reply->sink->append(reply, data, len_bytes, release, arg))
            return;
        reply->failed = true;
        reply->end = reply->cur;
    } else {
        reply_bytes(reply, data, len_bytes);
    }
    release(arg);
}

void reply_bulk_owned(struct reply *reply, const char *data, size_t len_bytes,
                      void (*release)(void *), void *arg)
{
    header(reply, '$', (int64_t)len_bytes);
    append_owned(reply, data, len_bytes, release, arg);
    fixed(reply, "\r\n", 2);
}

/* ---- Replies in memory ----------------------------------------------------------------------- */

struct reply_chunk {
    struct reply_chunk *next;
    char *data; /* not taken yet */
    size_t len_bytes, capacity_bytes;
    void (*release)(void *); /* of bytes that are not in `bytes`; else NULL */
    void *arg;
    char bytes[];
};

static void chunk_free(void *arg)
{
    struct reply_chunk *chunk = arg;

    if (chunk->release != NULL)
        chunk->release(chunk->arg);
    free(chunk);
}

static void commit(struct reply_memory *memory)
{
    struct reply *reply = &memory->reply;
    size_t written = (size_t)(reply->cur - reply->base);

    if (written == 0)
        return;
    if (memory->last != NULL)
        memory->last->len_bytes += written;
    else
        memory->small_used += written;
    memory->total_bytes += written;
    reply->committed_bytes += written;
    reply->base = reply->cur;
}

static struct reply_chunk *chain(struct reply_memory *memory, size_t capacity_bytes)
{
    struct reply_chunk *chunk = malloc(sizeof *chunk + capacity_bytes);

    if (chunk == NULL)
        return NULL;
    *chunk = (struct reply_chunk){.data = chunk->bytes, .capacity_bytes = capacity_bytes};
    if (memory->last != NULL)
        memory->last->next = chunk;
    else
        memory->first = chunk;
    memory->last = chunk;
    return chunk;
}

static bool memory_more(struct reply *reply, size_t need_bytes)
{
    struct reply_memory *memory = (struct reply_memory *)reply;

    commit(memory);
    if (memory->first == NULL && memory->small_bytes - memory->small_used >= need_bytes) {
        reply->base = reply->cur = memory->small + memory->small_used;
        reply->end = memory->small + memory->small_bytes;
        return true;
    }
    size_t capacity = memory->last != NULL ? memory->last->capacity_bytes * 2 : CHUNK_FIRST_BYTES;
    if (capacity > CHUNK_MAX_BYTES)
        capacity = CHUNK_MAX_BYTES;
    if (capacity < need_bytes)
        capacity = need_bytes;
    struct reply_chunk *chunk = chain(memory, capacity);
    if (chunk == NULL)
        return false;
    reply->base = reply->cur = chunk->bytes;
    reply->end = chunk->bytes + capacity;
    return true;
}

static void close_room(struct reply *reply)
{
    reply->cur = reply->end = reply->base = NULL;
}

static bool memory_append(struct reply *reply, const char *data, size_t len_bytes,
                          void (*release)(void *), void *arg)
{
    struct reply_memory *memory = (struct reply_memory *)reply;

    commit(memory);
    struct reply_chunk *chunk = chain(memory, 0);
    if (chunk == NULL)
        return false;
    close_room(reply);
    chunk->data = (char *)data;
    chunk->len_bytes = len_bytes;
    chunk->release = release;
    chunk->arg = arg;
    memory->total_bytes += len_bytes;
    reply->committed_bytes += len_bytes;
    return true;
}

static const struct reply_sink memory_sink = {memory_more, memory_append};

static_assert(offsetof(struct reply_memory, reply) == 0,
              "the sink finds its memory from the reply");

void reply_memory_init(struct reply_memory *memory, uint8_t resp, char *small, size_t small_bytes)
{
    *memory = (struct reply_memory){.reply = {.sink = &memory_sink, .resp = resp},
                                    .small = small,
                                    .small_bytes = small_bytes};
    memory->reply.error_code = memory->error_code;
}

void reply_memory_finish(struct reply_memory *memory)
{
    commit(memory);
}

/* Empty again: the next write starts with the small buffer. */
static void start_over(struct reply_memory *memory)
{
    memory->first = memory->last = NULL;
    memory->small_used = memory->small_taken = 0;
    memory->total_bytes = 0;
    close_room(&memory->reply);
}

static void take_small(struct reply_memory *memory, uint64_t bytes, struct reply *to)
{
    if (bytes == 0) /* there may be no small buffer */
        return;
    reply_bytes(to, memory->small + memory->small_taken, bytes);
    memory->small_taken += bytes;
    memory->total_bytes -= bytes;
}

static void take_first_chunk(struct reply_memory *memory, struct reply *to)
{
    struct reply_chunk *chunk = memory->first;

    memory->first = chunk->next;
    memory->total_bytes -= chunk->len_bytes;
    append_owned(to, chunk->data, chunk->len_bytes, chunk_free, chunk);
}

void reply_memory_move(struct reply_memory *memory, struct reply *to)
{
    assert(memory->reply.cur == memory->reply.base);
    take_small(memory, memory->small_used - memory->small_taken, to);
    while (memory->first != NULL)
        take_first_chunk(memory, to);
    start_over(memory);
    if (memory->reply.errors > 0) {
        to->errors += memory->reply.errors;
        if (to->error_code != NULL)
            memcpy(to->error_code, memory->error_code, sizeof memory->error_code);
        memory->reply.errors = 0;
    }
    if (memory->reply.failed) {
        memory->reply.failed = false;
        to->failed = true;
        to->end = to->cur;
    }
}

void reply_memory_take(struct reply_memory *memory, uint64_t bytes, struct reply *to)
{
    assert(memory->reply.cur == memory->reply.base && bytes <= memory->total_bytes);
    if (bytes == memory->total_bytes) {
        uint32_t errors = memory->reply.errors;
        memory->reply.errors = 0;
        reply_memory_move(memory, to);
        memory->reply.errors = errors;
        return;
    }
    uint64_t small = memory->small_used - memory->small_taken;
    if (small > bytes)
        small = bytes;
    take_small(memory, small, to);
    bytes -= small;
    while (bytes > 0 && bytes >= memory->first->len_bytes) {
        bytes -= memory->first->len_bytes;
        take_first_chunk(memory, to);
    }
    if (bytes > 0) {
        reply_bytes(to, memory->first->data, bytes);
        memory->first->data += bytes;
        memory->first->len_bytes -= bytes;
        memory->total_bytes -= bytes;
    }
}

void reply_memory_fini(struct reply_memory *memory)
{
    while (memory->first != NULL) {
        struct reply_chunk *chunk = memory->first;
        memory->first = chunk->next;
        chunk_free(chunk);
    }
    start_over(memory);
}
