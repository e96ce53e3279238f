/* people: accounts as functions of their number. */
#include "sim/network.h"

#include "event/syntax.h"

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

void people_did(uint64_t seed, uint64_t account, char out[static PEOPLE_DID_LEN]) {
    uint64_t high = sim_hash(seed, SALT_DID, account * 2), low = sim_hash(seed, SALT_DID, account * 2 + 1);
    for (int c = 0; c < 12; c++, high >>= 5) out[c] = base32[high & 31];
    for (int c = 12; c < PEOPLE_DID_LEN; c++, low >>= 5) out[c] = base32[low & 31];
}

static size_t put(char *out, size_t at, struct bl_str s) {
    memcpy(out + at, s.p, s.n);
    return at + s.n;
}

size_t people_handle(uint64_t seed, uint64_t account, char out[static PEOPLE_HANDLE_MAX]) {
    struct bl_rng r = {sim_hash(seed, SALT_PERSON, account)};
    size_t n = put(out, 0, words_pick(&r, &words_names));
    if (bl_rng_below(&r, 3)) n = put(out, n, words_pick(&r, &words_names));
    uint64_t style = bl_rng_below(&r, 10);
    /* The account's number makes the handle its own. */
    uint64_t number = account;
    char digits[20];
    size_t d = sizeof digits;
    do digits[--d] = (char)('0' + number % 10);
    while (number /= 10);
    if (style == 0) out[n++] = '-';
    n = put(out, n, bl_strn(digits + d, sizeof digits - d));
    if (style > 1) return put(out, n, BL_LIT(".bsky.social"));
    out[n++] = '.';
    return put(out, n, words_pick(&r, &words_domains));
}

uint64_t people_pick(struct bl_rng *r, unsigned flat) {
    unsigned octave = flat + (unsigned)bl_rng_below(r, 21 - flat);
    uint64_t v = ((uint64_t)1 << octave) + (bl_rng_u64(r) >> (64 - octave));
    uint64_t rank = v - ((uint64_t)1 << flat);
    return rank < PEOPLE_OLD ? rank : rank - PEOPLE_OLD;
}

/* An account's host is a constant 30 to 350 ms away and keeps one clock id, as the hosts of the real network do. */
int64_t people_rev_us(uint64_t seed, uint64_t account, int64_t time_us) {
    return time_us - 30000 - (int64_t)(sim_hash(seed, SALT_PERSON, account) % 320000);
}

static unsigned clock_of(uint64_t seed, uint64_t account) { return (unsigned)(sim_hash(seed, SALT_PERSON, account) >> 59); }

void people_rev(uint64_t seed, uint64_t account, int64_t time_us, char out[static PEOPLE_KEY_LEN]) {
    at_tid_of(people_rev_us(seed, account, time_us), clock_of(seed, account), out);
}

/* Some whole milliseconds before the rev. Distinct times give distinct keys: within each window of 32 ms the milliseconds
 * are permuted by XOR. */
void people_rkey(uint64_t seed, uint64_t account, int64_t time_us, char out[static PEOPLE_KEY_LEN]) {
    int64_t us = people_rev_us(seed, account, time_us), window = us / 32000, inside = us % 32000;
    int64_t flip = (int64_t)(sim_hash(seed, SALT_RKEY, account ^ (uint64_t)window << 24) & 31);
    int64_t ms = (inside / 1000) ^ flip;
    at_tid_of((window - 1) * 32000 + ms * 1000 + inside % 1000, clock_of(seed, account), out);
}
