#include "dataplane/slots/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "dataplane/worker.h"

struct ring {
    _Alignas(64) _Atomic uint32_t tail; /* producer */
    uint32_t head_seen;                 /* producer's copy of head */
    _Alignas(64) _Atomic uint32_t head; /* consumer */
    uint32_t tail_seen;                 /* consumer's copy of tail */
    _Alignas(64) uint32_t mask;
    struct mail slots[];
};

enum mail_pool { POOL_JOBS, POOL_LOANS, POOL_CALLS, POOLS };

struct outbox { /* towards one worker; the sender's */
    struct ring *ring;
    bool sent; /* something since the last flush */
    struct {
        uint32_t out; /* requests whose credit is not back */
        struct mail_wait *first, *last;
    } pools[POOLS];
};

struct mailroom {
    uint32_t index, workers, credit;
    uint32_t next_from;  /* fairness of mail_take */
    uint32_t unanswered; /* over all outboxes, loans that are held not counted */
    uint32_t sent_count; /* outboxes marked `sent` */
    struct outbox *out;  /* [workers] */
};

int mailroom_create(struct mailroom **room_out, uint32_t index, uint32_t workers, uint32_t size)
{
    struct mailroom *room = calloc(1, sizeof *room);

    if (room == NULL)
        return -ENOMEM;
    assert(size >= MAILBOX_SIZE_MIN && (size & (size - 1)) == 0);
    uint32_t ring_size = 2 * size;
    *room = (struct mailroom){.index = index, .workers = workers, .credit = size / 4};
    room->out = calloc(workers, sizeof *room->out);
    if (room->out == NULL)
        goto fail;
    for (uint32_t to = 0; to < workers; to++) {
        if (to == index)
            continue;
        size_t bytes = (sizeof(struct ring) + ring_size * sizeof(struct mail) + 63) & ~(size_t)63;
        struct ring *ring = aligned_alloc(64, bytes);
        if (ring == NULL)
            goto fail;
        atomic_init(&ring->tail, 0);
        atomic_init(&ring->head, 0);
        ring->head_seen = ring->tail_seen = 0;
        ring->mask = ring_size - 1;
        room->out[to].ring = ring;
    }
    *room_out = room;
    return 0;
fail:
    mailroom_destroy(room);
    return -ENOMEM;
}

void mailroom_destroy(struct mailroom *room)
{
    if (room == NULL)
        return;
    if (room->out != NULL)
        for (uint32_t to = 0; to < room->workers; to++)
            free(room->out[to].ring);
    free(room->out);
    free(room);
}

static void push(struct worker *worker, uint32_t to, struct mail mail)
{
    struct outbox *out = &worker->mail->out[to];
    struct ring *ring = out->ring;
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    if (tail - ring->head_seen > ring->mask) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        assert(tail - ring->head_seen <=
               ring->mask); /* the credit rules leave room for everything */
    }
    mail.stamp = worker->last_stamp;
    ring->slots[tail & ring->mask] = mail;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    if (!out->sent) {
        out->sent = true;
        worker->mail->sent_count++;
    }
    count_add(&worker->stats.mails_sent, 1);
}

static enum mail_pool pool_of(uint32_t kind)
{
    switch (kind) {
    case MAIL_JOB:
    case MAIL_JOB_DONE:
        return POOL_JOBS;
    case MAIL_CALL:
    case MAIL_CALL_DONE:
        return POOL_CALLS;
    default:
        return POOL_LOANS;
    }
}

static void send_request(struct worker *worker, uint32_t to, struct mail mail)
{
    worker->mail->out[to].pools[pool_of(mail.kind)].out++;
    worker->mail->unanswered++;
    push(worker, to, mail);
}

bool mail_has_credit(const struct worker *worker, uint32_t to, uint32_t kind)
{
    const struct outbox *out = &worker->mail->out[to];
    enum mail_pool pool = pool_of(kind);

    return out->pools[pool].out < worker->mail->credit && out->pools[pool].first == NULL;
}

void mail_request(struct worker *worker, uint32_t to, struct mail_wait *wait, uint32_t kind,
                  uint32_t argument, void *body)
{
    struct outbox *out = &worker->mail->out[to];
    enum mail_pool pool = pool_of(kind);

    assert(to != worker->index && to < worker->mail->workers);
    wait->mail = (struct mail){.kind = kind, .argument = argument, .body = body};
    wait->next = NULL;
    if (mail_has_credit(worker, to, kind)) {
        send_request(worker, to, wait->mail);
        return;
    }
    if (out->pools[pool].first == NULL)
        out->pools[pool].first = wait;
    else
        out->pools[pool].last->next = wait;
    out->pools[pool].last = wait;
    count_add(&worker->stats.parked, 1);
}

void mail_answer(struct worker *worker, uint32_t to, uint32_t kind, uint32_t argument, void *body)
{
    push(worker, to, (struct mail){.kind = kind, .argument = argument, .body = body});
}

static void credit_back(struct worker *worker, uint32_t to, enum mail_pool pool)
{
    struct outbox *out = &worker->mail->out[to];

    assert(out->pools[pool].out > 0);
    out->pools[pool].out--;
    while (out->pools[pool].first != NULL && out->pools[pool].out < worker->mail->credit) {
        struct mail_wait *wait = out->pools[pool].first;
        out->pools[pool].first = wait->next;
        send_request(worker, to, wait->mail);
    }
}

void mail_return(struct worker *worker, uint32_t to, void *body)
{
    push(worker, to, (struct mail){.kind = MAIL_LOAN_RETURN, .body = body});
    credit_back(worker, to, POOL_LOANS);
}

void mail_call(struct worker *worker, uint32_t to, struct mail_call *call)
{
    mail_request(worker, to, &call->wait, MAIL_CALL, 0, call);
}

static bool take_one(struct worker *worker, uint32_t from, struct mail *mail)
{
    struct ring *ring = worker->node->workers[from]->mail->out[worker->index].ring;
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    if (head == ring->tail_seen) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen)
            return false;
    }
    *mail = ring->slots[head & ring->mask];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

unsigned mail_take(struct worker *worker, struct mail *mails, uint32_t *from, unsigned max)
{
    struct mailroom *room = worker->mail;
    unsigned taken = 0;

    for (uint32_t step = 0; step < room->workers && taken < max; step++) {
        uint32_t sender = room->next_from;
        room->next_from = sender + 1 == room->workers ? 0 : sender + 1;
        if (sender == worker->index)
            continue;
        while (taken < max && take_one(worker, sender, &mails[taken])) {
            uint32_t kind = mails[taken].kind;
            from[taken] = sender;
            worker_see_stamp(worker, mails[taken].stamp);
            if (kind == MAIL_JOB_DONE || kind == MAIL_LOAN_GRANT || kind == MAIL_LOAN_REFUSE ||
                kind == MAIL_CALL_DONE)
                room->unanswered--;
            if (kind == MAIL_JOB_DONE || kind == MAIL_LOAN_REFUSE || kind == MAIL_CALL_DONE)
                credit_back(worker, sender, pool_of(kind));
            taken++;
        }
    }
    if (taken > 0)
        count_add(&worker->stats.mails_received, taken);
    return taken;
}

bool mail_waiting(const struct worker *worker)
{
    for (uint32_t from = 0; from < worker->mail->workers; from++) {
        if (from == worker->index)
            continue;
        struct ring *ring = worker->node->workers[from]->mail->out[worker->index].ring;
        if (atomic_load_explicit(&ring->head, memory_order_relaxed) !=
            atomic_load_explicit(&ring->tail, memory_order_acquire))
            return true;
    }
    return false;
}

bool mail_expecting(const struct worker *worker)
{
    return worker->mail->unanswered > 0;
}

void mail_flush(struct worker *worker)
{
    struct mailroom *room = worker->mail;

    if (room->sent_count == 0)
        return;
    /* Pairs with the fence in the receiver between "I sleep" and its last look into the rings. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t to = 0; to < room->workers; to++) {
        struct worker *target;
        if (!room->out[to].sent)
            continue;
        room->out[to].sent = false;
        target = worker->node->workers[to];
        if (atomic_load_explicit(&target->sleeping, memory_order_relaxed) != 0 &&
            atomic_exchange_explicit(&target->sleeping, 0, memory_order_acq_rel) != 0) {
            worker->driver->wake(worker->stream, target->stream);
            count_add(&worker->stats.wakeups_sent, 1);
        }
    }
    room->sent_count = 0;
}
