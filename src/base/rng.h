/* rng: random numbers that can be replayed.
 *
 * bl_mix64 is a pure function of its input (SplitMix64's finaliser, Steele, Lea & Flood, OOPSLA 2014): the i-th number
 * of a sequence is bl_mix64(seed + i * BL_GOLDEN), computable without its predecessors. struct bl_rng walks that
 * sequence. Not for secrets; bl_random_u64 asks the kernel for an unpredictable number. */
#pragma once
#include <stdint.h>

#define BL_GOLDEN 0x9e3779b97f4a7c15u

static inline uint64_t bl_mix64(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct bl_rng {
    uint64_t state;
};
static inline uint64_t bl_rng_u64(struct bl_rng *r) { return bl_mix64(r->state += BL_GOLDEN); }
/* Uniform in [0,n) for n > 0; the bias of the multiply-shift method is below n / 2^64. */
static inline uint64_t bl_rng_below(struct bl_rng *r, uint64_t n) {
    return (uint64_t)(((unsigned __int128)bl_rng_u64(r) * n) >> 64);
}
static inline double bl_rng_unit(struct bl_rng *r) { return (double)(bl_rng_u64(r) >> 11) * 0x1p-53; } /* [0,1) */

uint64_t bl_random_u64(void);
