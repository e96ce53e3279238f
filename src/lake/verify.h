/* verify: does the lake hold what it says, and is it what was sent?
 *
 * May include: base, event, lake. Read-only; safe beside a running writer (it pins the catalogue's snapshot at the
 * start). Each finding is handed to `report`; the result counts them. */
#pragma once
#include "lake/catalog.h"

struct verify_result {
    int64_t files, rows, bytes;
    int64_t problems; /* structure, counts, checksums, schema, misplaced rows, ledger */
    int64_t compared, missing, twice, different, unexpected;
};
typedef void (*verify_report_fn)(void *context, const char *check, const char *finding);

/* Structure: every catalogued file exists with its size and checksum, opens as Parquet with the catalogue's row count
 * and schema version; every row lies in its hour's folder and in the file's stated time range; no stray file in the
 * lake (older than ten minutes: a younger one may be a commit in progress); no identity twice, however far apart in
 * time (counted in `twice` and `problems`; 24 B a row of temporary disk space); the ledger adds up (received = written
 * + duplicates + dead; offsets without holes; rows in files = written - purged); and no dead letter is gone that was
 * neither dropped nor replayed. */
enum bl_rc lake_verify(const char *lake_dir, verify_report_fn report, void *context, struct verify_result *out,
                       struct bl_error *err);

/* Compare event by event with a list of expected events: each expected one is in the lake exactly once, equal value for
 * value (ev_encode + js_equal), and the lake holds nothing else. `next` yields the expected messages, in any order;
 * *end set at the end. The expected set is walked in chunks so that memory stays bounded. A message that is no event is
 * expected among the dead letters. Both fail with BL_E_BUSY when a compaction swept a file away meanwhile. */
typedef enum bl_rc (*verify_next_fn)(void *context, struct bl_str *message, bool *end, struct bl_error *err);
enum bl_rc lake_verify_against(const char *lake_dir, verify_next_fn next, void *next_context, verify_report_fn report,
                               void *context, struct verify_result *out, struct bl_error *err);
