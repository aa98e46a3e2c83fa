/* Congestion control of one connection: how large the window is.
 * Purpose:   slow start, congestion avoidance and the reaction to a congestion event; CUBIC (RFC
 *            9438, the default) or NewReno (RFC 5681), with byte counting (RFC 3465, L = 2), an
 *            initial window of ten segments (RFC 6928) and idle restart. What is in flight, and how
 *            the window shrinks during recovery (PRR), is the business of recovery.h.
 * Ownership: the caller's struct, nothing behind it. Threading: any.
 * Errors:    none. cwnd stays between one segment and CONGESTION_WINDOW_MAX. */
#ifndef DATAPLANE_NET_CONGESTION_H
#define DATAPLANE_NET_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CONGESTION_WINDOW_MAX = 1 << 30, /* bytes: no peer can offer more (RFC 7323 section 2.3) */
    CONGESTION_SSTHRESH_NONE = 0x7fffffff,
};

struct congestion;

/* One algorithm. All times are those of the connection's clock. */
struct congestion_ops {
    const char *name;
    void (*init)(struct congestion *congestion);
    /* `bytes` were acknowledged above ssthresh while the window was full: congestion avoidance. */
    void (*avoid)(struct congestion *congestion, uint32_t bytes, uint32_t srtt_us, uint64_t now_us);
    /* A congestion event: sets ssthresh from `flight` bytes (sent and not yet cumulatively
     * acknowledged) and remembers what the event has to be remembered for. cwnd is not changed. */
    void (*event)(struct congestion *congestion, uint32_t flight);
    /* The last event was none: what event() remembered is taken back. */
    void (*undo)(struct congestion *congestion);
};

extern const struct congestion_ops congestion_cubic;
extern const struct congestion_ops congestion_newreno;

struct newreno {
    uint32_t acked; /* bytes towards the next segment of growth */
};

struct cubic {
    uint64_t epoch_us; /* start of this stretch of congestion avoidance; 0: not begun */
    uint64_t last_us;  /* the last growth in it */
    uint32_t w_max;    /* window at the last event, bytes */
    uint32_t w_max_before;
    uint32_t k_us;  /* from the epoch's start until w_max is reached again */
    float origin;   /* plateau of the curve, segments */
    float estimate; /* the window that Reno would have, segments */
    float grown;    /* part of a byte not yet added */
};

struct congestion {
    const struct congestion_ops *ops;
    uint32_t cwnd;                         /* bytes */
    uint32_t ssthresh;                     /* bytes */
    uint32_t mss;                          /* bytes of payload in a full segment */
    uint32_t before_cwnd, before_ssthresh; /* when the last event came, for undo */
    union {
        struct newreno newreno;
        struct cubic cubic;
    };
};

/* `mss` 1 or more. RFC 6928; one segment only if the SYN had to be sent again (RFC 5681 section
 * 3.1). */
void congestion_init(struct congestion *congestion, const struct congestion_ops *ops, uint32_t mss,
                     bool syn_was_lost);
/* `bytes` were acknowledged outside of recovery; `full`: the window was used up when they were
 * sent, otherwise nothing grows (RFC 7661 section 4.3 in effect). `limit` 1 in slow start after a
 * timeout, else 2 (RFC 3465 section 2.3): segments of growth for one ACK. */
void congestion_acked(struct congestion *congestion, uint32_t bytes, bool full, unsigned limit,
                      uint32_t srtt_us, uint64_t now_us);
/* Loss or an ECN echo: ssthresh falls; cwnd is the caller's to lower. */
void congestion_event(struct congestion *congestion, uint32_t flight);
/* The event was spurious (RFC 4015): cwnd and ssthresh are at least what they were before. */
void congestion_undo(struct congestion *congestion);
/* Nothing was sent for longer than the retransmission timeout (RFC 5681 section 4.1). */
void congestion_idle(struct congestion *congestion);
/* Bytes of the initial window (RFC 6928 section 2). */
uint32_t congestion_initial_window(uint32_t mss);

#endif
