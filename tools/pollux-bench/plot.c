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
        snprintf(text, size, "%.3g s", us / 1e6);
    else if (us >= 1e3)
        snprintf(text, size, "%.3g ms", us / 1e3);
    else
        snprintf(text, size, "%.3g us", us);
}

/* A step of 1, 2 or 5 times a power of ten, so that about `parts` of them reach `most`. */
static double panel_step(double most, int parts)
{
    double rough = most / parts;
    double decade = pow(10, floor(log10(rough)));

    if (rough <= decade)
        return decade;
    return rough <= 2 * decade ? 2 * decade : rough <= 5 * decade ? 5 * decade : 10 * decade;
}

/* "500/s", "20 k/s", "2.5 M/s". */
static void panel_rate_label(char *text, size_t size, double rate)
{
    if (rate >= 1e6)
        snprintf(text, size, "%.3g M/s", rate / 1e6);
    else if (rate >= 1e3)
        snprintf(text, size, "%.3g k/s", rate / 1e3);
    else
        snprintf(text, size, "%g/s", rate);
}

/* A mark on the x axis, with its line through the frame. */
static void panel_x_mark(const struct panel *panel, double x, const char *text)
{
    double at = panel_x(panel, x);
    double bottom = panel->top + PLOT_PANEL - PLOT_TOP - PLOT_BOTTOM;

    fprintf(panel->out,
            "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' class='grid'/>\n"
            "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
            at, at, panel->top, bottom, at, bottom + 16, text);
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

static double plot_quantile_us(const struct histogram *latency, double nines)
{
    return (double)histogram_quantile(latency, 1 - pow(10, -nines)) / 1e3;
}

static void plot_curve(const struct panel *panel, const struct histogram *latency,
                       const char *style)
{
    fprintf(panel->out, "<polyline class='%s' points='", style);
    for (int i = 0; i <= PLOT_POINTS; i++) {
        double nines = 0.01 + (PLOT_NINES - 0.01) * i / PLOT_POINTS;
        fprintf(panel->out, "%.1f,%.1f ", panel_x(panel, nines),
                panel_y(panel, plot_quantile_us(latency, nines)));
    }
    fputs("'/>\n", panel->out);
}

/* A dot with its value at percentiles that are asked for most. */
static void plot_values(const struct panel *panel, const struct histogram *latency)
{
    static const double nines[] = {0.30103, 2, 3, 4}; /* 50, 99, 99.9, 99.99 % */

    for (size_t i = 0; i < sizeof(nines) / sizeof(nines[0]); i++) {
        double us = plot_quantile_us(latency, nines[i]);
        char text[32];
        panel_time_label(text, sizeof(text), us);
        fprintf(panel->out,
                "<circle cx='%.1f' cy='%.1f' r='3' class='dot'/>\n"
                "<text x='%.1f' y='%.1f' class='value'>%s</text>\n",
                panel_x(panel, nines[i]), panel_y(panel, us), panel_x(panel, nines[i]) + 6,
                panel_y(panel, us) + (panel_y(panel, us) > panel->top + 20 ? -6 : 16), text);
    }
}

static void plot_percentiles(FILE *out, const struct options *options, const struct result *result)
{
    static const struct {
        double nines;
        const char *name;
    } marks[] = {{0.30103, "50"}, {1, "90"}, {2, "99"}, {3, "99.9"}, {4, "99.99"}, {5, "99.999 %"}};
    const struct histogram *clean = options->exclude_gaps ? &result->gaps.latency : NULL;
    struct panel panel = {.out = out, .top = PLOT_TOP, .x_max = PLOT_NINES};
    char title[300], rate[32];
    double most_us = plot_quantile_us(&result->latency, PLOT_NINES);

    panel_set_decades(&panel, plot_quantile_us(&result->latency, 0.01), most_us);
    panel_rate_label(rate, sizeof(rate),
                     result->seconds > 0 ? round((double)result->requests / result->seconds) : 0);
    snprintf(title, sizeof(title),
             "Latency by percentile: %s, %u connections, pipeline %u, %s loop%s", rate,
             options->clients, options->pipeline, options->rate > 0 ? "open" : "closed",
             clean != NULL ? ", <tspan class='clean'>without gaps of the machine</tspan>" : "");
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        panel_x_mark(&panel, marks[i].nines, marks[i].name);
    panel_decades(&panel);
    panel_frame(&panel, title);
    if (clean != NULL && clean->total > 0)
        plot_curve(&panel, clean, "e");
    plot_curve(&panel, &result->latency, "a");
    plot_values(&panel, &result->latency);
}

/* ---- Rate and latency by time ----------------------------------------------------------------- */

static double interval_rate(const struct result_interval *interval)
{
    return (double)interval->requests / interval->seconds;
}

static void plot_time_axis(const struct panel *panel, const struct panel *rate)
{
    double step_s = panel_step(panel->x_max, 8), step = panel_step(rate->y_max, 5);
    char text[32];

    for (double at = 0; at <= panel->x_max * 1.0001; at += step_s) {
        snprintf(text, sizeof(text), "%g s", round(at * 1e6) / 1e6);
        panel_x_mark(panel, at, text);
    }
    for (double at = 0; at <= rate->y_max * 1.0001; at += step) {
        panel_rate_label(text, sizeof(text), at);
        fprintf(panel->out, "<text x='%d' y='%.1f' class='rate'>%s</text>\n",
                PLOT_WIDTH - PLOT_RIGHT + 6, panel_y(rate, at) + 4, text);
    }
}

static void plot_time_line(const struct panel *panel, const struct result *result,
                           const char *style, double (*value)(const struct result_interval *))
{
    fprintf(panel->out, "<polyline class='%s' points='", style);
    for (uint32_t i = 0; i < result->series_count; i++) {
        /* The rest of a run, after the last whole interval, is too short to say anything. */
        if (i > 0 && result->series[i].seconds < result->series[0].seconds / 4)
            continue;
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
    rate.y_max = rate_max * 1.05;
    plot_time_axis(&latency, &rate);
    panel_decades(&latency);
    panel_frame(&latency, "By time: <tspan class='p50'>p50</tspan> and <tspan "
                          "class='p99'>p99</tspan> (left), <tspan class='rate'>requests a "
                          "second (right)</tspan>");
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
        ".e { stroke: #1f5fa8; stroke-dasharray: 2 3 } .dot, .value, .p50 { fill: #1f5fa8 }\n"
        ".p99 { fill: #c04a1a } .clean { fill: #1f5fa8 } .rate { fill: #3a8a3a }\n</style>\n"
        "<rect width='100%%' height='100%%' fill='#fff'/>\n",
        PLOT_WIDTH, 2 * PLOT_PANEL);
    if (result->latency.total > 0)
        plot_percentiles(out, options, result);
    plot_time(out, result);
    fputs("</svg>\n", out);
    bool failed = ferror(out) != 0;
    return fclose(out) != 0 || failed ? -EIO : 0;
}
