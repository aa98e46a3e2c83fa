#include "tools/pollux-bench/preload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/pollux-bench/reply.h"

enum {
    PRELOAD_BURST = 128,            /* commands in flight on a connection */
    PRELOAD_BURST_BYTES = 64 << 10, /* of those; at least one goes */
    PRELOAD_SLEEP_NS = 10000000,
};

/* One connection and what it has to set. */
struct feed {
    struct transport_link *link;
    const struct route *route;
    uint64_t next; /* index of the next key, over all groups of the route */
    uint64_t keys;
    uint64_t unanswered;
    struct reply reply;
};

struct preload {
    const struct options *options;
    struct transport *transport;
    struct request *request;
    struct feed *feeds;
    uint64_t feeding; /* feeds that are not done */
    char *out;
    struct reply_counts counts;
    uint64_t answered;
};

static uint64_t feed_number(const struct preload *preload, const struct feed *feed)
{
    uint32_t group = preload->options->request.format.group;
    uint64_t at = group > 0 ? feed->next / group : feed->next;
    uint64_t number = feed->route->pick.list != NULL ? feed->route->pick.list[at] : at;

    return group > 0 ? number * group + feed->next % group : number;
}

static int feed_send(struct preload *preload, struct feed *feed)
{
    size_t len = 0;

    while (feed->next < feed->keys && feed->unanswered < PRELOAD_BURST &&
           (len == 0 || len + preload->request->longest_bytes <= PRELOAD_BURST_BYTES)) {
        len += request_append_set(preload->request, feed_number(preload, feed), preload->out + len);
        feed->next++;
        feed->unanswered++;
    }
    if (len > 0)
        return transport_write(preload->transport, feed->link, preload->out, len);
    transport_close(preload->transport, feed->link, false);
    feed->link = NULL;
    preload->feeding--;
    return 0;
}

static int preload_take(struct preload *preload, const struct transport_event *event)
{
    struct feed *feed = event->user;

    if (event->kind == TRANSPORT_CONNECTED)
        return feed_send(preload, feed);
    if (event->kind == TRANSPORT_CLOSED) {
        feed->link = NULL;
        return event->error != 0 ? -event->error : -ECONNRESET;
    }
    int64_t replies = reply_feed(&feed->reply, event->data, event->len_bytes, &preload->counts);
    if (replies < 0 || (uint64_t)replies > feed->unanswered)
        return -EPROTO;
    if (preload->counts.errors + preload->counts.moved > 0)
        return -EIO;
    feed->unanswered -= (uint64_t)replies;
    preload->answered += (uint64_t)replies;
    return feed->unanswered == 0 ? feed_send(preload, feed) : 0;
}

static double preload_now_s(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int preload_loop(struct preload *preload)
{
    double last_s = preload_now_s();
    int status = 0;

    while (status == 0 && preload->feeding > 0) {
        struct transport_event event;
        uint64_t before = preload->answered + preload->feeding;
        int polled = transport_poll(preload->transport, PRELOAD_SLEEP_NS);
        status = polled < 0 ? polled : 0;
        while (status == 0 && transport_event(preload->transport, &event))
            status = preload_take(preload, &event);
        double now_s = preload_now_s();
        if (preload->answered + preload->feeding != before)
            last_s = now_s;
        else if (status == 0 && now_s - last_s > preload->options->timeout_s)
            status = -ETIMEDOUT;
    }
    return status;
}

static int preload_init(struct preload *preload, const struct routes *routes)
{
    uint32_t group = preload->options->request.format.group;
    struct request_options options = preload->options->request;

    preload->request = calloc(1, sizeof(*preload->request));
    preload->feeds = calloc(routes->count, sizeof(*preload->feeds));
    if (preload->request == NULL || preload->feeds == NULL)
        return -ENOMEM;
    options.multi = 1;
    int status = request_init(preload->request, &options, "setnew");
    if (status < 0)
        return status;
    preload->out = malloc(PRELOAD_BURST_BYTES + preload->request->longest_bytes);
    if (preload->out == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < routes->count && status == 0; i++) {
        struct feed *feed = &preload->feeds[i];
        feed->route = &routes->list[i];
        feed->keys = feed->route->pick.count * (group > 0 ? group : 1);
        status = transport_connect(preload->transport, &feed->route->address, feed, &feed->link);
        preload->feeding++;
    }
    return status;
}

int64_t preload_run(const struct options *options, const struct routes *routes,
                    struct transport *transport)
{
    struct preload preload = {.options = options, .transport = transport};
    int status = preload_init(&preload, routes);

    if (status == 0)
        status = preload_loop(&preload);
    if (status == -EIO)
        fprintf(stderr, "pollux-bench: preload: the server says: %s\n",
                preload.counts.errors > 0 ? preload.counts.first_error : "MOVED");
    else if (status < 0)
        fprintf(stderr, "pollux-bench: preload: %s\n", strerror(-status));
    for (uint32_t i = 0; preload.feeds != NULL && i < routes->count; i++) {
        if (preload.feeds[i].link != NULL)
            transport_close(transport, preload.feeds[i].link, true);
    }
    if (preload.request != NULL)
        request_fini(preload.request);
    free(preload.request);
    free(preload.feeds);
    free(preload.out);
    return status < 0 ? status : (int64_t)preload.answered;
}
