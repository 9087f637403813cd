/* Watching a cache from another process: what a store's file firn.page says of the process that has
 * the store open for writing, or had it last.
 *
 * That process writes the page every firn_options.page_ms, and never waits for who reads it.
 * Nothing else of the store is touched by what is here. What `firn top` and `firn explain` are made
 * of.
 */
#ifndef FIRN_PAGE_H
#define FIRN_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/metrics.h>
#include <firn/observe.h>
#include <firn/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_page firn_page;

/* Of the process that wrote the page. */
typedef struct firn_page_info {
    size_t size;       /* sizeof(firn_page_info) */
    uint64_t store_id; /* as firn_store_info tells */
    uint64_t pid;      /* as that process sees itself */
    uint64_t
        opened_ms; /* when it opened the store, milliseconds since 1970, by the system's clock */
    uint64_t written_ms; /* when it wrote the page last, likewise */
    uint64_t uptime_ns;  /* from the one to the other, by a clock that nobody sets */
    uint64_t next_ms;    /* it means to write it again within that; 0: when the program calls
                            firn_run */
    unsigned closed;     /* not 0: it closed the store, and this is how it was then */
    unsigned alive;      /* not 0: it did not close it, and there is a process of that pid on this
                            machine;      whether it still writes, written_ms tells */
} firn_page_info;

#define FIRN_PAGE_INFO_INIT                                                                        \
    { sizeof(firn_page_info), 0, 0, 0, 0, 0, 0, 0, 0 }

/* Opens the page of a store, for this thread.
 *
 * path         of the store
 * message      why it failed, in words; may be NULL
 *
 * FIRN_OK; FIRN_NOT_FOUND: no such file, for nobody wrote it yet or the option is off;
 * FIRN_ENOTSTORE: it is no page of a version that is known here; FIRN_EIO, FIRN_ENOMEM. */
FIRN_API int firn_page_open(firn_page **page, const char *path, char *message, size_t message_size);
/* page may be NULL. */
FIRN_API void firn_page_close(firn_page *page);

/* Looks at the page. Each of info, stats and latencies may be NULL; what they point to is filled in
 * as far as its size goes, and with zeros where an older page has nothing.
 *
 * FIRN_OK; FIRN_AGAIN: it is being written all the while, or the process died over it;
 * FIRN_ECORRUPT: it is damaged; FIRN_EIO; FIRN_EINVAL. */
FIRN_API int firn_page_read(firn_page *page, firn_page_info *info, firn_stats *stats,
                            firn_latencies *latencies);

/* The last decisions, oldest first, that are remembered: about one key, or about all if key is
 * NULL. Up to `most`, the youngest; *count: how many. FIRN_OK, FIRN_EIO, FIRN_ENOMEM. */
FIRN_API int firn_page_decisions(firn_page *page, const void *key, size_t key_size,
                                 firn_decision *decisions, size_t most, size_t *count);

#ifdef __cplusplus
}
#endif

#endif
