/* Wake-ups of the stream drivers: between streams, from threads without one, none lost. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/epoll/stream_epoll.h"
#include "drivers/uring/stream_uring.h"
#include "tests/unit/drivers/stream_fixture.h"

enum { ROUNDS = 20000, SENDERS = 3 };

static struct stream *make_stream(const struct stream_driver *driver)
{
    struct stream_options options = {.connections_max = 16, .may_sleep = true};
    struct stream *stream;

    cr_assert_eq(driver->create(&stream, &options), 0);
    return stream;
}

/* Polls with no time-out at all until `word` is not `old`; a lost wake-up hangs the test, which
 * then fails by its time limit. */
static unsigned wait_change(const struct stream_driver *driver, struct stream *stream,
                            _Atomic unsigned *word, unsigned old)
{
    struct stream_event events[STREAM_EVENTS_MAX];
    unsigned now;

    while ((now = atomic_load(word)) == old)
        cr_assert(driver->poll(stream, events, STREAM_EVENTS_MAX, -1) >= 0);
    return now;
}

struct player {
    const struct stream_driver *driver;
    struct stream *own, *other;
    _Atomic unsigned *inbox, *outbox;
};

/* Waits for each ball and plays it back. */
static void *play_back(void *arg)
{
    struct player *player = arg;

    for (unsigned ball = 0; ball < ROUNDS;) {
        ball = wait_change(player->driver, player->own, player->inbox, ball);
        atomic_store(player->outbox, ball);
        player->driver->wake(player->own, player->other);
        player->driver->flush(player->own);
    }
    return NULL;
}

DRIVER_TEST(plays_ball_between_two_sleepers)
{
    struct stream *here = make_stream(driver);
    struct stream *there = make_stream(driver);
    _Atomic unsigned to_there = 0;
    _Atomic unsigned to_here = 0;
    struct player player = {driver, there, here, &to_there, &to_here};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, play_back, &player), 0);
    for (unsigned ball = 0; ball < ROUNDS; ball++) {
        atomic_store(&to_there, ball + 1);
        driver->wake(here, there); /* goes out with the poll */
        cr_assert_eq(wait_change(driver, here, &to_here, ball), ball + 1);
    }
    pthread_join(thread, NULL);
    driver->destroy(there);
    driver->destroy(here);
}

/* A thread without a stream. */
static void *play_back_bare(void *arg)
{
    struct player *player = arg;

    for (unsigned ball = 1; ball <= ROUNDS; ball++) {
        while (atomic_load(player->inbox) != ball)
            sched_yield();
        atomic_store(player->outbox, ball);
        player->driver->wake(NULL, player->other);
    }
    return NULL;
}

DRIVER_TEST(is_woken_by_a_thread_without_a_stream)
{
    struct stream *here = make_stream(driver);
    _Atomic unsigned to_there = 0;
    _Atomic unsigned to_here = 0;
    struct player player = {driver, NULL, here, &to_there, &to_here};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, play_back_bare, &player), 0);
    for (unsigned ball = 0; ball < ROUNDS; ball++) {
        atomic_store(&to_there, ball + 1);
        cr_assert_eq(wait_change(driver, here, &to_here, ball), ball + 1);
    }
    pthread_join(thread, NULL);
    driver->destroy(here);
}

DRIVER_TEST(keeps_a_wake_up_for_the_next_sleep)
{
    struct stream *stream = make_stream(driver);
    struct stream_event events[STREAM_EVENTS_MAX];

    driver->wake(NULL, stream); /* before its first poll */
    cr_assert_eq(driver->poll(stream, events, STREAM_EVENTS_MAX, -1), 0);
    driver->wake(stream, stream);
    cr_assert_eq(driver->poll(stream, events, STREAM_EVENTS_MAX, -1), 0);
    for (int i = 0; i < 10000; i++)
        driver->wake(NULL, stream);
    cr_assert_eq(driver->poll(stream, events, STREAM_EVENTS_MAX, -1), 0);
    /* Those are used up: the next sleep lasts. */
    uint64_t start_us = clock_now_us();
    unsigned polls = 0;
    while (clock_now_us() - start_us < 20000 && polls < 10000) {
        cr_assert_eq(driver->poll(stream, events, STREAM_EVENTS_MAX, 20000), 0);
        polls++;
    }
    cr_assert_lt(polls, 10000);
    driver->destroy(stream);
}

struct sender {
    const struct stream_driver *driver;
    struct stream *target;
    _Atomic unsigned *count;
};

/* The count goes up before each wake-up, so whoever sleeps after the last one has missed it. */
static void *send_many(void *arg)
{
    struct sender *sender = arg;
    struct stream *own = make_stream(sender->driver);
    struct stream_event events[STREAM_EVENTS_MAX];

    sender->driver->poll(own, events, STREAM_EVENTS_MAX, 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(sender->count, 1);
        sender->driver->wake(own, sender->target);
        if (i % 4 == 0)
            sender->driver->flush(own);
        else if (i % 4 == 1)
            sender->driver->poll(own, events, STREAM_EVENTS_MAX, 0);
    }
    sender->driver->flush(own);
    sender->driver->poll(own, events, STREAM_EVENTS_MAX, 1000); /* and what failed is tried again */
    sender->driver->destroy(own);
    return NULL;
}

DRIVER_TEST(hears_several_senders)
{
    struct stream *here = make_stream(driver);
    _Atomic unsigned count = 0;
    struct sender sender = {driver, here, &count};
    pthread_t threads[SENDERS];
    unsigned seen = 0;

    for (int i = 0; i < SENDERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, send_many, &sender), 0);
    while (seen < SENDERS * ROUNDS)
        seen = wait_change(driver, here, &count, seen);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    driver->destroy(here);
}

struct late_owner {
    const struct stream_driver *driver;
    struct stream *stream;
    int fd;
};

static void *own_for_a_while(void *arg)
{
    struct late_owner *owner = arg;
    struct stream_event events[STREAM_EVENTS_MAX];
    unsigned accepted = 0;

    while (accepted == 0) {
        int count = owner->driver->poll(owner->stream, events, STREAM_EVENTS_MAX, 100000);
        for (int i = 0; i < count; i++)
            accepted += events[i].kind == STREAM_ACCEPTED;
    }
    owner->driver->poll(owner->stream, events, STREAM_EVENTS_MAX, 0);
    return NULL;
}

/* main makes and destroys the streams of its workers, and may have one of its own. */
DRIVER_TEST(is_made_and_destroyed_by_another_thread)
{
    struct stream *own = make_stream(driver);
    struct stream_event events[STREAM_EVENTS_MAX];
    struct fixture *fixture = fixture_open(driver, NULL);
    struct late_owner owner = {driver, fixture->stream, -1};
    pthread_t thread;
    char byte;

    cr_assert_eq(driver->poll(own, events, STREAM_EVENTS_MAX, 0), 0);
    owner.fd = fixture_connect_only(fixture);
    cr_assert_eq(pthread_create(&thread, NULL, own_for_a_while, &owner), 0);
    pthread_join(thread, NULL);
    fixture_close(fixture);
    cr_assert_eq(read(owner.fd, &byte, 1), 0);
    close(owner.fd);
    for (int i = 0; i < 10; i++) {
        driver->wake(NULL, own);
        cr_assert_eq(driver->poll(own, events, STREAM_EVENTS_MAX, -1), 0);
    }
    driver->destroy(own);
}
