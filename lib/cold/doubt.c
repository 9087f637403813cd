/* See doubt.h. */
#include "cold/doubt.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

enum { ALL = 1 }; /* a position before all others, and not 0 */

int firn_doubt_init(firn_doubt *doubt) {
    *doubt = (firn_doubt){.fd = -1};
    return pthread_mutex_init(&doubt->lock, NULL);
}

void firn_doubt_fini(firn_doubt *doubt) {
    pthread_mutex_destroy(&doubt->lock);
}

static uint64_t check_of(const firn_doubt *doubt, const firn_doubt_line *line) {
    return firn_hash64(doubt->seed, line, offsetof(firn_doubt_line, check));
}

/* A line that cannot be read is none: it was never written, or its page was lost and is what it
 * was before. */
void firn_doubt_read(firn_doubt *doubt) {
    firn_doubt_line line;
    if (firn_read_at(doubt->fd, &line, sizeof line, doubt->at) == 0 &&
        line.check == check_of(doubt, &line)) {
        doubt->line = doubt->told = line;
        doubt->blocked = line.from != 0;
    }
}

/* 0, or an errno. lock is held. */
static int tell(firn_doubt *doubt) {
    firn_doubt_line line = doubt->line;
    if (line.from == doubt->told.from && line.other == doubt->told.other) {
        return 0;
    }
    line.check = check_of(doubt, &line);
    if (firn_write_at(doubt->fd, &line, sizeof line, doubt->at) != 0) {
        return errno;
    }
    doubt->told = line;
    return 0;
}

/* What could not be told is told before the next sync. lock is held. */
static int sync_locked(firn_doubt *doubt, uint64_t end) {
    int error = tell(doubt);
    if (error != 0) {
        return error;
    }
    if (fdatasync(doubt->fd) != 0) {
        error = errno;
        doubt->blocked = true;
        if (doubt->line.from == 0) {
            doubt->line.from = doubt->synced > ALL ? doubt->synced : ALL;
        }
    } else {
        doubt->synced = end;
        doubt->line.from = 0;
    }
    (void)tell(doubt);
    return error;
}

int firn_doubt_sync(firn_doubt *doubt, const _Atomic uint64_t *end) {
    pthread_mutex_lock(&doubt->lock);
    int error = doubt->blocked
                    ? EAGAIN
                    : sync_locked(doubt, atomic_load_explicit(end, memory_order_acquire));
    pthread_mutex_unlock(&doubt->lock);
    return error;
}

uint64_t firn_doubt_from(firn_doubt *doubt) {
    pthread_mutex_lock(&doubt->lock);
    uint64_t from = doubt->blocked ? doubt->line.from : 0;
    pthread_mutex_unlock(&doubt->lock);
    return from;
}

void firn_doubt_end(firn_doubt *doubt) {
    pthread_mutex_lock(&doubt->lock);
    doubt->blocked = false;
    pthread_mutex_unlock(&doubt->lock);
}

void firn_doubt_trust(firn_doubt *doubt, uint64_t end) {
    pthread_mutex_lock(&doubt->lock);
    doubt->synced = end;
    pthread_mutex_unlock(&doubt->lock);
}

void firn_doubt_lower(firn_doubt *doubt, uint64_t end) {
    pthread_mutex_lock(&doubt->lock);
    doubt->synced = doubt->synced < end ? doubt->synced : end;
    if (doubt->line.from > doubt->synced) {
        doubt->line.from = doubt->synced > ALL ? doubt->synced : ALL;
    }
    pthread_mutex_unlock(&doubt->lock);
}

void firn_doubt_forget_line(firn_doubt *doubt) {
    pthread_mutex_lock(&doubt->lock);
    doubt->told = (firn_doubt_line){UINT64_MAX, UINT64_MAX, 0}; /* nothing that it could say */
    pthread_mutex_unlock(&doubt->lock);
}

void firn_doubt_set_other(firn_doubt *doubt, bool other) {
    pthread_mutex_lock(&doubt->lock);
    doubt->line.other = other;
    (void)tell(doubt);
    pthread_mutex_unlock(&doubt->lock);
}

bool firn_doubt_other(firn_doubt *doubt) {
    pthread_mutex_lock(&doubt->lock);
    bool other = doubt->line.other != 0;
    pthread_mutex_unlock(&doubt->lock);
    return other;
}
