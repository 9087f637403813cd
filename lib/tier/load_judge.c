/* What a loader makes of an entry: whether its value will do, and for whom. Knows times, costs and
 * chance; nothing of flights, nor of how an entry is found or loaded. */
#include <math.h>

#include "tier/cache.h"

static bool is_extended(const firn_object *object) {
    return (firn_object_flags(object) & FIRN_OBJECT_EXTENDED) != 0;
}

/* -ln(number / 2^53), for 1 to 2^53, to nine digits: what the C library has for it is in a library
 * of its own, and too good for chance. Of number = m * 2^e, with m from 1 to 2: ln(m) by the series
 * of the area tangent. */
static double minus_log(uint64_t number) {
    int exponent = 63 - __builtin_clzll(number);
    double m = (double)number / (double)(UINT64_C(1) << exponent);
    double s = (m - 1) / (m + 1);
    double power = s;
    double sum = 0;
    for (int i = 1; i <= 15; i += 2) {
        sum += power / i;
        power *= s * s;
    }
    return (53 - exponent) * 0.6931471805599453 - 2 * sum;
}

/* XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB
 * 2015): an entry is loaded so much before its end as the load takes, times a number drawn from the
 * exponential distribution, times beta. */
static bool ends_early(firn_cache *cache, const firn_loader *loader, uint32_t cost_us,
                       uint64_t left_ms) {
    const double farthest = 36.8; /* minus_log of the smallest number, and a bit */
    double reach_ms = (double)cost_us / 1000 * loader->beta;
    if ((double)left_ms > reach_ms * farthest) {
        return false; /* which nearly all of them are, and cheaply told */
    }
    uint64_t bits = loader->random != NULL ? loader->random(loader->context)
                                           : firn_flights_random(&cache->flights);
    /* The number that is drawn is above 0, up to 1. */
    return minus_log((bits >> 11) + 1) * reach_ms >= (double)left_ms;
}

enum firn_presence firn_load_judge(firn_cache *cache, const firn_loader *loader,
                                   const firn_object *object) {
    if (!is_extended(object)) {
        return FIRN_FRESH;
    }
    firn_traits traits = firn_object_get_traits(object);
    if (traits.negative) {
        return FIRN_NEGATIVE;
    }
    if (traits.expires_ms == 0) {
        return FIRN_FRESH;
    }
    uint64_t now_ms = firn_now_ms(cache);
    uint64_t fresh_ms =
        traits.expires_ms > traits.stale_ms ? traits.expires_ms - traits.stale_ms : 0;
    if (now_ms >= fresh_ms) {
        uint64_t over_ms = now_ms - fresh_ms;
        return over_ms < loader->stale_ms            ? FIRN_AGED
               : over_ms < loader->stale_if_error_ms ? FIRN_LAST_RESORT
                                                     : FIRN_ABSENT;
    }
    if (traits.idle_ms != 0) {
        /* Hits put the expiry off; what counts is the time beyond which they do not. */
        if (traits.limit_ms <= now_ms) {
            return FIRN_FRESH; /* there is none */
        }
        fresh_ms = traits.limit_ms;
    }
    uint64_t left_ms = fresh_ms - now_ms;
    bool early = loader->beta > 0 && traits.cost_us != 0 &&
                 ends_early(cache, loader, traits.cost_us, left_ms);
    return early || left_ms <= loader->refresh_ahead_ms ? FIRN_WANING : FIRN_FRESH;
}

bool firn_load_may_wane(const firn_loader *loader, const firn_object *object) {
    return is_extended(object) && (loader->refresh_ahead_ms != 0 || loader->beta > 0);
}

int firn_loader_read(firn_cache *cache, const firn_loader *given, firn_loader *full) {
    *full = (firn_loader)FIRN_LOADER_INIT;
    int result = firn_read_sized(full, sizeof *full, given, "firn_loader", &cache->detail);
    if (result != FIRN_OK) {
        return result;
    }
    if (full->load == NULL && full->load_many == NULL) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "firn_loader: neither load nor load_many is set");
    }
    if (!(full->beta >= 0) || isinf(full->beta)) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "firn_loader.beta must be a number, and not negative");
    }
    if (full->refresh > FIRN_REFRESH_BACKGROUND) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "firn_loader.refresh is %u; the choices are 0 to %d", full->refresh,
                               FIRN_REFRESH_BACKGROUND);
    }
    return FIRN_OK;
}
