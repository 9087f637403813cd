/* Makes a store with values that were written as streams, for test_program.sh: text whose
 * characters lie across the ends of pieces, bytes that are no text, and one whose first pieces were
 * reclaimed while its head is still there. Usage: streams_store PATH */
#include <stdio.h>
#include <string.h>

#include <firn/firn.h>

enum { PIECE = 4096, FILLING = 40000, BUDGET = 8 << 20, TRIES = 400 };

static int write_stream(firn_cache *cache, const char *key, const char *part, size_t part_size,
                        unsigned times) {
    firn_writer_options options = FIRN_WRITER_OPTIONS_INIT;
    firn_writer *writer;
    options.piece = PIECE;
    int result = firn_writer_open(cache, key, strlen(key), &options, &writer);
    if (result != FIRN_OK) {
        return result;
    }
    for (unsigned i = 0; i < times && result == FIRN_OK; i++) {
        result = firn_writer_write(writer, part, part_size);
    }
    if (result != FIRN_OK) {
        firn_writer_abort(writer);
        return result;
    }
    return firn_writer_commit(writer);
}

/* Nothing that could be compressed. */
static void fill(char *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1103515245 + 12345;
        bytes[i] = (char)(seed >> 16);
    }
}

/* 1: it has become so; 0: not yet; below 0: an error. */
static int is_incomplete(const char *path, const char *key) {
    firn_store *store;
    firn_store_entry entry;
    int result = firn_store_open(&store, path, NULL, 0);
    if (result != FIRN_OK) {
        return -1;
    }
    result = firn_store_get(store, key, strlen(key), &entry);
    firn_store_close(store);
    return result == FIRN_OK ? entry.incomplete != 0 : -1;
}

static firn_cache *open_cache(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.cold_bytes = BUDGET;
    options.threads = 0;
    options.compression_level = FIRN_COMPRESSION_OFF;
    firn_cache *cache;
    return firn_open(&cache, path, &options) == FIRN_OK ? cache : NULL;
}

int main(int argc, char **argv) {
    static char bytes[FILLING];
    if (argc != 2) {
        return 2;
    }
    fill(bytes, sizeof bytes, 1);
    firn_cache *cache = open_cache(argv[1]);
    int result = cache != NULL ? FIRN_OK : FIRN_EIO;
    if (result == FIRN_OK) {
        result = write_stream(cache, "lost", bytes, sizeof bytes, 50);
        int closed = firn_close(cache);
        result = result == FIRN_OK ? closed : result;
    }
    int lost = 0;
    for (unsigned i = 0; i < TRIES && result == FIRN_OK && lost == 0; i++) {
        cache = open_cache(argv[1]);
        if (cache == NULL) {
            return 1;
        }
        for (unsigned j = 0; j < 4 && result == FIRN_OK; j++) {
            char key[32]; /* always others: what is superseded is reclaimed first */
            int size = snprintf(key, sizeof key, "filler %u", i * 4 + j);
            result = firn_put(cache, key, (size_t)size, bytes, sizeof bytes, NULL);
        }
        int closed = firn_close(cache);
        result = result == FIRN_OK ? closed : result;
        lost = is_incomplete(argv[1], "lost");
    }
    if (result != FIRN_OK || lost != 1) {
        fprintf(stderr, "no stream became incomplete: %d, %d\n", result, lost);
        return 1;
    }
    cache = open_cache(argv[1]);
    if (cache == NULL) {
        return 1;
    }
    static const char text[] = "\xe2\x82\xac\t\xf0\x9f\x98\x80.";
    result = write_stream(cache, "text", text, sizeof text - 1, 2000);
    if (result == FIRN_OK) {
        result = write_stream(cache, "bytes", "\xff\x00\xe2", 3, 3000);
    }
    if (result == FIRN_OK) {
        result = firn_put(cache, "plain", 5, "as ever", 7, NULL);
    }
    int closed = firn_close(cache);
    return result == FIRN_OK && closed == FIRN_OK ? 0 : 1;
}
