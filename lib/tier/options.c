/* Reading and checking what the user asked for. Knows the option structs and their defaults, and
 * that they may come from an older or a newer header. */
#include <string.h>

#include "hot/policy_host.h"
#include "tier/cache.h"

enum {
    HOT_BYTES_MIN = 64 << 10,
    COMPRESSION_THREADS_MAX = 64,
    PAGE_MS_MAX = 86400000,
    SHARDS_MAX = 1024,
    LEVEL_MIN = -7,
    LEVEL_MAX = 19,
    CURVE_BYTES_MAX = 1 << 28,
};

/* Copies a struct whose first field is its size: the fields an older caller did not know keep
 * their defaults; those a newer caller knows and we do not must be zero. */
int firn_read_sized(void *full, size_t full_size, const void *given, const char *what,
                    firn_detail *detail) {
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > 4096) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "%s: the first field must be the size of the struct, which its "
                               "_INIT macro, where there is one, fills in",
                               what);
    }
    const unsigned char *bytes = given;
    for (size_t i = full_size; i < size; i++) {
        if (bytes[i] != 0) {
            return firn_detail_set(detail, FIRN_EINVAL,
                                   "%s: an option is set that this version of firn (%s) does not "
                                   "know",
                                   what, firn_version());
        }
    }
    memcpy(full, given, size < full_size ? size : full_size);
    memcpy(full, &full_size, sizeof full_size);
    return FIRN_OK;
}

static void default_u64(uint64_t *field, uint64_t value) {
    if (*field == 0) {
        *field = value;
    }
}

static unsigned default_shards(uint64_t hot_bytes) {
    unsigned shards = 1;
    while (shards < 16 && (uint64_t)shards << 21 <= hot_bytes) {
        shards *= 2;
    }
    return shards;
}

static int check_choice(const char *name, unsigned value, unsigned last, firn_detail *detail) {
    if (value <= last) {
        return FIRN_OK;
    }
    return firn_detail_set(detail, FIRN_EINVAL, "options.%s is %u; the choices are 0 to %u", name,
                           value, last);
}

static int check_choices(const firn_options *options, firn_detail *detail) {
    const struct {
        const char *name;
        unsigned value;
        unsigned last;
    } choices[] = {
        {"write_mode", options->write_mode, FIRN_WRITE_THROUGH},
        {"backpressure", options->backpressure, FIRN_BACKPRESSURE_DROP},
        {"durability", options->durability, FIRN_DURABILITY_COMMIT},
        {"threads", options->threads, 1},
    };
    int result = FIRN_OK;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0] && result == FIRN_OK; i++) {
        result = check_choice(choices[i].name, choices[i].value, choices[i].last, detail);
    }
    return result;
}

static int check_budgets(const firn_options *options, const char *path, firn_detail *detail) {
    if (options->hot_bytes == 0 && path == NULL) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.hot_bytes is 0 and there is no path: nothing could be "
                               "kept anywhere");
    }
    if (options->hot_bytes != 0 && options->hot_bytes < HOT_BYTES_MIN) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.hot_bytes is %llu; the least is %d (or 0 for a disk cache)",
                               (unsigned long long)options->hot_bytes, HOT_BYTES_MIN);
    }
    if (options->hot_bytes > INT64_MAX || options->cold_bytes > INT64_MAX) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.hot_bytes and options.cold_bytes must be below 2^63");
    }
    if (path != NULL && options->cold_bytes < FIRN_COLD_BYTES_MIN) {
        return firn_detail_set(detail, FIRN_EINVAL, "options.cold_bytes is %llu; the least is %llu",
                               (unsigned long long)options->cold_bytes,
                               (unsigned long long)FIRN_COLD_BYTES_MIN);
    }
    return FIRN_OK;
}

static int check_others(const firn_options *options, firn_detail *detail) {
    if (options->hot_policy_ops == NULL && firn_policy_by_name(options->hot_policy) == NULL) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.hot_policy: there is no policy named '%.64s' (see "
                               "firn_policy_name)",
                               options->hot_policy);
    }
    if (options->compression_level != FIRN_COMPRESSION_OFF &&
        (options->compression_level < LEVEL_MIN || options->compression_level > LEVEL_MAX)) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.compression_level is %d; the choices are %d to %d, or "
                               "FIRN_COMPRESSION_OFF",
                               options->compression_level, LEVEL_MIN, LEVEL_MAX);
    }
    if (options->page_ms != FIRN_PAGE_OFF && options->page_ms > PAGE_MS_MAX) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.page_ms is %llu; the most are %d, or FIRN_PAGE_OFF",
                               (unsigned long long)options->page_ms, PAGE_MS_MAX);
    }
    if (options->compression_threads > COMPRESSION_THREADS_MAX) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.compression_threads is %u; the most are %d",
                               options->compression_threads, COMPRESSION_THREADS_MAX);
    }
    if (options->shards > SHARDS_MAX || (options->shards & (options->shards - 1)) != 0) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.shards is %u; it must be a power of two up to %d",
                               options->shards, SHARDS_MAX);
    }
    if (options->curve_bytes != 0 && options->curve_bytes != FIRN_CURVE_OFF &&
        (options->curve_bytes < FIRN_CURVE_BYTES_MIN || options->curve_bytes > CURVE_BYTES_MAX)) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.curve_bytes is %llu; the choices are %llu to %u, or "
                               "FIRN_CURVE_OFF",
                               (unsigned long long)options->curve_bytes,
                               (unsigned long long)FIRN_CURVE_BYTES_MIN, CURVE_BYTES_MAX);
    }
    if ((options->allocator.alloc == NULL) != (options->allocator.free == NULL)) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "options.allocator needs both of alloc and free, or none");
    }
    return FIRN_OK;
}

int firn_options_read(firn_options *full, const firn_options *given, const char *path,
                      firn_detail *detail) {
    *full = (firn_options)FIRN_OPTIONS_INIT;
    if (given != NULL) {
        int result = firn_read_sized(full, sizeof *full, given, "firn_options", detail);
        if (result != FIRN_OK) {
            return result;
        }
    }
    default_u64(&full->cold_bytes, (uint64_t)1 << 30);
    default_u64(&full->write_behind_ms, 1000);
    default_u64(&full->sync_interval_ms, 5000);
    default_u64(&full->page_ms, 250);
    default_u64(&full->warm_save_ms, 30000);
    default_u64(&full->filter_bytes, UINT64_MAX - 1); /* no bound */
    if (full->compression_level == 0) {
        full->compression_level = 3;
    }
    if (full->promotion_hits == 0) {
        full->promotion_hits = 2;
    }
    int result = check_budgets(full, path, detail);
    if (result == FIRN_OK) {
        result = check_choices(full, detail);
    }
    if (result == FIRN_OK) {
        result = check_others(full, detail);
    }
    if (result == FIRN_OK) {
        result = firn_moving_check(full, detail);
    }
    if (full->shards == 0) {
        full->shards = default_shards(full->hot_bytes);
    }
    return result;
}

int firn_check_hot_bytes(uint64_t hot_bytes, firn_detail *detail) {
    if (hot_bytes < HOT_BYTES_MIN || hot_bytes > INT64_MAX) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "hot_bytes is %llu; the least is %d, and it must be below 2^63",
                               (unsigned long long)hot_bytes, HOT_BYTES_MIN);
    }
    return FIRN_OK;
}

/* The tags' hashes, each once. */
static int read_tags(firn_cache *cache, const firn_put_options *options, firn_traits *traits,
                     uint64_t *tags) {
    if (options->tag_count > FIRN_TAGS_MAX || options->tags == NULL) {
        return firn_detail_set(
            &cache->detail, FIRN_EINVAL,
            "firn_put_options: tag_count is %zu; an entry has up to %d tags, and "
            "tags must point to them",
            options->tag_count, FIRN_TAGS_MAX);
    }
    uint32_t count = 0;
    for (size_t i = 0; i < options->tag_count; i++) {
        if (options->tags[i] == NULL || options->tags[i][0] == '\0') {
            return firn_detail_set(&cache->detail, FIRN_EINVAL,
                                   "firn_put_options: a tag must have at least one character");
        }
        uint64_t tag = firn_tag_hash(options->tags[i]);
        uint32_t at = 0;
        while (at < count && tags[at] != tag) {
            at++;
        }
        tags[at] = tag;
        count += at == count;
    }
    traits->tags = tags;
    traits->tag_count = count;
    return FIRN_OK;
}

int firn_put_options_read(firn_cache *cache, const void *key, size_t key_size,
                          const firn_put_options *given, firn_put_options *full,
                          firn_traits *traits, uint64_t *tags) {
    *full = (firn_put_options)FIRN_PUT_OPTIONS_INIT;
    if (given != NULL) {
        int result = firn_read_sized(full, sizeof *full, given, "firn_put_options", &cache->detail);
        if (result != FIRN_OK) {
            return result;
        }
    }
    if (full->type != NULL && !firn_types_has(&cache->types, full->type)) {
        return firn_detail_set(&cache->detail, FIRN_ETYPE,
                               "firn_put_options.type is not registered: see firn_register_type");
    }
    const firn_group *group = &cache->groups.of[firn_group_of_key(cache, key, key_size)];
    if (full->idle_ms == 0 && full->stale_ms == 0) {
        full->idle_ms = group->default_idle_ms;
    }
    *traits = (firn_traits){
        .idle_ms = full->idle_ms,
        .stale_ms = full->stale_ms < UINT32_MAX ? (uint32_t)full->stale_ms : UINT32_MAX,
        .cost_us = full->cost_us < UINT32_MAX ? (uint32_t)full->cost_us : UINT32_MAX,
    };
    if (full->idle_ms != 0 && full->stale_ms != 0) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "firn_put_options: idle_ms and stale_ms do not go together");
    }
    int result = full->tag_count > 0 ? read_tags(cache, full, traits, tags) : FIRN_OK;
    uint64_t ttl_ms = full->ttl_ms != 0            ? full->ttl_ms
                      : group->default_ttl_ms != 0 ? group->default_ttl_ms
                                                   : cache->options.default_ttl_ms;
    bool ends = ttl_ms != 0 && ttl_ms != FIRN_TTL_NONE;
    if (ends || full->idle_ms != 0) {
        uint64_t now_ms = firn_now_ms(cache);
        traits->expires_ms = ends ? firn_later(now_ms, ttl_ms) : 0;
        if (full->idle_ms != 0) {
            uint64_t idle_until_ms = firn_later(now_ms, full->idle_ms);
            traits->limit_ms = traits->expires_ms;
            traits->expires_ms =
                ends && traits->limit_ms < idle_until_ms ? traits->limit_ms : idle_until_ms;
        }
        firn_traits_add_stale(traits);
    } else {
        traits->stale_ms = 0; /* it never expires, so it never is stale */
    }
    return result;
}
