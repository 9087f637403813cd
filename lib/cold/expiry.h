/* A coarse account of when the bytes of one segment expire: a few times with the bytes that have
 * expired by then. What does not fit is put to the next later time, so bytes are never taken for
 * expired too soon. Knows times and numbers; not what expires, nor who has the time. For one thread
 * at a time. */
#ifndef FIRN_COLD_EXPIRY_H
#define FIRN_COLD_EXPIRY_H

#include <stdint.h>

enum { FIRN_EXPIRY_TIMES = 6 };

typedef struct firn_expiry_time {
    uint32_t by_s;  /* since 1970 */
    uint32_t bytes; /* that expire by then, and after the time before */
} firn_expiry_time;

/* All zero: nothing was added. */
typedef struct firn_expiry {
    uint64_t bytes;                            /* all that were added, whether they expire or not */
    uint32_t count;                            /* of times in use; 0: nothing expires */
    firn_expiry_time times[FIRN_EXPIRY_TIMES]; /* ascending */
} firn_expiry;

/* expires_ms: since 1970; 0: never. */
void firn_expiry_add(firn_expiry *expiry, uint64_t bytes, uint64_t expires_ms);

/* The first time; UINT64_MAX: nothing expires. */
static inline uint64_t firn_expiry_first_s(const firn_expiry *expiry) {
    return expiry->count > 0 ? expiry->times[0].by_s : UINT64_MAX;
}

/* Of `live` bytes, those of the added ones that are still of use, about how many have expired.
 * Which ones are of no use any more is not known: they are taken to be as the others are. */
uint64_t firn_expiry_expired(const firn_expiry *expiry, uint64_t live, uint64_t now_ms);

#endif
