/* Rewriting: CONFIG REWRITE.
 * Purpose:   brings the file that the server was started with up to date: comments, order and
 *            unknown lines stay; a directive's first line gets its present value and further ones
 *            go; values that are not the default and have no line yet are appended behind a marker.
 * Ownership: nothing is kept.
 * Threading: takes the configuration's mutex, and waits for the disk: not for a worker's turn.
 * Errors:    the old file stays as it was. */
#ifndef CONFIG_REWRITE_H
#define CONFIG_REWRITE_H

#include "config/config.h"

/* Writes a file beside, syncs it, renames it over the old one and syncs the folder. Returns 0, or
 * -errno with the error reply's text ("ERR ...") in `text`. */
int config_rewrite(struct config *config, char text[CONFIG_REASON_MAX]);

#endif
