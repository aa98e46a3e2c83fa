/* LOLWUT: a picture. VERSION chooses which one; each takes sizes, within bounds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/functions.h"
#include "dataplane/commands/server.h"
#include "dataplane/worker.h"

enum {
    PICTURE_SIDE_MAX = 1000, /* columns or rows */
    PICTURE_TILES_MAX = 200, /* of a weave, each way */
    PICTURE_CELL_BYTES = 3,  /* a character of these pictures in UTF-8 */
};

/* A picture under construction: UTF-8 text that grows to a size known before. */
struct picture {
    char *text;
    size_t len_bytes, room_bytes;
};

static bool picture_init(struct picture *picture, int64_t columns, int64_t rows)
{
    *picture = (struct picture){
        .room_bytes = (size_t)rows * ((size_t)columns * PICTURE_CELL_BYTES + 1) + 128};
    picture->text = malloc(picture->room_bytes);
    return picture->text != NULL;
}

static void picture_put(struct picture *picture, const char *text)
{
    size_t len = strlen(text);

    if (len > picture->room_bytes - picture->len_bytes)
        return;
    memcpy(picture->text + picture->len_bytes, text, len);
    picture->len_bytes += len;
}

static void picture_reply(struct picture *picture, struct call *call, const char *about)
{
    char line[128];

    snprintf(line, sizeof line, "\n%sPollux ver. %s\n", about, POLLUX_VERSION);
    picture_put(picture, line);
    reply_verbatim(call->reply, "txt", (struct text){picture->text, picture->len_bytes});
    free(picture->text);
}

/* Sizes from the arguments, where given, cut to 1 .. max. */
static bool sizes(struct call *call, uint32_t first, int64_t *values, const int64_t *max,
                  uint32_t count)
{
    for (uint32_t i = 0; i < count && first + i < call->argc; i++) {
        if (!call_integer(call, first + i, &values[i]))
            return false;
        values[i] = values[i] < 1 ? 1 : values[i] > max[i] ? max[i] : values[i];
    }
    return true;
}

/* VERSION 5: a weave of ribbons that pass over and under each other, looser towards the bottom.
 * Arguments: columns, ribbons across, ribbons down. */
static void draw_weave(struct call *call, uint32_t first)
{
    int64_t values[3] = {66, 8, 12};
    const int64_t max[3] = {PICTURE_SIDE_MAX, PICTURE_TILES_MAX, PICTURE_TILES_MAX};
    struct picture picture;

    if (!sizes(call, first, values, max, 3))
        return;
    int64_t width = values[0] / values[1] > 0 ? values[0] / values[1] : 1;
    int64_t columns = width * values[1];
    if (!picture_init(&picture, columns, values[2])) {
        reply_error(call->reply, "-OOM no memory to draw");
        return;
    }
    for (int64_t row = 0; row < values[2]; row++) {
        for (int64_t column = 0; column < columns; column++) {
            bool over = (column / width + row) % 2 == 0;
            if (rng_next(&call->worker->rng) % (uint64_t)(values[2] * 2) < (uint64_t)row)
                over = !over;
            picture_put(&picture, over ? "═" : "║");
        }
        picture_put(&picture, "\n");
    }
    picture_reply(&picture, call, "A weave that comes undone. ");
}

/* VERSION 6: waves under a sky of stars. Arguments: columns, rows. */
static void draw_sea(struct call *call, uint32_t first)
{
    int64_t values[2] = {80, 20};
    const int64_t max[2] = {PICTURE_SIDE_MAX, PICTURE_SIDE_MAX};
    static const char *const waves[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    struct picture picture;

    if (!sizes(call, first, values, max, 2))
        return;
    if (!picture_init(&picture, values[0], values[1])) {
        reply_error(call->reply, "-OOM no memory to draw");
        return;
    }
    double phase = (double)(rng_next(&call->worker->rng) % 1000) / 100;
    int64_t horizon = values[1] / 2;
    for (int64_t row = 0; row < values[1]; row++) {
        for (int64_t column = 0; column < values[0]; column++) {
            double height =
                sin((double)column / (3 + (double)(row - horizon)) + phase * (double)row);
            if (row >= horizon)
                picture_put(&picture, waves[(int)((height + 1) * 3.99)]);
            else
                picture_put(&picture, rng_next(&call->worker->rng) % 23 == 0 ? "·" : " ");
        }
        picture_put(&picture, "\n");
    }
    picture_reply(&picture, call, "Argonauts at night. ");
}

/* Any other version: the twins. */
static void draw_twins(struct call *call)
{
    static const char twins[] = "     *  Castor              .\n"
                                "    / \\          .\n"
                                "   /   \\    .          * Pollux\n"
                                "  *     \\             /|\n"
                                "   \\     *-----------* |      .\n"
                                "    *     \\          |  *\n"
                                "   /       *      .  *   \\\n"
                                "  *         \\       /     *\n"
                                "       .     *     *\n";
    struct picture picture;

    if (!picture_init(&picture, 80, 10)) {
        reply_error(call->reply, "-OOM no memory to draw");
        return;
    }
    picture_put(&picture, twins);
    picture_reply(&picture, call, "Gemini. ");
}

void cmd_lolwut(struct call *call)
{
    int64_t version = 0;
    uint32_t first = 1;

    if (call->argc >= 3 && call_option(call, 1, "version")) {
        if (!call_integer(call, 2, &version))
            return;
        first = 3;
    }
    if (version == 5)
        draw_weave(call, first);
    else if (version == 6)
        draw_sea(call, first);
    else
        draw_twins(call);
}
