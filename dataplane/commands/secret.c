#include "dataplane/commands/secret.h"

#include "config/directive.h"
#include "dataplane/commands/functions.h"

static bool sensitive_directive(struct text name)
{
    const struct directive *directive = directive_find(name.data, name.len_bytes, NULL);

    return directive != NULL && (directive->flags & DIRECTIVE_SENSITIVE) != 0;
}

static bool hello_secret(const struct text *argv, uint32_t argc, uint32_t position)
{
    for (uint32_t i = 2; i + 2 < argc && i < position; i++) {
        if (text_is(argv[i], "setname")) {
            i++;
        } else if (text_is(argv[i], "auth")) {
            if (position <= i + 2)
                return true;
            i += 2;
        }
    }
    return false;
}

bool secret_argument(const struct command *command, const struct text *argv, uint32_t argc,
                     uint32_t position)
{
    if (command->run == cmd_auth)
        return position > 0 && argc <= 3; /* with more, nothing of it is used */
    if (command->run == cmd_hello)
        return hello_secret(argv, argc, position);
    if (command->run == cmd_config_set)
        return position >= 3 && position % 2 == 1 && sensitive_directive(argv[position - 1]);
    return false;
}
