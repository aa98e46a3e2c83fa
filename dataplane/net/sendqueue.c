#include "dataplane/net/sendqueue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A pinned segment has no payload in its packet, so there is room for the pointer to its piece. It
 * stands at the very end: a port that cannot gather copies the payload behind the headers. The
 * headers end where the payload would start, before and after they are written. */
static size_t piece_at(const struct sendpool *pool)
{
    return pool->port->room - sizeof(struct send_piece *);
}

static struct send_piece *pinned_piece(const struct sendpool *pool, const struct packet *segment)
{
    struct send_piece *piece;

    memcpy(&piece, segment->data + segment->len + piece_at(pool), sizeof piece);
    return piece;
}

static void pin(const struct sendpool *pool, struct packet *segment, struct send_piece *piece,
                const uint8_t *data, uint32_t len)
{
    assert(segment->len == 0 && len <= piece_at(pool));
    memcpy(segment->data + piece_at(pool), &piece, sizeof piece);
    segment->more = data;
    segment->more_len = len;
    piece->refs++;
}

static void piece_put(struct sendpool *pool, struct send_piece *piece)
{
    assert(piece->refs > 0);
    if (--piece->refs > 0)
        return;
    pool->pieces--;
    if (piece->release != NULL)
        piece->release(piece->arg);
    free(piece);
}

void sendpool_look(struct sendpool *pool, unsigned available)
{
    pool->sure = available > pool->reserve + SENDQUEUE_PLENTY ? SENDQUEUE_LOOK_AFTER : 0;
}

struct packet *sendpool_alloc(struct sendpool *pool, const struct sendqueue *queue)
{
    unsigned available;

    if (pool->sure > 0 && queue->packets < SENDQUEUE_PACKETS_SURE) {
        pool->sure--;
        return packet_alloc(pool->port);
    }
    available = packet_available(pool->port);
    if (available <= pool->reserve)
        return NULL;
    if (queue->packets >= SENDQUEUE_PACKETS_SURE &&
        queue->packets > (available - pool->reserve) / SENDQUEUE_SHARE)
        return NULL;
    return packet_alloc(pool->port);
}

void sendpool_drop(struct sendpool *pool, struct packet *segment)
{
    if (segment->more == NULL) {
        packet_release(pool->port, segment);
    } else if (packet_shared(pool->port, segment)) {
        segment->next = pool->limbo;
        pool->limbo = segment;
    } else {
        piece_put(pool, pinned_piece(pool, segment));
        packet_release(pool->port, segment);
    }
}

void sendpool_poll(struct sendpool *pool)
{
    struct packet **link = &pool->limbo;

    for (unsigned i = 0; i < SENDQUEUE_LIMBO_WORK && *link != NULL; i++) {
        struct packet *segment = *link;

        if (packet_shared(pool->port, segment)) {
            link = &segment->next;
            continue;
        }
        *link = segment->next;
        piece_put(pool, pinned_piece(pool, segment));
        packet_release(pool->port, segment);
    }
}

void sendpool_fini(struct sendpool *pool)
{
    while (pool->limbo != NULL) {
        struct packet *segment = pool->limbo;

        pool->limbo = segment->next;
        piece_put(pool, pinned_piece(pool, segment));
        packet_release(pool->port, segment);
    }
}

void sendqueue_init(struct sendqueue *queue, uint32_t first_seq)
{
    *queue = (struct sendqueue){.end_seq = first_seq};
}

static void drop_pieces(struct sendpool *pool, struct sendqueue *queue)
{
    while (queue->piece != NULL) {
        struct send_piece *piece = queue->piece;

        queue->piece = piece->next;
        piece_put(pool, piece);
    }
    queue->piece_last = NULL;
}

void sendqueue_fini(struct sendpool *pool, struct sendqueue *queue)
{
    while (queue->head != NULL) {
        struct packet *segment = queue->head;

        queue->head = segment->next;
        sendpool_drop(pool, segment);
    }
    drop_pieces(pool, queue);
    queue->tail = queue->unsent = NULL;
    queue->packet_bytes = 0;
    queue->packets = 0;
}

void sendqueue_drop_unsent(struct sendpool *pool, struct sendqueue *queue)
{
    struct packet *segment = queue->unsent, *last = NULL;

    drop_pieces(pool, queue);
    if (segment == NULL)
        return;
    queue->end_seq = segment->seq;
    for (struct packet *at = queue->head; at != segment; at = at->next)
        last = at;
    if (last == NULL)
        queue->head = NULL;
    else
        last->next = NULL;
    queue->tail = last;
    queue->unsent = NULL;
    while (segment != NULL) {
        struct packet *next = segment->next;

        queue->packet_bytes -= segment_payload(segment);
        queue->packets--;
        sendpool_drop(pool, segment);
        segment = next;
    }
}

const uint8_t *segment_data(const struct packet *segment)
{
    uint32_t payload = segment_payload(segment);

    if (payload == 0)
        return NULL;
    return segment->more != NULL ? segment->more : segment->data + segment->len - payload;
}

void sendqueue_extend(struct sendqueue *queue, uint32_t len)
{
    struct packet *tail = queue->tail;

    assert(queue->unsent != NULL);
    tail->len = (uint16_t)(tail->len + len);
    tail->seg_len += len;
    queue->end_seq += len;
    queue->packet_bytes += len;
}

/* Copies without a look at the pieces that wait, until the queue holds `limit` bytes. */
static size_t copy(struct sendpool *pool, struct sendqueue *queue, const uint8_t *data, size_t len,
                   uint32_t room, uint32_t mss, uint32_t limit)
{
    size_t done = 0;

    while (done < len && queue->packet_bytes < limit) {
        size_t part = len - done;

        if (room == 0) {
            struct packet *packet = sendpool_alloc(pool, queue);

            if (packet == NULL)
                break;
            packet->len = 0;
            packet->state = 0;
            sendqueue_push(queue, packet);
            room = mss;
        }
        part = part < room ? part : room;
        memcpy(queue->tail->data + queue->tail->len, data + done, part);
        sendqueue_extend(queue, (uint32_t)part);
        room -= (uint32_t)part;
        done += part;
    }
    return done;
}

size_t sendqueue_copy(struct sendpool *pool, struct sendqueue *queue, const uint8_t *data,
                      size_t len, uint32_t mss)
{
    if (queue->piece != NULL)
        return 0;
    return copy(pool, queue, data, len, sendqueue_tail_room(queue, mss), mss,
                SENDQUEUE_PACKET_BYTES_MAX);
}

static void append_piece(struct sendpool *pool, struct sendqueue *queue, struct send_piece *piece)
{
    if (queue->piece == NULL)
        queue->piece = piece;
    else
        queue->piece_last->next = piece;
    queue->piece_last = piece;
    pool->pieces++;
}

int sendqueue_append(struct sendpool *pool, struct sendqueue *queue, const uint8_t *data,
                     size_t len, void (*release)(void *arg), void *arg)
{
    struct send_piece *piece = malloc(sizeof *piece);

    if (piece == NULL)
        return -ENOMEM;
    *piece =
        (struct send_piece){.data = data, .len = len, .release = release, .arg = arg, .refs = 1};
    append_piece(pool, queue, piece);
    return 0;
}

int sendqueue_append_copy(struct sendpool *pool, struct sendqueue *queue, const uint8_t *data,
                          size_t len)
{
    struct send_piece *last = queue->piece != NULL ? queue->piece_last : NULL;
    size_t fits = last == NULL ? 0 : last->room < len ? last->room : len;
    size_t rest = len - fits;

    if (rest > 0) {
        size_t size = rest < SENDQUEUE_COPY_BYTES ? SENDQUEUE_COPY_BYTES : rest;
        struct send_piece *piece = malloc(sizeof *piece + size);

        if (piece == NULL)
            return -ENOMEM;
        uint8_t *bytes = (uint8_t *)(piece + 1);
        memcpy(bytes, data + fits, rest);
        *piece = (struct send_piece){.data = bytes,
                                     .len = rest,
                                     .room = (uint32_t)(size - rest),
                                     .refs = 1};
        append_piece(pool, queue, piece);
    }
    if (fits > 0) {
        memcpy((uint8_t *)(uintptr_t)last->data + last->len, data, fits);
        last->len += fits;
        last->room -= (uint32_t)fits;
    }
    return 0;
}

static void piece_done(struct sendpool *pool, struct sendqueue *queue)
{
    struct send_piece *piece = queue->piece;

    queue->piece = piece->next;
    if (queue->piece == NULL)
        queue->piece_last = NULL;
    piece_put(pool, piece);
}

static int advance_pinned(struct sendpool *pool, struct sendqueue *queue, uint32_t mss)
{
    struct send_piece *piece = queue->piece;
    struct packet *segment = sendpool_alloc(pool, queue);
    uint32_t len = piece->len < mss ? (uint32_t)piece->len : mss;

    if (segment == NULL)
        return -ENOMEM;
    segment->len = 0;
    segment->state = 0;
    pin(pool, segment, piece, piece->data, len);
    sendqueue_push(queue, segment);
    piece->data += len;
    piece->len -= len;
    if (piece->len == 0)
        piece_done(pool, queue);
    return 0;
}

int sendqueue_advance(struct sendpool *pool, struct sendqueue *queue, uint32_t mss)
{
    struct send_piece *piece = queue->piece;
    struct packet *tail = queue->unsent != NULL ? queue->tail : NULL;
    uint32_t room = 0;

    if (piece == NULL)
        return -ENODATA;
    if (piece->len >= SENDQUEUE_PINNED_MIN || piece->pinned) {
        piece->pinned = true;
        return advance_pinned(pool, queue, mss);
    }
    if (tail != NULL && tail->more == NULL && tail->len < mss)
        room = mss - tail->len;
    /* One segment at most, from as many small pieces as it takes. */
    for (bool first = true; piece != NULL && !piece->pinned && piece->len < SENDQUEUE_PINNED_MIN &&
                            (first || room > 0);
         piece = queue->piece, first = false) {
        size_t want = room > 0 && piece->len > room ? room : piece->len;
        /* It is about to be sent: what is in flight already sets no limit. */
        size_t part =
            copy(pool, queue, piece->data, want < mss ? want : mss, room, mss, UINT32_MAX);

        if (part == 0)
            return first ? -ENOMEM : 0;
        room = mss - queue->tail->len;
        piece->data += part;
        piece->len -= part;
        if (piece->len > 0)
            break;
        piece_done(pool, queue);
    }
    return 0;
}

int sendqueue_fin(struct sendpool *pool, struct sendqueue *queue)
{
    assert(queue->piece == NULL);
    if (queue->unsent == NULL) {
        /* The last packet of all that a connection needs: it may come from the reserve. */
        struct packet *packet = packet_alloc(pool->port);

        if (packet == NULL)
            return -ENOMEM;
        packet->len = 0;
        packet->state = 0;
        sendqueue_push(queue, packet);
    }
    queue->tail->state |= SEGMENT_FIN;
    queue->tail->seg_len++;
    queue->end_seq++;
    return 0;
}

int sendqueue_split(struct sendpool *pool, struct sendqueue *queue, struct packet *segment,
                    uint32_t len)
{
    uint32_t payload = segment_payload(segment);
    struct packet *rest = packet_alloc(pool->port);

    assert(len > 0 && len < payload);
    if (rest == NULL)
        return -ENOMEM;
    rest->len = 0;
    if (segment->more != NULL) {
        pin(pool, rest, pinned_piece(pool, segment), segment->more + len, payload - len);
    } else {
        memcpy(rest->data, segment_data(segment) + len, payload - len);
        rest->len = (uint16_t)(payload - len);
    }
    rest->seq = segment->seq + len;
    rest->seg_len = segment->seg_len - len;
    rest->state = segment->state & ~(uint32_t)SEGMENT_SENT;
    rest->sends = segment->sends;
    rest->mark = segment->mark;
    rest->sent_us = segment->sent_us;
    rest->next = segment->next;
    segment->next = rest;
    segment->seg_len = len;
    segment->state &= ~(uint32_t)(SEGMENT_FIN | SEGMENT_PUSH);
    if (segment->more != NULL)
        segment->more_len = len;
    else
        segment->len = (uint16_t)(segment->len - (payload - len));
    queue->packets++;
    if (queue->tail == segment)
        queue->tail = rest;
    return 0;
}

void sendqueue_trim(struct sendqueue *queue, struct packet *segment, uint32_t len)
{
    assert(segment == queue->head && len < segment->seg_len && len <= segment_payload(segment));
    segment->seq += len;
    segment->seg_len -= len;
    queue->packet_bytes -= len;
    /* Payload in the packet is counted from its end. */
    if (segment->more != NULL) {
        segment->more += len;
        segment->more_len -= len;
    }
}

struct packet *sendqueue_replace(struct sendpool *pool, struct sendqueue *queue,
                                 struct packet *segment)
{
    struct packet **link = &queue->head, *last = NULL;
    struct packet *fresh = packet_alloc(pool->port);

    if (fresh == NULL)
        return NULL;
    while (*link != segment) {
        last = *link;
        link = &last->next;
    }
    fresh->len = 0;
    if (segment->more != NULL) {
        pin(pool, fresh, pinned_piece(pool, segment), segment->more, segment->more_len);
    } else {
        fresh->len = (uint16_t)segment_payload(segment);
        if (fresh->len > 0)
            memcpy(fresh->data, segment_data(segment), fresh->len);
    }
    fresh->seq = segment->seq;
    fresh->seg_len = segment->seg_len;
    fresh->state = segment->state & ~(uint32_t)SEGMENT_SENT;
    fresh->sends = segment->sends;
    fresh->mark = segment->mark;
    fresh->sent_us = segment->sent_us;
    fresh->next = segment->next;
    *link = fresh;
    if (queue->tail == segment)
        queue->tail = fresh;
    if (queue->unsent == segment)
        queue->unsent = fresh;
    sendpool_drop(pool, segment);
    return fresh;
}

uint32_t sendqueue_acked(struct sendpool *pool, struct sendqueue *queue, uint32_t una)
{
    uint32_t bytes = 0;

    while (queue->head != queue->unsent) {
        struct packet *segment = queue->head;

        if ((int32_t)(una - (segment->seq + segment->seg_len)) < 0)
            break;
        queue->head = segment->next;
        bytes += segment_payload(segment);
        queue->packets--;
        if (segment->more == NULL)
            packet_release(pool->port, segment);
        else
            sendpool_drop(pool, segment);
    }
    if (queue->head == NULL)
        queue->tail = NULL;
    queue->packet_bytes -= bytes;
    return bytes;
}
