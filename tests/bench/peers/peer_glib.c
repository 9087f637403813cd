/* What people write by hand: GLib's hash table and queue, an LRU order, one mutex. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "peer.h"

typedef struct node {
    gint64 key; /* first: the table compares and hashes what it points to */
    GList link;
    size_t size;
    unsigned char value[];
} node;

typedef struct lru {
    pthread_mutex_t lock;
    GHashTable *table;
    GQueue order; /* head: used last */
    uint64_t bytes;
    uint64_t capacity;
} lru;

static const char *lru_version(void) {
    static char text[32];
    snprintf(text, sizeof text, "%u.%u.%u", glib_major_version, glib_minor_version,
             glib_micro_version);
    return text;
}

static void *lru_open(const peer_config *config) {
    lru *self = g_new0(lru, 1);
    pthread_mutex_init(&self->lock, NULL);
    self->table = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_queue_init(&self->order);
    self->capacity = config->capacity;
    return self;
}

static void drop(lru *self, node *node) {
    g_hash_table_remove(self->table, node);
    g_queue_unlink(&self->order, &node->link);
    self->bytes -= sizeof node->key + node->size;
    free(node);
}

static void lru_close(void *context) {
    lru *self = context;
    while (self->order.tail != NULL) {
        drop(self, self->order.tail->data);
    }
    g_hash_table_destroy(self->table);
    pthread_mutex_destroy(&self->lock);
    g_free(self);
}

/* The value is used under the lock: without a count of references there is no other way. */
static bool lru_get(void *context, uint64_t key, uint64_t *sum) {
    lru *self = context;
    pthread_mutex_lock(&self->lock);
    node *node = g_hash_table_lookup(self->table, &key);
    if (node != NULL) {
        if (self->order.head != &node->link) {
            g_queue_unlink(&self->order, &node->link);
            g_queue_push_head_link(&self->order, &node->link);
        }
        *sum += touch(node->value, node->size);
    }
    pthread_mutex_unlock(&self->lock);
    return node != NULL;
}

static void lru_put(void *context, uint64_t key, const void *value, size_t size, put_hint hint) {
    (void)hint;
    lru *self = context;
    if (sizeof key + size > self->capacity) {
        return;
    }
    node *fresh = malloc(sizeof *fresh + size);
    if (fresh == NULL) {
        abort();
    }
    *fresh = (node){(gint64)key, {fresh, NULL, NULL}, size};
    memcpy(fresh->value, value, size);
    pthread_mutex_lock(&self->lock);
    node *old = g_hash_table_lookup(self->table, fresh);
    if (old != NULL) {
        drop(self, old);
    }
    g_hash_table_add(self->table, fresh);
    g_queue_push_head_link(&self->order, &fresh->link);
    self->bytes += sizeof key + size;
    while (self->bytes > self->capacity) {
        drop(self, self->order.tail->data);
    }
    pthread_mutex_unlock(&self->lock);
}

static uint64_t lru_entries(void *context) {
    return g_hash_table_size(((lru *)context)->table);
}

const peer this_peer = {
    .can = PEER_ALL,
    .slow = 1,
    .version = lru_version,
    .open = lru_open,
    .close = lru_close,
    .get = lru_get,
    .put = lru_put,
    .entries = lru_entries,
};
