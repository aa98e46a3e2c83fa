/* Expiry: what joins deadlines, the wheel's tickets and the slots.
 * Purpose:   keys go when their time has come, without an access: due tickets are worked off in
 *            slices, each expired key is deleted through the gate and journaled as DEL.
 * Tickets:   an entry has at most one live ticket (ENTRY_TICKET). A ticket is filed in the wheel of
 *            the slot's owner: while another worker executes (a loan), it travels back as an effect
 *            (slots/effects.h). The ticket of a slot that has moved goes to the new owner when it
 *            fires or is swept.
 * Pace:      while less than EXPIRE_BACKLOG_MS behind, every slice of background work may be used
 *            in full; further behind, a quarter of the core.
 * Ownership: struct expire is embedded in the worker.
 * Threading: the worker that owns the wheel; expire_note and expire_stale: the worker that
 *            executes.
 * Errors:    without memory for a ticket the key expires on access only. */
#ifndef DATAPLANE_STORE_EXPIRE_H
#define DATAPLANE_STORE_EXPIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/store/wheel.h"

struct call;
struct key;
struct node;
struct worker;

enum {
    EXPIRE_BACKLOG_MS = 1000, /* a longer backlog is worked off at leisure */
    EXPIRE_SHARE = 4,         /* one part in so many of the core */
    EXPIRE_CREDIT_MAX_US = 20000,
    EXPIRE_BATCH = 16,    /* tickets between two looks at the clock */
    EXPIRE_IDLE_MS = 100, /* how often to look while expiry is switched off or rests */
};

struct expire {            /* zeroed is ready */
    int64_t credit_us;     /* time that a long backlog may still use; negative: it has overdrawn */
    uint64_t credited_us;  /* when credit was last given */
    int64_t quiet_unix_ms; /* at this very time there was nothing to do */
};

/* The gate's: key->entry now has `deadline` (or none, -1) where it had `before` (-1: none, or it is
 * new). Files a ticket if it needs one. */
void expire_note(struct call *call, struct key *key, int64_t before, int64_t deadline);
/* The gate's: an entry of this slot that had a ticket is gone. */
void expire_stale(struct call *call, uint16_t slot);

/* Is expiry at rest because clients are paused? Then expired keys read as absent and stay. */
bool expire_paused(const struct node *node, int64_t now_unix_ms);

/* A ticket that comes back with a loan. */
struct effect_ticket;
void expire_effect(struct worker *worker, const struct effect_ticket *ticket);

/* Works off due tickets for about budget_us. true: more could be done right now. */
bool expire_run(struct worker *worker, uint32_t budget_us);
/* When expire_run has work again, for the length of a sleep; INT64_MAX: no tickets. */
int64_t expire_next_unix_ms(const struct worker *worker);

/* Tickets that other workers found to be this one's. */
void expire_tickets_arrived(struct worker *worker, const struct wheel_ticket *tickets,
                            uint32_t count);
/* Implemented in slots/: mails a ticket to the owner of its slot. Without memory it is lost, and
 * the key expires on access only. */
void expire_ticket_elsewhere(struct worker *worker, uint32_t owner, struct wheel_ticket ticket);

#endif
