#include "dataplane/slots/effects.h"

#include <stdlib.h>

#include "dataplane/worker.h"

bool effects_ticket(struct effects *effects, struct effect_ticket ticket)
{
    if (effects->count == effects->capacity) {
        uint32_t capacity = effects->capacity == 0 ? 8 : effects->capacity * 2;
        struct effect_ticket *tickets = realloc(effects->tickets, capacity * sizeof *tickets);
        if (tickets == NULL)
            return false;
        effects->tickets = tickets;
        effects->capacity = capacity;
    }
    effects->tickets[effects->count++] = ticket;
    return true;
}

void effects_apply(struct worker *worker, struct effects *effects)
{
    for (uint32_t i = 0; i < effects->count; i++)
        expire_effect(worker, &effects->tickets[i]);
    if (effects->stale > 0)
        wheel_note_stale(worker->wheel, effects->stale);
    effects->count = effects->stale = 0;
}

void effects_fini(struct effects *effects)
{
    free(effects->tickets);
    *effects = (struct effects){0};
}
