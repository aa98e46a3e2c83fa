/* The receive window of a connection: what the peer may send, and when to tell it.
 * Purpose:   each segment that goes out asks, so this is inlined there.
 * Ownership, threading: as net_inside.h says. Errors: none. */
#ifndef DATAPLANE_NET_WINDOW_H
#define DATAPLANE_NET_WINDOW_H

#include "dataplane/net/net_inside.h"

/* Where the right edge could be. */
static inline uint32_t window_edge_wanted(const struct net *net, const struct net_conn *conn)
{
    uint32_t limit = net->window_limit;

    return conn->rcv_nxt + (limit > conn->busy->rcv_queued ? limit - conn->busy->rcv_queued : 0);
}

/* The receiver's part of silly window avoidance (RFC 9293 section 3.8.6.2.2). */
static inline bool window_worth_moving(const struct net *net, const struct net_conn *conn,
                                       uint32_t edge)
{
    uint32_t gain = edge - conn->rcv_edge, half = net->options.receive_bytes / 2;

    return seq_after(edge, conn->rcv_edge) && gain >= (half < conn->mss ? half : conn->mss);
}

/* The window to put into a segment, as bytes; moves the right edge that was told. */
static inline uint32_t tcp_window(struct net *net, struct net_conn *conn)
{
    uint32_t edge = window_edge_wanted(net, conn), below = (1u << conn->rcv_scale) - 1;
    uint32_t window, most = 0xffffu << conn->rcv_scale;

    if (window_worth_moving(net, conn, edge))
        conn->rcv_edge = edge;
    window = conn->rcv_edge - conn->rcv_nxt;
    if (window > most)
        window = most;
    /* Rounded up, the edge never moves back by what the scale cannot tell; but not for ever, if
     * somebody makes us round again and again. */
    if ((window & below) != 0 && conn->busy->rcv_queued + window < 2 * net->options.receive_bytes)
        window += below;
    window &= ~below;
    if (window > most)
        window = most;
    if (seq_after(conn->rcv_nxt + window, conn->rcv_edge))
        conn->rcv_edge = conn->rcv_nxt + window;
    return window;
}

/* Whether the window has opened by enough to say so (RFC 9293 section 3.8.6.2.2). While the peer
 * still has room it learns of more with the next ACK anyway. */
static inline bool tcp_window_opened(const struct net *net, const struct net_conn *conn)
{
    return conn->rcv_edge - conn->rcv_nxt < net->options.receive_bytes / 8 &&
           window_worth_moving(net, conn, window_edge_wanted(net, conn));
}

#endif
