/* TCP options: read without a byte too far; what was read, written again, is read the same. Input:
 * one byte whose low bit says whether they stand in a SYN, then the list. */
#include "dataplane/net/options.h"

#include <stdlib.h>

static void need(bool holds)
{
    if (!holds)
        abort();
}

static bool same(const struct tcp_options *a, const struct tcp_options *b)
{
    uint8_t present = a->present;
    bool equal = present == b->present;

    if (present & TCP_OPTION_MSS)
        equal &= a->mss == b->mss;
    if (present & TCP_OPTION_WINDOW_SCALE)
        equal &= a->window_scale == b->window_scale;
    if (present & TCP_OPTION_TIMESTAMPS)
        equal &= a->ts_value == b->ts_value && a->ts_echo == b->ts_echo;
    if (present & TCP_OPTION_USER_TIMEOUT)
        equal &= a->user_timeout_s == b->user_timeout_s;
    /* Blocks that found no room are left out, the first ones stay. */
    if (present & TCP_OPTION_SACK)
        equal &= b->sack_count <= a->sack_count &&
                 memcmp(a->sack, b->sack, b->sack_count * sizeof(b->sack[0])) == 0;
    return equal;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tcp_options options, again;
    uint8_t written[TCP_OPTIONS_MAX];
    uint32_t value, echo;
    bool syn;
    unsigned len;

    if (size < 1 || size > 1 + TCP_OPTIONS_MAX)
        return 0;
    syn = data[0] & 1;
    if (tcp_options_timestamps_only(data + 1, (unsigned)size - 1, &value, &echo)) {
        need(tcp_options_parse(data + 1, (unsigned)size - 1, syn, &options));
        need(options.present == TCP_OPTION_TIMESTAMPS && options.ts_value == value &&
             options.ts_echo == echo);
    }
    if (!tcp_options_parse(data + 1, (unsigned)size - 1, syn, &options))
        return 0;
    need(options.sack_count <= TCP_SACK_BLOCKS_MAX);
    len = tcp_options_write(written, &options);
    need(len == tcp_options_len(&options) && len <= TCP_OPTIONS_MAX && len % 4 == 0);
    need(tcp_options_parse(written, len, syn, &again));
    need(same(&options, &again));
    return 0;
}
