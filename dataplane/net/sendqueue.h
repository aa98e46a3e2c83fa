/* Send queue of one connection: what it has yet to send, and what is not yet acknowledged.
 * Purpose:   a list of segments, each one packet with its facts in struct packet (seq, seg_len,
 *            state, sends, sent_us), followed by pieces of memory that become segments when the
 *            window opens.
 * Segments:  `data` is at the payload until the first transmission by itself and at the Ethernet
 *            header after it. A segment carries its payload in the packet or, if `more` is set, wholly
 *            elsewhere, pinned. Sent and unsent ones stand in order of seq without a gap.
 * Ownership: the queue holds one reference of each packet; a pinned piece is released when the
 *            last packet that points into it is no longer shared.
 * Threading: one worker.
 * Errors:    -ENOMEM where a packet or memory is missing: nothing has changed then. */
#ifndef DATAPLANE_NET_SENDQUEUE_H
#define DATAPLANE_NET_SENDQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/packet.h"

enum {
    SENDQUEUE_PACKET_BYTES_MAX = 65536, /* payload in packets; what is beyond waits in pieces */
    SENDQUEUE_PINNED_MIN = 16384,       /* pieces of this size are sent where they lie */
    SENDQUEUE_COPY_BYTES = 16384, /* memory of a piece that holds copies: small ones share it */
    SENDQUEUE_LIMBO_WORK = 64,    /* packets looked at by one sendpool_poll */
    SENDQUEUE_LOOK_AFTER = 64,    /* packets taken without a look at the pool, at most ... */
    SENDQUEUE_PLENTY = 512,       /* ... while there are so many beside the reserve */
    SENDQUEUE_PACKETS_SURE = 16,  /* packets that a queue may have as long as there are any ... */
    SENDQUEUE_SHARE = 4,          /* ... and beyond that a quarter of what is free for queues: a few
                                  * that are never acknowledged leave packets for all others */
};

/* Bits of packet->state that are the queue's; the low 16 are those of loss recovery. */
enum {
    SEGMENT_FIN = 1 << 16,
    SEGMENT_PUSH = 1 << 17, /* the last of what was committed at that time */
    SEGMENT_SENT = 1 << 18, /* the port has had it */
};

struct send_piece {
    struct send_piece *next;
    const uint8_t *data; /* what has not yet become segments */
    size_t len;
    void (*release)(void *arg);
    void *arg;
    uint32_t room; /* of a copy: bytes behind `len` that may still be written */
    bool pinned;   /* a segment points into it: no copies from here on */
    uint32_t refs; /* the queue's, and one of each segment that points here */
};

/* What the queues of one stack share. */
struct sendpool {
    struct packet_port *port;
    struct packet *limbo; /* acknowledged segments with pinned memory that the device holds */
    unsigned reserve;     /* packets that only control segments and reception may take */
    unsigned sure;   /* packets that there are beyond doubt: taken without a look at the pool */
    uint64_t pieces; /* that exist */
};

struct sendqueue {
    struct packet *head, *tail;
    struct packet *unsent; /* first that was never sent, or NULL */
    struct send_piece *piece, *piece_last;
    uint32_t end_seq;      /* behind the last segment */
    uint32_t packet_bytes; /* payload of all segments */
    uint32_t packets;      /* segments */
};

/* A packet for payload, unless the pool is down to its reserve or the queue has its share. */
struct packet *sendpool_alloc(struct sendpool *pool, const struct sendqueue *queue);
/* `available` packets are in the pool now; the next so many replies need not ask. */
void sendpool_look(struct sendpool *pool, unsigned available);
/* Lets go of a segment; pinned memory waits in limbo while the device has it. */
void sendpool_drop(struct sendpool *pool, struct packet *segment);
/* Releases what the device has let go of. */
void sendpool_poll(struct sendpool *pool);
/* Releases all of limbo, at the end. */
void sendpool_fini(struct sendpool *pool);

void sendqueue_init(struct sendqueue *queue, uint32_t first_seq);
/* Drops everything. */
void sendqueue_fini(struct sendpool *pool, struct sendqueue *queue);
/* Drops segments and pieces that were never sent; FIN among them. */
void sendqueue_drop_unsent(struct sendpool *pool, struct sendqueue *queue);

/* Bytes of payload, without SYN and FIN. */
static inline uint32_t segment_payload(const struct packet *segment)
{
    return segment->seg_len - ((segment->state & SEGMENT_FIN) != 0);
}

/* Where the payload lies; NULL: none. */
const uint8_t *segment_data(const struct packet *segment);

/* Room at the tail for more payload of a segment of at most `mss`; 0: a new one is needed. */
static inline uint32_t sendqueue_tail_room(const struct sendqueue *queue, uint32_t mss)
{
    const struct packet *tail = queue->tail;

    if (queue->unsent == NULL || queue->piece != NULL || tail->more != NULL ||
        (tail->state & SEGMENT_FIN) != 0 || tail->len >= mss)
        return 0;
    return mss - tail->len;
}
/* `len` bytes that were written behind the tail's payload are part of it. */
void sendqueue_extend(struct sendqueue *queue, uint32_t len);
/* Appends a packet with its payload at `data`, unsent. */
static inline void sendqueue_push(struct sendqueue *queue, struct packet *packet)
{
    packet->next = NULL;
    packet->seq = queue->end_seq;
    packet->seg_len = packet_bytes(packet);
    packet->sends = 0;
    if (queue->tail == NULL)
        queue->head = packet;
    else
        queue->tail->next = packet;
    queue->tail = packet;
    if (queue->unsent == NULL)
        queue->unsent = packet;
    queue->end_seq += packet->seg_len;
    queue->packet_bytes += packet->seg_len;
    queue->packets++;
}
/* Copies into the tail and new packets; returns how many bytes found room: fewer than `len` once
 * the queue holds SENDQUEUE_PACKET_BYTES_MAX or packets run out. */
size_t sendqueue_copy(struct sendpool *pool, struct sendqueue *queue, const uint8_t *data,
                      size_t len, uint32_t mss);
/* Memory to be sent behind all else; ownership goes to the queue. */
int sendqueue_append(struct sendpool *pool, struct sendqueue *queue, const uint8_t *data,
                     size_t len, void (*release)(void *arg), void *arg);
/* The same of a copy on the heap. */
int sendqueue_append_copy(struct sendpool *pool, struct sendqueue *queue, const uint8_t *data,
                          size_t len);
/* Turns the first pieces into one unsent segment (or more of the tail). 0, -ENOMEM, or -ENODATA
 * when no piece waits. */
int sendqueue_advance(struct sendpool *pool, struct sendqueue *queue, uint32_t mss);
/* A FIN behind everything; no piece may wait. */
int sendqueue_fin(struct sendpool *pool, struct sendqueue *queue);

/* Cuts a segment in two after `len` bytes of payload; both have the facts of the whole. */
int sendqueue_split(struct sendpool *pool, struct sendqueue *queue, struct packet *segment,
                    uint32_t len);
/* Cuts the first `len` bytes, not all, off the payload of a segment that nobody else holds: they
 * are acknowledged. */
void sendqueue_trim(struct sendqueue *queue, struct packet *segment, uint32_t len);
/* Puts a copy in the place of a segment that the device still holds. The copy, or NULL. */
struct packet *sendqueue_replace(struct sendpool *pool, struct sendqueue *queue,
                                 struct packet *segment);
/* Drops the segments that lie wholly before `una`. Returns the bytes of payload dropped. */
uint32_t sendqueue_acked(struct sendpool *pool, struct sendqueue *queue, uint32_t una);

/* The same where all that was sent is acknowledged, for the only segment of it. False: there are
 * several, or it is no plain one; nothing has changed. */
static inline bool sendqueue_acked_one(struct sendpool *pool, struct sendqueue *queue)
{
    struct packet *segment = queue->head, *unsent = queue->unsent;

    if (segment == NULL || segment->next != unsent || segment->more != NULL ||
        (segment->state & SEGMENT_FIN) != 0)
        return false;
    queue->head = unsent;
    if (unsent == NULL)
        queue->tail = NULL;
    queue->packets--;
    queue->packet_bytes -= segment->seg_len;
    packet_release(pool->port, segment);
    return true;
}

static inline bool sendqueue_has_unsent(const struct sendqueue *queue)
{
    return queue->unsent != NULL || queue->piece != NULL;
}

#endif
