/* A whole session: the bytes of one connection, in pieces, against two workers that are turned by
 * hand. What they become (options of commands, transactions, loans) is read by the real code; at the
 * end every count must agree with what is there. Input: one byte for the pieces, then the stream. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/stress/harness.h"

enum { STREAM_MAX = 4096, BULK_MAX = 1 << 20 };

/* The control thread of a process that has none: everything is done, or refused, at once. */
static void post(void *control, struct task *task)
{
    task->run(control, task);
}

static void shut_down(void *control)
{
    (void)control;
}

static int record(void *control, const char *path)
{
    (void)control;
    (void)path;
    return -EPERM;
}

static int record_end(void *control)
{
    (void)control;
    return -ENOENT;
}

static int configure(void *control, const struct config_span *words, unsigned count, bool local,
                     char text[CONFIG_REASON_MAX])
{
    (void)control;
    (void)words;
    (void)count;
    (void)local;
    snprintf(text, CONFIG_REASON_MAX, "ERR refused");
    return -EPERM;
}

static const struct node_control control_calls = {.post = post,
                                                  .shut_down = shut_down,
                                                  .record = record,
                                                  .record_end = record_end,
                                                  .configure = configure};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > STREAM_MAX)
        return 0;
    struct harness *harness =
        harness_create(&(struct harness_options){.workers = 2, .now_unix_ms = 1700000000000});
    harness->node->control_calls = &control_calls;
    harness->node->config->proto_max_bulk_len = BULK_MAX; /* values that many inputs can have */

    struct peer *peer = peer_create(harness, 0);
    peer->may_be_closed = true;
    size_t piece = data[0] == 0 ? size : data[0];
    for (size_t at = 1; at < size; at += piece) {
        peer_add_raw(peer, (const char *)data + at, size - at < piece ? size - at : piece);
        peer_flush(peer);
        harness_idle(harness);
    }
    peer_reset(peer);
    harness_idle(harness);
    harness_stop(harness);
    if (!harness_check(harness))
        abort();
    harness_destroy(harness);
    return 0;
}
