/* Drives one peer through the workloads and writes a line of JSON for each figure.
 *
 * Usage: PEER --name NAME --variant V --folder DIR --requests FILE... --round R --value BYTES
 *             --keys N --count N resident|churn|trace
 *
 * resident  files: reads, updates. All keys fit. Memory, then gets, batches and updates.
 * churn     file: churn. A quarter of the keys fits, by key and value bytes.
 * trace     file: the trace. A tenth of what it touches fits.
 *
 * Requests are drawn beforehand. A figure's time comes from a pass without clocks in the loop; its
 * latencies from a second one that times every 16th request (each one of a slow peer).
 * cpu_ns_per_op is the time that the threads themselves ran: what to look at where others share the
 * machine. Exit status 3: the peer declined. */
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"
#include "peer.h"
#include "requests.h"

enum { THREADS_MAX = 2, SAMPLE_EVERY = 16, CHECKED = 1000 };

static void fail(const char *what) {
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

/* What the calling thread has run for. */
static uint64_t own_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* ---- requests ---- */

typedef struct requests {
    const requests_head *head;
    const request *all;
    uint64_t at; /* where the next pass begins */
} requests;

static requests open_requests(const char *path) {
    struct stat stat;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &stat) != 0) {
        fail("cannot open the file of requests");
    }
    const requests_head *head =
        mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    close(file);
    if (head == MAP_FAILED || head->magic != REQUESTS_MAGIC ||
        (uint64_t)stat.st_size != sizeof *head + head->count * sizeof(request)) {
        fail("not a file of requests");
    }
    return (requests){head, (const request *)(head + 1), 0};
}

/* ---- options ---- */

static struct {
    const char *name;
    peer_config config;
    const char *files[2];
    unsigned file_count;
    uint64_t round;
    uint64_t value;
    uint64_t keys;
    uint64_t count;
    const char *label; /* the trace's */
} options;

/* ---- values: the key, then words that are all alike, then what is left ---- */

#define FILLER UINT64_C(0x0101010101010101)

static unsigned char *make_value(uint64_t size) {
    unsigned char *value = malloc(size + 8);
    if (value == NULL) {
        fail("out of memory");
    }
    memset(value, 1, size + 8);
    return value;
}

static void sign_value(unsigned char *value, uint64_t size, uint64_t key) {
    if (size >= sizeof key) {
        memcpy(value, &key, sizeof key);
    }
}

/* What touching the value must give. */
static uint64_t sum_of(uint64_t key, uint64_t size) {
    return size < 8 ? 0 : key + (size / 8 - 1) * FILLER;
}

/* ---- one pass over requests, by some threads ---- */

typedef enum pass_kind {
    PASS_REQUESTS,
    PASS_SAMPLED, /* the same with clocks */
    PASS_BATCHES, /* gets of PEER_BATCH keys */
    PASS_PUTS,    /* puts of the requests' keys that nobody waits for */
    PASS_FILL     /* the same of all keys, each once */
} pass_kind;

typedef struct job {
    pthread_t thread;
    void *cache;
    const requests *source;
    uint64_t first; /* request, or for PASS_FILL key */
    uint64_t step;
    uint64_t count;
    pass_kind kind;
    unsigned number;
    pthread_barrier_t *barrier;
    uint64_t began;
    uint64_t ended;
    uint64_t own_ns;
    uint64_t gets;
    uint64_t hits;
    uint64_t hit_bytes;
    uint64_t get_bytes;
    bool wrong;
    histogram *latencies;
} job;

/* Thread `number` stays on that processor of those that are allowed. */
static void pin(unsigned number) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) <= (int)number) {
        return;
    }
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && number-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof one, &one);
            return;
        }
    }
}

static void run_requests(job *job, unsigned char *value, bool sampled) {
    const request *all = job->source->all;
    uint64_t total = job->source->head->count;
    uint64_t fixed = job->source->head->bytes == 0 ? options.value : 0;
    uint64_t at = job->first % total;
    uint64_t every = this_peer.slow < SAMPLE_EVERY ? SAMPLE_EVERY / this_peer.slow : 1;
    uint64_t got = 0;
    uint64_t expected = 0;
    for (uint64_t i = 0; i < job->count; i++) {
        const request *request = &all[at];
        at += job->step;
        at = at < total ? at : at - total;
        uint64_t size = fixed != 0 ? fixed : request->size;
        bool timed = sampled && i % every == 0;
        uint64_t began = timed ? ticks() : 0;
        if (request->put) {
            sign_value(value, size, request->key);
            this_peer.put(job->cache, request->key, value, size, PUT_ANY);
        } else {
            job->gets++;
            job->get_bytes += size;
            if (this_peer.get(job->cache, request->key, &got)) {
                job->hits++;
                job->hit_bytes += size;
                expected += sum_of(request->key, size);
            } else {
                sign_value(value, size, request->key);
                this_peer.put(job->cache, request->key, value, size, PUT_ABSENT);
            }
        }
        if (timed) {
            uint64_t spent = ticks() - began;
            histogram_add(job->latencies, spent > ticks_overhead ? spent - ticks_overhead : 0);
        }
    }
    job->wrong = got != expected;
}

static void run_batches(job *job) {
    const request *all = job->source->all;
    uint64_t total = job->source->head->count;
    uint64_t at = job->first % total;
    uint64_t got = 0;
    uint64_t expected = 0;
    for (uint64_t i = 0; i < job->count; i += PEER_BATCH) {
        uint64_t keys[PEER_BATCH];
        for (unsigned n = 0; n < PEER_BATCH; n++) {
            keys[n] = all[at].key;
            expected += sum_of(keys[n], options.value);
            at = at + 1 < total ? at + 1 : 0;
        }
        job->hits += this_peer.get_many(job->cache, keys, PEER_BATCH, &got);
        job->gets += PEER_BATCH;
    }
    job->wrong = got != expected;
}

static void run_puts(job *job, unsigned char *value) {
    for (uint64_t i = 0; i < job->count; i++) {
        uint64_t key = job->kind == PASS_FILL
                           ? key_of(job->first + i)
                           : job->source->all[(job->first + i) % job->source->head->count].key;
        sign_value(value, options.value, key);
        this_peer.put(job->cache, key, value, options.value,
                      job->kind == PASS_FILL ? PUT_BULK : PUT_STREAM);
    }
    if (this_peer.settle != NULL) {
        this_peer.settle(job->cache);
    }
}

static void *run_job(void *context) {
    job *job = context;
    pin(job->number);
    unsigned char *value = make_value(job->source != NULL && job->source->head->bytes != 0
                                          ? job->source->head->size_max
                                          : options.value);
    if (this_peer.attach != NULL) {
        this_peer.attach(job->cache);
    }
    pthread_barrier_wait(job->barrier);
    uint64_t own_began = own_ns();
    job->began = now_ns();
    switch (job->kind) {
    case PASS_REQUESTS:
        run_requests(job, value, false);
        break;
    case PASS_SAMPLED:
        run_requests(job, value, true);
        break;
    case PASS_BATCHES:
        run_batches(job);
        break;
    case PASS_PUTS:
    case PASS_FILL:
        run_puts(job, value);
        break;
    }
    job->ended = now_ns();
    job->own_ns = own_ns() - own_began;
    if (this_peer.detach != NULL) {
        this_peer.detach(job->cache);
    }
    free(value);
    return NULL;
}

typedef struct outcome {
    uint64_t count;
    double seconds;
    uint64_t own_ns; /* of all threads */
    uint64_t gets;
    uint64_t hits;
    uint64_t get_bytes;
    uint64_t hit_bytes;
} outcome;

/* Threads take turns with a trace's requests, and halves of drawn ones. latencies: for
 * PASS_SAMPLED, one that all threads add up to. */
static outcome run_pass(void *cache, requests *source, pass_kind kind, uint64_t count,
                        unsigned threads, histogram *latencies) {
    static job jobs[THREADS_MAX];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, threads);
    bool in_turns = source != NULL && source->head->bytes != 0;
    uint64_t share = count / threads;
    uint64_t first = source != NULL ? source->at : 0;
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (job){.cache = cache,
                        .source = source,
                        .first = first + (in_turns ? i : i * share),
                        .step = in_turns ? threads : 1,
                        .count = share,
                        .kind = kind,
                        .number = i,
                        .barrier = &barrier,
                        .latencies = kind == PASS_SAMPLED ? calloc(1, sizeof(histogram)) : NULL};
        if (pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) != 0) {
            fail("cannot start a thread");
        }
    }
    outcome result = {.count = share * threads};
    uint64_t began = UINT64_MAX;
    uint64_t ended = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(jobs[i].thread, NULL);
        if (jobs[i].wrong) {
            fail("the cache gave wrong values");
        }
        began = jobs[i].began < began ? jobs[i].began : began;
        ended = jobs[i].ended > ended ? jobs[i].ended : ended;
        result.own_ns += jobs[i].own_ns;
        result.gets += jobs[i].gets;
        result.hits += jobs[i].hits;
        result.get_bytes += jobs[i].get_bytes;
        result.hit_bytes += jobs[i].hit_bytes;
        if (jobs[i].latencies != NULL) {
            histogram_join(latencies, jobs[i].latencies);
            free(jobs[i].latencies);
        }
    }
    pthread_barrier_destroy(&barrier);
    result.seconds = (double)(ended - began) / 1e9;
    if (source != NULL && !in_turns) {
        source->at = (source->at + result.count) % source->head->count;
    }
    return result;
}

/* ---- lines ---- */

static void tell_head(const char *workload, unsigned threads) {
    printf("{\"peer\": \"%s\", \"version\": \"%s\", \"workload\": \"%s\", \"round\": %llu, "
           "\"value_bytes\": %llu, \"threads\": %u",
           options.name, this_peer.version(), workload, (unsigned long long)options.round,
           (unsigned long long)options.value, threads);
}

static void tell_outcome(const outcome *outcome) {
    printf(", \"requests\": %llu, \"ns_per_op\": %.5g, \"ops_per_s\": %.5g",
           (unsigned long long)outcome->count, outcome->seconds * 1e9 / (double)outcome->count,
           (double)outcome->count / outcome->seconds);
    printf(", \"cpu_ns_per_op\": %.5g", (double)outcome->own_ns / (double)outcome->count);
    if (outcome->gets != 0) {
        printf(", \"hit_ratio\": %.5g", (double)outcome->hits / (double)outcome->gets);
    }
    if (outcome->get_bytes != 0) {
        printf(", \"byte_hit_ratio\": %.5g",
               (double)outcome->hit_bytes / (double)outcome->get_bytes);
    }
}

static void tell_end(void) {
    printf("}\n");
    fflush(stdout);
}

/* One figure: a pass for the time, and one for the latencies. */
static void measure(void *cache, requests *source, const char *workload, unsigned threads) {
    outcome timed =
        run_pass(cache, source, PASS_REQUESTS, options.count / this_peer.slow, threads, NULL);
    histogram *latencies = calloc(1, sizeof *latencies);
    run_pass(cache, source, PASS_SAMPLED, options.count / 4 / this_peer.slow, threads, latencies);
    tell_head(workload, threads);
    tell_outcome(&timed);
    tell_latencies(latencies);
    printf(", \"entries\": %llu", (unsigned long long)this_peer.entries(cache));
    tell_end();
    free(latencies);
}

/* ---- memory ---- */

static uint64_t resident_bytes(void *cache) {
    char path[64] = "/proc/self/smaps_rollup";
    if (cache != NULL && this_peer.process != NULL) {
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", this_peer.process(cache));
    }
    malloc_trim(0);
    FILE *file = fopen(path, "r");
    unsigned long long kib = 0;
    char line[256];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "Rss: %llu kB", &kib) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    if (kib == 0) {
        fail("cannot read the resident memory");
    }
    return (uint64_t)kib * 1024;
}

static void tell_memory(const char *workload, void *cache, uint64_t before) {
    uint64_t bytes = resident_bytes(cache) - before;
    uint64_t entries = this_peer.entries(cache);
    tell_head(workload, 1);
    printf(", \"entries\": %llu, \"resident_bytes\": %llu, \"extra_bytes_per_entry\": %.4g",
           (unsigned long long)entries, (unsigned long long)bytes,
           (double)bytes / (double)entries - (double)(sizeof(uint64_t) + options.value));
    tell_end();
}

/* ---- workloads ---- */

static void *open_cache(uint64_t capacity, uint64_t expected_entries, uint64_t entry_bytes) {
    options.config.capacity = capacity;
    options.config.expected_entries = expected_entries;
    options.config.entry_bytes = entry_bytes;
    void *cache = this_peer.open(&options.config);
    if (cache == NULL) {
        exit(3);
    }
    return cache;
}

/* Before anything is timed: what was put is there, an overwrite takes effect, a stranger is not
 * there, and a batch gives what single gets give. */
static void check(void *cache) {
    unsigned char *value = make_value(options.value);
    if (this_peer.attach != NULL) {
        this_peer.attach(cache);
    }
    for (uint64_t i = 0; i < CHECKED; i++) {
        uint64_t key = key_of(i);
        uint64_t sum = 0;
        if (!this_peer.get(cache, key, &sum) || sum != sum_of(key, options.value)) {
            fail("what was put is not there");
        }
        sign_value(value, options.value, ~key);
        this_peer.put(cache, key, value, options.value, PUT_ANY);
        sum = 0;
        if (!this_peer.get(cache, key, &sum) || sum != sum_of(~key, options.value)) {
            fail("an overwrite took no effect");
        }
        sign_value(value, options.value, key);
        this_peer.put(cache, key, value, options.value, PUT_ANY);
        if (this_peer.get(cache, key_of(options.keys + i), &sum)) {
            fail("a key that was never put is there");
        }
    }
    if (this_peer.get_many != NULL) {
        uint64_t keys[PEER_BATCH];
        uint64_t sum = 0;
        uint64_t expected = 0;
        for (unsigned i = 0; i < PEER_BATCH; i++) {
            keys[i] = key_of(i == 3 ? options.keys : i);
            expected += i == 3 ? 0 : sum_of(keys[i], options.value);
        }
        if (this_peer.get_many(cache, keys, PEER_BATCH, &sum) != PEER_BATCH - 1 ||
            sum != expected) {
            fail("a batch gave other values");
        }
    }
    if (this_peer.detach != NULL) {
        this_peer.detach(cache);
    }
    free(value);
}

static void run_resident(void) {
    requests reads = open_requests(options.files[0]);
    requests updates = open_requests(options.files[1]);
    uint64_t before = resident_bytes(NULL);
    /* Room for any overhead: nothing may be evicted, whatever a peer counts. */
    void *cache =
        open_cache(options.keys * (8 + options.value + 512), options.keys, 8 + options.value);
    before = this_peer.process != NULL ? resident_bytes(cache) : before;
    outcome filled = run_pass(cache, NULL, PASS_FILL, options.keys, 1, NULL);
    if (this_peer.entries(cache) != options.keys) {
        fprintf(stderr, "driver: %s holds %llu of %llu entries\n", options.name,
                (unsigned long long)this_peer.entries(cache), (unsigned long long)options.keys);
    }
    tell_head("fill", 1);
    tell_outcome(&filled);
    tell_end();
    tell_memory("memory", cache, before);
    check(cache);
    run_pass(cache, &reads, PASS_REQUESTS, options.count / 4 / this_peer.slow, 1, NULL);
    measure(cache, &reads, "read", 1);
    if (this_peer.get_many != NULL) {
        outcome batches =
            run_pass(cache, &reads, PASS_BATCHES, options.count / this_peer.slow, 1, NULL);
        tell_head("batch", 1);
        tell_outcome(&batches);
        tell_end();
    }
    if (this_peer.can & PEER_SHARED_READS) {
        measure(cache, &reads, "read", 2);
    }
    measure(cache, &updates, "update", 1);
    if (this_peer.can & PEER_SHARED_WRITES) {
        measure(cache, &updates, "update", 2);
    }
    this_peer.close(cache);
}

static void run_churn(void) {
    requests source = open_requests(options.files[0]);
    uint64_t before = resident_bytes(NULL);
    uint64_t fit = source.head->keys / 4;
    void *cache = open_cache(fit * (8 + options.value), fit, 8 + options.value);
    before = this_peer.process != NULL ? resident_bytes(cache) : before;
    if (this_peer.slow > 1) { /* the way there may be short, where the entries are the same */
        run_pass(cache, &source, PASS_PUTS, options.count, 1, NULL);
    }
    run_pass(cache, &source, PASS_REQUESTS, options.count / this_peer.slow, 1, NULL);
    measure(cache, &source, "churn", 1);
    if (this_peer.can & PEER_SHARED_WRITES) {
        measure(cache, &source, "churn", 2);
    }
    tell_memory("churn memory", cache, before);
    this_peer.close(cache);
}

static void run_trace(void) {
    requests source = open_requests(options.files[0]);
    if (this_peer.slow > 1 && options.round > 1) {
        return; /* a trace cannot be cut short */
    }
    uint64_t capacity = source.head->bytes / 10;
    uint64_t fit = source.head->keys / 10 + 1;
    for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
        if (threads > 1 && !(this_peer.can & PEER_SHARED_WRITES)) {
            break;
        }
        void *cache = open_cache(capacity, fit, source.head->bytes / source.head->keys);
        outcome timed = run_pass(cache, &source, PASS_REQUESTS, source.head->count, threads, NULL);
        tell_head("trace", threads);
        printf(", \"trace\": \"%s\"", options.label);
        tell_outcome(&timed);
        printf(", \"entries\": %llu", (unsigned long long)this_peer.entries(cache));
        tell_end();
        this_peer.close(cache);
    }
}

int main(int argc, char **argv) {
    static const struct option known[] = {
        {"name", required_argument, NULL, 'n'},   {"variant", required_argument, NULL, 'v'},
        {"folder", required_argument, NULL, 'f'}, {"requests", required_argument, NULL, 'r'},
        {"round", required_argument, NULL, 'R'},  {"value", required_argument, NULL, 's'},
        {"keys", required_argument, NULL, 'k'},   {"count", required_argument, NULL, 'c'},
        {"label", required_argument, NULL, 'l'},  {NULL, 0, NULL, 0}};
    options.config.variant = "";
    options.config.folder = "/tmp";
    options.label = "";
    options.value = 100;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'n':
            options.name = optarg;
            break;
        case 'v':
            options.config.variant = optarg;
            break;
        case 'f':
            options.config.folder = optarg;
            break;
        case 'r':
            if (options.file_count == 2) {
                fail("too many files of requests");
            }
            options.files[options.file_count++] = optarg;
            break;
        case 'R':
            options.round = strtoull(optarg, NULL, 10);
            break;
        case 's':
            options.value = strtoull(optarg, NULL, 10);
            break;
        case 'k':
            options.keys = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            options.count = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            options.label = optarg;
            break;
        default:
            return 2;
        }
    }
    const char *workload = optind < argc ? argv[optind] : "";
    if (options.name == NULL || options.file_count == 0) {
        fail("--name and --requests must be given");
    }
    calibrate();
    if (strcmp(workload, "resident") == 0 && options.file_count == 2) {
        run_resident();
    } else if (strcmp(workload, "churn") == 0 && (this_peer.can & PEER_EVICTS)) {
        run_churn();
    } else if (strcmp(workload, "trace") == 0 && (this_peer.can & PEER_EVICTS)) {
        options.value = 0;
        run_trace();
    }
    return 0;
}
