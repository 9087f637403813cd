/* What a cache must offer to be measured: one struct of functions a peer.
 *
 * Each peer is a program of its own: its file, which defines `this_peer`, linked with driver.c. So
 * a peer that cannot be built takes no other with it. This header is for C and C++. */
#ifndef PEERS_PEER_H
#define PEERS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PEER_BATCH = 16 };

/* What a peer can do beyond gets of one thread and puts of one thread. */
enum {
    PEER_EVICTS = 1,        /* keeps to its capacity */
    PEER_SHARED_READS = 2,  /* gets of several threads at once */
    PEER_SHARED_WRITES = 4, /* puts and gets of several threads at once */
    PEER_ALL = 7
};

/* What is known of a key that is put. */
typedef enum put_hint {
    PUT_ANY,    /* it may be there */
    PUT_ABSENT, /* a get has just missed */
    PUT_STREAM, /* it may be there; nobody waits for it before settle */
    PUT_BULK    /* absent; nobody waits for it before settle */
} put_hint;

typedef struct peer_config {
    const char *variant;       /* policy or kind; "" if the peer has one only */
    const char *folder;        /* where sockets and the like may be put */
    uint64_t capacity;         /* bytes, as the peer itself accounts for them */
    uint64_t expected_entries; /* about how many will be held */
    uint64_t entry_bytes;      /* of an average entry, key and value */
} peer_config;

typedef struct peer {
    unsigned can;
    unsigned slow; /* requests are divided by this where a request takes so much longer */
    /* The library's version, for the report. */
    const char *(*version)(void);
    /* NULL: it cannot be opened so; the reason was written to stderr. */
    void *(*open)(const peer_config *config);
    void (*close)(void *self);
    /* Called by each thread before its first and after its last request. May be NULL. */
    void (*attach)(void *self);
    void (*detach)(void *self);
    /* Whether the key is there; if so its value's words are added to *sum (see touch). */
    bool (*get)(void *self, uint64_t key, uint64_t *sum);
    /* The same for up to PEER_BATCH keys at once: how many were there. NULL: there is no such call.
     */
    size_t (*get_many)(void *self, const uint64_t *keys, size_t count, uint64_t *sum);
    void (*put)(void *self, uint64_t key, const void *value, size_t size, put_hint hint);
    /* Waits for what was put with PUT_STREAM or PUT_BULK. May be NULL. */
    void (*settle)(void *self);
    uint64_t (*entries)(void *self);
    /* The process that holds the entries; NULL: this one. */
    int (*process)(void *self);
} peer;

extern const peer this_peer;

/* Reads every whole word of a value, which is what stands for using it. */
static inline uint64_t touch(const void *value, size_t size) {
    const unsigned char *bytes = (const unsigned char *)value;
    uint64_t sum = 0;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        sum += word;
    }
    return sum;
}

#ifdef __cplusplus
}
#endif

#endif
