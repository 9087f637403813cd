/* First figures: the hot tier by itself, the cold tier beside bare LMDB + zstd, and opening.
 *
 * Each figure is a line of JSON, {"bench": ..., "value": ..., "unit": ...}, and where it says so a
 * ratio to a peer that was measured in the same run. Usage: bench
 * [hot|turns|cold|threads|open] */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <check.h>
#include <lmdb.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <firn/firn.h>

#include "../../tools/values.h"
#include "unit/support.h"

enum {
    HOT_KEYS = 1000000,
    HOT_VALUE = 100,
    HOT_GETS = 3000000,
    COLD_BATCH = 1024,
    RUN_EVERY = 1024,       /* puts */
    WRITERS = 3,            /* with 0, 1, ... compression_threads */
    WRITE_BYTES = 16 << 20, /* of values, a turn */
    WRITE_TURNS = 11,       /* an odd number */
    WRITE_TURNS_UNTIMED = 2 /* before them, in which dictionaries are trained */
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void tell(const char *bench, const char *unit, double value) {
    printf("{\"bench\": \"%s\", \"value\": %.4g, \"unit\": \"%s\"}\n", bench, value, unit);
    fflush(stdout);
}

static uint64_t next(uint64_t *seed) {
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void need(int result, const char *what) {
    if (result != FIRN_OK) {
        fprintf(stderr, "bench: %s: %s\n", what, firn_strerror(result));
        exit(1);
    }
}

/* Zipf 0.99 by Gray et al. (SIGMOD 1994): a closed form, after one sum over all keys. */
typedef struct zipf {
    double zeta;
    double eta;
    double alpha;
    uint64_t count;
} zipf;

static zipf zipf_make(uint64_t count) {
    const double theta = 0.99;
    zipf self = {0, 0, 1 / (1 - theta), count};
    for (uint64_t i = 1; i <= count; i++) {
        self.zeta += 1 / pow((double)i, theta);
    }
    double zeta2 = 1 + 1 / pow(2, theta);
    self.eta = (1 - pow(2 / (double)count, 1 - theta)) / (1 - zeta2 / self.zeta);
    return self;
}

static uint64_t zipf_next(const zipf *self, uint64_t *seed) {
    double u = (double)(next(seed) >> 11) / 9007199254740992.0;
    double uz = u * self->zeta;
    uint64_t rank =
        uz < 1 ? 0
        : uz < 1 + pow(0.5, 0.99)
            ? 1
            : (uint64_t)((double)self->count * pow(self->eta * u - self->eta + 1, self->alpha));
    rank = rank < self->count ? rank : self->count - 1;
    return rank * UINT64_C(0x9e3779b97f4a7c15) % self->count; /* spread over the keys */
}

/* Check's assertions work in tests only, so a benchmark has its own way to a fresh folder. */
static char *fresh_path(const char *name) {
    const char *folder = getenv("TMPDIR");
    char *path;
    if (asprintf(&path, "%s/firn-bench-%ld-%s", folder != NULL ? folder : "/tmp", (long)getpid(),
                 name) < 0) {
        exit(1);
    }
    clear_tree(path);
    return path;
}

static firn_cache *open_cache(const char *path, const firn_options *options) {
    firn_cache *cache;
    need(firn_open(&cache, path, options), "open");
    return cache;
}

/* ---- hot ---- */

typedef struct hot_job {
    firn_cache *cache;
    const uint32_t *keys;
    size_t count;
    bool put;
    uint64_t sum;
} hot_job;

static void *hot_work(void *context) {
    hot_job *job = context;
    unsigned char value[HOT_VALUE] = "value";
    for (size_t i = 0; i < job->count; i++) {
        uint64_t key = job->keys[i];
        if (job->put) {
            need(firn_put(job->cache, &key, sizeof key, value, sizeof value, NULL), "put");
            continue;
        }
        firn_object *object;
        need(firn_get(job->cache, &key, sizeof key, &object), "get");
        job->sum += *(const unsigned char *)firn_object_data(object);
        firn_object_unref(object);
    }
    return NULL;
}

static void hot_run(firn_cache *cache, const uint32_t *keys, unsigned threads, bool put,
                    const char *name) {
    pthread_t handles[2];
    hot_job jobs[2];
    double began = now();
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (hot_job){cache, keys + i * (HOT_GETS / 2), HOT_GETS / threads, put, 0};
        jobs[i].keys = threads == 1 ? keys : jobs[i].keys;
        pthread_create(&handles[i], NULL, hot_work, &jobs[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(handles[i], NULL);
    }
    tell(name, "ns/op", (now() - began) * 1e9 / HOT_GETS);
}

static uint64_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1) {
        pages = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void bench_hot(void) {
    uint32_t *keys = malloc(HOT_GETS * sizeof *keys);
    zipf ranks = zipf_make(HOT_KEYS);
    uint64_t seed = 1;
    for (size_t i = 0; i < HOT_GETS; i++) {
        keys[i] = (uint32_t)zipf_next(&ranks, &seed);
    }
    uint64_t before = resident_bytes();
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = (uint64_t)1 << 30;
    firn_cache *cache;
    need(firn_open(&cache, NULL, &options), "open");
    unsigned char value[HOT_VALUE] = "value";
    double began = now();
    for (uint64_t i = 0; i < HOT_KEYS; i++) {
        need(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), "put");
    }
    tell("hot put, new keys, 1 thread", "ns/op", (now() - began) * 1e9 / HOT_KEYS);
    firn_stats stats = FIRN_STATS_INIT;
    need(firn_get_stats(cache, &stats), "stats");
    tell("hot memory beyond key and value, as accounted", "bytes/entry",
         (double)stats.hot_bytes / HOT_KEYS - 8 - HOT_VALUE);
    tell("hot memory beyond key and value, resident", "bytes/entry",
         (double)(resident_bytes() - before) / HOT_KEYS - 8 - HOT_VALUE);
    hot_run(cache, keys, 1, false, "hot get, zipf 0.99, 1 thread");
    hot_run(cache, keys, 2, false, "hot get, zipf 0.99, 2 threads");
    hot_run(cache, keys, 1, true, "hot put, zipf 0.99 overwrites, 1 thread");
    hot_run(cache, keys, 2, true, "hot put, zipf 0.99 overwrites, 2 threads");
    firn_close(cache);
    free(keys);
}

/* ---- turns: a get beside a look-up in a bare table ---- */

/* All in one process and in short turns, so that what disturbs the machine disturbs all alike, and
 * by the thread's own time, so that what else runs is not counted. The figure is that of a quarter
 * of the turns: the fastest, which were disturbed least. */
enum { TURN_GETS = 10000, TURNS = 800, BARE_SLOTS = 2 * (1 << 20), SUBJECTS = 4 };

typedef struct bare_node {
    uint64_t key;
    size_t size;
    unsigned char value[HOT_VALUE];
} bare_node;

typedef struct bare_slot {
    uint64_t hash;
    bare_node *node; /* NULL: free */
} bare_slot;

typedef struct subject {
    const char *name; /* NULL: the bare table */
    const char *policy;
    bool copies; /* by firn_get_copy */
    bare_slot *slots;
    firn_cache *cache;
    double seconds[TURNS];
} subject;

static uint64_t bare_hash(uint64_t key) {
    return XXH3_64bits(&key, sizeof key);
}

static bare_slot *bare_find(bare_slot *slots, uint64_t key) {
    uint64_t hash = bare_hash(key);
    uint64_t at = hash & (BARE_SLOTS - 1);
    while (slots[at].node != NULL && (slots[at].hash != hash || slots[at].node->key != key)) {
        at = (at + 1) & (BARE_SLOTS - 1);
    }
    return &slots[at];
}

/* Every whole word, which stands for using the value. */
static inline uint64_t words_of(const void *value, size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, (const unsigned char *)value + i, sizeof word);
        sum += word;
    }
    return sum;
}

static double own_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void turn_fill(subject *self) {
    unsigned char value[HOT_VALUE] = "value";
    if (self->policy == NULL) {
        self->slots = calloc(BARE_SLOTS, sizeof *self->slots);
    } else {
        firn_options options = FIRN_OPTIONS_INIT;
        options.hot_bytes = (uint64_t)1 << 29;
        options.hot_policy = self->policy;
        need(firn_open(&self->cache, NULL, &options), "open");
    }
    for (uint64_t key = 0; key < HOT_KEYS; key++) {
        if (self->policy != NULL) {
            need(firn_put(self->cache, &key, sizeof key, value, sizeof value, NULL), "put");
            continue;
        }
        bare_node *node = malloc(sizeof *node);
        if (node == NULL || self->slots == NULL) {
            exit(1);
        }
        *node = (bare_node){.key = key, .size = sizeof value};
        memcpy(node->value, value, sizeof value);
        *bare_find(self->slots, key) = (bare_slot){bare_hash(key), node};
    }
}

static uint64_t turn_gets(const subject *self, const uint32_t *keys) {
    uint64_t sum = 0;
    for (size_t i = 0; i < TURN_GETS; i++) {
        uint64_t key = keys[i];
        if (self->policy == NULL) {
            const bare_node *node = bare_find(self->slots, key)->node;
            sum += node != NULL ? words_of(node->value, node->size) : 0;
        } else if (self->copies) {
            unsigned char value[HOT_VALUE];
            size_t size;
            need(firn_get_copy(self->cache, &key, sizeof key, value, sizeof value, &size), "get");
            sum += words_of(value, size);
        } else {
            firn_object *object;
            need(firn_get(self->cache, &key, sizeof key, &object), "get");
            sum += words_of(firn_object_data(object), firn_object_size(object));
            firn_object_unref(object);
        }
    }
    return sum;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_turns(void) {
    static subject subjects[SUBJECTS] = {
        {.name = "bare table"},
        {.name = "lru", .policy = "lru"},
        {.name = "sieve", .policy = "sieve"},
        {.name = "sieve, firn_get_copy", .policy = "sieve", .copies = true},
    };
    uint32_t *keys = malloc(HOT_GETS * sizeof *keys);
    zipf ranks = zipf_make(HOT_KEYS);
    uint64_t seed = 1;
    if (keys == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < HOT_GETS; i++) {
        keys[i] = (uint32_t)zipf_next(&ranks, &seed);
    }
    for (unsigned s = 0; s < SUBJECTS; s++) {
        turn_fill(&subjects[s]);
    }
    uint64_t sums[SUBJECTS] = {0};
    for (size_t turn = 0; turn < TURNS; turn++) {
        for (unsigned s = 0; s < SUBJECTS; s++) {
            double began = own_time();
            sums[s] += turn_gets(&subjects[s], keys + turn * TURN_GETS % (HOT_GETS - TURN_GETS));
            subjects[s].seconds[turn] = own_time() - began;
        }
    }
    for (unsigned s = 0; s < SUBJECTS; s++) {
        char name[80];
        if (sums[s] != sums[0]) {
            fprintf(stderr, "bench: %s gave other values\n", subjects[s].name);
            exit(1);
        }
        qsort(subjects[s].seconds, TURNS, sizeof(double), compare);
        snprintf(name, sizeof name, "get in turns, 1 thread, %s", subjects[s].name);
        tell(name, "ns/op", subjects[s].seconds[TURNS / 4] * 1e9 / TURN_GETS);
        if (s > 0) {
            snprintf(name, sizeof name, "get in turns, 1 thread, %s, of the bare table",
                     subjects[s].name);
            tell(name, "ratio", subjects[s].seconds[TURNS / 4] / subjects[0].seconds[TURNS / 4]);
        }
        firn_close(subjects[s].cache);
        for (size_t i = 0; subjects[s].slots != NULL && i < BARE_SLOTS; i++) {
            free(subjects[s].slots[i].node);
        }
        free(subjects[s].slots);
    }
    free(keys);
}

/* ---- cold ---- */

typedef struct rates {
    double write;
    double read;
    double disk; /* bytes on disk over logical bytes */
} rates;

static rates firn_rates(size_t size, size_t count, const uint32_t *order) {
    char *path = fresh_path("bench-firn");
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 0;
    options.cold_bytes = (uint64_t)8 << 30;
    options.durability = FIRN_DURABILITY_NONE;
    options.threads = 0;
    firn_cache *cache = open_cache(path, &options);
    unsigned char *value = malloc(size);
    rates result;
    double began = now();
    double making = 0;
    for (uint64_t i = 0; i < count; i++) {
        double make_began = now();
        make_value(i, value, size);
        making += now() - make_began;
        need(firn_put(cache, &i, sizeof i, value, size, NULL), "put");
        if (i % RUN_EVERY == RUN_EVERY - 1) { /* as a program without a thread does: it trains */
            (void)firn_run(cache, 0);
        }
    }
    while (firn_run(cache, 1000) == FIRN_AGAIN) {
    }
    result.write = (double)count / (now() - began - making);
    firn_stats stats = FIRN_STATS_INIT;
    need(firn_get_stats(cache, &stats), "stats");
    result.disk = (double)stats.cold_file_bytes / (double)(count * (size + 8));
    began = now();
    for (size_t i = 0; i < count; i++) {
        uint64_t key = order[i];
        firn_object *object;
        need(firn_get(cache, &key, sizeof key, &object), "get");
        firn_object_unref(object);
    }
    result.read = (double)count / (now() - began);
    firn_close(cache);
    free(value);
    remove_tree(path);
    return result;
}

static void need_lmdb(int error) {
    if (error != 0) {
        fprintf(stderr, "bench: %s\n", mdb_strerror(error));
        exit(1);
    }
}

/* LMDB with one zstd frame a value under its key, in batches: what people write by hand. */
static rates bare_rates(size_t size, size_t count, const uint32_t *order) {
    char *path = fresh_path("bench-bare");
    need_lmdb(mkdir(path, 0755));
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    need_lmdb(mdb_env_create(&env));
    need_lmdb(mdb_env_set_mapsize(env, (size_t)8 << 30));
    need_lmdb(mdb_env_open(env, path, MDB_NOSYNC | MDB_NORDAHEAD, 0644));
    need_lmdb(mdb_txn_begin(env, NULL, 0, &txn));
    need_lmdb(mdb_dbi_open(txn, NULL, 0, &dbi));
    need_lmdb(mdb_txn_commit(txn));
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    ZSTD_DCtx *decompressor = ZSTD_createDCtx();
    size_t bound = ZSTD_compressBound(size);
    unsigned char *value = malloc(size);
    unsigned char *packed = malloc(bound);
    rates result;
    double began = now();
    double making = 0;
    for (uint64_t i = 0; i < count;) {
        need_lmdb(mdb_txn_begin(env, NULL, 0, &txn));
        for (unsigned n = 0; n < COLD_BATCH && i < count; n++, i++) {
            double make_began = now();
            make_value(i, value, size);
            making += now() - make_began;
            /* Keys are spread, as hashes are. */
            uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15);
            MDB_val name = {sizeof key, &key};
            MDB_val data = {ZSTD_compressCCtx(compressor, packed, bound, value, size, 3), packed};
            need_lmdb(mdb_put(txn, dbi, &name, &data, 0));
        }
        need_lmdb(mdb_txn_commit(txn));
    }
    result.write = (double)count / (now() - began - making);
    MDB_stat stat;
    need_lmdb(mdb_env_stat(env, &stat));
    size_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    result.disk = (double)(pages * stat.ms_psize) / (double)(count * (size + 8));
    began = now();
    need_lmdb(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    for (size_t i = 0; i < count; i++) {
        need_lmdb(mdb_txn_renew((mdb_txn_reset(txn), txn)));
        uint64_t key = order[i] * UINT64_C(0x9e3779b97f4a7c15);
        MDB_val name = {sizeof key, &key};
        MDB_val data;
        need_lmdb(mdb_get(txn, dbi, &name, &data));
        unsigned char *copy = malloc(size);
        if (ZSTD_decompressDCtx(decompressor, copy, size, data.mv_data, data.mv_size) != size) {
            exit(1);
        }
        free(copy);
    }
    result.read = (double)count / (now() - began);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    ZSTD_freeCCtx(compressor);
    ZSTD_freeDCtx(decompressor);
    free(value);
    free(packed);
    remove_tree(path);
    return result;
}

static void bench_cold(void) {
    const struct {
        size_t size;
        size_t count;
    } cases[] = {{256, 300000}, {1024, 150000}, {8192, 30000}, {65536, 4000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t count = cases[i].count;
        uint32_t *order = malloc(count * sizeof *order);
        uint64_t seed = 7;
        for (size_t n = 0; n < count; n++) {
            order[n] = (uint32_t)(next(&seed) % count);
        }
        rates ours = firn_rates(cases[i].size, count, order);
        rates bare = bare_rates(cases[i].size, count, order);
        free(order);
        const struct {
            const char *what;
            const char *unit;
            double value;
        } lines[] = {
            {"write, firn", "op/s", ours.write},
            {"write, LMDB + zstd", "op/s", bare.write},
            {"write, ratio to LMDB + zstd", "x", ours.write / bare.write},
            {"read, firn", "op/s", ours.read},
            {"read, LMDB + zstd", "op/s", bare.read},
            {"read, ratio to LMDB + zstd", "x", ours.read / bare.read},
            {"disk over logical bytes, firn", "x", ours.disk},
            {"disk over logical bytes, LMDB + zstd", "x", bare.disk},
        };
        for (size_t n = 0; n < sizeof lines / sizeof lines[0]; n++) {
            char name[100];
            snprintf(name, sizeof name, "cold %zu B: %s", cases[i].size, lines[n].what);
            tell(name, lines[n].unit, lines[n].value);
        }
    }
}

/* ---- writes, with threads that help to compress ---- */

typedef struct writer {
    char *path;
    firn_cache *cache;
    uint64_t key;
    double seconds[WRITE_TURNS];
    double cpu_seconds[WRITE_TURNS]; /* of all threads */
    double own_seconds[WRITE_TURNS]; /* of the one that writes */
} writer;

static double cpu_now(clockid_t whose) {
    struct timespec time;
    clock_gettime(whose, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void write_turn(writer *self, const unsigned char *values, size_t size, unsigned turn) {
    double began = now();
    double cpu_began = cpu_now(CLOCK_PROCESS_CPUTIME_ID);
    double own_began = cpu_now(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < WRITE_BYTES / size; i++, self->key++) {
        need(firn_put(self->cache, &self->key, sizeof self->key, values + i * size, size, NULL),
             "put");
        if (i % RUN_EVERY == RUN_EVERY - 1) {
            (void)firn_run(self->cache, 0);
        }
    }
    need(firn_flush(self->cache), "flush");
    while (firn_run(self->cache, 1000) == FIRN_AGAIN) {
    }
    self->seconds[turn] = now() - began;
    self->cpu_seconds[turn] = cpu_now(CLOCK_PROCESS_CPUTIME_ID) - cpu_began;
    self->own_seconds[turn] = cpu_now(CLOCK_THREAD_CPUTIME_ID) - own_began;
}

static double median(double *numbers) {
    qsort(numbers, WRITE_TURNS, sizeof *numbers, compare);
    return numbers[WRITE_TURNS / 2];
}

static void tell_writers(writer *writers, size_t size) {
    double count = WRITE_BYTES / (double)size;
    double ratios[WRITE_TURNS];
    for (unsigned t = 0; t < WRITERS; t++) {
        char name[100];
        for (unsigned turn = 0; turn < WRITE_TURNS; turn++) {
            ratios[turn] = writers[0].seconds[turn] / writers[t].seconds[turn];
        }
        snprintf(name, sizeof name, "write %zu B, compression_threads %u: speed-up", size, t);
        tell(name, "x", median(ratios));
    }
    for (unsigned t = 0; t < WRITERS; t++) {
        char name[100];
        snprintf(name, sizeof name, "write %zu B, compression_threads %u: time", size, t);
        tell(name, "us/op", median(writers[t].seconds) / count * 1e6);
        snprintf(name, sizeof name, "write %zu B, compression_threads %u: processor time", size, t);
        tell(name, "us/op", median(writers[t].cpu_seconds) / count * 1e6);
        snprintf(name, sizeof name, "write %zu B, compression_threads %u: the writer's own", size,
                 t);
        tell(name, "us/op", median(writers[t].own_seconds) / count * 1e6);
    }
}

/* Each writer has a store of its own, and they take turns. */
static void bench_threads(void) {
    static const size_t sizes[] = {256, 1024, 8192, 65536};
    unsigned char *values = malloc(WRITE_BYTES);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        writer writers[WRITERS];
        memset(writers, 0, sizeof writers);
        for (size_t i = 0; i < WRITE_BYTES / sizes[s]; i++) {
            make_value(i, values + i * sizes[s], sizes[s]);
        }
        for (unsigned t = 0; t < WRITERS; t++) {
            char name[20];
            snprintf(name, sizeof name, "writer-%u", t);
            firn_options options = FIRN_OPTIONS_INIT;
            options.hot_bytes = 0;
            options.cold_bytes = (uint64_t)8 << 30;
            options.durability = FIRN_DURABILITY_NONE;
            options.threads = 0;
            options.compression_threads = t;
            writers[t].path = fresh_path(name);
            writers[t].cache = open_cache(writers[t].path, &options);
        }
        for (unsigned turn = 0; turn < WRITE_TURNS_UNTIMED + WRITE_TURNS; turn++) {
            for (unsigned t = 0; t < WRITERS; t++) {
                unsigned to = turn < WRITE_TURNS_UNTIMED ? 0 : turn - WRITE_TURNS_UNTIMED;
                write_turn(&writers[t], values, sizes[s], to);
            }
        }
        tell_writers(writers, sizes[s]);
        for (unsigned t = 0; t < WRITERS; t++) {
            firn_close(writers[t].cache);
            remove_tree(writers[t].path);
        }
    }
    free(values);
}

/* ---- open ---- */

enum { OPEN_ENTRIES = 5000000, WRITTEN_ENTRIES = 100000, OPEN_ROUNDS = 7 };

static void fill_store(firn_cache *cache, uint64_t from, uint64_t to) {
    unsigned char value[100];
    for (uint64_t i = from; i < to; i++) {
        make_value(i, value, sizeof value);
        need(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), "put");
    }
}

/* How the last process ended: it closed the store, or was killed while it overwrote entries, or
 * when new ones were on disk that no checkpoint had come by. */
enum { ENDED_CLOSED, ENDED_OVERWRITING, ENDED_WRITTEN };

static void use_and_kill(const char *path, const firn_options *options, int ended) {
    static uint64_t next = OPEN_ENTRIES;
    uint64_t from = ended == ENDED_OVERWRITING ? 0 : next;
    uint64_t to = ended == ENDED_OVERWRITING ? OPEN_ENTRIES / 25 : from + WRITTEN_ENTRIES;
    next = to > next ? to : next;
    pid_t child = fork();
    if (child == 0) {
        firn_cache *cache = open_cache(path, options);
        fill_store(cache, from, to);
        if (ended == ENDED_WRITTEN) {
            need(firn_flush(cache), "flush");
        }
        raise(SIGKILL);
    }
    need(waitpid(child, NULL, 0) == child ? FIRN_OK : FIRN_EIO, "wait");
}

static int compare_times(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static firn_options open_options(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64u << 20;
    options.cold_bytes = (uint64_t)2 << 30;
    options.durability = FIRN_DURABILITY_NONE;
    return options;
}

/* In a process of its own, as a restart is: the two times, in seconds, go to standard output. */
static void open_once(const char *path) {
    firn_options options = open_options();
    unsigned char value[100];
    uint64_t key = OPEN_ENTRIES - 12345;
    double began = now();
    firn_cache *cache = open_cache(path, &options);
    double opened = now() - began;
    need(firn_get_copy(cache, &key, sizeof key, value, sizeof value, NULL), "get");
    printf("%.9f %.9f\n", opened, now() - began);
    /* Until the filter is there, without which the next would make checkpoints all the time. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    need(firn_close(cache), "close");
}

static void open_in_a_process(const char *path, double *opened, double *answered) {
    char self[400] = "";
    char command[1000];
    need(readlink("/proc/self/exe", self, sizeof self - 1) > 0 ? FIRN_OK : FIRN_EIO, "find myself");
    snprintf(command, sizeof command, "'%s' open-once '%s'", self, path);
    FILE *from = popen(command, "r");
    need(from != NULL && fscanf(from, "%lf %lf", opened, answered) == 2 ? FIRN_OK : FIRN_EIO,
         "open in a process");
    need(pclose(from) == 0 ? FIRN_OK : FIRN_EIO, "end the process");
}

static void time_open(const char *path, const firn_options *options, int ended) {
    static const char *const how[] = {"closed", "killed while overwriting", "killed when written"};
    double opened[OPEN_ROUNDS];
    double answered[OPEN_ROUNDS];
    char name[100];
    for (unsigned i = 0; i < OPEN_ROUNDS; i++) {
        if (ended != ENDED_CLOSED) {
            use_and_kill(path, options, ended);
        }
        open_in_a_process(path, &opened[i], &answered[i]);
    }
    qsort(opened, OPEN_ROUNDS, sizeof *opened, compare_times);
    qsort(answered, OPEN_ROUNDS, sizeof *answered, compare_times);
    snprintf(name, sizeof name, "open, 5 M entries, %s, median", how[ended]);
    tell(name, "ms", opened[OPEN_ROUNDS / 2] * 1e3);
    snprintf(name, sizeof name, "open and first answer, 5 M entries, %s, median", how[ended]);
    tell(name, "ms", answered[OPEN_ROUNDS / 2] * 1e3);
    snprintf(name, sizeof name, "open and first answer, 5 M entries, %s, worst", how[ended]);
    tell(name, "ms", answered[OPEN_ROUNDS - 1] * 1e3);
}

static void bench_open(void) {
    char *path = fresh_path("bench-open");
    firn_options options = open_options();
    firn_cache *cache = open_cache(path, &options);
    fill_store(cache, 0, OPEN_ENTRIES);
    need(firn_close(cache), "close");
    time_open(path, &options, ENDED_CLOSED);
    time_open(path, &options, ENDED_OVERWRITING);
    time_open(path, &options, ENDED_WRITTEN);
    remove_tree(path);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (*what == '\0' || strcmp(what, "hot") == 0) {
        bench_hot();
    }
    if (*what == '\0' || strcmp(what, "turns") == 0) {
        bench_turns();
    }
    if (*what == '\0' || strcmp(what, "cold") == 0) {
        bench_cold();
    }
    if (*what == '\0' || strcmp(what, "threads") == 0) {
        bench_threads();
    }
    if (*what == '\0' || strcmp(what, "open") == 0) {
        bench_open();
    }
    if (strcmp(what, "open-once") == 0 && argc > 2) {
        open_once(argv[2]);
    }
    return 0;
}
