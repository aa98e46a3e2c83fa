/* What a machine must offer for the uring driver, and what it says where that is missing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "drivers/uring/stream_uring.h"
#include "tests/unit/drivers/stream_fixture.h"

/* Has io_uring_setup fail as in a container. Lasts for this test's process. */
static void forbid_io_uring(int error)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = rules};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static int create(char *error)
{
    struct stream_options options = {.connections_max = 16, .error = error};
    struct stream *stream;
    int result = stream_uring.create(&stream, &options);

    if (result == 0)
        stream_uring.destroy(stream);
    else
        cr_assert_null(stream);
    return result;
}

Test(uring, says_that_it_is_forbidden)
{
    char error[STREAM_ERROR_MAX] = "";

    forbid_io_uring(EPERM);
    cr_assert_eq(create(error), -EPERM);
    cr_assert_not_null(strstr(error, "seccomp"), "%s", error);
    cr_assert_eq(create(NULL), -EPERM);
}

Test(uring, says_that_it_is_missing)
{
    char error[STREAM_ERROR_MAX] = "";

    forbid_io_uring(ENOSYS);
    cr_assert_eq(create(error), -ENOSYS);
    cr_assert_not_null(strstr(error, "io_uring"), "%s", error);
}

Test(uring, says_that_memory_must_not_be_locked)
{
    char error[STREAM_ERROR_MAX] = "";

    forbid_io_uring(ENOMEM); /* as kernels that count the ring do */
    cr_assert_eq(create(error), -ENOMEM);
    cr_assert_not_null(strstr(error, "RLIMIT_MEMLOCK"), "%s", error);
}

Test(uring, refuses_impossible_buffers)
{
    char error[STREAM_ERROR_MAX] = "";
    struct stream_options options = {.connections_max = 1, .rx_buffers = 3, .error = error};
    struct stream *stream;

    fixture_require(&stream_uring);
    cr_assert_eq(stream_uring.create(&stream, &options), -EINVAL);
    cr_assert_not_null(strstr(error, "receive buffers"), "%s", error);
}

Test(uring, needs_no_privilege_and_little_locked_memory)
{
    struct rlimit limit = {.rlim_cur = 8 << 20, .rlim_max = 8 << 20};
    struct stream_options options = {.connections_max = 10000, .may_sleep = true};
    struct stream_event events[STREAM_EVENTS_MAX];
    struct stream *streams[16];

    fixture_require(&stream_uring);
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    if (geteuid() == 0)
        cr_assert_eq(setuid(65534), 0); /* root is not held to the limit */
    for (int i = 0; i < 16; i++) {
        cr_assert_eq(stream_uring.create(&streams[i], &options), 0);
        cr_assert_eq(stream_uring.poll(streams[i], events, STREAM_EVENTS_MAX, 0), 0);
    }
    for (int i = 0; i < 16; i++)
        stream_uring.destroy(streams[i]);
}
