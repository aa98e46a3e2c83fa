/* Runs seeds of the lossy pipe.
 * Usage: run_pipe [-n COUNT] [-d SECONDS] [-s FIRST] [-e] [-t] [-c "seed=1 drop=5 ..."]
 *   -e  runs each seed twice, over ports that cut frames (TSO) and over ports that do not: the same
 *       has to be on the wire at the same times
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
    TSO_SEEDS = 20,        /* among so many are some whose port cuts frames */
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

/* Whether it makes no difference who cuts. A shortage of packets does: a frame takes one more. */
static bool run_both(struct pipe_world *world, struct pipe_case *wanted, uint64_t *cut)
{
    uint64_t digest, frames;
    bool passed;

    for (unsigned side = 0; side < 2; side++) {
        wanted->packets[side] = PORT_PACKETS_MAX;
        wanted->fail_every[side] = 0;
        wanted->tso[side] = 0;
    }
    if (!pipe_run(world, wanted))
        return false;
    digest = world->digest;
    frames = world->sent_frames;
    wanted->tso[0] = wanted->seed % 5 == 0 ? 3 : PACKET_TSO_PARTS_MAX;
    wanted->tso[1] = wanted->seed % 2 == 0 ? 0 : 7;
    passed = pipe_run(world, wanted);
    *cut += world->ports[0]->cut + world->ports[1]->cut;
    if (passed && (world->digest != digest || world->sent_frames != frames)) {
        snprintf(world->failure, sizeof world->failure,
                 "%llu frames where software makes %llu, or others",
                 (unsigned long long)world->sent_frames, (unsigned long long)frames);
        passed = false;
    }
    return passed;
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
    bool tracing = false, equal = false;
    double started = seconds();
    uint64_t frames = 0, lost = 0, rests = 0, cut = 0;
    int option, status;

    while ((option = getopt(argc, argv, "n:d:s:c:te")) != -1) {
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
        else if (option == 'e')
            equal = true;
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
        if (equal ? run_both(world, &wanted, &cut) : pipe_run(world, &wanted)) {
            passed++;
            complete += world->complete;
        } else {
            failed++;
            if (equal)
                printf("seed %u: %s\n", wanted.seed, world->failure);
            else
                show_failure(world, &wanted);
        }
        frames += world->sent_frames;
        lost += world->lost_frames;
        rests += world->hosts[0].rests + world->hosts[1].rests;
        if (!equal)
            cut += world->ports[0]->cut + world->ports[1]->cut;
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
        if (passed >= TSO_SEEDS && cut == 0) {
            printf("no port ever cut a frame\n");
            failed++;
        }
        printf("seeds from %u: %u complete, %llu frames, %llu lost, %llu cut by ports, %.1f s\n",
               first, complete, (unsigned long long)frames, (unsigned long long)lost,
               (unsigned long long)cut, seconds() - started);
        printf("%u passed, %u failed\n", passed, failed);
        status = failed > 0;
    }
    pipe_destroy(world);
    free(world);
    return status;
}
