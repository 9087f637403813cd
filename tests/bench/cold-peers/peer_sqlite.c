/* SQLite: one table without row numbers, write-ahead log, not mapped, as it comes. Pages are so
 * large that an entry needs no overflow page, if any are. 1,024 puts a transaction; gets meanwhile
 * are part of it. Values as they are. */
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

#include "peer.h"

enum { PUTS = 1024 };

typedef struct store {
    sqlite3 *db;
    sqlite3_stmt *get;
    sqlite3_stmt *put;
    unsigned puts; /* in the transaction; 0: there is none */
} store;

static void need(store *self, int result) {
    if (result != SQLITE_OK) {
        fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(self->db));
        exit(1);
    }
}

static void run(store *self, const char *text) {
    need(self, sqlite3_exec(self->db, text, NULL, NULL, NULL));
}

/* A cell of such a table may take a quarter of the page (see SQLite's file format). */
static unsigned page_bytes(size_t value_bytes) {
    for (unsigned page = 4096; page <= 65536; page *= 2) {
        if ((page - 12) * 64 / 255 - 23 >= value_bytes + 16) {
            return page;
        }
    }
    return 16384;
}

static void *open_store(const peer_config *config) {
    store *self = calloc(1, sizeof *self);
    char text[512];
    snprintf(text, sizeof text, "%s/store.db", config->folder);
    if (self == NULL || sqlite3_open(text, &self->db) != SQLITE_OK) {
        fprintf(stderr, "sqlite: cannot be opened\n");
        return NULL;
    }
    snprintf(text, sizeof text,
             "pragma page_size = %u; pragma journal_mode = wal; pragma synchronous = off;"
             "pragma cache_size = -%llu;"
             "create table if not exists store (key blob primary key, value blob) without rowid;",
             page_bytes(config->value_bytes), (unsigned long long)config->cache_bytes / 1024);
    run(self, text);
    need(self, sqlite3_prepare_v2(self->db, "select value from store where key = ?", -1, &self->get,
                                  NULL));
    need(self, sqlite3_prepare_v2(self->db, "insert or replace into store values (?, ?)", -1,
                                  &self->put, NULL));
    return self;
}

static void commit(store *self) {
    sqlite3_reset(self->get);
    if (self->puts != 0) {
        run(self, "commit");
        self->puts = 0;
    }
}

static void close_store(void *context) {
    store *self = context;
    commit(self);
    sqlite3_finalize(self->get);
    sqlite3_finalize(self->put);
    need(self, sqlite3_close(self->db));
    free(self);
}

static bool get(void *context, uint64_t key, const void **value, size_t *size) {
    store *self = context;
    sqlite3_reset(self->get);
    need(self, sqlite3_bind_blob(self->get, 1, &key, sizeof key, SQLITE_TRANSIENT));
    int result = sqlite3_step(self->get);
    if (result == SQLITE_DONE) {
        return false;
    }
    need(self, result == SQLITE_ROW ? SQLITE_OK : result);
    *value = sqlite3_column_blob(self->get, 0);
    *size = (size_t)sqlite3_column_bytes(self->get, 0);
    return true;
}

static void put(void *context, uint64_t key, const void *value, size_t size) {
    store *self = context;
    sqlite3_reset(self->get);
    if (self->puts == 0) {
        run(self, "begin immediate");
    }
    need(self, sqlite3_bind_blob(self->put, 1, &key, sizeof key, SQLITE_STATIC));
    need(self, sqlite3_bind_blob64(self->put, 2, value, size, SQLITE_STATIC));
    int result = sqlite3_step(self->put);
    need(self, result == SQLITE_DONE ? SQLITE_OK : result);
    sqlite3_reset(self->put);
    if (++self->puts == PUTS) {
        commit(self);
    }
}

static void sync_store(void *context) {
    store *self = context;
    commit(self);
    run(self, "pragma synchronous = full; pragma wal_checkpoint(truncate);"
              "pragma synchronous = off");
}

const peer this_peer = {
    .version = sqlite3_libversion,
    .open = open_store,
    .close = close_store,
    .get = get,
    .put = put,
    .sync = sync_store,
};
