#include "dataplane/net/rest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/net_inside.h"

int rest_init(struct net *net)
{
    /* Not written to here: pages are taken as blocks are first used. */
    net->busy = malloc((size_t)net->options.connections_max * sizeof *net->busy);
    return net->busy == NULL ? -ENOMEM : 0;
}

void rest_fini(struct net *net)
{
    free(net->busy);
}

static bool may_rest(const struct net *net, const struct net_conn *conn)
{
    enum {
        /* What it was or is; all other flags say that something is yet to be done. */
        QUIET = CONN_SACK | CONN_TIMESTAMPS | CONN_SCALED | CONN_ECN | CONN_IN_TABLE |
                CONN_PASSIVE | CONN_SYN_LOST | CONN_ACK_QUICK | CONN_ECN_REDUCED | CONN_ECN_ECHO |
                CONN_PAUSED
    };
    const struct conn_busy *busy = conn->busy;

    return conn->state == NET_STATE_ESTABLISHED && (conn->flags & ~(uint32_t)QUIET) == 0 &&
           busy->queue.head == NULL && busy->queue.piece == NULL && busy->rx_first == NULL &&
           busy->reorder == NULL && (busy->ack_ms | busy->wait_ms | busy->stalled_ms) == 0 &&
           net->reserved_conn != conn && recovery_may_rest(&busy->recovery, net->now_us);
}

static void give_back(struct net *net, struct net_conn *conn)
{
    struct conn_busy *busy = conn->busy;

    busy->conn = NULL;
    busy->free_next = net->busy_free;
    net->busy_free = busy;
    conn->busy = NULL;
}

bool rest_try(struct net *net, struct net_conn *conn)
{
    struct recovery_rest rest;

    if (!may_rest(net, conn))
        return false;
    assert(conn->busy->queue.end_seq == conn->busy->recovery.nxt);
    recovery_save(&conn->busy->recovery, &rest);
    give_back(net, conn);
    conn->rest = rest;
    return true;
}

/* The hand goes round all blocks: who was at work a moment ago is passed over. */
static void look_for_one(struct net *net)
{
    for (unsigned i = 0; i < REST_LOOKS; i++) {
        struct conn_busy *busy = &net->busy[net->busy_hand];

        net->busy_hand = net->busy_hand + 1 < net->busy_fresh ? net->busy_hand + 1 : 0;
        if (busy->conn != NULL && net_now_ms(net) - busy->conn->heard_ms >= REST_QUIET_MS &&
            rest_try(net, busy->conn))
            return;
    }
}

unsigned net_rest(struct net *net)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < net->busy_fresh; i++)
        count += net->busy[i].conn != NULL && rest_try(net, net->busy[i].conn);
    return count;
}

void rest_begin_work(struct net *net, struct net_conn *conn)
{
    struct conn_busy *busy;

    assert(conn->busy == NULL);
    if (net->busy_free == NULL && net->busy_fresh >= REST_BUSY_KEPT)
        look_for_one(net);
    busy = net->busy_free;
    if (busy != NULL) {
        net->busy_free = busy->free_next;
    } else {
        assert(net->busy_fresh < net->options.connections_max);
        busy = &net->busy[net->busy_fresh++];
    }
    memset(busy, 0, sizeof *busy);
    busy->conn = conn;
    conn->busy = busy;
}

void rest_leave(struct net *net, struct net_conn *conn)
{
    give_back(net, conn);
}

static const struct congestion_ops *congestion_of(const struct net *net)
{
    return net->options.congestion == NET_NEWRENO ? &congestion_newreno : &congestion_cubic;
}

void rest_end(struct net *net, struct net_conn *conn)
{
    struct recovery_rest rest = conn->rest;

    rest_begin_work(net, conn);
    recovery_restore(&conn->busy->recovery, congestion_of(net), &rest, net->now_us);
    sendqueue_init(&conn->busy->queue, rest.una);
}

const struct recovery *rest_recovery(const struct net *net, const struct net_conn *conn,
                                     struct recovery *room)
{
    if (conn->busy != NULL)
        return &conn->busy->recovery;
    recovery_restore(room, congestion_of(net), &conn->rest, net->now_us);
    return room;
}
