/* peer: what ingest and the writer say about themselves on their own addresses. May include: base, net.
 * Loopback, so a second is long: who does not answer by then is taken to be absent. Blocks the caller. */
#pragma once
#include "base/mem.h"

/* GET http://`listen``path`: the body of a 200 or 503 answer, appended. False when there is none. */
bool peer_get(const char *listen, const char *path, struct bl_buf *out);
/* The sum of a metric over its labels in a Prometheus text; `otherwise` when it is not there. */
double peer_metric(struct bl_str text, const char *name, double otherwise);
