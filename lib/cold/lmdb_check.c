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
    PAGE_BYTES_MIN = 256,
    PAGE_BYTES_MAX = 32768,
    FREE_WORDS = 512, /* page numbers of the free list read at a time */
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
    ENV_NOSUBDIR = 0x4000, /* of the environment, kept beside the free list's flags */
};

#define META_MAGIC    UINT32_C(0xBEEFC0DE)
#define MAP_BYTES_MAX (UINT64_C(1) << 46)
#define NO_PAGE       UINT64_MAX

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
    uint64_t file_pages;
    unsigned char *used; /* a bit a page */
    size_t used_bytes;
    unsigned char *covered; /* a byte for each of the page whose layout is looked at */
    int failure;            /* FIRN_EIO or FIRN_ENOMEM: give up */
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
    size_t last_size;    /* of the last key met in order; 0: none yet */
    bool last_of_branch; /* it was a branch's, which the leaf's may equal */
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

__attribute__((format(printf, 2, 3))) static void find(page_checker *self, const char *format,
                                                       ...) {
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

/* Marks a run of pages as used. False: it lies outside of those below `end`, or was used before. */
static bool claim(page_checker *self, uint64_t first, uint64_t count, uint64_t end,
                  const char *who) {
    if (first < 2 || first >= end || count > end - first) {
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

/* Pages that hold something must be in the file, and not above the last that was ever given out. */
static uint64_t stored_end(const page_checker *self) {
    uint64_t end = self->report->last_page + 1;
    return end < self->file_pages ? end : self->file_pages;
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
        if (order > 0 || (order == 0 && !self->last_of_branch)) {
            find(self->checker, "%s: page %llu: a %s key is out of order", self->name,
                 (unsigned long long)page, what[is_branch]);
        }
    }
    memcpy(self->last_key, key, size);
    self->last_size = size;
    self->last_of_branch = is_branch;
}

static void check_big(walk *self, uint64_t first, uint64_t size) {
    page_checker *checker = self->checker;
    uint32_t page_bytes = checker->report->page_bytes;
    if (first < 2 || first >= stored_end(checker)) {
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
    if (claim(checker, first, pages, stored_end(checker), self->name)) {
        self->seen.overflow_pages += pages;
    }
}

/* Part of a free list's value: page numbers in falling order. */
static bool claim_free(page_checker *self, const unsigned char *words, size_t count,
                       uint64_t *last) {
    for (size_t i = 0; i < count; i++) {
        uint64_t number = u64_at(words + i * 8);
        if (number >= *last) {
            find(self, "free list: page %llu is out of order", (unsigned long long)number);
            return false;
        }
        *last = number;
        /* Free pages at the end need not be in the file. */
        if (!claim(self, number, 1, self->report->last_page + 1, "free list")) {
            return false;
        }
    }
    return true;
}

/* A value of the free list: a count, then as many pages. It lies in the page, or, if inline_data is
 * NULL, at the large page. */
static void check_free_pages(page_checker *self, const unsigned char *inline_data, uint64_t size,
                             uint64_t big_page) {
    unsigned char words[FREE_WORDS * 8];
    uint64_t offset = big_page * self->report->page_bytes + PAGE_HEAD;
    if (size < 8 || size % 8 != 0) {
        find(self, "free list: a value's size is wrong");
        return;
    }
    uint64_t last = NO_PAGE;
    for (uint64_t at = 0; at < size;) {
        size_t part = size - at < sizeof words ? (size_t)(size - at) : sizeof words;
        if (inline_data != NULL) {
            memcpy(words, inline_data + at, part);
        } else if (!read_bytes(self, words, part, offset + at)) {
            return;
        }
        size_t skip = at == 0 ? 1 : 0; /* the count */
        if (skip > 0 && u64_at(words) != size / 8 - 1) {
            find(self, "free list: a value's count is wrong");
            return;
        }
        if (!claim_free(self, words + skip * 8, part / 8 - skip, &last)) {
            return;
        }
        at += part;
    }
}

static void check_tree(page_checker *self, const db *tree, const char *name, bool is_free_list,
                       bool is_main);

static uint64_t value_size_of(const unsigned char *node) {
    return u16_at(node) | (uint64_t)u16_at(node + 2) << 16;
}

static uint64_t child_of(const unsigned char *node) {
    return value_size_of(node) | (uint64_t)u16_at(node + 4) << 32;
}

static void check_subdb(page_checker *self, const unsigned char *name, size_t name_size,
                        const unsigned char *data) {
    db tree;
    memcpy(&tree, data, sizeof tree);
    char text[64] = "database ";
    size_t used = strlen(text);
    for (size_t i = 0; i < name_size && i < 40; i++) {
        text[used++] = name[i] >= ' ' && name[i] < 127 ? (char)name[i] : '?';
    }
    check_tree(self, &tree, text, false, false);
}

static void check_leaf_node(walk *self, const unsigned char *node, uint64_t page) {
    page_checker *checker = self->checker;
    size_t key_size = u16_at(node + 6);
    const unsigned char *key = node + NODE_HEAD;
    const unsigned char *data = key + key_size;
    bool is_big = (u16_at(node + 4) & NODE_BIG) != 0;
    uint64_t big_page = is_big ? u64_at(data) : 0;
    uint64_t findings = checker->report->findings;
    self->seen.entries++;
    check_order(self, key, key_size, false, page);
    if (is_big) {
        check_big(self, big_page, value_size_of(node));
    }
    if (checker->report->findings != findings || checker->failure != 0) {
        return;
    }
    if (self->is_free_list) {
        uint64_t commit = u64_at(key);
        if (commit == 0 || commit > checker->report->txn_id) {
            find(checker, "free list: pages of a commit that was not made yet");
            return;
        }
        check_free_pages(checker, is_big ? NULL : data, value_size_of(node), big_page);
    } else if (self->is_main) {
        check_subdb(checker, key, key_size, data);
    }
}

/* The bytes a node takes. 0: its sizes or flags are wrong. room: bytes from its start to the end of
 * the page, at least those of its head. */
static size_t node_bytes(const walk *self, const unsigned char *node, size_t room, bool is_branch,
                         bool key_is_unused) {
    size_t key_size = u16_at(node + 6);
    bool is_integer = (self->tree->flags & DB_INTEGERKEY) != 0;
    if (key_size > KEY_MAX || key_size > room - NODE_HEAD ||
        (!key_is_unused && (key_size == 0 || (is_integer && key_size != 8)))) {
        return 0;
    }
    size_t bytes = NODE_HEAD + key_size;
    if (!is_branch) {
        unsigned flags = u16_at(node + 4);
        uint64_t size = value_size_of(node);
        uint64_t stored = flags == NODE_BIG ? 8 : size;
        size_t most = ((self->checker->report->page_bytes - PAGE_HEAD) / 2 & ~(size_t)1) - 2;
        bool is_kind = self->is_main ? flags == NODE_SUBDB && size == DB_SIZE
                                     : flags == 0 || flags == NODE_BIG;
        if (!is_kind || stored > room - bytes || bytes + stored > most) {
            return 0;
        }
        bytes += (size_t)stored;
    }
    return bytes + bytes % 2 <= room ? bytes + bytes % 2 : 0;
}

/* Nodes fill the page from `upper` to its end without gap or overlap: LMDB moves them about on
 * that ground. */
static const char *check_layout(const walk *self, const unsigned char *bytes) {
    page_checker *checker = self->checker;
    size_t page_bytes = checker->report->page_bytes;
    size_t lower = u16_at(bytes + 12);
    size_t upper = u16_at(bytes + 14);
    bool is_branch = u16_at(bytes + 10) == PAGE_BRANCH;
    if (lower < PAGE_HEAD + (is_branch ? 4u : 2u) || lower % 2 != 0 || lower > upper ||
        upper > page_bytes) {
        return "its bounds are wrong";
    }
    size_t sum = 0;
    memset(checker->covered, 0, page_bytes);
    for (size_t i = 0; i < (lower - PAGE_HEAD) / 2; i++) {
        size_t at = u16_at(bytes + PAGE_HEAD + 2 * i);
        if (at < upper || at % 2 != 0 || at > page_bytes - NODE_HEAD) {
            return "a node lies outside of the page";
        }
        size_t size = node_bytes(self, bytes + at, page_bytes - at, is_branch, is_branch && i == 0);
        if (size == 0) {
            return "a node's flags or sizes are wrong";
        }
        if (memchr(checker->covered + at, 1, size) != NULL) {
            return "nodes overlap";
        }
        memset(checker->covered + at, 1, size);
        sum += size;
    }
    return sum == page_bytes - upper ? NULL : "there is a gap between nodes";
}

static void check_page(walk *self, uint64_t page, unsigned depth);

static void check_nodes(walk *self, const unsigned char *bytes, uint64_t page, unsigned depth) {
    page_checker *checker = self->checker;
    const char *wrong = check_layout(self, bytes);
    if (wrong != NULL) {
        find(checker, "%s: page %llu: %s", self->name, (unsigned long long)page, wrong);
        return;
    }
    bool is_branch = u16_at(bytes + 10) == PAGE_BRANCH;
    unsigned count = (unsigned)(u16_at(bytes + 12) - PAGE_HEAD) / 2;
    for (unsigned i = 0; i < count && checker->failure == 0; i++) {
        const unsigned char *node = bytes + u16_at(bytes + PAGE_HEAD + 2 * i);
        if (!is_branch) {
            check_leaf_node(self, node, page);
            continue;
        }
        if (i > 0) { /* LMDB never looks at the first key */
            check_order(self, node + NODE_HEAD, u16_at(node + 6), true, page);
        }
        check_page(self, child_of(node), depth + 1);
    }
}

/* Recursion ends with the depth that the tree tells, 32 at the most. */
static void check_page(walk *self, uint64_t page, unsigned depth) {
    page_checker *checker = self->checker;
    if (checker->failure != 0 || !claim(checker, page, 1, stored_end(checker), self->name)) {
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
    bool flags_known = (tree->flags & ~DB_INTEGERKEY) == 0 && !(is_main && tree->flags != 0);
    if (tree->depth > DEPTH_MAX || (tree->depth == 0) != (tree->root == NO_PAGE) || !flags_known ||
        (!is_free_list && tree->pad != 0)) {
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

/* What is wrong with one meta page, by itself; NULL: nothing. page_bytes 0: not known yet. */
static const char *check_meta(const unsigned char *page, const meta *head, uint64_t number,
                              uint32_t page_bytes) {
    if (u64_at(page) != number || u16_at(page + 10) != PAGE_META || head->magic != META_MAGIC) {
        return "a meta page is not one";
    }
    if (head->version != 1) {
        return "another version of LMDB's format";
    }
    uint32_t size = head->free.pad;
    if (size < PAGE_BYTES_MIN || size > PAGE_BYTES_MAX || (size & (size - 1)) != 0 ||
        (page_bytes != 0 && size != page_bytes)) {
        return "the page size is wrong";
    }
    if ((head->free.flags & ~ENV_NOSUBDIR) != DB_INTEGERKEY) {
        return "a meta page has unknown flags";
    }
    if (head->last_page < 1 || head->last_page >= MAP_BYTES_MAX / size ||
        head->map_bytes > MAP_BYTES_MAX || head->map_bytes / size <= head->last_page) {
        return "a meta page tells a wrong size";
    }
    return NULL;
}

/* LMDB writes them by turns: the even commits to the first, the odd ones to the second. */
static bool take_turns(const meta *heads) {
    uint64_t first = heads[0].txn_id;
    uint64_t second = heads[1].txn_id;
    return (first == 0 && second == 0) ||
           (first % 2 == 0 && (second == first + 1 || first == second + 1));
}

static int code_of_meta(const meta *head) {
    return head->magic == META_MAGIC && head->version != 1 ? FIRN_EVERSION : FIRN_ECORRUPT;
}

/* Reads both meta pages and chooses the newer. */
static int read_metas(int fd, meta *newest, const char **wrong) {
    unsigned char page[PAGE_HEAD + META_SIZE];
    meta heads[2];
    for (unsigned i = 0; i < 2; i++) {
        uint32_t page_bytes = i == 0 ? 0 : heads[0].free.pad;
        if (firn_read_at(fd, page, sizeof page, page_bytes) != 0) {
            *wrong = errno == 0 ? "it is cut off" : strerror(errno);
            return errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
        }
        memcpy(&heads[i], page + META_MAGIC_AT, sizeof heads[i]);
        *wrong = check_meta(page, &heads[i], i, page_bytes);
        if (*wrong != NULL) {
            return i == 0 ? code_of_meta(&heads[i]) : FIRN_ECORRUPT;
        }
    }
    if (!take_turns(heads)) {
        *wrong = "the meta pages do not belong together";
        return FIRN_ECORRUPT;
    }
    *newest = heads[1].txn_id > heads[0].txn_id ? heads[1] : heads[0];
    return FIRN_OK;
}

/* Whether a file whose first page is no meta page may be a damaged LMDB file all the same: empty,
 * begun with zeroes as a power loss leaves it, or with a second meta page. */
static bool may_be_lmdb(int fd) {
    static const unsigned char zeroes[PAGE_HEAD + 8];
    unsigned char start[PAGE_HEAD + 8] = {0};
    ssize_t got = pread(fd, start, sizeof start, 0);
    if (got >= 0 &&
        (memcmp(start, zeroes, sizeof start) == 0 || u32_at(start + META_MAGIC_AT) == META_MAGIC)) {
        return true;
    }
    for (uint64_t size = PAGE_BYTES_MIN; size <= PAGE_BYTES_MAX; size *= 2) {
        if (firn_read_at(fd, start, sizeof start, size) == 0 &&
            u32_at(start + META_MAGIC_AT) == META_MAGIC) {
            return true;
        }
    }
    return false;
}

static int read_head(int fd, meta *newest, firn_lmdb_check_report *report, const char **wrong) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        *wrong = strerror(errno);
        return FIRN_EIO;
    }
    report->file_bytes = (uint64_t)status.st_size;
    int result = read_metas(fd, newest, wrong);
    if (result != FIRN_OK) {
        if (result == FIRN_ECORRUPT && !may_be_lmdb(fd)) {
            *wrong = "not an LMDB file";
            result = FIRN_ENOTSTORE;
        }
        return result;
    }
    report->page_bytes = newest->free.pad;
    report->txn_id = newest->txn_id;
    report->last_page = newest->last_page;
    return FIRN_OK;
}

/* FIRN_OK, FIRN_NOT_FOUND, FIRN_ENOTSTORE or FIRN_EIO. */
static int open_data(const char *data_path, int *fd, const char **wrong) {
    *wrong = NULL;
    *fd = open(data_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        *wrong = strerror(errno);
        return errno == ENOENT ? FIRN_NOT_FOUND : FIRN_EIO;
    }
    struct stat status;
    if (fstat(*fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(*fd);
        *wrong = "not a regular file";
        return FIRN_ENOTSTORE;
    }
    return FIRN_OK;
}

/* Free pages at the end need not be in the file: then, seldom enough, all pages tell whether the
 * others are. */
static int check_short(const char *data_path, const char **wrong) {
    firn_heap *heap = firn_heap_new(NULL);
    if (heap == NULL) {
        *wrong = "no memory";
        return FIRN_ENOMEM;
    }
    firn_lmdb_check_report report;
    int result = firn_lmdb_check(data_path, heap, NULL, NULL, &report);
    firn_heap_unref(heap);
    *wrong = "it is shorter than what was written to it";
    return result;
}

int firn_lmdb_check_head(const char *data_path, firn_detail *detail) {
    int fd;
    const char *wrong;
    int result = open_data(data_path, &fd, &wrong);
    if (result == FIRN_OK) {
        meta newest;
        firn_lmdb_check_report report = {0};
        result = read_head(fd, &newest, &report, &wrong);
        close(fd);
        if (result == FIRN_OK && report.last_page >= report.file_bytes / report.page_bytes) {
            result = check_short(data_path, &wrong);
        }
    }
    if (result == FIRN_OK) {
        return FIRN_OK;
    }
    static const char *const kinds[] = {"cannot read", "not a store's data file", "damaged"};
    unsigned kind = result == FIRN_ECORRUPT                               ? 2
                    : result == FIRN_ENOTSTORE || result == FIRN_EVERSION ? 1
                                                                          : 0;
    return firn_detail_set(detail, result, "%s: %s: %s", data_path, kinds[kind], wrong);
}

/* Pages above the file's end must be free ones; each stands in the free list with 8 bytes, which
 * bounds how many there may honestly be. */
static bool tail_is_plausible(const page_checker *self) {
    uint64_t end = self->report->last_page + 1;
    return end <= self->file_pages || end - self->file_pages <= self->report->file_bytes / 8;
}

static void check_tail(page_checker *self) {
    for (uint64_t page = self->file_pages; page <= self->report->last_page; page++) {
        if ((self->used[page / 8] & 1 << (page % 8)) == 0) {
            find(self, "the file ends before page %llu", (unsigned long long)page);
            return;
        }
    }
}

static int check_trees(page_checker *self, const meta *newest) {
    firn_lmdb_check_report *report = self->report;
    self->file_pages = report->file_bytes / report->page_bytes;
    if (!tail_is_plausible(self)) {
        find(self, "the file ends before page %llu", (unsigned long long)report->last_page);
        return FIRN_ECORRUPT;
    }
    self->used_bytes = (size_t)(report->last_page / 8 + 1);
    self->used = firn_heap_zalloc(self->heap, self->used_bytes);
    self->covered = firn_heap_alloc(self->heap, report->page_bytes);
    if (self->used == NULL || self->covered == NULL) {
        self->failure = FIRN_ENOMEM;
    } else {
        db free_list = newest->free;
        free_list.flags = DB_INTEGERKEY;
        check_tree(self, &free_list, "free list", true, false);
        check_tree(self, &newest->main, "main", false, true);
        check_tail(self);
    }
    firn_heap_free(self->heap, self->used, self->used_bytes);
    firn_heap_free(self->heap, self->covered, report->page_bytes);
    return self->failure != 0 ? self->failure : (report->findings == 0 ? FIRN_OK : FIRN_ECORRUPT);
}

int firn_lmdb_check(const char *data_path, firn_heap *heap,
                    void (*finding)(void *context, const char *text), void *context,
                    firn_lmdb_check_report *report) {
    *report = (firn_lmdb_check_report){0};
    page_checker self = {
        .fd = -1, .heap = heap, .finding = finding, .context = context, .report = report};
    meta newest;
    const char *wrong;
    int result = open_data(data_path, &self.fd, &wrong);
    if (result != FIRN_OK) {
        return result;
    }
    result = read_head(self.fd, &newest, report, &wrong);
    if (result == FIRN_OK) {
        result = check_trees(&self, &newest);
    } else if (result != FIRN_EIO) {
        find(&self, "%s", wrong);
    }
    close(self.fd);
    return result;
}
