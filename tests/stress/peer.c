/* Peers: the clients' end of harness.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/node.h"
#include "dataplane/slots/crc16.h"
#include "tests/stress/harness.h"

enum { READ_BYTES = 16384, LINE_MAX_BYTES = 4096 };

static void *need(void *memory)
{
    if (memory == NULL) {
        fputs("peer: no memory\n", stderr);
        abort();
    }
    return memory;
}

void harness_name(const struct harness *harness, uint32_t worker, unsigned nth, char name[16])
{
    for (unsigned number = 0;; number++) {
        int len = snprintf(name, 16, "k%u", number);
        if (node_owner(harness->node, crc16_slot(name, (size_t)len)) == worker && nth-- == 0)
            return;
    }
}

/* ---- connections ---- */

static struct peer *connect_to(struct harness *harness, uint32_t worker, uint32_t listener_id)
{
    struct peer *peer = need(calloc(1, sizeof *peer));

    peer->harness = harness;
    peer->pipe = pipe_connect(harness->node->workers[worker]->stream, listener_id);
    return peer;
}

struct peer *peer_create(struct harness *harness, uint32_t worker)
{
    return connect_to(harness, worker, LISTENER_COMMON);
}

struct peer *peer_create_core(struct harness *harness, uint32_t worker)
{
    return connect_to(harness, worker, LISTENER_CORE_BASE + worker);
}

static void peer_free(struct peer *peer)
{
    free(peer->in);
    free(peer->out);
    free(peer);
}

void peer_close(struct peer *peer)
{
    pipe_close(peer->pipe);
    peer_free(peer);
}

void peer_reset(struct peer *peer)
{
    pipe_reset(peer->pipe);
    peer_free(peer);
}

/* ---- sending ---- */

void peer_add_raw(struct peer *peer, const char *bytes, size_t len_bytes)
{
    if (peer->out_len + len_bytes > peer->out_capacity) {
        peer->out_capacity = (peer->out_len + len_bytes) * 2;
        peer->out = need(realloc(peer->out, peer->out_capacity));
    }
    memcpy(peer->out + peer->out_len, bytes, len_bytes);
    peer->out_len += len_bytes;
}

static void add_word(struct peer *peer, const char *word, size_t len_bytes)
{
    char header[32];

    peer_add_raw(peer, header, (size_t)snprintf(header, sizeof header, "$%zu\r\n", len_bytes));
    peer_add_raw(peer, word, len_bytes);
    peer_add_raw(peer, "\r\n", 2);
}

static void add_count(struct peer *peer, uint32_t count)
{
    char header[32];

    peer_add_raw(peer, header, (size_t)snprintf(header, sizeof header, "*%u\r\n", count));
}

void peer_add_words(struct peer *peer, uint32_t count, const char *const *words)
{
    snprintf(peer->last, sizeof peer->last, "%s %s ...", words[0], count > 1 ? words[1] : "");
    add_count(peer, count);
    for (uint32_t i = 0; i < count; i++)
        add_word(peer, words[i], strlen(words[i]));
}

static void add_line(struct peer *peer, const char *format, va_list arguments)
{
    char line[LINE_MAX_BYTES], *save = NULL;
    const char *words[PEER_ARGS_MAX];
    uint32_t count = 0;

    vsnprintf(line, sizeof line, format, arguments);
    snprintf(peer->last, sizeof peer->last, "%.255s", line);
    for (char *word = strtok_r(line, " ", &save); word != NULL && count < PEER_ARGS_MAX;
         word = strtok_r(NULL, " ", &save))
        words[count++] = word;
    if (count == PEER_ARGS_MAX)
        harness_fail(peer->harness, "too many words: %s", peer->last);
    add_count(peer, count);
    for (uint32_t i = 0; i < count; i++)
        add_word(peer, words[i], strlen(words[i]));
}

void peer_add(struct peer *peer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add_line(peer, format, arguments);
    va_end(arguments);
}

/* Without threads nobody else makes room. */
static ssize_t send_some(struct peer *peer, size_t sent)
{
    const char *bytes = peer->out + sent;
    size_t len_bytes = peer->out_len - sent;

    if (peer->harness->threads)
        return pipe_send(peer->pipe, bytes, len_bytes, HARNESS_PATIENCE_MS);
    ssize_t taken = pipe_send(peer->pipe, bytes, len_bytes, 0);
    if (taken != 0)
        return taken;
    harness_idle(peer->harness);
    return pipe_send(peer->pipe, bytes, len_bytes, 0);
}

void peer_flush(struct peer *peer)
{
    size_t sent = 0;

    while (sent < peer->out_len && !peer->closed) {
        ssize_t taken = send_some(peer, sent);
        if (taken == 0)
            harness_fail(peer->harness, "nobody takes what is sent (%s)", peer->last);
        if (taken > 0)
            sent += (size_t)taken;
        else
            peer->closed = true;
    }
    peer->out_len = 0;
    if (peer->closed && !peer->may_be_closed)
        harness_fail(peer->harness, "the connection was closed (%s)", peer->last);
}

void peer_send(struct peer *peer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add_line(peer, format, arguments);
    va_end(arguments);
    peer_flush(peer);
}

/* ---- answers ---- */

void answer_free(struct answer *answer)
{
    for (size_t i = 0; i < answer->count; i++)
        answer_free(&answer->items[i]);
    free(answer->items);
    free(answer->text);
    *answer = (struct answer){0};
}

bool answer_is(const struct answer *answer, const char *text)
{
    return answer->text != NULL && strlen(text) == answer->len_bytes &&
           memcmp(answer->text, text, answer->len_bytes) == 0;
}

int64_t answer_number(const struct answer *answer)
{
    if (answer->type == ':')
        return answer->integer;
    if (answer->type != '$') {
        fprintf(stderr, "failed: expected a number, got %c%s\n", answer->type,
                answer->text == NULL ? "" : answer->text);
        fflush(NULL);
        _Exit(1);
    }
    return strtoll(answer->text, NULL, 10);
}

static char *copy(const char *data, size_t len_bytes)
{
    char *text = need(malloc(len_bytes + 1));

    memcpy(text, data, len_bytes);
    text[len_bytes] = '\0';
    return text;
}

enum parsed_answer { PARSED, INCOMPLETE, MALFORMED };

static enum parsed_answer parse(const char **at, const char *end, struct answer *answer)
{
    const char *start = *at;
    const char *line = start == end ? NULL : memchr(start, '\n', (size_t)(end - start));

    *answer = (struct answer){0};
    if (line == NULL)
        return INCOMPLETE;
    if (line - start < 2 || line[-1] != '\r')
        return MALFORMED;
    size_t line_bytes = (size_t)(line - 1 - start) - 1;
    *at = line + 1;
    answer->type = start[0];
    if (start[0] == '+' || start[0] == '-') {
        answer->text = copy(start + 1, line_bytes);
        answer->len_bytes = line_bytes;
        return PARSED;
    }
    answer->integer = strtoll(start + 1, NULL, 10);
    if (start[0] == ':')
        return PARSED;
    if ((start[0] == '$' || start[0] == '*') && answer->integer < 0) {
        answer->type = '_';
        return PARSED;
    }
    if (start[0] == '$') {
        size_t len_bytes = (size_t)answer->integer;
        if ((size_t)(end - *at) < len_bytes + 2)
            return INCOMPLETE;
        if (memcmp(*at + len_bytes, "\r\n", 2) != 0)
            return MALFORMED;
        answer->text = copy(*at, len_bytes);
        answer->len_bytes = len_bytes;
        *at += len_bytes + 2;
        return PARSED;
    }
    if (start[0] != '*')
        return MALFORMED;
    size_t count = (size_t)answer->integer;
    answer->items = need(calloc(count + 1, sizeof *answer->items));
    for (; answer->count < count;) {
        enum parsed_answer result = parse(at, end, &answer->items[answer->count++]);
        if (result != PARSED)
            return result;
    }
    return PARSED;
}

static void make_room(struct peer *peer)
{
    if (peer->in_capacity - peer->in_end >= READ_BYTES)
        return;
    if (peer->in_start > 0)
        memmove(peer->in, peer->in + peer->in_start, peer->in_end - peer->in_start);
    peer->in_end -= peer->in_start;
    peer->in_start = 0;
    if (peer->in_capacity - peer->in_end < READ_BYTES) {
        peer->in_capacity = (peer->in_capacity + READ_BYTES) * 2;
        peer->in = need(realloc(peer->in, peer->in_capacity));
    }
}

static ssize_t receive_now(struct peer *peer, int64_t timeout_ms)
{
    make_room(peer);
    ssize_t got = pipe_receive(peer->pipe, peer->in + peer->in_end,
                               peer->in_capacity - peer->in_end, timeout_ms);
    peer->in_end += got > 0 ? (size_t)got : 0;
    return got;
}

/* More bytes; false: the connection has ended. */
static bool receive(struct peer *peer)
{
    if (!peer->harness->threads)
        harness_idle(peer->harness);
    ssize_t got = receive_now(peer, peer->harness->threads ? HARNESS_PATIENCE_MS : 0);
    if (got < 0)
        harness_fail(peer->harness, "no answer within %d ms; the last command was: %s",
                     HARNESS_PATIENCE_MS, peer->last);
    return got > 0;
}

/* What has come in so far; `end` is where the answer ended. Free the answer whatever it returns. */
static enum parsed_answer parse_received(const struct peer *peer, const char **end,
                                         struct answer *answer)
{
    *answer = (struct answer){0};
    *end = peer->in;
    if (peer->in == NULL)
        return INCOMPLETE;
    *end += peer->in_start;
    return parse(end, peer->in + peer->in_end, answer);
}

bool peer_has_answer(struct peer *peer)
{
    struct answer answer;
    const char *end;

    while (receive_now(peer, 0) > 0)
        continue;
    enum parsed_answer result = parse_received(peer, &end, &answer);
    answer_free(&answer);
    return result == PARSED;
}

struct answer peer_answer(struct peer *peer)
{
    struct answer answer;

    for (;;) {
        const char *end;
        enum parsed_answer result = parse_received(peer, &end, &answer);
        if (result == PARSED) {
            peer->in_start = (size_t)(end - peer->in);
            return answer;
        }
        answer_free(&answer);
        if (result == MALFORMED)
            harness_fail(peer->harness, "a malformed answer to %s", peer->last);
        if (!receive(peer)) {
            peer->closed = true;
            if (!peer->may_be_closed)
                harness_fail(peer->harness, "the connection was closed after %s", peer->last);
            return (struct answer){0};
        }
    }
}

void peer_skip(struct peer *peer)
{
    struct answer answer = peer_answer(peer);

    answer_free(&answer);
}

int64_t peer_number(struct peer *peer)
{
    struct answer answer = peer_answer(peer);
    int64_t number = answer_number(&answer);

    answer_free(&answer);
    return number;
}

bool peer_got(struct peer *peer, const char *bytes)
{
    size_t expected = strlen(bytes);
    ssize_t part;

    do { /* the other end of the pipe takes more when this one has made room */
        harness_idle(peer->harness);
        part = receive_now(peer, 0);
    } while (part > 0);
    if (part == 0)
        peer->closed = true;
    const char *got = peer->in + peer->in_start;
    size_t len = peer->in_end - peer->in_start;
    peer->in_start = peer->in_end = 0;
    if (len == expected && memcmp(got, bytes, len) == 0)
        return true;
    fprintf(stderr, "expected: %s\ngot:      %.*s\n", bytes, (int)len, got);
    return false;
}
