/* Worker: one pinned thread and all that it owns.
 * Purpose:   the loop of DESIGN section 3: stream, mail, time, background work, sending.
 * Ownership: everything below hangs off this struct; nothing of it is shared except where it says atomic.
 * Threading: its own thread; counters have one writer and relaxed readers.
 * Errors:    creation returns a negative errno and a line; the loop itself does not fail. */
#ifndef DATAPLANE_WORKER_H
#define DATAPLANE_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "dataplane/node.h"
#include "dataplane/store/expire.h"
#include "dataplane/task.h"

struct packet_port; /* drivers/packet.h */
struct kernel_port; /* net/kernel_path.h */
struct mailroom;    /* slots/mailbox.h: this worker's rings to and from all others */
struct slot_queues; /* slots/queue.h: what waits for slots of this worker */
struct client_list; /* client/client.h */
struct slowlog;     /* commands/slowlog.h */
struct latency;     /* commands/latency.h */
struct turns;       /* turns.h */
struct evict;       /* store/evict.h */
struct lazyfree;    /* store/lazyfree.h */

struct rng {
    uint64_t state[2];
}; /* xoroshiro128+ */
uint64_t rng_next(struct rng *rng);
void rng_seed(struct rng *rng, uint64_t seed);

/* Statistics of one worker. One writer, relaxed readers: use worker_count_*. */
struct worker_stats {
    _Atomic uint64_t commands, connections, rejected_connections, keyspace_hits, keyspace_misses,
        expired_keys, evicted_keys, expired_stale_permille, error_replies, protocol_errors,
        query_buffer_limit_disconnects, output_buffer_limit_disconnects,
        client_queries_hops, /* commands of own connections that ran on another worker */
        forwarded_in, loans_taken, loans_granted, loans_refused, loan_second_rounds, slots_moved_in,
        slots_moved_out, mails_sent, mails_received, wakeups_sent,
        parked, /* parked: jobs that had to wait for credit */
        turns, long_turns, longest_turn_cpu_ns, longest_turn_us, sleeps, lazyfree_pending, lazyfreed,
        gaps, gap_ns, /* in which the core was somebody else's (turns.h); while it polls a port */
        total_error_replies, tracking_bytes, monitor_lines, sampled_at_us, changes, /* of keys */
        expire_us,     /* spent on expiry */
        over_limit_ms, /* during which the node used more than maxmemory (worker 0) */
        clients,       /* connections now */
        /* gauges, brought up to date by the cron */
        client_bytes, client_input_max_bytes, client_output_max_bytes, page_bytes, spare_page_bytes,
        wheel_bytes, expiry_backlog_ms;
    _Atomic uint64_t operations_per_second; /* over the last second or so */
    _Atomic uint64_t rx_per_second, tx_per_second;
};

struct command_stats {
    _Atomic uint64_t calls, nanoseconds, rejected, failed;
    struct histogram *_Atomic latency; /* commands/histogram.h; made with the first call */
};

enum { ERROR_KINDS_MAX = 128 };
struct error_kind {
    char code[REPLY_CODE_MAX];
    _Atomic uint64_t count;
};

struct worker {
    /* hot */
    struct node *node;
    uint32_t index;
    _Atomic bool running;
    struct stream *stream;
    struct packet_port *port; /* of a driver of packet ports: this worker's queue pair, or NULL */
    struct kernel_port *kernel; /* where what is not for it goes, or NULL */
    const struct stream_driver *driver;
    struct memory *memory;
    struct mailroom *mail;
    struct slot_queues *queues;
    int64_t now_unix_ms; /* read once a turn */
    uint64_t now_us;
    uint64_t last_stamp;    /* hybrid clock */
    uint64_t clock_ns;      /* when the last command ended, or this batch began */
    uint64_t turn_began_ns; /* on the same clock */
    uint32_t events_max;    /* of the next poll: fewer while turns run long */
    struct wheel *wheel;
    struct journal *journal;
    struct rng rng;
    struct worker_stats stats;
    struct command_stats *command_stats; /* by command_number */
    struct error_kind errors[ERROR_KINDS_MAX];
    struct client_list *clients;
    struct slowlog *slowlog;
    struct latency *latency;
    struct evict *evict;
    struct lazyfree *lazyfree;
    struct gate gate;                /* store/gate.h */
    struct expire expire;            /* store/expire.h */
    struct ticket_mail *tickets_out; /* slots/tickets.c: being filled for another worker */
    _Atomic uint64_t
        config_generation; /* that this worker has seen: it holds no older value from the configuration (config_reclaim) */
    struct task_inbox tasks;   /* from threads that have no mailbox */
    struct task prepare_task;  /* has the control thread touch the memory that comes next */
    _Atomic bool preparing;    /* and it is at it */
    _Atomic uint32_t sleeping; /* 1 while in a poll that waits */
    bool draining;             /* the server ends: no new connections or bytes */
    _Atomic bool drained;      /* and every connection has what it is owed */
    _Atomic bool ended;        /* the thread has nothing more to do: worker_join does not wait */
    bool alone_on_cpu;         /* no other worker shares this CPU: may spin for an answer */

    uint64_t next_cron_us;
    uint64_t rated_us; /* when the rates were last taken */
    struct rate {
        uint64_t last_total, samples[16];
        uint32_t next;
    } rates[3];           /* operations, received, sent */
    struct turns *turns;
    struct worker_listener {
        int fd; /* -1: a port of the driver's own */
        uint16_t port;
        uint32_t id;
        bool hand_over, taken;
    } * listeners; /* taken: the descriptor is the stream's */
    uint32_t listener_count, listener_capacity;
    _Atomic int32_t start_result; /* 1: not yet; 0: the loop runs; negative errno */
    char start_error[256];
    _Atomic uint64_t hangs;  /* times that its loop did not turn for seconds, and ... */
    _Atomic uint64_t hung_s; /* ... since when it has not, 0: it turns. The control thread's */
    pthread_t thread;
    int cpu; /* pinned to, or -1 */
    int numa_node;
};

static inline void count_add(_Atomic uint64_t *counter, uint64_t by)
{ /* one writer: a plain add would do, the atomics only keep readers whole */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}
static inline uint64_t count_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Has this turn done enough? Then what is left waits for the next one, so that mail, time-outs and other connections have theirs. */
enum { TURN_BUDGET_NS = 200000, LONG_TURN_NS = 1000000 };
static inline bool worker_turn_long(const struct worker *worker)
{
    return worker->clock_ns - worker->turn_began_ns > TURN_BUDGET_NS;
}

/* Sends tickets that belong to other workers (slots/tickets.c). */
void tickets_flush(struct worker *worker);
/* Rates of the last second (stats.c). */
void stats_cron(struct worker *worker);

/* Next stamp of this worker: greater than every stamp it has given or seen. */
uint64_t worker_stamp(struct worker *worker);
static inline void worker_see_stamp(struct worker *worker, uint64_t stamp)
{
    if (stamp > worker->last_stamp)
        worker->last_stamp = stamp;
}

/* Sum of a statistic over the node: node_sum(node, offsetof(struct worker_stats, commands)). */
uint64_t node_sum(const struct node *node, size_t offset);

/* In this order, for all workers together: create each, give listeners, start each, wait for each; stop, join each, empty each, destroy each. */
int worker_create(struct worker **worker, struct node *node, uint32_t index, int cpu);
/* Takes over a bound, listening socket, or with fd -1 the TCP port of a driver that has no sockets. 0 or -ENOMEM. */
int worker_give_listener(struct worker *worker, int fd, uint16_t port, uint32_t id, bool hand_over);
/* serving.c, on the worker's thread: has the stream accept on it. 0 or -errno. */
int worker_listen_on(struct worker *worker, const struct worker_listener *listener);
/* serving.c, on the worker's thread: the same while it runs (0 or -errno, the descriptor stays the caller's); stops accepting on the TCP
 * listeners of a set (0 or LISTENER_SET); keepalive of connections accepted from now on. */
int worker_listen(struct worker *worker, int fd, uint16_t port, uint32_t id, bool hand_over);
void worker_unlisten(struct worker *worker, uint32_t set);
void worker_set_keepalive(struct worker *worker, unsigned keepalive_s);
/* Finishes what was read, accepts and reads no more; `drained` tells when. */
void worker_drain(struct worker *worker);
/* After all threads have ended: one round of what they left in mailboxes and inboxes, so that every job comes home. False: nothing was left. */
bool worker_settle(struct worker *worker);
int worker_start(struct worker *worker);
/* Waits until the loop runs; else a negative errno and a line in worker->start_error. */
int worker_wait_started(struct worker *worker);
/* From any thread that is not a worker: has task->run(worker, task) called on the worker's thread. Only while it runs. */
void worker_post(struct worker *worker, struct task *task);
/* From any thread: the loop ends after its present turn, with what is committed flushed. */
void worker_stop(struct worker *worker);
void worker_join(struct worker *worker);
/* What refers to other workers' memory or to the keyspaces: its connections, what it was still freeing. */
void worker_empty(struct worker *worker);
void worker_destroy(struct worker *worker);

#endif
