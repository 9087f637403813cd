/* See crew.h. */
#include "cold/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { GRAIN = 4 /* pieces taken at once */ };

typedef struct hand {
    firn_crew *crew;
    unsigned lane;
    pthread_t thread;
} hand;

struct firn_crew {
    firn_heap *heap;
    unsigned threads; /* that run */
    unsigned capacity;
    pthread_mutex_t lock; /* guards the next seven */
    pthread_cond_t begun;
    pthread_cond_t done;
    bool stop;
    unsigned busy;  /* threads that are not done with this round */
    uint64_t round; /* grows with each run */
    firn_crew_work work;
    void *context;
    size_t count;
    atomic_size_t next; /* piece; relaxed: the lock orders everything else */
    hand hands[];
};

static size_t crew_bytes(unsigned threads) {
    return sizeof(firn_crew) + threads * sizeof(hand);
}

static void work_off(firn_crew *crew, unsigned lane, size_t count, firn_crew_work work,
                     void *context) {
    for (;;) {
        size_t first = atomic_fetch_add_explicit(&crew->next, GRAIN, memory_order_relaxed);
        if (first >= count) {
            return;
        }
        size_t end = first + GRAIN < count ? first + GRAIN : count;
        for (size_t piece = first; piece < end; piece++) {
            work(context, lane, piece);
        }
    }
}

static void *labour(void *context) {
    hand *self = context;
    firn_crew *crew = self->crew;
    uint64_t seen = 0;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        while (!crew->stop && crew->round == seen) {
            pthread_cond_wait(&crew->begun, &crew->lock);
        }
        if (crew->stop) {
            break;
        }
        seen = crew->round;
        firn_crew_work work = crew->work;
        void *work_context = crew->context;
        size_t count = crew->count;
        pthread_mutex_unlock(&crew->lock);
        work_off(crew, self->lane, count, work, work_context);
        pthread_mutex_lock(&crew->lock);
        if (--crew->busy == 0) {
            pthread_cond_signal(&crew->done);
        }
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

firn_crew *firn_crew_new(firn_heap *heap, unsigned threads) {
    firn_crew *crew = firn_heap_zalloc(heap, crew_bytes(threads));
    if (crew == NULL) {
        return NULL;
    }
    crew->heap = heap;
    crew->capacity = threads;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->begun, NULL);
    pthread_cond_init(&crew->done, NULL);
    for (unsigned i = 0; i < threads; i++) {
        crew->hands[i].crew = crew;
        crew->hands[i].lane = i + 1;
        if (pthread_create(&crew->hands[i].thread, NULL, labour, &crew->hands[i]) != 0) {
            firn_crew_free(crew);
            return NULL;
        }
        crew->threads++;
    }
    return crew;
}

void firn_crew_free(firn_crew *crew) {
    if (crew == NULL) {
        return;
    }
    pthread_mutex_lock(&crew->lock);
    crew->stop = true;
    pthread_cond_broadcast(&crew->begun);
    pthread_mutex_unlock(&crew->lock);
    for (unsigned i = 0; i < crew->threads; i++) {
        pthread_join(crew->hands[i].thread, NULL);
    }
    pthread_cond_destroy(&crew->done);
    pthread_cond_destroy(&crew->begun);
    pthread_mutex_destroy(&crew->lock);
    firn_heap_free(crew->heap, crew, crew_bytes(crew->capacity));
}

void firn_crew_run(firn_crew *crew, size_t count, firn_crew_work work, void *context) {
    atomic_store_explicit(&crew->next, 0, memory_order_relaxed);
    pthread_mutex_lock(&crew->lock);
    crew->work = work;
    crew->context = context;
    crew->count = count;
    crew->busy = crew->threads;
    crew->round++;
    pthread_cond_broadcast(&crew->begun);
    pthread_mutex_unlock(&crew->lock);
    work_off(crew, 0, count, work, context);
    pthread_mutex_lock(&crew->lock);
    while (crew->busy > 0) {
        pthread_cond_wait(&crew->done, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
}
