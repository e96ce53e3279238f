/* replay: dead letters that are events now (a newer bluelake may understand what an older one refused) go into the
 * lake.
 *
 * May include: base, conf, event, lake, pipe. Event and removal of the letter are one transaction; an event the lake
 * holds already only loses its letter; a letter that still is no event stays as it is. The writer must not run
 * meanwhile (the lake's lock tells). */
#pragma once
#include "conf/conf.h"
#include "pipe/intake.h"

struct replay_result {
    int64_t tried, revived, known, still_dead; /* known: of the revived, those the lake held already */
};
enum bl_rc replay_letters(const struct conf *conf, const int64_t *ids, size_t count, struct replay_result *out,
                          struct bl_error *err);
