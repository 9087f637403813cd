/* Recordings of any bytes: reading one must end, must not touch what is not there, and gives
 * accesses that make sense or an error.
 *
 * Input: a recording. So that a fuzzer gets beyond checksums, those of the head and of the blocks
 * are made right first, and a block whose magic is right may hold its raw bytes instead of a zstd
 * frame, if its first stored byte is not that of one: they are compressed for it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zstd.h>

#include "observe/recorder_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16, ZSTD_FIRST = 0x28 };

static void put(int fd, const void *bytes, size_t size) {
    if (write(fd, bytes, size) != (ssize_t)size) {
        abort();
    }
}

static size_t put_head(int fd, const uint8_t *data) {
    firn_trace_header head;
    memcpy(&head, data, sizeof head);
    memcpy(head.magic, FIRN_TRACE_MAGIC, sizeof head.magic);
    head.format = FIRN_TRACE_FORMAT;
    head.checksum = firn_trace_header_checksum(&head);
    put(fd, &head, sizeof head);
    return sizeof head;
}

/* How many bytes of the input it was. */
static size_t put_block(int fd, const uint8_t *data, size_t size) {
    static unsigned char stored[ZSTD_COMPRESSBOUND(INPUT_MAX)];
    firn_trace_block head;
    memcpy(&head, data, sizeof head);
    const uint8_t *payload = data + sizeof head;
    if (head.magic != FIRN_TRACE_BLOCK_MAGIC || head.stored_bytes > size - sizeof head) {
        put(fd, data, size);
        return size;
    }
    size_t taken = sizeof head + head.stored_bytes;
    memcpy(stored, payload, head.stored_bytes);
    if (head.stored_bytes > 0 && payload[0] != ZSTD_FIRST) {
        head.raw_bytes = head.stored_bytes;
        head.stored_bytes =
            (uint32_t)ZSTD_compress(stored, sizeof stored, payload, head.raw_bytes, 1);
    }
    head.checksum = firn_trace_block_checksum(&head, stored);
    put(fd, &head, sizeof head);
    put(fd, stored, head.stored_bytes);
    return taken;
}

static void read_all(const char *path) {
    firn_recording *recording;
    firn_access access;
    char why[256];
    if (firn_recording_open(&recording, path, why, sizeof why) != FIRN_OK) {
        return;
    }
    int result;
    while ((result = firn_recording_next(recording, &access)) == FIRN_OK) {
        if (access.what > FIRN_ACCESS_DELETE || access.charge < access.value_size) {
            abort();
        }
    }
    firn_recording_info info = FIRN_RECORDING_INFO_INIT;
    if (firn_recording_next(recording, &access) != result ||
        firn_recording_get_info(recording, &info) != FIRN_OK || !(info.sampling_rate > 0) ||
        info.sampling_rate > 1) {
        abort();
    }
    firn_recording_close(recording);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memfd_create("recording", 0);
    if (fd < 0 || size > INPUT_MAX) {
        close(fd);
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    put(fd, data, size);
    read_all(path);
    if (size >= sizeof(firn_trace_header) && ftruncate(fd, 0) == 0) {
        lseek(fd, 0, SEEK_SET);
        size_t at = put_head(fd, data);
        while (size - at >= sizeof(firn_trace_block)) {
            at += put_block(fd, data + at, size - at);
        }
        read_all(path);
    }
    close(fd);
    return 0;
}
