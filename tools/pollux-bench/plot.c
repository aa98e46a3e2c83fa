/* The SVG of a run, in plain text: no library draws it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/pollux-bench/report.h"

enum {
    PLOT_WIDTH = 760,
    PLOT_PANEL = 300, /* height of one panel, its captions included */
    PLOT_LEFT = 70,
    PLOT_RIGHT = 70,
    PLOT_TOP = 40,
    PLOT_BOTTOM = 40,
    PLOT_POINTS = 240,
};

#define PLOT_NINES 5.0 /* the percentile axis ends at 99.999 */

/* A panel with two scales: x linear, y linear from 0 or logarithmic. */
struct panel {
    FILE *out;
    double top; /* of its frame, in pixels */
    double x_max;
    double y_min;
    double y_max;
    bool y_log;
};

static double panel_x(const struct panel *panel, double x)
{
    return PLOT_LEFT + (PLOT_WIDTH - PLOT_LEFT - PLOT_RIGHT) * x / panel->x_max;
}

static double panel_y(const struct panel *panel, double y)
{
    double height = PLOT_PANEL - PLOT_TOP - PLOT_BOTTOM;
    double at = y / panel->y_max;

    if (panel->y_log)
        at = log(fmax(y, panel->y_min) / panel->y_min) / log(panel->y_max / panel->y_min);
    return panel->top + height * (1 - at);
}

static void panel_frame(const struct panel *panel, const char *title)
{
    fprintf(panel->out,
            "<rect x='%d' y='%.1f' width='%d' height='%d' class='frame'/>\n"
            "<text x='%d' y='%.1f' class='title'>%s</text>\n",
            PLOT_LEFT, panel->top, PLOT_WIDTH - PLOT_LEFT - PLOT_RIGHT,
            PLOT_PANEL - PLOT_TOP - PLOT_BOTTOM, PLOT_LEFT, panel->top - 12, title);
}

/* "1 us" to "10 s". */
static void panel_time_label(char *text, size_t size, double us)
{
    if (us >= 1e6)
        snprintf(text, size, "%g s", us / 1e6);
    else if (us >= 1e3)
        snprintf(text, size, "%g ms", us / 1e3);
    else
        snprintf(text, size, "%g us", us);
}

static void panel_decades(const struct panel *panel)
{
    for (double us = panel->y_min; us <= panel->y_max * 1.001; us *= 10) {
        char text[32];
        panel_time_label(text, sizeof(text), us);
        double y = panel_y(panel, us);
        fprintf(panel->out,
                "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='grid'/>\n"
                "<text x='%d' y='%.1f' text-anchor='end'>%s</text>\n",
                PLOT_LEFT, PLOT_WIDTH - PLOT_RIGHT, y, y, PLOT_LEFT - 6, y + 4, text);
    }
}

/* A scale of whole decades around the values. */
static void panel_set_decades(struct panel *panel, double least_us, double most_us)
{
    panel->y_log = true;
    panel->y_min = pow(10, floor(log10(fmax(least_us, 0.01))));
    panel->y_max = pow(10, ceil(log10(fmax(most_us, 0.011))));
    if (panel->y_max <= panel->y_min)
        panel->y_max = panel->y_min * 10;
}

/* ---- Latency by percentile -------------------------------------------------------------------- */

static double plot_quantile_us(const struct result *result, double nines)
{
    return (double)histogram_quantile(&result->latency, 1 - pow(10, -nines)) / 1e3;
}

static void plot_percentiles(FILE *out, const struct options *options, const struct result *result)
{
    static const char *const names[] = {"0", "90", "99", "99.9", "99.99", "99.999 %"};
    struct panel panel = {.out = out, .top = PLOT_TOP, .x_max = PLOT_NINES};
    char title[200];

    panel_set_decades(&panel, plot_quantile_us(result, 0.01), plot_quantile_us(result, PLOT_NINES));
    snprintf(title, sizeof(title),
             "Latency by percentile: %.0f requests a second, %u connections, pipeline %u, %s loop",
             result->seconds > 0 ? (double)result->requests / result->seconds : 0, options->clients,
             options->pipeline, options->rate > 0 ? "open" : "closed");
    panel_frame(&panel, title);
    panel_decades(&panel);
    for (int nines = 0; nines <= (int)PLOT_NINES; nines++)
        fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
                panel_x(&panel, nines), panel.top + PLOT_PANEL - PLOT_TOP - PLOT_BOTTOM + 16,
                names[nines]);
    fputs("<polyline class='a' points='", out);
    for (int i = 0; i <= PLOT_POINTS; i++) {
        double nines = 0.01 + (PLOT_NINES - 0.01) * i / PLOT_POINTS;
        fprintf(out, "%.1f,%.1f ", panel_x(&panel, nines),
                panel_y(&panel, plot_quantile_us(result, nines)));
    }
    fputs("'/>\n", out);
}

/* ---- Rate and latency by time ----------------------------------------------------------------- */

static double interval_rate(const struct result_interval *interval)
{
    return (double)interval->requests / interval->seconds;
}

static void plot_time_axis(const struct panel *panel, double rate_max)
{
    double bottom = panel->top + PLOT_PANEL - PLOT_TOP - PLOT_BOTTOM;

    for (int i = 0; i <= 4; i++) {
        fprintf(panel->out, "<text x='%.1f' y='%.1f' text-anchor='middle'>%.3g s</text>\n",
                panel_x(panel, panel->x_max * i / 4), bottom + 16, panel->x_max * i / 4);
        fprintf(panel->out, "<text x='%d' y='%.1f' class='rate'>%.3g/s</text>\n",
                PLOT_WIDTH - PLOT_RIGHT + 6,
                bottom - (PLOT_PANEL - PLOT_TOP - PLOT_BOTTOM) * i / 4.0 + 4, rate_max * i / 4);
    }
}

static void plot_time_line(const struct panel *panel, const struct result *result,
                           const char *style, double (*value)(const struct result_interval *))
{
    fprintf(panel->out, "<polyline class='%s' points='", style);
    for (uint32_t i = 0; i < result->series_count; i++) {
        double y = value(&result->series[i]);
        if (!panel->y_log || y > 0)
            fprintf(panel->out, "%.1f,%.1f ", panel_x(panel, result->series[i].end_s),
                    panel_y(panel, y));
    }
    fputs("'/>\n", panel->out);
}

static double interval_p50_us(const struct result_interval *interval)
{
    return (double)interval->p50_ns / 1e3;
}

static double interval_p99_us(const struct result_interval *interval)
{
    return (double)interval->p99_ns / 1e3;
}

static void plot_time(FILE *out, const struct result *result)
{
    struct panel latency = {.out = out, .top = PLOT_PANEL + PLOT_TOP, .x_max = 0};
    double least_us = INFINITY, most_us = 0, rate_max = 0;

    for (uint32_t i = 0; i < result->series_count; i++) {
        const struct result_interval *one = &result->series[i];
        latency.x_max = one->end_s;
        rate_max = fmax(rate_max, interval_rate(one));
        most_us = fmax(most_us, interval_p99_us(one));
        if (one->p50_ns > 0)
            least_us = fmin(least_us, interval_p50_us(one));
    }
    if (latency.x_max <= 0 || rate_max <= 0 || most_us <= 0)
        return;
    panel_set_decades(&latency, least_us, most_us);
    struct panel rate = latency;
    rate.y_log = false;
    rate.y_max = rate_max;
    panel_frame(&latency, "By time: p50 and p99 (left), <tspan class='rate'>requests a second "
                          "(right)</tspan>");
    panel_decades(&latency);
    plot_time_axis(&latency, rate_max);
    plot_time_line(&latency, result, "a", interval_p50_us);
    plot_time_line(&latency, result, "b", interval_p99_us);
    plot_time_line(&rate, result, "c", interval_rate);
}

int report_plot(const char *path, const struct options *options, const struct result *result)
{
    FILE *out = fopen(path, "w");

    if (out == NULL)
        return -errno;
    fprintf(
        out,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' "
        "font-family='sans-serif' font-size='11'>\n<style>\n"
        ".frame { fill: none; stroke: #888 } .grid { stroke: #ddd } .title { font-size: 13px }\n"
        "polyline { fill: none; stroke-width: 1.6 } .a { stroke: #1f5fa8 }\n"
        ".b { stroke: #c04a1a } .c { stroke: #3a8a3a; stroke-dasharray: 4 2 }\n"
        ".rate { fill: #3a8a3a }\n</style>\n"
        "<rect width='100%%' height='100%%' fill='#fff'/>\n",
        PLOT_WIDTH, 2 * PLOT_PANEL);
    if (result->latency.total > 0)
        plot_percentiles(out, options, result);
    plot_time(out, result);
    fputs("</svg>\n", out);
    bool failed = ferror(out) != 0;
    return fclose(out) != 0 || failed ? -EIO : 0;
}
