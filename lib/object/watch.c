/* See watch.h. */
#include "object/watch.h"

#include "object/domain.h"

enum { BUCKETS_MIN = 16 };

static uint64_t mix(uintptr_t address) {
    return ((uint64_t)address >> 4) * UINT64_C(0x9e3779b97f4a7c15);
}

static firn_watch_part *part_of(firn_domain *domain, uintptr_t address) {
    return &domain->watched[mix(address) >> 60 & (FIRN_WATCH_PARTS - 1)];
}

static firn_watch **bucket_of(const firn_watch_part *part, uintptr_t address) {
    return &part->buckets[mix(address) >> 20 & (part->bucket_count - 1)];
}

/* Twice as many buckets as before. The lock is held. */
static int grow_locked(firn_domain *domain, firn_watch_part *part) {
    size_t count = part->bucket_count > 0 ? part->bucket_count * 2 : BUCKETS_MIN;
    firn_watch_part grown = {.bucket_count = count};
    grown.buckets = firn_heap_zalloc(domain->heap, count * sizeof(firn_watch *));
    if (grown.buckets == NULL) {
        return FIRN_ENOMEM;
    }
    for (size_t i = 0; i < part->bucket_count; i++) {
        for (firn_watch *watch = part->buckets[i]; watch != NULL;) {
            firn_watch *next = watch->next;
            firn_watch **to = bucket_of(&grown, watch->address);
            watch->next = *to;
            *to = watch;
            watch = next;
        }
    }
    if (part->buckets != NULL) {
        firn_heap_free(domain->heap, part->buckets, part->bucket_count * sizeof(firn_watch *));
    }
    part->buckets = grown.buckets;
    part->bucket_count = count;
    return FIRN_OK;
}

int firn_watch_add(firn_domain *domain, firn_watch *watch, firn_object *object) {
    *watch = (firn_watch){.address = (uintptr_t)object, .object = object};
    firn_watch_part *part = part_of(domain, watch->address);
    pthread_mutex_lock(&part->lock);
    int result = FIRN_OK;
    if (part->count >= part->bucket_count) {
        result = grow_locked(domain, part);
    }
    if (result == FIRN_OK || part->bucket_count > 0) {
        firn_watch **bucket = bucket_of(part, watch->address);
        watch->next = *bucket;
        *bucket = watch;
        part->count++;
        result = FIRN_OK;
    }
    pthread_mutex_unlock(&part->lock);
    return result;
}

/* Takes those out that `one` names, or all of the address. The lock is held. */
static void take_out_locked(firn_watch_part *part, uintptr_t address, const firn_watch *one) {
    if (part->bucket_count == 0) {
        return; /* there was no memory for the watch */
    }
    for (firn_watch **at = bucket_of(part, address); *at != NULL;) {
        firn_watch *watch = *at;
        if (one != NULL ? watch == one : watch->address == address) {
            *at = watch->next;
            watch->object = NULL;
            part->count--;
        } else {
            at = &watch->next;
        }
    }
}

void firn_watch_remove(firn_domain *domain, firn_watch *watch) {
    firn_watch_part *part = part_of(domain, watch->address);
    pthread_mutex_lock(&part->lock);
    if (watch->object != NULL) {
        take_out_locked(part, watch->address, watch);
    }
    pthread_mutex_unlock(&part->lock);
}

firn_object *firn_watch_upgrade(firn_domain *domain, firn_watch *watch) {
    firn_watch_part *part = part_of(domain, watch->address);
    pthread_mutex_lock(&part->lock);
    firn_object *object = watch->object;
    if (object != NULL && !firn_object_try_ref(object)) {
        object = NULL;
    }
    pthread_mutex_unlock(&part->lock);
    return object;
}

void firn_watch_forget_locked(firn_object *object) {
    take_out_locked(part_of(firn_domain_of(object), (uintptr_t)object), (uintptr_t)object, NULL);
}

void firn_watch_forget(firn_object *object) {
    firn_watch_part *part = part_of(firn_domain_of(object), (uintptr_t)object);
    pthread_mutex_lock(&part->lock);
    firn_watch_forget_locked(object);
    pthread_mutex_unlock(&part->lock);
}

void firn_watch_lock_all(firn_domain *domain) {
    for (unsigned i = 0; i < FIRN_WATCH_PARTS; i++) {
        pthread_mutex_lock(&domain->watched[i].lock);
    }
}

void firn_watch_unlock_all(firn_domain *domain) {
    for (unsigned i = FIRN_WATCH_PARTS; i > 0; i--) {
        pthread_mutex_unlock(&domain->watched[i - 1].lock);
    }
}
