/* See pieces.h. */
#include "cold/pieces.h"

#include <endian.h>
#include <string.h>

#include <firn/stream.h>

#include "base/hash.h"

static void put_u64(unsigned char *to, uint64_t number) {
    uint64_t little = htole64(number);
    memcpy(to, &little, sizeof little);
}

static uint64_t get_u64(const unsigned char *from) {
    uint64_t little;
    memcpy(&little, from, sizeof little);
    return le64toh(little);
}

void firn_pieces_write(const firn_pieces *pieces, unsigned char head[FIRN_STREAM_HEAD_SIZE]) {
    put_u64(head, pieces->total);
    put_u64(head + 8, pieces->stream);
    put_u64(head + 16, pieces->piece);
    put_u64(head + 24, pieces->count);
}

bool firn_pieces_read(firn_pieces *pieces, uint64_t hash, const void *head, size_t size) {
    const unsigned char *from = head;
    if (size != FIRN_STREAM_HEAD_SIZE) {
        return false;
    }
    *pieces = (firn_pieces){
        .hash = hash,
        .total = get_u64(from),
        .stream = get_u64(from + 8),
        .piece = get_u64(from + 16),
        .count = get_u64(from + 24),
    };
    return pieces->total > 0 && pieces->piece >= FIRN_PIECE_BYTES_MIN &&
           pieces->piece <= FIRN_PIECE_BYTES_MAX &&
           pieces->count == (pieces->total - 1) / pieces->piece + 1;
}

uint64_t firn_pieces_key(const firn_pieces *pieces, uint64_t seed, uint64_t number,
                         unsigned char key[FIRN_PIECE_KEY_SIZE]) {
    put_u64(key, pieces->hash);
    put_u64(key + 8, pieces->stream);
    put_u64(key + 16, number);
    return firn_hash64(seed, key, FIRN_PIECE_KEY_SIZE);
}

size_t firn_pieces_size(const firn_pieces *pieces, uint64_t number) {
    return (size_t)(number + 1 < pieces->count ? pieces->piece
                                               : pieces->total - number * pieces->piece);
}
