/* Two builds of the library beside each other, in one process and in short turns, so that what
 * disturbs the machine disturbs both alike: what a change costs.
 *
 * Usage: bench_builds FOLDER OLD.so NEW.so [NAME]
 *
 * FOLDER is for stores, and must be there. NAME: only what has it in its name. Each line is JSON:
 * the median time of an operation with each, and the median of the ratios of neighbouring turns. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <firn/firn.h>

enum {
    TURNS = 401, /* an odd number */
    KEYS = 400000,
    VALUE = 100,
    COLD_KEYS = 100000,
    COLD_VALUE = 256,
    BATCH = 16,
};

typedef struct build {
    int (*open)(firn_cache **, const char *, const firn_options *);
    int (*close)(firn_cache *);
    int (*put)(firn_cache *, const void *, size_t, const void *, size_t, const firn_put_options *);
    int (*get)(firn_cache *, const void *, size_t, firn_object **);
    int (*get_many)(firn_cache *, size_t, const firn_key *, firn_object **, size_t *);
    int (*flush)(firn_cache *);
    void (*unref)(firn_object *);
    firn_cache *cache;
    uint64_t seed;
} build;

static void fail(const char *what) {
    fprintf(stderr, "bench_builds: %s\n", what);
    exit(1);
}

static void *find(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        fail(dlerror());
    }
    return found;
}

static void load(build *self, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fail(dlerror());
    }
    *(void **)&self->open = find(library, "firn_open");
    *(void **)&self->close = find(library, "firn_close");
    *(void **)&self->put = find(library, "firn_put");
    *(void **)&self->get = find(library, "firn_get");
    *(void **)&self->get_many = find(library, "firn_get_many");
    *(void **)&self->flush = find(library, "firn_flush");
    *(void **)&self->unref = find(library, "firn_object_unref");
}

static uint64_t next(uint64_t *seed) {
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void put(build *self, uint64_t key, size_t size) {
    static char value[COLD_VALUE];
    memcpy(value, &key, sizeof key);
    if (self->put(self->cache, &key, sizeof key, value, size, NULL) != FIRN_OK) {
        fail("a put failed");
    }
}

static void get(build *self, uint64_t key) {
    firn_object *object;
    if (self->get(self->cache, &key, sizeof key, &object) < 0) {
        fail("a get failed");
    }
    self->unref(object);
}

/* ---- what is measured ---- */

static void open_memory(build *self, uint64_t hot_bytes) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = hot_bytes;
    if (self->open(&self->cache, NULL, &options) != FIRN_OK) {
        fail("no cache");
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        put(self, i, VALUE);
    }
}

static void open_hot(build *self, const char *folder) {
    (void)folder;
    open_memory(self, (uint64_t)256 << 20);
}

static void open_full(build *self, const char *folder) {
    (void)folder;
    open_memory(self, (uint64_t)16 << 20);
}

/* What is below is not brought up. */
static void open_cold(build *self, const char *folder) {
    static unsigned number;
    char path[4096];
    snprintf(path, sizeof path, "%s/store-%u", folder, number++);
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 0;
    if (self->open(&self->cache, path, &options) != FIRN_OK) {
        fail("no store: FOLDER must be there, without stores");
    }
    for (uint64_t i = 0; i < COLD_KEYS; i++) {
        put(self, i, COLD_VALUE);
    }
    if (self->flush(self->cache) != FIRN_OK) {
        fail("a flush failed");
    }
}

static void hot_hits(build *self, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        get(self, next(&self->seed) % KEYS);
    }
}

static void hot_batches(build *self, unsigned count) {
    uint64_t numbers[BATCH];
    firn_key keys[BATCH];
    firn_object *objects[BATCH];
    for (unsigned i = 0; i < count; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++) {
            numbers[j] = next(&self->seed) % KEYS;
            keys[j] = (firn_key){&numbers[j], sizeof numbers[j]};
        }
        size_t found;
        (void)self->get_many(self->cache, BATCH, keys, objects, &found);
        for (unsigned j = 0; j < BATCH; j++) {
            self->unref(objects[j]);
        }
    }
}

static void misses(build *self, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        get(self, next(&self->seed) | UINT64_C(1) << 63);
    }
}

static void overwrites(build *self, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        put(self, next(&self->seed) % KEYS, VALUE);
    }
}

/* Each evicts another. */
static void new_entries(build *self, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        put(self, next(&self->seed), VALUE);
    }
}

static void cold_hits(build *self, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        get(self, next(&self->seed) % COLD_KEYS);
    }
}

static const struct {
    const char *name;
    void (*begin)(build *, const char *folder);
    void (*run)(build *, unsigned count);
    unsigned count; /* operations a turn */
} works[] = {
    {"hot hit", open_hot, hot_hits, 20000},
    {"hot hit, of a batch of 16", open_hot, hot_batches, 20000},
    {"hot miss", open_hot, misses, 20000},
    {"overwrite in memory", open_hot, overwrites, 5000},
    {"new entry, one is evicted", open_full, new_entries, 5000},
    {"cold hit", open_cold, cold_hits, 2000},
    {"cold miss", open_cold, misses, 20000},
};

/* ---- turns ---- */

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *numbers) {
    qsort(numbers, TURNS, sizeof *numbers, compare);
    return numbers[TURNS / 2];
}

/* Half of the turns with the caches of the one made first, half with those of the other: memory
 * that is had first is better memory. */
static void compare_at(size_t work, build builds[2], const char *folder) {
    static double took[2][TURNS];
    static double ratios[TURNS];
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (turn == 0 || turn == TURNS / 2) {
            for (unsigned step = 0; step < 2; step++) {
                build *one = &builds[turn == 0 ? step : 1 - step];
                if (turn > 0) {
                    one->close(one->cache);
                }
                one->seed = 1;
                works[work].begin(one, folder);
                works[work].run(one, works[work].count);
            }
        }
        for (unsigned step = 0; step < 2; step++) {
            unsigned b = (step + turn) % 2; /* each is first as often */
            double began = now_ns();
            works[work].run(&builds[b], works[work].count);
            took[b][turn] = (now_ns() - began) / works[work].count;
        }
        ratios[turn] = took[1][turn] / took[0][turn];
    }
    printf("{\"bench\": \"%s\", \"old_ns\": %.1f, \"new_ns\": %.1f, \"ratio\": %.4f}\n",
           works[work].name, median(took[0]), median(took[1]), median(ratios));
    fflush(stdout);
    builds[0].close(builds[0].cache);
    builds[1].close(builds[1].cache);
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "Usage: bench_builds FOLDER OLD.so NEW.so [NAME]\n");
        return 2;
    }
    static build builds[2];
    load(&builds[0], argv[2]);
    load(&builds[1], argv[3]);
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        if (argc == 4 || strstr(works[i].name, argv[4]) != NULL) {
            compare_at(i, builds, argv[1]);
        }
    }
    return 0;
}
