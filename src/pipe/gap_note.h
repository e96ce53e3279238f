/* gap_note: rows of the gap ledger as text, on their way from ingest, which does not know the lake, to the catalogue.
 *
 * May include: base, event/json.h, buffer, source/source.h, lake/catalog.h. Format: docs/FORMATS.md, "Rejected messages
 * and notes". */
#pragma once
#include "buffer/buffer.h"
#include "lake/catalog.h"
#include "source/source.h"

void gap_note_print(const struct source_gap *gap, struct bl_buf *out); /* one line of JSON, without its end */
bool gap_note_parse(struct bl_str text, struct source_gap *out);       /* false: not what gap_note_print wrote */

/* A note that cannot be read is no row; it was written by ourselves. */
enum bl_rc gap_note_take(struct catalog *catalog, const struct buffer_rejected *note, struct bl_error *err);
