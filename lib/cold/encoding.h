/* Encoding: which values are compressed, with which dictionary, on which threads.
 *
 * One of these belongs to the writer of a store. It holds an encoder and an account of effort for
 * each lane (the caller's thread and those of the crew), the dictionary in use, and the trainer
 * that finds better ones. It watches what the dictionary achieves, and lets the trainer hurry when
 * that gets worse. Knows values; no records and no store: where a dictionary is kept is
 * cold_maintain.c's affair.
 *
 * Functions marked [writer] are called by one thread at a time, the caller's writer lock held. */
#ifndef FIRN_COLD_ENCODING_H
#define FIRN_COLD_ENCODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "cold/crew.h"
#include "cold/dictionary.h"
#include "cold/trainer.h"

typedef struct firn_encoding firn_encoding;

typedef struct firn_encoding_config {
    firn_heap *heap;
    int level; /* or FIRN_COMPRESSION_OFF */
    size_t min_bytes;
    unsigned threads;      /* beside the caller's */
    uint64_t budget_bytes; /* of the store; see firn_trainer_new */
} firn_encoding_config;

/* NULL: no memory, or no threads. */
firn_encoding *firn_encoding_new(const firn_encoding_config *config);
void firn_encoding_free(firn_encoding *encoding);

/* Whether values of that size are compressed at all. */
bool firn_encoding_wants(const firn_encoding *encoding, size_t size);
/* [writer] Calls work for each piece below count, on as many threads as there are. */
void firn_encoding_run(firn_encoding *encoding, size_t count, firn_crew_work work, void *context);
/* Compresses a value that is wanted into `to`, which has room for as many bytes as the value and
 * FIRN_ENCODE_LEAD in front. Returns the encoded size, or 0: it is to be stored as it is.
 * *dictionary: the id of the one that was used, 0: none. By the thread of the lane, within a run.
 */
size_t firn_encode(firn_encoding *encoding, unsigned lane, void *to, const void *value, size_t size,
                   uint32_t *dictionary);
/* [writer] After the run: what became of a wanted value. stored: 0: as it is. */
void firn_encoding_note(firn_encoding *encoding, const void *value, size_t size, size_t stored);

/* [writer] The dictionary in use; NULL: none. */
const firn_dictionary *firn_encoding_dictionary(const firn_encoding *encoding);
/* [writer] Uses another one, which stays until firn_encoding_free. False: no memory, nothing has
 * changed. */
bool firn_encoding_use(firn_encoding *encoding, firn_dictionary *dictionary);
/* The trainer; see there for who may call what. NULL when nothing is compressed. */
firn_trainer *firn_encoding_trainer(firn_encoding *encoding);

#endif
