/* Failing system calls: the calls that reach a device, interposed, so that a test can say which of
 * them fails and how.
 *
 * io_faults.c defines pwrite, fdatasync and their like in the test's own executable, where they
 * take the place of the C library's for everything in the process: the library under test as well
 * as LMDB. What is not asked to fail goes to the kernel; but nothing is really pushed to a device,
 * for most of these tests look at what a process leaves to the next one. One rule holds at a time,
 * for the whole process. Those that look at what a power loss leaves ask for a device: from then on
 * each page that is written to a file is dirty until a sync of that file, and what the file would
 * hold without its dirty pages can be had. Knows descriptors and paths, nothing of firn. */
#ifndef FIRN_TESTS_IO_FAULTS_H
#define FIRN_TESTS_IO_FAULTS_H

#include <stdbool.h>

/* Kinds of calls, to be combined. */
enum {
    IO_WRITE = 1,     /* pwrite, pwritev, write, writev */
    IO_READ = 2,      /* pread, preadv */
    IO_SYNC = 4,      /* fsync, fdatasync */
    IO_MSYNC = 8,     /* msync */
    IO_TRUNCATE = 16, /* ftruncate */
    IO_ALLOCATE = 32, /* fallocate, posix_fallocate */
    IO_RENAME = 64,   /* rename */
};

typedef struct io_rule {
    const char *folder; /* files below it alone; lent until io_faults_off */
    const char *name;   /* files whose path ends so alone; NULL: all. Likewise. An msync's file is
                           that which is mapped there. */
    unsigned calls;     /* which are counted */
    long first;         /* the first to fail, from 0 on */
    long count;         /* so many fail; 0: all from then on */
    int error;          /* errno; 0: only half of the bytes are written or read, which for any other
                           call is no fault */
    bool drops;         /* with a device: a sync that fails cleans the file's pages, as the system
                           does: the next one means only what is written from then on */
    bool evicts;        /* and what is read from then on is what the device holds */
} io_rule;

/* Takes the place of the rule that holds, and counts from 0. */
void io_faults_on(const io_rule *rule);
/* Ends the rule. Returns how many calls failed under it. */
long io_faults_off(void);
/* How many calls failed so far. */
long io_faults_failed(void);

/* From now on there is a device below a folder, which holds what the files there hold now. A name
 * and a length are on it at once; what is written through a map is too. */
void io_device_on(const char *folder);
/* Makes a folder of what a power loss at this moment would leave. */
void io_device_copy(const char *to);
void io_device_off(void);

#endif
