#include "event/decode.h"
#include "event/unicode.h"

/* A list that grows in the arena; says nothing twice and at most EV_LIST_MAX things. */
struct growing {
    struct bl_str *items;
    size_t count, cap;
};

struct derivation {
    struct bl_arena *arena;
    struct growing hashtags, mentions, links;
    bool full;
};

static void add(struct derivation *v, struct growing *list, struct bl_str item) {
    if (item.n == 0 || list->count == EV_LIST_MAX) return;
    for (size_t i = 0; i < list->count; i++)
        if (bl_str_eq(list->items[i], item)) return;
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 4 : 4;
        struct bl_str *grown = bl_arena_alloc(v->arena, cap * sizeof *grown);
        if (!grown) {
            v->full = true;
            return;
        }
        if (list->count) memcpy(grown, list->items, list->count * sizeof *grown);
        list->items = grown;
        list->cap = cap;
    }
    list->items[list->count++] = item;
}

static void add_tag(struct derivation *v, struct bl_str tag) {
    if (tag.n && tag.p[0] == '#') tag = bl_str_skip(tag, 1);
    if (bl_str_starts(tag, BL_LIT("\xef\xbc\x83"))) tag = bl_str_skip(tag, 3);
    if (tag.n == 0) return;
    char *folded = bl_arena_alloc(v->arena, tag.n);
    if (!folded) {
        v->full = true;
        return;
    }
    ev_fold_case(tag, folded);
    add(v, &v->hashtags, (struct bl_str){folded, tag.n});
}

/* The member `name` of the object `json`, as JSON text; empty when there is none. The last of duplicates. */
static struct bl_str member(struct bl_str json, struct bl_str name) {
    struct js_cursor c = js_open(json, EV_DEPTH_MAX);
    struct bl_str found = {0}, value;
    struct js_string key;
    bool first = true;
    if (json.n == 0 || js_peek(&c) != JS_OBJECT || !js_object(&c)) return found;
    while (js_member(&c, &key, &first) && js_skip(&c, &value, NULL))
        if (js_string_is(key, name)) found = value;
    return found;
}

/* The text of a JSON string, empty for anything else. */
static struct bl_str text_of(struct derivation *v, struct bl_str json) {
    struct js_cursor c = js_open(json, EV_DEPTH_MAX);
    struct js_string s;
    struct bl_str text;
    if (json.n == 0 || json.p[0] != '"' || !js_string(&c, &s) || !js_unescape(s, v->arena, &text)) return (struct bl_str){0};
    return text;
}

static struct bl_str text_member(struct derivation *v, struct bl_str json, struct bl_str name) {
    return text_of(v, member(json, name));
}

static void read_feature(struct derivation *v, struct bl_str feature) {
    struct bl_str type = text_member(v, feature, BL_LIT("$type"));
    if (bl_str_eq(type, BL_LIT("app.bsky.richtext.facet#link"))) {
        add(v, &v->links, text_member(v, feature, BL_LIT("uri")));
    } else if (bl_str_eq(type, BL_LIT("app.bsky.richtext.facet#mention"))) {
        add(v, &v->mentions, text_member(v, feature, BL_LIT("did")));
    } else if (bl_str_eq(type, BL_LIT("app.bsky.richtext.facet#tag"))) {
        add_tag(v, text_member(v, feature, BL_LIT("tag")));
    }
}

static void for_each(struct derivation *v, struct bl_str json, void (*see)(struct derivation *, struct bl_str)) {
    struct js_cursor c = js_open(json, EV_DEPTH_MAX);
    struct bl_str element;
    bool first = true;
    if (json.n == 0 || js_peek(&c) != JS_ARRAY || !js_array(&c)) return;
    while (js_element(&c, &first) && js_skip(&c, &element, NULL)) see(v, element);
}

static void read_facet(struct derivation *v, struct bl_str facet) {
    for_each(v, member(facet, BL_LIT("features")), read_feature);
}

static void read_tag(struct derivation *v, struct bl_str tag) { add_tag(v, text_of(v, tag)); }

static bool is_hash(unsigned code) { return code == '#' || code == 0xff03; }

/* One tag of a text from `p`, behind its '#': up to white space or the next '#', without punctuation at its end. Returns
 * where it ended. Nothing but digits and punctuation is no tag ("#1"), nor is a keycap emoji. */
static const char *scan_tag(struct derivation *v, const char *p, const char *end) {
    const char *from = p, *last = p;
    bool word = false, keycap = false;
    while (p < end) {
        const char *at = p;
        unsigned code = uc_next(&p, end);
        if (uc_is_space(code) || is_hash(code)) {
            p = at;
            break;
        }
        if (at == from && code == 0xfe0f) keycap = true;
        if (uc_is_punctuation(code)) continue;
        last = p;
        if (code < '0' || code > '9') word = true;
    }
    if (word && !keycap) add_tag(v, (struct bl_str){from, (size_t)(last - from)});
    return p;
}

static void read_text(struct derivation *v, struct bl_str text) {
    const char *p = text.p, *end = p + text.n;
    if (text.n == 0 || (!memchr(p, '#', text.n) && !memmem(p, text.n, "\xef\xbc\x83", 3))) return;
    for (bool boundary = true; p < end;) {
        unsigned code = uc_next(&p, end);
        if (boundary && is_hash(code)) {
            p = scan_tag(v, p, end);
        } else {
            boundary = uc_is_space(code) || uc_is_punctuation(code);
        }
    }
}

static void set_list(struct event *ev, unsigned column, const struct growing *list) {
    if (list->count == 0) return;
    ev->v[column].list = (struct ev_list){list->items, list->count};
    ev->has |= (uint64_t)1 << column;
}

/* "images" of "app.bsky.embed.images"; empty for what is no embed of app.bsky. */
static struct bl_str embed_name(struct derivation *v, struct bl_str embed) {
    struct bl_str type = text_member(v, embed, BL_LIT("$type")), prefix = BL_LIT("app.bsky.embed.");
    if (!bl_str_starts(type, prefix)) return (struct bl_str){0};
    struct bl_str rest = bl_str_skip(type, prefix.n);
    return bl_str_cut(&rest, '#'); /* "#main" may stand behind it */
}

static void read_card(struct derivation *v, struct bl_str media) {
    add(v, &v->links, text_member(v, member(media, BL_LIT("external")), BL_LIT("uri")));
}

static void read_embed(struct derivation *v, struct event *ev, struct bl_str embed) {
    struct bl_str name = embed_name(v, embed), record = member(embed, BL_LIT("record"));
    if (bl_str_eq(name, BL_LIT("recordWithMedia"))) {
        struct bl_str media = member(embed, BL_LIT("media")), kind = embed_name(v, media), plus = BL_LIT("record+");
        record = member(record, BL_LIT("record"));
        read_card(v, media);
        char *joined = bl_arena_alloc(v->arena, plus.n + kind.n);
        if (!joined) {
            v->full = true;
            return;
        }
        memcpy(joined, plus.p, plus.n);
        if (kind.n) memcpy(joined + plus.n, kind.p, kind.n);
        name = (struct bl_str){joined, plus.n + kind.n - (kind.n == 0)};
    } else {
        read_card(v, embed);
    }
    if (name.n) ev_set_str(ev, EV_posts_embed_type, name);
    struct bl_str quoted = text_member(v, record, BL_LIT("uri"));
    if (quoted.n) ev_set_str(ev, EV_posts_quote_uri, quoted);
}

bool derive_post(struct event *ev, struct bl_str tags, struct bl_arena *arena) {
    struct derivation v = {.arena = arena};
    if (ev_has(ev, EV_posts_facets)) for_each(&v, ev_str(ev, EV_posts_facets), read_facet);
    for_each(&v, tags, read_tag);
    read_text(&v, ev_str(ev, EV_posts_text));
    if (ev_has(ev, EV_posts_embed)) read_embed(&v, ev, ev_str(ev, EV_posts_embed));
    set_list(ev, EV_posts_hashtags, &v.hashtags);
    set_list(ev, EV_posts_mentions, &v.mentions);
    set_list(ev, EV_posts_links, &v.links);
    return !v.full;
}
