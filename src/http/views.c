#include "http/handlers.h"
HTTP_HANDLER(answer_views) { (void)context, (void)rq, (void)err; bl_buf_z(&res->body, "{\"views\":[]}\n"); return BL_OK; }
HTTP_HANDLER(answer_view) { (void)context, (void)res, (void)rq; return bl_fail(err, BL_E_NOT_FOUND, "there is no such view"); }
