/* shared: the files of the index that are open in this process, each mapped and compared once, however many sessions
 * use it. Private to the index room.
 *
 * May include: segment.h, roster.h. Kept by path and identity while anybody uses them.
 * Threading: any thread; what is handed out may be read by many at once. */
#pragma once
#include "index/roster.h"
#include "index/segment.h"

struct shared_file {
    struct segment *segment; /* of posts; else the other */
    struct roster *roster;
};
/* NULL: nobody has it open. Every one handed out goes back by shared_leave. */
const struct shared_file *shared_take(const char *path, uint64_t identity);
/* Hands over what was opened; gives back what another thread opened meanwhile, if one did. */
const struct shared_file *shared_offer(const char *path, uint64_t identity, struct segment *segment,
                                       struct roster *roster);
void shared_leave(const struct shared_file **file); /* NULL-safe; the last one closes it */
/* It is damaged: whoever has it keeps it, nobody else gets it any more. */
void shared_forget(const struct shared_file *file);
