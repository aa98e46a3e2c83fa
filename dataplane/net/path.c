/* How large the path's packets may be (RFC 1191, 8201), and what silence says about that (RFC 4821).
 * A router's word counts at once. Where routers say nothing, three timeouts in a row with a large
 * segment have small ones tried. If these find no answer either, it was an outage and no matter of
 * size. Paths change: ten minutes later large segments are tried again (RFC 1191 section 6.3), and
 * after a guess one timeout is enough to go back for ten minutes more. */
#include "dataplane/net/net_inside.h"

enum {
    FLOOR_V4 = 552, /* RFC 1191 with a guard against forgeries */
    FLOOR_V6 = 1280,
    SMALL_PAYLOAD = 512, /* what every path carries */
    GUESS_TRIES = 3,
    OUTAGE_TRIES = 4,
    GUESS_AGAIN_TRIES = 6, /* and this time it stays */
    AGAIN_S = 600,
};

/* Modulo 2^16; never 0, which is none. */
static uint16_t stamp_s(const struct net *net)
{
    return (uint16_t)(net->now_us / 1000000) | 1;
}

static void shrink(struct net *net, struct net_conn *conn, uint16_t mtu, enum path_knowledge why)
{
    uint16_t least = net_address_is_v4(&conn->flow.local) ? FLOOR_V4 : FLOOR_V6;

    if (mtu < least)
        mtu = least;
    if (mtu >= conn->path_mtu)
        return;
    conn->path_mtu = mtu;
    conn->path = (uint8_t)why;
    conn->path_s = stamp_s(net);
    uint16_t mss = tcp_mss(conn);
    if (mss >= conn->mss)
        return;
    conn->mss = mss;
    if (conn->state < NET_STATE_ESTABLISHED)
        return;
    recovery_too_big(&conn->busy->recovery, conn->busy->queue.head, mss);
    conn_dirty(net, conn);
}

static void grow(struct net *net, struct net_conn *conn)
{
    conn->path_mtu = net->mtu;
    conn->path_s = 0;
    uint16_t mss = tcp_mss(conn);
    if (mss <= conn->mss)
        return;
    conn->mss = mss;
    recovery_larger(&conn->busy->recovery, mss);
}

void tcp_path_mtu(struct net *net, struct net_conn *conn, uint16_t mtu)
{
    shrink(net, conn, mtu, PATH_TOLD);
}

void tcp_path_silent(struct net *net, struct net_conn *conn, unsigned tries)
{
    const struct packet *head = conn->busy->queue.head;

    if (conn->path == PATH_GUESSED && tries == OUTAGE_TRIES) {
        grow(net, conn);
        conn->path = PATH_TOLD;
        return;
    }
    if (head == NULL || segment_payload(head) <= SMALL_PAYLOAD)
        return;
    if (tries == GUESS_TRIES || tries == GUESS_AGAIN_TRIES ||
        (tries == 1 && conn->path == PATH_ON_TRIAL))
        shrink(net, conn, 0, PATH_GUESSED);
}

bool tcp_path_is_due(const struct net *net, const struct net_conn *conn)
{
    return conn->path_s != 0 && conn->state >= NET_STATE_ESTABLISHED &&
           (uint16_t)(stamp_s(net) - conn->path_s) >= AGAIN_S;
}

void tcp_path_try(struct net *net, struct net_conn *conn)
{
    const struct recovery *recovery = &conn->busy->recovery;

    if (recovery->phase != RECOVERY_OPEN || recovery->timeouts != 0)
        return;
    switch ((enum path_knowledge)conn->path) {
    case PATH_TOLD:
        grow(net, conn);
        break;
    case PATH_GUESSED:
        grow(net, conn);
        conn->path = PATH_ON_TRIAL;
        conn->path_s = stamp_s(net);
        break;
    case PATH_ON_TRIAL:
        conn->path = PATH_TOLD;
        conn->path_s = 0;
        break;
    }
}
