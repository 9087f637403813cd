/* Recordings: what a cache is asked is in the file, in order; no damage to a file does harm; and
 * what is written is whole after a crash. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <firn/record.h>

#include "base/heap.h"
#include "observe/recorder.h"

#include "unit/suite.h"
#include "unit/support.h"

static uint64_t fixed_now(void *context) {
    return *(const uint64_t *)context;
}

static firn_cache *open_cache(const char *path, uint64_t *now_ms, unsigned threads) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.cold_bytes = 4 << 20;
    options.threads = threads;
    if (now_ms != NULL) {
        options.clock = (firn_clock){fixed_now, now_ms};
    }
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_OK);
    return cache;
}

static void start(firn_cache *cache, const char *file, double rate) {
    firn_record_options options = FIRN_RECORD_OPTIONS_INIT;
    options.sampling_rate = rate;
    ck_assert_int_eq(firn_record_start(cache, file, &options), FIRN_OK);
}

static int get(firn_cache *cache, uint64_t key) {
    firn_object *object;
    int result = firn_get(cache, &key, sizeof key, &object);
    firn_object_unref(object);
    return result;
}

static void put(firn_cache *cache, uint64_t key, size_t size, const firn_put_options *options) {
    static const char value[4096];
    ck_assert_int_eq(firn_put(cache, &key, sizeof key, value, size, options), FIRN_OK);
}

static firn_recording *open_recording(const char *file) {
    firn_recording *recording;
    char why[256] = "";
    int result = firn_recording_open(&recording, file, why, sizeof why);
    ck_assert_msg(result == FIRN_OK, "%s", why);
    return recording;
}

static void next_is(firn_recording *recording, unsigned what, size_t value_size,
                    firn_access *access) {
    ck_assert_int_eq(firn_recording_next(recording, access), FIRN_OK);
    ck_assert_uint_eq(access->what, what);
    ck_assert_uint_eq(access->value_size, value_size);
    ck_assert_uint_ge(access->charge, value_size);
}

START_TEST(all_that_was_asked_is_in_the_file) {
    char *file = scratch_path("all.trace");
    char *store = scratch_path("record-store");
    uint64_t now_ms = 5000000;
    firn_cache *cache = open_cache(store, &now_ms, 0);
    put(cache, 99, 10, NULL); /* before */
    start(cache, file, 1);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = 7000;
    options.cost_us = 300;
    get(cache, 1);
    now_ms += 10;
    put(cache, 1, 100, &options);
    now_ms += 5;
    ck_assert_int_eq(get(cache, 1), FIRN_OK);
    uint64_t key = 1;
    ck_assert_int_eq(firn_delete(cache, &key, sizeof key), FIRN_OK);
    put(cache, 2, 200, NULL);
    ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
    get(cache, 2); /* after */
    ck_assert_int_eq(firn_record_stop(cache), FIRN_NOT_FOUND);
    firn_record_stats stats = FIRN_RECORD_STATS_INIT;
    ck_assert_int_eq(firn_record_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.recorded, 5);
    ck_assert_uint_eq(stats.dropped, 0);
    ck_assert_uint_eq(stats.recording, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);

    firn_recording *recording = open_recording(file);
    firn_recording_info info = FIRN_RECORDING_INFO_INIT;
    ck_assert_int_eq(firn_recording_get_info(recording, &info), FIRN_OK);
    ck_assert_uint_eq(info.started_ms, 5000000);
    ck_assert_uint_eq(info.hot_bytes, 1 << 20);
    ck_assert_uint_eq(info.cold_bytes, 4 << 20);
    ck_assert_double_eq(info.sampling_rate, 1);
    firn_access access;
    next_is(recording, FIRN_ACCESS_MISS, 0, &access);
    uint64_t hash = access.key_hash;
    ck_assert_uint_eq(access.time_ms, 5000000);
    next_is(recording, FIRN_ACCESS_PUT, 100, &access);
    ck_assert_uint_eq(access.key_hash, hash);
    ck_assert_uint_eq(access.time_ms, 5000010);
    ck_assert_uint_eq(access.ttl_ms, 7000);
    ck_assert_uint_eq(access.cost_us, 300);
    ck_assert_uint_gt(access.charge, 100);
    next_is(recording, FIRN_ACCESS_HOT_HIT, 100, &access);
    ck_assert_uint_eq(access.time_ms, 5000015);
    ck_assert_uint_eq(access.ttl_ms, 0);
    next_is(recording, FIRN_ACCESS_DELETE, 0, &access);
    next_is(recording, FIRN_ACCESS_PUT, 200, &access);
    ck_assert_uint_ne(access.key_hash, hash);
    ck_assert_int_eq(firn_recording_next(recording, &access), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_recording_get_info(recording, &info), FIRN_OK);
    ck_assert_uint_eq(info.is_cut_short, 0);
    firn_recording_close(recording);
    remove_tree(store);
    remove_tree(file);
}
END_TEST

START_TEST(hits_below_and_batches_are_told_apart) {
    char *file = scratch_path("below.trace");
    char *store = scratch_path("record-below");
    firn_cache *cache = open_cache(store, NULL, 0);
    put(cache, 1, 100, NULL);
    put(cache, 2, 100, NULL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_cache(store, NULL, 0); /* nothing is warmed without firn_run */
    start(cache, file, 1);
    ck_assert_int_eq(get(cache, 1), FIRN_OK);
    uint64_t numbers[] = {1, 2, 3};
    firn_key keys[3];
    firn_object *objects[3];
    size_t found;
    for (unsigned i = 0; i < 3; i++) {
        keys[i] = (firn_key){&numbers[i], sizeof numbers[i]};
    }
    ck_assert_int_eq(firn_get_many(cache, 3, keys, objects, &found), FIRN_OK);
    ck_assert_uint_eq(found, 2);
    for (unsigned i = 0; i < 3; i++) {
        firn_object_unref(objects[i]);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK); /* ends the recording */
    firn_recording *recording = open_recording(file);
    firn_access access;
    next_is(recording, FIRN_ACCESS_COLD_HIT, 100, &access);
    next_is(recording, FIRN_ACCESS_HOT_HIT, 100, &access);
    next_is(recording, FIRN_ACCESS_COLD_HIT, 100, &access);
    next_is(recording, FIRN_ACCESS_MISS, 0, &access);
    ck_assert_int_eq(firn_recording_next(recording, &access), FIRN_NOT_FOUND);
    firn_recording_close(recording);
    remove_tree(store);
    remove_tree(file);
}
END_TEST

static unsigned count_of(const char *file, uint64_t *below) {
    firn_recording *recording = open_recording(file);
    firn_access access;
    unsigned count = 0;
    *below = 0;
    while (firn_recording_next(recording, &access) == FIRN_OK) {
        *below = access.key_hash > *below ? access.key_hash : *below;
        count++;
    }
    firn_recording_close(recording);
    return count;
}

START_TEST(a_part_of_the_keys_is_recorded) {
    char *file = scratch_path("part.trace");
    firn_cache *cache = open_cache(NULL, NULL, 0);
    start(cache, file, 0.25);
    for (uint64_t key = 0; key < 4000; key++) {
        get(cache, key);
        put(cache, key, 10, NULL);
        if (key % 500 == 0) {
            ck_assert_int_ge(firn_run(cache, 0), FIRN_OK);
        }
    }
    ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
    uint64_t highest;
    unsigned count = count_of(file, &highest);
    ck_assert_uint_gt(count, 1700);
    ck_assert_uint_lt(count, 2300);
    ck_assert_uint_lt(highest, UINT64_C(1) << 62);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(file);
}
END_TEST

START_TEST(what_is_too_fast_is_dropped_and_counted) {
    char *file = scratch_path("fast.trace");
    firn_cache *cache = open_cache(NULL, NULL, 0);
    start(cache, file, 1);
    for (uint64_t i = 0; i < 20000; i++) { /* and nobody runs what takes them */
        get(cache, i);
    }
    ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
    firn_record_stats stats = FIRN_RECORD_STATS_INIT;
    ck_assert_int_eq(firn_record_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.recorded + stats.dropped, 20000);
    ck_assert_uint_gt(stats.dropped, 10000);
    ck_assert_uint_eq(stats.file_bytes, file_size("/", file + 1));
    firn_recording *recording = open_recording(file);
    firn_recording_info info = FIRN_RECORDING_INFO_INIT;
    firn_access access;
    while (firn_recording_next(recording, &access) == FIRN_OK) {
    }
    ck_assert_int_eq(firn_recording_get_info(recording, &info), FIRN_OK);
    ck_assert_uint_eq(info.dropped, stats.dropped);
    firn_recording_close(recording);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(file);
}
END_TEST

START_TEST(a_file_that_is_full_ends_the_recording) {
    char *file = scratch_path("full.trace");
    firn_cache *cache = open_cache(NULL, NULL, 0);
    firn_record_options options = FIRN_RECORD_OPTIONS_INIT;
    options.sampling_rate = 1;
    options.file_bytes_max = 64 << 10;
    ck_assert_int_eq(firn_record_start(cache, file, &options), FIRN_OK);
    firn_record_stats stats = FIRN_RECORD_STATS_INIT;
    stats.recording = 1;
    for (uint64_t i = 0; i < 40000 && stats.recording != 0; i++) {
        get(cache, i * UINT64_C(0x9e3779b97f4a7c15));
        if (i % 4000 == 3999) {
            ck_assert_int_ge(firn_run(cache, 0), FIRN_OK);
            ck_assert_int_eq(firn_record_get_stats(cache, &stats), FIRN_OK);
        }
    }
    ck_assert_uint_eq(stats.recording, 0);
    ck_assert_uint_le(stats.file_bytes, 64 << 10);
    ck_assert_uint_gt(stats.recorded, 1000);
    ck_assert_int_eq(firn_record_start(cache, "other", NULL), FIRN_EINVAL); /* it was not ended */
    ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
    uint64_t highest;
    ck_assert_uint_eq(count_of(file, &highest), stats.recorded);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(file);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused) {
    char *file = scratch_path("refused.trace");
    char *store = scratch_path("record-refused");
    firn_cache *cache = open_cache(store, NULL, 0);
    firn_record_options options = FIRN_RECORD_OPTIONS_INIT;
    ck_assert_int_eq(firn_record_start(NULL, file, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_record_start(cache, NULL, NULL), FIRN_EINVAL);
    options.sampling_rate = 1.5;
    ck_assert_int_eq(firn_record_start(cache, file, &options), FIRN_EINVAL);
    options.sampling_rate = -1;
    ck_assert_int_eq(firn_record_start(cache, file, &options), FIRN_EINVAL);
    options.sampling_rate = 1;
    options.file_bytes_max = 100;
    ck_assert_int_eq(firn_record_start(cache, file, &options), FIRN_EINVAL);
    ck_assert_int_eq(firn_record_start(cache, "/missing/x", NULL), FIRN_EIO);
    ck_assert_int_eq(firn_record_start(cache, file, NULL), FIRN_OK);
    ck_assert_int_eq(firn_record_start(cache, file, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
    ck_assert_int_eq(firn_record_start(cache, file, NULL), FIRN_EIO); /* it is there */
    char message[256];
    firn_last_message(cache, message, sizeof message);
    ck_assert_ptr_nonnull(strstr(message, file));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);

    firn_options read_only = FIRN_OPTIONS_INIT;
    read_only.read_only = 1;
    ck_assert_int_eq(firn_open(&cache, store, &read_only), FIRN_OK);
    ck_assert_int_eq(firn_record_start(cache, "other", NULL), FIRN_EREADONLY);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);

    firn_recording *recording;
    char why[256] = "";
    ck_assert_int_eq(firn_recording_open(&recording, "/missing/x", why, sizeof why), FIRN_EIO);
    ck_assert_str_ne(why, "");
    write_file(file, "1,100\n2,200\n");
    ck_assert_int_eq(firn_recording_open(&recording, file, NULL, 0), FIRN_ECORRUPT);
    ck_assert_int_eq(firn_recording_open(NULL, file, NULL, 0), FIRN_EINVAL);
    firn_recording_close(NULL);
    remove_tree(store);
    remove_tree(file);
}
END_TEST

/* How many accesses come out, and how it ends. */
static int read_all(const char *file, unsigned *count) {
    firn_recording *recording;
    firn_access access;
    *count = 0;
    int result = firn_recording_open(&recording, file, NULL, 0);
    while (result == FIRN_OK) {
        result = firn_recording_next(recording, &access);
        *count += result == FIRN_OK;
        if (result != FIRN_OK) {
            ck_assert_int_eq(firn_recording_next(recording, &access), result);
        }
    }
    firn_recording_close(recording);
    return result;
}

START_TEST(damage_is_told_and_a_cut_file_ends) {
    char *file = scratch_path("damage.trace");
    firn_cache *cache = open_cache(NULL, NULL, 0);
    start(cache, file, 1);
    for (uint64_t i = 0; i < 12000; i++) {
        get(cache, i % 100);
        if (i % 4000 == 3999) { /* blocks of their own */
            ck_assert_int_ge(firn_run(cache, 0), FIRN_OK);
        }
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    unsigned all;
    unsigned some;
    ck_assert_int_eq(read_all(file, &all), FIRN_NOT_FOUND);
    ck_assert_uint_eq(all, 12000);
    int fd = open(file, O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < size; at += at < 200 ? 1 : 101) {
        change_byte(fd, at, 0x11);
        int result = read_all(file, &some);
        ck_assert_msg(result < 0 || result == FIRN_NOT_FOUND, "byte %ld", (long)at);
        ck_assert_msg(result < 0 || some < all, "byte %ld is not checked", (long)at);
        change_byte(fd, at, 0x11);
    }
    unsigned before = 0;
    for (off_t length = 64; length < size; length += 37) {
        char *part = scratch_path("part");
        FILE *out = fopen(part, "w");
        char *bytes = malloc((size_t)length);
        ck_assert_int_eq(pread(fd, bytes, (size_t)length, 0), length);
        fwrite(bytes, 1, (size_t)length, out);
        fclose(out);
        free(bytes);
        ck_assert_int_eq(read_all(part, &some), FIRN_NOT_FOUND);
        ck_assert_uint_ge(some, before);
        before = some;
        remove_tree(part);
    }
    close(fd);
    remove_tree(file);
}
END_TEST

START_TEST(after_a_crash_the_file_is_whole_to_the_last_block) {
    char *file = scratch_path("crash.trace");
    int told[2];
    ck_assert_int_eq(pipe(told), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        firn_cache *cache = open_cache(NULL, NULL, 0);
        start(cache, file, 1);
        for (uint64_t i = 0;; i++) {
            get(cache, i);
            if (i % 1000 == 999) {
                (void)firn_run(cache, 0);
            }
            if (i == 30000 && write(told[1], "x", 1) != 1) {
                _exit(1);
            }
        }
    }
    close(told[1]); /* so that a child that ends before it told anything is noticed */
    char byte;
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    unsigned count;
    ck_assert_int_eq(read_all(file, &count), FIRN_NOT_FOUND);
    ck_assert_uint_gt(count, 20000);
    close(told[0]);
    remove_tree(file);
}
END_TEST

static size_t left_to_give;

static void *give_alloc(void *context, size_t size) {
    (void)context;
    if (left_to_give == 0) {
        return NULL;
    }
    left_to_give--;
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static void give_free(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

START_TEST(without_memory_nothing_is_recorded) {
    char *file = scratch_path("memory.trace");
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.threads = 0;
    options.allocator = (firn_allocator){give_alloc, give_free, NULL};
    left_to_give = SIZE_MAX;
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_OK);
    int result = FIRN_ENOMEM;
    for (size_t i = 0; result != FIRN_OK; i++) {
        ck_assert_uint_lt(i, 10);
        left_to_give = i;
        result = firn_record_start(cache, file, NULL);
        ck_assert(result == FIRN_OK || result == FIRN_ENOMEM);
    }
    left_to_give = SIZE_MAX;
    ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(file);
}
END_TEST

typedef struct busy {
    firn_cache *cache;
    uint64_t from;
} busy;

enum { EACH = 20000 };

static void *be_busy(void *context) {
    const busy *self = context;
    for (uint64_t i = 0; i < EACH; i++) {
        get(self->cache, self->from + i % 1000);
        if (i % 10 == 0) {
            put(self->cache, self->from + i % 1000, 50, NULL);
        }
    }
    return NULL;
}

/* Each thread's accesses are in the file once, or dropped and counted. */
START_TEST(threads_record_together) {
    char *file = scratch_path("threads.trace");
    firn_cache *cache = open_cache(NULL, NULL, 1);
    busy threads[3];
    pthread_t names[3];
    start(cache, file, 1);
    for (unsigned i = 0; i < 3; i++) {
        threads[i] = (busy){cache, i * 100000};
        ck_assert_int_eq(pthread_create(&names[i], NULL, be_busy, &threads[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(names[i], NULL);
    }
    ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
    firn_record_stats stats = FIRN_RECORD_STATS_INIT;
    ck_assert_int_eq(firn_record_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.recorded + stats.dropped, 3 * (EACH + EACH / 10));
    unsigned count;
    ck_assert_int_eq(read_all(file, &count), FIRN_NOT_FOUND);
    ck_assert_uint_eq(count, stats.recorded);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(file);
}
END_TEST

/* Recordings begin and end while others are at it. */
START_TEST(recordings_begin_and_end_beside_gets) {
    char *file = scratch_path("again.trace");
    firn_cache *cache = open_cache(NULL, NULL, 1);
    busy thread = {cache, 0};
    pthread_t name;
    ck_assert_int_eq(pthread_create(&name, NULL, be_busy, &thread), 0);
    for (unsigned i = 0; i < 20; i++) {
        unsigned count;
        start(cache, file, 0.5);
        ck_assert_int_eq(firn_record_stop(cache), FIRN_OK);
        ck_assert_int_eq(read_all(file, &count), FIRN_NOT_FOUND);
        ck_assert_int_eq(unlink(file), 0);
    }
    pthread_join(name, NULL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    free(file);
}
END_TEST

/* A thread that is stopped in the midst of a note: what it notes lies in a page that may not be
 * read until the test allows it. */
static struct {
    firn_recorder *recorder;
    firn_access *access; /* the page */
    size_t page_size;
    _Atomic bool arrived;
    _Atomic bool may_go;
} slow;

static void wait_to_go(int number) {
    (void)number;
    atomic_store(&slow.arrived, true);
    while (!atomic_load(&slow.may_go)) {
        sched_yield();
    }
    (void)mprotect(slow.access, slow.page_size, PROT_READ);
}

static void *note_slowly(void *context) {
    (void)context;
    (void)firn_recorder_note(slow.recorder, slow.access);
    return NULL;
}

static _Atomic bool has_ended;

static void *end_recording(void *context) {
    ck_assert_int_eq(firn_recorder_end(slow.recorder, context), FIRN_OK);
    atomic_store(&has_ended, true);
    return NULL;
}

static const firn_recorder_config whole = {
    .below = UINT64_MAX, .started_ms = 1, .file_bytes_max = 1 << 20};

START_TEST(the_end_waits_for_notes_that_others_have_begun) {
    char *file = scratch_path("end.trace");
    firn_heap *heap = firn_heap_new(NULL);
    firn_detail detail;
    ck_assert_int_eq(firn_detail_init(&detail), 0);
    slow.recorder = firn_recorder_new(heap);
    slow.page_size = (size_t)sysconf(_SC_PAGESIZE);
    slow.access =
        mmap(NULL, slow.page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(slow.access, MAP_FAILED);
    const firn_access access = {.what = FIRN_ACCESS_MISS, .time_ms = 1};
    *slow.access = access;
    ck_assert_int_eq(mprotect(slow.access, slow.page_size, PROT_NONE), 0);
    struct sigaction before;
    struct sigaction action = {.sa_handler = wait_to_go};
    ck_assert_int_eq(sigaction(SIGSEGV, &action, &before), 0);
    ck_assert_int_eq(firn_recorder_begin(slow.recorder, file, &whole, &detail), FIRN_OK);
    pthread_t noting;
    ck_assert_int_eq(pthread_create(&noting, NULL, note_slowly, NULL), 0);
    while (!atomic_load(&slow.arrived)) {
        sched_yield();
    }
    for (unsigned i = 0; i < 10; i++) {
        (void)firn_recorder_note(slow.recorder, &access);
    }
    firn_record_stats stats = FIRN_RECORD_STATS_INIT;
    ck_assert(firn_recorder_drain(slow.recorder, true));
    firn_recorder_get_stats(slow.recorder, &stats);
    ck_assert_uint_eq(stats.recorded, 0); /* ours stand behind its note */
    pthread_t ending;
    ck_assert_int_eq(pthread_create(&ending, NULL, end_recording, &detail), 0);
    /* Time to end too soon. */
    for (unsigned i = 0; i < 20 && !atomic_load(&has_ended); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    atomic_store(&slow.may_go, true);
    pthread_join(noting, NULL);
    pthread_join(ending, NULL);
    ck_assert_int_eq(sigaction(SIGSEGV, &before, NULL), 0);
    unsigned count;
    ck_assert_int_eq(read_all(file, &count), FIRN_NOT_FOUND);
    ck_assert_uint_eq(count, 11);
    munmap(slow.access, slow.page_size);
    firn_recorder_free(slow.recorder);
    firn_detail_fini(&detail);
    firn_heap_unref(heap);
    remove_tree(file);
}
END_TEST

/* What is noted while there is no recording is of none. */
START_TEST(what_was_noted_before_the_beginning_is_not_in_the_file) {
    char *file = scratch_path("begin.trace");
    firn_heap *heap = firn_heap_new(NULL);
    firn_detail detail;
    ck_assert_int_eq(firn_detail_init(&detail), 0);
    firn_recorder *recorder = firn_recorder_new(heap);
    const firn_access access = {.what = FIRN_ACCESS_MISS, .time_ms = 1};
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < 10; j++) {
            (void)firn_recorder_note(recorder, &access);
        }
        ck_assert_int_eq(firn_recorder_begin(recorder, file, &whole, &detail), FIRN_OK);
        for (unsigned j = 0; j < i; j++) {
            (void)firn_recorder_note(recorder, &access);
        }
        ck_assert_int_eq(firn_recorder_end(recorder, &detail), FIRN_OK);
        unsigned count;
        ck_assert_int_eq(read_all(file, &count), FIRN_NOT_FOUND);
        ck_assert_uint_eq(count, i);
        ck_assert_int_eq(unlink(file), 0);
    }
    firn_recorder_free(recorder);
    firn_detail_fini(&detail);
    firn_heap_unref(heap);
    free(file);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, threads_record_together);
    tcase_add_test(tcase, recordings_begin_and_end_beside_gets);
    tcase_add_test(tcase, the_end_waits_for_notes_that_others_have_begun);
    if (getenv("FIRN_THREADS_ONLY") != NULL) {
        return;
    }
    tcase_add_test(tcase, all_that_was_asked_is_in_the_file);
    tcase_add_test(tcase, hits_below_and_batches_are_told_apart);
    tcase_add_test(tcase, a_part_of_the_keys_is_recorded);
    tcase_add_test(tcase, what_is_too_fast_is_dropped_and_counted);
    tcase_add_test(tcase, a_file_that_is_full_ends_the_recording);
    tcase_add_test(tcase, what_makes_no_sense_is_refused);
    tcase_add_test(tcase, damage_is_told_and_a_cut_file_ends);
    tcase_add_test(tcase, after_a_crash_the_file_is_whole_to_the_last_block);
    tcase_add_test(tcase, without_memory_nothing_is_recorded);
    tcase_add_test(tcase, what_was_noted_before_the_beginning_is_not_in_the_file);
}

int main(void) {
    return run_suite("record_accesses", add, 120);
}
