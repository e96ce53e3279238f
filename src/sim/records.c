/* records: the record of event i as JSON, keys sorted as Jetstream sends them, with its CID.
 *
 * Every maker first draws its choices and resolves what it refers to (which may make other records, in the same buffers),
 * and only then writes. */
#include "sim/network.h"

#include "sim/emit.h"

struct bl_rng records_rng(const struct sim *s, uint64_t i) { return (struct bl_rng){sim_hash(s->seed, SALT_EVENT, i)}; }

static bool chance(struct bl_rng *r, unsigned per_mille) { return bl_rng_below(r, 1000) < per_mille; }

/* ---- who and when ---- */

static uint64_t author(uint64_t block, unsigned within, struct bl_rng *r) {
    uint64_t back = 1 + within / SHAPE_NEWCOMERS;
    if (within < SHAPE_NEWCOMER_RECORDS && block >= back) return people_newcomer(block - back, within % SHAPE_NEWCOMERS);
    return people_pick(r, 8);
}

static struct ref begin(struct sim *s, uint64_t i, uint64_t account) {
    struct ref self = {.account = account};
    people_did(s->seed, account, self.did);
    people_rkey(s->seed, account, shape_time(&s->shape, i), self.rkey);
    bl_buf_clear(&s->record);
    return self;
}

static void write_odd_time(struct sim *s, struct bl_buf *b, int64_t us, uint64_t style) {
    static const char *const absurd[] = {"0001-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z", "3001-05-06T07:08:09.000Z"};
    if (style < 3) {
        bl_buf_z(b, absurd[style]);
    } else if (style < 6) {
        records_write_time(s, b, us, style == 3 ? 0 : 6);
    } else {
        records_write_time(s, b, us + 9 * (int64_t)3600000000, 0);
        b->n--; /* the Z */
        bl_buf_z(b, "+09:00");
    }
}

/* `"createdAt":"..."`, up to `lag_ms` before the account's host saw the record. */
static void write_created(struct sim *s, uint64_t i, uint64_t account, unsigned lag_ms, struct bl_rng *r) {
    int64_t us = people_rev_us(s->seed, account, shape_time(&s->shape, i));
    us -= 65000 + (int64_t)bl_rng_below(r, lag_ms) * 1000;
    uint64_t odd = bl_rng_below(r, 2000);
    EMIT(&s->record, "\"createdAt\":\"");
    if (odd < 10) write_odd_time(s, &s->record, us, odd);
    else records_write_time(s, &s->record, us, 3);
    EMIT(&s->record, "\"");
}

static void write_strong(struct bl_buf *b, const struct ref *to, const char *collection) {
    EMIT(b, "{\"cid\":\"");
    bl_buf_add(b, to->cid, sizeof to->cid);
    EMIT(b, "\",\"uri\":\"at://did:plc:");
    bl_buf_add(b, to->did, sizeof to->did);
    bl_buf_byte(b, '/');
    bl_buf_z(b, collection);
    bl_buf_byte(b, '/');
    bl_buf_add(b, to->rkey, sizeof to->rkey);
    EMIT(b, "\"}");
}

static const char post_nsid[] = "app.bsky.feed.post", repost_nsid[] = "app.bsky.feed.repost";

/* Compute the CID of what stands in s->record. */
static struct made finish(struct sim *s, const char *collection, const char *operation, struct ref self) {
    struct bl_error err = {0};
    BL_ASSERT(!s->record.failed);
    BL_ASSERT(cid_of_record(bl_buf_view(&s->record), &s->scratch, self.cid, &err) == BL_OK);
    return (struct made){collection, operation, self, true};
}

/* ---- likes, reposts, follows, blocks ---- */

static struct made make_subject(struct sim *s, uint64_t i, struct shape_place p, struct bl_rng *r) {
    bool repost = p.kind == SIM_REPOST;
    uint64_t who = repost ? people_pick(r, 8) : author(p.block, p.within, r);
    uint64_t post = refs_recent_post(s, i, r), through = UINT64_MAX;
    if (chance(r, repost ? 300 : 170)) through = refs_recent_repost(s, i, r);
    struct ref via = {0}, subject;
    if (through != UINT64_MAX) {
        via = refs_repost(s, through);
        if (!shape_deleted_before(&s->shape, SIM_POST, via.link, i)) post = via.link;
        else via.key = 0;
    }
    BL_ASSERT(post != UINT64_MAX);
    subject = refs_post(s, post);
    struct ref self = begin(s, i, who);
    const char *nsid = repost ? repost_nsid : "app.bsky.feed.like";
    EMIT(&s->record, "{\"$type\":\"");
    bl_buf_z(&s->record, nsid);
    EMIT(&s->record, "\",");
    write_created(s, i, who, 900, r);
    EMIT(&s->record, ",\"subject\":");
    write_strong(&s->record, &subject, post_nsid);
    if (via.key) {
        EMIT(&s->record, ",\"via\":");
        write_strong(&s->record, &via, repost_nsid);
    }
    EMIT(&s->record, "}");
    struct made m = finish(s, nsid, "create", self);
    if (repost) {
        m.self.key = p.number + 1;
        m.self.link = post;
        s->reposts[p.number % REFS_REPOSTS] = m.self;
    }
    return m;
}

static struct made make_graph(struct sim *s, uint64_t i, bool follow, struct bl_rng *r) {
    uint64_t who = people_pick(r, 8), whom = people_pick(r, follow ? 5 : 10);
    if (whom == who) whom = (whom + 1) % PEOPLE_OLD;
    const char *nsid = follow ? "app.bsky.graph.follow" : "app.bsky.graph.block";
    struct ref self = begin(s, i, who);
    EMIT(&s->record, "{\"$type\":\"");
    bl_buf_z(&s->record, nsid);
    EMIT(&s->record, "\",");
    write_created(s, i, who, 900, r);
    EMIT(&s->record, ",\"subject\":");
    emit_did(&s->record, s->seed, whom);
    EMIT(&s->record, "}");
    return finish(s, nsid, "create", self);
}

/* ---- posts ---- */

enum embed { EMBED_NONE, EMBED_IMAGES, EMBED_EXTERNAL, EMBED_VIDEO, EMBED_RECORD, EMBED_RECORD_MEDIA };

struct post_plan {
    uint64_t who;
    enum words_lang lang;
    enum embed embed;
    bool reply;
    struct ref root, parent, quote;
    struct text_wish wish;
};

static enum words_lang language_of(uint64_t hash) {
    static const struct {
        unsigned upto;
        enum words_lang lang;
    } share[] = {{450, LANG_EN}, {650, LANG_JA}, {750, LANG_PT}, {810, LANG_DE}, {870, LANG_ES}, {900, LANG_KO},
                 {940, LANG_FR}, {955, LANG_AR}, {975, LANG_RU}, {985, LANG_TH}, {1000, LANG_EMOJI}};
    unsigned x = (unsigned)(hash % 1000), n = 0;
    while (x >= share[n].upto) n++;
    return share[n].lang;
}

static enum embed pick_embed(struct bl_rng *r) {
    uint64_t x = bl_rng_below(r, 1000);
    return x < 140   ? EMBED_IMAGES
           : x < 250 ? EMBED_EXTERNAL
           : x < 270 ? EMBED_VIDEO
           : x < 315 ? EMBED_RECORD
           : x < 325 ? EMBED_RECORD_MEDIA
                     : EMBED_NONE;
}

/* Many short posts, fewer long ones, some that fill the limit; scripts that say more with less are shorter. */
static unsigned pick_length(enum words_lang lang, struct bl_rng *r) {
    unsigned octave = 3 + (unsigned)bl_rng_below(r, 6);
    unsigned points = (1u << octave) + (unsigned)bl_rng_below(r, 1u << octave);
    if (lang == LANG_EMOJI) return points / 16;
    return lang == LANG_JA || lang == LANG_KO ? points / 2 : points;
}

static void plan_refs(struct sim *s, uint64_t i, struct post_plan *plan, struct bl_rng *r) {
    uint64_t parent = chance(r, 420) ? refs_recent_post(s, i, r) : UINT64_MAX;
    uint64_t quote = plan->embed >= EMBED_RECORD ? refs_recent_post(s, i, r) : UINT64_MAX;
    if (plan->embed >= EMBED_RECORD && quote == UINT64_MAX) plan->embed = EMBED_NONE;
    if (quote != UINT64_MAX) plan->quote = refs_post(s, quote);
    plan->reply = parent != UINT64_MAX;
    if (!plan->reply) return;
    plan->parent = refs_post(s, parent);
    plan->root = plan->parent.link == parent ? plan->parent : refs_post(s, plan->parent.link);
}

static struct post_plan plan_post(struct sim *s, uint64_t i, struct shape_place p, struct bl_rng *r) {
    struct post_plan plan = {.who = author(p.block, p.within, r)};
    uint64_t taste = chance(r, 900) ? sim_hash(s->seed, SALT_PERSON, plan.who) >> 20 : bl_rng_u64(r);
    plan.lang = language_of(taste);
    plan.embed = pick_embed(r);
    plan_refs(s, i, &plan, r);
    plan.wish = (struct text_wish){.lang = plan.lang,
                                   .points = pick_length(plan.lang, r),
                                   .tags = chance(r, 110) ? 1 + (unsigned)bl_rng_below(r, 4) : 0,
                                   .link = plan.embed == EMBED_EXTERNAL ? chance(r, 700) : chance(r, 20),
                                   .mention = chance(r, 45) ? people_pick(r, 6) : UINT64_MAX};
    return plan;
}

static void write_blob(struct bl_buf *b, const char *mime, uint64_t size_max, struct bl_rng *r) {
    uint64_t words[CID_DIGEST_LEN / 8];
    for (size_t w = 0; w < CID_DIGEST_LEN / 8; w++) words[w] = bl_rng_u64(r);
    unsigned char digest[CID_DIGEST_LEN];
    memcpy(digest, words, sizeof digest);
    char cid[CID_TEXT_LEN];
    cid_text(digest, 0x55, cid);
    EMIT(b, "{\"$type\":\"blob\",\"ref\":{\"$link\":\"");
    bl_buf_add(b, cid, sizeof cid);
    EMIT(b, "\"},\"mimeType\":\"");
    bl_buf_z(b, mime);
    EMIT(b, "\",\"size\":");
    bl_buf_u64(b, 4000 + bl_rng_below(r, size_max));
    EMIT(b, "}");
}

static void write_aspect(struct bl_buf *b, struct bl_rng *r) {
    static const unsigned sides[] = {480, 720, 1080, 1280, 1536, 2000};
    EMIT(b, "\"aspectRatio\":{\"height\":");
    bl_buf_u64(b, sides[bl_rng_below(r, 6)]);
    EMIT(b, ",\"width\":");
    bl_buf_u64(b, sides[bl_rng_below(r, 6)]);
    EMIT(b, "}");
}

static void write_images(struct bl_buf *b, struct bl_rng *r) {
    EMIT(b, "{\"$type\":\"app.bsky.embed.images\",\"images\":[");
    uint64_t count = chance(r, 700) ? 1 : 2 + bl_rng_below(r, 3);
    for (uint64_t n = 0; n < count; n++) {
        EMIT(b, "{\"alt\":");
        emit_json(b, words_pick(r, &words_alts));
        EMIT(b, ",");
        write_aspect(b, r);
        EMIT(b, ",\"image\":");
        write_blob(b, "image/jpeg", 950000, r);
        bl_buf_z(b, n + 1 < count ? "}," : "}");
    }
    EMIT(b, "]}");
}

static void write_video(struct bl_buf *b, struct bl_rng *r) {
    EMIT(b, "{\"$type\":\"app.bsky.embed.video\",");
    if (chance(r, 300)) {
        EMIT(b, "\"alt\":");
        emit_json(b, words_pick(r, &words_alts));
        EMIT(b, ",");
    }
    write_aspect(b, r);
    EMIT(b, ",\"video\":");
    write_blob(b, "video/mp4", 40000000, r);
    EMIT(b, "}");
}

static void write_prose(struct bl_buf *b, enum words_lang lang, unsigned points, struct bl_rng *r) {
    struct text t;
    t.n = t.points = 0;
    text_sentences(&t, lang, points, r);
    emit_json(b, bl_strn(t.bytes, t.n));
}

static void write_external(struct sim *s, enum words_lang lang, struct bl_rng *r) {
    struct bl_buf *b = &s->record;
    char url[TEXT_URL_MAX];
    unsigned n = s->text.url_n;
    if (n) memcpy(url, s->text.url, n);
    else n = text_url(r, url);
    EMIT(b, "{\"$type\":\"app.bsky.embed.external\",\"external\":{\"description\":");
    write_prose(b, lang, 120, r);
    if (chance(r, 800)) {
        EMIT(b, ",\"thumb\":");
        write_blob(b, "image/jpeg", 300000, r);
    }
    EMIT(b, ",\"title\":");
    write_prose(b, lang, 40, r);
    EMIT(b, ",\"uri\":");
    emit_json(b, bl_strn(url, n));
    EMIT(b, "}}");
}

static void write_quote(struct bl_buf *b, const struct ref *quote) {
    EMIT(b, "{\"$type\":\"app.bsky.embed.record\",\"record\":");
    write_strong(b, quote, post_nsid);
    EMIT(b, "}");
}

static void write_embed(struct sim *s, const struct post_plan *plan, struct bl_rng *r) {
    struct bl_buf *b = &s->record;
    if (plan->embed == EMBED_NONE) return;
    EMIT(b, ",\"embed\":");
    switch (plan->embed) {
    case EMBED_NONE: break;
    case EMBED_IMAGES: write_images(b, r); break;
    case EMBED_EXTERNAL: write_external(s, plan->lang, r); break;
    case EMBED_VIDEO: write_video(b, r); break;
    case EMBED_RECORD: write_quote(b, &plan->quote); break;
    case EMBED_RECORD_MEDIA:
        EMIT(b, "{\"$type\":\"app.bsky.embed.recordWithMedia\",\"media\":");
        write_images(b, r);
        EMIT(b, ",\"record\":");
        write_quote(b, &plan->quote);
        EMIT(b, "}");
        break;
    }
}

static void write_facet(struct sim *s, const struct text_facet *f, bool typed) {
    struct bl_buf *b = &s->record;
    bl_buf_z(b, typed ? "{\"$type\":\"app.bsky.richtext.facet\",\"features\":[{" : "{\"features\":[{");
    switch (f->feature) {
    case TEXT_MENTION:
        EMIT(b, "\"$type\":\"app.bsky.richtext.facet#mention\",\"did\":");
        emit_did(b, s->seed, f->account);
        break;
    case TEXT_LINK:
        EMIT(b, "\"$type\":\"app.bsky.richtext.facet#link\",\"uri\":");
        emit_json(b, bl_strn(s->text.url, s->text.url_n));
        break;
    case TEXT_TAG:
        EMIT(b, "\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":");
        emit_json(b, bl_strn(s->text.bytes + f->start + 1, f->end - f->start - 1));
        break;
    }
    EMIT(b, "}],\"index\":{\"byteEnd\":");
    bl_buf_u64(b, f->end);
    EMIT(b, ",\"byteStart\":");
    bl_buf_u64(b, f->start);
    EMIT(b, "}}");
}

static void write_facets(struct sim *s, struct bl_rng *r) {
    if (!s->text.facets) return;
    bool typed = chance(r, 50);
    EMIT(&s->record, ",\"facets\":[");
    for (unsigned n = 0; n < s->text.facets; n++) {
        if (n) EMIT(&s->record, ",");
        write_facet(s, &s->text.facet[n], typed);
    }
    EMIT(&s->record, "]");
}

static void write_langs(struct bl_buf *b, enum words_lang lang, struct bl_rng *r) {
    uint64_t x = bl_rng_below(r, 100);
    if (x < 3) return;
    EMIT(b, ",\"langs\":[");
    if (x >= 5) {
        EMIT(b, "\"");
        bl_buf_z(b, lang == LANG_PT && x < 50 ? "pt-BR" : words_of[lang].tag);
        EMIT(b, "\"");
    }
    if (x >= 97 && lang != LANG_EN) EMIT(b, ",\"en\"");
    EMIT(b, "]");
}

static void write_reply(struct bl_buf *b, const struct post_plan *plan) {
    if (!plan->reply) return;
    EMIT(b, ",\"reply\":{\"parent\":");
    write_strong(b, &plan->parent, post_nsid);
    EMIT(b, ",\"root\":");
    write_strong(b, &plan->root, post_nsid);
    EMIT(b, "}");
}

/* What bridges from other networks add. */
static void write_bridged(struct sim *s, uint64_t account) {
    struct bl_buf *b = &s->record;
    char handle[PEOPLE_HANDLE_MAX];
    EMIT(b, "\"bridgyOriginalText\":\"\\u003cp\\u003e");
    size_t quote = b->n;
    emit_json(b, bl_strn(s->text.bytes, s->text.n));
    memmove(b->p + quote, b->p + quote + 1, b->n - quote - 1); /* without the quotes */
    b->n -= 2;
    EMIT(b, "\\u003c/p\\u003e\",\"bridgyOriginalUrl\":\"https://bridge.example/users/");
    bl_buf_add(b, handle, people_handle(s->seed, account, handle));
    EMIT(b, "\",");
}

static struct made make_post(struct sim *s, uint64_t i, struct shape_place p, struct bl_rng *r) {
    struct post_plan plan = plan_post(s, i, p, r);
    struct ref self = begin(s, i, plan.who);
    struct bl_buf *b = &s->record;
    text_compose(&s->text, s->seed, &plan.wish, r);
    EMIT(b, "{\"$type\":\"app.bsky.feed.post\",");
    if (chance(r, 10)) write_bridged(s, plan.who);
    write_created(s, i, plan.who, 2500, r);
    write_embed(s, &plan, r);
    write_facets(s, r);
    if (chance(r, 8)) EMIT(b, ",\"labels\":{\"$type\":\"com.atproto.label.defs#selfLabels\",\"values\":[{\"val\":\"nudity\"}]}");
    write_langs(b, plan.lang, r);
    write_reply(b, &plan);
    if (chance(r, 10)) EMIT(b, ",\"tags\":[\"bot\",\"weather\"]");
    EMIT(b, ",\"text\":");
    emit_json(b, bl_strn(s->text.bytes, s->text.n));
    EMIT(b, "}");
    struct made m = finish(s, post_nsid, "create", self);
    m.self.key = p.number + 1;
    m.self.link = plan.reply ? plan.parent.link : p.number;
    s->posts[p.number % REFS_POSTS] = m.self;
    return m;
}

/* ---- profiles, other collections ---- */

static void key_self(struct made *m) {
    /* "self" is shorter than a TID; zero bytes mark the end. */
    memset(m->self.rkey, 0, sizeof m->self.rkey);
    memcpy(m->self.rkey, "self", 4);
}

static struct made make_profile(struct sim *s, uint64_t i, struct shape_place p, struct bl_rng *r) {
    bool newcomer = p.within < SHAPE_NEWCOMERS;
    uint64_t who = newcomer ? people_newcomer(p.block, p.within) : people_pick(r, 9);
    struct ref pinned = {0};
    uint64_t post = !newcomer && chance(r, 250) ? refs_recent_post(s, i, r) : UINT64_MAX;
    if (post != UINT64_MAX) pinned = refs_post(s, post);
    bool pins = post != UINT64_MAX && pinned.account < PEOPLE_OLD;
    if (pins) who = pinned.account;
    enum words_lang lang = language_of(sim_hash(s->seed, SALT_PERSON, who) >> 20);
    struct ref self = begin(s, i, who);
    struct bl_buf *b = &s->record;
    char handle[PEOPLE_HANDLE_MAX];
    size_t n = people_handle(s->seed, who, handle);
    const char *dot = memchr(handle, '.', n);
    EMIT(b, "{\"$type\":\"app.bsky.actor.profile\",\"avatar\":");
    write_blob(b, "image/jpeg", 400000, r);
    EMIT(b, ",");
    if (chance(r, 400)) {
        EMIT(b, "\"banner\":");
        write_blob(b, "image/png", 900000, r);
        EMIT(b, ",");
    }
    write_created(s, i, who, 900, r);
    EMIT(b, ",\"description\":");
    write_prose(b, lang, 100, r);
    EMIT(b, ",\"displayName\":");
    emit_json(b, bl_strn(handle, (size_t)(dot - handle)));
    if (pins) {
        EMIT(b, ",\"pinnedPost\":");
        write_strong(b, &pinned, post_nsid);
    }
    if (chance(r, 100)) EMIT(b, ",\"pronouns\":\"they/them\"");
    if (chance(r, 100)) EMIT(b, ",\"website\":\"https://notebook.example.net/about\"");
    EMIT(b, "}");
    struct made m = finish(s, "app.bsky.actor.profile", newcomer ? "create" : "update", self);
    key_self(&m);
    return m;
}

static struct made make_list_item(struct sim *s, uint64_t i, struct bl_rng *r) {
    uint64_t who = people_pick(r, 8), whom = people_pick(r, 8);
    struct ref self = begin(s, i, who);
    struct bl_buf *b = &s->record;
    EMIT(b, "{\"$type\":\"app.bsky.graph.listitem\",");
    write_created(s, i, who, 900, r);
    EMIT(b, ",\"list\":\"at://did:plc:");
    bl_buf_add(b, self.did, sizeof self.did);
    EMIT(b, "/app.bsky.graph.list/3kaaaaaaaaa2a\",\"subject\":");
    emit_did(b, s->seed, whom);
    EMIT(b, "}");
    return finish(s, "app.bsky.graph.listitem", "create", self);
}

/* One post of the block before gets a gate, under its own record key. */
static struct made make_thread_gate(struct sim *s, uint64_t i, struct shape_place p, struct bl_rng *r) {
    if (!p.block) return make_list_item(s, i, r);
    unsigned within = SHAPE_NEWCOMER_RECORDS + (unsigned)bl_rng_below(r, SHAPE_POSTS - SHAPE_NEWCOMER_RECORDS);
    uint64_t number = (p.block - 1) * SHAPE_POSTS + within;
    while (shape_deleted_before(&s->shape, SIM_POST, number, i))
        number = (p.block - 1) * SHAPE_POSTS + (within = within + 1 < SHAPE_POSTS ? within + 1 : SHAPE_NEWCOMER_RECORDS);
    struct ref post = refs_post(s, number), self = begin(s, i, post.account);
    struct bl_buf *b = &s->record;
    memcpy(self.rkey, post.rkey, sizeof self.rkey);
    EMIT(b, "{\"$type\":\"app.bsky.feed.threadgate\",\"allow\":[{\"$type\":\"app.bsky.feed.threadgate#mentionRule\"}],");
    write_created(s, i, post.account, 100, r);
    EMIT(b, ",\"hiddenReplies\":[],\"post\":\"at://did:plc:");
    bl_buf_add(b, post.did, sizeof post.did);
    EMIT(b, "/app.bsky.feed.post/");
    bl_buf_add(b, post.rkey, sizeof post.rkey);
    EMIT(b, "\"}");
    return finish(s, "app.bsky.feed.threadgate", "create", self);
}

static struct made make_play(struct sim *s, uint64_t i, struct bl_rng *r) {
    uint64_t who = people_pick(r, 10);
    struct ref self = begin(s, i, who);
    struct bl_buf *b = &s->record;
    EMIT(b, "{\"$type\":\"fm.teal.alpha.feed.play\",\"artists\":[{\"artistName\":");
    emit_json(b, words_pick(r, &words_of[LANG_PT].slot[WORDS_FIRST]));
    EMIT(b, "}],\"duration\":");
    bl_buf_u64(b, 90 + bl_rng_below(r, 400));
    EMIT(b, ",\"isrc\":null,\"playedTime\":\"");
    records_write_time(s, b, shape_time(&s->shape, i), 0);
    EMIT(b, "\",\"submissionClientAgent\":\"player/1.4 \\u0026 co\",\"trackName\":");
    emit_json(b, words_pick(r, &words_of[LANG_EN].slot[WORDS_THIRD]));
    EMIT(b, "}");
    return finish(s, "fm.teal.alpha.feed.play", "create", self);
}

static struct made make_chat(struct sim *s, uint64_t i, struct bl_rng *r) {
    uint64_t who = people_pick(r, 10);
    struct ref self = begin(s, i, who);
    struct bl_buf *b = &s->record;
    EMIT(b, "{\"$type\":\"place.stream.chat.message\",");
    write_created(s, i, who, 300, r);
    EMIT(b, ",\"offset\":-");
    bl_buf_u64(b, bl_rng_below(r, 100000));
    EMIT(b, ",\"streamer\":");
    emit_did(b, s->seed, people_pick(r, 4));
    EMIT(b, ",\"text\":");
    write_prose(b, language_of(bl_rng_u64(r)), 30, r);
    EMIT(b, "}");
    return finish(s, "place.stream.chat.message", "create", self);
}

static struct made make_status(struct sim *s, uint64_t i, bool bluesky, struct bl_rng *r) {
    uint64_t who = people_pick(r, 10);
    const char *nsid = bluesky ? "app.bsky.actor.status" : "fm.teal.alpha.actor.status";
    struct ref self = begin(s, i, who);
    struct bl_buf *b = &s->record;
    EMIT(b, "{\"$type\":\"");
    bl_buf_z(b, nsid);
    EMIT(b, "\",");
    write_created(s, i, who, 300, r);
    EMIT(b, ",\"durationMinutes\":");
    bl_buf_u64(b, 1 + bl_rng_below(r, 240));
    EMIT(b, ",\"item\":{\"live\":true,\"scores\":[1,-2,9007199254740993],\"title\":");
    emit_json(b, words_pick(r, &words_of[LANG_EN].slot[WORDS_THIRD]));
    EMIT(b, "}}");
    struct made m = finish(s, nsid, "update", self);
    key_self(&m);
    return m;
}

static struct made make_other(struct sim *s, uint64_t i, struct shape_place p, struct bl_rng *r) {
    switch (p.within) {
    case 0: return make_thread_gate(s, i, p, r);
    case 1: return make_list_item(s, i, r);
    case 2:
    case 3: return make_play(s, i, r);
    case 4:
    case 5: return make_chat(s, i, r);
    default: return make_status(s, i, p.within == 6, r);
    }
}

/* ---- deletes ---- */

static uint64_t account_of_create(struct sim *s, enum sim_kind kind, uint64_t i) {
    struct shape_place p = shape_of_event(&s->shape, i);
    struct bl_rng r = records_rng(s, i);
    return kind == SIM_LIKE || kind == SIM_POST ? author(p.block, p.within, &r) : people_pick(&r, 8);
}

static struct made make_delete(struct sim *s, uint64_t i, struct shape_place p, struct bl_rng *r) {
    static const char *const nsid[SIM_KINDS] = {[SIM_LIKE] = "app.bsky.feed.like",
                                                [SIM_POST] = post_nsid,
                                                [SIM_REPOST] = repost_nsid,
                                                [SIM_FOLLOW] = "app.bsky.graph.follow"};
    enum sim_kind kind;
    uint64_t number;
    if (!shape_delete_target(&s->shape, p.block, p.within, &kind, &number)) return make_list_item(s, i, r);
    uint64_t created = shape_event_of(&s->shape, kind, number);
    return (struct made){nsid[kind], "delete", begin(s, created, account_of_create(s, kind, created)), false};
}

struct made records_make(struct sim *s, uint64_t i, struct shape_place place) {
    struct bl_rng r = records_rng(s, i);
    switch (place.kind) {
    case SIM_LIKE:
    case SIM_REPOST: return make_subject(s, i, place, &r);
    case SIM_POST: return make_post(s, i, place, &r);
    case SIM_FOLLOW:
    case SIM_BLOCK: return make_graph(s, i, place.kind == SIM_FOLLOW, &r);
    case SIM_PROFILE: return make_profile(s, i, place, &r);
    case SIM_OTHER: return make_other(s, i, place, &r);
    case SIM_DELETE: return make_delete(s, i, place, &r);
    case SIM_IDENTITY:
    case SIM_ACCOUNT:
    case SIM_KINDS: break;
    }
    BL_ASSERT(!"identity and account events hold no record");
    return (struct made){0};
}
