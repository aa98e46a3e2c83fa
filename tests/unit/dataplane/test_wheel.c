#include "dataplane/store/wheel.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/dataplane/seed.h"

enum {
    START_MS = 1700000000,
    NO_DEADLINE = -1,
};

static const int64_t start_ms = (int64_t)START_MS * 1000;

/* Entries as far as the wheel's caller needs them, and the caller itself. */
struct item {
    int64_t deadline; /* NO_DEADLINE: none */
    bool alive, ticket;
    uint8_t pass;
};

struct trial {
    struct seed seed;
    struct memory *memory;
    struct wheel *wheel;
    struct item *items;
    uint32_t count;
    int64_t now;
    unsigned later_percent;
    int64_t latest_ms; /* the most that an expiry came too late */
    uint64_t fired, expired;
};

static void trial_begin(struct trial *trial, uint64_t seed, uint32_t count)
{
    *trial = (struct trial){.seed = seed_new(seed),
                            .memory = memory_create(),
                            .count = count,
                            .now = start_ms};
    trial->wheel = wheel_create(trial->memory, trial->now);
    trial->items = calloc(count, sizeof(trial->items[0]));
}

static void trial_end(struct trial *trial)
{
    wheel_destroy(trial->wheel);
    cr_assert_eq(memory_used_bytes(trial->memory), 0);
    memory_destroy(trial->memory);
    free(trial->items);
}

static struct wheel_ticket ticket_of(uint32_t index)
{
    return (struct wheel_ticket){
        .slot = index & 16383,
        .db = (uint16_t)(index % 7 == 0 ? 40000 : index % 3),
        .prefix = (1u << WHEEL_PREFIX_BITS) - 1 - (index >> 14),
        .tag = (uint8_t)(index * 31),
    };
}

static int64_t fire(void *arg, struct wheel_ticket ticket, bool sweep)
{
    struct trial *trial = arg;
    uint32_t index = ((1u << WHEEL_PREFIX_BITS) - 1 - ticket.prefix) << 14 | ticket.slot;
    struct item *item = &trial->items[index];
    struct wheel_ticket expected = ticket_of(index);

    cr_assert_lt(index, trial->count);
    cr_assert(ticket.db == expected.db && ticket.tag == expected.tag);
    trial->fired++;
    if (seed_below(&trial->seed, 100) < trial->later_percent)
        return WHEEL_LATER;
    if (!item->alive || !item->ticket || (sweep && item->pass == wheel_pass(trial->wheel)))
        return WHEEL_STALE;
    if (item->deadline == NO_DEADLINE) {
        item->ticket = false;
        return WHEEL_DROP;
    }
    if (item->deadline <= trial->now) {
        if (trial->now - item->deadline > trial->latest_ms)
            trial->latest_ms = trial->now - item->deadline;
        item->alive = false;
        item->ticket = false;
        trial->expired++;
        return WHEEL_DROP;
    }
    item->pass = wheel_pass(trial->wheel);
    return item->deadline;
}

static void item_delete(struct trial *trial, uint32_t index)
{
    struct item *item = &trial->items[index];

    if (item->alive && item->ticket)
        wheel_note_stale(trial->wheel, 1);
    item->alive = false;
    item->ticket = false;
}

/* Sets the deadline as the store does: only an earlier one files another ticket. */
static int item_set(struct trial *trial, uint32_t index, int64_t deadline)
{
    struct item *item = &trial->items[index];
    bool earlier = item->alive && item->ticket && deadline != NO_DEADLINE &&
                   (item->deadline == NO_DEADLINE || deadline < item->deadline);

    if (earlier)
        wheel_note_stale(trial->wheel, 1);
    if ((!item->alive || !item->ticket || earlier) && deadline != NO_DEADLINE) {
        int error = wheel_file(trial->wheel, ticket_of(index), deadline);

        item->ticket = error == 0;
        item->pass = wheel_pass(trial->wheel);
        if (error < 0)
            return error;
    }
    item->alive = true;
    item->deadline = deadline;
    return 0;
}

static void run_all(struct trial *trial)
{
    while (wheel_run(trial->wheel, trial->now, 1000, fire, trial) > 0)
        ;
}

/* ---- one ticket ---- */

Test(wheel, fires_within_a_tick_of_the_deadline_and_never_before)
{
    static const int64_t spans[] = {1,     63,      64,       65,      1000,      65535,      65536,
                                    65600, 3600000, 86400000, 1 << 30, 1ll << 40, 100ll << 40};
    struct trial trial;

    trial_begin(&trial, 1, 10);
    for (int round = 0; round < 300; round++) {
        int64_t deadline =
            trial.now + spans[seed_below(&trial.seed, 13)] + (int64_t)seed_below(&trial.seed, 100);

        cr_assert_eq(item_set(&trial, 1, deadline), 0);
        while (trial.items[1].alive) {
            int64_t next = wheel_next_unix_ms(trial.wheel);

            cr_assert_leq(next, deadline + WHEEL_TICK_MS);
            trial.now = next;
            run_all(&trial);
        }
        cr_assert_geq(trial.now, deadline);
        cr_assert_lt(trial.now, deadline + WHEEL_TICK_MS, "seed %lu", trial.seed.start);
        cr_assert_eq(wheel_tickets(trial.wheel), 0);
        cr_assert_eq(wheel_next_unix_ms(trial.wheel), INT64_MAX);
        trial.now += (int64_t)seed_below(&trial.seed, 1 << 20);
        cr_assert_eq(wheel_run(trial.wheel, trial.now, 10, fire, &trial), 0);
    }
    /* Once for each level at the most. */
    cr_assert_leq(trial.fired, 300 * 7);
    trial_end(&trial);
}

Test(wheel, takes_every_deadline_there_is)
{
    static const int64_t deadlines[] = {INT64_MIN, -1, 0, 1, INT64_MAX, INT64_MAX - 100};
    struct trial trial;

    trial_begin(&trial, 2, 6);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_eq(wheel_file(trial.wheel, ticket_of(i), deadlines[i]), 0);
    trial.now += WHEEL_TICK_MS;
    run_all(&trial);
    cr_assert_eq(wheel_tickets(trial.wheel), 2);
    trial.now = INT64_MAX;
    run_all(&trial);
    /* The last one is due when the time after the last tick has come. */
    cr_assert_eq(wheel_tickets(trial.wheel), 1);
    cr_assert_eq(wheel_next_unix_ms(trial.wheel), INT64_MAX);
    trial_end(&trial);
}

Test(wheel, a_budget_is_kept_and_a_backlog_shown)
{
    struct trial trial;

    trial_begin(&trial, 3, 5000);
    for (uint32_t i = 0; i < 5000; i++)
        item_set(&trial, i, trial.now + 1000);
    cr_assert_eq(wheel_backlog_ms(trial.wheel, trial.now), 0);
    trial.now += 10000;
    cr_assert_eq(wheel_run(trial.wheel, trial.now, 100, fire, &trial), 100);
    cr_assert_eq(trial.expired, 100);
    cr_assert_geq(wheel_backlog_ms(trial.wheel, trial.now), 9000 - WHEEL_TICK_MS);
    run_all(&trial);
    cr_assert_eq(trial.expired, 5000);
    cr_assert_eq(wheel_backlog_ms(trial.wheel, trial.now), 0);
    trial_end(&trial);
}

Test(wheel, shows_beforehand_what_it_will_hand_out)
{
    struct trial trial;
    struct wheel_ticket tickets[16];

    trial_begin(&trial, 4, 3000);
    for (uint32_t i = 0; i < 3000; i++)
        item_set(&trial, i, trial.now + 100 + i / 10);
    cr_assert_eq(wheel_peek(trial.wheel, trial.now, tickets, 16), 0);
    trial.now += 1000;
    for (uint64_t left = 3000; left > 0;) {
        unsigned shown = wheel_peek(trial.wheel, trial.now, tickets, 16);

        cr_assert_gt(shown, 0);
        for (unsigned i = 0; i < shown; i++) {
            uint32_t index =
                ((1u << WHEEL_PREFIX_BITS) - 1 - tickets[i].prefix) << 14 | tickets[i].slot;

            cr_assert(trial.items[index].alive);
            cr_assert_eq(wheel_run(trial.wheel, trial.now, 1, fire, &trial), 1);
            cr_assert_not(trial.items[index].alive);
        }
        left -= shown;
    }
    trial_end(&trial);
}

/* ---- clocks that jump ---- */

Test(wheel, a_jump_ahead_by_ages_costs_nothing)
{
    const int64_t ages = 300ll * 365 * 86400 * 1000;
    struct trial trial;

    trial_begin(&trial, 5, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        item_set(&trial, i, trial.now + 1 + (int64_t)seed_below(&trial.seed, 1ull << (i % 42)));
    trial.now += ages;
    run_all(&trial);
    cr_assert_eq(trial.expired, 1000);
    cr_assert_leq(trial.fired, 2000, "all are due, so none is filed again more than once or so");
    trial_end(&trial);
}

Test(wheel, after_a_fall_back_of_the_clock_deadlines_hold_as_the_clock_says)
{
    struct trial trial;

    trial_begin(&trial, 6, 2000);
    for (uint32_t i = 0; i < 1000; i++)
        item_set(&trial, i, trial.now + 1 + (int64_t)seed_below(&trial.seed, 1ull << 40));
    /* Ahead by ten years, where nothing is looked at, and back again. */
    trial.now += 10ll * 365 * 86400 * 1000;
    trial.later_percent = 100;
    wheel_run(trial.wheel, trial.now, 5000, fire, &trial);
    trial.later_percent = 0;
    trial.now = start_ms;
    for (uint32_t i = 1000; i < 2000; i++)
        item_set(&trial, i, trial.now + 1 + (int64_t)seed_below(&trial.seed, 100000));
    while (wheel_tickets(trial.wheel) > 0) {
        trial.latest_ms = 0;
        run_all(&trial);
        cr_assert_lt(trial.latest_ms, WHEEL_TICK_MS, "seed %lu", trial.seed.start);
        if (wheel_tickets(trial.wheel) > 0)
            trial.now = wheel_next_unix_ms(trial.wheel);
    }
    cr_assert_eq(trial.expired, 2000);
    trial_end(&trial);
}

Test(wheel, a_small_step_back_is_waited_out)
{
    struct trial trial;

    trial_begin(&trial, 7, 100);
    trial.now += 1000;
    run_all(&trial);
    trial.now -= 200;
    for (uint32_t i = 0; i < 100; i++)
        item_set(&trial, i, trial.now + 10);
    trial.now += 100;
    run_all(&trial);
    cr_assert_eq(trial.expired, 0);
    trial.now += 200;
    run_all(&trial);
    cr_assert_eq(trial.expired, 100);
    trial_end(&trial);
}

/* ---- stale tickets ---- */

static uint64_t live_tickets(const struct trial *trial)
{
    uint64_t live = 0;

    for (uint32_t i = 0; i < trial->count; i++)
        live += trial->items[i].alive && trial->items[i].ticket;
    return live;
}

Test(wheel, a_sweep_leaves_one_ticket_for_each_entry)
{
    enum { COUNT = 20000 };
    struct trial trial;

    trial_begin(&trial, 8, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        item_set(&trial, i, trial.now + 86400000);
        for (uint32_t n = 0; n < i % 4; n++) {
            item_delete(&trial, i);
            item_set(&trial, i, trial.now + 86400000 + n);
        }
        if (i % 5 == 0)
            item_delete(&trial, i);
    }
    cr_assert_gt(wheel_tickets(trial.wheel), 2 * COUNT);
    cr_assert_gt(wheel_stale(trial.wheel), COUNT);
    while (wheel_sweep(trial.wheel, 100, fire, &trial))
        ;
    cr_assert_eq(wheel_tickets(trial.wheel), live_tickets(&trial));
    cr_assert_eq(wheel_stale(trial.wheel), 0);
    trial.now += 2 * 86400000;
    run_all(&trial);
    cr_assert_eq(trial.expired, COUNT - COUNT / 5);
    cr_assert_eq(wheel_tickets(trial.wheel), 0);
    trial_end(&trial);
}

Test(wheel, churn_keeps_stale_tickets_within_bounds)
{
    enum { COUNT = 10000 };
    struct trial trial;

    trial_begin(&trial, 9, COUNT);
    for (unsigned round = 0; round < 400000; round++) {
        uint32_t index = (uint32_t)seed_below(&trial.seed, COUNT);

        item_delete(&trial, index);
        item_set(&trial, index, trial.now + 3600000 + (int64_t)seed_below(&trial.seed, 3600000));
        if (round % 10 == 0) {
            wheel_sweep(trial.wheel, 200, fire, &trial);
            trial.now += (int64_t)seed_below(&trial.seed, 8);
            wheel_run(trial.wheel, trial.now, 100, fire, &trial);
        }
        /* The share, what does not count, and what came while the sweep went on. */
        cr_assert_leq(wheel_tickets(trial.wheel), COUNT * 5 / 4 + 2 * WHEEL_STALE_FREE,
                      "round %u, seed %lu", round, trial.seed.start);
    }
    trial_end(&trial);
}

static void churn(struct trial *trial, int64_t span_ms)
{
    for (unsigned i = 0; i < 100; i++) {
        uint32_t index = (uint32_t)seed_below(&trial->seed, trial->count);

        switch (seed_below(&trial->seed, 6)) {
        case 0:
            item_delete(trial, index);
            break;
        case 1:
            if (trial->items[index].alive)
                item_set(trial, index, NO_DEADLINE);
            break;
        case 2:
            item_set(trial, index, trial->now + 1 + (int64_t)seed_below(&trial->seed, 300));
            break;
        default:
            item_set(trial, index,
                     trial->now + 1 + (int64_t)seed_below(&trial->seed, (uint64_t)span_ms));
        }
    }
}

/* Whatever happens, also with lent slots and with sweeps, each entry with a deadline goes when
 * that has come. */
static void check_nothing_is_lost(uint64_t seed, int64_t span_ms, unsigned later_percent)
{
    struct trial trial;

    trial_begin(&trial, seed, 30000);
    trial.later_percent = later_percent;
    for (unsigned round = 0; round < 3000; round++) {
        churn(&trial, span_ms);
        trial.now += (int64_t)seed_below(&trial.seed, 64);
        wheel_run(trial.wheel, trial.now, 400, fire, &trial);
        wheel_sweep(trial.wheel, 300, fire, &trial);
    }
    trial.later_percent = 0;
    trial.now += span_ms + WHEEL_TICK_MS;
    run_all(&trial);
    for (uint32_t i = 0; i < trial.count; i++)
        cr_assert(!trial.items[i].alive || trial.items[i].deadline == NO_DEADLINE,
                  "%u was forgotten, seed %lu", i, trial.seed.start);
    cr_assert_eq(wheel_tickets(trial.wheel), 0);
    trial_end(&trial);
}

Test(wheel, no_entry_is_forgotten)
{
    check_nothing_is_lost(10, 1000, 0);
    check_nothing_is_lost(11, 100000, 0);
    check_nothing_is_lost(12, 1ll << 33, 0);
}

Test(wheel, no_entry_is_forgotten_while_slots_are_lent)
{
    check_nothing_is_lost(20, 1000, 10);
    check_nothing_is_lost(21, 100000, 10);
    check_nothing_is_lost(22, 1ll << 33, 50);
}

/* ---- memory ---- */

Test(wheel, costs_little_more_than_five_bytes_a_ticket)
{
    enum { COUNT = 200000 };
    struct trial trial;
    size_t empty;

    trial_begin(&trial, 30, COUNT);
    empty = wheel_bytes(trial.wheel);
    for (uint32_t i = 0; i < COUNT; i++)
        item_set(&trial, i, trial.now + 3600000 + (int64_t)seed_below(&trial.seed, 3600000));
    /* 5.15 in full segments; the chains of three databases in 55 buckets end in one that is not. */
    cr_assert_leq((wheel_bytes(trial.wheel) - empty) * 10, COUNT * 60);
    trial_end(&trial);
}

Test(wheel, without_memory_nothing_is_lost_that_was_filed)
{
    struct trial trial;
    unsigned refused = 0;

    trial_begin(&trial, 31, 5000);
    for (uint32_t i = 0; i < 5000; i++) {
        memory_fail_nth(trial.memory, seed_below(&trial.seed, 3));
        refused +=
            item_set(&trial, i, trial.now + 1 + (int64_t)seed_below(&trial.seed, 1 << 22)) < 0;
        memory_fail_nth(trial.memory, 0);
    }
    cr_assert_gt(refused, 10);
    while (wheel_tickets(trial.wheel) > 0) {
        trial.now += 5000;
        for (int i = 0; i < 20; i++) {
            memory_fail_nth(trial.memory, 1 + seed_below(&trial.seed, 2));
            wheel_run(trial.wheel, trial.now, 100, fire, &trial);
        }
        memory_fail_nth(trial.memory, 0);
    }
    cr_assert_eq(trial.expired, 5000 - refused);
    trial_end(&trial);
}
