/* bench_sim: events a second of the generator, one thread. */
#include <inttypes.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "sim/sim.h"

enum { ROUNDS = 5, EVENTS = 1000000 };

int main(void) {
    double rate[ROUNDS];
    uint64_t bytes = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct sim *s = sim_new(&(struct sim_options){.seed = 1});
        BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
        int64_t from = bl_mono_ns();
        bytes = 0;
        for (uint64_t i = 0; i < EVENTS; i++) {
            bl_buf_clear(&out);
            sim_event(s, i, &out);
            bytes += out.n;
        }
        rate[round] = EVENTS / ((double)(bl_mono_ns() - from) / 1e9);
        sim_free(&s);
    }
    bench_result("sim", rate, ROUNDS);
    printf("sim_event: %.0f events/s (median of %d rounds of %d; %.0f to %.0f), %.1f bytes an event\n",
           rate[ROUNDS / 2], ROUNDS, EVENTS, rate[0], rate[ROUNDS - 1], (double)bytes / EVENTS);
    return 0;
}
