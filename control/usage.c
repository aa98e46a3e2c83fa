#include "control/usage.h"

#include <stdint.h>
#include <stdio.h>
#include <xxhash.h>
#ifdef POLLUX_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "control/build_id.h" /* POLLUX_COMMIT, made by the build */

static const char help_text[] =
    "Usage: polluxd [file] [-] [--directive value ...]\n"
    "       polluxd --version | --help\n"
    "\n"
    "  file                  configuration file, in the syntax of redis.conf\n"
    "  -                     reads more configuration from standard input\n"
    "  --directive value     any directive of the file; the last value counts\n"
    "  -v, --version         prints the version\n"
    "  -h, --help            prints this text\n"
    "\n"
    "Examples:\n"
    "  polluxd                                   port 6379 of this machine, a worker for each "
    "core\n"
    "  polluxd --port 7000 --workers 2\n"
    "  polluxd /etc/pollux.conf --loglevel verbose\n"
    "  echo 'maxmemory 4gb' | polluxd -\n"
    "  polluxd --port 0 --unixsocket /run/pollux.sock --unixsocketperm 770\n"
    "\n"
    "Signals: TERM and INT end the server once its replies are sent, HUP opens the log file "
    "anew.\n";

const char *usage_commit(void)
{
    return POLLUX_COMMIT;
}

uint64_t usage_build_id(void)
{
    const char what[] = POLLUX_VERSION POLLUX_COMMIT __VERSION__;

    return XXH3_64bits(what, sizeof what - 1);
}

static void print_version(void)
{
    char allocator[64] = "libc";

#ifdef POLLUX_JEMALLOC
    snprintf(allocator, sizeof allocator, "jemalloc-%d.%d.%d", JEMALLOC_VERSION_MAJOR,
             JEMALLOC_VERSION_MINOR, JEMALLOC_VERSION_BUGFIX);
#endif
    printf("Pollux server v=%s sha=%s malloc=%s bits=%zu build=%llx\n", POLLUX_VERSION,
           POLLUX_COMMIT, allocator, sizeof(void *) * 8, (unsigned long long)usage_build_id());
}

int usage_print(enum load_request request)
{
    if (request == LOAD_VERSION)
        print_version();
    else
        fputs(help_text, stdout);
    return 0;
}
