/* fuzz_conf: configuration files. What is accepted is printed as a file that is accepted and prints the same; what is
 * refused is refused with words. */
#include "conf/conf.h"
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

static const char *const fuzz_seeds[] = {"# comment\nredis.port = 7001\nwrite.interval = 7m\n",
                                         "source.urls = wss://a,wss://b\nsource.collections=posts,likes\n",
                                         "redis.password = hush\nlog.level = debug\n",
                                         "source.heal = false\r\ningest.queue_bytes = 32m\n",
                                         "data = /a b/c\nsource.rewind=1500ms\n",
                                         ""};
static const char *const fuzz_words[] = {"=",
                                         " = ",
                                         "\n",
                                         "\r\n",
                                         "#",
                                         ",",
                                         ",,",
                                         "redis.port",
                                         "redis.password",
                                         "source.urls",
                                         "source.heal",
                                         "write.interval",
                                         "true",
                                         "yes",
                                         "7m",
                                         "-1",
                                         "0",
                                         "9223372036854775808",
                                         "1k",
                                         "1.5s",
                                         "\"",
                                         "\\",
                                         "\xff",
                                         "\xc3\xa9",
                                         "\t",
                                         " ",
                                         "posts",
                                         "source.dids=did:plc:a,",
                                         "log.format = json\n",
                                         "x"};
static const size_t fuzz_seed_count = sizeof fuzz_seeds / sizeof *fuzz_seeds;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

/* A file without a name of its own. */
static enum bl_rc load(struct bl_str text, struct conf *c, struct bl_error *err) {
    char path[64];
    int fd = memfd_create("conf", MFD_CLOEXEC);
    BL_ASSERT(fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    conf_init(c);
    enum bl_rc rc = conf_load_file(c, path, err);
    close(fd);
    return rc;
}

static bool fuzz_one(struct bl_str input) {
    struct conf c, again;
    struct bl_error err = {0};
    struct bl_buf first = {0}, second = {0};
    bool accepted = load(input, &c, &err) == BL_OK;
    if (!accepted && !*err.message) fuzz_fail("refused without a word", input);
    if (accepted) {
        conf_print(&c, &first);
        if (load(bl_buf_view(&first), &again, &err) != BL_OK) fuzz_fail(err.message, input);
        conf_print(&again, &second);
        bool secret = memmem(first.p, first.n, "(set)", 5) != NULL; /* printed as a comment on purpose */
        if (!secret && !bl_str_eq(bl_buf_view(&first), bl_buf_view(&second)))
            fuzz_fail("printed, it means something else", input);
        conf_release(&again);
    }
    conf_release(&c);
    bl_buf_release(&first);
    bl_buf_release(&second);
    return accepted;
}
