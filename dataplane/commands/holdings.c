#include "dataplane/commands/holdings.h"

#include "dataplane/slots/job.h"
#include "dataplane/worker.h"

static bool job_holds(const struct job *job, uint16_t slot)
{
    for (uint32_t i = 0; job != NULL && i < job->part_count; i++)
        for (uint32_t k = 0; k < job->parts[i].count; k++)
            if (job->parts[i].refs[k].slot == slot)
                return true;
    return false;
}

struct holdings holdings_of_worker(const struct call *call, const struct keyspace *keyspace)
{
    struct holdings holdings = {0};

    if (call->session->port_worker != call->worker->index)
        return holdings; /* its slots are not to be read from here */
    for (int32_t slot = keyspace_next_slot(keyspace, 0); slot >= 0;
         slot = slot + 1 < SLOTS ? keyspace_next_slot(keyspace, slot + 1) : -1) {
        if (node_owner(call->node, (uint32_t)slot) != call->worker->index ||
            (slots_busy(call->worker, (uint16_t)slot) && !job_holds(call->job, (uint16_t)slot)))
            continue;
        holdings.keys += keyspace->slots[slot].table.used;
        holdings.expires += keyspace->slots[slot].expires;
    }
    return holdings;
}
