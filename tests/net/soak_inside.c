#include "tests/net/soak_inside.h"

#include "dataplane/net/net_inside.h"

uint32_t soak_sequence(const struct net *net, const struct net_flow *flow, uint64_t now_us)
{
    return isn_sequence(&net->isn, flow, now_us);
}

uint32_t soak_timestamp(const struct net *net, const struct net_flow *flow, uint64_t now_us)
{
    return (uint32_t)(now_us / 1000) + isn_timestamp_offset(&net->isn, flow);
}

const char *soak_left(const struct net *net, uint64_t *left)
{
    const struct {
        const char *name;
        uint64_t left;
    } counts[] = {
        {"connections", net->conn_count},
        {"flows", net->flows.used},
        {"half-open connections", net->syncache.used},
        {"flows of half-open connections", net->syncache.flows.used},
        {"connections in TIME-WAIT", net->timewait.used},
        {"flows in TIME-WAIT", net->timewait.flows.used},
        {"timers", net->timers.armed},
        {"pieces of send queues", net->sendpool.pieces},
        {"segments in limbo", net->sendpool.limbo != NULL},
        {"packets out of order", net->out_of_order_packets},
        {"frames to send", net->tx_count},
        {"connections that wait for a MAC", net->connects_waiting},
        {"lists with a connection",
         (net->ready != NULL) + (net->dirty != NULL) + (net->dying != NULL)},
        {"deadlines", net_next_deadline_us(net) != UINT64_MAX},
    };

    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        *left = counts[i].left;
        if (*left != 0)
            return counts[i].name;
    }
    return NULL;
}

unsigned soak_growing(const struct net *net)
{
    return net->flows.old.buckets != NULL;
}
