/* Blobs: a store's few small files of bytes that never change, told apart by a number.
 *
 * Each is a file "firn.blob.NUMBER" of its own, in hexadecimal, so that it depends on nothing else
 * in the store being whole. What the bytes are, and whether they are sound, is the caller's to
 * know. Knows a directory and numbers. Safe from any thread, if no two write the same number. */
#ifndef FIRN_COLD_BLOBS_H
#define FIRN_COLD_BLOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

#define FIRN_BLOB_PREFIX "firn.blob."

enum { FIRN_BLOB_BYTES_MAX = 16 << 20 };

/* Whether a file's name is that of a blob, or of one that was being written. */
bool firn_blob_is_name(const char *name);

/* Writes it in place of any before; on the device when it returns. FIRN_OK, FIRN_ENOMEM,
 * FIRN_ENOSPC, FIRN_EIO, FIRN_EREADONLY. */
int firn_blob_put(const char *directory, uint64_t number, const void *bytes, size_t size,
                  firn_heap *heap, firn_detail *detail);
/* FIRN_OK, FIRN_NOT_FOUND, FIRN_ENOMEM, FIRN_EIO, FIRN_EREADONLY. */
int firn_blob_remove(const char *directory, uint64_t number, firn_heap *heap, firn_detail *detail);
/* *bytes: *size bytes of the heap, the caller's to free; NULL after an error. FIRN_OK,
 * FIRN_NOT_FOUND, FIRN_ENOMEM, FIRN_EIO. */
int firn_blob_get(const char *directory, uint64_t number, unsigned char **bytes, size_t *size,
                  firn_heap *heap, firn_detail *detail);
/* The lowest number that is at least `from`. FIRN_OK, FIRN_NOT_FOUND, FIRN_EIO. */
int firn_blob_next(const char *directory, uint64_t from, uint64_t *number, firn_detail *detail);

#endif
