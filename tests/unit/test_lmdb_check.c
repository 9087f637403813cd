/* The page check: it passes what LMDB writes, refuses what is damaged, and never passes what makes
 * LMDB crash. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "base/heap.h"
#include "cold/lmdb_check.h"

#include "lmdb_exercise.h"
#include "unit/suite.h"
#include "unit/support.h"

typedef struct bytes {
    unsigned char *data;
    size_t size;
} bytes;

/* Small and repeatable: a test that fails must fail again. */
static uint64_t random_state;

static uint64_t random_below(uint64_t limit) {
    random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = random_state;
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return (x ^ x >> 31) % limit;
}

/* ---- stores ---- */

typedef struct fixture {
    char *path; /* of the data file */
    MDB_env *env;
    uint64_t sequence;
} fixture;

static void open_env(fixture *self) {
    ck_assert_int_eq(mdb_env_create(&self->env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(self->env, 8), 0);
    ck_assert_int_eq(mdb_env_set_mapsize(self->env, 64 << 20), 0);
    ck_assert_int_eq(
        mdb_env_open(self->env, self->path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600), 0);
}

static fixture make(const char *name) {
    fixture self = {.path = scratch_path(name)};
    random_state = 1;
    open_env(&self);
    return self;
}

static void drop(fixture *self) {
    if (self->env != NULL) {
        mdb_env_close(self->env);
    }
    remove_tree(self->path);
}

static void put(MDB_txn *txn, MDB_dbi dbi, void *key, size_t key_size, size_t value_size,
                unsigned flags) {
    static unsigned char filler[40000];
    MDB_val k = {key_size, key};
    MDB_val v = {value_size, filler};
    memset(filler, (int)random_below(256), value_size < 64 ? value_size : 64);
    ck_assert_int_eq(mdb_put(txn, dbi, &k, &v, flags), 0);
}

static void random_string(unsigned char *key, size_t *size) {
    *size = random_below(20) == 0 ? 1 + random_below(511) : 1 + random_below(12);
    for (size_t i = 0; i < *size; i++) {
        key[i] = (unsigned char)('a' + random_below(4));
    }
}

static size_t random_size(void) {
    static const unsigned limits[] = {10, 100, 1000, 5000, 30000};
    return random_below(limits[random_below(5)]);
}

static void delete_some(MDB_txn *txn, MDB_dbi dbi, uint64_t count, bool from_front) {
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    ck_assert_int_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t near = random_below(UINT64_MAX);
        key = (MDB_val){sizeof near, &near};
        int rc = from_front ? mdb_cursor_get(cursor, &key, &data, MDB_FIRST)
                            : mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
        if (rc == 0) {
            ck_assert_int_eq(mdb_cursor_del(cursor, 0), 0);
        }
    }
    mdb_cursor_close(cursor);
}

/* One commit: what a cache's writer does to LMDB, and more. */
static void batch(fixture *self, uint64_t operations) {
    MDB_txn *txn;
    MDB_dbi dbi[EXERCISE_DATABASES];
    ck_assert_int_eq(mdb_txn_begin(self->env, NULL, 0, &txn), 0);
    for (unsigned i = 0; i < EXERCISE_DATABASES; i++) {
        ck_assert_int_eq(mdb_dbi_open(txn, exercise_databases[i].name,
                                      exercise_databases[i].flags | MDB_CREATE, &dbi[i]),
                         0);
    }
    for (uint64_t i = 0; i < operations; i++) {
        unsigned char text[511];
        size_t text_size;
        uint64_t hash = random_below(UINT64_MAX);
        uint64_t sequence = ++self->sequence;
        random_string(text, &text_size);
        put(txn, dbi[0], &sequence, sizeof sequence, random_size(), MDB_APPEND);
        put(txn, dbi[1], &hash, sizeof hash, 8, 0);
        put(txn, dbi[2], text, text_size, random_size() / 4, 0);
    }
    delete_some(txn, dbi[0], random_below(operations + operations / 3), true);
    delete_some(txn, dbi[1], random_below(operations + operations / 3), false);
    delete_some(txn, dbi[2], random_below(operations), false);
    if (random_below(25) == 0) {
        ck_assert_int_eq(mdb_drop(txn, dbi[random_below(EXERCISE_DATABASES)], 0), 0);
    }
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
}

/* ---- checking ---- */

static void keep_finding(void *context, const char *text) {
    char *first = context;
    if (first[0] == '\0') {
        snprintf(first, 200, "%s", text);
    }
}

static int check(const char *path, firn_lmdb_check_report *report, char *first) {
    firn_lmdb_check_report unused;
    char unused_text[200];
    report = report != NULL ? report : &unused;
    first = first != NULL ? first : unused_text;
    first[0] = '\0';
    firn_heap *heap = firn_heap_new(NULL);
    int result = firn_lmdb_check(path, heap, keep_finding, first, report);
    firn_heap_unref(heap);
    ck_assert_msg((result == FIRN_OK) == (report->findings == 0), "result %d, %llu findings",
                  result, (unsigned long long)report->findings);
    return result;
}

static void assert_sound(const char *path) {
    char first[200];
    int result = check(path, NULL, first);
    ck_assert_msg(result == FIRN_OK, "a sound file: %s: %s", firn_strerror(result), first);
    ck_assert_int_eq(firn_lmdb_check_head(path, NULL), FIRN_OK);
}

static void write_all(const char *path, const bytes *content, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content->data, size), (ssize_t)size);
    close(fd);
}

static bytes read_all(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    bytes content = {malloc((size_t)status.st_size + 1), (size_t)status.st_size};
    ck_assert_ptr_nonnull(content.data);
    ck_assert_int_eq(read(fd, content.data, content.size), (ssize_t)content.size);
    close(fd);
    return content;
}

/* Whether LMDB lives through reading and writing the file. */
static bool lmdb_survives(const char *path) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        alarm(60);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        lmdb_exercise(path);
        _exit(0);
    }
    int status;
    while (waitpid(child, &status, 0) < 0) {
        ck_assert_int_eq(errno, EINTR);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- tests ---- */

START_TEST(what_lmdb_writes_passes_after_every_commit) {
    fixture self = make("sound");
    for (unsigned i = 0; i < 300; i++) {
        batch(&self, 1 + random_below(i % 50 == 49 ? 600 : 40));
        assert_sound(self.path);
        if (i % 60 == 0) { /* reopened, LMDB forgets what free pages it had in hand */
            mdb_env_close(self.env);
            open_env(&self);
        }
    }
    drop(&self);
}
END_TEST

START_TEST(an_environment_without_databases_passes) {
    fixture self = make("bare");
    assert_sound(self.path);
    drop(&self);
}
END_TEST

START_TEST(the_report_counts_pages_of_trees_and_free_list) {
    fixture self = make("counted");
    for (unsigned i = 0; i < 20; i++) {
        batch(&self, 50);
    }
    firn_lmdb_check_report report;
    MDB_envinfo info;
    ck_assert_int_eq(mdb_env_info(self.env, &info), 0);
    ck_assert_int_eq(check(self.path, &report, NULL), FIRN_OK);
    ck_assert_uint_eq(report.txn_id, info.me_last_txnid);
    ck_assert_uint_eq(report.last_page, info.me_last_pgno);
    ck_assert_uint_eq(report.page_bytes, (uint64_t)sysconf(_SC_PAGESIZE));
    /* Each page but the two meta pages is in use or free. */
    ck_assert_uint_eq(report.pages, report.last_page - 1);
    drop(&self);
}
END_TEST

START_TEST(a_file_that_lacks_only_free_pages_at_its_end_passes) {
    fixture self = make("short");
    for (unsigned i = 0; i < 30; i++) {
        batch(&self, 30);
    }
    /* A large value that is made and taken away in one transaction is never written. */
    MDB_txn *txn;
    MDB_dbi dbi;
    ck_assert_int_eq(mdb_txn_begin(self.env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "records", MDB_INTEGERKEY, &dbi), 0);
    delete_some(txn, dbi, 20, true);
    uint64_t sequence = ++self.sequence;
    static unsigned char large[8 << 20];
    MDB_val key = {sizeof sequence, &sequence};
    MDB_val value = {sizeof large, large};
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &value, MDB_APPEND), 0);
    ck_assert_int_eq(mdb_del(txn, dbi, &key, NULL), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    firn_lmdb_check_report report;
    ck_assert_int_eq(check(self.path, &report, NULL), FIRN_OK);
    ck_assert_uint_lt(report.file_bytes, (report.last_page + 1) * report.page_bytes);
    assert_sound(self.path);
    drop(&self);
}
END_TEST

START_TEST(what_is_no_lmdb_file_is_told_apart_from_a_damaged_one) {
    fixture self = make("kinds");
    batch(&self, 20);
    mdb_env_close(self.env);
    self.env = NULL;
    bytes content = read_all(self.path);
    ck_assert_int_eq(unlink(self.path), 0);
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_NOT_FOUND);
    write_file(self.path, "A text that happens to lie here, and is no store of anything at all.");
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_ENOTSTORE);
    ck_assert_int_eq(check(self.path, NULL, NULL), FIRN_ENOTSTORE);
    write_all(self.path, &content, 0);
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_ECORRUPT);
    write_all(self.path, &content, 60);
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_ECORRUPT);
    write_all(self.path, &content, 5000);
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_ECORRUPT);
    content.data[16] ^= 1; /* the first meta page's magic */
    write_all(self.path, &content, content.size);
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_ECORRUPT);
    content.data[16] ^= 1;
    content.data[20] = 2; /* its version */
    write_all(self.path, &content, content.size);
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_EVERSION);
    memset(content.data, 0, content.size);
    write_all(self.path, &content, content.size);
    ck_assert_int_eq(firn_lmdb_check_head(self.path, NULL), FIRN_ECORRUPT);
    free(content.data);
    drop(&self);
}
END_TEST

START_TEST(a_folder_or_a_pipe_is_no_store) {
    char *path = scratch_path("folder");
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(firn_lmdb_check_head(path, NULL), FIRN_ENOTSTORE);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(firn_lmdb_check_head(path, NULL), FIRN_ENOTSTORE);
    remove_tree(path);
}
END_TEST

/* Takes the file of one store apart, to say which bytes are structure. */
static uint16_t u16_of(const unsigned char *from) {
    uint16_t number;
    memcpy(&number, from, sizeof number);
    return number;
}

static void mark_page(const unsigned char *page, unsigned char *structure) {
    memset(structure, 1, 8);
    memset(structure + 10, 1, 6);
    bool is_leaf = u16_of(page + 10) == 2;
    for (size_t i = 16; i < u16_of(page + 12); i += 2) {
        size_t at = u16_of(page + i);
        memset(structure + i, 1, 2);
        unsigned flags = u16_of(page + at + 4);
        size_t key_size = u16_of(page + at + 6);
        bool is_big = is_leaf && (flags & 1) != 0;
        /* Of a large value's size only the pages are structure. A node of odd size is padded, which
         * hides a change by one. */
        size_t stored = is_leaf && !is_big ? u16_of(page + at) : 0;
        bool is_even = (key_size + stored) % 2 == 0;
        memset(structure + at, is_big ? 0 : 1, 4);
        memset(structure + at + 4, 1, 4);
        if (!is_even) {
            structure[at] = !is_leaf;
            structure[at + 6] = 0;
        }
        if (is_big) {
            memset(structure + at + 8 + key_size, 1, 8);
        }
        if (is_leaf && (flags & 2) != 0) { /* a database */
            memset(structure + at + 8 + key_size, 1, 48);
        }
    }
}

static unsigned char *mark_structure(const bytes *content, size_t page_bytes) {
    unsigned char *structure = calloc(1, content->size);
    ck_assert_ptr_nonnull(structure);
    size_t newest = content->data[16 + 128] > content->data[page_bytes + 16 + 128] ? 0 : 1;
    memset(structure, 1, 8);
    memset(structure + 10, 1, 2);
    memset(structure + page_bytes, 1, 8);
    memset(structure + page_bytes + 10, 1, 2);
    memset(structure + newest * page_bytes + 16 + 24, 1, 96 + 16); /* trees, last page, commit */
    for (size_t page = 2; page < content->size / page_bytes; page++) {
        const unsigned char *from = content->data + page * page_bytes;
        if (u16_of(from + 10) == 4) {
            memset(structure + page * page_bytes, 1, 8);
            memset(structure + page * page_bytes + 10, 1, 2);
            uint32_t pages;
            memcpy(&pages, from + 12, sizeof pages);
            page += pages - 1;
        } else {
            mark_page(from, structure + page * page_bytes);
        }
    }
    return structure;
}

START_TEST(every_flipped_bit_of_structure_is_found) {
    fixture self = make("flips");
    char *copy = scratch_path("flips-copy");
    MDB_txn *txn;
    for (unsigned i = 0; i < 3; i++) {
        batch(&self, 60);
    }
    ck_assert_int_eq(mdb_txn_begin(self.env, NULL, 0, &txn), 0);
    MDB_dbi dbi;
    ck_assert_int_eq(mdb_dbi_open(txn, "index", MDB_INTEGERKEY, &dbi), 0);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t hash = random_below(UINT64_MAX);
        put(txn, dbi, &hash, sizeof hash, 8, 0);
    }
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    /* A compact copy has no free pages: every page is in use. */
    ck_assert_int_eq(mdb_env_copy2(self.env, copy, MDB_CP_COMPACT), 0);
    assert_sound(copy);
    bytes content = read_all(copy);
    unsigned char *structure = mark_structure(&content, (size_t)sysconf(_SC_PAGESIZE));
    int fd = open(copy, O_WRONLY);
    uint64_t flipped = 0;
    for (size_t i = 0; i < content.size; i++) {
        if (!structure[i]) {
            continue;
        }
        unsigned char byte = content.data[i] ^ (unsigned char)(1 << random_below(8));
        ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)i), 1);
        /* The whole file is walked each time: a part of the bits will do. */
        if (random_below(8) == 0) {
            int result = check(copy, NULL, NULL);
            ck_assert_msg(result == FIRN_ECORRUPT,
                          "byte %zu of page %zu: %02x instead of %02x was not found",
                          i % (size_t)sysconf(_SC_PAGESIZE), i / (size_t)sysconf(_SC_PAGESIZE),
                          byte, content.data[i]);
            flipped++;
        }
        ck_assert_int_eq(pwrite(fd, content.data + i, 1, (off_t)i), 1);
    }
    close(fd);
    ck_assert_uint_gt(flipped, 500);
    free(structure);
    free(content.data);
    remove_tree(copy);
    drop(&self);
}
END_TEST

/* One random damage of the file's bytes: returns the size it is cut to. */
static size_t damage(const bytes *content, unsigned char *to) {
    memcpy(to, content->data, content->size);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = content->size / page;
    unsigned times = 1 + (unsigned)random_below(3);
    for (unsigned i = 0; i < times; i++) {
        size_t in = random_below(pages) * page;
        switch (random_below(7)) {
        case 0: /* anywhere */
            to[random_below(content->size)] ^= (unsigned char)(1 << random_below(8));
            break;
        case 1: /* in a page's head and pointers */
            to[in + random_below(64)] = (unsigned char)random_below(256);
            break;
        case 2: /* in a meta page */
            to[random_below(2) * page + random_below(152)] ^= (unsigned char)(1 << random_below(8));
            break;
        case 3: /* a page that is another's */
            memcpy(to + in, content->data + random_below(pages) * page, page);
            break;
        case 4: /* a sector of zeroes */
            memset(to + random_below(content->size / 512) * 512, 0, 512);
            break;
        case 5: /* a number put where another stood */
            memcpy(to + in + random_below(page / 2) * 2,
                   &(uint16_t){(uint16_t)random_below(page + 16)}, 2);
            break;
        default: /* the end of a page, where the nodes are */
            to[in + page - 1 - random_below(200)] ^= (unsigned char)(1 << random_below(8));
            break;
        }
    }
    return random_below(10) == 0 ? random_below(content->size) : content->size;
}

START_TEST(lmdb_survives_whatever_passes) {
    const char *wish = getenv("FIRN_TEST_DAMAGES");
    unsigned rounds = wish != NULL ? (unsigned)strtoul(wish, NULL, 10) : 4000;
    fixture self = make("damaged");
    unsigned passed = 0;
    unsigned char *damaged = NULL;
    bytes content = {NULL, 0};
    for (unsigned i = 0; i < rounds; i++) {
        if (i % 500 == 0) { /* another sound file to begin with */
            random_state = i;
            self.sequence = 0;
            if (self.env == NULL) {
                clear_tree(self.path);
                open_env(&self);
            }
            for (unsigned k = 0; k < 4 + i / 500 % 8; k++) {
                batch(&self, 5 + random_below(30));
            }
            mdb_env_close(self.env);
            self.env = NULL;
            assert_sound(self.path);
            free(content.data);
            free(damaged);
            content = read_all(self.path);
            damaged = malloc(content.size);
            ck_assert_ptr_nonnull(damaged);
            ck_assert(lmdb_survives(self.path));
        }
        bytes now = {damaged, damage(&content, damaged)};
        write_all(self.path, &now, now.size);
        if (check(self.path, NULL, NULL) == FIRN_OK) {
            passed++;
            if (!lmdb_survives(self.path)) {
                char *kept = scratch_path("that-kills");
                write_all(kept, &now, now.size);
                ck_abort_msg("round %u: LMDB died of a file that passed, kept as %s", i, kept);
            }
        }
    }
    ck_assert_uint_gt(passed, 0);
    ck_assert_uint_lt(passed, rounds);
    free(content.data);
    free(damaged);
    drop(&self);
}
END_TEST

/* Gives out no more than so many blocks. */
typedef struct ration {
    unsigned left;
} ration;

static void *ration_alloc(void *context, size_t size) {
    ration *self = context;
    if (self->left == 0) {
        return NULL;
    }
    self->left--;
    return malloc(size);
}

static void ration_free(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

START_TEST(memory_that_runs_out_is_told) {
    fixture self = make("poor");
    batch(&self, 100);
    int result = FIRN_ENOMEM;
    unsigned blocks = 2;
    for (; result == FIRN_ENOMEM && blocks < 100; blocks++) {
        ration some = {blocks};
        firn_allocator allocator = {.alloc = ration_alloc, .free = ration_free, .context = &some};
        firn_heap *heap = firn_heap_new(&allocator);
        ck_assert_ptr_nonnull(heap);
        firn_lmdb_check_report report;
        result = firn_lmdb_check(self.path, heap, NULL, NULL, &report);
        firn_heap_unref(heap);
    }
    ck_assert_int_eq(result, FIRN_OK);
    ck_assert_uint_gt(blocks, 4);
    drop(&self);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, what_lmdb_writes_passes_after_every_commit);
    tcase_add_test(tcase, an_environment_without_databases_passes);
    tcase_add_test(tcase, the_report_counts_pages_of_trees_and_free_list);
    tcase_add_test(tcase, a_file_that_lacks_only_free_pages_at_its_end_passes);
    tcase_add_test(tcase, what_is_no_lmdb_file_is_told_apart_from_a_damaged_one);
    tcase_add_test(tcase, a_folder_or_a_pipe_is_no_store);
    tcase_add_test(tcase, every_flipped_bit_of_structure_is_found);
    tcase_add_test(tcase, lmdb_survives_whatever_passes);
    tcase_add_test(tcase, memory_that_runs_out_is_told);
}

int main(void) {
    return run_suite("lmdb check", add, 240);
}
