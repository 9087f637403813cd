/* The cold tier: giving space back to the file system. See cold.h, and cold_internal.h for who does
 * the rest.
 *
 * While enough of the log is superseded, valid records of its oldest part are written once more and
 * that part is given up, for one turn round the log at the most. What is valid is never lost: where
 * there is no room for a copy, or damage hides a record, it ends there. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cold/cold_internal.h"

enum { DENSE_NUM = 15, DENSE_DEN = 16 }; /* a log that is valid to this part is left as it is */

typedef struct packing {
    firn_cold *cold;
    uint64_t now_ms;
    uint64_t copied;  /* records in all */
    size_t changes;   /* of them in this transaction */
    uint64_t expired; /* valid records of the oldest part that have expired */
    bool full;        /* there is no room for a copy */
} packing;

static bool is_dense(const packing *self) {
    firn_cold *cold = self->cold;
    firn_backend_usage usage;
    firn_backend_expired expired;
    cold->ops->usage(cold->backend, &usage);
    cold->ops->expired(cold->backend, self->now_ms, &expired);
    return usage.live_bytes - expired.bytes >= usage.log_bytes / DENSE_DEN * DENSE_NUM;
}

static int copy_one(void *context, uint64_t sequence, const firn_bytes *bytes) {
    packing *self = context;
    firn_cold *cold = self->cold;
    firn_record record;
    uint64_t found;
    if (firn_record_check(bytes->data, bytes->size, sequence) != NULL ||
        firn_record_parse(bytes->data, bytes->size, &record) != NULL) {
        return FIRN_OK; /* if it is valid, this part is kept */
    }
    uint64_t hash = firn_hash64(cold->seed, record.key, record.key_size);
    if (cold->ops->locate(cold->session, hash, &found) != FIRN_OK || found != sequence) {
        return FIRN_OK;
    }
    if (firn_record_cleared(&record, cold->clears) ||
        (record.expires_ms != 0 && record.expires_ms <= self->now_ms)) {
        self->expired++;
        return FIRN_OK;
    }
    int result = firn_cold_copy_forward(cold, hash, &record, *bytes);
    if (result == FIRN_ECORRUPT) {
        return FIRN_OK; /* it cannot be decoded, and this part is kept */
    }
    self->copied += result == FIRN_OK;
    self->changes += result == FIRN_OK;
    return result;
}

static int copy_oldest(packing *self) {
    firn_cold *cold = self->cold;
    self->expired = 0;
    (void)cold->ops->room(cold->backend, true); /* fits the log to the budget */
    int result = firn_cold_each_oldest(cold, copy_one, self, &self->changes);
    self->copied -= result == FIRN_OK ? 0 : self->changes;
    self->full = result == FIRN_BACKEND_FULL;
    return self->full ? FIRN_OK : result;
}

static int copy_forward(packing *self,
                        int (*progress)(void *context, uint64_t done, uint64_t total),
                        void *context) {
    firn_cold *cold = self->cold;
    firn_backend_usage usage;
    cold->ops->usage(cold->backend, &usage);
    uint64_t parts = usage.log_bytes / usage.segment_bytes;
    for (uint64_t i = 0; i + 1 < parts && !is_dense(self); i++) {
        if (progress != NULL && progress(context, i, parts) != 0) {
            return FIRN_AGAIN;
        }
        int result = copy_oldest(self);
        if (result != FIRN_OK) {
            return result;
        }
        if (self->full || cold->ops->oldest_valid(cold->backend) > self->expired) {
            return FIRN_OK;
        }
        result = cold->ops->drop(cold->backend);
        if (result != FIRN_OK) {
            return result == FIRN_NOT_FOUND ? FIRN_OK : result;
        }
    }
    return FIRN_OK;
}

static int pack_closed(firn_cold *cold) {
    return cold->ops->pack_closed(cold->path, cold->heap, cold->detail);
}

/* The filter, for the next open. */
static int finish(firn_cold *cold) {
    int result;
    do {
        result = firn_cold_tidy(cold);
    } while (result == FIRN_AGAIN);
    return result;
}

int firn_cold_pack(firn_cold *cold, int (*progress)(void *context, uint64_t done, uint64_t total),
                   void *context, uint64_t *copied) {
    *copied = 0;
    int result = firn_lock_exclude(&cold->lock, cold->path, cold->detail);
    if (result == FIRN_OK && cold->session == NULL) {
        result = cold->ops->session_new(cold->backend, &cold->session);
    }
    if (result == FIRN_OK && firn_cold_has_old_lines(cold)) { /* what is void is not to be copied */
        result = firn_cold_write(cold, NULL, 0, cold->meta.version_next);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_cold_tend_dictionaries(
        cold); /* the one in use is at hand, and its records are copied as they are */
    packing self = {.cold = cold, .now_ms = firn_clock_now_ms(&cold->clock)};
    result = copy_forward(&self, progress, context);
    *copied = self.copied;
    if (result == FIRN_OK) {
        result = cold->ops->pack(cold->backend);
    }
    if (result == FIRN_OK) {
        result = cold->ops->sync(cold->backend, true);
    }
    if (result == FIRN_OK) {
        result = firn_cold_reopen(cold, pack_closed);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_cold_note_usage(cold);
    return finish(cold);
}
