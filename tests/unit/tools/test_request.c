#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pollux-bench/request.h"

static struct request *made(const struct request_options *options, const char *mix)
{
    struct request *request = malloc(sizeof(*request));

    cr_assert_not_null(request);
    cr_assert_eq(request_init(request, options, mix), 0);
    return request;
}

static struct request_options plain(const char *value_len)
{
    struct request_options options = {.format = {.prefix = "k:", .len_bytes = 6},
                                      .multi = 2,
                                      .seed = 1};

    cr_assert_eq(request_sizes_parse(&options.sizes, value_len), 0);
    return options;
}

static void expect(struct request *request, const struct key_pick *pick, const char *text)
{
    char out[4096];
    uint32_t len = request_append(request, pick, out);

    cr_assert_leq(len, request->longest_bytes);
    cr_assert_eq(len, strlen(text), "%.*s", (int)len, out);
    cr_assert_arr_eq(out, text, len, "%.*s", (int)len, out);
}

static void unmake(struct request *request)
{
    request_fini(request);
    free(request);
}

Test(request, writes_commands_in_the_order_of_the_mix)
{
    struct request_options options = plain("3");
    struct request *request = made(&options, "get=2,set,ping");
    struct key_pick pick = {.count = 1};

    for (int turn = 0; turn < 3; turn++) {
        expect(request, &pick, "*2\r\n$3\r\nGET\r\n$6\r\nk:0000\r\n");
        expect(request, &pick, "*2\r\n$3\r\nGET\r\n$6\r\nk:0000\r\n");
        expect(request, &pick, "*3\r\n$3\r\nSET\r\n$6\r\nk:0000\r\n$3\r\nvvv\r\n");
        expect(request, &pick, "*1\r\n$4\r\nPING\r\n");
    }
    unmake(request);
}

Test(request, keys_come_from_the_list)
{
    static const uint32_t list[] = {4321};
    struct request_options options = plain("0");
    struct request *request = made(&options, "mset");
    struct key_pick pick = {.list = list, .count = 1};

    expect(request, &pick,
           "*5\r\n$4\r\nMSET\r\n$6\r\nk:4321\r\n$0\r\n\r\n$6\r\nk:4321\r\n$0\r\n\r\n");
    unmake(request);
}

Test(request, sets_a_key_by_its_number_with_a_deadline)
{
    struct request_options options = plain("1");
    char out[256];

    options.ttl_s = 60;
    struct request *request = made(&options, "setnew");
    uint32_t len = request_append_set(request, 12, out);
    static const char text[] =
        "*5\r\n$3\r\nSET\r\n$6\r\nk:0012\r\n$1\r\nv\r\n$2\r\nEX\r\n$2\r\n60\r\n";
    cr_assert_eq(len, sizeof(text) - 1);
    cr_assert_arr_eq(out, text, len);
    unmake(request);
}

Test(request, sizes_are_drawn_by_weight)
{
    struct request_options options = plain("1=9,10=1");
    struct request *request = made(&options, "set");
    struct key_pick pick = {.count = 10};
    char out[256];
    int longer = 0;

    for (int i = 0; i < 10000; i++)
        longer += request_append(request, &pick, out) == request->longest_bytes;
    cr_assert(longer > 850 && longer < 1150, "%d", longer);
    unmake(request);
}

Test(request, sizes_read_lists_and_ranges)
{
    struct request_sizes sizes;

    cr_assert_eq(request_sizes_parse(&sizes, "64"), 0);
    cr_assert(sizes.count == 1 && sizes.list[0].bytes == 64 && sizes.total == 1);
    cr_assert_eq(request_sizes_parse(&sizes, "10-12"), 0);
    cr_assert(sizes.count == 3 && sizes.list[0].bytes == 10 && sizes.list[2].bytes == 12);
    cr_assert_eq(request_sizes_parse(&sizes, "0-1000000"), 0);
    cr_assert(sizes.count == REQUEST_SIZES_MAX &&
              sizes.list[REQUEST_SIZES_MAX - 1].bytes == 1000000);
}

Test(request, sizes_refuse_other_text)
{
    static const char *const texts[] = {"",        "x",       "-1",
                                        "1=",      "1=0",     "1,",
                                        ",1",      "1=2=3",   "5-5",
                                        "9-1",     "1 2",     "1-",
                                        "1048577", "1-2,3-4", "1=99999999999999999999"};
    struct request_sizes sizes;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_lt(request_sizes_parse(&sizes, texts[i]), 0, "%s", texts[i]);
}

Test(request, a_seed_draws_the_same_keys_again)
{
    struct request_options options = plain("1");
    struct key_pick pick = {.count = 10000};
    char first[2][256];

    for (int turn = 0; turn < 2; turn++) {
        struct request *request = made(&options, "get");
        for (int i = 0; i < 8; i++)
            request_append(request, &pick, first[turn] + 25 * i);
        unmake(request);
    }
    cr_assert_arr_eq(first[0], first[1], 25 * 8);
    cr_assert_neq(memcmp(first[0], first[0] + 25, 25), 0);
}
