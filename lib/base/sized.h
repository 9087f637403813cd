/* Structs of the caller's that are filled in, and whose first field is their size: programs that
 * were built with an older header know less of them than we do, or with a newer one more. How
 * structs that the caller fills in are read is firn_read_sized's, in the tier. Knows only that
 * field. */
#ifndef FIRN_BASE_SIZED_H
#define FIRN_BASE_SIZED_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline size_t firn_size_of(const void *given) {
    size_t size;
    memcpy(&size, given, sizeof size);
    return size;
}

/* It is none: it has no room for its own size. given: may be NULL. */
static inline bool firn_is_unsized(const void *given) {
    return given == NULL || firn_size_of(given) < sizeof(size_t);
}

/* Fills *given with as much of *full, of full_size bytes, as it has room for. Its size stays, and
 * so do fields that we do not know. */
static inline void firn_give_sized(void *given, const void *full, size_t full_size) {
    size_t size = firn_size_of(given);
    size_t filled = size < full_size ? size : full_size;
    memcpy((char *)given + sizeof size, (const char *)full + sizeof size, filled - sizeof size);
}

#endif
