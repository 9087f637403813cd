/* What only some entries have beside key and value: how long they live and serve, what they cost,
 * what tags they have. The form in which it is handed from put options to objects, from objects to
 * records, and back. Knows nothing of what these cause. */
#ifndef FIRN_BASE_TRAITS_H
#define FIRN_BASE_TRAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tags an entry may have. */
enum { FIRN_TAGS_MAX = 32 };

/* Zeros: nothing of all this. */
typedef struct firn_traits {
    uint64_t expires_ms; /* since 1970; 0: never */
    uint64_t idle_ms;    /* each hit puts the expiry off to so long after it; 0: it stays */
    uint64_t limit_ms; /* with idle_ms: since 1970, beyond that it is never put off; 0: no limit */
    uint32_t stale_ms; /* so long before its expiry the value is fresh no more */
    uint32_t cost_us;  /* what it took to make the value; 0: unknown */
    bool negative;     /* what is remembered is that there is no value */
    uint32_t tag_count;
    const void *tags; /* u64 each, not aligned; lent */
} firn_traits;

/* Whether it needs more than the times and the cost. */
static inline bool firn_traits_many(const firn_traits *traits) {
    return traits->tag_count > 0 || traits->idle_ms != 0;
}

/* The expiry is the time up to which the value is fresh; what staleness there is comes on top. */
static inline void firn_traits_add_stale(firn_traits *traits) {
    if (traits->expires_ms != 0) {
        uint64_t room = UINT64_MAX - traits->expires_ms;
        traits->expires_ms += traits->stale_ms < room ? traits->stale_ms : room;
    }
}

/* There may be a time at which a plain read does not get the value. */
static inline bool firn_traits_limited(const firn_traits *traits) {
    return traits->expires_ms != 0 || traits->negative;
}

/* A plain read does not get it at that time: it is expired, stale or negative. */
static inline bool firn_traits_unserved(const firn_traits *traits, uint64_t now_ms) {
    uint64_t expires_ms = traits->expires_ms;
    return traits->negative || (expires_ms != 0 && (expires_ms <= traits->stale_ms ||
                                                    expires_ms - traits->stale_ms <= now_ms));
}

static inline size_t firn_traits_tags_size(const firn_traits *traits) {
    return traits->tag_count * sizeof(uint64_t);
}

#endif
