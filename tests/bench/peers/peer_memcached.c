/* memcached over a unix socket. Text protocol; keys are 16 hex digits, since it takes no binary
 * ones. A get waits for its answer; only filling is streamed. */
#include <stdio.h>

#include "memcached_line.h"
#include "peer.h"

static void *open_server(const peer_config *config) {
    static const char *const no_more[] = {NULL};
    return memcached_start(config->folder, (unsigned)((config->capacity + (1 << 20) - 1) >> 20),
                           no_more);
}

static void close_server(void *self) {
    memcached_stop(self);
}

static void attach(void *self) {
    memcached_attach(self);
}

static void detach(void *self) {
    (void)self;
    memcached_detach();
}

static size_t get_many(void *self, const uint64_t *keys, size_t count, uint64_t *sum) {
    (void)self;
    char text[32];
    memcached.filled = 0;
    memcached_add("get", 3);
    for (size_t i = 0; i < count; i++) {
        memcached_add(text,
                      (size_t)snprintf(text, sizeof text, " %016llx", (unsigned long long)keys[i]));
    }
    memcached_add("\r\n", 2);
    memcached_flush();
    memcached_receive("END\r\n");
    size_t found = 0;
    char *at = memcached.buffer;
    const char *value;
    size_t size;
    while (memcached_next_value(&at, &value, &size)) {
        *sum += touch(value, size);
        found++;
    }
    return found;
}

static bool get(void *self, uint64_t key, uint64_t *sum) {
    return get_many(self, &key, 1, sum) == 1;
}

static void put(void *self, uint64_t key, const void *value, size_t size, put_hint hint) {
    (void)self;
    char text[64];
    bool streamed = hint == PUT_STREAM || hint == PUT_BULK;
    const char *no_reply = streamed ? " noreply" : "";
    if (!streamed) {
        memcached.filled = 0;
    }
    memcached_add(text, (size_t)snprintf(text, sizeof text, "set %016llx 0 0 %zu%s\r\n",
                                         (unsigned long long)key, size, no_reply));
    memcached_add(value, size);
    memcached_add("\r\n", 2);
    if (!streamed) {
        memcached_flush();
        memcached_receive("\r\n"); /* STORED, or an error: a cache may decline */
    }
}

static void settle(void *self) {
    (void)self;
    memcached_add("version\r\n", 9);
    memcached_flush();
    memcached_receive("\r\n");
    memcached.filled = 0;
}

static uint64_t entries(void *self) {
    memcached_attach(self);
    uint64_t count = memcached_stat("curr_items");
    memcached_detach();
    return count;
}

static int process(void *context) {
    return (int)((const memcached_server *)context)->process;
}

const peer this_peer = {
    .can = PEER_ALL,
    .slow = 32,
    .version = memcached_version,
    .open = open_server,
    .close = close_server,
    .attach = attach,
    .detach = detach,
    .get = get,
    .get_many = get_many,
    .put = put,
    .settle = settle,
    .entries = entries,
    .process = process,
};
