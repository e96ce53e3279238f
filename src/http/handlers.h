/* handlers: what answers each route. Private to the http room; the table is in routes.c. */
#pragma once
#include "http/pool.h"
#include "http/routes.h"

#define HTTP_HANDLER(name)                                                                                             \
    enum bl_rc name(struct http_context *context, const struct http_request *rq, struct http_response *res,            \
                    struct bl_error *err)
HTTP_HANDLER(answer_search);
HTTP_HANDLER(answer_export);
HTTP_HANDLER(answer_counts);
HTTP_HANDLER(answer_post);
HTTP_HANDLER(answer_user);
HTTP_HANDLER(answer_daily);
HTTP_HANDLER(answer_views);
HTTP_HANDLER(answer_view);
HTTP_HANDLER(answer_status);
HTTP_HANDLER(answer_gaps);
HTTP_HANDLER(answer_health);
HTTP_HANDLER(answer_ready);
HTTP_HANDLER(answer_metrics);
HTTP_HANDLER(answer_openapi);
HTTP_HANDLER(answer_docs);
HTTP_HANDLER(answer_page);

/* The question that the parameters text, username, start, end, exact, q and lang put. */
struct query_search search_of(const struct http_request *rq);
/* One post as a JSON object. */
void put_hit(struct bl_buf *out, const struct query_hit *hit);
/* "gaps" of an answer: what is missing from the recording in that range, as a JSON array. */
enum bl_rc put_gaps(struct query *q, int64_t from_us, int64_t to_us, bool healed_too, struct bl_buf *out,
                    struct bl_error *err);
