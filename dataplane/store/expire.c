#include "dataplane/store/expire.h"

#include <assert.h>

#include "drivers/clock.h"
#include "dataplane/slots/queue.h"
#include "dataplane/worker.h"

enum {
    EXPIRE_CANDIDATES_MAX =
        16, /* entries that share 26 bits of their hash; more expire on access */
    EXPIRE_SWEEP_BATCH = 64,
};

/* ---- tickets of changes ---- */

static void mark_pass(const struct worker *worker, struct entry *entry)
{
    entry->flags = (uint8_t)(entry->flags & ~ENTRY_TICKET_PASS);
    if (wheel_pass(worker->wheel) != 0)
        entry->flags |= ENTRY_TICKET_PASS;
}

/* Files a ticket for an entry of this worker's own slot. */
static bool file_own(struct worker *worker, struct entry *entry, uint16_t label, uint16_t slot,
                     uint64_t hash, int64_t deadline)
{
    if (wheel_file(worker->wheel, wheel_ticket_of(label, slot, hash), deadline) < 0)
        return false;
    mark_pass(worker, entry);
    return true;
}

static bool file(struct call *call, struct key *key, int64_t deadline)
{
    struct worker *worker = call->worker;
    uint16_t label = keyspace_label(call->node, key->db);

    if (node_owner(call->node, key->slot_number) == worker->index)
        return file_own(worker, key->entry, label, key->slot_number, key->hash, deadline);
    return effects_ticket(call_effects(call, key->slot_number),
                          (struct effect_ticket){.hash = key->hash,
                                                 .deadline_unix_ms = deadline,
                                                 .slot = key->slot_number,
                                                 .label = label});
}

void expire_stale(struct call *call, uint16_t slot)
{
    if (node_owner(call->node, slot) == call->worker->index)
        wheel_note_stale(call->worker->wheel, 1);
    else
        call_effects(call, slot)->stale++;
}

void expire_note(struct call *call, struct key *key, int64_t before, int64_t deadline)
{
    struct entry *entry = key->entry;

    if (deadline < 0)
        return; /* the ticket finds out when it fires */
    if ((entry->flags & ENTRY_TICKET) == 0) {
        if (file(call, key, deadline))
            entry->flags |= ENTRY_TICKET;
        return;
    }
    /* Without an earlier deadline nothing tells when the ticket fires. */
    if (before >= 0 && before <= deadline)
        return;
    if (file(call, key, deadline))
        expire_stale(call, key->slot_number);
}

/* ---- what a ticket finds ---- */

struct search {
    struct wheel_ticket ticket;
    const struct worker *worker;
    bool old_pass;       /* only entries that no ticket of this pass stands for */
    struct entry *entry; /* the one with the earliest deadline */
    uint64_t hash;
};

static bool has_pass(const struct worker *worker, const struct entry *entry)
{
    return ((entry->flags & ENTRY_TICKET_PASS) != 0) == (wheel_pass(worker->wheel) != 0);
}

static void consider(void *arg, struct entry *entry)
{
    struct search *search = arg;

    if ((entry->flags & ENTRY_TICKET) == 0)
        return;
    uint64_t hash = table_hash(search->worker->node->hash_seed, entry_key(entry));
    if (!wheel_ticket_fits(search->ticket, hash))
        return;
    if (search->old_pass && has_pass(search->worker, entry))
        return;
    /* None (-1) comes first: that ticket has nothing more to do. */
    if (search->entry != NULL && entry_expiry_unix_ms(search->entry) <= entry_expiry_unix_ms(entry))
        return;
    search->entry = entry;
    search->hash = hash;
}

static struct keyspace *keyspace_of(const struct worker *worker, struct wheel_ticket ticket)
{
    uint32_t db = keyspace_of_label(worker->node, ticket.db);

    return db < worker->node->database_count ? keyspace_get(worker->node, db) : NULL;
}

static void expire(struct worker *worker, const struct search *search, struct keyspace *keyspace)
{
    struct call call = {.worker = worker, .node = worker->node, .now_unix_ms = worker->now_unix_ms};
    struct key key = {.name = entry_key(search->entry),
                      .hash = search->hash,
                      .keyspace = keyspace,
                      .slot = &keyspace->slots[search->ticket.slot],
                      .entry = search->entry,
                      .db = (uint16_t)keyspace_of_label(worker->node, search->ticket.db),
                      .slot_number = search->ticket.slot,
                      .seen = worker->gate.changes - 1};

    key_expire_now(&call, &key);
}

/* What a ticket of an own slot stands for, as wheel_fire_fn asks. */
static int64_t judge(struct worker *worker, struct wheel_ticket ticket, bool old_pass)
{
    struct search search = {.ticket = ticket, .worker = worker, .old_pass = old_pass};
    struct keyspace *keyspace = keyspace_of(worker, ticket);

    if (keyspace != NULL)
        table_visit_prefix(&keyspace->slots[ticket.slot].table, ticket.prefix, WHEEL_PREFIX_BITS,
                           ticket.tag, consider, &search);
    if (search.entry == NULL)
        return WHEEL_STALE;
    int64_t deadline = entry_expiry_unix_ms(search.entry);
    if (deadline >= 0 && worker->now_unix_ms <= deadline) {
        mark_pass(worker, search.entry);
        return deadline;
    }
    search.entry->flags &= (uint8_t) ~(ENTRY_TICKET | ENTRY_TICKET_PASS);
    if (deadline >= 0)
        expire(worker, &search, keyspace);
    return WHEEL_DROP;
}

static int64_t fire(void *arg, struct wheel_ticket ticket, bool sweep)
{
    struct worker *worker = arg;
    uint32_t owner = node_owner(worker->node, ticket.slot);

    if (owner != worker->index) {
        expire_ticket_elsewhere(worker, owner, ticket);
        return WHEEL_DROP;
    }
    if (slots_busy(worker, ticket.slot))
        return WHEEL_LATER;
    return judge(worker, ticket, sweep);
}

void expire_tickets_arrived(struct worker *worker, const struct wheel_ticket *tickets,
                            uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int64_t deadline = fire(worker, tickets[i], false);
        if (deadline == WHEEL_LATER)
            deadline = worker->now_unix_ms;
        /* Without memory the key of this ticket expires on access. */
        if (deadline >= 0)
            (void)wheel_file(worker->wheel, tickets[i], deadline);
    }
}

struct exact {
    uint64_t hash, seed;
    struct entry *entry;
};

static void match(void *arg, struct entry *entry)
{
    struct exact *exact = arg;

    if ((entry->flags & ENTRY_TICKET) != 0 &&
        table_hash(exact->seed, entry_key(entry)) == exact->hash)
        exact->entry = entry;
}

void expire_effect(struct worker *worker, const struct effect_ticket *effect)
{
    struct wheel_ticket ticket = wheel_ticket_of(effect->label, effect->slot, effect->hash);
    struct keyspace *keyspace = keyspace_of(worker, ticket);
    struct exact exact = {.hash = effect->hash, .seed = worker->node->hash_seed};

    if (keyspace != NULL)
        table_visit_prefix(&keyspace->slots[ticket.slot].table, ticket.prefix, WHEEL_PREFIX_BITS,
                           ticket.tag, match, &exact);
    /* The command may have deleted the key again. It has counted that ticket as stale, so at worst
     * a sweep begins early. */
    if (exact.entry == NULL)
        return;
    if (!file_own(worker, exact.entry, effect->label, effect->slot, effect->hash,
                  effect->deadline_unix_ms))
        exact.entry->flags &= (uint8_t)~ENTRY_TICKET;
}

/* ---- pace ---- */

bool expire_paused(const struct node *node, int64_t now_unix_ms)
{
    return atomic_load_explicit(&node->pause_until_unix_ms, memory_order_relaxed) > now_unix_ms;
}

static bool at_rest(const struct worker *worker)
{
    return !atomic_load_explicit(&worker->node->active_expire, memory_order_relaxed) ||
           expire_paused(worker->node, worker->now_unix_ms);
}

static bool far_behind(const struct worker *worker)
{
    return wheel_backlog_ms(worker->wheel, worker->now_unix_ms) > EXPIRE_BACKLOG_MS;
}

/* How long this slice may take, in us. */
static uint32_t allowance(struct worker *worker, uint64_t now_us, uint32_t budget_us)
{
    struct expire *expire = &worker->expire;

    if (!far_behind(worker)) {
        expire->credit_us = EXPIRE_CREDIT_MAX_US;
        expire->credited_us = now_us;
        return budget_us;
    }
    uint64_t earned = (now_us - expire->credited_us) / EXPIRE_SHARE;
    expire->credited_us += earned * EXPIRE_SHARE;
    expire->credit_us += (int64_t)earned;
    if (expire->credit_us > EXPIRE_CREDIT_MAX_US)
        expire->credit_us = EXPIRE_CREDIT_MAX_US;
    if (expire->credit_us <= 0)
        return 0;
    return expire->credit_us < budget_us ? (uint32_t)expire->credit_us : budget_us;
}

static bool is_own(const struct worker *worker, struct wheel_ticket ticket)
{
    return node_owner(worker->node, ticket.slot) == worker->index &&
           !slots_busy(worker, ticket.slot) && keyspace_of(worker, ticket) != NULL;
}

/* Has the memory behind the next tickets on its way while the first ones are worked off. */
static void prefetch(struct worker *worker)
{
    struct wheel_ticket tickets[EXPIRE_BATCH];
    struct table *tables[EXPIRE_BATCH];
    uint64_t hashes[EXPIRE_BATCH];
    unsigned own = 0;
    unsigned count = wheel_peek(worker->wheel, worker->now_unix_ms, tickets, EXPIRE_BATCH);

    for (unsigned i = 0; i < count; i++) {
        if (!is_own(worker, tickets[i]))
            continue;
        tables[own] = &keyspace_of(worker, tickets[i])->slots[tickets[i].slot].table;
        hashes[own] = (uint64_t)tickets[i].prefix << (64 - WHEEL_PREFIX_BITS) | tickets[i].tag;
        __builtin_prefetch(tables[own++]);
    }
    for (unsigned i = 0; i < own; i++)
        table_prefetch_bucket(tables[i], hashes[i]);
    for (unsigned i = 0; i < own; i++)
        table_prefetch_entry(tables[i], hashes[i]);
}

static bool work(struct worker *worker)
{
    prefetch(worker);
    if (wheel_run(worker->wheel, worker->now_unix_ms, EXPIRE_BATCH, fire, worker) > 0)
        return wheel_next_unix_ms(worker->wheel) <= worker->now_unix_ms;
    return wheel_sweep(worker->wheel, EXPIRE_SWEEP_BATCH, fire, worker);
}

/* Nothing is due. The wheel learns the time all the same, so that new tickets go where they belong
 * at once. */
static bool sweep(struct worker *worker)
{
    (void)wheel_run(worker->wheel, worker->now_unix_ms, EXPIRE_BATCH, fire, worker);
    if (wheel_sweep(worker->wheel, EXPIRE_SWEEP_BATCH, fire, worker))
        return true;
    worker->expire.quiet_unix_ms = worker->now_unix_ms;
    return false;
}

bool expire_run(struct worker *worker, uint32_t budget_us)
{
    /* There are many turns in a millisecond. */
    if (worker->expire.quiet_unix_ms == worker->now_unix_ms || at_rest(worker))
        return false;
    if (wheel_next_unix_ms(worker->wheel) > worker->now_unix_ms)
        return sweep(worker);
    uint64_t start_us = clock_now_us(), now_us = start_us;
    uint32_t allowed_us = allowance(worker, start_us, budget_us);
    bool more = true;
    while (more && now_us - start_us < allowed_us) {
        more = work(worker);
        now_us = clock_now_us();
    }
    worker->expire.credit_us -= (int64_t)(now_us - start_us);
    count_add(&worker->stats.expire_us, now_us - start_us);
    return more && (!far_behind(worker) || worker->expire.credit_us > 0);
}

int64_t expire_next_unix_ms(const struct worker *worker)
{
    int64_t next = wheel_next_unix_ms(worker->wheel);

    if (next > worker->now_unix_ms)
        return next;
    if (at_rest(worker))
        return worker->now_unix_ms + EXPIRE_IDLE_MS;
    return far_behind(worker) ? worker->now_unix_ms + 1 : worker->now_unix_ms;
}
