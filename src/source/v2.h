/* v2: messages of network.bsky.jetstream.subscribeEvents, turned into the JSON of Jetstream v1, which is what the rest
 * of bluelake reads. Pure. Private to source.
 *
 * What becomes of a message of kind commit, identity, account or sync:
 *
 *   payload.did              did
 *   payload.time             time_us, in microseconds; a text that is not of the documented form (six digits, Z) is
 * also kept in v2.payload.time payload.seq              cursor payload.$type            kind: what stands behind its
 * '#' rev, operation, collection, rkey, record, cid      of a commit: members of `commit` identity, account, sync the
 * member of that name, as it is any other member of the payload or the frame       v2.payload, v2.frame
 *
 * so that nothing is lost and no name can be mistaken for another.
 * Values are copied as they stand, so that numbers keep their digits and strings their spelling. */
#pragma once
#include "base/mem.h"

enum v2_kind {
    V2_EVENT,   /* `json` is the v1 event */
    V2_INFO,    /* `name`, `text` */
    V2_ERROR,   /* the same; the connection ends next */
    V2_FOREIGN, /* none of these, or no JSON: for whoever keeps what cannot be read */
};
struct v2_message {
    enum v2_kind kind;
    struct bl_str json; /* into `scratch` */
    uint64_t seq;       /* 0 when there is none */
    int64_t time_us;    /* 0 when there is none */
    char name[64], text[256];
};
void v2_read(struct bl_str frame, struct bl_buf *scratch, struct v2_message *out);
