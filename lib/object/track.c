/* See track.h. */
#include "object/track.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "base/mutex.h"

enum {
    PARTS = 16, /* a power of two */
    BUCKETS_MIN = 64,
};

typedef struct record {
    firn_object *object;
    struct record *next;
    uint64_t taken;
    bool reported;
    const void *places[FIRN_PLACES_MAX]; /* a ring: number `taken` is the next */
} record;

typedef struct part {
    _Alignas(64) pthread_mutex_t lock; /* guards the rest. Taken last of all; an object leaves the
                                          table before it is freed, so what is in it is there */
    record **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
} part;

struct firn_tracker {
    firn_heap *heap; /* lent; immutable, like the next */
    bool places;
    part parts[PARTS];
};

static uint64_t mix(const firn_object *object) {
    return ((uint64_t)(uintptr_t)object >> 4) * UINT64_C(0x9e3779b97f4a7c15);
}

static part *part_of(firn_tracker *tracker, const firn_object *object) {
    return &tracker->parts[mix(object) >> 60 & (PARTS - 1)];
}

static record **bucket_of(const part *self, const firn_object *object) {
    return &self->buckets[mix(object) >> 20 & (self->bucket_count - 1)];
}

firn_tracker *firn_tracker_new(firn_heap *heap, bool places) {
    firn_tracker *tracker = firn_heap_alloc_lines(heap, sizeof *tracker);
    int failed = tracker == NULL;
    for (unsigned i = 0; tracker != NULL && i < PARTS; i++) {
        failed |= firn_mutex_init(&tracker->parts[i].lock);
    }
    if (tracker != NULL) {
        tracker->heap = heap;
        tracker->places = places;
    }
    if (failed != 0) {
        firn_tracker_free(tracker);
        return NULL;
    }
    return tracker;
}

void firn_tracker_free(firn_tracker *tracker) {
    if (tracker == NULL) {
        return;
    }
    for (unsigned i = 0; i < PARTS; i++) {
        part *self = &tracker->parts[i];
        /* Objects are gone by now, and their records with them. */
        firn_heap_free(tracker->heap, self->buckets, self->bucket_count * sizeof *self->buckets);
        pthread_mutex_destroy(&self->lock);
    }
    firn_heap_free_lines(tracker->heap, tracker, sizeof *tracker);
}

/* Twice as many buckets, if there is memory. The lock is held. */
static void grow_locked(firn_tracker *tracker, part *self) {
    part grown = {.bucket_count = self->bucket_count > 0 ? self->bucket_count * 2 : BUCKETS_MIN};
    grown.buckets = firn_heap_zalloc(tracker->heap, grown.bucket_count * sizeof *grown.buckets);
    if (grown.buckets == NULL) {
        return;
    }
    for (size_t i = 0; i < self->bucket_count; i++) {
        for (record *at = self->buckets[i]; at != NULL;) {
            record *next = at->next;
            record **bucket = bucket_of(&grown, at->object);
            at->next = *bucket;
            *bucket = at;
            at = next;
        }
    }
    firn_heap_free(tracker->heap, self->buckets, self->bucket_count * sizeof *self->buckets);
    self->buckets = grown.buckets;
    self->bucket_count = grown.bucket_count;
}

/* The object's record, made if there is none. The lock is held. NULL: no memory. */
static record *record_locked(firn_tracker *tracker, part *self, firn_object *object) {
    if (self->count >= self->bucket_count) {
        grow_locked(tracker, self);
    }
    if (self->bucket_count == 0) {
        return NULL;
    }
    record **bucket = bucket_of(self, object);
    for (record *at = *bucket; at != NULL; at = at->next) {
        if (at->object == object) {
            return at;
        }
    }
    record *made = firn_heap_zalloc(tracker->heap, sizeof *made);
    if (made != NULL) {
        made->object = object;
        made->next = *bucket;
        *bucket = made;
        self->count++;
    }
    return made;
}

void firn_track_take(firn_tracker *tracker, firn_object *object, const void *place) {
    part *self = part_of(tracker, object);
    pthread_mutex_lock(&self->lock);
    record *of = record_locked(tracker, self, object);
    if (of != NULL) {
        of->places[of->taken++ % FIRN_PLACES_MAX] = tracker->places ? place : NULL;
    }
    pthread_mutex_unlock(&self->lock);
}

void firn_track_forget(firn_tracker *tracker, const firn_object *object) {
    part *self = part_of(tracker, object);
    record *gone = NULL;
    pthread_mutex_lock(&self->lock);
    for (record **at = self->bucket_count > 0 ? bucket_of(self, object) : &gone; *at != NULL;) {
        if ((*at)->object == object) {
            gone = *at;
            *at = gone->next;
            self->count--;
            break;
        }
        at = &(*at)->next;
    }
    pthread_mutex_unlock(&self->lock);
    firn_heap_free(tracker->heap, gone, sizeof *gone);
}

/* ---- reporting ---- */

/* The next that was not reported, with a reference for the caller. */
static bool next_of_part(part *self, record *found) {
    bool any = false;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->bucket_count && !any; i++) {
        for (record *at = self->buckets[i]; at != NULL && !any; at = at->next) {
            if (!at->reported && firn_object_try_ref(at->object)) {
                at->reported = true;
                *found = *at;
                any = true;
            }
        }
    }
    pthread_mutex_unlock(&self->lock);
    return any;
}

static firn_place place_at(const void *address) {
    firn_place place = {.address = address};
    Dl_info info;
    /* One less: the call may be the last instruction of its function. */
    if (dladdr((const char *)address - 1, &info) != 0) {
        const void *base = info.dli_sname != NULL ? info.dli_saddr : info.dli_fbase;
        place.module = info.dli_fname;
        place.symbol = info.dli_sname;
        place.offset = (size_t)((uintptr_t)address - (uintptr_t)base);
    }
    return place;
}

static firn_leak leak_of(const firn_tracker *tracker, const record *of) {
    uint32_t refs = atomic_load_explicit(&of->object->entry.refs, memory_order_relaxed);
    firn_leak leak = {.size = sizeof leak, .object = of->object, .taken = of->taken};
    leak.references = (refs & ~FIRN_OBJECT_FROZEN) - 1; /* less our own */
    for (uint64_t i = 0; tracker->places && i < of->taken && i < FIRN_PLACES_MAX; i++) {
        leak.places[i] = place_at(of->places[(of->taken - 1 - i) % FIRN_PLACES_MAX]);
        leak.place_count++;
    }
    return leak;
}

void firn_track_report(firn_tracker *tracker, void (*report)(void *context, const firn_leak *leak),
                       void *context) {
    for (unsigned i = 0; i < PARTS; i++) {
        record found;
        while (next_of_part(&tracker->parts[i], &found)) {
            firn_leak leak = leak_of(tracker, &found);
            if (leak.references > 0) { /* else it went meanwhile */
                report(context, &leak);
            }
            firn_object_unref(found.object);
        }
    }
}
