/* firn, in memory only; the variant names the eviction policy. */
#include <stdio.h>
#include <stdlib.h>

#include <firn/firn.h>

#include "peer.h"

static void need(int result, const char *what) {
    if (result != FIRN_OK) {
        fprintf(stderr, "firn: %s: %s\n", what, firn_strerror(result));
        exit(1);
    }
}

static void *peer_open(const peer_config *config) {
    char why[256] = "";
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = config->capacity;
    options.hot_policy = config->variant[0] != '\0' ? config->variant : NULL;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    firn_cache *cache;
    if (firn_open(&cache, NULL, &options) != FIRN_OK) {
        fprintf(stderr, "firn: %s\n", why);
        return NULL;
    }
    return cache;
}

static void peer_close(void *cache) {
    need(firn_close(cache), "close");
}

static bool peer_get(void *cache, uint64_t key, uint64_t *sum) {
    firn_object *object;
    int result = firn_get(cache, &key, sizeof key, &object);
    if (result == FIRN_NOT_FOUND) {
        return false;
    }
    need(result, "get");
    *sum += touch(firn_object_data(object), firn_object_size(object));
    firn_object_unref(object);
    return true;
}

#ifdef FIRN_HAS_GET_MANY
static size_t peer_get_many(void *cache, const uint64_t *keys, size_t count, uint64_t *sum) {
    firn_key names[PEER_BATCH];
    firn_object *objects[PEER_BATCH];
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        names[i].data = &keys[i];
        names[i].size = sizeof keys[i];
    }
    need(firn_get_many(cache, count, names, objects, &found), "get many");
    for (size_t i = 0; i < count; i++) {
        if (objects[i] != NULL) {
            *sum += touch(firn_object_data(objects[i]), firn_object_size(objects[i]));
            firn_object_unref(objects[i]);
        }
    }
    return found;
}
#endif

static void peer_put(void *cache, uint64_t key, const void *value, size_t size, put_hint hint) {
    (void)hint;
    int result = firn_put(cache, &key, sizeof key, value, size, NULL);
    if (result != FIRN_ETOOLARGE) { /* a cache may decline */
        need(result, "put");
    }
}

static uint64_t peer_entries(void *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    need(firn_get_stats(cache, &stats), "stats");
    return stats.hot_entries;
}

const peer this_peer = {
    .can = PEER_ALL,
    .slow = 1,
    .version = firn_version,
    .open = peer_open,
    .close = peer_close,
    .get = peer_get,
#ifdef FIRN_HAS_GET_MANY
    .get_many = peer_get_many,
#endif
    .put = peer_put,
    .entries = peer_entries,
};
