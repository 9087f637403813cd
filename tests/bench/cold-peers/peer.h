/* What a store must offer to be measured: one struct of functions a peer.
 *
 * Each peer is a program of its own: its file, which defines `this_peer`, linked with driver.c. So
 * a peer that cannot be built takes no other with it. All calls come from one thread. What fails
 * ends the program with a message (see the fail functions of the peers): there is nothing to
 * measure then. This header is for C and C++. */
#ifndef COLD_PEERS_PEER_H
#define COLD_PEERS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct peer_config {
    const char *variant;   /* kind; "" if the peer has one only */
    const char *folder;    /* of the store; it is there, and empty the first time */
    uint64_t keys;         /* how many will be put */
    size_t value_bytes;    /* of each value */
    uint64_t disk_bytes;   /* what the store may take; a peer that evicts keeps to it */
    uint64_t cache_bytes;  /* memory for what was read */
    uint64_t buffer_bytes; /* memory for what is to be written */
    /* Fills a value that is like those that will be put, and is none of them: what a dictionary may
     * be trained on. */
    void (*sample)(uint64_t number, unsigned char *value, size_t size);
} peer_config;

/* The store keeps less than it was given, by its nature; a get of what was put may miss. */
enum { PEER_LOSSY = 1 };

/* Takes disk_bytes for what it is: drops what is too much. */
enum { PEER_EVICTS = 2 };

typedef struct peer {
    unsigned kind;
    /* The library's version, for the report. */
    const char *(*version)(void);
    /* What the peer is given before anything is timed or limited. May be NULL. */
    void (*prepare)(const peer_config *config);
    /* Opens the store in the folder, making it if there is none. No operation is synced. NULL: it
     * cannot be opened so; the reason was written to stderr. */
    void *(*open)(const peer_config *config);
    void (*close)(void *self);
    /* Whether the key is there; if so its value, which stays until the next call. */
    bool (*get)(void *self, uint64_t key, const void **value, size_t *size);
    /* The key may be there. A later get finds it, though it may wait in memory. */
    void (*put)(void *self, uint64_t key, const void *value, size_t size);
    /* All that was put is on the device, and no work in the background is left. */
    void (*sync)(void *self);
    /* The process that holds the entries, which are gone with it. NULL: this one, and the store
     * can be opened again. */
    int (*process)(void *self);
} peer;

extern const peer this_peer;

#ifdef __cplusplus
}
#endif

#endif
