/* gzip: which encoding a client accepts, and the body in it. zlib appears only in gzip.c. May include: base. Pure. */
#pragma once
#include "base/mem.h"

/* "gzip", "deflate" or NULL, by an Accept-Encoding header. */
const char *gzip_choose(struct bl_str accept);
/* Replaces `body` when that makes it smaller; false (and unchanged) otherwise. */
bool gzip_body(const char *encoding, struct bl_buf *body);
