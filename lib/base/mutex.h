/* A mutex for short sections: a thread that finds it taken spins for a moment before it sleeps,
 * where the system offers that. */
#ifndef FIRN_BASE_MUTEX_H
#define FIRN_BASE_MUTEX_H

#include <pthread.h>

/* 0 or an errno. */
static inline int firn_mutex_init(pthread_mutex_t *mutex) {
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
    pthread_mutexattr_t spinning;
    int error = pthread_mutexattr_init(&spinning);
    if (error == 0) {
        pthread_mutexattr_settype(&spinning, PTHREAD_MUTEX_ADAPTIVE_NP);
        error = pthread_mutex_init(mutex, &spinning);
        pthread_mutexattr_destroy(&spinning);
    }
    return error;
#else
    return pthread_mutex_init(mutex, NULL);
#endif
}

#endif
