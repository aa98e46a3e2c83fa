#include "dataplane/store/wheel.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    WHEEL_FINE_BITS = 10,  /* level 0 */
    WHEEL_COARSE_BITS = 8, /* each level above */
    WHEEL_LEVELS = 7,      /* 10 + 6 * 8 bits of ticks: all that fit into 63 bits of ms */
    WHEEL_FINE = 1 << WHEEL_FINE_BITS,
    WHEEL_COARSE = 1 << WHEEL_COARSE_BITS,
    WHEEL_BUCKETS = WHEEL_FINE + (WHEEL_LEVELS - 1) * WHEEL_COARSE,
    WHEEL_BITMAP_WORDS = WHEEL_BUCKETS / 64,
    WHEEL_TICKET_BYTES = 5,
    WHEEL_SEGMENT_MIN_BYTES = 64,
    WHEEL_SEGMENT_MAX_BYTES = 512,
    /* How many segments of a chain are tried for one of the right database that has room. */
    WHEEL_OPEN_SEGMENTS = 8,
};
_Static_assert(WHEEL_FINE_BITS + (WHEEL_LEVELS - 1) * WHEEL_COARSE_BITS >= 63 - 6,
               "every deadline has a bucket");

struct segment {
    struct segment *next;
    uint16_t db;
    uint16_t count;
    uint16_t size_bytes;
    uint8_t tickets[];
};

enum { SEGMENT_HEADER_BYTES = offsetof(struct segment, tickets) };

struct bucket {
    struct segment *chain[2]; /* by pass */
};

struct wheel {
    struct memory *memory;
    uint64_t tick;     /* all before it is done; of this one perhaps a part */
    uint64_t count[2]; /* tickets of each pass */
    uint64_t stale;
    size_t segment_bytes;
    struct segment *spare; /* for a ticket that fired, when there is no memory to file it again */
    uint8_t pass;
    bool sweeping;
    uint32_t swept;                    /* buckets the sweep has gone through in this round */
    uint64_t used[WHEEL_BITMAP_WORDS]; /* buckets that have tickets */
    struct bucket buckets[WHEEL_BUCKETS];
};

/* ---- ticks and buckets ---- */

static uint64_t tick_at(int64_t unix_ms)
{
    return unix_ms > 0 ? (uint64_t)unix_ms / WHEEL_TICK_MS : 0;
}

/* The first tick that begins when the deadline is over. */
static uint64_t tick_after(int64_t deadline_unix_ms)
{
    return deadline_unix_ms > 0 ? ((uint64_t)deadline_unix_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS
                                : 0;
}

static int64_t tick_unix_ms(uint64_t tick)
{
    return tick <= (uint64_t)INT64_MAX / WHEEL_TICK_MS ? (int64_t)(tick * WHEEL_TICK_MS)
                                                       : INT64_MAX;
}

static unsigned level_shift(unsigned level)
{
    return level == 0 ? 0 : WHEEL_FINE_BITS + (level - 1) * WHEEL_COARSE_BITS;
}

static unsigned level_buckets(unsigned level)
{
    return level == 0 ? WHEEL_FINE : WHEEL_COARSE;
}

static unsigned level_first(unsigned level)
{
    return level == 0 ? 0 : WHEEL_FINE + (level - 1) * WHEEL_COARSE;
}

/* A tick belongs to the level of the highest digit in which it differs from the present one. So
 * whatever is on a level agrees with the present in all higher digits, and has a greater one
 * here. */
static unsigned level_of(uint64_t now, uint64_t tick)
{
    uint64_t different = now ^ tick;

    if (different < WHEEL_FINE)
        return 0;
    return 1 + (63 - (unsigned)__builtin_clzll(different) - WHEEL_FINE_BITS) / WHEEL_COARSE_BITS;
}

static unsigned digit_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> level_shift(level)) & (level_buckets(level) - 1);
}

/* The first used bucket of the level from `from` on; the number of buckets when there is none. */
static unsigned level_next(const struct wheel *wheel, unsigned level, unsigned from)
{
    unsigned first = level_first(level), end = first + level_buckets(level), at = first + from;

    while (at < end) {
        uint64_t word = wheel->used[at / 64] >> at % 64;

        if (word != 0)
            return at + (unsigned)__builtin_ctzll(word) - first;
        at = (at / 64 + 1) * 64;
    }
    return end - first;
}

/* The bucket to work off next: the one that begins first and, of those, the coarsest. False: no
 * tickets. */
static bool find_next(const struct wheel *wheel, unsigned *level, unsigned *bucket, uint64_t *start)
{
    bool found = false;

    if (wheel->count[0] + wheel->count[1] == 0)
        return false;
    for (unsigned l = WHEEL_LEVELS; l-- > 0;) {
        unsigned digit = level_next(wheel, l, digit_of(wheel->tick, l));

        if (digit == level_buckets(l))
            continue;

        unsigned shift = level_shift(l);
        uint64_t above = wheel->tick >> shift & ~(uint64_t)(level_buckets(l) - 1);
        uint64_t begin = (above | digit) << shift;

        if (!found || begin < *start) {
            *start = begin;
            *level = l;
            *bucket = level_first(l) + digit;
            found = true;
        }
    }
    assert(found);
    return found;
}

/* ---- segments ---- */

static unsigned segment_capacity(const struct segment *segment)
{
    return (segment->size_bytes - SEGMENT_HEADER_BYTES) / WHEEL_TICKET_BYTES;
}

static void ticket_write(uint8_t at[WHEEL_TICKET_BYTES], struct wheel_ticket ticket)
{
    uint64_t bits = (uint64_t)ticket.slot << 26 | (uint64_t)ticket.prefix << 8 | ticket.tag;

    memcpy(at, &bits, WHEEL_TICKET_BYTES);
}

static struct wheel_ticket ticket_read(const uint8_t at[WHEEL_TICKET_BYTES], uint16_t db)
{
    uint64_t bits = 0;

    memcpy(&bits, at, WHEEL_TICKET_BYTES);
    return (struct wheel_ticket){
        .slot = (uint16_t)(bits >> 26),
        .db = db,
        .prefix = (uint32_t)(bits >> 8) & ((1u << WHEEL_PREFIX_BITS) - 1),
        .tag = (uint8_t)bits,
    };
}

static uint8_t *segment_last(struct segment *segment)
{
    return segment->tickets + (size_t)(segment->count - 1) * WHEEL_TICKET_BYTES;
}

static struct segment *segment_create(struct wheel *wheel, size_t size_bytes)
{
    struct segment *segment = memory_alloc(wheel->memory, size_bytes);

    if (segment == NULL)
        return NULL;
    segment->next = NULL;
    segment->count = 0;
    segment->size_bytes = (uint16_t)size_bytes;
    wheel->segment_bytes += memory_usable(size_bytes);
    return segment;
}

static void segment_free(struct wheel *wheel, struct segment *segment)
{
    if (segment == NULL)
        return;
    wheel->segment_bytes -= memory_usable(segment->size_bytes);
    memory_free(wheel->memory, segment, segment->size_bytes);
}

/* A segment of this database with room, new ones in front: a long chain has long segments. */
static struct segment *open_segment(struct wheel *wheel, struct segment **chain, uint16_t db,
                                    bool refile)
{
    size_t size = WHEEL_SEGMENT_MIN_BYTES;
    unsigned tried = 0;

    for (struct segment *at = *chain; at != NULL && tried < WHEEL_OPEN_SEGMENTS; at = at->next) {
        if (at->db == db && at->count < segment_capacity(at))
            return at;
        if (at->db == db && size <= at->size_bytes)
            size = at->size_bytes < WHEEL_SEGMENT_MAX_BYTES ? at->size_bytes * 2u : at->size_bytes;
        tried++;
    }

    struct segment *segment = segment_create(wheel, size);

    if (segment == NULL && refile) {
        segment = wheel->spare;
        wheel->spare = NULL;
    }
    if (segment == NULL)
        return NULL;
    segment->db = db;
    segment->next = *chain;
    *chain = segment;
    return segment;
}

static int file_at(struct wheel *wheel, struct wheel_ticket ticket, uint64_t tick, unsigned pass,
                   bool refile)
{
    unsigned level = level_of(wheel->tick, tick);
    unsigned index = level_first(level) + digit_of(tick, level);
    struct segment *segment =
        open_segment(wheel, &wheel->buckets[index].chain[pass], ticket.db, refile);

    if (segment == NULL)
        return -ENOMEM;
    segment->count++;
    ticket_write(segment_last(segment), ticket);
    wheel->count[pass]++;
    wheel->used[index / 64] |= 1ull << index % 64;
    return 0;
}

/* Takes the last ticket of a chain's first segment. */
static struct wheel_ticket take(struct wheel *wheel, unsigned index, unsigned pass)
{
    struct bucket *bucket = &wheel->buckets[index];
    struct segment *segment = bucket->chain[pass];
    struct wheel_ticket ticket = ticket_read(segment_last(segment), segment->db);

    wheel->count[pass]--;
    if (--segment->count > 0)
        return ticket;
    bucket->chain[pass] = segment->next;
    segment_free(wheel, segment);
    if (bucket->chain[0] == NULL && bucket->chain[1] == NULL)
        wheel->used[index / 64] &= ~(1ull << index % 64);
    return ticket;
}

/* ---- firing ---- */

/* Fires the next ticket of a bucket and files it again at `earliest` or later. False: no memory,
 * nothing was done. */
static bool fire_one(struct wheel *wheel, unsigned index, unsigned pass, uint64_t earliest,
                     wheel_fire_fn *fire, void *arg)
{
    if (wheel->spare == NULL) {
        wheel->spare = segment_create(wheel, WHEEL_SEGMENT_MIN_BYTES);
        if (wheel->spare == NULL)
            return false;
    }

    struct wheel_ticket ticket = take(wheel, index, pass);
    int64_t deadline = fire(arg, ticket, pass != wheel->pass);
    uint64_t tick;

    /* Stale tickets of an old pass were written off when the sweep began. */
    if (deadline == WHEEL_STALE && wheel->stale > 0 && pass == wheel->pass)
        wheel->stale--;
    if (deadline == WHEEL_STALE || deadline == WHEEL_DROP)
        return true;
    if (deadline == WHEEL_LATER) {
        tick = wheel->tick + 1;
    } else {
        tick = tick_after(deadline);
        pass = wheel->pass;
    }

    int error = file_at(wheel, ticket, tick > earliest ? tick : earliest, pass, true);

    assert(error == 0); /* there is the spare segment */
    return true;
}

/* The clock fell back: the levels count from a time that has not come yet. Every ticket goes to
 * the present tick. */
static void rebase(struct wheel *wheel, uint64_t tick)
{
    struct bucket all = {0};

    for (unsigned i = 0; i < WHEEL_BUCKETS; i++) {
        for (unsigned pass = 0; pass < 2; pass++) {
            struct segment **chain = &wheel->buckets[i].chain[pass];

            while (*chain != NULL) {
                struct segment *segment = *chain;

                *chain = segment->next;
                segment->next = all.chain[pass];
                all.chain[pass] = segment;
            }
        }
    }
    memset(wheel->used, 0, sizeof(wheel->used));
    wheel->tick = tick;

    unsigned index = level_first(0) + digit_of(tick, 0);

    wheel->buckets[index] = all;
    if (all.chain[0] != NULL || all.chain[1] != NULL)
        wheel->used[index / 64] |= 1ull << index % 64;
}

struct wheel *wheel_create(struct memory *memory, int64_t now_unix_ms)
{
    struct wheel *wheel = memory_alloc_zero(memory, sizeof(*wheel));

    if (wheel == NULL)
        return NULL;
    wheel->memory = memory;
    wheel->tick = tick_at(now_unix_ms);
    return wheel;
}

void wheel_destroy(struct wheel *wheel)
{
    if (wheel == NULL)
        return;
    rebase(wheel, wheel->tick);
    for (unsigned pass = 0; pass < 2; pass++) {
        struct segment *segment = wheel->buckets[digit_of(wheel->tick, 0)].chain[pass];

        while (segment != NULL) {
            struct segment *next = segment->next;

            segment_free(wheel, segment);
            segment = next;
        }
    }
    segment_free(wheel, wheel->spare);
    memory_free(wheel->memory, wheel, sizeof(*wheel));
}

int wheel_file(struct wheel *wheel, struct wheel_ticket ticket, int64_t deadline_unix_ms)
{
    uint64_t tick = tick_after(deadline_unix_ms);

    assert(ticket.slot < 1 << 14 && ticket.prefix < 1 << WHEEL_PREFIX_BITS);
    return file_at(wheel, ticket, tick > wheel->tick ? tick : wheel->tick + 1, wheel->pass, false);
}

unsigned wheel_run(struct wheel *wheel, int64_t now_unix_ms, unsigned budget, wheel_fire_fn *fire,
                   void *arg)
{
    uint64_t now = tick_at(now_unix_ms), start = 0;
    unsigned handled = 0, level = 0, index = 0;

    if (now + WHEEL_BACK_TICKS < wheel->tick)
        rebase(wheel, now);
    while (handled < budget && find_next(wheel, &level, &index, &start) && start <= now) {
        if (start > wheel->tick)
            wheel->tick = start;

        /* From a coarse bucket a ticket may go to this very tick, whose fine bucket comes next. */
        uint64_t earliest = level == 0 ? wheel->tick + 1 : wheel->tick;

        for (unsigned pass = 0; pass < 2; pass++)
            while (handled < budget && wheel->buckets[index].chain[pass] != NULL) {
                if (!fire_one(wheel, index, pass, earliest, fire, arg))
                    return handled;
                handled++;
            }
    }
    if (now > wheel->tick && (!find_next(wheel, &level, &index, &start) || start > now))
        wheel->tick = now;
    return handled;
}

unsigned wheel_peek(const struct wheel *wheel, int64_t now_unix_ms, struct wheel_ticket *tickets,
                    unsigned max)
{
    unsigned level, index, taken = 0;
    uint64_t start;

    if (!find_next(wheel, &level, &index, &start) || start > tick_at(now_unix_ms))
        return 0;

    const struct bucket *bucket = &wheel->buckets[index];
    const struct segment *segment = bucket->chain[0] != NULL ? bucket->chain[0] : bucket->chain[1];

    for (; segment != NULL && taken < max; segment = segment->next)
        for (unsigned i = segment->count; i-- > 0 && taken < max; taken++)
            tickets[taken] =
                ticket_read(segment->tickets + (size_t)i * WHEEL_TICKET_BYTES, segment->db);
    return taken;
}

/* ---- sweeping ---- */

void wheel_note_stale(struct wheel *wheel, unsigned count)
{
    wheel->stale += count;
}

static bool sweep_due(const struct wheel *wheel)
{
    return wheel->stale > WHEEL_STALE_FREE + wheel_tickets(wheel) / WHEEL_STALE_SHARE;
}

bool wheel_sweep(struct wheel *wheel, unsigned budget, wheel_fire_fn *fire, void *arg)
{
    if (!wheel->sweeping) {
        if (!sweep_due(wheel))
            return false;
        wheel->sweeping = true;
        wheel->pass ^= 1;
        wheel->swept = 0;
        wheel->stale = 0;
    }

    unsigned old = wheel->pass ^ 1;

    /* What is answered with WHEEL_LATER stays a ticket of the old pass: then there is another
     * round. */
    while (wheel->count[old] > 0) {
        if (wheel->swept == WHEEL_BUCKETS)
            wheel->swept = 0;
        while (wheel->buckets[wheel->swept].chain[old] != NULL) {
            if (budget == 0 || !fire_one(wheel, wheel->swept, old, wheel->tick + 1, fire, arg))
                return true;
            budget--;
        }
        wheel->swept++;
    }
    wheel->sweeping = false;
    return false;
}

/* ---- figures ---- */

uint8_t wheel_pass(const struct wheel *wheel)
{
    return wheel->pass;
}

int64_t wheel_next_unix_ms(const struct wheel *wheel)
{
    unsigned level, index;
    uint64_t start;

    return find_next(wheel, &level, &index, &start) ? tick_unix_ms(start) : INT64_MAX;
}

uint64_t wheel_tickets(const struct wheel *wheel)
{
    return wheel->count[0] + wheel->count[1];
}

uint64_t wheel_stale(const struct wheel *wheel)
{
    return wheel->stale;
}

uint64_t wheel_backlog_ms(const struct wheel *wheel, int64_t now_unix_ms)
{
    int64_t next = wheel_next_unix_ms(wheel);

    return next < now_unix_ms ? (uint64_t)now_unix_ms - (uint64_t)next : 0;
}

size_t wheel_empty_bytes(void)
{
    return memory_usable(sizeof(struct wheel));
}

size_t wheel_bytes(const struct wheel *wheel)
{
    return wheel_empty_bytes() + wheel->segment_bytes;
}
