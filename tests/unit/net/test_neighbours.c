#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/neighbours.h"

static struct net_address address(const char *text)
{
    struct net_address parsed;

    cr_assert_eq(net_address_parse(text, &parsed), 0);
    return parsed;
}

static struct neighbours_route route(const char *prefix, const char *gateway, uint32_t metric)
{
    struct neighbours_route made = {.metric = metric};

    cr_assert_eq(net_prefix_parse(prefix, &made.prefix), 0);
    if (gateway != NULL)
        made.gateway = address(gateway);
    return made;
}

static bool put(struct neighbours_table *table, const char *text, uint8_t last)
{
    struct neighbour neighbour = {.address = address(text), .mac = {2, 0, 0, 0, 0, last}};

    return neighbours_put(table, &neighbour);
}

static bool put_route(struct neighbours_table *table, const char *prefix, const char *gateway,
                      uint32_t metric)
{
    struct neighbours_route made = route(prefix, gateway, metric);

    return neighbours_put_route(table, &made);
}

/* What a snapshot says of `to`; the last byte of the MAC at `*last`. */
static enum neighbours_found find(const struct neighbours_table *table, const char *to,
                                  uint8_t *last)
{
    struct neighbours *snapshot = neighbours_snapshot(table);
    struct net_address wanted = address(to), hop;
    uint8_t mac[6] = {0};
    enum neighbours_found found = neighbours_find(snapshot, &wanted, mac, &hop);

    *last = mac[5];
    free(snapshot);
    return found;
}

static struct neighbours_table *usual(void)
{
    struct neighbours_table *table = calloc(1, sizeof *table);

    cr_assert(put_route(table, "10.9.0.0/24", NULL, 0));
    cr_assert(put_route(table, "0.0.0.0/0", "10.9.0.254", 4096));
    cr_assert(put_route(table, "fd09::/64", NULL, 256));
    cr_assert(put(table, "10.9.0.254", 254));
    cr_assert(put(table, "10.9.0.7", 7));
    cr_assert(put(table, "fd09::5", 5));
    return table;
}

Test(neighbours, those_on_the_link_are_found_themselves_others_behind_the_router)
{
    struct neighbours_table *table = usual();
    uint8_t last;

    cr_assert_eq(find(table, "10.9.0.7", &last), NEIGHBOURS_FOUND);
    cr_assert_eq(last, 7);
    cr_assert_eq(find(table, "192.0.2.1", &last), NEIGHBOURS_FOUND);
    cr_assert_eq(last, 254);
    cr_assert_eq(find(table, "fd09::5", &last), NEIGHBOURS_FOUND);
    cr_assert_eq(last, 5);
    cr_assert_eq(find(table, "10.9.0.8", &last), NEIGHBOURS_UNKNOWN);
    free(table);
}

Test(neighbours, a_default_route_of_one_family_is_none_for_the_other)
{
    struct neighbours_table *table = usual();
    uint8_t last;

    cr_assert_eq(find(table, "2001:db8::1", &last), NEIGHBOURS_NO_WAY);
    struct neighbours_route gone = route("0.0.0.0/0", "10.9.0.254", 4096);
    cr_assert(neighbours_remove_route(table, &gone));
    cr_assert(put_route(table, "::/0", "fd09::5", 0));
    cr_assert_eq(find(table, "2001:db8::1", &last), NEIGHBOURS_FOUND);
    cr_assert_eq(last, 5);
    cr_assert_eq(find(table, "192.0.2.1", &last), NEIGHBOURS_NO_WAY);
    free(table);
}

Test(neighbours, the_longest_prefix_and_then_the_least_metric_count)
{
    struct neighbours_table *table = usual();
    uint8_t last;

    put_route(table, "192.0.2.0/24", "10.9.0.7", 9);
    cr_assert_eq(find(table, "192.0.2.1", &last), NEIGHBOURS_FOUND);
    cr_assert_eq(last, 7);
    put_route(table, "192.0.2.0/24", "10.9.0.254", 3);
    cr_assert_eq(find(table, "192.0.2.1", &last), NEIGHBOURS_FOUND);
    cr_assert_eq(last, 254);
    free(table);
}

Test(neighbours, changes_are_told_from_repetitions)
{
    struct neighbours_table *table = usual();
    struct net_address gone = address("10.9.0.7");
    uint8_t last;

    cr_assert_not(put(table, "10.9.0.7", 7));
    cr_assert(put(table, "10.9.0.7", 8));
    cr_assert_eq(find(table, "10.9.0.7", &last), NEIGHBOURS_FOUND);
    cr_assert_eq(last, 8);
    cr_assert(neighbours_remove(table, &gone));
    cr_assert_not(neighbours_remove(table, &gone));
    cr_assert_eq(find(table, "10.9.0.7", &last), NEIGHBOURS_UNKNOWN);
    cr_assert_not(put_route(table, "0.0.0.0/0", "10.9.0.254", 4096));
    cr_assert(put_route(table, "0.0.0.0/0", "10.9.0.7", 4096));
    cr_assert_eq(table->route_count, 3, "it took the place of the one before");
    struct neighbours_route old = route("0.0.0.0/0", "10.9.0.254", 4096);
    cr_assert_not(neighbours_remove_route(table, &old));
    free(table);
}

Test(neighbours, full_tables_refuse_and_count)
{
    struct neighbours_table *table = calloc(1, sizeof *table);
    struct neighbour neighbour = {.address = address("10.0.0.0")};
    struct neighbours_route made = route("10.0.0.0/32", NULL, 0);

    for (unsigned i = 0; i < NEIGHBOURS_MAX; i++) {
        neighbour.address.bytes[14] = (uint8_t)(i >> 8);
        neighbour.address.bytes[15] = (uint8_t)i;
        cr_assert(neighbours_put(table, &neighbour));
    }
    neighbour.address.bytes[13] = 1;
    cr_assert_not(neighbours_put(table, &neighbour));
    for (made.metric = 0; made.metric < NEIGHBOURS_ROUTES_MAX; made.metric++)
        cr_assert(neighbours_put_route(table, &made));
    cr_assert_not(neighbours_put_route(table, &made));
    cr_assert_eq(table->refused, 2);
    struct neighbours *snapshot = neighbours_snapshot(table);
    cr_assert_not_null(snapshot);
    free(snapshot);
    free(table);
}
