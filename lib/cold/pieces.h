/* How a value that is in pieces is told of: what its head says, and under which keys its pieces
 * are. Knows bytes and numbers; not where records are kept. The form on disk: docs/format.md. */
#ifndef FIRN_COLD_PIECES_H
#define FIRN_COLD_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cold/record.h"

/* What a head says, and whose it is. */
typedef struct firn_pieces {
    uint64_t hash;   /* of the head's key */
    uint64_t total;  /* bytes of the whole value */
    uint64_t stream; /* a random number */
    uint64_t piece;  /* bytes of each piece but the last */
    uint64_t count;
} firn_pieces;

void firn_pieces_write(const firn_pieces *pieces, unsigned char head[FIRN_STREAM_HEAD_SIZE]);
/* False: it makes no sense. */
bool firn_pieces_read(firn_pieces *pieces, uint64_t hash, const void *head, size_t size);
/* Makes the key of piece `number`, and returns its hash under the seed. */
uint64_t firn_pieces_key(const firn_pieces *pieces, uint64_t seed, uint64_t number,
                         unsigned char key[FIRN_PIECE_KEY_SIZE]);
/* Bytes of piece `number`. */
size_t firn_pieces_size(const firn_pieces *pieces, uint64_t number);

#endif
