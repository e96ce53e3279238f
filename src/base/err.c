#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>

struct code_info {
    const char *name, *text;
    enum bl_class class;
    int exit_code;
};

static const struct code_info codes[BL_RC_COUNT] = {
    [BL_OK] = {"OK", "success", BL_CLASS_OK, 0},
#define BL_ERROR(name, class, exit_code, text) [BL_E_##name] = {#name, text, BL_CLASS_##class, exit_code},
#include "base/errors.def"
#undef BL_ERROR
};

static const struct code_info *info(enum bl_rc rc) {
    return &codes[(unsigned)rc < BL_RC_COUNT ? rc : BL_E_INTERNAL];
}

const char *bl_rc_name(enum bl_rc rc) { return info(rc)->name; }
const char *bl_rc_text(enum bl_rc rc) { return info(rc)->text; }
enum bl_class bl_rc_class(enum bl_rc rc) { return info(rc)->class; }
int bl_rc_exit_code(enum bl_rc rc) { return info(rc)->exit_code; }

enum bl_rc bl_fail(struct bl_error *err, enum bl_rc code, const char *format, ...) {
    if (!err) return code;
    err->code = code;
    err->sys_errno = 0;
    err->cure_at = 0;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    return code;
}

enum bl_rc bl_fail_cure(struct bl_error *err, enum bl_rc code, const char *cure, const char *format, ...) {
    static const char between[] = ": ";
    if (!err) return code;
    *err = (struct bl_error){.code = code};
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    if (n <= 0 || (size_t)n + sizeof between > sizeof err->message) return code;
    snprintf(err->message + n, sizeof err->message - (size_t)n, "%s%s", between, cure);
    err->cure_at = (unsigned)n + sizeof between - 1;
    return code;
}

const char *bl_err_cure(const struct bl_error *err) {
    return err->cure_at ? err->message + err->cure_at : NULL;
}

enum bl_rc bl_fail_errno(struct bl_error *err, enum bl_rc code, const char *format, ...) {
    int saved = errno;
    if (!err) return code;
    err->code = code;
    err->sys_errno = saved;
    err->cure_at = 0;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    if (n >= 0 && (size_t)n < sizeof err->message)
        snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", strerror(saved));
    return code;
}

enum bl_rc bl_err_prefix(struct bl_error *err, enum bl_rc code, const char *format, ...) {
    if (!err) return code;
    char old[BL_ERROR_MESSAGE_MAX];
    memcpy(old, err->message, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    if (n >= 0 && (size_t)n < sizeof err->message)
        snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", old);
    bool kept = n >= 0 && (size_t)n + 2 + err->cure_at < sizeof err->message;
    err->cure_at = kept && err->cure_at ? err->cure_at + (unsigned)n + 2 : 0;
    return err->code ? err->code : code;
}

void bl_assert_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "bluelake: bug: %s:%d: %s does not hold\n", file, line, condition);
    abort();
}
