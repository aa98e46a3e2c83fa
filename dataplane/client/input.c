#include "dataplane/client/input.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_STEP_BYTES = 4096 };

int input_append(struct bytes *input, const char *data, size_t len_bytes, size_t want_bytes)
{
    size_t len = input_len(input);

    if (input->end + len_bytes > input->capacity && input->start > 0) {
        memmove(input->data, input->data + input->start, len);
        input->start = 0;
        input->end = len;
    }
    if (len + len_bytes > input->capacity) {
        size_t needed = len + len_bytes;
        size_t capacity = needed < INPUT_STEP_BYTES ? INPUT_STEP_BYTES : needed + needed / 2;
        /* A large value of known length: exactly so much, once a good part of it is really here. */
        if (want_bytes > needed && want_bytes / 4 < needed)
            capacity = want_bytes;
        char *grown = realloc(input->data, capacity);
        if (grown == NULL)
            return -ENOMEM;
        input->data = grown;
        input->capacity = capacity;
    }
    memcpy(input->data + input->end, data, len_bytes);
    input->end += len_bytes;
    return 0;
}

void input_consume(struct bytes *input, size_t len_bytes)
{
    assert(len_bytes <= input_len(input));
    input->start += len_bytes;
    if (input->start == input->end)
        input_free(input);
}

void input_free(struct bytes *input)
{
    free(input->data);
    *input = (struct bytes){0};
}

struct input *client_input(struct client *client)
{
    if (client->input == NULL)
        client->input = calloc(1, sizeof *client->input);
    return client->input;
}

void client_input_drop(struct client *client)
{
    if (client->input == NULL)
        return;
    resp_parser_fini(&client->input->parser);
    input_free(&client->input->bytes);
    free(client->input);
    client->input = NULL;
}
