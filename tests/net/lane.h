/* Frames on their way between stacks, by time of arrival.
 * Purpose:   what the lossy pipe and the soak have in common: a heap with room for LANE_FRAMES_MAX.
 * Ownership: the caller's struct, memory behind it from lane_create(). A frame is the lane's; a
 *            pointer holds until lane_drop() or the frame's lane_send().
 * Threading: none.
 * Errors:    false without memory; NULL when the lane is full. */
#ifndef POLLUX_TESTS_NET_LANE_H
#define POLLUX_TESTS_NET_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/net/frame.h"

enum { LANE_FRAMES_MAX = 4096 };

struct lane_frame {
    uint64_t at_us;
    uint64_t order; /* of frames at the same time */
    uint8_t to;
    uint16_t len;
    uint8_t bytes[FRAME_MAX];
};

struct lane {
    struct lane_frame *frames; /* LANE_FRAMES_MAX */
    uint16_t free[LANE_FRAMES_MAX], heap[LANE_FRAMES_MAX];
    unsigned free_count, heap_count;
    uint64_t order;
};

bool lane_create(struct lane *lane);
void lane_destroy(struct lane *lane);
/* Nothing is on its way. */
void lane_reset(struct lane *lane);

/* A copy that has yet to be sent; NULL: the lane is full. */
struct lane_frame *lane_copy(struct lane *lane, unsigned to, const uint8_t *bytes, size_t len);
/* It arrives at `at_us`, which the caller has set, behind those that do so too. */
void lane_send(struct lane *lane, struct lane_frame *frame);
/* When the next one arrives; UINT64_MAX: none. */
uint64_t lane_next_us(const struct lane *lane);
/* The next one that has arrived by now, NULL: none; lane_drop() makes it free again. */
const struct lane_frame *lane_take(struct lane *lane, uint64_t now_us);
void lane_drop(struct lane *lane, const struct lane_frame *frame);

#endif
