/* Expiry wheel: deadlines of the entries in one worker's slots.
 * Purpose:   find keys whose time has come without scanning; 5 bytes a key.
 * Ticket:    slot (14 bits), 18 high bits and the low 8 bits (the table's tag) of the key's
 *            hash. It names few candidates, and the wheel's caller looks at those that carry
 *            ENTRY_TICKET. Segments (chunks of tickets) name the database. The entry, not the
 *            ticket, knows its deadline.
 * Rules:     an entry has at most one live ticket (its ENTRY_TICKET bit). Extending or dropping
 *            the deadline leaves the ticket; it re-files itself or vanishes when it fires.
 *            Shortening files another one. Stale tickets are bounded to 25 % (plus a constant)
 *            by sweeps in slices.
 * Levels:    hierarchical: 1,024 buckets of 64 ms, then 256 buckets each of 65 s, 4.7 hours, 50
 *            days and so on, so that there is no horizon. A ticket of a coarse bucket fires when
 *            the bucket begins, and is re-filed in a finer one by the deadline that its caller
 *            returns.
 * Passes:    a sweep visits every ticket filed before it began. Of several tickets of one entry
 *            it keeps the first and drops the others; ENTRY_TICKET_PASS is how the caller knows:
 *            see wheel_fire_fn.
 * Time:      a clock that jumps ahead costs nothing; one that falls back by more than
 *            WHEEL_BACK_TICKS makes every ticket fire once, to be filed anew.
 * Ownership: the wheel owns its segments (memory of the worker), never entries.
 * Threading: one worker. */
#ifndef DATAPLANE_STORE_WHEEL_H
#define DATAPLANE_STORE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/store/memory.h"

enum {
    WHEEL_TICK_MS = 64,
    WHEEL_PREFIX_BITS = 18,
    WHEEL_BACK_TICKS = 8,    /* half a second: a smaller step back is waited out */
    WHEEL_STALE_SHARE = 5,   /* a sweep begins when one ticket in so many is stale ... */
    WHEEL_STALE_FREE = 4096, /* ... these not counted */
};

struct wheel;

struct wheel_ticket {
    uint16_t slot; /* 0 to 16383 */
    uint16_t db;
    uint32_t prefix; /* high WHEEL_PREFIX_BITS of the hash */
    uint8_t tag;     /* low 8 bits of the hash */
};

static inline struct wheel_ticket wheel_ticket_of(uint16_t db, uint16_t slot, uint64_t hash)
{
    return (struct wheel_ticket){.slot = slot,
                                 .db = db,
                                 .prefix = (uint32_t)(hash >> (64 - WHEEL_PREFIX_BITS)),
                                 .tag = (uint8_t)hash};
}

/* Whether a key of this hash has such a ticket: table_visit_prefix finds all that do, and some
 * more. */
static inline bool wheel_ticket_fits(struct wheel_ticket ticket, uint64_t hash)
{
    return ticket.prefix == (uint32_t)(hash >> (64 - WHEEL_PREFIX_BITS)) &&
           ticket.tag == (uint8_t)hash;
}

/* What the caller does with a ticket that came due or is swept. It stands for an entry of its
 * slot and database whose hash fits, that has ENTRY_TICKET and, when `sweep`, whose
 * ENTRY_TICKET_PASS differs from wheel_pass; of several, for the one with the earliest deadline.
 * (`sweep` says that the ticket was filed before the present pass began, whoever came upon it,
 * wheel_run or wheel_sweep. An entry that already has the bit of this pass has another ticket.)
 *   - None: WHEEL_STALE.
 *   - It has no deadline any more: its ENTRY_TICKET is cleared; WHEEL_DROP.
 *   - Its deadline has passed: it is removed (no wheel_note_stale for it); WHEEL_DROP.
 *   - Else ENTRY_TICKET_PASS is set to wheel_pass and the deadline (unix ms) returned, to be
 *     re-filed there.
 *   - Its slot is lent, nothing may be looked at: WHEEL_LATER. The ticket fires again at the
 *     next tick.
 * Whoever files a ticket of its own accord likewise sets ENTRY_TICKET and gives
 * ENTRY_TICKET_PASS the value of wheel_pass. The function may file tickets and note stale ones,
 * but not run or sweep. */
enum {
    WHEEL_DROP = -1,
    WHEEL_LATER = -2,
    WHEEL_STALE = -3,
};
typedef int64_t wheel_fire_fn(void *arg, struct wheel_ticket ticket, bool sweep);

struct wheel *wheel_create(struct memory *memory, int64_t now_unix_ms); /* NULL: no memory */
void wheel_destroy(struct wheel *wheel);
/* Files a ticket. 0 or -ENOMEM (then the key still expires on access). */
int wheel_file(struct wheel *wheel, struct wheel_ticket ticket, int64_t deadline_unix_ms);
/* Works off due tickets (and cascades) until now or until `budget` tickets were handled. Returns
 * how many. Without memory to re-file even one ticket it stops: nothing is lost, and the next
 * call tries again. */
unsigned wheel_run(struct wheel *wheel, int64_t now_unix_ms, unsigned budget, wheel_fire_fn *fire,
                   void *arg);
/* The tickets that the next wheel_run will hand out first, in its order, so that the caller can
 * prefetch what they stand for; up to `max` of them, at times fewer than are due. Returns how
 * many. */
unsigned wheel_peek(const struct wheel *wheel, int64_t now_unix_ms, struct wheel_ticket *tickets,
                    unsigned max);
/* `stale` tickets are reported by the caller when an entry with ENTRY_TICKET is deleted or its
 * deadline shortened. A sweep begins when they pass the bound; wheel_sweep does a slice of it,
 * returns false when there is nothing to do. */
void wheel_note_stale(struct wheel *wheel, unsigned count);
bool wheel_sweep(struct wheel *wheel, unsigned budget, wheel_fire_fn *fire, void *arg);
/* The parity, 0 or 1, that the entries of new tickets carry in ENTRY_TICKET_PASS. */
uint8_t wheel_pass(const struct wheel *wheel);
/* The earliest tick at which wheel_run has work; INT64_MAX: none. */
int64_t wheel_next_unix_ms(const struct wheel *wheel);
uint64_t wheel_tickets(const struct wheel *wheel);
uint64_t wheel_stale(const struct wheel *wheel); /* an estimate from what was noted */
/* How far behind the work is: for INFO. */
uint64_t wheel_backlog_ms(const struct wheel *wheel, int64_t now_unix_ms);
size_t wheel_bytes(const struct wheel *wheel);
size_t wheel_empty_bytes(void); /* of that, what it takes without a ticket */

#endif
