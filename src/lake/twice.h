/* twice: identities that occur more than once among any number of rows, in bounded memory.
 *
 * May include: base, event. Identities are dealt out by value to parts that are kept in memory while they are small and
 * in nameless temporary files beyond; at the end one part at a time is sorted. 24 B a row on disk, a 256th of that in
 * memory beside 8 MB of buffers. Threading: one owner at a time. Errors: BL_E_IO when there is no room for the files.
 */
#pragma once
#include "event/event.h"

struct twice;
/* `folder`: where temporary files go; TMPDIR or /tmp when it cannot be written. */
struct twice *twice_new(const char *folder);
void twice_free(struct twice **t);
/* The row of `file` (a number of the caller's) has this identity. */
enum bl_rc twice_add(struct twice *t, struct ev_id id, uint32_t file, struct bl_error *err);
/* `found` is called for each row but the first of the same identity, with the file of that row and of the one before
 * it. */
typedef enum bl_rc (*twice_found_fn)(void *context, struct ev_id id, uint32_t file, uint32_t before,
                                     struct bl_error *err);
enum bl_rc twice_find(struct twice *t, twice_found_fn found, void *context, struct bl_error *err);
