#include "tests/stress/pipes.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "drivers/clock.h"

enum { TRIES_MAX = 1000 };

struct queue { /* of bytes */
    char *data;
    size_t len_bytes, capacity;
};

struct pipe { /* what both ends see; freed by the last */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* for the client's end */
    struct stream *stream;  /* NULL once it is destroyed */
    struct queue to_worker, to_client;
    bool ended, gone, reset; /* by the client */
    bool closed;             /* by the worker */
    unsigned ends;
    uint32_t listener_id;
    struct pipe *next; /* waits to be accepted */
};

struct piece { /* output that is pending */
    struct piece *next;
    const char *data;
    size_t len_bytes;
    void (*release)(void *arg);
    void *arg;
};

struct pipe_conn {
    struct stream_conn base;
    struct pipe *pipe;
    struct pipe_conn *next;
    struct piece *first, *last;
    char *room;     /* reserved */
    bool overtaken; /* another connection has reserved since */
    bool paused, closing, at_once, wants_drained, end_told, broken, closed_told;
    unsigned starve_after, starve;
};

struct stream {
    _Atomic uint32_t signal;
    uint32_t signal_seen;
    pthread_mutex_t mutex;
    struct pipe *arrived_first, *arrived_last;
    struct pipe_conn *conns;
    struct pipe_conn *reserved;    /* the only one with room, as in the network stack */
    char *data[STREAM_EVENTS_MAX]; /* of the last poll's events */
    unsigned data_count;
    _Atomic uint64_t tear_seed; /* taken over with the next connection */
    uint64_t tear;
    unsigned starve_after, starve;
    struct stream_counters counters;
};

/* Zeroed, for now or for ever. Where a test has allocations fail it is not these that it means. */
static void *need(void *memory, size_t bytes)
{
    void *grown = NULL;

    for (unsigned tries = 0; tries < TRIES_MAX && grown == NULL; tries++)
        grown = memory == NULL ? calloc(1, bytes) : realloc(memory, bytes);
    if (grown == NULL) {
        fputs("pipes: no memory\n", stderr);
        abort();
    }
    return grown;
}

/* ---- bytes ---- */

static void queue_put(struct queue *queue, const char *data, size_t len_bytes)
{
    if (queue->len_bytes + len_bytes > queue->capacity) {
        queue->capacity = (queue->len_bytes + len_bytes) * 2;
        queue->data = need(queue->data, queue->capacity);
    }
    memcpy(queue->data + queue->len_bytes, data, len_bytes);
    queue->len_bytes += len_bytes;
}

static void queue_take(struct queue *queue, char *to, size_t len_bytes)
{
    memcpy(to, queue->data, len_bytes);
    queue->len_bytes -= len_bytes;
    memmove(queue->data, queue->data + len_bytes, queue->len_bytes);
}

/* ---- sleeping and waking ---- */

static void stream_signal(struct stream *stream)
{
    atomic_fetch_add_explicit(&stream->signal, 1, memory_order_relaxed);
    syscall(SYS_futex, &stream->signal, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void stream_wait(struct stream *stream, int64_t timeout_us)
{
    struct timespec timeout = {.tv_sec = timeout_us / 1000000,
                               .tv_nsec = timeout_us % 1000000 * 1000};

    syscall(SYS_futex, &stream->signal, FUTEX_WAIT_PRIVATE, stream->signal_seen,
            timeout_us < 0 ? NULL : &timeout, NULL, 0);
}

static void pipes_wake(struct stream *from, struct stream *target)
{
    (void)from;
    stream_signal(target);
}

/* ---- the client's end ---- */

static struct timespec deadline_after(int64_t ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static void pipe_put(struct pipe *pipe)
{
    unsigned left = --pipe->ends;

    pthread_mutex_unlock(&pipe->mutex);
    if (left > 0)
        return;
    free(pipe->to_worker.data);
    free(pipe->to_client.data);
    pthread_cond_destroy(&pipe->changed);
    pthread_mutex_destroy(&pipe->mutex);
    free(pipe);
}

/* With the mutex held: the worker has something to look at. */
static void pipe_signal(struct pipe *pipe)
{
    if (pipe->stream != NULL)
        stream_signal(pipe->stream);
}

struct pipe *pipe_connect(struct stream *stream, uint32_t listener_id)
{
    struct pipe *pipe = need(NULL, sizeof *pipe);
    pthread_condattr_t attributes;

    pthread_mutex_init(&pipe->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pipe->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pipe->stream = stream;
    pipe->ends = 2;
    pipe->listener_id = listener_id;
    pthread_mutex_lock(&stream->mutex);
    if (stream->arrived_first == NULL)
        stream->arrived_first = pipe;
    else
        stream->arrived_last->next = pipe;
    stream->arrived_last = pipe;
    pthread_mutex_unlock(&stream->mutex);
    stream_signal(stream);
    return pipe;
}

ssize_t pipe_send(struct pipe *pipe, const char *data, size_t len_bytes, int64_t timeout_ms)
{
    struct timespec deadline = deadline_after(timeout_ms);
    size_t sent = 0;

    pthread_mutex_lock(&pipe->mutex);
    while (sent < len_bytes && !pipe->closed) {
        size_t room = PIPE_IN_BYTES - pipe->to_worker.len_bytes;
        if (room > len_bytes - sent)
            room = len_bytes - sent;
        if (room > 0) {
            queue_put(&pipe->to_worker, data + sent, room);
            sent += room;
            pipe_signal(pipe);
        } else if (timeout_ms == 0 ||
                   pthread_cond_timedwait(&pipe->changed, &pipe->mutex, &deadline) == ETIMEDOUT) {
            break;
        }
    }
    bool closed = pipe->closed;
    pthread_mutex_unlock(&pipe->mutex);
    return closed ? -EPIPE : (ssize_t)sent;
}

ssize_t pipe_receive(struct pipe *pipe, char *to, size_t max_bytes, int64_t timeout_ms)
{
    struct timespec deadline = deadline_after(timeout_ms);
    ssize_t result = -EAGAIN;

    pthread_mutex_lock(&pipe->mutex);
    while (pipe->to_client.len_bytes == 0 && !pipe->closed && timeout_ms > 0)
        if (pthread_cond_timedwait(&pipe->changed, &pipe->mutex, &deadline) == ETIMEDOUT) {
            result = -ETIMEDOUT;
            break;
        }
    if (pipe->to_client.len_bytes > 0) {
        size_t part = pipe->to_client.len_bytes < max_bytes ? pipe->to_client.len_bytes : max_bytes;
        bool was_full = pipe->to_client.len_bytes >= PIPE_OUT_BYTES;
        queue_take(&pipe->to_client, to, part);
        result = (ssize_t)part;
        if (was_full)
            pipe_signal(pipe);
    } else if (pipe->closed) {
        result = 0;
    }
    pthread_mutex_unlock(&pipe->mutex);
    return result;
}

void pipe_end(struct pipe *pipe)
{
    pthread_mutex_lock(&pipe->mutex);
    pipe->ended = true;
    pipe_signal(pipe);
    pthread_mutex_unlock(&pipe->mutex);
}

void pipe_close(struct pipe *pipe)
{
    pthread_mutex_lock(&pipe->mutex);
    pipe->ended = pipe->gone = true;
    pipe_signal(pipe);
    pipe_put(pipe);
}

void pipe_reset(struct pipe *pipe)
{
    pthread_mutex_lock(&pipe->mutex);
    pipe->gone = pipe->reset = true;
    pipe_signal(pipe);
    pipe_put(pipe);
}

/* ---- the worker's end: output ---- */

static void drop_first(struct pipe_conn *conn)
{
    struct piece *piece = conn->first;

    conn->first = piece->next;
    if (conn->first == NULL)
        conn->last = NULL;
    if (piece->release != NULL)
        piece->release(piece->arg);
    free(piece);
}

static void drop_output(struct pipe_conn *conn)
{
    while (conn->first != NULL)
        drop_first(conn);
    conn->base.pending_bytes = 0;
}

static void drop_room(struct pipe_conn *conn)
{
    free(conn->room);
    conn->room = NULL;
}

/* The network stack has room for one connection at a time: who reserves takes it from the others.
 * Whoever writes there all the same writes to freed memory, and commits in vain. */
static void take_room(struct stream *stream, struct pipe_conn *conn)
{
    if (stream->reserved != NULL && stream->reserved != conn && stream->reserved->room != NULL) {
        drop_room(stream->reserved);
        stream->reserved->overtaken = true;
    }
    stream->reserved = conn;
    conn->overtaken = false;
}

static void put_piece(struct pipe_conn *conn, const char *data, size_t len_bytes,
                      void (*release)(void *), void *arg)
{
    struct piece *piece = need(NULL, sizeof *piece);

    *piece = (struct piece){.data = data, .len_bytes = len_bytes, .release = release, .arg = arg};
    if (conn->first == NULL)
        conn->first = piece;
    else
        conn->last->next = piece;
    conn->last = piece;
    conn->base.pending_bytes += len_bytes;
}

static char *pipes_reserve(struct stream *stream, struct stream_conn *base, size_t len_bytes,
                           size_t *room_bytes)
{
    struct pipe_conn *conn = (struct pipe_conn *)base;

    drop_room(conn);
    take_room(stream, conn);
    if (conn->closing || conn->broken || conn->closed_told || len_bytes > STREAM_RESERVE_MAX)
        return NULL;
    if (conn->starve > 0) {
        if (conn->starve_after == 0) {
            conn->starve--;
            return NULL;
        }
        conn->starve_after--;
    }
    conn->room = need(NULL, len_bytes);
    *room_bytes = len_bytes;
    return conn->room;
}

static void pipes_commit(struct stream *stream, struct stream_conn *base, size_t len_bytes)
{
    struct pipe_conn *conn = (struct pipe_conn *)base;

    (void)stream;
    if (conn->overtaken) {
        fputs("pipes: a reply was open while another connection reserved\n", stderr);
        abort();
    }
    if (conn->room == NULL || conn->closed_told)
        return;
    char *bytes = need(NULL, len_bytes);
    memcpy(bytes, conn->room, len_bytes);
    drop_room(conn);
    put_piece(conn, bytes, len_bytes, free, bytes);
}

static int pipes_append(struct stream *stream, struct stream_conn *base, const char *data,
                        size_t len_bytes, void (*release)(void *arg), void *arg)
{
    struct pipe_conn *conn = (struct pipe_conn *)base;

    drop_room(conn);
    take_room(stream, conn);
    if (conn->closing || conn->broken || conn->closed_told)
        return -EPIPE;
    put_piece(conn, data, len_bytes, release, arg);
    return 0;
}

static void send_some(struct stream *stream, struct pipe_conn *conn)
{
    struct pipe *pipe = conn->pipe;

    drop_room(conn);
    if (conn->first == NULL)
        return;
    pthread_mutex_lock(&pipe->mutex);
    bool gone = pipe->gone;
    while (!gone && conn->first != NULL && pipe->to_client.len_bytes < PIPE_OUT_BYTES) {
        struct piece *piece = conn->first;
        size_t room = PIPE_OUT_BYTES - pipe->to_client.len_bytes;
        size_t part = piece->len_bytes < room ? piece->len_bytes : room;
        queue_put(&pipe->to_client, piece->data, part);
        stream_count(&stream->counters.tx_bytes, part);
        conn->base.pending_bytes -= part;
        piece->data += part;
        piece->len_bytes -= part;
        if (piece->len_bytes == 0)
            drop_first(conn);
    }
    pthread_cond_signal(&pipe->changed);
    pthread_mutex_unlock(&pipe->mutex);
    if (gone) {
        drop_output(conn);
        conn->broken = true;
    }
}

static void pipes_flush(struct stream *stream)
{
    for (struct pipe_conn *conn = stream->conns; conn != NULL; conn = conn->next)
        if (!conn->closed_told)
            send_some(stream, conn);
}

static void pipes_notify_drained(struct stream *stream, struct stream_conn *base)
{
    (void)stream;
    ((struct pipe_conn *)base)->wants_drained = true;
}

static void pipes_pause(struct stream *stream, struct stream_conn *base)
{
    (void)stream;
    ((struct pipe_conn *)base)->paused = true;
}

static void pipes_resume(struct stream *stream, struct stream_conn *base)
{
    (void)stream;
    ((struct pipe_conn *)base)->paused = false;
    stream_signal(stream);
}

static void pipes_close(struct stream *stream, struct stream_conn *base, enum stream_close how)
{
    struct pipe_conn *conn = (struct pipe_conn *)base;

    conn->closing = true;
    drop_room(conn);
    if (how == STREAM_CLOSE_NOW) {
        conn->at_once = true;
        drop_output(conn);
    }
    stream_signal(stream);
}

/* ---- the worker's end: events ---- */

static uint64_t random_next(struct stream *stream)
{
    stream->tear ^= stream->tear << 13;
    stream->tear ^= stream->tear >> 7;
    stream->tear ^= stream->tear << 17;
    return stream->tear;
}

static size_t piece_length(struct stream *stream, size_t len_bytes)
{
    size_t part = len_bytes < PIPE_PIECE_BYTES ? len_bytes : PIPE_PIECE_BYTES;

    if (stream->tear == 0 || random_next(stream) % 4 != 0)
        return part;
    return 1 + random_next(stream) % part;
}

static void tell_bytes(struct stream *stream, struct pipe_conn *conn, struct stream_event *event)
{
    struct pipe *pipe = conn->pipe;
    size_t part = piece_length(stream, pipe->to_worker.len_bytes);
    char *data = need(NULL, part);

    queue_take(&pipe->to_worker, data, part);
    stream->data[stream->data_count++] = data;
    stream_count(&stream->counters.rx_bytes, part);
    pthread_cond_signal(&pipe->changed);
    *event = (struct stream_event){.kind = STREAM_BYTES,
                                   .conn = &conn->base,
                                   .data = data,
                                   .len_bytes = (uint32_t)part};
}

/* With the pipe's mutex held. */
static bool is_over(const struct pipe_conn *conn)
{
    return conn->broken || conn->pipe->reset ||
           (conn->closing && (conn->at_once || conn->first == NULL || conn->pipe->gone));
}

static bool tell(struct stream *stream, struct pipe_conn *conn, struct stream_event *event)
{
    struct pipe *pipe = conn->pipe;
    bool told = true;

    pthread_mutex_lock(&pipe->mutex);
    if (is_over(conn)) {
        *event = (struct stream_event){.kind = STREAM_CLOSED, .conn = &conn->base};
        event->error = conn->closing ? 0 : ECONNRESET;
        conn->closed_told = true;
        pipe->closed = true;
        pipe->stream = NULL;
        pthread_cond_signal(&pipe->changed);
    } else if (conn->wants_drained && conn->base.pending_bytes == 0) {
        conn->wants_drained = false;
        *event = (struct stream_event){.kind = STREAM_DRAINED, .conn = &conn->base};
    } else if (!conn->closing && !conn->paused && pipe->to_worker.len_bytes > 0) {
        tell_bytes(stream, conn, event);
    } else if (!conn->closing && !conn->paused && pipe->ended && !conn->end_told) {
        conn->end_told = true;
        *event = (struct stream_event){.kind = STREAM_END, .conn = &conn->base};
    } else {
        told = false;
    }
    pthread_mutex_unlock(&pipe->mutex);
    if (conn->closed_told)
        drop_output(conn);
    return told;
}

static bool accept_one(struct stream *stream, struct stream_event *event)
{
    pthread_mutex_lock(&stream->mutex);
    struct pipe *pipe = stream->arrived_first;
    if (pipe != NULL)
        stream->arrived_first = pipe->next;
    pthread_mutex_unlock(&stream->mutex);
    if (pipe == NULL)
        return false;
    struct pipe_conn *conn = need(NULL, sizeof *conn);
    conn->pipe = pipe;
    if (stream->tear == 0)
        stream->tear = atomic_load_explicit(&stream->tear_seed, memory_order_relaxed);
    conn->base.listener_id = pipe->listener_id;
    conn->base.fd = -1;
    conn->starve_after = stream->starve_after;
    conn->starve = stream->starve;
    conn->next = stream->conns;
    stream->conns = conn;
    stream_count(&stream->counters.accepted, 1);
    *event = (struct stream_event){.kind = STREAM_ACCEPTED,
                                   .conn = &conn->base,
                                   .listener_id = pipe->listener_id};
    return true;
}

static void conn_free(struct pipe_conn *conn)
{
    drop_output(conn);
    drop_room(conn);
    pthread_mutex_lock(&conn->pipe->mutex);
    conn->pipe->closed = true;
    conn->pipe->stream = NULL;
    pthread_cond_signal(&conn->pipe->changed);
    pipe_put(conn->pipe);
    free(conn);
}

/* What the events of the last poll pointed to. */
static void forget_events(struct stream *stream)
{
    for (unsigned i = 0; i < stream->data_count; i++)
        free(stream->data[i]);
    stream->data_count = 0;
    for (struct pipe_conn **link = &stream->conns; *link != NULL;) {
        struct pipe_conn *conn = *link;
        if (!conn->closed_told) {
            link = &conn->next;
            continue;
        }
        *link = conn->next;
        if (stream->reserved == conn)
            stream->reserved = NULL;
        conn_free(conn);
    }
}

static unsigned collect(struct stream *stream, struct stream_event *events, unsigned events_max)
{
    unsigned count = 0;

    while (count < events_max / 2 && accept_one(stream, &events[count]))
        count++;
    for (struct pipe_conn *conn = stream->conns; conn != NULL && count < events_max;
         conn = conn->next)
        if (!conn->closed_told && tell(stream, conn, &events[count]))
            count++;
    return count;
}

/* So that a connection which always has bytes does not hide those behind it. */
static void rotate(struct stream *stream)
{
    struct pipe_conn *first = stream->conns, *last = first;

    if (first == NULL || first->next == NULL)
        return;
    while (last->next != NULL)
        last = last->next;
    stream->conns = first->next;
    first->next = NULL;
    last->next = first;
}

static int pipes_poll(struct stream *stream, struct stream_event *events, unsigned events_max,
                      int64_t timeout_us)
{
    /* A wake-up since the last look ends this sleep before it begins. */
    uint32_t signal = atomic_load_explicit(&stream->signal, memory_order_relaxed);
    bool woken = signal != stream->signal_seen;

    stream->signal_seen = signal;
    forget_events(stream);
    pipes_flush(stream);
    rotate(stream);
    unsigned count = collect(stream, events, events_max);
    if (count == 0 && timeout_us != 0 && !woken) {
        stream_wait(stream, timeout_us);
        pipes_flush(stream); /* a peer may have made room */
        count = collect(stream, events, events_max);
    }
    return (int)count;
}

/* ---- life ---- */

static int pipes_create(struct stream **out, const struct stream_options *options)
{
    struct stream *stream = need(NULL, sizeof *stream);

    (void)options;
    pthread_mutex_init(&stream->mutex, NULL);
    *out = stream;
    return 0;
}

static void pipes_destroy(struct stream *stream)
{
    struct stream_event event;

    while (accept_one(stream, &event))
        continue;
    for (struct pipe_conn *conn = stream->conns; conn != NULL; conn = conn->next)
        conn->closed_told = true;
    forget_events(stream);
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
}

static int pipes_listen(struct stream *stream, int fd, uint32_t listener_id, bool hand_over)
{
    (void)stream, (void)fd, (void)listener_id, (void)hand_over;
    return -ENOTSUP;
}

static int pipes_unlisten(struct stream *stream, uint32_t listener_id)
{
    (void)stream, (void)listener_id;
    return 0;
}

static int pipes_adopt(struct stream *stream, int fd, uint32_t listener_id)
{
    (void)stream, (void)listener_id;
    close(fd);
    return -ENOTSUP;
}

static int pipes_address(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    snprintf(text, STREAM_ADDRESS_TEXT_MAX, "pipe:%p", (void *)conn);
    return 0;
}

static bool pipes_is_loopback(struct stream_conn *conn)
{
    (void)conn;
    return true;
}

static const struct stream_counters *pipes_counters(const struct stream *stream)
{
    return &stream->counters;
}

void pipes_tear(struct stream *stream, uint64_t seed)
{
    atomic_store_explicit(&stream->tear_seed, seed, memory_order_relaxed);
}

void pipes_starve(struct stream *stream, unsigned after, unsigned count)
{
    stream->starve_after = after;
    stream->starve = count;
}

const struct stream_driver stream_pipes = {
    .name = "pipes",
    .create = pipes_create,
    .destroy = pipes_destroy,
    .listen = pipes_listen,
    .unlisten = pipes_unlisten,
    .adopt = pipes_adopt,
    .poll = pipes_poll,
    .wake = pipes_wake,
    .reserve = pipes_reserve,
    .commit = pipes_commit,
    .append = pipes_append,
    .flush = pipes_flush,
    .notify_drained = pipes_notify_drained,
    .pause = pipes_pause,
    .resume = pipes_resume,
    .close = pipes_close,
    .peer = pipes_address,
    .local = pipes_address,
    .is_loopback = pipes_is_loopback,
    .counters = pipes_counters,
};
