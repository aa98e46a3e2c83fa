/* Tickets that fired here for a slot that has moved: they are mailed to its owner, a vector at a time. */
#include <stdlib.h>

#include "dataplane/slots/mailbox.h"
#include "dataplane/store/expire.h"
#include "dataplane/worker.h"

enum { TICKETS_VECTOR = 64 };

struct ticket_mail {
    struct mail_call call;
    uint32_t to, count;
    struct wheel_ticket tickets[TICKETS_VECTOR];
};

static void tickets_there(struct worker *worker, struct mail_call *call)
{
    struct ticket_mail *mail = call->argument;

    expire_tickets_arrived(worker, mail->tickets, mail->count);
}

static void tickets_done(struct worker *worker, struct mail_call *call)
{
    (void)worker;
    free(call->argument);
}

static void send_open(struct worker *worker)
{
    struct ticket_mail *mail = worker->tickets_out;

    worker->tickets_out = NULL;
    mail->call = (struct mail_call){.run = tickets_there, .done = tickets_done, .argument = mail};
    mail_call(worker, mail->to, &mail->call);
}

void tickets_flush(struct worker *worker)
{
    if (worker->tickets_out != NULL)
        send_open(worker);
}

void expire_ticket_elsewhere(struct worker *worker, uint32_t owner, struct wheel_ticket ticket)
{
    if (worker->tickets_out != NULL &&
        (worker->tickets_out->to != owner || worker->tickets_out->count == TICKETS_VECTOR))
        send_open(worker);
    if (worker->tickets_out == NULL) {
        worker->tickets_out = calloc(1, sizeof *worker->tickets_out);
        if (worker->tickets_out == NULL)
            return;
        worker->tickets_out->to = owner;
    }
    worker->tickets_out->tickets[worker->tickets_out->count++] = ticket;
}
