/* ask: what the subcommands that put questions to the lake share. */
#pragma once
#include "cmd/cmd.h"
#include "cmd/commands.h"

/* From --format and --json: -1 and `*out`, or the exit code after wrong usage was reported. Without either, a table on
 * a terminal and CSV elsewhere. */
int cmd_output_format(const char *command, const char *name, bool as_json, enum cmd_format *out);
/* The state of the lake that was asked, on stderr: what a figure has to be cited with. */
void cmd_say_snapshot(const struct query *q);
