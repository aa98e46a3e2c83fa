#include "control/watchdog.h"

#include "dataplane/worker.h"
#include "drivers/log.h"

enum {
    SECOND_US = 1000000,
    LOOK_MAX_US = 1500000, /* a late look after an idle worker's one: below the notice together */
};

static void tell(const struct node *node, const char *format, uint32_t index, uint64_t seconds)
{
    if (node->log != NULL)
        log_write(node->log, LOG_LEVEL_WARNING, format, index, (unsigned long long)seconds);
}

static void turns_again(struct watchdog_worker *seen, struct worker *worker)
{
    if (seen->hangs)
        tell(worker->node, "Worker %u turns again, after %llu seconds.", worker->index,
             seen->hung_us / SECOND_US);
    seen->hangs = false;
    seen->hung_us = 0;
    atomic_store_explicit(&worker->hung_s, 0, memory_order_relaxed);
}

/* Returns the seconds since it was seen to turn. */
static uint64_t look_at(struct watchdog_worker *seen, struct worker *worker, uint64_t elapsed_us)
{
    uint64_t turns = count_get(&worker->stats.turns);

    seen->hung_us += elapsed_us;
    if (turns != seen->turns) {
        turns_again(seen, worker);
        seen->turns = turns;
        return 0;
    }
    uint64_t hung_s = seen->hung_us / SECOND_US;
    if (hung_s >= WATCHDOG_NOTICE_S)
        atomic_store_explicit(&worker->hung_s, hung_s, memory_order_relaxed);
    if (hung_s >= WATCHDOG_NOTICE_S && !seen->hangs) {
        seen->hangs = true;
        count_add(&worker->hangs, 1);
        tell(worker->node,
             "Worker %u hangs: its loop has not turned for %llu seconds, and serves nobody "
             "meanwhile. SLOWLOG tells whether it was a command; worker-watchdog could end it.",
             worker->index, hung_s);
    }
    return hung_s;
}

/* The time that counts since the last look. */
static uint64_t since_last_look_us(struct watchdog *watchdog, uint64_t now_us)
{
    uint64_t elapsed_us = watchdog->looked_us == 0 ? 0 : now_us - watchdog->looked_us;

    watchdog->looked_us = now_us;
    return elapsed_us < LOOK_MAX_US ? elapsed_us : LOOK_MAX_US;
}

bool watchdog_look(struct watchdog *watchdog, struct node *node, uint64_t now_us)
{
    uint64_t limit_s =
        (uint64_t)atomic_load_explicit(&node->config->worker_watchdog, memory_order_relaxed);
    uint64_t elapsed_us = since_last_look_us(watchdog, now_us);
    bool fine = true;

    for (uint32_t i = 0; i < node->worker_count; i++) {
        uint64_t hung_s = look_at(&watchdog->workers[i], node->workers[i], elapsed_us);
        if (limit_s == 0 || hung_s < limit_s || hung_s < WATCHDOG_NOTICE_S)
            continue;
        tell(node,
             "Worker %u has not turned for %llu seconds: worker-watchdog ends the server. What it "
             "had in memory is lost.",
             i, hung_s);
        fine = false;
    }
    return fine;
}

bool watchdog_content(const struct watchdog *watchdog, const struct node *node)
{
    for (uint32_t i = 0; i < node->worker_count; i++)
        if (watchdog->workers[i].hangs)
            return false;
    return true;
}
