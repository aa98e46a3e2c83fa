#include <criterion/criterion.h>
#include <pthread.h>

#include "dataplane/task.h"

struct noted {
    struct task task;
    int number;
};

struct runner {
    int order[16], count;
    struct task_inbox *inbox;
};

static void note(void *arg, struct task *task)
{
    struct runner *runner = arg;

    runner->order[runner->count++] = ((struct noted *)task)->number;
}

static void note_and_post_again(void *arg, struct task *task)
{
    struct runner *runner = arg;
    struct noted *noted = (struct noted *)task;

    note(arg, task);
    noted->task.run = note;
    noted->number += 100;
    task_post(runner->inbox, task);
}

Test(task, tasks_run_in_the_order_of_posting)
{
    struct task_inbox inbox = {NULL};
    struct runner runner = {.inbox = &inbox};
    struct noted tasks[3];

    cr_assert_not(task_waiting(&inbox));
    for (int i = 0; i < 3; i++) {
        tasks[i] = (struct noted){.task = {.run = note}, .number = i};
        task_post(&inbox, &tasks[i].task);
    }
    cr_assert(task_waiting(&inbox));
    task_run_all(&inbox, &runner);
    cr_assert_eq(runner.count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(runner.order[i], i);
    cr_assert_not(task_waiting(&inbox));
}

Test(task, a_task_may_post_itself_again)
{
    struct task_inbox inbox = {NULL};
    struct runner runner = {.inbox = &inbox};
    struct noted again = {.task = {.run = note_and_post_again}, .number = 1};
    struct noted once = {.task = {.run = note}, .number = 2};

    task_post(&inbox, &again.task);
    task_post(&inbox, &once.task);
    task_run_all(&inbox, &runner);
    cr_assert_eq(runner.count, 2);
    cr_assert(task_waiting(&inbox));
    task_run_all(&inbox, &runner);
    cr_assert_eq(runner.count, 3);
    cr_assert_eq(runner.order[0], 1);
    cr_assert_eq(runner.order[1], 2);
    cr_assert_eq(runner.order[2], 101);
}

enum { SENDERS = 4, TASKS_EACH = 5000 };

struct counted {
    struct task task;
    unsigned sender, number;
};

struct sender {
    struct task_inbox *inbox;
    struct counted *tasks;
};

struct counter {
    unsigned next[SENDERS], total;
    bool in_order;
};

static void count(void *arg, struct task *task)
{
    struct counter *counter = arg;
    struct counted *counted = (struct counted *)task;

    counter->in_order = counter->in_order && counter->next[counted->sender] == counted->number;
    counter->next[counted->sender]++;
    counter->total++;
}

static void *send_all(void *arg)
{
    struct sender *sender = arg;

    for (unsigned i = 0; i < TASKS_EACH; i++)
        task_post(sender->inbox, &sender->tasks[i].task);
    return NULL;
}

Test(task, nothing_is_lost_or_overtaken_between_threads)
{
    static struct counted tasks[SENDERS][TASKS_EACH];
    struct task_inbox inbox = {NULL};
    struct counter counter = {.in_order = true};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];

    for (unsigned s = 0; s < SENDERS; s++) {
        for (unsigned i = 0; i < TASKS_EACH; i++)
            tasks[s][i] = (struct counted){.task = {.run = count}, .sender = s, .number = i};
        senders[s] = (struct sender){&inbox, tasks[s]};
        cr_assert_eq(pthread_create(&threads[s], NULL, send_all, &senders[s]), 0);
    }
    while (counter.total < SENDERS * TASKS_EACH)
        task_run_all(&inbox, &counter);
    for (unsigned s = 0; s < SENDERS; s++)
        pthread_join(threads[s], NULL);
    cr_assert(counter.in_order);
    cr_assert_not(task_waiting(&inbox));
}
