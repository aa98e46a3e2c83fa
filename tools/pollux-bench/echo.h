/* The bare packet limit: frames there and back without any protocol, over the same pair of devices
 * that carries a load.
 * Purpose:   `--l2-echo server` sends every frame of ours back; `--l2-echo client` keeps --window
 *            frames under way and measures how many return, and after which time.
 * Ownership: the device is the caller's. Threading: one polling thread.
 * Errors:    negative errno; frames that do not return are counted as lost after ECHO_LOST_NS. */
#ifndef POLLUX_BENCH_ECHO_H
#define POLLUX_BENCH_ECHO_H

#include "drivers/clock.h"
#include "tools/pollux-bench/device.h"
#include "tools/pollux-bench/options.h"
#include "tools/pollux-bench/result.h"

enum {
    ECHO_ETHERTYPE = 0x88b5, /* IEEE 802 local experimental */
    ECHO_FRAME_MIN = 60,     /* bytes without the frame check sequence */
    ECHO_FRAME_MAX = 2048,
    ECHO_WINDOW_MAX = 4096,
    ECHO_LOST_NS = 200000000,
};

/* Until stop_fd says so. */
int echo_serve(struct device *device, const struct clock_tsc *clock, int stop_fd);
/* Frames count as requests in the result. */
int echo_load(struct device *device, const struct clock_tsc *clock, const struct options *options,
              int stop_fd, struct result *result);

#endif
