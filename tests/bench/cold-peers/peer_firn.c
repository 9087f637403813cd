/* firn as a disk cache: hot_bytes 0, so nothing but the write queue is in memory. Variant "alone":
 * without the thread in the background. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/firn.h>

#include "peer.h"

typedef struct store {
    firn_cache *cache;
    firn_object *object; /* of the last get that hit */
} store;

static void need(int result, const char *what) {
    if (result != FIRN_OK) {
        fprintf(stderr, "firn: %s: %s\n", what, firn_strerror(result));
        exit(1);
    }
}

static void *peer_open(const peer_config *config) {
    char why[256] = "";
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 0;
    options.cold_bytes = config->disk_bytes;
    options.durability = FIRN_DURABILITY_NONE;
    options.threads = strcmp(config->variant, "alone") != 0;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    store *self = calloc(1, sizeof *self);
    if (self == NULL || firn_open(&self->cache, config->folder, &options) != FIRN_OK) {
        fprintf(stderr, "firn: %s\n", why);
        return NULL;
    }
    return self;
}

static void drop(store *self) {
    firn_object_unref(self->object);
    self->object = NULL;
}

static void peer_close(void *context) {
    store *self = context;
    drop(self);
    need(firn_close(self->cache), "close");
    free(self);
}

static bool peer_get(void *context, uint64_t key, const void **value, size_t *size) {
    store *self = context;
    drop(self);
    int result = firn_get(self->cache, &key, sizeof key, &self->object);
    if (result == FIRN_NOT_FOUND) {
        return false;
    }
    need(result, "get");
    *value = firn_object_data(self->object);
    *size = firn_object_size(self->object);
    return true;
}

static void peer_put(void *context, uint64_t key, const void *value, size_t size) {
    need(firn_put(((store *)context)->cache, &key, sizeof key, value, size, NULL), "put");
}

static void peer_sync(void *context) {
    need(firn_flush(((store *)context)->cache), "flush");
}

const peer this_peer = {
    .kind = PEER_EVICTS,
    .version = firn_version,
    .open = peer_open,
    .close = peer_close,
    .get = peer_get,
    .put = peer_put,
    .sync = peer_sync,
};
