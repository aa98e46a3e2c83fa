#include "dataplane/worker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef POLLUX_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "dataplane/client/batch.h"
#include "dataplane/client/client.h"
#include "dataplane/commands/latency.h"
#include "dataplane/commands/slowlog.h"
#include "dataplane/commands/usage.h"
#include "dataplane/persist/journal.h"
#include "dataplane/slots/job.h"
#include "dataplane/store/evict.h"
#include "dataplane/store/lazyfree.h"
#include "dataplane/turns.h"
#include "drivers/cpu.h"
#include "drivers/dpdk/dpdk.h"
#include "drivers/log.h"
#include "drivers/system.h"

enum {
    CRON_US = 100000,
    IDLE_CRON_US = 1000000,  /* without connections */
    BACKGROUND_BUSY_US = 10, /* a turn's background work while bytes arrive ... */
    BACKGROUND_IDLE_US = 50, /* ... and while none do */
    SPIN_US = 20,            /* for an answer, before sleeping: a wake-up costs more */
    MAIL_ROUNDS = 16,        /* of MAIL_BATCH_MAX, in one turn, unless it runs long */
    EVENTS_MIN = 2,          /* of one poll, while turns run long */
};

/* ---- random numbers ---- */

static uint64_t rotate(uint64_t value, int by)
{
    return value << by | value >> (64 - by);
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t a = rng->state[0], b = rng->state[1], result = a + b;

    b ^= a;
    rng->state[0] = rotate(a, 24) ^ b ^ (b << 16);
    rng->state[1] = rotate(b, 37);
    return result;
}

void rng_seed(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 2; i++) { /* splitmix64 */
        uint64_t z = (seed += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        rng->state[i] = z ^ (z >> 31);
    }
}

uint64_t worker_stamp(struct worker *worker)
{
    uint64_t stamp = clock_stamp_ns(&worker->node->tsc);

    worker->last_stamp = stamp > worker->last_stamp ? stamp : worker->last_stamp + 1;
    return worker->last_stamp;
}

uint64_t node_sum(const struct node *node, size_t offset)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < node->worker_count; i++)
        sum +=
            count_get((const _Atomic uint64_t *)((const char *)&node->workers[i]->stats + offset));
    return sum;
}

/* ---- life ---- */

/* On the control thread. */
static void prepare_memory(void *runner, struct task *task)
{
    struct worker *worker = (struct worker *)((char *)task - offsetof(struct worker, prepare_task));

    (void)runner;
    memory_prepare(worker->memory, (unsigned)worker->numa_node);
    atomic_store_explicit(&worker->preparing, false, memory_order_release);
}

/* The worker has taken memory from the machine: the control thread touches what comes next. */
static void memory_taken(void *arg)
{
    struct worker *worker = arg;
    const struct node_control *control = worker->node->control_calls;

    if (control == NULL || atomic_exchange_explicit(&worker->preparing, true, memory_order_acquire))
        return;
    worker->prepare_task.run = prepare_memory;
    control->post(worker->node->control, &worker->prepare_task);
}

int worker_create(struct worker **worker_out, struct node *node, uint32_t index, int cpu)
{
    struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) & ~(size_t)63);

    if (worker == NULL)
        return -ENOMEM;
    memset(worker, 0, sizeof *worker);
    worker->node = node;
    worker->index = index;
    worker->cpu = cpu;
    worker->numa_node = cpu >= 0 ? (int)cpu_node((unsigned)cpu) : 0;
    worker->driver = node->driver;
    worker->command_stats = calloc(command_numbers(node->commands), sizeof *worker->command_stats);
    worker->slowlog = slowlog_create();
    worker->latency = latency_create();
    worker->lazyfree = lazyfree_create();
    worker->evict = evict_create();
    worker->journal = journal_create();
    worker->memory = memory_create();
    worker->turns = calloc(1, sizeof *worker->turns);
    atomic_init(&worker->running, true);
    atomic_init(&worker->start_result, 1);
    rng_seed(&worker->rng, node->hash_seed ^ (UINT64_C(0x5851f42d4c957f2d) * (index + 1)));
    if (worker->command_stats == NULL || worker->slowlog == NULL || worker->latency == NULL ||
        worker->lazyfree == NULL || worker->evict == NULL || worker->journal == NULL ||
        worker->memory == NULL || worker->turns == NULL ||
        mailroom_create(&worker->mail, index, node->worker_count,
                        (uint32_t)node->config->worker_mailbox_size) < 0 ||
        queues_create(&worker->queues, SLOTS) < 0 || clients_create(&worker->clients) < 0) {
        worker_destroy(worker);
        return -ENOMEM;
    }
    memory_prepare_ahead(worker->memory, memory_taken, worker);
    *worker_out = worker;
    return 0;
}

void worker_empty(struct worker *worker)
{
    if (worker->stream != NULL)
        worker->driver->destroy(worker->stream);
    worker->stream = NULL;
    if (worker->clients != NULL)
        clients_destroy(worker);
    if (worker->lazyfree != NULL)
        lazyfree_destroy(worker, worker->lazyfree);
    worker->lazyfree = NULL;
    for (uint32_t i = 0; i < worker->listener_count; i++)
        if (!worker->listeners[i].taken && worker->listeners[i].fd >= 0)
            close(worker->listeners[i].fd);
    worker->listener_count = 0;
}

void worker_destroy(struct worker *worker)
{
    worker_empty(worker);
    if (worker->wheel != NULL)
        wheel_destroy(worker->wheel);
    if (worker->command_stats != NULL)
        for (uint32_t i = 0; i < command_numbers(worker->node->commands); i++)
            free(worker->command_stats[i].latency);
    free(worker->command_stats);
    slowlog_destroy(worker->slowlog);
    latency_destroy(worker->latency);
    evict_destroy(worker->evict);
    if (worker->journal != NULL)
        journal_destroy(worker->journal);
    queues_destroy(worker->queues);
    mailroom_destroy(worker->mail);
    if (worker->memory != NULL)
        memory_destroy(worker->memory);
    free(worker->turns);
    free(worker->listeners);
    free(worker->tickets_out);
    free(worker);
}

int worker_give_listener(struct worker *worker, int fd, uint16_t port, uint32_t id, bool hand_over)
{
    if (worker->listener_count == worker->listener_capacity) {
        uint32_t capacity = worker->listener_capacity == 0 ? 4 : worker->listener_capacity * 2;
        struct worker_listener *grown = realloc(worker->listeners, capacity * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        worker->listeners = grown;
        worker->listener_capacity = capacity;
    }
    worker->listeners[worker->listener_count++] =
        (struct worker_listener){.fd = fd, .port = port, .id = id, .hand_over = hand_over};
    return 0;
}

/* ---- the loop ---- */

static void read_clocks(struct worker *worker)
{
    worker->now_us = clock_now_us();
    worker->now_unix_ms = (int64_t)clock_unix_ms();
    worker->clock_ns = run_clock_ns(worker);
    worker->turn_began_ns = worker->clock_ns;
}

static void work_mail(struct worker *worker)
{
    struct mail mails[MAIL_BATCH_MAX];
    uint32_t from[MAIL_BATCH_MAX];

    for (int round = 0; round < MAIL_ROUNDS; round++) {
        unsigned count = mail_take(worker, mails, from, MAIL_BATCH_MAX);
        if (count > 1)
            job_mail_prefetch(worker, mails, count);
        for (unsigned i = 0; i < count; i++)
            job_mail(worker, &mails[i], from[i]);
        job_ready_parts(worker);
        if (count < MAIL_BATCH_MAX || worker_turn_long(worker))
            return;
    }
}

/* Takes fewer events at a time while the commands they bring make turns long. */
static void adapt_events(struct worker *worker, unsigned taken)
{
    uint64_t took_ns = worker->clock_ns - worker->turn_began_ns;

    if (took_ns > TURN_BUDGET_NS && worker->events_max > EVENTS_MIN)
        worker->events_max = worker->events_max / 2;
    else if (took_ns < TURN_BUDGET_NS / 2 && taken == worker->events_max &&
             worker->events_max < STREAM_EVENTS_MAX)
        worker->events_max = worker->events_max * 2;
}

/* One bounded slice; true: there is more to do right now. */
static bool work_background(struct worker *worker, unsigned events)
{
    uint32_t budget_us = events > 0 ? BACKGROUND_BUSY_US : BACKGROUND_IDLE_US;
    bool more = expire_run(worker, budget_us);

    if (lazyfree_run(worker, budget_us))
        more = true;
    if (evict_run(worker, budget_us))
        more = true;
    return more;
}

static void work_cron(struct worker *worker)
{
    if (worker->now_us < worker->next_cron_us)
        return;
    worker->next_cron_us = worker->now_us + CRON_US;
    clients_cron(worker);
    memory_collect(worker->memory);
    stats_cron(worker);
    usage_cron(worker);
}

static void keep_most(_Atomic uint64_t *most, uint64_t value)
{
    if (value > count_get(most))
        atomic_store_explicit(most, value, memory_order_relaxed);
}

static void note_cpu(struct worker *worker, uint64_t now_ns)
{
    uint64_t lost_ns, took_ns = turns_read(worker->turns, now_ns, clock_thread_cpu_ns(), &lost_ns);

    keep_most(&worker->stats.longest_turn_cpu_ns, took_ns);
    if (took_ns > LONG_TURN_NS)
        count_add(&worker->stats.long_turns, 1);
    /* Others sleep in their poll all the time, or give the core to each other. */
    if (lost_ns > 0 && worker->port != NULL && worker->alone_on_cpu &&
        turns_gap(worker->turns, system_thread_sleeps(), lost_ns)) {
        count_add(&worker->stats.gaps, 1);
        count_add(&worker->stats.gap_ns, lost_ns);
    }
}

static void note_turn(struct worker *worker)
{
    uint64_t now_ns = clock_now_ns();

    /* Without the poll, which may have slept. */
    keep_most(&worker->stats.longest_turn_us, now_ns / 1000 - worker->now_us);
    count_add(&worker->stats.turns, 1);
    if (turns_end(worker->turns, now_ns))
        note_cpu(worker, now_ns);
}

static int64_t sleep_us(struct worker *worker, bool more)
{
    int64_t limit_us, expire_ms;

    if (more || clients_have_work(worker) || mail_waiting(worker) || queues_any_ready(worker))
        return 0;
    limit_us = (int64_t)(worker->next_cron_us - worker->now_us);
    if (worker->clients->count == 0)
        limit_us = IDLE_CRON_US;
    expire_ms = expire_next_unix_ms(worker);
    if (expire_ms != INT64_MAX) {
        int64_t until_us =
            expire_ms <= worker->now_unix_ms ? 0 : (expire_ms - worker->now_unix_ms) * 1000;
        limit_us = until_us < limit_us ? until_us : limit_us;
    }
    return limit_us < 0 ? 0 : limit_us;
}

/* An answer is on its way and nobody else wants this CPU: look for it a moment before sleeping. */
static bool spin_for_mail(struct worker *worker)
{
    uint64_t until_us;

    if (!worker->alone_on_cpu || !mail_expecting(worker))
        return false;
    until_us = clock_now_us() + SPIN_US;
    do {
        for (int i = 0; i < 16; i++)
            if (mail_waiting(worker))
                return true;
    } while (clock_now_us() < until_us);
    return false;
}

static int wait_for_events(struct worker *worker, struct stream_event *events, bool more)
{
    int64_t timeout_us = sleep_us(worker, more);

    if (timeout_us > 0 && spin_for_mail(worker))
        timeout_us = 0;
    if (timeout_us > 0) {
        atomic_store_explicit(&worker->sleeping, 1, memory_order_release);
        /* Pairs with mail_flush: either we see the mail, or its sender sees that we sleep. */
        atomic_thread_fence(memory_order_seq_cst);
        if (mail_waiting(worker) || task_waiting(&worker->tasks) ||
            !atomic_load_explicit(&worker->running, memory_order_relaxed))
            timeout_us = 0;
        else
            count_add(&worker->stats.sleeps, 1);
    }
    int count = worker->driver->poll(worker->stream, events, worker->events_max, timeout_us);
    atomic_store_explicit(&worker->sleeping, 0, memory_order_relaxed);
    return count;
}

/* A worker without its network serves nobody: the server ends as by SIGTERM instead of half living on. */
static void stream_failed(struct worker *worker, int error)
{
    if (worker->node->log != NULL)
        log_write(worker->node->log, LOG_LEVEL_WARNING,
                  "Worker %u: the %s driver failed (%s). The server ends.", worker->index,
                  worker->driver->name, strerror(error));
    kill(getpid(), SIGTERM);
}

static void loop(struct worker *worker)
{
    struct stream_event events[STREAM_EVENTS_MAX];
    bool more = false;

    turns_begin(worker->turns, clock_now_ns(), clock_thread_cpu_ns(), system_thread_sleeps());
    worker->events_max = STREAM_EVENTS_MAX;
    while (atomic_load_explicit(&worker->running, memory_order_relaxed)) {
        int count = wait_for_events(worker, events, more);
        if (count < 0) {
            stream_failed(worker, -count);
            break;
        }
        read_clocks(worker);
        /* Nothing of the turn before still points to a value of the configuration. */
        atomic_store_explicit(&worker->config_generation,
                              atomic_load_explicit(&worker->node->config->generation,
                                                   memory_order_acquire),
                              memory_order_release);
        if (task_waiting(&worker->tasks))
            task_run_all(&worker->tasks, worker);
        clients_pause_check(worker);
        work_mail(worker);
        clients_events(worker, events, (unsigned)count);
        adapt_events(worker, (unsigned)count);
        if (clients_have_work(worker))
            clients_resume(worker);
        job_ready_parts(worker);
        if (worker->driver->flush_is_cheap) /* clients need not wait for what follows */
            worker->driver->flush(worker->stream);
        work_cron(worker);
        if (worker->draining)
            worker_drain(worker);
        more = work_background(worker, (unsigned)count);
        tickets_flush(worker);
        mail_flush(worker);
        note_turn(worker);
    }
    /* What is committed goes out; the connections end with the stream. */
    worker->driver->flush(worker->stream);
    for (int i = 0; i < 4; i++)
        worker->driver->poll(worker->stream, events, STREAM_EVENTS_MAX, 0);
}

/* DPDK keeps a number for each thread that touches its queues. */
static int register_thread(struct worker *worker)
{
    int result = worker->port == NULL ? 0 : dpdk_thread_register();

    if (result < 0)
        snprintf(worker->start_error, sizeof worker->start_error,
                 "DPDK knows too many threads already: use fewer workers");
    return result;
}

static int open_stream(struct worker *worker)
{
    char error[STREAM_ERROR_MAX] = "";
    struct stream_options options = {.connections_max = worker->node->connections_max,
                                     .keepalive_s = (unsigned)worker->node->config->tcp_keepalive,
                                     .may_sleep = true,
                                     .shares_cpu = !worker->alone_on_cpu,
                                     .port = worker->port,
                                     .kernel = worker->kernel,
                                     .config = worker->node->config,
                                     .error = error};
    int result = worker->driver->create(&worker->stream, &options);

    if (result < 0) {
        snprintf(worker->start_error, sizeof worker->start_error, "%.200s",
                 error[0] != '\0' ? error : strerror(-result));
        return result;
    }
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        struct worker_listener *listener = &worker->listeners[i];
        result = worker_listen_on(worker, listener);
        if (result < 0) {
            snprintf(worker->start_error, sizeof worker->start_error, "cannot listen: %s",
                     strerror(-result));
            return result;
        }
        listener->taken = true;
    }
    return 0;
}

static void use_own_arena(void)
{
#ifdef POLLUX_JEMALLOC
    unsigned arena;
    size_t size = sizeof arena;

    if (mallctl("arenas.create", &arena, &size, NULL, 0) == 0)
        mallctl("thread.arena", NULL, NULL, &arena, sizeof arena);
#endif
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    int result;

    if (worker->cpu >= 0) {
        cpu_pin((unsigned)worker->cpu);
        cpu_prefer_node((unsigned)worker->numa_node);
    }
    /* Workers that share a CPU must not push each other off it with every mail: a batch each is cheaper than a switch each. */
    if (!worker->alone_on_cpu)
        pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
    use_own_arena();
    read_clocks(worker);
    worker->wheel = wheel_create(worker->memory, worker->now_unix_ms);
    result = worker->wheel == NULL ? -ENOMEM : register_thread(worker);
    if (result == 0)
        result = open_stream(worker);
    atomic_store_explicit(&worker->start_result, result, memory_order_release);
    if (result == 0)
        loop(worker);
    if (worker->port != NULL)
        dpdk_thread_unregister();
    atomic_store_explicit(&worker->ended, true, memory_order_release);
    return NULL; /* the stream stays for those who may be about to wake it */
}

int worker_start(struct worker *worker)
{
    char name[16];

    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
        return -EAGAIN;
    snprintf(name, sizeof name, "worker-%u", worker->index % 1000);
    pthread_setname_np(worker->thread, name);
    return 0;
}

int worker_wait_started(struct worker *worker)
{
    int32_t result;

    while ((result = atomic_load_explicit(&worker->start_result, memory_order_acquire)) == 1)
        sched_yield();
    return result;
}

void worker_post(struct worker *worker, struct task *task)
{
    task_post(&worker->tasks, task);
    /* Pairs with wait_for_events. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&worker->sleeping, memory_order_relaxed) != 0 &&
        atomic_exchange_explicit(&worker->sleeping, 0, memory_order_acq_rel) != 0)
        worker->driver->wake(NULL, worker->stream);
}

void worker_stop(struct worker *worker)
{
    atomic_store_explicit(&worker->running, false, memory_order_seq_cst);
    worker->driver->wake(NULL, worker->stream);
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
}
