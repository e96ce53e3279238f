#include "base/near.h"

enum { WORD_MAX = 64 };

/* Levenshtein distance, one row at a time. */
static unsigned distance(struct bl_str a, struct bl_str b) {
    unsigned row[WORD_MAX + 1];
    if (a.n > WORD_MAX || b.n > WORD_MAX) return WORD_MAX;
    for (unsigned j = 0; j <= b.n; j++) row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned above = row[j];
            unsigned change = diagonal + (a.p[i - 1] != b.p[j - 1]);
            unsigned least = above + 1 < row[j - 1] + 1 ? above + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
            diagonal = above;
        }
    }
    return row[b.n];
}

const char *bl_nearest(struct bl_str word, const char *(*at)(size_t i, const void *context), const void *context) {
    const char *best = NULL;
    unsigned best_distance = 4;
    for (size_t i = 0;; i++) {
        const char *candidate = at(i, context);
        if (!candidate) return best;
        unsigned d = distance(word, bl_str(candidate));
        size_t longer = word.n > strlen(candidate) ? word.n : strlen(candidate);
        if (d < best_distance && d <= (longer + 2) / 3) {
            best = candidate;
            best_distance = d;
        }
    }
}
