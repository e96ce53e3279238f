/* output: texts of strangers, made fit for a terminal. Private to the cmd room; the sinks themselves are in cmd.h. */
#pragma once
#include <stdio.h>

#include "base/mem.h"

/* Appends `s` with control characters, line breaks and marks that reorder text written out (\n, \x1b, \u{202e}), so
 * that a post cannot drive the terminal. */
void cmd_put_safe(struct bl_buf *out, struct bl_str s);
/* Cells a terminal gives to a text (to one character): East Asian wide ones and emoji take two, combining ones none. */
unsigned cmd_width(struct bl_str s);
unsigned cmd_cells_of(uint32_t point);
unsigned cmd_terminal_width(FILE *out); /* 0: not a terminal */
