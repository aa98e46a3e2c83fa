/* TCP options: examples from the RFCs, everything that a hostile list can be, and a model that
 * reads the same list in another way. */
#include <criterion/criterion.h>

#include "dataplane/net/options.h"
#include "tests/unit/dataplane/seed.h"

static struct tcp_options parsed;

/* The list lies at the end of a block of its own, so that ASan sees a byte too far. */
static bool parse(const uint8_t *bytes, unsigned len, bool syn)
{
    uint8_t *exact = calloc(1, len > 0 ? len : 1);
    bool good;

    memcpy(exact, bytes, len);
    memset(&parsed, 0xee, sizeof(parsed));
    good = tcp_options_parse(exact, len, syn, &parsed);
    free(exact);
    return good;
}

#define PARSE(syn, ...)                                                                            \
    parse((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), syn)

Test(options, of_a_usual_syn)
{
    /* mss 1460, sackOK, TS 0x01020304 0, nop, wscale 7 */
    cr_assert(PARSE(true, 2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7));
    cr_assert_eq(parsed.present, TCP_OPTION_MSS | TCP_OPTION_SACK_PERMITTED |
                                     TCP_OPTION_TIMESTAMPS | TCP_OPTION_WINDOW_SCALE);
    cr_assert_eq(parsed.mss, 1460);
    cr_assert_eq(parsed.window_scale, 7);
    cr_assert_eq(parsed.ts_value, 0x01020304);
    cr_assert_eq(parsed.ts_echo, 0);
}

Test(options, of_a_duplicate_ack_with_sack)
{
    cr_assert(PARSE(false, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 18, 0, 0, 0, 10, 0, 0, 0,
                    20, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 5));
    cr_assert_eq(parsed.present, TCP_OPTION_TIMESTAMPS | TCP_OPTION_SACK);
    cr_assert_eq(parsed.sack_count, 2);
    cr_assert_eq(parsed.sack[0].left, 10);
    cr_assert_eq(parsed.sack[0].right, 20);
    cr_assert_eq(parsed.sack[1].left, 0xfffffff0);
    cr_assert_eq(parsed.sack[1].right, 5);
}

Test(options, four_blocks_of_sack_are_the_most)
{
    uint8_t bytes[40] = {1, 1, 5, 34};

    cr_assert(parse(bytes, 36, false));
    cr_assert_eq(parsed.sack_count, 4);
    bytes[3] = 35; /* not a number of whole blocks */
    cr_assert(parse(bytes, 37, false));
    cr_assert_eq(parsed.present, 0);
    bytes[3] = 2;
    cr_assert(parse(bytes, 4, false));
    cr_assert_eq(parsed.present, 0);
}

Test(options, of_no_list_are_none)
{
    cr_assert(parse((const uint8_t *)"", 0, true));
    cr_assert_eq(parsed.present, 0);
    cr_assert_eq(parsed.sack_count, 0);
}

/* RFC 9293 section 3.1, MUST-7: a length of 0 or 1 would never end, or run backwards. */
Test(options, of_impossible_length_make_the_list_malformed)
{
    cr_assert_not(PARSE(true, 2, 0, 5, 0xb4));
    cr_assert_not(PARSE(true, 2, 1, 5, 0xb4));
    cr_assert_not(PARSE(false, 99, 0, 0, 0));
    cr_assert_not(PARSE(false, 1, 1, 1, 8));
    cr_assert_not(PARSE(false, 8, 10, 0, 0, 0, 1, 0, 0, 0));
    cr_assert_not(PARSE(true, 2, 5, 5, 0xb4));
    cr_assert_not(PARSE(true, 3, 255, 7, 0));
    cr_assert_not(PARSE(false, 5, 10, 0, 0));
}

Test(options, end_at_the_end_of_list)
{
    cr_assert(PARSE(true, 2, 4, 5, 0xb4, 0, 2, 4, 1));
    cr_assert_eq(parsed.mss, 1460);
    cr_assert(PARSE(true, 0, 0, 0, 0));
    cr_assert_eq(parsed.present, 0);
}

Test(options, unknown_ones_are_skipped)
{
    cr_assert(PARSE(true, 254, 6, 0xf9, 0x89, 2, 4, 34, 2, 2, 4, 2, 0x18, 19, 4, 0, 0));
    cr_assert_eq(parsed.present, TCP_OPTION_MSS);
    cr_assert_eq(parsed.mss, 0x218);
}

Test(options, of_the_wrong_length_are_skipped)
{
    cr_assert(PARSE(true, 2, 3, 5, 3, 4, 1, 2, 4, 3, 1, 8, 9, 0, 0, 0, 0, 0, 0, 0, 28, 3, 1));
    cr_assert_eq(parsed.present, 0);
}

Test(options, of_a_syn_mean_nothing_later_and_sack_nothing_in_a_syn)
{
    cr_assert(PARSE(false, 2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7));
    cr_assert_eq(parsed.present, 0);
    cr_assert(PARSE(true, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2));
    cr_assert_eq(parsed.present, 0);
}

/* RFC 7323 section 2.3 */
Test(options, a_window_scale_above_14_is_14)
{
    cr_assert(PARSE(true, 3, 3, 15));
    cr_assert_eq(parsed.window_scale, 14);
    cr_assert(PARSE(true, 3, 3, 255));
    cr_assert_eq(parsed.window_scale, 14);
    cr_assert(PARSE(true, 3, 3, 14));
    cr_assert_eq(parsed.window_scale, 14);
}

Test(options, the_last_of_two_counts)
{
    cr_assert(PARSE(true, 2, 4, 1, 0, 2, 4, 2, 0));
    cr_assert_eq(parsed.mss, 0x200);
}

/* RFC 5482 section 3 */
Test(options, user_timeout_is_seconds_or_minutes)
{
    cr_assert(PARSE(false, 28, 4, 0x00, 0x3c));
    cr_assert_eq(parsed.user_timeout_s, 60);
    cr_assert(PARSE(true, 28, 4, 0x80, 0x05));
    cr_assert_eq(parsed.user_timeout_s, 300);
    cr_assert(PARSE(true, 28, 4, 0x80, 0x00));
    cr_assert_eq(parsed.present, 0);
}

Test(options, timestamps_alone_have_a_short_way)
{
    uint8_t bytes[12];
    uint32_t value, echo;

    tcp_options_write_timestamps(bytes, 0x80000001, 0xfedcba98);
    cr_assert(tcp_options_timestamps_only(bytes, 12, &value, &echo));
    cr_assert_eq(value, 0x80000001);
    cr_assert_eq(echo, 0xfedcba98);
    cr_assert(parse(bytes, 12, false));
    cr_assert_eq(parsed.ts_value, 0x80000001);
    cr_assert_eq(parsed.ts_echo, 0xfedcba98);
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] ^= 1;
        cr_assert_not(tcp_options_timestamps_only(bytes, 12, &value, &echo));
        bytes[i] ^= 1;
    }
    cr_assert_not(tcp_options_timestamps_only(bytes, 8, &value, &echo));
}

/* ---- writing ---- */

static struct tcp_options any_options(struct seed *seed)
{
    struct tcp_options options = {.present = (uint8_t)seed_below(seed, 64)};

    options.mss = (uint16_t)seed_next(seed);
    options.window_scale = (uint8_t)seed_below(seed, 15);
    options.ts_value = (uint32_t)seed_next(seed);
    options.ts_echo = (uint32_t)seed_next(seed);
    options.user_timeout_s = (uint32_t)seed_below(seed, 0x7fff) + 1;
    options.sack_count = (uint8_t)(1 + seed_below(seed, 4));
    for (unsigned i = 0; i < 4; i++)
        options.sack[i] = (struct tcp_sack){(uint32_t)seed_next(seed), (uint32_t)seed_next(seed)};
    return options;
}

/* What may stand in a SYN and what in other segments is written and read apart. */
Test(options, what_is_written_is_read)
{
    const uint8_t syn_only = TCP_OPTION_MSS | TCP_OPTION_WINDOW_SCALE | TCP_OPTION_SACK_PERMITTED;
    struct seed seed = seed_new(7323);

    for (unsigned round = 0; round < 5000; round++) {
        struct tcp_options options = any_options(&seed);
        bool syn = round % 2 == 0;
        uint8_t bytes[TCP_OPTIONS_MAX];
        unsigned len;

        options.present &= (uint8_t) ~(syn ? TCP_OPTION_SACK : syn_only);
        len = tcp_options_write(bytes, &options);
        cr_assert_eq(len, tcp_options_len(&options));
        cr_assert(len <= TCP_OPTIONS_MAX && len % 4 == 0);
        cr_assert(parse(bytes, len, syn));
        cr_assert_eq(parsed.present, options.present, "%x, not %x (seed %llu, round %u)",
                     parsed.present, options.present, (unsigned long long)seed.start, round);
        if (options.present & TCP_OPTION_MSS)
            cr_assert_eq(parsed.mss, options.mss);
        if (options.present & TCP_OPTION_WINDOW_SCALE)
            cr_assert_eq(parsed.window_scale, options.window_scale);
        if (options.present & TCP_OPTION_USER_TIMEOUT)
            cr_assert_eq(parsed.user_timeout_s, options.user_timeout_s);
        if (options.present & TCP_OPTION_TIMESTAMPS)
            cr_assert(parsed.ts_value == options.ts_value && parsed.ts_echo == options.ts_echo);
        if (options.present & TCP_OPTION_SACK) {
            cr_assert(parsed.sack_count <= options.sack_count);
            cr_assert_arr_eq(parsed.sack, options.sack, parsed.sack_count * sizeof(parsed.sack[0]));
        }
    }
}

Test(options, sack_takes_the_room_that_is_left)
{
    struct tcp_options options = {.present = TCP_OPTION_SACK, .sack_count = 4};

    cr_assert_eq(tcp_options_len(&options), 36);
    options.present |= TCP_OPTION_TIMESTAMPS;
    cr_assert_eq(tcp_options_len(&options), 40); /* three blocks */
    options.present |= TCP_OPTION_USER_TIMEOUT;
    cr_assert_eq(tcp_options_len(&options), 36); /* two */
}

Test(options, a_long_user_timeout_is_written_in_minutes)
{
    struct tcp_options options = {.present = TCP_OPTION_USER_TIMEOUT, .user_timeout_s = 40000};
    uint8_t bytes[TCP_OPTIONS_MAX];

    cr_assert(parse(bytes, tcp_options_write(bytes, &options), false));
    cr_assert_eq(parsed.user_timeout_s, 40000 / 60 * 60);
    options.user_timeout_s = UINT32_MAX;
    cr_assert(parse(bytes, tcp_options_write(bytes, &options), false));
    cr_assert_eq(parsed.user_timeout_s, 0x7fff * 60);
}

/* ---- against a model ---- */

/* Marks where each option begins, going by lengths alone; then looks at them from the back, so
 * that the first one met of a kind is the last one in the list. */
static bool model(const uint8_t *bytes, unsigned len, bool syn, struct tcp_options *want)
{
    bool begins[TCP_OPTIONS_MAX] = {false};
    unsigned at = 0;

    memset(want, 0, sizeof(*want));
    while (at < len && bytes[at] != 0) {
        if (bytes[at] == 1) {
            at++;
            continue;
        }
        if (at + 1 >= len || bytes[at + 1] < 2 || at + bytes[at + 1] > len)
            return false;
        begins[at] = true;
        at += bytes[at + 1];
    }
    for (unsigned i = len; i-- > 0;) {
        const uint8_t *o = bytes + i;

        if (!begins[i])
            continue;
        if (syn && o[0] == 2 && o[1] == 4 && !(want->present & TCP_OPTION_MSS)) {
            want->present |= TCP_OPTION_MSS;
            want->mss = (uint16_t)(o[2] * 256 + o[3]);
        } else if (syn && o[0] == 3 && o[1] == 3 && !(want->present & TCP_OPTION_WINDOW_SCALE)) {
            want->present |= TCP_OPTION_WINDOW_SCALE;
            want->window_scale = o[2] < 14 ? o[2] : 14;
        } else if (syn && o[0] == 4 && o[1] == 2) {
            want->present |= TCP_OPTION_SACK_PERMITTED;
        } else if (o[0] == 8 && o[1] == 10 && !(want->present & TCP_OPTION_TIMESTAMPS)) {
            want->present |= TCP_OPTION_TIMESTAMPS;
            for (unsigned b = 0; b < 4; b++) {
                want->ts_value = want->ts_value * 256 + o[2 + b];
                want->ts_echo = want->ts_echo * 256 + o[6 + b];
            }
        } else if (!syn && o[0] == 5 && o[1] > 2 && (o[1] - 2) % 8 == 0 &&
                   !(want->present & TCP_OPTION_SACK)) {
            want->present |= TCP_OPTION_SACK;
            want->sack_count = (uint8_t)((o[1] - 2) / 8);
        } else if (o[0] == 28 && o[1] == 4 && ((o[2] & 0x7f) | o[3]) != 0) {
            want->present |= TCP_OPTION_USER_TIMEOUT;
        }
    }
    return true;
}

Test(options, random_lists_are_read_as_the_model_does)
{
    static const uint8_t kinds[] = {0, 1, 1, 2, 3, 4, 5, 8, 28, 2, 3, 10, 18, 4, 26, 34, 99};
    struct seed seed = seed_new(9293);
    unsigned good = 0;

    for (unsigned round = 0; round < 200000; round++) {
        uint8_t bytes[TCP_OPTIONS_MAX];
        unsigned len = (unsigned)seed_below(&seed, 11) * 4;
        bool syn = seed_below(&seed, 2) != 0, want_good;
        struct tcp_options want;

        for (unsigned i = 0; i < len; i++)
            bytes[i] = seed_below(&seed, 8) == 0 ? (uint8_t)seed_next(&seed)
                                                 : kinds[seed_below(&seed, sizeof(kinds))];
        want_good = model(bytes, len, syn, &want);
        cr_assert_eq(parse(bytes, len, syn), want_good, "seed %llu round %u",
                     (unsigned long long)seed.start, round);
        if (!want_good)
            continue;
        good++;
        cr_assert_eq(parsed.present, want.present, "%x, not %x: seed %llu round %u", parsed.present,
                     want.present, (unsigned long long)seed.start, round);
        cr_assert_eq(parsed.sack_count, want.sack_count);
        cr_assert(!(want.present & TCP_OPTION_MSS) || parsed.mss == want.mss);
        cr_assert(!(want.present & TCP_OPTION_WINDOW_SCALE) ||
                  parsed.window_scale == want.window_scale);
        cr_assert(!(want.present & TCP_OPTION_TIMESTAMPS) ||
                  (parsed.ts_value == want.ts_value && parsed.ts_echo == want.ts_echo));
    }
    cr_assert_gt(good, 10000);
}
