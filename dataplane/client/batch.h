/* Batch: what one burst of events brought, parsed before anything of it runs.
 * Purpose:   hide memory latency: all commands of the burst, over several connections, are parsed and their buckets and entries prefetched; then they run in
 *            the order in which they came.
 * Ownership: the worker's. Arguments point into receive buffers or a client's input until batch_run returns.
 * Threading: its worker. */
#ifndef DATAPLANE_CLIENT_BATCH_H
#define DATAPLANE_CLIENT_BATCH_H

#include "dataplane/client/client.h"

struct batch *batch_create(void);
void batch_destroy(struct batch *batch);
/* Adds a connection's bytes; runs the batch when it is full. `from_input`: they are the front of client->input. */
void batch_add(struct worker *worker, struct client *client, const char *data, size_t len_bytes,
               bool from_input);
void batch_run(struct worker *worker);

/* client.c */
bool client_output_full(struct client *client); /* then STREAM_DRAINED is asked for */
bool client_keep(struct client *client, const char *data, size_t len_bytes);
bool client_check_output(struct client *client); /* false: closed, over a limit or without memory */
void client_resume_reading(struct client *client);
void client_finish_half_closed(struct client *client);
void clients_pause_check(struct worker *worker);

/* Whether its next command may run. Little output presses nobody: it is counted once a batch. */
static inline bool client_may_parse(struct client *client)
{
    const uint32_t stops = CLIENT_WAITING | CLIENT_UNWATCHING | CLIENT_PAUSED | CLIENT_CLOSED |
                           CLIENT_CLOSE_AFTER_REPLY | CLIENT_OUTPUT_FULL;

    if ((client->flags & stops) != 0)
        return false;
    return (client->conn != NULL && client->conn->pending_bytes <= OUTPUT_PRESSED_BYTES) ||
           !client_output_full(client);
}

#endif
