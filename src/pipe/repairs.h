/* repairs: the gaps that are being filled, on disk, so that whoever kills ingest does not leave them open.
 *
 * May include: base, obs, source/source.h, pipe/gap_note.h. One thread, ingest's reader. Small: a change rewrites and
 * syncs the file, and gaps are rare. When the disk refuses, the list in memory goes on alone, which is logged.
 *
 * Two kinds of gap are filled. What the buffer lost ("buffer_lost") comes again because upstream is asked from before
 * it: it is whole once everything up to its end is durable, unless upstream says that it lacks a part
 * (repairs_give_up). What a host of upstream could not serve comes from another host (merge_fill), from the gap's
 * beginning each time.
 *
 * An entry outlives the note that says "healed": Redis may be emptied before the writer has taken it. It goes once the
 * settled position (everything before it is in the lake) has passed `reported_us`, which lies behind every block in
 * front of the note. Until then a new session begins with it again; notes may be repeated, rows are not.
 *
 * The file, DATA/spill/gaps: a line a gap, when it was noted (microseconds since 1970), a space, the note's JSON. */
#pragma once
#include "source/source.h"

#define REPAIR_BUFFER_LOST "buffer_lost"
enum { REPAIRS_MAX = 64 }; /* beyond, the oldest is forgotten: its row stays open */

struct repair {
    struct source_gap gap;
    int64_t noted_us;
    int64_t reported_us; /* the newest position that lies before its "healed" note; 0 = not reported in this session */
};
struct repairs {
    char *path; /* owned */
    struct repair list[REPAIRS_MAX];
    size_t count;
    int64_t last_log_ns;
};

/* What an earlier process left. Lines that cannot be read are passed over, and so is what upstream could not serve more
 * than two days ago: no host looks back so far. */
void repairs_open(struct repairs *r, const char *data_folder, int64_t now_us);
void repairs_release(struct repairs *r);

/* On disk when this returns. The same gap once more changes nothing. */
void repairs_add(struct repairs *r, const struct source_gap *gap, int64_t now_us);
/* A session begins: upstream is asked again from `resume_us` on (0 = from now). `complete`: everything before is in the
 * buffer or in the lake. Otherwise nobody fetches again what the buffer lost before `resume_us`: its rows stay open. */
void repairs_begin(struct repairs *r, int64_t resume_us, bool complete);
/* Upstream lacks this stretch: what the buffer lost there does not come again. */
void repairs_give_up(struct repairs *r, int64_t from_us, int64_t to_us);
/* One that the buffer lost, that is not reported, and that ends at `durable_us` or before; NULL: none. */
struct repair *repairs_whole(struct repairs *r, int64_t durable_us);
/* The "healed" note of this gap is on its way behind everything up to `position_us`. */
void repairs_reported(struct repairs *r, const struct source_gap *gap, int64_t position_us);
void repairs_settle(struct repairs *r, int64_t settled_us);
bool repair_is_of_buffer(const struct repair *one);
