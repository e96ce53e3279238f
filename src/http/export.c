/* /export: every post of a search as a file. Rows go out as they are found; memory holds one piece. Count, SHA-256 and
 * the number of gaps follow in the trailers; an answer without the final chunk is not whole. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/json.h"
#include "http/csv.h"
#include "http/handlers.h"
#include "http/server.h"
#include "obs/metrics.h"

enum { PIECE = 64 << 10, HELD_MAX = 32 << 20, CELL_MEMORY = 1 << 20, JSON_DEPTH = 4 };

struct export {
    struct http_response *res;
    const struct http_request *rq;
    EVP_MD_CTX *sha256;
    int64_t rows, gaps;
    bool raw;  /* no guard against formulas */
    bool
        held; /* nothing leaves before the end, so that the head can say whether it was cut; a large one says so last */
    struct bl_arena cells;
};

#define TRAILERS "X-Row-Count, X-Content-SHA256, X-Gap-Count"

static enum bl_rc send(struct export *e, bool last, struct bl_error *err) {
    struct bl_buf *body = &e->res->body;
    BL_TRY(bl_buf_check(body, "the export", err));
    if (!last && body->n < (e->held ? HELD_MAX : PIECE)) return BL_OK;
    if (!last && e->held) http_header(e->res, "Trailer", TRAILERS ", X-Truncated");
    if (!last) e->held = false;
    if (atomic_load(&e->rq->gone)) return bl_fail(err, BL_E_CANCELLED, "the client hung up");
    BL_ASSERT(EVP_DigestUpdate(e->sha256, body->p ? body->p : "", body->n) == 1);
    return http_stream(e->res, true, err);
}

/* ---- CSV ---- */

static void put_next_cell(const struct export *e, struct bl_str s) {
    bl_buf_byte(&e->res->body, ',');
    csv_cell(&e->res->body, s, e->raw);
}

/* ["a","b"] as "a b": none of these lists holds a blank in an item. */
static void put_list(struct export *e, struct bl_str json) {
    struct js_cursor c = js_open(json, JSON_DEPTH);
    struct js_string item;
    struct bl_buf joined = {0};
    bool first = true;
    if (json.n && js_array(&c))
        while (js_element(&c, &first) && js_string(&c, &item)) {
            struct bl_str text;
            if (!js_unescape(item, &e->cells, &text)) continue;
            if (joined.n) bl_buf_byte(&joined, ' ');
            bl_buf_str(&joined, text);
        }
    put_next_cell(e, bl_buf_view(&joined));
    bl_buf_release(&joined);
    bl_arena_reset(&e->cells);
}

static enum bl_rc put_csv(void *context, const struct query_hit *hit, struct bl_error *err) {
    struct export *e = context;
    char when[BL_TIME_TEXT_MAX];
    bl_buf_z(&e->res->body, bl_format_time(hit->time_us, 6, when));
    put_next_cell(e, hit->handle.n ? hit->handle : hit->did);
    put_next_cell(e, hit->text);
    put_next_cell(e, hit->uri);
    put_next_cell(e, hit->did);
    put_next_cell(e, hit->handle);
    put_next_cell(e, hit->display_name);
    put_list(e, hit->langs_json);
    put_next_cell(e, hit->created_at);
    put_list(e, hit->hashtags_json);
    put_list(e, hit->links_json);
    bl_buf_z(&e->res->body, "\r\n");
    e->rows++;
    return send(e, false, err);
}

static enum bl_rc put_line(void *context, const struct query_hit *hit, struct bl_error *err) {
    struct export *e = context;
    put_hit(&e->res->body, hit);
    bl_buf_byte(&e->res->body, '\n');
    e->rows++;
    return send(e, false, err);
}

static enum bl_rc export_csv(struct query *q, const struct query_search *s, struct export *e,
                             struct query_search_stats *stats, struct bl_error *err) {
    if (http_number(e->rq, "bom", 0)) bl_buf_z(&e->res->body, "\xef\xbb\xbf");
    bl_buf_z(&e->res->body, "timestamp,username,text,uri,did,handle,display_name,langs,created_at,hashtags,links\r\n");
    return query_export(q, s, put_csv, e, stats, err);
}

static enum bl_rc export_lines(struct query *q, const struct query_search *s, struct export *e,
                               struct query_search_stats *stats, struct bl_error *err) {
    return query_export(q, s, put_line, e, stats, err);
}

/* ---- Parquet: written to a pipe by the query room, read from it by a thread ---- */

struct carrier {
    struct export *e;
    int fd;
    enum bl_rc rc;
    struct bl_error err;
};

static enum bl_rc carry_piece(struct carrier *c, bool *end) {
    struct bl_buf *body = &c->e->res->body;
    if (!bl_buf_reserve(body, PIECE)) return bl_buf_check(body, "the export", &c->err);
    ssize_t n = read(c->fd, body->p + body->n, PIECE);
    if (n < 0 && errno == EINTR) return BL_OK;
    if (n < 0) return bl_fail_errno(&c->err, BL_E_IO, "reading the Parquet file");
    body->n += (size_t)n;
    *end = n == 0;
    return send(c->e, false, &c->err);
}

static void *carry(void *context) {
    struct carrier *c = context;
    for (bool end = false; !end && c->rc == BL_OK;) c->rc = carry_piece(c, &end);
    close(c->fd); /* the writer finds out, if it has not ended */
    return NULL;
}

static enum bl_rc export_parquet(struct query *q, const struct query_search *s, struct export *e,
                                 struct query_search_stats *stats, struct bl_error *err) {
    int ends[2];
    pthread_t thread;
    if (pipe2(ends, O_CLOEXEC) != 0) return bl_fail_errno(err, BL_E_IO, "pipe");
    struct carrier carrier = {.e = e, .fd = ends[0]};
    if (pthread_create(&thread, NULL, carry, &carrier) != 0) {
        close(ends[0]);
        close(ends[1]);
        return bl_fail(err, BL_E_IO, "the export's thread cannot be started");
    }
    enum bl_rc rc = query_export_parquet(q, s, ends[1], stats, err);
    close(ends[1]);
    pthread_join(thread, NULL);
    e->rows = stats->hits;
    if (carrier.rc != BL_OK) {
        if (err) *err = carrier.err;
        return carrier.rc;
    }
    return rc;
}

/* ---- all of them ---- */

static const struct format {
    const char *name, *type;
    enum bl_rc (*run)(struct query *q, const struct query_search *s, struct export *e, struct query_search_stats *stats,
                      struct bl_error *err);
} formats[] = {{"csv", "text/csv; charset=utf-8", export_csv},
               {"ndjson", "application/x-ndjson", export_lines},
               {"parquet", "application/vnd.apache.parquet", export_parquet}};

static const struct format *format_of(const struct http_request *rq) {
    struct bl_str name = http_text(rq, "format");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (bl_str_eq(name, bl_str(formats[i].name))) return &formats[i];
    return &formats[0];
}

static void add_head(const struct http_context *context, const struct format *format, struct http_response *res) {
    struct bl_date today = bl_date_of_us(bl_wall_us());
    res->content_type = format->type;
    res->streaming = true;
    http_header_printf(res, "Content-Disposition", "attachment; filename=\"bluesky-posts-%04d-%02d-%02d.%s\"",
                       today.year, today.month, today.day, format->name);
    http_header_printf(res, "X-Snapshot", "%" PRId64, query_snapshot(context->query));
    http_header(res, "Trailer", TRAILERS);
}

static void add_trailer(struct http_response *res, const char *name, struct bl_buf *text) {
    struct bl_str copy = bl_arena_dup(res->arena, bl_strn(bl_buf_cstr(text), text->n + 1));
    if (copy.p) res->trailers[res->trailer_count++] = (struct http_header){name, copy.p};
}

static void add_trailers(struct export *e) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    BL_ASSERT(EVP_DigestFinal_ex(e->sha256, hash, &n) == 1);
    bl_buf_i64(&text, e->rows);
    add_trailer(e->res, "X-Row-Count", &text);
    bl_buf_clear(&text);
    for (unsigned i = 0; i < n; i++) bl_buf_printf(&text, "%02x", hash[i]);
    add_trailer(e->res, "X-Content-SHA256", &text);
    bl_buf_clear(&text);
    bl_buf_i64(&text, e->gaps);
    add_trailer(e->res, "X-Gap-Count", &text);
}

static enum bl_rc count_gaps(struct query *q, const struct query_search_stats *stats, int64_t *open,
                             struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct query_gap *gaps = NULL;
    size_t count = 0;
    BL_TRY(query_gaps(q, stats->from_us, stats->to_us, &gaps, &count, err));
    for (size_t i = 0; i < count; i++) *open += !gaps[i].healed;
    return BL_OK;
}

static enum bl_rc run(struct http_context *context, const struct format *format, struct export *e,
                      struct bl_error *err) {
    struct query_search s = search_of(e->rq);
    struct query_search_stats stats = {0};
    s.limit = (unsigned)context->server->conf->serve_row_limit;
    e->held = s.limit != 0;
    BL_TRY(format->run(context->query, &s, e, &stats, err));
    BL_TRY(count_gaps(context->query, &stats, &e->gaps, err));
    const char *truncated = stats.more ? "true" : "false";
    if (s.limit && e->held) http_header(e->res, "X-Truncated", truncated);
    if (s.limit && !e->held) e->res->trailers[e->res->trailer_count++] = (struct http_header){"X-Truncated", truncated};
    BL_TRY(send(e, true, err));
    metric_add(M_http_exported, 0, (double)e->rows);
    return BL_OK;
}

HTTP_HANDLER(answer_export) {
    const struct format *format = format_of(rq);
    struct export e = {.res = res, .rq = rq, .raw = http_number(rq, "raw", 0) != 0, .cells = {.max = CELL_MEMORY}};
    add_head(context, format, res);
    if (rq->method == HTTP_HEAD) return BL_OK;
    e.sha256 = EVP_MD_CTX_new();
    BL_ASSERT(e.sha256 && EVP_DigestInit_ex(e.sha256, EVP_sha256(), NULL) == 1);
    enum bl_rc rc = run(context, format, &e, err);
    if (rc == BL_OK) add_trailers(&e);
    EVP_MD_CTX_free(e.sha256);
    bl_arena_release(&e.cells);
    return rc;
}
