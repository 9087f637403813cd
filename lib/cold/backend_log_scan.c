/* The log backend: walking through frames. See backend_log.h. */
#include <string.h>

#include "base/hash.h"
#include "cold/backend_log.h"

enum { AHEAD = 64 << 10 };

void firn_scan_fini(firn_scan *scan, firn_heap *heap) {
    firn_heap_free(heap, scan->bytes, scan->capacity);
    *scan = (firn_scan){0};
}

/* *at: `size` bytes from a position on; FIRN_NOT_FOUND: there are fewer. */
static int need(const firn_backend *backend, firn_scan *scan, uint64_t position, size_t size,
                const unsigned char **at) {
    if (position < scan->start || position - scan->start > scan->length ||
        scan->length - (position - scan->start) < size) {
        size_t wanted = size > AHEAD ? size : AHEAD;
        if (wanted > scan->capacity) {
            unsigned char *bytes = firn_heap_alloc(backend->heap, wanted);
            if (bytes == NULL) {
                return firn_detail_set(backend->detail, FIRN_ENOMEM,
                                       "no memory for a record of %zu bytes", size);
            }
            firn_heap_free(backend->heap, scan->bytes, scan->capacity);
            *scan = (firn_scan){.bytes = bytes, .capacity = wanted};
        }
        uint64_t rest = firn_log_end(backend->log) - position;
        scan->start = position;
        scan->length = 0;
        int result = firn_log_read(backend->log, position, scan->bytes,
                                   wanted < rest ? wanted : (size_t)rest, &scan->length);
        if (result != FIRN_OK) {
            scan->length = 0;
            return result;
        }
        if (scan->length < size) {
            return FIRN_NOT_FOUND;
        }
    }
    *at = scan->bytes + (position - scan->start);
    return FIRN_OK;
}

static int scan_removal(const firn_backend *backend, firn_scan *scan, firn_frame *frame) {
    const unsigned char *at;
    int result = need(backend, scan, frame->position, FIRN_FRAME_REMOVAL_SIZE, &at);
    if (result != FIRN_OK) {
        return result == FIRN_NOT_FOUND ? FIRN_ECORRUPT : result;
    }
    uint64_t check;
    memcpy(&frame->identity.hash, at + 4, 8);
    memcpy(&frame->identity.version, at + 12, 8);
    memcpy(&check, at + 20, 8);
    frame->removal = true;
    frame->end = frame->position + FIRN_FRAME_REMOVAL_SIZE;
    return check == firn_hash64(frame->position, at + 4, 16) ? FIRN_OK : FIRN_ECORRUPT;
}

int firn_scan_frame(const firn_backend *backend, firn_scan *scan, uint64_t position,
                    firn_frame *frame) {
    *frame = (firn_frame){.position = position};
    uint64_t end = firn_log_end(backend->log);
    if (position >= end) {
        return FIRN_NOT_FOUND;
    }
    const unsigned char *at = NULL;
    int result = need(backend, scan, position, FIRN_FRAME_HEAD, &at);
    if (result != FIRN_OK) {
        return result == FIRN_NOT_FOUND ? FIRN_ECORRUPT : result;
    }
    uint32_t size;
    memcpy(&size, at, sizeof size);
    if (size == FIRN_FRAME_REMOVAL) {
        return scan_removal(backend, scan, frame);
    }
    if (size == 0 || end - position < FIRN_FRAME_HEAD || size > end - position - FIRN_FRAME_HEAD) {
        return FIRN_ECORRUPT;
    }
    result = need(backend, scan, position, FIRN_FRAME_HEAD + (size_t)size, &at);
    if (result != FIRN_OK) {
        return result == FIRN_NOT_FOUND ? FIRN_ECORRUPT : result;
    }
    frame->record = (firn_bytes){at + FIRN_FRAME_HEAD, size};
    frame->end = position + FIRN_FRAME_HEAD + size;
    return FIRN_OK;
}

int firn_scan_skip(const firn_backend *backend, uint64_t position, uint64_t *next) {
    uint64_t number = firn_log_number(backend->payload, position) + 1;
    uint64_t tail = firn_log_tail(backend->log);
    for (number = number > tail ? number : tail;
         number * backend->payload < firn_log_end(backend->log); number++) {
        int result = firn_log_first_frame(backend->log, number, next);
        bool begins_there = result == FIRN_OK && firn_log_number(backend->payload, *next) == number;
        if (begins_there ||
            (result != FIRN_OK && result != FIRN_NOT_FOUND && result != FIRN_ECORRUPT)) {
            return result;
        }
    }
    return FIRN_NOT_FOUND;
}

int firn_scan_next(const firn_backend *backend, firn_scan *scan, const firn_frame *frame,
                   uint64_t *next) {
    firn_backend_identity identity;
    *next = frame->end;
    if (frame->removal || firn_identify(backend, frame->position, &frame->record, &identity)) {
        return FIRN_OK;
    }
    uint64_t position = frame->position;
    firn_frame following; /* what the frame lent is gone from here on */
    int result = firn_scan_frame(backend, scan, frame->end, &following);
    if (result == FIRN_NOT_FOUND ||
        (result == FIRN_OK && (following.removal || firn_identify(backend, following.position,
                                                                  &following.record, &identity)))) {
        return FIRN_OK;
    }
    return result == FIRN_OK || result == FIRN_ECORRUPT ? firn_scan_skip(backend, position, next)
                                                        : result;
}
