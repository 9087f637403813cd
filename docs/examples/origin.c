/* Loading: pages of a slow origin, asked for by many at once.
 *
 *     cc origin.c $(pkg-config --cflags --libs firn) -o origin
 *     ./origin
 *
 * The origin is made up: a few pages with a version each, which it tells like HTTP does. It can say
 * "not modified" to who has a version already, and can fail. What the example shows is how often it
 * is asked: once for eight threads that want the same page, once for a page that is not there, not
 * at all for a page that is fresh, once for many pages that a batch misses; and that its failing is
 * no trouble while there is something that was good not long ago. Time is made up too, so that
 * nothing has to sleep; therefore nothing is kept on disk, where times are to be true. */
#include "example.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 8, MAX_AGE_MS = 60000, KEEP_MS = 3600000 };

static uint64_t now_ms = 1000000000;

static uint64_t made_up_clock(void *context) {
    (void)context;
    return now_ms;
}

/* What is at the origin, and how it is. */
typedef struct origin {
    unsigned version; /* of its pages */
    int failing;      /* not 0: it gives 503 */
    atomic_uint requests;
    atomic_uint not_modified;
} origin;

/* A page as the cache keeps it: the version, and the text behind it. */
typedef struct page {
    unsigned version;
    char text[60];
} page;

/* GET key, If-None-Match: known. The status; 200: the page is filled in. */
static int fetch(origin *from, const char *key, size_t key_size, unsigned known, page *to) {
    if (from->failing) {
        return 503;
    }
    if (key_size < 1 || key[0] != '/') {
        return 404;
    }
    if (known == from->version) {
        from->not_modified++;
        return 304;
    }
    memset(to, 0, sizeof *to);
    to->version = from->version;
    snprintf(to->text, sizeof to->text, "%.*s, version %u", (int)key_size, key, from->version);
    return 200;
}

/* Gives one page to its load. */
static int load_page(origin *from, const void *key, size_t key_size, firn_load *load) {
    const firn_object *present = firn_load_present(load);
    const page *old = present != NULL ? firn_object_data(present) : NULL;
    page got;
    switch (fetch(from, key, key_size, old != NULL ? old->version : 0, &got)) {
    case 200:
        return firn_load_bytes(load, &got, sizeof got);
    case 304:
        return firn_load_bytes(load, old, sizeof *old); /* the same, fresh once more */
    case 404:
        return firn_load_fail(load, FIRN_NOT_FOUND);
    default:
        return firn_load_fail(load, FIRN_EUSER - 503); /* what callers get if nothing else helps */
    }
}

static int load_one(void *context, const void *key, size_t key_size, firn_load *load) {
    origin *from = context;
    from->requests++;
    return load_page(from, key, key_size, load);
}

/* An origin that takes many paths in one request. */
static int load_many(void *context, size_t count, const firn_key *keys, firn_load *const *loads) {
    origin *from = context;
    from->requests++;
    for (size_t i = 0; i < count; i++) {
        load_page(from, keys[i].data, keys[i].size, loads[i]);
    }
    return FIRN_OK; /* each load was told what became of it */
}

typedef struct browser {
    pthread_t thread;
    firn_cache *cache;
    const firn_loader *loader;
    const char *path;
    int result;
    page seen;
} browser;

static void *browse(void *context) {
    browser *self = context;
    firn_object *object;
    self->result =
        firn_get_or_load(self->cache, self->path, strlen(self->path), self->loader, &object);
    if (object != NULL) { /* FIRN_OK or FIRN_STALE */
        memcpy(&self->seen, firn_object_data(object), sizeof self->seen);
        firn_object_unref(object);
    }
    return NULL;
}

/* What one caller sees, and how often the origin had to be asked for it. */
static void show(firn_cache *cache, origin *from, const firn_loader *loader, const char *when,
                 const char *path) {
    browser one = {.cache = cache, .loader = loader, .path = path};
    unsigned before = from->requests;
    browse(&one);
    printf("%s: %s (%s), %u requests\n", when, one.seen.version != 0 ? one.seen.text : "nothing",
           firn_strerror(one.result), from->requests - before);
}

static void many_at_once(firn_cache *cache, origin *from, const firn_loader *loader) {
    browser browsers[THREADS];
    unsigned same = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        browsers[i] = (browser){.cache = cache, .loader = loader, .path = "/news"};
        if (pthread_create(&browsers[i].thread, NULL, browse, &browsers[i]) != 0) {
            fail("cannot start a thread");
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(browsers[i].thread, NULL);
        same += browsers[i].result == FIRN_OK && browsers[i].seen.version == 1;
    }
    printf("%u threads at once: %u got the page, %u requests\n", THREADS, same, from->requests);
}

static void batch(firn_cache *cache, origin *from, const firn_loader *loader) {
    const firn_key keys[] = {{"/news", 5}, {"/a", 2}, {"/b", 2}, {"missing", 7}, {"/c", 2}};
    enum { COUNT = sizeof keys / sizeof keys[0] };
    firn_object *objects[COUNT];
    unsigned before = from->requests;
    unsigned found = 0;
    check(cache, firn_get_or_load_many(cache, COUNT, keys, loader, objects, NULL), "batch");
    for (unsigned i = 0; i < COUNT; i++) {
        found += objects[i] != NULL;
        firn_object_unref(objects[i]);
    }
    printf("a batch of %u: %u found, %u requests\n", (unsigned)COUNT, found,
           from->requests - before);
}

int main(int count, char **arguments) {
    if (count != 1) {
        fprintf(stderr, "usage: %s\n", arguments[0]);
        return 2;
    }
    firn_options options = FIRN_OPTIONS_INIT;
    options.clock.now_ms = made_up_clock;
    firn_cache *cache;
    if (firn_open(&cache, NULL, &options) != FIRN_OK) {
        fail("cannot open a cache in memory");
    }
    origin from = {.version = 1};
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load = load_one;
    loader.load_many = load_many;
    loader.context = &from;
    loader.ttl_ms = MAX_AGE_MS;
    loader.negative_ttl_ms = MAX_AGE_MS;
    loader.stale_if_error_ms = KEEP_MS;

    many_at_once(cache, &from, &loader);
    show(cache, &from, &loader, "fresh", "/news");
    show(cache, &from, &loader, "not there", "missing");
    show(cache, &from, &loader, "still not there", "missing");
    batch(cache, &from, &loader);

    now_ms += MAX_AGE_MS;
    show(cache, &from, &loader, "too old, and the same", "/news");
    printf("of that, not modified: %u\n", from.not_modified);
    now_ms += MAX_AGE_MS;
    from.version = 2;
    show(cache, &from, &loader, "too old, and changed", "/news");

    now_ms += MAX_AGE_MS;
    from.failing = 1;
    show(cache, &from, &loader, "the origin fails", "/news");
    show(cache, &from, &loader, "and has never given it", "/other");
    now_ms += KEEP_MS;
    show(cache, &from, &loader, "an hour later", "/news");

    close_store(cache);
    return 0;
}
