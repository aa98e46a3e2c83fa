/* Two stacks back to back through a pipe that loses, reorders, repeats and spoils frames.
 * Purpose:   whatever happens on the way, both byte streams arrive complete and in order, the
 *            connection ends as the applications wanted it, and nothing is left behind.
 * Ownership: the world belongs to the caller and is reused from one case to the next.
 * Threading: none. Everything follows from the numbers in struct pipe_case.
 * Errors:    pipe_run() keeps the first thing that went wrong as text. */
#ifndef POLLUX_TESTS_NET_PIPE_H
#define POLLUX_TESTS_NET_PIPE_H

#include "tests/net/host.h"
#include "tests/net/lane.h"

enum { PIPE_FAILURE_MAX = 300 };

/* One experiment. [0] is the server's, [1] the client's, where there are two. */
struct pipe_case {
    uint32_t seed;
    uint32_t drop, duplicate, reorder, flip, truncate; /* frames of 10,000 */
    uint32_t burst_drop;                               /* frames lost in a row after a lost one */
    uint32_t latency_us, jitter_us;
    uint32_t bytes[2];      /* that each side sends */
    uint32_t receive[2];    /* receive windows, bytes; 0: the default */
    uint32_t pauses;        /* of 10,000 steps at which a side stops reading for a while */
    uint32_t pause_ms;      /* the longest pause */
    uint32_t fail_every[2]; /* each Nth allocation of packets */
    uint32_t packets[2];    /* in the pools */
    uint32_t chunk;         /* the largest write */
    uint32_t pin;           /* of 100 writes are appended memory */
    uint32_t abort;         /* 0, or 1 + the side that resets ... */
    uint32_t abort_at;      /* ... once it has received as much */
    uint32_t mtu[2];
    uint32_t tso[2]; /* 0, or packets of payload in a frame that the port cuts */
    uint32_t v6, newreno, no_sack, no_ts, no_ws, no_ecn, lazy, cookies;
    uint32_t limit_s; /* 0, or the longest that it may take instead of what losses allow for */
    uint32_t wrap;    /* 0, or how many bytes before 2^32 both ISNs lie */
};

struct pipe_world {
    struct host hosts[2];
    struct port *ports[2];
    struct lane lane;
    uint64_t now_us, offset_us[2];
    uint64_t random;
    struct pipe_view {
        bool scaled_known;  /* its SYN was seen */
        uint8_t wscale;     /* that it asked for */
        bool has_edge, fin; /* it has offered a window; it has sent its FIN */
        uint32_t edge, nxt; /* the highest offered, the highest sent */
    } views[2];
    uint32_t burst_left[2];
    uint64_t burst_end_us[2];
    uint64_t resume_us[2]; /* when a paused side reads on; 0: it reads */
    bool wrote_all[2], closed_by_us[2], aborted;
    struct host_conn *conns[2];
    uint64_t sent_frames, lost_frames;
    uint64_t digest; /* of all frames and their times, but for IPv4's identification */
    bool complete;   /* both streams arrived in full */
    bool tracing;
    char failure[PIPE_FAILURE_MAX];
};

/* Memory for the world; false without. */
bool pipe_create(struct pipe_world *world);
void pipe_destroy(struct pipe_world *world);

/* The experiment that belongs to a seed. */
void pipe_choose(struct pipe_case *chosen, uint32_t seed);
/* false, and world->failure says why. */
bool pipe_run(struct pipe_world *world, const struct pipe_case *wanted);

/* Makes a failing case as small as it gets while it still fails. */
void pipe_shrink(struct pipe_world *world, struct pipe_case *failing);
/* "seed=1 drop=0 ...", and back; room for PIPE_TEXT_MAX. */
enum { PIPE_TEXT_MAX = 800 };
void pipe_format(const struct pipe_case *shown, char *text);
bool pipe_parse(const char *text, struct pipe_case *parsed);

#endif
