/* See curve_file.h. The file, little-endian:
 *
 *     offset 0   8 bytes "FIRNCURV"     24  u64 bytes of the body
 *            8   u32 format, 1          32  u64 XXH3-64 of the body, seed 0
 *           12   u32 0                  40  the body
 *           16   u64 store id
 *
 * The body: u64 gets, u64 sampled, u64 samples, f64 sampling rate; the line of the hot tier and the
 * one of both, each as u64 bytes, f64 measured hit ratio, u64 count of points, and points of u64
 * bytes, f64 hit ratio; then what firn_shards_save gives. */
#include "observe/curve_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/replace.h"
#include "observe/shards.h"

#define MAGIC "FIRNCURV"

enum { FORMAT = 1, FILE_MAX = 1 << 30 };

typedef struct header {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t store_id;
    uint64_t body_bytes;
    uint64_t checksum;
} header;

_Static_assert(sizeof(header) == 40, "as the format says");

typedef struct facts {
    uint64_t gets;
    uint64_t sampled;
    uint64_t samples;
    double sampling_rate;
} facts;

typedef struct line_head {
    uint64_t bytes;
    double measured_hit_ratio;
    uint64_t count;
} line_head;

static unsigned char *put(unsigned char *to, const void *bytes, size_t size) {
    memcpy(to, bytes, size);
    return to + size;
}

static unsigned char *put_line(unsigned char *to, const firn_curve_line *line) {
    line_head head = {line->bytes, line->measured_hit_ratio, line->count};
    to = put(to, &head, sizeof head);
    return put(to, line->points, line->count * sizeof line->points[0]);
}

unsigned char *firn_curve_file_make(uint64_t store_id, const firn_curve *curve,
                                    const firn_shards *shards, firn_heap *heap, size_t *size,
                                    size_t *room) {
    *room = sizeof(header) + sizeof(facts) + 2 * sizeof(firn_curve_line) +
            firn_shards_image_size(shards);
    unsigned char *bytes = firn_heap_alloc(heap, *room);
    if (bytes == NULL) {
        return NULL;
    }
    facts all = {curve->gets, curve->sampled, curve->samples, curve->sampling_rate};
    unsigned char *body = bytes + sizeof(header);
    unsigned char *at = put(body, &all, sizeof all);
    at = put_line(at, &curve->hot);
    at = put_line(at, &curve->total);
    at += firn_shards_save(shards, at);
    header head = {.magic = MAGIC, .format = FORMAT, .store_id = store_id};
    head.body_bytes = (uint64_t)(at - body);
    head.checksum = firn_hash64(0, body, (size_t)(at - body));
    put(bytes, &head, sizeof head);
    *size = (size_t)(at - bytes);
    return bytes;
}

int firn_curve_file_write(const char *directory, const unsigned char *bytes, size_t size,
                          firn_heap *heap) {
    return firn_replace_file(directory, FIRN_CURVE_FILE, bytes, size, heap, NULL);
}

/* What is left of the body. */
typedef struct rest {
    const unsigned char *at;
    size_t size;
} rest;

static bool take(rest *from, void *to, size_t size) {
    if (from->size < size) {
        return false;
    }
    memcpy(to, from->at, size);
    from->at += size;
    from->size -= size;
    return true;
}

static bool is_ratio(double number) {
    return number >= 0 && number <= 1;
}

static bool take_line(rest *from, firn_curve_line *line) {
    line_head head;
    if (!take(from, &head, sizeof head) || head.count > FIRN_CURVE_POINTS ||
        !is_ratio(head.measured_hit_ratio)) {
        return false;
    }
    *line = (firn_curve_line){
        .bytes = head.bytes, .measured_hit_ratio = head.measured_hit_ratio, .count = head.count};
    bool good = take(from, line->points, line->count * sizeof line->points[0]);
    for (size_t i = 0; good && i < line->count; i++) {
        const firn_curve_point *before = i > 0 ? &line->points[i - 1] : NULL;
        good = is_ratio(line->points[i].hit_ratio) &&
               (before == NULL || (line->points[i].bytes >= before->bytes &&
                                   line->points[i].hit_ratio >= before->hit_ratio));
    }
    return good;
}

static int take_body(const header *head, rest body, firn_curve *curve, firn_shards *shards) {
    firn_curve found = FIRN_CURVE_INIT;
    facts all;
    if (firn_hash64(0, body.at, body.size) != head->checksum || !take(&body, &all, sizeof all) ||
        !is_ratio(all.sampling_rate) || !take_line(&body, &found.hot) ||
        !take_line(&body, &found.total)) {
        return FIRN_NOT_FOUND;
    }
    found.gets = all.gets;
    found.sampled = all.sampled;
    found.samples = all.samples;
    found.sampling_rate = all.sampling_rate;
    if (curve != NULL) {
        *curve = found;
    }
    if (shards != NULL) {
        firn_shards_load(shards, body.at, body.size);
    }
    return FIRN_OK;
}

static int read_open(int fd, uint64_t store_id, firn_curve *curve, firn_shards *shards,
                     firn_heap *heap) {
    struct stat status;
    header head;
    if (fstat(fd, &status) != 0) {
        return FIRN_EIO;
    }
    if (firn_read_at(fd, &head, sizeof head, 0) != 0) {
        return errno == 0 ? FIRN_NOT_FOUND : FIRN_EIO;
    }
    if (memcmp(head.magic, MAGIC, sizeof head.magic) != 0 || head.format != FORMAT ||
        head.zero != 0 || head.store_id != store_id || head.body_bytes == 0 ||
        head.body_bytes > FILE_MAX || head.body_bytes + sizeof head != (uint64_t)status.st_size) {
        return FIRN_NOT_FOUND;
    }
    unsigned char *bytes = firn_heap_alloc(heap, head.body_bytes);
    if (bytes == NULL) {
        return FIRN_ENOMEM;
    }
    int result = FIRN_OK;
    if (firn_read_at(fd, bytes, head.body_bytes, sizeof head) != 0) {
        result = errno == 0 ? FIRN_NOT_FOUND : FIRN_EIO;
    } else {
        result = take_body(&head, (rest){bytes, head.body_bytes}, curve, shards);
    }
    firn_heap_free(heap, bytes, head.body_bytes);
    return result;
}

int firn_curve_file_read(const char *directory, uint64_t store_id, firn_curve *curve,
                         firn_shards *shards, firn_heap *heap) {
    char *path = firn_path_join(heap, directory, FIRN_CURVE_FILE);
    if (path == NULL) {
        return FIRN_ENOMEM;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = errno;
    firn_path_free(heap, path);
    if (fd < 0) {
        return error == ENOENT ? FIRN_NOT_FOUND : FIRN_EIO;
    }
    int result = read_open(fd, store_id, curve, shards, heap);
    close(fd);
    return result;
}
