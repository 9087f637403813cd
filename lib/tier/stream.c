/* Values as streams: firn/stream.h. Knows how a value is cut into pieces; see cold/pieces.h for the
 * pieces' keys and what their head says. How pieces are kept and given up is the cold tier's
 * affair.
 *
 * Pieces never come into the hot table: nobody can ask for one by a key of the program's, for a
 * read by key passes over them, and a stream's number is drawn anew by each writer, so none is ever
 * overwritten. The head is an entry like any other, and comes last; so whoever finds a head finds
 * pieces that are whole, until reclaiming comes to them. */
#include <firn/stream.h>

#include <string.h>

#include "cold/pieces.h"
#include "tier/cache.h"

enum {
    REMOVALS_AT_ONCE = 64,
    PIECE_DEFAULT = 1 << 20,
    PIECES_OF_BUDGET = 64, /* a default piece is not more than that part of cold_bytes */
    PIECE_SHARE = 16,      /* nor any piece more than that */
};

static bool read_head(firn_pieces *self, const firn_stream_head *head) {
    return firn_pieces_read(self, head->hash, head->bytes, sizeof head->bytes);
}

/* ---- reading pieces ---- */

typedef struct target {
    unsigned char *to;
    size_t size;
    bool differs; /* the piece has another size */
} target;

static void *place_piece(void *context, const firn_cold_meta *meta) {
    target *self = context;
    self->differs = meta->value_size != self->size;
    return self->differs ? NULL : self->to;
}

static int read_piece(firn_cache *cache, const firn_pieces *self, uint64_t number,
                      unsigned char *to) {
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    uint64_t hash = firn_pieces_key(self, cache->seed, number, key);
    target where = {to, firn_pieces_size(self, number), false};
    int result = firn_cold_read_piece(cache->cold, hash, key, sizeof key, place_piece, &where);
    return where.differs ? FIRN_ECORRUPT : result;
}

/* Pieces are missing: so that the entry is a plain miss from now on, if it is that one still. */
static void remove_head(firn_cache *cache, const void *key, size_t key_size, uint64_t version) {
    if (!cache->options.read_only) {
        (void)firn_delete_version(cache, key, key_size, version);
    }
}

bool firn_stream_fits(const firn_cache *cache, const firn_stream_head *head) {
    firn_pieces self;
    return !read_head(&self, head) || self.total <= firn_resident_max(cache);
}

int firn_stream_assemble(firn_cache *cache, const firn_stream_head *head, const void *key,
                         size_t key_size, firn_object **object) {
    firn_pieces self;
    *object = NULL;
    if (!read_head(&self, head)) {
        remove_head(cache, key, key_size, head->version);
        return FIRN_NOT_FOUND;
    }
    if (!firn_stream_fits(cache, head)) {
        return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                               "a value of %llu bytes is more than may be in memory at once; read "
                               "it in pieces, by firn_reader_open",
                               (unsigned long long)self.total);
    }
    firn_object *made = firn_object_make(cache->pool, key, key_size, (size_t)self.total,
                                         &(firn_traits){.expires_ms = head->expires_ms});
    if (made == NULL) {
        return FIRN_ENOMEM;
    }
    firn_object_set_version(made, head->version);
    unsigned char *to = firn_object_body(made);
    int result = FIRN_OK;
    for (uint64_t i = 0; i < self.count && result == FIRN_OK; i++) {
        result = read_piece(cache, &self, i, to + i * self.piece);
    }
    if (result != FIRN_OK) {
        firn_object_unref(made);
        if (result == FIRN_NOT_FOUND || result == FIRN_ECORRUPT) {
            remove_head(cache, key, key_size, head->version);
            result = FIRN_NOT_FOUND;
        }
        return result;
    }
    *object = made;
    return FIRN_OK;
}

/* ---- the writer ---- */

struct firn_writer {
    firn_cache *cache;
    unsigned char *key;
    size_t key_size;
    firn_put_options options; /* of a value that becomes an ordinary entry */
    uint64_t expires_ms;
    firn_pieces stream; /* total and count: so far, of what was written below */
    unsigned char *buffer;
    size_t buffer_size;
    size_t used;
    int failed; /* what the first call that failed gave */
};

static void free_writer(firn_writer *writer) {
    firn_heap *heap = writer->cache->heap;
    firn_heap_free(heap, writer->buffer, writer->buffer_size);
    firn_heap_free(heap, writer->key, writer->key_size);
    firn_heap_free(heap, writer, sizeof *writer);
}

static int choose_piece(firn_cache *cache, size_t asked, uint64_t *piece) {
    uint64_t budget = cache->cold != NULL ? cache->options.cold_bytes : UINT64_MAX;
    uint64_t most = budget / PIECE_SHARE;
    most = most < FIRN_PIECE_BYTES_MAX ? most : FIRN_PIECE_BYTES_MAX;
    *piece = asked;
    if (asked == 0) {
        *piece =
            budget / PIECES_OF_BUDGET < PIECE_DEFAULT ? budget / PIECES_OF_BUDGET : PIECE_DEFAULT;
    } else if (asked < FIRN_PIECE_BYTES_MIN || asked > most) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "a piece of %zu bytes: it must have %zu to %llu", asked,
                               FIRN_PIECE_BYTES_MIN, (unsigned long long)most);
    }
    return FIRN_OK;
}

int firn_writer_open(firn_cache *cache, const void *key, size_t key_size,
                     const firn_writer_options *options, firn_writer **out) {
    if (out != NULL) {
        *out = NULL;
    }
    if (cache == NULL || out == NULL ||
        (options != NULL && options->size < sizeof(firn_writer_options))) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result == FIRN_OK && cache->options.read_only) {
        result = firn_detail_set(&cache->detail, FIRN_EREADONLY,
                                 "%s was opened read-only: entries cannot be changed",
                                 firn_cold_path(cache->cold));
    }
    firn_put_options put = FIRN_PUT_OPTIONS_INIT;
    put.ttl_ms = options != NULL ? options->ttl_ms : 0;
    firn_traits traits = {0};
    if (result == FIRN_OK) {
        firn_put_options full;
        result = firn_put_options_read(cache, key, key_size, &put, &full, &traits, NULL);
    }
    uint64_t piece = 0;
    if (result == FIRN_OK) {
        result = choose_piece(cache, options != NULL ? options->piece : 0, &piece);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_writer *writer = firn_heap_zalloc(cache->heap, sizeof *writer);
    if (writer == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a writer");
    }
    writer->cache = cache;
    writer->key = firn_heap_alloc(cache->heap, key_size);
    writer->key_size = key_size;
    writer->buffer = firn_heap_alloc(cache->heap, (size_t)piece);
    writer->buffer_size = (size_t)piece;
    if (writer->key == NULL || writer->buffer == NULL) {
        free_writer(writer);
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a writer");
    }
    memcpy(writer->key, key, key_size);
    writer->options = put;
    writer->expires_ms = traits.expires_ms;
    writer->stream = (firn_pieces){
        .hash = firn_hash64(cache->seed, key, key_size), .stream = firn_random64(), .piece = piece};
    *out = writer;
    return FIRN_OK;
}

/* Writes what the buffer holds as the next piece. */
static int write_piece(firn_writer *writer) {
    firn_cache *cache = writer->cache;
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    firn_lock(&cache->write_lock);
    uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_relaxed);
    firn_cold_item item = {
        .hash = firn_pieces_key(&writer->stream, cache->seed, writer->stream.count, key),
        .version = version,
        .expires_ms = writer->expires_ms,
        .key = key,
        .key_size = sizeof key,
        .value = writer->buffer,
        .value_size = writer->used,
        .part = FIRN_PART_PIECE,
    };
    int result = firn_cold_write(cache->cold, &item, 1, version + 1);
    firn_unlock(&cache->write_lock);
    result = result == FIRN_OK ? item.result : result;
    if (result == FIRN_OK) {
        writer->stream.count++;
        writer->stream.total += writer->used;
        writer->used = 0;
    }
    return result;
}

/* Without a cold tier: all of the value is kept. */
static int make_longer(firn_writer *writer, size_t more) {
    firn_cache *cache = writer->cache;
    size_t needed = writer->used + more;
    uint64_t most = atomic_load_explicit(&cache->hot_bytes, memory_order_relaxed);
    if (needed < more || needed > most) {
        return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                               "a value above hot_bytes, %llu bytes, and there is no cold tier",
                               (unsigned long long)most);
    }
    if (needed <= writer->buffer_size) {
        return FIRN_OK;
    }
    size_t size = needed + needed / 2;
    unsigned char *buffer = firn_heap_alloc(cache->heap, size);
    if (buffer == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a value");
    }
    memcpy(buffer, writer->buffer, writer->used);
    firn_heap_free(cache->heap, writer->buffer, writer->buffer_size);
    writer->buffer = buffer;
    writer->buffer_size = size;
    return FIRN_OK;
}

static int append(firn_writer *writer, const unsigned char *data, size_t size) {
    firn_cache *cache = writer->cache;
    if (cache->cold == NULL) {
        int result = make_longer(writer, size);
        if (result != FIRN_OK) {
            return result;
        }
    } else if (size > cache->options.cold_bytes ||
               writer->stream.total > cache->options.cold_bytes - size) {
        return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                               "a value above cold_bytes, %llu bytes; raise it",
                               (unsigned long long)cache->options.cold_bytes);
    }
    while (size > 0) {
        if (writer->used == writer->buffer_size) { /* there is more: so it is not the last */
            int result = write_piece(writer);
            if (result != FIRN_OK) {
                return result;
            }
        }
        size_t room = writer->buffer_size - writer->used;
        size_t some = size < room ? size : room;
        memcpy(writer->buffer + writer->used, data, some);
        writer->used += some;
        data += some;
        size -= some;
    }
    return FIRN_OK;
}

int firn_writer_write(firn_writer *writer, const void *data, size_t size) {
    if (writer == NULL || (data == NULL && size > 0)) {
        return FIRN_EINVAL;
    }
    if (writer->failed == FIRN_OK) {
        writer->failed = append(writer, data, size);
    }
    return writer->failed;
}

static void remove_pieces(firn_cache *cache, const firn_pieces *self) {
    firn_cold_item items[REMOVALS_AT_ONCE];
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    int result = FIRN_OK;
    for (uint64_t at = 0; at < self->count && result == FIRN_OK;) {
        firn_lock(&cache->write_lock);
        uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_relaxed);
        size_t count = 0;
        for (; at < self->count && count < REMOVALS_AT_ONCE; at++) {
            items[count++] = (firn_cold_item){.hash = firn_pieces_key(self, cache->seed, at, key),
                                              .version = version,
                                              .remove = true};
        }
        result = firn_cold_write(cache->cold, items, count, version + 1);
        firn_unlock(&cache->write_lock);
    }
}

/* Whether all pieces are there. */
static int check_pieces(firn_cache *cache, const firn_pieces *self) {
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    int result = FIRN_OK;
    for (uint64_t i = 0; i < self->count && result == FIRN_OK; i++) {
        result = firn_cold_locate(cache->cold, firn_pieces_key(self, cache->seed, i, key));
    }
    if (result != FIRN_NOT_FOUND) {
        return result;
    }
    return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                           "the first pieces of a value of %llu bytes were reclaimed before it was "
                           "whole: raise cold_bytes, %llu now",
                           (unsigned long long)self->total,
                           (unsigned long long)cache->options.cold_bytes);
}

/* Writes the head. To do so may push pieces out, so they are looked for before and after. */
static int write_head_entry(firn_writer *writer) {
    firn_cache *cache = writer->cache;
    unsigned char bytes[FIRN_STREAM_HEAD_SIZE];
    firn_pieces_write(&writer->stream, bytes);
    int result = check_pieces(cache, &writer->stream);
    if (result != FIRN_OK) {
        return result;
    }
    result = firn_make_room(cache, firn_object_charge_for(cache->pool, writer->key_size, 0, NULL));
    if (result != FIRN_OK) {
        return result;
    }
    firn_object *placeholder =
        firn_object_make(cache->pool, writer->key, writer->key_size, 0, NULL);
    if (placeholder == NULL) {
        return FIRN_ENOMEM;
    }
    firn_direct direct = {.placeholder = placeholder,
                          .hash = writer->stream.hash,
                          .value = bytes,
                          .value_size = sizeof bytes,
                          .traits = {.expires_ms = writer->expires_ms},
                          .part = FIRN_PART_HEAD};
    result = firn_write_direct(cache, &direct);
    if (result == FIRN_OK) {
        result = check_pieces(cache, &writer->stream);
        if (result != FIRN_OK) {
            remove_head(cache, writer->key, writer->key_size, firn_object_version(placeholder));
        }
    }
    firn_object_unref(placeholder);
    return result;
}

static int commit(firn_writer *writer) {
    firn_cache *cache = writer->cache;
    if (writer->failed != FIRN_OK) {
        return writer->failed;
    }
    if (writer->stream.count == 0) {
        return firn_put(cache, writer->key, writer->key_size, writer->buffer, writer->used,
                        &writer->options);
    }
    int result = write_piece(writer);
    if (result == FIRN_OK) {
        result = write_head_entry(writer);
    }
    if (result == FIRN_OK) {
        firn_count_key(cache, writer->key, writer->key_size, FIRN_EVENT_PUT);
        if (cache->options.durability == FIRN_DURABILITY_COMMIT) {
            result = firn_cold_sync_journal(cache->cold);
        }
    }
    return result;
}

int firn_writer_commit(firn_writer *writer) {
    if (writer == NULL) {
        return FIRN_EINVAL;
    }
    int result = commit(writer);
    if (result != FIRN_OK) {
        remove_pieces(writer->cache, &writer->stream);
    }
    int settled = firn_links_settle(writer->cache);
    result = result == FIRN_OK ? settled : result;
    free_writer(writer);
    return result;
}

void firn_writer_abort(firn_writer *writer) {
    if (writer == NULL) {
        return;
    }
    remove_pieces(writer->cache, &writer->stream);
    free_writer(writer);
}

/* ---- the reader ---- */

struct firn_reader {
    firn_cache *cache;
    firn_object *object; /* the whole value, or the key of one in pieces */
    bool in_pieces;
    uint64_t next; /* piece */
    firn_pieces stream;
    unsigned char *buffer; /* of a piece */
    int failed;
};

typedef struct opening {
    firn_cache *cache;
    firn_object *object;
    bool in_pieces;
    bool typed;    /* its value is not bytes */
    bool interned; /* its value is elsewhere */
    bool absent;   /* or what is there says so, or is stale */
    firn_stream_head head;
} opening;

static void *place_opened(void *context, const firn_cold_meta *meta) {
    opening *self = context;
    const firn_traits *traits = &meta->attributes.traits;
    self->absent =
        firn_traits_limited(traits) && firn_traits_unserved(traits, firn_now_ms(self->cache));
    self->typed = !self->absent && meta->attributes.type != 0;
    self->interned = !self->absent && meta->attributes.interned;
    if (self->absent || self->typed || self->interned) {
        return NULL;
    }
    self->in_pieces = meta->part == FIRN_PART_HEAD;
    if (self->in_pieces && meta->value_size != sizeof self->head.bytes) {
        return NULL;
    }
    self->object =
        firn_object_make(self->cache->pool, meta->key, meta->key_size,
                         self->in_pieces ? 0 : meta->value_size, &meta->attributes.traits);
    if (self->object == NULL) {
        return NULL;
    }
    firn_object_set_version(self->object, meta->version);
    self->head.hash = meta->hash;
    self->head.version = meta->version;
    return self->in_pieces ? self->head.bytes : firn_object_body(self->object);
}

/* Finds the entry in either tier. */
static int open_entry(firn_cache *cache, const void *key, size_t key_size, opening *self) {
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    firn_object *found = firn_hot_get(cache->hot, hash, key, key_size);
    if (found != NULL) {
        if (firn_is_absent(cache, found)) {
            firn_object_unref(found);
            firn_count_key(cache, key, key_size, FIRN_EVENT_MISS);
            return FIRN_NOT_FOUND;
        }
        if (firn_object_type(found) != NULL) {
            int refused = firn_refuse_typed(cache, found);
            firn_object_unref(found);
            return refused;
        }
        firn_hot_note_hit(cache->hot, hash, found);
        firn_count_key(cache, key, key_size, FIRN_EVENT_HOT_HIT);
        self->object = found;
        return FIRN_OK;
    }
    int result = FIRN_NOT_FOUND;
    if (cache->cold != NULL) {
        result = firn_cold_read(cache->cold, hash, key, key_size, place_opened, self, NULL);
    }
    if (self->absent) {
        result = FIRN_NOT_FOUND;
    }
    if (self->interned) {
        result = firn_read_below(cache, hash, key, key_size, &self->object);
    }
    if (self->typed) {
        return firn_detail_set(&cache->detail, FIRN_ETYPE,
                               "the entry's value is of a type, not of bytes: firn_get gets it");
    }
    firn_count_key(cache, key, key_size, result == FIRN_OK ? FIRN_EVENT_COLD_HIT : FIRN_EVENT_MISS);
    if (result != FIRN_OK) {
        firn_object_unref(self->object);
        self->object = NULL;
    }
    return result == FIRN_ECORRUPT ? FIRN_NOT_FOUND : result;
}

int firn_reader_open(firn_cache *cache, const void *key, size_t key_size, firn_reader **out) {
    if (out != NULL) {
        *out = NULL;
    }
    if (cache == NULL || out == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    opening found = {.cache = cache};
    if (result == FIRN_OK) {
        result = open_entry(cache, key, key_size, &found);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_reader *reader = firn_heap_zalloc(cache->heap, sizeof *reader);
    if (reader == NULL) {
        firn_object_unref(found.object);
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a reader");
    }
    reader->cache = cache;
    reader->object = found.object;
    reader->in_pieces = found.in_pieces;
    if (found.in_pieces && !read_head(&reader->stream, &found.head)) {
        remove_head(cache, key, key_size, found.head.version);
        firn_reader_close(reader);
        return FIRN_NOT_FOUND;
    }
    if (found.in_pieces) {
        reader->buffer = firn_heap_alloc(cache->heap, (size_t)reader->stream.piece);
        if (reader->buffer == NULL) {
            firn_reader_close(reader);
            return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a reader");
        }
    } else {
        reader->stream.total = firn_object_size(found.object);
    }
    *out = reader;
    return FIRN_OK;
}

uint64_t firn_reader_size(const firn_reader *reader) {
    return reader != NULL ? reader->stream.total : 0;
}

static int next_piece(firn_reader *reader, const void **piece, size_t *size) {
    firn_cache *cache = reader->cache;
    int result = read_piece(cache, &reader->stream, reader->next, reader->buffer);
    if (result == FIRN_OK) {
        *piece = reader->buffer;
        *size = firn_pieces_size(&reader->stream, reader->next++);
        return FIRN_OK;
    }
    if (result != FIRN_NOT_FOUND && result != FIRN_ECORRUPT) {
        return result;
    }
    size_t key_size;
    const void *key = firn_object_key(reader->object, &key_size);
    remove_head(cache, key, key_size, firn_object_version(reader->object));
    reader->failed = firn_detail_set(
        &cache->detail, FIRN_ECORRUPT, "piece %llu of %llu of a value is %s: the value is lost",
        (unsigned long long)reader->next, (unsigned long long)reader->stream.count,
        result == FIRN_NOT_FOUND ? "gone, reclaimed or expired" : "damaged");
    return reader->failed;
}

int firn_reader_next(firn_reader *reader, const void **piece, size_t *size) {
    if (reader == NULL || piece == NULL || size == NULL) {
        return FIRN_EINVAL;
    }
    *piece = NULL;
    *size = 0;
    if (reader->failed != FIRN_OK) {
        return reader->failed;
    }
    if (reader->in_pieces) {
        return reader->next < reader->stream.count ? next_piece(reader, piece, size)
                                                   : FIRN_NOT_FOUND;
    }
    if (reader->next > 0 || reader->stream.total == 0) {
        return FIRN_NOT_FOUND;
    }
    reader->next = 1;
    *piece = firn_object_data(reader->object);
    *size = (size_t)reader->stream.total;
    return FIRN_OK;
}

void firn_reader_close(firn_reader *reader) {
    if (reader == NULL) {
        return;
    }
    firn_heap *heap = reader->cache->heap;
    firn_heap_free(heap, reader->buffer, (size_t)reader->stream.piece);
    firn_object_unref(reader->object);
    firn_heap_free(heap, reader, sizeof *reader);
}
