/* Two stacks for hours and days of their own time: connections come and go, the weather changes.
 * Purpose:   what shows only with time and numbers: leaks, numbers that wrap, timers that are
 *            forgotten, states that nobody leaves. A client keeps opening connections to a server;
 *            each asks, thinks, and ends in one of many ways, or vanishes. On the way frames are
 *            lost, reordered, spoilt, cut off for minutes; packets and memory are short; clocks leap
 *            and machines stand still. Every byte is checked. Each hour of virtual time all of it
 *            ends, and whatever the stacks have must be what they had at the beginning.
 * Ownership: the world belongs to the caller.
 * Threading: none. Everything follows from the options.
 * Errors:    the first thing that is wrong is kept as text in `failure`. */
#ifndef POLLUX_TESTS_NET_SOAK_H
#define POLLUX_TESTS_NET_SOAK_H

#include "tests/net/host.h"
#include "tests/net/lane.h"

enum {
    SOAK_TALKS_MAX = 600,     /* of the client's at a time */
    SOAK_ENDS_MAX = 1200,     /* of the server: those of vanished clients among them */
    SOAK_PRELUDE = 24,        /* bytes: struct soak_plan opens each client's stream */
    SOAK_WRITE_AHEAD = 60000, /* bytes that an application lets wait in its connection */
    SOAK_FAILURE_MAX = 300,
};

struct soak_options {
    uint64_t seed;
    double hours; /* virtual */
    bool tracing; /* a line for each change of the weather and each count of what is left */
};

enum soak_ending {
    SOAK_HALF_CLOSE,    /* FIN behind the last request, before the replies are there */
    SOAK_CLOSE,         /* close once the last reply has come */
    SOAK_SERVER_CLOSES, /* behind its last reply */
    SOAK_SERVER_RESETS, /* the same, by RST */
    SOAK_RESET,         /* the client does, in the midst of it */
    SOAK_VANISH,        /* nothing is heard of it from some moment on */
    SOAK_HALF_OPEN,     /* nothing but the SYN */
    SOAK_ENDINGS,
};

/* What a connection is to be. It opens the client's stream, so the server knows. */
struct soak_plan {
    uint32_t id;             /* of all connections, and of its pattern of bytes */
    uint32_t request, reply; /* bytes of each */
    uint32_t last;           /* the server ends it after so many replies; 0: the client does */
    uint32_t ending;
    uint32_t check; /* of the others */
};

/* One end of a connection, with its application. */
struct soak_end {
    bool used;
    bool planned; /* the plan is known */
    bool connected, ended, shut, paused;
    bool forgotten;        /* the server's: it is never closed, whatever comes */
    bool excused;          /* something happened that may end any connection */
    struct net_conn *conn; /* NULL once NET_CLOSED came */
    uint16_t port;         /* the client's */
    int error;
    struct soak_plan plan;
    uint8_t prelude[SOAK_PRELUDE];
    uint64_t received, written, owed; /* bytes; `owed` is where `written` is to get to */
    uint64_t due_us;                  /* when it does something next; UINT64_MAX: when told */
    uint64_t pause_until_us;
    /* The client's: */
    uint32_t requests, asked; /* in all, and sent so far */
    uint32_t depth;           /* requests that may be unanswered */
    uint32_t think_us;        /* the longest pause between two */
    uint64_t ask_us;          /* no request before that */
    bool deaf;                /* it reads nothing: its window shuts */
    uint64_t black_until_us;  /* nothing passes to and from its port; 0: it does */
    uint64_t wrap_us;         /* when timestamps wrap for which it was made; 0: it was not */
    bool sequence_wraps;      /* it was made for that */
};

enum soak_weather {
    SOAK_CALM,
    SOAK_RAIN,  /* 1 % is lost */
    SOAK_STORM, /* and reordered, repeated, spoilt */
    /* From here on a connection may end of it. */
    SOAK_CUT,     /* nothing passes */
    SOAK_PACKETS, /* allocations of packets fail on one side */
    SOAK_HEAP,    /* allocations of memory fail */
    SOAK_STUCK,   /* one side's device takes nothing, or little */
    SOAK_FLOOD,   /* SYNs of nobody: cookies */
    SOAK_WEATHERS,
};

struct soak_side {
    struct host host;
    struct port *port;
    struct soak_end *ends;
    unsigned ends_count;
    uint64_t offset_us;       /* its clock is that far ahead */
    uint64_t asleep_until_us; /* it is not polled before */
    uint64_t due_us;          /* of the ends, the earliest */
};

struct soak_counts {
    uint64_t opened, completed, excused, vanished, half_open, resets, probed_away;
    uint64_t requests, bytes, frames, lost, steps;
    uint64_t sequence_wraps, timestamp_wraps, clock_wraps, leaps, sleeps, rests, checks;
    uint64_t failed_packets, failed_memory, cookies;
    uint64_t weathers[SOAK_WEATHERS], endings[SOAK_ENDINGS];
};

struct soak_world {
    struct soak_options options;
    struct soak_side sides[2]; /* the server, the client */
    struct lane lane;
    uint64_t now_us, start_us, end_us;
    uint64_t random;
    uint32_t next_id;
    enum soak_weather weather;
    unsigned weather_side;
    uint64_t weather_until_us, harsh_until_us, flood_us, open_us, clock_us;
    bool draining;
    int64_t blocks;           /* of memory, that two stacks at rest have; 0: not known yet */
    int64_t blocks_outside;   /* that are not the world's */
    uint8_t black[65536 / 8]; /* ports whose frames vanish */
    struct soak_counts counts;
    char failure[SOAK_FAILURE_MAX];
};

/* What the program that is linked with --wrap knows of the heap. */
struct soak_heap {
    int64_t blocks;       /* allocated and not freed */
    unsigned fail_one_in; /* 0: none */
    uint64_t random, failed;
};
extern struct soak_heap soak_heap;

/* false, and world->failure says why. */
bool soak_run(struct soak_world *world, const struct soak_options *options);

__attribute__((format(printf, 2, 3))) bool soak_fail(struct soak_world *world, const char *format,
                                                     ...);
uint32_t soak_below(struct soak_world *world, uint32_t limit);
static inline bool soak_chance(struct soak_world *world, uint32_t of_1000)
{
    return soak_below(world, 1000) < of_1000;
}
/* A while longer than the weather itself: who asks for a MAC meanwhile may wait with those who have
 * asked in vain. */
static inline bool soak_harsh(const struct soak_world *world)
{
    return world->weather >= SOAK_CUT || world->now_us < world->harsh_until_us;
}
void soak_set_black(struct soak_world *world, uint16_t port, bool black);

/* ---- soak_talk.c: the applications ---- */

/* Opens a connection, if there is room for one. */
void soak_open(struct soak_world *world);
/* An event of one side's stack. */
void soak_event(struct soak_world *world, unsigned side, const struct net_event *event);
/* Everybody on this side who has something to do now; sets side->due_us. */
void soak_act(struct soak_world *world, unsigned side);

#endif
