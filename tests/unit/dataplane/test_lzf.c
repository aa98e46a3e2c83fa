#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/persist/lzf.h"
#include "tests/unit/dataplane/seed.h"

static struct lzf_table table;

/* The format, read straight from its description. Returns the length, or -1. */
static long expand(const unsigned char *in, size_t len, unsigned char *out, size_t room)
{
    size_t at = 0, written = 0;

    while (at < len) {
        size_t control = in[at++];
        if (control < LZF_RUN_MAX) {
            size_t run = control + 1;
            if (at + run > len || written + run > room)
                return -1;
            memcpy(out + written, in + at, run);
            at += run;
            written += run;
            continue;
        }
        size_t length = control >> 5;
        if (length == 7 && at < len)
            length += in[at++];
        if (at == len)
            return -1;
        size_t back = ((control & 31) << 8 | in[at++]) + 1;
        if (back > written || written + length + 2 > room)
            return -1;
        for (length += 2; length > 0; length--, written++)
            out[written] = out[written - back];
    }
    return (long)written;
}

/* Of the text, repeated up to len bytes. */
static size_t packed(const char *text, size_t len)
{
    char data[512], out[512];

    for (size_t i = 0; i < len; i++)
        data[i] = text[i % strlen(text)];
    return lzf_compress(&table, data, len, out, len - 4);
}

/* What redis-server 7.0.15 writes for these values: the serializedlength of DEBUG OBJECT, without
 * the lengths in front. */
Test(lzf, packs_as_tightly_as_redis)
{
    cr_assert_eq(packed("x", 21), 6);
    cr_assert_eq(packed("hello world 381 ", 300), 24);
    cr_assert_eq(packed("abcdefghijklmnopqrstuvwxyz", 26), 0, "nothing repeats");
}

Test(lzf, what_is_packed_can_be_unpacked)
{
    enum { MOST = 70000 };
    static char data[MOST], out[MOST];
    static unsigned char back[MOST];
    struct seed seed = seed_new(7);

    for (int round = 0; round < 3000; round++) {
        size_t len = 1 + seed_next(&seed) % (round % 100 == 0 ? MOST : 400);
        unsigned letters = 1 + seed_next(&seed) % (round % 3 == 0 ? 256 : 5);
        for (size_t i = 0; i < len; i++)
            data[i] = (char)(seed_next(&seed) % letters);
        for (unsigned copies = seed_next(&seed) % 8; copies > 0 && len > 20; copies--) {
            size_t part = 1 + seed_next(&seed) % (len / 2);
            memmove(data + seed_next(&seed) % (len - part), data + seed_next(&seed) % (len - part),
                    part);
        }
        size_t room = 1 + seed_next(&seed) % len;
        memset(out, 0x5a, sizeof out);
        size_t size = lzf_compress(&table, data, len, out, room);
        cr_assert(size <= room, "seed %llu", (unsigned long long)seed.start);
        for (size_t i = room; i < room + 8 && i < MOST; i++)
            cr_assert_eq(out[i], 0x5a, "written past the end, seed %llu",
                         (unsigned long long)seed.start);
        if (size == 0)
            continue;
        cr_assert_eq(expand((unsigned char *)out, size, back, sizeof back), (long)len, "seed %llu",
                     (unsigned long long)seed.start);
        cr_assert(memcmp(back, data, len) == 0, "seed %llu", (unsigned long long)seed.start);
    }
}

Test(lzf, tiny_and_empty_input)
{
    char out[8];

    cr_assert_eq(lzf_compress(&table, "", 0, out, sizeof out), 0);
    cr_assert_eq(lzf_compress(&table, "a", 1, out, 0), 0);
    cr_assert_eq(lzf_compress(&table, "a", 1, out, 1), 0);
    cr_assert_eq(lzf_compress(&table, "ab", 2, out, 4), 3);
    cr_assert(memcmp(out, "\1ab", 3) == 0);
}
