#include "dataplane/net/tso.h"

#include <assert.h>

#include "dataplane/net/wire.h"

void tso_begin(struct tso *tso, struct packet *segment, uint8_t tos)
{
    assert(tso->first == NULL && tso->frame == NULL);
    *tso = (struct tso){.first = segment,
                        .count = 1,
                        .bytes = segment_payload(segment),
                        .segment = segment_payload(segment),
                        .flags = TCP_ACK,
                        .tos = tos};
}

bool tso_join(struct tso *tso, struct sendpool *pool, const struct sendqueue *queue,
              struct packet *segment, uint8_t flags, uint8_t tos)
{
    const struct packet_tso_limits *limits = &pool->port->tso;
    uint32_t payload = segment_payload(segment);

    if (tso->closed || payload == 0 || payload > tso->segment || tos != tso->tos ||
        (flags & ~(TCP_PSH | TCP_FIN)) != TCP_ACK || tso->count >= limits->parts ||
        tso->bytes + payload > limits->bytes)
        return false;
    if (tso->count + 1 >= TSO_SEGMENTS_MIN && tso->frame == NULL) {
        tso->frame = sendpool_alloc(pool, queue);
        if (tso->frame == NULL)
            return false;
    }
    tso->count++;
    tso->bytes += payload;
    tso->flags = flags;
    /* The device cuts by length and knows FIN and PSH at the end alone. */
    tso->closed = payload < tso->segment || flags != TCP_ACK;
    return true;
}

/* The list of parts lies where payload would, at the alignment that a driver's packets lack. */
static struct packet_tso *list_of(struct packet *frame)
{
    uintptr_t at = (uintptr_t)frame->data, align = _Alignof(struct packet_tso);

    return (struct packet_tso *)((at + align - 1) & ~(align - 1));
}

struct packet *tso_take(struct tso *tso, struct packet_port *port, unsigned l4_len)
{
    struct packet *frame = tso->frame, *segment = tso->first;
    struct packet_tso *list = list_of(frame);

    list->segment = (uint16_t)tso->segment;
    list->l4_len = (uint8_t)l4_len;
    list->count = (uint8_t)tso->count;
    for (unsigned i = 0; i < tso->count; i++, segment = segment->next) {
        list->parts[i] = (struct packet_tso_part){.packet = segment,
                                                  .data = segment_data(segment),
                                                  .len = segment_payload(segment)};
        packet_hold(port, segment);
    }
    frame->more = (const uint8_t *)list;
    frame->more_len = tso->bytes;
    *tso = (struct tso){.first = NULL};
    return frame;
}
