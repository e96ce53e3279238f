#include "obs/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static struct {
    char component[32];
    enum bl_level least;
    bool json;
} setup = {"bluelake", BL_INFO, false};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

void bl_log_setup(const char *component, enum bl_level least, bool json) {
    snprintf(setup.component, sizeof setup.component, "%s", component);
    setup.least = least;
    setup.json = json;
}

bool bl_level_by_name(struct bl_str name, enum bl_level *out) {
    for (unsigned i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (bl_str_eq(name, bl_str(level_names[i]))) {
            *out = (enum bl_level)i;
            return true;
        }
    return false;
}

static void write_line(struct bl_buf *line) {
    bl_buf_byte(line, '\n');
    ssize_t n = write(STDERR_FILENO, line->p, line->n);
    (void)n; /* nowhere is left to report it */
}

void bl_log(enum bl_level level, const char *format, ...) {
    if (level < setup.least) return;
    char message[2048], time[BL_TIME_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    bl_format_time(bl_wall_us(), 3, time);
    BL_CLEANUP(bl_buf_release) struct bl_buf line = {.max = 16384};
    if (setup.json) {
        bl_buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"component\":\"%s\",\"message\":", time,
                      level_names[level], setup.component);
        bl_buf_json(&line, bl_utf8_valid(bl_str(message)) ? bl_str(message) : BL_LIT("(not UTF-8)"));
        bl_buf_byte(&line, '}');
    } else {
        bl_buf_printf(&line, "%s %s %-8s %s", time, level_labels[level], setup.component, message);
        /* What a peer says must not forge a second line or drive the terminal. */
        for (size_t i = 0; i < line.n; i++)
            if ((unsigned char)line.p[i] < 0x20 || line.p[i] == 0x7f) line.p[i] = ' ';
    }
    write_line(&line);
}

void bl_log_error(const char *what, const struct bl_error *err) {
    enum bl_class class = bl_rc_class(err->code);
    bl_log(class == BL_CLASS_RETRY ? BL_WARN : BL_ERROR_LEVEL, "%s: %s (%s)", what, err->message,
           bl_rc_name(err->code));
}

bool bl_log_due(int64_t *last_ns, int64_t interval_us) {
    int64_t now = bl_mono_ns();
    if (*last_ns && now - *last_ns < interval_us * 1000) return false;
    *last_ns = now;
    return true;
}
