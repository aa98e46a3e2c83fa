/* Configuration files and CONFIG SET: any text is applied or refused with a reason; what CONFIG GET
 * shows afterwards can be set again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/directive.h"
#include "config/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Files and folders of the machine are not what is tried here. */
static int reaches_out(const char *text)
{
    return strcasestr(text, "include") != NULL || strcasestr(text, "dir") != NULL;
}

/* Everything that is shown can be read again and means the same. */
static void check_texts(struct config *config)
{
    for (unsigned i = 0; i < directive_count; i++) {
        char buffer[DIRECTIVE_TEXT_MAX], reason[DIRECTIVE_REASON_MAX];
        struct directive_value value;
        size_t len;
        const char *text = directive_text(config, &directives[i], buffer, &len);

        if (strlen(text) != len)
            abort();
        if (directive_parse(&directives[i], &text, 1, &value, reason) < 0)
            abort();
        /* Percentiles are shown with six digits. */
        if (directives[i].kind != DIRECTIVE_PERCENTILES &&
            !directive_holds(config, &directives[i], &value))
            abort();
        directive_drop(&value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char message[LOAD_MESSAGE_MAX], reply[CONFIG_REASON_MAX];
    struct load_error error;

    memcpy(text, data, size);
    text[size] = '\0';
    if (strlen(text) == size && !reaches_out(text)) {
        struct config *config = config_create();

        if (load_text(config, "fuzz", text, size, &error) < 0) {
            load_error_format(&error, message);
            if (error.reason[0] == '\0')
                abort();
        }
        check_texts(config);
        const char *space = strchr(text, ' ');
        if (space != NULL) {
            struct config_span words[2] = {{text, (size_t)(space - text)},
                                           {space + 1, size - (size_t)(space + 1 - text)}};
            config_set(config, words, 2, false, NULL, NULL, reply);
            check_texts(config);
        }
        config_destroy(config);
    }
    free(text);
    return 0;
}
