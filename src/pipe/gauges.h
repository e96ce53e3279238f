/* gauges: what the writer's page shows of the lake: its files, and the ledger's missing events.
 *
 * May include: base, conf, obs, lake. Reads the catalogue; one that cannot be read leaves the values as they were. */
#pragma once
#include "conf/conf.h"
#include "lake/lake.h"

void gauges_of_files(struct lake *lake, const struct conf *conf);
void gauges_of_ledger(struct lake *lake);
