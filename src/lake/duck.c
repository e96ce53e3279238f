#include "lake/duck.h"

#include "base/clock.h"

#include <duckdb.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

/* The header carries no version of its own; its structs are those of this release. */
static const char header_version[] = "v1.4.4";

struct duck {
    duckdb_database database;
    duckdb_connection connection;
};

/* What is needed of a column's type to read its vectors, nested types included. */
struct shape {
    duckdb_type type, storage; /* storage: the integer behind a decimal or an enum, else the type itself */
    uint8_t width, scale;      /* of a decimal */
    char *name;                /* of a struct's or union's member */
    duckdb_logical_type logical;
    struct shape *children; /* list, array, map: one; struct, union: its members (a union's tag first) */
    size_t count;
    idx_t array_size;
};

struct column {
    struct shape shape;
    enum duck_kind kind;
    duckdb_vector vector;
    const void *data;
    const uint64_t *validity;
    const duckdb_string_t *items; /* of a list of text */
    const uint64_t *items_validity;
};

struct duck_result {
    duckdb_prepared_statement statement;
    duckdb_result result;
    duckdb_data_chunk chunk;
    struct column *columns;
    unsigned count;
    bool ended;
};

/* --- Errors --- */

static const struct {
    const char *prefix;
    enum bl_rc code;
} error_codes[] = {
    {"INTERRUPT", BL_E_CANCELLED},
    {"Out of Memory", BL_E_FULL},
    {"Parser", BL_E_USAGE},
    {"Syntax", BL_E_USAGE},
    {"Binder", BL_E_USAGE},
    {"Catalog", BL_E_USAGE},
    {"Permission", BL_E_USAGE},
    {"Conversion", BL_E_USAGE},
    {"Out of Range", BL_E_USAGE},
    {"Invalid Input Error: Cannot change configuration", BL_E_USAGE},
    {"Invalid Input Error: Cannot prepare multiple", BL_E_USAGE},
};

/* A failed prepare gives a text and no type, so the text's own prefix decides everywhere. */
static enum bl_rc refused(const char *text, struct bl_error *err) {
    if (!text) text = "DuckDB gave no reason";
    for (size_t i = 0; i < sizeof error_codes / sizeof *error_codes; i++)
        if (strncmp(text, error_codes[i].prefix, strlen(error_codes[i].prefix)) == 0)
            return bl_fail(err, error_codes[i].code, "%s", text);
    return bl_fail(err, BL_E_BACKEND, "DuckDB: %s", text);
}

/* --- Opening --- */

static enum bl_rc check_version(struct bl_error *err) {
    const char *loaded = duckdb_library_version();
    if (strcmp(loaded, header_version) == 0) return BL_OK;
    return bl_fail(err, BL_E_BACKEND,
                   "libduckdb.so is %s, but this program was built for %s: run tools/setup.sh to fetch the matching "
                   "library, or take another libduckdb.so off the library path",
                   loaded, header_version);
}

static enum bl_rc configure(duckdb_config config, const struct duck_options *o, struct bl_error *err) {
    int64_t memory_kib = (o->memory_bytes ? o->memory_bytes : (int64_t)1 << 30) / 1024;
    char memory[40], threads[16];
    snprintf(memory, sizeof memory, "%" PRId64 "KiB", memory_kib);
    snprintf(threads, sizeof threads, "%d", o->threads ? o->threads : 2);
    const char *const options[][2] = {
        {"memory_limit", memory},
        {"threads", threads},
        {"temp_directory", o->temp_dir ? o->temp_dir : ""},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (duckdb_set_config(config, options[i][0], options[i][1]) != DuckDBSuccess)
            return bl_fail(err, BL_E_BACKEND, "DuckDB refuses the setting %s = %s", options[i][0], options[i][1]);
    return BL_OK;
}

static void sql_text(struct bl_buf *out, const char *text) {
    bl_buf_byte(out, '\'');
    for (; *text; text++) {
        if (*text == '\'') bl_buf_byte(out, '\'');
        bl_buf_byte(out, *text);
    }
    bl_buf_byte(out, '\'');
}

/* The folder is allowed as named and as resolved, so that either form of a path inside it works. */
static enum bl_rc confine(struct duck *d, const char *folder, struct bl_error *err) {
    char resolved[PATH_MAX];
    if (!realpath(folder, resolved)) return bl_fail_errno(err, BL_E_NOT_FOUND, "cannot confine DuckDB to %s", folder);
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SET allowed_directories = [");
    sql_text(&sql, folder);
    bl_buf_z(&sql, ", ");
    sql_text(&sql, resolved);
    bl_buf_z(&sql, "]");
    BL_TRY(bl_buf_check(&sql, "DuckDB settings", err));
    BL_TRY(duck_run(d, bl_buf_cstr(&sql), err));
    return duck_run(d, "SET enable_external_access = false", err);
}

static enum bl_rc open_database(struct duck *d, duckdb_config config, struct bl_error *err) {
    char *text = NULL;
    if (duckdb_open_ext(NULL, &d->database, config, &text) != DuckDBSuccess) {
        enum bl_rc rc = refused(text, err);
        duckdb_free(text);
        return rc;
    }
    if (duckdb_connect(d->database, &d->connection) != DuckDBSuccess)
        return bl_fail(err, BL_E_BACKEND, "DuckDB gives no connection");
    return BL_OK;
}

static enum bl_rc set_up(struct duck *d, const struct duck_options *o, struct bl_error *err) {
    duckdb_config config = NULL;
    if (duckdb_create_config(&config) != DuckDBSuccess) return bl_fail(err, BL_E_NOMEM, "no memory for DuckDB");
    enum bl_rc rc = configure(config, o, err);
    if (rc == BL_OK) rc = open_database(d, config, err);
    duckdb_destroy_config(&config);
    BL_TRY(rc);
    BL_TRY(duck_run(d, "SET TimeZone = 'UTC'", err));
    BL_TRY(duck_run(d, "SET parquet_metadata_cache = true", err)); /* the lake never writes over a file */
    if (o->confine_to) BL_TRY(confine(d, o->confine_to, err));
    return duck_run(d, "SET lock_configuration = true", err);
}

enum bl_rc duck_open(const struct duck_options *o, struct duck **out, struct bl_error *err) {
    BL_TRY(check_version(err));
    struct duck *d = bl_xcalloc(1, sizeof *d);
    enum bl_rc rc = set_up(d, o, err);
    if (rc == BL_OK) {
        *out = d;
    } else {
        duck_close(&d);
    }
    return rc;
}

void duck_close(struct duck **d) {
    if (!*d) return;
    duckdb_disconnect(&(*d)->connection);
    duckdb_close(&(*d)->database);
    free(*d);
    *d = NULL;
}

void duck_interrupt(struct duck *d) { duckdb_interrupt(d->connection); }

enum bl_rc duck_run(struct duck *d, const char *sql, struct bl_error *err) {
    duckdb_result result;
    enum bl_rc rc = BL_OK;
    if (duckdb_query(d->connection, sql, &result) != DuckDBSuccess) rc = refused(duckdb_result_error(&result), err);
    duckdb_destroy_result(&result);
    return rc;
}

/* --- Types --- */

static enum duck_kind kind_of(const struct shape *s) {
    switch ((int)s->type) {
    case DUCKDB_TYPE_BOOLEAN: return DUCK_BOOL;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT: return DUCK_I64;
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
    case DUCKDB_TYPE_DECIMAL: return DUCK_F64;
    case DUCKDB_TYPE_VARCHAR: return DUCK_TEXT;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS: return DUCK_TIMESTAMP_US;
    case DUCKDB_TYPE_DATE: return DUCK_DATE;
    case DUCKDB_TYPE_LIST: return s->children[0].type == DUCKDB_TYPE_VARCHAR ? DUCK_LIST : DUCK_OTHER;
    case DUCKDB_TYPE_SQLNULL: return DUCK_NULL;
    default: return DUCK_OTHER;
    }
}

static void shape_init(struct shape *s, duckdb_logical_type logical, char *name);

static void shape_children(struct shape *s, size_t count) {
    s->count = count;
    s->children = bl_xcalloc(count, sizeof *s->children);
}

static void shape_members(struct shape *s) {
    shape_children(s, duckdb_struct_type_child_count(s->logical));
    for (size_t i = 0; i < s->count; i++)
        shape_init(&s->children[i], duckdb_struct_type_child_type(s->logical, i),
                   duckdb_struct_type_child_name(s->logical, i));
}

/* A map's vector is a list of (key, value) structs; its logical type says so only through its two accessors. */
static void shape_map(struct shape *s) {
    shape_children(s, 1);
    struct shape *entry = s->children;
    entry->type = entry->storage = DUCKDB_TYPE_STRUCT;
    shape_children(entry, 2);
    shape_init(&entry->children[0], duckdb_map_type_key_type(s->logical), NULL);
    shape_init(&entry->children[1], duckdb_map_type_value_type(s->logical), NULL);
}

static void shape_union(struct shape *s) {
    shape_children(s, duckdb_union_type_member_count(s->logical) + 1);
    s->children[0].type = s->children[0].storage = DUCKDB_TYPE_UTINYINT;
    for (size_t i = 1; i < s->count; i++)
        shape_init(&s->children[i], duckdb_union_type_member_type(s->logical, i - 1),
                   duckdb_union_type_member_name(s->logical, i - 1));
}

/* Takes over `logical` and `name`. */
static void shape_init(struct shape *s, duckdb_logical_type logical, char *name) {
    s->logical = logical;
    s->name = name;
    s->type = s->storage = duckdb_get_type_id(logical);
    switch ((int)s->type) {
    case DUCKDB_TYPE_DECIMAL:
        s->width = duckdb_decimal_width(logical);
        s->scale = duckdb_decimal_scale(logical);
        s->storage = duckdb_decimal_internal_type(logical);
        break;
    case DUCKDB_TYPE_ENUM: s->storage = duckdb_enum_internal_type(logical); break;
    case DUCKDB_TYPE_LIST:
        shape_children(s, 1);
        shape_init(s->children, duckdb_list_type_child_type(logical), NULL);
        break;
    case DUCKDB_TYPE_ARRAY:
        shape_children(s, 1);
        s->array_size = duckdb_array_type_array_size(logical);
        shape_init(s->children, duckdb_array_type_child_type(logical), NULL);
        break;
    case DUCKDB_TYPE_STRUCT: shape_members(s); break;
    case DUCKDB_TYPE_MAP: shape_map(s); break;
    case DUCKDB_TYPE_UNION: shape_union(s); break;
    default: break;
    }
}

static void shape_release(struct shape *s) {
    for (size_t i = 0; i < s->count; i++) shape_release(&s->children[i]);
    free(s->children);
    if (s->name) duckdb_free(s->name);
    if (s->logical) duckdb_destroy_logical_type(&s->logical);
}

/* --- Questions --- */

static duckdb_value list_value(const struct duck_bind *b) {
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    duckdb_value *items = bl_xcalloc(b->count, sizeof *items);
    for (size_t i = 0; i < b->count; i++)
        items[i] = duckdb_create_varchar_length(b->items[i].p ? b->items[i].p : "", b->items[i].n);
    duckdb_value list = duckdb_create_list_value(text, items, b->count);
    for (size_t i = 0; i < b->count; i++) duckdb_destroy_value(&items[i]);
    free(items);
    duckdb_destroy_logical_type(&text);
    return list;
}

static duckdb_state bind_one(duckdb_prepared_statement p, idx_t at, const struct duck_bind *b) {
    switch (b->kind) {
    case DUCK_NULL: return duckdb_bind_null(p, at);
    case DUCK_BOOL: return duckdb_bind_boolean(p, at, b->i != 0);
    case DUCK_I64: return duckdb_bind_int64(p, at, b->i);
    case DUCK_F64: return duckdb_bind_double(p, at, b->f);
    case DUCK_TEXT: return duckdb_bind_varchar_length(p, at, b->s.p ? b->s.p : "", b->s.n);
    case DUCK_TIMESTAMP_US: return duckdb_bind_timestamp(p, at, (duckdb_timestamp){b->i});
    case DUCK_DATE: return duckdb_bind_date(p, at, (duckdb_date){(int32_t)b->i});
    case DUCK_LIST: {
        duckdb_value list = list_value(b);
        duckdb_state state = list ? duckdb_bind_value(p, at, list) : DuckDBError;
        duckdb_destroy_value(&list);
        return state;
    }
    case DUCK_OTHER: break;
    }
    return DuckDBError;
}

static enum bl_rc bind_all(duckdb_prepared_statement p, const struct duck_bind *binds, size_t count,
                           struct bl_error *err) {
    if (duckdb_nparams(p) != count)
        return bl_fail(err, BL_E_USAGE, "the statement has %" PRIu64 " parameters, %zu values are given",
                       (uint64_t)duckdb_nparams(p), count);
    for (size_t i = 0; i < count; i++)
        if (bind_one(p, i + 1, &binds[i]) != DuckDBSuccess)
            return bl_fail(err, BL_E_BACKEND, "DuckDB refuses the value for parameter %zu (text must be UTF-8)", i + 1);
    return BL_OK;
}

static enum bl_rc execute(struct duck *d, const char *sql, const struct duck_bind *binds, size_t bind_count,
                          struct duck_result *r, struct bl_error *err) {
    if (duckdb_prepare(d->connection, sql, &r->statement) != DuckDBSuccess)
        return refused(duckdb_prepare_error(r->statement), err);
    BL_TRY(bind_all(r->statement, binds, bind_count, err));
    if (duckdb_execute_prepared_streaming(r->statement, &r->result) != DuckDBSuccess)
        return refused(duckdb_result_error(&r->result), err);
    r->count = (unsigned)duckdb_column_count(&r->result);
    r->columns = bl_xcalloc(r->count, sizeof *r->columns);
    for (unsigned c = 0; c < r->count; c++) {
        shape_init(&r->columns[c].shape, duckdb_column_logical_type(&r->result, c), NULL);
        r->columns[c].kind = kind_of(&r->columns[c].shape);
    }
    return BL_OK;
}

enum bl_rc duck_query(struct duck *d, const char *sql, const struct duck_bind *binds, size_t bind_count,
                      struct duck_result **out, struct bl_error *err) {
    struct duck_result *r = bl_xcalloc(1, sizeof *r);
    enum bl_rc rc = execute(d, sql, binds, bind_count, r, err);
    if (rc == BL_OK) {
        *out = r;
    } else {
        duck_result_close(&r);
    }
    return rc;
}

void duck_result_close(struct duck_result **result) {
    struct duck_result *r = *result;
    if (!r) return;
    if (r->chunk) duckdb_destroy_data_chunk(&r->chunk);
    for (unsigned c = 0; c < r->count; c++) shape_release(&r->columns[c].shape);
    free(r->columns);
    duckdb_destroy_result(&r->result);
    if (r->statement) duckdb_destroy_prepare(&r->statement);
    free(r);
    *result = NULL;
}

unsigned duck_columns(const struct duck_result *r) { return r->count; }

const char *duck_column_name(const struct duck_result *r, unsigned column) {
    duckdb_result result = r->result; /* DuckDB's accessor takes a non-const pointer, and changes nothing */
    return duckdb_column_name(&result, column);
}

enum duck_kind duck_column_kind(const struct duck_result *r, unsigned column) { return r->columns[column].kind; }

static void load_column(struct column *c, duckdb_vector vector) {
    c->vector = vector;
    c->data = duckdb_vector_get_data(vector);
    c->validity = duckdb_vector_get_validity(vector);
    if (c->kind != DUCK_LIST) return;
    duckdb_vector items = duckdb_list_vector_get_child(vector);
    c->items = duckdb_vector_get_data(items);
    c->items_validity = duckdb_vector_get_validity(items);
}

static enum bl_rc fetch(struct duck_result *r, struct bl_error *err) {
    if (r->chunk) duckdb_destroy_data_chunk(&r->chunk);
    r->chunk = duckdb_fetch_chunk(r->result);
    if (r->chunk) return BL_OK;
    r->ended = true;
    const char *text = duckdb_result_error(&r->result);
    return text && *text ? refused(text, err) : BL_OK;
}

enum bl_rc duck_next(struct duck_result *r, size_t *rows, struct bl_error *err) {
    size_t n = 0;
    while (n == 0 && !r->ended) {
        BL_TRY(fetch(r, err));
        n = r->chunk ? duckdb_data_chunk_get_size(r->chunk) : 0;
    }
    for (unsigned c = 0; c < r->count && n; c++)
        load_column(&r->columns[c], duckdb_data_chunk_get_vector(r->chunk, c));
    *rows = n;
    return BL_OK;
}

/* --- Values --- */

static bool valid(const uint64_t *validity, size_t row) { return !validity || (validity[row / 64] >> (row % 64) & 1); }

static struct bl_str string_at(const duckdb_string_t *s) {
    uint32_t n = s->value.inlined.length;
    return (struct bl_str){n <= sizeof s->value.inlined.inlined ? s->value.inlined.inlined : s->value.pointer.ptr, n};
}

static duckdb_hugeint hugeint_at(duckdb_type storage, const void *data, size_t row);

static int64_t saturate(duckdb_hugeint h) {
    if (h.upper > 0 || (h.upper == 0 && h.lower > INT64_MAX)) return INT64_MAX;
    if (h.upper < -1 || (h.upper == -1 && h.lower <= INT64_MAX)) return INT64_MIN;
    return (int64_t)h.lower;
}

/* Of a type wider than 64 bits the nearest int64. */
static int64_t integer_at(duckdb_type storage, const void *data, size_t row) {
    switch ((int)storage) {
    case DUCKDB_TYPE_BOOLEAN: return ((const bool *)data)[row];
    case DUCKDB_TYPE_TINYINT: return ((const int8_t *)data)[row];
    case DUCKDB_TYPE_SMALLINT: return ((const int16_t *)data)[row];
    case DUCKDB_TYPE_DATE:
    case DUCKDB_TYPE_INTEGER: return ((const int32_t *)data)[row];
    case DUCKDB_TYPE_UTINYINT: return ((const uint8_t *)data)[row];
    case DUCKDB_TYPE_USMALLINT: return ((const uint16_t *)data)[row];
    case DUCKDB_TYPE_UINTEGER: return ((const uint32_t *)data)[row];
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT: return saturate(hugeint_at(storage, data, row));
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_TIME:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS: return ((const int64_t *)data)[row];
    default: return 0;
    }
}

static duckdb_hugeint hugeint_at(duckdb_type storage, const void *data, size_t row) {
    if (storage == DUCKDB_TYPE_HUGEINT) return ((const duckdb_hugeint *)data)[row];
    if (storage == DUCKDB_TYPE_UBIGINT) return (duckdb_hugeint){((const uint64_t *)data)[row], 0};
    if (storage == DUCKDB_TYPE_UHUGEINT) {
        duckdb_uhugeint u = ((const duckdb_uhugeint *)data)[row];
        return u.upper > INT64_MAX ? (duckdb_hugeint){UINT64_MAX, INT64_MAX}
                                   : (duckdb_hugeint){u.lower, (int64_t)u.upper};
    }
    int64_t i = integer_at(storage, data, row);
    return (duckdb_hugeint){(uint64_t)i, i < 0 ? -1 : 0};
}

/* DuckDB keeps "infinity" as the outermost values, which stay what they are. */
static int64_t micros_of(duckdb_type type, int64_t v) {
    if (v == INT64_MAX || v == -INT64_MAX) return v;
    if (type == DUCKDB_TYPE_TIMESTAMP_S) return v * 1000000;
    if (type == DUCKDB_TYPE_TIMESTAMP_MS) return v * 1000;
    if (type == DUCKDB_TYPE_TIMESTAMP_NS) return v / 1000 - (v % 1000 < 0);
    return v;
}

bool duck_is_null(const struct duck_result *r, unsigned column, size_t row) {
    return r->columns[column].kind == DUCK_NULL || !valid(r->columns[column].validity, row);
}

int64_t duck_i64(const struct duck_result *r, unsigned column, size_t row) {
    const struct column *c = &r->columns[column];
    if (c->shape.type == DUCKDB_TYPE_BIGINT) return ((const int64_t *)c->data)[row];
    if (c->kind == DUCK_F64) {
        double f = duck_f64(r, column, row);
        return f >= 0x1p63 ? INT64_MAX : f >= -0x1p63 ? (int64_t)f : f < 0 ? INT64_MIN : 0;
    }
    return micros_of(c->shape.type, integer_at(c->shape.storage, c->data, row));
}

double duck_f64(const struct duck_result *r, unsigned column, size_t row) {
    const struct column *c = &r->columns[column];
    const struct shape *s = &c->shape;
    if (s->type == DUCKDB_TYPE_DOUBLE) return ((const double *)c->data)[row];
    if (s->type == DUCKDB_TYPE_FLOAT) return (double)((const float *)c->data)[row];
    if (s->type == DUCKDB_TYPE_UHUGEINT) return duckdb_uhugeint_to_double(((const duckdb_uhugeint *)c->data)[row]);
    duckdb_hugeint h = hugeint_at(s->storage, c->data, row);
    if (s->type == DUCKDB_TYPE_DECIMAL) return duckdb_decimal_to_double((duckdb_decimal){s->width, s->scale, h});
    return duckdb_hugeint_to_double(h);
}

struct bl_str duck_text(const struct duck_result *r, unsigned column, size_t row) {
    const struct column *c = &r->columns[column];
    if (c->shape.type != DUCKDB_TYPE_VARCHAR && c->shape.type != DUCKDB_TYPE_BLOB) return (struct bl_str){0};
    return string_at((const duckdb_string_t *)c->data + row);
}

size_t duck_list(const struct duck_result *r, unsigned column, size_t row, struct bl_str *items, size_t max) {
    const struct column *c = &r->columns[column];
    if (c->kind != DUCK_LIST) return 0;
    duckdb_list_entry entry = ((const duckdb_list_entry *)c->data)[row];
    for (size_t i = 0; i < entry.length && i < max; i++)
        items[i] = valid(c->items_validity, entry.offset + i) ? string_at(&c->items[entry.offset + i])
                                                              : (struct bl_str){0};
    return entry.length;
}

/* --- Showing --- */

static duckdb_value bignum_value(struct bl_str s) {
    enum { HEADER = 3 }; /* length and sign; negative values are stored complemented */
    if (s.n < HEADER) return NULL;
    bool negative = !((unsigned char)s.p[0] & 0x80);
    uint8_t *bytes = bl_xmalloc(s.n);
    for (size_t i = HEADER; i < s.n; i++) bytes[i - HEADER] = (uint8_t)(negative ? ~s.p[i] : s.p[i]);
    duckdb_value value = duckdb_create_bignum((duckdb_bignum){bytes, s.n - HEADER, negative});
    free(bytes);
    return value;
}

/* The value as DuckDB's own, for types whose text is left to DuckDB; NULL for those it has no constructor for. */
static duckdb_value boxed(const struct shape *s, const void *data, size_t row) {
    switch ((int)s->type) {
    case DUCKDB_TYPE_FLOAT: return duckdb_create_float(((const float *)data)[row]);
    case DUCKDB_TYPE_DOUBLE: return duckdb_create_double(((const double *)data)[row]);
    case DUCKDB_TYPE_HUGEINT: return duckdb_create_hugeint(((const duckdb_hugeint *)data)[row]);
    case DUCKDB_TYPE_UHUGEINT: return duckdb_create_uhugeint(((const duckdb_uhugeint *)data)[row]);
    case DUCKDB_TYPE_DECIMAL:
        return duckdb_create_decimal((duckdb_decimal){s->width, s->scale, hugeint_at(s->storage, data, row)});
    case DUCKDB_TYPE_ENUM: return duckdb_create_enum_value(s->logical, (uint64_t)integer_at(s->storage, data, row));
    case DUCKDB_TYPE_DATE: return duckdb_create_date(((const duckdb_date *)data)[row]);
    case DUCKDB_TYPE_TIME: return duckdb_create_time(((const duckdb_time *)data)[row]);
    case DUCKDB_TYPE_TIME_NS: return duckdb_create_time_ns(((const duckdb_time_ns *)data)[row]);
    case DUCKDB_TYPE_TIME_TZ: return duckdb_create_time_tz_value(((const duckdb_time_tz *)data)[row]);
    case DUCKDB_TYPE_INTERVAL: return duckdb_create_interval(((const duckdb_interval *)data)[row]);
    case DUCKDB_TYPE_UUID: {
        duckdb_uhugeint u = ((const duckdb_uhugeint *)data)[row];
        return duckdb_create_uuid((duckdb_uhugeint){u.lower, u.upper ^ (uint64_t)1 << 63}); /* stored to sort signed */
    }
    case DUCKDB_TYPE_BLOB: {
        struct bl_str b = string_at((const duckdb_string_t *)data + row);
        return duckdb_create_blob((const uint8_t *)b.p, b.n);
    }
    case DUCKDB_TYPE_BIT: {
        struct bl_str b = string_at((const duckdb_string_t *)data + row);
        return duckdb_create_bit((duckdb_bit){(uint8_t *)(uintptr_t)b.p, b.n});
    }
    case DUCKDB_TYPE_BIGNUM: return bignum_value(string_at((const duckdb_string_t *)data + row));
    default: return NULL;
    }
}

static void show_text(struct bl_str s, bool quoted, struct bl_buf *out) {
    if (quoted) {
        bl_buf_json(out, s);
    } else {
        bl_buf_str(out, s);
    }
}

static void show_boxed(const struct shape *s, const void *data, size_t row, bool nested, struct bl_buf *out) {
    duckdb_value value = boxed(s, data, row);
    char *text = value ? duckdb_get_varchar(value) : NULL;
    bool number = kind_of(s) == DUCK_I64 || kind_of(s) == DUCK_F64;
    if (s->type == DUCKDB_TYPE_DOUBLE) number = isfinite(((const double *)data)[row]);
    if (s->type == DUCKDB_TYPE_FLOAT) number = isfinite(((const float *)data)[row]);
    show_text(bl_str(text ? text : "?"), nested && !number, out);
    if (text) duckdb_free(text);
    if (value) duckdb_destroy_value(&value);
}

static void show_timestamp(int64_t us, bool nested, struct bl_buf *out) {
    static const int64_t year_0 = INT64_C(-62167219200000000), year_10000 = INT64_C(253402300800000000);
    char text[BL_TIME_TEXT_MAX];
    if (us >= year_0 && us < year_10000) {
        show_text(bl_str(bl_format_time(us, us % 1000 ? 6 : us % 1000000 ? 3 : 0, text)), nested, out);
        return;
    }
    duckdb_value value = duckdb_create_timestamp((duckdb_timestamp){us});
    char *wide = duckdb_get_varchar(value);
    show_text(bl_str(wide), nested, out);
    duckdb_free(wide);
    duckdb_destroy_value(&value);
}

static void show_value(const struct shape *s, duckdb_vector v, size_t row, bool nested, struct bl_buf *out);

static void show_items(const struct shape *item, duckdb_vector items, duckdb_list_entry at, struct bl_buf *out) {
    bl_buf_byte(out, '[');
    for (uint64_t i = 0; i < at.length; i++) {
        if (i) bl_buf_byte(out, ',');
        show_value(item, items, at.offset + i, true, out);
    }
    bl_buf_byte(out, ']');
}

static void show_struct(const struct shape *s, duckdb_vector v, size_t row, struct bl_buf *out) {
    bl_buf_byte(out, '{');
    for (size_t i = 0; i < s->count; i++) {
        if (i) bl_buf_byte(out, ',');
        bl_buf_json(out, bl_str(s->children[i].name ? s->children[i].name : ""));
        bl_buf_byte(out, ':');
        show_value(&s->children[i], duckdb_struct_vector_get_child(v, i), row, true, out);
    }
    bl_buf_byte(out, '}');
}

/* {"key":value}: keys that are no text are shown as text, since JSON knows no others. */
static void show_map(const struct shape *s, duckdb_vector v, size_t row, struct bl_buf *out) {
    duckdb_list_entry at = ((const duckdb_list_entry *)duckdb_vector_get_data(v))[row];
    duckdb_vector entries = duckdb_list_vector_get_child(v);
    const struct shape *entry = s->children;
    BL_CLEANUP(bl_buf_release) struct bl_buf key = {0};
    bl_buf_byte(out, '{');
    for (uint64_t i = 0; i < at.length; i++) {
        if (i) bl_buf_byte(out, ',');
        bl_buf_clear(&key);
        show_value(&entry->children[0], duckdb_struct_vector_get_child(entries, 0), at.offset + i, false, &key);
        bl_buf_json(out, bl_buf_view(&key));
        bl_buf_byte(out, ':');
        show_value(&entry->children[1], duckdb_struct_vector_get_child(entries, 1), at.offset + i, true, out);
    }
    bl_buf_byte(out, '}');
}

static void show_union(const struct shape *s, duckdb_vector v, size_t row, bool nested, struct bl_buf *out) {
    const uint8_t *tags = duckdb_vector_get_data(duckdb_struct_vector_get_child(v, 0));
    size_t member = (size_t)tags[row] + 1;
    if (member < s->count)
        show_value(&s->children[member], duckdb_struct_vector_get_child(v, member), row, nested, out);
}

static void show_value(const struct shape *s, duckdb_vector v, size_t row, bool nested, struct bl_buf *out) {
    if (!valid(duckdb_vector_get_validity(v), row)) {
        if (nested) bl_buf_z(out, "null");
        return;
    }
    const void *data = duckdb_vector_get_data(v);
    switch ((int)s->type) {
    case DUCKDB_TYPE_BOOLEAN: bl_buf_z(out, ((const bool *)data)[row] ? "true" : "false"); break;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER: bl_buf_i64(out, integer_at(s->storage, data, row)); break;
    case DUCKDB_TYPE_UBIGINT: bl_buf_u64(out, ((const uint64_t *)data)[row]); break;
    case DUCKDB_TYPE_VARCHAR: show_text(string_at((const duckdb_string_t *)data + row), nested, out); break;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
        show_timestamp(micros_of(s->type, integer_at(s->storage, data, row)), nested, out);
        break;
    case DUCKDB_TYPE_LIST:
        show_items(s->children, duckdb_list_vector_get_child(v), ((const duckdb_list_entry *)data)[row], out);
        break;
    case DUCKDB_TYPE_ARRAY:
        show_items(s->children, duckdb_array_vector_get_child(v),
                   (duckdb_list_entry){row * s->array_size, s->array_size}, out);
        break;
    case DUCKDB_TYPE_STRUCT: show_struct(s, v, row, out); break;
    case DUCKDB_TYPE_MAP: show_map(s, v, row, out); break;
    case DUCKDB_TYPE_UNION: show_union(s, v, row, nested, out); break;
    default: show_boxed(s, data, row, nested, out); break;
    }
}

void duck_show(struct duck_result *r, unsigned column, size_t row, struct bl_buf *out) {
    const struct column *c = &r->columns[column];
    if (c->kind != DUCK_NULL) show_value(&c->shape, c->vector, row, false, out);
}
