/* main: the subcommand table and dispatch, nothing else. */
#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "base/version.h"
#include "cmd/commands.h"

struct command {
    const char *name, *group, *sentence;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
#define COMMAND(name, group, sentence) {#name, group, sentence, cmd_##name},
#include "cmd/commands.def"
#undef COMMAND
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *out) {
    fputs("bluelake keeps the Bluesky network: every public post, like, repost, follow and block, without losing one, "
          "in plain Parquet files,\n"
          "and answers questions about it.\n\nUsage: bluelake COMMAND [options]      bluelake COMMAND --help\n",
          out);
    const char *group = "";
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(group, commands[i].group) != 0) fprintf(out, "\n%s\n", group = commands[i].group);
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].sentence);
    }
    fputs("\nStart here:\n  bluelake up                        collect into ./data, Ctrl-C stops\n"
          "  bluelake search 'cats lang:en'     ask what was collected\n", out);
}

static const char *name_at(size_t i, const void *context) {
    (void)context;
    return i < COMMANDS ? commands[i].name : NULL;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        puts("bluelake " BL_VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    const char *near = bl_nearest(bl_str(name), name_at, NULL);
    fprintf(stderr, "bluelake: unknown command \"%s\"%s%s%s\nTry: bluelake --help\n", name,
            near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return 2;
}
