/* fold: letters apart from their case, and where words end. The same, character for character, as DuckDB's lower() and
 * the classes of its regular expressions, so that what is found here is what SQL would find.
 *
 * May include: base. Pure. Text must be valid UTF-8. */
#pragma once
#include "base/mem.h"

/* Appends `text` in lower case: one character for one, though its bytes may become more or fewer. */
void fold_append(struct bl_buf *out, struct bl_str text);
unsigned fold_code(unsigned code);
/* A letter, digit, mark or "_" of a script that has blanks between its words. */
bool fold_is_word(unsigned code);
/* The character at `*p`, which moves behind it; `*p < end`. */
unsigned fold_next(const char **p, const char *end);
/* The character that ends at `p`; `start < p`. */
unsigned fold_before(const char *start, const char *p);
