#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/slots/mailbox.h"
#include "dataplane/worker.h"

/* Two workers that have nothing but mailboxes, and one thread for both. */
enum { WORKERS = 2, SIZE = 8, CREDIT = SIZE / 4 };

static struct node *node;
static struct worker *a, *b;

static struct worker *make(uint32_t index)
{
    struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) & ~(size_t)63);

    memset(worker, 0, sizeof *worker);
    worker->node = node;
    worker->index = index;
    node->workers[index] = worker;
    cr_assert_eq(mailroom_create(&worker->mail, index, WORKERS, SIZE), 0);
    return worker;
}

static void start(void)
{
    node = calloc(1, sizeof *node);
    node->worker_count = WORKERS;
    a = make(0);
    b = make(1);
}

static void stop(void)
{
    mailroom_destroy(a->mail);
    mailroom_destroy(b->mail);
    free(a);
    free(b);
    free(node);
}

TestSuite(mailbox, .init = start, .fini = stop);

static unsigned take(struct worker *worker, struct mail *mails, unsigned max)
{
    uint32_t from[MAIL_BATCH_MAX];
    unsigned count = mail_take(worker, mails, from, max);

    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(from[i], 1 - worker->index);
    return count;
}

Test(mailbox, mails_arrive_in_order_with_what_they_carry)
{
    struct mail_wait waits[2];
    struct mail mails[8];

    a->last_stamp = 100;
    mail_request(a, 1, &waits[0], MAIL_JOB, 7, &waits[0]);
    a->last_stamp = 101;
    mail_request(a, 1, &waits[1], MAIL_LOAN_ASK, 8, &waits[1]);
    cr_assert(mail_waiting(b));
    cr_assert(mail_expecting(a));
    cr_assert_eq(take(b, mails, 8), 2);
    cr_assert_eq(mails[0].kind, MAIL_JOB);
    cr_assert_eq(mails[0].argument, 7);
    cr_assert_eq(mails[0].body, &waits[0]);
    cr_assert_eq(mails[1].kind, MAIL_LOAN_ASK);
    cr_assert_eq(mails[1].body, &waits[1]);
    cr_assert_eq(b->last_stamp, 101); /* a cause is always older than its effect */
    cr_assert_not(mail_waiting(b));
    mail_answer(b, 0, MAIL_JOB_DONE, 0, &waits[0]);
    mail_answer(b, 0, MAIL_LOAN_REFUSE, 3, &waits[1]);
    cr_assert_eq(take(a, mails, 8), 2);
    cr_assert_eq(mails[1].argument, 3);
    cr_assert_not(mail_expecting(a));
}

Test(mailbox, requests_wait_for_credit_in_order_and_go_as_answers_come)
{
    enum { REQUESTS = 3 * CREDIT };
    struct mail_wait waits[REQUESTS];
    struct mail mails[16];
    unsigned seen = 0;

    for (unsigned i = 0; i < REQUESTS; i++) {
        cr_assert_eq(mail_has_credit(a, 1, MAIL_JOB), i < CREDIT);
        mail_request(a, 1, &waits[i], MAIL_JOB, i, &waits[i]);
    }
    cr_assert_eq(count_get(&a->stats.parked), REQUESTS - CREDIT);
    while (seen < REQUESTS) {
        unsigned count = take(b, mails, 16);
        cr_assert_eq(count, CREDIT);
        for (unsigned i = 0; i < count; i++) {
            cr_assert_eq(mails[i].argument, seen++);
            mail_answer(b, 0, MAIL_JOB_DONE, 0, mails[i].body);
        }
        cr_assert_eq(take(a, mails, 16), CREDIT);
    }
    cr_assert(mail_has_credit(a, 1, MAIL_JOB));
    cr_assert_not(mail_expecting(a));
}

/* They wait for each other, so the credit of one kind must not be spent by another. */
Test(mailbox, each_kind_has_credit_of_its_own)
{
    struct mail_wait waits[3 * CREDIT + 1];
    struct mail_call call = {0};
    struct mail mails[16];
    unsigned used = 0;

    for (unsigned i = 0; i < CREDIT; i++)
        mail_request(a, 1, &waits[used++], MAIL_JOB, 0, NULL);
    cr_assert_not(mail_has_credit(a, 1, MAIL_JOB));
    cr_assert(mail_has_credit(a, 1, MAIL_LOAN_ASK));
    for (unsigned i = 0; i < CREDIT; i++)
        mail_request(a, 1, &waits[used++], MAIL_LOAN_ASK, 0, NULL);
    cr_assert_not(mail_has_credit(a, 1, MAIL_LOAN_ASK));
    cr_assert(mail_has_credit(a, 1, MAIL_CALL));
    mail_call(a, 1, &call);
    cr_assert_eq(take(b, mails, 16), 2 * CREDIT + 1);
    cr_assert_eq(mails[2 * CREDIT].body, &call);
}

/* A loan is not over with its grant. */
Test(mailbox, a_loan_keeps_its_credit_until_it_is_returned)
{
    struct mail_wait waits[CREDIT + 1];
    struct mail mails[16];

    for (unsigned i = 0; i <= CREDIT; i++)
        mail_request(a, 1, &waits[i], MAIL_LOAN_ASK, i, &waits[i]);
    cr_assert_eq(take(b, mails, 16), CREDIT);
    for (unsigned i = 0; i < CREDIT; i++)
        mail_answer(b, 0, MAIL_LOAN_GRANT, 0, &waits[i]);
    cr_assert_eq(take(a, mails, 16), CREDIT);
    cr_assert_not(mail_expecting(a)); /* held, and no answer is due */
    cr_assert_eq(take(b, mails, 16), 0);
    mail_return(a, 1, &waits[0]);
    cr_assert_eq(take(b, mails, 16), 2);
    cr_assert_eq(mails[0].kind, MAIL_LOAN_RETURN);
    cr_assert_eq(mails[1].kind, MAIL_LOAN_ASK); /* behind the return that made room for it */
    cr_assert_eq(mails[1].argument, CREDIT);
}

/* Everything that may be owed at one moment, in both directions, finds room in the rings. */
Test(mailbox, rings_hold_all_that_credit_allows)
{
    struct mail_wait to_b[3 * CREDIT], to_a[3 * CREDIT];
    static const uint32_t kinds[3] = {MAIL_JOB, MAIL_LOAN_ASK, MAIL_CALL};
    static const uint32_t answers[3] = {MAIL_JOB_DONE, MAIL_LOAN_GRANT, MAIL_CALL_DONE};
    struct mail mails[64];

    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 3 * CREDIT; i++) {
            mail_request(a, 1, &to_b[i], kinds[i / CREDIT], i, &to_b[i]);
            mail_request(b, 0, &to_a[i], kinds[i / CREDIT], i, &to_a[i]);
        }
        unsigned at_b = take(b, mails, 64);
        cr_assert_eq(at_b, 3 * CREDIT);
        for (unsigned i = 0; i < at_b; i++) /* b's own requests are still unread at a */
            mail_answer(b, 0, answers[i / CREDIT], 0, mails[i].body);
        unsigned at_a = take(a, mails, 64);
        cr_assert_eq(at_a, 6 * CREDIT);
        for (unsigned i = 0; i < CREDIT; i++)
            mail_return(a, 1, &to_b[CREDIT + i]);
        for (unsigned i = 0; i < 3 * CREDIT; i++) /* behind the returns */
            mail_answer(a, 1, i / CREDIT == 1 ? MAIL_LOAN_REFUSE : answers[i / CREDIT], 0,
                        &to_a[i]);
        cr_assert_eq(take(b, mails, 64), 4 * CREDIT);
        cr_assert_not(mail_expecting(a));
        cr_assert_not(mail_expecting(b));
    }
}
