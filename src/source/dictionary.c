#include "source/dictionary.h"

#include <dirent.h>
#include <zstd.h>

#include "base/io.h"
#include "net/http.h"

enum { TIMEOUT_MS = 10000, DICTIONARY_MAX = 4 << 20 };
#define TARGET "/xrpc/network.bsky.jetstream.getZstdDictionary"

static bool id_of_name(const char *name, unsigned *id) {
    int64_t value;
    struct bl_str s = bl_str(name), end = BL_LIT(".zdict");
    if (!bl_str_ends(s, end) || !bl_parse_i64(bl_strn(s.p, s.n - end.n), 1, UINT32_MAX, &value)) return false;
    *id = (unsigned)value;
    return true;
}

static void place(const char *folder, unsigned id, struct dictionary *out) {
    out->id = id;
    snprintf(out->path, sizeof out->path, "%s/%u.zdict", folder, id);
}

void dictionary_newest(const char *folder, struct dictionary *out) {
    *out = (struct dictionary){0};
    DIR *dir = opendir(folder);
    unsigned id;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (id_of_name(entry->d_name, &id) && id > out->id) place(folder, id, out);
    if (dir) closedir(dir);
}

enum bl_rc dictionary_fetch(const char *folder, const struct url *host, const char *ca_file, int wake_fd,
                            struct dictionary *out, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf body = {.max = DICTIONARY_MAX + 1};
    struct http_get request = {
        .url = *host, .ca_file = ca_file, .timeout_ms = TIMEOUT_MS, .body_max = DICTIONARY_MAX, .wake_fd = wake_fd};
    int status = 0;
    snprintf(request.url.target, sizeof request.url.target, "%s", TARGET);
    BL_TRY(http_get(&request, &status, &body, err));
    if (status != 200)
        return bl_fail(err, BL_E_NOT_FOUND, "%s hands out no zstd dictionary: HTTP %d", host->host, status);
    unsigned id = body.n ? ZSTD_getDictID_fromDict(body.p, body.n) : 0;
    if (!id) return bl_fail(err, BL_E_CORRUPT, "%s hands out a zstd dictionary that is none", host->host);
    struct dictionary got;
    place(folder, id, &got);
    BL_TRY(bl_make_dirs(folder, err));
    BL_TRY(bl_write_file_atomic(got.path, bl_buf_view(&body), err));
    *out = got;
    return BL_OK;
}
