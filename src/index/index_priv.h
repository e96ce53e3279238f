/* index_priv: what index.c (which segments there are) and build.c (how one is made) share. */
#pragma once
#include "index/index.h"

enum { INDEX_SLICE_ROWS = 100000, INDEX_PATH_MAX = 4096 };

uint64_t index_identity(const struct catalog_file *file);
/* DIR/index/TYPE-IDENTITY.seg */
void index_path(const char *lake_dir, enum ev_type type, uint64_t identity, char out[static INDEX_PATH_MAX]);
static inline bool index_wants(enum ev_type type) {
    return type == EV_posts || type == EV_accounts || type == EV_profiles;
}
/* Neither open here nor in the folder. */
bool index_is_missing(const struct index *x, const struct catalog_file *file);
/* Can files be put into its folder? */
bool index_is_writable(const struct index *x);
void index_count_built(struct index *x, size_t built);
const char *index_lake(const struct index *x);
/* Writes the segment or roster of `file` into `fd`. */
enum bl_rc index_write(const char *lake_dir, const struct catalog_file *file, struct duck *duck, int fd,
                       const char *name, struct bl_error *err);
/* Finds or builds it; `*fd` is open for reading. */
enum bl_rc index_make(const char *lake_dir, const struct catalog_file *file, struct duck *duck, int *fd, bool *built,
                      struct bl_error *err);
