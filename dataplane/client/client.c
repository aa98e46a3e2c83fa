#include "dataplane/client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/client/input.h"
#include "dataplane/client/batch.h"

enum {
    /* Kept for a connection that waits (for a job, its turn); then reading pauses. */
    INPUT_WAITING_MAX_BYTES = 1 << 20,
    INPUT_ANONYMOUS_MAX_BYTES = 64 << 10, /* the same before authentication */
    CRON_CLIENTS_MIN = 64,                /* looked at in one cron, at least */
    RESUMED_MIN =
        4, /* clients whose input goes on in one turn, also in a long one: mail does not starve them, ... */
    RESUMED_MAX = 64, /* ... and at most; then others have theirs */
    REDONE_MIN = 4,   /* jobs that are routed anew in one turn, also in a long one */
};

/* ---- replies into the stream ---- */

static bool stream_more(struct reply *reply, size_t need_bytes)
{
    struct client *client = reply->sink_arg;
    struct worker *worker = client->worker;
    size_t room;

    client_reply_end(client);
    if (client->conn == NULL)
        return false;
    char *at = worker->driver->reserve(worker->stream, client->conn, need_bytes, &room);
    if (at == NULL)
        return false;
    reply->base = reply->cur = at;
    reply->end = at + room;
    return true;
}

static bool stream_append(struct reply *reply, const char *data, size_t len_bytes,
                          void (*release)(void *), void *arg)
{
    struct client *client = reply->sink_arg;
    struct worker *worker = client->worker;

    client_reply_end(client);
    if (client->conn == NULL ||
        worker->driver->append(worker->stream, client->conn, data, len_bytes, release, arg) < 0)
        return false;
    reply->committed_bytes += len_bytes;
    return true;
}

static const struct reply_sink stream_sink = {.more = stream_more, .append = stream_append};

void client_reply_end(struct client *client)
{
    struct reply *reply = &client->reply;

    if (reply->cur != reply->base && client->conn != NULL) {
        size_t written = (size_t)(reply->cur - reply->base);
        client->worker->driver->commit(client->worker->stream, client->conn, written);
        reply->committed_bytes += written;
    }
    reply->cur = reply->end = reply->base = NULL;
}

void client_reply_begin(struct client *client)
{
    client->reply.muted =
        client->conn == NULL || (client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0;
    client->reply.resp = client->session.resp;
}

/* ---- life ---- */

int clients_create(struct client_list **list_out)
{
    struct client_list *list = calloc(1, sizeof *list);

    if (list == NULL)
        return -ENOMEM;
    list->batch = batch_create();
    if (list->batch == NULL) {
        free(list);
        return -ENOMEM;
    }
    *list_out = list;
    return 0;
}

static void link_client(struct client_list *list, struct client *client)
{
    client->previous = list->last;
    if (list->last == NULL)
        list->first = client;
    else
        list->last->next = client;
    list->last = client;
    list->count++;
    list->idle_bytes += client_idle_bytes(client);
    count_add(&client->worker->stats.clients, 1);
}

static void unlink_client(struct client_list *list, struct client *client)
{
    if (list->cron_next == client)
        list->cron_next = client->next;
    if (client->previous == NULL)
        list->first = client->next;
    else
        client->previous->next = client->next;
    if (client->next == NULL)
        list->last = client->previous;
    else
        client->next->previous = client->previous;
    list->count--;
    list->idle_bytes -= client_idle_bytes(client);
    count_add(&client->worker->stats.clients, (uint64_t)-1);
}

const struct client_extra client_no_extra = {.multi.slot = -1};

struct client_extra *client_extra_make(struct client *client)
{
    if (client->extra == NULL && (client->extra = malloc(sizeof *client->extra)) != NULL) {
        *client->extra = client_no_extra;
        client->worker->clients->idle_bytes += sizeof *client->extra;
    }
    return client->extra;
}

static void free_extra(struct client *client)
{
    struct client_extra *extra = client->extra;

    if (extra == NULL)
        return;
    multi_discard(client);
    free(extra->watches);
    free(extra->watch_bits);
    free(extra->plan);
    for (unsigned i = 0; i < CLIENT_TEXTS; i++)
        free(extra->texts[i]);
    free(extra);
}

void client_local(const struct client *client, char local[STREAM_ADDRESS_TEXT_MAX])
{
    local[0] = '\0';
    if (client->conn != NULL)
        client->worker->driver->local(client->conn, local);
}

static void client_free(struct client *client)
{
    struct client_list *list = client->worker->clients;

    unlink_client(list, client);
    client_input_drop(client);
    free_extra(client);
    free(client);
}

void clients_destroy(struct worker *worker)
{
    struct client_list *list = worker->clients;

    if (list == NULL)
        return;
    while (list->first != NULL)
        client_free(list->first);
    batch_destroy(list->batch);
    free(list);
    worker->clients = NULL;
}

void client_close(struct client *client, bool flush)
{
    struct worker *worker = client->worker;

    if (client->conn == NULL || (client->flags & CLIENT_CLOSED) != 0)
        return;
    client_reply_end(client);
    client->flags |= CLIENT_CLOSED;
    worker->driver->close(worker->stream, client->conn,
                          flush ? STREAM_CLOSE_FLUSH : STREAM_CLOSE_NOW);
}

static void count_output(struct client *client)
{
    uint64_t pending = client->conn == NULL ? 0 : client->conn->pending_bytes;

    client->worker->clients->output_bytes += pending - client->output_counted;
    client->output_counted = pending;
}

/* The stream is closed; the client goes as soon as no job and no list needs it. */
static void client_gone(struct client *client)
{
    struct worker *worker = client->worker;

    client->reply.cur = client->reply.end = client->reply.base = NULL;
    client->conn = NULL;
    count_output(client);
    client->flags |= CLIENT_CLOSED;
    burst_unpark(client);
    if ((client->flags & CLIENT_MONITOR) != 0) {
        client->flags &= ~(uint32_t)CLIENT_MONITOR;
        atomic_fetch_sub_explicit(&worker->clients->monitors, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&worker->node->monitors, 1, memory_order_relaxed);
    }
    if ((client->flags & CLIENT_PAUSED) != 0) {
        client->flags &= ~(uint32_t)CLIENT_PAUSED;
        worker->clients->paused--;
    }
    atomic_fetch_sub_explicit(&worker->node->client_count, 1, memory_order_relaxed);
    client_continue_later(client); /* clients_resume frees it when nothing is out */
}

static bool refuse_connection(struct worker *worker, struct stream_conn *conn)
{
    struct node *node = worker->node;
    struct config *config = node->config;
    const char *error = NULL;

    if (atomic_fetch_add_explicit(&node->client_count, 1, memory_order_relaxed) >=
        config->maxclients) {
        error = "-ERR max number of clients reached\r\n";
    } else if (config->protected_mode != 0 && config->requirepass[0] == '\0' &&
               !worker->driver->is_loopback(conn)) {
        error = "-DENIED Pollux is running in protected mode because protected mode is enabled and "
                "no password is set for the default user. "
                "In this mode connections are only accepted from the loopback interface. Set a "
                "password (requirepass), or turn the protection off "
                "with CONFIG SET protected-mode no from a local client or in the configuration "
                "file.\r\n";
    }
    if (error == NULL)
        return false;
    size_t room, len = strlen(error);
    char *at = worker->driver->reserve(worker->stream, conn, len, &room);
    if (at != NULL) {
        memcpy(at, error, len);
        worker->driver->commit(worker->stream, conn, len);
    }
    worker->driver->close(worker->stream, conn, STREAM_CLOSE_FLUSH);
    atomic_fetch_sub_explicit(&node->client_count, 1, memory_order_relaxed);
    count_add(&worker->stats.rejected_connections, 1);
    return true;
}

void client_accepted(struct worker *worker, struct stream_conn *conn)
{
    struct node *node = worker->node;
    char peer[STREAM_ADDRESS_TEXT_MAX] = "";
    struct client *client;

    conn->user = NULL;
    if (worker->draining) { /* it was under way when we stopped listening */
        worker->driver->close(worker->stream, conn, STREAM_CLOSE_NOW);
        return;
    }
    if (refuse_connection(worker, conn))
        return;
    worker->driver->peer(conn, peer);
    client = calloc(1, sizeof *client + strlen(peer) + 1);
    if (client == NULL) {
        atomic_fetch_sub_explicit(&node->client_count, 1, memory_order_relaxed);
        worker->driver->close(worker->stream, conn, STREAM_CLOSE_NOW);
        return;
    }
    client->worker = worker;
    client->conn = conn;
    conn->user = client;
    client->session =
        (struct session){.client_id = atomic_fetch_add_explicit(&node->next_client_id, 1,
                                                                memory_order_relaxed),
                         .resp = 2,
                         .cluster = listener_is_core(conn->listener_id)};
    if (client->session.cluster)
        client->session.port_worker = (uint16_t)listener_core_worker(conn->listener_id);
    client->reply.sink = &stream_sink;
    client->reply.sink_arg = client;
    client->reply.error_code = worker->clients->error_code;
    client->created_unix_ms = client->last_active_unix_ms = worker->now_unix_ms;
    if (conn->listener_id == LISTENER_UNIX)
        client->flags |= CLIENT_UNIX;
    if (node->config->requirepass[0] == '\0')
        client->flags |= CLIENT_AUTHENTICATED;
    strcpy(client->peer, peer);
    link_client(worker->clients, client);
    count_add(&worker->stats.connections, 1);
}

/* ---- unix sockets: one acceptor hands the descriptors round ---- */

struct handed {
    struct mail_call call;
    int fd;
    uint32_t listener_id;
};

static void adopt_there(struct worker *worker, struct mail_call *call)
{
    struct handed *handed = call->argument;

    worker->driver->adopt(worker->stream, handed->fd, handed->listener_id);
}

static void adopted(struct worker *worker, struct mail_call *call)
{
    free(call->argument);
}

static void hand_over(struct worker *worker, const struct stream_event *event)
{
    uint32_t to = (uint32_t)(rng_next(&worker->rng) % worker->node->worker_count);
    struct handed *handed;

    if (to == worker->index) {
        worker->driver->adopt(worker->stream, event->fd, event->listener_id);
        return;
    }
    handed = calloc(1, sizeof *handed);
    if (handed == NULL) {
        close(event->fd);
        return;
    }
    handed->fd = event->fd;
    handed->listener_id = event->listener_id;
    handed->call = (struct mail_call){.run = adopt_there, .done = adopted, .argument = handed};
    mail_call(worker, to, &handed->call);
}

/* ---- events ---- */

static uint64_t output_share(const struct worker *worker)
{
    uint64_t share = OUTPUT_NODE_BYTES / worker->node->worker_count;

    return share > OUTPUT_SHARE_MIN_BYTES ? share : OUTPUT_SHARE_MIN_BYTES;
}

bool client_output_full(struct client *client)
{
    struct worker *worker = client->worker;

    count_output(client);
    if (client->output_counted <= OUTPUT_PRESSED_BYTES ||
        worker->clients->output_bytes <= output_share(worker))
        return false;
    if ((client->flags & CLIENT_OUTPUT_FULL) == 0) {
        client->flags |= CLIENT_OUTPUT_FULL;
        worker->driver->notify_drained(worker->stream, client->conn);
    }
    return true;
}

static void pause_reading(struct client *client)
{
    if ((client->flags & CLIENT_READ_PAUSED) != 0 || client->conn == NULL)
        return;
    client->flags |= CLIENT_READ_PAUSED;
    client->worker->driver->pause(client->worker->stream, client->conn);
}

void client_resume_reading(struct client *client)
{
    if ((client->flags & CLIENT_READ_PAUSED) == 0 || client->conn == NULL)
        return;
    client->flags &= ~(uint32_t)CLIENT_READ_PAUSED;
    client->worker->driver->resume(client->worker->stream, client->conn);
}

static size_t waiting_max_bytes(const struct client *client)
{
    return client_is_anonymous(client) ? INPUT_ANONYMOUS_MAX_BYTES : INPUT_WAITING_MAX_BYTES;
}

/* Keeps bytes that cannot be parsed now. */
bool client_keep(struct client *client, const char *data, size_t len_bytes)
{
    struct worker *worker = client->worker;

    if (len_bytes == 0)
        return true;
    struct input *input = client_input(client);
    if (input == NULL ||
        input_append(&input->bytes, data, len_bytes, input->parser.want_bytes) < 0) {
        client_close(client, false);
        return false;
    }
    if ((int64_t)input_len(&input->bytes) > worker->node->config->client_query_buffer_limit) {
        count_add(&worker->stats.query_buffer_limit_disconnects, 1);
        client_close(client, false);
        return false;
    }
    if (input_len(&input->bytes) > waiting_max_bytes(client) &&
        ((client->flags & CLIENT_RESUME) != 0 || !client_may_parse(client)))
        pause_reading(client);
    return true;
}

/* What waits goes into the batch. */
static void add_input(struct worker *worker, struct client *client)
{
    const struct bytes *bytes = &client->input->bytes;

    batch_add(worker, client, bytes->data + bytes->start, input_len(bytes), true);
}

static void client_bytes(struct worker *worker, struct client *client, const char *data,
                         uint32_t len_bytes)
{
    if ((client->flags & (CLIENT_CLOSED | CLIENT_CLOSE_AFTER_REPLY)) != 0)
        return;
    if ((client->flags & CLIENT_IN_BATCH) != 0)
        batch_run(worker); /* its earlier bytes may end in the middle of a command */
    client->last_active_unix_ms = worker->now_unix_ms;
    client->flags |= CLIENT_TOUCHED;
    if (worker_turn_long(worker) && client_may_parse(client)) {
        client_continue_later(client);
        client_keep(client, data, len_bytes);
        return;
    }
    if (client->input == NULL && client_may_parse(client)) {
        batch_add(worker, client, data, len_bytes, false);
        return;
    }
    if (client_keep(client, data, len_bytes) && client_may_parse(client))
        add_input(worker, client);
}

void client_finish_half_closed(struct client *client)
{
    enum {
        GOES_ON =
            CLIENT_WAITING | CLIENT_UNWATCHING | CLIENT_PAUSED | CLIENT_OUTPUT_FULL | CLIENT_RESUME
    };

    if ((client->flags & CLIENT_HALF_CLOSED) != 0 && (client->flags & GOES_ON) == 0)
        client_close(client, true);
}

void clients_events(struct worker *worker, const struct stream_event *events, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct stream_event *event = &events[i];
        struct client *client =
            event->conn != NULL && event->kind != STREAM_ACCEPTED ? event->conn->user : NULL;

        if (event->kind == STREAM_BYTES) {
            if (client != NULL)
                client_bytes(worker, client, event->data, event->len_bytes);
            continue;
        }
        batch_run(worker); /* what this connection sent before comes first */
        switch (event->kind) {
        case STREAM_ACCEPTED:
            client_accepted(worker, event->conn);
            break;
        case STREAM_HANDED:
            hand_over(worker, event);
            break;
        case STREAM_END:
            if (client != NULL) {
                client->flags |= CLIENT_HALF_CLOSED;
                client_finish_half_closed(client);
            }
            break;
        case STREAM_DRAINED:
            if (client != NULL && (client->flags & CLIENT_OUTPUT_FULL) != 0) {
                client->flags &= ~(uint32_t)CLIENT_OUTPUT_FULL;
                burst_unpark(client);
                client_continue_later(client);
            }
            break;
        case STREAM_CLOSED:
            if (client != NULL)
                client_gone(client);
            break;
        case STREAM_BYTES:
            break;
        }
    }
    batch_run(worker);
}

/* ---- going on ---- */

void client_continue_later(struct client *client)
{
    struct client_list *list = client->worker->clients;

    if ((client->flags & CLIENT_RESUME) != 0)
        return;
    client->flags |= CLIENT_RESUME;
    client->resume_next = NULL;
    if (list->resume_first == NULL)
        list->resume_first = client;
    else
        list->resume_last->resume_next = client;
    list->resume_last = client;
}

bool clients_have_work(const struct worker *worker)
{
    return worker->clients->resume_first != NULL || worker->clients->redo_first != NULL;
}

void client_redo_job(struct worker *worker, struct job *job)
{
    struct client_list *list = worker->clients;

    job->next = NULL;
    if (list->redo_first == NULL)
        list->redo_first = job;
    else
        list->redo_last->next = job;
    list->redo_last = job;
}

/* Those that come back meanwhile wait for the next turn. */
static void redo_jobs(struct worker *worker)
{
    struct client_list *list = worker->clients;
    struct job *last = list->redo_last, *job = NULL;

    for (unsigned i = 0;
         job != last && list->redo_first != NULL && (i < REDONE_MIN || !worker_turn_long(worker));
         i++) {
        job = list->redo_first;
        list->redo_first = job->next;
        job_dispatch(worker, job);
    }
}

/* Of a connection that is gone: what it left elsewhere first, then itself. */
static void forget(struct client *client)
{
    if ((client->flags & (CLIENT_WAITING | CLIENT_UNWATCHING)) != 0)
        return; /* the job's end comes back here */
    if (client_extra(client)->watch_count > 0)
        client_unwatch(client);
    if (client_extra(client)->watch_count > 0)
        client_continue_later(client); /* there was no memory for that */
    /* An unwatch that ended at once has put the client on the list again: freed from there. */
    if ((client->flags & (CLIENT_UNWATCHING | CLIENT_RESUME)) == 0)
        client_free(client);
}

/* True: it had input that could be parsed. */
static bool resume(struct worker *worker, struct client *client)
{
    size_t len = client_input_len(client);

    if (client->conn == NULL) {
        forget(client);
        return false;
    }
    if (!client_may_parse(client))
        return false;
    if (len <= waiting_max_bytes(client))
        client_resume_reading(client);
    if (len > 0)
        add_input(worker, client);
    else
        client_finish_half_closed(client);
    return len > 0;
}

void clients_resume(struct worker *worker)
{
    struct client_list *list = worker->clients;
    unsigned served = 0;

    redo_jobs(worker);
    /* Those that are put behind the last one have had their turn. */
    for (struct client *client = NULL, *last = list->resume_last;
         client != last && served < (worker_turn_long(worker) ? RESUMED_MIN : RESUMED_MAX);) {
        client = list->resume_first;
        if (client == NULL)
            break;
        list->resume_first = client->resume_next;
        client->flags &= ~(uint32_t)CLIENT_RESUME;
        served += resume(worker, client);
    }
    batch_run(worker);
}

/* ---- the end ---- */

bool clients_drain(struct worker *worker)
{
    enum {
        UNDER_WAY = CLIENT_WAITING | CLIENT_UNWATCHING | CLIENT_RESUME | CLIENT_OUTPUT_FULL |
                    CLIENT_IN_BATCH
    };

    for (struct client *client = worker->clients->first; client != NULL; client = client->next) {
        if ((client->flags & UNDER_WAY) != 0)
            pause_reading(client);
        else
            client_close(client, true); /* what input is left is no whole command */
    }
    return worker->clients->count == 0;
}

bool clients_settle(struct worker *worker)
{
    for (struct client *client = worker->clients->first; client != NULL; client = client->next)
        burst_unpark_all(client);

    bool more = worker->clients->redo_first != NULL;

    redo_jobs(worker);
    return more;
}

/* ---- cron ---- */

static bool over_limit(struct client *client, int64_t now_unix_ms)
{
    struct config_limit *limit =
        &client->worker->node->config->client_output_buffer_limit[CONFIG_CLASS_NORMAL];
    int64_t pending = (int64_t)client->conn->pending_bytes;

    if (client_is_anonymous(client) && pending > OUTPUT_ANONYMOUS_MAX_BYTES)
        return true;
    if (limit->hard_bytes > 0 && pending > limit->hard_bytes)
        return true;
    if (limit->soft_bytes == 0 || pending <= limit->soft_bytes) {
        client->output_soft_since_unix_s = 0;
        return false;
    }
    if (client->output_soft_since_unix_s == 0)
        client->output_soft_since_unix_s = (uint32_t)(now_unix_ms / 1000);
    return now_unix_ms / 1000 - client->output_soft_since_unix_s > limit->soft_seconds;
}

bool client_check_output(struct client *client)
{
    if (client->conn == NULL)
        return true;
    count_output(client);
    if (client->reply.failed) { /* a reply is missing: what follows would be out of step */
        client_close(client, false);
        return false;
    }
    if (client->conn->pending_bytes <= OUTPUT_ANONYMOUS_MAX_BYTES ||
        !over_limit(client, client->worker->now_unix_ms))
        return true;
    count_add(&client->worker->stats.output_buffer_limit_disconnects, 1);
    client_close(client, false);
    return false;
}

static void count_client(struct client_list *list, struct client *client)
{
    uint64_t pending = client->conn->pending_bytes;

    count_output(client);
    list->memory_counted += client_memory_bytes(client) - client_idle_bytes(client);
    if (client->input != NULL && client->input->bytes.capacity > list->input_max)
        list->input_max = client->input->bytes.capacity;
    if (pending > list->output_max)
        list->output_max = pending;
}

/* A round over all clients is complete; the next one begins. */
static void end_round(struct worker *worker)
{
    struct client_list *list = worker->clients;
    struct worker_stats *stats = &worker->stats;

    atomic_store_explicit(&stats->client_bytes, list->idle_bytes + list->memory_counted,
                          memory_order_relaxed);
    atomic_store_explicit(&stats->client_input_max_bytes, list->input_max, memory_order_relaxed);
    atomic_store_explicit(&stats->client_output_max_bytes, list->output_max, memory_order_relaxed);
    list->memory_counted = list->input_max = list->output_max = 0;
    list->cron_next = list->first;
}

/* False: nothing can have changed until it is touched again. */
static bool has_something(const struct client *client)
{
    return client->conn->pending_bytes > 0 || client->input != NULL ||
           (client->flags & (CLIENT_WAITING | CLIENT_UNWATCHING | CLIENT_MULTI)) != 0;
}

static void cron_client(struct worker *worker, struct client *client)
{
    int64_t timeout_ms = worker->node->config->timeout * 1000;

    if ((client->flags & CLIENT_CLOSED) != 0)
        return;
    if ((client->flags & CLIENT_TOUCHED) != 0) {
        count_client(worker->clients, client);
        if (!client_check_output(client))
            return;
        if (!has_something(client))
            client->flags &= ~(uint32_t)CLIENT_TOUCHED;
    }
    if (timeout_ms > 0 &&
        (client->flags & (CLIENT_MONITOR | CLIENT_WAITING | CLIENT_PAUSED)) == 0 &&
        worker->now_unix_ms - client->last_active_unix_ms > timeout_ms)
        client_close(client, false);
}

static void resume_paused(struct worker *worker)
{
    struct client_list *list = worker->clients;

    for (struct client *client = list->first; client != NULL && list->paused > 0;
         client = client->next) {
        if ((client->flags & CLIENT_PAUSED) == 0)
            continue;
        client->flags &= ~(uint32_t)CLIENT_PAUSED;
        list->paused--;
        client_continue_later(client);
    }
}

void clients_pause_check(struct worker *worker)
{
    struct client_list *list = worker->clients;
    uint64_t generation =
        atomic_load_explicit(&worker->node->pause_generation, memory_order_relaxed);

    if (list->paused == 0)
        return;
    if (generation != list->pause_generation_seen ||
        worker->now_unix_ms >=
            atomic_load_explicit(&worker->node->pause_until_unix_ms, memory_order_relaxed)) {
        list->pause_generation_seen = generation;
        resume_paused(worker);
    }
}

void clients_cron(struct worker *worker)
{
    struct client_list *list = worker->clients;
    uint32_t visits = list->count / 10 > CRON_CLIENTS_MIN ? list->count / 10 : CRON_CLIENTS_MIN;

    if (list->cron_next == NULL)
        end_round(worker);
    while (visits-- > 0 && list->cron_next != NULL) {
        struct client *client = list->cron_next;
        list->cron_next = client->next;
        cron_client(worker, client);
    }
}
