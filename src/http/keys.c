#include "http/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "event/json.h"
#include "http/routes.h"

enum { FILE_MAX_BYTES = 1 << 20, JSON_DEPTH = 8 };
static const char prefix[] = "bl_";

static void hash_of(struct bl_str text, unsigned char out[static KEY_HASH_SIZE]) {
    unsigned n = 0;
    BL_ASSERT(EVP_Digest(text.p ? text.p : "", text.n, out, &n, EVP_sha256(), NULL) == 1 && n == KEY_HASH_SIZE);
}

static void put_hex(const unsigned char *bytes, size_t n, struct bl_buf *out) {
    for (size_t i = 0; i < n; i++) bl_buf_printf(out, "%02x", bytes[i]);
}

static bool read_hex(struct bl_str text, unsigned char *out, size_t n) {
    if (text.n != 2 * n) return false;
    for (size_t i = 0; i < n; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *high = memchr(digits, text.p[2 * i], 16), *low = memchr(digits, text.p[2 * i + 1], 16);
        if (!high || !low) return false;
        out[i] = (unsigned char)((high - digits) * 16 + (low - digits));
    }
    return true;
}

/* ---- the file ---- */

static bool set_member(struct key *key, struct bl_str name, struct bl_str value) {
    struct bl_str bad;
    if (bl_str_eq(name, BL_LIT("name"))) {
        snprintf(key->name, sizeof key->name, "%.*s", BL_ARG(value));
        return value.n > 0 && value.n < sizeof key->name;
    }
    if (bl_str_eq(name, BL_LIT("sha256"))) return read_hex(value, key->hash, sizeof key->hash);
    if (bl_str_eq(name, BL_LIT("scopes"))) return http_scopes_parse(value, &key->scopes, &bad);
    if (bl_str_eq(name, BL_LIT("created"))) return bl_parse_time(value, false, &key->created_us);
    if (bl_str_eq(name, BL_LIT("revoked"))) return !value.n || bl_parse_time(value, false, &key->revoked_us);
    return true;
}

static bool read_key(struct js_cursor *c, struct key *key) {
    struct js_string name, value;
    bool first = true;
    if (!js_object(c)) return false;
    while (js_member(c, &name, &first))
        if (!js_string(c, &value) || value.escaped || !set_member(key, name.raw, value.raw)) return false;
    return !c->fault && *key->name && key->scopes;
}

static bool read_keys(struct bl_str text, struct keys *out) {
    struct js_cursor c = js_open(text, JSON_DEPTH);
    struct js_string name;
    bool first = true, first_key = true;
    if (!js_object(&c) || !js_member(&c, &name, &first) || !js_string_is(name, BL_LIT("keys")) || !js_array(&c))
        return false;
    while (js_element(&c, &first_key)) {
        struct key key = {0};
        if (out->count == KEYS_MAX || !read_key(&c, &key)) return false;
        out->items = bl_xrealloc(out->items, (out->count + 1) * sizeof *out->items);
        out->items[out->count++] = key;
    }
    return !js_member(&c, &name, &first) && js_done(&c);
}

static enum bl_rc load(struct keys *k, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = FILE_MAX_BYTES};
    struct keys fresh = {0};
    enum bl_rc rc = bl_read_file(k->path, FILE_MAX_BYTES - 1, &text, err);
    if (rc != BL_OK && rc != BL_E_NOT_FOUND) return rc;
    if (rc == BL_OK && !read_keys(bl_buf_view(&text), &fresh)) {
        free(fresh.items);
        return bl_fail(err, BL_E_CORRUPT, "%s is not a list of keys: restore it, or remove it and add the keys anew",
                       k->path);
    }
    free(k->items);
    k->items = fresh.items;
    k->count = fresh.count;
    return BL_OK;
}

enum bl_rc keys_refresh(struct keys *k, struct bl_error *err) {
    struct stat st = {0};
    if (stat(k->path, &st) != 0 && errno != ENOENT) return bl_fail_errno(err, BL_E_IO, "%s", k->path);
    int64_t changed_us = st.st_mtim.tv_sec * INT64_C(1000000) + st.st_mtim.tv_nsec / 1000;
    if ((int64_t)st.st_ino == k->seen_inode && changed_us == k->seen_us && st.st_size == k->seen_bytes) return BL_OK;
    BL_TRY(load(k, err));
    k->seen_inode = (int64_t)st.st_ino;
    k->seen_us = changed_us;
    k->seen_bytes = st.st_size;
    return BL_OK;
}

enum bl_rc keys_open(const char *data_dir, struct keys *out, struct bl_error *err) {
    struct keys k = {.path = bl_xasprintf("%s/keys.json", data_dir)};
    enum bl_rc rc = keys_refresh(&k, err);
    if (rc == BL_OK)
        *out = k;
    else
        keys_close(&k);
    return rc;
}

void keys_close(struct keys *k) {
    free(k->path);
    free(k->items);
    *k = (struct keys){0};
}

size_t keys_valid(const struct keys *k) {
    size_t n = 0;
    for (size_t i = 0; i < k->count; i++) n += k->items[i].revoked_us == 0;
    return n;
}

/* Every key is looked at, and whole, whichever it is. */
const struct key *keys_find(const struct keys *k, struct bl_str text) {
    unsigned char hash[KEY_HASH_SIZE];
    const struct key *found = NULL;
    hash_of(text, hash);
    for (size_t i = 0; i < k->count; i++) {
        bool same = CRYPTO_memcmp(hash, k->items[i].hash, sizeof hash) == 0;
        if (same && k->items[i].revoked_us == 0) found = &k->items[i];
    }
    return found;
}

/* ---- changes ---- */

static void put_time(struct bl_buf *out, int64_t us) {
    if (us == 0)
        bl_buf_z(out, "\"\"");
    else
        http_json_time(out, us, 0);
}

static void put_key(struct bl_buf *out, const struct key *key) {
    bl_buf_printf(out, "  {\"name\": \"%s\", \"scopes\": \"", key->name);
    const char *comma = "";
    for (unsigned scope = 1; scope <= HTTP_ADMIN; scope <<= 1) {
        if (!(key->scopes & scope)) continue;
        bl_buf_printf(out, "%s%s", comma, http_scope_name((enum http_scope)scope));
        comma = ",";
    }
    bl_buf_z(out, "\", \"sha256\": \"");
    put_hex(key->hash, sizeof key->hash, out);
    bl_buf_z(out, "\", \"created\": ");
    put_time(out, key->created_us);
    bl_buf_z(out, ", \"revoked\": ");
    put_time(out, key->revoked_us);
    bl_buf_byte(out, '}');
}

/* Created with its final mode: at no moment can anybody else read it. */
static enum bl_rc write_private(const char *path, struct bl_str bytes, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *next = bl_xasprintf("%s.new", path);
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return bl_fail_errno(err, BL_E_IO, "%s", next);
    enum bl_rc rc = fchmod(fd, 0600) == 0 ? BL_OK : bl_fail_errno(err, BL_E_IO, "%s", next);
    if (rc == BL_OK) rc = bl_write_all(fd, bytes, next, err);
    if (rc == BL_OK && fsync(fd) != 0) rc = bl_fail_errno(err, BL_E_IO, "%s", next);
    close(fd);
    if (rc == BL_OK && rename(next, path) != 0) rc = bl_fail_errno(err, BL_E_IO, "%s", path);
    if (rc != BL_OK) unlink(next);
    return rc;
}

static enum bl_rc save(const struct keys *k, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = FILE_MAX_BYTES};
    bl_buf_z(&text, "{\"keys\": [\n");
    for (size_t i = 0; i < k->count; i++) {
        if (i) bl_buf_z(&text, ",\n");
        put_key(&text, &k->items[i]);
    }
    bl_buf_z(&text, "\n]}\n");
    BL_TRY(bl_buf_check(&text, k->path, err));
    return write_private(k->path, bl_buf_view(&text), err);
}

static bool is_name(struct bl_str name) {
    if (name.n == 0 || name.n >= KEY_NAME_MAX) return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && !strchr("-_.", c)) return false;
    }
    return true;
}

static struct key *by_name(struct keys *k, struct bl_str name) {
    for (size_t i = 0; i < k->count; i++)
        if (bl_str_eq(bl_str(k->items[i].name), name) && k->items[i].revoked_us == 0) return &k->items[i];
    return NULL;
}

static enum bl_rc append(struct keys *k, struct bl_str name, unsigned scopes, int64_t now_us,
                         char text[static KEY_TEXT_MAX], struct bl_error *err) {
    unsigned char secret[KEY_HASH_SIZE];
    if (!is_name(name))
        return bl_fail(err, BL_E_USAGE, "a key's name is made of up to %d letters, digits and - _ .", KEY_NAME_MAX - 1);
    if (by_name(k, name))
        return bl_fail(err, BL_E_USAGE, "there is a key \"%.*s\" already: revoke it first, or choose another name",
                       BL_ARG(name));
    if (k->count == KEYS_MAX) return bl_fail(err, BL_E_FULL, "there are %d keys already", KEYS_MAX);
    if (RAND_bytes(secret, sizeof secret) != 1) return bl_fail(err, BL_E_IO, "no random numbers can be had");
    BL_CLEANUP(bl_buf_release) struct bl_buf shown = {.max = KEY_TEXT_MAX};
    bl_buf_z(&shown, prefix);
    put_hex(secret, sizeof secret, &shown);
    snprintf(text, KEY_TEXT_MAX, "%s", bl_buf_cstr(&shown));
    struct key key = {.scopes = scopes, .created_us = now_us};
    snprintf(key.name, sizeof key.name, "%.*s", BL_ARG(name));
    hash_of(bl_str(text), key.hash);
    k->items = bl_xrealloc(k->items, (k->count + 1) * sizeof *k->items);
    k->items[k->count++] = key;
    return BL_OK;
}

/* Two people changing keys at once wait for each other. */
static enum bl_rc open_locked(const char *data_dir, struct keys *k, int *lock, struct bl_error *err) {
    BL_TRY(bl_make_dirs(data_dir, err));
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/.keys.lock", data_dir);
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0 || flock(*lock, LOCK_EX) != 0) return bl_fail_errno(err, BL_E_IO, "%s", path);
    return keys_open(data_dir, k, err);
}

enum bl_rc keys_add(const char *data_dir, struct bl_str name, unsigned scopes, int64_t now_us,
                    char text[static KEY_TEXT_MAX], struct bl_error *err) {
    struct keys k = {0};
    int lock = -1;
    enum bl_rc rc = open_locked(data_dir, &k, &lock, err);
    if (rc == BL_OK) rc = append(&k, name, scopes, now_us, text, err);
    if (rc == BL_OK) rc = save(&k, err);
    keys_close(&k);
    if (lock >= 0) close(lock);
    return rc;
}

enum bl_rc keys_revoke(const char *data_dir, struct bl_str name, int64_t now_us, struct bl_error *err) {
    struct keys k = {0};
    int lock = -1;
    enum bl_rc rc = open_locked(data_dir, &k, &lock, err);
    struct key *key = rc == BL_OK ? by_name(&k, name) : NULL;
    if (rc == BL_OK && !key)
        rc = bl_fail(err, BL_E_NOT_FOUND, "there is no valid key \"%.*s\": bluelake key list shows all", BL_ARG(name));
    if (key) {
        key->revoked_us = now_us;
        rc = save(&k, err);
    }
    keys_close(&k);
    if (lock >= 0) close(lock);
    return rc;
}
