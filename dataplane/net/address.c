#include "dataplane/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static uint32_t v4_number(const struct net_address *address)
{
    return __builtin_bswap32(address->words[3]);
}

bool net_address_is_unspecified(const struct net_address *address)
{
    if (net_address_is_v4(address))
        return address->words[3] == 0;
    return (address->words[0] | address->words[1] | address->words[2] | address->words[3]) == 0;
}

bool net_address_is_multicast(const struct net_address *address)
{
    if (net_address_is_v4(address))
        return v4_number(address) >> 28 == 0xe;
    return address->bytes[0] == 0xff;
}

bool net_address_is_loopback(const struct net_address *address)
{
    if (net_address_is_v4(address))
        return address->bytes[12] == 127;
    return (address->words[0] | address->words[1] | address->words[2]) == 0 &&
           address->words[3] == __builtin_bswap32(1);
}

bool net_address_is_link_local(const struct net_address *address)
{
    if (net_address_is_v4(address))
        return v4_number(address) >> 16 == 0xa9fe;
    return address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

bool net_address_is_unicast(const struct net_address *address)
{
    if (net_address_is_v4(address)) {
        uint8_t first = address->bytes[12];

        return first != 0 && first != 127 && first < 224;
    }
    return !net_address_is_multicast(address) && !net_address_is_unspecified(address) &&
           !net_address_is_loopback(address);
}

bool net_address_in(const struct net_address *address, const struct net_prefix *prefix)
{
    unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;

    if (memcmp(address->bytes, prefix->address.bytes, whole) != 0)
        return false;
    return rest == 0 ||
           ((address->bytes[whole] ^ prefix->address.bytes[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

bool net_address_is_broadcast(const struct net_address *address, const struct net_prefix *prefix)
{
    uint32_t host;

    /* RFC 3021: a /31 has no broadcast, and a /32 is one host. */
    if (!net_address_is_v4(&prefix->address) || prefix->bits < 96 || prefix->bits > 126 ||
        !net_address_in(address, prefix))
        return false;
    host = prefix->bits == 96 ? UINT32_MAX : UINT32_MAX >> (prefix->bits - 96);
    return (v4_number(address) & host) == host || (v4_number(address) & host) == 0;
}

struct net_address net_address_solicited(const struct net_address *address)
{
    struct net_address group = {
        .bytes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff, 0, 0, 0}};

    memcpy(group.bytes + 13, address->bytes + 13, 3);
    return group;
}

void net_address_multicast_mac(const struct net_address *address, uint8_t mac[6])
{
    mac[0] = 0x33;
    mac[1] = 0x33;
    memcpy(mac + 2, address->bytes + 12, 4);
}

int net_address_parse(const char *text, struct net_address *address)
{
    uint8_t bytes[16];

    if (inet_pton(AF_INET, text, bytes) == 1)
        *address = net_address_v4(bytes);
    else if (inet_pton(AF_INET6, text, bytes) == 1)
        *address = net_address_v6(bytes);
    else
        return -EINVAL;
    return 0;
}

/* One to three digits, at most `most`; anything else is -EINVAL. */
static int small_number(const char *text, unsigned most)
{
    unsigned value = 0, digits = 0;

    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 4; digits++)
        value = value * 10 + (unsigned)(text[digits] - '0');
    return digits > 0 && digits < 4 && text[digits] == '\0' && value <= most ? (int)value : -EINVAL;
}

int net_prefix_parse(const char *text, struct net_prefix *prefix)
{
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char address[NET_ADDRESS_TEXT];
    struct net_prefix parsed;
    int bits = 128;
    bool v4;

    if (len >= sizeof(address))
        return -EINVAL;
    memcpy(address, text, len);
    address[len] = '\0';
    if (net_address_parse(address, &parsed.address) < 0)
        return -EINVAL;
    v4 = memchr(address, ':', len) == NULL;
    if (slash != NULL) {
        bits = small_number(slash + 1, v4 ? 32 : 128);
        if (bits < 0)
            return -EINVAL;
        bits += v4 ? 96 : 0;
    }
    parsed.bits = (uint8_t)bits;
    *prefix = parsed;
    return 0;
}

char *net_address_format(const struct net_address *address, char *text, size_t size)
{
    char whole[INET6_ADDRSTRLEN];
    bool v4 = net_address_is_v4(address);

    /* Neither family has a form that does not fit. */
    if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? net_address_v4_bytes(address) : address->bytes,
                  whole, sizeof(whole)) == NULL)
        whole[0] = '\0';
    if (size > 0)
        snprintf(text, size, "%s", whole);
    return text;
}

char *net_endpoint_format(const struct net_endpoint *endpoint, char *text, size_t size)
{
    char address[NET_ADDRESS_TEXT];
    bool v4 = net_address_is_v4(&endpoint->address);

    net_address_format(&endpoint->address, address, sizeof(address));
    if (size > 0)
        snprintf(text, size, v4 ? "%s:%u" : "[%s]:%u", address, endpoint->port);
    return text;
}
