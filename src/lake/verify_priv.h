/* verify_priv: what the parts of verify share. */
#pragma once
#include "lake/verify.h"

/* Findings of one kind beyond the first few are counted, not told one by one. */
enum { FINDINGS_TOLD = 20, FINDING_KINDS = 24 };
struct findings {
    verify_report_fn report;
    void *context;
    struct {
        const char *check;
        int64_t count;
    } kinds[FINDING_KINDS];
};
void findings_add(struct findings *f, const char *check, const char *format, ...) __attribute__((format(printf, 3, 4)));
void findings_end(struct findings *f);

/* The lake at one moment: the files by type, hour and path. */
struct lake_view {
    const char *dir;
    struct catalog *catalog;
    struct catalog_file *files;
    size_t count;
    struct catalog_ledger ledger[EV_TYPE_COUNT];
    struct catalog_counts counts;
    struct duck *duck;
};
enum bl_rc lake_view_open(struct lake_view *v, const char *lake_dir, struct bl_error *err);
void lake_view_close(struct lake_view *v);
void lake_view_totals(const struct lake_view *v, struct verify_result *out);
/* A listed file that cannot be read may have been replaced by a compaction meanwhile: then BL_E_BUSY. */
enum bl_rc lake_view_still_lists(struct lake_view *v, const struct catalog_file *f, struct bl_error *err);

/* "likes did:plc:x/3k... rev create at 2026-...": names a row in a finding. */
void describe_row(const struct event *ev, struct bl_buf *out);

/* A hash of the value a JSON text stands for: two texts that are js_equal have the same one (but for spellings of lone
 * surrogates). The text must be valid. */
struct value_hasher {
    struct bl_buf text;
    struct value_member *members;
    size_t count, capacity;
};
uint64_t value_hash(struct value_hasher *h, struct bl_str json);
void value_hasher_release(struct value_hasher *h);
