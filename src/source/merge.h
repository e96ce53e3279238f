/* merge: what ingest reads from: one source, or two at different hosts at once, and what is fetched afterwards to close
 * gaps. The interface is that of a source.
 *
 * With redundancy 2 both hosts' messages are handed out as they come; the receiver recognises the second delivery of an
 * event by its identity. The hosts of the list are dealt out alternately, so that the two are never at the same one;
 * each rotates among its own. Positions are times then, because numbers belong to one host: a reconnect overlaps by
 * host_switch_rewind. merge_next fails only when both have come to their end.
 * Backfilled messages (`backfill`) must not move the position. Threading: as for a source. */
#pragma once
#include "source/source.h"

enum { MERGE_MAX = 2 };
struct merge;
struct merge_options {
    struct source_options source;
    unsigned redundancy; /* 0 and 1: one host at a time */
    bool heal;           /* look at the other hosts for what one could not serve */
};
/* Would merge_open accept these? Connects to nothing. */
enum bl_rc merge_check(const struct merge_options *o, struct bl_error *err);
enum bl_rc merge_open(const struct merge_options *o, struct merge **out, struct bl_error *err);
enum bl_rc merge_next(struct merge *m, int tick_ms, struct source_message *out, struct bl_error *err);
bool merge_pending(struct merge *m);
void merge_set_cursor(struct merge *m, const struct source_cursor *durable);
void merge_restart(struct merge *m, const struct source_cursor *cursor); /* as source_restart */
void merge_wake(struct merge *m);
/* First as noticed, later once more with `healed`, after the events that healed it were handed out. */
bool merge_take_gap(struct merge *m, struct source_gap *out);
/* A gap that an earlier process noticed and did not see filled: the other hosts are asked for it, as for one noticed
 * here. Nothing without `heal` and another host. */
void merge_fill(struct merge *m, const struct source_gap *gap);

struct merge_stats {
    struct source_stats all; /* sums; state, host and error of the one that is best off */
    unsigned connected;      /* hosts that deliver now */
};
void merge_get_stats(struct merge *m, struct merge_stats *out);
void merge_close(struct merge **m);
