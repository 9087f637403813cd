/* The trainer: samples of the values that are written, and dictionaries made of them.
 *
 * The writer offers values; a bounded, evenly thinned sample of them is kept. When enough has gone
 * by, the samples are handed over to whoever does background work, who trains a dictionary and
 * tries it, beside the one in use, on samples it has not seen. One that saves enough is handed back
 * to the writer as the candidate. How much has to go by grows with each training that brought
 * nothing.
 *
 * Who may touch the trainer is told by its state:
 *
 *     COLLECTING  the writer            offer, hurry  -> READY
 *     READY       the background        train         -> CANDIDATE or COLLECTING
 *     CANDIDATE   the writer            settle        -> COLLECTING
 *
 * Knows values and dictionaries; no records and no store. */
#ifndef FIRN_COLD_TRAINER_H
#define FIRN_COLD_TRAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "cold/dictionary.h"

typedef struct firn_trainer firn_trainer;

enum {
    FIRN_SAMPLE_VALUE_MAX = 16 << 10, /* larger values are neither sampled nor gain much */
};

/* budget_bytes: of the store; a small one has small dictionaries, of few samples. NULL: no
 * memory. */
firn_trainer *firn_trainer_new(firn_heap *heap, int level, uint64_t budget_bytes);
void firn_trainer_free(firn_trainer *trainer);

/* [writer] A value of up to FIRN_SAMPLE_VALUE_MAX bytes is being stored. raw: it did not become
 * smaller. current: the dictionary in use, NULL if none; it stays until the samples were trained.
 * Cheap; without memory, values are not sampled. */
void firn_trainer_offer(firn_trainer *trainer, const void *value, size_t size, bool raw,
                        const firn_dictionary *current);
/* [writer] Values are no longer what they were: forget them, and train soon. */
void firn_trainer_hurry(firn_trainer *trainer);

/* Whether the samples wait to be trained. Safe from any thread. */
bool firn_trainer_ready(const firn_trainer *trainer);
/* Trains and tries, if the samples are ready; takes about a tenth of a second of processor time. By
 * one thread at a time, beside the writer. */
void firn_trainer_train(firn_trainer *trainer);

/* [writer] The dictionary that was found worth having, ready for encoding, its id not set yet;
 * NULL: none is. Lent until settle. */
firn_dictionary *firn_trainer_candidate(const firn_trainer *trainer);
/* [writer] The candidate was taken over (it is the caller's), or could not be: it is freed. */
void firn_trainer_settle(firn_trainer *trainer, bool taken);

#endif
