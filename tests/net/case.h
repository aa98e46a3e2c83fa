/* One run of one packet script in one variant.
 * Purpose:   the made-up peers of a run, what is known of the stack's answers, and the checks that
 *            every frame of every run must pass. The language is described in README.md.
 * Ownership: the runner's; the stack under test belongs to `host`.
 * Threading: none.
 * Errors:    the first failure ends the run; it is kept as text in `failure`. */
#ifndef POLLUX_TESTS_NET_CASE_H
#define POLLUX_TESTS_NET_CASE_H

#include "tests/net/host.h"
#include "tests/net/script.h"

enum {
    CASE_PEERS_MAX = 48,
    CASE_QUEUE_MAX = 1024, /* frames of the stack that wait to be expected */
    CASE_NAMES_MAX = 16,
    CASE_LOOPS_MAX = 4,
    CASE_FAILURE_MAX = 400,
    CASE_PEER_PORT = 40000,
    CASE_PEER_NUMBER = 9,
    CASE_HOST_NUMBER = 1,
    CASE_PORT_PACKETS = 1024,
};

/* Where the sequence numbers of a run begin. */
enum case_start { CASE_AT_ZERO, CASE_AT_HALF, CASE_AT_END, CASE_STARTS };

struct variant {
    bool v6, sack, ts;
    bool tso; /* the port cuts frames */
    enum case_start start;
};

/* One end of a connection as the script plays it. Positions are relative to the two initial
 * sequence numbers. */
struct peer {
    struct frame_side side;
    uint32_t iss, irs;
    bool has_irs;
    int64_t next;         /* the highest position sent */
    int64_t seen;         /* the highest position of the stack seen */
    int64_t acked;        /* the highest position acknowledged to us */
    int64_t offered_edge; /* the right edge of the windows we offered */
    int64_t ack_seen;     /* the highest position it acknowledged */
    int64_t edge;         /* the right edge of the windows it offered */
    bool has_edge;
    uint8_t wscale;            /* what the stack scales by */
    bool scaled, ts, sack;     /* agreed on */
    uint32_t ts_last, ts_sent; /* last timestamps, its and ours */
    bool ts_seen;
    uint64_t read; /* bytes that earlier `read` lines have checked */
    bool finished; /* our FIN was sent: windows mean nothing any more */
    bool loose;    /* no checks of acknowledgments and windows: cookies, blind segments */
};

struct seen_frame {
    uint64_t at_us;
    struct peer *peer;
    int64_t seen; /* the peer's `seen` with this frame */
    struct segment segment;
    uint8_t bytes[FRAME_MAX];
};

struct run {
    const struct script *script;
    struct variant variant;
    struct host host;
    struct net_options options;
    bool started;
    struct peer peers[CASE_PEERS_MAX];
    struct peer *peer;
    unsigned line; /* index */
    uint64_t start_us, mark_us;
    uint32_t ts_base;
    /* What the peers say where a line says nothing else. */
    int64_t window, mss, wscale;
    struct segment last; /* the frame that was matched last */
    struct segment last_sent;
    uint8_t last_sent_payload[FRAME_MAX];
    unsigned names_count;
    struct {
        const char *name;
        int64_t value;
    } names[CASE_NAMES_MAX];
    unsigned loops_count;
    struct {
        unsigned line;
        int64_t left, index;
    } loops[CASE_LOOPS_MAX];
    unsigned queue_first, queue_count;
    struct seen_frame *queue; /* CASE_QUEUE_MAX */
    bool tracing;
    char failure[CASE_FAILURE_MAX];
};

/* Keeps the first failure; always false. */
__attribute__((format(printf, 2, 3))) bool run_fail(struct run *run, const char *format, ...);

/* expressions.c */
bool run_number(struct run *run, const char *text, int64_t *value);
bool run_range(struct run *run, const char *text, int64_t *first, int64_t *last);
bool run_set_name(struct run *run, const char *name, int64_t value);
struct host_conn *run_conn(struct run *run);

/* watch.c: takes the frames the stack has sent so far into the queue, each checked. */
bool run_collect(struct run *run);
/* Nothing may be left in the queue. */
bool run_quiet(struct run *run);

/* traffic.c */
bool run_inject(struct run *run, const struct script_line *line, bool poll);
bool run_expect(struct run *run, const struct script_line *line);
bool run_expect_data(struct run *run, const struct script_line *line);
bool run_icmp(struct run *run, const struct script_line *line);
bool run_handshake(struct run *run);

/* verbs.c */
bool run_line(struct run *run, const struct script_line *line);
/* Starts the stack unless it runs. */
bool run_start(struct run *run);
bool run_settle(struct run *run);
bool run_holds(struct run *run, const char *condition, bool *holds);

/* case.c: a run of this variant that has yet to start; `start_us` is its clock's first time. What
 * `run` has of queue and tracing stays. */
void case_prepare(struct run *run, struct variant variant, struct port *port, uint64_t start_us);
/* One line of a script, as text. */
bool run_text(struct run *run, const char *text);
/* Runs the whole script; false with `failure`. `run` is the runner's to reuse, its queue
 * and port stay. */
bool case_run(struct run *run, const struct script *script, struct variant variant,
              struct port *port);
/* Whether an `only` line leaves the variant out. */
bool case_wanted(const struct script *script, struct variant variant, bool *valid);

#endif
