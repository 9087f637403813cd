/* The invalidation journal and the lock: entries survive, damage shows, rings turn. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "cold/journal.h"
#include "cold/lock.h"
#include "suite.h"
#include "support.h"

enum { STORE_ID = 4711 };

static char *path;
static firn_heap *heap;
static firn_journal *journal;

static void reopen(void) {
    firn_journal_close(journal);
    ck_assert_int_eq(firn_journal_open(&journal, path, true, heap, NULL), FIRN_OK);
}

static void set_up(void) {
    path = scratch_path("journal");
    ck_assert_int_eq(mkdir(path, 0755), 0);
    heap = firn_heap_new(NULL);
    ck_assert_int_eq(firn_journal_create(path, STORE_ID, heap, NULL), FIRN_OK);
    ck_assert_int_eq(firn_journal_open(&journal, path, true, heap, NULL), FIRN_OK);
}

static void tear_down(void) {
    firn_journal_close(journal);
    journal = NULL;
    firn_heap_unref(heap);
    remove_tree(path);
}

static firn_journal_scan scan(void) {
    firn_journal_scan found;
    firn_journal_scan_all(journal, &found, NULL, NULL);
    return found;
}

static void spoil(off_t offset, const void *bytes, size_t size) {
    char *file = join(path, FIRN_JOURNAL_FILE);
    int fd = open(file, O_WRONLY);
    ck_assert_int_eq((int)pwrite(fd, bytes, size, offset), (int)size);
    close(fd);
    free(file);
}

START_TEST(a_new_journal_is_empty_and_being_made) {
    firn_journal_header header;
    firn_journal_get_header(journal, &header);
    ck_assert_uint_eq(header.store_id, STORE_ID);
    ck_assert_uint_eq(header.state, FIRN_JOURNAL_CREATING);
    ck_assert(!header.clean);
    ck_assert(firn_journal_is_unfinished(path, false, heap));
    ck_assert_uint_eq(file_size(path, FIRN_JOURNAL_FILE), FIRN_JOURNAL_FILE_SIZE);
    ck_assert_uint_eq(firn_journal_room(journal), FIRN_JOURNAL_SLOTS);
    firn_journal_set_state(journal, FIRN_JOURNAL_READY);
    ck_assert(!firn_journal_is_unfinished(path, false, heap));
}
END_TEST

START_TEST(the_header_keeps_what_it_is_told) {
    firn_fingerprint fingerprint = {4096, 1234567890123, 42};
    firn_journal_set_dirty(journal, 2);
    firn_journal_set_fingerprint(journal, &fingerprint);
    firn_journal_set_clean(journal);
    ck_assert_int_eq(firn_journal_sync(journal), FIRN_OK);
    reopen();
    firn_journal_header header;
    firn_journal_get_header(journal, &header);
    ck_assert(header.clean);
    ck_assert_uint_eq(header.durability, 2);
    ck_assert_uint_eq(header.fingerprint.file_bytes, 4096);
    ck_assert_uint_eq(header.fingerprint.mtime_ns, 1234567890123);
    ck_assert_uint_eq(header.fingerprint.transaction, 42);
}
END_TEST

START_TEST(entries_outlive_the_handle_and_are_forgotten_when_released) {
    for (uint64_t i = 1; i <= 100; i++) {
        ck_assert_int_eq(firn_journal_append(journal, i * 1000, i), FIRN_OK);
    }
    reopen();
    ck_assert_uint_eq(scan().entries, 100);
    ck_assert_uint_eq(scan().version_max, 100);
    ck_assert(firn_journal_voids(journal, 5000, 4));
    ck_assert(!firn_journal_voids(journal, 5000, 5));
    ck_assert(!firn_journal_voids(journal, 5001, 1));
}
END_TEST

static void append(uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        ck_assert_int_eq(firn_journal_append(journal, i, i), FIRN_OK);
    }
}

static void count_entry(void *context, const firn_journal_entry *entry) {
    uint64_t *count = context;
    ck_assert_uint_ne(entry->version, 0);
    ++*count;
}

/* The entries after it are `from` up to `to`; of a full ring it cannot be told where it began. */
static void expect_adopted(uint64_t from, uint64_t to) {
    uint64_t begin;
    uint64_t end;
    uint64_t adopted = 0;
    reopen();
    firn_journal_adopt(journal, count_entry, &adopted);
    ck_assert_uint_eq(adopted, to - from);
    firn_journal_range(journal, &begin, &end);
    ck_assert_uint_eq(end - begin, to - from);
    ck_assert_uint_eq(firn_journal_room(journal), FIRN_JOURNAL_SLOTS - (to - from));
    uint64_t first = from < to ? firn_journal_at(journal, begin).hash : from;
    ck_assert(first == from || to - from == FIRN_JOURNAL_SLOTS);
    for (uint64_t i = 0; i < to - from; i++, begin++) {
        uint64_t wanted = from + (first - from + i) % (to - from);
        ck_assert_uint_eq(firn_journal_at(journal, begin).hash, wanted);
        ck_assert_uint_eq(firn_journal_at(journal, begin).version, wanted);
    }
}

START_TEST(what_was_left_is_found_wherever_the_ring_stood) {
    static const uint64_t counts[] = {0, 1, 255, 40000, FIRN_JOURNAL_SLOTS - 1, FIRN_JOURNAL_SLOTS};
    uint64_t next = 1;
    for (size_t i = 0; i < 3 * sizeof counts / sizeof counts[0]; i++) {
        uint64_t count = counts[i % (sizeof counts / sizeof counts[0])];
        append(next, next + count);
        expect_adopted(next, next + count);
        next += count;
        uint64_t begin;
        uint64_t end;
        firn_journal_range(journal, &begin, &end);
        firn_journal_release(journal, end);
        ck_assert_uint_eq(scan().entries, 0);
        append(next, next + 10007); /* so that the ring stands elsewhere the next time */
        firn_journal_range(journal, &begin, &end);
        firn_journal_release(journal, end);
        next += 10007;
    }
}
END_TEST

START_TEST(a_slot_that_was_claimed_and_not_filled_voids_nothing) {
    append(1, 6);
    unsigned char nothing[16] = {0};
    uint64_t hash_only[2] = {99, 0};
    spoil(FIRN_JOURNAL_HEADER_SIZE + 16, nothing, sizeof nothing);
    spoil(FIRN_JOURNAL_HEADER_SIZE + 48, hash_only, sizeof hash_only);
    reopen();
    uint64_t adopted = 0;
    firn_journal_adopt(journal, count_entry, &adopted);
    ck_assert_uint_eq(adopted, 5);
    uint64_t begin;
    uint64_t end;
    firn_journal_range(journal, &begin, &end);
    ck_assert_uint_eq(end - begin, 5);
    ck_assert_uint_eq(firn_journal_at(journal, begin).version, 1);
    ck_assert_uint_eq(firn_journal_at(journal, begin + 1).hash, 0);
    ck_assert_uint_eq(firn_journal_at(journal, begin + 2).version, 3);
    ck_assert_uint_eq(firn_journal_at(journal, begin + 3).hash, 0);
    ck_assert_uint_eq(scan().damaged, 0);
    ck_assert(!firn_journal_voids(journal, 0, 1));
    ck_assert(!firn_journal_voids(journal, 99, 0));
    append(6, 7);
    firn_journal_release(journal, end + 1);
    ck_assert_uint_eq(scan().entries, 0);
}
END_TEST

START_TEST(the_ring_turns_and_keeps_its_order) {
    uint64_t next = 1;
    uint64_t seen = 1;
    for (int round = 0; round < 7; round++) {
        size_t room = firn_journal_room(journal);
        for (size_t i = 0; i < room - 100; i++, next++) {
            ck_assert_int_eq(firn_journal_append(journal, next, next), FIRN_OK);
        }
        uint64_t begin;
        uint64_t end;
        firn_journal_range(journal, &begin, &end);
        ck_assert_uint_eq(end - begin, next - seen);
        uint64_t stop = begin + (end - begin) * 2 / 3;
        for (; begin < stop; begin++, seen++) {
            firn_journal_entry entry = firn_journal_at(journal, begin);
            ck_assert_uint_eq(entry.hash, seen);
            ck_assert_uint_eq(entry.version, seen);
        }
        firn_journal_release(journal, stop);
        ck_assert_uint_eq(scan().entries, next - seen);
    }
}
END_TEST

START_TEST(a_full_ring_takes_no_more) {
    for (uint64_t i = 1; i <= FIRN_JOURNAL_SLOTS; i++) {
        ck_assert_int_eq(firn_journal_append(journal, i, i), FIRN_OK);
    }
    ck_assert_uint_eq(firn_journal_room(journal), 0);
    ck_assert_int_eq(firn_journal_append(journal, 1, 1), FIRN_EBUSY);
    ck_assert_uint_eq(scan().entries, FIRN_JOURNAL_SLOTS);
}
END_TEST

START_TEST(a_torn_slot_shows) {
    ck_assert_int_eq(firn_journal_append(journal, 10, 1), FIRN_OK);
    ck_assert_int_eq(firn_journal_append(journal, 20, 2), FIRN_OK);
    uint64_t other_hash = 30;
    spoil(FIRN_JOURNAL_HEADER_SIZE, &other_hash, sizeof other_hash);
    reopen();
    ck_assert_uint_eq(scan().entries, 1);
    ck_assert_uint_eq(scan().damaged, 1);
    ck_assert(!firn_journal_voids(journal, 30, 0));
    ck_assert_uint_eq(firn_journal_at(journal, 0).version, 0);
}
END_TEST

START_TEST(other_files_are_told_apart) {
    firn_journal *other;
    char *file = join(path, FIRN_JOURNAL_FILE);
    uint32_t swapped = 0x04030201;
    spoil(12, &swapped, sizeof swapped);
    ck_assert_int_eq(firn_journal_open(&other, path, true, heap, NULL), FIRN_EVERSION);
    spoil(0, "SOMETHIN", 8);
    ck_assert_int_eq(firn_journal_open(&other, path, true, heap, NULL), FIRN_ENOTSTORE);
    ck_assert_ptr_null(other);
    char zeros[88] = {0};
    spoil(0, zeros, sizeof zeros);
    ck_assert_int_eq(firn_journal_open(&other, path, true, heap, NULL), FIRN_ECORRUPT);
    ck_assert(firn_journal_is_unfinished(path, false, heap));
    ck_assert(!firn_journal_is_unfinished(path, true, heap));
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(firn_journal_open(&other, path, true, heap, NULL), FIRN_NOT_FOUND);
    ck_assert_int_eq(mkdir(file, 0755), 0);
    ck_assert_int_ne(firn_journal_open(&other, path, true, heap, NULL), FIRN_OK);
    free(file);
}
END_TEST

START_TEST(a_journal_that_is_cut_short_is_not_mapped) {
    char *file = join(path, FIRN_JOURNAL_FILE);
    static const off_t sizes[] = {FIRN_JOURNAL_FILE_SIZE - 1, 5000, 88, 50, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        firn_journal *other;
        ck_assert_int_eq(truncate(file, sizes[i]), 0);
        ck_assert_int_eq(firn_journal_open(&other, path, true, heap, NULL), FIRN_ECORRUPT);
    }
    free(file);
    firn_journal_close(journal); /* its map is of a file that is gone; unmapping is safe */
    journal = NULL;
}
END_TEST

START_TEST(entries_survive_kill_9) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        for (uint64_t i = 1;; i++) {
            if (firn_journal_append(journal, i, i) != FIRN_OK) {
                raise(SIGKILL);
            }
        }
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    reopen();
    ck_assert_uint_eq(scan().entries, FIRN_JOURNAL_SLOTS);
    ck_assert_uint_eq(scan().damaged, 0);
}
END_TEST

/* ---- many appenders and one writer ---- */

enum { THREADS = 4, EACH = 200000 };

static void *append_many(void *context) {
    uint64_t base = *(uint64_t *)context;
    for (uint64_t i = 0; i < EACH; i++) {
        while (firn_journal_append(journal, base + i, 1 + i) != FIRN_OK) {
            sched_yield();
        }
    }
    return NULL;
}

START_TEST(no_entry_of_many_threads_is_lost_or_doubled) {
    pthread_t threads[THREADS];
    uint64_t bases[THREADS];
    uint64_t next[THREADS] = {0};
    for (uint64_t i = 0; i < THREADS; i++) {
        bases[i] = i << 32;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, append_many, &bases[i]), 0);
    }
    for (uint64_t left = (uint64_t)THREADS * EACH; left > 0;) {
        uint64_t begin;
        uint64_t end;
        firn_journal_range(journal, &begin, &end);
        left -= end - begin;
        for (; begin < end; begin++) {
            firn_journal_entry entry = firn_journal_at(journal, begin);
            uint64_t *expected = &next[entry.hash >> 32];
            ck_assert_uint_eq(entry.hash & UINT32_MAX, *expected);
            ck_assert_uint_eq(entry.version, ++*expected);
        }
        firn_journal_release(journal, end);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(firn_journal_room(journal), FIRN_JOURNAL_SLOTS);
}
END_TEST

/* ---- the lock ---- */

/* Takes the lock in another process; its exit status is 0 if the result was `wanted`. */
static int take_elsewhere(bool writer, int wanted) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        firn_store_lock lock;
        _exit(firn_lock_take(&lock, path, writer, heap, NULL) == wanted ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(one_process_writes_while_others_may_read) {
    firn_store_lock writer = FIRN_LOCK_INIT;
    ck_assert_int_eq(firn_lock_take(&writer, path, false, heap, NULL), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_lock_take(&writer, path, true, heap, NULL), FIRN_OK);
    ck_assert_int_eq(take_elsewhere(true, FIRN_EBUSY), 0);
    ck_assert_int_eq(take_elsewhere(false, FIRN_OK), 0);
    firn_lock_drop(&writer);
    ck_assert_int_eq(take_elsewhere(true, FIRN_OK), 0);
}
END_TEST

START_TEST(one_process_has_one_handle) {
    firn_store_lock first = FIRN_LOCK_INIT;
    firn_store_lock second = FIRN_LOCK_INIT;
    ck_assert_int_eq(firn_lock_take(&first, path, true, heap, NULL), FIRN_OK);
    ck_assert_int_eq(firn_lock_take(&second, path, false, heap, NULL), FIRN_EBUSY);
    ck_assert_int_eq(firn_lock_take(&second, path, true, heap, NULL), FIRN_EBUSY);
    firn_lock_drop(&second);
    firn_lock_drop(&first);
    ck_assert_int_eq(firn_lock_take(&second, path, false, heap, NULL), FIRN_OK);
    ck_assert_int_eq(firn_lock_take(&first, path, false, heap, NULL), FIRN_EBUSY);
    firn_lock_drop(&second);
}
END_TEST

START_TEST(a_reader_sees_who_writes) {
    int ready[2];
    int done[2];
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(done), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    char byte = 0;
    if (child == 0) {
        firn_store_lock lock;
        byte = (char)firn_lock_take(&lock, path, true, heap, NULL);
        _exit(write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1 ? 0 : 1);
    }
    ck_assert_int_eq((int)read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(byte, FIRN_OK);
    firn_store_lock lock = FIRN_LOCK_INIT;
    uint32_t pid;
    ck_assert_int_eq(firn_lock_take(&lock, path, false, heap, NULL), FIRN_OK);
    ck_assert(firn_lock_has_writer(&lock, &pid));
    ck_assert_uint_eq(pid, (uint32_t)child);
    ck_assert_int_eq((int)write(done[1], &byte, 1), 1);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert(!firn_lock_has_writer(&lock, &pid));
    ck_assert_uint_eq(pid, 0);
    firn_lock_drop(&lock);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_new_journal_is_empty_and_being_made);
    tcase_add_test(tcase, the_header_keeps_what_it_is_told);
    tcase_add_test(tcase, entries_outlive_the_handle_and_are_forgotten_when_released);
    tcase_add_test(tcase, what_was_left_is_found_wherever_the_ring_stood);
    tcase_add_test(tcase, a_slot_that_was_claimed_and_not_filled_voids_nothing);
    tcase_add_test(tcase, the_ring_turns_and_keeps_its_order);
    tcase_add_test(tcase, a_full_ring_takes_no_more);
    tcase_add_test(tcase, a_torn_slot_shows);
    tcase_add_test(tcase, other_files_are_told_apart);
    tcase_add_test(tcase, a_journal_that_is_cut_short_is_not_mapped);
    tcase_add_test(tcase, entries_survive_kill_9);
    tcase_add_test(tcase, no_entry_of_many_threads_is_lost_or_doubled);
    tcase_add_test(tcase, one_process_writes_while_others_may_read);
    tcase_add_test(tcase, one_process_has_one_handle);
    tcase_add_test(tcase, a_reader_sees_who_writes);
}

int main(void) {
    return run_suite("journal", add_tests, 120);
}
