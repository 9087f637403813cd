/* See expiry.h. */
#include "cold/expiry.h"

#include <string.h>

enum { SHARES = 1024 }; /* of live bytes, that may have expired */

static uint32_t saturated(uint64_t number) {
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

/* Of one time more than there is room for, the one whose bytes wait least for the next. */
static uint32_t cheapest(const firn_expiry_time *times, uint32_t count) {
    uint32_t best = 0;
    uint64_t best_cost = UINT64_MAX;
    for (uint32_t i = 0; i + 1 < count; i++) {
        uint64_t cost = (uint64_t)times[i].bytes * (times[i + 1].by_s - times[i].by_s);
        if (cost < best_cost) {
            best = i;
            best_cost = cost;
        }
    }
    return best;
}

static void insert(firn_expiry *expiry, uint32_t at, firn_expiry_time time) {
    firn_expiry_time times[FIRN_EXPIRY_TIMES + 1];
    uint32_t count = expiry->count + 1;
    memcpy(times, expiry->times, at * sizeof *times);
    times[at] = time;
    memcpy(times + at + 1, expiry->times + at, (expiry->count - at) * sizeof *times);
    if (count > FIRN_EXPIRY_TIMES) {
        uint32_t gone = cheapest(times, count);
        times[gone + 1].bytes = saturated((uint64_t)times[gone].bytes + times[gone + 1].bytes);
        memmove(times + gone, times + gone + 1, (count - gone - 1) * sizeof *times);
        count--;
    }
    memcpy(expiry->times, times, count * sizeof *times);
    expiry->count = count;
}

void firn_expiry_add(firn_expiry *expiry, uint64_t bytes, uint64_t expires_ms) {
    expiry->bytes += bytes;
    uint64_t by_s = expires_ms / 1000 + (expires_ms % 1000 != 0);
    if (expires_ms == 0 || by_s > UINT32_MAX) {
        return;
    }
    uint32_t at = 0;
    while (at < expiry->count && expiry->times[at].by_s < by_s) {
        at++;
    }
    if (at < expiry->count && expiry->times[at].by_s == by_s) {
        expiry->times[at].bytes = saturated(expiry->times[at].bytes + bytes);
    } else {
        insert(expiry, at, (firn_expiry_time){(uint32_t)by_s, saturated(bytes)});
    }
}

uint64_t firn_expiry_expired(const firn_expiry *expiry, uint64_t live, uint64_t now_ms) {
    uint64_t expired = 0;
    if (expiry->count == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < expiry->count && expiry->times[i].by_s <= now_ms / 1000; i++) {
        expired += expiry->times[i].bytes;
    }
    if (expired >= expiry->bytes) {
        return live;
    }
    return live / SHARES * (expired * SHARES / expiry->bytes);
}
