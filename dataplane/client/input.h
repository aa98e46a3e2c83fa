/* Input: bytes of a connection that could not be parsed or run at once.
 * Ownership: the client's. Threading: its worker. Errors: -ENOMEM, nothing changed. */
#ifndef DATAPLANE_CLIENT_INPUT_H
#define DATAPLANE_CLIENT_INPUT_H

#include "dataplane/client/client.h"

static inline size_t input_len(const struct bytes *input)
{
    return input->end - input->start;
}
/* Appends; `want_bytes` is the total that is known to be coming (a hint, growth stays within twice what has arrived). */
int input_append(struct bytes *input, const char *data, size_t len_bytes, size_t want_bytes);
void input_consume(struct bytes *input, size_t len_bytes); /* gives memory back when empty */
void input_free(struct bytes *input);

/* The block of bytes that wait, made if there is none. NULL: no memory. */
struct input *client_input(struct client *client);
/* Frees it, with all that waits. */
void client_input_drop(struct client *client);
static inline size_t client_input_len(const struct client *client)
{
    return client->input == NULL ? 0 : input_len(&client->input->bytes);
}

#endif
