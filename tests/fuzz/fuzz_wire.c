/* Frames: whatever the bytes, each part that the parser names lies within them, its parts agree
 * with each other, and a TCP segment written anew from them is read the same. Input: the frame. */
#include "dataplane/net/wire.h"

#include <stdlib.h>

static void need(bool holds)
{
    if (!holds)
        abort();
}

static void check_tcp(const struct frame *frame, const uint8_t *end)
{
    uint8_t again[WIRE_HEADERS_MAX];
    struct net_flow turned = {frame->flow.local, frame->flow.remote, frame->flow.local_port,
                              frame->flow.remote_port};
    struct wire_segment segment = {.flow = &turned,
                                   .remote_mac = frame_destination_mac(frame),
                                   .local_mac = frame_source_mac(frame),
                                   .vlan = frame->vlan,
                                   .window = frame->window,
                                   .seq = frame->seq,
                                   .ack = frame->ack,
                                   .flags = frame->flags,
                                   .tos = frame->tos,
                                   .options_len = (uint8_t)frame->options_len,
                                   .options = frame_options(frame)};
    struct frame read;

    need(frame->options_len <= 40 && frame->options_len % 4 == 0);
    need(frame->l4_len == WIRE_TCP_LEN + frame->options_len + frame->payload_len);
    need(frame->payload + frame->payload_len <= end);
    need(wire_segment_len(&segment) <= sizeof(again));
    wire_write_segment(again, &segment, 0, 0);
    need(wire_parse(again, wire_segment_len(&segment), &read) == FRAME_TCP);
    need(wire_ip_checksum_good(&read) && wire_checksum_good(&read));
    need(net_flow_equal(&read.flow, &frame->flow) && read.vlan == frame->vlan);
    need(read.seq == frame->seq && read.ack == frame->ack && read.window == frame->window);
    need(read.flags == frame->flags && read.tos == frame->tos);
    need(memcmp(frame_options(&read), frame_options(frame), frame->options_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    struct wire_quote quote;
    struct wire_arp arp;
    struct wire_ndp ndp;
    struct frame frame;
    enum frame_kind kind = wire_parse(data, size, &frame);

    need(kind == frame.kind && (kind == FRAME_BAD) == (frame.fault != FRAME_FINE));
    need(frame.fault < FRAME_FAULTS);
    if (kind == FRAME_BAD)
        return 0;
    need(frame.l4 >= data && frame.l4 <= end && frame.l4_len <= (size_t)(end - frame.l4));
    need(frame.l4 == data + frame.l2_len + frame.l3_len);
    wire_ip_checksum_good(&frame);
    if (kind == FRAME_TCP || kind == FRAME_ICMP || kind == FRAME_ICMPV6)
        wire_checksum_good(&frame);
    if (wire_parse_quote(&frame, &quote))
        need(kind == FRAME_ICMP || kind == FRAME_ICMPV6);
    if (wire_parse_arp(&frame, &arp))
        need(kind == FRAME_ARP);
    if (wire_parse_ndp(&frame, &ndp))
        need(kind == FRAME_ICMPV6 && !net_address_is_multicast(&ndp.target));
    if (kind == FRAME_TCP)
        check_tcp(&frame, end);
    return 0;
}
