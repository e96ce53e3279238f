/* aof: an append-only file whose tail is not what Redis wrote.
 *
 * May include: base, obs. After a power cut a file system may give back the last, never synced part of a file as zeros.
 * Redis cuts a torn command off by itself, but refuses any other tail until `redis-check-aof --fix` has cut it off.
 * What is cut had not been synced; ingest notices and sends or fetches it again. */
#pragma once
#include "base/mem.h"

/* Is this, the last line of its log, why Redis ended? */
bool aof_is_refused(const char *last_words);
/* `folder` is Redis's `dir`. */
enum bl_rc aof_repair(const char *folder, struct bl_error *err);
