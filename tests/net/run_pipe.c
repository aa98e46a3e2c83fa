/* Runs seeds of the lossy pipe.
 * Usage: run_pipe [-n COUNT] [-d SECONDS] [-s FIRST] [-t] [-c "seed=1 drop=5 ..."]
 *   -d  runs seeds until the time is over, however many
 *   -t  shows the frames of the case given with -c
 * A failing seed is printed with the smallest case found that still fails; run that with -c. */
#include "tests/net/pipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    SEEDS = 500,
    FAILURES_MAX = 5,      /* then the run ends */
    COMPLETE_PERCENT = 75, /* of the cases have to carry both streams to their ends */
};

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void show_failure(struct pipe_world *world, struct pipe_case *failing)
{
    char text[PIPE_TEXT_MAX];

    printf("seed %u: %s\n", failing->seed, world->failure);
    pipe_shrink(world, failing);
    pipe_format(failing, text);
    printf("  smallest: %s\n  -c \"%s\"\n", world->failure, text);
    fflush(stdout);
}

static int run_one(struct pipe_world *world, const char *text, bool tracing)
{
    struct pipe_case wanted;

    if (!pipe_parse(text, &wanted))
        return 2;
    world->tracing = tracing;
    if (pipe_run(world, &wanted))
        printf("passed\n");
    else
        printf("%s\n", world->failure);
    return world->failure[0] != '\0';
}

int main(int argc, char **argv)
{
    struct pipe_world *world = calloc(1, sizeof *world);
    unsigned count = SEEDS, first = 1, passed = 0, failed = 0, complete = 0;
    double duration = 0;
    const char *text = NULL;
    bool tracing = false;
    double started = seconds();
    uint64_t frames = 0, lost = 0, rests = 0;
    int option, status;

    while ((option = getopt(argc, argv, "n:d:s:c:t")) != -1) {
        if (option == 'n')
            count = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'd')
            duration = strtod(optarg, NULL);
        else if (option == 's')
            first = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'c')
            text = optarg;
        else if (option == 't')
            tracing = true;
        else
            return 2;
    }
    if (world == NULL || !pipe_create(world))
        return 2;
    for (unsigned i = 0; text == NULL && failed < FAILURES_MAX &&
                         (duration > 0 ? seconds() - started < duration : i < count);
         i++) {
        struct pipe_case wanted;

        pipe_choose(&wanted, first + i);
        if (pipe_run(world, &wanted)) {
            passed++;
            complete += world->complete;
        } else {
            failed++;
            show_failure(world, &wanted);
        }
        frames += world->sent_frames;
        lost += world->lost_frames;
        rests += world->hosts[0].rests + world->hosts[1].rests;
    }
    if (text != NULL) {
        status = run_one(world, text, tracing);
    } else {
        if (complete * 100 < passed * COMPLETE_PERCENT) {
            printf("only %u of %u cases carried both streams to their ends\n", complete, passed);
            failed++;
        }
        if (passed > 0 && rests == 0) {
            printf("no connection was ever put to rest\n");
            failed++;
        }
        printf("seeds from %u: %u complete, %llu frames, %llu lost, %.1f s\n", first, complete,
               (unsigned long long)frames, (unsigned long long)lost, seconds() - started);
        printf("%u passed, %u failed\n", passed, failed);
        status = failed > 0;
    }
    pipe_destroy(world);
    free(world);
    return status;
}
