#include "query/find.h"

#include <stdlib.h>

#include "base/clock.h"
#include "query/people.h"

enum { HITS_MEMORY_MAX = 256 << 20 };

static int compare_keys(struct bl_str did, struct bl_str rkey, struct bl_str other_did, struct bl_str other_rkey) {
    int c = bl_str_cmp(did, other_did);
    return c ? c : bl_str_cmp(rkey, other_rkey);
}

int found_compare(const struct found *a, const struct found *b) {
    if (a->hit.time_us != b->hit.time_us) return a->hit.time_us > b->hit.time_us ? -1 : 1;
    return compare_keys(a->hit.did, a->hit.rkey, b->hit.did, b->hit.rkey);
}

static bool may_go_on(void *context) {
    const struct query *q = context;
    return watchdog_check(q->watchdog, NULL) == BL_OK;
}

void find_prepare(struct query *q, const struct catalog_file *const *files, size_t count) {
    index_prepare(q->index, files, count, q->threads, may_go_on, q);
}

/* --- From rows to hits --- */

static struct bl_str keep(const struct find *f, struct bl_str s) {
    if (!s.p) return s;
    struct bl_str copy = bl_arena_dup(f->arena, s);
    return copy.p ? copy : BL_LIT("");
}

/* A list as JSON, null where there is none. */
static struct bl_str keep_list(const struct find *f, struct bl_str list, struct bl_buf *json) {
    struct bl_str item;
    if (!list.p) return list;
    bl_buf_clear(json);
    bl_buf_byte(json, '[');
    while (segment_item(&list, &item)) {
        if (json->n > 1) bl_buf_byte(json, ',');
        bl_buf_json(json, item);
    }
    bl_buf_byte(json, ']');
    return keep(f, bl_buf_view(json));
}

/* As it was written; where that is the usual form, only its time is kept. */
static struct bl_str keep_created(const struct find *f, const struct segment_record *r) {
    char text[BL_TIME_TEXT_MAX];
    if (!(r->flags & SEGMENT_CREATED)) return keep(f, r->created_at);
    return keep(f, bl_str(bl_format_time(r->created_us, 3, text)));
}

enum bl_rc find_take(const struct find *f, const struct key_row *row, struct segment_cache *cache, struct found *out,
                     struct bl_error *err) {
    struct segment_record r;
    BL_CLEANUP(bl_buf_release) struct bl_buf json = {0};
    enum bl_rc rc = segment_record(row->segment, row->block, row->row, cache, &r, err);
    if (rc == BL_E_CORRUPT) index_note_damaged(f->q->index, row->segment);
    BL_TRY(rc);
    *out = (struct found){.rev = keep(f, r.rev),
                          .key = row->key,
                          .updates = (r.flags & (SEGMENT_CHANGE | SEGMENT_DELETE)) == SEGMENT_CHANGE,
                          .deletes = r.flags & SEGMENT_DELETE,
                          .from = row->segment,
                          .block = row->block,
                          .row = row->row};
    out->hit = (struct query_hit){.time_us = r.time_us,
                                  .did = keep(f, r.did),
                                  .rkey = keep(f, r.rkey),
                                  .text = keep(f, r.text),
                                  .created_at = keep_created(f, &r),
                                  .langs_json = keep_list(f, r.langs, &json),
                                  .hashtags_json = keep_list(f, r.tags, &json),
                                  .links_json = keep_list(f, r.links, &json),
                                  .facets_json = keep(f, r.facets),
                                  .embed_json = keep(f, r.embed),
                                  .reply_parent_uri = keep(f, r.parent),
                                  .quote_uri = keep(f, r.quote)};
    if (f->arena->used > HITS_MEMORY_MAX)
        return bl_fail(err, BL_E_FULL, "the hits need more than %d MiB: ask for fewer with --limit",
                       HITS_MEMORY_MAX >> 20);
    return BL_OK;
}

/* --- Records by name --- */

struct record_name {
    struct bl_str did, rkey;
};
struct collecting {
    const struct find *f;
    struct segment_cache cache;
    struct record_name *names; /* sorted */
    size_t name_count;
    struct found **items;
    size_t *count;
};

static int by_name(const void *a, const void *b) {
    const struct record_name *x = a, *y = b;
    return compare_keys(x->did, x->rkey, y->did, y->rkey);
}

static int by_version(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    int c = found_compare(x, y);
    return c ? c : bl_str_cmp(y->rev, x->rev);
}

static enum bl_rc collect(void *context, const struct key_row *row, struct bl_error *err) {
    struct collecting *c = context;
    *c->items = bl_xrealloc(*c->items, (*c->count + 1) * sizeof **c->items);
    struct found *item = &(*c->items)[*c->count];
    BL_TRY(find_take(c->f, row, &c->cache, item, err));
    struct record_name name = {item->hit.did, item->hit.rkey};
    *c->count += bsearch(&name, c->names, c->name_count, sizeof name, by_name) != NULL;
    return BL_OK;
}

enum bl_rc find_records(const struct find *f, const struct catalog_file *const *files, size_t files_count,
                        const struct bl_str *dids, const struct bl_str *rkeys, size_t count, struct found **items,
                        size_t *items_count, struct bl_error *err) {
    if (files_count == 0 || count == 0) return BL_OK;
    BL_CLEANUP(bl_freep) struct record_name *names = bl_xcalloc(count, sizeof *names);
    BL_CLEANUP(bl_freep) uint64_t *keys = bl_xcalloc(count, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        names[i] = (struct record_name){dids[i], rkeys[i]};
        keys[i] = segment_key(dids[i], rkeys[i]);
    }
    qsort(names, count, sizeof *names, by_name);
    BL_CLEANUP(rowkeys_release) struct rowkeys set = rowkeys_of(keys, count);
    find_prepare(f->q, files, files_count);
    struct collecting c = {.f = f, .names = names, .name_count = count, .items = items, .count = items_count};
    enum bl_rc rc = rowkeys_find(f->q, &set, files, files_count, INT64_MIN, collect, &c, err);
    segment_cache_release(&c.cache);
    if (rc == BL_OK && *items_count) qsort(*items, *items_count, sizeof **items, by_version);
    return rc;
}

/* --- What is hidden --- */

struct checking {
    struct query *q;
    struct segment_cache cache;
    struct found **items; /* by key */
    size_t count;
};

static int by_key(const void *a, const void *b) {
    uint64_t x = (*(const struct found *const *)a)->key, y = (*(const struct found *const *)b)->key;
    return (x > y) - (x < y);
}

static bool is_itself(const struct found *item, const struct key_row *row) {
    return item->from == row->segment && item->block == row->block && item->row == row->row;
}

/* A later row of the same record makes an item history: it was deleted, or an update took its place. */
static enum bl_rc check_item(struct checking *c, struct found *item, const struct key_row *row, struct bl_error *err) {
    struct segment_record r;
    if (item->hidden || row->time_us < item->hit.time_us || is_itself(item, row)) return BL_OK;
    enum bl_rc rc = segment_record(row->segment, row->block, row->row, &c->cache, &r, err);
    if (rc == BL_E_CORRUPT) index_note_damaged(c->q->index, row->segment);
    BL_TRY(rc);
    if (compare_keys(r.did, r.rkey, item->hit.did, item->hit.rkey) != 0) return BL_OK;
    item->hidden = row->time_us > item->hit.time_us || bl_str_cmp(r.rev, item->rev) > 0;
    return BL_OK;
}

static enum bl_rc note_later_row(void *context, const struct key_row *row, struct bl_error *err) {
    struct checking *c = context;
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c->items[middle]->key < row->key)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < c->count && c->items[low]->key == row->key; low++) BL_TRY(check_item(c, c->items[low], row, err));
    return BL_OK;
}

static enum bl_rc hide_changed(const struct find *f, struct found *items, size_t count, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    BL_CLEANUP(bl_freep) uint64_t *keys = bl_xcalloc(count, sizeof *keys);
    struct checking c = {.q = f->q, .items = bl_xcalloc(count, sizeof *c.items), .count = count};
    int64_t oldest_us = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        c.items[i] = &items[i];
        keys[i] = items[i].key;
        if (items[i].hit.time_us < oldest_us) oldest_us = items[i].hit.time_us;
    }
    qsort(c.items, count, sizeof *c.items, by_key);
    BL_CLEANUP(rowkeys_release) struct rowkeys set = rowkeys_of(keys, count);
    size_t file_count = session_files(f->q, EV_posts, oldest_us, INT64_MAX, &files);
    find_prepare(f->q, files, file_count);
    enum bl_rc rc = rowkeys_find(f->q, &set, files, file_count, oldest_us, note_later_row, &c, err);
    segment_cache_release(&c.cache);
    free(c.items);
    return rc;
}

enum bl_rc find_authors(const struct find *f, struct found *items, size_t count, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct bl_str *dids = bl_xcalloc(count + 1, sizeof *dids);
    BL_CLEANUP(bl_freep) struct person *people = bl_xcalloc(count + 1, sizeof *people);
    for (size_t i = 0; i < count; i++) dids[i] = items[i].hit.did;
    BL_TRY(people_lookup(f->q, dids, count, f->arena, people, err));
    for (size_t i = 0; i < count; i++) {
        items[i].hit.handle = people[i].handle;
        items[i].hit.display_name = people[i].display_name;
        items[i].nameless = person_is_nameless(&people[i]);
        items[i].hidden |= people[i].hidden;
    }
    return BL_OK;
}

enum bl_rc find_hidden(const struct find *f, struct found *items, size_t count, struct bl_error *err) {
    if (count == 0) return BL_OK;
    BL_TRY(hide_changed(f, items, count, err));
    BL_TRY(find_authors(f, items, count, err));
    for (size_t i = 0; i < count; i++) {
        items[i].hidden |= items[i].deletes;
        items[i].checked = true;
    }
    return BL_OK;
}

size_t find_drop_hidden(struct found *items, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!items[i].hidden) items[kept++] = items[i];
    return kept;
}

enum bl_rc find_give(const struct found *item, query_hit_fn hit, void *context, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf uri = {0};
    bl_buf_reserve(&uri, 128);
    bl_buf_z(&uri, "at://");
    bl_buf_str(&uri, item->hit.did);
    bl_buf_byte(&uri, '/');
    bl_buf_z(&uri, ev_schema(EV_posts)->collection);
    bl_buf_byte(&uri, '/');
    bl_buf_str(&uri, item->hit.rkey);
    BL_TRY(bl_buf_check(&uri, "a hit's URI", err));
    struct query_hit complete = item->hit;
    complete.uri = bl_buf_view(&uri);
    return hit(context, &complete, err);
}
