/* text: post texts. Length is counted in code points, never more than the 300 graphemes a post may have. */
#include "sim/network.h"

static unsigned points_of(struct bl_str s) {
    unsigned n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static bool append(struct text *t, struct bl_str s) {
    unsigned points = points_of(s);
    if (t->points + points > TEXT_GRAPHEMES_MAX || t->n + s.n > sizeof t->bytes) return false;
    memcpy(t->bytes + t->n, s.p, s.n);
    t->n += (unsigned)s.n;
    t->points += points;
    return true;
}

static bool part(struct text *t, const struct words *w, enum words_slot slot, struct bl_rng *r) {
    struct bl_str phrase = words_pick(r, &w->slot[slot]);
    bool glued = !t->n || t->bytes[t->n - 1] == ' ' || t->bytes[t->n - 1] == '\n';
    return (glued || append(t, w->gap)) && append(t, phrase);
}

static bool sentence(struct text *t, const struct words *w, bool first, bool brief, struct bl_rng *r) {
    uint64_t choice = bl_rng_u64(r);
    if (!first && !append(t, w->stop)) return false;
    if (choice & 1 && !(append(t, words_pick(r, &w->slot[WORDS_OPENING])) && append(t, w->gap))) return false;
    if (!part(t, w, WORDS_FIRST, r)) return false;
    if (brief) return true;
    if (!part(t, w, WORDS_SECOND, r) || !part(t, w, WORDS_THIRD, r)) return false;
    return !(choice & 2) || part(t, w, WORDS_LAST, r);
}

void text_sentences(struct text *t, enum words_lang lang, unsigned points, struct bl_rng *r) {
    unsigned from = t->points, goal = from + points;
    bool brief = points < 12; /* the shortest posts are a word or two */
    for (bool first = true; first || (t->points < goal && !brief); first = false) {
        unsigned n = t->n, had = t->points;
        if (sentence(t, &words_of[lang], first, brief, r)) continue;
        t->n = n; /* what does not fit as a whole is left out */
        t->points = had;
        return;
    }
}

unsigned text_url(struct bl_rng *r, char out[static TEXT_URL_MAX]) {
    struct bl_buf b = {.p = out, .cap = TEXT_URL_MAX, .max = TEXT_URL_MAX};
    bl_buf_z(&b, "https://");
    bl_buf_str(&b, words_pick(r, &words_domains));
    bl_buf_z(&b, "/2026/");
    bl_buf_str(&b, words_pick(r, &words_slugs));
    bl_buf_byte(&b, '-');
    bl_buf_u64(&b, bl_rng_below(r, 1000000));
    if (bl_rng_below(r, 3) == 0) {
        bl_buf_z(&b, "?utm_source=feed&id=");
        bl_buf_u64(&b, bl_rng_below(r, 100000));
    }
    return (unsigned)b.n;
}

/* Appends `s` as something a facet covers; leaves no facet when it does not fit. */
static void append_facet(struct text *t, enum text_feature feature, struct bl_str s, uint64_t account) {
    unsigned start = t->n;
    if (t->facets == TEXT_FACETS_MAX || !append(t, s)) return;
    t->facet[t->facets++] = (struct text_facet){feature, start, t->n, account};
}

/* Clients show "domain/path..." without the scheme, cut short. */
static void append_link(struct text *t, struct bl_rng *r) {
    t->url_n = text_url(r, t->url);
    struct bl_str shown = bl_str_skip(bl_strn(t->url, t->url_n), sizeof "https://" - 1);
    char cut[40];
    if (shown.n > 30) {
        memcpy(cut, shown.p, 27);
        memcpy(cut + 27, "...", 3);
        shown = bl_strn(cut, 30);
    }
    append(t, BL_LIT(" "));
    append_facet(t, TEXT_LINK, shown, 0);
}

static void append_tag(struct text *t, enum words_lang lang, struct bl_rng *r) {
    char tag[80] = "#";
    struct bl_str word = words_pick(r, &words_of[lang].slot[WORDS_TAG]);
    memcpy(tag + 1, word.p, word.n);
    append(t, BL_LIT(" "));
    append_facet(t, TEXT_TAG, bl_strn(tag, word.n + 1), 0);
}

static void append_mention(struct text *t, uint64_t seed, uint64_t account) {
    char at[PEOPLE_HANDLE_MAX + 1] = "@";
    size_t n = people_handle(seed, account, at + 1);
    append_facet(t, TEXT_MENTION, bl_strn(at, n + 1), account);
    append(t, BL_LIT(" "));
}

void text_compose(struct text *t, uint64_t seed, const struct text_wish *w, struct bl_rng *r) {
    t->n = t->points = t->facets = t->url_n = 0;
    if (w->mention != UINT64_MAX) append_mention(t, seed, w->mention);
    unsigned reserve = (w->link ? 32 : 0) + w->tags * 15;
    unsigned room = TEXT_GRAPHEMES_MAX - t->points - reserve;
    text_sentences(t, w->lang, w->points < room ? w->points : room, r);
    if (w->link) append_link(t, r);
    for (unsigned n = 0; n < w->tags; n++) append_tag(t, w->lang, r);
}
