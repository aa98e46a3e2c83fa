/* Raw frames into a stack with a connection in each state. Input: two bytes that choose variant and
 * state, then frames: a byte of settings, a length of two bytes, the frame. Whatever comes, the
 * stack holds its invariants, sends well-formed frames only and gives back every packet. */
#include "tests/fuzz/net_state.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FRAMES_MAX = 64,
    ADDRESSED = 1, /* Ethernet addresses and type are made right */
    FLOW = 2,      /* IP addresses and TCP ports too, where the frame is long enough */
    REPAIRED = 4,  /* checksums too */
    TRUSTED = 8,   /* the device says that they are */
    LATER = 16,    /* some time passes */
};

static void address(const struct run *run, uint8_t *frame, size_t len, unsigned settings)
{
    struct frame_side self;
    const struct frame_side *peer = &run->peer->side;

    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &self);
    if (len < 14 || !(settings & ADDRESSED))
        return;
    memcpy(frame, self.mac, 6);
    memcpy(frame + 6, peer->mac, 6);
    frame[12] = run->variant.v6 ? 0x86 : 0x08;
    frame[13] = run->variant.v6 ? 0xdd : 0x00;
    size_t header = run->variant.v6 ? 54 : 34;
    if (len < header + 20 || !(settings & FLOW))
        return;
    if (run->variant.v6) {
        frame[14] = 0x60;
        frame[18] = (uint8_t)((len - 54) >> 8);
        frame[19] = (uint8_t)(len - 54);
        frame[20] = 6;
        memcpy(frame + 22, peer->address, 16);
        memcpy(frame + 38, self.address, 16);
    } else {
        frame[14] = 0x45;
        frame[16] = (uint8_t)((len - 14) >> 8);
        frame[17] = (uint8_t)(len - 14);
        frame[20] &= 0x40;
        frame[21] = 0;
        frame[23] = 6;
        memcpy(frame + 26, peer->address, 4);
        memcpy(frame + 30, self.address, 4);
    }
    frame[header] = (uint8_t)(peer->port >> 8);
    frame[header + 1] = (uint8_t)peer->port;
    frame[header + 2] = HOST_SERVICE_PORT >> 8;
    frame[header + 3] = HOST_SERVICE_PORT & 0xff;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run;

    if (size < 2)
        return 0;
    run = net_state_enter(data);
    data += 2;
    size -= 2;
    for (unsigned frames = 0; size >= 3 && frames < FRAMES_MAX; frames++) {
        uint8_t frame[FRAME_MAX];
        unsigned settings = data[0];
        size_t len = ((size_t)data[1] << 8 | data[2]) % 1600;

        data += 3;
        size -= 3;
        if (len > size)
            len = size;
        memcpy(frame, data, len);
        data += len;
        size -= len;
        address(run, frame, len, settings);
        if (settings & REPAIRED)
            frame_repair(frame, len);
        port_push(run->host.port, frame, len, settings & TRUSTED ? PACKET_CHECKSUM_GOOD : 0);
        host_poll(&run->host);
        net_state_look(run);
        if (settings & LATER) {
            host_advance(&run->host, 1000u * (settings >> 4));
            net_state_look(run);
        }
    }
    net_state_leave(run);
    return 0;
}
