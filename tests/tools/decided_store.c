/* Makes a store with a page for `firn explain`, for test_program.sh: entries about which the cache
 * decided something, named after what that was. Waits with the store open until its input ends, and
 * does nothing by itself meanwhile. Usage: decided_store PATH */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <firn/firn.h>

static firn_cache *open_cache(const char *path) {
    char why[256] = "";
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    firn_cache *cache = NULL;
    if (firn_open(&cache, path, &options) != FIRN_OK) {
        fprintf(stderr, "%s\n", why);
    }
    return cache;
}

/* What must not fail. */
static void must(int result) {
    if (result != FIRN_OK) {
        fprintf(stderr, "%s\n", firn_strerror(result));
        exit(1);
    }
}

static void put(firn_cache *cache, const char *key, const char *value) {
    must(firn_put(cache, key, strlen(key), value, strlen(value), NULL));
}

static void take_away(firn_cache *cache, const char *key) {
    must(firn_delete(cache, key, strlen(key)));
}

/* Changes a byte of a value in the log; false: it is not there. */
static bool spoil(const char *path, const char *value) {
    static char bytes[1 << 20];
    char name[4096];
    snprintf(name, sizeof name, "%s/firn.log", path);
    int fd = open(name, O_RDWR);
    ssize_t size = read(fd, bytes, sizeof bytes);
    const char *at = size > 0 ? memmem(bytes, (size_t)size, value, strlen(value)) : NULL;
    bool done = at != NULL && pwrite(fd, "X", 1, at - bytes) == 1;
    close(fd);
    return done;
}

static int load(void *context, const void *key, size_t key_size, firn_load *one) {
    (void)key;
    (void)key_size;
    const int *result = context;
    return *result == FIRN_OK ? firn_load_bytes(one, "made", 4) : *result;
}

static void load_it(firn_cache *cache, const char *key, int result) {
    firn_loader loader = FIRN_LOADER_INIT;
    firn_object *object;
    loader.load = load;
    loader.context = &result;
    must(firn_get_or_load(cache, key, strlen(key), &loader, &object) == result ? FIRN_OK
                                                                               : FIRN_EINVAL);
    firn_object_unref(object);
}

static void must_miss(firn_cache *cache, const char *key) {
    firn_object *object;
    must(firn_get(cache, key, strlen(key), &object) == FIRN_NOT_FOUND ? FIRN_OK : FIRN_EINVAL);
}

static void decide(firn_cache *cache) {
    must_miss(cache, "damaged");
    must_miss(cache, "mended");
    put(cache, "mended", "the second value");
    put(cache, "put again", "first");
    take_away(cache, "put again");
    put(cache, "put again", "second");
    put(cache, "deleted", "first");
    put(cache, "unwritten", "first");
    must(firn_flush(cache));
    take_away(cache, "deleted");
    take_away(cache, "unwritten");
    put(cache, "unwritten", "second");
    load_it(cache, "loaded", FIRN_OK);
    load_it(cache, "no value", FIRN_NOT_FOUND);
    load_it(cache, "failed", FIRN_EUSER);
}

int main(int argc, char **argv) {
    firn_cache *cache = argc > 1 ? open_cache(argv[1]) : NULL;
    if (cache == NULL) {
        return 1;
    }
    put(cache, "damaged", "a value to be damaged");
    put(cache, "mended", "a value to be damaged, too");
    must(firn_close(cache));
    cache = spoil(argv[1], "a value to be damaged, too") && spoil(argv[1], "a value to be damaged")
                ? open_cache(argv[1])
                : NULL;
    if (cache == NULL) {
        return 1;
    }
    decide(cache);
    (void)firn_run(cache, 0); /* writes the page */
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    must(firn_close(cache));
    return 0;
}
