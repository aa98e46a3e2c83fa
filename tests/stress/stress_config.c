/* Configuration: readers that take no lock, while others set, refuse and reclaim. Each reader tells the
 * generation that it has seen; what nobody can hold any more is freed. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

enum { READERS = 3, SETTERS = 2, ROUNDS = 20000 };

struct run {
    struct config *config;
    _Atomic uint64_t seen[READERS];
    _Atomic bool done;
};

struct reader {
    struct run *run;
    unsigned index;
};

static void fail(const char *what)
{
    fprintf(stderr, "stress_config: %s\n", what);
    exit(1);
}

static void count(void *arg, const char *name, size_t name_len, const char *value, size_t value_len)
{
    *(size_t *)arg += name_len + value_len;
}

static void *read_values(void *arg)
{
    const struct reader *reader = arg;
    struct run *run = reader->run;
    struct config_span pattern = {"*", 1};
    size_t bytes = 0;

    while (!run->done) {
        uint64_t generation = run->config->generation;
        const char *password = run->config->requirepass;
        size_t len = strlen(password);
        const struct config_list *bind = run->config->bind;

        if (len != 0 && (len < 1 || len > 64 || password[0] != password[len - 1]))
            fail("a password that nobody has set");
        if (bind->count < 1 || bind->count > 2)
            fail("a list of addresses that nobody has set");
        if (config_get(run->config, &pattern, 1, count, &bytes) < 100)
            fail("directives are missing");
        /* Pointers taken above are not used below. */
        run->seen[reader->index] = generation;
    }
    run->seen[reader->index] = UINT64_MAX;
    return NULL;
}

/* Refuses every third change, so that values are rolled back under the readers' eyes. */
static const char *sometimes(void *arg, const struct config *config,
                             const struct config_change *changes, unsigned changed,
                             unsigned *culprit)
{
    unsigned *calls = arg;

    return ++*calls % 3 == 0 ? "not now" : NULL;
}

static void *set_values(void *arg)
{
    struct run *run = arg;
    char text[CONFIG_REASON_MAX], password[65] = "";
    unsigned calls = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t len = 1 + i % 64;
        const char *bind = i % 2 ? "127.0.0.1" : "127.0.0.1 ::1";

        memset(password, 'a' + (int)(i % 26), len);
        password[len] = '\0';
        struct config_span words[4] = {{"requirepass", 11},
                                       {password, len},
                                       {"bind", 4},
                                       {bind, strlen(bind)}};
        config_set(run->config, words, 4, true, sometimes, &calls, text);
        uint64_t least = UINT64_MAX;
        for (unsigned reader = 0; reader < READERS; reader++)
            least = run->seen[reader] < least ? run->seen[reader] : least;
        config_reclaim(run->config, least);
    }
    return NULL;
}

int main(void)
{
    struct run run = {.config = config_create()};
    pthread_t readers[READERS], setters[SETTERS];
    struct reader arguments[READERS];

    if (run.config == NULL)
        fail("no memory");
    for (unsigned i = 0; i < READERS; i++) {
        arguments[i] = (struct reader){&run, i};
        if (pthread_create(&readers[i], NULL, read_values, &arguments[i]) != 0)
            fail("no thread");
    }
    for (unsigned i = 0; i < SETTERS; i++) {
        if (pthread_create(&setters[i], NULL, set_values, &run) != 0)
            fail("no thread");
    }
    for (unsigned i = 0; i < SETTERS; i++)
        pthread_join(setters[i], NULL);
    run.done = true;
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    config_reclaim(run.config, run.config->generation);
    if (run.config->retired != NULL)
        fail("values are kept though nobody can hold them");
    config_destroy(run.config);
    return 0;
}
