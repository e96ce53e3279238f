#include "pipe/public_api.h"

#include "net/url.h"

bool asks_public_api(const struct conf *conf, bool simulated) {
    if (simulated || strcmp(conf->resolve_url, "auto") != 0) return false;
    for (size_t i = 0; i < conf->source_urls.count; i++) {
        struct url url;
        if (url_parse(bl_str(conf->source_urls.items[i]), &url, NULL) != BL_OK) return false;
        if (!bl_str_ends(bl_str(url.host), BL_LIT(".bsky.network"))) return false;
    }
    return conf->source_urls.count > 0;
}
