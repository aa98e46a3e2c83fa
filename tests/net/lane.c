#include "tests/net/lane.h"

#include <stdlib.h>
#include <string.h>

bool lane_create(struct lane *lane)
{
    lane->frames = calloc(LANE_FRAMES_MAX, sizeof *lane->frames);
    if (lane->frames == NULL)
        return false;
    lane_reset(lane);
    return true;
}

void lane_destroy(struct lane *lane)
{
    free(lane->frames);
    lane->frames = NULL;
}

void lane_reset(struct lane *lane)
{
    lane->heap_count = 0;
    lane->free_count = LANE_FRAMES_MAX;
    for (unsigned i = 0; i < LANE_FRAMES_MAX; i++)
        lane->free[i] = (uint16_t)i;
}

static bool earlier(const struct lane *lane, unsigned a, unsigned b)
{
    const struct lane_frame *x = &lane->frames[lane->heap[a]];
    const struct lane_frame *y = &lane->frames[lane->heap[b]];

    return x->at_us < y->at_us || (x->at_us == y->at_us && x->order < y->order);
}

static void swap(struct lane *lane, unsigned a, unsigned b)
{
    uint16_t kept = lane->heap[a];

    lane->heap[a] = lane->heap[b];
    lane->heap[b] = kept;
}

struct lane_frame *lane_copy(struct lane *lane, unsigned to, const uint8_t *bytes, size_t len)
{
    struct lane_frame *frame;

    if (lane->free_count == 0)
        return NULL;
    frame = &lane->frames[lane->free[--lane->free_count]];
    memcpy(frame->bytes, bytes, len);
    frame->len = (uint16_t)len;
    frame->to = (uint8_t)to;
    return frame;
}

void lane_send(struct lane *lane, struct lane_frame *frame)
{
    unsigned at = lane->heap_count++;

    frame->order = lane->order++;
    lane->heap[at] = (uint16_t)(frame - lane->frames);
    for (; at > 0 && earlier(lane, at, (at - 1) / 2); at = (at - 1) / 2)
        swap(lane, at, (at - 1) / 2);
}

uint64_t lane_next_us(const struct lane *lane)
{
    return lane->heap_count > 0 ? lane->frames[lane->heap[0]].at_us : UINT64_MAX;
}

const struct lane_frame *lane_take(struct lane *lane, uint64_t now_us)
{
    unsigned at = 0;

    if (lane_next_us(lane) > now_us)
        return NULL;
    const struct lane_frame *first = &lane->frames[lane->heap[0]];
    lane->heap[0] = lane->heap[--lane->heap_count];
    for (;;) {
        unsigned least = at;

        for (unsigned child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < lane->heap_count && earlier(lane, child, least))
                least = child;
        }
        if (least == at)
            return first;
        swap(lane, at, least);
        at = least;
    }
}

void lane_drop(struct lane *lane, const struct lane_frame *frame)
{
    lane->free[lane->free_count++] = (uint16_t)(frame - lane->frames);
}
