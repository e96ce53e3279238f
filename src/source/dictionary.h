/* dictionary: the zstd dictionary of a v2 host: fetched once by its id and kept in a folder. Private to source.
 *
 * A dictionary never changes under its id, whatever host it came from, so the file `<id>.zdict` serves for ever. */
#pragma once
#include "net/url.h"

struct dictionary {
    unsigned id;     /* 0: none */
    char path[1024]; /* of its file */
};
/* The newest one in the folder; id 0 when there is none. */
void dictionary_newest(const char *folder, struct dictionary *out);
/* Ask `host` for its current one, and keep it. BL_E_NOT_FOUND when it has none. */
enum bl_rc dictionary_fetch(const char *folder, const struct url *host, const char *ca_file, int wake_fd,
                            struct dictionary *out, struct bl_error *err);
