#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/client/input.h"

TestSuite(input);

static void append(struct bytes *input, const char *text, size_t want_bytes)
{
    cr_assert_eq(input_append(input, text, strlen(text), want_bytes), 0);
}

static void holds(const struct bytes *input, const char *text)
{
    cr_assert_eq(input_len(input), strlen(text));
    cr_assert_arr_eq(input->data + input->start, text, strlen(text));
}

Test(input, grows_and_is_consumed_from_the_front)
{
    struct bytes input = {0};

    append(&input, "hello ", 0);
    append(&input, "world", 0);
    holds(&input, "hello world");
    input_consume(&input, 6);
    holds(&input, "world");
    append(&input, "!", 0);
    holds(&input, "world!");
    input_free(&input);
    cr_assert_null(input.data);
}

Test(input, gives_its_memory_back_when_it_is_empty)
{
    struct bytes input = {0};

    append(&input, "bytes", 0);
    input_consume(&input, 5);
    cr_assert_null(input.data);
    cr_assert_eq(input.capacity, 0);
    append(&input, "more", 0);
    holds(&input, "more");
    input_free(&input);
}

Test(input, room_at_the_front_is_used_before_it_grows)
{
    struct bytes input = {0};
    char block[1024];

    memset(block, 'x', sizeof block);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(input_append(&input, block, sizeof block, 0), 0);
    size_t capacity = input.capacity;
    for (int i = 0; i < 100; i++) {
        input_consume(&input, sizeof block);
        cr_assert_eq(input_append(&input, block, sizeof block, 0), 0);
    }
    cr_assert_eq(input.capacity, capacity);
    cr_assert_eq(input_len(&input), 4 * sizeof block);
    input_free(&input);
}

/* A length that a client only claims reserves nothing; one of which a good part has come does. */
Test(input, a_claimed_length_counts_only_when_much_of_it_is_here)
{
    struct bytes input = {0};
    char block[64 * 1024];

    memset(block, 'x', sizeof block);
    append(&input, "*3", 512 * 1024 * 1024);
    cr_assert_leq(input.capacity, 8192);
    cr_assert_eq(input_append(&input, block, sizeof block, 150 * 1024), 0);
    cr_assert_eq(input.capacity, 150 * 1024);
    input_free(&input);
}
