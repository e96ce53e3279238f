/* page: the files of the Post Explorer, put into the binary by tools/embed.py; without a built web/dist, one page that
 * says how to build it. Private to the http room. */
#pragma once
#include "base/mem.h"

struct page_file {
    const char *path, *type;   /* "/index.html", "text/html; charset=utf-8" */
    const char *etag;          /* of its content */
    bool hashed;               /* its name changes with its content: may be kept for ever */
    struct bl_str bytes, gzip; /* gzip empty: not worth it */
};
extern const struct page_file page_files[];
extern const size_t page_file_count;
