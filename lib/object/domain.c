/* See domain.h. */
#include "object/domain.h"

#include "base/mutex.h"
#include "object/track.h"

static void free_domain(firn_domain *domain) {
    firn_heap *heap = domain->heap;
    firn_tracker_free(domain->tracker);
    for (unsigned i = 0; i < FIRN_HOLDER_LISTS; i++) {
        pthread_mutex_destroy(&domain->holders[i].lock);
    }
    for (unsigned i = 0; i < FIRN_WATCH_PARTS; i++) {
        firn_watch_part *part = &domain->watched[i];
        firn_heap_free(heap, part->buckets, part->bucket_count * sizeof *part->buckets);
        pthread_mutex_destroy(&part->lock);
    }
    pthread_mutex_destroy(&domain->links_lock);
    firn_heap_free_lines(heap, domain, sizeof *domain);
    firn_heap_unref(heap);
}

firn_domain *firn_domain_ref(firn_domain *domain) {
    atomic_fetch_add_explicit(&domain->refs, 1, memory_order_relaxed);
    return domain;
}

void firn_domain_unref(firn_domain *domain) {
    if (atomic_fetch_sub_explicit(&domain->refs, 1, memory_order_acq_rel) == 1) {
        free_domain(domain);
    }
}

static void release(void *companion) {
    firn_domain_unref(companion);
}

int firn_domain_new(firn_heap *heap, firn_pool *pool) {
    firn_domain *domain = firn_heap_alloc_lines(heap, sizeof *domain);
    if (domain == NULL) {
        return FIRN_ENOMEM;
    }
    domain->heap = firn_heap_ref(heap);
    atomic_init(&domain->refs, 1);
    int failed = firn_mutex_init(&domain->links_lock);
    for (unsigned i = 0; i < FIRN_HOLDER_LISTS; i++) {
        failed |= firn_mutex_init(&domain->holders[i].lock);
    }
    for (unsigned i = 0; i < FIRN_WATCH_PARTS; i++) {
        failed |= firn_mutex_init(&domain->watched[i].lock);
    }
    if (failed != 0) {
        free_domain(domain);
        return FIRN_ENOMEM;
    }
    firn_pool_set_companion(pool, domain, release);
    return FIRN_OK;
}

firn_domain *firn_domain_of(const firn_object *object) {
    return firn_pool_companion(firn_object_pool(object));
}

static firn_holder_list *list_of(const firn_object *object) {
    uint64_t mixed = ((uint64_t)(uintptr_t)object >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return &firn_domain_of(object)->holders[mixed >> 32 & (FIRN_HOLDER_LISTS - 1)];
}

static void link_behind(firn_holder_list *list, firn_object *prev, firn_object *object) {
    firn_object_rich *rich = firn_object_rich_of(object);
    firn_object **from = prev != NULL ? &firn_object_rich_of(prev)->next : &list->first;
    rich->prev = prev;
    rich->next = *from;
    if (rich->next != NULL) {
        firn_object_rich_of(rich->next)->prev = object;
    }
    *from = object;
}

static void unlink_from(firn_holder_list *list, firn_object *object) {
    firn_object_rich *rich = firn_object_rich_of(object);
    if (rich->prev != NULL) {
        firn_object_rich_of(rich->prev)->next = rich->next;
    } else {
        list->first = rich->next;
    }
    if (rich->next != NULL) {
        firn_object_rich_of(rich->next)->prev = rich->prev;
    }
}

/* The lock is held. */
static void count_locked(firn_holder_list *list, int by) {
    uint64_t count = atomic_load_explicit(&list->count, memory_order_relaxed);
    atomic_store_explicit(&list->count, count + (uint64_t)(int64_t)by, memory_order_relaxed);
}

void firn_domain_add_holder(firn_object *object) {
    firn_object_rich *rich = firn_object_rich_of(object);
    if (rich->listed || !rich->live || rich->type == NULL || rich->type->visit == NULL) {
        return;
    }
    firn_holder_list *list = list_of(object);
    rich->listed = true;
    pthread_mutex_lock(&list->lock);
    link_behind(list, NULL, object);
    count_locked(list, 1);
    pthread_mutex_unlock(&list->lock);
}

void firn_domain_remove_holder(firn_object *object) {
    firn_object_rich *rich = firn_object_rich_of(object);
    if (!rich->listed) {
        return;
    }
    firn_holder_list *list = list_of(object);
    rich->listed = false;
    pthread_mutex_lock(&list->lock);
    unlink_from(list, object);
    count_locked(list, -1);
    pthread_mutex_unlock(&list->lock);
}

uint64_t firn_domain_holders(const firn_domain *domain) {
    uint64_t count = 0;
    for (unsigned i = 0; i < FIRN_HOLDER_LISTS; i++) {
        count += atomic_load_explicit(&domain->holders[i].count, memory_order_relaxed);
    }
    return count;
}

bool firn_domain_walk_holders(firn_holder_list *list, firn_holder_mark *mark, unsigned most,
                              void (*take)(void *context, firn_object *object), void *context) {
    pthread_mutex_lock(&list->lock);
    firn_object *next = mark->rich.listed ? mark->rich.next : list->first;
    firn_object *last = mark->rich.listed ? mark->rich.prev : NULL;
    if (mark->rich.listed) {
        unlink_from(list, &mark->object);
        mark->rich.listed = false;
    }
    for (; next != NULL && most > 0; most--) {
        last = next;
        next = firn_object_rich_of(last)->next;
        take(context, last);
    }
    if (next != NULL) {
        mark->rich.listed = true;
        link_behind(list, last, &mark->object);
    }
    pthread_mutex_unlock(&list->lock);
    return next == NULL;
}

void firn_domain_unmark(firn_holder_list *list, firn_holder_mark *mark) {
    pthread_mutex_lock(&list->lock);
    if (mark->rich.listed) {
        unlink_from(list, &mark->object);
        mark->rich.listed = false;
    }
    pthread_mutex_unlock(&list->lock);
}
