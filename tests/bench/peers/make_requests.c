/* Makes the files of requests before anything is timed, so that every peer gets the same.
 *
 * Usage: make_requests zipf FILE KEYS COUNT PUT_PERCENT SEED
 *        make_requests trace FILE <TRACE      lines of key[,size] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "requests.h"
#include "zipf.h"

enum { SIZE_UNKNOWN = 1024 }; /* as firn replay has it */

static void fail(const char *what) {
    fprintf(stderr, "make_requests: %s\n", what);
    exit(1);
}

static void *need(void *memory) {
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

static void write_all(FILE *file, const requests_head *head, const request *requests) {
    if (fwrite(head, sizeof *head, 1, file) != 1 ||
        fwrite(requests, sizeof *requests, head->count, file) != head->count || fclose(file) != 0) {
        fail("cannot write the requests");
    }
}

static void make_zipf(FILE *file, char **arguments) {
    uint64_t keys = strtoull(arguments[0], NULL, 10);
    uint64_t count = strtoull(arguments[1], NULL, 10);
    uint64_t put_percent = strtoull(arguments[2], NULL, 10);
    uint64_t seed = strtoull(arguments[3], NULL, 10) * UINT64_C(0x5851f42d4c957f2d);
    if (keys == 0 || count == 0) {
        fail("no keys or no requests");
    }
    zipf ranks = zipf_make(keys);
    request *requests = need(calloc(count, sizeof *requests));
    for (uint64_t i = 0; i < count; i++) {
        requests[i].key = key_of(zipf_next(&ranks, &seed));
        requests[i].put = next_random(&seed) % 100 < put_percent;
    }
    requests_head head = {REQUESTS_MAGIC, count, keys, 0, 0, {0, 0, 0}};
    write_all(file, &head, requests);
    zipf_free(&ranks);
    free(requests);
}

static int by_key(const void *left, const void *right) {
    const request *a = left;
    const request *b = right;
    return (a->key > b->key) - (a->key < b->key);
}

static void make_trace(FILE *file) {
    request *requests = NULL;
    requests_head head = {REQUESTS_MAGIC, 0, 0, 0, 0, {0, 0, 0}};
    size_t room = 0;
    char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t length = strcspn(line, "\r\n");
        size_t key_size = strcspn(line, ",\r\n");
        if (key_size == 0) {
            continue;
        }
        if (head.count == room) {
            room = room == 0 ? 1 << 16 : room * 2;
            requests = need(realloc(requests, room * sizeof *requests));
        }
        uint64_t size = key_size < length ? strtoull(line + key_size + 1, NULL, 10) : 0;
        size = size == 0 ? SIZE_UNKNOWN : size;
        if (size > UINT32_C(1) << 30) {
            fail("a size above 1 GiB");
        }
        requests[head.count++] = (request){XXH3_64bits(line, key_size), (uint32_t)size, 0};
        head.size_max = size > head.size_max ? size : head.size_max;
    }
    if (head.count == 0) {
        fail("the trace is empty");
    }
    request *sorted = need(malloc(head.count * sizeof *sorted));
    memcpy(sorted, requests, head.count * sizeof *sorted);
    qsort(sorted, head.count, sizeof *sorted, by_key);
    for (uint64_t i = 0; i < head.count; i++) {
        if (i == 0 || sorted[i].key != sorted[i - 1].key) {
            head.keys++;
            head.bytes += sizeof sorted[i].key + sorted[i].size;
        }
    }
    write_all(file, &head, requests);
    free(sorted);
    free(requests);
}

int main(int argc, char **argv) {
    FILE *file = argc > 2 ? fopen(argv[2], "wb") : NULL;
    if (file == NULL) {
        fail("cannot open the file to write");
    }
    if (strcmp(argv[1], "zipf") == 0 && argc == 7) {
        make_zipf(file, argv + 3);
    } else if (strcmp(argv[1], "trace") == 0) {
        make_trace(file);
    } else {
        fail("usage: zipf FILE KEYS COUNT PUT_PERCENT SEED | trace FILE");
    }
    return 0;
}
