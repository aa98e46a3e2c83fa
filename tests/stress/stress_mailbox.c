/* Mailboxes under threads, at the smallest size: workers ask each other all kinds of requests, far
 * more than there is credit for, answer them late and in any order, hold loans and return them, and
 * sleep whenever they have nothing to do. Every request must arrive once and in the order of its
 * kind, be answered once, never exceed the credit, and no sleep may outlast a mail.
 * Usage: stress_mailbox [milliseconds [seed]]. Exits 0 when all is well. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/clock.h"
#include "tests/stress/harness.h"

enum {
    WORKERS = 4,
    RUN_MS = 3000,
    OUTSTANDING = 40, /* of each worker, most of them waiting for credit */
    KINDS = 3,
    BATCH = 16,
    SLEEP_US = 2000000,
};

static const uint32_t kinds[KINDS] = {MAIL_JOB, MAIL_LOAN_ASK, MAIL_CALL};

struct request {
    struct mail_wait wait;
    struct request *next; /* of those to be answered, or held */
    uint32_t from, to, kind;
    uint64_t number;
};

struct runner {
    pthread_t thread;
    struct worker *worker;
    struct dice dice;
    uint32_t credit;
    uint64_t sent[WORKERS][KINDS], seen[WORKERS][KINDS]; /* to, from: the last number */
    uint32_t out, unanswered[WORKERS][KINDS];            /* own requests; of others, by sender */
    uint64_t stamp_seen[WORKERS];
    uint64_t answers, refusals, sleeps;
    struct request *to_answer, *held;
    _Atomic bool *stop;
    _Atomic uint32_t *busy; /* workers whose requests are not all done */
};

static _Noreturn void fail(const struct runner *runner, const char *what)
{
    printf("worker %u: %s\n", runner->worker->index, what);
    fflush(NULL);
    _Exit(1);
}

/* ---- the sender ---- */

static void send_request(struct runner *runner)
{
    struct worker *worker = runner->worker;
    struct request *request = calloc(1, sizeof *request);

    if (request == NULL)
        fail(runner, "no memory");
    request->from = worker->index;
    request->to = (worker->index + 1 + dice_below(&runner->dice, WORKERS - 1)) % WORKERS;
    request->kind = dice_below(&runner->dice, KINDS);
    request->number = ++runner->sent[request->to][request->kind];
    worker->last_stamp++;
    runner->out++;
    mail_request(worker, request->to, &request->wait, kinds[request->kind], 0, request);
}

static void answered(struct runner *runner, struct request *request, uint32_t kind)
{
    runner->answers++;
    if (kind == MAIL_LOAN_GRANT) {
        request->next = runner->held;
        runner->held = request;
        return;
    }
    runner->refusals += kind == MAIL_LOAN_REFUSE;
    runner->out--;
    free(request);
}

static void return_one(struct runner *runner)
{
    struct request *request = runner->held;

    runner->held = request->next;
    runner->out--;
    mail_return(runner->worker, request->to, request); /* theirs now */
}

/* ---- the receiver ---- */

static void asked(struct runner *runner, struct request *request, uint32_t from)
{
    if (request->from != from || request->number != ++runner->seen[from][request->kind])
        fail(runner, "a request was lost or came out of order");
    if (++runner->unanswered[from][request->kind] > runner->credit)
        fail(runner, "more requests than credit");
    request->next = runner->to_answer;
    runner->to_answer = request;
}

static void answer_one(struct runner *runner)
{
    struct request **link = &runner->to_answer;

    if (dice_below(&runner->dice, 2) == 0 && (*link)->next != NULL)
        link = &(*link)->next;
    struct request *request = *link;
    *link = request->next;
    uint32_t from = request->from, kind = kinds[request->kind];
    if (kind == MAIL_LOAN_ASK && dice_below(&runner->dice, 3) > 0) {
        mail_answer(runner->worker, from, MAIL_LOAN_GRANT, 0, request);
        return; /* keeps its credit until it is returned */
    }
    runner->unanswered[from][request->kind]--;
    mail_answer(runner->worker, from,
                kind == MAIL_JOB    ? MAIL_JOB_DONE
                : kind == MAIL_CALL ? MAIL_CALL_DONE
                                    : MAIL_LOAN_REFUSE,
                0, request);
}

static void take(struct runner *runner, const struct mail *mail, uint32_t from)
{
    struct request *request = mail->body;

    if (mail->stamp < runner->stamp_seen[from] || mail->stamp > runner->worker->last_stamp)
        fail(runner, "a stamp is out of order");
    runner->stamp_seen[from] = mail->stamp;
    switch (mail->kind) {
    case MAIL_JOB:
    case MAIL_LOAN_ASK:
    case MAIL_CALL:
        asked(runner, request, from);
        break;
    case MAIL_LOAN_RETURN:
        runner->unanswered[from][request->kind]--;
        free(request);
        break;
    default:
        answered(runner, request, mail->kind);
    }
}

/* ---- the loop ---- */

static bool take_all(struct runner *runner)
{
    struct mail mails[BATCH];
    uint32_t from[BATCH];
    unsigned count = mail_take(runner->worker, mails, from, BATCH);

    for (unsigned i = 0; i < count; i++)
        take(runner, &mails[i], from[i]);
    return count > 0;
}

/* As the worker's loop does it; see wait_for_events. */
static void sleep_until_mail(struct runner *runner)
{
    struct worker *worker = runner->worker;
    struct stream_event events[STREAM_EVENTS_MAX];
    uint64_t began_us = clock_now_us();

    atomic_store_explicit(&worker->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (mail_waiting(worker)) {
        atomic_store_explicit(&worker->sleeping, 0, memory_order_relaxed);
        return;
    }
    worker->driver->poll(worker->stream, events, STREAM_EVENTS_MAX, SLEEP_US);
    atomic_store_explicit(&worker->sleeping, 0, memory_order_relaxed);
    runner->sleeps++;
    if (clock_now_us() - began_us >= SLEEP_US)
        fail(runner, mail_waiting(worker) ? "slept while there was mail" : "no mail came");
}

static void *run(void *arg)
{
    struct runner *runner = arg;
    bool finished = false;

    while (!finished || atomic_load(runner->busy) > 0) {
        bool stop = atomic_load_explicit(runner->stop, memory_order_relaxed);
        bool any = take_all(runner);
        while (!stop && runner->out < OUTSTANDING && dice_below(&runner->dice, 4) > 0)
            send_request(runner);
        for (unsigned i = dice_below(&runner->dice, 6); i > 0 && runner->to_answer != NULL; i--)
            answer_one(runner);
        for (unsigned i = dice_below(&runner->dice, 4); i > 0 && runner->held != NULL; i--)
            return_one(runner);
        mail_flush(runner->worker);
        if (stop && !finished && runner->out == 0) {
            finished = true;
            atomic_fetch_sub(runner->busy, 1);
        }
        bool idle = !any && runner->to_answer == NULL && runner->held == NULL;
        if (idle && !stop && runner->out >= OUTSTANDING)
            sleep_until_mail(runner);
    }
    return NULL;
}

/* ---- set-up ---- */

static void make_worker(struct runner *runner, struct node *node, uint32_t index, uint32_t size)
{
    struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) & ~(size_t)63);
    struct stream_options options = {.may_sleep = true};

    if (worker == NULL)
        abort();
    memset(worker, 0, sizeof *worker);
    worker->node = node;
    worker->index = index;
    worker->driver = &stream_pipes;
    if (mailroom_create(&worker->mail, index, WORKERS, size) < 0 ||
        stream_pipes.create(&worker->stream, &options) < 0)
        abort();
    node->workers[index] = worker;
    runner->worker = worker;
    runner->credit = size / 4;
}

static void wait_ms(unsigned ms)
{
    uint64_t end_us = clock_now_us() + ms * 1000u;

    while (clock_now_us() < end_us)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static void stress(uint32_t size, unsigned run_ms, uint64_t seed)
{
    struct node *node = calloc(1, sizeof *node);
    struct runner *runners = calloc(WORKERS, sizeof *runners);
    _Atomic bool stop = false;
    _Atomic uint32_t busy = WORKERS;
    uint64_t answers = 0, refusals = 0, parked = 0, sleeps = 0, wakeups = 0;

    if (node == NULL || runners == NULL)
        abort();
    node->worker_count = WORKERS;
    for (uint32_t i = 0; i < WORKERS; i++) {
        make_worker(&runners[i], node, i, size);
        runners[i].dice.state = seed + i;
        runners[i].stop = &stop;
        runners[i].busy = &busy;
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        if (pthread_create(&runners[i].thread, NULL, run, &runners[i]) != 0)
            abort();
    wait_ms(run_ms);
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(runners[i].thread, NULL);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *worker = runners[i].worker;
        take_all(&runners[i]); /* the last returns */
        if (mail_expecting(worker) || mail_waiting(worker) || runners[i].to_answer != NULL)
            fail(&runners[i], "something is left over");
        for (uint32_t from = 0; from < WORKERS; from++)
            for (uint32_t kind = 0; kind < KINDS; kind++)
                if (i != from && (runners[i].seen[from][kind] != runners[from].sent[i][kind] ||
                                  runners[i].unanswered[from][kind] != 0))
                    fail(&runners[i], "requests and answers do not match");
        answers += runners[i].answers;
        refusals += runners[i].refusals;
        sleeps += runners[i].sleeps;
        parked += count_get(&worker->stats.parked);
        wakeups += count_get(&worker->stats.wakeups_sent);
    }
    printf("size %u: %llu answers (%llu refusals), %llu waited for credit, %llu sleeps, %llu "
           "wake-ups\n",
           size, (unsigned long long)answers, (unsigned long long)refusals,
           (unsigned long long)parked, (unsigned long long)sleeps, (unsigned long long)wakeups);
    for (uint32_t i = 0; i < WORKERS; i++) {
        stream_pipes.destroy(runners[i].worker->stream);
        mailroom_destroy(runners[i].worker->mail);
        free(runners[i].worker);
    }
    free(runners);
    free(node);
}

int main(int argc, char **argv)
{
    unsigned run_ms = argc > 1 ? (unsigned)atoi(argv[1]) : RUN_MS;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_now_ns();

    printf("seed %llu\n", (unsigned long long)seed);
    stress(MAILBOX_SIZE_MIN, run_ms / 2, seed);
    stress(64, run_ms / 2, seed + 1);
    return 0;
}
