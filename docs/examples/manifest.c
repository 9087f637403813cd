/* Links that keep: versions of a file that share their chunks.
 *
 *     cc manifest.c $(pkg-config --cflags --libs firn) -o manifest
 *     ./manifest OLD NEW
 *
 * A file is cut into chunks where its content says so, such that an insertion changes the chunks
 * around it and no others. Each chunk is an entry, named by a hash of its bytes and `owned`: it
 * lives as long as somebody keeps it. The file itself is an entry too, a manifest that names its
 * chunks and has a link to each that keeps it. Two versions of a file so share what they have in
 * common, and when one is deleted, the chunks that only it had go by themselves: nobody counts
 * references, in this program or on disk.
 *
 * With one file the new version is the same with a line put in at its middle; without any, the old
 * one is made up. The store is manifest-store. */
#include "example.h"

#include <inttypes.h>
#include <stdbool.h>

/* Small, so that small files show something; a real store would take some 16 times as much. */
enum {
    CHUNK_MIN = 256,
    CHUNK_BITS = 10 /* 1 KiB on average, beyond the least */,
    CHUNK_MAX = 8192
};

/* FNV-1a. It is fast enough here, but anybody can make two chunks of one hash: therefore chunks
 * that seem to be there already are compared. */
static uint64_t hash_bytes(const void *bytes, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    }
    return hash;
}

/* The length of the chunk that begins here. The sum forgets a byte after 64 more: so a cut depends
 * on the last 64 bytes alone, and falls into step again soon after an insertion. */
static size_t chunk_length(const char *bytes, size_t size) {
    uint64_t sum = 0;
    size_t end = size < CHUNK_MAX ? size : CHUNK_MAX;
    for (size_t i = 0; i < end; i++) {
        sum = (sum << 1) + hash_bytes(bytes + i, 1);
        if (i + 1 >= CHUNK_MIN && sum >> (64 - CHUNK_BITS) == 0) {
            return i + 1;
        }
    }
    return end;
}

typedef struct chunk_key {
    char text[32]; /* "chunk 0123456789abcdef" */
} chunk_key;

static chunk_key key_of(uint64_t hash) {
    chunk_key key;
    snprintf(key.text, sizeof key.text, "chunk %016" PRIx64, hash);
    return key;
}

/* Puts a chunk if it is not there yet. Returns what it is called by: its hash or, if another chunk
 * has that already, the next free number. */
static uint64_t put_chunk(firn_cache *cache, const char *bytes, size_t size, bool *is_new) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.owned = 1;
    for (uint64_t hash = hash_bytes(bytes, size);; hash++) {
        chunk_key key = key_of(hash);
        int result = firn_add(cache, key.text, strlen(key.text), bytes, size, &options);
        *is_new = result == FIRN_OK;
        if (result == FIRN_OK) {
            return hash;
        }
        if (result != FIRN_EXISTS) {
            check(cache, result, key.text);
        }
        firn_object *there;
        check(cache, firn_get(cache, key.text, strlen(key.text), &there), key.text);
        bool same =
            firn_object_size(there) == size && memcmp(firn_object_data(there), bytes, size) == 0;
        firn_object_unref(there);
        if (same) {
            return hash;
        }
    }
}

/* Stores a version of a file: its chunks, then the manifest that keeps them. */
static void put_version(firn_cache *cache, const char *name, const char *bytes, size_t size) {
    size_t room = size / CHUNK_MIN + 1;
    uint64_t *hashes = allocate(room * sizeof *hashes);
    chunk_key *keys = allocate(room * sizeof *keys);
    firn_link *links = allocate(room * sizeof *links);
    size_t count = 0;
    size_t fresh = 0;
    size_t fresh_bytes = 0;
    for (size_t at = 0; at < size; count++) {
        size_t length = chunk_length(bytes + at, size - at);
        bool is_new;
        hashes[count] = put_chunk(cache, bytes + at, length, &is_new);
        keys[count] = key_of(hashes[count]);
        links[count] = (firn_link){
            .kind = FIRN_LINK_KEEPS, .key = keys[count].text, .key_size = strlen(keys[count].text)};
        fresh += is_new;
        fresh_bytes += is_new ? length : 0;
        at += length;
    }
    /* The links are put with the value and belong to it. They name the chunks once each and in no
     * order that matters; the value names them in the order of the file, as often as they occur. */
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.links = links;
    options.link_count = count;
    check(cache, firn_put(cache, name, strlen(name), hashes, count * sizeof *hashes, &options),
          name);
    printf("put %s: %zu bytes in %zu chunks, of which %zu are new, %zu bytes\n", name, size, count,
           fresh, fresh_bytes);
    free(hashes);
    free(keys);
    free(links);
}

/* Reads a version back, and compares it. */
static void compare_version(firn_cache *cache, const char *name, const char *bytes, size_t size) {
    firn_object *manifest;
    check(cache, firn_get(cache, name, strlen(name), &manifest), name);
    const uint64_t *hashes = firn_object_data(manifest); /* aligned to 16 */
    size_t count = firn_object_size(manifest) / sizeof *hashes;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        chunk_key key = key_of(hashes[i]);
        firn_object *chunk;
        check(cache, firn_get(cache, key.text, strlen(key.text), &chunk), key.text);
        size_t length = firn_object_size(chunk);
        if (length > size - at || memcmp(firn_object_data(chunk), bytes + at, length) != 0) {
            fail("%s differs from the file at byte %zu", name, at);
        }
        at += length;
        firn_object_unref(chunk);
    }
    firn_object_unref(manifest);
    if (at != size) {
        fail("%s ends at byte %zu of %zu", name, at, size);
    }
    printf("read %s: the same as the file\n", name);
}

/* Deletes a version. Its chunks are not mentioned: those that nothing else keeps go too, before the
 * call returns. */
static void delete_version(firn_cache *cache, const char *name) {
    firn_object *manifest;
    check(cache, firn_get(cache, name, strlen(name), &manifest), name);
    check(cache, firn_delete(cache, name, strlen(name)), name);
    const uint64_t *hashes = firn_object_data(manifest); /* ours as long as we hold it */
    size_t count = firn_object_size(manifest) / sizeof *hashes;
    size_t gone = 0;
    for (size_t i = 0; i < count; i++) {
        chunk_key key = key_of(hashes[i]);
        int result = firn_contains(cache, key.text, strlen(key.text));
        gone += result == FIRN_NOT_FOUND;
        if (result != FIRN_NOT_FOUND) {
            check(cache, result, key.text);
        }
    }
    firn_object_unref(manifest);
    printf("delete %s: %zu of its chunks are gone, %zu are still kept\n", name, gone, count - gone);
}

/* Some text, for want of a file. */
static char *make_text(size_t *size) {
    enum { LINES = 2000 };
    char *text = allocate((size_t)LINES * 80);
    *size = 0;
    for (int i = 0; i < LINES; i++) {
        *size += (size_t)sprintf(text + *size, "line %d, whose square is %d\n", i, i * i);
    }
    return text;
}

/* The same with a line more in its middle. */
static char *make_newer(const char *old, size_t old_size, size_t *size) {
    static const char line[] = "\nThis line is new in this version.\n";
    size_t before = old_size / 2;
    size_t more = sizeof line - 1;
    char *text = allocate(old_size + more);
    memcpy(text, old, before);
    memcpy(text + before, line, more);
    memcpy(text + before + more, old + before, old_size - before);
    *size = old_size + more;
    return text;
}

int main(int argc, char **argv) {
    if (argc > 3) {
        fprintf(stderr, "usage: %s [OLD [NEW]]\n", argv[0]);
        return 2;
    }
    size_t old_size;
    size_t new_size;
    char *old = argc > 1 ? read_file(argv[1], &old_size) : make_text(&old_size);
    char *new = argc > 2 ? read_file(argv[2], &new_size) : make_newer(old, old_size, &new_size);

    firn_cache *cache = open_store("manifest-store");
    put_version(cache, "old version", old, old_size);
    put_version(cache, "new version", new, new_size);
    close_store(cache);

    cache = open_store("manifest-store"); /* links hold over restarts */
    compare_version(cache, "old version", old, old_size);
    delete_version(cache, "old version");
    compare_version(cache, "new version", new, new_size);
    delete_version(cache, "new version");
    firn_stats stats = FIRN_STATS_INIT;
    check(cache, firn_get_stats(cache, &stats), "firn_get_stats");
    printf("%llu chunks were deleted because nothing kept them any more, %llu links are left\n",
           (unsigned long long)stats.unkept, (unsigned long long)stats.links);
    close_store(cache);
    free(old);
    free(new);
    return 0;
}
