/* shadow: which posts may not be shown, for questions over many rows at once.
 *
 * Private to the query room. Two tables of the session's DuckDB: internal.changes (hash of record, time of a delete or
 * update) and internal.hidden (accounts that are not active now), brought to the pinned snapshot by reading new files
 * only. 16 bytes a delete or update; a hash of 64 bits instead of the record's name lets one post in 10^9 lakes
 * disappear. */
#pragma once
#include "query/session.h"

enum bl_rc shadow_refresh(struct query *q, struct bl_error *err);
/* A condition on rows (key, did, time_us) named `c`, with key = shadow_key: true for what may be shown. */
extern const char shadow_condition[], shadow_key[];
