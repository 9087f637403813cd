/* See firn/page.h: the reader's side of firn.page. Whatever the file holds, it is an error or
 * numbers, and nothing is believed that could lead a reader out of its memory. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/sized.h"
#include "observe/page.h"

enum {
    ATTEMPTS = 100,
    PAUSE_NS = 1000000, /* between them: a page is written in less */
};

struct firn_page {
    firn_heap *heap;
    int fd;
    firn_page_head head; /* as it was read last */
    void *body;          /* of body_bytes */
    size_t body_bytes;
};

static int __attribute__((format(printf, 4, 5)))
fail(char *message, size_t size, int code, const char *format, ...) {
    if (message != NULL && size > 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(message, size, format, arguments);
        va_end(arguments);
    }
    return code;
}

/* The head of a page that we can read. FIRN_OK, FIRN_ENOTSTORE, FIRN_EIO. */
static int read_head(firn_page *self) {
    if (firn_read_at(self->fd, &self->head, sizeof self->head, 0) != 0) {
        return errno == 0 ? FIRN_ENOTSTORE : FIRN_EIO;
    }
    bool known = memcmp(self->head.magic, FIRN_PAGE_MAGIC, sizeof self->head.magic) == 0 &&
                 self->head.format == FIRN_PAGE_FORMAT && firn_page_body_bytes(&self->head) != 0;
    return known ? FIRN_OK : FIRN_ENOTSTORE;
}

static int open_file(firn_page *self, const char *path, char *message, size_t message_size) {
    char *name = firn_path_join(self->heap, path, FIRN_PAGE_FILE);
    if (name == NULL) {
        return FIRN_ENOMEM;
    }
    self->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = errno;
    firn_path_free(self->heap, name);
    struct stat status;
    if (self->fd < 0 && (error == ENOENT || error == ENOTDIR)) {
        return fail(message, message_size, FIRN_NOT_FOUND,
                    "%s: there is no %s: no process wrote one, or firn_options.page_ms is off",
                    path, FIRN_PAGE_FILE);
    }
    if (self->fd < 0) {
        return fail(message, message_size, FIRN_EIO, "%s/%s: %s", path, FIRN_PAGE_FILE,
                    strerror(error));
    }
    if (fstat(self->fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        return fail(message, message_size, FIRN_ENOTSTORE, "%s/%s is no file", path,
                    FIRN_PAGE_FILE);
    }
    int result = read_head(self);
    if (result != FIRN_OK) {
        fail(message, message_size, result, "%s/%s is no page of a version known here", path,
             FIRN_PAGE_FILE);
    }
    return result;
}

int firn_page_open(firn_page **page, const char *path, char *message, size_t message_size) {
    if (page == NULL) {
        return FIRN_EINVAL;
    }
    *page = NULL;
    if (path == NULL) {
        return FIRN_EINVAL;
    }
    firn_heap *heap = firn_heap_new(NULL);
    firn_page *self = heap != NULL ? firn_heap_zalloc(heap, sizeof *self) : NULL;
    if (self == NULL) {
        firn_heap_unref(heap);
        return fail(message, message_size, FIRN_ENOMEM, "no memory");
    }
    self->heap = heap;
    self->fd = -1;
    int result = open_file(self, path, message, message_size);
    if (result != FIRN_OK) {
        firn_page_close(self);
        return result;
    }
    *page = self;
    return FIRN_OK;
}

void firn_page_close(firn_page *page) {
    if (page == NULL) {
        return;
    }
    if (page->fd >= 0) {
        close(page->fd);
    }
    firn_heap *heap = page->heap;
    firn_heap_free(heap, page->body, page->body_bytes);
    firn_heap_free(heap, page, sizeof *page);
    firn_heap_unref(heap);
}

/* One look at head and body. FIRN_OK; FIRN_AGAIN: it is being written; FIRN_ECORRUPT, FIRN_EIO,
 * FIRN_ENOTSTORE, FIRN_ENOMEM. */
static int look(firn_page *self) {
    int result = read_head(self);
    if (result != FIRN_OK || self->head.sequence % 2 != 0) {
        return result != FIRN_OK ? result : FIRN_AGAIN;
    }
    size_t bytes = firn_page_body_bytes(&self->head);
    if (bytes != self->body_bytes) {
        firn_heap_free(self->heap, self->body, self->body_bytes);
        self->body = firn_heap_alloc(self->heap, bytes);
        self->body_bytes = self->body != NULL ? bytes : 0;
        if (self->body == NULL) {
            return FIRN_ENOMEM;
        }
    }
    firn_page_head after;
    if (firn_read_at(self->fd, self->body, bytes, FIRN_PAGE_UNIT) != 0 ||
        firn_read_at(self->fd, &after, sizeof after, 0) != 0) {
        return errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
    }
    if (memcmp(&after, &self->head, sizeof after) != 0) {
        return FIRN_AGAIN;
    }
    return firn_page_checksum(&self->head, self->body) == self->head.checksum ? FIRN_OK
                                                                              : FIRN_ECORRUPT;
}

static void give_info(const firn_page *self, firn_page_info *info) {
    const firn_page_head *head = &self->head;
    firn_page_info full = {
        .store_id = head->store_id,
        .pid = head->pid,
        .opened_ms = head->opened_ms,
        .written_ms = head->written_ms,
        .uptime_ns = head->uptime_ns,
        .next_ms = head->next_ms,
        .closed = head->closed != 0,
    };
    full.alive = head->closed == 0 && head->pid > 0 && head->pid <= INT32_MAX &&
                 (kill((pid_t)head->pid, 0) == 0 || errno == EPERM);
    firn_give_sized(info, &full, sizeof full);
}

/* As much of `from` as there is, then zeros, up to the end of a struct that begins with its size.
 */
static void give_rest(void *to, size_t size, size_t head, const void *from, size_t available) {
    size_t room = size > head ? size - head : 0;
    size_t copied = room < available ? room : available;
    memcpy((char *)to + head, from, copied);
    memset((char *)to + head + copied, 0, room - copied);
}

int firn_page_read(firn_page *page, firn_page_info *info, firn_stats *stats,
                   firn_latencies *latencies) {
    if (page == NULL || (info != NULL && firn_is_unsized(info)) ||
        (stats != NULL && firn_is_unsized(stats)) ||
        (latencies != NULL && firn_is_unsized(latencies))) {
        return FIRN_EINVAL;
    }
    int result = look(page);
    for (unsigned i = 1; i < ATTEMPTS && result == FIRN_AGAIN; i++) {
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
        result = look(page);
    }
    if (result != FIRN_OK) {
        return result == FIRN_ENOTSTORE ? FIRN_ECORRUPT : result;
    }
    if (info != NULL) {
        give_info(page, info);
    }
    size_t numbers = page->head.numbers * sizeof(uint64_t);
    if (stats != NULL) {
        give_rest(stats, stats->size, offsetof(firn_stats, gets), page->body, numbers);
    }
    if (latencies != NULL) {
        give_rest(latencies, latencies->size, offsetof(firn_latencies, of),
                  (const char *)page->body + numbers, page->head.kinds * sizeof(firn_latency));
    }
    return FIRN_OK;
}

/* Sets that two looks saw alike are whole: the writer changes the file in one piece. */
static int load_decisions(firn_page *self, firn_decisions *decisions) {
    size_t bytes = sizeof *decisions;
    unsigned char *twice = firn_heap_alloc(self->heap, 2 * bytes);
    if (twice == NULL) {
        return FIRN_ENOMEM;
    }
    int result = FIRN_OK;
    if (firn_read_at(self->fd, twice, bytes, self->head.decisions_at) != 0 ||
        firn_read_at(self->fd, twice + bytes, bytes, self->head.decisions_at) != 0) {
        result = errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
    }
    for (size_t i = 0; i < FIRN_DECISION_SETS && result == FIRN_OK; i++) {
        size_t at = i * sizeof(firn_decision_set);
        if (memcmp(twice + at, twice + bytes + at, sizeof(firn_decision_set)) == 0) {
            firn_decisions_restore(decisions, i, twice + at);
        }
    }
    firn_heap_free(self->heap, twice, 2 * bytes);
    return result;
}

int firn_page_decisions(firn_page *page, const void *key, size_t key_size, firn_decision *decisions,
                        size_t most, size_t *count) {
    if (page == NULL || count == NULL || (decisions == NULL && most > 0)) {
        return FIRN_EINVAL;
    }
    *count = 0;
    if (page->head.sets != FIRN_DECISION_SETS ||
        page->head.set_bytes != sizeof(firn_decision_set)) {
        return FIRN_OK; /* of another make: none that we know */
    }
    firn_decisions *all = firn_decisions_new(page->heap);
    int result = all != NULL ? load_decisions(page, all) : FIRN_ENOMEM;
    if (result == FIRN_OK && key == NULL) {
        *count = firn_decisions_last(all, decisions, most);
    } else if (result == FIRN_OK) {
        firn_decision of[FIRN_DECISION_WAYS];
        uint64_t hash = firn_hash64(page->head.seed, key, key_size);
        size_t found = firn_decisions_of(all, hash, of);
        *count = found < most ? found : most;
        memcpy(decisions, of + found - *count, *count * sizeof *of);
    }
    firn_decisions_free(all, page->heap);
    return result;
}
