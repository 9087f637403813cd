/* The names of the types whose values lie in a store: the file firn.types.
 *
 * Records carry a number that is made of the type's name, so that they can be told apart without
 * this file; it is there so that a type can be called by its name where the program that knows it
 * is not at hand. Lines of text, "NAME VERSION", after a first line that says what it is; lines
 * that are damaged are passed over. Knows nothing of what a type is. */
#ifndef FIRN_COLD_TYPE_NAMES_H
#define FIRN_COLD_TYPE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/type.h>

#include "base/detail.h"
#include "base/heap.h"

#define FIRN_TYPE_NAMES_FILE "firn.types"

enum { FIRN_TYPE_NAMES_MAX = 1024 }; /* that a store remembers */

typedef struct firn_type_name {
    uint32_t id;
    uint32_t version; /* the highest that ever was registered */
    char name[FIRN_TYPE_NAME_MAX + 1];
} firn_type_name;

typedef struct firn_type_names {
    size_t count;
    firn_type_name *names;
    size_t room;
} firn_type_names;

/* Whether a type may be called so. */
bool firn_type_name_valid(const char *name);
/* The number of a type of that name: never 0. */
uint32_t firn_type_id(const char *name);

/* What the file at the store's path says; none if it is not there or cannot be read. FIRN_OK or
 * FIRN_ENOMEM. */
int firn_type_names_read(firn_type_names *names, const char *path, firn_heap *heap);
/* NULL: it is not known. */
const firn_type_name *firn_type_names_find(const firn_type_names *names, uint32_t id);
/* Adds the name or raises its version, and writes the file if that changed anything. FIRN_OK,
 * FIRN_ENOMEM, FIRN_ENOSPC, FIRN_EIO: nothing was changed. */
int firn_type_names_add(firn_type_names *names, const char *path, const char *name,
                        uint32_t version, firn_heap *heap, firn_detail *detail);
/* Writes them as the file of the store at the path, in place of what is there; of none, nothing.
 * FIRN_OK, FIRN_ENOMEM, FIRN_ENOSPC, FIRN_EIO, FIRN_EREADONLY. */
int firn_type_names_write(const firn_type_names *names, const char *path, firn_heap *heap,
                          firn_detail *detail);
void firn_type_names_free(firn_type_names *names, firn_heap *heap);

#endif
