#include "index/roster.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "index/fold.h"
#include "index/segment_priv.h"
#include "lake/reader.h"

static const uint64_t roster_magic = 0x3152545352554c42u; /* "BLURSTR1" */

struct roster_header {
    uint64_t magic;
    uint32_t version, header_bytes;
    uint64_t identity, file_bytes;
    uint64_t count, handles; /* accounts; those of them with a handle */
    uint64_t rest_check;     /* of all behind the header */
    uint64_t check;          /* of all before it */
};
struct place {                /* ascending by account */
    uint64_t account, handle; /* hashes; handle 0: none */
    uint64_t at;              /* in the texts */
};
/* Numbers as they are, texts as lengths (UINT32_MAX: null) with their bytes behind. */
enum { TEXTS = 6 };
struct fixed {
    int64_t handle_us, handle_seq, active_us, active_seq, profile_us;
    int32_t active, deleted;
    uint32_t lengths[TEXTS];
};

struct roster {
    char *bytes;
    size_t size;
    const struct roster_header *header;
    const struct place *places;
    const uint32_t *by_handle; /* numbers of places, ascending by handle */
    struct bl_str texts;
};

static uint64_t handle_hash(struct bl_str handle) {
    BL_CLEANUP(bl_buf_release) struct bl_buf folded = {0};
    fold_append(&folded, handle);
    uint64_t h = XXH3_64bits(folded.n ? folded.p : "", folded.n);
    return h ? h : 1;
}

/* --- Reading --- */

static void texts_of(struct roster_entry *e, struct bl_str *out[static TEXTS]) {
    struct bl_str *const texts[TEXTS] = {&e->did, &e->handle, &e->status, &e->name, &e->description, &e->rev};
    memcpy(out, texts, sizeof texts);
}

static bool unpack(struct bl_str bytes, struct roster_entry *out) {
    struct fixed f;
    struct bl_str *texts[TEXTS];
    if (bytes.n < sizeof f) return false;
    memcpy(&f, bytes.p, sizeof f);
    bytes = bl_str_skip(bytes, sizeof f);
    *out = (struct roster_entry){.handle_us = f.handle_us,
                                 .handle_seq = f.handle_seq,
                                 .active_us = f.active_us,
                                 .active_seq = f.active_seq,
                                 .profile_us = f.profile_us,
                                 .active = f.active,
                                 .deleted = f.deleted != 0};
    texts_of(out, texts);
    for (unsigned i = 0; i < TEXTS; i++) {
        if (f.lengths[i] == UINT32_MAX) continue;
        if (f.lengths[i] > bytes.n) return false;
        *texts[i] = bl_strn(bytes.p, f.lengths[i]);
        bytes = bl_str_skip(bytes, f.lengths[i]);
    }
    return true;
}

static bool check_layout(struct roster *r) {
    const struct roster_header *h = r->header;
    uint64_t rest = r->size - sizeof *h, limit = r->size / sizeof(struct place);
    if (h->count > limit || h->handles > h->count) return false;
    uint64_t tables = h->count * sizeof(struct place) + h->handles * sizeof(uint32_t);
    if (tables > rest) return false;
    r->places = (const struct place *)(const void *)(r->header + 1);
    r->by_handle = (const uint32_t *)(r->places + h->count);
    r->texts = bl_strn(r->bytes + sizeof *h + tables, rest - tables);
    for (uint64_t i = 0; i < h->count; i++) {
        struct roster_entry e;
        if (r->places[i].at > r->texts.n || !unpack(bl_str_skip(r->texts, r->places[i].at), &e)) return false;
    }
    for (uint64_t i = 0; i < h->handles; i++)
        if (r->by_handle[i] >= h->count) return false;
    return true;
}

static bool check_file(struct roster *r, uint64_t identity) {
    const struct roster_header *h = r->header;
    return h->magic == roster_magic && h->version == ROSTER_VERSION && h->header_bytes == sizeof *h &&
           h->check == segment_checksum(h, offsetof(struct roster_header, check)) && h->identity == identity &&
           h->file_bytes == r->size && h->rest_check == segment_checksum(h + 1, r->size - sizeof *h) && check_layout(r);
}

static enum bl_rc open_file(struct roster *r, int fd, const char *name, uint64_t identity, struct bl_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return bl_fail_errno(err, BL_E_IO, "cannot read %s", name);
    if (st.st_size < (off_t)sizeof *r->header) return bl_fail(err, BL_E_CORRUPT, "%s is cut off", name);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return bl_fail_errno(err, BL_E_IO, "cannot map %s", name);
    r->bytes = p;
    r->size = (size_t)st.st_size;
    r->header = p;
    return check_file(r, identity) ? BL_OK : bl_fail(err, BL_E_CORRUPT, "%s: this index roster is damaged", name);
}

enum bl_rc roster_open(int fd, const char *name, uint64_t identity, struct roster **out, struct bl_error *err) {
    struct roster *r = bl_xcalloc(1, sizeof *r);
    enum bl_rc rc = open_file(r, fd, name, identity, err);
    close(fd);
    if (rc == BL_OK)
        *out = r;
    else
        roster_close(&r);
    return rc;
}

void roster_close(struct roster **r) {
    if (!*r) return;
    if ((*r)->bytes) munmap((*r)->bytes, (*r)->size);
    free(*r);
    *r = NULL;
}

size_t roster_count(const struct roster *r) {
    return r->header->count;
}
uint64_t roster_account(const struct roster *r, size_t i) {
    return r->places[i].account;
}

void roster_at(const struct roster *r, size_t i, struct roster_entry *out) {
    BL_ASSERT(unpack(bl_str_skip(r->texts, r->places[i].at), out)); /* checked when it was opened */
}

/* Hashes lie evenly, so that their place is nearly known: within a few times the square root of their number. */
static void narrow(const struct roster *r, uint64_t account, uint64_t *low, uint64_t *high) {
    uint64_t n = r->header->count, guess = (uint64_t)((unsigned __int128)account * n >> 64), reach = 16;
    while (reach * reach < 16 * n) reach *= 2;
    *low = guess > reach && r->places[guess - reach].account < account ? guess - reach : 0;
    *high = guess + reach < n && r->places[guess + reach].account >= account ? guess + reach : n;
}

bool roster_find(const struct roster *r, struct bl_str did, uint64_t account, struct roster_entry *out) {
    uint64_t low, high;
    narrow(r, account, &low, &high);
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (r->places[middle].account < account)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < r->header->count && r->places[low].account == account; low++) {
        roster_at(r, low, out);
        if (bl_str_eq(out->did, did)) return true;
    }
    return false;
}

bool roster_of_handle(const struct roster *r, struct bl_str handle, size_t i, struct roster_entry *out) {
    uint64_t wanted = handle_hash(handle), low = 0, high = r->header->handles;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (r->places[r->by_handle[middle]].handle < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    if (i >= r->header->handles - low || r->places[r->by_handle[low + i]].handle != wanted) return false;
    roster_at(r, r->by_handle[low + i], out);
    return true;
}

/* --- Writing --- */

struct said { /* one row */
    uint64_t account;
    struct roster_entry entry;
};
struct saying {
    struct bl_arena arena;
    struct said *rows;
    size_t count, room;
};

static struct bl_str keep(struct saying *s, const struct event *ev, unsigned column) {
    if (!ev_has(ev, column)) return (struct bl_str){0};
    struct bl_str copy = bl_arena_dup(&s->arena, ev->v[column].s);
    return copy.p ? copy : BL_LIT("");
}

static struct roster_entry *add_row(struct saying *s, struct bl_str did) {
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 1024;
        s->rows = bl_xrealloc(s->rows, s->room * sizeof *s->rows);
    }
    struct said *row = &s->rows[s->count++];
    *row = (struct said){segment_account(did), {.did = did, .active = -1}};
    return &row->entry;
}

static enum bl_rc note_account(void *context, const struct event *ev, struct bl_error *err) {
    struct saying *s = context;
    bool handle = ev_has(ev, EV_accounts_handle), active = ev_has(ev, EV_accounts_active);
    (void)err;
    if (!handle && !active) return BL_OK;
    struct roster_entry *e = add_row(s, keep(s, ev, EV_accounts_did));
    int64_t us = ev->v[EV_accounts_time_us].i, seq = ev->v[EV_accounts_seq].i;
    if (handle) {
        e->handle = keep(s, ev, EV_accounts_handle);
        e->handle_us = us;
        e->handle_seq = seq;
    }
    if (active) {
        e->active = ev->v[EV_accounts_active].i != 0;
        e->status = keep(s, ev, EV_accounts_status);
        e->active_us = us;
        e->active_seq = seq;
    }
    return BL_OK;
}

static enum bl_rc note_profile(void *context, const struct event *ev, struct bl_error *err) {
    struct saying *s = context;
    (void)err;
    if (!bl_str_eq(ev_str(ev, EV_profiles_rkey), BL_LIT("self"))) return BL_OK;
    struct roster_entry *e = add_row(s, keep(s, ev, EV_profiles_did));
    e->profile_us = ev->v[EV_profiles_time_us].i;
    e->rev = keep(s, ev, EV_profiles_rev);
    e->deleted = bl_str_eq(ev_str(ev, EV_profiles_operation), BL_LIT("delete"));
    e->name = keep(s, ev, EV_profiles_display_name);
    e->description = keep(s, ev, EV_profiles_description);
    return BL_OK;
}

static enum bl_rc read_rows(const char *lake_dir, const struct catalog_file *file, struct duck *duck, struct saying *s,
                            struct bl_error *err) {
    static const unsigned of_accounts[] = {EV_accounts_time_us, EV_accounts_did,    EV_accounts_seq,
                                           EV_accounts_handle,  EV_accounts_active, EV_accounts_status};
    static const unsigned of_profiles[] = {EV_profiles_time_us,    EV_profiles_did,       EV_profiles_rkey,
                                           EV_profiles_rev,        EV_profiles_operation, EV_profiles_display_name,
                                           EV_profiles_description};
    bool accounts = file->type == EV_accounts;
    const unsigned *columns = accounts ? of_accounts : of_profiles;
    size_t count = accounts ? sizeof of_accounts / sizeof *of_accounts : sizeof of_profiles / sizeof *of_profiles;
    struct lake_scan scan = {.lake_dir = lake_dir, .type = file->type, .files = file, .file_count = 1, .duck = duck};
    for (size_t i = 0; i < count; i++) scan.columns |= (uint64_t)1 << columns[i];
    return lake_scan_rows(&scan, accounts ? note_account : note_profile, s, err);
}

static int by_account(const void *a, const void *b) {
    const struct said *x = a, *y = b;
    if (x->account != y->account) return x->account < y->account ? -1 : 1;
    return bl_str_cmp(x->entry.did, y->entry.did);
}

static bool is_newer(int64_t us, int64_t order, int64_t than_us, int64_t than_order) {
    return us > than_us || (us == than_us && order >= than_order);
}

/* The newest word on each thing stays. */
static void merge(struct roster_entry *into, const struct roster_entry *e) {
    if (e->handle.p && (!into->handle.p || is_newer(e->handle_us, e->handle_seq, into->handle_us, into->handle_seq))) {
        into->handle = e->handle;
        into->handle_us = e->handle_us;
        into->handle_seq = e->handle_seq;
    }
    if (e->active >= 0 &&
        (into->active < 0 || is_newer(e->active_us, e->active_seq, into->active_us, into->active_seq))) {
        into->active = e->active;
        into->status = e->status;
        into->active_us = e->active_us;
        into->active_seq = e->active_seq;
    }
    if (e->rev.p && (!into->rev.p || is_newer(e->profile_us, bl_str_cmp(e->rev, into->rev), into->profile_us, 0))) {
        into->rev = e->rev;
        into->profile_us = e->profile_us;
        into->deleted = e->deleted;
        into->name = e->name;
        into->description = e->description;
    }
}

static void merge_rows(struct saying *s) {
    size_t kept = 0;
    if (s->count) qsort(s->rows, s->count, sizeof *s->rows, by_account);
    for (size_t i = 0; i < s->count; i++) {
        if (kept && by_account(&s->rows[kept - 1], &s->rows[i]) == 0)
            merge(&s->rows[kept - 1].entry, &s->rows[i].entry);
        else
            s->rows[kept++] = s->rows[i];
    }
    s->count = kept;
}

static void pack(struct bl_buf *out, struct roster_entry *e) {
    struct bl_str *texts[TEXTS];
    struct fixed f = {.handle_us = e->handle_us,
                      .handle_seq = e->handle_seq,
                      .active_us = e->active_us,
                      .active_seq = e->active_seq,
                      .profile_us = e->profile_us,
                      .active = e->active,
                      .deleted = e->deleted};
    texts_of(e, texts);
    for (unsigned i = 0; i < TEXTS; i++) f.lengths[i] = texts[i]->p ? (uint32_t)texts[i]->n : UINT32_MAX;
    bl_buf_add(out, &f, sizeof f);
    for (unsigned i = 0; i < TEXTS; i++) bl_buf_str(out, *texts[i]);
}

struct named {
    uint64_t handle;
    uint32_t number;
};

static int by_handle(const void *a, const void *b) {
    const struct named *x = a, *y = b;
    if (x->handle != y->handle) return x->handle < y->handle ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number); /* a file comes out the same every time */
}

/* The tables and texts behind the header. */
static void put_rest(struct saying *s, struct bl_buf *out, uint64_t *handles) {
    BL_CLEANUP(bl_buf_release) struct bl_buf texts = {0};
    BL_CLEANUP(bl_freep) struct named *named = bl_xcalloc(s->count + 1, sizeof *named);
    *handles = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct roster_entry *e = &s->rows[i].entry;
        struct place p = {s->rows[i].account, e->handle.p ? handle_hash(e->handle) : 0, texts.n};
        if (p.handle) named[(*handles)++] = (struct named){p.handle, (uint32_t)i};
        bl_buf_add(out, &p, sizeof p);
        pack(&texts, e);
    }
    if (*handles) qsort(named, *handles, sizeof *named, by_handle);
    for (uint64_t i = 0; i < *handles; i++) bl_buf_add(out, &named[i].number, sizeof named[i].number);
    bl_buf_str(out, bl_buf_view(&texts));
    out->failed |= texts.failed;
}

static enum bl_rc write_roster(struct saying *s, uint64_t identity, int fd, const char *name, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf rest = {0};
    struct roster_header h = {.magic = roster_magic,
                              .version = ROSTER_VERSION,
                              .header_bytes = sizeof h,
                              .identity = identity,
                              .count = s->count};
    put_rest(s, &rest, &h.handles);
    BL_TRY(bl_buf_check(&rest, "an index roster", err));
    h.file_bytes = sizeof h + rest.n;
    h.rest_check = segment_checksum(rest.n ? rest.p : "", rest.n);
    h.check = segment_checksum(&h, offsetof(struct roster_header, check));
    BL_TRY(bl_write_all(fd, bl_strn(&h, sizeof h), name, err));
    return bl_write_all(fd, bl_buf_view(&rest), name, err);
}

enum bl_rc roster_write(const char *lake_dir, const struct catalog_file *file, struct duck *duck, uint64_t identity,
                        int fd, const char *name, struct bl_error *err) {
    struct saying s = {0};
    enum bl_rc rc = read_rows(lake_dir, file, duck, &s, err);
    merge_rows(&s);
    if (rc == BL_OK) rc = write_roster(&s, identity, fd, name, err);
    bl_arena_release(&s.arena);
    free(s.rows);
    return rc;
}
