/* receipt: standard output, counted and hashed on its way, so that whoever gets a file can tell that it is whole:
 * the command line's counterpart of the trailers of GET /export. Private to the cmd room.
 *
 * What is written to receipt_file (or, unbuffered, to receipt_fd: not both) passes a pipe and a thread, which hashes it
 * and writes it to standard output. receipt_close waits for the last byte; its error is that of standard output.
 * Threading: one writer. */
#pragma once
#include <stdio.h>

#include "base/mem.h"

enum { RECEIPT_SHA256_TEXT = 65 };
struct receipt;
enum bl_rc receipt_open(struct receipt **out, struct bl_error *err);
FILE *receipt_file(struct receipt *r);
int receipt_fd(struct receipt *r);
/* Bytes that left, and their SHA-256 in hexadecimal digits; both also after an error. Frees and clears `*r`. */
enum bl_rc receipt_close(struct receipt **r, int64_t *bytes, char sha256[RECEIPT_SHA256_TEXT], struct bl_error *err);
