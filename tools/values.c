/* See values.h. */
#include "values.h"

#include <stdio.h>
#include <string.h>

static uint64_t next(uint64_t *state) {
    /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static const char *const words[] = {
    "account", "active",  "amount", "archive", "branch", "cache",  "closed", "commit",
    "created", "default", "device", "email",   "event",  "failed", "folder", "group",
    "invoice", "label",   "link",   "message", "method", "minute", "normal", "object",
    "order",   "parent",  "price",  "queue",   "record", "region", "remote", "sensor",
};

static int record(char *text, size_t size, uint64_t key, uint64_t *state) {
    uint64_t a = next(state);
    uint64_t b = next(state);
    return snprintf(text, size,
                    "{\"id\":%llu,\"kind\":\"%s\",\"status\":\"%s\",\"owner\":\"user-%u\","
                    "\"time\":%llu,\"price\":%u.%02u,\"digest\":\"%016llx\",\"tags\":[\"%s\","
                    "\"%s\"],\"note\":\"%s %s %s\"}\n",
                    (unsigned long long)(key ^ (a & 0xff)), words[a % 32], words[a >> 5 & 31],
                    (unsigned)(a >> 20 & 0xfff), 1700000000000ull + (b & 0xfffffff),
                    (unsigned)(b >> 30 & 0x3ff), (unsigned)(b >> 40) % 100,
                    (unsigned long long)next(state), words[a >> 40 & 31], words[a >> 45 & 31],
                    words[a >> 50 & 31], words[a >> 55 & 31], words[b >> 50 & 31]);
}

void make_value(uint64_t key, unsigned char *value, size_t size) {
    uint64_t state = key * UINT64_C(0xd6e8feb86659fd93) + size;
    char text[512];
    for (size_t at = 0; at < size;) {
        size_t length = (size_t)record(text, sizeof text, key, &state);
        size_t part = length < size - at ? length : size - at;
        memcpy(value + at, text, part);
        at += part;
    }
}
