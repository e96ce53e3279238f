/* gap_note: rows of the gap ledger on their way from ingest, which does not know the lake, to the catalogue.
 *
 * May include: base, event/json.h, buffer, lake/catalog.h. Format: docs/FORMATS.md, "Rejected messages and notes". */
#pragma once
#include "buffer/buffer.h"
#include "lake/catalog.h"

/* A note that cannot be read is no row; it was written by ourselves. */
enum bl_rc gap_note_take(struct catalog *catalog, const struct buffer_rejected *note, struct bl_error *err);
