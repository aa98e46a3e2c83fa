#include "dataplane/slots/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dataplane/worker.h"

int queues_create(struct slot_queues **queues_out, uint32_t slot_count)
{
    struct slot_queues *queues = calloc(1, sizeof *queues);

    if (queues == NULL)
        return -ENOMEM;
    queues->lines_bytes = slot_count * sizeof *queues->lines;
    queues->lines =
        mmap(NULL, queues->lines_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (queues->lines == MAP_FAILED) {
        free(queues);
        return -ENOMEM;
    }
    *queues_out = queues;
    return 0;
}

void queues_destroy(struct slot_queues *queues)
{
    if (queues == NULL)
        return;
    munmap(queues->lines, queues->lines_bytes);
    free(queues);
}

bool queues_any_busy(const struct worker *worker)
{
    return worker->queues->busy_slots > 0 || worker->queues->whole != NULL;
}

bool slots_busy(const struct worker *worker, uint16_t slot)
{
    return queues_slot_busy(worker->queues, slot);
}

bool queues_part_free(const struct worker *worker, const struct loan_part *part)
{
    if (part->whole)
        return !queues_any_busy(worker);
    for (uint32_t i = 0; i < part->count; i++)
        if (queues_slot_busy(worker->queues, part->refs[i].slot))
            return false;
    return true;
}

static void make_ready(struct slot_queues *queues, struct loan_part *part)
{
    part->next = NULL;
    if (queues->ready_first == NULL)
        queues->ready_first = part;
    else
        queues->ready_last->next = part;
    queues->ready_last = part;
}

struct loan_part *queues_next_ready(struct worker *worker)
{
    struct slot_queues *queues = worker->queues;
    struct loan_part *part = queues->ready_first;

    if (part != NULL)
        queues->ready_first = part->next;
    return part;
}

bool queues_any_ready(const struct worker *worker)
{
    return worker->queues->ready_first != NULL;
}

bool queues_owns(const struct worker *worker, const struct loan_part *part)
{
    for (uint32_t i = 0; i < part->count; i++)
        if (node_owner(worker->node, part->refs[i].slot) != worker->index)
            return false;
    return true;
}

static bool enter_lines(struct slot_queues *queues, struct loan_part *part)
{
    part->pending = 0;
    for (uint32_t i = 0; i < part->count; i++) {
        struct part_ref *ref = &part->refs[i];
        struct slot_line *line = &queues->lines[ref->slot];
        ref->part = part;
        ref->next = NULL;
        if (line->first == NULL) {
            line->first = ref;
            queues->busy[ref->slot / 64] |= (uint64_t)1 << (ref->slot % 64);
            queues->busy_slots++;
        } else {
            line->last->next = ref;
            part->pending++;
        }
        line->last = ref;
    }
    return part->pending == 0;
}

bool queues_try(struct worker *worker, struct loan_part *part)
{
    struct slot_queues *queues = worker->queues;

    if (!queues_part_free(worker, part))
        return false;
    if (!part->whole)
        return enter_lines(queues, part);
    queues->whole = part;
    queues->whole_held = true;
    return true;
}

bool queues_enter(struct worker *worker, struct loan_part *part)
{
    struct slot_queues *queues = worker->queues;

    if (queues->whole != NULL) {
        part->next = NULL;
        if (queues->behind_first == NULL)
            queues->behind_first = part;
        else
            queues->behind_last->next = part;
        queues->behind_last = part;
        return false;
    }
    if (!part->whole)
        return enter_lines(queues, part);
    queues->whole = part;
    queues->whole_held = queues->busy_slots == 0;
    return queues->whole_held;
}

static void whole_may_start(struct slot_queues *queues)
{
    if (queues->whole != NULL && !queues->whole_held && queues->busy_slots == 0) {
        queues->whole_held = true;
        make_ready(queues, queues->whole);
    }
}

static void leave_lines(struct slot_queues *queues, struct loan_part *part)
{
    for (uint32_t i = 0; i < part->count; i++) {
        struct part_ref *ref = &part->refs[i];
        struct slot_line *line = &queues->lines[ref->slot];
        assert(line->first == ref);
        line->first = ref->next;
        if (ref->next == NULL) {
            queues->busy[ref->slot / 64] &= ~((uint64_t)1 << (ref->slot % 64));
            queues->busy_slots--;
        } else if (--ref->next->part->pending == 0) {
            make_ready(queues, ref->next->part);
        }
    }
    whole_may_start(queues);
}

void queues_leave(struct worker *worker, struct loan_part *part)
{
    struct slot_queues *queues = worker->queues;

    if (!part->whole) {
        leave_lines(queues, part);
        return;
    }
    assert(queues->whole == part && queues->whole_held);
    queues->whole = NULL;
    queues->whole_held = false;
    /* The line behind it goes on in the order of arrival, up to the next whole loan. */
    while (queues->behind_first != NULL && queues->whole == NULL) {
        struct loan_part *next = queues->behind_first;
        queues->behind_first = next->next;
        if (queues_enter(worker, next))
            make_ready(queues, next);
    }
}
