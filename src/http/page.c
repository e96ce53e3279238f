#include "http/page.h"

#include "http/gzip.h"
#include "http/handlers.h"

/* Everything the page needs is its own; post text is never markup. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src "
                             "'self'; connect-src 'self'; "
                             "manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

static const struct page_file *find_file(struct bl_str path) {
    if (bl_str_eq(path, BL_LIT("/"))) path = BL_LIT("/index.html");
    for (size_t i = 0; i < page_file_count; i++)
        if (bl_str_eq(path, bl_str(page_files[i].path))) return &page_files[i];
    return NULL;
}

static bool wants_gzip(const struct http_request *rq) {
    const char *encoding = gzip_choose(rq->accept_encoding);
    return encoding && strcmp(encoding, "gzip") == 0;
}

HTTP_HANDLER(answer_page) {
    (void)context, (void)err;
    const struct page_file *file = find_file(rq->path);
    if (!file) {
        http_refuse(res, 404, "not_found", NULL, "see /docs for what there is", "there is no such page");
        return BL_OK;
    }
    bool gzip = file->gzip.n && wants_gzip(rq);
    res->content_type = file->type;
    http_header(res, "Content-Security-Policy", policy);
    http_header(res, "ETag", file->etag);
    http_header(res, "Cache-Control", file->hashed ? "public, max-age=31536000, immutable" : "no-cache");
    http_header(res, "Vary", "Origin, Accept-Encoding");
    if (bl_str_eq(rq->if_none_match, bl_str(file->etag))) {
        res->status = 304;
        return BL_OK;
    }
    if (gzip) http_header(res, "Content-Encoding", "gzip");
    res->fixed = gzip ? file->gzip : file->bytes;
    return BL_OK;
}
