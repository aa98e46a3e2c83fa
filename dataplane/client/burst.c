/* Bursts that come home: scattered ones, whose replies are put in order, and those that were cut
 * short because their commands took long or their replies were large. */
#include "dataplane/client/batch.h"

static bool is_scattered(const struct client *client)
{
    return (client->flags & CLIENT_SCATTERED) != 0;
}

/* Replies in the order of the commands, as far as the jobs that are here go. */
static void deliver(struct client *client)
{
    struct plan *plan = client->extra->plan;

    for (; plan->delivered < plan->command_count; plan->delivered++) {
        uint32_t of = plan->order[plan->delivered];
        struct job *job = plan->jobs[of];

        if (job == NULL)
            continue;
        if (plan->taken_of[of] >= plan->ran_of[of])
            return;
        struct job_command *command = &job->commands[plan->taken_of[of]++];
        uint64_t bytes = (uint64_t)command->reply_bytes_high << 32 | command->reply_bytes;
        reply_memory_take(&job->reply, bytes, &client->reply);
        if (atomic_load_explicit(&client->worker->node->monitors, memory_order_relaxed) > 0)
            monitor_feed(client, job->session.db, command->command, command->argv, command->argc);
    }
}

static void unpark(struct client *client, struct job **link)
{
    struct job *job = *link;

    *link = job->next;
    if (is_scattered(client))
        client->extra->plan->ran_of[job->origin] = 0;
    client_redo_job(client->worker, job);
}

void burst_unpark(struct client *client)
{
    struct job **link = &client->parked;

    while (*link != NULL && !client_output_full(client)) {
        /* Replies that wait for those of another job must not grow without bound. The job whose
         * reply comes next has none that wait, so it goes on. */
        if ((*link)->reply.total_bytes > BURST_REPLIES_MAX_BYTES)
            link = &(*link)->next;
        else
            unpark(client, link);
    }
}

void burst_unpark_all(struct client *client)
{
    while (client->parked != NULL)
        unpark(client, &client->parked);
}

static void arrived(struct client *client, struct job *job)
{
    client_reply_begin(client);
    if (is_scattered(client)) {
        client->extra->plan->ran_of[job->origin] = job->next_command;
        deliver(client);
    } else {
        reply_memory_move(&job->reply, &client->reply);
    }
    client_reply_end(client);
    client_check_output(client);
}

void burst_came_halfway(struct client *client, struct job *job)
{
    job->next = client->parked;
    client->parked = job;
    arrived(client, job);
    burst_unpark(client);
}

uint32_t burst_came_home(struct client *client, struct job *job)
{
    struct plan *plan = client->extra->plan;

    arrived(client, job);
    burst_unpark(client);
    if (--plan->open > 0)
        return plan->open;
    for (uint32_t i = 0; i < plan->job_count; i++) {
        if (plan->jobs[i] != NULL)
            job_destroy(plan->jobs[i]);
        plan->jobs[i] = NULL;
    }
    plan->job_count = 0;
    return 0;
}
