#include "drivers/uring/ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What each set of flags saves: DEFER_TASKRUN (6.1) runs completions only when we ask for them, in
 * batches; COOP_TASKRUN (5.19) at least never interrupts us for one. The ring starts disabled, so
 * that the thread that enables it, not the one that made it, becomes its single issuer. */
static const unsigned ring_flag_sets[] = {
    IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_R_DISABLED,
};

static const char *ring_hint(int result)
{
    if (result == -EPERM || result == -EACCES)
        return "forbidden by kernel.io_uring_disabled or a seccomp filter";
    if (result == -ENOSYS)
        return "this kernel has none, or a seccomp filter hides it";
    return NULL;
}

static int ring_fail(int result, const char *step, char *error, size_t error_max)
{
    const char *hint = ring_hint(result);
    struct rlimit limit = {0, 0};

    if (hint != NULL) {
        snprintf(error, error_max, "io_uring: %s: %s (%s)", step, strerror(-result), hint);
    } else if (result == -ENOMEM && getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        snprintf(error, error_max, "io_uring: %s: %s (RLIMIT_MEMLOCK is %llu bytes)", step,
                 strerror(-result), (unsigned long long)limit.rlim_cur);
    } else {
        snprintf(error, error_max, "io_uring: %s: %s", step, strerror(-result));
    }
    return result;
}

/* Multishot receive came with 6.0 and has no flag of its own to ask for; SEND_ZC came with it. */
static int ring_probe(struct ring *ring, char *error, size_t error_max)
{
    const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->io);

    bool enough = probe != NULL && io_uring_opcode_supported(probe, IORING_OP_SEND_ZC) &&
                  io_uring_opcode_supported(probe, IORING_OP_MSG_RING) &&
                  (ring->io.features & features) == features;
    io_uring_free_probe(probe);
    if (enough)
        return 0;
    snprintf(error, error_max, "io_uring: multishot receive needs kernel 6.0 or later");
    return -ENOSYS;
}

int ring_open(struct ring *ring, unsigned submissions, unsigned completions, char *error,
              size_t error_max)
{
    int result = -EINVAL;

    *ring = (struct ring){.owner = 0};
    for (size_t i = 0; result == -EINVAL && i < sizeof ring_flag_sets / sizeof(unsigned); i++) {
        struct io_uring_params params = {.flags = ring_flag_sets[i] | IORING_SETUP_CQSIZE,
                                         .cq_entries = completions};
        result = io_uring_queue_init_params(submissions, &ring->io, &params);
    }
    if (result < 0)
        return ring_fail(result, "io_uring_setup", error, error_max);
    ring->flagged = (ring->io.flags & IORING_SETUP_TASKRUN_FLAG) != 0;
    result = ring_probe(ring, error, error_max);
    if (result < 0)
        io_uring_queue_exit(&ring->io);
    return result;
}

void ring_close(struct ring *ring)
{
    /* The registered number belongs to the owner's table; here it would remove a ring of ours. */
    if (ring->owner != gettid())
        ring->io.int_flags = 0;
    io_uring_queue_exit(&ring->io);
}

int ring_enable(struct ring *ring)
{
    /* liburing 2.3 declares io_uring_enable_rings, but its shared library lacks it. */
    int result =
        io_uring_register((unsigned)ring->io.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

    if (result < 0)
        return result;
    ring->owner = gettid();
    /* Saves looking up the descriptor at each entry; going without costs nothing else. */
    io_uring_register_ring_fd(&ring->io);
    return 0;
}

struct io_uring_sqe *ring_entry(struct ring *ring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->io);

    if (entry == NULL) {
        ring_submit(ring);
        entry = io_uring_get_sqe(&ring->io);
    }
    return entry;
}

/* What another try mends: a time-out, no memory for a request, a completion queue to be emptied. */
static bool ring_is_transient(int result)
{
    return result == -EAGAIN || result == -EBUSY || result == -ETIME;
}

int ring_submit(struct ring *ring)
{
    if (io_uring_sq_ready(&ring->io) == 0)
        return 0;
    int result = io_uring_submit(&ring->io);
    return result >= 0 || result == -EINTR || ring_is_transient(result) ? 0 : result;
}

/* Whether the kernel has something that is not in the completion queue yet. */
static bool ring_kernel_waits(const struct ring *ring)
{
    unsigned flags = IO_URING_READ_ONCE(*ring->io.sq.kflags);

    return !ring->flagged || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

int ring_wait(struct ring *ring, int64_t timeout_us)
{
    int result;

    if (timeout_us == 0) {
        if (io_uring_sq_ready(&ring->io) == 0 && !ring_kernel_waits(ring))
            return 0;
        result = io_uring_submit_and_get_events(&ring->io);
    } else if (timeout_us < 0) {
        result = io_uring_submit_and_wait(&ring->io, 1);
    } else {
        struct __kernel_timespec timeout = {.tv_sec = timeout_us / 1000000,
                                            .tv_nsec = timeout_us % 1000000 * 1000};
        struct io_uring_cqe *first;
        result = io_uring_submit_and_wait_timeout(&ring->io, &first, 1, &timeout, NULL);
    }
    return result >= 0 || ring_is_transient(result) ? 0 : result;
}
