/* Clients that vanish: in the midst of a pipeline, while a job is out, in MULTI, with WATCH, halfway
 * through a command, by themselves or by CLIENT KILL, while others pause and monitor the server and
 * slots move. Nothing of them may be left, and whoever stays is served as if nobody had gone.
 * Usage: stress_vanish [milliseconds [seed]]. Exits 0 when all is well. */
#include <stdio.h>

#include "tests/stress/workload.h"

enum { RUN_MS = 6000, WORKERS = 4, CLIENTS = 14 };

static bool stress(uint32_t mailbox_size, unsigned run_ms, uint64_t seed)
{
    struct harness *harness = harness_create(&(struct harness_options){
        .workers = WORKERS, .mailbox_size = mailbox_size, .tear = seed, .threads = true});
    struct workload *workload =
        workload_start(harness, CLIENTS, WORK_DATABASES | WORK_VANISH | WORK_PAUSE | WORK_MONITOR,
                       seed);

    wait_ms(run_ms);
    printf("mailboxes of %u: ", mailbox_size);
    workload_stop(workload);
    harness_stop(harness);
    bool right = harness_check(harness);
    if (atomic_load(&harness->node->monitors) != 0) {
        puts("wrong: there are monitors left");
        right = false;
    }
    harness_destroy(harness);
    return right;
}

int main(int argc, char **argv)
{
    return workload_main(argc, argv, RUN_MS, stress);
}
