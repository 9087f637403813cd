/* What of a file is on the device, when syncs may fail.
 *
 * After a sync that failed the system may have dropped what it could not write, and say nothing of
 * it at the next one, which succeeds. So from then on the file is in doubt, and is not synced,
 * until its owner has looked at all that was written since the last sync that did not fail, and
 * has written it again. A line in the file says so, for the doubt outlives the process:
 *
 *     u64 the position from which on it is not known what is on the device; 0: there is no doubt
 *     u64 not 0: another file, which can be made anew from this one, is in doubt as a whole
 *     u64 XXH3-64 of these two, seeded by the owner; if it is wrong, both are 0
 *
 * Knows a descriptor and numbers that grow with what is written; not what these are positions in.
 * All functions but init and fini are safe from any thread. */
#ifndef FIRN_COLD_DOUBT_H
#define FIRN_COLD_DOUBT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct firn_doubt_line {
    uint64_t from;
    uint64_t other;
    uint64_t check;
} firn_doubt_line;

typedef struct firn_doubt {
    int fd;        /* lent; immutable, as the next two */
    uint64_t at;   /* where the line stands in the file */
    uint64_t seed; /* of its check */
    /* Held over each sync, so that none of two at a time takes the error that is the other's. */
    pthread_mutex_t lock;
    uint64_t synced;      /* lock, as all below: what lies before this is on the device */
    bool blocked;         /* it has to be written again first */
    firn_doubt_line line; /* as it is to stand in the file */
    firn_doubt_line told; /* as it does */
} firn_doubt;

/* 0, or an errno. The descriptor is set later. */
int firn_doubt_init(firn_doubt *doubt);
void firn_doubt_fini(firn_doubt *doubt);
/* Takes over what the file says. */
void firn_doubt_read(firn_doubt *doubt);

/* Pushes the file, in which all before *end is written, to the device. 0; EAGAIN: it is in doubt;
 * or why it could not be done: it is in doubt from here on. */
int firn_doubt_sync(firn_doubt *doubt, const _Atomic uint64_t *end);
/* 0: there is none. */
uint64_t firn_doubt_from(firn_doubt *doubt);
/* All was written again. */
void firn_doubt_end(firn_doubt *doubt);

/* All before a position is on the device. */
void firn_doubt_trust(firn_doubt *doubt, uint64_t end);
/* What is written from a position on is not; nor is it if a sync is under way. 0: anywhere. */
void firn_doubt_lower(firn_doubt *doubt, uint64_t end);
/* The line itself may have to be written again. */
void firn_doubt_forget_line(firn_doubt *doubt);

void firn_doubt_set_other(firn_doubt *doubt, bool other);
bool firn_doubt_other(firn_doubt *doubt);

#endif
