#include "drivers/dpdk/gate.h"

#include <assert.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "drivers/clock.h"

static long barrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

void gate_init(struct gate *gate)
{
    memset(gate, 0, sizeof(*gate));
    gate->fences = barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0;
}

int gate_add(struct gate *gate, struct gate_user *user)
{
    if (gate->user_count == GATE_USERS_MAX)
        return -ENOSPC;
    atomic_init(&user->inside, false);
    gate->users[gate->user_count++] = user;
    return 0;
}

void gate_leave_out(struct gate *gate, struct gate_user *user)
{
    for (unsigned i = 0; i < gate->user_count; i++)
        if (gate->users[i] == user) {
            gate->users[i] = gate->users[--gate->user_count];
            return;
        }
}

int gate_close(struct gate *gate)
{
    const struct timespec pause = {.tv_nsec = 20000};
    uint64_t deadline_us = clock_now_us() + GATE_WAIT_US;

    atomic_fetch_add_explicit(&gate->closed, 1, memory_order_seq_cst);
    if (gate->fences)
        atomic_thread_fence(memory_order_seq_cst);
    else
        barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    for (unsigned i = 0; i < gate->user_count; i++)
        while (atomic_load_explicit(&gate->users[i]->inside, memory_order_acquire)) {
            if (clock_now_us() > deadline_us)
                return -ETIMEDOUT;
            nanosleep(&pause, NULL);
        }
    return 0;
}

void gate_open(struct gate *gate)
{
    unsigned before = atomic_fetch_sub_explicit(&gate->closed, 1, memory_order_release);

    assert(before > 0);
    (void)before;
}
