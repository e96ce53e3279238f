#include "pipe/intake.h"

#include <inttypes.h>

struct tally {
    int64_t received, written, duplicates, dead;
};

static void note_dead(struct lake *lake, const struct intake_source *from, size_t number, enum ev_type type,
                      const char *reason, const char *detail, struct bl_str line) {
    char origin[384];
    snprintf(origin, sizeof origin, "%s line %zu", from->origin, number);
    lake_note_dead(lake, &(struct catalog_dead){.type = type,
                                                .reason = reason,
                                                .detail = detail,
                                                .origin = origin,
                                                .received_us = from->received_us,
                                                .message = line});
}

static void note_ledger(struct lake *lake, const struct intake_source *from, enum ev_type type, const struct tally *t) {
    lake_note_intake(lake, &(struct catalog_intake){.type = type,
                                                    .incarnation = from->incarnation,
                                                    .seq = from->seq,
                                                    .offset = from->offset,
                                                    .first_us = from->first_us,
                                                    .last_us = from->last_us,
                                                    .received = t->received,
                                                    .written = t->written,
                                                    .duplicates = t->duplicates,
                                                    .dead = t->dead});
}

static enum bl_rc append_event(struct lake *lake, const struct chunk *chunk, size_t i, struct tally *t,
                               struct bl_error *err) {
    enum lake_outcome outcome;
    BL_TRY(lake_append(lake, chunk->events[i], chunk->ids[i], chunk->line_bytes[i], &outcome, err));
    t->received++;
    outcome == LAKE_WRITTEN ? t->written++ : t->duplicates++;
    return BL_OK;
}

static void add_counts(struct intake_counts *counts, enum ev_type type, const struct tally *t) {
    counts->received[type] += t->received;
    counts->written[type] += t->written;
    counts->duplicates[type] += t->duplicates;
    counts->dead += t->dead;
}

enum bl_rc intake_chunk(struct lake *lake, const struct chunk *chunk, const struct intake_source *from,
                        struct intake_counts *counts, struct bl_error *err) {
    bool mixed = from->type == EV_TYPE_COUNT;
    struct tally tallies[EV_TYPE_COUNT] = {0};
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < chunk->count && rc == BL_OK; i++) {
        enum { AHEAD = 8 }; /* events were decoded on another core: they are fetched first, then what they lead to */
        if (i + 2 * AHEAD < chunk->count) __builtin_prefetch(chunk->events[i + 2 * AHEAD]);
        if (i + AHEAD < chunk->count) lake_expect(lake, chunk->events[i + AHEAD], chunk->ids[i + AHEAD]);
        rc = append_event(lake, chunk, i, &tallies[mixed ? chunk->events[i]->type : from->type], err);
    }
    if (rc != BL_OK && !mixed) return rc; /* half a block is never committed */
    /* Lines of a file that are no event belong to no type; the ledger keeps them with the catch-all. */
    struct tally *dead_tally = &tallies[mixed ? EV_others : from->type];
    for (size_t i = 0; i < chunk->dead_count && rc == BL_OK; i++) {
        const struct dead_line *dead = &chunk->dead[i];
        note_dead(lake, from, i + 1, from->type, ev_reason_name(dead->reason), dead->detail, dead->line);
        dead_tally->received++;
        dead_tally->dead++;
    }
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        if (!tallies[t].received && (mixed || t != from->type)) continue;
        note_ledger(lake, from, (enum ev_type)t, &tallies[t]);
        add_counts(counts, (enum ev_type)t, &tallies[t]);
    }
    if (rc != BL_OK) return rc;
    counts->cids_verified += (int64_t)chunk->cids_verified;
    counts->cids_kept += (int64_t)chunk->cids_kept;
    return BL_OK;
}

void intake_repeated(struct lake *lake, enum ev_type type, const struct block *b) {
    lake_note_intake(lake, &(struct catalog_intake){.type = type,
                                                    .incarnation = b->incarnation,
                                                    .seq = b->seq,
                                                    .offset = b->offset,
                                                    .first_us = b->first_us,
                                                    .last_us = b->last_us,
                                                    .received = b->count,
                                                    .duplicates = b->count,
                                                    .repeated = true});
}

bool intake_is_full(const struct lake *lake, int64_t memory_bytes) {
    enum { FILES_MAX = 256 };
    return lake_pending_bytes(lake) >= memory_bytes || lake_pending_files(lake) >= FILES_MAX;
}
