/* cache: what the host said of each subject, in DIR/resolved.sqlite. Private to the resolve room.
 *
 * A subject is a DID or a handle in small letters. Of another version the file is begun anew; where the folder cannot
 * be written the cache lives in memory. Several processes may share the file. Threading: one owner at a time. Errors:
 * BL_E_CORRUPT for a damaged file, to be discarded; else BL_E_BACKEND: the caller goes on without. */
#pragma once
#include "resolve/resolver.h"

struct cache;
enum bl_rc resolve_cache_open(const char *lake_dir, struct cache **out, struct bl_error *err);
void resolve_cache_close(struct cache **c);
void resolve_cache_discard(struct cache **c); /* the file as well */
bool resolve_cache_is_file(const struct cache *c);
/* `*found` false: never asked. `out->did.p` NULL: the host knows nobody of that name. */
enum bl_rc resolve_cache_get(struct cache *c, struct bl_str subject, struct bl_arena *arena,
                             struct resolver_account *out, bool *found, struct bl_error *err);
/* All of them or none. */
enum bl_rc resolve_cache_begin(struct cache *c, struct bl_error *err);
enum bl_rc resolve_cache_put(struct cache *c, struct bl_str subject, const struct resolver_account *account,
                             struct bl_error *err);
enum bl_rc resolve_cache_commit(struct cache *c, struct bl_error *err);
void resolve_cache_rollback(struct cache *c);
/* Forgets what was said before these moments: that somebody is known, that nobody is. */
enum bl_rc resolve_cache_prune(struct cache *c, int64_t known_before_us, int64_t nobody_before_us,
                               struct bl_error *err);
