#include "lake/event_file.h"

#include <stdio.h>

#include "base/version.h"

/* Long text repays a stronger level; identifiers come out the same at every level. */
static int level_of(const struct ev_column *c) {
    enum { FAST = 1, TEXT = 3 };
    if (c->kind == EV_JSON) return TEXT;
    return strcmp(c->name, "text") == 0 || strcmp(c->name, "description") == 0 ? TEXT : FAST;
}

static enum pq_kind kind_of(enum ev_col_kind kind) {
    switch (kind) {
    case EV_STR:
        return PQ_STRING;
    case EV_I64:
        return PQ_I64;
    case EV_TIME:
        return PQ_TIMESTAMP_US;
    case EV_BOOL:
        return PQ_BOOL;
    case EV_JSON:
        return PQ_JSON;
    case EV_LIST:
        break;
    }
    return PQ_STRING_LIST;
}

struct pq_writer *event_file_open(int fd, enum ev_type type, const struct pq_options *o) {
    const struct ev_schema *schema = ev_schema(type);
    struct pq_column columns[EV_COLS_MAX];
    for (unsigned i = 0; i < schema->count; i++) {
        const struct ev_column *c = &schema->columns[i];
        columns[i] = (struct pq_column){c->name, kind_of(c->kind), c->optional, level_of(c)};
    }
    return pq_open(fd, columns, schema->count, o);
}

static void append_value(struct pq_writer *w, unsigned i, enum ev_col_kind kind, const struct ev_value *v) {
    switch (kind) {
    case EV_STR:
    case EV_JSON:
        pq_str(w, i, v->s);
        break;
    case EV_I64:
    case EV_TIME:
        pq_i64(w, i, v->i);
        break;
    case EV_BOOL:
        pq_bool(w, i, v->i != 0);
        break;
    case EV_LIST:
        pq_list(w, i, v->list.items, v->list.count);
        break;
    }
}

enum bl_rc event_file_append(struct pq_writer *w, const struct event *ev, struct bl_error *err) {
    const struct ev_schema *schema = ev_schema(ev->type);
    for (unsigned i = 0; i < schema->count; i++) {
        if (ev_has(ev, i))
            append_value(w, i, schema->columns[i].kind, &ev->v[i]);
        else
            pq_null(w, i);
    }
    return pq_row_end(w, err);
}

enum bl_rc event_file_finish(struct pq_writer *w, enum ev_type type, struct pq_summary *out, struct bl_error *err) {
    char version[16];
    snprintf(version, sizeof version, "%d", EV_SCHEMA_VERSION);
    const char *const metadata[][2] = {
        {"bluelake.schema_version", version},
        {"bluelake.type", ev_schema(type)->name},
        {"bluelake.writer", "bluelake " BL_VERSION},
    };
    return pq_finish(w, metadata, sizeof metadata / sizeof *metadata, out, err);
}
