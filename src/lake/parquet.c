#include <stdlib.h>
#include <xxhash.h>

#include "base/io.h"
#include "lake/parquet_priv.h"

enum { MAGIC = 4 };
#define MEMORY_MAX ((int64_t)1 << 30) /* string offsets are 32 bits wide */

struct pq_writer *pq_open(int fd, const struct pq_column *columns, size_t count, const struct pq_options *o) {
    struct pq_writer *w = bl_xcalloc(1, sizeof *w);
    w->fd = fd;
    w->o = *o;
    if (w->o.zstd_level == 0) w->o.zstd_level = 1;
    if (w->o.row_group_rows <= 0) w->o.row_group_rows = 1000000;
    if (w->o.row_group_bytes <= 0) w->o.row_group_bytes = 96 << 20;
    if (w->o.row_group_bytes > MEMORY_MAX) w->o.row_group_bytes = MEMORY_MAX;
    w->packer.codec = o->codec;
    w->body.max = w->packed.max = INT32_MAX; /* page sizes are 32 bits wide */
    w->out.max = (size_t)4 << 30;
    w->count = count;
    w->cols = bl_xcalloc(count, sizeof *w->cols);
    w->specs = bl_xcalloc(count, sizeof *w->specs);
    w->chunks = bl_xcalloc(count, sizeof *w->chunks);
    for (size_t i = 0; i < count; i++) {
        w->specs[i] = columns[i];
        w->specs[i].name = bl_xstrdup(columns[i].name);
        w->cols[i].spec = w->specs[i];
    }
    w->hash = bl_xneed(XXH3_createState());
    BL_ASSERT(XXH3_64bits_reset(w->hash) == XXH_OK);
    bl_buf_add(&w->out, "PAR1", MAGIC);
    w->offset = MAGIC;
    return w;
}

static void release_column(struct pq_writer *w, struct pq_col *c) {
    pq_strings_release(&c->strings, &w->memory);
    w->memory -=
        (int64_t)(c->bits_cap * sizeof *c->bits + c->levels_cap + c->ints_cap * sizeof *c->ints + c->bools_cap);
    free(c->bits);
    free(c->levels);
    free(c->ints);
    free(c->bools);
    *c = (struct pq_col){.spec = c->spec};
}

void pq_close(struct pq_writer **pw) {
    struct pq_writer *w = *pw;
    *pw = NULL;
    if (!w) return;
    for (size_t i = 0; i < w->count; i++) {
        release_column(w, &w->cols[i]);
        free((char *)(uintptr_t)w->specs[i].name);
    }
    free(w->cols);
    free(w->specs);
    free(w->chunks);
    free(w->scratch);
    free(w->page);
    bl_buf_release(&w->out);
    bl_buf_release(&w->body);
    bl_buf_release(&w->packed);
    bl_buf_release(&w->row_groups);
    pq_packer_release(&w->packer);
    XXH3_freeState(w->hash);
    free(w);
}

/* ---- appending */

static inline void mark_present(struct pq_writer *w, struct pq_col *c) {
    size_t row = c->rows++;
    c->values++;
    if (!c->spec.optional) return;
    if (row / 64 >= c->bits_cap) {
        size_t had = c->bits_cap;
        c->bits = pq_grow(c->bits, &c->bits_cap, row / 64 + 1, sizeof *c->bits, &w->memory);
        memset(c->bits + had, 0, (c->bits_cap - had) * sizeof *c->bits);
    }
    c->bits[row / 64] |= (uint64_t)1 << row % 64;
}

static void add_level(struct pq_writer *w, struct pq_col *c, unsigned repetition, unsigned definition) {
    if (c->levels_n == c->levels_cap) c->levels = pq_grow(c->levels, &c->levels_cap, c->levels_n + 1, 1, &w->memory);
    c->levels[c->levels_n++] = (uint8_t)(repetition << 4 | definition);
}

void pq_i64(struct pq_writer *w, unsigned column, int64_t v) {
    struct pq_col *c = &w->cols[column];
    if (c->values == c->ints_cap) c->ints = pq_grow(c->ints, &c->ints_cap, c->values + 1, sizeof *c->ints, &w->memory);
    c->ints[c->values] = v;
    mark_present(w, c);
}

void pq_bool(struct pq_writer *w, unsigned column, bool v) {
    struct pq_col *c = &w->cols[column];
    if (c->values == c->bools_cap) c->bools = pq_grow(c->bools, &c->bools_cap, c->values + 1, 1, &w->memory);
    c->bools[c->values] = v;
    mark_present(w, c);
}

void pq_str(struct pq_writer *w, unsigned column, struct bl_str v) {
    struct pq_col *c = &w->cols[column];
    pq_strings_add(&c->strings, v, &w->memory);
    mark_present(w, c);
}

void pq_list(struct pq_writer *w, unsigned column, const struct bl_str *items, size_t count) {
    struct pq_col *c = &w->cols[column];
    unsigned empty = c->spec.optional ? 1 : 0;
    c->rows++;
    if (count == 0) add_level(w, c, 0, empty);
    for (size_t i = 0; i < count; i++) {
        add_level(w, c, i > 0, empty + 2);
        pq_strings_add(&c->strings, items[i], &w->memory);
        c->values++;
    }
}

void pq_null(struct pq_writer *w, unsigned column) {
    struct pq_col *c = &w->cols[column];
    BL_ASSERT(c->spec.optional);
    c->rows++;
    if (c->spec.kind == PQ_STRING_LIST) add_level(w, c, 0, 0);
}

/* ---- row groups */

enum bl_rc pq_flush_out(struct pq_writer *w, size_t keep_below, struct bl_error *err) {
    if (w->out.n == 0 || w->out.n < keep_below) return BL_OK;
    XXH3_64bits_update(w->hash, w->out.p, w->out.n);
    BL_TRY(bl_write_all(w->fd, bl_buf_view(&w->out), "a Parquet file", err));
    bl_buf_clear(&w->out);
    return BL_OK;
}

static enum bl_rc flush_group(struct pq_writer *w, struct bl_error *err) {
    for (size_t i = 0; i < w->count; i++) {
        BL_TRY(pq_write_chunk(w, &w->cols[i], &w->chunks[i], err));
        release_column(w, &w->cols[i]);
    }
    pq_thrift_row_group(&w->row_groups, w->chunks, w->count, w->group_rows, w->groups);
    w->groups++;
    w->group_rows = 0;
    return BL_OK;
}

enum bl_rc pq_row_end(struct pq_writer *w, struct bl_error *err) {
    w->rows++;
    w->group_rows++;
    bool overflow = false;
    for (size_t i = 0; i < w->count; i++) {
        BL_ASSERT(w->cols[i].rows == (size_t)w->group_rows);
        overflow |= w->cols[i].strings.overflow;
    }
    if (overflow) return bl_fail(err, BL_E_TOO_LARGE, "a value or a row group exceeds what Parquet pages can hold");
    if (w->group_rows < w->o.row_group_rows && w->memory < w->o.row_group_bytes) return BL_OK;
    return flush_group(w, err);
}

int64_t pq_rows(const struct pq_writer *w) {
    return w->rows;
}
int64_t pq_memory(const struct pq_writer *w) {
    return w->memory;
}

int64_t pq_written(const struct pq_writer *w, int64_t *row_groups) {
    *row_groups = w->groups;
    return w->offset;
}

enum bl_rc pq_finish(struct pq_writer *w, const char *const (*metadata)[2], size_t metadata_count,
                     struct pq_summary *out, struct bl_error *err) {
    BL_ASSERT(!w->finished);
    if (w->group_rows) BL_TRY(flush_group(w, err));
    struct pq_footer footer = {w->specs, w->count, w->rows, &w->row_groups, w->groups, metadata, metadata_count};
    size_t before = w->out.n;
    pq_thrift_footer(&w->out, &footer);
    uint32_t length = (uint32_t)(w->out.n - before);
    bl_buf_add(&w->out, &length, 4);
    bl_buf_add(&w->out, "PAR1", MAGIC);
    BL_TRY(bl_buf_check(&w->row_groups, "Parquet footer", err));
    BL_TRY(bl_buf_check(&w->out, "Parquet output", err));
    BL_TRY(pq_flush_out(w, 0, err));
    w->finished = true;
    *out = (struct pq_summary){
        .rows = w->rows,
        .bytes = w->offset + length + 8,
        .row_groups = w->groups,
        .checksum = XXH3_64bits_digest(w->hash),
    };
    return BL_OK;
}
