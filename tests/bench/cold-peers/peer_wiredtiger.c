/* WiredTiger: a B-tree of pages that snappy compresses (Debian has it without zstd), without a log,
 * so that what is not in a checkpoint is lost with the process. Its cache is what others have for
 * reading and for writing together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wiredtiger.h>

#include "peer.h"

typedef struct store {
    WT_CONNECTION *connection;
    WT_SESSION *session;
    WT_CURSOR *cursor;
} store;

static void need(int error) {
    if (error != 0) {
        fprintf(stderr, "wiredtiger: %s\n", wiredtiger_strerror(error));
        exit(1);
    }
}

static const char *version(void) {
    static char text[32];
    int major;
    int minor;
    int patch;
    wiredtiger_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static void *open_store(const peer_config *config) {
    store *self = calloc(1, sizeof *self);
    char text[512];
    snprintf(text, sizeof text,
             "create,cache_size=%llu,checkpoint_sync=true,extensions=[" WIREDTIGER_SNAPPY "]",
             (unsigned long long)(config->cache_bytes + config->buffer_bytes));
    if (self == NULL) {
        return NULL;
    }
    need(wiredtiger_open(config->folder, NULL, text, &self->connection));
    need(self->connection->open_session(self->connection, NULL, NULL, &self->session));
    need(self->session->create(self->session, "table:store",
                               "key_format=u,value_format=u,block_compressor=snappy,"
                               "memory_page_max=1MB"));
    need(self->session->open_cursor(self->session, "table:store", NULL, "overwrite=true",
                                    &self->cursor));
    return self;
}

static void close_store(void *context) {
    store *self = context;
    need(self->connection->close(self->connection, NULL));
    free(self);
}

static void set_key(store *self, const uint64_t *key) {
    WT_ITEM item;
    memset(&item, 0, sizeof item);
    item.data = key;
    item.size = sizeof *key;
    self->cursor->set_key(self->cursor, &item);
}

static bool get(void *context, uint64_t key, const void **value, size_t *size) {
    store *self = context;
    WT_ITEM item;
    set_key(self, &key);
    int result = self->cursor->search(self->cursor);
    if (result == WT_NOTFOUND) {
        return false;
    }
    need(result);
    need(self->cursor->get_value(self->cursor, &item));
    *value = item.data;
    *size = item.size;
    return true;
}

static void put(void *context, uint64_t key, const void *value, size_t size) {
    store *self = context;
    WT_ITEM item;
    memset(&item, 0, sizeof item);
    item.data = value;
    item.size = size;
    set_key(self, &key);
    self->cursor->set_value(self->cursor, &item);
    need(self->cursor->insert(self->cursor));
}

static void sync_store(void *context) {
    store *self = context;
    need(self->cursor->reset(self->cursor));
    need(self->session->checkpoint(self->session, NULL));
}

const peer this_peer = {
    .version = version,
    .open = open_store,
    .close = close_store,
    .get = get,
    .put = put,
    .sync = sync_store,
};
