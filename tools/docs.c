/* docs: the reference pages that are generated from the code's own tables. Not part of the shipped binary.
 *
 *     bluelake_docs metrics|schema|errors|audit      prints the page, or for audit the table in docs/BUFFER.md
 *
 * tools/docs.sh calls it and puts the pages in place. */
#include <stdio.h>

#include "buffer/audit.h"
#include "event/event.h"
#include "obs/alert.h"
#include "obs/metrics.h"

static void head(struct bl_buf *out, const char *title, const char *table) {
    bl_buf_printf(out, "# %s\n\nGenerated from `%s`; `make docs` renews it.\n\n", title, table);
}

/* Table cells: a bar would end the cell, angle brackets would be HTML. */
static void cell(struct bl_buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|' || *text == '<') bl_buf_byte(out, '\\');
        bl_buf_byte(out, *text);
    }
}

/* ---- metrics ---- */

static void roles(struct bl_buf *out, unsigned bits) {
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{ROLE_INGEST, "ingest"}, {ROLE_WRITE, "write"}, {ROLE_SERVE, "serve"}, {ROLE_SIMULATE, "simulate"}};
    const char *between = "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(bits & names[i].bit)) continue;
        bl_buf_printf(out, "%s%s", between, names[i].name);
        between = ", ";
    }
}

static void metrics(struct bl_buf *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"}, *const labels[] = {"", "`type`", "`reason`",
                                                                                             "`alert`, `severity`"};
    head(out, "Metrics", "src/obs/metrics.def");
    bl_buf_z(out,
             "Every role answers `/metrics` in the Prometheus text format: ingest on `ingest.http` (port 8001), the "
             "writer on `write.http` (port 8000), `serve` on `serve.http` (port 8080; with keys, to one with the scope "
             "`metrics`). Label `type` takes the types of [SCHEMA.md](SCHEMA.md), `reason` "
             "the reasons of [ERRORS.md](ERRORS.md#dead-letters).\n\n"
             "| metric | kind | label | unit | roles | meaning |\n|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const struct metric_info *m = metric_info((enum metric)i);
        bl_buf_printf(out, "| `%s` | %s | %s | %s | ", m->name, kinds[m->kind], labels[m->label], m->unit);
        roles(out, m->roles);
        bl_buf_z(out, " | ");
        cell(out, m->help);
        bl_buf_z(out, " |\n");
    }
    bl_buf_z(
        out,
        "\n## Alerts\n\nEach role judges its own once a second. An alert is `bluelake_alert{alert=\"NAME\"} 1` in "
        "`/metrics`, a name in `alerts` of `/health` and `/ready`, and a line in the log when it begins and when it "
        "ends. A role that does not answer at all has to be missed by whoever asks.\n\n"
        "| alert | severity | roles | while |\n|---|---|---|---|\n");
    for (unsigned a = 0; a < ALERT_COUNT; a++) {
        const struct alert_info *info = alert_info((enum alert)a);
        bl_buf_printf(out, "| `%s` | %s | ", info->name, info->severity);
        roles(out, info->roles);
        bl_buf_z(out, " | ");
        cell(out, info->when);
        bl_buf_z(out, " |\n");
    }
}

/* ---- schema ---- */

static const char *parquet_type(enum ev_col_kind kind) {
    switch (kind) {
    case EV_STR: return "BYTE_ARRAY (String)";
    case EV_I64: return "INT64";
    case EV_TIME: return "INT64 (Timestamp, microseconds, UTC)";
    case EV_BOOL: return "BOOLEAN";
    case EV_JSON: return "BYTE_ARRAY (JSON)";
    case EV_LIST: return "LIST of BYTE_ARRAY (String)";
    }
    return "";
}

static const char *kind_name(enum ev_col_kind kind) {
    static const char *const names[] = {"text", "integer", "time", "true/false", "JSON", "list of text"};
    return names[kind];
}

static void source_of(struct bl_buf *out, const char *path) {
    bool derived = *path == '=';
    if (derived) bl_buf_z(out, path[1] ? "derived from " : "derived");
    if (derived && !path[1]) return;
    bl_buf_byte(out, '`');
    cell(out, path + derived);
    bl_buf_byte(out, '`');
}

static void type_table(struct bl_buf *out, const struct ev_schema *s) {
    bl_buf_printf(out, "\n## %s\n\n%s%s%s%s.\n\n", s->name, s->sentence, s->collection ? ": collection `" : "",
                  s->collection ? s->collection : "", s->collection ? "`" : "");
    bl_buf_z(out, "| column | kind | Parquet | null | from | meaning |\n|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < s->count; i++) {
        const struct ev_column *c = &s->columns[i];
        bl_buf_printf(out, "| `%s` | %s | %s | %s | ", c->name, kind_name(c->kind), parquet_type(c->kind),
                      c->optional ? "yes" : "never");
        source_of(out, c->path);
        bl_buf_z(out, " | ");
        cell(out, c->sentence);
        bl_buf_printf(out, " |\n");
    }
}

static void schema(struct bl_buf *out) {
    head(out, "Schema", "src/event/schema.def");
    bl_buf_printf(out,
                  "One table a type, schema version %d. *From* is the place of the value in the Jetstream event; a "
                  "*derived* column is computed from others and plays no part in rebuilding the event. What no column "
                  "holds stands in `extra`, so that every row gives back its event, value for value. Creates, updates "
                  "and deletes of a type share its table; a delete has no record. [FORMATS.md](FORMATS.md#lake) tells "
                  "where the files lie.\n",
                  EV_SCHEMA_VERSION);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) type_table(out, ev_schema((enum ev_type)t));
}

/* ---- errors ---- */

static const char *class_of(enum bl_rc rc) {
    static const char *const names[] = {"ok", "retry", "drop", "fatal", "usage"};
    return names[bl_rc_class(rc)];
}

static void errors(struct bl_buf *out) {
    head(out, "Errors", "src/base/errors.def` and `src/event/reasons.def");
    bl_buf_z(out,
             "Messages say what failed, with which value, and what to do about it; the code stands in parentheses "
             "in the log.\n\n## Exit codes\n\n| code | meaning |\n|---|---|\n| 0 | done |\n| 1 | failed |\n"
             "| 2 | wrong usage or configuration |\n| 3 | verification found differences |\n\n"
             "## Codes\n\nThe class decides what a stage of the pipeline does: *retry* leaves the work where it is "
             "and tries again later; *drop* sets the one piece of input aside as a dead letter; *fatal* stops "
             "loudly; *usage* is for the person at the keyboard.\n\n"
             "| code | class | exit code | meaning |\n|---|---|---|---|\n");
    for (unsigned i = BL_OK + 1; i < BL_RC_COUNT; i++) {
        enum bl_rc rc = (enum bl_rc)i;
        bl_buf_printf(out, "| `%s` | %s | %d | %s |\n", bl_rc_name(rc), class_of(rc), bl_rc_exit_code(rc),
                      bl_rc_text(rc));
    }
    bl_buf_z(out, "\n## Dead letters\n\nWhy a message is no event. It is kept as it came, counted by reason, and shown "
                  "by `bluelake deadletter`.\n\n| reason | meaning |\n|---|---|\n");
    for (unsigned i = EV_REASON_NONE + 1; i < EV_REASON_COUNT; i++)
        bl_buf_printf(out, "| `%s` | %s |\n", ev_reason_name((enum ev_reason)i), ev_reason_text((enum ev_reason)i));
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*write)(struct bl_buf *out);
    } pages[] = {{"metrics", metrics}, {"schema", schema}, {"errors", errors}, {"audit", buffer_audit_table}};
    struct bl_buf out = {0};
    for (size_t i = 0; argc == 2 && i < sizeof pages / sizeof *pages; i++)
        if (strcmp(argv[1], pages[i].name) == 0) pages[i].write(&out);
    if (!out.n) {
        fputs("usage: bluelake_docs metrics|schema|errors|audit\n", stderr);
        return 2;
    }
    fwrite(out.p, 1, out.n, stdout);
    bl_buf_release(&out);
    return fflush(stdout) == 0 ? 0 : 1;
}
