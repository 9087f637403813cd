/* The file of a recording: its bytes, for who writes it and who reads it. All numbers are
 * little-endian; see also docs/format.md.
 *
 *     header   offset 0   8 bytes "FIRNTRAC"     24  u64 begin, milliseconds since 1970
 *                     8   u32 format, 1          32  u64 hot_bytes
 *                     12  u32 0                  40  u64 cold_bytes, 0: none
 *                     16  u64 threshold: key     48  u64 0
 *                         hashes below it are    56  u64 XXH3-64 of bytes 0 to 55, seed 0
 *                         recorded
 *     blocks   offset 0   u32 0x31425446         16  u64 accesses that were dropped up to here
 *                     4   u32 stored bytes       24  u64 XXH3-64 of the stored bytes; the seed is
 *                     8   u32 raw bytes              the XXH3-64 of bytes 0 to 23, seed 0
 *                     12  u32 accesses           32  the stored bytes: a zstd frame
 *
 * Raw: a varint, milliseconds from the begin to the block; then accesses, each
 *
 *     1 byte    bits 0 to 2: FIRN_ACCESS_...; 3: has a lifetime; 4: has a cost
 *     varint    milliseconds since the one before, or the block's begin
 *     8 bytes   key hash
 *     varints   of a hit or put: value size; charge less value size
 *     varints   lifetime, milliseconds; cost, microseconds: if the bits say so */
#ifndef FIRN_OBSERVE_RECORDER_FORMAT_H
#define FIRN_OBSERVE_RECORDER_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/record.h>

#include "base/hash.h"
#include "base/varint.h"

#define FIRN_TRACE_MAGIC       "FIRNTRAC"
#define FIRN_TRACE_BLOCK_MAGIC UINT32_C(0x31425446)

enum {
    FIRN_TRACE_FORMAT = 1,
    FIRN_TRACE_RAW_MAX = 1 << 20, /* of a block */
    FIRN_TRACE_ACCESS_MAX = 1 + 8 + 5 * FIRN_VARINT_MAX,
    FIRN_TRACE_HAS_TTL = 1 << 3,
    FIRN_TRACE_HAS_COST = 1 << 4,
};

typedef struct firn_trace_header {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t below;
    uint64_t started_ms;
    uint64_t hot_bytes;
    uint64_t cold_bytes;
    uint64_t unused;
    uint64_t checksum;
} firn_trace_header;

typedef struct firn_trace_block {
    uint32_t magic;
    uint32_t stored_bytes;
    uint32_t raw_bytes;
    uint32_t accesses;
    uint64_t dropped;
    uint64_t checksum;
} firn_trace_block;

_Static_assert(sizeof(firn_trace_header) == 64 && sizeof(firn_trace_block) == 32,
               "as the format says");

static inline uint64_t firn_trace_header_checksum(const firn_trace_header *head) {
    return firn_hash64(0, head, offsetof(firn_trace_header, checksum));
}

static inline uint64_t firn_trace_block_checksum(const firn_trace_block *head, const void *stored) {
    return firn_hash64(firn_hash64(0, head, offsetof(firn_trace_block, checksum)), stored,
                       head->stored_bytes);
}

static inline bool firn_trace_has_sizes(unsigned what) {
    return what == FIRN_ACCESS_HOT_HIT || what == FIRN_ACCESS_COLD_HIT || what == FIRN_ACCESS_PUT;
}

#endif
