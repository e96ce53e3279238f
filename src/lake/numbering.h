/* numbering: the buffer's offsets of a type against those the ledger expects: what is missing, what was forgotten.
 *
 * May include: base, lake/catalog.h, lake/holes.h. Runs inside a commit of the catalogue. */
#pragma once
#include "lake/catalog.h"

/* Where the block's offset stands against the expected one. A block older than one committed before it (`late`) fills
 * part of the hole it left. `l` is changed, and stored by the caller; the holes are stored here. */
enum bl_rc numbering_account(struct catalog *c, struct catalog_ledger *l, const struct catalog_intake *in, bool late,
                             struct bl_error *err);
