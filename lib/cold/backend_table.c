/* The list of backends, one line each; the first is the one stores are made with. */
#include <string.h>

#include "cold/backend.h"

static const firn_backend_ops *const backends[] = {
    &firn_backend_log,
};

const firn_backend_ops *firn_backend_find(const char *name) {
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (name == NULL || strcmp(backends[i]->name, name) == 0) {
            return backends[i];
        }
    }
    return NULL;
}
