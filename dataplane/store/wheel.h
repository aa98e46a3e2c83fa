/* Expiry wheel: deadlines of the entries in one worker's slots.
 * Purpose:   find keys whose time has come without scanning; 5 bytes a key.
 * Ticket:    slot (14 bits), 18 high bits and the low 8 bits (the table's tag) of the key's hash. It names few candidates, and the wheel's
 *            caller looks at those that carry ENTRY_TICKET. Segments (chunks of tickets) name the database. The entry, not the ticket, knows its deadline.
 * Rules:     an entry has at most one live ticket (its ENTRY_TICKET bit). Extending or dropping the deadline leaves the ticket; it re-files itself or
 *            vanishes when it fires. Shortening files another one. Stale tickets are bounded to 25 % (plus a constant) by sweeps in slices.
 * Levels:    hierarchical, finest tick 64 ms; deadlines past the horizon wait in the last level and re-file.
 * Ownership: the wheel owns its segments (memory of the worker), never entries.
 * Threading: one worker. */
#ifndef DATAPLANE_STORE_WHEEL_H
#define DATAPLANE_STORE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/store/memory.h"

enum { WHEEL_TICK_MS = 64, WHEEL_PREFIX_BITS = 18 };

struct wheel;

struct wheel_ticket {
    uint16_t slot;    /* 0 to 16383 */
    uint16_t db;
    uint32_t prefix;  /* high WHEEL_PREFIX_BITS of the hash */
    uint8_t tag;      /* low 8 bits of the hash */
};

static inline struct wheel_ticket wheel_ticket_of(uint16_t db, uint16_t slot, uint64_t hash)
{
    return (struct wheel_ticket){
        .slot = slot, .db = db, .prefix = (uint32_t)(hash >> (64 - WHEEL_PREFIX_BITS)), .tag = (uint8_t)hash };
}

/* What the caller does with a ticket that came due (or is swept):
 *   returns the deadline (unix ms) of the live entry it stands for, to be re-filed there, or WHEEL_DROP when there is none (expired and removed, gone, moved away)
 *   or WHEEL_LATER to keep it for the next call (slot is lent). */
enum { WHEEL_DROP = -1, WHEEL_LATER = -2 };
typedef int64_t wheel_fire_fn(void *arg, struct wheel_ticket ticket, bool sweep);

struct wheel *wheel_create(struct memory *memory, int64_t now_unix_ms);
void wheel_destroy(struct wheel *wheel);
/* Files a ticket. 0 or -ENOMEM (then the key still expires on access). */
int wheel_file(struct wheel *wheel, struct wheel_ticket ticket, int64_t deadline_unix_ms);
/* Works off due tickets (and cascades) until now or until `budget` tickets were handled. Returns how many. */
unsigned wheel_run(struct wheel *wheel, int64_t now_unix_ms, unsigned budget, wheel_fire_fn *fire, void *arg);
/* `stale` tickets are reported by the caller when an entry with ENTRY_TICKET is deleted or its deadline shortened. A sweep begins when they pass the bound;
 * wheel_sweep does a slice of it, returns false when there is nothing to do. */
void wheel_note_stale(struct wheel *wheel, unsigned count);
bool wheel_sweep(struct wheel *wheel, unsigned budget, wheel_fire_fn *fire, void *arg);
uint8_t wheel_pass(const struct wheel *wheel); /* parity (0/1) new tickets' entries carry in ENTRY_TICKET_PASS */
int64_t wheel_next_unix_ms(const struct wheel *wheel); /* earliest tick at which wheel_run has work; INT64_MAX: none */
uint64_t wheel_tickets(const struct wheel *wheel);
uint64_t wheel_stale(const struct wheel *wheel);
uint64_t wheel_backlog_ms(const struct wheel *wheel, int64_t now_unix_ms); /* how far behind: for INFO */
size_t wheel_bytes(const struct wheel *wheel);

#endif
