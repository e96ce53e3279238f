/* Results for people (tables), spreadsheets (CSV) and programs (NDJSON). What is printed was written by strangers:
 * nothing of it may reach the terminal as a control sequence, nor a spreadsheet as a formula. */
#include "cmd/output.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/cmd.h"

enum { HELD_ROWS_MAX = 1000, COLUMN_WIDTH_MAX = 200 };

struct cmd_sink_state {
    FILE *out;
    enum cmd_format format;
    bool raw;
    unsigned columns;
    enum query_kind *kinds;
    char **names;
    unsigned *widths;      /* of a table's columns, in cells */
    char **held;           /* texts of the first rows, row by row, until the widths are known */
    size_t held_rows;
    bool flowing;          /* the widths are fixed: rows go straight out */
    unsigned terminal;     /* cells of a line; 0 = no terminal, no cut */
    struct bl_buf line;
};

bool cmd_format_by_name(const char *name, enum cmd_format *out) {
    static const struct {
        const char *name;
        enum cmd_format format;
    } formats[] = {{"table", FORMAT_TABLE}, {"csv", FORMAT_CSV}, {"ndjson", FORMAT_NDJSON}, {"json", FORMAT_NDJSON}};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(name, formats[i].name) == 0) {
            *out = formats[i].format;
            return true;
        }
    return false;
}

/* --- Text on a terminal --- */

static uint32_t next_point(struct bl_str *s) {
    unsigned char first = (unsigned char)s->p[0];
    size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t point = n == 1 ? first : first & (0xffu >> (n + 1));
    bool cut = n > s->n || (first >= 0x80 && first < 0xc0);
    for (size_t i = 1; i < n && !cut; i++) {
        cut = ((unsigned char)s->p[i] & 0xc0) != 0x80;
        point = point << 6 | ((unsigned char)s->p[i] & 0x3f);
    }
    *s = bl_str_skip(*s, cut ? 1 : n);
    return cut ? 0xfffd : point;
}

struct range {
    uint32_t first, last;
};

static bool in_ranges(uint32_t point, const struct range *ranges, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (point >= ranges[i].first && point <= ranges[i].last) return true;
    return false;
}

/* C0, DEL, C1, and the invisible marks that reorder a line or hide in it. */
static bool is_control(uint32_t point) {
    static const struct range controls[] = {{0, 0x1f},         {0x7f, 0x9f},     {0x200e, 0x200f},
                                            {0x2028, 0x202e},  {0x2066, 0x2069}, {0xfff9, 0xfffb},
                                            {0xe0001, 0xe001f}, {0x061c, 0x061c}};
    return in_ranges(point, controls, sizeof controls / sizeof controls[0]);
}

unsigned cmd_cells_of(uint32_t point) {
    static const struct range zero[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                                        {0x64b, 0x65f},   {0x900, 0x902},   {0x93c, 0x93c},   {0x941, 0x948},
                                        {0xe31, 0xe31},   {0xe34, 0xe3a},   {0xe47, 0xe4e},   {0x200b, 0x200d},
                                        {0x20d0, 0x20f0}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0x1f3fb, 0x1f3ff},
                                        {0xe0020, 0xe007f}, {0xe0100, 0xe01ef}};
    static const struct range wide[] = {{0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x25fd, 0x25fe},
                                        {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26aa, 0x26ab},   {0x26bd, 0x26be},
                                        {0x2705, 0x2705},   {0x270a, 0x270b},   {0x2728, 0x2728},   {0x274c, 0x274c},
                                        {0x2753, 0x2755},   {0x2795, 0x2797},   {0x2b50, 0x2b50},   {0x2e80, 0x303e},
                                        {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xa000, 0xa4cf},
                                        {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
                                        {0xffe0, 0xffe6},   {0x1f000, 0x1f02b}, {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f1ff},
                                        {0x1f200, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f7e0, 0x1f7eb}, {0x1f90c, 0x1faff},
                                        {0x20000, 0x3fffd}};
    if (in_ranges(point, zero, sizeof zero / sizeof zero[0])) return 0;
    return in_ranges(point, wide, sizeof wide / sizeof wide[0]) ? 2 : 1;
}

static void put_escape(struct bl_buf *out, uint32_t point) {
    switch (point) {
    case '\n': bl_buf_z(out, "\\n"); break;
    case '\t': bl_buf_z(out, "\\t"); break;
    case '\r': bl_buf_z(out, "\\r"); break;
    default: bl_buf_printf(out, point < 0x100 ? "\\x%02x" : "\\u{%x}", point);
    }
}

void cmd_put_safe(struct bl_buf *out, struct bl_str s) {
    while (s.n) {
        const char *start = s.p;
        uint32_t point = next_point(&s);
        if (is_control(point))
            put_escape(out, point);
        else if (point == 0xfffd)
            bl_buf_z(out, "\xef\xbf\xbd");
        else
            bl_buf_add(out, start, (size_t)(s.p - start));
    }
}

unsigned cmd_width(struct bl_str s) {
    unsigned cells = 0;
    while (s.n) cells += cmd_cells_of(next_point(&s));
    return cells;
}

/* As much of `s` as fits into `cells`; `*used` is what it takes. */
static struct bl_str fit(struct bl_str s, unsigned cells, unsigned *used) {
    struct bl_str rest = s;
    *used = 0;
    while (rest.n) {
        struct bl_str before = rest;
        unsigned wide = cmd_cells_of(next_point(&rest));
        if (*used + wide > cells) return bl_strn(s.p, (size_t)(before.p - s.p));
        *used += wide;
    }
    return s;
}

unsigned cmd_terminal_width(FILE *out) {
    struct winsize size;
    int fd = fileno(out);
    if (fd < 0 || !isatty(fd)) return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* --- Table --- */

static void put_padding(struct bl_buf *out, unsigned from, unsigned to) {
    for (; from < to; from++) bl_buf_byte(out, ' ');
}

static void put_cell(struct cmd_sink_state *s, unsigned column, struct bl_str text) {
    unsigned width = s->widths[column], used = cmd_width(text);
    bool last = column + 1 == s->columns, cut = used > width;
    if (cut) text = fit(text, width ? width - 1 : 0, &used);
    bool right = s->kinds[column] == QUERY_NUMBER;
    if (right) put_padding(&s->line, used + cut, width);
    bl_buf_str(&s->line, text);
    if (cut) bl_buf_z(&s->line, "\xe2\x80\xa6");
    if (!right && !last) put_padding(&s->line, used + cut, width);
    if (!last) bl_buf_z(&s->line, "  ");
}

/* Never wider than the terminal: a wrapped table cannot be read. */
static void put_line(struct cmd_sink_state *s) {
    struct bl_str line = bl_buf_view(&s->line);
    while (line.n && line.p[line.n - 1] == ' ') line.n--;
    unsigned used;
    if (s->terminal) line = fit(line, s->terminal, &used);
    fwrite(line.p, 1, line.n, s->out);
    fputc('\n', s->out);
    bl_buf_clear(&s->line);
}

static void put_table_row(struct cmd_sink_state *s, char *const *texts) {
    for (unsigned c = 0; c < s->columns; c++) put_cell(s, c, bl_str(texts[c]));
    put_line(s);
}

static void flow(struct cmd_sink_state *s) {
    if (s->flowing || s->columns == 0) return;
    s->flowing = true;
    put_table_row(s, s->names);
    for (unsigned c = 0; c < s->columns; c++) {
        for (unsigned i = 0; i < s->widths[c]; i++) bl_buf_byte(&s->line, '-');
        if (c + 1 < s->columns) bl_buf_z(&s->line, "  ");
    }
    put_line(s);
    for (size_t r = 0; r < s->held_rows; r++) put_table_row(s, s->held + r * s->columns);
    for (size_t i = 0; i < s->held_rows * s->columns; i++) free(s->held[i]);
    s->held_rows = 0;
}

static char *safe_copy(struct bl_str s) {
    BL_CLEANUP(bl_buf_release) struct bl_buf safe = {0};
    cmd_put_safe(&safe, s);
    return bl_xstrdup(bl_buf_cstr(&safe));
}

static void table_row(struct cmd_sink_state *s, const struct bl_str *values) {
    char **texts = s->flowing ? bl_xcalloc(s->columns, sizeof *texts) : s->held + s->held_rows * s->columns;
    for (unsigned c = 0; c < s->columns; c++) {
        texts[c] = safe_copy(values[c]);
        unsigned width = cmd_width(bl_str(texts[c]));
        if (width > COLUMN_WIDTH_MAX && s->terminal) width = COLUMN_WIDTH_MAX;
        if (!s->flowing && width > s->widths[c]) s->widths[c] = width;
    }
    if (!s->flowing) {
        if (++s->held_rows == HELD_ROWS_MAX) flow(s);
        return;
    }
    /* A row after the widths are fixed keeps its whole text, even if that pushes its neighbours to the right. */
    for (unsigned c = 0; c < s->columns; c++) {
        unsigned fixed = s->widths[c], width = cmd_width(bl_str(texts[c]));
        if (!s->terminal && width > fixed) s->widths[c] = width;
        put_cell(s, c, bl_str(texts[c]));
        s->widths[c] = fixed;
        free(texts[c]);
    }
    put_line(s);
    free(texts);
}

/* --- CSV --- */

static void put_csv_field(struct cmd_sink_state *s, struct bl_str v, bool number) {
    bool guard = !s->raw && !number && bl_str_is_formula(v);
    bool quoted = v.p && v.n == 0; /* an empty text, not a null */
    for (size_t i = 0; i < v.n && !quoted; i++)
        quoted = v.p[i] == '"' || v.p[i] == ',' || v.p[i] == '\n' || v.p[i] == '\r';
    if (quoted) bl_buf_byte(&s->line, '"');
    if (guard) bl_buf_byte(&s->line, '\'');
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '"') bl_buf_byte(&s->line, '"');
        bl_buf_byte(&s->line, v.p[i]);
    }
    if (quoted) bl_buf_byte(&s->line, '"');
}

static void csv_row(struct cmd_sink_state *s, const struct bl_str *values, bool header) {
    for (unsigned c = 0; c < s->columns; c++) {
        if (c) bl_buf_byte(&s->line, ',');
        put_csv_field(s, values[c], !header && s->kinds[c] == QUERY_NUMBER);
    }
    bl_buf_z(&s->line, "\r\n");
}

/* --- NDJSON --- */

/* "inf" and "nan" are numbers to DuckDB, but not to JSON. */
static bool is_json_number(struct bl_str v) {
    size_t i = v.n && v.p[0] == '-';
    return i < v.n && v.p[i] >= '0' && v.p[i] <= '9';
}

static void put_json_text(struct bl_buf *out, struct bl_str v) {
    if (bl_utf8_valid(v)) {
        bl_buf_json(out, v);
        return;
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf safe = {0};
    cmd_put_safe(&safe, v);
    bl_buf_json(out, bl_buf_view(&safe));
}

static void put_json_value(struct cmd_sink_state *s, enum query_kind kind, struct bl_str v) {
    bool bare = kind == QUERY_BOOL || kind == QUERY_JSON || (kind == QUERY_NUMBER && is_json_number(v));
    if (!v.p)
        bl_buf_z(&s->line, "null");
    else if (bare)
        bl_buf_str(&s->line, v);
    else
        put_json_text(&s->line, v);
}

static void json_row(struct cmd_sink_state *s, const struct bl_str *values) {
    bl_buf_byte(&s->line, '{');
    for (unsigned c = 0; c < s->columns; c++) {
        if (c) bl_buf_byte(&s->line, ',');
        put_json_text(&s->line, bl_str(s->names[c]));
        bl_buf_byte(&s->line, ':');
        put_json_value(s, s->kinds[c], values[c]);
    }
    bl_buf_z(&s->line, "}\n");
}

/* --- The sink --- */

static enum bl_rc write_line(struct cmd_sink_state *s, struct bl_error *err) {
    BL_TRY(bl_buf_check(&s->line, "one row of output", err));
    if (s->line.n) fwrite(s->line.p, 1, s->line.n, s->out);
    bl_buf_clear(&s->line);
    return ferror(s->out) ? bl_fail_errno(err, BL_E_IO, "cannot write the answer") : BL_OK;
}

static enum bl_rc on_columns(void *context, const struct query_column *columns, size_t count, struct bl_error *err) {
    struct cmd_sink_state *s = context;
    s->columns = (unsigned)count;
    s->kinds = bl_xcalloc(count, sizeof *s->kinds);
    s->names = bl_xcalloc(count, sizeof *s->names);
    s->widths = bl_xcalloc(count, sizeof *s->widths);
    BL_CLEANUP(bl_freep) struct bl_str *header = bl_xcalloc(count, sizeof *header);
    for (size_t c = 0; c < count; c++) {
        s->kinds[c] = columns[c].kind;
        bool table = s->format == FORMAT_TABLE;
        s->names[c] = table ? safe_copy(bl_str(columns[c].name)) : bl_xstrdup(columns[c].name);
        s->widths[c] = cmd_width(bl_str(s->names[c]));
        header[c] = bl_str(s->names[c]);
    }
    if (s->format == FORMAT_TABLE) s->held = bl_xcalloc(HELD_ROWS_MAX * count + 1, sizeof *s->held);
    if (s->format == FORMAT_CSV) csv_row(s, header, true);
    return write_line(s, err);
}

static enum bl_rc on_row(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    struct cmd_sink_state *s = context;
    BL_ASSERT(count == s->columns);
    switch (s->format) {
    case FORMAT_TABLE: table_row(s, values); break;
    case FORMAT_CSV: csv_row(s, values, false); break;
    case FORMAT_NDJSON: json_row(s, values); break;
    }
    return write_line(s, err);
}

struct cmd_sink_state *cmd_sink_new(FILE *out, enum cmd_format format, bool raw) {
    struct cmd_sink_state *s = bl_xcalloc(1, sizeof *s);
    s->out = out;
    s->format = format;
    s->raw = raw;
    s->terminal = format == FORMAT_TABLE ? cmd_terminal_width(out) : 0;
    return s;
}

struct query_sink cmd_sink(struct cmd_sink_state *state) { return (struct query_sink){on_columns, on_row, state}; }

void cmd_sink_end(struct cmd_sink_state **state) {
    struct cmd_sink_state *s = *state;
    if (!s) return;
    if (s->format == FORMAT_TABLE) flow(s);
    for (unsigned c = 0; c < s->columns; c++) free(s->names[c]);
    free(s->names);
    free(s->kinds);
    free(s->widths);
    free(s->held);
    bl_buf_release(&s->line);
    free(s);
    *state = NULL;
}
