#include "dataplane/net/syncache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const uint16_t NONE = 0xffff;

static uint16_t place_of(const struct syncache *cache, const struct syncache_entry *entry)
{
    return (uint16_t)(entry - cache->entries);
}

int syncache_init(struct syncache *cache, unsigned capacity, const struct siphash_key *key)
{
    int error;

    assert(capacity > 0 && capacity <= SYNCACHE_CAPACITY_MAX);
    *cache = (struct syncache){.key = *key, .capacity = (uint16_t)capacity};
    error = flows_init(&cache->flows, capacity);
    if (error < 0)
        return error;
    cache->entries = calloc(capacity, sizeof(*cache->entries));
    if (cache->entries == NULL) {
        flows_fini(&cache->flows);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < capacity; i++)
        cache->entries[i].next = i + 1 < capacity ? (uint16_t)(i + 1) : NONE;
    for (unsigned i = 0; i < SYNCACHE_SENDS; i++)
        cache->lists[i] = (struct syncache_list){NONE, NONE};
    return 0;
}

void syncache_fini(struct syncache *cache)
{
    flows_fini(&cache->flows);
    free(cache->entries);
    *cache = (struct syncache){0};
}

/* ---- the lists by deadline ---- */

static void list_append(struct syncache *cache, struct syncache_entry *entry, uint64_t now_us)
{
    unsigned sent = entry->sends - 1u;
    struct syncache_list *list = &cache->lists[sent];

    entry->deadline_ms = (uint32_t)(now_us / 1000) + ((uint32_t)SYNCACHE_TIMEOUT_MS << sent);
    entry->next = NONE;
    entry->prev = list->last;
    if (list->last != NONE)
        cache->entries[list->last].next = place_of(cache, entry);
    else
        list->first = place_of(cache, entry);
    list->last = place_of(cache, entry);
}

static void list_remove(struct syncache *cache, struct syncache_entry *entry)
{
    struct syncache_list *list = &cache->lists[entry->sends - 1];

    if (entry->prev != NONE)
        cache->entries[entry->prev].next = entry->next;
    else
        list->first = entry->next;
    if (entry->next != NONE)
        cache->entries[entry->next].prev = entry->prev;
    else
        list->last = entry->prev;
}

/* ---- entries ---- */

struct syncache_entry *syncache_find(const struct syncache *cache, uint64_t hash,
                                     const struct net_flow *flow)
{
    struct flows_probe probe;
    uint32_t place;

    if (cache->used == 0)
        return NULL;
    probe = flows_find(&cache->flows, hash);
    while ((place = flows_next(&probe)) != FLOWS_NONE)
        if (net_flow_equal(&cache->entries[place].flow, flow))
            return &cache->entries[place];
    return NULL;
}

struct syncache_entry *syncache_add(struct syncache *cache, uint64_t hash,
                                    const struct net_flow *flow, uint64_t now_us)
{
    struct syncache_entry *entry;

    if (cache->used == cache->capacity)
        return NULL;
    entry = &cache->entries[cache->free];
    if (flows_insert(&cache->flows, hash, cache->free) < 0)
        return NULL;
    cache->free = entry->next;
    cache->used++;
    *entry = (struct syncache_entry){.flow = *flow, .sends = 1};
    list_append(cache, entry, now_us);
    return entry;
}

void syncache_remove(struct syncache *cache, struct syncache_entry *entry)
{
    bool there = flows_remove(&cache->flows, net_flow_hash(&cache->key, &entry->flow),
                              place_of(cache, entry));

    assert(there);
    list_remove(cache, entry);
    entry->sends = 0;
    entry->next = cache->free;
    cache->free = place_of(cache, entry);
    cache->used--;
}

/* Whether the entry has had all the transmissions that it gets. */
static bool given_up(const struct syncache *cache, const struct syncache_entry *entry)
{
    bool busy = cache->used > cache->capacity / 2;

    return entry->sends >= (busy ? SYNCACHE_SENDS_BUSY : SYNCACHE_SENDS);
}

unsigned syncache_collect(struct syncache *cache, uint64_t now_us, struct syncache_entry **due,
                          unsigned max)
{
    uint32_t now_ms = (uint32_t)(now_us / 1000);
    unsigned count = 0;

    /* The longest waits first, so that one that is moved on is not met again in this call. */
    for (unsigned sent = SYNCACHE_SENDS; sent-- > 0;) {
        while (cache->lists[sent].first != NONE && count < max) {
            struct syncache_entry *entry = &cache->entries[cache->lists[sent].first];

            if ((int32_t)(entry->deadline_ms - now_ms) > 0)
                break;
            if (given_up(cache, entry)) {
                syncache_remove(cache, entry);
                cache->expired++;
                continue;
            }
            list_remove(cache, entry);
            entry->sends++;
            list_append(cache, entry, now_us);
            due[count++] = entry;
        }
    }
    return count;
}

uint64_t syncache_next_us(const struct syncache *cache, uint64_t now_us)
{
    uint32_t now_ms = (uint32_t)(now_us / 1000);
    uint64_t earliest = UINT64_MAX;

    for (unsigned sent = 0; sent < SYNCACHE_SENDS; sent++) {
        int32_t ahead;
        uint64_t at;

        if (cache->lists[sent].first == NONE)
            continue;
        ahead = (int32_t)(cache->entries[cache->lists[sent].first].deadline_ms - now_ms);
        at = ahead > 0 ? (now_us / 1000 + (uint32_t)ahead) * 1000 : now_us;
        if (at < earliest)
            earliest = at;
    }
    return earliest;
}

struct syncache_entry *syncache_walk(struct syncache *cache, unsigned *place, uint16_t listener)
{
    while (*place < cache->capacity) {
        struct syncache_entry *entry = &cache->entries[(*place)++];

        if (entry->sends > 0 && entry->listener == listener)
            return entry;
    }
    return NULL;
}
