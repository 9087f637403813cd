/* Watching a cache: what it decides about its entries.
 *
 * A decision is what the cache does to an entry without being told to, or refuses to do: it is
 * evicted, written below, brought up or not, reclaimed, lost. Hits and misses are none. The last
 * decisions are remembered by the hash of the key, a few of each; a listener is told of all as
 * they come; and a USDT probe fires for each, if firn was built with them.
 */
#ifndef FIRN_OBSERVE_H
#define FIRN_OBSERVE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What happened to an entry: ONE(NAME, "word", what the detail is). A new kind is one line, at the
 * end, for the numbers are written to disk. */
#define FIRN_DECISION_KINDS(ONE)                                                                   \
    ONE(INSERT, "insert",                                                                          \
        "bytes of the value") /* the program put it; only listeners hear of it */                  \
    ONE(EVICT, "evict",                                                                            \
        "bytes it took") /* it left memory; whether it is lost, the reason tells */                \
    ONE(DEMOTE, "demote", "bytes of the value") /* it was written below */                         \
    ONE(PROMOTE, "promote", "bytes it takes")   /* it came up into memory */                       \
    ONE(REFUSE, "refuse",                                                                          \
        "bytes it would take")              /* it was not brought up, or not kept in memory */     \
    ONE(DROP, "drop", "bytes of the value") /* it could not be written below, and is lost */       \
    ONE(EXPIRE, "expire", "when it expired, milliseconds since 1970")                              \
    ONE(RECLAIM, "reclaim", "0")       /* its record gave way to younger ones */                   \
    ONE(INVALIDATE, "invalidate", "0") /* it went because another entry did, or for its tag */     \
    ONE(DELETE, "delete", "0")         /* the program deleted it */                                \
    ONE(DAMAGE, "damage", "0")         /* its record cannot be read */                             \
    ONE(ERROR, "error", "the error, as a positive number") /* a batch or a read failed; hash 0: of \
                                                              no entry alone */                    \
    ONE(LOAD, "load", "microseconds it took") /* the program's loader was asked for it */

/* Why: ONE(NAME, "words"). A new reason is one line, at the end. */
#define FIRN_DECISION_REASONS(ONE)                                                                 \
    ONE(NONE, "no reason is told")                                                                 \
    ONE(PROGRAM, "the program asked for it")                                                       \
    ONE(ROOM_STORED, "memory was wanted, and the cold tier has it already")                        \
    ONE(ROOM_QUEUED, "memory was wanted, and it is to be written below")                           \
    ONE(ROOM_LOST, "memory was wanted, and there is no cold tier")                                 \
    ONE(BACKPRESSURE, "memory was wanted, and the disk was slower than that")                      \
    ONE(WRITTEN, "its batch was committed")                                                        \
    ONE(HIT, "it was hit below")                                                                   \
    ONE(WARM, "it was in memory when the store was last closed")                                   \
    ONE(FIRST_HIT, "the promotion policy waits for another hit")                                   \
    ONE(POLICY, "the policy says so")                                                              \
    ONE(NO_ROOM, "there is no room for it in memory")                                              \
    ONE(READ_ONLY, "the cache was opened read-only")                                               \
    ONE(CHANGED, "it changed meanwhile")                                                           \
    ONE(TOO_LARGE, "it is too large for the cold tier")                                            \
    ONE(UNENCODED, "its type has no bytes for it")                                                 \
    ONE(UNDECODED, "its type refused the bytes")                                                   \
    ONE(TTL, "its time was over")                                                                  \
    ONE(OLD, "it was at the old end of the log, where room was wanted")                            \
    ONE(DEPENDS, "what it depends on changed")                                                     \
    ONE(UNKEPT, "nothing keeps it any more")                                                       \
    ONE(CIRCLE, "only its like kept it")                                                           \
    ONE(CLEARED, "it was cleared, by a prefix of its key or by a tag")                             \
    ONE(CHECKSUM, "its checksum or form is wrong")                                                 \
    ONE(READ, "the store could not be read")                                                       \
    ONE(WRITE, "the store could not be written; it is tried again")                                \
    ONE(MISSED, "there was none")                                                                  \
    ONE(AGED, "it was stale, or soon to be")                                                       \
    ONE(NO_VALUE, "the loader found no value")                                                     \
    ONE(LOADER, "the loader failed")                                                               \
    ONE(ROOM_REFUSED, "memory was wanted, and the demotion policy did not want it below")

enum {
#define FIRN_DECISION_NUMBER(name, word, detail) FIRN_DECISION_##name,
    FIRN_DECISION_KINDS(FIRN_DECISION_NUMBER)
#undef FIRN_DECISION_NUMBER
        FIRN_DECISION_COUNT
};

enum {
#define FIRN_REASON_NUMBER(name, words) FIRN_REASON_##name,
    FIRN_DECISION_REASONS(FIRN_REASON_NUMBER)
#undef FIRN_REASON_NUMBER
        FIRN_REASON_COUNT
};

/* A decision about one entry. */
typedef struct firn_decision {
    uint64_t time_ms; /* since 1970, by the cache's clock */
    uint64_t hash;    /* of the key, by the store's seed */
    uint64_t version; /* of the entry; 0: not known */
    uint64_t detail;  /* a number that the kind explains */
    unsigned kind;    /* FIRN_DECISION_... */
    unsigned reason;  /* FIRN_REASON_... */
} firn_decision;

/* The word of a kind, the words of a reason, and what the detail of a kind is. Static strings;
 * "unknown" for a number that this version does not know. Safe from any thread. */
FIRN_API const char *firn_decision_name(unsigned kind);
FIRN_API const char *firn_decision_reason(unsigned reason);
FIRN_API const char *firn_decision_detail(unsigned kind);

/* What a listener is told. It may grow at its end; the library makes it. */
typedef struct firn_notice {
    firn_decision decision;
    const void *key; /* lent for the call; NULL: only the hash is known */
    size_t key_size;
    uint64_t value_size; /* bytes; 0 if the key is not known, as the next */
    uint64_t charge;     /* bytes it takes of hot_bytes */
} firn_notice;

/* Hears of decisions: see firn_options.listener.
 *
 * Calls come one at a time, in the order in which the decisions were made, and with no lock of the
 * library held: the callback may call every function of the cache but firn_close, and none once
 * firn_close has begun. They come from whatever thread was next to leave the library, which need
 * not be the one that caused it, and often a moment later. What a callback causes is told when it
 * has returned, not within it. While a callback runs others queue up: up to 65,536, then they are
 * lost, and counted in firn_stats.notices_lost. What has not been told when firn_close begins is
 * told by it. */
typedef struct firn_listener {
    void (*tell)(void *context, const firn_notice *notice); /* NULL: there is none */
    void *context;
    uint64_t kinds; /* a bit 1 << FIRN_DECISION_... for each kind to be told; 0: all */
} firn_listener;

#ifdef __cplusplus
}
#endif

#endif
