#include "dataplane/slots/slot_set.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_SET_LINEAR = 32 };

void slot_set_init(struct slot_set *set)
{
    set->slots = set->small;
    set->count = 0;
    set->capacity = SLOT_SET_SMALL;
    set->whole = set->home = set->failed = set->has_bits = false;
}

static bool contains(struct slot_set *set, uint16_t slot)
{
    if (set->count <= SLOT_SET_LINEAR && !set->has_bits) {
        for (uint32_t i = 0; i < set->count; i++)
            if (set->slots[i] == slot)
                return true;
        return false;
    }
    if (!set->has_bits) {
        memset(set->bits, 0, sizeof set->bits);
        for (uint32_t i = 0; i < set->count; i++)
            set->bits[set->slots[i] / 64] |= (uint64_t)1 << (set->slots[i] % 64);
        set->has_bits = true;
    }
    return (set->bits[slot / 64] >> (slot % 64) & 1) != 0;
}

void slot_set_add(struct slot_set *set, uint16_t slot)
{
    if (contains(set, slot))
        return;
    if (set->count == set->capacity) {
        uint32_t capacity = set->capacity * 2;
        uint16_t *slots = malloc(capacity * sizeof *slots);
        if (slots == NULL) {
            set->failed = true;
            return;
        }
        memcpy(slots, set->slots, set->count * sizeof *slots);
        slot_set_fini(set);
        set->slots = slots;
        set->capacity = capacity;
    }
    if (set->has_bits)
        set->bits[slot / 64] |= (uint64_t)1 << (slot % 64);
    set->slots[set->count++] = slot;
}

void slot_set_fini(struct slot_set *set)
{
    if (set->slots != set->small)
        free(set->slots);
}
