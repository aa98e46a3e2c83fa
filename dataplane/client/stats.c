/* Rates: operations and bytes a second, smoothed over the last 16 samples of 100 ms, as INFO shows them. */
#include "dataplane/client/client.h"

enum { RATE_SAMPLES = 16, RATE_SAMPLE_US = 100000 };

static void rate(_Atomic uint64_t *shown, struct rate *rate, uint64_t total, uint64_t elapsed_us)
{
    uint64_t per_second = (total - rate->last_total) * 1000000 / elapsed_us, sum = 0;

    /* A worker without clients looks seldom: one look stands for all the samples left out since. */
    uint64_t samples = elapsed_us / RATE_SAMPLE_US;

    samples = samples < 1 ? 1 : samples > RATE_SAMPLES ? RATE_SAMPLES : samples;
    rate->last_total = total;
    for (uint64_t i = 0; i < samples; i++)
        rate->samples[rate->next++ % RATE_SAMPLES] = per_second;
    for (int i = 0; i < RATE_SAMPLES; i++)
        sum += rate->samples[i];
    atomic_store_explicit(shown, sum / RATE_SAMPLES, memory_order_relaxed);
}

void stats_cron(struct worker *worker)
{
    const struct stream_counters *stream = worker->driver->counters(worker->stream);
    uint64_t elapsed_us = worker->now_us - worker->rated_us;

    _Static_assert(sizeof worker->rates[0].samples / sizeof worker->rates[0].samples[0] ==
                       RATE_SAMPLES,
                   "samples");
    if (elapsed_us == 0)
        return;
    worker->rated_us = worker->now_us;
    rate(&worker->stats.operations_per_second, &worker->rates[0],
         count_get(&worker->stats.commands), elapsed_us);
    rate(&worker->stats.rx_per_second, &worker->rates[1], count_get(&stream->rx_bytes), elapsed_us);
    rate(&worker->stats.tx_per_second, &worker->rates[2], count_get(&stream->tx_bytes), elapsed_us);
}
