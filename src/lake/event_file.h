/* event_file: events of one type as rows of one Parquet file, wherever it lies. Columns as in docs/SCHEMA.md, in their
 * order; the footer names schema version, type and program (docs/FORMATS.md).
 *
 * May include: base, event, lake/parquet.h. Memory, threads and errors are those of the Parquet writer: one thread a
 * writer, BL_E_IO. The caller owns `fd`, which may be a pipe, and closes the writer with pq_close. */
#pragma once
#include "event/event.h"
#include "lake/parquet.h"

struct pq_writer *event_file_open(int fd, enum ev_type type, const struct pq_options *o);
enum bl_rc event_file_append(struct pq_writer *w, const struct event *ev, struct bl_error *err);
enum bl_rc event_file_finish(struct pq_writer *w, enum ev_type type, struct pq_summary *out, struct bl_error *err);
