/* network: what the sources of the generator share. Internal to the room.
 *
 * The stream is cut into blocks of SHAPE_BLOCK events. Every block holds the same number of events of each kind, in an
 * order shuffled by (seed, block). So the n-th like (post, ...) of the stream is found by arithmetic plus one small
 * table a block, in either direction, and an event can be computed without its predecessors:
 *
 *   shape.c    time stamps; event number <-> (kind, number within the kind); which create a delete names
 *   people.c   accounts: DIDs, handles, popularity, revisions and record keys
 *   words.c    vocabulary of ten languages
 *   text.c     post texts and their facets
 *   refs.c     strong references: URI and CID of an earlier record, cached
 *   records.c  records as JSON
 *   sim.c      the envelope around them */
#pragma once
#include "base/rng.h"
#include "event/cbor.h"
#include "sim/sim.h"

/* ---- shape ---- */

enum sim_kind {
    SIM_LIKE,
    SIM_POST,
    SIM_REPOST,
    SIM_FOLLOW,
    SIM_BLOCK,
    SIM_PROFILE,
    SIM_OTHER,
    SIM_DELETE,
    SIM_IDENTITY,
    SIM_ACCOUNT,
    SIM_KINDS
};
enum {
    SHAPE_BLOCK = 1000,
    SHAPE_LIKES = 690,
    SHAPE_POSTS = 111,
    SHAPE_REPOSTS = 98,
    SHAPE_FOLLOWS = 39,
    SHAPE_DELETES = 26
};
extern const unsigned shape_count[SIM_KINDS]; /* events of each kind in a block */

/* The first likes and posts of a block (by number within the block) belong to accounts that signed up shortly before
 * and may soon be gone; nothing else is created, changed or deleted in their name. */
enum { SHAPE_NEWCOMER_RECORDS = 6, SHAPE_NEWCOMERS = 3 };

struct shape_block {
    uint64_t number; /* UINT64_MAX: empty */
    uint8_t kind[SHAPE_BLOCK];
    uint16_t within[SHAPE_BLOCK];   /* number within the block and kind */
    uint16_t position[SHAPE_BLOCK]; /* of kind k's n-th event: position[first[k] + n] */
};

enum { SHAPE_CACHED = 2048, SHAPE_WINDOWS = 144 }; /* windows of ten minutes in a day */
struct shape {
    uint64_t seed;
    int64_t start_us;
    double step_us;                 /* mean distance of two events */
    double warp[SHAPE_WINDOWS + 1]; /* where each window of even time begins in diurnal time */
    struct shape_block *blocks;     /* direct mapped by number */
};
void shape_init(struct shape *h, uint64_t seed, int64_t start_us, double rate);
void shape_release(struct shape *h);
int64_t shape_time(const struct shape *h, uint64_t i);
const struct shape_block *shape_block(struct shape *h, uint64_t number);

struct shape_place { /* what event i is */
    enum sim_kind kind;
    uint64_t number; /* within its kind, from 0 */
    uint64_t block;
    unsigned within; /* number within the block and kind */
};
struct shape_place shape_of_event(struct shape *h, uint64_t i);
uint64_t shape_event_of(struct shape *h, enum sim_kind kind, uint64_t number);
/* Events of `kind` before event i. */
uint64_t shape_before(struct shape *h, enum sim_kind kind, uint64_t i);

/* What the `within`-th delete of a block names; false in the first blocks, where nothing is old enough. */
bool shape_delete_target(const struct shape *h, uint64_t block, unsigned within, enum sim_kind *kind, uint64_t *number);
/* Has the record been deleted when event i happens? */
bool shape_deleted_before(struct shape *h, enum sim_kind kind, uint64_t number, uint64_t i);

/* ---- hashing ---- */

enum sim_salt {
    SALT_DID = 1,
    SALT_PERSON,
    SALT_SHUFFLE,
    SALT_EVENT,
    SALT_JITTER,
    SALT_BURST,
    SALT_DELETE,
    SALT_RKEY,
    SALT_RANK
};
static inline uint64_t sim_hash(uint64_t seed, enum sim_salt salt, uint64_t x) {
    return bl_mix64(bl_mix64(seed + (uint64_t)salt * BL_GOLDEN) + x * BL_GOLDEN);
}

/* ---- people ---- */

enum { PEOPLE_DID_LEN = 24, PEOPLE_HANDLE_MAX = 64, PEOPLE_KEY_LEN = 13 };
#define PEOPLE_OLD ((uint64_t)(1 << 21) - 256) /* accounts that exist from the start; newcomers follow */
void people_did(uint64_t seed, uint64_t account, char out[static PEOPLE_DID_LEN]); /* without "did:plc:" */
size_t people_handle(uint64_t seed, uint64_t account, char out[static PEOPLE_HANDLE_MAX]);
/* Zipf-Mandelbrot: P(rank r) ~ 1/(r+2^flat), flat 8 for authors, less where fame matters more. */
uint64_t people_pick(struct bl_rng *r, unsigned flat);
static inline uint64_t people_newcomer(uint64_t block, unsigned n) {
    return PEOPLE_OLD + block * SHAPE_NEWCOMERS + n;
}
int64_t people_rev_us(uint64_t seed, uint64_t account, int64_t time_us); /* strictly increasing in time_us */
void people_rev(uint64_t seed, uint64_t account, int64_t time_us, char out[static PEOPLE_KEY_LEN]);
void people_rkey(uint64_t seed, uint64_t account, int64_t time_us, char out[static PEOPLE_KEY_LEN]);

/* ---- words ---- */

enum words_lang {
    LANG_EN,
    LANG_JA,
    LANG_PT,
    LANG_DE,
    LANG_ES,
    LANG_KO,
    LANG_FR,
    LANG_AR,
    LANG_RU,
    LANG_TH,
    LANG_EMOJI,
    LANG_COUNT
};
enum words_slot { WORDS_OPENING, WORDS_FIRST, WORDS_SECOND, WORDS_THIRD, WORDS_LAST, WORDS_TAG, WORDS_SLOTS };
struct words_list {
    const struct bl_str *items;
    unsigned count;
};
struct words {
    const char *tag; /* BCP 47 */
    struct bl_str gap, stop;
    struct words_list slot[WORDS_SLOTS]; /* a sentence is [opening] first second third [last] */
};
extern const struct words words_of[LANG_COUNT];
extern const struct words_list words_names, words_domains, words_alts, words_slugs;
static inline struct bl_str words_pick(struct bl_rng *r, const struct words_list *l) {
    return l->items[bl_rng_below(r, l->count)];
}

/* ---- text ---- */

enum text_feature { TEXT_MENTION, TEXT_LINK, TEXT_TAG };
struct text_facet {
    enum text_feature feature;
    unsigned start, end; /* bytes in the text */
    uint64_t account;    /* TEXT_MENTION */
};
enum { TEXT_FACETS_MAX = 6, TEXT_GRAPHEMES_MAX = 300, TEXT_URL_MAX = 200 };
struct text {
    char bytes[TEXT_GRAPHEMES_MAX * 4 + 64];
    unsigned n, points;
    struct text_facet facet[TEXT_FACETS_MAX];
    unsigned facets;
    char url[TEXT_URL_MAX]; /* what TEXT_LINK facets point to */
    unsigned url_n;
};
struct text_wish {
    enum words_lang lang;
    unsigned points; /* about this many code points */
    unsigned tags;
    bool link;
    uint64_t mention; /* UINT64_MAX: none */
};
void text_compose(struct text *t, uint64_t seed, const struct text_wish *w, struct bl_rng *r);
void text_sentences(struct text *t, enum words_lang lang, unsigned points, struct bl_rng *r); /* appends prose only */
unsigned text_url(struct bl_rng *r, char out[static TEXT_URL_MAX]);

/* ---- refs ---- */

struct ref {          /* a record as others refer to it */
    uint64_t key;     /* number within its kind, plus 1; 0: empty */
    uint64_t account; /* author */
    uint64_t link;    /* post: number of its thread's first post; repost: number of the post reposted */
    char did[PEOPLE_DID_LEN];
    char rkey[PEOPLE_KEY_LEN];
    char cid[CID_TEXT_LEN];
};
enum {
    REFS_POSTS = 1 << 17,
    REFS_REPOSTS = 1 << 15
}; /* entries; above the reach of refs_recent_* for a sequential reader */

struct sim {
    struct shape shape;
    uint64_t seed, batch;
    struct ref *posts, *reposts;
    struct bl_buf record, scratch; /* record under construction; CBOR */
    struct text text;
    int64_t day; /* whose date stands in day_text */
    char day_text[10];
};
struct ref refs_post(struct sim *s, uint64_t number);
struct ref refs_repost(struct sim *s, uint64_t number);
/* A post (repost) that exists when event i happens, likely a recent and popular one; UINT64_MAX when there is none. */
uint64_t refs_recent_post(struct sim *s, uint64_t i, struct bl_rng *r);
uint64_t refs_recent_repost(struct sim *s, uint64_t i, struct bl_rng *r);

/* ---- records ---- */

struct made { /* a commit; its record stands in sim.record */
    const char *collection, *operation;
    struct ref self;
    bool has_record;
};
struct made records_make(struct sim *s, uint64_t i, struct shape_place place);
void records_write_time(struct sim *s, struct bl_buf *b, int64_t us, int digits); /* RFC 3339, 0, 3 or 6 digits, Z */
struct bl_rng records_rng(const struct sim *s, uint64_t i); /* every choice of event i comes from here */
