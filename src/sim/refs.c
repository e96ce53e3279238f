/* refs: references to earlier records. A reader that goes through the stream in order finds every post and repost it needs
 * in the cache; a reader that jumps computes them again, with the chain of posts they refer to in turn. */
#include "sim/network.h"

/* Blocks back: an equal share for the current block, the one before, 2-3, 4-7 and so on. */
static uint64_t recent_block(uint64_t block, unsigned octaves, struct bl_rng *r) {
    unsigned octave = (unsigned)bl_rng_below(r, octaves);
    uint64_t back = octave ? ((uint64_t)1 << (octave - 1)) + bl_rng_below(r, (uint64_t)1 << (octave - 1)) : 0;
    return back <= block ? block - back : bl_rng_below(r, block + 1);
}

/* Rank within a block: P(rank) ~ 1 / (rank + 4), the block's hits and its long tail. */
static unsigned popular(unsigned count, struct bl_rng *r) {
    unsigned octave = 2 + (unsigned)bl_rng_below(r, 5);
    unsigned rank = (1u << octave) + (unsigned)bl_rng_below(r, 1u << octave) - 4;
    return rank % count;
}

static uint64_t recent(struct sim *s, enum sim_kind kind, unsigned octaves, uint64_t i, struct bl_rng *r) {
    uint64_t now = i / SHAPE_BLOCK, block = recent_block(now, octaves, r), count = shape_count[kind];
    uint64_t existing = shape_before(&s->shape, kind, i);
    if (!existing) return UINT64_MAX;
    unsigned rank = popular((unsigned)count, r);
    uint64_t mixed = (rank * 53 /* prime to either count */ + sim_hash(s->seed, SALT_RANK, block)) % count;
    uint64_t number = block * count + mixed;
    /* In the current block, and past a deleted record or an account that may be gone, take an earlier one. */
    if (number >= existing) number = existing - 1 - rank % (existing < count ? existing : count);
    for (uint64_t tries = 0; tries < count; tries++, number = number ? number - 1 : existing - 1) {
        bool newcomer = kind == SIM_POST && number % count < SHAPE_NEWCOMER_RECORDS && now - number / count > 4;
        if (!newcomer && !shape_deleted_before(&s->shape, kind, number, i)) return number;
    }
    return UINT64_MAX;
}

uint64_t refs_recent_post(struct sim *s, uint64_t i, struct bl_rng *r) { return recent(s, SIM_POST, 11, i, r); }
uint64_t refs_recent_repost(struct sim *s, uint64_t i, struct bl_rng *r) { return recent(s, SIM_REPOST, 8, i, r); }

static struct ref find(struct sim *s, struct ref *slot, enum sim_kind kind, uint64_t number) {
    if (slot->key == number + 1) return *slot;
    uint64_t i = shape_event_of(&s->shape, kind, number);
    return records_make(s, i, shape_of_event(&s->shape, i)).self; /* fills the cache as well */
}

struct ref refs_post(struct sim *s, uint64_t number) { return find(s, &s->posts[number % REFS_POSTS], SIM_POST, number); }

struct ref refs_repost(struct sim *s, uint64_t number) {
    return find(s, &s->reposts[number % REFS_REPOSTS], SIM_REPOST, number);
}
