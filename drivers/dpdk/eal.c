/* EAL's start and end, its log, and the threads it has to know. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_interrupts.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "drivers/cpu.h"
#include "drivers/dpdk/inside.h"
#include "drivers/dpdk/machine.h"
#include "drivers/log.h"

enum {
    ARGUMENTS_MAX = 64,   /* words that EAL gets */
    TEXT_MAX = 8192,      /* their bytes */
    EAL_MEMORY_MB = 32,   /* EAL's own and that of drivers */
    PACKET_BESIDES = 512, /* memory of each packet besides its room, with the pool's bookkeeping */
    MEGABYTE = 1024 * 1024,
    PARK_LOOKS_MAX = 30000, /* of 0.1 ms: longer than it may wait for a gate */
};

#define RUNTIME_VARIABLE "RUNTIME_DIRECTORY" /* systemd's; EAL looks there first */

/* ---- the log ---- */

/* Runs on the interrupt thread once the callback that closed the gate has returned: alarms are
 * served by the same thread. */
static void open_after_interrupt(void *arg)
{
    struct dpdk *dpdk = arg;

    dpdk->interrupt_holds = false;
    gate_open(&dpdk->gate);
}

/* The memif driver of DPDK 22.11 tells nobody before it takes a vanished peer's memory away, but it
 * does log a line first, on the thread that is going to do it, and waits for the line to be
 * written. So its debug lines (which go nowhere) are what keeps workers out until it is done. */
static void before_memif_event(struct dpdk *dpdk)
{
    if (dpdk->interrupt_holds)
        return;
    dpdk->interrupt_holds = true;
    if (gate_close(&dpdk->gate) != 0 && dpdk->log != NULL)
        log_write(dpdk->log, LOG_LEVEL_WARNING,
                  "dpdk: a worker did not leave its burst while a memif peer went away");
    if (rte_eal_alarm_set(1, open_after_interrupt, dpdk) != 0)
        open_after_interrupt(dpdk);
}

/* Stands before libc's for the memif driver, which the link exports it to (meson.build). A peer may
 * connect and be gone before the driver of DPDK 22.11 greets it. Then its sendmsg fails, the driver
 * closes and frees a channel whose callback it has registered with EAL, and EAL, which finds a dead
 * descriptor among its own, ends the process (rte_panic). So on that thread a message to nobody
 * counts as sent: the end of the stream is what it reads next, and for that it is prepared. */
__attribute__((visibility("default"), used)) ssize_t sendmsg(int fd, const struct msghdr *message,
                                                             int flags)
{
    ssize_t sent = syscall(SYS_sendmsg, fd, message, flags);

    if (sent >= 0 || (errno != EPIPE && errno != ECONNRESET) || !rte_thread_is_intr())
        return sent;
    sent = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        sent += (ssize_t)message->msg_iov[i].iov_len;
    return sent;
}

/* The first error names the cause, those behind it what it led to. */
static void keep_line(struct dpdk *dpdk, const char *line, int len)
{
    size_t kept = strlen(dpdk->error_lines);

    snprintf(dpdk->error_lines + kept, sizeof(dpdk->error_lines) - kept, "%s%.*s",
             kept > 0 ? "; " : "", len, line);
}

/* One call of rte_log: EAL flushes its stream after each. */
static ssize_t write_line(void *cookie, const char *line, size_t size)
{
    struct dpdk *dpdk = cookie;
    int level = rte_log_cur_msg_loglevel(), worst = RTE_LOG_ERR;
    int len = (int)size;

    if (dpdk->memif_logtype >= 0 && rte_log_cur_msg_logtype() == dpdk->memif_logtype &&
        rte_thread_is_intr())
        before_memif_event(dpdk);
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == ' '))
        len--;
    if (level > worst + 1 || len == 0) /* errors and warnings only */
        return (ssize_t)size;
    if (dpdk->starting) {
        if (level <= worst)
            keep_line(dpdk, line, len);
    } else if (dpdk->log != NULL) {
        log_write(dpdk->log, level <= worst ? LOG_LEVEL_WARNING : LOG_LEVEL_VERBOSE, "dpdk: %.*s",
                  len, line);
    }
    return (ssize_t)size;
}

static int open_log(struct dpdk *dpdk)
{
    const cookie_io_functions_t functions = {.write = write_line};

    dpdk->stream = fopencookie(dpdk, "w", functions);
    if (dpdk->stream == NULL)
        return -ENOMEM;
    rte_openlog_stream(dpdk->stream);
    return 0;
}

/* ---- arguments ---- */

struct arguments {
    int count;
    size_t used;
    bool overflow;
    char *words[ARGUMENTS_MAX + 1];
    char text[TEXT_MAX];
};

static void add(struct arguments *arguments, const char *word, size_t len)
{
    if (arguments->count == ARGUMENTS_MAX || len >= sizeof(arguments->text) - arguments->used) {
        arguments->overflow = true;
        return;
    }
    arguments->words[arguments->count] = arguments->text + arguments->used;
    memcpy(arguments->words[arguments->count], word, len);
    arguments->words[arguments->count++][len] = '\0';
    arguments->used += len + 1;
}

static void add_word(struct arguments *arguments, const char *word)
{
    add(arguments, word, strlen(word));
}

/* EAL would pin the calling thread to its first core. Here its only core is all that we may use. */
static void add_cores(struct arguments *arguments)
{
    struct cpu_list *list = malloc(sizeof(*list));
    char text[TEXT_MAX / 2] = "0@(";
    size_t used = strlen(text);

    if (list == NULL || cpu_allowed(list) != 0) {
        arguments->overflow = true;
        free(list);
        return;
    }
    for (unsigned i = 0; i < list->count && used < sizeof(text) - 16; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u", i > 0 ? "," : "",
                                 list->cpus[i]);
    snprintf(text + used, sizeof(text) - used, ")");
    add_word(arguments, "--lcores");
    add_word(arguments, text);
    free(list);
}

static void add_devices(struct arguments *arguments, const struct dpdk_spec *specs, unsigned count)
{
    char text[DPDK_NAME_MAX + DPDK_SPEC_MAX + 2];
    bool any = false;

    for (unsigned i = 0; i < count; i++) {
        if (!specs[i].pci)
            continue;
        any = true;
        if (dpdk_spec_text(&specs[i], text, sizeof(text)) != 0)
            arguments->overflow = true;
        add_word(arguments, "-a");
        add_word(arguments, text);
    }
    if (!any)
        add_word(arguments, "--no-pci");
}

static void add_memory(struct arguments *arguments, bool hugepages, uint64_t bytes)
{
    char text[32];

    if (hugepages) {
        add_word(arguments, "--in-memory");
        return;
    }
    add_word(arguments, "--no-huge");
    add_word(arguments, "--no-shconf");
    snprintf(text, sizeof(text), "%llu", (unsigned long long)(bytes / MEGABYTE));
    add_word(arguments, "-m");
    add_word(arguments, text);
}

static void add_operators(struct arguments *arguments, const char *args)
{
    while (args != NULL && *(args += strspn(args, " \t")) != '\0') {
        size_t len = strcspn(args, " \t");

        add(arguments, args, len);
        args += len;
    }
}

/* Whether the operator chose the kind of memory. */
static bool names(const char *args, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = args; at != NULL && (at = strstr(at, word)) != NULL; at += len)
        if ((at == args || at[-1] == ' ') && (at[len] == '\0' || at[len] == ' '))
            return true;
    return false;
}

/* ---- start ---- */

static uint64_t memory_needed(const struct dpdk_options *options, unsigned packets)
{
    uint64_t pools = (uint64_t)options->spec_count * (options->queues > 0 ? options->queues : 1);

    return (EAL_MEMORY_MB + pools) * MEGABYTE +
           pools * packets * (dpdk_room(options->mtu) + PACKET_BESIDES);
}

/* Hugepages, or none for virtual devices; an error for a device that cannot do without. */
static int choose_memory(struct dpdk *dpdk, const struct dpdk_options *options,
                         const struct dpdk_spec *specs, uint64_t needed, char *error)
{
    uint64_t free_bytes = machine_free_hugepages("");

    dpdk->hugepages = free_bytes >= needed && !names(options->args, "--no-huge");
    if (dpdk->hugepages)
        return 0;
    for (unsigned i = 0; i < options->spec_count; i++)
        if (specs[i].pci) {
            snprintf(error, DPDK_ERROR_MAX,
                     "port %s: it needs hugepages: %llu MB of them, and %llu MB are free; "
                     "sysctl vm.nr_hugepages=%llu",
                     specs[i].name, (unsigned long long)(needed / MEGABYTE),
                     (unsigned long long)(free_bytes / MEGABYTE),
                     (unsigned long long)(needed / MEGABYTE / 2 + 1));
            return -ENOMEM;
        }
    if (dpdk->log != NULL)
        log_write(dpdk->log, LOG_LEVEL_NOTICE,
                  "dpdk: no hugepages for %llu MB of packets, so ordinary pages serve: virtual "
                  "devices work, with more TLB misses (sysctl vm.nr_hugepages=%llu ends that)",
                  (unsigned long long)(needed / MEGABYTE),
                  (unsigned long long)(needed / MEGABYTE / 2 + 1));
    return 0;
}

/* EAL makes a directory to share things in, though we share nothing, and leaves it: /run/dpdk/rte, of
 * other users /tmp/dpdk/rte. It gets one of its own, which goes at once. */
struct runtime {
    char path[32];
    char *before; /* RUNTIME_DIRECTORY as it was; NULL: it was not set */
    bool ours;
};

static void runtime_begin(struct runtime *runtime)
{
    const char *before = getenv(RUNTIME_VARIABLE);

    *runtime = (struct runtime){.path = "/tmp/pollux-eal-XXXXXX"};
    if (before != NULL && (runtime->before = strdup(before)) == NULL)
        return;
    /* Without one of ours EAL may still succeed. */
    runtime->ours =
        mkdtemp(runtime->path) != NULL && setenv(RUNTIME_VARIABLE, runtime->path, 1) == 0;
}

/* What the operator had EAL put there stays (dpdk-args). */
static void runtime_end(struct runtime *runtime)
{
    char below[sizeof(runtime->path) + 8];
    const char *made = rte_eal_get_runtime_dir();

    if (runtime->ours) {
        if (strncmp(made, runtime->path, strlen(runtime->path)) == 0)
            rmdir(made);
        snprintf(below, sizeof(below), "%s/dpdk", runtime->path);
        rmdir(below);
        rmdir(runtime->path);
        if (runtime->before != NULL)
            setenv(RUNTIME_VARIABLE, runtime->before, 1);
        else
            unsetenv(RUNTIME_VARIABLE);
    }
    free(runtime->before);
}

static int start_eal(struct dpdk *dpdk, const struct dpdk_options *options,
                     const struct dpdk_spec *specs, uint64_t needed, char *error)
{
    struct arguments *arguments = calloc(1, sizeof(*arguments));
    struct runtime runtime;
    int result;

    if (arguments == NULL)
        return -ENOMEM;
    add_word(arguments, "pollux");
    add_cores(arguments);
    add_word(arguments, "--no-telemetry");
    add_word(arguments, "--log-level=*:warning");
    add_memory(arguments, dpdk->hugepages, needed);
    add_devices(arguments, specs, options->spec_count);
    add_operators(arguments, options->args);
    if (arguments->overflow) {
        snprintf(error, DPDK_ERROR_MAX, "dpdk-args and the ports' arguments are too long for EAL");
        free(arguments);
        return -E2BIG;
    }
    runtime_begin(&runtime);
    result = rte_eal_init(arguments->count, arguments->words);
    runtime_end(&runtime);
    if (result < 0) {
        result = rte_errno != 0 ? -rte_errno : -EINVAL;
        snprintf(error, DPDK_ERROR_MAX, "EAL does not start (%s)%s%s; look at dpdk-args '%.80s'",
                 rte_strerror(-result), dpdk->error_lines[0] != '\0' ? ": " : "", dpdk->error_lines,
                 options->args != NULL ? options->args : "");
    }
    free(arguments);
    return result < 0 ? result : 0;
}

/* A peer that vanishes while its memif driver answers it would end the process. */
static void ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

static int parse_specs(const struct dpdk_options *options, struct dpdk_spec *specs, char *error)
{
    if (options->spec_count > DPDK_PORTS_MAX) {
        snprintf(error, DPDK_ERROR_MAX, "%u ports are more than the %d that are served",
                 options->spec_count, DPDK_PORTS_MAX);
        return -E2BIG;
    }
    for (unsigned i = 0; i < options->spec_count; i++) {
        int result = dpdk_spec_parse(options->specs[i], &specs[i], error);

        if (result == 0)
            result = machine_check("", &specs[i], error);
        if (result != 0)
            return result;
    }
    return 0;
}

bool dpdk_built(void)
{
    return true;
}

int dpdk_start(struct dpdk **out, const struct dpdk_options *options, char *error)
{
    struct dpdk_spec *specs = calloc(DPDK_PORTS_MAX, sizeof(*specs));
    struct dpdk *dpdk = calloc(1, sizeof(*dpdk));
    uint64_t needed;
    int result = -ENOMEM;

    error[0] = '\0';
    if (specs == NULL || dpdk == NULL)
        goto fail;
    dpdk->log = options->log;
    dpdk->isolate = options->isolate;
    dpdk->no_offloads = options->no_offloads;
    dpdk->no_tso = options->no_tso;
    dpdk->interrupts = options->interrupts;
    dpdk->memif_logtype = -1;
    dpdk->starting = true;
    dpdk->packets_per_queue = options->packets_per_queue != 0
                                  ? options->packets_per_queue
                                  : 2 * DPDK_RING_SIZE + DPDK_SPARE_PACKETS;
    gate_init(&dpdk->gate);
    needed = memory_needed(options, dpdk->packets_per_queue);
    result = parse_specs(options, specs, error);
    if (result == 0)
        result = choose_memory(dpdk, options, specs, needed, error);
    if (result == 0)
        result = open_log(dpdk);
    if (result != 0)
        goto fail;
    ignore_sigpipe();
    result = start_eal(dpdk, options, specs, needed, error);
    if (result != 0)
        goto fail;
    dpdk->memif_logtype = rte_log_register("pmd.net.memif");
    if (dpdk->memif_logtype < 0 || /* before_memif_event() lives on its lines */
        rte_log_set_level((uint32_t)dpdk->memif_logtype, RTE_LOG_DEBUG) != 0) {
        snprintf(error, DPDK_ERROR_MAX, "EAL gives the memif driver no log");
        result = -EIO;
        goto fail;
    }
    dpdk->starting = false;
    free(specs);
    *out = dpdk;
    return 0;
fail:
    if (result == -ENOMEM && error[0] == '\0')
        snprintf(error, DPDK_ERROR_MAX, "out of memory");
    if (dpdk != NULL && dpdk->stream != NULL) {
        rte_openlog_stream(NULL);
        fclose(dpdk->stream);
    }
    free(dpdk);
    free(specs);
    return result;
}

/* On the interrupt thread: there it stays, until the process ends. */
static void park_here(void *arg)
{
    struct dpdk *dpdk = arg;

    atomic_store_explicit(&dpdk->parked, true, memory_order_release);
    for (;;)
        pause();
}

/* Memif peers come and go while we end, and the interrupt thread logs that to our stream. False: it
 * does not come, and may be anywhere. */
static bool park_interrupts(struct dpdk *dpdk)
{
    const struct timespec pause = {.tv_nsec = 100000};

    if (rte_eal_alarm_set(1, park_here, dpdk) != 0)
        return false;
    for (int i = 0; i < PARK_LOOKS_MAX; i++) {
        if (atomic_load_explicit(&dpdk->parked, memory_order_acquire))
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static bool memif_alone(const struct dpdk *dpdk)
{
    for (unsigned i = 0; i < DPDK_PORTS_MAX; i++)
        if (dpdk->ports[i] != NULL && strcmp(dpdk->ports[i]->spec.driver, "net_memif") != 0)
            return false;
    return true;
}

void dpdk_stop(struct dpdk *dpdk)
{
    if (dpdk == NULL)
        return;
    /* A memif peer that goes while its port closes is freed twice: by us, and on the interrupt
     * thread. Drivers of cards, though, may wait for an interrupt to close. */
    bool parked = memif_alone(dpdk) && park_interrupts(dpdk);
    for (unsigned i = 0; i < DPDK_PORTS_MAX; i++)
        if (dpdk->ports[i] != NULL)
            dpdk_port_close(dpdk->ports[i]);
    rte_eal_alarm_cancel(open_after_interrupt, dpdk);
    /* No rte_eal_cleanup(): it frees and unmaps what EAL's interrupt thread still reads, for in
     * 22.11 nobody ends that thread, and a port that closes has just woken it. The ports are closed
     * and nothing of ours is in files, so the end of the process gives the rest back. */
    if (!parked && !park_interrupts(dpdk))
        return; /* what it may still use stays, too */
    rte_openlog_stream(NULL);
    fclose(dpdk->stream);
    free(dpdk);
}

int dpdk_thread_register(void)
{
    if (rte_lcore_id() != LCORE_ID_ANY)
        return 0;
    return rte_thread_register() == 0 ? 0 : -rte_errno;
}

void dpdk_thread_unregister(void)
{
    rte_thread_unregister();
}
