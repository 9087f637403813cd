/* See detail.h. */
#include "base/detail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int firn_detail_init(firn_detail *detail) {
    detail->text[0] = '\0';
    return pthread_mutex_init(&detail->lock, NULL);
}

void firn_detail_fini(firn_detail *detail) {
    pthread_mutex_destroy(&detail->lock);
}

int firn_detail_set(firn_detail *detail, int code, const char *format, ...) {
    if (detail == NULL) {
        return code;
    }
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&detail->lock);
    vsnprintf(detail->text, sizeof detail->text, format, arguments);
    pthread_mutex_unlock(&detail->lock);
    va_end(arguments);
    return code;
}

size_t firn_detail_get(firn_detail *detail, char *buffer, size_t capacity) {
    pthread_mutex_lock(&detail->lock);
    size_t length = strlen(detail->text);
    if (capacity > 0) {
        size_t part = length < capacity - 1 ? length : capacity - 1;
        memcpy(buffer, detail->text, part);
        buffer[part] = '\0';
    }
    pthread_mutex_unlock(&detail->lock);
    return length;
}
