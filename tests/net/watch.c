/* What must hold for every frame of every run. */
#include "tests/net/case.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool run_fail(struct run *run, const char *format, ...)
{
    va_list arguments;

    if (run->failure[0] != '\0')
        return false;
    va_start(arguments, format);
    vsnprintf(run->failure, sizeof run->failure, format, arguments);
    va_end(arguments);
    return false;
}

static struct peer *find_peer(struct run *run, uint16_t port)
{
    for (unsigned i = 0; i < CASE_PEERS_MAX; i++) {
        if (run->peers[i].side.port == port)
            return &run->peers[i];
    }
    return NULL;
}

/* RFC 791, 6864: what is never fragmented has DF and may have any ID; ours is 0 (TCP.md 4.1). */
static const char *check_ip(struct run *run, const struct segment *segment)
{
    struct frame_side self;

    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &self);
    if (segment->v6 != run->variant.v6)
        return "the wrong version of IP";
    if (memcmp(segment->from.address, self.address, 16) != 0 ||
        memcmp(segment->from.mac, self.mac, 6) != 0)
        return "sent from another address";
    if (!segment->v6 &&
        (!segment->dont_fragment || (segment->ip_id != 0 && run->host.port->cut == 0)))
        return "IPv4 without DF, or with an ID";
    if (segment->hops < 32)
        return "the hop limit is too low";
    return NULL;
}

static const char *check_options(const struct peer *peer, const struct segment *segment)
{
    bool syn = segment->flags & FRAME_SYN;

    if (syn && !segment->has_mss)
        return "a SYN without MSS";
    if (!syn && (segment->has_mss || segment->has_wscale || segment->sack_ok))
        return "a SYN's option on another segment";
    if ((segment->flags & FRAME_RST) || peer->loose)
        return NULL;
    if (!syn && segment->has_ts != peer->ts)
        return peer->ts ? "no timestamp (RFC 7323 section 3.2)" : "an unasked-for timestamp";
    if (segment->sack_count > 0 && !peer->sack)
        return "SACK blocks that were not agreed on";
    if (segment->has_ts && peer->ts_seen && (int32_t)(segment->ts_value - peer->ts_last) < 0)
        return "timestamps run backwards";
    if (!peer->loose && segment->has_ts && (segment->flags & FRAME_ACK) &&
        (int32_t)(segment->ts_echo - peer->ts_sent) > 0)
        return "a timestamp is echoed that was never sent";
    return NULL;
}

static const char *check_payload(struct run *run, const struct peer *peer,
                                 const struct segment *segment)
{
    int64_t at = (int32_t)(segment->seq - peer->irs);
    int64_t end = at + (int64_t)segment->payload_len;

    if (segment->payload_len == 0)
        return NULL;
    if (segment->flags & (FRAME_SYN | FRAME_RST))
        return "data on SYN or RST";
    if ((int64_t)(segment->payload_len + segment->options_len) > run->mss)
        return "more data than the peer's MSS allows";
    if (at < 1)
        return "data before the stream";
    if (at > peer->seen && !peer->loose)
        return "segments are sent out of order";
    if (end > peer->offered_edge && segment->payload_len > 1 && !peer->loose)
        return "data beyond the window that was offered";
    for (size_t i = 0; i < segment->payload_len; i++) {
        if (segment->payload[i] != host_pattern(1, (uint64_t)(at - 1) + i))
            return "wrong bytes in the payload";
    }
    return NULL;
}

static const char *check_acknowledgment(struct peer *peer, const struct segment *segment)
{
    int64_t ack = (int32_t)(segment->ack - peer->iss);
    unsigned shift = peer->scaled && !(segment->flags & FRAME_SYN) ? peer->wscale : 0;
    int64_t edge = ack + ((int64_t)segment->window << shift);

    if (!(segment->flags & FRAME_ACK) || (segment->flags & FRAME_RST) || peer->loose)
        return NULL;
    if (ack > peer->next)
        return "acknowledges what was never sent";
    if (ack < peer->ack_seen)
        return "the acknowledgment goes back";
    peer->ack_seen = ack;
    if (peer->has_edge && edge < peer->edge && !peer->finished)
        return "the window was shrunk (RFC 9293 section 3.8.6)";
    peer->edge = edge;
    peer->has_edge = true;
    return NULL;
}

/* Learns from a SYN or SYN-ACK of the stack. */
static const char *learn(struct run *run, struct peer *peer, const struct segment *segment)
{
    if (!(segment->flags & FRAME_SYN))
        return NULL;
    if (peer->has_irs && peer->irs != segment->seq && !peer->loose)
        return "a second SYN-ACK has another sequence number";
    peer->irs = segment->seq;
    peer->has_irs = true;
    peer->wscale = segment->wscale;
    peer->scaled = segment->has_wscale && run->wscale >= 0;
    peer->ts = segment->has_ts && run->variant.ts;
    peer->sack = segment->sack_ok && run->variant.sack;
    return NULL;
}

static const char *check(struct run *run, struct peer *peer, const struct segment *segment)
{
    const char *wrong = check_ip(run, segment);
    int64_t end;

    if (wrong == NULL)
        wrong = learn(run, peer, segment);
    if (wrong == NULL)
        wrong = check_options(peer, segment);
    if (wrong == NULL)
        wrong = check_payload(run, peer, segment);
    if (wrong == NULL)
        wrong = check_acknowledgment(peer, segment);
    if (segment->has_ts) {
        peer->ts_last = segment->ts_value;
        peer->ts_seen = true;
    }
    if (segment->flags & FRAME_RST)
        return wrong;
    end = (int32_t)(segment->seq - peer->irs) + (int64_t)segment->payload_len +
          !!(segment->flags & FRAME_SYN) + !!(segment->flags & FRAME_FIN);
    if (end > peer->seen)
        peer->seen = end;
    return wrong;
}

static bool take_tcp(struct run *run, struct seen_frame *seen, const struct port_frame *frame)
{
    char text[200];
    const char *wrong;

    seen->peer = find_peer(run, seen->segment.to.port);
    if (seen->peer == NULL)
        return run_fail(run, "a frame to port %u, which nobody has", seen->segment.to.port);
    wrong = check(run, seen->peer, &seen->segment);
    seen->seen = seen->peer->seen;
    frame_describe(&seen->segment, seen->peer->irs, seen->peer->iss, text, sizeof text);
    if (run->tracing)
        printf("%10.3f ms  > %s (peer %d)\n", (double)(frame->at_us - run->start_us) / 1000, text,
               (int)(seen->peer - run->peers));
    if (wrong != NULL)
        return run_fail(run, "%s: %s", wrong, text);
    run->queue_count++;
    return true;
}

bool run_collect(struct run *run)
{
    const struct port_frame *frame;
    uint8_t answer[FRAME_MAX];
    char why[FRAME_WHY_MAX];
    bool answered = true;

    for (unsigned rounds = 0; answered && rounds < 4; rounds++) {
        answered = false;
        while ((frame = port_pop(run->host.port)) != NULL) {
            if (run->queue_count == CASE_QUEUE_MAX)
                return run_fail(run, "too many frames");
            struct seen_frame *seen =
                &run->queue[(run->queue_first + run->queue_count) % CASE_QUEUE_MAX];
            memcpy(seen->bytes, frame->bytes, frame->len);
            seen->at_us = frame->at_us;
            switch (frame_parse(seen->bytes, frame->len, &seen->segment, why)) {
            case FRAME_BAD:
                return run_fail(run, "malformed frame: %s", why);
            case FRAME_TCP:
                if (!take_tcp(run, seen, frame))
                    return false;
                break;
            default: {
                size_t len =
                    frame_answer_neighbour(seen->bytes, frame->len, run->peer->side.mac, answer);

                if (len > 0) {
                    port_push(run->host.port, answer, len, 0);
                    answered = true;
                }
                break;
            }
            }
        }
        if (answered)
            host_poll(&run->host);
    }
    return true;
}

bool run_quiet(struct run *run)
{
    const struct seen_frame *seen = &run->queue[run->queue_first];
    char text[200];

    if (run->queue_count == 0)
        return true;
    frame_describe(&seen->segment, seen->peer->irs, seen->peer->iss, text, sizeof text);
    return run_fail(run, "unexpected: %s (at %.3f ms, peer %d)", text,
                    (double)(seen->at_us - run->start_us) / 1000, (int)(seen->peer - run->peers));
}
