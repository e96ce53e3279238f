/* commands: the entry point of every subcommand of commands.def: argv[0] is the subcommand, the result the exit code.
 */
#pragma once
#define COMMAND(name, group, sentence) int cmd_##name(int argc, char **argv);
#include "cmd/commands.def"
#undef COMMAND
