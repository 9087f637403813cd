/* Salvaging a damaged store: what is sound is in the new one, nothing that was overwritten or
 * deleted comes back whatever is damaged, and the damaged store is left as it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "linked_store.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { KEYS = 300, CASES = 240 };

static uint64_t next(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static firn_cache *open_cache(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.cold_bytes = 8 << 20;
    options.compression_level = FIRN_COMPRESSION_OFF;
    return open_with(path, &options);
}

/* The value of a key's change: its number, the change's, and a filling that tells both. */
static size_t make_value(unsigned char *value, unsigned key, unsigned change) {
    size_t size = 8 + (key * 37 + change * 11) % 900;
    memset(value, (int)(key + change), size);
    memcpy(value, &key, sizeof key);
    memcpy(value + 4, &change, sizeof change);
    return size;
}

static void put(firn_cache *cache, unsigned key, unsigned change) {
    unsigned char value[1000];
    size_t size = make_value(value, key, change);
    ck_assert_int_eq(firn_put(cache, &key, sizeof key, value, size, NULL), FIRN_OK);
}

/* What is valid: the change of each key, 0: none. */
typedef struct truth {
    unsigned changes[KEYS];
} truth;

/* Keys that are overwritten and deleted, so that the log is full of what must not come back. */
static char *make_store(const char *name, truth *valid, unsigned rounds) {
    char *path = scratch_path(name);
    firn_cache *cache = open_cache(path);
    uint64_t seed = 17;
    *valid = (truth){{0}};
    unsigned change = 0;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            unsigned key = (unsigned)(next(&seed) % KEYS);
            if (next(&seed) % 5 == 0) {
                ck_assert_int_ge(firn_delete(cache, &key, sizeof key), 0);
                valid->changes[key] = 0;
            } else {
                put(cache, key, ++change);
                valid->changes[key] = change;
            }
        }
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    return path;
}

static unsigned count_valid(const truth *valid) {
    unsigned count = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        count += valid->changes[i] != 0;
    }
    return count;
}

static int salvage(const char *path, const char *to, bool force, firn_salvage_report *report) {
    char why[600] = "";
    firn_salvage_options options = FIRN_SALVAGE_OPTIONS_INIT;
    options.force = force;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    *report = (firn_salvage_report)FIRN_SALVAGE_REPORT_INIT;
    int result = firn_store_salvage(path, to, &options, report, NULL, NULL);
    ck_assert_msg((result == FIRN_OK) == (why[0] == '\0'), "%d: %s", result, why);
    char *partial;
    ck_assert_int_gt(asprintf(&partial, "%s.partial", to), 0);
    ck_assert_int_ne(access(partial, F_OK), 0);
    ck_assert_int_eq(access(to, F_OK) == 0, result == FIRN_OK);
    free(partial);
    return result;
}

/* Every entry of the store is the valid one. Returns how many there are. */
static unsigned check_entries(const char *path, const truth *valid) {
    unsigned char value[1000];
    firn_store *store;
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), FIRN_OK);
    firn_store_entry entry;
    unsigned count = 0;
    int result;
    while ((result = firn_store_next(store, FIRN_STORE_VALUES, &entry)) == FIRN_OK) {
        unsigned key;
        unsigned change;
        ck_assert_uint_eq(entry.key_size, sizeof key);
        memcpy(&key, entry.key, sizeof key);
        ck_assert_uint_lt(key, KEYS);
        memcpy(&change, (const char *)entry.value + 4, sizeof change);
        ck_assert_msg(change == valid->changes[key], "key %u: change %u came back after %u", key,
                      change, valid->changes[key]);
        ck_assert_uint_eq(entry.value_size, make_value(value, key, change));
        ck_assert_mem_eq(entry.value, value, entry.value_size);
        count++;
    }
    ck_assert_int_eq(result, FIRN_NOT_FOUND);
    firn_store_close(store);
    return count;
}

static void write_at(const char *path, const char *name, const void *bytes, size_t size,
                     uint64_t at) {
    char *file = join(path, name);
    int fd = open(file, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, size, (off_t)at), (ssize_t)size);
    close(fd);
    free(file);
}

static void cut(const char *path, const char *name, uint64_t size) {
    char *file = join(path, name);
    ck_assert_int_eq(truncate(file, (off_t)size), 0);
    free(file);
}

static void take_away(const char *path, const char *name) {
    char *file = join(path, name);
    ck_assert_int_eq(unlink(file), 0);
    free(file);
}

START_TEST(arguments_that_make_no_sense_are_refused) {
    truth valid;
    char *path = make_store("salvage-arguments", &valid, 1);
    char *to = scratch_path("salvage-to");
    firn_salvage_report report = FIRN_SALVAGE_REPORT_INIT;
    firn_salvage_options options = FIRN_SALVAGE_OPTIONS_INIT;
    ck_assert_int_eq(firn_store_salvage(NULL, to, NULL, &report, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_salvage(path, NULL, NULL, &report, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_salvage(path, "", NULL, &report, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_salvage(path, to, NULL, NULL, NULL, NULL), FIRN_EINVAL);
    options.cold_bytes = 5;
    ck_assert_int_eq(firn_store_salvage(path, to, &options, &report, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_salvage(path, path, NULL, &report, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_salvage(to, path, NULL, &report, NULL, NULL), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_salvage("/", to, NULL, &report, NULL, NULL), FIRN_ENOTSTORE);
    char *below = join(path, "new");
    ck_assert_int_eq(firn_store_salvage(path, below, NULL, &report, NULL, NULL), FIRN_EINVAL);
    free(below);
    ck_assert_int_ne(access(to, F_OK), 0);
    free(to);
    remove_tree(path);
}
END_TEST

START_TEST(all_of_a_sound_store_is_salvaged) {
    truth valid;
    char *path = make_store("salvage-sound", &valid, 8);
    char *to = scratch_path("salvage-to");
    firn_salvage_report report;
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, count_valid(&valid));
    ck_assert_uint_eq(report.damaged + report.given_up + report.refused + report.expired, 0);
    ck_assert_uint_eq(report.index_damaged + report.journal_damaged, 0);
    ck_assert_uint_eq(check_entries(to, &valid), count_valid(&valid));
    remove_tree(to);
    remove_tree(path);
}
END_TEST

START_TEST(without_an_index_the_log_tells_what_is_valid) {
    truth valid;
    char *path = make_store("salvage-log", &valid, 60);
    char *to = scratch_path("salvage-to");
    firn_salvage_report report;
    uint64_t size = file_size(path, "data.mdb");
    for (unsigned round = 0; round < 4; round++) {
        static const char junk[4096] = "junk";
        if (round == 0) {
            write_at(path, "data.mdb", junk, sizeof junk, size / 2 / 4096 * 4096);
            write_at(path, "data.mdb", junk, sizeof junk, 0);
        } else if (round == 1) {
            cut(path, "data.mdb", 5000);
        } else if (round == 2) {
            cut(path, "data.mdb", 0);
        } else {
            take_away(path, "data.mdb");
        }
        ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
        ck_assert_uint_ne(report.index_damaged, 0);
        ck_assert_uint_eq(report.damaged + report.given_up, 0);
        ck_assert_uint_eq(report.salvaged, count_valid(&valid));
        ck_assert_uint_eq(check_entries(to, &valid), count_valid(&valid));
        clear_tree(to);
    }
    free(to);
    remove_tree(path);
}
END_TEST

START_TEST(a_store_without_an_index_can_be_looked_into) {
    truth valid;
    char *path = make_store("salvage-look", &valid, 20);
    take_away(path, "data.mdb");
    firn_store *store;
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.entries, count_valid(&valid));
    firn_store_entry entry;
    for (unsigned key = 0; key < KEYS; key++) {
        int wanted = valid.changes[key] != 0 ? FIRN_OK : FIRN_NOT_FOUND;
        ck_assert_int_eq(firn_store_get(store, &key, sizeof key, &entry), wanted);
    }
    unsigned count = 0;
    while (firn_store_next(store, 0, &entry) == FIRN_OK) {
        count++;
    }
    ck_assert_uint_eq(count, count_valid(&valid));
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), FIRN_ECORRUPT);
    firn_store_close(store);
    char *data = join(path, "data.mdb");
    ck_assert_int_ne(access(data, F_OK), 0);
    free(data);
    remove_tree(path);
}
END_TEST

static void damage_log(const char *path, uint64_t *seed, unsigned kind) {
    uint64_t size = file_size(path, "firn.log");
    unsigned char bytes[3000];
    if (kind % 6 == 5) {
        cut(path, "firn.log", 4096 + next(seed) % (size - 4096));
        return;
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = kind % 2 == 0 ? 0 : (unsigned char)next(seed);
    }
    size_t count = kind % 3 == 0 ? 1 + next(seed) % 8 : 1 + next(seed) % sizeof bytes;
    uint64_t at = 4096 + next(seed) % (size - 4096 - count);
    write_at(path, "firn.log", bytes, count, at);
}

/* Random damage in the log, with and without an index, and with and without what the log's header
 * tells of its end. */
START_TEST(nothing_stale_comes_back_whatever_is_damaged) {
    truth valid;
    char *path = make_store("salvage-random", &valid, 30);
    char *copy = scratch_path("salvage-copy");
    char *to = scratch_path("salvage-to");
    uint64_t seed = 5;
    unsigned most = 0;
    for (unsigned i = 0; i < CASES; i++) {
        copy_store(path, copy);
        damage_log(copy, &seed, i);
        bool has_index = i % 4 == 0;
        if (!has_index) {
            take_away(copy, "data.mdb");
        }
        if (i % 4 == 1) {
            write_at(copy, "firn.log", "some other words in place", 24, 64);
        }
        firn_salvage_report report;
        int result = salvage(copy, to, false, &report);
        ck_assert_msg(result == FIRN_OK, "case %u: %d", i, result);
        unsigned count = check_entries(to, &valid);
        ck_assert_uint_eq(count, report.salvaged);
        most = count > most ? count : most;
        clear_tree(to);
    }
    ck_assert_uint_gt(most, 0);
    clear_tree(copy);
    free(copy);
    free(to);
    remove_tree(path);
}
END_TEST

/* The same for a writer, which makes the index anew. */
START_TEST(a_writer_brings_nothing_stale_back_either) {
    truth valid;
    char *path = make_store("salvage-writer", &valid, 30);
    char *copy = scratch_path("salvage-copy");
    uint64_t seed = 6;
    for (unsigned i = 0; i < CASES; i++) {
        copy_store(path, copy);
        damage_log(copy, &seed, i);
        take_away(copy, "data.mdb");
        firn_options options = FIRN_OPTIONS_INIT;
        options.threads = 0;
        options.cold_bytes = 8 << 20;
        firn_cache *cache;
        ck_assert_int_eq(firn_open(&cache, copy, &options), FIRN_OK);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        check_entries(copy, &valid);
    }
    clear_tree(copy);
    free(copy);
    remove_tree(path);
}
END_TEST

START_TEST(a_damaged_record_costs_no_other_while_the_index_is_sound) {
    truth valid;
    char *path = make_store("salvage-record", &valid, 1);
    char *to = scratch_path("salvage-to");
    firn_cache *cache = open_cache(path);
    ck_assert_int_eq(firn_put(cache, "victim", 6, "a Q8z! tell-tale", 16, NULL), FIRN_OK);
    put(cache, 0, 77777);
    valid.changes[0] = 77777;
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    uint64_t size = file_size(path, "firn.log");
    char *file = join(path, "firn.log");
    char *bytes = malloc(size);
    int fd = open(file, O_RDONLY);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(pread(fd, bytes, size, 0), (ssize_t)size);
    char *found = memmem(bytes, size, "tell-tale", 9);
    ck_assert_ptr_nonnull(found);
    write_at(path, "firn.log", "T", 1, (uint64_t)(found - bytes));
    close(fd);
    free(bytes);
    free(file);
    firn_salvage_report report;
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    ck_assert_uint_eq(report.damaged, 1);
    ck_assert_uint_eq(report.given_up, 0);
    ck_assert_uint_eq(check_entries(to, &valid), count_valid(&valid));
    clear_tree(to);
    /* Without the index it may have been anything: what came before is given up. */
    take_away(path, "data.mdb");
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    ck_assert_uint_eq(report.damaged, 1);
    ck_assert_uint_gt(report.given_up, 0);
    ck_assert_uint_lt(report.salvaged, count_valid(&valid));
    check_entries(to, &valid);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

/* Overwrites and deletes what is in the store, and dies before it is written there. */
static void invalidate(const char *path) {
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        firn_cache *cache = open_cache(path);
        for (unsigned key = 0; key < KEYS / 2; key++) {
            if (key % 2 == 0) {
                put(cache, key, 99999);
            } else if (firn_delete(cache, &key, sizeof key) < 0) {
                _exit(1);
            }
        }
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

/* Whatever the byte was, it is another. */
static void damage(const char *path, const char *name, off_t offset) {
    char *file = join(path, name);
    int fd = open(file, O_RDWR);
    ck_assert_int_ge(fd, 0);
    change_byte(fd, offset, 0xff);
    close(fd);
    free(file);
}

START_TEST(what_the_journal_voids_is_not_salvaged_and_without_it_nothing_is) {
    truth valid;
    char *path = make_store("salvage-void", &valid, 8);
    char *to = scratch_path("salvage-to");
    unsigned before = count_valid(&valid);
    invalidate(path);
    for (unsigned key = 0; key < KEYS / 2; key++) {
        valid.changes[key] = 0;
    }
    firn_salvage_report report;
    for (unsigned round = 0; round < 2; round++) { /* with and without an index */
        ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
        ck_assert_uint_eq(check_entries(to, &valid), count_valid(&valid));
        clear_tree(to);
        if (round == 0) {
            take_away(path, "data.mdb");
        }
    }
    for (unsigned round = 0; round < 4; round++) {
        if (round == 0) {
            damage(path, "firn.journal", 4096 + 16 * 30000 + 8); /* a line */
        } else if (round == 1) {
            damage(path, "firn.journal", 17); /* its header */
        } else if (round == 2) {
            cut(path, "firn.journal", 9000);
        } else {
            take_away(path, "firn.journal");
        }
        ck_assert_int_eq(salvage(path, to, false, &report), FIRN_ECORRUPT);
        ck_assert_uint_ne(report.journal_damaged, 0);
        ck_assert_uint_eq(report.salvaged, 0);
        ck_assert_int_eq(salvage(path, to, true, &report), FIRN_OK);
        ck_assert_uint_ne(report.journal_damaged, 0);
        /* The other lines still hold as long as they can be read. */
        ck_assert_uint_eq(report.salvaged, round == 0 ? count_valid(&valid) : before);
        clear_tree(to);
    }
    free(to);
    remove_tree(path);
}
END_TEST

/* Writes something more, and dies before the index knows of it. */
static void write_and_die(const char *path) {
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        firn_cache *cache = open_cache(path);
        for (unsigned key = 0; key < 20; key++) {
            put(cache, key, 88888);
        }
        _exit(firn_flush(cache) == FIRN_OK ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(a_log_that_is_damaged_where_the_index_does_not_know_it_is_told) {
    truth valid;
    char *path = make_store("salvage-end", &valid, 4);
    char *to = scratch_path("salvage-to");
    uint64_t before = file_size(path, "firn.log");
    write_and_die(path);
    uint64_t after = file_size(path, "firn.log");
    ck_assert_uint_gt(after, before);
    write_at(path, "firn.log", "damage", 6, before + 100);
    firn_store *store;
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), FIRN_ECORRUPT);
    ck_assert_uint_gt(report.records_damaged, 0);
    ck_assert_uint_eq(report.pages_damaged, 0);
    firn_store_close(store);
    for (unsigned key = 0; key < 20; key++) {
        valid.changes[key] = 88888;
    }
    firn_salvage_report salvaged;
    ck_assert_int_eq(salvage(path, to, false, &salvaged), FIRN_OK);
    ck_assert_uint_gt(salvaged.given_up, 0);
    ck_assert_uint_le(check_entries(to, &valid), 20);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

/* A clock that stands still, long ago: what lives for a moment by it has expired for all others. */
static uint64_t long_ago(void *context) {
    (void)context;
    return UINT64_C(1000000000000);
}

START_TEST(expiry_and_versions_are_kept) {
    char *path = scratch_path("salvage-expiry");
    char *to = scratch_path("salvage-to");
    firn_options cache_options = FIRN_OPTIONS_INIT;
    cache_options.threads = 0;
    cache_options.clock.now_ms = long_ago;
    firn_cache *cache = open_with(path, &cache_options);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = 1;
    ck_assert_int_eq(firn_put(cache, "short", 5, "v", 1, &options), FIRN_OK);
    options.ttl_ms = UINT64_C(100000000000000);
    ck_assert_int_eq(firn_put(cache, "long", 4, "value", 5, &options), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "empty", 5, "", 0, NULL), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_salvage_report report;
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, 2);
    ck_assert_uint_eq(report.expired, 1);
    ck_assert_uint_eq(report.value_bytes, 5);
    firn_store *old_store;
    firn_store *new_store;
    ck_assert_int_eq(firn_store_open(&old_store, path, NULL, 0), FIRN_OK);
    ck_assert_int_eq(firn_store_open(&new_store, to, NULL, 0), FIRN_OK);
    firn_store_entry was;
    firn_store_entry is;
    ck_assert_int_eq(firn_store_get(old_store, "long", 4, &was), FIRN_OK);
    ck_assert_int_eq(firn_store_get(new_store, "long", 4, &is), FIRN_OK);
    ck_assert_uint_eq(was.expires_ms, is.expires_ms);
    ck_assert_uint_ne(is.expires_ms, 0);
    ck_assert_uint_eq(was.version, is.version);
    ck_assert_int_eq(firn_store_get(new_store, "empty", 5, &is), FIRN_OK);
    ck_assert_uint_eq(is.value_size + is.expires_ms, 0);
    firn_store_info old_info = FIRN_STORE_INFO_INIT;
    firn_store_info new_info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_get_info(old_store, &old_info), FIRN_OK);
    ck_assert_int_eq(firn_store_get_info(new_store, &new_info), FIRN_OK);
    ck_assert_uint_ge(new_info.version_next, old_info.version_next);
    ck_assert_uint_eq(new_info.budget_bytes, old_info.budget_bytes);
    firn_store_close(old_store);
    firn_store_close(new_store);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

/* What FIRN_LINKS_FILE says; FIRN_NOT_FOUND: there is none. */
static int links_state(const char *path) {
    firn_store *store;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_links_state state;
    firn_heap *heap = firn_heap_new(NULL);
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    firn_store_close(store);
    int result = firn_links_file_read_state(path, info.store_id, &state, heap);
    firn_heap_unref(heap);
    return result == FIRN_OK ? (int)state : result;
}

static void check_linked(const char *path) {
    firn_store *store;
    firn_store_entry entry;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_store_type type = FIRN_STORE_TYPE_INIT;
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    for (unsigned i = 0; i < LINKED_ENTRIES; i++) {
        ck_assert_int_eq(firn_store_next(store, FIRN_STORE_VALUES, &entry), FIRN_OK);
        ck_assert_msg(is_linked_entry(&entry, &linked_entries[i], true), "%s",
                      linked_entries[i].key);
    }
    ck_assert_int_eq(firn_store_next(store, FIRN_STORE_VALUES, &entry), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.types, 3);
    ck_assert_int_eq(firn_store_get_type(store, 1, &type), FIRN_OK);
    ck_assert_str_eq(type.name, "idle");
    firn_store_close(store);
}

START_TEST(types_links_and_owners_are_kept) {
    char *path = scratch_path("salvage-linked");
    char *to = scratch_path("salvage-to");
    char *without = scratch_path("salvage-without");
    firn_salvage_report report;
    ck_assert_int_eq(make_linked_store(path), FIRN_OK);
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, LINKED_ENTRIES);
    check_linked(to);
    ck_assert_int_eq(links_state(to), FIRN_LINKS_DIRTY);

    take_away(path, "data.mdb");
    take_away(path, FIRN_LINKS_FILE);
    ck_assert_int_eq(salvage(path, without, false, &report), FIRN_OK);
    check_linked(without);
    ck_assert_int_eq(links_state(without), FIRN_LINKS_DIRTY);
    remove_tree(without);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

static uint64_t find_body(const char *path) {
    firn_store *store;
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    while (entry.body == 0) {
        ck_assert_int_eq(firn_store_next(store, 0, &entry), FIRN_OK);
    }
    firn_store_close(store);
    return entry.hash;
}

START_TEST(shared_values_are_kept_and_what_lost_its_value_is_left_out) {
    char *path = scratch_path("salvage-interned");
    char *to = scratch_path("salvage-to");
    char *without = scratch_path("salvage-without");
    firn_salvage_report report;
    firn_object *object;
    ck_assert_int_eq(make_interned_store(path), FIRN_OK);
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, INTERNED_ENTRIES + 1);
    ck_assert_uint_eq(report.value_bytes, INTERNED_SIZE + 7);
    firn_cache *cache = open_cache(to);
    ck_assert_int_eq(firn_get(cache, "twin 1", 6, &object), FIRN_OK);
    ck_assert_uint_eq(firn_object_size(object), INTERNED_SIZE);
    firn_object_unref(object);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);

    ck_assert_int_eq(remove_record(path, find_body(path)), FIRN_OK);
    ck_assert_int_eq(salvage(path, without, false, &report), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, 1);
    ck_assert_uint_eq(report.incomplete, INTERNED_ENTRIES);
    remove_tree(without);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

START_TEST(without_types_and_links_there_are_no_files_of_them) {
    truth valid;
    char *path = make_store("salvage-plain", &valid, 1);
    char *to = scratch_path("salvage-to");
    char *types = join(to, FIRN_TYPE_NAMES_FILE);
    firn_salvage_report report;
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    ck_assert_int_eq(links_state(to), FIRN_NOT_FOUND);
    ck_assert_int_ne(access(types, F_OK), 0);
    free(types);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

START_TEST(values_of_any_size_are_salvaged) {
    char *path = scratch_path("salvage-large");
    char *to = scratch_path("salvage-to");
    size_t size = 3 << 20;
    unsigned char *value = malloc(size);
    ck_assert_ptr_nonnull(value);
    uint64_t seed = 3;
    for (size_t i = 0; i < size; i++) {
        value[i] = (unsigned char)next(&seed); /* nothing to compress */
    }
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.cold_bytes = 16 << 20;
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(firn_put(cache, "large", 5, value, size, NULL), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "small", 5, value, 100, NULL), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    for (unsigned round = 0; round < 2; round++) {
        firn_salvage_report report;
        ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
        ck_assert_uint_eq(report.salvaged, 2);
        ck_assert_uint_eq(report.value_bytes, size + 100);
        firn_store *store;
        firn_store_entry entry;
        ck_assert_int_eq(firn_store_open(&store, to, NULL, 0), FIRN_OK);
        ck_assert_int_eq(firn_store_get(store, "large", 5, &entry), FIRN_OK);
        ck_assert_uint_eq(entry.value_size, size);
        ck_assert_mem_eq(entry.value, value, size);
        firn_store_close(store);
        clear_tree(to);
        if (round == 0) {
            take_away(path, "data.mdb");
        }
    }
    /* A budget that it does not fit into: the rest is there. */
    firn_salvage_options small = FIRN_SALVAGE_OPTIONS_INIT;
    small.cold_bytes = 4 << 20;
    firn_salvage_report report = FIRN_SALVAGE_REPORT_INIT;
    ck_assert_int_eq(firn_store_salvage(path, to, &small, &report, NULL, NULL), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, 1);
    ck_assert_uint_eq(report.refused, 1);
    free(value);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

static int stop(void *context, const char *finding, uint64_t done, uint64_t total) {
    (void)context;
    (void)finding;
    ck_assert_uint_le(done, total);
    return 1;
}

START_TEST(the_callback_may_stop_it_and_nothing_is_left_behind) {
    truth valid;
    char *path = make_store("salvage-stop", &valid, 8);
    char *to = scratch_path("salvage-to");
    firn_salvage_report report = FIRN_SALVAGE_REPORT_INIT;
    ck_assert_int_eq(firn_store_salvage(path, to, NULL, &report, stop, NULL), FIRN_AGAIN);
    ck_assert_int_ne(access(to, F_OK), 0);
    ck_assert_int_eq(salvage(path, to, false, &report), FIRN_OK);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, arguments_that_make_no_sense_are_refused);
    tcase_add_test(tcase, all_of_a_sound_store_is_salvaged);
    tcase_add_test(tcase, without_an_index_the_log_tells_what_is_valid);
    tcase_add_test(tcase, a_store_without_an_index_can_be_looked_into);
    tcase_add_test(tcase, nothing_stale_comes_back_whatever_is_damaged);
    tcase_add_test(tcase, a_writer_brings_nothing_stale_back_either);
    tcase_add_test(tcase, a_damaged_record_costs_no_other_while_the_index_is_sound);
    tcase_add_test(tcase, what_the_journal_voids_is_not_salvaged_and_without_it_nothing_is);
    tcase_add_test(tcase, a_log_that_is_damaged_where_the_index_does_not_know_it_is_told);
    tcase_add_test(tcase, expiry_and_versions_are_kept);
    tcase_add_test(tcase, types_links_and_owners_are_kept);
    tcase_add_test(tcase, shared_values_are_kept_and_what_lost_its_value_is_left_out);
    tcase_add_test(tcase, without_types_and_links_there_are_no_files_of_them);
    tcase_add_test(tcase, values_of_any_size_are_salvaged);
    tcase_add_test(tcase, the_callback_may_stop_it_and_nothing_is_left_behind);
}

int main(void) {
    return run_suite("salvage", add, 300);
}
