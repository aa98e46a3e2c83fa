#include "tools/pollux-bench/ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/pollux-bench/reply.h"

enum { ASK_TEXT_MAX = 256 };

/* A question to a server, while its answer comes in. */
struct ask {
    struct transport *transport;
    struct transport_link *link; /* NULL once the server closed it */
    const char *question;
    char *buffer;
    size_t room;
    size_t len;
    struct reply reply;
    struct reply_counts counts;
    int status; /* 0: waiting, 1: the reply is complete, negative: failed */
};

static int ask_take(struct ask *answer, const struct transport_event *event)
{
    switch (event->kind) {
    case TRANSPORT_CONNECTED:
        return transport_write(answer->transport, answer->link, answer->question,
                               strlen(answer->question));
    case TRANSPORT_CLOSED:
        answer->link = NULL;
        return event->error != 0 ? -event->error : -ECONNRESET;
    default:
        break;
    }
    if (event->len_bytes > answer->room - answer->len)
        return -EMSGSIZE;
    memcpy(answer->buffer + answer->len, event->data, event->len_bytes);
    answer->len += event->len_bytes;
    int64_t ended = reply_feed(&answer->reply, event->data, event->len_bytes, &answer->counts);
    return ended < 0 || answer->counts.errors > 0 ? -EPROTO : ended > 0;
}

static uint64_t ask_now_ms(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t ask_server(struct transport *transport, const struct transport_address *to,
                   const char *question, char *buffer, size_t room)
{
    struct ask answer = {.transport = transport,
                         .question = question,
                         .buffer = buffer,
                         .room = room};
    struct transport_event event;
    uint64_t deadline_ms = ask_now_ms() + ASK_ANSWER_MAX_S * 1000;

    answer.status = transport_connect(transport, to, &answer, &answer.link);
    while (answer.status == 0) {
        int polled = transport_poll(transport, 10000000);
        answer.status = polled < 0 ? polled : 0;
        while (answer.status == 0 && transport_event(transport, &event)) {
            if (event.user == &answer)
                answer.status = ask_take(&answer, &event);
        }
        if (answer.status == 0 && ask_now_ms() > deadline_ms)
            answer.status = -ETIMEDOUT;
    }
    if (answer.link != NULL)
        transport_close(transport, answer.link, false);
    return answer.status < 0 ? answer.status : (int64_t)answer.len;
}

int64_t ask_number(struct ask_cursor *cursor, char type)
{
    const char *newline = memchr(cursor->at, '\n', (size_t)(cursor->end - cursor->at));

    if (newline == NULL || *cursor->at != type)
        return -EPROTO;
    int64_t number = strtoll(cursor->at + 1, NULL, 10);
    cursor->at = newline + 1;
    return number < 0 ? -EPROTO : number;
}

int ask_bulk(struct ask_cursor *cursor, char *out, size_t room)
{
    int64_t len = ask_number(cursor, '$');

    if (len < 0 || (size_t)len >= room || len + 2 > cursor->end - cursor->at)
        return -EPROTO;
    memcpy(out, cursor->at, (size_t)len);
    out[len] = '\0';
    cursor->at += len + 2;
    return 0;
}

int ask_skip(struct ask_cursor *cursor, int64_t elements)
{
    char text[ASK_TEXT_MAX];

    for (; elements > 0; elements--) {
        if (cursor->at >= cursor->end)
            return -EPROTO;
        char type = *cursor->at;
        int64_t number = 0;
        if (type == '$')
            number = ask_bulk(cursor, text, sizeof(text));
        else
            number = ask_number(cursor, type);
        if (number < 0)
            return -EPROTO;
        if (type == '*')
            elements += number;
    }
    return 0;
}
