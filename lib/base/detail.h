/* The words that go with an error code: what failed, on which path, why, and what to do. */
#ifndef FIRN_BASE_DETAIL_H
#define FIRN_BASE_DETAIL_H

#include <pthread.h>
#include <stddef.h>

typedef struct firn_detail {
    pthread_mutex_t lock; /* guards text */
    char text[768];
} firn_detail;

/* 0, or an errno. Released by firn_detail_fini. */
int firn_detail_init(firn_detail *detail);
void firn_detail_fini(firn_detail *detail);

/* Records a message and returns code, so that `return firn_detail_set(...)` reads well. detail may
 * be NULL. Safe from any thread. */
int firn_detail_set(firn_detail *detail, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies the message, cut and terminated; returns its full length. */
size_t firn_detail_get(firn_detail *detail, char *buffer, size_t capacity);

#endif
