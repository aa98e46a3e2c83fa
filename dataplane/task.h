/* Tasks: small functions that one thread has another one run, in the order of posting.
 * Purpose:   how threads without a mailbox reach a worker (control -> worker), and how workers reach
 *            the control thread, which has none.
 * Ownership: a task belongs to whoever posts it until it has run; mostly it is embedded in
 *            something larger. It may be freed or posted again from its own `run`.
 * Threading: task_post from any thread, without locks or waiting; task_take by the one that runs
 *            them. What was written before task_post is seen by `run`.
 * Errors:    none: posting allocates nothing. */
#ifndef DATAPLANE_TASK_H
#define DATAPLANE_TASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct task {
    struct task *next;
    /* `runner` is the struct worker, or the struct node when the control thread runs it. */
    void (*run)(void *runner, struct task *task);
};

/* All zero is empty. */
struct task_inbox {
    struct task *_Atomic newest;
};

static inline void task_post(struct task_inbox *inbox, struct task *task)
{
    struct task *before = atomic_load_explicit(&inbox->newest, memory_order_relaxed);

    do
        task->next = before;
    while (!atomic_compare_exchange_weak_explicit(&inbox->newest, &before, task,
                                                  memory_order_seq_cst, memory_order_relaxed));
}

static inline bool task_waiting(const struct task_inbox *inbox)
{
    return atomic_load_explicit(&inbox->newest, memory_order_relaxed) != NULL;
}

/* Takes all, and runs them oldest first. */
static inline void task_run_all(struct task_inbox *inbox, void *runner)
{
    struct task *task = atomic_exchange_explicit(&inbox->newest, NULL, memory_order_acquire);
    struct task *oldest = NULL;

    while (task != NULL) {
        struct task *next = task->next;
        task->next = oldest;
        oldest = task;
        task = next;
    }
    while (oldest != NULL) {
        struct task *next = oldest->next;
        oldest->run(runner, oldest);
        oldest = next;
    }
}

#endif
