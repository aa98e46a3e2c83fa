#include <criterion/criterion.h>
#include <stdlib.h>

#include "dataplane/slots/queue.h"
#include "tests/stress/harness.h"

/* The queues of one worker; parts are the test's own. */
static struct harness *h;
static struct worker *worker;

static void start(void)
{
    h = harness_create(&(struct harness_options){.workers = 2});
    worker = h->node->workers[0];
}

static void stop(void)
{
    cr_assert_not(queues_any_busy(worker));
    cr_assert_null(queues_next_ready(worker));
    harness_destroy(h);
}

TestSuite(queue, .init = start, .fini = stop);

enum { REFS_MAX = 8 };

struct test_part {
    struct loan_part part;
    struct part_ref refs[REFS_MAX];
};

static struct loan_part *part_init(struct test_part *part, unsigned count, const uint16_t *slots)
{
    *part = (struct test_part){.part.refs = part->refs, .part.count = count};
    for (unsigned i = 0; i < count; i++)
        part->refs[i].slot = slots[i];
    return &part->part;
}

#define PART(name, ...)                                                                            \
    struct test_part name##_memory;                                                                \
    struct loan_part *name =                                                                       \
        part_init(&name##_memory, sizeof((uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t),            \
                  (uint16_t[]){__VA_ARGS__})
#define WHOLE(name) struct loan_part name##_memory = {.whole = true}, *name = &name##_memory

Test(queue, a_slot_is_served_in_the_order_of_arrival)
{
    PART(first, 7);
    PART(second, 7);
    PART(third, 7);

    cr_assert(queues_enter(worker, first));
    cr_assert_not(queues_enter(worker, second));
    cr_assert_not(queues_enter(worker, third));
    cr_assert(slots_busy(worker, 7));
    cr_assert_not(slots_busy(worker, 8));
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, first);
    cr_assert_eq(queues_next_ready(worker), second);
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, second);
    cr_assert_eq(queues_next_ready(worker), third);
    cr_assert(slots_busy(worker, 7));
    queues_leave(worker, third);
    cr_assert_not(slots_busy(worker, 7));
}

Test(queue, a_part_is_ready_when_it_is_first_in_all_its_queues)
{
    PART(a, 1);
    PART(b, 2, 3);
    PART(both, 1, 2, 4);
    PART(behind, 4);

    cr_assert(queues_enter(worker, a));
    cr_assert(queues_enter(worker, b));
    cr_assert_not(queues_enter(worker, both));
    cr_assert_not(queues_enter(worker, behind)); /* slot 4 is reserved, not held */
    queues_leave(worker, a);
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, b);
    cr_assert_eq(queues_next_ready(worker), both);
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, both);
    cr_assert_eq(queues_next_ready(worker), behind);
    queues_leave(worker, behind);
}

Test(queue, parts_become_ready_in_the_order_of_their_slots_leaving)
{
    PART(holder, 1, 2, 3);
    PART(one, 1);
    PART(two, 2);
    PART(three, 3);

    queues_enter(worker, holder);
    queues_enter(worker, three);
    queues_enter(worker, two);
    queues_enter(worker, one);
    queues_leave(worker, holder);
    struct loan_part *ready[3];
    for (int i = 0; i < 3; i++) {
        ready[i] = queues_next_ready(worker);
        cr_assert_not_null(ready[i]);
    }
    cr_assert_neq(ready[0], ready[1]);
    cr_assert_neq(ready[1], ready[2]);
    for (int i = 0; i < 3; i++)
        queues_leave(worker, ready[i]);
}

Test(queue, trying_takes_all_or_nothing)
{
    PART(holder, 2);
    PART(wants, 1, 2, 3);

    cr_assert(queues_try(worker, holder));
    cr_assert_not(queues_part_free(worker, wants));
    cr_assert_not(queues_try(worker, wants));
    cr_assert_not(slots_busy(worker, 1));
    cr_assert_not(slots_busy(worker, 3));
    queues_leave(worker, holder);
    cr_assert(queues_part_free(worker, wants));
    cr_assert(queues_try(worker, wants));
    cr_assert(slots_busy(worker, 1) && slots_busy(worker, 3));
    queues_leave(worker, wants);
}

Test(queue, a_whole_loan_waits_for_all_and_all_wait_for_it)
{
    PART(before, 1);
    PART(waits, 1);
    WHOLE(whole);
    PART(after, 1);
    PART(elsewhere, 100);

    cr_assert(queues_enter(worker, before));
    cr_assert_not(queues_enter(worker, waits));
    cr_assert_not(queues_enter(worker, whole));
    cr_assert(slots_busy(worker, 100)); /* free, but behind the whole loan */
    cr_assert_not(queues_try(worker, elsewhere));
    cr_assert_not(queues_enter(worker, after));
    cr_assert_not(queues_enter(worker, elsewhere));
    queues_leave(worker, before);
    cr_assert_eq(queues_next_ready(worker), waits);
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, waits);
    cr_assert_eq(queues_next_ready(worker), whole);
    cr_assert_null(queues_next_ready(worker));
    cr_assert_not(queues_try(worker, before));
    queues_leave(worker, whole);
    cr_assert_eq(queues_next_ready(worker), after);
    cr_assert_eq(queues_next_ready(worker), elsewhere);
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, after);
    queues_leave(worker, elsewhere);
}

Test(queue, whole_loans_follow_each_other)
{
    WHOLE(first);
    WHOLE(second);
    PART(between, 5);
    WHOLE(third);
    PART(last, 5);

    cr_assert(queues_try(worker, first));
    cr_assert_not(queues_try(worker, second));
    cr_assert_not(queues_enter(worker, second));
    cr_assert_not(queues_enter(worker, between));
    cr_assert_not(queues_enter(worker, third));
    cr_assert_not(queues_enter(worker, last));
    queues_leave(worker, first);
    cr_assert_eq(queues_next_ready(worker), second);
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, second);
    cr_assert_eq(queues_next_ready(worker), between);
    cr_assert_null(queues_next_ready(worker));
    queues_leave(worker, between);
    cr_assert_eq(queues_next_ready(worker), third);
    queues_leave(worker, third);
    cr_assert_eq(queues_next_ready(worker), last);
    queues_leave(worker, last);
}

Test(queue, a_whole_loan_of_an_idle_worker_is_had_at_once)
{
    WHOLE(whole);

    cr_assert(queues_part_free(worker, whole));
    cr_assert(queues_enter(worker, whole));
    cr_assert_not(queues_part_free(worker, whole));
    queues_leave(worker, whole);
    cr_assert(queues_try(worker, whole));
    queues_leave(worker, whole);
}

Test(queue, ownership_is_asked_of_every_slot)
{
    PART(part, 1, 2, 3);

    cr_assert(queues_owns(worker, part));
    atomic_store(&h->node->owner[3], 1);
    cr_assert_not(queues_owns(worker, part));
    atomic_store(&h->node->owner[3], 0);
}

/* Against a model: random parts, each granted exactly when nothing stands before it. */
Test(queue, random_parts_never_overlap_and_all_are_served)
{
    enum { PARTS = 40, SLOTS_USED = 12, ROUNDS = 20000 };
    struct test_part *parts = calloc(PARTS, sizeof *parts);
    bool waits[PARTS] = {false}, held[PARTS] = {false};
    uint64_t arrived[PARTS] = {0}, arrivals = 0, served = 0;
    struct dice dice = {.state = 4711};

    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned i = dice_below(&dice, PARTS);
        if (held[i]) {
            queues_leave(worker, &parts[i].part);
            held[i] = false;
            served++;
        } else if (!waits[i]) {
            uint16_t slots[REFS_MAX];
            unsigned count = 0;
            for (uint16_t slot = 0; slot < SLOTS_USED && count < REFS_MAX; slot++)
                if (dice_below(&dice, 4) == 0)
                    slots[count++] = slot;
            if (count == 0)
                continue;
            part_init(&parts[i], count, slots);
            parts[i].part.whole = dice_below(&dice, 20) == 0;
            arrived[i] = ++arrivals;
            waits[i] = true;
            if (queues_enter(worker, &parts[i].part)) {
                waits[i] = false;
                held[i] = true;
            }
        }
        for (struct loan_part *ready; (ready = queues_next_ready(worker)) != NULL;) {
            unsigned r = (unsigned)((struct test_part *)ready - parts);
            cr_assert(waits[r] && !held[r]);
            waits[r] = false;
            held[r] = true;
        }
        for (unsigned a = 0; a < PARTS; a++)
            for (unsigned b = 0; b < PARTS; b++) {
                bool meet = parts[a].part.whole || parts[b].part.whole;
                for (unsigned x = 0; x < parts[a].part.count && !meet; x++)
                    for (unsigned y = 0; y < parts[b].part.count && !meet; y++)
                        meet = parts[a].refs[x].slot == parts[b].refs[y].slot;
                if (a == b || !meet || !held[a])
                    continue;
                cr_assert_not(held[b], "two parts hold the same slot");
                cr_assert(!waits[b] || arrived[b] > arrived[a], "one has been overtaken");
            }
    }
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < PARTS; i++)
            if (held[i]) {
                queues_leave(worker, &parts[i].part);
                held[i] = false;
                served++;
                any = true;
            }
        for (struct loan_part *ready; (ready = queues_next_ready(worker)) != NULL;) {
            held[(struct test_part *)ready - parts] = true;
            waits[(struct test_part *)ready - parts] = false;
        }
    }
    cr_assert_eq(served, arrivals);
    free(parts);
}
