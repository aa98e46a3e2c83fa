/* Loans under threads: multi-key commands, transactions, walks and exchanges of whole databases
 * from many connections on four workers, with mailboxes of the smallest size and of the usual one.
 * Usage: stress_loans [milliseconds [seed]]. Exits 0 when all is well. */
#include <stdio.h>

#include "tests/stress/workload.h"

enum { RUN_MS = 6000, WORKERS = 4, CLIENTS = 12 };

static bool stress(uint32_t mailbox_size, unsigned run_ms, uint64_t seed)
{
    struct harness *harness = harness_create(&(struct harness_options){
        .workers = WORKERS, .mailbox_size = mailbox_size, .tear = seed, .threads = true});
    struct workload *workload = workload_start(harness, CLIENTS, WORK_DATABASES, seed);

    wait_ms(run_ms);
    printf("mailboxes of %u: ", mailbox_size);
    workload_stop(workload);
    harness_stop(harness);
    bool right = harness_check(harness);
    const struct node *node = harness->node;
    printf("  loans %llu, second rounds %llu, parked %llu, sleeps %llu\n",
           (unsigned long long)node_sum(node, offsetof(struct worker_stats, loans_granted)),
           (unsigned long long)node_sum(node, offsetof(struct worker_stats, loan_second_rounds)),
           (unsigned long long)node_sum(node, offsetof(struct worker_stats, parked)),
           (unsigned long long)node_sum(node, offsetof(struct worker_stats, sleeps)));
    harness_destroy(harness);
    return right;
}

int main(int argc, char **argv)
{
    return workload_main(argc, argv, RUN_MS, stress);
}
