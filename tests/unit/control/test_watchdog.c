/* Workers that turn or do not, on a clock of the test's. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "control/watchdog.h"
#include "dataplane/worker.h"

enum { WORKERS = 2, SECOND_US = 1000000, HOUR_S = 3600 };

struct world {
    struct node *node;
    struct watchdog watchdog;
    uint64_t now_s;
};

static struct world *begin(const char *text)
{
    struct world *world = calloc(1, sizeof *world);
    struct load_error error;

    world->node = aligned_alloc(64, (sizeof *world->node + 63) & ~(size_t)63);
    memset(world->node, 0, sizeof *world->node);
    world->node->config = config_create();
    cr_assert_eq(load_text(world->node->config, "test", text, strlen(text), &error), 0, "%s",
                 error.reason);
    world->node->worker_count = WORKERS;
    for (uint32_t i = 0; i < WORKERS; i++) {
        size_t bytes = (sizeof(struct worker) + 63) & ~(size_t)63;
        world->node->workers[i] = aligned_alloc(64, bytes);
        memset(world->node->workers[i], 0, bytes);
        world->node->workers[i]->node = world->node;
        world->node->workers[i]->index = i;
    }
    world->now_s = 1000;
    return world;
}

static void end(struct world *world)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        free(world->node->workers[i]);
    config_destroy(world->node->config);
    free(world->node);
    free(world);
}

/* A second goes by, in which worker 0 turns, and worker 1 if told so. */
static bool second(struct world *world, bool both)
{
    world->now_s++;
    for (uint32_t i = 0; i < (both ? WORKERS : 1); i++)
        count_add(&world->node->workers[i]->stats.turns, 1);
    return watchdog_look(&world->watchdog, world->node, world->now_s * SECOND_US);
}

static uint64_t hangs(const struct world *world)
{
    return count_get(&world->node->workers[1]->hangs);
}

static uint64_t hung_s(const struct world *world)
{
    return count_get(&world->node->workers[1]->hung_s);
}

Test(watchdog, workers_that_turn_are_left_alone)
{
    struct world *world = begin("worker-watchdog 1\n");

    for (int i = 0; i < HOUR_S; i++)
        cr_assert(second(world, true));
    cr_assert(watchdog_content(&world->watchdog, world->node));
    cr_assert_eq(hangs(world), 0);
    end(world);
}

Test(watchdog, one_that_hangs_is_counted_once_and_its_time_shown)
{
    struct world *world = begin("");

    cr_assert(second(world, true));
    for (uint64_t i = 1; i <= HOUR_S; i++) {
        cr_assert(second(world, false), "by default nothing ends");
        cr_assert_eq(hung_s(world), i < WATCHDOG_NOTICE_S ? 0 : i);
        cr_assert_eq(hangs(world), i < WATCHDOG_NOTICE_S ? 0 : 1);
        cr_assert_eq(watchdog_content(&world->watchdog, world->node), i < WATCHDOG_NOTICE_S);
    }
    cr_assert_eq(count_get(&world->node->workers[0]->hangs), 0);
    cr_assert(second(world, true));
    cr_assert_eq(hung_s(world), 0);
    cr_assert(watchdog_content(&world->watchdog, world->node));
    for (int i = 0; i < WATCHDOG_NOTICE_S; i++)
        second(world, false);
    cr_assert_eq(hangs(world), 2, "another time");
    end(world);
}

Test(watchdog, one_that_never_began_to_turn_hangs_too)
{
    struct world *world = begin("");

    for (int i = 0; i <= WATCHDOG_NOTICE_S; i++)
        second(world, false);
    cr_assert_eq(hangs(world), 1);
    end(world);
}

Test(watchdog, the_limit_is_what_the_directive_says)
{
    struct world *world = begin("worker-watchdog 10\n");

    cr_assert(second(world, true));
    for (int i = 1; i < 10; i++)
        cr_assert(second(world, false), "second %d", i);
    cr_assert_not(second(world, false));
    end(world);
}

/* An idle worker sleeps for a second, so that a look may find it where the last one did. */
Test(watchdog, a_limit_below_the_notice_is_that_of_the_notice)
{
    struct world *world = begin("worker-watchdog 1\n");

    cr_assert(second(world, true));
    for (int i = 1; i < WATCHDOG_NOTICE_S; i++)
        cr_assert(second(world, false), "second %d", i);
    cr_assert_not(second(world, false));
    end(world);
}

/* SIGSTOP, a debugger, a virtual machine that is suspended: the workers could not turn either. */
Test(watchdog, time_in_which_nobody_looked_is_no_hang)
{
    struct world *world = begin("worker-watchdog 3\n");

    cr_assert(second(world, true));
    cr_assert(second(world, false), "it sleeps");
    for (int i = 0; i < 3; i++) {
        world->now_s += HOUR_S;
        cr_assert(second(world, false), "stop %d", i);
        cr_assert_eq(hangs(world), 0);
        cr_assert(second(world, true));
    }
    for (int i = 1; i < WATCHDOG_NOTICE_S; i++)
        cr_assert(second(world, false));
    cr_assert_not(second(world, false), "but one that hangs behind it does");
    cr_assert_eq(hangs(world), 1);
    end(world);
}
