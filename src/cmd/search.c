/* bluelake search: posts in the words of people. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/output.h"
#include "lake/catalog.h"
#include "resolve/resolver.h"

static const char *data = "data", *format_name, *resolve;
static int64_t limit = 50, since, until, memory, threads, deadline;
static bool exact, explain, json, raw;

static const struct cmd_option options[] = {
    {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default \"data\")", 0, 0},
    {"limit", OPT_INT, &limit, "N", "at most N posts (default 50)", 1, 10000},
    {"since", OPT_TIME, &since, "TIME", "that day or moment and later", 0, 0},
    {"until", OPT_END_TIME, &until, "TIME", "that day (to its end) or moment and earlier", 0, 0},
    {"exact", OPT_FLAG, &exact, NULL, "capitals count, and words stand alone", 0, 0},
    {"explain", OPT_FLAG, &explain, NULL, "show how QUERY is understood, and search nothing", 0, 0},
    {"format", OPT_TEXT, &format_name, "FORMAT", "table, csv or ndjson (default: a block of text a post)", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "the same as --format ndjson", 0, 0},
    {"raw", OPT_FLAG, &raw, NULL, "CSV without the guard against spreadsheet formulas", 0, 0},
    {"resolve", OPT_TEXT, &resolve, "URL",
     "ask there for handles the lake has not heard of: https://public.api.bsky.app", 0, 0},
    {"threads", OPT_INT, &threads, "N", "threads of DuckDB (default 2)", 1, 256},
    {"memory", OPT_BYTES, &memory, "SIZE", "memory of DuckDB (default 1g)", 0, 0},
    {"deadline", OPT_DURATION, &deadline, "TIME", "give up after TIME (default 30s)", 0, 0},
    CMD_END};

static const struct cmd_spec spec = {
    "search", "QUERY", "find posts, newest first",
    "Words are found anywhere in the text, also inside other words; capitals do not count. All of them have to occur.\n"
    "Deleted posts and posts of hidden accounts are left out, of edited posts the newest version counts.\n\n"
    "  \"black cat\"           these words in this order      cats OR dogs          one or the other\n"
    "  #caturday             a tag                          -dogs                 without\n"
    "  from:alice.bsky.social   written by (handle or DID)  (a OR b) c            grouping\n"
    "  mentions:bob.bsky.social mentions                    lang:en               language\n"
    "  to:bob.bsky.social       replies to                 url:example.com/a     a link holds this\n"
    "  since:2026-11-01      that day and later             until:2026-11-21      that day and earlier\n"
    "  domain:example.com    links there                    has:image             also video, link, quote, reply\n\n"
    "Examples:\n"
    "  bluelake search 'cats lang:en'\n"
    "  bluelake search '\"black cat\" (#caturday OR has:image) -from:bot.example.com'\n"
    "  bluelake search --since 2026-11-20 --limit 200 --json 'domain:example.com'\n"
    "  bluelake search --explain 'cats dogs OR birds'\n"
    "docs/SEARCH.md has more.\n",
    options};

/* --- One block a hit --- */

struct printer {
    unsigned width; /* of a line, in cells */
    struct bl_buf out;
};

enum { INDENT = 2 };

static void put_word(struct printer *p, struct bl_str word, unsigned *used) {
    unsigned cells = cmd_width(word);
    bool starts = *used == 0;
    if (!starts && *used + 1 + cells > p->width) {
        bl_buf_byte(&p->out, '\n');
        starts = true;
    }
    bl_buf_z(&p->out, starts ? "  " : " ");
    bl_buf_str(&p->out, word);
    *used = starts ? INDENT + cells : *used + 1 + cells;
}

/* Lines of the post stay lines; longer ones are wrapped at blanks. */
static void put_wrapped(struct printer *p, struct bl_str text) {
    BL_CLEANUP(bl_buf_release) struct bl_buf safe = {0};
    while (text.n) {
        struct bl_str line = bl_str_cut(&text, '\n');
        bl_buf_clear(&safe);
        if (bl_str_ends(line, BL_LIT("\r"))) line.n--;
        cmd_put_safe(&safe, line);
        struct bl_str rest = bl_buf_view(&safe);
        unsigned used = 0;
        while (rest.n) {
            struct bl_str word = bl_str_cut(&rest, ' ');
            if (word.n) put_word(p, word, &used);
        }
        bl_buf_byte(&p->out, '\n');
    }
}

static enum bl_rc print_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    struct printer *p = context;
    char when[BL_TIME_TEXT_MAX];
    struct bl_str rkey = bl_str_skip(hit->uri, strlen("at://") + hit->did.n + strlen("/app.bsky.feed.post/"));
    bl_buf_clear(&p->out);
    bl_buf_printf(&p->out, "%s  %s", bl_format_time(hit->time_us, 0, when), hit->handle.n ? "@" : "");
    cmd_put_safe(&p->out, hit->handle.n ? hit->handle : hit->did);
    bl_buf_byte(&p->out, '\n');
    put_wrapped(p, hit->text);
    bl_buf_z(&p->out, "  https://bsky.app/profile/");
    cmd_put_safe(&p->out, hit->did);
    bl_buf_z(&p->out, "/post/");
    cmd_put_safe(&p->out, rkey);
    bl_buf_z(&p->out, "\n\n");
    BL_TRY(bl_buf_check(&p->out, "one hit", err));
    fwrite(p->out.p, 1, p->out.n, stdout);
    return ferror(stdout) ? bl_fail_errno(err, BL_E_IO, "cannot write the answer") : BL_OK;
}

/* --- One row a hit --- */

static enum bl_rc row_of_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    const struct query_sink *sink = context;
    char when[BL_TIME_TEXT_MAX];
    struct bl_str row[] = {bl_str(bl_format_time(hit->time_us, 6, when)),
                           hit->uri,
                           hit->did,
                           hit->handle,
                           hit->text,
                           hit->langs_json,
                           hit->created_at};
    return sink->row(sink->context, row, sizeof row / sizeof row[0], err);
}

static enum bl_rc give_columns(const struct query_sink *sink, struct bl_error *err) {
    static const struct query_column columns[] = {
        {"time", QUERY_TEXT}, {"uri", QUERY_TEXT},   {"did", QUERY_TEXT},       {"handle", QUERY_TEXT},
        {"text", QUERY_TEXT}, {"langs", QUERY_JSON}, {"created_at", QUERY_TEXT}};
    return sink->columns(sink->context, columns, sizeof columns / sizeof columns[0], err);
}

/* --- The summary --- */

/* Hours in which the stream was interrupted make an answer incomplete; whoever asks has to know. */
static void print_gaps(const struct query_search_stats *stats) {
    struct catalog *catalog = NULL;
    struct catalog_gap *gaps = NULL;
    size_t count = 0, open = 0;
    bool read = catalog_open(data, CATALOG_READ, &catalog, NULL) == BL_OK &&
                catalog_gaps(catalog, stats->from_us, stats->to_us, &gaps, &count, NULL) == BL_OK;
    for (size_t i = 0; i < count; i++) open += !gaps[i].healed;
    if (!read)
        fputs("the list of gaps could not be read\n", stderr);
    else if (open)
        fprintf(stderr, "%zu gap%s in the recording touch%s this range: bluelake gaps lists them\n", open,
                open == 1 ? "" : "s", open == 1 ? "es" : "");
    free(gaps);
    catalog_close(&catalog);
}

static void print_summary(const struct query *q, const struct query_search_stats *stats) {
    fflush(stdout);
    fprintf(stderr, "%" PRId64 " post%s, %zu of %zu files read, %" PRId64 " ms, snapshot %" PRId64 "\n", stats->hits,
            stats->hits == 1 ? "" : "s", stats->files_read, stats->files_listed, (stats->elapsed_us + 999) / 1000,
            query_snapshot(q));
    if (stats->files_indexed)
        fprintf(stderr, "the index of %zu file%s was built for it: the same search is faster now\n",
                stats->files_indexed, stats->files_indexed == 1 ? "" : "s");
    if (*stats->note) fprintf(stderr, "%s\n", stats->note);
    print_gaps(stats);
}

static enum bl_rc print_blocks(struct query *q, const struct query_search *s, struct query_search_stats *stats,
                               struct bl_error *err) {
    enum { WIDTH_MAX = 100 };
    unsigned terminal = cmd_terminal_width(stdout);
    struct printer printer = {.width = terminal && terminal < WIDTH_MAX ? terminal : WIDTH_MAX};
    enum bl_rc rc = query_search(q, s, print_hit, &printer, stats, err);
    bl_buf_release(&printer.out);
    return rc;
}

static enum bl_rc print_rows(struct query *q, const struct query_search *s, enum cmd_format format,
                             struct query_search_stats *stats, struct bl_error *err) {
    struct cmd_sink_state *state = cmd_sink_new(stdout, format, raw);
    struct query_sink sink = cmd_sink(state);
    enum bl_rc rc = give_columns(&sink, err);
    if (rc == BL_OK) rc = query_search(q, s, row_of_hit, &sink, stats, err);
    cmd_sink_end(&state);
    return rc;
}

static enum bl_rc open_resolver(struct resolver **out, struct bl_error *err) {
    struct resolver_options o = {.lake_dir = data, .url = resolve};
    enum bl_rc rc = resolve ? resolver_open(&o, out, err) : BL_OK;
    return rc == BL_E_USAGE ? bl_err_prefix(err, rc, "--resolve") : rc;
}

static enum bl_rc run(struct bl_str text, const enum cmd_format *format, struct bl_error *err) {
    BL_CLEANUP(resolver_close) struct resolver *resolver = NULL;
    BL_TRY(open_resolver(&resolver, err));
    struct query_options o = {.lake_dir = data,
                              .memory_bytes = memory,
                              .threads = (int)threads,
                              .deadline_us = deadline,
                              .resolver = resolver,
                              .patient = true};
    BL_CLEANUP(query_close) struct query *q = NULL;
    BL_TRY(query_open(&o, &q, err));
    struct query_search s = {.text = text, .limit = (unsigned)limit, .exact = exact};
    if (since || until) {
        s.from_us = since;
        s.to_us = until ? until : INT64_MAX;
    }
    struct query_search_stats stats = {0};
    BL_TRY(format ? print_rows(q, &s, *format, &stats, err) : print_blocks(q, &s, &stats, err));
    print_summary(q, &stats);
    if (resolver && query_names(q) != QUERY_NAMES_KNOWN)
        fprintf(stderr, "%s did not answer for all accounts: some have no name, ask again\n", resolver_host(resolver));
    return BL_OK;
}

static int print_explanation(struct bl_str text) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0}, safe = {0};
    if (query_search_explain(text, &out, &err) != BL_OK) return cmd_fail("search", &err);
    for (struct bl_str rest = bl_buf_view(&out); rest.n;) {
        cmd_put_safe(&safe, bl_str_cut(&rest, '\n'));
        bl_buf_byte(&safe, '\n');
    }
    fputs(bl_buf_cstr(&safe), stdout);
    return cmd_finish_output("search");
}

int cmd_search(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    /* Words given without quotes are one query, as in every other search box. */
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    for (int i = first; i < argc; i++) {
        if (i > first) bl_buf_byte(&text, ' ');
        bl_buf_z(&text, argv[i]);
    }
    if (first == argc) return cmd_usage_error("search", "what to look for is missing; '' finds the newest posts");
    if (explain) return print_explanation(bl_buf_view(&text));
    enum cmd_format format;
    rc = cmd_output_format("search", format_name, json, &format);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    if (run(bl_buf_view(&text), format_name || json ? &format : NULL, &err) != BL_OK) return cmd_fail("search", &err);
    return cmd_finish_output("search");
}
