/* Drives one store through the workloads and writes a line of JSON for each figure.
 *
 * Usage: PEER --name NAME --variant V --folder DIR --round R --value BYTES --keys N
 *             [--seconds S] [--group CGROUP --limit BYTES] [--budget BYTES] full|limited|steady
 *
 * full     write, sync, close, open, then reads that hit, reads that miss, and reads with writes
 *          between them; the data is in the page cache.
 * limited  reads and mixed of a store that another process wrote, by a process that may use --limit
 *          bytes of memory, page cache included: it joins --group after it dropped the store's
 * pages. steady   --keys writes of new keys through a store that may take --budget bytes.
 *
 * One thread asks. A phase ends after its operations or after --seconds. Each operation is timed;
 * what the clocks take, and making the values to write, is taken off. Values are a function of key
 * and version, so each get is checked: its size always, the hash of all its bytes for every 16th,
 * the words of the others are read. Exit status 3: the peer declined. */
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../../tools/values.h"
#include "../peers/measure.h"
#include "../peers/requests.h"
#include "../peers/zipf.h"
#include "peer.h"

enum {
    CHECK_EVERY = 16,
    PUT_PERCENT = 10,
    READS_MAX = 400000,        /* operations of a phase */
    LIMITED_READS_MAX = 50000, /* the same where the device answers */
    SLICES = 40,               /* of the steady writes */
    PROBES = 2000,
    KEY_BYTES = 8
};

static void fail(const char *what) {
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

static void *need(void *memory) {
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

static struct {
    const char *name;
    peer_config config;
    uint64_t round;
    double seconds;
    uint64_t budget;
    const char *group;
    uint64_t limit;
} options;

/* ---- values ---- */

/* How often each key was put again: its value's version. */
static uint8_t *versions;

static uint64_t seed_of(uint64_t id, uint8_t version) {
    return id + ((uint64_t)version << 40);
}

static void make_sample(uint64_t number, unsigned char *value, size_t size) {
    make_value(number + (UINT64_C(1) << 50), value, size);
}

/* Reads every whole word, which is what stands for using a value. */
static uint64_t touch(const void *value, size_t size) {
    const unsigned char *bytes = value;
    uint64_t sum = 0;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        sum += word;
    }
    return sum;
}

static uint64_t touched;

static void use_value(uint64_t id, const void *value, size_t size, bool check) {
    if (size != options.config.value_bytes) {
        fail("a value has another size");
    }
    if (!check) {
        touched += touch(value, size);
    } else if (!check_value(seed_of(id, versions[id]), value, size)) {
        fail("a value is not what was put last");
    }
}

/* ---- what the system counts ---- */

/* A field of a file of "name: number" lines in /proc; 0 if it cannot be read. */
static uint64_t io_field(int process, const char *field) {
    char path[64] = "/proc/self/io";
    if (process != 0) {
        snprintf(path, sizeof path, "/proc/%d/io", process);
    }
    FILE *file = fopen(path, "r");
    char line[128];
    unsigned long long value = 0;
    size_t length = strlen(field);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, length) == 0 && line[length] == ':') {
            value = strtoull(line + length + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

/* Of this thread alone. */
static double thread_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu_seconds(int process) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    FILE *file = process != 0 ? fopen(path, "r") : NULL;
    unsigned long user;
    unsigned long system;
    if (file != NULL && fscanf(file,
                               "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                               "%lu %lu",
                               &user, &system) == 2) {
        seconds += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    if (file != NULL) {
        fclose(file);
    }
    return seconds;
}

static uint64_t folder_bytes;

static int add_blocks(const char *path, const struct stat *stat, int type, struct FTW *where) {
    (void)path;
    (void)where;
    folder_bytes += type == FTW_F ? (uint64_t)stat->st_blocks * 512 : 0;
    return 0;
}

/* As du tells it. Files may come and go meanwhile. */
static uint64_t disk_bytes(void) {
    folder_bytes = 0;
    nftw(options.config.folder, add_blocks, 16, FTW_PHYS);
    return folder_bytes;
}

static int drop_pages(const char *path, const struct stat *stat, int type, struct FTW *where) {
    (void)stat;
    (void)where;
    int file = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        if (fsync(file) != 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) {
            fail("cannot drop the store's pages");
        }
        close(file);
    }
    return 0;
}

/* Puts the process under the limit: what memory it takes from now on is the group's. */
static void join_group(int process) {
    char path[512];
    snprintf(path, sizeof path, "%s/cgroup.procs", options.group);
    FILE *file = fopen(path, "w");
    if (file == NULL || fprintf(file, "%d\n", process) < 0 || fclose(file) != 0) {
        fail("cannot join the group");
    }
}

/* ---- one phase ---- */

typedef enum phase_kind {
    PHASE_WRITE, /* keys from 0 in turn */
    PHASE_HIT,
    PHASE_MISS,
    PHASE_MIXED
} phase_kind;

typedef struct outcome {
    uint64_t count;
    uint64_t gets;
    uint64_t hits;
    uint64_t puts;
    double seconds;
    double cpu_seconds;
    uint64_t written_bytes; /* to the device, as the kernel counts them */
    uint64_t read_bytes;
    histogram latencies;
} outcome;

static int process_of(void *store) {
    return this_peer.process != NULL ? this_peer.process(store) : 0;
}

/* ids: the keys' numbers, in turn; NULL: from `first`. values: of all keys, or NULL: they are made.
 * max_seconds: 0: none. Free the outcome. */
static outcome *run_phase(void *store, phase_kind kind, const uint32_t *ids, uint64_t first,
                          uint64_t count, const unsigned char *values, double max_seconds) {
    outcome *self = need(calloc(1, sizeof *self));
    size_t size = options.config.value_bytes;
    unsigned char *made = need(malloc(size));
    int process = process_of(store);
    uint64_t written = io_field(process, "write_bytes");
    uint64_t read = io_field(process, "read_bytes");
    double cpu = cpu_seconds(process);
    uint64_t making = 0;
    double making_cpu = 0;
    uint64_t seed = 99;
    uint64_t longest = max_seconds > 0 ? (uint64_t)(max_seconds * 1e9 / ns_per_tick) : UINT64_MAX;
    uint64_t began = ticks();
    uint64_t ended = began;
    for (uint64_t i = 0; i < count && ended - began < longest; i++) {
        uint64_t id = ids != NULL ? ids[i] : first + i;
        uint64_t key = key_of(id);
        bool put =
            kind == PHASE_WRITE || (kind == PHASE_MIXED && next_random(&seed) % 100 < PUT_PERCENT);
        const unsigned char *value = values != NULL ? values + id * size : made;
        if (put && values == NULL) {
            double make_cpu = thread_seconds();
            uint64_t make_began = ticks();
            versions[id] += kind == PHASE_MIXED;
            make_value(seed_of(id, versions[id]), made, size);
            making += ticks() - make_began;
            making_cpu += thread_seconds() - make_cpu;
        }
        const void *got;
        size_t got_size;
        uint64_t asked = ticks();
        if (put) {
            this_peer.put(store, key, value, size);
            self->puts++;
        } else {
            self->gets++;
            if (this_peer.get(store, key, &got, &got_size)) {
                self->hits++;
                if (kind == PHASE_MISS) {
                    fail("a key that was never put is there");
                }
                use_value(id, got, got_size, i % CHECK_EVERY == 0);
            } else if (kind != PHASE_MISS && !(this_peer.kind & PEER_LOSSY)) {
                fail("what was put is not there");
            }
        }
        ended = ticks();
        uint64_t spent = ended - asked;
        histogram_add(&self->latencies, spent > ticks_overhead ? spent - ticks_overhead : 0);
        self->count++;
    }
    double clocks = (double)(self->count * ticks_overhead) * ns_per_tick / 1e9;
    double making_seconds = (double)making * ns_per_tick / 1e9;
    self->seconds = (double)(ended - began) * ns_per_tick / 1e9 - making_seconds - clocks;
    self->cpu_seconds = cpu_seconds(process) - cpu - making_cpu - clocks;
    self->written_bytes = io_field(process, "write_bytes") - written;
    self->read_bytes = io_field(process, "read_bytes") - read;
    free(made);
    return self;
}

/* Syncs and adds what that took to the outcome, but for the time, which is returned. */
static double sync_store(void *store, outcome *outcome) {
    int process = process_of(store);
    uint64_t written = io_field(process, "write_bytes");
    double cpu = cpu_seconds(process);
    uint64_t began = now_ns();
    this_peer.sync(store);
    double seconds = (double)(now_ns() - began) / 1e9;
    outcome->cpu_seconds += cpu_seconds(process) - cpu;
    outcome->written_bytes += io_field(process, "write_bytes") - written;
    return seconds;
}

/* ---- lines ---- */

static void tell_head(const char *workload) {
    printf("{\"peer\": \"%s\", \"version\": \"%s\", \"workload\": \"%s\", \"round\": %llu, "
           "\"value_bytes\": %zu, \"keys\": %llu, \"threads\": 1",
           options.name, this_peer.version(), workload, (unsigned long long)options.round,
           options.config.value_bytes, (unsigned long long)options.config.keys);
    if (options.group != NULL) {
        printf(", \"memory_limit_bytes\": %llu", (unsigned long long)options.limit);
    }
}

static void tell_outcome(const outcome *outcome) {
    printf(", \"operations\": %llu, \"ops_per_s\": %.5g, \"cpu_s\": %.4g, \"cpu_us_per_op\": %.4g",
           (unsigned long long)outcome->count, (double)outcome->count / outcome->seconds,
           outcome->cpu_seconds, outcome->cpu_seconds * 1e6 / (double)outcome->count);
    tell_latencies(&outcome->latencies);
    if (outcome->gets != 0) {
        printf(", \"hit_ratio\": %.4g, \"device_read_bytes_per_get\": %.5g",
               (double)outcome->hits / (double)outcome->gets,
               (double)outcome->read_bytes / (double)outcome->gets);
    }
    if (outcome->puts != 0) {
        printf(", \"written_over_logical\": %.4g",
               (double)outcome->written_bytes /
                   (double)(outcome->puts * (options.config.value_bytes + KEY_BYTES)));
    }
}

static void tell_end(void) {
    printf("}\n");
    fflush(stdout);
}

/* ---- workloads ---- */

static void *open_store(void) {
    void *store = this_peer.open(&options.config);
    if (store == NULL) {
        exit(3);
    }
    return store;
}

static void prepare(void) {
    options.config.sample = make_sample;
    versions = need(calloc(options.config.keys, 1));
    if (this_peer.prepare != NULL) {
        this_peer.prepare(&options.config);
    }
}

/* Requests are drawn beforehand. Free them. */
static uint32_t *draw(phase_kind kind, uint64_t count) {
    uint32_t *ids = need(malloc(count * sizeof *ids));
    uint64_t seed = 7 + (uint64_t)kind + options.round * 1000;
    zipf ranks = kind == PHASE_MIXED ? zipf_make(options.config.keys) : (zipf){0, 0, NULL, NULL};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = kind == PHASE_MIXED ? zipf_next(&ranks, &seed)
                                          : next_random(&seed) % options.config.keys;
        ids[i] = (uint32_t)(kind == PHASE_MISS ? options.config.keys + id : id);
    }
    zipf_free(&ranks);
    return ids;
}

/* ids: `count`, drawn for the kind. */
static void measure(void *store, phase_kind kind, const char *workload, const uint32_t *ids,
                    uint64_t count) {
    outcome *outcome = run_phase(store, kind, ids, 0, count, NULL, options.seconds);
    double sync_seconds = kind == PHASE_MIXED ? sync_store(store, outcome) : 0;
    tell_head(workload);
    tell_outcome(outcome);
    if (kind == PHASE_MIXED) {
        printf(", \"sync_s\": %.4g", sync_seconds);
    }
    tell_end();
    free(outcome);
}

/* Reads, from the end of what was drawn, for a fourth of the time: what is measured then is met
 * warm. */
static void warm_up(void *store, const uint32_t *ids, uint64_t count) {
    free(run_phase(store, PHASE_HIT, ids + count / 2, 0, count / 2, NULL, options.seconds / 4));
}

static void *write_all(outcome **written, double *sync_seconds) {
    uint64_t keys = options.config.keys;
    size_t size = options.config.value_bytes;
    unsigned char *values = need(malloc(keys * size));
    for (uint64_t id = 0; id < keys; id++) {
        make_value(seed_of(id, 0), values + id * size, size);
    }
    void *store = open_store();
    *written = run_phase(store, PHASE_WRITE, NULL, 0, keys, values, 0);
    *sync_seconds = sync_store(store, *written);
    free(values);
    return store;
}

static double over_logical(uint64_t bytes, uint64_t keys) {
    return (double)bytes / (double)(keys * (options.config.value_bytes + KEY_BYTES));
}

static void run_full(void) {
    outcome *written;
    double sync_seconds;
    void *store = write_all(&written, &sync_seconds);
    if (this_peer.process == NULL) {
        this_peer.close(store);
    }
    tell_head("write");
    tell_outcome(written);
    printf(", \"sync_s\": %.4g, \"synced_ops_per_s\": %.5g, \"disk_over_logical\": %.4g",
           sync_seconds, (double)written->count / (written->seconds + sync_seconds),
           over_logical(disk_bytes(), options.config.keys));
    tell_end();
    free(written);
    if (this_peer.process == NULL) {
        store = open_store();
    }
    uint32_t *hits = draw(PHASE_HIT, READS_MAX);
    uint32_t *misses = draw(PHASE_MISS, READS_MAX);
    uint32_t *mixed = draw(PHASE_MIXED, READS_MAX);
    warm_up(store, hits, READS_MAX);
    measure(store, PHASE_HIT, "read hit", hits, READS_MAX);
    measure(store, PHASE_MISS, "read miss", misses, READS_MAX);
    measure(store, PHASE_MIXED, "mixed", mixed, READS_MAX);
    this_peer.close(store);
    free(hits);
    free(misses);
    free(mixed);
}

static void run_limited(void) {
    outcome *written;
    double sync_seconds;
    void *store;
    /* Before the limit, which is not for the driver. */
    uint32_t *hits = draw(PHASE_HIT, LIMITED_READS_MAX);
    uint32_t *mixed = draw(PHASE_MIXED, LIMITED_READS_MAX);
    if (this_peer.process == NULL) {
        /* By a process of its own, so that none of the memory it took is left here. */
        pid_t writer = fork();
        if (writer == 0) {
            this_peer.close(write_all(&written, &sync_seconds));
            exit(0);
        }
        int status;
        if (writer < 0 || waitpid(writer, &status, 0) != writer || status != 0) {
            fail("the process that writes ended badly");
        }
        nftw(options.config.folder, drop_pages, 16, FTW_PHYS);
        uint64_t limit = options.limit / 8;
        options.config.cache_bytes =
            options.config.cache_bytes < limit ? options.config.cache_bytes : limit;
        options.config.buffer_bytes =
            options.config.buffer_bytes < limit ? options.config.buffer_bytes : limit;
        malloc_trim(0);
        join_group(getpid());
        store = open_store();
    } else {
        store = write_all(&written, &sync_seconds);
        nftw(options.config.folder, drop_pages, 16, FTW_PHYS);
        join_group(this_peer.process(store));
    }
    warm_up(store, hits, LIMITED_READS_MAX);
    measure(store, PHASE_HIT, "read hit limited", hits, LIMITED_READS_MAX);
    measure(store, PHASE_MIXED, "mixed limited", mixed, LIMITED_READS_MAX);
    this_peer.close(store);
    free(hits);
    free(mixed);
}

/* Of this many of the keys put so far, evenly chosen, how many are there; each is checked. */
static uint64_t probe(void *store, uint64_t keys, uint64_t probes) {
    uint64_t found = 0;
    for (uint64_t i = 0; i < probes; i++) {
        uint64_t id = keys * i / probes;
        const void *value;
        size_t size;
        if (this_peer.get(store, key_of(id), &value, &size)) {
            use_value(id, value, size, true);
            found++;
        }
    }
    return found;
}

static void run_steady(void) {
    if (!(this_peer.kind & PEER_EVICTS)) {
        return;
    }
    options.config.disk_bytes = options.budget;
    void *store = open_store();
    uint64_t share = options.config.keys / SLICES;
    uint64_t most = 0;
    outcome *outcome = NULL;
    for (uint64_t slice = 0; slice < SLICES; slice++) {
        free(outcome);
        outcome = run_phase(store, PHASE_WRITE, NULL, slice * share, share, NULL, 0);
        /* So that what is told to have been written was: the kernel does not count a page twice
         * that is written again before it went out. */
        double sync_seconds = sync_store(store, outcome);
        uint64_t bytes = disk_bytes();
        most = bytes > most ? bytes : most;
        tell_head("steady");
        printf(", \"slice\": %llu, \"budget_bytes\": %llu, \"file_bytes\": %llu",
               (unsigned long long)slice, (unsigned long long)options.budget,
               (unsigned long long)bytes);
        tell_outcome(outcome);
        printf(", \"sync_s\": %.4g, \"synced_ops_per_s\": %.5g", sync_seconds,
               (double)outcome->count / (outcome->seconds + sync_seconds));
        tell_end();
    }
    free(outcome);
    uint64_t found = probe(store, share * SLICES, PROBES);
    if (found == 0) {
        fail("nothing of what was put is there");
    }
    this_peer.close(store);
    tell_head("steady end");
    printf(", \"budget_bytes\": %llu, \"file_bytes_max\": %llu, \"held_ratio\": %.4g, "
           "\"held_logical_over_budget\": %.4g",
           (unsigned long long)options.budget, (unsigned long long)most,
           (double)found / (double)PROBES,
           (double)found / (double)PROBES *
               (double)(share * SLICES * (options.config.value_bytes + KEY_BYTES)) /
               (double)options.budget);
    tell_end();
}

int main(int argc, char **argv) {
    static const struct option known[] = {{"name", required_argument, NULL, 'n'},
                                          {"variant", required_argument, NULL, 'v'},
                                          {"folder", required_argument, NULL, 'f'},
                                          {"round", required_argument, NULL, 'R'},
                                          {"value", required_argument, NULL, 's'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"group", required_argument, NULL, 'g'},
                                          {"limit", required_argument, NULL, 'l'},
                                          {"budget", required_argument, NULL, 'b'},
                                          {NULL, 0, NULL, 0}};
    options.config.variant = "";
    options.seconds = 1;
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
        case 'R':
            options.round = strtoull(optarg, NULL, 10);
            break;
        case 's':
            options.config.value_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'k':
            options.config.keys = strtoull(optarg, NULL, 10);
            break;
        case 't':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'g':
            options.group = optarg;
            break;
        case 'l':
            options.limit = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            options.budget = strtoull(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    }
    const char *workload = optind < argc ? argv[optind] : "";
    if (options.name == NULL || options.config.folder == NULL || options.config.keys < SLICES ||
        options.config.keys > UINT32_MAX / 2 || options.config.value_bytes == 0) {
        fail("--name, --folder, --value and --keys must be given, and make sense");
    }
    /* As RocksDB and LevelDB have it when nothing is said, and twice what WiredTiger needs. */
    options.config.cache_bytes = UINT64_C(8) << 20;
    options.config.buffer_bytes = UINT64_C(16) << 20;
    options.config.disk_bytes =
        (UINT64_C(1) << 30) + 8 * options.config.keys * options.config.value_bytes;
    calibrate();
    prepare();
    if (strcmp(workload, "full") == 0) {
        run_full();
    } else if (strcmp(workload, "limited") == 0 && options.group != NULL) {
        run_limited();
    } else if (strcmp(workload, "steady") == 0 && options.budget != 0) {
        run_steady();
    } else {
        fail("no such workload, or --group or --budget is missing");
    }
    /* So that the compiler cannot leave out the reading. */
    return touched == 1 ? 4 : 0;
}
