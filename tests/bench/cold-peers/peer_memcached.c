/* memcached with extstore over a unix socket. Keys and a head of each entry stay in memory, values
 * go to a file, which lives as long as the server. A put asks for no answer, so that it may wait in
 * the line; gets wait for theirs. Values as they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../peers/memcached_line.h"
#include "peer.h"

enum {
    PAGE_MIB = 8,          /* of the file */
    HEAD_BYTES = 112,      /* about what an entry keeps in memory */
    SETTLE_TRIES_MAX = 300 /* times 20 ms */
};

static void *open_store(const peer_config *config) {
    char store[512];
    char page[32];
    unsigned long long logical = config->keys * (config->value_bytes + 64);
    snprintf(store, sizeof store, "ext_path=%s/store:%lluM", config->folder,
             ((logical + logical / 2) >> 20) / PAGE_MIB * PAGE_MIB + 8 * PAGE_MIB);
    snprintf(page, sizeof page, "ext_page_size=%u", PAGE_MIB);
    const char *extra[] = {
        "-o", page, /* must come first */
        "-o", store, "-o", "ext_wbuf_size=2", "-o", "ext_item_size=128", "-o", "ext_item_age=0",
        NULL};
    unsigned heads = (unsigned)(config->keys * HEAD_BYTES >> 20);
    unsigned memory = (unsigned)((config->cache_bytes + config->buffer_bytes) >> 20) + heads;
    memcached_server *self = memcached_start(config->folder, memory, extra);
    if (self != NULL) {
        memcached_attach(self);
    }
    return self;
}

static void close_store(void *self) {
    memcached_detach();
    memcached_stop(self);
}

/* Waits until what was put has come to the server. */
static void finish(void) {
    memcached_add("version\r\n", 9);
    memcached_flush();
    memcached_receive("\r\n");
    memcached.filled = 0;
}

static bool streaming; /* puts may be in the line */

static bool get(void *self, uint64_t key, const void **value, size_t *size) {
    (void)self;
    char text[32];
    if (streaming) {
        finish();
        streaming = false;
    }
    memcached.filled = 0;
    memcached_add(text,
                  (size_t)snprintf(text, sizeof text, "get %016llx\r\n", (unsigned long long)key));
    memcached_flush();
    memcached_receive("END\r\n");
    char *at = memcached.buffer;
    const char *found;
    if (!memcached_next_value(&at, &found, size)) {
        return false;
    }
    *value = found;
    return true;
}

static void put(void *self, uint64_t key, const void *value, size_t size) {
    (void)self;
    char text[64];
    if (!streaming) {
        memcached.filled = 0;
        streaming = true;
    }
    memcached_add(text, (size_t)snprintf(text, sizeof text, "set %016llx 0 0 %zu noreply\r\n",
                                         (unsigned long long)key, size));
    memcached_add(value, size);
    memcached_add("\r\n", 2);
}

/* It has no sync: waits until it writes no more, and then for the kernel. */
static void sync_store(void *self) {
    (void)self;
    finish();
    streaming = false;
    unsigned long long before = 0;
    for (unsigned tries = 0; tries < SETTLE_TRIES_MAX; tries++) {
        unsigned long long now = memcached_stat("extstore_bytes_written");
        if (tries > 0 && now == before) {
            break;
        }
        before = now;
        usleep(20000);
    }
    memcached.filled = 0;
    sync();
}

static int process(void *self) {
    return (int)((const memcached_server *)self)->process;
}

const peer this_peer = {
    .kind = PEER_LOSSY,
    .version = memcached_version,
    .open = open_store,
    .close = close_store,
    .get = get,
    .put = put,
    .sync = sync_store,
    .process = process,
};
