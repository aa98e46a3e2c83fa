#include "dataplane/turns.h"

void turns_begin(struct turns *turns, uint64_t now_ns, uint64_t cpu_ns, uint64_t sleeps)
{
    turns->ended_ns = turns->read_ns = now_ns;
    turns->cpu_ns = cpu_ns;
    turns->sleeps = sleeps;
}

uint64_t turns_read(struct turns *turns, uint64_t now_ns, uint64_t cpu_ns, uint64_t *lost_ns)
{
    uint64_t span_ns = now_ns - turns->read_ns, ran_ns = cpu_ns - turns->cpu_ns;
    uint64_t turn_ns = now_ns - turns->ended_ns;
    uint64_t slack_ns = TURNS_GAP_NS + span_ns / TURNS_DRIFT_PARTS;

    *lost_ns = span_ns >= ran_ns + slack_ns ? span_ns - ran_ns : 0;
    if (*lost_ns > 0)
        turns->gaps[turns->gaps_count % TURNS_GAPS_KEPT] =
            (struct turns_gap){turns->read_ns, now_ns, *lost_ns};
    turns->ended_ns = turns->read_ns = now_ns;
    turns->cpu_ns = cpu_ns;
    return ran_ns < turn_ns ? ran_ns : turn_ns;
}

bool turns_gap(struct turns *turns, uint64_t sleeps, uint64_t lost_ns)
{
    bool taken = sleeps == turns->sleeps && lost_ns > 0;

    turns->sleeps = sleeps;
    turns->gaps_count += taken;
    return taken;
}
