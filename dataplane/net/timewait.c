#include "dataplane/net/timewait.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/net/wire.h"

enum {
    RING = 0,             /* the entry that is the ring's head; its next expires first */
    REUSE_STEP = 1 << 16, /* beyond any window of the last incarnation that was not scaled */
};

static uint32_t place_of(const struct timewait *timewait, const struct timewait_entry *entry)
{
    return (uint32_t)(entry - timewait->entries);
}

int timewait_init(struct timewait *timewait, uint32_t capacity)
{
    int error;

    assert(capacity > 0 && capacity <= TIMEWAIT_CAPACITY_MAX);
    *timewait = (struct timewait){.capacity = capacity, .fresh = 1, .lasts_ms = TIMEWAIT_MS};
    error = flows_init(&timewait->flows, capacity);
    if (error < 0)
        return error;
    timewait->entries = calloc((size_t)capacity + 1, sizeof(*timewait->entries));
    if (timewait->entries == NULL) {
        flows_fini(&timewait->flows);
        return -ENOMEM;
    }
    return 0; /* all zero: the ring is empty */
}

void timewait_fini(struct timewait *timewait)
{
    flows_fini(&timewait->flows);
    free(timewait->entries);
    *timewait = (struct timewait){0};
}

/* ---- the ring by deadline ---- */

static void ring_append(struct timewait *timewait, struct timewait_entry *entry, uint64_t now_us)
{
    struct timewait_entry *ring = &timewait->entries[RING];
    uint32_t place = place_of(timewait, entry);

    entry->deadline_ms = (uint32_t)(now_us / 1000) + timewait->lasts_ms;
    entry->next = RING;
    entry->prev = ring->prev;
    timewait->entries[ring->prev].next = place & 0xfffffff;
    ring->prev = place & 0xfffffff;
}

static void ring_remove(struct timewait *timewait, const struct timewait_entry *entry)
{
    timewait->entries[entry->prev].next = entry->next;
    timewait->entries[entry->next].prev = entry->prev;
}

static struct timewait_entry *oldest(const struct timewait *timewait)
{
    return &timewait->entries[timewait->entries[RING].next];
}

/* ---- entries ---- */

/* An entry that nobody uses; there is one. Those freed before go first: their memory is there. */
static struct timewait_entry *take(struct timewait *timewait)
{
    struct timewait_entry *entry;

    if (timewait->free == 0)
        return &timewait->entries[timewait->fresh++];
    entry = &timewait->entries[timewait->free];
    timewait->free = entry->next;
    return entry;
}

void timewait_add(struct timewait *timewait, uint64_t hash, const struct timewait_entry *state,
                  uint64_t now_us)
{
    struct timewait_entry *entry;
    int inserted;

    if (timewait->used == timewait->capacity) {
        timewait_remove(timewait, oldest(timewait));
        timewait->evicted++;
    }
    entry = take(timewait);
    *entry = *state;
    entry->hash = hash;
    ring_append(timewait, entry, now_us);
    inserted = flows_insert(&timewait->flows, hash, place_of(timewait, entry));
    assert(inserted == 0);
    timewait->used++;
}

struct timewait_entry *timewait_find(const struct timewait *timewait, uint64_t hash)
{
    struct flows_probe probe;
    uint32_t place;

    if (timewait->used == 0)
        return NULL;
    probe = flows_find(&timewait->flows, hash);
    while ((place = flows_next(&probe)) != FLOWS_NONE)
        if (timewait->entries[place].hash == hash)
            return &timewait->entries[place];
    return NULL;
}

void timewait_remove(struct timewait *timewait, struct timewait_entry *entry)
{
    bool there = flows_remove(&timewait->flows, entry->hash, place_of(timewait, entry));

    assert(there);
    ring_remove(timewait, entry);
    entry->next = timewait->free & 0xfffffff;
    timewait->free = place_of(timewait, entry);
    timewait->used--;
}

void timewait_restart(struct timewait *timewait, struct timewait_entry *entry, uint64_t now_us)
{
    ring_remove(timewait, entry);
    ring_append(timewait, entry, now_us);
}

unsigned timewait_expire(struct timewait *timewait, uint64_t now_us, unsigned max)
{
    uint32_t now_ms = (uint32_t)(now_us / 1000);
    unsigned count = 0;

    while (count < max && timewait->used > 0 &&
           (int32_t)(oldest(timewait)->deadline_ms - now_ms) <= 0) {
        timewait_remove(timewait, oldest(timewait));
        count++;
    }
    return count;
}

uint64_t timewait_next_us(const struct timewait *timewait, uint64_t now_us)
{
    int32_t ahead;

    if (timewait->used == 0)
        return UINT64_MAX;
    ahead = (int32_t)(oldest(timewait)->deadline_ms - (uint32_t)(now_us / 1000));
    return ahead > 0 ? (now_us / 1000 + (uint32_t)ahead) * 1000 : now_us;
}

/* ---- segments ---- */

/* RFC 6191 section 2: a SYN that cannot be an old duplicate. Timestamps tell if both incarnations
 * have them; missing or equal ones leave it to the sequence number. */
static bool opens_anew(const struct timewait_entry *entry, const struct timewait_segment *segment)
{
    int32_t newer = (int32_t)(segment->ts_value - entry->ts_recent);

    if (segment->timestamps && (entry->flags & TIMEWAIT_TIMESTAMPS) != 0 && newer != 0)
        return newer > 0;
    return (int32_t)(segment->seq - entry->rcv_nxt) > 0;
}

enum timewait_verdict timewait_judge(const struct timewait_entry *entry,
                                     const struct timewait_segment *segment)
{
    bool stale = (entry->flags & TIMEWAIT_TIMESTAMPS) != 0 && segment->timestamps &&
                 (int32_t)(segment->ts_value - entry->ts_recent) < 0;

    if (segment->flags & TCP_RST)
        return TIMEWAIT_DROP;
    if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
        return opens_anew(entry, segment) ? TIMEWAIT_REUSE : TIMEWAIT_ACK;
    /* PAWS; and what has SYN or no ACK belongs to no connection that we know. */
    if (stale || (segment->flags & (TCP_SYN | TCP_ACK)) != TCP_ACK)
        return TIMEWAIT_ACK;
    if ((segment->flags & TCP_FIN) && segment->seq + segment->seg_len == entry->rcv_nxt)
        return TIMEWAIT_FIN;
    /* An ACK of our FIN has no answer, or two hosts in this state would talk for ever. */
    if (segment->seg_len == 0 && segment->seq == entry->rcv_nxt)
        return TIMEWAIT_DROP;
    return TIMEWAIT_ACK;
}

uint32_t timewait_iss(const struct timewait_entry *entry, uint32_t isn)
{
    return (int32_t)(isn - entry->snd_nxt) > 0 ? isn : entry->snd_nxt + REUSE_STEP;
}
