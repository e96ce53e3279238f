/* audit: compare a running Redis with what the buffer needs (BUF-02..04, BUF-19), and say what each deviation costs.
 *
 * May include: base, buffer. One table of settings; `docs/BUFFER.md` is generated from it. */
#pragma once
#include "buffer/buffer.h"

enum audit_verdict { AUDIT_OK, AUDIT_WARN, AUDIT_FAIL };
struct audit_finding {
    const char *setting;
    const char *required; /* as text */
    char actual[128];
    enum audit_verdict verdict;
    const char *consequence; /* what happens if it stays so */
    const char *cure;        /* command or redis.conf line */
};
enum { AUDIT_MAX = 64 };
/* Fills at most AUDIT_MAX findings, one per row of the table, in table order. */
enum bl_rc buffer_audit(struct buffer *b, struct audit_finding out[static AUDIT_MAX], size_t *count,
                        struct bl_error *err);
/* The table as Markdown, without a server: the part of docs/BUFFER.md that is generated. */
void buffer_audit_table(struct bl_buf *out);
