/* csv: cells by RFC 4180. Pure. May include: base. */
#pragma once
#include "base/mem.h"

/* In quotes; an empty cell is nothing. Unless `raw`, a cell a spreadsheet would take for a formula starts with an
 * apostrophe. */
void csv_cell(struct bl_buf *out, struct bl_str s, bool raw);
