/* hidden: which posts may not be shown, for questions over many rows at once. Private to the query room.
 *
 * Two tables of the session, brought to the pinned snapshot by reading new files only: deletes and updates of posts (a
 * hash of the record, the time), taken from the index, and the newest state of every account that had an account event.
 * 64-bit hashes instead of names let one post in 10^9 lakes disappear. 64 to 132 bytes an entry. */
#pragma once
#include "query/session.h"

struct hidden;
void hidden_close(struct hidden **h);
/* What may hide posts of `from_us` and later. */
enum bl_rc hidden_refresh(struct query *q, int64_t from_us, struct bl_error *err);
/* Was the record changed after this, or is its account not active? */
bool hidden_is(const struct hidden *h, uint64_t key, uint64_t account, int64_t time_us);
