/* Random numbers for tests that compare a module with a simple model. The seed is fixed, or
 * taken from the environment (POLLUX_SEED); tests name it in their messages. */
#ifndef TESTS_UNIT_DATAPLANE_SEED_H
#define TESTS_UNIT_DATAPLANE_SEED_H

#include <stdint.h>
#include <stdlib.h>

struct seed {
    uint64_t start, state;
};

static inline struct seed seed_new(uint64_t otherwise)
{
    const char *given = getenv("POLLUX_SEED");
    uint64_t start = given != NULL ? strtoull(given, NULL, 0) : otherwise;

    return (struct seed){.start = start, .state = start};
}

/* splitmix64 */
static inline uint64_t seed_next(struct seed *seed)
{
    uint64_t z = seed->state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline uint64_t seed_below(struct seed *seed, uint64_t limit)
{
    return seed_next(seed) % limit;
}

#endif
