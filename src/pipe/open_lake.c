#include "pipe/write.h"

#include <inttypes.h>

#include "base/rng.h"

enum { CHUNK_SLACK = 64 << 20 }; /* memory a chunk may need beyond write.memory */

static enum bl_rc parse_codec(const char *name, enum pq_codec *out, struct bl_error *err) {
    static const struct {
        const char *name;
        enum pq_codec codec;
    } codecs[] = {{"zstd", PQ_ZSTD}, {"snappy", PQ_SNAPPY}, {"gzip", PQ_GZIP}, {"none", PQ_UNCOMPRESSED}};
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (strcmp(name, codecs[i].name) == 0) {
            *out = codecs[i].codec;
            return BL_OK;
        }
    return bl_fail(err, BL_E_USAGE, "write.codec: \"%s\" is none of zstd, snappy, gzip, none", name);
}

enum bl_rc write_open_lake(const struct conf *conf, bool compactor, struct lake **out, struct bl_error *err) {
    struct lake_options options = {.dir = conf->data,
                                   .codec_set = true,
                                   .compactor = compactor,
                                   .memory_bytes = conf->write_memory + CHUNK_SLACK,
                                   .dedup_bytes = conf->write_dedup_memory};
    BL_TRY(parse_codec(conf->write_codec, &options.codec, err));
    return lake_open(&options, out, err);
}

enum bl_rc write_lease_owner(struct lake *lake, char *owner, size_t size, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf id = {0};
    struct catalog *catalog = lake_catalog(lake);
    BL_TRY(catalog_get(catalog, "lake_id", &id, err));
    if (!id.n) {
        bl_buf_printf(&id, "%016" PRIx64 "%016" PRIx64, bl_random_u64(), bl_random_u64());
        BL_TRY(catalog_set(catalog, "lake_id", bl_buf_cstr(&id), err));
    }
    snprintf(owner, size, "lake:%.*s", BL_ARG(bl_buf_view(&id)));
    return BL_OK;
}
