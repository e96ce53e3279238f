/* roster: what one file of accounts or of profiles says about each account, derived from it as a segment is from a file
 * of posts (segment.h): one entry an account, its newest word within the file; found by DID or handle at once.
 *
 * May include: base, event, lake. Little-endian. Small, so that the whole is compared with its checksum when it is
 * opened, and nothing in it is packed. Threading: any number of threads may read. */
#pragma once
#include "base/mem.h"
#include "lake/catalog.h"
#include "lake/duck.h"

enum { ROSTER_VERSION = 1 };

struct roster_entry { /* p == NULL, us == 0: nothing is said about it. Texts point into the roster */
    struct bl_str did, handle, status, name, description, rev;
    int64_t handle_us, handle_seq;
    int64_t active_us, active_seq;
    int64_t profile_us;
    int active;   /* -1: nothing is said */
    bool deleted; /* the profile is */
};

struct roster;
/* Takes over `fd`, also when it fails. BL_E_CORRUPT. */
enum bl_rc roster_open(int fd, const char *name, uint64_t identity, struct roster **out, struct bl_error *err);
void roster_close(struct roster **r);
size_t roster_count(const struct roster *r);
void roster_at(const struct roster *r, size_t i, struct roster_entry *out); /* i < roster_count */
/* `account`: segment_account(did), which whoever asks many rosters has at hand. */
bool roster_find(const struct roster *r, struct bl_str did, uint64_t account, struct roster_entry *out);
/* The `i`th account of the file that was said to bear the handle, case apart; false when there are no more. */
bool roster_of_handle(const struct roster *r, struct bl_str handle, size_t i, struct roster_entry *out);
/* The hash accounts are sorted by: segment_account. */
uint64_t roster_account(const struct roster *r, size_t i);

/* Writes the roster of `file` (accounts or profiles) into `fd`. */
enum bl_rc roster_write(const char *lake_dir, const struct catalog_file *file, struct duck *duck, uint64_t identity,
                        int fd, const char *name, struct bl_error *err);
