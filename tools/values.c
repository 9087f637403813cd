/* See values.h. */
#include "values.h"

#include <string.h>

#include <xxhash.h>

/* A value begins with {"sum":"0123456789abcdef" where the digits are the hash of what follows
 * them. Shorter values have no room for it, and are checked by making them again. */
static const char opening[] = "{\"sum\":\"";

enum {
    OPENING_BYTES = sizeof opening - 1,
    SUM_BYTES = 16,
    HEAD_BYTES = OPENING_BYTES + SUM_BYTES,
    RECORD_BYTES = 512, /* more than the longest record */
};

static uint64_t next(uint64_t *state) {
    /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static const char words[][8] = {
    "account", "active",  "amount", "archive", "branch", "cache",  "closed", "commit",
    "created", "default", "device", "email",   "event",  "failed", "folder", "group",
    "invoice", "label",   "link",   "message", "method", "minute", "normal", "object",
    "order",   "parent",  "price",  "queue",   "record", "region", "remote", "sensor",
};

static char *add_text(char *to, const char *text) {
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

/* One of the words, chosen by the low bits. */
static char *add_word(char *to, uint64_t bits) {
    return add_text(to, words[bits % (sizeof words / sizeof words[0])]);
}

static char *add_number(char *to, uint64_t number) {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) {
        *to++ = digits[--count];
    }
    return to;
}

static char *add_hex(char *to, uint64_t number) {
    for (int shift = 60; shift >= 0; shift -= 4) {
        *to++ = "0123456789abcdef"[number >> shift & 15];
    }
    return to;
}

/* Writes one record; returns its size. */
static size_t make_record(char *text, uint64_t key, uint64_t *state) {
    uint64_t a = next(state);
    uint64_t b = next(state);
    char *to = add_text(text, "\",\"id\":");
    to = add_number(to, key ^ (a & 0xff));
    to = add_text(to, ",\"kind\":\"");
    to = add_word(to, a >> 8);
    to = add_text(to, "\",\"status\":\"");
    to = add_word(to, a >> 13);
    to = add_text(to, "\",\"owner\":\"user-");
    to = add_number(to, a >> 18 & 0xfff);
    to = add_text(to, "\",\"time\":");
    to = add_number(to, UINT64_C(1700000000000) + (b & 0xfffffff));
    to = add_text(to, ",\"price\":");
    to = add_number(to, b >> 28 & 0xffff);
    to = add_text(to, ",\"digest\":\"");
    to = add_hex(to, next(state));
    to = add_text(to, "\",\"tags\":[\"");
    to = add_word(to, a >> 30);
    to = add_text(to, "\",\"");
    to = add_word(to, a >> 35);
    to = add_text(to, "\"],\"note\":\"");
    for (unsigned shift = 40; shift < 60; shift += 5) {
        to = add_word(to, a >> shift);
        *to++ = ' ';
    }
    to = add_text(to, "\"}\n{\"ref\":\"");
    to = add_number(to, b >> 44);
    return (size_t)(to - text);
}

static uint64_t start_of(uint64_t key, size_t size) {
    return key * UINT64_C(0xd6e8feb86659fd93) + size;
}

static uint64_t sum_of(uint64_t key, const unsigned char *value, size_t size) {
    return XXH3_64bits_withSeed(value + HEAD_BYTES, size - HEAD_BYTES, start_of(key, size));
}

void make_value(uint64_t key, unsigned char *value, size_t size) {
    uint64_t state = start_of(key, size);
    char text[RECORD_BYTES];
    size_t at = size < HEAD_BYTES ? 0 : HEAD_BYTES;
    while (at < size) {
        size_t length = make_record(text, key, &state);
        size_t part = length < size - at ? length : size - at;
        memcpy(value + at, text, part);
        at += part;
    }
    if (size >= HEAD_BYTES) {
        memcpy(value, opening, OPENING_BYTES);
        add_hex((char *)value + OPENING_BYTES, sum_of(key, value, size));
    }
}

bool check_value(uint64_t key, const unsigned char *value, size_t size) {
    unsigned char head[HEAD_BYTES];
    if (size < HEAD_BYTES) {
        make_value(key, head, size);
        return size == 0 || memcmp(head, value, size) == 0;
    }
    memcpy(head, opening, OPENING_BYTES);
    add_hex((char *)head + OPENING_BYTES, sum_of(key, value, size));
    return memcmp(head, value, HEAD_BYTES) == 0;
}
