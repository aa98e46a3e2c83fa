/* The gate: keeps workers out of a device while its memory changes under it.
 * Purpose:   DPDK's memif driver unmaps a vanished peer's memory on EAL's interrupt thread, and a
 *            worker in the middle of a burst would read what is gone. Bursts on such ports pass the
 *            gate; whoever is about to change a port closes it first and so waits for them.
 * Ownership: the caller owns gate and users; a user stays linked until gate_leave_out.
 * Threading: gate_enter and gate_exit by the user's worker, gate_close and gate_open by any other
 *            thread (not nested in a gate_enter). add and leave_out by one thread.
 * Errors:    gate_close gives up waiting after GATE_WAIT_US (-ETIMEDOUT), still closed. */
#ifndef POLLUX_DRIVERS_DPDK_GATE_H
#define POLLUX_DRIVERS_DPDK_GATE_H

#include <stdatomic.h>
#include <stdbool.h>

enum {
    GATE_USERS_MAX = 512,
    GATE_WAIT_US = 1000000, /* a burst lasts microseconds, a worker off its core some 10 ms */
};

struct gate_user {
    _Atomic bool inside; /* written by its worker */
};

struct gate {
    _Atomic unsigned closed; /* closers at this moment */
    bool fences;             /* without membarrier(2) workers fence themselves */
    unsigned user_count;
    struct gate_user *users[GATE_USERS_MAX];
};

void gate_init(struct gate *gate);
/* -ENOSPC beyond GATE_USERS_MAX. Not while another thread closes the gate. */
int gate_add(struct gate *gate, struct gate_user *user);
void gate_leave_out(struct gate *gate, struct gate_user *user);

int gate_close(struct gate *gate);
void gate_open(struct gate *gate);

/* False: closed, do not touch the device. True: gate_exit follows. The order of the store and the
 * load below is what matters; the closing side's membarrier(2) gives it for the price of none
 * here. */
static inline bool gate_enter(struct gate *gate, struct gate_user *user)
{
    /* Who polls a closed gate stays away from its flag: going in and out again without a pause, it
     * would be seen inside for as long as the closer cares to look. */
    if (atomic_load_explicit(&gate->closed, memory_order_relaxed) != 0)
        return false;
    atomic_store_explicit(&user->inside, true, memory_order_relaxed);
    if (gate->fences)
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&gate->closed, memory_order_acquire) == 0)
        return true;
    atomic_store_explicit(&user->inside, false, memory_order_release);
    return false;
}

static inline void gate_exit(struct gate_user *user)
{
    atomic_store_explicit(&user->inside, false, memory_order_release);
}

#endif
