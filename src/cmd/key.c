/* bluelake key: who may ask the API. */
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "http/keys.h"
#include "http/routes.h"

static const char *data = "data", *scopes_text = "search,export";

static const struct cmd_option options[] = {
    {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default: data)", 0, 0},
    {"scopes", OPT_TEXT, &scopes_text, "LIST", "search, export, metrics, admin (all of them); default search,export", 0,
     0},
    CMD_END};
static const struct cmd_spec spec = {"key", "add NAME | list | revoke NAME", "API keys: who may ask the server",
                                     "A key is shown once, when it is added; DIR/keys.json keeps only its SHA-256. A "
                                     "running server honours changes at once.\n"
                                     "Clients send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Once there "
                                     "is a key, nobody gets in without one.\n\n"
                                     "Examples:\n"
                                     "  bluelake key add newsroom --scopes search,export\n"
                                     "  bluelake key list\n"
                                     "  bluelake key revoke newsroom\n",
                                     options};

static enum bl_rc add(struct bl_str name, struct bl_error *err) {
    char text[KEY_TEXT_MAX];
    unsigned scopes;
    struct bl_str bad = {0};
    if (!http_scopes_parse(bl_str(scopes_text), &scopes, &bad) || scopes == 0)
        return bl_fail(err, BL_E_USAGE, "--scopes: \"%.*s\" is none of search, export, metrics, admin", BL_ARG(bad));
    BL_TRY(keys_add(data, name, scopes, bl_wall_us(), text, err));
    puts(text);
    fputs("This is the only time the key is shown.\n", stderr);
    return BL_OK;
}

static void print_key(const struct key *key) {
    char created[BL_TIME_TEXT_MAX], revoked[BL_TIME_TEXT_MAX] = "";
    bl_format_time(key->created_us, 0, created);
    if (key->revoked_us) bl_format_time(key->revoked_us, 0, revoked);
    printf("%-24s  %s  %s%s ", key->name, created, *revoked ? "revoked " : "valid", revoked);
    for (unsigned scope = 1; scope <= HTTP_ADMIN; scope <<= 1)
        if (key->scopes & scope) printf(" %s", http_scope_name((enum http_scope)scope));
    putchar('\n');
}

static enum bl_rc list(struct bl_error *err) {
    struct keys keys = {0};
    BL_TRY(keys_open(data, &keys, err));
    for (size_t i = 0; i < keys.count; i++) print_key(&keys.items[i]);
    if (!keys.count) puts("no keys: the server answers on loopback only, to everybody there");
    keys_close(&keys);
    return BL_OK;
}

int cmd_key(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    struct bl_str action = bl_str(first < argc ? argv[first] : "list"),
                  name = bl_str(first + 1 < argc ? argv[first + 1] : NULL);
    bool adds = bl_str_eq(action, BL_LIT("add")), revokes = bl_str_eq(action, BL_LIT("revoke"));
    if (!adds && !revokes && !bl_str_eq(action, BL_LIT("list")))
        return cmd_usage_error(spec.name, "\"%.*s\" is none of add, list, revoke", BL_ARG(action));
    if ((adds || revokes) && !name.n) return cmd_usage_error(spec.name, "%.*s which NAME?", BL_ARG(action));
    struct bl_error err = {0};
    enum bl_rc done = adds ? add(name, &err) : revokes ? keys_revoke(data, name, bl_wall_us(), &err) : list(&err);
    return done == BL_OK ? cmd_finish_output(spec.name) : cmd_fail(spec.name, &err);
}
