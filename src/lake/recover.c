#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fault.h"
#include "lake/lake_priv.h"

struct sweep {
    struct lake *l;
    struct bl_error *err;
};
typedef enum bl_rc (*visit_fn)(struct sweep *s, const char *relative);

/* Calls `visit` for every entry of a folder whose name starts with `prefix`; a missing folder has none. */
static enum bl_rc each_entry(struct sweep *s, const char *relative, const char *prefix, visit_fn visit) {
    BL_CLEANUP(bl_freep) char *folder = bl_xasprintf("%s/%s", s->l->dir, relative);
    DIR *d = opendir(folder);
    if (!d) return errno == ENOENT ? BL_OK : bl_fail_errno(s->err, BL_E_IO, "cannot list %s", folder);
    enum bl_rc rc = BL_OK;
    for (struct dirent *e; rc == BL_OK && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (strncmp(e->d_name, prefix, strlen(prefix)) != 0) continue;
        BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s%s%s", relative, *relative ? "/" : "", e->d_name);
        rc = visit(s, path);
    }
    closedir(d);
    return rc;
}

static enum bl_rc remove_file(struct sweep *s, const char *relative) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", s->l->dir, relative);
    BL_CRASH_POINT("sweep.before_unlink");
    if (unlink(path) == 0 || errno == ENOENT) return BL_OK;
    return bl_fail_errno(s->err, BL_E_IO, "cannot remove the left-over %s", path);
}

/* Ours are TYPE.parquet and TYPE-*.parquet. Whatever else lies there was put there by somebody and is left alone. */
static bool is_our_name(const char *path) {
    const char *slash = strrchr(path, '/');
    struct bl_str name = bl_str(slash ? slash + 1 : path);
    if (!bl_str_ends(name, BL_LIT(".parquet"))) return false;
    name.n -= strlen(".parquet");
    enum ev_type type;
    return ev_type_by_name(bl_str_cut(&name, '-'), &type);
}

static enum bl_rc sweep_file(struct sweep *s, const char *path) {
    if (!is_our_name(path) || catalog_knows_path(s->l->catalog, path)) return BL_OK;
    return remove_file(s, path);
}
static enum bl_rc sweep_hour(struct sweep *s, const char *path) {
    return each_entry(s, path, "", sweep_file);
}
static enum bl_rc sweep_day(struct sweep *s, const char *path) {
    return each_entry(s, path, "hour=", sweep_hour);
}
static enum bl_rc sweep_month(struct sweep *s, const char *path) {
    return each_entry(s, path, "day=", sweep_day);
}
static enum bl_rc sweep_year(struct sweep *s, const char *path) {
    return each_entry(s, path, "month=", sweep_month);
}

/* Files that a committed compaction replaced, when the process died before it unlinked them. */
static enum bl_rc sweep_removed(struct sweep *s) {
    char **paths = NULL;
    size_t count = 0;
    BL_TRY(catalog_removed_paths(s->l->catalog, &paths, &count, s->err));
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < count; i++) {
        if (rc == BL_OK) rc = remove_file(s, paths[i]);
        BL_CRASH_POINT("sweep.before_forget");
        if (rc == BL_OK) rc = catalog_forget_removed(s->l->catalog, paths[i], s->err);
        free(paths[i]);
    }
    free(paths);
    return rc;
}

/* A compactor may be about to list a file it has just put into its folder. */
static enum bl_rc sweep_strays(struct sweep *s) {
    int fd = -1;
    enum bl_rc rc = lake_lock(s->l->dir, ".compact.lock", "compacts", &fd, s->err);
    if (rc != BL_OK) return rc == BL_E_BUSY ? BL_OK : rc;
    rc = each_entry(s, "", "year=", sweep_year);
    close(fd);
    return rc;
}

enum bl_rc lake_sweep(struct lake *l, struct bl_error *err) {
    struct sweep s = {l, err};
    BL_TRY(each_entry(&s, ".staging", l->o.compactor ? LAKE_STAGE_COMPACT : LAKE_STAGE_WRITE, remove_file));
    BL_TRY(sweep_removed(&s));
    return l->o.compactor ? BL_OK : sweep_strays(&s);
}
