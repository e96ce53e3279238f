#include "lake/holes.h"

#include <inttypes.h>

static bool parse_hole(struct bl_str text, struct hole *out) {
    struct bl_str from = bl_str_cut(&text, ':'), to = bl_str_cut(&text, ':');
    return bl_parse_i64(from, 0, INT64_MAX, &out->from_us) && bl_parse_i64(to, 0, INT64_MAX, &out->to_us) &&
           bl_parse_i64(text, 1, INT64_MAX, &out->events);
}

void holes_parse(struct holes *h, struct bl_str text) {
    *h = (struct holes){0};
    if (!bl_parse_i64(bl_str_cut(&text, ' '), 0, INT64_MAX, &h->newest_us)) h->newest_us = 0;
    while (text.n && h->count < HOLES_MAX)
        if (parse_hole(bl_str_cut(&text, ' '), &h->list[h->count])) h->count++;
}

void holes_print(const struct holes *h, struct bl_buf *out) {
    bl_buf_i64(out, h->newest_us);
    for (size_t i = 0; i < h->count; i++)
        bl_buf_printf(out, " %" PRId64 ":%" PRId64 ":%" PRId64, h->list[i].from_us, h->list[i].to_us,
                      h->list[i].events);
}

void holes_add(struct holes *h, int64_t first_us, int64_t events) {
    if (h->count == HOLES_MAX) {
        struct hole *last = &h->list[HOLES_MAX - 1];
        if (first_us > last->to_us) last->to_us = first_us;
        last->events += events;
        return;
    }
    h->list[h->count++] = (struct hole){h->newest_us, first_us, events};
}

static void drop_filled(struct holes *h) {
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->list[i].events > 0) h->list[kept++] = h->list[i];
    h->count = kept;
}

void holes_fill(struct holes *h, int64_t first_us, int64_t events) {
    for (size_t i = 0; i < h->count && events > 0; i++) {
        struct hole *hole = &h->list[i];
        if (first_us < hole->from_us || first_us > hole->to_us) continue;
        int64_t taken = events < hole->events ? events : hole->events;
        hole->events -= taken;
        events -= taken;
    }
    drop_filled(h);
}

static bool comes_again(const struct hole *hole, int64_t first_us) {
    return hole->from_us ? first_us <= hole->from_us : first_us < hole->to_us;
}

int64_t holes_anew(struct holes *h, int64_t first_us) {
    int64_t again = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (!comes_again(&h->list[i], first_us)) continue;
        again += h->list[i].events;
        h->list[i].events = 0;
    }
    drop_filled(h);
    return again;
}
