/* What a loader's function is handed for one key, and how it gives the value: see firn/load.h.
 * Knows nothing of flights, nor of what becomes of the value. */
#include <string.h>

#include "tier/cache.h"

void firn_load_init(firn_load *load, firn_cache *cache, const firn_loader *loader, const void *key,
                    size_t key_size, firn_object *present) {
    *load = (firn_load){.cache = cache,
                        .key = key,
                        .key_size = key_size,
                        .options = FIRN_PUT_OPTIONS_INIT,
                        .present = present};
    uint64_t stale_ms = loader->stale_ms;
    load->options.ttl_ms = loader->ttl_ms;
    load->options.stale_ms =
        stale_ms > loader->stale_if_error_ms ? stale_ms : loader->stale_if_error_ms;
}

/* The object is the load's no more. */
static void forget_value(firn_load *load) {
    firn_object_unref(load->object);
    load->object = NULL;
}

int firn_load_outcome(firn_load *load, int returned, bool many) {
    if (many || returned == FIRN_OK) { /* what the load itself was told counts first */
        if (load->object != NULL) {
            return FIRN_OK;
        }
        returned = load->error != FIRN_OK ? load->error : returned;
    }
    if (returned == FIRN_OK && !many) {
        return firn_detail_set(&load->cache->detail, FIRN_EINVAL,
                               "a loader returned FIRN_OK and gave no value");
    }
    if (returned > FIRN_NOT_FOUND) {
        return firn_detail_set(&load->cache->detail, FIRN_EINVAL, "%d is no result of a loader's",
                               returned);
    }
    return returned == FIRN_OK ? FIRN_NOT_FOUND : returned;
}

firn_object *firn_load_take(firn_load *load, uint64_t cost_ns) {
    firn_object *object = load->object;
    load->object = NULL;
    if (object != NULL && !load->cost_given) {
        uint64_t cost_us = cost_ns / 1000;
        firn_object_extension_of(object)->cost_us = cost_us == 0           ? 1
                                                    : cost_us < UINT32_MAX ? (uint32_t)cost_us
                                                                           : UINT32_MAX;
    }
    return object;
}

firn_put_options *firn_load_options(firn_load *load) {
    return &load->options;
}

void *firn_load_value(firn_load *load, size_t size) {
    forget_value(load);
    firn_put_options options = load->options;
    load->cost_given = options.cost_us != 0;
    if (!load->cost_given) {
        options.cost_us = 1; /* there is room for it, then */
    }
    load->error =
        firn_object_new_any(load->cache, load->key, load->key_size, size, &options, &load->object);
    return load->error == FIRN_OK ? firn_object_body(load->object) : NULL;
}

int firn_load_bytes(firn_load *load, const void *value, size_t value_size) {
    if (value == NULL && value_size > 0) {
        return firn_load_fail(load, FIRN_EINVAL);
    }
    void *place = firn_load_value(load, value_size);
    if (place != NULL && value_size > 0) {
        memcpy(place, value, value_size);
    }
    return load->error;
}

int firn_load_fail(firn_load *load, int error) {
    forget_value(load);
    load->error = error;
    return error;
}

firn_object *firn_load_present(const firn_load *load) {
    return load->present;
}
