/* See lmdb_check.h. Offsets and flags are LMDB's, as its source tells them. */
#include "cold/lmdb_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum {
    PAGE_HEAD = 16,
    NODE_HEAD = 8,
    KEY_MAX = 511,
    DEPTH_MAX = 32,
    TOLD_MAX = 100,
    META_MAGIC_AT = 16,
    META_SIZE = 136,
    DB_SIZE = 48,
    PAGE_BRANCH = 1,
    PAGE_LEAF = 2,
    PAGE_OVERFLOW = 4,
    PAGE_META = 8,
    NODE_BIG = 1,
    NODE_SUBDB = 2,
    DB_INTEGERKEY = 8,
    DB_KNOWN_FLAGS = DB_INTEGERKEY,
};

#define META_MAGIC UINT32_C(0xBEEFC0DE)
#define NO_PAGE UINT64_MAX

typedef struct db {
    uint32_t pad;
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t entries;
    uint64_t root;
} db;

_Static_assert(sizeof(db) == DB_SIZE, "as LMDB lays it out");

typedef struct meta {
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_bytes;
    db free;
    db main;
    uint64_t last_page;
    uint64_t txn_id;
} meta;

_Static_assert(sizeof(meta) == META_SIZE, "as LMDB lays it out");

typedef struct page_checker {
    int fd;
    firn_heap *heap;
    void (*finding)(void *context, const char *text);
    void *context;
    firn_lmdb_check_report *report;
    unsigned char *used; /* a bit a page */
    size_t used_bytes;
    int failure; /* FIRN_EIO or FIRN_ENOMEM: give up */
} page_checker;

/* One tree's walk. */
typedef struct walk {
    page_checker *checker;
    const char *name;
    const db *tree;
    bool is_free_list;
    bool is_main;
    db seen; /* counts */
    unsigned char last_key[KEY_MAX];
    size_t last_size; /* of the last key met in order; 0: none yet */
    unsigned char *pages[DEPTH_MAX];
} walk;

static uint16_t u16_at(const unsigned char *from) {
    uint16_t number;
    memcpy(&number, from, sizeof number);
    return number;
}

static uint32_t u32_at(const unsigned char *from) {
    uint32_t number;
    memcpy(&number, from, sizeof number);
    return number;
}

static uint64_t u64_at(const unsigned char *from) {
    uint64_t number;
    memcpy(&number, from, sizeof number);
    return number;
}

__attribute__((format(printf, 2, 3))) static void find(page_checker *self, const char *format, ...) {
    self->report->findings++;
    if (self->finding == NULL || self->report->findings > TOLD_MAX) {
        return;
    }
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    self->finding(self->context, text);
}

/* Marks a run of pages as used. False: it lies outside of the file, or was used before. */
static bool claim(page_checker *self, uint64_t first, uint64_t count, const char *who) {
    uint64_t last = self->report->last_page;
    if (first < 2 || first > last || count > last - first + 1) {
        find(self, "%s: pages %llu (%llu of them) are outside of the file", who,
             (unsigned long long)first, (unsigned long long)count);
        return false;
    }
    for (uint64_t page = first; page < first + count; page++) {
        unsigned char bit = (unsigned char)(1 << (page % 8));
        if ((self->used[page / 8] & bit) != 0) {
            find(self, "%s: page %llu is used twice", who, (unsigned long long)page);
            return false;
        }
        self->used[page / 8] |= bit;
    }
    self->report->pages += count;
    return true;
}

static bool read_bytes(page_checker *self, void *to, size_t size, uint64_t offset) {
    if (firn_read_at(self->fd, to, size, offset) == 0) {
        return true;
    }
    if (errno == 0) {
        find(self, "the file ends before offset %llu", (unsigned long long)(offset + size));
    } else {
        self->failure = FIRN_EIO;
    }
    return false;
}

static int compare_keys(const walk *self, const unsigned char *a, size_t a_size,
                        const unsigned char *b, size_t b_size) {
    if ((self->tree->flags & DB_INTEGERKEY) != 0) {
        uint64_t left = u64_at(a);
        uint64_t right = u64_at(b);
        return left < right ? -1 : left > right;
    }
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : a_size < b_size ? -1 : a_size > b_size;
}

/* Keys in order of the walk must grow; a branch's key may be equal to the leaf's that follows. */
static void check_order(walk *self, const unsigned char *key, size_t size, bool is_branch,
                        uint64_t page) {
    static const char *const what[] = {"leaf", "branch"};
    if (self->last_size > 0) {
        int order = compare_keys(self, self->last_key, self->last_size, key, size);
        if (order > 0 || (order == 0 && self->seen.pad == 0)) {
            find(self->checker, "%s: page %llu: a %s key is out of order", self->name,
                 (unsigned long long)page, what[is_branch]);
        }
    }
    memcpy(self->last_key, key, size);
    self->last_size = size;
    self->seen.pad = is_branch; /* whether the last key was a branch's */
}

static void check_big(walk *self, uint64_t first, uint64_t size) {
    page_checker *checker = self->checker;
    uint32_t page_bytes = checker->report->page_bytes;
    if (first < 2 || first > checker->report->last_page) {
        find(checker, "%s: a large value begins outside of the file", self->name);
        return;
    }
    unsigned char head[PAGE_HEAD];
    if (!read_bytes(checker, head, sizeof head, first * page_bytes)) {
        return;
    }
    uint64_t pages = u32_at(head + 12);
    uint64_t needed = (PAGE_HEAD - 1 + size) / page_bytes + 1;
    if (u64_at(head) != first || u16_at(head + 10) != PAGE_OVERFLOW || pages < needed) {
        find(checker, "%s: page %llu is not the large value it should be", self->name,
             (unsigned long long)first);
        return;
    }
    if (claim(checker, first, pages, self->name)) {
        self->seen.overflow_pages += pages;
    }
}

/* A value of the free list: a count, then as many pages in falling order. */
static void check_free_pages(walk *self, const unsigned char *inline_data, uint64_t size,
                             uint64_t big_page) {
    page_checker *checker = self->checker;
    unsigned char word[8];
    uint64_t offset = big_page * checker->report->page_bytes + PAGE_HEAD;
    uint64_t count = 0;
    uint64_t last = NO_PAGE;
    for (uint64_t i = 0; i <= count && checker->failure == 0; i++) {
        if ((i + 1) * 8 > size) {
            find(checker, "free list: a value is cut off");
            return;
        }
        if (inline_data != NULL) {
            memcpy(word, inline_data + i * 8, 8);
        } else if (!read_bytes(checker, word, 8, offset + i * 8)) {
            return;
        }
        uint64_t number = u64_at(word);
        if (i == 0) {
            count = number;
        } else if (number >= last || !claim(checker, number, 1, "free list")) {
            find(checker, "free list: a bad page number");
            return;
        } else {
            last = number;
        }
    }
}

static void check_tree(page_checker *self, const db *tree, const char *name, bool is_free_list,
                       bool is_main);

static void check_leaf_node(walk *self, const unsigned char *node, size_t room, uint64_t page) {
    page_checker *checker = self->checker;
    size_t key_size = u16_at(node + 6);
    uint16_t flags = u16_at(node + 4);
    uint64_t size = u16_at(node) | (uint64_t)u16_at(node + 2) << 16;
    const unsigned char *data = node + NODE_HEAD + key_size;
    uint64_t stored = (flags & NODE_BIG) != 0 ? 8 : size;
    if ((flags & ~(NODE_BIG | NODE_SUBDB)) != 0 || stored > room - NODE_HEAD - key_size ||
        (flags & (NODE_BIG | NODE_SUBDB)) == (NODE_BIG | NODE_SUBDB)) {
        find(checker, "%s: page %llu: a node's flags or size are wrong", self->name,
             (unsigned long long)page);
        return;
    }
    self->seen.entries++;
    check_order(self, node + NODE_HEAD, key_size, false, page);
    uint64_t big_page = 0;
    if ((flags & NODE_BIG) != 0) {
        big_page = u64_at(data);
        uint64_t findings = checker->report->findings;
        check_big(self, big_page, size);
        if (checker->report->findings != findings) {
            return;
        }
    }
    if (self->is_free_list) {
        check_free_pages(self, (flags & NODE_BIG) != 0 ? NULL : data, size, big_page);
    }
    if ((flags & NODE_SUBDB) != 0) {
        db tree;
        if (!self->is_main || size != sizeof tree) {
            find(checker, "%s: page %llu: a database where none may be", self->name,
                 (unsigned long long)page);
            return;
        }
        memcpy(&tree, data, sizeof tree);
        char name[64];
        snprintf(name, sizeof name, "database %.*s", (int)(key_size < 40 ? key_size : 40),
                 (const char *)node + NODE_HEAD);
        check_tree(checker, &tree, name, false, false);
    }
}

static void check_page(walk *self, uint64_t page, unsigned depth);

static void check_node(walk *self, const unsigned char *bytes, size_t at, bool is_branch,
                       unsigned number, uint64_t page, unsigned depth) {
    page_checker *checker = self->checker;
    size_t room = checker->report->page_bytes - at;
    const unsigned char *node = bytes + at;
    size_t key_size = u16_at(node + 6);
    bool integer = (self->tree->flags & DB_INTEGERKEY) != 0;
    bool unused_key = is_branch && number == 0; /* LMDB never looks at it */
    if (key_size > KEY_MAX || key_size > room - NODE_HEAD ||
        (!unused_key && (key_size == 0 || (integer && key_size != 8)))) {
        find(checker, "%s: page %llu: a key's size is wrong", self->name,
             (unsigned long long)page);
        return;
    }
    if (!is_branch) {
        check_leaf_node(self, node, room, page);
        return;
    }
    if (!unused_key) {
        check_order(self, node + NODE_HEAD, key_size, true, page);
    }
    uint64_t child = u16_at(node) | (uint64_t)u16_at(node + 2) << 16 |
                     (uint64_t)u16_at(node + 4) << 32;
    check_page(self, child, depth + 1);
}

static void check_nodes(walk *self, const unsigned char *bytes, uint64_t page, unsigned depth) {
    page_checker *checker = self->checker;
    size_t page_bytes = checker->report->page_bytes;
    size_t lower = u16_at(bytes + 12);
    size_t upper = u16_at(bytes + 14);
    bool is_branch = u16_at(bytes + 10) == PAGE_BRANCH;
    unsigned count = lower >= PAGE_HEAD ? (unsigned)(lower - PAGE_HEAD) / 2 : 0;
    unsigned least = is_branch && !self->is_free_list ? 2 : 1;
    if (lower < PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > page_bytes ||
        count < least) {
        find(checker, "%s: page %llu: its bounds are wrong", self->name, (unsigned long long)page);
        return;
    }
    for (unsigned i = 0; i < count && checker->failure == 0; i++) {
        size_t at = u16_at(bytes + PAGE_HEAD + 2 * i);
        if (at < upper || at % 2 != 0 || at > page_bytes - NODE_HEAD) {
            find(checker, "%s: page %llu: node %u lies outside of the page", self->name,
                 (unsigned long long)page, i);
            return;
        }
        check_node(self, bytes, at, is_branch, i, page, depth);
    }
}

/* Recursion ends with the depth that the tree tells, 32 at the most. */
static void check_page(walk *self, uint64_t page, unsigned depth) {
    page_checker *checker = self->checker;
    if (checker->failure != 0 || !claim(checker, page, 1, self->name)) {
        return;
    }
    size_t page_bytes = checker->report->page_bytes;
    if (self->pages[depth] == NULL) {
        self->pages[depth] = firn_heap_alloc(checker->heap, page_bytes);
        if (self->pages[depth] == NULL) {
            checker->failure = FIRN_ENOMEM;
            return;
        }
    }
    unsigned char *bytes = self->pages[depth];
    if (!read_bytes(checker, bytes, page_bytes, page * page_bytes)) {
        return;
    }
    bool is_leaf = depth + 1u == self->tree->depth;
    if (u64_at(bytes) != page || u16_at(bytes + 10) != (is_leaf ? PAGE_LEAF : PAGE_BRANCH)) {
        find(checker, "%s: page %llu is not what the tree says", self->name,
             (unsigned long long)page);
        return;
    }
    if (is_leaf) {
        self->seen.leaf_pages++;
    } else {
        self->seen.branch_pages++;
    }
    check_nodes(self, bytes, page, depth);
}

static void check_counts(const walk *self) {
    const db *said = self->tree;
    const db *seen = &self->seen;
    if (said->branch_pages != seen->branch_pages || said->leaf_pages != seen->leaf_pages ||
        said->overflow_pages != seen->overflow_pages || said->entries != seen->entries) {
        find(self->checker, "%s: its counts of pages and entries are wrong", self->name);
    }
}

static void check_tree(page_checker *self, const db *tree, const char *name, bool is_free_list,
                       bool is_main) {
    walk *state = firn_heap_zalloc(self->heap, sizeof *state);
    if (state == NULL) {
        self->failure = FIRN_ENOMEM;
        return;
    }
    state->checker = self;
    state->name = name;
    state->tree = tree;
    state->is_free_list = is_free_list;
    state->is_main = is_main;
    if (tree->depth > DEPTH_MAX || (tree->depth == 0) != (tree->root == NO_PAGE) ||
        (!is_free_list && (tree->flags & ~DB_KNOWN_FLAGS) != 0)) {
        find(self, "%s: its head is wrong", name);
    } else {
        if (tree->depth > 0) {
            check_page(state, tree->root, 0);
        }
        check_counts(state);
    }
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        firn_heap_free(self->heap, state->pages[i], self->report->page_bytes);
    }
    firn_heap_free(self->heap, state, sizeof *state);
}

/* What is wrong with one meta page; NULL: nothing. */
static const char *check_meta(const unsigned char *page, const meta *head, uint32_t page_bytes) {
    if ((u16_at(page + 10) & PAGE_META) == 0 || head->magic != META_MAGIC) {
        return "a meta page is not one";
    }
    if (head->version != 1) {
        return "another version of LMDB's format";
    }
    uint32_t size = head->free.pad;
    if (size < 256 || size > 65536 || (size & (size - 1)) != 0 ||
        (page_bytes != 0 && size != page_bytes)) {
        return "the page size is wrong";
    }
    return NULL;
}

static int read_meta(int fd, uint64_t offset, uint32_t page_bytes, meta *head,
                     const char **wrong) {
    unsigned char page[PAGE_HEAD + META_SIZE];
    if (firn_read_at(fd, page, sizeof page, offset) != 0) {
        *wrong = "it is too short";
        return errno == 0 ? FIRN_ENOTSTORE : FIRN_EIO;
    }
    memcpy(head, page + META_MAGIC_AT, sizeof *head);
    *wrong = check_meta(page, head, page_bytes);
    if (*wrong == NULL) {
        return FIRN_OK;
    }
    return head->magic != META_MAGIC ? FIRN_ENOTSTORE
           : head->version != 1      ? FIRN_EVERSION
                                     : FIRN_ECORRUPT;
}

/* Reads both meta pages and chooses the newer. */
static int read_head(int fd, meta *newest, firn_lmdb_check_report *report, const char **wrong) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        *wrong = "cannot tell its size";
        return FIRN_EIO;
    }
    meta heads[2];
    int result = read_meta(fd, 0, 0, &heads[0], wrong);
    if (result != FIRN_OK) {
        return result;
    }
    uint32_t page_bytes = heads[0].free.pad;
    result = read_meta(fd, page_bytes, page_bytes, &heads[1], wrong);
    if (result != FIRN_OK) {
        return result == FIRN_EIO ? FIRN_EIO : FIRN_ECORRUPT;
    }
    *newest = heads[1].txn_id > heads[0].txn_id ? heads[1] : heads[0];
    report->page_bytes = page_bytes;
    report->txn_id = newest->txn_id;
    report->last_page = newest->last_page;
    report->file_bytes = (uint64_t)status.st_size;
    if (newest->last_page < 1 || newest->last_page >= report->file_bytes / page_bytes) {
        *wrong = "it is shorter than what was written to it";
        return FIRN_ECORRUPT;
    }
    return FIRN_OK;
}

static int open_data(const char *data_path, int *fd) {
    *fd = open(data_path, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? FIRN_OK : errno == ENOENT ? FIRN_NOT_FOUND : FIRN_EIO;
}

int firn_lmdb_check_head(const char *data_path, firn_detail *detail) {
    int fd;
    int result = open_data(data_path, &fd);
    if (result != FIRN_OK) {
        return firn_detail_set(detail, result, "%s: cannot open: %s", data_path, strerror(errno));
    }
    meta newest;
    firn_lmdb_check_report report = {0};
    const char *wrong = NULL;
    result = read_head(fd, &newest, &report, &wrong);
    close(fd);
    if (result != FIRN_OK) {
        firn_detail_set(detail, result, "%s: damaged, or no data file of firn: %s", data_path,
                        wrong);
    }
    return result;
}

static int check_trees(page_checker *self, const meta *newest) {
    self->used_bytes = (size_t)(newest->last_page / 8 + 1);
    self->used = firn_heap_zalloc(self->heap, self->used_bytes);
    if (self->used == NULL) {
        return FIRN_ENOMEM;
    }
    db free_list = newest->free;
    free_list.flags = DB_INTEGERKEY;
    check_tree(self, &free_list, "free list", true, false);
    check_tree(self, &newest->main, "main", false, true);
    firn_heap_free(self->heap, self->used, self->used_bytes);
    return self->failure != 0 ? self->failure
                              : (self->report->findings == 0 ? FIRN_OK : FIRN_ECORRUPT);
}

int firn_lmdb_check(const char *data_path, firn_heap *heap,
                    void (*finding)(void *context, const char *text), void *context,
                    firn_lmdb_check_report *report) {
    *report = (firn_lmdb_check_report){0};
    page_checker self = {
        .fd = -1, .heap = heap, .finding = finding, .context = context, .report = report};
    int result = open_data(data_path, &self.fd);
    if (result != FIRN_OK) {
        return result;
    }
    meta newest;
    const char *wrong = NULL;
    result = read_head(self.fd, &newest, report, &wrong);
    if (result == FIRN_OK) {
        result = check_trees(&self, &newest);
    } else if (result != FIRN_EIO) {
        find(&self, "%s", wrong);
    }
    close(self.fd);
    return result;
}
