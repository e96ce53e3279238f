#include "cmd/commands.h"
#include "cmd/common.h"

static struct cmd_conf settings;
static bool document;
static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings),
    {"document", OPT_FLAG, &document, NULL, "print the reference page docs/CONFIG.md instead", 0, 0},
    CMD_END};
static const struct cmd_spec spec = {"config", "", "show the effective settings",
                                     "Prints every setting with its meaning, in the form of a settings file: redirect "
                                     "it to a file, change what you want, and\n"
                                     "give it with --config. Secrets are not shown.\n",
                                     options};

int cmd_config(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    if (document) {
        conf_document(&out);
    } else {
        if (cmd_conf_load(&settings, spec.name, &err) != BL_OK) return cmd_fail(spec.name, &err);
        conf_print(&settings.conf, &out);
        conf_release(&settings.conf);
    }
    fwrite(out.p, 1, out.n, stdout);
    return cmd_finish_output(spec.name);
}
