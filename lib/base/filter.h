/* Which hashes may be there: a cuckoo filter (Fan, Andersen, Kaminsky, Mitzenmacher, "Cuckoo
 * filter: practically better than Bloom", 2014), read by any thread without a lock or a wait.
 *
 * A hash is kept as a fingerprint of 16 bits in one of two buckets; a bucket is one word of four
 * fingerprints. A "no" is certain. A "maybe" is wrong for one absent hash in 8,700 when the filter
 * is full. An entry takes 2.13 bytes then.
 *
 * The filter may also know nothing: before it was filled, or after it overflowed. Then it says
 * "maybe" to everything, and whoever knows the hashes has it filled, in steps, beside their changes
 * and its readers. The same makes it larger or smaller: see firn_filter_rebuild_begin.
 *
 * Knows 64-bit numbers whose bits are all random, and nothing of what they stand for or where they
 * are kept. Functions marked [writer] are called by one thread at a time, ordered by a lock of the
 * caller's; all others are safe from any thread. */
#ifndef FIRN_BASE_FILTER_H
#define FIRN_BASE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#include "base/heap.h"

typedef struct firn_filter firn_filter;

#define FIRN_FILTER_CAPACITY_MAX (UINT64_C(1) << 32)

typedef struct firn_filter_stats {
    uint64_t count;    /* hashes it holds; 0 while it knows nothing */
    uint64_t capacity; /* hashes it is made for; 0 while it knows nothing */
    uint64_t bytes;    /* of memory, all in. What is retired (see filter.c) counts only if the
                          user's allocator has it, for else it is but addresses */
    bool knows;        /* false: it says "maybe" to everything */
} firn_filter_stats;

/* A filter that knows nothing. The heap is lent for its life. NULL: no memory. */
firn_filter *firn_filter_new(firn_heap *heap);
/* Nobody uses it any more. filter may be NULL. */
void firn_filter_free(firn_filter *filter);

/* False: the hash is not there. It takes two reads of memory, of which neither waits for the other,
 * and never more than a fixed number. What was added before the call, in the sense of C's "happens
 * before", and is not removed until it returns, is never denied. */
bool firn_filter_may_contain(const firn_filter *filter, uint64_t hash);
/* Brings what a question about the hash will read into the processor's cache. */
void firn_filter_prefetch(const firn_filter *filter, uint64_t hash);
void firn_filter_get_stats(const firn_filter *filter, firn_filter_stats *stats);

/* [writer] A hash is there from now on. It must not be there already; a hash that is there twice
 * costs a place, and no truth. Each hash that ever comes into being is told, whatever the state of
 * the filter.
 *
 * False: it has no place for it, and knows nothing from now on, or the one that is being built has
 * not and was given up. Nothing needs to be done at once; see firn_filter_wants_rebuild. */
bool firn_filter_add(firn_filter *filter, uint64_t hash);
/* [writer] A hash is no longer there. It must have been: a removal of what was not added may take
 * away what another hash needs.
 *
 * False: it was not to be found, which shows that the filter was told untruths. It knows nothing
 * from now on, or the one that is being built was given up. */
bool firn_filter_remove(firn_filter *filter, uint64_t hash);

/* [writer] True: it knows nothing or has more than its capacity, and none is being built. Above
 * its capacity it takes about two in a hundred more before it is full. */
bool firn_filter_wants_rebuild(const firn_filter *filter);
/* [writer] A new filter is being built or loaded. */
bool firn_filter_is_building(const firn_filter *filter);

/* [writer] Begins to build a filter for that many hashes beside the one there is, which goes on
 * until the new one takes its place. What was being built or loaded is given up. With a capacity
 * of a half more than there are hashes, the cost of all rebuilding is a few times that of adding.
 *
 * FIRN_OK; FIRN_ENOMEM, nothing was changed; FIRN_EINVAL: above FIRN_FILTER_CAPACITY_MAX. */
int firn_filter_rebuild_begin(firn_filter *filter, uint64_t capacity);

/* Gives the least hash there is that is at least `from`: FIRN_OK. FIRN_NOT_FOUND: none. Or an
 * error of its own. */
typedef int (*firn_filter_source)(void *context, uint64_t from, uint64_t *hash);

/* [writer] Asks the source for the next hashes, at the most that many, and takes them in.
 *
 * The source is to tell exactly what firn_filter_add and firn_filter_remove were told so far, and
 * nothing older: a state read from a store is begun within the writer's lock and after the last
 * change was told. It may be another state at each step. Changes between the steps are taken into
 * the new filter where the walk has been already; elsewhere the walk will find them. So nothing is
 * taken in twice, and nothing is taken out that is not in.
 *
 * FIRN_AGAIN: more is left. FIRN_OK: it was the last step, and the new filter has taken the place
 * of the old one. FIRN_ENOSPC: the new one became full, in this step or by an addition, and was
 * given up; begin again with a larger capacity. FIRN_EINVAL: the source gave a hash below `from`.
 * The source's errors are passed on, and the step may be tried again after them. */
int firn_filter_rebuild_step(firn_filter *filter, uint64_t hashes_max, firn_filter_source source,
                             void *context);
/* [writer] Gives up what is being built, if anything is; the filter there is remains. */
void firn_filter_rebuild_cancel(firn_filter *filter);

/* To begin with nothing: a filter that knows that no hash is there. [writer] FIRN_OK, FIRN_ENOMEM,
 * FIRN_EINVAL as above. */
int firn_filter_start_empty(firn_filter *filter, uint64_t capacity);

/* What a filter is when it is saved: `buckets` words. */
typedef struct firn_filter_shape {
    uint64_t buckets;
    uint64_t count;
} firn_filter_shape;

/* [writer] FIRN_OK, or FIRN_NOT_FOUND: it knows nothing. */
int firn_filter_get_shape(const firn_filter *filter, firn_filter_shape *shape);
/* [writer] Copies words from number first on. */
void firn_filter_get_words(const firn_filter *filter, uint64_t first, uint64_t *words,
                           size_t count);

/* [writer] Begins to load what was saved, as it is true now: changes from now on are remembered,
 * and made when it is loaded. If they become more than FIRN_FILTER_CHANGES_MAX, the loading is
 * given up, for then a rebuild costs less. FIRN_OK; FIRN_ENOMEM; FIRN_ECORRUPT: no filter has this
 * shape. */
enum { FIRN_FILTER_CHANGES_MAX = 65536 };
int firn_filter_load_begin(firn_filter *filter, const firn_filter_shape *shape);
/* [writer] The next words, in order. FIRN_OK; FIRN_ECORRUPT: more than its shape says;
 * FIRN_ENOMEM: the loading was given up, by changes that could not be remembered or by another
 * beginning. */
int firn_filter_load_words(firn_filter *filter, const uint64_t *words, size_t count);
/* [writer] The words were all given, and are what was saved: makes the changes, and puts it in
 * place. FIRN_OK. FIRN_ENOMEM as above; FIRN_ECORRUPT: it is not whole, or not of this shape;
 * FIRN_ENOSPC: the changes have no place in it. After an error the loading is given up. */
int firn_filter_load_finish(firn_filter *filter);
/* [writer] Gives up what is being loaded, if anything is. */
void firn_filter_load_cancel(firn_filter *filter);

#endif
