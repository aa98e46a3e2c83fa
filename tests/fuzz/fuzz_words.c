/* The splitter of lines: counting and splitting agree, words stay inside the line, and what is
 * quoted comes back. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct words_span words[64], again;
    char *copy = malloc(size + 1);
    size_t room = 4 * size + 3;
    char *quoted = malloc(room);

    memcpy(copy, data, size);
    int counted = words_count(copy, size);
    int split = words_split(copy, size, words, 64);
    check(counted < 0 || counted > 64 ? split < 0 : split == counted);
    for (int i = 0; i < split; i++) {
        check(words[i].data >= copy && words[i].data + words[i].len <= copy + size);
        words[i].data[words[i].len] = '\0';
    }
    size_t len = words_quote(quoted, room, (const char *)data, size);
    check(len < room && words_split(quoted, len, &again, 1) == 1);
    check(again.len == size && memcmp(again.data, data, size) == 0);
    free(quoted);
    free(copy);
    return 0;
}
