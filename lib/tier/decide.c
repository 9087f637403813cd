/* See decide.h. */
#include "tier/decide.h"

#include <string.h>

#include "observe/probes.h"
#include "tier/cache.h"

enum {
    UNTOLD_MAX = 65536,
    UNTOLD_FIRST = 64,
};

/* A notice that waits. */
typedef struct firn_untold {
    firn_decision decision;
    firn_object *object; /* a reference; NULL: only the hash is known */
} untold;

int firn_deciding_init(firn_cache *cache) {
    firn_deciding *self = &cache->deciding;
    self->last = firn_decisions_new(cache->heap);
    if (self->last == NULL || pthread_mutex_init(&self->lock, NULL) != 0) {
        firn_decisions_free(self->last, cache->heap);
        self->last = NULL;
        return FIRN_ENOMEM;
    }
    self->listens = cache->options.listener.tell != NULL;
    return FIRN_OK;
}

static void free_untold(firn_cache *cache, untold *notices, size_t capacity) {
    firn_heap_free(cache->heap, notices, capacity * sizeof *notices);
}

void firn_deciding_fini(firn_cache *cache) {
    firn_deciding *self = &cache->deciding;
    if (self->last == NULL) {
        return;
    }
    for (size_t i = 0; i < self->count; i++) {
        firn_object_unref(self->untold[i].object);
    }
    free_untold(cache, self->untold, self->capacity);
    pthread_mutex_destroy(&self->lock);
    firn_decisions_free(self->last, cache->heap);
    self->last = NULL;
}

/* The lock is held. */
static bool grow(firn_cache *cache) {
    firn_deciding *self = &cache->deciding;
    size_t capacity = self->capacity > 0 ? self->capacity * 2 : UNTOLD_FIRST;
    if (capacity > UNTOLD_MAX) {
        return false;
    }
    untold *grown = firn_heap_alloc(cache->heap, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    if (self->count > 0) {
        memcpy(grown, self->untold, self->count * sizeof *grown);
    }
    free_untold(cache, self->untold, self->capacity);
    self->untold = grown;
    self->capacity = capacity;
    return true;
}

static void queue(firn_cache *cache, const firn_decision *decision, firn_object *object) {
    firn_deciding *self = &cache->deciding;
    uint64_t kinds = cache->options.listener.kinds;
    if (kinds != 0 && (kinds >> decision->kind & 1) == 0) {
        return;
    }
    pthread_mutex_lock(&self->lock);
    bool room = self->count < self->capacity || grow(cache);
    if (room) {
        self->untold[self->count++] =
            (untold){*decision, object != NULL ? firn_object_keep(object) : NULL};
        atomic_store_explicit(&self->queued, self->count, memory_order_relaxed);
    }
    pthread_mutex_unlock(&self->lock);
    if (!room) {
        atomic_fetch_add_explicit(&self->lost, 1, memory_order_relaxed);
    }
}

/* Not every put: it would drive out what is to be found. And what is of no entry has no place. */
static bool is_remembered(const firn_decision *decision) {
    return decision->kind != FIRN_DECISION_INSERT && decision->hash != 0;
}

static void decide(firn_cache *cache, const firn_decision *decision, firn_object *object) {
    FIRN_PROBE5(decision, decision->hash, decision->version, decision->kind, decision->reason,
                decision->detail);
    if (is_remembered(decision)) {
        firn_decisions_note(cache->deciding.last, decision);
    }
    if (__builtin_expect(cache->deciding.listens, 0)) {
        queue(cache, decision, object);
    }
}

void firn_decide(firn_cache *cache, uint64_t hash, uint64_t version, unsigned kind, unsigned reason,
                 uint64_t detail) {
    firn_decision decision = {
        firn_clock_coarse_ms(&cache->options.clock), hash, version, detail, kind, reason};
    decide(cache, &decision, NULL);
}

void firn_decide_of(firn_cache *cache, uint64_t hash, firn_object *object, unsigned kind,
                    unsigned reason, uint64_t detail) {
    firn_decision decision = {firn_clock_coarse_ms(&cache->options.clock),
                              hash,
                              firn_object_version(object),
                              detail,
                              kind,
                              reason};
    decide(cache, &decision, object);
}

bool firn_decide_unreadable(firn_cache *cache, uint64_t hash, int result) {
    if (result == FIRN_ECORRUPT) {
        firn_decide(cache, hash, 0, FIRN_DECISION_DAMAGE, FIRN_REASON_CHECKSUM, 0);
    } else if (result == FIRN_EIO) {
        firn_decide(cache, hash, 0, FIRN_DECISION_ERROR, FIRN_REASON_READ, (uint64_t)-result);
    }
    return result == FIRN_ECORRUPT || result == FIRN_EIO;
}

void firn_decide_over(firn_cache *cache, uint64_t hash, firn_object *object, bool cleared) {
    firn_decide_of(cache, hash, object, cleared ? FIRN_DECISION_INVALIDATE : FIRN_DECISION_EXPIRE,
                   cleared ? FIRN_REASON_CLEARED : FIRN_REASON_TTL,
                   cleared ? 0 : firn_object_expires_ms(object));
}

static void tell_of(firn_cache *cache, const untold *waiting) {
    firn_notice notice = {.decision = waiting->decision};
    if (waiting->object != NULL) {
        notice.key = firn_object_key(waiting->object, &notice.key_size);
        notice.value_size = firn_object_value_size(waiting->object);
        notice.charge = firn_object_charge(waiting->object);
    }
    cache->options.listener.tell(cache->options.listener.context, &notice);
    firn_object_unref(waiting->object);
}

/* Takes all that waits; false: nothing does, and the next is somebody else's to tell. */
static bool take_untold(firn_cache *cache, untold **taken, size_t *count, size_t *capacity) {
    firn_deciding *self = &cache->deciding;
    pthread_mutex_lock(&self->lock);
    *taken = self->untold;
    *count = self->count;
    *capacity = self->capacity;
    if (*count > 0) {
        self->untold = NULL;
        self->count = self->capacity = 0;
        atomic_store_explicit(&self->queued, 0, memory_order_relaxed);
    } else {
        self->telling = false;
    }
    pthread_mutex_unlock(&self->lock);
    return *count > 0;
}

static bool begin_telling(firn_deciding *self) {
    pthread_mutex_lock(&self->lock);
    bool ours = !self->telling && self->count > 0;
    self->telling = self->telling || ours;
    pthread_mutex_unlock(&self->lock);
    return ours;
}

void firn_tell(firn_cache *cache) {
    firn_deciding *self = &cache->deciding;
    if (__builtin_expect(!self->listens, 1) || firn_drops_within() ||
        atomic_load_explicit(&self->queued, memory_order_relaxed) == 0 || !begin_telling(self)) {
        return;
    }
    untold *taken;
    size_t count;
    size_t capacity;
    while (take_untold(cache, &taken, &count, &capacity)) {
        for (size_t i = 0; i < count; i++) {
            tell_of(cache, &taken[i]);
        }
        free_untold(cache, taken, capacity);
    }
}
