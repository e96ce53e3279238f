#include "http/shape.h"

const struct shape_name shape_names[] = {
    {"Post", "{timestamp:time,username:text,text:text,uri:text,did:text,handle:text?,display_name:text?,langs:[text],"
             "created_at:text?,facets:any,"
             "embed:any,hashtags:[text],links:[text],reply_parent_uri:text?,quote_uri:text?}"},
    {"Gap", "{from:time,to:time,host:text,reason:text,healed:bool}"},
    {"Meta", "{count:int,page:int,limit:int,has_more:bool,next_cursor:text?,truncated:bool,snapshot:int,elapsed_ms:int,"
             "files_read:int,"
             "files_listed:int,names_pending:bool,note:text?,matches:[text],gaps:[Gap]}"},
    {"Version", "{timestamp:time,operation:text,text:text?}"},
    {"View", "{name:text,title:text,definition:text,cadence:text,refreshed_at:time?,stale_seconds:number?,snapshot:int?"
             ",columns:[text]}"},
    {"Health", "{role:text,version:text,status:text,snapshot:int,running:int,waiting:int,reasons:[text]}"},
    {"Error", "{error:{code:text,parameter:text?,message:text,cure:text?}}"},
};
const size_t shape_name_count = sizeof shape_names / sizeof *shape_names;

static const struct {
    const char *name, *type, *format;
} plain[] = {{"text", "string", NULL}, {"time", "string", "date-time"}, {"date", "string", "date"},
             {"int", "integer", NULL}, {"number", "number", NULL},      {"bool", "boolean", NULL}};

struct writer {
    struct bl_str rest;
    struct bl_buf *out;
};

static bool next_is(struct writer *w, char c) {
    if (!w->rest.n || w->rest.p[0] != c) return false;
    w->rest = bl_str_skip(w->rest, 1);
    return true;
}

static struct bl_str read_name(struct writer *w) {
    size_t n = 0;
    while (n < w->rest.n && !strchr(",:?{}[]", w->rest.p[n])) n++;
    struct bl_str name = bl_strn(w->rest.p, n);
    w->rest = bl_str_skip(w->rest, n);
    return name;
}

static bool put_value(struct writer *w);

static bool put_members(struct writer *w) {
    BL_CLEANUP(bl_buf_release) struct bl_buf required = {0};
    bl_buf_z(w->out, "{\"type\":\"object\",\"properties\":{");
    for (bool first = true; first || next_is(w, ','); first = false) {
        struct bl_str name = read_name(w);
        if (!name.n || !next_is(w, ':')) return false;
        bl_buf_printf(w->out, "%s\"%.*s\":", first ? "" : ",", BL_ARG(name));
        bl_buf_printf(&required, "%s\"%.*s\"", first ? "" : ",", BL_ARG(name));
        if (!put_value(w)) return false;
    }
    bl_buf_z(w->out, "},\"required\":[");
    bl_buf_str(w->out, bl_buf_view(&required));
    bl_buf_z(w->out, "]}");
    return next_is(w, '}');
}

static bool put_list(struct writer *w) {
    bl_buf_z(w->out, "{\"type\":\"array\",\"items\":");
    if (!put_value(w)) return false;
    bl_buf_byte(w->out, '}');
    return next_is(w, ']');
}

static bool put_plain(struct writer *w, struct bl_str name) {
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (!bl_str_eq(name, bl_str(plain[i].name))) continue;
        bl_buf_printf(w->out, "{\"type\":\"%s\"", plain[i].type);
        if (plain[i].format) bl_buf_printf(w->out, ",\"format\":\"%s\"", plain[i].format);
        bl_buf_byte(w->out, '}');
        return true;
    }
    for (size_t i = 0; i < shape_name_count; i++) {
        if (!bl_str_eq(name, bl_str(shape_names[i].name))) continue;
        bl_buf_printf(w->out, "{\"$ref\":\"#/components/schemas/%s\"}", shape_names[i].name);
        return true;
    }
    if (bl_str_eq(name, BL_LIT("any"))) bl_buf_z(w->out, "{}");
    return bl_str_eq(name, BL_LIT("any"));
}

static bool put_value(struct writer *w) {
    size_t start = w->out->n;
    bool good = next_is(w, '{') ? put_members(w) : next_is(w, '[') ? put_list(w) : put_plain(w, read_name(w));
    if (!good || !next_is(w, '?')) return good;
    struct bl_str schema = bl_strn(w->out->p + start, w->out->n - start);
    BL_CLEANUP(bl_freep) char *copy = bl_xstrndup(schema);
    w->out->n = start;
    bl_buf_printf(w->out, "{\"anyOf\":[%s,{\"type\":\"null\"}]}", copy);
    return true;
}

bool shape_schema(const char *shape, struct bl_buf *out) {
    struct writer w = {bl_str(shape), out};
    return put_value(&w) && w.rest.n == 0;
}
