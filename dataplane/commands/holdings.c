#include "dataplane/commands/holdings.h"

#include "dataplane/worker.h"

struct holdings holdings_of_port(const struct call *call, const struct keyspace *keyspace)
{
    struct holdings holdings = {0};

    for (int32_t slot = keyspace_next_slot(keyspace, 0); slot >= 0;
         slot = slot + 1 < SLOTS ? keyspace_next_slot(keyspace, slot + 1) : -1) {
        const struct slot *held = &keyspace->slots[slot];

        if (node_owner(call->node, (uint32_t)slot) != call->session->port_worker)
            continue;
        holdings.keys += table_used(&held->table);
        holdings.expires += atomic_load_explicit(&held->expires, memory_order_relaxed);
    }
    return holdings;
}
