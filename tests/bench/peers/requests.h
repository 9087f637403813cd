/* The file of requests that every peer is driven with: a head of 64 bytes, then the requests.
 * Written by make_requests, mapped by driver.c, read by CaffeinePeer.java. Little endian. */
#ifndef PEERS_REQUESTS_H
#define PEERS_REQUESTS_H

#include <stdint.h>

#define REQUESTS_MAGIC UINT64_C(0x31737165726e7266)

typedef struct requests_head {
    uint64_t magic;
    uint64_t count;
    uint64_t keys;     /* distinct ones */
    uint64_t bytes;    /* of the distinct keys and their values; 0: sizes are the driver's choice */
    uint64_t size_max; /* of a value */
    uint64_t reserved[3];
} requests_head;

typedef struct request {
    uint64_t key;
    uint32_t size; /* of the value; 0 where sizes are the driver's choice */
    uint32_t put;  /* 1: put; 0: get, and put after a miss */
} request;

/* Key number `id`: spread over all 64 bits, and never the same for two numbers. */
static inline uint64_t key_of(uint64_t id) {
    uint64_t z = id + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
