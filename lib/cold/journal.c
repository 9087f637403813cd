/* See journal.h. */
#include "cold/journal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"

static const char magic[8] = "FIRNJRNL";

enum {
    FORMAT = 1,
    BYTE_ORDER_MARK = 0x01020304,
    BYTE_ORDER_SWAPPED = 0x04030201,
    IMMUTABLE_SIZE = 24,
    CHECK_BITS = 16,
    PAGE_SLOTS = 256, /* in the least page there is */
};

typedef struct header {
    char magic[8];
    uint32_t format;
    uint32_t byte_order;
    uint64_t store_id;
    uint64_t checksum; /* of what stands before it */
    /* What follows is changed by the writer alone; other processes may read it meanwhile, and do
     * no more with a torn fingerprint than to distrust it. */
    _Atomic uint32_t state;
    _Atomic uint32_t durability;
    unsigned char boot_id[16];
    _Atomic uint32_t clean;
    uint32_t pad;
    _Atomic uint64_t file_bytes;
    _Atomic uint64_t mtime_ns;
    _Atomic uint64_t transaction;
} header;

_Static_assert(sizeof(header) == 88, "the header's layout is the file's");

/* word is stored last, with release, and read first, with acquire: whoever sees a word sees its
 * hash. A word of zero says the slot is empty or being filled. */
typedef struct slot {
    _Atomic uint64_t hash;
    _Atomic uint64_t word;
} slot;

_Static_assert(sizeof(slot) == 16, "the slot's layout is the file's");

/* Slots [tail, head) of the ring are taken. Appenders move head by compare-and-swap; only the
 * writer moves tail. */
struct firn_journal {
    header *header; /* the map */
    slot *slots;    /* within it */
    firn_heap *heap;
    uint64_t store_id;
    bool writable;
    int fd;
    _Atomic uint64_t looked_ns; /* when the file's length was last looked at; relaxed */
    atomic_bool cut;            /* it was too short then, and could not be made longer; relaxed */
    _Atomic uint64_t mended;    /* relaxed */
    uint32_t state;             /* as set last; the writer's, as the next */
    uint32_t durability;
    pthread_mutex_t lock;    /* making it whole, and syncing */
    _Atomic uint64_t wanted; /* syncs; acquire and release: what was stored before one of these
                                is seen by whoever does it */
    uint64_t synced;         /* of these; lock, as the next */
    bool sync_failed;        /* the system may have dropped pages */
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
};

static uint64_t check_of(uint64_t store_id, uint64_t hash, uint64_t version) {
    uint64_t both[2] = {htole64(hash), htole64(version)};
    return firn_hash64(store_id, both, sizeof both) & ((1u << CHECK_BITS) - 1);
}

static void fill_header(header *to, uint64_t store_id) {
    memset(to, 0, sizeof *to);
    memcpy(to->magic, magic, sizeof magic);
    to->format = htole32(FORMAT);
    to->byte_order = BYTE_ORDER_MARK;
    to->store_id = htole64(store_id);
    to->checksum = htole64(firn_hash64(0, to, IMMUTABLE_SIZE));
    atomic_init(&to->state, htole32(FIRN_JOURNAL_CREATING));
}

/* Room for all slots is taken now: a store to a hole of a mapped file on a full disk would kill the
 * process. */
static int create_file(const char *path, uint64_t store_id) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return errno;
    }
    header head;
    fill_header(&head, store_id);
    int error = firn_write_at(fd, &head, sizeof head, 0) == 0 ? 0 : errno;
    if (error == 0) {
        error = posix_fallocate(fd, 0, FIRN_JOURNAL_FILE_SIZE);
    }
    if (error == 0 && fsync(fd) != 0) {
        error = errno;
    }
    close(fd);
    return error;
}

int firn_journal_create(const char *directory, uint64_t store_id, firn_heap *heap,
                        firn_detail *detail) {
    char *path = firn_path_join(heap, directory, FIRN_JOURNAL_FILE);
    if (path == NULL) {
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to make a journal", directory);
    }
    int error = create_file(path, store_id);
    int result = error == 0 ? FIRN_OK : firn_code_of_errno(error);
    if (error != 0) {
        firn_detail_set(detail, result, "%s: cannot make the journal: %s", path, strerror(error));
    }
    firn_path_free(heap, path);
    return result;
}

static bool is_zero(const header *head) {
    static const header zero;
    return memcmp(head, &zero, sizeof zero) == 0;
}

static int check_header(const header *head, uint64_t file_size, const char *path,
                        firn_detail *detail) {
    if (is_zero(head)) {
        return firn_detail_set(detail, FIRN_ECORRUPT,
                               "%s: the header is empty; remove the store or open with "
                               "set_aside_damaged",
                               path);
    }
    if (memcmp(head->magic, magic, sizeof magic) != 0) {
        return firn_detail_set(detail, FIRN_ENOTSTORE, "%s: not a journal of firn", path);
    }
    if (head->byte_order == BYTE_ORDER_SWAPPED) {
        return firn_detail_set(detail, FIRN_EVERSION,
                               "%s: made on a machine of the other byte order; remove the store",
                               path);
    }
    if (head->checksum != htole64(firn_hash64(0, head, IMMUTABLE_SIZE))) {
        return firn_detail_set(detail, FIRN_ECORRUPT,
                               "%s: the header's checksum is wrong; remove the store or open with "
                               "set_aside_damaged",
                               path);
    }
    if (le32toh(head->format) != FORMAT) {
        return firn_detail_set(detail, FIRN_EVERSION,
                               "%s: format %u, but this library knows format %u; use the firn that "
                               "made it, or remove the store",
                               path, (unsigned)le32toh(head->format), (unsigned)FORMAT);
    }
    if (file_size != FIRN_JOURNAL_FILE_SIZE) {
        return firn_detail_set(detail, FIRN_ECORRUPT,
                               "%s: %llu bytes instead of %d; remove the store or open with "
                               "set_aside_damaged",
                               path, (unsigned long long)file_size, (int)FIRN_JOURNAL_FILE_SIZE);
    }
    return FIRN_OK;
}

/* Reads before it maps: a map of a file that is too short would kill the process. */
static int check_file(int fd, const char *path, firn_detail *detail) {
    struct stat status;
    header head;
    if (fstat(fd, &status) != 0) {
        return firn_detail_set(detail, FIRN_EIO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return firn_detail_set(detail, FIRN_ENOTSTORE, "%s: not a regular file", path);
    }
    if ((uint64_t)status.st_size < sizeof head) {
        return firn_detail_set(detail, FIRN_ECORRUPT,
                               "%s: too short; remove the store or open with set_aside_damaged",
                               path);
    }
    if (firn_read_at(fd, &head, sizeof head, 0) != 0) {
        return firn_detail_set(detail, FIRN_EIO, "%s: cannot read: %s", path, strerror(errno));
    }
    return check_header(&head, (uint64_t)status.st_size, path, detail);
}

static int map_file(firn_journal **out, const char *path, bool writable, firn_heap *heap,
                    firn_detail *detail) {
    int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int error = errno;
        int code = error == ENOENT ? FIRN_NOT_FOUND : firn_code_of_errno(error);
        return firn_detail_set(detail, code, "%s: cannot open: %s", path, strerror(error));
    }
    int result = check_file(fd, path, detail);
    void *map = MAP_FAILED;
    if (result == FIRN_OK) {
        map = mmap(NULL, FIRN_JOURNAL_FILE_SIZE, PROT_READ | (writable ? PROT_WRITE : 0),
                   MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
            result = firn_detail_set(detail, firn_code_of_errno(errno), "%s: cannot map: %s", path,
                                     strerror(errno));
        }
    }
    if (result != FIRN_OK) {
        close(fd);
        return result;
    }
    firn_journal *journal = firn_heap_alloc_lines(heap, sizeof *journal);
    if (journal == NULL) {
        munmap(map, FIRN_JOURNAL_FILE_SIZE);
        close(fd);
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to open it", path);
    }
    journal->header = map;
    journal->slots = (slot *)(void *)((unsigned char *)map + FIRN_JOURNAL_HEADER_SIZE);
    journal->heap = heap;
    journal->store_id = le64toh(journal->header->store_id);
    journal->writable = writable;
    journal->fd = fd;
    journal->state = le32toh(atomic_load_explicit(&journal->header->state, memory_order_relaxed));
    pthread_mutex_init(&journal->lock, NULL);
    *out = journal;
    return FIRN_OK;
}

int firn_journal_open(firn_journal **journal, const char *directory, bool writable, firn_heap *heap,
                      firn_detail *detail) {
    *journal = NULL;
    char *path = firn_path_join(heap, directory, FIRN_JOURNAL_FILE);
    if (path == NULL) {
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to open its journal", directory);
    }
    int result = map_file(journal, path, writable, heap, detail);
    firn_path_free(heap, path);
    return result;
}

bool firn_journal_is_unfinished(const char *directory, bool has_data, firn_heap *heap) {
    char *path = firn_path_join(heap, directory, FIRN_JOURNAL_FILE);
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    firn_path_free(heap, path);
    header head;
    struct stat status;
    if (fd < 0) {
        return false;
    }
    bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    bool read = regular && firn_read_at(fd, &head, sizeof head, 0) == 0;
    close(fd);
    if (regular && (status.st_size == 0 || (read && is_zero(&head)))) {
        return !has_data; /* a journal is on the device before any data is made */
    }
    return read && check_header(&head, FIRN_JOURNAL_FILE_SIZE, directory, NULL) == FIRN_OK &&
           le32toh(head.state) == FIRN_JOURNAL_CREATING;
}

void firn_journal_close(firn_journal *journal) {
    if (journal != NULL) {
        munmap(journal->header, FIRN_JOURNAL_FILE_SIZE);
        close(journal->fd);
        pthread_mutex_destroy(&journal->lock);
        firn_heap_free_lines(journal->heap, journal, sizeof *journal);
    }
}

/* ---- a file that is cut ---- */

static uint64_t length_of(const firn_journal *journal) {
    struct stat status;
    return fstat(journal->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* A slot that was taken and is empty now would be waited for. One that says nothing sound is passed
 * over; who is just filling it does so all the same. */
static void fill_taken(firn_journal *journal) {
    uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
    uint64_t head = atomic_load_explicit(&journal->head, memory_order_acquire);
    uint64_t word = htole64(UINT64_C(1) << CHECK_BITS | (check_of(journal->store_id, 0, 1) ^ 1));
    for (; tail != head; tail++) {
        uint64_t empty = 0;
        atomic_compare_exchange_strong_explicit(&journal->slots[tail % FIRN_JOURNAL_SLOTS].word,
                                                &empty, word, memory_order_release,
                                                memory_order_relaxed);
    }
}

/* lock is held. The room comes first: see create_file. */
static bool make_whole(firn_journal *journal) {
    uint64_t length = length_of(journal);
    if (length >= FIRN_JOURNAL_FILE_SIZE) {
        return true;
    }
    if (!journal->writable || posix_fallocate(journal->fd, 0, FIRN_JOURNAL_FILE_SIZE) != 0) {
        return false;
    }
    if (length < sizeof(header)) {
        header *head = journal->header;
        fill_header(head, journal->store_id);
        atomic_store_explicit(&head->durability, htole32(journal->durability),
                              memory_order_release);
        firn_boot_id(head->boot_id);
        atomic_store_explicit(&head->state, htole32(journal->state), memory_order_release);
    }
    fill_taken(journal);
    atomic_fetch_add_explicit(&journal->mended, 1, memory_order_relaxed);
    return true;
}

/* Before the map is touched: false if that would end the process. */
static bool is_whole(const firn_journal *shared) {
    firn_journal *journal = (firn_journal *)(uintptr_t)shared; /* what it notes is no change */
    uint64_t now_ns = firn_coarse_ns();
    if (atomic_load_explicit(&journal->looked_ns, memory_order_relaxed) != now_ns) {
        atomic_store_explicit(&journal->looked_ns, now_ns, memory_order_relaxed);
        bool whole = length_of(journal) >= FIRN_JOURNAL_FILE_SIZE;
        if (!whole) {
            pthread_mutex_lock(&journal->lock);
            whole = make_whole(journal);
            pthread_mutex_unlock(&journal->lock);
        }
        atomic_store_explicit(&journal->cut, !whole, memory_order_relaxed);
    }
    return !atomic_load_explicit(&journal->cut, memory_order_relaxed);
}

uint64_t firn_journal_mended(const firn_journal *journal) {
    return atomic_load_explicit(&journal->mended, memory_order_relaxed);
}

static uint64_t get64(const _Atomic uint64_t *field) {
    return le64toh(atomic_load_explicit(field, memory_order_acquire));
}

void firn_journal_get_header(const firn_journal *journal, firn_journal_header *to) {
    const header *head = journal->header;
    to->store_id = journal->store_id;
    to->state = le32toh(atomic_load_explicit(&head->state, memory_order_acquire));
    to->durability = le32toh(atomic_load_explicit(&head->durability, memory_order_relaxed));
    to->clean = atomic_load_explicit(&head->clean, memory_order_relaxed) != 0;
    memcpy(to->boot_id, head->boot_id, sizeof to->boot_id);
    to->fingerprint.file_bytes = get64(&head->file_bytes);
    to->fingerprint.mtime_ns = get64(&head->mtime_ns);
    to->fingerprint.transaction = get64(&head->transaction);
}

bool firn_journal_is_of_this_boot(const firn_journal_header *head) {
    unsigned char now[16];
    static const unsigned char unknown[16];
    firn_boot_id(now);
    return memcmp(now, head->boot_id, sizeof now) == 0 && memcmp(now, unknown, sizeof now) != 0;
}

/* False: the slot is empty. The entry may be damaged. */
static bool read_slot(const firn_journal *journal, uint64_t position, firn_journal_entry *entry,
                      bool *damaged) {
    const slot *from = &journal->slots[position % FIRN_JOURNAL_SLOTS];
    uint64_t word = get64(&from->word);
    if (word == 0) {
        return false;
    }
    entry->hash = get64(&from->hash);
    entry->version = word >> CHECK_BITS;
    *damaged = check_of(journal->store_id, entry->hash, entry->version) !=
               (word & ((1u << CHECK_BITS) - 1));
    return true;
}

void firn_journal_scan_all(const firn_journal *journal, firn_journal_scan *scan,
                           void (*each)(void *context, const firn_journal_entry *entry,
                                        bool damaged),
                           void *context) {
    *scan = (firn_journal_scan){0};
    if (!is_whole(journal)) {
        return;
    }
    for (uint64_t i = 0; i < FIRN_JOURNAL_SLOTS; i++) {
        firn_journal_entry entry;
        bool damaged;
        if (!read_slot(journal, i, &entry, &damaged)) {
            continue;
        }
        if (damaged) {
            scan->damaged++;
        } else {
            scan->entries++;
            scan->version_max =
                entry.version > scan->version_max ? entry.version : scan->version_max;
        }
        if (each != NULL) {
            each(context, &entry, damaged);
        }
    }
}

bool firn_journal_voids(const firn_journal *journal, uint64_t hash, uint64_t version) {
    if (!is_whole(journal)) {
        return true;
    }
    if (atomic_load_explicit(&journal->header->clean, memory_order_acquire) != 0) {
        return false;
    }
    uint64_t wanted = htole64(hash);
    for (uint64_t i = 0; i < FIRN_JOURNAL_SLOTS; i++) {
        /* Relaxed will do to pass over what is not ours; a slot that matches is read in full. */
        if (atomic_load_explicit(&journal->slots[i].hash, memory_order_relaxed) != wanted) {
            continue;
        }
        firn_journal_entry entry;
        bool damaged;
        if (read_slot(journal, i, &entry, &damaged) && !damaged && entry.hash == hash &&
            entry.version > version) {
            return true;
        }
    }
    return false;
}

void firn_journal_set_state(firn_journal *journal, uint32_t state) {
    journal->state = state;
    if (!is_whole(journal)) {
        return;
    }
    atomic_store_explicit(&journal->header->state, htole32(state), memory_order_release);
}

void firn_journal_set_fingerprint(firn_journal *journal, const firn_fingerprint *fingerprint) {
    header *head = journal->header;
    if (!is_whole(journal)) {
        return;
    }
    atomic_store_explicit(&head->file_bytes, htole64(fingerprint->file_bytes),
                          memory_order_release);
    atomic_store_explicit(&head->mtime_ns, htole64(fingerprint->mtime_ns), memory_order_release);
    atomic_store_explicit(&head->transaction, htole64(fingerprint->transaction),
                          memory_order_release);
}

void firn_journal_set_dirty(firn_journal *journal, uint32_t durability) {
    header *head = journal->header;
    journal->durability = durability;
    if (!is_whole(journal)) {
        return;
    }
    atomic_store_explicit(&head->clean, 0, memory_order_release);
    atomic_store_explicit(&head->durability, htole32(durability), memory_order_release);
    firn_boot_id(head->boot_id);
}

void firn_journal_set_clean(firn_journal *journal) {
    if (is_whole(journal)) {
        atomic_store_explicit(&journal->header->clean, htole32(1), memory_order_release);
    }
}

static void empty_slots(firn_journal *journal, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) {
        slot *to = &journal->slots[i % FIRN_JOURNAL_SLOTS];
        atomic_store_explicit(&to->word, 0, memory_order_release);
        atomic_store_explicit(&to->hash, 0, memory_order_release);
    }
}

static bool is_empty(const firn_journal *journal, uint64_t position) {
    const slot *one = &journal->slots[position % FIRN_JOURNAL_SLOTS];
    return atomic_load_explicit(&one->word, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&one->hash, memory_order_relaxed) == 0;
}

/* A slot that somebody claimed and did not live to fill would be waited for: it gets an entry that
 * voids nothing. */
static void fill_claimed(firn_journal *journal, uint64_t begin, uint64_t end) {
    uint64_t word = UINT64_C(1) << CHECK_BITS | check_of(journal->store_id, 0, 1);
    for (uint64_t i = begin; i < end; i++) {
        slot *one = &journal->slots[i % FIRN_JOURNAL_SLOTS];
        if (atomic_load_explicit(&one->word, memory_order_relaxed) == 0) {
            atomic_store_explicit(&one->hash, 0, memory_order_relaxed);
            atomic_store_explicit(&one->word, htole64(word), memory_order_release);
        }
    }
}

/* Where the ring began is not written down: it is behind the longest stretch of empty slots. */
void firn_journal_adopt(firn_journal *journal,
                        void (*each)(void *context, const firn_journal_entry *entry),
                        void *context) {
    uint64_t begin = 0;
    uint64_t longest = 0;
    uint64_t stretch = 0;
    bool whole = is_whole(journal);
    for (uint64_t i = 0; i < 2 * (uint64_t)FIRN_JOURNAL_SLOTS && whole; i++) {
        stretch = is_empty(journal, i) ? stretch + 1 : 0;
        if (stretch > longest) {
            longest = stretch;
            begin = i + 1;
        }
        if (longest == FIRN_JOURNAL_SLOTS || (stretch == 0 && i >= FIRN_JOURNAL_SLOTS)) {
            break; /* all are empty, or the stretch that ends the first turn was seen whole */
        }
    }
    begin %= FIRN_JOURNAL_SLOTS;
    uint64_t end = begin + (whole ? FIRN_JOURNAL_SLOTS - longest : 0);
    fill_claimed(journal, begin, end);
    for (uint64_t i = begin; i < end; i++) {
        firn_journal_entry entry;
        bool damaged;
        if (read_slot(journal, i, &entry, &damaged) && !damaged) {
            each(context, &entry);
        }
    }
    atomic_store_explicit(&journal->tail, begin, memory_order_relaxed);
    atomic_store_explicit(&journal->head, end, memory_order_release);
}

int firn_journal_append(firn_journal *journal, uint64_t hash, uint64_t version) {
    if (!is_whole(journal)) {
        return FIRN_EIO;
    }
    uint64_t position = atomic_load_explicit(&journal->head, memory_order_relaxed);
    do {
        /* Acquire, against the release in firn_journal_release: slots before the tail are seen
         * empty before they are filled again. */
        uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
        /* Signed: position may be older than tail by now, and then the swap fails anyway. */
        if ((int64_t)(position - tail) >= FIRN_JOURNAL_SLOTS) {
            return FIRN_EBUSY;
        }
    } while (!atomic_compare_exchange_weak_explicit(&journal->head, &position, position + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    slot *to = &journal->slots[position % FIRN_JOURNAL_SLOTS];
    uint64_t word = version << CHECK_BITS | check_of(journal->store_id, hash, version);
    atomic_store_explicit(&to->hash, htole64(hash), memory_order_relaxed);
    atomic_store_explicit(&to->word, htole64(word), memory_order_release);
    return FIRN_OK;
}

size_t firn_journal_room(const firn_journal *journal) {
    uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
    uint64_t head = atomic_load_explicit(&journal->head, memory_order_acquire);
    uint64_t taken = head - tail;
    /* The two are not read at once: tail may be older than head by a whole ring. */
    return taken < FIRN_JOURNAL_SLOTS ? (size_t)(FIRN_JOURNAL_SLOTS - taken) : 0;
}

void firn_journal_range(const firn_journal *journal, uint64_t *begin, uint64_t *end) {
    uint64_t head = atomic_load_explicit(&journal->head, memory_order_acquire);
    *begin = atomic_load_explicit(&journal->tail, memory_order_relaxed);
    *end = *begin;
    if (!is_whole(journal)) {
        return;
    }
    /* A slot that somebody has claimed but not yet filled ends the range. */
    while (*end < head && atomic_load_explicit(&journal->slots[*end % FIRN_JOURNAL_SLOTS].word,
                                               memory_order_acquire) != 0) {
        ++*end;
    }
}

firn_journal_entry firn_journal_at(const firn_journal *journal, uint64_t position) {
    firn_journal_entry entry = {0, 0};
    bool damaged = false;
    if (!is_whole(journal) || !read_slot(journal, position, &entry, &damaged) || damaged) {
        entry.version = 0; /* voids nothing */
    }
    return entry;
}

void firn_journal_release(firn_journal *journal, uint64_t end) {
    if (!is_whole(journal)) {
        return; /* they are applied once more when it is */
    }
    empty_slots(journal, atomic_load_explicit(&journal->tail, memory_order_relaxed), end);
    atomic_store_explicit(&journal->tail, end, memory_order_release);
}

/* Makes every page dirty, without a change. */
static void touch_pages(firn_journal *journal) {
    atomic_fetch_add_explicit(&journal->header->state, 0, memory_order_relaxed);
    for (uint64_t i = 0; i < FIRN_JOURNAL_SLOTS; i += PAGE_SLOTS) {
        atomic_fetch_add_explicit(&journal->slots[i].word, 0, memory_order_relaxed);
    }
}

/* lock is held. After a sync that failed the system takes pages for clean that are not: they are in
 * memory as they were, and are written again. */
static int sync_locked(firn_journal *journal) {
    uint64_t wanted = atomic_load_explicit(&journal->wanted, memory_order_acquire);
    if (journal->sync_failed) {
        touch_pages(journal);
    }
    journal->sync_failed = msync(journal->header, FIRN_JOURNAL_FILE_SIZE, MS_SYNC) != 0;
    journal->synced = journal->sync_failed ? journal->synced : wanted;
    return journal->sync_failed ? FIRN_EIO : FIRN_OK;
}

int firn_journal_sync(firn_journal *journal) {
    if (!journal->writable) {
        return FIRN_OK;
    }
    if (!is_whole(journal)) {
        errno = EIO;
        return FIRN_EIO;
    }
    uint64_t own = atomic_fetch_add_explicit(&journal->wanted, 1, memory_order_acq_rel) + 1;
    pthread_mutex_lock(&journal->lock);
    int result = journal->synced >= own ? FIRN_OK : sync_locked(journal);
    pthread_mutex_unlock(&journal->lock);
    return result;
}
