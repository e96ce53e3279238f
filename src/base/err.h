/* err: how every room reports failure.
 *
 * A function that can fail returns enum bl_rc, takes `struct bl_error *err` last, and on failure fills it once, where
 * the failure happened: what went wrong, with which value, and what to do about it. Callers on the way up may add
 * context in front with bl_err_prefix(). Only src/cmd and src/pipe log or print an error; library rooms return it.
 * `err` may be NULL where the caller needs the code alone. On failure output parameters keep their old values.
 *
 * Every code has a class (errors.def) that decides what a pipeline stage does with it; callers never invent the class.
 *
 *     struct bl_error err = {0};
 *     if (bl_read_file(path, limit, &buf, &err) != BL_OK) { bl_log_error("cannot read settings", &err); ... }
 *
 * Threading: plain values, no shared state. */
#pragma once
#include <stdarg.h>
#include <stdio.h>

enum [[nodiscard]] bl_rc {
    BL_OK = 0,
#define BL_ERROR(name, class, exit_code, text) BL_E_##name,
#include "base/errors.def"
#undef BL_ERROR
    BL_RC_COUNT
};

enum bl_class { BL_CLASS_OK, BL_CLASS_RETRY, BL_CLASS_DROP, BL_CLASS_FATAL, BL_CLASS_USAGE };

enum { BL_ERROR_MESSAGE_MAX = 1024 }; /* bytes, with the final NUL; longer messages are cut */

struct bl_error {
    enum bl_rc code;
    int sys_errno; /* 0 when no system call was involved */
    unsigned cure_at; /* where in the message the cure begins, see bl_fail_cure; 0: it names none apart */
    char message[BL_ERROR_MESSAGE_MAX];
};

const char *bl_rc_name(enum bl_rc rc);
const char *bl_rc_text(enum bl_rc rc);
enum bl_class bl_rc_class(enum bl_rc rc);
int bl_rc_exit_code(enum bl_rc rc);

/* Fill `err` and return `code`, so that `return bl_fail(...)` reads as one step. */
enum bl_rc bl_fail(struct bl_error *err, enum bl_rc code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, and what to do about it: the message is "cause: cure". For whoever shows the two apart. */
enum bl_rc bl_fail_cure(struct bl_error *err, enum bl_rc code, const char *cure, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
const char *bl_err_cure(const struct bl_error *err); /* NULL: the message has it, or there is none */

/* The same for a failed system call: appends ": <text of errno>". Call it before anything that changes errno. */
enum bl_rc bl_fail_errno(struct bl_error *err, enum bl_rc code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "context: " in front of the message already in `err`; returns err->code (or `code` when err is NULL). */
enum bl_rc bl_err_prefix(struct bl_error *err, enum bl_rc code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Return at once when `expression` fails. Only in functions whose resources are released by BL_CLEANUP or that hold
 * none. */
#define BL_TRY(expression)                                                                                             \
    do {                                                                                                               \
        enum bl_rc bl_try_rc_ = (expression);                                                                          \
        if (bl_try_rc_ != BL_OK) return bl_try_rc_;                                                                    \
    } while (0)

/* `(void)` does not silence [[nodiscard]] enums in every compiler; this says "failure is of no consequence here". */
#define BL_IGNORE(expression)                                                                                          \
    do {                                                                                                               \
        if ((expression) != BL_OK) { /* the caller's comment says why */                                               \
        }                                                                                                              \
    } while (0)

/* Release a local at scope end: BL_CLEANUP(bl_buf_release) struct bl_buf b = ...; */
#define BL_CLEANUP(function) __attribute__((cleanup(function)))

/* A broken invariant of our own code; kept in release builds. Never for bad input. */
#define BL_ASSERT(condition)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) bl_assert_failed(#condition, __FILE__, __LINE__);                                            \
    } while (0)
_Noreturn void bl_assert_failed(const char *condition, const char *file, int line);
