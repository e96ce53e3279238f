/* cbor: DAG-CBOR of an atproto record, and the CID that follows from it.
 *
 * Pure. May include: base, event/json.h.
 * Encoding (https://ipld.io/specs/codecs/dag-cbor/spec/, https://atproto.com/specs/data-model): shortest integers,
 * definite lengths, map keys sorted by length then bytes, {"$link":C} as tag 42, {"$bytes":B} as a byte string, numbers
 * whose text is integral ("123", "123.0") as integers.
 * Not computable, and reported as such: non-integral numbers, integers outside int64/uint64, $link or $bytes that are
 * malformed or have other members beside them (atproto reserves both keys), lone surrogates, depth beyond 128. Of
 * duplicate keys the last counts. */
#pragma once
#include "base/mem.h"

enum { CID_TEXT_LEN = 59, CID_DIGEST_LEN = 32 }; /* "bafyrei..." : multibase b, CIDv1, dag-cbor 0x71, sha2-256 */

/* Append the DAG-CBOR of the JSON value `json`. BL_E_INVALID, with the reason, where none exists; BL_E_SYNTAX where
 * `json` is not one well-formed value; BL_E_FULL where `out` is at its cap. */
enum bl_rc cbor_of_json(struct bl_str json, struct bl_buf *out, struct bl_error *err);

void cid_digest(struct bl_str bytes, unsigned char digest[static CID_DIGEST_LEN]); /* SHA-256 */
/* `codec` 0x71 for records (bafyrei...), 0x55 for raw blobs (bafkrei...). `out` gets CID_TEXT_LEN characters without a
 * NUL. */
void cid_text(const unsigned char digest[static CID_DIGEST_LEN], unsigned codec, char out[static CID_TEXT_LEN]);
/* Parse "b" + base32 of a CIDv1 into its binary form (without the 0x00 of tag 42); false when malformed. */
bool cid_binary(struct bl_str text, struct bl_buf *out);

/* The record's CID: CBOR into `scratch` (cleared first), digest, text. */
enum bl_rc cid_of_record(struct bl_str json, struct bl_buf *scratch, char out[static CID_TEXT_LEN],
                         struct bl_error *err);
