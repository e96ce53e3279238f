/* damage: a listed file that is not what the catalogue says.
 *
 * May include: base, lake/catalog.h. Reads the whole file. Threading: any. */
#pragma once
#include "lake/catalog.h"

enum { DAMAGE_TEXT_MAX = 160 };
/* XXH3-64 of what can be read from `fd`; `path` is for errors. */
enum bl_rc file_hash(int fd, const char *path, uint64_t *hash, struct bl_error *err);
/* Gone, of another size or another checksum? Then true, and `why` says which. */
bool file_is_damaged(const char *lake_dir, const struct catalog_file *f, char why[static DAMAGE_TEXT_MAX]);
/* Reading `files` failed with `rc`, as `err` says: when one of them is damaged, the error names it and the cure, with
 * the same code. Returns `rc`. */
enum bl_rc blame_damaged_file(const char *lake_dir, const struct catalog_file *files, size_t count, enum bl_rc rc,
                              struct bl_error *err);
