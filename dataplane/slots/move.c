#include "dataplane/slots/move.h"

#include <errno.h>

#include "dataplane/slots/queue.h"
#include "dataplane/worker.h"

int slot_move_held(struct worker *worker, uint16_t slot, uint32_t to)
{
    struct node *node = worker->node;

    if (node_owner(node, slot) != worker->index)
        return -ENOENT;
    if (to == worker->index)
        return 0;
    count_add(&worker->stats.slots_moved_out, 1);
    /* Many may give slots to one worker: the counter that is not its owner's alone. */
    atomic_fetch_add_explicit(&node->workers[to]->stats.slots_moved_in, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&node->config_epoch, 1, memory_order_relaxed);
    atomic_store_explicit(&node->owner[slot], (uint8_t)to, memory_order_release);
    return 0;
}

int slot_move(struct worker *worker, uint16_t slot, uint32_t to)
{
    if (node_owner(worker->node, slot) == worker->index && slots_busy(worker, slot))
        return -EBUSY;
    return slot_move_held(worker, slot, to);
}
