/* Calls of the system that fail: full disks, bad sectors, short writes, files that are cut or gone.
 *
 * What must hold whatever fails: memory goes on serving; each error is one that is promised, with
 * words; what a flush acknowledged is there after reopening, and what was overwritten or deleted
 * never is; and when the cause is gone, all goes on as if it had not been. What a flush
 * acknowledged is there after a power loss too, also if a sync failed before and the system dropped
 * what it could not write. First each kind of failure by itself, then every call of a long scenario
 * in turn, in a process of its own. See io_faults.h for how calls fail. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <firn/firn.h>

#include "cold/index.h"
#include "fault/io_faults.h"
#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

enum {
    KEYS = 160,
    SMALL = 40, /* the first keys have values of mixed sizes */
    LARGE = 3,  /* a value of several segments, larger than memory */
    LARGE_BYTES = 90000,
    CHURN_BYTES = 9000,
    VALUE_MAX = 100000,
};

/* ---- the model ---- */

/* What may be found of a key. */
typedef struct expected {
    unsigned newest;  /* the value that was acknowledged last; 0: none, or deleted */
    unsigned maybe;   /* one whose put failed after the old value was given up; 0: none */
    unsigned flushed; /* this one must be there, in a store of the least size too; 0: none */
} expected;

typedef struct model {
    expected keys[KEYS];
    unsigned generation;
    unsigned before; /* values up to this one may have been reclaimed, or lost with the process */
    uint64_t reclaimed; /* as counted, when that was last looked at */
    bool opened;
    long failed;     /* calls */
    char wrong[200]; /* what was found that must not be; "": nothing */
} model;

__attribute__((format(printf, 2, 3))) static void blame(model *self, const char *format, ...) {
    if (self->wrong[0] == '\0') {
        va_list values;
        va_start(values, format);
        vsnprintf(self->wrong, sizeof self->wrong, format, values);
        va_end(values);
    }
}

static size_t size_of(unsigned key, unsigned generation) {
    if (key == LARGE) {
        return LARGE_BYTES + generation % 7 * 100;
    }
    return key < SMALL ? 12 + (key * 331 + generation * 17) % 3000 : CHURN_BYTES;
}

static unsigned char *value_of(unsigned key, unsigned generation) {
    static unsigned char value[VALUE_MAX];
    size_t size = size_of(key, generation);
    memcpy(value, &key, 4);
    memcpy(value + 4, &generation, 4);
    uint32_t random = key * 2654435761u + generation;
    for (size_t i = 8; i < size; i++) {
        random = random * 1664525u + 1013904223u;
        value[i] = (unsigned char)(random >> 24);
    }
    return value;
}

static bool is_promised(int result) {
    return result == FIRN_ENOSPC || result == FIRN_EIO || result == FIRN_ENOMEM ||
           result == FIRN_ECORRUPT;
}

/* An error has words, which name the store. */
static void check_error(model *self, firn_cache *cache, int result, const char *what) {
    char text[400] = "";
    firn_last_message(cache, text, sizeof text);
    if (!is_promised(result) || text[0] == '\0') {
        blame(self, "%s: %s (%s)", what, firn_strerror(result), text);
    }
}

static void put(model *self, firn_cache *cache, unsigned key) {
    unsigned generation = ++self->generation;
    expected *one = &self->keys[key];
    int result = firn_put(cache, &key, sizeof key, value_of(key, generation),
                          size_of(key, generation), NULL);
    if (result == FIRN_OK) {
        *one = (expected){.newest = generation};
    } else {
        check_error(self, cache, result, "put");
        if (key == LARGE) {
            *one = (expected){.maybe = generation};
        }
    }
}

static void delete (model *self, firn_cache *cache, unsigned key) {
    int result = firn_delete(cache, &key, sizeof key);
    if (result == FIRN_OK || result == FIRN_NOT_FOUND) {
        self->keys[key] = (expected){0};
    } else {
        check_error(self, cache, result, "delete");
    }
}

static int flush(model *self, firn_cache *cache) {
    int result = firn_flush(cache);
    for (unsigned i = 0; i < KEYS && result == FIRN_OK; i++) {
        expected *one = &self->keys[i];
        one->flushed = one->newest > self->before ? one->newest : one->flushed;
    }
    if (result != FIRN_OK) {
        check_error(self, cache, result, "flush");
    }
    return result;
}

static void check_value(model *self, const firn_object *object, unsigned key) {
    const expected *one = &self->keys[key];
    unsigned generation = 0;
    size_t size = firn_object_size(object);
    if (size >= 8) {
        memcpy(&generation, (const unsigned char *)firn_object_data(object) + 4, 4);
    }
    if (generation == 0 || (generation != one->newest && generation != one->maybe)) {
        blame(self, "key %u: value %u instead of %u", key, generation, one->newest);
    } else if (size != size_of(key, generation) ||
               memcmp(firn_object_data(object), value_of(key, generation), size) != 0) {
        blame(self, "key %u: value %u is not what was put", key, generation);
    }
}

/* whole: no read may fail, and what was flushed must be there. */
static void get(model *self, firn_cache *cache, unsigned key, bool whole) {
    firn_object *object;
    int result = firn_get(cache, &key, sizeof key, &object);
    if (result == FIRN_OK) {
        check_value(self, object, key);
        firn_object_unref(object);
    } else if (result != FIRN_NOT_FOUND) {
        check_error(self, cache, result, "get");
        if (whole) {
            blame(self, "get %u: %s", key, firn_strerror(result));
        }
    } else if (whole && self->keys[key].flushed != 0) {
        blame(self, "key %u: value %u is gone", key, self->keys[key].flushed);
    } else if (whole) {
        self->keys[key] = (expected){0}; /* and shall not come back */
    }
}

static void get_all(model *self, firn_cache *cache, bool whole) {
    for (unsigned i = 0; i < KEYS; i++) {
        get(self, cache, i, whole);
    }
}

/* Not many of the old ones: what was hit is written once more when its turn to be reclaimed comes,
 * and if that were all, what was flushed could not be told to be there. */
static void get_some(model *self, firn_cache *cache) {
    for (unsigned i = 0; i < KEYS; i += i < SMALL ? 1 : 24) {
        get(self, cache, i, false);
    }
}

/* ---- the scenario ---- */

/* Of this size nothing is ever reclaimed. */
#define LARGE_STORE (UINT64_C(16) << 20)

static uint64_t cold_bytes = FIRN_COLD_BYTES_MIN;

static firn_options small_store(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 10;
    options.cold_bytes = cold_bytes;
    options.threads = 0;
    options.compression_level = FIRN_COMPRESSION_OFF;
    return options;
}

static firn_cache *try_open(model *self, const char *path) {
    char text[400] = "";
    firn_options options = small_store();
    options.error_buffer = text;
    options.error_buffer_size = sizeof text;
    firn_cache *cache;
    int result = firn_open(&cache, path, &options);
    if (result != FIRN_OK && (!is_promised(result) || strstr(text, path) == NULL)) {
        blame(self, "open: %s (%s)", firn_strerror(result), text);
    }
    return cache;
}

static void run(model *self, firn_cache *cache) {
    int result = firn_run(cache, 50);
    if (result < 0) {
        check_error(self, cache, result, "run");
    }
}

/* Reclaiming may take what was flushed before; nothing else may. */
static void look_for_reclaim(model *self, firn_cache *cache) {
    uint64_t reclaimed = stats_of(cache).reclaimed;
    if (reclaimed != self->reclaimed) {
        self->reclaimed = reclaimed;
        self->before = self->generation;
        for (unsigned i = 0; i < KEYS; i++) {
            self->keys[i].flushed = 0;
        }
    }
}

static void churn(model *self, firn_cache *cache) {
    for (unsigned i = SMALL; i < KEYS; i++) {
        put(self, cache, i);
        if (i % 16 == 0) {
            run(self, cache);
            get(self, cache, i / 2, false);
            put(self, cache, i % SMALL);
        }
        if (i % 40 == 0) {
            put(self, cache, LARGE);
        }
    }
    look_for_reclaim(self, cache);
}

/* ---- streams and cursors ---- */

enum { STREAM_BYTES = 60000, STREAM_PIECE = FIRN_PIECE_BYTES_MIN };

static const char stream_key[] = "stream";

static unsigned char stream_byte(size_t i) {
    return (unsigned char)(i * 7 + (i >> 8));
}

static void write_stream(model *self, firn_cache *cache) {
    firn_writer_options options = FIRN_WRITER_OPTIONS_INIT;
    options.piece = STREAM_PIECE;
    firn_writer *writer;
    int result = firn_writer_open(cache, stream_key, sizeof stream_key, &options, &writer);
    if (result != FIRN_OK) {
        check_error(self, cache, result, "writer");
        return;
    }
    unsigned char bytes[STREAM_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = stream_byte(i);
    }
    result = firn_writer_write(writer, bytes, sizeof bytes);
    if (result == FIRN_OK) {
        result = firn_writer_commit(writer);
    } else {
        firn_writer_abort(writer);
    }
    if (result != FIRN_OK) {
        check_error(self, cache, result, "stream");
    }
}

static void read_on(model *self, firn_cache *cache, firn_reader *reader) {
    size_t offset = 0;
    const void *piece;
    size_t size;
    int result;
    while ((result = firn_reader_next(reader, &piece, &size)) == FIRN_OK) {
        for (size_t i = 0; i < size; i++) {
            if (((const unsigned char *)piece)[i] != stream_byte(offset + i)) {
                blame(self, "byte %zu of the stream", offset + i);
            }
        }
        offset += size;
    }
    if (result == FIRN_NOT_FOUND && offset != STREAM_BYTES) {
        blame(self, "the stream ends after %zu bytes", offset);
    } else if (result != FIRN_NOT_FOUND && result != FIRN_ECORRUPT) {
        check_error(self, cache, result, "stream");
    }
}

/* What there is of the stream is right, and is all of it unless that is told. */
static void read_stream(model *self, firn_cache *cache) {
    firn_reader *reader;
    int result = firn_reader_open(cache, stream_key, sizeof stream_key, &reader);
    if (result == FIRN_OK) {
        read_on(self, cache, reader);
        firn_reader_close(reader);
    } else if (result != FIRN_NOT_FOUND) {
        check_error(self, cache, result, "reader");
    }
}

/* No entry twice, and none with another value than may be found of it. An error ends it early, for
 * a device that never gets well gives one without end. */
static void walk(model *self, firn_cache *cache) {
    firn_cursor *cursor;
    int result = firn_cursor_open(cache, NULL, 0, 0, &cursor);
    bool seen[KEYS] = {false};
    firn_object *object;
    unsigned errors = 0;
    while (result == FIRN_OK && errors < KEYS) {
        result = firn_cursor_next(cursor, &object);
        if (result == FIRN_OK) {
            unsigned key = 0;
            size_t size;
            const void *bytes = firn_object_key(object, &size);
            memcpy(&key, bytes, sizeof key);
            bool own = size == sizeof key && key < KEYS;
            if (own && seen[key]) {
                blame(self, "key %u is given twice", key);
            } else if (own) {
                seen[key] = true;
                check_value(self, object, key);
            }
            firn_object_unref(object);
        } else if (result != FIRN_NOT_FOUND) {
            check_error(self, cache, result, "cursor");
            errors++;
            result = FIRN_OK;
        }
    }
    firn_cursor_close(cursor);
}

static void use(model *self, firn_cache *cache) {
    for (unsigned i = 0; i < SMALL; i++) {
        put(self, cache, i);
    }
    (void)flush(self, cache);
    for (unsigned i = 0; i < SMALL; i += 3) {
        put(self, cache, i);
        delete (self, cache, i + 1);
    }
    get(self, cache, LARGE, false);
    write_stream(self, cache);
    (void)flush(self, cache);
    run(self, cache);
    walk(self, cache);
    read_stream(self, cache);
    churn(self, cache);
    for (unsigned i = 1; i < SMALL; i += 4) {
        put(self, cache, i);
    }
    delete (self, cache, 1);
    delete (self, cache, KEYS - 1);
    (void)flush(self, cache);
    put(self, cache, 2); /* in memory alone, and something of it below */
    get_some(self, cache);
    read_stream(self, cache);
}

/* How a run ends. */
typedef enum ending {
    ONE_FAULT,     /* the first call that is meant fails, and no other */
    FAULTS_END,    /* all fail from then on, until the store was used for a while */
    FAULTS_REMAIN, /* all fail from then on, also while the store is closed and opened again */
    KILLED,        /* likewise, and the store is not closed */
    ENDINGS,
} ending;

/* The cause is gone: what waits is written, and all is well. */
static void write_without_faults(model *self, firn_cache *cache) {
    if (flush(self, cache) != FIRN_OK) {
        blame(self, "flush when the cause is gone");
    }
    put(self, cache, 8);
    put(self, cache, LARGE);
    delete (self, cache, 5);
    if (flush(self, cache) != FIRN_OK) {
        blame(self, "second flush when the cause is gone");
    }
    look_for_reclaim(self, cache);
}

static void use_without_faults(model *self, firn_cache *cache) {
    write_without_faults(self, cache);
    get_all(self, cache, true);
}

static void live_once_more(model *self, const char *path, bool killed) {
    self->before = self->generation;
    firn_cache *cache = try_open(self, path);
    if (cache == NULL) {
        return;
    }
    self->reclaimed = 0;
    self->opened = true;
    get_some(self, cache);
    walk(self, cache);
    read_stream(self, cache);
    put(self, cache, 5);
    delete (self, cache, 9);
    (void)flush(self, cache);
    put(self, cache, 6);
    if (!killed) {
        (void)firn_close(cache);
    }
}

/* What a power loss leaves stands beside what is left otherwise. */
static char *lost_power_path(const char *path) {
    char *beside;
    ck_assert_int_gt(asprintf(&beside, "%s-power", path), 0);
    return beside;
}

/* lost_power: out, what must be there of what a power loss leaves; NULL: it is not looked at. */
static void live(model *self, model *lost_power, const char *path, const io_rule *rule,
                 ending end) {
    if (lost_power != NULL) {
        io_device_on(path);
    }
    io_faults_on(rule);
    firn_cache *cache = try_open(self, path);
    if (cache != NULL) {
        self->opened = true;
        use(self, cache);
        if (end == FAULTS_END || (end == ONE_FAULT && io_faults_failed() > 0)) {
            self->failed = io_faults_off();
            write_without_faults(self, cache);
            if (lost_power != NULL) {
                char *beside = lost_power_path(path);
                io_device_copy(beside);
                *lost_power = *self;
                free(beside);
            }
            get_all(self, cache, true);
        }
        (void)firn_close(cache);
    }
    live_once_more(self, path, end == KILLED);
    self->failed += io_faults_off();
}

static void live_in_child(model *self, model *lost_power, const char *path, const io_rule *rule,
                          ending end) {
    *self = (model){0};
    if (lost_power != NULL) {
        *lost_power = (model){0};
    }
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        live(self, lost_power, path, rule, end);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        blame(self, "ended with status %x", (unsigned)status);
    }
}

static int tell(void *context, const char *finding, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    if (finding != NULL) {
        blame(context, "verify: %s", finding);
    }
    return 0;
}

static void verify(model *self, const char *path) {
    firn_store *store;
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    char text[400] = "";
    int result = firn_store_open(&store, path, text, sizeof text);
    if (result == FIRN_OK) {
        result = firn_store_verify(store, &report, tell, self);
        firn_store_close(store);
    }
    if (result != FIRN_OK) {
        blame(self, "verify: %s (%s)", firn_strerror(result), text);
    }
}

/* What is left, without a fault. */
static void check_what_is_left(model *self, const char *path) {
    char text[400] = "";
    firn_options options = small_store();
    options.error_buffer = text;
    options.error_buffer_size = sizeof text;
    firn_cache *cache;
    int result = firn_open(&cache, path, &options);
    if (result != FIRN_OK) {
        blame(self, "open after it: %s (%s)", firn_strerror(result), text);
        return;
    }
    self->before = self->generation;
    get_all(self, cache, true);
    put(self, cache, 7);
    if (flush(self, cache) != FIRN_OK) {
        blame(self, "flush after it");
    }
    get_all(self, cache, false);
    result = firn_close(cache);
    if (result != FIRN_OK) {
        blame(self, "close after it: %s", firn_strerror(result));
    }
}

/* The copy of a store comes up on a machine that was started anew. sound: nothing is damaged. */
static void check_what_power_loss_left(model *self, const char *path, bool sound) {
    char *beside = lost_power_path(path);
    char *journal = join(beside, "firn.journal");
    int fd = open(journal, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        unsigned char other_boot[16] = {1, 2, 3};
        ck_assert_int_eq((int)pwrite(fd, other_boot, sizeof other_boot, 40), 16);
        close(fd);
        check_what_is_left(self, beside);
        if (sound) {
            verify(self, beside);
        }
    }
    free(journal);
    remove_tree(beside);
}

/* ---- every call in turn ---- */

/* Two, of which the second is for what a power loss leaves. */
static model *shared_models(void) {
    void *memory =
        mmap(NULL, 2 * sizeof(model), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

enum { SINGLY = 48 }; /* of the first calls each one fails, of the later ones some */

/* Runs are many, and each is a process and a store. With FIRN_TEST_ALL set all are made; else a
 * part, and a smaller one where each takes long. */
static long part_of_runs(void) {
    return getenv("FIRN_TEST_ALL") != NULL ? 1 : SANITIZED ? 6 : 3;
}

/* rule: folder, first and count are set here. stride: later calls are as far from another as their
 * number divided by it. */
static void fail_each_as(io_rule rule, bool device, long stride) {
    char *path = scratch_path("io");
    model *self = shared_models();
    unsigned calls = rule.calls;
    int error = rule.error;
    bool singly = stride >= 16;
    long first = SINGLY / part_of_runs();
    stride = (stride + part_of_runs() - 1) / part_of_runs();
    long runs = 0;
    long wrong = 0;
    static const char *const names[] = {"one", "all until switched off", "all", "all, killed"};
    for (ending end = 0; end < ENDINGS; end++) {
        for (long n = 0;; n += n < first && singly ? 1 : 1 + n / stride) {
            rule.folder = path;
            rule.first = n;
            rule.count = end == ONE_FAULT;
            clear_tree(path);
            live_in_child(self, device ? self + 1 : NULL, path, &rule, end);
            check_what_is_left(self, path);
            verify(self, path);
            if (device) {
                check_what_power_loss_left(self + 1, path, true);
            }
            runs++;
            const char *found = self->wrong[0] == '\0' && device ? self[1].wrong : self->wrong;
            if (found[0] != '\0') {
                printf("calls %u, %s, %s, from %ld: %s%s\n", calls,
                       error == 0 ? "half" : strerror(error), names[end], n,
                       found == self->wrong ? "" : "power loss: ", found);
                wrong++;
            }
            if (self->failed == 0) {
                ck_assert_msg(self->opened, "nothing was tried");
                break;
            }
        }
    }
    printf("calls %u, %s: %ld runs\n", calls, error == 0 ? "half" : strerror(error), runs);
    fflush(stdout);
    munmap(self, 2 * sizeof *self);
    remove_tree(path);
    ck_assert_msg(wrong == 0, "%ld of %ld runs went wrong", wrong, runs);
}

static void fail_each(unsigned calls, int error) {
    fail_each_as((io_rule){.calls = calls, .error = error}, false, 16);
}

START_TEST(what_was_flushed_is_all_there_where_nothing_is_reclaimed) {
    cold_bytes = LARGE_STORE;
    fail_each_as((io_rule){.calls = IO_WRITE, .error = EIO}, false, 3);
    fail_each_as((io_rule){.calls = IO_WRITE, .error = 0}, false, 3);
    fail_each_as((io_rule){.calls = IO_SYNC | IO_MSYNC, .error = EIO}, false, 3);
    cold_bytes = FIRN_COLD_BYTES_MIN;
}
END_TEST

START_TEST(a_sync_that_fails_may_drop_what_was_written) {
    for (unsigned i = 0; i < 2; i++) {
        cold_bytes = i == 0 ? LARGE_STORE : FIRN_COLD_BYTES_MIN;
        fail_each_as((io_rule){.calls = IO_SYNC, .error = EIO, .drops = true}, true, 6);
    }
}
END_TEST

START_TEST(any_write_may_find_the_disk_full) {
    fail_each(IO_WRITE, ENOSPC);
}
END_TEST

START_TEST(any_write_may_fail) {
    fail_each(IO_WRITE, EIO);
}
END_TEST

START_TEST(any_write_may_be_short) {
    fail_each(IO_WRITE, 0);
}
END_TEST

START_TEST(any_read_may_fail) {
    fail_each(IO_READ, EIO);
}
END_TEST

START_TEST(any_read_may_be_short) {
    fail_each(IO_READ, 0);
}
END_TEST

START_TEST(any_sync_may_fail) {
    fail_each(IO_SYNC | IO_MSYNC, EIO);
}
END_TEST

START_TEST(any_sync_may_find_the_disk_full) {
    fail_each(IO_SYNC | IO_MSYNC, ENOSPC);
}
END_TEST

START_TEST(any_change_of_a_files_size_or_name_may_fail) {
    fail_each(IO_TRUNCATE | IO_ALLOCATE | IO_RENAME, ENOSPC);
    fail_each(IO_TRUNCATE | IO_ALLOCATE | IO_RENAME, EIO);
}
END_TEST

/* ---- each kind of failure by itself ---- */

typedef struct bench {
    char *path;
    firn_cache *cache;
    model model;
} bench;

static void begin(bench *self, const char *name, const firn_options *options) {
    *self = (bench){.path = scratch_path(name)};
    self->cache = open_with(self->path, options);
}

static void reopen(bench *self, const firn_options *options) {
    ck_assert_int_eq(firn_close(self->cache), FIRN_OK);
    self->cache = open_with(self->path, options);
}

static void end(bench *self) {
    ck_assert_str_eq(self->model.wrong, "");
    ck_assert_int_eq(firn_close(self->cache), FIRN_OK);
    verify(&self->model, self->path);
    ck_assert_str_eq(self->model.wrong, "");
    remove_tree(self->path);
}

static void assert_message_names(firn_cache *cache, const char *file) {
    char text[400] = "";
    firn_last_message(cache, text, sizeof text);
    ck_assert_msg(strstr(text, file) != NULL, "%s is not named: %s", file, text);
}

static void assert_in_memory(bench *self, unsigned key) {
    firn_stats before = stats_of(self->cache);
    get(&self->model, self->cache, key, true);
    firn_stats after = stats_of(self->cache);
    ck_assert_uint_eq(after.hot_hits, before.hot_hits + 1);
}

static void refuse_writes_to(const char *file, unsigned calls, int error, int expected_code) {
    firn_options options = small_store();
    bench self;
    begin(&self, "io-full", &options);
    for (unsigned i = 0; i < SMALL; i++) {
        put(&self.model, self.cache, i);
    }
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    io_rule rule = {.folder = self.path, .name = file, .calls = calls, .error = error};
    io_faults_on(&rule);
    churn(&self.model, self.cache); /* more than the store holds */
    put(&self.model, self.cache, 7);
    int result = firn_flush(self.cache);
    ck_assert_int_eq(result, expected_code);
    assert_message_names(self.cache, file);
    get_some(&self.model, self.cache);
    ck_assert_int_gt(io_faults_off(), 0);
    if ((calls & IO_WRITE) != 0) {
        ck_assert_uint_gt(stats_of(self.cache).write_errors, 0);
    }
    use_without_faults(&self.model, self.cache);
    reopen(&self, &options);
    get_all(&self.model, self.cache, true);
    end(&self);
}

START_TEST(a_full_disk_under_the_log_is_told_and_got_over) {
    refuse_writes_to("firn.log", IO_WRITE, ENOSPC, FIRN_ENOSPC);
}
END_TEST

START_TEST(a_full_disk_under_the_index_is_told_and_got_over) {
    refuse_writes_to("data.mdb", IO_WRITE, ENOSPC, FIRN_ENOSPC);
}
END_TEST

START_TEST(a_bad_sector_under_the_log_is_told_and_got_over) {
    refuse_writes_to("firn.log", IO_WRITE, EIO, FIRN_EIO);
}
END_TEST

START_TEST(a_bad_sector_under_the_index_is_told_and_got_over) {
    refuse_writes_to("data.mdb", IO_WRITE, EIO, FIRN_EIO);
}
END_TEST

START_TEST(a_device_that_does_not_sync_is_told_and_got_over) {
    refuse_writes_to("firn.log", IO_SYNC, EIO, FIRN_EIO);
    refuse_writes_to("data.mdb", IO_SYNC, EIO, FIRN_EIO);
    refuse_writes_to("firn.journal", IO_MSYNC, EIO, FIRN_EIO);
}
END_TEST

/* A sync of one file fails once, and what it was to push is dropped by the system. */
static void drop_at_sync(bench *self, const char *file, bool evicts, bool churned) {
    firn_options options = small_store();
    begin(self, "io-drop", &options);
    io_device_on(self->path);
    for (unsigned i = 0; i < SMALL; i++) {
        put(&self->model, self->cache, i);
    }
    ck_assert_int_eq(flush(&self->model, self->cache), FIRN_OK);
    if (churned) { /* the index is written when the log goes round */
        churn(&self->model, self->cache);
    }
    for (unsigned i = 0; i < SMALL; i += 2) {
        put(&self->model, self->cache, i);
    }
    delete (&self->model, self->cache, 1);
    io_rule rule = {.folder = self->path,
                    .name = file,
                    .calls = IO_SYNC,
                    .count = 1,
                    .error = EIO,
                    .drops = true,
                    .evicts = evicts};
    io_faults_on(&rule);
    ck_assert_int_eq(flush(&self->model, self->cache), FIRN_EIO);
    assert_message_names(self->cache, file);
    ck_assert_int_eq(io_faults_off(), 1);
}

static void lose_power(bench *self, bool sound) {
    char *beside = lost_power_path(self->path);
    io_device_copy(beside);
    io_device_off();
    free(beside);
    model copy = self->model;
    check_what_power_loss_left(&copy, self->path, sound);
    ck_assert_str_eq(copy.wrong, "");
}

START_TEST(a_flush_after_a_sync_that_failed_means_what_that_one_dropped) {
    bench self;
    drop_at_sync(&self, "firn.log", false, false);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    ck_assert_uint_eq(stats_of(self.cache).damaged, 0);
    lose_power(&self, true);
    end(&self);
}
END_TEST

START_TEST(an_index_that_a_sync_dropped_is_not_believed) {
    bench self;
    drop_at_sync(&self, "data.mdb", false, true);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    lose_power(&self, true);
    firn_options options = small_store();
    reopen(&self, &options);
    char text[400] = "";
    firn_last_message(self.cache, text, sizeof text);
    ck_assert_msg(strstr(text, "made anew") != NULL, "%s", text);
    get_all(&self.model, self.cache, true);
    reopen(&self, &options);
    firn_last_message(self.cache, text, sizeof text);
    ck_assert_msg(strstr(text, "made anew") == NULL, "%s", text);
    end(&self);
}
END_TEST

START_TEST(the_doubt_after_a_sync_that_failed_outlives_the_process) {
    bench self;
    drop_at_sync(&self, "firn.log", false, false);
    io_rule rule = {.folder = self.path, .calls = IO_SYNC, .error = EIO};
    io_faults_on(&rule);
    ck_assert_int_eq(firn_close(self.cache), FIRN_EIO);
    ck_assert_int_gt(io_faults_off(), 0);
    firn_options options = small_store();
    self.cache = open_with(self.path, &options);
    put(&self.model, self.cache, 3);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    lose_power(&self, true);
    end(&self);
}
END_TEST

START_TEST(what_a_sync_dropped_and_cannot_be_read_is_told_once_and_missing) {
    bench self;
    drop_at_sync(&self, "firn.log", true, false);
    for (unsigned i = 0; i < SMALL; i++) {
        self.model.keys[i].flushed = 0;
    }
    self.model.before = self.model.generation;
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_EIO);
    assert_message_names(self.cache, "lost");
    ck_assert_uint_gt(stats_of(self.cache).damaged, 0);
    for (unsigned i = SMALL; i < SMALL + 20; i++) {
        put(&self.model, self.cache, i);
    }
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    get_all(&self.model, self.cache, false);
    ck_assert_str_eq(self.model.wrong, "");
    lose_power(&self, false);
    use_without_faults(&self.model, self.cache);
    ck_assert_str_eq(self.model.wrong, "");
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
    remove_tree(self.path);
}
END_TEST

START_TEST(a_loss_that_a_commit_comes_upon_is_told_and_got_over) {
    bench self;
    drop_at_sync(&self, "firn.log", true, false);
    io_rule rule = {.folder = self.path, .calls = IO_SYNC, .error = EIO};
    io_faults_on(&rule);
    ck_assert_int_eq(firn_close(self.cache), FIRN_EIO);
    ck_assert_int_gt(io_faults_off(), 0);
    io_device_off();
    firn_options options = small_store();
    options.durability = FIRN_DURABILITY_COMMIT;
    self.cache = open_with(self.path, &options);
    uint64_t before = stats_of(self.cache).damaged;
    put(&self.model, self.cache, 3);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    ck_assert_uint_eq(stats_of(self.cache).damaged, before + 1);
    ck_assert_uint_eq(stats_of(self.cache).write_errors, 0);
    assert_message_names(self.cache, "lost");
    put(&self.model, self.cache, 5);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    ck_assert_uint_eq(stats_of(self.cache).damaged, before + 1);
    get_all(&self.model, self.cache, false);
    ck_assert_str_eq(self.model.wrong, "");
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
    remove_tree(self.path);
}
END_TEST

START_TEST(while_the_disk_is_full_memory_serves_and_its_bound_holds) {
    firn_options options = small_store();
    bench self;
    begin(&self, "io-memory", &options);
    io_rule rule = {.folder = self.path, .calls = IO_WRITE, .error = ENOSPC};
    io_faults_on(&rule);
    unsigned refused = 0;
    for (unsigned i = SMALL; i < KEYS; i++) {
        unsigned before = self.model.keys[i].newest;
        put(&self.model, self.cache, i);
        refused += self.model.keys[i].newest == before;
        ck_assert_uint_le(stats_of(self.cache).hot_bytes, options.hot_bytes);
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_lt(refused, KEYS - SMALL);
    for (unsigned i = SMALL; i < KEYS; i++) {
        if (self.model.keys[i].newest != 0) {
            assert_in_memory(&self, i);
        }
    }
    ck_assert_int_gt(io_faults_off(), 0);
    use_without_faults(&self.model, self.cache);
    end(&self);
}
END_TEST

START_TEST(a_read_that_fails_is_told_and_does_not_last) {
    firn_options options = small_store();
    options.cold_bytes = 64 << 20; /* with segments so large that values are not read by a map */
    bench self;
    begin(&self, "io-read", &options);
    put(&self.model, self.cache, LARGE); /* it is never in memory */
    put(&self.model, self.cache, 5);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    io_rule rule = {.folder = self.path, .name = "firn.log", .calls = IO_READ, .error = EIO};
    io_faults_on(&rule);
    firn_object *object;
    unsigned key = LARGE;
    ck_assert_int_eq(firn_get(self.cache, &key, sizeof key, &object), FIRN_EIO);
    assert_message_names(self.cache, "firn.log");
    ck_assert_uint_eq(stats_of(self.cache).read_errors, 1);
    assert_in_memory(&self, 5);
    ck_assert_int_gt(io_faults_off(), 0);
    get_all(&self.model, self.cache, true);
    end(&self);
}
END_TEST

/* The length of a file is looked at once in some milliseconds. */
static void cut(const bench *self, const char *name, off_t length) {
    char *file = join(self->path, name);
    ck_assert_int_eq(truncate(file, length), 0);
    free(file);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* Entries that only the disk has, in the index on disk, and one that only memory has. */
static void fill_below(bench *self, const firn_options *options) {
    for (unsigned i = 0; i < SMALL; i++) {
        put(&self->model, self->cache, i);
    }
    for (unsigned i = SMALL; i < SMALL + 20; i++) {
        put(&self->model, self->cache, i);
    }
    ck_assert_int_eq(flush(&self->model, self->cache), FIRN_OK);
    reopen(self, options);
    for (unsigned i = 0; i < KEYS; i++) {
        self->model.keys[i].flushed = 0; /* it is about to be lost */
    }
    self->model.before = self->model.generation;
    put(&self->model, self->cache, KEYS - 1);
}

START_TEST(a_log_that_is_cut_gives_misses) {
    firn_options options = small_store();
    bench self;
    begin(&self, "io-cut-log", &options);
    fill_below(&self, &options);
    cut(&self, "firn.log", 20000);
    get_all(&self.model, self.cache, false);
    ck_assert_uint_gt(stats_of(self.cache).damaged, 0);
    assert_in_memory(&self, KEYS - 1);
    use_without_faults(&self.model, self.cache);
    ck_assert_str_eq(self.model.wrong, "");
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
    self.cache = open_with(self.path, &options);
    get_all(&self.model, self.cache, false);
    ck_assert_str_eq(self.model.wrong, "");
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
    remove_tree(self.path);
}
END_TEST

/* Entries that memory and the first segment of the log hold lose the latter, in which bytes from
 * `from` on were spoilt: all are written again before the log goes round. */
static void lose_below(off_t from, size_t size) {
    enum { KEPT = 10 };
    firn_options options = small_store();
    options.hot_bytes = 1 << 20;
    bench self;
    begin(&self, "io-spoilt", &options);
    for (unsigned i = 0; i < KEPT; i++) {
        put(&self.model, self.cache, i);
    }
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    unsigned char noise[20000];
    memset(noise, '#', sizeof noise);
    char *file = join(self.path, "firn.log");
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq((int)pwrite(fd, noise, size, 4096 + 32 + from), (int)size);
    close(fd);
    free(file);
    for (unsigned i = SMALL; i < KEYS; i++) {
        put(&self.model, self.cache, i);
        get(&self.model, self.cache, i % KEPT, true);
        if (i % 20 == 0) {
            ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
        }
    }
    ck_assert_uint_gt(stats_of(self.cache).reclaimed, 0);
    ck_assert_uint_ge(stats_of(self.cache).reclaimed_hot, KEPT);
    reopen(&self, &options);
    for (unsigned i = 0; i < KEPT; i++) {
        ck_assert_int_eq(firn_contains(self.cache, &i, sizeof i), FIRN_OK);
    }
    get_all(&self.model, self.cache, false);
    end(&self);
}

START_TEST(a_record_that_is_damaged_and_reclaimed_is_written_again_from_memory) {
    lose_below(40, 1); /* of the first record alone */
}
END_TEST

START_TEST(a_segment_that_is_damaged_and_reclaimed_is_written_again_from_memory) {
    lose_below(-32, 16000);
}
END_TEST

START_TEST(a_part_of_a_segment_that_is_damaged_is_written_again_from_memory) {
    lose_below(100, 12000);
}
END_TEST

START_TEST(an_index_that_is_cut_gives_errors_and_is_made_anew) {
    firn_options options = small_store();
    bench self;
    begin(&self, "io-cut-index", &options);
    fill_below(&self, &options);
    cut(&self, "data.mdb", 8192);
    firn_object *object;
    unsigned key = 0;
    ck_assert_int_eq(firn_get(self.cache, &key, sizeof key, &object), FIRN_EIO);
    assert_message_names(self.cache, "data.mdb");
    ck_assert_uint_gt(stats_of(self.cache).read_errors, 0);
    get_all(&self.model, self.cache, false);
    assert_in_memory(&self, KEYS - 1);
    put(&self.model, self.cache, 5);
    (void)flush(&self.model, self.cache);
    ck_assert_int_lt(firn_close(self.cache), FIRN_OK);
    ck_assert_str_eq(self.model.wrong, "");
    self.model.before = self.model.generation;
    self.cache = open_with(self.path, &options);

    get_all(&self.model, self.cache, false);
    use_without_faults(&self.model, self.cache);
    end(&self);
}
END_TEST

/* Lines of the journal wait while it is cut, and a disk that is full keeps it so for a while. */
START_TEST(a_journal_that_is_cut_is_made_anew) {
    firn_options options = small_store();
    for (unsigned round = 0; round < 3; round++) {
        static const off_t lengths[] = {0, 50, 8192};
        bench self;
        begin(&self, "io-cut-journal", &options);
        fill_below(&self, &options);
        for (unsigned i = 0; i < SMALL; i += 2) {
            put(&self.model, self.cache, i);
        }
        io_rule rule = {.folder = self.path, .calls = IO_ALLOCATE, .error = ENOSPC};
        io_faults_on(&rule);
        cut(&self, "firn.journal", lengths[round]);
        unsigned key = 7;
        ck_assert_int_eq(firn_put(self.cache, &key, sizeof key, "x", 1, NULL), FIRN_EIO);
        assert_message_names(self.cache, "firn.journal");
        get_all(&self.model, self.cache, false);
        ck_assert_int_lt(firn_flush(self.cache), FIRN_OK);
        ck_assert_int_gt(io_faults_off(), 0);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        self.model.before = 0; /* nothing was lost */
        use_without_faults(&self.model, self.cache);
        ck_assert_uint_eq(stats_of(self.cache).damaged, 1);
        ck_assert_uint_eq(stats_of(self.cache).journal_entries, 0);
        ck_assert_uint_eq(file_size(self.path, "firn.journal"), 4096 + 65536 * 16);
        reopen(&self, &options);
        get_all(&self.model, self.cache, true);
        end(&self);
    }
}
END_TEST

START_TEST(a_store_that_is_deleted_beneath_goes_on_and_does_not_come_back) {
    firn_options options = small_store();
    bench self;
    begin(&self, "io-deleted", &options);
    fill_below(&self, &options);
    clear_tree(self.path);
    get_all(&self.model, self.cache, false);
    put(&self.model, self.cache, 5);
    delete (&self.model, self.cache, 6);
    (void)flush(&self.model, self.cache);
    churn(&self.model, self.cache);
    (void)flush(&self.model, self.cache);
    assert_in_memory(&self, KEYS - 1);
    ck_assert_str_eq(self.model.wrong, "");
    (void)firn_close(self.cache);
    self.cache = open_with(self.path, &options);
    for (unsigned i = 0; i < KEYS; i++) {
        self.model.keys[i] = (expected){0};
    }
    get_all(&self.model, self.cache, true);
    use_without_faults(&self.model, self.cache);
    end(&self);
}
END_TEST

static bool has(firn_cache *cache, const char *key) {
    return firn_contains(cache, key, strlen(key)) == FIRN_OK;
}

/* Two entries of which one is cleared, so that there is a file for the next clear. */
static void begin_clears(bench *self, const firn_options *options) {
    begin(self, "io-clears", options);
    ck_assert_int_eq(firn_put(self->cache, "a", 1, "v", 1, NULL), FIRN_OK);
    ck_assert_int_eq(firn_put(self->cache, "b", 1, "v", 1, NULL), FIRN_OK);
    ck_assert_int_eq(firn_flush(self->cache), FIRN_OK);
    ck_assert_int_eq(firn_clear(self->cache, "a", 1), FIRN_OK);
}

/* A sync of the file fails once, and what it was to push is dropped by the system. blocked: nor can
 * the file be made anew at once. reopened: by the time that it can be, it is another handle's. */
static void drop_a_clear(bool blocked, bool reopened) {
    firn_options options = small_store();
    bench self;
    begin_clears(&self, &options);
    io_device_on(self.path);
    ck_assert_int_eq(firn_clear(self.cache, "b", 1), FIRN_OK);
    char *temporary = join(self.path, "firn.clears.tmp");
    ck_assert(!blocked || mkdir(temporary, 0700) == 0);
    io_rule rule = {.folder = self.path,
                    .name = "firn.clears",
                    .calls = IO_SYNC,
                    .count = 1,
                    .error = EIO,
                    .drops = true};
    io_faults_on(&rule);
    ck_assert_int_eq(firn_flush(self.cache), blocked ? FIRN_EIO : FIRN_OK);
    ck_assert_int_eq(io_faults_off(), 1);
    ck_assert(!blocked || firn_flush(self.cache) == FIRN_EIO); /* that sync would not fail */
    if (reopened) {
        (void)firn_close(self.cache);
    }
    ck_assert(!blocked || rmdir(temporary) == 0);
    free(temporary);
    if (reopened) {
        self.cache = open_with(self.path, &options);
    }
    ck_assert_int_eq(firn_flush(self.cache), FIRN_OK);
    char *beside = lost_power_path(self.path);
    io_device_copy(beside);
    io_device_off();
    firn_cache *after = open_with(beside, &options);
    ck_assert(!has(after, "a"));
    ck_assert(!has(after, "b"));
    ck_assert_int_eq(firn_close(after), FIRN_OK);
    remove_tree(beside);
    end(&self);
}

START_TEST(a_clear_that_a_sync_dropped_is_written_again) {
    drop_a_clear(false, false);
    drop_a_clear(true, false);
    drop_a_clear(true, true);
}
END_TEST

START_TEST(a_clear_that_cannot_be_synced_clears_nothing_then_or_later) {
    for (unsigned round = 0; round < 2; round++) { /* the file, the folder alone */
        firn_options options = small_store();
        options.durability = FIRN_DURABILITY_COMMIT;
        bench self;
        begin_clears(&self, &options);
        if (round == 1) { /* it is to be made anew */
            char *file = join(self.path, "firn.clears");
            ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
            ck_assert_int_eq(unlink(file), 0);
            free(file);
            self.cache = open_with(self.path, &options);
        }
        char *above = strdup(self.path);
        *strrchr(above, '/') = '\0';
        io_rule rule = {.folder = self.path, .calls = IO_SYNC, .error = EIO};
        if (round == 1) {
            rule.folder = above;
            rule.name = strrchr(self.path, '/');
        }
        io_faults_on(&rule);
        ck_assert_int_eq(firn_clear(self.cache, "b", 1), FIRN_EIO);
        ck_assert_int_gt(io_faults_off(), 0);
        free(above);
        ck_assert(has(self.cache, "b"));
        reopen(&self, &options);
        ck_assert(has(self.cache, "b"));
        for (unsigned i = 0; i < 2; i++) {
            ck_assert_int_eq(firn_clear(self.cache, "b", 1), FIRN_OK);
            ck_assert(!has(self.cache, "b"));
            reopen(&self, &options);
            ck_assert(!has(self.cache, "b"));
        }
        end(&self);
    }
}
END_TEST

static uint64_t told_ms(void *context) {
    return *(const uint64_t *)context;
}

START_TEST(a_clock_that_goes_back_makes_entries_live_longer_and_harms_nothing) {
    uint64_t now_ms = 2000000000;
    firn_options options = small_store();
    options.clock = (firn_clock){told_ms, &now_ms};
    bench self;
    begin(&self, "io-clock", &options);
    firn_put_options soon = FIRN_PUT_OPTIONS_INIT;
    soon.ttl_ms = 1000;
    ck_assert_int_eq(firn_put(self.cache, "soon", 4, "v", 1, &soon), FIRN_OK);
    for (unsigned i = 0; i < SMALL; i++) {
        put(&self.model, self.cache, i);
    }
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    now_ms = 1000000000;
    use(&self.model, self.cache);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    reopen(&self, &options);
    get_all(&self.model, self.cache, true);
    ck_assert_int_eq(firn_put(self.cache, "soon", 4, "w", 1, &soon), FIRN_OK);
    ck_assert_int_eq(flush(&self.model, self.cache), FIRN_OK);
    ck_assert_int_eq(firn_contains(self.cache, "soon", 4), FIRN_OK);
    now_ms += 1000;
    ck_assert_int_eq(firn_contains(self.cache, "soon", 4), FIRN_NOT_FOUND);
    end(&self);
}
END_TEST

/* ---- threads ---- */

enum { INDEX_READERS = 2, INDEX_ENTRIES = 500, INDEX_TURNS = 60 };

typedef struct index_reader {
    firn_index *index;
    atomic_bool *stop;
    _Atomic unsigned *reads;
} index_reader;

/* Entry i is at place i or, when a commit was done, at a later one that tells i too. */
static void *read_index(void *context) {
    const index_reader *self = context;
    firn_index_reader *reader;
    ck_assert_int_eq(firn_index_reader_new(self->index, &reader), FIRN_OK);
    for (uint64_t i = 1; !atomic_load(self->stop); i = i % INDEX_ENTRIES + 1) {
        int result = firn_index_read_begin(reader);
        if (result == FIRN_OK) {
            uint64_t place;
            ck_assert_int_eq(firn_index_get(reader, i, &place), FIRN_OK);
            ck_assert_uint_eq(place % (INDEX_ENTRIES + 1), i);
            firn_index_read_end(reader);
            atomic_fetch_add(self->reads, 1);
        } else {
            ck_assert_int_eq(result, FIRN_EIO); /* for a moment it could not be opened anew */
        }
    }
    firn_index_reader_free(reader);
    return NULL;
}

static int commit_index(firn_index *index, uint64_t turn) {
    int result = firn_index_begin(index);
    if (result != FIRN_OK) {
        return result;
    }
    for (uint64_t i = 1; i <= INDEX_ENTRIES && result == FIRN_OK; i++) {
        result = firn_index_put(index, i, turn * (INDEX_ENTRIES + 1) + i);
    }
    if (result != FIRN_OK) {
        firn_index_abort(index);
        return result;
    }
    return firn_index_commit(index);
}

/* Whichever of its writes a commit fails at: after that of a head, LMDB is opened anew beneath who
 * reads. */
START_TEST(an_index_is_opened_anew_beneath_its_readers) {
    char *path = scratch_path("io-renew");
    ck_assert_int_eq(mkdir(path, 0755), 0);
    firn_heap *heap = firn_heap_new(NULL);
    firn_backend_config config = {.directory = path, .heap = heap, .create = true};
    firn_index *index;
    ck_assert_int_eq(firn_index_open(&index, &config, 16 << 20), FIRN_OK);
    ck_assert_int_eq(commit_index(index, 0), FIRN_OK);
    atomic_bool stop = false;
    _Atomic unsigned reads = 0;
    pthread_t threads[INDEX_READERS];
    index_reader reader = {index, &stop, &reads};
    for (unsigned i = 0; i < INDEX_READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_index, &reader), 0);
    }
    long failed = 0;
    for (unsigned turn = 1; turn <= INDEX_TURNS; turn++) {
        io_rule rule = {.folder = path,
                        .name = "data.mdb",
                        .calls = IO_WRITE,
                        .first = turn % 6,
                        .count = 2, /* LMDB tries to put an old head back */
                        .error = EIO};
        io_faults_on(&rule);
        int result = commit_index(index, turn);
        long now = io_faults_off();
        ck_assert_int_eq(result, now > 0 ? FIRN_EIO : FIRN_OK);
        failed += now;
        ck_assert_int_eq(commit_index(index, turn), FIRN_OK);
        unsigned before = atomic_load(&reads); /* somebody reads what is there now */
        while (atomic_load(&reads) < before + 2) {
            sched_yield();
        }
    }
    ck_assert_int_gt(failed, INDEX_TURNS / 3);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < INDEX_READERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    firn_index_close(index);
    firn_heap_unref(heap);
    remove_tree(path);
}
END_TEST

/* ---- the whole ---- */

START_TEST(without_a_fault_nothing_is_missing) {
    char *path = scratch_path("io-none");
    model *self = shared_models();
    io_rule rule = {.folder = path};
    live_in_child(self, NULL, path, &rule, FAULTS_REMAIN);
    check_what_is_left(self, path);
    verify(self, path);
    ck_assert_str_eq(self->wrong, "");
    unsigned flushed = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        flushed += self->keys[i].flushed != 0;
    }
    ck_assert_uint_gt(flushed, 5);
    munmap(self, 2 * sizeof *self);
    remove_tree(path);
}
END_TEST

START_TEST(without_a_fault_and_without_reclaim_all_is_there) {
    cold_bytes = LARGE_STORE;
    char *path = scratch_path("io-none-large");
    model *self = shared_models();
    io_rule rule = {.folder = path};
    live_in_child(self, NULL, path, &rule, FAULTS_REMAIN);
    unsigned flushed = 0;
    for (unsigned i = SMALL; i < KEYS - 1; i++) {
        flushed += self->keys[i].flushed != 0;
    }
    ck_assert_uint_eq(flushed, KEYS - 1 - SMALL);
    ck_assert_uint_eq(self->reclaimed, 0);
    check_what_is_left(self, path);
    verify(self, path);
    ck_assert_str_eq(self->wrong, "");
    munmap(self, 2 * sizeof *self);
    remove_tree(path);
    cold_bytes = FIRN_COLD_BYTES_MIN;
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, without_a_fault_nothing_is_missing);
    tcase_add_test(tcase, a_full_disk_under_the_log_is_told_and_got_over);
    tcase_add_test(tcase, a_full_disk_under_the_index_is_told_and_got_over);
    tcase_add_test(tcase, a_bad_sector_under_the_log_is_told_and_got_over);
    tcase_add_test(tcase, a_bad_sector_under_the_index_is_told_and_got_over);
    tcase_add_test(tcase, a_device_that_does_not_sync_is_told_and_got_over);
    tcase_add_test(tcase, without_a_fault_and_without_reclaim_all_is_there);
    tcase_add_test(tcase, a_flush_after_a_sync_that_failed_means_what_that_one_dropped);
    tcase_add_test(tcase, an_index_that_a_sync_dropped_is_not_believed);
    tcase_add_test(tcase, the_doubt_after_a_sync_that_failed_outlives_the_process);
    tcase_add_test(tcase, a_loss_that_a_commit_comes_upon_is_told_and_got_over);
    tcase_add_test(tcase, what_a_sync_dropped_and_cannot_be_read_is_told_once_and_missing);
    tcase_add_test(tcase, what_was_flushed_is_all_there_where_nothing_is_reclaimed);
    tcase_add_test(tcase, a_sync_that_fails_may_drop_what_was_written);
    tcase_add_test(tcase, while_the_disk_is_full_memory_serves_and_its_bound_holds);
    tcase_add_test(tcase, a_read_that_fails_is_told_and_does_not_last);
    tcase_add_test(tcase, a_log_that_is_cut_gives_misses);
    tcase_add_test(tcase, a_record_that_is_damaged_and_reclaimed_is_written_again_from_memory);
    tcase_add_test(tcase, a_segment_that_is_damaged_and_reclaimed_is_written_again_from_memory);
    tcase_add_test(tcase, a_part_of_a_segment_that_is_damaged_is_written_again_from_memory);
    tcase_add_test(tcase, an_index_that_is_cut_gives_errors_and_is_made_anew);
    tcase_add_test(tcase, a_journal_that_is_cut_is_made_anew);
    tcase_add_test(tcase, a_store_that_is_deleted_beneath_goes_on_and_does_not_come_back);
    tcase_add_test(tcase, an_index_is_opened_anew_beneath_its_readers);
    tcase_add_test(tcase, a_clear_that_a_sync_dropped_is_written_again);
    tcase_add_test(tcase, a_clear_that_cannot_be_synced_clears_nothing_then_or_later);
    tcase_add_test(tcase, a_clock_that_goes_back_makes_entries_live_longer_and_harms_nothing);
    tcase_add_test(tcase, any_write_may_find_the_disk_full);
    tcase_add_test(tcase, any_write_may_fail);
    tcase_add_test(tcase, any_write_may_be_short);
    tcase_add_test(tcase, any_read_may_fail);
    tcase_add_test(tcase, any_read_may_be_short);
    tcase_add_test(tcase, any_sync_may_fail);
    tcase_add_test(tcase, any_sync_may_find_the_disk_full);
    tcase_add_test(tcase, any_change_of_a_files_size_or_name_may_fail);
}

static void add_threads(TCase *tcase) {
    tcase_add_test(tcase, an_index_is_opened_anew_beneath_its_readers);
}

/* The tests of threads by themselves, for the thread sanitizer. */
int main(void) {
    return getenv("FIRN_THREADS_ONLY") != NULL ? run_suite("io threads", add_threads, 300)
                                               : run_suite("io", add, 300);
}
