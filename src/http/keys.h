/* keys: API keys, stored as hashes in DATA/keys.json (mode 0600).
 *
 * May include: base, event (json), routes.h. A key is "bl_" and 64 hexadecimal digits: 256 random bits, so a plain
 * SHA-256 of it is enough to keep it secret. The key itself is shown once and stored nowhere. Comparison takes the same
 * time whatever the difference. A running server sees changes of the file at its next request.
 *
 * Threading: struct keys has one owner; several processes may read while one writes (the file is replaced as a whole,
 * changes are serialised by a lock file). */
#pragma once
#include "base/mem.h"

enum { KEYS_MAX = 1024, KEY_TEXT_MAX = 80, KEY_NAME_MAX = 64, KEY_HASH_SIZE = 32 };

struct key {
    char name[KEY_NAME_MAX];
    unsigned char hash[KEY_HASH_SIZE];
    unsigned scopes;
    int64_t created_us, revoked_us; /* revoked_us 0: valid */
};
struct keys {
    char *path;
    struct key *items;
    size_t count;
    int64_t seen_inode, seen_us, seen_bytes; /* of the file that was read */
};
enum bl_rc keys_open(const char *data_dir, struct keys *out, struct bl_error *err); /* no file: no keys */
void keys_close(struct keys *k);
/* Reads the file again if it changed; on failure the keys stay as they were. */
enum bl_rc keys_refresh(struct keys *k, struct bl_error *err);
size_t keys_valid(const struct keys *k); /* how many are not revoked */
/* The valid key that `text` is; NULL if none. */
const struct key *keys_find(const struct keys *k, struct bl_str text);

enum bl_rc keys_add(const char *data_dir, struct bl_str name, unsigned scopes, int64_t now_us,
                    char text[static KEY_TEXT_MAX], struct bl_error *err);
enum bl_rc keys_revoke(const char *data_dir, struct bl_str name, int64_t now_us, struct bl_error *err);
