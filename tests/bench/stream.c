/* One large value through firn_writer and firn_reader: time and memory, beside the same bytes
 * written to and read from a plain file in the same pieces.
 *
 *     stream FOLDER [MIB]     default 4096; the folder must not exist */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <firn/firn.h>

enum { PART = 1 << 20 };

static unsigned char part[PART];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double processor(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void check(int right, const char *what) {
    if (!right) {
        fprintf(stderr, "stream: %s failed\n", what);
        exit(1);
    }
}

/* Bytes that cannot be made small, and differ from part to part. */
static void fill(uint64_t number) {
    uint64_t seed = number + 1;
    for (size_t i = 0; i < PART; i += 8) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        memcpy(part + i, &seed, 8);
    }
}

static void tell(const char *what, double began, double used) {
    printf("%-12s %8.2f s, %8.2f s of processor\n", what, now() - began, processor() - used);
}

static void through_file(const char *path, uint64_t parts) {
    double began = now();
    double used = processor();
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    check(fd >= 0, "open");
    for (uint64_t i = 0; i < parts; i++) {
        fill(i);
        check(write(fd, part, PART) == PART, "write");
    }
    check(fdatasync(fd) == 0, "sync");
    tell("file, write", began, used);
    began = now();
    used = processor();
    for (uint64_t i = 0; i < parts; i++) {
        check(pread(fd, part, PART, (off_t)(i * PART)) == PART, "read");
    }
    tell("file, read", began, used);
    close(fd);
    unlink(path);
}

static void through_firn(const char *path, uint64_t parts) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 4u << 20;
    options.cold_bytes = parts * PART * 3;
    firn_cache *cache;
    check(firn_open(&cache, path, &options) == FIRN_OK, "firn_open");
    long before = peak_kib();
    double began = now();
    double used = processor();
    firn_writer *writer;
    check(firn_writer_open(cache, "a", 1, NULL, &writer) == FIRN_OK, "firn_writer_open");
    for (uint64_t i = 0; i < parts; i++) {
        fill(i);
        check(firn_writer_write(writer, part, PART) == FIRN_OK, "firn_writer_write");
    }
    check(firn_writer_commit(writer) == FIRN_OK, "firn_writer_commit");
    check(firn_flush(cache) == FIRN_OK, "firn_flush");
    tell("firn, write", began, used);
    long written = peak_kib();
    began = now();
    used = processor();
    firn_reader *reader;
    check(firn_reader_open(cache, "a", 1, &reader) == FIRN_OK, "firn_reader_open");
    const void *piece;
    size_t size;
    uint64_t total = 0;
    while (firn_reader_next(reader, &piece, &size) == FIRN_OK) {
        total += size;
    }
    check(total == parts * PART && firn_reader_size(reader) == total, "firn_reader_next");
    tell("firn, read", began, used);
    firn_reader_close(reader);
    printf("memory grew by %ld KiB when it was written, %ld KiB when it was read too\n",
           written - before, peak_kib() - before);
    check(firn_close(cache) == FIRN_OK, "firn_close");
}

int main(int count, char **words) {
    check(count == 2 || count == 3, "usage: stream FOLDER [MIB]:");
    uint64_t parts = count == 3 ? strtoull(words[2], NULL, 10) : 4096;
    char file[4096];
    snprintf(file, sizeof file, "%s.plain", words[1]);
    through_firn(words[1], parts);
    through_file(file, parts);
    return 0;
}
