/* Damaged stores: whatever byte is changed, wherever a file is cut, nothing crashes; a value that
 * comes back is the one that was put; verification tells. Each case runs in a child, so that a
 * crash is seen as one. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>

#include <firn/firn.h>

#include "unit/suite.h"
#include "unit/support.h"

enum { ENTRIES = 400, CASES = 150 };

static uint64_t next(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static size_t make_value(unsigned char *value, unsigned key) {
    size_t size = 10 + key * 37 % 9000;
    for (size_t i = 0; i < size; i++) {
        value[i] = (unsigned char)(key + i / 50);
    }
    return size;
}

static void make_store(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.cold_bytes = 8 << 20;
    firn_cache *cache = open_with(path, &options);
    unsigned char value[10000];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            size_t size = make_value(value, i);
            ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, size, NULL), FIRN_OK);
            if (i % 5 == 0 && round == 0) {
                ck_assert_int_eq(firn_delete(cache, &i, sizeof i), FIRN_OK);
            }
        }
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}

/* Uses the store in every way. Returns 0, or 9 for a wrong value. */
static int use(const char *path, bool set_aside) {
    unsigned char value[10000];
    firn_store *store;
    if (firn_store_open(&store, path, NULL, 0) == FIRN_OK) {
        firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
        int verified = firn_store_verify(store, &report, NULL, NULL);
        if (verified == FIRN_OK && report.records_damaged > 0) {
            return 7;
        }
        firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
        while (firn_store_next(store, FIRN_STORE_VALUES, &entry) == FIRN_OK) {
            if (!entry.damaged && entry.key_size == sizeof(unsigned)) {
                unsigned key;
                memcpy(&key, entry.key, sizeof key);
                if (entry.value_size != make_value(value, key) ||
                    memcmp(entry.value, value, entry.value_size) != 0) {
                    return 9;
                }
            }
        }
        firn_store_info info = FIRN_STORE_INFO_INIT;
        if (firn_store_get_info(store, &info) == FIRN_OK && info.store_id == 0) {
            return 7;
        }
        firn_store_close(store);
    }
    firn_options options = FIRN_OPTIONS_INIT;
    options.cold_bytes = 8 << 20;
    options.set_aside_damaged = set_aside;
    firn_cache *cache;
    if (firn_open(&cache, path, &options) != FIRN_OK) {
        return set_aside ? 8 : 0;
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        firn_object *object;
        size_t size = make_value(value, i);
        if (firn_get(cache, &i, sizeof i, &object) == FIRN_OK) {
            bool same = firn_object_size(object) == size &&
                        memcmp(firn_object_data(object), value, size) == 0;
            firn_object_unref(object);
            if (!same) {
                return 9;
            }
        }
        int result = i % 3 == 0 ? firn_put(cache, &i, sizeof i, value, size, NULL) : FIRN_OK;
        if (result == FIRN_EINVAL) {
            return 7;
        }
    }
    (void)firn_close(cache);
    return 0;
}

static void use_in_child(const char *path, bool set_aside, const char *what, unsigned number) {
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        _exit(use(path, set_aside));
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "%s, case %u: killed by signal %d", what, number,
                  WTERMSIG(status));
    ck_assert_msg(WEXITSTATUS(status) != 9, "%s, case %u: a wrong value", what, number);
    ck_assert_msg(WEXITSTATUS(status) == 0, "%s, case %u: exit %d", what, number,
                  WEXITSTATUS(status));
}

static void damage(const char *path, const char *name, uint64_t *seed, unsigned kind) {
    char *file = join(path, name);
    uint64_t size = file_size(path, name);
    uint64_t at = kind % 2 == 0 ? next(seed) % size : next(seed) % (size / 4096 + 1) * 4096 % size;
    if (kind % 5 == 4) {
        ck_assert_int_eq(truncate(file, (off_t)at), 0);
    } else {
        int fd = open(file, O_RDWR);
        unsigned char bytes[64];
        size_t count = kind % 5 == 0 ? 1 : 1 + next(seed) % sizeof bytes;
        ck_assert_int_ge((int)pread(fd, bytes, count, (off_t)at), 1);
        for (size_t i = 0; i < count; i++) {
            bytes[i] =
                (unsigned char)(kind % 5 == 0 ? bytes[i] ^ (1u << (next(seed) % 8)) : next(seed));
        }
        ck_assert_int_eq((int)pwrite(fd, bytes, count, (off_t)at), (int)count);
        close(fd);
    }
    free(file);
}

static void damage_each(const char *name, const char *scratch) {
    char *sound = scratch_path(scratch);
    make_store(sound);
    char copy[400];
    char aside[420];
    snprintf(copy, sizeof copy, "%s-copy", sound);
    snprintf(aside, sizeof aside, "%s.damaged", copy);
    uint64_t seed = 99;
    for (unsigned i = 0; i < CASES; i++) {
        copy_store(sound, copy);
        damage(copy, name, &seed, i);
        use_in_child(copy, i % 2 == 1, name, i);
    }
    clear_tree(copy);
    clear_tree(aside);
    remove_tree(sound);
}

START_TEST(a_damaged_data_file_never_crashes_nor_lies) {
    damage_each("data.mdb", "damage-data");
}
END_TEST

START_TEST(a_damaged_journal_never_crashes_nor_lies) {
    damage_each("firn.journal", "damage-journal");
}
END_TEST

START_TEST(a_damaged_warm_list_never_crashes_nor_lies) {
    damage_each("firn.hot", "damage-hot");
}
END_TEST

START_TEST(another_version_is_told_apart) {
    char *path = scratch_path("version");
    make_store(path);
    char *journal = join(path, "firn.journal");
    int fd = open(journal, O_RDWR);
    uint32_t swapped = 0x04030201;
    ck_assert_int_eq((int)pwrite(fd, &swapped, sizeof swapped, 12), 4);
    close(fd);
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, path, NULL), FIRN_EVERSION);
    firn_store *store;
    char why[300] = "";
    ck_assert_int_eq(firn_store_open(&store, path, why, sizeof why), FIRN_EVERSION);
    ck_assert_uint_gt(strlen(why), 0);
    free(journal);
    remove_tree(path);
}
END_TEST

START_TEST(a_second_writer_is_refused_at_once_and_readers_work_beside) {
    char *path = scratch_path("writers");
    firn_cache *cache = open_with(path, &(firn_options)FIRN_OPTIONS_INIT);
    ck_assert_int_eq(firn_put(cache, "k", 1, "v", 1, NULL), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* A process of its own: the child does not touch the parent's handle. */
        firn_cache *other;
        char why[300] = "";
        firn_options options = FIRN_OPTIONS_INIT;
        options.error_buffer = why;
        options.error_buffer_size = sizeof why;
        if (firn_open(&other, path, &options) != FIRN_EBUSY || strstr(why, "process") == NULL) {
            fprintf(stderr, "second writer: %s\n", why);
            _exit(1);
        }
        options.read_only = 1;
        char value[4];
        if (firn_open(&other, path, &options) != FIRN_OK ||
            firn_get_copy(other, "k", 1, value, sizeof value, NULL) != FIRN_OK ||
            firn_close(other) != FIRN_OK) {
            _exit(2);
        }
        firn_store *store;
        firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
        if (firn_store_open(&store, path, why, sizeof why) != FIRN_OK ||
            firn_store_verify(store, &report, NULL, NULL) != FIRN_OK || !report.writer_active) {
            _exit(3);
        }
        firn_store_close(store);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* As somebody who may read the store and no more; root itself may write everywhere. */
static int use_as_nobody(const char *path) {
    if (geteuid() == 0 && setuid(65534) != 0) {
        return 1;
    }
    char why[300] = "";
    firn_options options = FIRN_OPTIONS_INIT;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    firn_cache *cache;
    if (firn_open(&cache, path, &options) != FIRN_EREADONLY || strstr(why, "permissions") == NULL) {
        return 2;
    }
    char *below = join(path, "new");
    int result = firn_open(&cache, below, &options);
    free(below);
    return result == FIRN_EREADONLY ? 0 : 3;
}

START_TEST(a_folder_that_may_not_be_written_to_says_read_only) {
    char *path = scratch_path("readonly-folder");
    make_store(path);
    char command[500];
    snprintf(command, sizeof command, "chmod -R a-w,a+rX '%s'", path);
    ck_assert_int_eq(system(command), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        _exit(use_as_nobody(path));
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    snprintf(command, sizeof command, "chmod -R u+w '%s'", path);
    ck_assert_int_eq(system(command), 0);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, a_damaged_data_file_never_crashes_nor_lies);
    tcase_add_test(tcase, a_damaged_journal_never_crashes_nor_lies);
    tcase_add_test(tcase, a_damaged_warm_list_never_crashes_nor_lies);
    tcase_add_test(tcase, another_version_is_told_apart);
    tcase_add_test(tcase, a_second_writer_is_refused_at_once_and_readers_work_beside);
    tcase_add_test(tcase, a_folder_that_may_not_be_written_to_says_read_only);
}

int main(void) {
    return run_suite("damage", add, 300);
}
