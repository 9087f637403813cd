/* LMDB: what a program would make of it by hand. Variant "": values as they are; "zstd": each a
 * zstd frame; "zstd-dict": with a dictionary, trained on other values beforehand, which no figure
 * counts. 1,024 puts a transaction; gets meanwhile look through it. Without one a get renews a read
 * transaction. Level 3; frames are decompressed into one buffer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>
#include <zdict.h>
#include <zstd.h>

#include "peer.h"

enum { PUTS = 1024, LEVEL = 3, DICTIONARY_BYTES = 32 << 10, SAMPLE_BYTES = 4 << 20 };

typedef struct store {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *write; /* NULL: none */
    MDB_txn *read;
    unsigned puts; /* in write */
    bool packs;
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    ZSTD_CDict *compress_dictionary; /* NULL: without */
    ZSTD_DDict *decompress_dictionary;
    unsigned char *packed;
    size_t packed_room;
    unsigned char *value;
    size_t value_room;
} store;

static void fail(const char *what) {
    fprintf(stderr, "lmdb: %s\n", what);
    exit(1);
}

static void need(int error) {
    if (error != 0) {
        fail(mdb_strerror(error));
    }
}

static size_t need_zstd(size_t result) {
    if (ZSTD_isError(result)) {
        fail(ZSTD_getErrorName(result));
    }
    return result;
}

static const char *version(void) {
    static char text[64];
    snprintf(text, sizeof text, "%d.%d.%d, zstd %s", MDB_VERSION_MAJOR, MDB_VERSION_MINOR,
             MDB_VERSION_PATCH, ZSTD_versionString());
    return text;
}

/* Set by train before the first store is opened. A program would keep it in the store. */
static unsigned char dictionary[DICTIONARY_BYTES];
static size_t dictionary_size;

static void train(const peer_config *config) {
    if (strcmp(config->variant, "zstd-dict") != 0) {
        return;
    }
    unsigned count = (unsigned)(SAMPLE_BYTES / config->value_bytes);
    unsigned char *samples = malloc(SAMPLE_BYTES);
    size_t *sizes = malloc(count * sizeof *sizes);
    if (samples == NULL || sizes == NULL) {
        fail("out of memory");
    }
    for (unsigned i = 0; i < count; i++) {
        config->sample(i, samples + i * config->value_bytes, config->value_bytes);
        sizes[i] = config->value_bytes;
    }
    dictionary_size = ZDICT_trainFromBuffer(dictionary, sizeof dictionary, samples, sizes, count);
    if (ZDICT_isError(dictionary_size)) {
        fail(ZDICT_getErrorName(dictionary_size));
    }
    free(samples);
    free(sizes);
}

static void use_dictionary(store *self) {
    self->compress_dictionary = ZSTD_createCDict(dictionary, dictionary_size, LEVEL);
    self->decompress_dictionary = ZSTD_createDDict(dictionary, dictionary_size);
    if (self->compress_dictionary == NULL || self->decompress_dictionary == NULL) {
        fail("out of memory");
    }
    need_zstd(ZSTD_CCtx_refCDict(self->compressor, self->compress_dictionary));
    need_zstd(ZSTD_CCtx_setParameter(self->compressor, ZSTD_c_dictIDFlag, 0));
    need_zstd(ZSTD_DCtx_refDDict(self->decompressor, self->decompress_dictionary));
}

static void *open_store(const peer_config *config) {
    store *self = calloc(1, sizeof *self);
    if (self == NULL) {
        fail("out of memory");
    }
    self->packs = config->variant[0] != '\0';
    self->value_room = config->value_bytes;
    self->packed_room = ZSTD_compressBound(config->value_bytes);
    self->value = malloc(self->value_room);
    self->packed = malloc(self->packed_room);
    self->compressor = ZSTD_createCCtx();
    self->decompressor = ZSTD_createDCtx();
    if (self->value == NULL || self->packed == NULL || self->compressor == NULL ||
        self->decompressor == NULL) {
        fail("out of memory");
    }
    need_zstd(ZSTD_CCtx_setParameter(self->compressor, ZSTD_c_compressionLevel, LEVEL));
    if (strcmp(config->variant, "zstd-dict") == 0) {
        use_dictionary(self);
    }
    need(mdb_env_create(&self->env));
    need(mdb_env_set_mapsize(self->env, (config->disk_bytes | 0xfffff) + 1));
    need(mdb_env_open(self->env, config->folder, MDB_NOSYNC | MDB_NORDAHEAD, 0644));
    need(mdb_txn_begin(self->env, NULL, 0, &self->write));
    need(mdb_dbi_open(self->write, NULL, 0, &self->dbi));
    need(mdb_txn_commit(self->write));
    self->write = NULL;
    need(mdb_txn_begin(self->env, NULL, MDB_RDONLY, &self->read));
    mdb_txn_reset(self->read);
    return self;
}

static void commit(store *self) {
    if (self->write != NULL) {
        need(mdb_txn_commit(self->write));
        self->write = NULL;
        self->puts = 0;
    }
}

static void close_store(void *context) {
    store *self = context;
    commit(self);
    mdb_txn_abort(self->read);
    mdb_env_close(self->env);
    ZSTD_freeCCtx(self->compressor);
    ZSTD_freeDCtx(self->decompressor);
    ZSTD_freeCDict(self->compress_dictionary);
    ZSTD_freeDDict(self->decompress_dictionary);
    free(self->packed);
    free(self->value);
    free(self);
}

static bool get(void *context, uint64_t key, const void **value, size_t *size) {
    store *self = context;
    MDB_txn *txn = self->write;
    if (txn == NULL) {
        txn = self->read;
        mdb_txn_reset(txn);
        need(mdb_txn_renew(txn));
    }
    MDB_val name = {sizeof key, &key};
    MDB_val data;
    int result = mdb_get(txn, self->dbi, &name, &data);
    if (result == MDB_NOTFOUND) {
        return false;
    }
    need(result);
    *value = data.mv_data;
    *size = data.mv_size;
    if (self->packs) {
        *size = need_zstd(ZSTD_decompressDCtx(self->decompressor, self->value, self->value_room,
                                              data.mv_data, data.mv_size));
        *value = self->value;
    }
    return true;
}

static void put(void *context, uint64_t key, const void *value, size_t size) {
    store *self = context;
    if (self->write == NULL) {
        mdb_txn_reset(self->read); /* or pages that it may see cannot be used again */
        need(mdb_txn_begin(self->env, NULL, 0, &self->write));
    }
    MDB_val name = {sizeof key, &key};
    MDB_val data = {size, (void *)value};
    if (self->packs) {
        data.mv_size = need_zstd(
            ZSTD_compress2(self->compressor, self->packed, self->packed_room, value, size));
        data.mv_data = self->packed;
    }
    need(mdb_put(self->write, self->dbi, &name, &data, 0));
    if (++self->puts == PUTS) {
        commit(self);
    }
}

static void sync_store(void *context) {
    store *self = context;
    commit(self);
    need(mdb_env_sync(self->env, 1));
}

const peer this_peer = {
    .version = version,
    .prepare = train,
    .open = open_store,
    .close = close_store,
    .get = get,
    .put = put,
    .sync = sync_store,
};
