/* Rest: idle connections do without what they need at work.
 * Purpose:   who has nothing under way keeps struct net_conn alone; its struct conn_busy serves
 *            those that are at work, which so stay near each other in few pages. While there are
 *            few connections nobody rests.
 * Ownership: the stack's. There are as many blocks as connections, so waking cannot fail; memory is
 *            taken only for as many as were ever awake together.
 * Threading: one worker.
 * Errors:    none.
 * Work:      bounded: waking looks at REST_LOOKS others at most. */
#ifndef DATAPLANE_NET_REST_H
#define DATAPLANE_NET_REST_H

#include "dataplane/net/tcb.h"

enum {
    REST_BUSY_KEPT = 512, /* blocks that are handed out before anybody has to rest */
    REST_LOOKS = 8,
    REST_QUIET_MS = 4, /* since its last segment, before it may */
};

struct net;

int rest_init(struct net *net);
void rest_fini(struct net *net);
/* A block for a connection that has none, all zero. */
void rest_begin_work(struct net *net, struct net_conn *conn);
/* The connection's block is free again: it is over. Its queues are empty. */
void rest_leave(struct net *net, struct net_conn *conn);
/* The block that it had when it went to rest, as far as that matters. */
void rest_end(struct net *net, struct net_conn *conn);
/* Goes to rest if it has nothing under way. */
bool rest_try(struct net *net, struct net_conn *conn);
/* SND.UNA and the rest of it, for one awake or not. `room` is for one that rests. */
const struct recovery *rest_recovery(const struct net *net, const struct net_conn *conn,
                                     struct recovery *room);

#endif
