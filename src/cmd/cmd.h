/* cmd: what every subcommand's file needs: option parsing from a table, help that teaches, output formats.
 *
 * One file a subcommand, one function `int cmd_<name>(int argc, char **argv)` returning the exit code (0 done, 1
 * failed, 2 wrong usage or configuration, 3 verification found differences); argv[0] is the subcommand. Listed in
 * src/main.c's table. The only room that prints errors of others and decides exit codes.
 *
 *     static int64_t limit = 50;
 *     static const struct cmd_option options[] = {
 *         {"limit", OPT_INT, &limit, "N", "at most N rows (default 50)", 1, 100000}, CMD_END};
 *     static const struct cmd_spec spec = {"search", "QUERY", "find posts",
 *                                          "Examples:\n  bluelake search 'cats lang:en'\n", options};
 *     int first, rc = cmd_parse(&spec, argc, argv, &first);
 *     if (rc >= 0) return rc; // --help was printed, or usage was wrong and said so */
#pragma once
#include <stdio.h>

#include "base/clock.h"
#include "query/query.h"

enum cmd_option_kind {
    OPT_FLAG,     /* bool */
    OPT_TEXT,     /* const char * */
    OPT_INT,      /* int64_t within [min,max] */
    OPT_DURATION, /* int64_t microseconds: 90s, 5m, 8h, 2d */
    OPT_BYTES,    /* int64_t: 512m, 2g */
    OPT_TIME,     /* int64_t microseconds since 1970: a date or RFC 3339 */
    OPT_END_TIME, /* the same; a bare date means its last microsecond */
    OPT_LIST,     /* struct cmd_list: comma separated, or the option repeated */
    OPT_REPEAT,   /* struct cmd_list: the option repeated, commas are part of the value */
};
struct cmd_list {
    const char *items[256];
    size_t count;
};
struct cmd_option {
    const char *name;
    enum cmd_option_kind kind;
    void *target;
    const char *argument; /* "N", "DIR"; NULL for flags */
    const char *help;
    int64_t min, max;     /* OPT_INT; 0,0 = any */
};
#define CMD_END {NULL, OPT_FLAG, NULL, NULL, NULL, 0, 0}
struct cmd_spec {
    const char *name, *arguments, *summary;
    const char *details; /* paragraphs and examples, shown by --help */
    const struct cmd_option *options;
};
/* -1: go on, `*first` is the index of the first positional argument; else the exit code. Accepts --name value and
 * --name=value; unknown options name the nearest known one. "--" ends options. */
int cmd_parse(const struct cmd_spec *spec, int argc, char **argv, int *first);
/* Prints "bluelake NAME: ..." with the error's message; returns its exit code. */
int cmd_fail(const char *name, const struct bl_error *err);
/* Wrong usage: prints the message and a pointer to --help; returns 2. */
int cmd_usage_error(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Flush stdout and report a full disk or a closed pipe: returns 0, or 1 after saying so. */
int cmd_finish_output(const char *name);

enum cmd_format { FORMAT_TABLE, FORMAT_CSV, FORMAT_NDJSON };
bool cmd_format_by_name(const char *name, enum cmd_format *out); /* table, csv, ndjson (json) */
/* A sink that prints to `out`. Tables are aligned over the first 1,000 rows, cut to the terminal's width on a terminal
 * only; CSV follows RFC 4180 with a quote guard against spreadsheet formulas unless `raw`; NDJSON one object a row,
 * numbers as numbers. `state` is owned by the caller; call cmd_sink_end after the last row. */
struct cmd_sink_state;
struct cmd_sink_state *cmd_sink_new(FILE *out, enum cmd_format format, bool raw);
struct query_sink cmd_sink(struct cmd_sink_state *state);
void cmd_sink_end(struct cmd_sink_state **state); /* prints what is held back, frees */
