/* Looking into a store from outside: everything in it is told, beside a live writer too, and what
 * is damaged is named and does no harm. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "linked_store.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { ENTRIES = 3000 };

/* ---- stores ---- */

static firn_cache *open_cache(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 64 << 20;
    return open_with(path, &options);
}

static size_t key_of(unsigned number, char *key) {
    return (size_t)snprintf(key, 32, "key %u", number);
}

/* Text that zstd makes smaller, of a size that differs from key to key. */
static size_t value_of(unsigned number, char *value) {
    size_t size = number % 7 == 0 ? 0 : 20 + number % 700;
    for (size_t i = 0; i < size; i++) {
        value[i] = (char)('a' + (number + i / 9) % 20);
    }
    return size;
}

static void put_number(firn_cache *cache, unsigned number) {
    char key[32];
    char value[1000];
    size_t key_size = key_of(number, key);
    size_t value_size = value_of(number, value);
    ck_assert_int_eq(firn_put(cache, key, key_size, value, value_size, NULL), FIRN_OK);
}

/* Entries 0 to count - 1, each flush a commit, so that they lie in the order of their numbers. */
static void put_numbers(firn_cache *cache, unsigned from, unsigned count) {
    for (unsigned i = from; i < from + count; i++) {
        put_number(cache, i);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

static char *make_store(const char *name, unsigned count) {
    char *path = scratch_path(name);
    firn_cache *cache = open_cache(path);
    put_numbers(cache, 0, count);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    return path;
}

static firn_store *open_store(const char *path) {
    char text[300] = "";
    firn_store *store;
    int result = firn_store_open(&store, path, text, sizeof text);
    ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), text);
    return store;
}

static int open_result(const char *path) {
    char text[300] = "";
    firn_store *store;
    int result = firn_store_open(&store, path, text, sizeof text);
    ck_assert_int_ne(result, FIRN_OK);
    ck_assert_ptr_null(store);
    ck_assert_ptr_nonnull(strstr(text, path));
    return result;
}

static int verify(firn_store *store, firn_verify_report *report) {
    *report = (firn_verify_report)FIRN_VERIFY_REPORT_INIT;
    return firn_store_verify(store, report, NULL, NULL);
}

static int verify_path(const char *path, firn_verify_report *report) {
    firn_store *store = open_store(path);
    int result = verify(store, report);
    ck_assert_int_eq(firn_store_message(store)[0] != '\0', result != FIRN_OK);
    firn_store_close(store);
    return result;
}

/* Which of the numbered keys it is; fails the test if it is none, or its value is not its own. */
static unsigned number_of(const firn_store_entry *entry, bool with_value) {
    char text[32] = "";
    char value[1000];
    ck_assert_uint_lt(entry->key_size, sizeof text);
    memcpy(text, entry->key, entry->key_size);
    unsigned number;
    ck_assert_int_eq(sscanf(text, "key %u", &number), 1);
    ck_assert_uint_eq(entry->value_size, value_of(number, value));
    if (with_value) {
        ck_assert_ptr_nonnull(entry->value);
        ck_assert_mem_eq(entry->value, value, entry->value_size);
    } else {
        ck_assert_ptr_null(entry->value);
    }
    return number;
}

/* Runs part in another process, which has a pipe's end to say that it is ready, and another to hear
 * that it may end. */
typedef struct other {
    pid_t pid;
    int ready;
    int end;
} other;

static other start(void (*part)(const char *path, int ready, int end), const char *path) {
    int ready[2];
    int end[2];
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(end), 0);
    other self = {fork(), ready[0], end[1]};
    ck_assert_int_ge(self.pid, 0);
    if (self.pid == 0) {
        close(ready[0]);
        close(end[1]);
        alarm(60);
        part(path, ready[1], end[0]);
        _exit(0);
    }
    close(ready[1]);
    close(end[0]);
    char byte;
    ck_assert_int_eq(read(self.ready, &byte, 1), 1);
    return self;
}

static void finish(other *self) {
    close(self->end);
    close(self->ready);
    int status;
    while (waitpid(self->pid, &status, 0) < 0) {
        ck_assert_int_eq(errno, EINTR);
    }
    ck_assert_int_eq(status, 0);
}

static void say_ready(int ready) {
    if (write(ready, "r", 1) != 1) {
        _exit(1);
    }
}

static void wait_end(int end) {
    char byte;
    if (read(end, &byte, 1) != 0) {
        _exit(1);
    }
}

/* ---- what is there ---- */

START_TEST(what_is_no_store_is_not_opened) {
    char *path = scratch_path("no-store");
    ck_assert_int_eq(open_result(path), FIRN_NOT_FOUND);
    write_file(path, "just a file");
    ck_assert_int_eq(open_result(path), FIRN_ENOTSTORE);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(open_result(path), FIRN_ENOTSTORE);
    char *data = join(path, "data.mdb");
    write_file(data, "another's");
    ck_assert_int_eq(open_result(path), FIRN_ENOTSTORE);
    free(data);
    remove_tree(path);
}
END_TEST

START_TEST(arguments_that_make_no_sense_are_refused) {
    char *path = make_store("arguments", 3);
    firn_store *store;
    ck_assert_int_eq(firn_store_open(NULL, path, NULL, 0), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_open(&store, NULL, NULL, 0), FIRN_EINVAL);
    store = open_store(path);
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_next(NULL, 0, &entry), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_next(store, 0, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_next(store, 2, &entry), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_get(store, "", 0, &entry), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_get(store, NULL, 1, &entry), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_get_info(NULL, &info), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_get_info(store, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_verify(store, NULL, NULL, NULL), FIRN_EINVAL);
    report.size = 0;
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), FIRN_EINVAL);
    firn_store_rewind(NULL);
    firn_store_close(NULL);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(a_store_without_entries_has_none) {
    char *path = make_store("empty", 0);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_next(store, FIRN_STORE_VALUES, &entry), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_get(store, "k", 1, &entry), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.entries + info.records + info.first_sequence + info.last_sequence, 0);
    firn_verify_report report;
    ck_assert_int_eq(verify(store, &report), FIRN_OK);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(every_entry_is_given_once_in_order_with_its_value) {
    char *path = make_store("order", ENTRIES);
    firn_store *store = open_store(path);
    for (unsigned flags = 0; flags <= FIRN_STORE_VALUES; flags++) {
        bool seen[ENTRIES] = {false};
        uint64_t last = 0;
        firn_store_entry entry;
        for (unsigned i = 0; i < ENTRIES; i++) {
            ck_assert_int_eq(firn_store_next(store, flags, &entry), FIRN_OK);
            unsigned number = number_of(&entry, flags == FIRN_STORE_VALUES);
            ck_assert_uint_lt(number, ENTRIES);
            ck_assert(!seen[number]);
            seen[number] = true;
            ck_assert_uint_gt(entry.sequence, last);
            last = entry.sequence;
            ck_assert_uint_eq(entry.damaged + entry.expired, 0);
            ck_assert_uint_gt(entry.version, 0);
            ck_assert_uint_gt(entry.record_size, entry.stored_size + entry.key_size);
            bool small = entry.stored_size < entry.value_size;
            ck_assert_str_eq(entry.codec, small ? "zstd" : "none");
        }
        ck_assert_int_eq(firn_store_next(store, flags, &entry), FIRN_NOT_FOUND);
        ck_assert_int_eq(firn_store_next(store, flags, &entry), FIRN_NOT_FOUND);
        firn_store_rewind(store);
    }
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(other_calls_do_not_move_the_walk) {
    char *path = make_store("moves", ENTRIES);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    uint64_t last = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        char key[32];
        size_t key_size = key_of((i * 31) % ENTRIES, key);
        firn_store_info info = FIRN_STORE_INFO_INIT;
        firn_verify_report report;
        /* Flags that change from call to call read the rest again. */
        unsigned flags = i / 50 % 2;
        ck_assert_int_eq(firn_store_next(store, flags, &entry), FIRN_OK);
        ck_assert_uint_gt(entry.sequence, last);
        last = entry.sequence;
        number_of(&entry, flags != 0);
        if (i % 97 == 0 || i == ENTRIES - 1) {
            ck_assert_int_eq(firn_store_get(store, key, key_size, &entry), FIRN_OK);
            ck_assert_uint_eq(number_of(&entry, true), (i * 31) % ENTRIES);
        }
        if (i % 501 == 0 || i == ENTRIES - 1) {
            ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
            ck_assert_int_eq(verify(store, &report), FIRN_OK);
        }
    }
    ck_assert_int_eq(firn_store_next(store, 0, &entry), FIRN_NOT_FOUND);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(the_facts_are_those_of_the_store) {
    char *path = make_store("facts", ENTRIES);
    firn_store *store = open_store(path);
    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        char value[1000];
        bytes += value_of(i, value);
    }
    ck_assert_uint_eq(info.entries, ENTRIES);
    ck_assert_uint_eq(info.records, ENTRIES);
    ck_assert_uint_eq(info.value_bytes, bytes);
    ck_assert_uint_lt(info.stored_bytes, bytes);
    ck_assert_uint_gt(info.stored_bytes, 0);
    ck_assert_uint_gt(info.last_sequence, info.first_sequence);
    ck_assert_uint_eq(info.index_bytes, file_size(path, "data.mdb"));
    ck_assert_uint_gt(info.file_bytes, info.index_bytes);
    ck_assert_uint_le(info.file_bytes, info.index_bytes + file_size(path, "firn.log") + 8192);
    ck_assert_uint_le(info.live_bytes, info.file_bytes);
    ck_assert_uint_eq(info.page_bytes, (uint64_t)sysconf(_SC_PAGESIZE));
    ck_assert_uint_eq(info.budget_bytes, (uint64_t)1 << 30);
    ck_assert_uint_eq(info.format_version, 2);
    ck_assert_uint_eq(info.warm_entries, ENTRIES);
    ck_assert_uint_gt(info.version_next, ENTRIES);
    ck_assert_uint_eq(info.journal_entries, 0);
    ck_assert_uint_eq(info.writer_pid, 0);
    ck_assert_uint_ne(info.closed_clean, 0);
    ck_assert_uint_gt(info.created_ms, 0);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

/* ---- types and links ---- */

static char *make_linked(const char *name) {
    char *path = scratch_path(name);
    ck_assert_int_eq(make_linked_store(path), FIRN_OK);
    return path;
}

START_TEST(types_links_and_owners_are_given) {
    char *path = make_linked("linked");
    firn_store *store = open_store(path);
    firn_store_entry entry;
    for (unsigned flags = 0; flags <= FIRN_STORE_VALUES; flags++) {
        for (unsigned i = 0; i < LINKED_ENTRIES; i++) {
            ck_assert_int_eq(firn_store_next(store, flags, &entry), FIRN_OK);
            ck_assert_msg(is_linked_entry(&entry, &linked_entries[i], flags != 0), "%s",
                          linked_entries[i].key);
        }
        ck_assert_int_eq(firn_store_next(store, flags, &entry), FIRN_NOT_FOUND);
        firn_store_rewind(store);
    }
    for (unsigned i = 0; i < LINKED_ENTRIES; i++) {
        const char *key = linked_entries[i].key;
        ck_assert_int_eq(firn_store_get(store, key, strlen(key), &entry), FIRN_OK);
        ck_assert_msg(is_linked_entry(&entry, &linked_entries[i], true), "%s", key);
    }
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

static int stop_at_second(void *context, const firn_link *link) {
    unsigned *calls = context;
    ck_assert_uint_gt(link->key_size, 0);
    return ++*calls == 2 ? 77 : 0;
}

START_TEST(a_listing_of_links_can_be_stopped) {
    char *path = make_linked("linked-stop");
    firn_store *store = open_store(path);
    firn_store_entry entry;
    unsigned calls = 0;
    ck_assert_int_eq(firn_store_get(store, "manifest", 8, &entry), FIRN_OK);
    ck_assert_int_eq(firn_store_entry_links(&entry, stop_at_second, &calls), 77);
    ck_assert_uint_eq(calls, 2);
    ck_assert_int_eq(firn_store_get(store, "plain", 5, &entry), FIRN_OK);
    ck_assert_int_eq(firn_store_entry_links(&entry, stop_at_second, &calls), 0);
    ck_assert_uint_eq(calls, 2);
    ck_assert_int_eq(firn_store_entry_links(NULL, stop_at_second, &calls), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_entry_links(&entry, NULL, &calls), FIRN_EINVAL);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

static void assert_type(firn_store *store, size_t number, const char *name, uint32_t version,
                        uint64_t entries) {
    firn_store_type type = FIRN_STORE_TYPE_INIT;
    ck_assert_int_eq(firn_store_get_type(store, number, &type), FIRN_OK);
    ck_assert_str_eq(type.name, name);
    ck_assert_uint_eq(type.version, version);
    ck_assert_uint_eq(type.entries, entries);
}

/* As it is given where the store does not know the name. */
static const char *number_of_type(const char *name) {
    static char text[16];
    snprintf(text, sizeof text, "?%08x", (unsigned)firn_type_id(name));
    return text;
}

START_TEST(types_are_told_with_the_number_of_their_entries) {
    char *path = make_linked("linked-types");
    firn_store *store = open_store(path);
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_store_type type = FIRN_STORE_TYPE_INIT;
    ck_assert_int_eq(firn_store_get_type(store, 0, &type), FIRN_NOT_FOUND);
    for (unsigned times = 0; times < 2; times++) {
        ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
        ck_assert_uint_eq(info.types, 3);
        ck_assert_uint_eq(info.typed, 3);
        ck_assert_uint_eq(info.linked, 2);
        ck_assert_uint_eq(info.links, 4);
        ck_assert_uint_eq(info.owned, 2);
        assert_type(store, 0, "graph", 3, 2);
        assert_type(store, 1, "idle", 1, 0);
        assert_type(store, 2, number_of_type("nobody.knows"), 9, 1);
        ck_assert_int_eq(firn_store_get_type(store, 3, &type), FIRN_NOT_FOUND);
    }
    ck_assert_int_eq(firn_store_get_type(NULL, 0, &type), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_get_type(store, 0, NULL), FIRN_EINVAL);
    type.size = 0;
    ck_assert_int_eq(firn_store_get_type(store, 0, &type), FIRN_EINVAL);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(a_name_is_known_as_soon_as_the_store_knows_it) {
    char *path = make_linked("linked-names");
    firn_store *store = open_store(path);
    firn_heap *heap = firn_heap_new(NULL);
    firn_type_names names;
    firn_store_entry entry;
    ck_assert_int_eq(firn_store_get(store, "stranger", 8, &entry), FIRN_OK);
    ck_assert_str_eq(entry.type, number_of_type("nobody.knows"));
    ck_assert_int_eq(firn_type_names_read(&names, path, heap), FIRN_OK);
    ck_assert_int_eq(firn_type_names_add(&names, path, "nobody.knows", 1, heap, NULL), FIRN_OK);
    firn_type_names_free(&names, heap);
    ck_assert_int_eq(firn_store_get(store, "stranger", 8, &entry), FIRN_OK);
    ck_assert_str_eq(entry.type, "nobody.knows");
    ck_assert_int_eq(firn_store_get(store, "typed", 5, &entry), FIRN_OK);
    ck_assert_str_eq(entry.type, "graph");
    firn_store_close(store);
    firn_heap_unref(heap);
    remove_tree(path);
}
END_TEST

static void check_odd(const firn_attributes *odd) {
    char *path = scratch_path("linked-odd");
    ck_assert_int_eq(make_odd_linked_store(path, odd), FIRN_OK);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_verify_report report;
    unsigned damaged = 0;
    unsigned entries = 0;
    while (firn_store_next(store, 0, &entry) == FIRN_OK) {
        damaged += entry.damaged;
        entries++;
    }
    ck_assert_uint_eq(damaged, 1);
    ck_assert_uint_eq(entries, LINKED_ENTRIES + 1);
    ck_assert_int_eq(firn_store_get(store, "odd", 3, &entry), FIRN_ECORRUPT);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.links, 4);
    ck_assert_int_eq(verify(store, &report), FIRN_ECORRUPT);
    ck_assert_uint_eq(report.records_damaged, 1);
    firn_store_close(store);
    remove_tree(path);
}

START_TEST(links_that_make_no_sense_are_damage) {
    static const unsigned char odd[] = {FIRN_LINK_KEEPS, 0, 1, 'k', 9, 0, 1, 'k'};
    static const unsigned char body[] = {FIRN_LINKS_BODY, 0, 1, 'k'};
    check_odd(&(firn_attributes){.links = odd, .links_size = sizeof odd});
    check_odd(&(firn_attributes){.links = odd, .links_size = 3});
    check_odd(&(firn_attributes){.links = body, .links_size = sizeof body});
    check_odd(&(firn_attributes){.links = odd, .links_size = 4, .interned = true});
    check_odd(&(firn_attributes){.interned = true, .interned_size = 5});
}
END_TEST

/* What a walk finds. */
typedef struct interned_found {
    unsigned entries;
    unsigned shared;
    unsigned incomplete;
    uint64_t body; /* its hash */
} interned_found;

static interned_found walk_interned(firn_store *store, unsigned flags) {
    interned_found found = {0};
    firn_store_entry entry;
    while (firn_store_next(store, flags, &entry) == FIRN_OK) {
        found.body = entry.body ? entry.hash : found.body;
        found.entries += !entry.body;
        found.shared += entry.interned != 0;
        found.incomplete += entry.incomplete != 0;
        ck_assert_uint_eq(entry.damaged, 0);
        ck_assert_uint_eq(entry.value_size, entry.key_size == 5 ? 7 : INTERNED_SIZE);
        ck_assert(flags == 0 || entry.incomplete || ((const char *)entry.value)[6] != '\0');
    }
    firn_store_rewind(store);
    return found;
}

START_TEST(shared_values_are_given_with_each_entry_and_counted_once) {
    char *path = scratch_path("interned");
    ck_assert_int_eq(make_interned_store(path), FIRN_OK);
    firn_store *store = open_store(path);
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_store_entry entry;
    firn_verify_report report;
    interned_found found = {0};
    for (unsigned flags = 0; flags <= FIRN_STORE_VALUES; flags++) {
        found = walk_interned(store, flags);
        ck_assert_uint_eq(found.entries, INTERNED_ENTRIES + 1);
        ck_assert_uint_eq(found.shared, INTERNED_ENTRIES);
        ck_assert_uint_eq(found.incomplete, 0);
    }
    ck_assert_int_eq(firn_store_get(store, "twin 2", 6, &entry), FIRN_OK);
    ck_assert_uint_eq(entry.link_count, 1);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.entries, INTERNED_ENTRIES + 1);
    ck_assert_uint_eq(info.bodies, 1);
    ck_assert_uint_eq(info.value_bytes, INTERNED_SIZE + 7);
    ck_assert_int_eq(verify(store, &report), FIRN_OK);
    ck_assert_uint_eq(report.entries, INTERNED_ENTRIES + 1);
    ck_assert_uint_eq(report.bodies, 1);
    firn_store_close(store);

    ck_assert_int_eq(remove_record(path, found.body), FIRN_OK);
    store = open_store(path);
    ck_assert_uint_eq(walk_interned(store, FIRN_STORE_VALUES).incomplete, INTERNED_ENTRIES);
    ck_assert_uint_eq(walk_interned(store, 0).incomplete, INTERNED_ENTRIES);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(an_expired_entry_is_given_and_says_so) {
    char *path = make_store("expiry", 0);
    firn_cache *cache = open_cache(path);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = 1;
    ck_assert_int_eq(firn_put(cache, "short", 5, "v", 1, &options), FIRN_OK);
    options.ttl_ms = 3600000;
    ck_assert_int_eq(firn_put(cache, "long", 4, "v", 1, &options), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    usleep(5000);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    ck_assert_int_eq(firn_store_get(store, "long", 4, &entry), FIRN_OK);
    ck_assert_uint_eq(entry.expired, 0);
    ck_assert_uint_eq(entry.expires_ms - entry.written_ms / 1000 * 1000 > 3500000, 1);
    int result = firn_store_get(store, "short", 5, &entry);
    /* A flush may find it expired already, and then it was never written. */
    ck_assert(result == FIRN_NOT_FOUND || (result == FIRN_OK && entry.expired != 0));
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(large_values_come_one_at_a_time) {
    char *path = scratch_path("large");
    firn_cache *cache = open_cache(path);
    size_t size = 3 << 20;
    unsigned char *value = malloc(size);
    ck_assert_ptr_nonnull(value);
    for (unsigned i = 0; i < 5; i++) {
        char key[32];
        size_t key_size = key_of(i, key);
        unsigned state = i + 1;
        for (size_t k = 0; k < size; k++) { /* noise: nothing to compress */
            state = state * 1103515245 + 12345;
            value[k] = (unsigned char)(state >> 16);
        }
        ck_assert_int_eq(firn_put(cache, key, key_size, value, size, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(firn_store_next(store, FIRN_STORE_VALUES, &entry), FIRN_OK);
        ck_assert_uint_eq(entry.value_size, size);
        ck_assert_uint_eq(entry.stored_size, size);
        unsigned number = ((const unsigned char *)entry.key)[4] - (unsigned)'0';
        unsigned state = number + 1;
        for (size_t k = 0; k < size; k++) {
            state = state * 1103515245 + 12345;
            if (((const unsigned char *)entry.value)[k] != (unsigned char)(state >> 16)) {
                ck_abort_msg("value %u differs at %zu", number, k);
            }
        }
    }
    ck_assert_int_eq(firn_store_next(store, FIRN_STORE_VALUES, &entry), FIRN_NOT_FOUND);
    free(value);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

/* ---- beside a writer ---- */

START_TEST(this_process_may_not_open_it_twice) {
    char *path = make_store("twice", 5);
    firn_cache *cache = open_cache(path);
    ck_assert_int_eq(open_result(path), FIRN_EBUSY);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_store *store = open_store(path);
    ck_assert_int_eq(open_result(path), FIRN_EBUSY);
    firn_store_close(store);
    store = open_store(path);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

/* Makes the store's file many times larger while the other looks at it. */
static void keep_writing(const char *path, int ready, int end) {
    firn_cache *cache = open_cache(path);
    say_ready(ready);
    for (unsigned round = 0; round < 40; round++) {
        put_numbers(cache, round * 500, 1000);
    }
    wait_end(end);
    if (firn_close(cache) != FIRN_OK) {
        _exit(1);
    }
}

START_TEST(a_live_writer_is_neither_met_nor_feared) {
    char *path = make_store("live", 500);
    other writer = start(keep_writing, path);
    firn_store *store = open_store(path);
    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.writer_pid, (uint64_t)writer.pid);
    ck_assert_uint_eq(info.closed_clean, 0);
    uint64_t most = 0;
    for (unsigned round = 0; round < 60; round++) {
        firn_store_entry entry;
        uint64_t count = 0;
        uint64_t last = 0;
        int result;
        while ((result = firn_store_next(store, FIRN_STORE_VALUES, &entry)) == FIRN_OK) {
            ck_assert_msg(entry.damaged == 0, "%s", entry.damage);
            number_of(&entry, true);
            ck_assert_uint_gt(entry.sequence, last);
            last = entry.sequence;
            count++;
        }
        ck_assert_msg(result == FIRN_NOT_FOUND, "%s: %s", firn_strerror(result),
                      firn_store_message(store));
        firn_store_rewind(store);
        firn_verify_report report;
        ck_assert_msg(verify(store, &report) == FIRN_OK, "%s", firn_store_message(store));
        ck_assert_uint_ne(report.writer_active, 0);
        ck_assert_uint_eq(report.pages_checked, 0);
        most = count > most ? count : most;
    }
    finish(&writer);
    ck_assert_uint_gt(most, 500);
    firn_verify_report report;
    ck_assert_int_eq(verify(store, &report), FIRN_OK);
    ck_assert_uint_eq(report.writer_active, 0);
    ck_assert_uint_gt(report.pages_checked, 0);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

/* Overwrites and deletes what is in the store, and dies before any of it is written there. */
static void invalidate_and_wait(const char *path, int ready, int end) {
    firn_cache *cache = open_cache(path);
    for (unsigned i = 0; i < 100; i++) {
        char key[32];
        size_t key_size = key_of(i, key);
        if (i % 2 == 0) {
            put_number(cache, i);
        } else if (firn_delete(cache, key, key_size) != FIRN_OK) {
            _exit(1);
        }
    }
    say_ready(ready);
    wait_end(end);
    _exit(0);
}

START_TEST(what_the_journal_voids_is_not_given) {
    char *path = make_store("void", 300);
    other writer = start(invalidate_and_wait, path);
    for (unsigned round = 0; round < 2; round++) { /* beside the writer, and after its death */
        firn_store *store = open_store(path);
        firn_store_info info = FIRN_STORE_INFO_INIT;
        ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
        ck_assert_uint_eq(info.journal_entries, 100);
        ck_assert_uint_eq(info.records, 300);
        ck_assert_uint_eq(info.writer_pid, round == 0 ? (uint64_t)writer.pid : 0);
        firn_store_entry entry;
        unsigned count = 0;
        while (firn_store_next(store, 0, &entry) == FIRN_OK) {
            ck_assert_uint_ge(number_of(&entry, false), 100);
            count++;
        }
        ck_assert_uint_eq(count, 200);
        ck_assert_int_eq(firn_store_get(store, "key 1", 5, &entry), FIRN_NOT_FOUND);
        ck_assert_int_eq(firn_store_get(store, "key 2", 5, &entry), FIRN_NOT_FOUND);
        ck_assert_int_eq(firn_store_get(store, "key 200", 7, &entry), FIRN_OK);
        firn_verify_report report;
        ck_assert_int_eq(verify(store, &report), FIRN_OK);
        ck_assert_uint_eq(report.journal_entries, 100);
        firn_store_close(store);
        if (round == 0) {
            finish(&writer);
        }
    }
    remove_tree(path);
}
END_TEST

/* ---- damage ---- */

typedef struct file {
    int fd;
    unsigned char *bytes;
    size_t size;
} file;

static file open_file(const char *path, const char *name) {
    char *full = join(path, name);
    struct stat status;
    file self = {.fd = open(full, O_RDWR)};
    ck_assert_int_ge(self.fd, 0);
    ck_assert_int_eq(fstat(self.fd, &status), 0);
    self.size = (size_t)status.st_size;
    self.bytes = malloc(self.size);
    ck_assert_ptr_nonnull(self.bytes);
    ck_assert_int_eq(pread(self.fd, self.bytes, self.size, 0), (ssize_t)self.size);
    free(full);
    return self;
}

static void set_byte(file *self, size_t at, unsigned char byte) {
    ck_assert_int_eq(pwrite(self->fd, &byte, 1, (off_t)at), 1);
}

static void close_file(file *self) {
    free(self->bytes);
    close(self->fd);
}

/* Flips a bit wherever the text stands in the log. */
static void flip_text(const char *path, const char *text) {
    file data = open_file(path, "firn.log");
    size_t length = strlen(text);
    unsigned found = 0;
    for (size_t i = 0; i + length <= data.size; i++) {
        if (memcmp(data.bytes + i, text, length) == 0) {
            set_byte(&data, i, data.bytes[i] ^ 1);
            found++;
        }
    }
    ck_assert_uint_gt(found, 0);
    close_file(&data);
}

START_TEST(a_damaged_record_is_told_and_the_others_are_given) {
    char *path = make_store("record", 200);
    firn_cache *cache = open_cache(path);
    ck_assert_int_eq(firn_put(cache, "victim", 6, "a Q8z! tell-tale", 16, NULL), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    flip_text(path, "a Q8z! tell-tale");
    firn_store *store = open_store(path);
    firn_store_entry entry;
    unsigned damaged = 0;
    unsigned sound = 0;
    while (firn_store_next(store, FIRN_STORE_VALUES, &entry) == FIRN_OK) {
        damaged += entry.damaged != 0;
        sound += entry.damaged == 0;
        if (entry.damaged) {
            ck_assert_ptr_nonnull(entry.damage);
            ck_assert_ptr_null(entry.value);
            ck_assert_uint_gt(entry.sequence, 0);
            ck_assert_uint_gt(entry.record_size, 16);
        }
    }
    ck_assert_uint_eq(damaged, 1);
    ck_assert_uint_eq(sound, 200);
    ck_assert_int_eq(firn_store_get(store, "victim", 6, &entry), FIRN_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(firn_store_message(store), "damaged"));
    firn_verify_report report;
    ck_assert_int_eq(verify(store, &report), FIRN_ECORRUPT);
    ck_assert_uint_eq(report.records_damaged, 1);
    ck_assert_uint_eq(report.records, 201);
    ck_assert_uint_eq(report.records_superseded + report.index_dangling + report.pages_damaged, 0);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

/* The verification says where the damage is; all else is told from the log. */
static void assert_damaged_pages(const char *path) {
    firn_store *store = open_store(path);
    firn_store_entry entry;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_verify_report report;
    for (unsigned i = 0; i < ENTRIES; i++) {
        ck_assert_int_eq(firn_store_next(store, FIRN_STORE_VALUES, &entry), FIRN_OK);
        number_of(&entry, true);
    }
    ck_assert_int_eq(firn_store_next(store, FIRN_STORE_VALUES, &entry), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_get(store, "key 1", 5, &entry), FIRN_OK);
    ck_assert_int_eq(firn_store_get(store, "k", 1, &entry), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.entries, ENTRIES);
    firn_store_rewind(store);
    ck_assert_int_eq(verify(store, &report), FIRN_ECORRUPT);
    ck_assert_uint_gt(report.pages_damaged, 0);
    ck_assert_uint_eq(report.records, 0);
    ck_assert_ptr_nonnull(strstr(firn_store_message(store), path));
    firn_store_close(store);
}

/* The same when there is no log either: only a verification may look. */
static void assert_nothing_left(const char *path) {
    firn_store *store = open_store(path);
    firn_store_entry entry;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    firn_verify_report report;
    ck_assert_int_eq(firn_store_next(store, 0, &entry), FIRN_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(firn_store_message(store), "firn verify"));
    ck_assert_int_eq(firn_store_get(store, "k", 1, &entry), FIRN_ECORRUPT);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_ECORRUPT);
    firn_store_rewind(store);
    ck_assert_int_eq(verify(store, &report), FIRN_ECORRUPT);
    ck_assert_uint_gt(report.pages_damaged, 0);
    firn_store_close(store);
}

START_TEST(damaged_pages_are_told_and_the_log_is_looked_into) {
    char *path = make_store("pages", ENTRIES);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    file data = open_file(path, "data.mdb");
    for (size_t i = 2 * page; i < data.size; i += page) {
        set_byte(&data, i + 10, 0x55); /* the kind of page */
    }
    assert_damaged_pages(path);
    ck_assert_int_eq(pwrite(data.fd, data.bytes, data.size, 0), (ssize_t)data.size);
    firn_verify_report report;
    ck_assert_int_eq(verify_path(path, &report), FIRN_OK);
    set_byte(&data, 16, 0); /* the first meta page */
    assert_damaged_pages(path);
    set_byte(&data, 16, data.bytes[16]);
    ck_assert_int_eq(ftruncate(data.fd, (off_t)(data.size / 2)), 0);
    assert_damaged_pages(path);
    ck_assert_int_eq(ftruncate(data.fd, 0), 0);
    assert_damaged_pages(path);
    ck_assert_int_eq(pwrite(data.fd, "something else, and long enough for a head", 42, 0), 42);
    assert_damaged_pages(path);
    char *full = join(path, "data.mdb");
    ck_assert_int_eq(unlink(full), 0);
    assert_damaged_pages(path);
    free(full);
    close_file(&data);
    file log = open_file(path, "firn.log");
    set_byte(&log, 3, 'x');
    assert_nothing_left(path);
    close_file(&log);
    full = join(path, "firn.log");
    ck_assert_int_eq(unlink(full), 0);
    assert_nothing_left(path);
    free(full);
    remove_tree(path);
}
END_TEST

/* Takes one entry away from one of the store's databases, behind firn's back. */
static void take_away(const char *path, const char *name) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, path, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, name, MDB_INTEGERKEY, &dbi), 0);
    ck_assert_int_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    ck_assert_int_eq(mdb_cursor_get(cursor, &key, &data, MDB_FIRST), 0);
    ck_assert_int_eq(mdb_cursor_del(cursor, 0), 0);
    mdb_cursor_close(cursor);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* Points one entry of the index to where another's points. */
static void misdirect(const char *path) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val first;
    MDB_val second;
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, path, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "index", MDB_INTEGERKEY, &dbi), 0);
    ck_assert_int_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    ck_assert_int_eq(mdb_cursor_get(cursor, &key, &first, MDB_FIRST), 0);
    uint64_t place;
    memcpy(&place, first.mv_data, sizeof place);
    ck_assert_int_eq(mdb_cursor_get(cursor, &key, &second, MDB_NEXT), 0);
    second = (MDB_val){sizeof place, &place};
    ck_assert_int_eq(mdb_cursor_put(cursor, &key, &second, MDB_CURRENT), 0);
    mdb_cursor_close(cursor);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

START_TEST(index_and_records_must_fit_each_other) {
    firn_verify_report report;
    char *path = make_store("fit", 500);
    take_away(path, "index");
    ck_assert_int_eq(verify_path(path, &report), FIRN_ECORRUPT);
    ck_assert_uint_eq(report.records_superseded, 1);
    ck_assert_uint_eq(report.entries_missing, 1);
    ck_assert_uint_eq(report.index_dangling, 0);
    remove_tree(path);
    path = make_store("fit", 500);
    misdirect(path);
    ck_assert_int_eq(verify_path(path, &report), FIRN_ECORRUPT);
    ck_assert_uint_eq(report.index_dangling, 1);
    ck_assert_uint_eq(report.entries_missing, 1);
    ck_assert_uint_eq(report.records, 500);
    ck_assert_uint_eq(report.index_entries, 500);
    remove_tree(path);
}
END_TEST

START_TEST(what_was_overwritten_and_deleted_is_no_finding) {
    char *path = make_store("superseded", 300);
    firn_cache *cache = open_cache(path);
    for (unsigned i = 0; i < 100; i++) {
        char key[32];
        size_t key_size = key_of(i, key);
        ck_assert_int_eq(firn_delete(cache, key, key_size), FIRN_OK);
        ck_assert_int_eq(firn_put(cache, "again", 5, &i, sizeof i, NULL), FIRN_OK);
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_verify_report report;
    ck_assert_int_eq(verify_path(path, &report), FIRN_OK);
    ck_assert_uint_eq(report.records, 400);
    ck_assert_uint_eq(report.records_superseded, 199);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    unsigned given = 0;
    while (firn_store_next(store, 0, &entry) == FIRN_OK) {
        given++;
    }
    ck_assert_uint_eq(given, 201);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(a_damaged_warm_list_is_told) {
    firn_verify_report report;
    char *path = make_store("warm", 100);
    file list = open_file(path, "firn.hot");
    set_byte(&list, list.size - 3, list.bytes[list.size - 3] ^ 1);
    close_file(&list);
    ck_assert_int_eq(verify_path(path, &report), FIRN_ECORRUPT);
    ck_assert_uint_ne(report.warm_list_damaged, 0);
    remove_tree(path);
}
END_TEST

START_TEST(a_damaged_file_of_links_is_told) {
    firn_verify_report report;
    char *path = make_linked("linked-file");
    ck_assert_int_eq(verify_path(path, &report), FIRN_OK);
    file links = open_file(path, FIRN_LINKS_FILE);
    set_byte(&links, 20, links.bytes[20] ^ 1);
    close_file(&links);
    ck_assert_int_eq(verify_path(path, &report), FIRN_ECORRUPT);
    ck_assert_uint_ne(report.links_file_damaged, 0);
    remove_tree(path);
}
END_TEST

START_TEST(a_damaged_journal_is_told) {
    firn_verify_report report;
    char *path = make_store("journal", 100);
    file journal = open_file(path, "firn.journal");
    set_byte(&journal, 4096 + 16 * 77 + 8, 1);
    ck_assert_int_eq(verify_path(path, &report), FIRN_ECORRUPT);
    ck_assert_uint_eq(report.journal_damaged, 1);
    ck_assert_uint_eq(report.journal_entries, 1);
    set_byte(&journal, 17, journal.bytes[17] ^ 1); /* the store id */
    ck_assert_int_eq(open_result(path), FIRN_ECORRUPT);
    set_byte(&journal, 17, journal.bytes[17]);
    ck_assert_int_eq(ftruncate(journal.fd, 9000), 0);
    ck_assert_int_eq(open_result(path), FIRN_ECORRUPT);
    close_file(&journal);
    remove_tree(path);
}
END_TEST

START_TEST(the_journal_of_another_store_is_refused) {
    char *path = make_store("mine", 100);
    char *other_path = make_store("other", 100);
    char *from = join(other_path, "firn.journal");
    char *to = join(path, "firn.journal");
    ck_assert_int_eq(rename(from, to), 0);
    ck_assert_int_eq(open_result(path), FIRN_ECORRUPT);
    free(from);
    free(to);
    remove_tree(other_path);
    remove_tree(path);
}
END_TEST

/* ---- the callback ---- */

typedef struct told {
    unsigned findings;
    unsigned progress;
    unsigned stop_after; /* calls of any kind; 0: never */
    uint64_t done;
    uint64_t total;
} told;

static int listen(void *context, const char *finding, uint64_t done, uint64_t total) {
    told *self = context;
    ck_assert_uint_ge(done, self->done);
    ck_assert_uint_le(done, total);
    self->findings += finding != NULL;
    self->progress += finding == NULL;
    self->done = done;
    self->total = total;
    return self->stop_after != 0 && self->findings + self->progress >= self->stop_after;
}

START_TEST(the_callback_hears_of_progress_and_may_stop_it) {
    char *path = make_store("callback", ENTRIES);
    firn_store *store = open_store(path);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    told all = {0};
    ck_assert_int_eq(firn_store_verify(store, &report, listen, &all), FIRN_OK);
    ck_assert_uint_eq(all.findings, 0);
    ck_assert_uint_gt(all.progress, 2);
    ck_assert_uint_eq(all.done, 2 * ENTRIES);
    ck_assert_uint_eq(all.total, 2 * ENTRIES);
    told some = {.stop_after = 2};
    ck_assert_int_eq(firn_store_verify(store, &report, listen, &some), FIRN_AGAIN);
    ck_assert_uint_eq(some.progress, 2);
    ck_assert_uint_lt(report.records, ENTRIES);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, what_is_no_store_is_not_opened);
    tcase_add_test(tcase, arguments_that_make_no_sense_are_refused);
    tcase_add_test(tcase, a_store_without_entries_has_none);
    tcase_add_test(tcase, every_entry_is_given_once_in_order_with_its_value);
    tcase_add_test(tcase, other_calls_do_not_move_the_walk);
    tcase_add_test(tcase, the_facts_are_those_of_the_store);
    tcase_add_test(tcase, types_links_and_owners_are_given);
    tcase_add_test(tcase, a_listing_of_links_can_be_stopped);
    tcase_add_test(tcase, types_are_told_with_the_number_of_their_entries);
    tcase_add_test(tcase, a_name_is_known_as_soon_as_the_store_knows_it);
    tcase_add_test(tcase, links_that_make_no_sense_are_damage);
    tcase_add_test(tcase, shared_values_are_given_with_each_entry_and_counted_once);
    tcase_add_test(tcase, an_expired_entry_is_given_and_says_so);
    tcase_add_test(tcase, large_values_come_one_at_a_time);
    tcase_add_test(tcase, this_process_may_not_open_it_twice);
    tcase_add_test(tcase, a_live_writer_is_neither_met_nor_feared);
    tcase_add_test(tcase, what_the_journal_voids_is_not_given);
    tcase_add_test(tcase, a_damaged_record_is_told_and_the_others_are_given);
    tcase_add_test(tcase, damaged_pages_are_told_and_the_log_is_looked_into);
    tcase_add_test(tcase, index_and_records_must_fit_each_other);
    tcase_add_test(tcase, what_was_overwritten_and_deleted_is_no_finding);
    tcase_add_test(tcase, a_damaged_warm_list_is_told);
    tcase_add_test(tcase, a_damaged_file_of_links_is_told);
    tcase_add_test(tcase, a_damaged_journal_is_told);
    tcase_add_test(tcase, the_journal_of_another_store_is_refused);
    tcase_add_test(tcase, the_callback_hears_of_progress_and_may_stop_it);
}

int main(void) {
    return run_suite("store", add, 120);
}
