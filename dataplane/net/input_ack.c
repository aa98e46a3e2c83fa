/* What a segment says about ours: acknowledgment, window, SACK, ECN echo. */
#include <assert.h>

#include "dataplane/net/net_inside.h"

static void set_window(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    uint32_t window = (uint32_t)frame->window << conn->snd_scale;

    conn->snd_wl1 = frame->seq;
    conn->snd_wl2 = frame->ack;
    if (window == conn->snd_wnd)
        return;
    if (window > conn->snd_wnd && sendqueue_has_unsent(&conn->busy->queue))
        conn_dirty(net, conn);
    conn->snd_wnd = window;
    if (window > conn->snd_wnd_max)
        conn->snd_wnd_max = window;
    if (window > 0 && (conn->flags & CONN_PERSIST)) {
        conn->flags &= ~(uint32_t)CONN_PERSIST;
        conn->busy->wait_ms = 0;
        conn->backoff = 0;
    }
}

static void take_window(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    /* RFC 9293 section 3.10.7.4, step 5: not from a segment that others have overtaken. But what
     * moves SND.UNA also says where the window ends: the old window behind the new SND.UNA would
     * reach too far when the peer sends an old segment again. */
    if (!seq_after(frame->ack, conn->busy->recovery.una) &&
        !seq_before(conn->snd_wl1, frame->seq) &&
        !(conn->snd_wl1 == frame->seq && !seq_after(conn->snd_wl2, frame->ack)))
        return;
    set_window(net, conn, frame);
}

/* Something new was acknowledged, or a hole shows. False: the connection is over. */
static bool take_news(struct net *net, struct net_conn *conn, const struct recovery_news *news)
{
    struct recovery *recovery = &conn->busy->recovery;

    if (news->entered)
        net_count(&net->counters.fast_recoveries, 1);
    if (news->undone)
        net_count(&net->counters.undos, 1);
    if (news->reduced)
        conn->flags |= CONN_ECN_REDUCED;
    if (news->acked_bytes > 0) {
        sendqueue_acked(&net->sendpool, &conn->busy->queue, recovery->una);
        conn->busy->stalled_ms = recovery->una == recovery->nxt ? 0 : net_now_ms(net) | 1;
        conn->soft_error = 0;
        conn->probes = 0;
    }
    if (recovery->lost_bytes > 0 || sendqueue_has_unsent(&conn->busy->queue))
        conn_dirty(net, conn);
    if ((conn->flags & CONN_FIN_QUEUED) && recovery->una == conn->busy->queue.end_seq &&
        conn->busy->queue.unsent == NULL)
        return tcp_fin_acked(net, conn);
    return true;
}

/* RFC 5961 section 5. */
static bool plausible(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    const struct recovery *recovery = &conn->busy->recovery;

    if ((conn->flags & CONN_PROBED) && frame->ack == recovery->nxt + 1 &&
        !tcp_probe_accepted(net, conn))
        return false;
    if (!seq_after(frame->ack, recovery->nxt) &&
        (!seq_before(frame->ack, recovery->una) || recovery->una - frame->ack <= conn->snd_wnd_max))
        return true;
    net_count(&net->counters.bad_acks, 1);
    tcp_challenge(net, conn);
    return false;
}

bool tcp_ack_all(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    if (frame->ack != conn->busy->recovery.nxt ||
        (conn->flags & (CONN_PERSIST | CONN_FIN_QUEUED)) != 0 ||
        !recovery_acked_all(&conn->busy->recovery, conn->busy->queue.head, net->now_us))
        return false;
    /* What moves SND.UNA tells the window, too. */
    set_window(net, conn, frame);
    if (!sendqueue_acked_one(&net->sendpool, &conn->busy->queue))
        sendqueue_acked(&net->sendpool, &conn->busy->queue, frame->ack);
    conn->busy->stalled_ms = 0;
    conn->soft_error = 0;
    conn->probes = 0;
    if (sendqueue_has_unsent(&conn->busy->queue))
        conn_dirty(net, conn);
    return true;
}

bool tcp_ack_segment(struct net *net, struct net_conn *conn, const struct frame *frame,
                     const struct tcp_options *options)
{
    struct recovery *recovery = &conn->busy->recovery;
    struct recovery_news news;

    if (!plausible(net, conn, frame))
        return false;
    if (conn->flags & CONN_PERSIST)
        conn->probes = 0; /* the peer is there: probing goes on for ever */
    if (seq_before(frame->ack, recovery->una)) {
        /* Overtaken by a later one; its payload may be new. */
        return true;
    }
    /* With nothing in flight only duplicates have anything to say: one that is reported, or the bare
     * second answer to a tail loss probe. */
    if (recovery->nxt == recovery->una && (options->present & TCP_OPTION_SACK) == 0 &&
        !recovery->probe_out) {
        take_window(net, conn, frame);
        return true;
    }
    bool same_window = ((uint32_t)frame->window << conn->snd_scale) == conn->snd_wnd;
    struct recovery_ack ack = {
        .ack = frame->ack,
        .duplicate = frame_seg_len(frame) == 0 && same_window,
        .ecn_echo = (conn->flags & CONN_ECN) && (frame->flags & TCP_ECE),
        .stamped = (conn->flags & CONN_TIMESTAMPS) && (options->present & TCP_OPTION_TIMESTAMPS),
        .ts_now = net_now_ms(net) + conn->ts_offset,
        .now_us = net->now_us,
    };
    if (ack.stamped)
        ack.ts_echo = options->ts_echo;
    if ((options->present & TCP_OPTION_SACK) && (conn->flags & CONN_SACK)) {
        ack.sack_count = options->sack_count;
        ack.sack = options->sack;
    }
    take_window(net, conn, frame);
    recovery_acked(recovery, conn->busy->queue.head, &ack, &news);
    if (!take_news(net, conn, &news))
        return false;
    /* All other deadlines only move away: the timer finds out when it fires. */
    if (recovery->reorder_deadline_us != 0)
        tcp_alarm(net, conn);
    return true;
}
