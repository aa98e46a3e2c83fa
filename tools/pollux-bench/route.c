#include "tools/pollux-bench/route.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "tools/pollux-bench/ask.h"

static const char ROUTE_QUESTION[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";

uint32_t route_slot(const char *key, uint32_t len_bytes)
{
    uint32_t crc = 0;
    const char *open = memchr(key, '{', len_bytes);

    if (open != NULL) {
        const char *tag = open + 1;
        const char *close = memchr(tag, '}', (size_t)(key + len_bytes - tag));
        if (close != NULL && close > tag) {
            len_bytes = (uint32_t)(close - tag);
            key = tag;
        }
    }
    for (uint32_t i = 0; i < len_bytes; i++) {
        crc ^= (uint32_t)(unsigned char)key[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
        crc &= 0xffff;
    }
    return crc % ROUTE_SLOTS;
}

/* A host with a slash is the path of a UNIX socket. */
static int route_resolve_path(struct transport_address *address, const char *path)
{
    struct sockaddr_un *name = (struct sockaddr_un *)&address->storage;

    if (strlen(path) >= sizeof(name->sun_path))
        return -ENAMETOOLONG;
    name->sun_family = AF_UNIX;
    strcpy(name->sun_path, path);
    address->len = sizeof(*name);
    return 0;
}

static int route_resolve(struct route *route, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;

    if (strchr(host, '/') != NULL)
        return route_resolve_path(&route->address, host);
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -EHOSTUNREACH;
    memcpy(&route->address.storage, found->ai_addr, found->ai_addrlen);
    route->address.len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* The index of the route to an address, which is added if it is new. */
static int route_index(struct routes *routes, const char *host, int64_t port)
{
    struct route wanted = {0};
    char port_text[24];

    if (port <= 0 || port > 65535)
        return -EPROTO;
    snprintf(port_text, sizeof(port_text), "%d", (int)port);
    int status = route_resolve(&wanted, host, port_text);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < routes->count; i++) {
        if (memcmp(&routes->list[i].address, &wanted.address, sizeof(wanted.address)) == 0)
            return (int)i;
    }
    if (routes->count == ROUTES_MAX)
        return -E2BIG;
    routes->list[routes->count] = wanted;
    return (int)routes->count++;
}

/* One range of CLUSTER SLOTS: first slot, last slot, [host, port, ...], replicas. */
static int route_range(struct routes *routes, struct ask_cursor *cursor, const char *host,
                       int16_t *owner)
{
    char name[KEY_LEN_MAX];
    int64_t parts = ask_number(cursor, '*');
    int64_t first = ask_number(cursor, ':');
    int64_t last = ask_number(cursor, ':');
    int64_t node_parts = ask_number(cursor, '*');

    if (parts < 3 || first < 0 || last < first || last >= ROUTE_SLOTS || node_parts < 2 ||
        ask_bulk(cursor, name, sizeof(name)) < 0)
        return -EPROTO;
    int64_t port = ask_number(cursor, ':');
    int index = route_index(routes, name[0] != '\0' ? name : host, port);
    if (index < 0)
        return index;
    for (int64_t slot = first; slot <= last; slot++)
        owner[slot] = (int16_t)index;
    return ask_skip(cursor, node_parts - 2 + parts - 3);
}

/* Fills owner[slot] with route indices; -1 for slots that nobody serves. */
static int route_slots(struct routes *routes, struct transport *transport, const char *host,
                       const char *port, int16_t *owner)
{
    struct route entry = {0};
    char *buffer = malloc(ASK_REPLY_MAX);
    int status = buffer == NULL ? -ENOMEM : route_resolve(&entry, host, port);

    for (int slot = 0; slot < ROUTE_SLOTS; slot++)
        owner[slot] = -1;
    if (status == 0) {
        int64_t len = ask_server(transport, &entry.address, ROUTE_QUESTION, buffer, ASK_REPLY_MAX);
        struct ask_cursor cursor = {buffer, buffer + (len < 0 ? 0 : len)};
        int64_t ranges = len < 0 ? len : ask_number(&cursor, '*');
        status = ranges < 0 ? (int)ranges : 0;
        for (int64_t i = 0; i < ranges && status == 0; i++)
            status = route_range(routes, &cursor, host, owner);
    }
    free(buffer);
    return status;
}

/* Deals every key (or group) number to the route of its slot: first counted, then listed. */
static int route_deal(struct routes *routes, const struct key_format *format, uint64_t numbers,
                      const int16_t *owner)
{
    char key[KEY_LEN_MAX];
    uint32_t step = format->group > 0 ? format->group : 1;

    for (int listing = 0; listing < 2; listing++) {
        for (uint32_t i = 0; listing && i < routes->count; i++) {
            struct route *route = &routes->list[i];
            route->numbers = malloc((route->pick.count + 1) * sizeof(*route->numbers));
            if (route->numbers == NULL)
                return -ENOMEM;
            route->pick = (struct key_pick){.list = route->numbers};
        }
        for (uint64_t number = 0; number < numbers; number++) {
            key_format_write(format, number * step, key);
            int index = owner[route_slot(key, format->len_bytes)];
            if (index < 0)
                return -ENOENT;
            struct route *route = &routes->list[index];
            if (listing)
                route->numbers[route->pick.count] = (uint32_t)number;
            route->pick.count++;
        }
    }
    return 0;
}

static uint64_t route_numbers(const struct key_format *format, uint64_t keys)
{
    return format->group > 0 ? keys / format->group : keys;
}

int routes_init_single(struct routes *routes, const char *host, const char *port,
                       const struct key_format *format, uint64_t keys)
{
    *routes = (struct routes){.list = calloc(1, sizeof(struct route)), .count = 1};
    if (routes->list == NULL)
        return -ENOMEM;
    routes->list[0].pick.count = route_numbers(format, keys);
    int status = route_resolve(&routes->list[0], host, port);
    if (status < 0)
        routes_fini(routes);
    return status;
}

int routes_init_cluster(struct routes *routes, struct transport *transport, const char *host,
                        const char *port, const struct key_format *format, uint64_t keys)
{
    int16_t *owner = malloc(ROUTE_SLOTS * sizeof(*owner));

    *routes = (struct routes){.list = calloc(ROUTES_MAX, sizeof(struct route))};
    int status = owner == NULL || routes->list == NULL ? -ENOMEM : 0;
    if (status == 0 && keys > ROUTE_KEYS_MAX)
        status = -E2BIG;
    if (status == 0)
        status = route_slots(routes, transport, host, port, owner);
    if (status == 0 && routes->count == 0)
        status = -ENOENT;
    if (status == 0)
        status = route_deal(routes, format, route_numbers(format, keys), owner);
    free(owner);
    if (status < 0)
        routes_fini(routes);
    return status;
}

int routes_init_split(struct routes *routes, const char *host, const char *port,
                      const struct key_format *format, uint64_t keys, uint32_t parts)
{
    int16_t *owner = malloc(ROUTE_SLOTS * sizeof(*owner));

    *routes = (struct routes){.list = calloc(ROUTES_MAX, sizeof(struct route)), .count = parts};
    int status = owner == NULL || routes->list == NULL ? -ENOMEM : 0;
    if (status == 0 && (keys > ROUTE_KEYS_MAX || parts > ROUTES_MAX))
        status = -E2BIG;
    for (uint32_t i = 0; status == 0 && i < parts; i++)
        status = route_resolve(&routes->list[i], host, port);
    for (uint32_t slot = 0; status == 0 && slot < ROUTE_SLOTS; slot++)
        owner[slot] = (int16_t)(slot * parts / ROUTE_SLOTS);
    if (status == 0)
        status = route_deal(routes, format, route_numbers(format, keys), owner);
    free(owner);
    if (status < 0)
        routes_fini(routes);
    return status;
}

void routes_set_zipf(struct routes *routes, double exponent)
{
    for (uint32_t i = 0; i < routes->count; i++) {
        if (routes->list[i].pick.count > 0)
            zipf_init(&routes->list[i].pick.zipf, routes->list[i].pick.count, exponent);
    }
}

void routes_fini(struct routes *routes)
{
    for (uint32_t i = 0; routes->list != NULL && i < routes->count; i++)
        free(routes->list[i].numbers);
    free(routes->list);
    *routes = (struct routes){0};
}
