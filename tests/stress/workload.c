#include "tests/stress/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drivers/clock.h"

enum {
    NOISE_KEYS = 60,
    PIPELINE_MAX = 24,
    COUNTERS = 4,
    LINE_BYTES = 4096,
};

static _Noreturn void broken(const struct workload_client *client, const char *what,
                             const struct answer *answer)
{
    harness_fail(client->workload->harness, "client %u: %s; answer %c%.200s %lld, last command %s",
                 client->index, what, answer == NULL || answer->type == 0 ? '?' : answer->type,
                 answer == NULL || answer->text == NULL ? "" : answer->text,
                 answer == NULL ? 0 : (long long)answer->integer, client->peer->last);
}

static uint32_t below(struct workload_client *client, uint32_t end)
{
    return dice_below(&client->dice, end);
}

/* ---- answers: true unless the connection has ended, which only WORK_VANISH allows ---- */

static bool got(struct workload_client *client, struct answer *answer)
{
    uint64_t began_us = clock_now_us();

    *answer = peer_answer(client->peer);
    uint64_t took_us = clock_now_us() - began_us;
    if (took_us > client->slowest_us)
        client->slowest_us = took_us;
    return answer->type != 0;
}

static bool got_text(struct workload_client *client, const char *text)
{
    struct answer answer;

    if (!got(client, &answer))
        return false;
    if (!answer_is(&answer, text))
        broken(client, text, &answer);
    answer_free(&answer);
    return true;
}

static bool got_number(struct workload_client *client, int64_t number)
{
    struct answer answer;

    if (!got(client, &answer))
        return false;
    if (answer.type != ':' || answer.integer != number)
        broken(client, "not the number expected", &answer);
    answer_free(&answer);
    return true;
}

static bool got_any(struct workload_client *client, unsigned count)
{
    struct answer answer;

    for (unsigned i = 0; i < count; i++) {
        if (!got(client, &answer))
            return false;
        answer_free(&answer);
    }
    return true;
}

/* ---- accounts ---- */

static size_t name_accounts(char *line, size_t used, const char *value)
{
    for (unsigned i = 0; i < WORKLOAD_ACCOUNTS; i++)
        used += (size_t)snprintf(line + used, LINE_BYTES - used, " acct:%u%s", i, value);
    return used;
}

static void add_setup(struct peer *peer)
{
    char line[LINE_BYTES];
    size_t used = (size_t)snprintf(line, sizeof line, "MSET");

    used = name_accounts(line, used, " 1000");
    for (unsigned i = 0; i < WORKLOAD_FIXED; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, " fix:%u x", i);
    peer_add(peer, "%s", line);
}

static bool transfer(struct workload_client *client)
{
    struct peer *peer = client->peer;
    unsigned from = below(client, WORKLOAD_ACCOUNTS), to = below(client, WORKLOAD_ACCOUNTS);
    unsigned amount = below(client, 50);
    struct answer answer;

    peer_add(peer, "SELECT 0");
    peer_add(peer, "MULTI");
    peer_add(peer, "DECRBY acct:%u %u", from, amount);
    peer_add(peer, "INCRBY acct:%u %u", to, amount);
    peer_add(peer, "EXEC");
    peer_flush(peer);
    if (!got_text(client, "OK") || !got_text(client, "OK") || !got_any(client, 2) ||
        !got(client, &answer))
        return false;
    if (answer.type != '*' || answer.count != 2)
        broken(client, "EXEC of a transfer", &answer);
    answer_free(&answer);
    atomic_fetch_add_explicit(&client->workload->transfers, 1, memory_order_relaxed);
    return true;
}

static bool transfer_watched(struct workload_client *client)
{
    struct peer *peer = client->peer;
    unsigned from = below(client, WORKLOAD_ACCOUNTS), amount = below(client, 50);
    unsigned to = (from + 1 + below(client, WORKLOAD_ACCOUNTS - 1)) % WORKLOAD_ACCOUNTS;
    struct answer both, answer;

    peer_add(peer, "SELECT 0");
    peer_add(peer, "WATCH acct:%u acct:%u", from, to);
    peer_add(peer, "MGET acct:%u acct:%u", from, to);
    peer_flush(peer);
    if (!got_text(client, "OK") || !got_text(client, "OK") || !got(client, &both))
        return false;
    if (both.count != 2 || both.items[0].type != '$' || both.items[1].type != '$')
        broken(client, "MGET of two accounts", &both);
    long long left = answer_number(&both.items[0]) - amount;
    long long right = answer_number(&both.items[1]) + amount;
    answer_free(&both);
    if (below(client, 10) == 0) {
        peer_send(peer, below(client, 2) == 0 ? "UNWATCH" : "RESET");
        return got_any(client, 1);
    }
    peer_add(peer, "MULTI");
    peer_add(peer, "MSET acct:%u %lld acct:%u %lld", from, left, to, right);
    peer_add(peer, "EXEC");
    peer_flush(peer);
    if (!got_text(client, "OK") || !got_text(client, "QUEUED") || !got(client, &answer))
        return false;
    if (answer.type != '_' && (answer.type != '*' || answer.count != 1))
        broken(client, "EXEC with WATCH", &answer);
    atomic_fetch_add_explicit(answer.type == '_' ? &client->workload->aborted
                                                 : &client->workload->transfers,
                              1, memory_order_relaxed);
    answer_free(&answer);
    return true;
}

static void check_sum(struct workload_client *client, const struct answer *answer)
{
    int64_t sum = 0;

    if (answer->type != '*' || answer->count != WORKLOAD_ACCOUNTS)
        broken(client, "all accounts", answer);
    for (size_t i = 0; i < answer->count; i++)
        sum += answer_number(&answer->items[i]);
    if (sum != WORKLOAD_TOTAL)
        harness_fail(client->workload->harness, "client %u: the sum is %lld instead of %d",
                     client->index, (long long)sum, WORKLOAD_TOTAL);
}

static bool sum_up(struct workload_client *client)
{
    struct peer *peer = client->peer;
    bool block = below(client, 2) == 0;
    char line[LINE_BYTES];
    struct answer answer;

    peer_add(peer, "SELECT 0");
    if (block) {
        peer_add(peer, "MULTI");
        for (unsigned i = 0; i < WORKLOAD_ACCOUNTS; i++)
            peer_add(peer, "GET acct:%u", i);
        peer_add(peer, "EXEC");
    } else {
        name_accounts(line, (size_t)snprintf(line, sizeof line, "MGET"), "");
        peer_add(peer, "%s", line);
    }
    peer_flush(peer);
    if (!got_text(client, "OK") || (block && !got_any(client, 1 + WORKLOAD_ACCOUNTS)) ||
        !got(client, &answer))
        return false;
    check_sum(client, &answer);
    answer_free(&answer);
    return true;
}

/* All of database 0 goes and comes back in one transaction. */
static bool write_again(struct workload_client *client)
{
    struct peer *peer = client->peer;
    struct answer answer;

    peer_add(peer, "SELECT 0");
    peer_add(peer, "MULTI");
    peer_add(peer, below(client, 2) == 0 ? "FLUSHDB" : "SWAPDB 0 4");
    add_setup(peer);
    peer_add(peer, "EXEC");
    peer_flush(peer);
    if (!got_text(client, "OK") || !got_any(client, 3) || !got(client, &answer))
        return false;
    if (answer.type != '*' || answer.count != 2 || !answer_is(&answer.items[1], "OK"))
        broken(client, "EXEC of FLUSHDB and MSET", &answer);
    answer_free(&answer);
    return true;
}

/* ---- counters: each belongs to one connection ---- */

static void name_own(const struct workload_client *client, char own[32])
{
    snprintf(own, 32, "own:%u:%u", client->index, client->generation);
}

static bool count_up(struct workload_client *client)
{
    struct peer *peer = client->peer;
    unsigned which[PIPELINE_MAX], count = 1 + below(client, PIPELINE_MAX - 1);
    char own[32];

    name_own(client, own);
    peer_add(peer, "SELECT 3");
    for (unsigned i = 0; i < count; i++) {
        which[i] = below(client, COUNTERS);
        if (below(client, 6) == 0)
            peer_add(peer, "MGET %s:0 %s:1 %s:2", own, own, own);
        else
            peer_add(peer, "PING");
        peer_add(peer, "INCR %s:%u", own, which[i]);
        peer_add(peer, "GET %s:%u", own, which[i]);
    }
    peer_flush(peer);
    if (!got_text(client, "OK"))
        return false;
    for (unsigned i = 0; i < count; i++) {
        char text[24];
        if (!got_any(client, 1) || !got_number(client, (int64_t)++client->counters[which[i]]))
            return false;
        snprintf(text, sizeof text, "%llu", (unsigned long long)client->counters[which[i]]);
        if (!got_text(client, text))
            return false;
    }
    return true;
}

/* Nobody else changes these keys, so WATCH must see the connection's own change and no other. */
static bool watch_own(struct workload_client *client)
{
    struct peer *peer = client->peer;
    unsigned which = below(client, COUNTERS);
    bool change = below(client, 2) == 0;
    struct answer answer;
    char own[32];

    name_own(client, own);
    peer_add(peer, "SELECT 3");
    peer_add(peer, "WATCH %s:0 %s:1 %s:2 %s:3", own, own, own, own);
    if (change)
        peer_add(peer, "INCR %s:%u", own, which);
    peer_add(peer, "MULTI");
    peer_add(peer, "INCR %s:%u", own, which);
    peer_add(peer, "EXEC");
    peer_flush(peer);
    if (!got_text(client, "OK") || !got_text(client, "OK"))
        return false;
    client->counters[which]++;
    if (change && !got_number(client, (int64_t)client->counters[which]))
        return false;
    if (!got_text(client, "OK") || !got_text(client, "QUEUED") || !got(client, &answer))
        return false;
    if (change ? answer.type != '_' : answer.type != '*' || answer.count != 1)
        broken(client, change ? "EXEC after an own change" : "EXEC without a change", &answer);
    answer_free(&answer);
    return true;
}

/* ---- walks ---- */

static unsigned fixed_keys(const struct answer *keys, bool seen[WORKLOAD_FIXED])
{
    unsigned count = 0;

    for (size_t i = 0; i < keys->count; i++) {
        unsigned number = WORKLOAD_FIXED;
        if (sscanf(keys->items[i].text, "fix:%u", &number) == 1 && number < WORKLOAD_FIXED &&
            !seen[number]) {
            seen[number] = true;
            count++;
        }
    }
    return count;
}

static bool scan(struct workload_client *client)
{
    struct peer *peer = client->peer;
    bool seen[WORKLOAD_FIXED] = {false};
    unsigned count = 0;
    unsigned long long cursor = 0;
    struct answer answer;

    peer_send(peer, "SELECT 0");
    if (!got_text(client, "OK"))
        return false;
    do {
        peer_send(peer, "SCAN %llu COUNT %u", cursor, 1 + below(client, 400));
        if (!got(client, &answer))
            return false;
        if (answer.count != 2 || answer.items[0].type != '$' || answer.items[1].type != '*')
            broken(client, "SCAN", &answer);
        cursor = strtoull(answer.items[0].text, NULL, 10);
        count += fixed_keys(&answer.items[1], seen);
        answer_free(&answer);
    } while (cursor != 0);
    if (count != WORKLOAD_FIXED)
        harness_fail(client->workload->harness, "SCAN has missed %u of %d keys",
                     WORKLOAD_FIXED - count, WORKLOAD_FIXED);
    return true;
}

static bool keys(struct workload_client *client)
{
    struct peer *peer = client->peer;
    bool seen[WORKLOAD_FIXED] = {false}, block = below(client, 2) == 0;
    struct answer answer;

    peer_add(peer, "SELECT 0");
    if (block)
        peer_add(peer, "MULTI");
    peer_add(peer, "KEYS *");
    peer_add(peer, "DBSIZE");
    if (block)
        peer_add(peer, "EXEC");
    peer_flush(peer);
    if (!got_text(client, "OK") || (block && !got_any(client, 3)) || !got(client, &answer))
        return false;
    const struct answer *found = block && answer.count == 2 ? &answer.items[0] : &answer;
    if (fixed_keys(found, seen) != WORKLOAD_FIXED)
        broken(client, "KEYS has missed something", found);
    if (block && answer.items[1].integer != WORKLOAD_ACCOUNTS + WORKLOAD_FIXED)
        broken(client, "DBSIZE in a transaction", &answer.items[1]);
    answer_free(&answer);
    return block || got_number(client, WORKLOAD_ACCOUNTS + WORKLOAD_FIXED);
}

/* ---- noise ---- */

static void add_noise(struct workload_client *client)
{
    struct peer *peer = client->peer;
    unsigned a = below(client, NOISE_KEYS), b = below(client, NOISE_KEYS);
    unsigned c = below(client, NOISE_KEYS), ms = 1 + below(client, 300);

    switch (below(client, 26)) {
    case 0:
        peer_add(peer, "SET n:%u value%u", a, b);
        break;
    case 1:
        peer_add(peer, "SET n:%u %u PX %u", a, b, ms);
        break;
    case 2:
        peer_add(peer, "GET n:%u", a);
        break;
    case 3:
        peer_add(peer, "DEL n:%u n:%u n:%u", a, b, c);
        break;
    case 4:
        peer_add(peer, "UNLINK n:%u n:%u", a, b);
        break;
    case 5:
        peer_add(peer, "COPY n:%u n:%u REPLACE", a, b);
        break;
    case 6:
        peer_add(peer, "RENAME n:%u n:%u", a, b);
        break;
    case 7:
        peer_add(peer, "RENAMENX n:%u n:%u", a, b);
        break;
    case 8:
        peer_add(peer, "BITOP XOR n:%u n:%u n:%u", a, b, c);
        break;
    case 9:
        peer_add(peer, "MSETNX n:%u 1 n:%u 2 n:%u 3", a, b, c);
        break;
    case 10:
        peer_add(peer, "MSET n:%u 1 n:%u 2 n:%u 3", a, b, c);
        break;
    case 11:
        peer_add(peer, "MGET n:%u n:%u n:%u", a, b, c);
        break;
    case 12:
        peer_add(peer, "PEXPIRE n:%u %u", a, ms);
        break;
    case 13:
        peer_add(peer, "PERSIST n:%u", a);
        break;
    case 14:
        peer_add(peer, "APPEND n:%u xyz", a);
        break;
    case 15:
        peer_add(peer, "EXISTS n:%u n:%u n:%u", a, b, c);
        break;
    case 16:
        peer_add(peer, "TOUCH n:%u n:%u", a, b);
        break;
    case 17:
        peer_add(peer, "SETRANGE n:%u %u abc", a, b);
        break;
    case 18:
        peer_add(peer, "GETDEL n:%u", a);
        break;
    case 19:
        peer_add(peer, "GETEX n:%u PX %u", a, ms);
        break;
    case 20:
        peer_add(peer, "MOVE n:%u %u", a, 1 + below(client, 2));
        break;
    case 21:
        peer_add(peer, "COPY n:%u n:%u DB %u", a, b, 1 + below(client, 2));
        break;
    case 22:
        peer_add(peer, "INCR n:%u", a);
        break;
    case 23:
        peer_add(peer, "SETBIT n:%u %u 1", a, b);
        break;
    case 24:
        peer_add(peer, "LCS n:%u n:%u", a, b);
        break;
    case 25:
        peer_add(peer, "PTTL n:%u", a);
        break;
    }
}

static bool noise(struct workload_client *client)
{
    struct peer *peer = client->peer;
    unsigned count = 1 + below(client, PIPELINE_MAX - 1);
    bool block = below(client, 4) == 0;

    peer_add(peer, "SELECT %u", 1 + below(client, 2));
    if (block)
        peer_add(peer, "MULTI");
    for (unsigned i = 0; i < count; i++)
        add_noise(client);
    if (block)
        peer_add(peer, below(client, 8) == 0 ? "DISCARD" : "EXEC");
    peer_flush(peer);
    return got_any(client, 1 + count + (block ? 2 : 0));
}

static bool databases(struct workload_client *client)
{
    static const char *const lines[] = {"FLUSHDB", "FLUSHDB ASYNC", "SWAPDB 1 2", "SWAPDB 2 1"};

    if ((client->workload->flags & WORK_DATABASES) == 0)
        return noise(client);
    peer_add(client->peer, "SELECT %u", 1 + below(client, 2));
    peer_add(client->peer, "%s", lines[below(client, 4)]);
    peer_flush(client->peer);
    return got_text(client, "OK") && got_text(client, "OK");
}

/* Commands that ask or walk all workers. */
static bool whole(struct workload_client *client)
{
    static const char *const lines[] = {"DBSIZE",          "RANDOMKEY",    "KEYS n:1*",
                                        "SCAN 0 COUNT 30", "CLIENT LIST",  "POLLUX SLOTS",
                                        "CLIENT ID",       "CLIENT INFO",  "INFO",
                                        "CLUSTER SLOTS",   "COMMAND COUNT"};

    peer_add(client->peer, "SELECT %u", 1 + below(client, 2));
    peer_add(client->peer, "%s", lines[below(client, sizeof lines / sizeof *lines)]);
    peer_flush(client->peer);
    return got_any(client, 2);
}

/* ---- connections that come and go ---- */

static void connect_again(struct workload_client *client)
{
    struct harness *harness = client->workload->harness;
    struct peer *peer = client->peer =
        peer_create(harness, below(client, harness->node->worker_count));

    peer->may_be_closed = (client->workload->flags & WORK_VANISH) != 0;
    /* What the connection before had sent may still happen: other counters from now on. */
    client->generation++;
    memset(client->counters, 0, sizeof client->counters);
}

/* Leaves with something under way, one way or another. */
static void leave(struct workload_client *client)
{
    struct peer *peer = client->peer;

    atomic_fetch_add_explicit(&client->workload->ended, 1, memory_order_relaxed);
    for (unsigned i = below(client, 4); i > 0 && !peer->closed; i--) {
        switch (below(client, 5)) {
        case 0:
            peer_add(peer, "WATCH acct:1 acct:2 acct:3");
            break;
        case 1:
            peer_add(peer, "MULTI");
            break;
        case 2:
            peer_add(peer, "MGET acct:1 acct:2 acct:3 acct:4");
            break;
        case 3:
            peer_add(peer, "KEYS *");
            break;
        case 4:
            peer_add_raw(peer, "*3\r\n$3\r\nSET\r\n$1\r\n", 17);
            break;
        }
        peer_flush(peer);
    }
    switch (below(client, 3)) {
    case 0:
        peer_close(peer);
        break;
    case 1:
        peer_reset(peer);
        break;
    case 2: /* everything that was asked is answered, then the worker closes */
        pipe_end(peer->pipe);
        while (!peer->closed)
            peer_skip(peer);
        peer_close(peer);
        break;
    }
}

static bool kill_someone(struct workload_client *client)
{
    uint64_t next = atomic_load_explicit(&client->workload->harness->node->next_client_id,
                                         memory_order_relaxed);

    peer_send(client->peer, "CLIENT KILL ID %llu",
              (unsigned long long)(next - 1 - below(client, next > 30 ? 30 : (uint32_t)next - 1)));
    return got_any(client, 1);
}

static bool pause_all(struct workload_client *client)
{
    peer_add(client->peer, "CLIENT PAUSE %u %s", 1 + below(client, 5),
             below(client, 2) == 0 ? "ALL" : "WRITE");
    peer_add(client->peer, "PING");
    if (below(client, 2) == 0) {
        peer_add(client->peer, "CLIENT UNPAUSE");
        peer_flush(client->peer);
        return got_any(client, 3);
    }
    peer_flush(client->peer);
    return got_any(client, 2);
}

/* A connection that only listens for a while. */
static bool monitor(struct workload_client *client)
{
    struct peer *peer = client->peer;

    peer_send(peer, "MONITOR");
    if (!got_text(client, "OK") || !got_any(client, 20))
        return false;
    peer_send(peer, "RESET");
    for (;;) {
        struct answer answer;
        if (!got(client, &answer))
            return false;
        bool done = answer_is(&answer, "RESET");
        answer_free(&answer);
        if (done)
            return true;
    }
}

static bool operation(struct workload_client *client)
{
    unsigned flags = client->workload->flags, kind = below(client, 100);

    if (kind < 20)
        return transfer(client);
    if (kind < 35)
        return transfer_watched(client);
    if (kind < 45)
        return sum_up(client);
    if (kind < 60)
        return count_up(client);
    if (kind < 68)
        return watch_own(client);
    if (kind < 84)
        return noise(client);
    if (kind < 87)
        return databases(client);
    if (kind < 92)
        return whole(client);
    if (kind < 94)
        return scan(client);
    if (kind < 96)
        return keys(client);
    if (kind == 96 && (flags & WORK_DATABASES) != 0)
        return write_again(client);
    if (kind == 97 && (flags & WORK_PAUSE) != 0)
        return pause_all(client);
    if (kind == 98 && (flags & WORK_MONITOR) != 0 && client->index % 4 == 1)
        return monitor(client);
    if (kind == 99 && (flags & WORK_VANISH) != 0)
        return kill_someone(client);
    return noise(client);
}

static void *run(void *arg)
{
    struct workload_client *client = arg;
    struct workload *workload = client->workload;

    connect_again(client);
    while (!atomic_load_explicit(&workload->harness->stop, memory_order_relaxed)) {
        bool goes_on = operation(client);
        atomic_fetch_add_explicit(&workload->operations, 1, memory_order_relaxed);
        bool leaves = (workload->flags & WORK_VANISH) != 0 && below(client, 12) == 0;
        if (goes_on && !leaves)
            continue;
        leave(client);
        connect_again(client);
    }
    peer_close(client->peer);
    return NULL;
}

/* ---- life ---- */

void wait_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

struct workload *workload_start(struct harness *harness, unsigned clients, unsigned flags,
                                uint64_t seed)
{
    struct workload *workload = calloc(1, sizeof *workload);
    struct peer *peer = peer_create(harness, 0);

    if (workload == NULL || clients > WORKLOAD_CLIENTS_MAX)
        abort();
    workload->harness = harness;
    workload->flags = flags;
    workload->count = clients;
    add_setup(peer);
    peer_flush(peer);
    peer_skip(peer);
    peer_close(peer);
    for (unsigned i = 0; i < clients; i++) {
        struct workload_client *client = &workload->clients[i];
        client->workload = workload;
        client->index = i;
        client->dice.state = seed * 1000003 + i;
        if (pthread_create(&client->thread, NULL, run, client) != 0)
            abort();
    }
    return workload;
}

void workload_stop(struct workload *workload)
{
    atomic_store(&workload->harness->stop, true);
    for (unsigned i = 0; i < workload->count; i++)
        pthread_join(workload->clients[i].thread, NULL);
    struct workload_client *last = &workload->clients[0];
    last->peer = peer_create(workload->harness, 0);
    if (!sum_up(last))
        broken(last, "no sum at the end", NULL);
    peer_close(last->peer);
    uint64_t slowest_us = 0;
    for (unsigned i = 0; i < workload->count; i++)
        if (workload->clients[i].slowest_us > slowest_us)
            slowest_us = workload->clients[i].slowest_us;
    printf("%llu operations, %llu transfers, %llu aborted, %llu connections ended, the slowest "
           "answer took %llu ms\n",
           (unsigned long long)workload->operations, (unsigned long long)workload->transfers,
           (unsigned long long)workload->aborted, (unsigned long long)workload->ended,
           (unsigned long long)slowest_us / 1000);
    atomic_store(&workload->harness->stop, false);
    free(workload);
}

int workload_main(int argc, char **argv, unsigned default_ms,
                  bool (*stress)(uint32_t mailbox_size, unsigned run_ms, uint64_t seed))
{
    unsigned run_ms = argc > 1 ? (unsigned)atoi(argv[1]) : default_ms;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_now_ns();
    bool right;

    printf("seed %llu\n", (unsigned long long)seed);
    right = stress(MAILBOX_SIZE_MIN, run_ms / 2, seed);
    right = stress(1024, run_ms / 2, seed + 1) && right;
    return right ? 0 : 1;
}
