#include "dataplane/net/neighbours.h"

#include <stdlib.h>
#include <string.h>

struct neighbours {
    unsigned count, route_count;
    const struct neighbours_route *routes;
    struct neighbour items[]; /* by address; the routes stand behind them */
};

static int compare(const void *a, const void *b)
{
    return memcmp(((const struct neighbour *)a)->address.bytes,
                  ((const struct neighbour *)b)->address.bytes, sizeof(struct net_address));
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct neighbour *find(struct neighbours_table *table, const struct net_address *address)
{
    for (unsigned i = 0; i < table->count; i++)
        if (net_address_equal(&table->items[i].address, address))
            return &table->items[i];
    return NULL;
}

bool neighbours_put(struct neighbours_table *table, const struct neighbour *neighbour)
{
    struct neighbour *known = find(table, &neighbour->address);

    if (known != NULL && memcmp(known->mac, neighbour->mac, sizeof known->mac) == 0)
        return false;
    if (known == NULL && table->count == NEIGHBOURS_MAX) {
        table->refused++;
        return false;
    }
    if (known == NULL)
        known = &table->items[table->count++];
    *known = *neighbour;
    return true;
}

bool neighbours_remove(struct neighbours_table *table, const struct net_address *address)
{
    struct neighbour *known = find(table, address);

    if (known == NULL)
        return false;
    *known = table->items[--table->count];
    return true;
}

static struct neighbours_route *find_route(struct neighbours_table *table,
                                           const struct neighbours_route *route)
{
    for (unsigned i = 0; i < table->route_count; i++) {
        struct neighbours_route *other = &table->routes[i];
        if (other->prefix.bits == route->prefix.bits && other->metric == route->metric &&
            net_address_equal(&other->prefix.address, &route->prefix.address))
            return other;
    }
    return NULL;
}

bool neighbours_put_route(struct neighbours_table *table, const struct neighbours_route *route)
{
    struct neighbours_route *known = find_route(table, route);

    if (known != NULL && net_address_equal(&known->gateway, &route->gateway))
        return false;
    if (known == NULL && table->route_count == NEIGHBOURS_ROUTES_MAX) {
        table->refused++;
        return false;
    }
    if (known == NULL)
        known = &table->routes[table->route_count++];
    *known = *route;
    return true;
}

bool neighbours_remove_route(struct neighbours_table *table, const struct neighbours_route *route)
{
    struct neighbours_route *known = find_route(table, route);

    if (known == NULL || !net_address_equal(&known->gateway, &route->gateway))
        return false;
    *known = table->routes[--table->route_count];
    return true;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

struct neighbours *neighbours_snapshot(const struct neighbours_table *table)
{
    size_t items = table->count * sizeof *table->items;
    size_t routes = table->route_count * sizeof *table->routes;
    struct neighbours *made = malloc(sizeof *made + items + routes + _Alignof(uint64_t));

    if (made == NULL)
        return NULL;
    size_t behind = (items + _Alignof(uint64_t) - 1) & ~(_Alignof(uint64_t) - 1);
    struct neighbours_route *copies = (void *)((char *)made->items + behind);
    made->count = table->count;
    made->route_count = table->route_count;
    made->routes = copies;
    memcpy(made->items, table->items, items);
    memcpy(copies, table->routes, routes);
    qsort(made->items, made->count, sizeof *made->items, compare);
    return made;
}

/* The longest prefix, and of those the least metric. */
static const struct neighbours_route *route_of(const struct neighbours *neighbours,
                                               const struct net_address *to)
{
    const struct neighbours_route *best = NULL;
    bool v4 = net_address_is_v4(to);

    for (unsigned i = 0; i < neighbours->route_count; i++) {
        const struct neighbours_route *route = &neighbours->routes[i];
        /* ::/0 is no way for IPv4, though its addresses are written within IPv6's. */
        if (net_address_is_v4(&route->prefix.address) != v4 || !net_address_in(to, &route->prefix))
            continue;
        if (best == NULL || route->prefix.bits > best->prefix.bits ||
            (route->prefix.bits == best->prefix.bits && route->metric < best->metric))
            best = route;
    }
    return best;
}

enum neighbours_found neighbours_find(const struct neighbours *neighbours,
                                      const struct net_address *to, uint8_t mac[6],
                                      struct net_address *hop)
{
    static const struct net_address nowhere;
    const struct neighbours_route *route = route_of(neighbours, to);

    if (route == NULL)
        return NEIGHBOURS_NO_WAY;
    struct neighbour wanted = {
        .address = net_address_equal(&route->gateway, &nowhere) ? *to : route->gateway};
    const struct neighbour *known =
        bsearch(&wanted, neighbours->items, neighbours->count, sizeof wanted, compare);
    *hop = wanted.address;
    if (known == NULL)
        return NEIGHBOURS_UNKNOWN;
    memcpy(mac, known->mac, sizeof known->mac);
    return NEIGHBOURS_FOUND;
}
