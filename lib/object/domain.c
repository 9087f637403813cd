/* See domain.h. */
#include "object/domain.h"

#include "base/mutex.h"

static void free_domain(firn_domain *domain) {
    firn_heap *heap = domain->heap;
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

void firn_domain_add_holder(firn_object *object) {
    firn_holder_list *list = list_of(object);
    firn_object_rich *rich = firn_object_rich_of(object);
    rich->listed = true;
    pthread_mutex_lock(&list->lock);
    rich->prev = NULL;
    rich->next = list->first;
    if (list->first != NULL) {
        firn_object_rich_of(list->first)->prev = object;
    }
    list->first = object;
    list->count++;
    pthread_mutex_unlock(&list->lock);
}

void firn_domain_remove_holder(firn_object *object) {
    firn_holder_list *list = list_of(object);
    firn_object_rich *rich = firn_object_rich_of(object);
    if (!rich->listed) {
        return;
    }
    rich->listed = false;
    pthread_mutex_lock(&list->lock);
    if (rich->prev != NULL) {
        firn_object_rich_of(rich->prev)->next = rich->next;
    } else {
        list->first = rich->next;
    }
    if (rich->next != NULL) {
        firn_object_rich_of(rich->next)->prev = rich->prev;
    }
    list->count--;
    pthread_mutex_unlock(&list->lock);
}
