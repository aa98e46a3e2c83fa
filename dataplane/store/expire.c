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
    uint64_t seed;
    unsigned count;
    struct entry *entries[EXPIRE_CANDIDATES_MAX];
    uint64_t hashes[EXPIRE_CANDIDATES_MAX];
};

static void collect(void *arg, struct entry *entry)
{
    struct search *search = arg;

    if ((entry->flags & ENTRY_TICKET) == 0 || search->count == EXPIRE_CANDIDATES_MAX)
        return;
    uint64_t hash = table_hash(search->seed, entry_key(entry));
    if (hash >> (64 - WHEEL_PREFIX_BITS) != search->ticket.prefix ||
        (uint8_t)hash != search->ticket.tag)
        return;
    search->entries[search->count] = entry;
    search->hashes[search->count++] = hash;
}

static struct keyspace *find_candidates(const struct worker *worker, struct search *search)
{
    uint32_t db = keyspace_of_label(worker->node, search->ticket.db);
    struct keyspace *keyspace =
        db < worker->node->database_count ? keyspace_get(worker->node, db) : NULL;

    search->seed = worker->node->hash_seed;
    search->count = 0;
    if (keyspace != NULL)
        table_visit_prefix(&keyspace->slots[search->ticket.slot].table, search->ticket.prefix,
                           WHEEL_PREFIX_BITS, search->ticket.tag, collect, search);
    return keyspace;
}

static void expire(struct worker *worker, const struct search *search, struct keyspace *keyspace,
                   unsigned index)
{
    struct call call = {.worker = worker, .node = worker->node, .now_unix_ms = worker->now_unix_ms};
    struct key key = {.name = entry_key(search->entries[index]),
                      .hash = search->hashes[index],
                      .keyspace = keyspace,
                      .slot = &keyspace->slots[search->ticket.slot],
                      .entry = search->entries[index],
                      .db = (uint16_t)keyspace_of_label(worker->node, search->ticket.db),
                      .slot_number = search->ticket.slot,
                      .seen = worker->gate.changes - 1};

    key_expire_now(&call, &key);
}

static bool has_pass(const struct worker *worker, const struct entry *entry)
{
    return ((entry->flags & ENTRY_TICKET_PASS) != 0) == (wheel_pass(worker->wheel) != 0);
}

/* A ticket of an own slot came due. Several entries may match it: each has a ticket of its own, so
 * what runs out goes, and the ticket stays for the earliest of the others; then none is left
 * without. */
static int64_t judge_due(struct worker *worker, struct wheel_ticket ticket)
{
    struct search search = {.ticket = ticket};
    struct keyspace *keyspace = find_candidates(worker, &search);
    struct entry *keeps = NULL;
    int64_t earliest = WHEEL_DROP;
    bool found = false;

    for (unsigned i = 0; i < search.count; i++) {
        struct entry *entry = search.entries[i];
        int64_t deadline = entry_expiry_unix_ms(entry);
        if (deadline < 0) { /* PERSIST left its ticket to find out */
            entry->flags &= (uint8_t) ~(ENTRY_TICKET | ENTRY_TICKET_PASS);
            wheel_note_stale(worker->wheel, 1);
            found = true;
        } else if (worker->now_unix_ms > deadline) {
            expire(worker, &search, keyspace, i);
            found = true;
        } else if (keeps == NULL || deadline < earliest) {
            keeps = entry;
            earliest = deadline;
        }
    }
    if (found || keeps == NULL)
        return WHEEL_DROP;
    mark_pass(worker, keeps);
    return earliest;
}

/* A sweep keeps the first ticket that it meets for each entry. */
static int64_t judge_swept(struct worker *worker, struct wheel_ticket ticket)
{
    struct search search = {.ticket = ticket};

    find_candidates(worker, &search);
    for (unsigned i = 0; i < search.count; i++) {
        struct entry *entry = search.entries[i];
        int64_t deadline = entry_expiry_unix_ms(entry);
        if (has_pass(worker, entry))
            continue;
        if (deadline < 0) {
            entry->flags &= (uint8_t) ~(ENTRY_TICKET | ENTRY_TICKET_PASS);
            continue;
        }
        mark_pass(worker, entry);
        return deadline;
    }
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
    return sweep ? judge_swept(worker, ticket) : judge_due(worker, ticket);
}

void expire_tickets_arrived(struct worker *worker, const struct wheel_ticket *tickets,
                            uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int64_t deadline = fire(worker, tickets[i], false);
        if (deadline == WHEEL_LATER)
            deadline = worker->now_unix_ms;
        /* Without memory the keys of this ticket expire on access. */
        if (deadline != WHEEL_DROP)
            (void)wheel_file(worker->wheel, tickets[i], deadline);
    }
}

void expire_effect(struct worker *worker, const struct effect_ticket *ticket)
{
    struct search search = {.ticket = wheel_ticket_of(ticket->label, ticket->slot, ticket->hash)};

    find_candidates(worker, &search);
    for (unsigned i = 0; i < search.count; i++) {
        if (search.hashes[i] != ticket->hash)
            continue;
        if (!file_own(worker, search.entries[i], ticket->label, ticket->slot, ticket->hash,
                      ticket->deadline_unix_ms))
            search.entries[i]->flags &= (uint8_t)~ENTRY_TICKET;
        return;
    }
    /* The command deleted the key again and counted its ticket as stale, but none was filed: too
     * many stale tickets are counted, which at worst begins a sweep early. */
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
    expire->credit_us += earned;
    if (expire->credit_us > EXPIRE_CREDIT_MAX_US)
        expire->credit_us = EXPIRE_CREDIT_MAX_US;
    return expire->credit_us < budget_us ? (uint32_t)expire->credit_us : budget_us;
}

static bool work(struct worker *worker)
{
    if (wheel_run(worker->wheel, worker->now_unix_ms, EXPIRE_BATCH, fire, worker) > 0)
        return wheel_next_unix_ms(worker->wheel) <= worker->now_unix_ms;
    return wheel_sweep(worker->wheel, EXPIRE_SWEEP_BATCH, fire, worker);
}

bool expire_run(struct worker *worker, uint32_t budget_us)
{
    if (at_rest(worker))
        return false;
    if (wheel_next_unix_ms(worker->wheel) > worker->now_unix_ms)
        return wheel_sweep(worker->wheel, EXPIRE_SWEEP_BATCH, fire, worker);
    uint64_t start_us = clock_now_us(), now_us = start_us;
    uint32_t allowed_us = allowance(worker, start_us, budget_us);
    bool more = true;
    while (more && now_us - start_us < allowed_us) {
        more = work(worker);
        now_us = clock_now_us();
    }
    uint64_t used_us = now_us - start_us;
    worker->expire.credit_us -=
        used_us < worker->expire.credit_us ? used_us : worker->expire.credit_us;
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
