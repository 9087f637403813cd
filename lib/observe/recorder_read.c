/* Reads a recording: see firn/record.h, and recorder_format.h for the bytes. Nothing in a file is
 * believed before its checksum was, and nothing then without a look at where it ends. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

#include "base/detail.h"
#include "base/sized.h"
#include "observe/recorder_format.h"

struct firn_recording {
    int fd;
    firn_detail detail;
    firn_recording_info info;
    ZSTD_DCtx *context;
    unsigned char *stored;
    unsigned char *raw;
    const unsigned char *at; /* in raw */
    const unsigned char *end;
    uint32_t left; /* accesses of the block */
    uint64_t now_ms;
    int result; /* what the next call returns, if it is not FIRN_OK */
};

/* As many of the bytes as there are, or -1. */
static ssize_t read_full(int fd, void *to, size_t size) {
    size_t got = 0;
    while (got < size) {
        ssize_t some = read(fd, (unsigned char *)to + got, size - got);
        if (some < 0 && errno == EINTR) {
            continue;
        }
        if (some < 0) {
            return -1;
        }
        if (some == 0) {
            break;
        }
        got += (size_t)some;
    }
    return (ssize_t)got;
}

static int read_header(firn_recording *self) {
    firn_trace_header head;
    ssize_t got = read_full(self->fd, &head, sizeof head);
    if (got < 0) {
        return firn_detail_set(&self->detail, FIRN_EIO, "%s", strerror(errno));
    }
    if (got < 8 || memcmp(head.magic, FIRN_TRACE_MAGIC, sizeof head.magic) != 0) {
        return firn_detail_set(&self->detail, FIRN_ECORRUPT, "not a recording of firn");
    }
    if (got == sizeof head && head.format > FIRN_TRACE_FORMAT) {
        return firn_detail_set(&self->detail, FIRN_EVERSION,
                               "a recording of format %u; this version of firn reads %d",
                               head.format, FIRN_TRACE_FORMAT);
    }
    if (got != sizeof head || firn_trace_header_checksum(&head) != head.checksum ||
        head.below == 0) {
        return firn_detail_set(&self->detail, FIRN_ECORRUPT, "the head is damaged");
    }
    self->info.started_ms = head.started_ms;
    self->info.hot_bytes = head.hot_bytes;
    self->info.cold_bytes = head.cold_bytes;
    self->info.sampling_rate =
        head.below == UINT64_MAX ? 1 : (double)head.below / 18446744073709551616.0;
    return FIRN_OK;
}

static int open_parts(firn_recording *self, const char *path) {
    self->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (self->fd < 0) {
        return firn_detail_set(&self->detail, FIRN_EIO, "%s", strerror(errno));
    }
    self->context = ZSTD_createDCtx();
    self->raw = malloc(FIRN_TRACE_RAW_MAX);
    self->stored = malloc(ZSTD_COMPRESSBOUND(FIRN_TRACE_RAW_MAX));
    if (self->context == NULL || self->raw == NULL || self->stored == NULL) {
        return firn_detail_set(&self->detail, FIRN_ENOMEM, "no memory");
    }
    return read_header(self);
}

int firn_recording_open(firn_recording **recording, const char *path, char *error_buffer,
                        size_t error_size) {
    if (recording == NULL || path == NULL) {
        return FIRN_EINVAL;
    }
    *recording = NULL;
    firn_recording *self = calloc(1, sizeof *self);
    if (self == NULL || firn_detail_init(&self->detail) != 0) {
        free(self);
        return FIRN_ENOMEM;
    }
    self->fd = -1;
    self->info = (firn_recording_info)FIRN_RECORDING_INFO_INIT;
    int result = open_parts(self, path);
    if (result != FIRN_OK) {
        if (error_buffer != NULL && error_size > 0) {
            firn_detail_get(&self->detail, error_buffer, error_size);
        }
        firn_recording_close(self);
        return result;
    }
    *recording = self;
    return FIRN_OK;
}

void firn_recording_close(firn_recording *recording) {
    if (recording != NULL) {
        if (recording->fd >= 0) {
            close(recording->fd);
        }
        ZSTD_freeDCtx(recording->context);
        free(recording->raw);
        free(recording->stored);
        firn_detail_fini(&recording->detail);
        free(recording);
    }
}

/* The file ends before the block does. */
static int cut_short(firn_recording *self) {
    self->info.is_cut_short = 1;
    return FIRN_NOT_FOUND;
}

/* FIRN_OK, FIRN_NOT_FOUND at the end, FIRN_ECORRUPT, FIRN_EIO. */
static int load_block(firn_recording *self) {
    firn_trace_block head;
    ssize_t got = read_full(self->fd, &head, sizeof head);
    if (got <= 0) {
        return got == 0 ? FIRN_NOT_FOUND : FIRN_EIO;
    }
    if (got != sizeof head) {
        return cut_short(self);
    }
    if (head.magic != FIRN_TRACE_BLOCK_MAGIC || head.raw_bytes > FIRN_TRACE_RAW_MAX ||
        head.stored_bytes > ZSTD_COMPRESSBOUND(FIRN_TRACE_RAW_MAX)) {
        return FIRN_ECORRUPT;
    }
    got = read_full(self->fd, self->stored, head.stored_bytes);
    if (got != (ssize_t)head.stored_bytes) {
        return got < 0 ? FIRN_EIO : cut_short(self);
    }
    if (firn_trace_block_checksum(&head, self->stored) != head.checksum) {
        return FIRN_ECORRUPT;
    }
    size_t raw = ZSTD_decompressDCtx(self->context, self->raw, head.raw_bytes, self->stored,
                                     head.stored_bytes);
    if (ZSTD_isError(raw) || raw != head.raw_bytes) {
        return FIRN_ECORRUPT;
    }
    uint64_t since_ms;
    self->end = self->raw + raw;
    self->at = firn_get_varint(self->raw, self->end, &since_ms);
    if (self->at == NULL) {
        return FIRN_ECORRUPT;
    }
    self->now_ms = self->info.started_ms + since_ms;
    self->left = head.accesses;
    self->info.dropped = head.dropped;
    return FIRN_OK;
}

static bool take(firn_recording *self, uint64_t *number) {
    self->at = self->at != NULL ? firn_get_varint(self->at, self->end, number) : NULL;
    return self->at != NULL;
}

static bool unpack(firn_recording *self, firn_access *access) {
    unsigned bits = self->at < self->end ? *self->at++ : UINT32_MAX;
    uint64_t passed_ms = 0;
    *access = (firn_access){.what = bits & 7};
    if (access->what > FIRN_ACCESS_DELETE ||
        (bits & ~(7u | FIRN_TRACE_HAS_TTL | FIRN_TRACE_HAS_COST)) != 0 || !take(self, &passed_ms) ||
        self->end - self->at < (ptrdiff_t)sizeof access->key_hash) {
        return false;
    }
    self->now_ms += passed_ms;
    access->time_ms = self->now_ms;
    memcpy(&access->key_hash, self->at, sizeof access->key_hash);
    self->at += sizeof access->key_hash;
    if (firn_trace_has_sizes(access->what)) {
        uint64_t extra = 0;
        if (!take(self, &access->value_size) || !take(self, &extra) ||
            extra > UINT64_MAX - access->value_size) {
            return false;
        }
        access->charge = access->value_size + extra;
    }
    return ((bits & FIRN_TRACE_HAS_TTL) == 0 || take(self, &access->ttl_ms)) &&
           ((bits & FIRN_TRACE_HAS_COST) == 0 || take(self, &access->cost_us));
}

int firn_recording_next(firn_recording *recording, firn_access *access) {
    if (recording == NULL || access == NULL) {
        return FIRN_EINVAL;
    }
    while (recording->result == FIRN_OK && recording->left == 0) {
        recording->result = load_block(recording);
    }
    if (recording->result == FIRN_OK && !unpack(recording, access)) {
        recording->result = FIRN_ECORRUPT;
    }
    recording->left -= recording->result == FIRN_OK;
    return recording->result;
}

int firn_recording_get_info(const firn_recording *recording, firn_recording_info *info) {
    if (recording == NULL || firn_is_unsized(info)) {
        return FIRN_EINVAL;
    }
    firn_give_sized(info, &recording->info, sizeof recording->info);
    return FIRN_OK;
}
