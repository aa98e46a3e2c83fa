/* Runs packet scripts: every file given, and every .pkt file below the folders given, each in all
 * its variants. Usage: run_scripts [-v] [-t] [-o] [-k TEXT] PATH...
 *   -o  over a port that cuts frames into segments (TSO): the peers notice nothing
 *   -v  names each script;  -t  shows the frames of failed runs;  -k  only paths with TEXT
 * The last line is "N passed, N failed", counted in scripts. */
#include "tests/net/case.h"

#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SHOWN_MAX = 3 };

struct runner {
    struct run *run;
    struct port *port;
    bool verbose, tracing, tso;
    const char *only;
    unsigned passed, failed, runs;
    uint64_t cut; /* frames, by the port */
};

static void show_variant(struct variant variant)
{
    static const char *const starts[] = {"0", "2^31", "2^32"};

    printf("[%s,%s,%s,isn %s]", variant.v6 ? "v6" : "v4", variant.sack ? "sack" : "nosack",
           variant.ts ? "ts" : "nots", starts[variant.start]);
}

static bool run_variant(struct runner *runner, const struct script *script, struct variant variant,
                        bool show)
{
    struct run *run = runner->run;
    unsigned line;

    runner->runs++;
    run->tracing = false;
    bool passed = case_run(run, script, variant, runner->port);
    runner->cut += runner->port->cut;
    if (passed)
        return true;
    if (!show)
        return false;
    line = run->line < script->count ? script->lines[run->line].number : 0;
    printf("%s:%u: ", script->path, line);
    show_variant(variant);
    printf(" %s\n", run->failure);
    if (runner->tracing) {
        run->tracing = true;
        case_run(run, script, variant, runner->port);
        run->tracing = false;
    }
    return false;
}

static void run_script(struct runner *runner, const char *path)
{
    struct script *script;
    unsigned failures = 0, runs = 0;

    if (runner->only != NULL && strstr(path, runner->only) == NULL)
        return;
    script = script_load(path);
    for (unsigned bits = 0; script != NULL && bits < 8 * CASE_STARTS; bits++) {
        struct variant variant = {.v6 = bits & 1,
                                  .sack = !(bits & 2),
                                  .ts = !(bits & 4),
                                  .tso = runner->tso,
                                  .start = (enum case_start)(bits / 8)};
        bool valid;

        if (!case_wanted(script, variant, &valid)) {
            if (!valid) {
                printf("%s: malformed condition\n", path);
                failures++;
                break;
            }
            continue;
        }
        runs++;
        if (!run_variant(runner, script, variant, failures < SHOWN_MAX))
            failures++;
    }
    if (script == NULL || runs == 0 || failures > 0) {
        runner->failed++;
        printf("FAILED %s: %u of %u variants\n", path, failures, runs);
    } else {
        runner->passed++;
        if (runner->verbose)
            printf("passed %s: %u variants\n", path, runs);
    }
    script_free(script);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool run_paths(struct runner *runner, char **paths)
{
    FTS *tree = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    FTSENT *entry;

    if (tree == NULL)
        return false;
    while ((entry = fts_read(tree)) != NULL) {
        size_t len = strlen(entry->fts_path);

        if (entry->fts_info == FTS_F && len > 4 && strcmp(entry->fts_path + len - 4, ".pkt") == 0)
            run_script(runner, entry->fts_path);
    }
    fts_close(tree);
    return true;
}

int main(int argc, char **argv)
{
    struct runner runner = {.run = calloc(1, sizeof *runner.run), .port = port_create()};
    struct timespec started, ended;
    int option;

    clock_gettime(CLOCK_MONOTONIC, &started);
    while ((option = getopt(argc, argv, "vtok:")) != -1) {
        if (option == 'v')
            runner.verbose = true;
        else if (option == 't')
            runner.tracing = true;
        else if (option == 'o')
            runner.tso = true;
        else if (option == 'k')
            runner.only = optarg;
        else
            return 2;
    }
    if (runner.run == NULL || runner.port == NULL || optind == argc)
        return 2;
    runner.run->queue = calloc(CASE_QUEUE_MAX, sizeof *runner.run->queue);
    if (runner.run->queue == NULL || !run_paths(&runner, argv + optind))
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%u runs in %.1f s\n", runner.runs,
           (double)(ended.tv_sec - started.tv_sec) +
               (double)(ended.tv_nsec - started.tv_nsec) / 1e9);
    if (runner.tso) {
        printf("%llu frames were cut by the port\n", (unsigned long long)runner.cut);
        runner.failed += runner.cut == 0;
    }
    printf("%u passed, %u failed\n", runner.passed, runner.failed);
    free(runner.run->queue);
    free(runner.run);
    port_destroy(runner.port);
    return runner.failed == 0 && runner.passed > 0 ? 0 : 1;
}
