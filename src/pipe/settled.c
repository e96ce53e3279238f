#include "pipe/settled.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/io.h"

enum { TEXT_MAX = 1024 };

enum bl_rc settled_write(const char *path, int64_t settled_us, struct bl_error *err) {
    char text[64];
    snprintf(text, sizeof text, "settled_us=%" PRId64 "\n", settled_us);
    BL_CLEANUP(bl_freep) char *folder = bl_xstrdup(path);
    *strrchr(folder, '/') = 0;
    BL_TRY(bl_make_dirs(folder, err));
    BL_CRASH_POINT("ingest.before_settled");
    BL_TRY(bl_write_file_atomic(path, bl_str(text), err));
    BL_CRASH_POINT("ingest.after_settled");
    return BL_OK;
}

int64_t settled_read(const char *path) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = TEXT_MAX};
    if (bl_read_file(path, TEXT_MAX - 1, &text, NULL) != BL_OK) return 0;
    struct bl_str value = bl_str_trim(bl_buf_view(&text));
    int64_t settled_us;
    bl_str_cut(&value, '=');
    return bl_parse_i64(value, 1, INT64_MAX, &settled_us) ? settled_us : 0;
}
