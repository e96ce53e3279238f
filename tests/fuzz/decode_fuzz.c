/* fuzz_decode COUNT [SEED [FOLDER]]: the corpus in FOLDER as it stands, then mutated events, judged by bluelake and by
 * jansson, which must agree.
 *
 * Checked for each: both accept or both refuse the JSON; the columns hold what jansson reads; an accepted event,
 * decoded, verified and encoded, equals the original by json_equal and, digit for digit, by js_equal.
 *
 * jansson drops a NUL byte that stands behind a number; no JSON text holds one outside a string escape, so such a text
 * is expected to be refused without asking it. Where jansson knows less than RFC 8259, the copy of the text that it
 * gets is first brought to a form it takes, the same way for the original and for the rebuilt event:
 *
 *   lone surrogate escapes      refused by jansson; become \ufffd
 *   numbers beyond its range    refused by jansson; become 0 with blanks around
 *   \u0000 in a key             refused by jansson; all \u0000 become \u0001
 *
 * Its limit of depth is higher than bluelake's: too_deep is not compared. */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/rng.h"
#include "corpus.h"
#include "event/event.h"
#include "event/json.h"

static struct bl_arena arena;
static struct bl_buf scratch, rebuilt, copy;

static _Noreturn void differ(const char *what, struct bl_str message) {
    fprintf(stderr, "DIFFERENCE: %s\n%.*s\n", what, BL_ARG(message));
    if (rebuilt.n) fprintf(stderr, "rebuilt:\n%.*s\n", BL_ARG(bl_buf_view(&rebuilt)));
    abort();
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The 16 bits of a \uXXXX at `p`, or -1. */
static int unit_at(const char *p, const char *end) {
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    int value = 0;
    for (int i = 2; i < 6; i++) {
        if (hex(p[i]) < 0) return -1;
        value = value << 4 | hex(p[i]);
    }
    return value;
}

static bool patch_surrogates(char *p, char *end) {
    unsigned patched = 0;
    while (p < end) {
        if (*p != '\\') {
            p++;
            continue;
        }
        int unit = unit_at(p, end), next = unit >= 0 ? unit_at(p + 6, end) : -1;
        if (unit < 0) {
            p += 2;
        } else if (unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
            p += 12;
        } else {
            if (unit >= 0xd800 && unit < 0xe000) {
                memcpy(p + 2, "fffd", 4);
                patched = true;
            }
            p += 6;
        }
    }
    return patched;
}

static void patch_nul(char *p, char *end) {
    for (; p < end; p += *p == '\\' ? 2 : 1)
        if (unit_at(p, end) == 0) p[5] = '1';
}

static bool in_number(char c) {
    return memchr("+-.eE0123456789", c, 15) != NULL;
}

/* jansson's position is behind the number. Blanks stay at both ends, so that what stood next to it is not joined. */
static bool patch_number(struct bl_buf *text, int position) {
    size_t end = position > 0 && (size_t)position <= text->n ? (size_t)position : 0;
    while (end && !in_number(text->p[end - 1])) end--;
    size_t at = end;
    while (at && in_number(text->p[at - 1])) {
        at--;
        if (text->p[at] == '-' && (at == 0 || (text->p[at - 1] | 32) != 'e')) break;
    }
    if (end - at < 3) return false;
    memset(text->p + at, ' ', end - at);
    text->p[at + 1] = '0';
    return true;
}

enum patch { PATCHED_VALUE = 1, PATCHED_NUL = 2 };

static json_t *parse(struct bl_str message, unsigned *patched) {
    json_error_t error;
    if (message.n && memchr(message.p, 0, message.n)) return NULL;
    bl_buf_clear(&copy);
    bl_buf_str(&copy, message);
    if (patch_surrogates(copy.p, copy.p + copy.n)) *patched |= PATCHED_VALUE;
    for (;;) {
        json_t *value = json_loadb(copy.p ? copy.p : "", copy.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
        if (value) return value;
        enum json_error_code code = json_error_code(&error);
        if (code == json_error_numeric_overflow && patch_number(&copy, error.position)) {
            *patched |= PATCHED_VALUE;
        } else if (code == json_error_null_byte_in_key && memmem(copy.p, copy.n, "\\u0000", 6)) {
            patch_nul(copy.p, copy.p + copy.n);
            *patched |= PATCHED_NUL;
        } else {
            return NULL;
        }
    }
}

static bool same_text(const json_t *value, struct bl_str text) {
    return json_is_string(value) && bl_str_eq(text, bl_strn(json_string_value(value), json_string_length(value)));
}

static void check_text(const struct event *ev, unsigned column, const json_t *value, bool complete,
                       struct bl_str message) {
    if (ev_has(ev, column) ? !same_text(value, ev_str(ev, column)) : complete && json_is_string(value))
        differ(ev_schema(ev->type)->columns[column].name, message);
}

static void check_columns(const struct event *ev, const json_t *root, bool patched, struct bl_str message) {
    check_text(ev, EV_DID, json_object_get(root, "did"), true, message);
    if (json_integer_value(json_object_get(root, "time_us")) != ev->v[EV_TIME_US].i) differ("time_us", message);
    if (ev->type == EV_accounts) {
        const json_t *inner = json_object_get(root, json_string_value(json_object_get(root, "kind")));
        if (!json_is_integer(json_object_get(inner, "seq")) && !patched) differ("seq", message);
        if (json_integer_value(json_object_get(inner, "seq")) != ev->v[EV_accounts_seq].i) differ("seq", message);
        check_text(ev, EV_accounts_time, json_object_get(inner, "time"), !patched, message);
        return;
    }
    const json_t *commit = json_object_get(root, "commit"), *record = json_object_get(commit, "record");
    check_text(ev, EV_OPERATION, json_object_get(commit, "operation"), true, message);
    check_text(ev, EV_RKEY, json_object_get(commit, "rkey"), true, message);
    check_text(ev, EV_REV, json_object_get(commit, "rev"), true, message);
    if (!ev_has(ev, EV_CID_VERIFIED) || !ev->v[EV_CID_VERIFIED].i)
        check_text(ev, EV_CID, json_object_get(commit, "cid"), !patched, message);
    bool complete = !patched && !same_text(json_object_get(commit, "operation"), BL_LIT("delete"));
    if (ev->type == EV_posts) check_text(ev, EV_posts_text, json_object_get(record, "text"), complete, message);
    if (ev->type == EV_follows)
        check_text(ev, EV_follows_subject_did, json_object_get(record, "subject"), complete, message);
    if (ev->type == EV_others)
        check_text(ev, EV_others_collection, json_object_get(commit, "collection"), true, message);
    if (ev->type == EV_likes && ev_has(ev, EV_likes_subject_uri))
        check_text(ev, EV_likes_subject_uri, json_object_get(json_object_get(record, "subject"), "uri"), true, message);
    if (ev_has(ev, EV_CREATED_AT_TEXT) && ev->type != EV_others)
        check_text(ev, EV_CREATED_AT_TEXT, json_object_get(record, "createdAt"), true, message);
}

static void check_round_trip(struct event *ev, const json_t *root, struct bl_str message) {
    struct bl_error err = {0};
    unsigned patched = 0;
    ev_verify_cid(ev, &scratch);
    ev->record_json = (struct bl_str){0};
    bl_buf_clear(&rebuilt);
    if (ev_encode(ev, &rebuilt, &err) != BL_OK) differ(err.message, message);
    if (!js_equal(message, bl_buf_view(&rebuilt), NULL)) differ("js_equal", message);
    json_t *again = parse(bl_buf_view(&rebuilt), &patched);
    if (!again || !json_equal(root, again)) differ("json_equal", message);
    json_decref(again);
}

/* True when bluelake accepts the event. */
static bool check_one(struct bl_str message) {
    struct event ev, routed;
    enum ev_reason why, check_why;
    unsigned patched = 0;
    bl_buf_clear(&rebuilt);
    enum bl_rc rc = ev_decode(message, &arena, &ev, &why, NULL);
    if (ev_check(message, &arena, &routed, &check_why, NULL) != rc || why != check_why) differ("ev_check", message);
    if ((rc == BL_OK) != (why == EV_REASON_NONE)) differ("reason", message);
    if (why != EV_REASON_too_deep && why != EV_REASON_too_large) {
        json_t *root = parse(message, &patched);
        if (!root != (why == EV_REASON_json_syntax || why == EV_REASON_utf8)) differ(ev_reason_name(why), message);
        if (rc == BL_OK) {
            if (!(patched & PATCHED_NUL)) check_columns(&ev, root, patched != 0, message);
            check_round_trip(&ev, root, message);
        }
        json_decref(root);
    }
    bl_arena_reset(&arena);
    return rc == BL_OK;
}

#ifdef BL_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_one(bl_strn(data, size));
    return 0;
}
#else

struct corpus {
    struct bl_buf text;
    struct bl_str events[512];
    size_t count;
};

static void load(struct corpus *c, const char *path) {
    struct bl_error err = {0};
    if (bl_read_file(path, 16 << 20, &c->text, &err) != BL_OK) {
        fprintf(stderr, "fuzz_decode: %s\n", err.message);
        exit(1);
    }
}

static void split(struct corpus *c) {
    struct bl_str rest = bl_buf_view(&c->text);
    while (rest.n && c->count < sizeof c->events / sizeof *c->events) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        if (line.n) c->events[c->count++] = line;
    }
}

static size_t below(struct bl_rng *r, size_t n) {
    return n ? (size_t)bl_rng_below(r, n) : 0;
}

/* Replace `cut` bytes at `at` by `with`. */
static void splice(struct bl_buf *b, size_t at, size_t cut, struct bl_str with) {
    if (at > b->n) at = b->n;
    if (cut > b->n - at) cut = b->n - at;
    if (!bl_buf_reserve(b, with.n)) return;
    memmove(b->p + at + with.n, b->p + at + cut, b->n - at - cut);
    if (with.n) memcpy(b->p + at, with.p, with.n);
    b->n += with.n - cut;
}

static struct bl_str word(struct bl_rng *r) {
    static const char *const words[] = {
        "null",
        "true",
        "0",
        "-0",
        "1.0",
        "1e5",
        "1E+5",
        "1e999",
        "-1e999",
        "01",
        "123456789012345678901234567890",
        "9223372036854775808",
        "\"\"",
        "\"x\"",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\udE00\\ud83d\"",
        "\"\xf0\x9f\x98\x80\"",
        "[]",
        "{}",
        "[ ]",
        "[1, 2]",
        "{\"a\":[{}]}",
        "{\"uri\":\"u\",\"cid\":\"c\"}",
        "\\u0000",
        "\\ud800",
        "\\u0041",
        "\\n",
        "\\\\",
        "\\\"",
        "\\/",
        "\\",
        "\"",
        ",",
        ":",
        "}",
        "]",
        "{",
        "[",
        " ",
        "\n",
        "\t",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xed\xa0\x80",
        "\xff",
        "\x01",
        "\x7f",
        "\"did\":1,",
        "\"text\":\"again\",",
        "\"record\":{},",
        "\"$type\":null,",
        "\"\\u0064id\":\"did:web:a.example\",",
        "\"kind\":\"identity\",",
        "\"x\":[\"\\u0000\"],",
        "\"\\u0000\":1,",
        "\"subject\":{},",
        "delete",
        "create",
        "e",
        "-",
        ".",
        "\"createdAt\":\"2026-09-21T10:00:00Z\",",
        "\"langs\":[\"en\",null],",
        "\"cid\":\"\",",
        "\"commit\":",
        "\"operation\":\"delete\",",
    };
    return bl_str(words[below(r, sizeof words / sizeof *words)]);
}

/* The value behind a random colon, up to the next comma or closing bracket. */
static void replace_value(struct bl_buf *b, struct bl_rng *r) {
    size_t at = below(r, b->n);
    while (at < b->n && b->p[at] != ':') at++;
    size_t end = at + 1;
    while (end < b->n && !memchr(",}]", b->p[end], 3)) end++;
    if (end <= b->n) splice(b, at + 1, end - at - 1, word(r));
}

/* A word where a member may stand, so that whole members come in and repeat. */
static void insert_member(struct bl_buf *b, struct bl_rng *r) {
    size_t at = below(r, b->n);
    while (at < b->n && b->p[at] != '{' && b->p[at] != ',') at++;
    if (at < b->n) splice(b, at + 1, 0, word(r));
}

static void mutate(struct bl_buf *b, const struct corpus *c, struct bl_rng *r) {
    size_t at = below(r, b->n), n = below(r, 12);
    struct bl_str other = c->events[below(r, c->count)];
    char byte = (char)below(r, 256);
    switch (below(r, 11)) {
    case 0:
        if (b->n) b->p[at] = byte;
        break;
    case 1:
        if (b->n) b->p[at] = (char)(b->p[at] ^ (1 << below(r, 8)));
        break;
    case 2:
        splice(b, at, n, (struct bl_str){0});
        break;
    case 3:
        splice(b, at, 0, word(r));
        break;
    case 4:
        splice(b, at, n, word(r));
        break;
    case 5:
    case 6:
        replace_value(b, r);
        break;
    case 7:
    case 8:
        insert_member(b, r);
        break;
    case 9: {
        size_t from = below(r, other.n);
        splice(b, at, below(r, 40), bl_strn(other.p + from, below(r, other.n - from)));
        break;
    }
    default:
        if (below(r, 8) == 0) b->n = at;
        break;
    }
}

static void check_kept(void *context, struct bl_str input) {
    (void)context;
    check_one(input);
}

int main(int argc, char **argv) {
    int64_t count = 50000, seed = 1;
    if ((argc > 1 && !bl_parse_i64(bl_str(argv[1]), 0, INT64_MAX, &count)) ||
        (argc > 2 && !bl_parse_i64(bl_str(argv[2]), 0, INT64_MAX, &seed)) || argc > 4) {
        fprintf(stderr, "usage: fuzz_decode [COUNT [SEED [FOLDER]]]\n");
        return 2;
    }
    static struct corpus corpus;
    const char *real = BL_SHARED_DIR "/data/expected_v1.jsonl";
    load(&corpus, BL_REPO_DIR "/tests/fixtures/events.ndjson");
    if (access(real, R_OK) == 0) load(&corpus, real);
    split(&corpus);
    size_t kept = argc > 3 ? corpus_each(argv[3], check_kept, NULL) : 0;
    struct bl_buf text = {.max = 1 << 20};
    int64_t accepted = 0;
    for (int64_t i = 0; i < count; i++) {
        struct bl_rng r = {bl_mix64((uint64_t)seed * BL_GOLDEN) + (uint64_t)i * 977};
        bl_buf_clear(&text);
        bl_buf_str(&text, corpus.events[below(&r, corpus.count)]);
        for (size_t edits = 1 + below(&r, 3); edits; edits--) mutate(&text, &corpus, &r);
        char *exact = bl_xmalloc(text.n); /* AddressSanitizer sees a read past the end */
        if (text.n) memcpy(exact, text.p, text.n);
        accepted += check_one(bl_strn(exact, text.n));
        free(exact);
    }
    printf("%zu inputs of the corpus; %lld mutations, %lld accepted, %lld refused, 0 differences\n", kept,
           (long long)count, (long long)accepted, (long long)(count - accepted));
    bl_buf_release(&text);
    bl_buf_release(&corpus.text);
    bl_buf_release(&scratch);
    bl_buf_release(&rebuilt);
    bl_buf_release(&copy);
    bl_arena_release(&arena);
    return 0;
}
#endif
