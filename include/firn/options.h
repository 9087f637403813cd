/* Options of firn_open and firn_put.
 *
 * Each struct begins with its own size, so that it can grow: a program built against an older
 * header goes on working. Start from the _INIT macro and set what you want to differ:
 *
 *     firn_options options = FIRN_OPTIONS_INIT;
 *     options.hot_bytes = 256u << 20;
 */
#ifndef FIRN_OPTIONS_H
#define FIRN_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/observe.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The longest key, in bytes. The shortest is 1. */
#define FIRN_KEY_SIZE_MAX ((size_t)1 << 20)

/* The largest value the cold tier takes, in bytes (4 GiB less 16 MiB), if it is at most about a
 * quarter of cold_bytes. The hot tier has no bound of its own but hot_bytes. */
#define FIRN_VALUE_SIZE_MAX ((uint64_t)4278190080u)

/* The smallest budget of a cold tier, in bytes. */
#define FIRN_COLD_BYTES_MIN ((uint64_t)1 << 20)

/* A ttl that means: never expires, whatever the default says. */
#define FIRN_TTL_NONE UINT64_MAX

/* When an entry is written to the cold tier. */
enum {
    FIRN_WRITE_ON_EVICTION = 0, /* when it leaves the hot tier, at firn_flush and at firn_close */
    FIRN_WRITE_BEHIND = 1,      /* soon after firn_put, within write_behind_ms */
    FIRN_WRITE_THROUGH = 2      /* before firn_put returns */
};

/* What firn_put does while demotion is slower than it. Either way memory stays bounded. */
enum {
    FIRN_BACKPRESSURE_WRITE = 0, /* the caller writes a batch itself, so puts run at disk speed */
    FIRN_BACKPRESSURE_DROP = 1   /* the coldest entries are dropped, and counted */
};

/* Whether a put looks for an equal value that is there already. */
enum {
    FIRN_INTERN_DEFAULT =
        0, /* if the cache was opened with intern_bytes, and the value has as many */
    FIRN_INTERN_YES = 1,
    FIRN_INTERN_NO = 2
};

/* How hard the store is pushed to the device. Whatever the choice, a crash of the process (as
 * opposed to the machine) loses nothing that was demoted or flushed. */
enum {
    FIRN_DURABILITY_PERIODIC = 0, /* synced every sync_interval_ms, at flush and at close */
    FIRN_DURABILITY_NONE = 1,     /* synced at flush and at close only */
    FIRN_DURABILITY_COMMIT = 2    /* synced at every commit: survives power loss, slow */
};

/* Memory functions. alloc returns memory aligned to at least 16 bytes, or NULL; free gets the
 * size that was asked for. Both must be safe from any thread, and stay valid until the last
 * object of the cache is released, which may be after firn_close. */
typedef struct firn_allocator {
    void *(*alloc)(void *context, size_t size);
    void (*free)(void *context, void *memory, size_t size);
    void *context;
} firn_allocator;

/* A source of time: milliseconds since 1970, safe from any thread. It may be called often. */
typedef struct firn_clock {
    uint64_t (*now_ms)(void *context);
    void *context;
} firn_clock;

struct firn_leak;

/* Options of firn_open. Zero in any field but hot_bytes, threads and compression_min_bytes means
 * its default. Fields are read during firn_open only; nothing the struct points to is kept except
 * functions and their contexts. */
typedef struct firn_options {
    size_t size;                  /* sizeof(firn_options) */
    uint64_t hot_bytes;           /* memory for the hot tier with all its overhead; what waits for
                                     demotion counts. Default 64 MiB. 0 with a path: a disk cache that
                                     keeps nothing in memory but a write queue of at least 1 MiB. */
    uint64_t cold_bytes;          /* bytes that the store's log and index may take together. Default
                                     1 GiB, at least FIRN_COLD_BYTES_MIN. Oldest entries are
                                     reclaimed. The journal's MiB, dictionaries, and what is left
                                     for the next open come on top. May be another one at each
                                     open; but a store's log never has more than 262,144 segments
                                     of the size that it was made with, so one that was made with
                                     1 MiB stays within 4 GiB. */
    const char *hot_policy;       /* eviction policy by name; NULL: "lru". See firn_policy_name. */
    unsigned write_mode;          /* FIRN_WRITE_...; default on eviction */
    uint64_t write_behind_ms;     /* bound for FIRN_WRITE_BEHIND; default 1000 */
    unsigned backpressure;        /* FIRN_BACKPRESSURE_...; default write */
    unsigned durability;          /* FIRN_DURABILITY_...; default periodic */
    uint64_t sync_interval_ms;    /* for FIRN_DURABILITY_PERIODIC; default 5000 */
    int compression_level;        /* zstd level, -7 to 19; FIRN_COMPRESSION_OFF stores as is;
                                     default 3 */
    size_t compression_min_bytes; /* smaller values are stored as they are; default 64 */
    uint64_t default_ttl_ms;      /* lifetime of an entry whose put names none; 0: no expiry */
    unsigned threads;             /* 1 (default): one background thread for demotion, warm-up and
                                     syncing. 0: none is started, and the program calls firn_run. */
    unsigned shards;              /* locks of the hot tier: a power of two up to 1024; default by
                                     size */
    unsigned read_only;           /* not 0: open beside a live writer; puts give FIRN_EREADONLY, and
                                     no entry is kept in memory between calls. */
    unsigned set_aside_damaged;   /* not 0: a store that cannot be mended is renamed to PATH.damaged
                                    and a fresh   one made in its place, instead of FIRN_ECORRUPT */
    firn_allocator allocator;     /* default: aligned memory of the C library */
    firn_clock clock;             /* default: the system's wall clock */
    char *error_buffer;           /* where a failed firn_open writes what happened; may be NULL */
    size_t error_buffer_size;     /* bytes of error_buffer */
    const struct firn_policy *hot_policy_ops; /* an eviction policy of the program's own, in place
                                  of one by name; see firn/policy.h. Stays valid until firn_close */
    uint64_t filter_bytes; /* memory, in bytes, for a filter that tells what the cold tier does
                              not hold, so that a miss costs next to nothing. Default: what it
                              needs, 2.2 to 4.4 bytes an entry, or a thousandth of cold_bytes. A
                              filter that is too small for the entries there are tells nothing.
                              FIRN_FILTER_OFF: none. Not in hot_bytes. */
    unsigned compression_threads; /* threads that help whoever writes to the cold tier to compress,
                                     up to 64; they are started by firn_open and end with
                                     firn_close. Default 0: values are compressed by the thread
                                     that writes */
    uint64_t intern_bytes;        /* values of so many bytes and more are interned: see
                                     firn_put_options.intern. Each entry whose value is interned has some
                                     130 bytes beside its key. Default 0: none */
    /* Called by firn_close, last of all, for each object that the program still holds a handle to,
     * or that a value does which it holds, if a handle to it was ever taken. It may look at the
     * object, and drop handles. Costs a note at each handle that is given. NULL: none. See
     * firn/debug.h */
    void (*leak_report)(void *context, const struct firn_leak *leak);
    void *leak_context;
    unsigned track_handles;  /* not 0: what leak_report is given tells where in the program handles
                                were taken. Default 0 */
    firn_listener listener;  /* is told what the cache decides: see firn/observe.h. Default: none */
    uint64_t curve_bytes;    /* memory, in bytes, for the estimate of the hit-ratio curve; at least
                                FIRN_CURVE_BYTES_MIN. Default: a 128th of hot_bytes, but at least that
                                and at most 512 KiB. FIRN_CURVE_OFF: none. Not in hot_bytes. See
                                firn/curve.h */
    unsigned curve_sampling; /* of so many keys one is followed for it at the most. Default 64. A
                                sampled get takes about twice as long as another; fewer keys than
                                some hundreds tell little: a small cache may afford 1 */
    uint64_t page_ms;        /* how often the store's file firn.page is written, milliseconds, up to
                                a day: other processes watch this one by it; see firn/page.h. Default
                                250, and less often while nothing happens. FIRN_PAGE_OFF: never */
    uint64_t warm_save_ms; /* what is hot is recorded at firn_close, and so often before, for a warm
                              start after kill -9: the hottest 16,384 of each shard, if a 16th of
                              what is in memory is new. Default 30000; FIRN_WARM_SAVE_OFF: at
                              firn_close only. What is among these since the last time and is
                              not below is written then too, up to 64 MiB at a time, with
                              write-on-eviction and without a demotion policy */
    /* What moves between the tiers: policies by name, see firn_tier_policy_name; or of the
     * program's own, in place of one by name, which stay valid until firn_close: see
     * firn/tiering.h. */
    const char *admission; /* which new entries get a place in memory: "always" (default),
                              "frequency", "size". What is refused goes straight down */
    const char *demotion; /* which of those that leave memory are written below: "always" (default),
                             "reject-first", "frequency", "size", "budget" */
    const char *promotion; /* which of those that are hit below come up: "always" (default),
                              "kth-hit", "gain" */
    const struct firn_tier_policy *admission_ops;
    const struct firn_tier_policy *demotion_ops;
    const struct firn_tier_policy *promotion_ops;
    uint64_t demotion_rate;  /* for demotion "budget", which needs it: bytes that may be written
                                below a second. Five seconds' worth may be saved up, or owed
                                after a flush */
    unsigned promotion_hits; /* for promotion "kth-hit": at which hit, up to 255. Default 2 */
} firn_options;

#define FIRN_COMPRESSION_OFF (-1000)
#define FIRN_FILTER_OFF      UINT64_MAX
#define FIRN_PAGE_OFF        UINT64_MAX
#define FIRN_WARM_SAVE_OFF   UINT64_MAX
#define FIRN_CURVE_OFF       UINT64_MAX

#define FIRN_OPTIONS_INIT                                                                          \
    {                                                                                              \
        sizeof(firn_options), (uint64_t)64 << 20, (uint64_t)1 << 30, NULL, FIRN_WRITE_ON_EVICTION, \
            1000, FIRN_BACKPRESSURE_WRITE, FIRN_DURABILITY_PERIODIC, 5000, 3, 64, 0, 1, 0, 0, 0,   \
            {NULL, NULL, NULL}, {NULL, NULL}, NULL, 0, NULL, 0, 0, 0, NULL, NULL, 0,               \
            {NULL, NULL, 0}, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0                  \
    }

/* Options of one firn_put. */
typedef struct firn_put_options {
    size_t size;     /* sizeof(firn_put_options) */
    uint64_t ttl_ms; /* lifetime from now, milliseconds; 0: the cache's default; FIRN_TTL_NONE:
                        never expires */
    const struct firn_type *type;  /* of the value, registered with firn_register_type; NULL: bytes.
                                      See firn/type.h */
    const struct firn_link *links; /* from this entry to others; read during the call. See
                                      firn/link.h */
    size_t link_count;
    unsigned owned;    /* not 0: the entry lives only as long as links keep it; see firn/link.h */
    unsigned intern;   /* FIRN_INTERN_...: whether values that are equal share one object in memory
                          and one record on disk. For values of bytes that fit into the hot tier */
    uint64_t idle_ms;  /* sliding expiry: the entry expires so long after the last hit, and with
                          ttl_ms no later than that. A hit in memory is known to the cold tier only
                          when the entry goes down, so that after kill -9 it may expire sooner.
                          0: hits change nothing. Not together with stale_ms */
    uint64_t stale_ms; /* so long after ttl_ms the value is kept, for firn_get_or_load alone, which
                          may give it while a new one is loaded; all else finds nothing. Up to 49
                          days. 0: it goes when it expires */
    uint64_t cost_us;  /* what it took to make the value, microseconds, up to 71 minutes: what costs
                          more is kept longer by policies that ask for it. 0: unknown */
    const char *const *tags; /* names, up to 32, that firn_invalidate_tag knows the entry by; read
                                during the call */
    size_t tag_count;
} firn_put_options;

#define FIRN_PUT_OPTIONS_INIT                                                                      \
    { sizeof(firn_put_options), 0, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, 0 }

/* The name of the eviction policy number `index`, counting from 0; NULL beyond the last. A static
 * string. Safe from any thread. */
FIRN_API const char *firn_policy_name(unsigned index);

#ifdef __cplusplus
}
#endif

#endif
