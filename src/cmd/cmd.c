#include "cmd/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/near.h"

static const char *option_at(size_t i, const void *context) {
    const struct cmd_option *options = context;
    return options[i].name; /* NULL in the last row */
}

static void print_option(FILE *out, const char *name, const char *argument, const char *help) {
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", name, argument ? " " : "", argument ? argument : "");
    fprintf(out, "  %-26s %s\n", left, help);
}

static void print_help(const struct cmd_spec *spec, FILE *out) {
    fprintf(out, "bluelake %s: %s\n\nUsage: bluelake %s [options]%s%s\n", spec->name, spec->summary, spec->name,
            *spec->arguments ? " " : "", spec->arguments);
    if (spec->details) fprintf(out, "\n%s", spec->details);
    fputs("\nOptions:\n", out);
    for (const struct cmd_option *o = spec->options; o->name; o++) print_option(out, o->name, o->argument, o->help);
    print_option(out, "help", NULL, "this text");
}

static int bad_value(const struct cmd_spec *spec, const struct cmd_option *o, const char *value, const char *wanted) {
    return cmd_usage_error(spec->name, "--%s: \"%s\" is not %s", o->name, value, wanted);
}

static int add_to_list(const struct cmd_spec *spec, const struct cmd_option *o, char *value) {
    struct cmd_list *list = o->target;
    const char *separators = o->kind == OPT_LIST ? "," : "";
    for (char *item = strtok(value, separators); item; item = strtok(NULL, separators)) {
        if (list->count == sizeof list->items / sizeof *list->items)
            return cmd_usage_error(spec->name, "--%s: more than %zu items", o->name, list->count);
        list->items[list->count++] = item;
    }
    return -1;
}

static int set_option(const struct cmd_spec *spec, const struct cmd_option *o, char *value) {
    struct bl_str s = bl_str(value);
    int64_t *number = o->target;
    switch (o->kind) {
    case OPT_FLAG: *(bool *)o->target = true; return -1;
    case OPT_TEXT: *(const char **)o->target = value; return -1;
    case OPT_LIST:
    case OPT_REPEAT: return add_to_list(spec, o, value);
    case OPT_INT: {
        int64_t v;
        if (!bl_parse_i64(s, INT64_MIN, INT64_MAX, &v)) return bad_value(spec, o, value, "a whole number");
        if ((o->min || o->max) && (v < o->min || v > o->max))
            return cmd_usage_error(spec->name, "--%s: %s is out of range: from %" PRId64 " to %" PRId64, o->name, value,
                                   o->min, o->max);
        *number = v;
        return -1;
    }
    case OPT_DURATION:
        return bl_parse_duration_us(s, number) ? -1 : bad_value(spec, o, value, "a duration such as 90s, 5m, 8h");
    case OPT_BYTES: return bl_parse_bytes(s, number) ? -1 : bad_value(spec, o, value, "a size such as 64k, 512m, 2g");
    case OPT_TIME:
    case OPT_END_TIME:
        return bl_parse_time(s, o->kind == OPT_END_TIME, number)
                   ? -1
                   : bad_value(spec, o, value, "a time such as 2026-11-21 or 2026-11-21T08:30:00Z");
    }
    return -1;
}

static const struct cmd_option *find_option(const struct cmd_spec *spec, struct bl_str name) {
    for (const struct cmd_option *o = spec->options; o->name; o++)
        if (bl_str_eq(name, bl_str(o->name))) return o;
    return NULL;
}

static int parse_one(const struct cmd_spec *spec, int argc, char **argv, int *i) {
    struct bl_str rest = bl_str(argv[*i] + 2);
    bool inline_value = memchr(rest.p, '=', rest.n) != NULL;
    struct bl_str name = bl_str_cut(&rest, '=');
    if (bl_str_eq(name, BL_LIT("help"))) {
        print_help(spec, stdout);
        return cmd_finish_output(spec->name);
    }
    const struct cmd_option *o = find_option(spec, name);
    if (!o) {
        const char *near = bl_nearest(name, option_at, spec->options);
        return cmd_usage_error(spec->name, "unknown option --%.*s%s%s%s", BL_ARG(name), near ? ": did you mean --" : "",
                               near ? near : "", near ? "?" : "");
    }
    if (o->kind == OPT_FLAG) {
        if (inline_value) return cmd_usage_error(spec->name, "--%s takes no value", o->name);
        return set_option(spec, o, NULL);
    }
    if (inline_value) return set_option(spec, o, (char *)rest.p);
    if (*i + 1 >= argc)
        return cmd_usage_error(spec->name, "--%s needs a value: --%s %s", o->name, o->name, o->argument);
    return set_option(spec, o, argv[++*i]);
}

/* Positional arguments are moved behind the options, so that both may come in any order. */
int cmd_parse(const struct cmd_spec *spec, int argc, char **argv, int *first) {
    enum { POSITIONAL_MAX = 256 };
    char *positional[POSITIONAL_MAX];
    int count = 0, i = 1;
    for (; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        static char help[] = "--help";
        if (strcmp(argv[i], "-h") == 0) argv[i] = help;
        if (strncmp(argv[i], "--", 2) == 0) {
            int rc = parse_one(spec, argc, argv, &i);
            if (rc >= 0) return rc;
            continue;
        }
        if (count == POSITIONAL_MAX) return cmd_usage_error(spec->name, "more than %d arguments", POSITIONAL_MAX);
        positional[count++] = argv[i];
    }
    int rest = argc - i, start = argc - rest - count;
    memcpy(argv + start, positional, (size_t)count * sizeof *argv);
    *first = start;
    return -1;
}

int cmd_fail(const char *name, const struct bl_error *err) {
    fflush(stdout);
    fprintf(stderr, "bluelake %s: %s\n", name, err->message);
    return bl_rc_exit_code(err->code);
}

int cmd_usage_error(const char *name, const char *format, ...) {
    fprintf(stderr, "bluelake %s: ", name);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry: bluelake %s --help\n", name);
    return 2;
}

int cmd_finish_output(const char *name) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    if (errno != EPIPE) fprintf(stderr, "bluelake %s: cannot write the output: %s\n", name, strerror(errno));
    return 1;
}
